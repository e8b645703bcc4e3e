//! The top level of the file.

use std::time::Duration;

use jetwake_protocol::conf::{Map, Node};

use super::values::{self, Read};
use super::{Findings, auth, cluster, jetstream, jetwake};
use crate::options::{MonitorOptions, Options};

/// nats-server refuses less.
const LAME_DUCK_MIN: Duration = Duration::from_secs(30);

/// Keys of nats-server that this server has nothing behind yet.
const NOT_BUILT: &[&str] = &[
    "write_timeout",
    "disable_sublist_cache",
    "no_sublist_cache",
    "proxy_protocol",
    "proxies",
    "trace_headers",
    "log_size_limit",
    "logfile_size_limit",
    "log_max_num",
    "logfile_max_num",
    "syslog",
    "remote_syslog",
    "https",
    "https_port",
    "prof_port",
    "prof_block_rate",
    "connect_error_reports",
    "reconnect_error_reports",
    "server_metadata",
    "feature_flags",
    "default_js_domain",
    "mappings",
    "maps",
    "accounts",
    "no_auth_user",
    "system_account",
    "system",
    "no_system_account",
    "no_system",
    "no_sys_acc",
    "operator",
    "operators",
    "roots",
    "root",
    "root_operator",
    "root_operators",
    "trusted",
    "trusted_keys",
    "resolver",
    "account_resolver",
    "accounts_resolver",
    "resolver_preload",
    "resolver_tls",
    "resolver_pinned_accounts",
    "default_sentinel",
    "tls",
    "allow_non_tls",
    "ocsp",
    "ocsp_cache",
    "gateway",
    "leafnodes",
    "leaf",
    "websocket",
    "ws",
    "mqtt",
];

