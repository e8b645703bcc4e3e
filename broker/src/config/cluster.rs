//! The `cluster` block.

use std::time::Duration;

use jetwake_protocol::conf::{Node, Value};

use super::values::{self, Read};
use super::{Findings, auth};
use crate::options::{ClusterOptions, Credentials, RouteUrl};

/// Keys of nats-server that this server has nothing behind yet.
const NOT_BUILT: &[&str] = &["tls", "permissions", "accounts"];
/// nats-server's routes are pinged at least this often.
const PING_INTERVAL_MAX: Duration = Duration::from_secs(30);

pub(super) fn apply(
    node: &Node,
    cluster: &mut ClusterOptions,
    findings: &mut Findings<'_>,
) -> Read<()> {
    let Value::Map(map) = &node.value else {
        let given = node.value.go_type();
        return Err(format!("Expected map to define cluster, got {given}"));
    };
    for entry in map {
        let key = entry.key.to_ascii_lowercase();
        let node = &entry.node;
        let read = place(&key, node, cluster)
            .or_else(|| behaviour(&key, node, cluster, findings))
            .unwrap_or_else(|| {
                if !entry.used {
                    findings.unknown(&entry.key, node, NOT_BUILT);
                }
                Ok(())
            });
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    Ok(())
}

/// Where the server listens, what it is called, and whom it dials.
fn place(key: &str, node: &Node, cluster: &mut ClusterOptions) -> Option<Read<()>> {
    Some(match key {
        "name" => values::text(node).and_then(|name| {
            if name.contains(char::is_whitespace) {
                return Err("cluster name cannot contain spaces".to_owned());
            }
            cluster.name = Some(name).filter(|name| !name.is_empty());
            Ok(())
        }),
        "listen" => listen(node, cluster),
        "host" | "net" => values::text(node).map(|host| cluster.host = host),
        "port" => values::int(node)
            .and_then(port)
            .map(|port| cluster.port = port),
        "advertise" | "cluster_advertise" => {
            values::text(node).map(|address| cluster.advertise = Some(address))
        }
        _ => return None,
    })
}

fn behaviour(
    key: &str,
    node: &Node,
    cluster: &mut ClusterOptions,
    findings: &mut Findings<'_>,
) -> Option<Read<()>> {
    Some(match key {
        "routes" => routes(node, findings).map(|routes| cluster.routes = routes),
        "authorization" => authorization(node, cluster, findings),
        "no_advertise" => values::boolean(node).map(|no| cluster.no_advertise = no),
        "connect_retries" => values::int(node).map(|retries| {
            // Less than none is none.
            cluster.connect_retries = u32::try_from(retries.max(0)).unwrap_or(u32::MAX);
        }),
        "connect_backoff" => values::boolean(node).map(|on| cluster.connect_backoff = on),
        "pool_size" => values::int(node).map(|size| cluster.pool_size = size),
        "compression" => compression(node),
        "ping_interval" => values::duration(node, key, findings).map(|interval| {
            if interval > PING_INTERVAL_MAX {
                let text = "Cluster 'ping_interval' will reset to 30s which is the max for routes";
                findings.warn(node.position, text);
            }
            cluster.ping_interval = Some(interval.min(PING_INTERVAL_MAX));
        }),
        "ping_max" => values::size(node).and_then(|pings| {
            let pings = u32::try_from(pings).map_err(|_| "value is too big".to_owned())?;
            cluster.ping_max = Some(pings);
            Ok(())
        }),
        "write_deadline" => values::duration(node, key, findings)
            .map(|deadline| cluster.write_deadline = Some(deadline)),
        "write_timeout" => write_timeout(node),
        _ => return None,
    })
}

/// `host:port`, or a port alone.
fn listen(node: &Node, cluster: &mut ClusterOptions) -> Read<()> {
    let (host, number) = values::address(node)?;
    cluster.port = port(number)?;
    if let Some(host) = host {
        cluster.host = host;
    }
    Ok(())
}

/// -1 takes a free port, 0 is no cluster.
fn port(number: i64) -> Read<Option<u16>> {
    match number {
        0 => Ok(None),
        number => values::port(number, 0).map(Some),
    }
}

fn routes(node: &Node, findings: &mut Findings<'_>) -> Read<Vec<RouteUrl>> {
    let Value::Array(items) = &node.value else {
        let given = node.value.go_type();
        return Err(format!(
            "interface conversion: interface {{}} is {given}, not []interface {{}}"
        ));
    };
    let mut routes: Vec<RouteUrl> = Vec::new();
    for item in items {
        match values::text(item).and_then(|text| RouteUrl::parse(&text)) {
            Ok(url) if routes.contains(&url) => {
                let text =
                    format!("invalid use of field \"{url}\": Duplicate route entry detected");
                findings.warn(item.position, &text);
            }
            Ok(url) => routes.push(url),
            Err(text) => findings.error(item.position, &text),
        }
    }
    Ok(routes)
}

fn authorization(
    node: &Node,
    cluster: &mut ClusterOptions,
    findings: &mut Findings<'_>,
) -> Read<()> {
    let Value::Map(map) = &node.value else {
        return Err(format!(
            "expected a map to define authorization, got {}",
            node.value.go_type()
        ));
    };
    let (mut user, mut password) = (None, None);
    for entry in map {
        let node = &entry.node;
        let read = match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => values::text(node).map(|text| user = Some(text)),
            "pass" | "password" => values::text(node).map(|text| password = Some(text)),
            "timeout" => auth::timeout(node, findings).map(|time| cluster.auth_timeout = time),
            "users" => return Err("Cluster authorization does not allow multiple users".to_owned()),
            "token" => return Err("Cluster authorization does not support tokens".to_owned()),
            _ if entry.used => Ok(()),
            _ => {
                findings.unknown(&entry.key, node, NOT_BUILT);
                Ok(())
            }
        };
        if let Err(text) = read {
            findings.error(node.position, &text);
        }
    }
    if let Some(user) = user {
        let password = password.unwrap_or_default();
        cluster.credentials = Some(Credentials { user, password });
    }
    Ok(())
}

/// Links are not compressed: only what says so is true.
fn compression(node: &Node) -> Read<()> {
    let mode = match &node.value {
        Value::Bool(false) => return Ok(()),
        Value::Bool(true) => "on".to_owned(),
        Value::Text(mode) => mode.to_ascii_lowercase(),
        Value::Map(_) => "a table of modes".to_owned(),
        _ => {
            return Err(format!(
                "unsupported compression mode {:?}",
                node.value.go_type()
            ));
        }
    };
    match mode.as_str() {
        "off" | "disabled" | "none" | "false" | "accept" | "not supported" => Ok(()),
        "on" | "enabled" | "true" | "auto" | "fast" | "better" | "best" | "s2_auto" | "s2_fast"
        | "s2_better" | "s2_best" | "s2_uncompressed" | "a table of modes" => Err(format!(
            "compression {mode:?} is not supported yet by this server"
        )),
        _ => Err(format!("unsupported compression mode {mode:?}")),
    }
}

/// A node that does not read in time is cut: what was sent to it can only be complete or repeated.
fn write_timeout(node: &Node) -> Read<()> {
    match values::text(node)?.as_str() {
        "default" | "close" => Ok(()),
        "retry" => Err("write_timeout \"retry\" is not supported yet by this server".to_owned()),
        _ => Err("write_timeout must be 'default', 'close' or 'retry'".to_owned()),
    }
}