/// Lays the top-level keys over `options`.
pub(super) fn apply(root: &Map, options: &mut Options, findings: &mut Findings<'_>) {
    for entry in root {
        let key = entry.key.to_ascii_lowercase();
        let node = &entry.node;
        let read = match known(&key, node, options, findings) {
            Some(read) => read,
            None if entry.used => Ok(()),
            None => {
                findings.unknown(&entry.key, node, NOT_BUILT);
                Ok(())
            }
        };
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    let text = |key| root.get(key).and_then(|node| values::text(node).ok());
    // These belong to something that may stand before or behind them.
    if let (Some(dir), Some(jetstream)) = (
        text("store_dir").or_else(|| text("storedir")),
        &mut options.jetstream,
    ) {
        jetstream.store_dir = dir.into();
    }
    if let (Some(path), Some(monitor)) = (text("http_base_path"), &mut options.monitor) {
        let path = format!("/{}", path.trim_matches('/'));
        path.trim_end_matches('/')
            .clone_into(&mut monitor.base_path);
    }
}

/// Reads a key that this server understands; `None` for any other.
fn known(
    key: &str,
    node: &Node,
    options: &mut Options,
    findings: &mut Findings<'_>,
) -> Option<Read<()>> {
    network(key, node, options)
        .or_else(|| limits(key, node, options))
        .or_else(|| times(key, node, options, findings))
        .or_else(|| logs(key, node, options))
        .or_else(|| match key {
            "jetstream" => Some(jetstream::apply(node, options, findings)),
            "jetwake" => Some(jetwake::apply(node, options, findings)),
            "cluster" => Some(cluster::apply(node, &mut options.cluster, findings)),
            "authorization" => Some(auth::apply(node, options, findings)),
            "store_dir" | "storedir" => Some(values::text(node).map(|_| ())),
            _ => None,
        })
}

fn network(key: &str, node: &Node, options: &mut Options) -> Option<Read<()>> {
    Some(match key {
        "listen" => values::listen(node, 4222).map(|(host, port)| {
            if let Some(host) = host {
                options.host = host;
            }
            options.port = port;
        }),
        "host" | "net" => values::text(node).map(|host| options.host = host),
        "port" => values::int(node)
            .and_then(|number| values::port(number, 4222))
            .map(|port| options.port = port),
        "server_name" => values::text(node).and_then(|name| {
            if name.contains(char::is_whitespace) {
                return Err("server name cannot contain spaces".to_owned());
            }
            options.server_name = Some(name);
            Ok(())
        }),
        "client_advertise" => values::text(node).map(|url| options.client_advertise = Some(url)),
        "http" | "http_port" | "monitor_port" => values::listen(node, 0).map(|(host, port)| {
            let host = host.unwrap_or_else(|| options.host.clone());
            let base_path = options
                .monitor
                .take()
                .map(|m| m.base_path)
                .unwrap_or_default();
            options.monitor = Some(MonitorOptions {
                host,
                port,
                base_path,
            });
        }),
        "http_base_path" => values::text(node).map(|_| ()),
        "server_tags" => values::texts(node).map(|tags| options.server_tags = tags),
        _ => return None,
    })
}

fn limits(key: &str, node: &Node, options: &mut Options) -> Option<Read<()>> {
    let target = match key {
        "max_connections" | "max_conn" => &mut options.max_connections,
        "max_subscriptions" | "max_subs" => &mut options.max_subscriptions,
        "max_sub_tokens" | "max_subscription_tokens" => {
            return Some(values::size(node).and_then(|tokens| {
                if tokens > 255 {
                    return Err("value is too big".to_owned());
                }
                options.max_sub_tokens = tokens;
                Ok(())
            }));
        }
        "max_control_line" => &mut options.max_control_line,
        "max_closed_clients" => {
            return Some(values::size(node).map(|most| match most {
                // Zero stands for the default, as in nats-server.
                0 => {}
                most => options.max_closed_clients = most,
            }));
        }
        "max_payload" => &mut options.max_payload,
        "max_pending" => &mut options.max_pending,
        "max_traced_msg_len" => &mut options.log.max_traced_msg_len,
        "no_fast_producer_stall" => {
            return Some(values::boolean(node).map(|no| options.no_fast_producer_stall = no));
        }
        "no_header_support" => {
            return Some(values::boolean(node).map(|no| options.no_header_support = no));
        }
        _ => return None,
    };
    Some(values::size(node).map(|size| *target = size))
}

fn times(
    key: &str,
    node: &Node,
    options: &mut Options,
    findings: &mut Findings<'_>,
) -> Option<Read<()>> {
    let mut duration = || values::duration(node, key, findings);
    Some(match key {
        "ping_interval" => duration().map(|d| options.ping_interval = d),
        "ping_max" => values::size(node).and_then(|pings| {
            options.ping_max = u32::try_from(pings).map_err(|_| "value is too big".to_owned())?;
            Ok(())
        }),
        "write_deadline" => duration().map(|d| options.write_deadline = d),
        "lame_duck_grace_period" => duration().map(|d| options.lame_duck_grace_period = d),
        "lame_duck_duration" => duration().and_then(|d| {
            if d < LAME_DUCK_MIN {
                let nanos = i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
                let given = jetwake_protocol::time::format_duration(nanos);
                return Err(format!(
                    "invalid lame_duck_duration of {given}, minimum is 30 seconds"
                ));
            }
            options.lame_duck_duration = d;
            Ok(())
        }),
        _ => return None,
    })
}

fn logs(key: &str, node: &Node, options: &mut Options) -> Option<Read<()>> {
    let log = &mut options.log;
    Some(match key {
        "debug" => values::boolean(node).map(|on| log.debug = on),
        "trace" | "trace_verbose" => values::boolean(node).map(|on| log.trace = on),
        "logtime" => values::boolean(node).map(|on| log.time = on),
        "logtime_utc" => values::boolean(node).map(|on| log.utc = on),
        "log_file" | "logfile" => values::text(node).map(|file| log.file = Some(file.into())),
        "pid_file" | "pidfile" => {
            values::text(node).map(|file| options.pid_file = Some(file.into()))
        }
        "ports_file_dir" => values::text(node).map(|dir| options.ports_file_dir = Some(dir.into())),
        _ => return None,
    })
}
