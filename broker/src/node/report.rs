//! What monitoring shows of this server.
//!
//! A shell module: it reads the clock and asks the operating system about the process.

// The process's own numbers come from the operating system's files.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jetwake_protocol::time;
use tokio::sync::oneshot;

use super::inbox::{Inbox, Mail};
use super::limits::Limits;
use crate::jetstream::{Depth, Report};
use crate::monitor::report::{
    AccountDetail, ApiStats, Connection as ConnectionReport, Connz, Empty, Health, JetStreamConfig,
    JetStreamLimits, JetStreamStats, Jsz, KindCounts, StreamDetail, SubDetail, Varz, VarzJetStream,
};
use crate::monitor::{Answer, ConnzQuery, JszQuery, Source, Subs};
use crate::options::SyncPolicy;
use crate::server::{Connection, Shared};
use crate::version;

/// See the module.
pub(super) struct Reporter {
    shared: Arc<Shared>,
    inbox: Option<Arc<Inbox>>,
    limits: Option<Limits>,
    monitor_addr: OnceLock<SocketAddr>,
    cpu: CpuMeter,
}

impl Reporter {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Option<Arc<Inbox>>,
        limits: Option<Limits>,
    ) -> Self {
        let (monitor_addr, cpu) = (OnceLock::new(), CpuMeter::start());
        Self {
            shared,
            inbox,
            limits,
            monitor_addr,
            cpu,
        }
    }

    /// Asks the JetStream thread; `None` when JetStream is off or gone.
    async fn look(&self, depth: Depth) -> Option<Report> {
        let (answer, answered) = oneshot::channel();
        self.inbox
            .as_ref()?
            .post(Mail::Look(Box::new(move |jetstream, now, out| {
                // Whoever asked may have gone meanwhile.
                let _ = answer.send(jetstream.report(depth, now, out));
            })));
        answered.await.ok()
    }

    fn jetstream_limits(&self) -> Option<JetStreamLimits> {
        let limits = self.shared.options.jetstream.as_ref()?.limits;
        Some(JetStreamLimits {
            max_request_batch: limits.max_request_batch,
            max_ack_pending: limits.max_ack_pending,
            max_duplicate_window: nanos(limits.duplicate_window),
            default_max_consumers: limits.default_max_consumers,
        })
    }

    fn jetstream_config(&self) -> Option<JetStreamConfig> {
        let (options, limits) = (self.shared.options.jetstream.as_ref()?, self.limits?);
        let (sync_always, sync_interval) = match options.sync {
            SyncPolicy::Always => (true, Duration::ZERO),
            SyncPolicy::Lazy(every) => (false, every),
        };
        Some(JetStreamConfig {
            max_memory: limits.max_memory,
            max_storage: limits.max_file,
            store_dir: options.data_dir().display().to_string(),
            sync_interval: nanos(sync_interval),
            sync_always,
            domain: options.domain.clone().unwrap_or_default(),
            strict: options.strict,
        })
    }

    /// Where monitoring listens, once it does.
    pub(super) fn monitor_at(&self, addr: SocketAddr) {
        // It is told once.
        let _ = self.monitor_addr.set(addr);
    }

    fn general(&self, http_req_stats: BTreeMap<String, u64>) -> Varz {
        let shared = &self.shared;
        let options = &shared.options;
        let (inbound, outbound) = (shared.traffic.inbound(), shared.traffic.outbound());
        let incidents = &shared.incidents;
        let slow = incidents.slow_consumers.load(Ordering::Relaxed);
        let stale = incidents.stale_connections.load(Ordering::Relaxed);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let monitor = options.monitor.as_ref();
        Varz {
            server_id: shared.identity.id.clone(),
            server_name: shared.identity.name.clone(),
            version: version::CLAIMED.to_owned(),
            proto: 1,
            git_commit: version::GIT_COMMIT.to_owned(),
            go: version::GO.to_owned(),
            host: options.host.clone(),
            port: shared.address.port(),
            auth_required: options.auth.is_some(),
            max_connections: options.max_connections,
            max_subscriptions: options.max_subscriptions,
            ping_interval: nanos(options.ping_interval),
            ping_max: options.ping_max,
            http_host: monitor.map(|m| m.host.clone()).unwrap_or_default(),
            http_port: self.monitor_addr.get().map_or(0, SocketAddr::port),
            http_base_path: monitor.map(|m| m.base_path.clone()).unwrap_or_default(),
            https_port: 0,
            auth_timeout: options.auth_timeout.as_secs_f64(),
            max_control_line: options.max_control_line,
            max_payload: options.max_payload,
            max_pending: options.max_pending,
            cluster: Empty {},
            gateway: Empty {},
            leaf: Empty {},
            mqtt: Empty {},
            websocket: Empty {},
            jetstream: Default::default(),
            tls_timeout: 2.0,
            write_deadline: nanos(options.write_deadline),
            start: rfc3339(shared.started),
            now: rfc3339(SystemTime::now()),
            uptime: ago(shared.started),
            mem: resident_bytes(),
            cores,
            gomaxprocs: cores,
            cpu: self.cpu.percent(),
            connections: shared.connection_count(),
            total_connections: incidents.total_connections.load(Ordering::Relaxed),
            routes: 0,
            remotes: 0,
            leafnodes: 0,
            in_msgs: inbound.msgs,
            in_bytes: inbound.bytes,
            in_client_msgs: inbound.msgs,
            in_client_bytes: inbound.bytes,
            out_msgs: outbound.msgs,
            out_bytes: outbound.bytes,
            out_client_msgs: outbound.msgs,
            out_client_bytes: outbound.bytes,
            slow_consumers: slow,
            stale_connections: stale,
            stalled_clients: incidents.stalled_clients.load(Ordering::Relaxed),
            subscriptions: shared.subscription_count(),
            http_req_stats,
            config_load_time: rfc3339(shared.started),
            config_digest: options.config_digest.clone(),
            tags: options.server_tags.clone(),
            system_account: "$SYS".to_owned(),
            slow_consumer_stats: KindCounts {
                clients: slow,
                ..KindCounts::default()
            },
            stale_connection_stats: KindCounts {
                clients: stale,
                ..KindCounts::default()
            },
        }
    }

    fn connection(&self, connection: &Connection, query: &ConnzQuery) -> ConnectionReport {
        let details = connection.client();
        let (inbound, outbound) = (connection.traffic.inbound(), connection.traffic.outbound());
        let active = self.shared.started + Duration::from_nanos(connection.last_activity());
        let subs = self.subscriptions(connection, query.subs);
        let rtt = i64::try_from(connection.rtt()).unwrap_or(0);
        ConnectionReport {
            cid: connection.id,
            kind: "Client".to_owned(),
            transport: "nats".to_owned(),
            ip: connection.address.ip().to_string(),
            port: connection.address.port(),
            start: rfc3339(connection.started),
            last_activity: rfc3339(active.max(connection.started)),
            rtt: if rtt > 0 {
                time::format_duration(rtt)
            } else {
                String::new()
            },
            uptime: ago(connection.started),
            idle: ago(active.max(connection.started)),
            pending_bytes: connection.pending(),
            in_msgs: inbound.msgs,
            out_msgs: outbound.msgs,
            in_bytes: inbound.bytes,
            out_bytes: outbound.bytes,
            subscriptions: connection.subscription_count(),
            name: details.name,
            lang: details.lang,
            version: details.version,
            authorized_user: if query.auth {
                details.user
            } else {
                String::new()
            },
            account: if query.auth {
                details.account
            } else {
                String::new()
            },
            subscriptions_list: match query.subs {
                Subs::Subjects => subs.iter().map(|sub| sub.subject.clone()).collect(),
                _ => Vec::new(),
            },
            subscriptions_list_detail: if query.subs == Subs::Detail {
                subs
            } else {
                Vec::new()
            },
        }
    }

    fn subscriptions(&self, connection: &Connection, subs: Subs) -> Vec<SubDetail> {
        let mut list = Vec::new();
        if subs != Subs::None {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            connection.each_subscription(|subject, queue, sid, msgs, max| {
                list.push(SubDetail {
                    subject: text(subject),
                    qgroup: queue.map(text).unwrap_or_default(),
                    sid: text(sid),
                    msgs,
                    max,
                    cid: connection.id,
                    ..SubDetail::default()
                });
            });
        }
        list
    }
}

impl Source for Reporter {
    fn varz(&self, requests: BTreeMap<String, u64>) -> Answer<'_, Varz> {
        Box::pin(async move {
            let mut varz = self.general(requests);
            if let Some(report) = self.look(Depth::default()).await {
                varz.jetstream = VarzJetStream {
                    config: self.jetstream_config(),
                    stats: Some(stats(&report)),
                    limits: self.jetstream_limits(),
                };
            }
            varz
        })
    }

    fn connz(&self, query: &ConnzQuery) -> Connz {
        let mut connections: Vec<ConnectionReport> = self
            .shared
            .connections()
            .iter()
            .filter(|connection| query.cid.is_none_or(|cid| connection.id == cid))
            .map(|connection| self.connection(connection, query))
            .collect();
        sort(&mut connections, &query.sort);
        let total = connections.len();
        let offset = query.offset.min(total);
        let page: Vec<_> = connections.drain(offset..).take(query.limit).collect();
        Connz {
            server_id: self.shared.identity.id.clone(),
            now: rfc3339(SystemTime::now()),
            num_connections: page.len(),
            total,
            offset: query.offset,
            limit: query.limit,
            connections: page,
        }
    }

    fn jsz(&self, query: JszQuery) -> Answer<'_, Jsz> {
        Box::pin(async move {
            let (server_id, now) = (self.shared.identity.id.clone(), rfc3339(SystemTime::now()));
            let depth = Depth {
                streams: query.streams,
                consumers: query.consumers,
            };
            let Some(report) = self.look(depth).await else {
                return Jsz {
                    server_id,
                    now,
                    disabled: true,
                    ..Jsz::default()
                };
            };
            let wanted = query.account.as_deref().is_none_or(|name| name == GLOBAL);
            let detailed = (query.accounts || query.account.is_some()) && wanted;
            Jsz {
                stats: stats(&report),
                server_id,
                now,
                disabled: false,
                config: self.jetstream_config().unwrap_or_default(),
                limits: self.jetstream_limits(),
                streams: report.streams,
                consumers: report.consumers,
                messages: report.messages,
                bytes: report.bytes,
                total: report.accounts,
                account_details: if detailed {
                    vec![account(report, &query)]
                } else {
                    Vec::new()
                },
            }
        })
    }

    fn healthz(&self) -> Answer<'_, Health> {
        Box::pin(async move {
            match (&self.inbox, self.look(Depth::default()).await) {
                (None, _) => Health::Ok,
                (Some(_), Some(report)) if !report.failed => Health::Ok,
                _ => {
                    Health::Unavailable("JetStream is not available: its storage failed".to_owned())
                }
            }
        })
    }
}

/// The account of everybody.
const GLOBAL: &str = "$G";

fn stats(report: &Report) -> JetStreamStats {
    JetStreamStats {
        memory: report.memory,
        storage: report.storage,
        reserved_memory: report.reserved_memory,
        reserved_storage: report.reserved_storage,
        accounts: report.accounts,
        ha_assets: 0,
        api: ApiStats {
            level: 5,
            total: report.api_total,
            errors: report.api_errors,
        },
    }
}

/// The one account. Its own counters of the API are not told apart, as on nats-server.
fn account(report: Report, query: &JszQuery) -> AccountDetail {
    let streams = report.details.into_iter().map(|stream| StreamDetail {
        name: stream.name,
        created: stream.created,
        config: query.config.then_some(stream.config),
        state: stream.state,
        consumer_detail: stream.consumers,
    });
    AccountDetail {
        name: GLOBAL.to_owned(),
        id: GLOBAL.to_owned(),
        stats: JetStreamStats {
            memory: report.memory,
            storage: report.storage,
            reserved_memory: u64::MAX,
            reserved_storage: u64::MAX,
            ..JetStreamStats::default()
        },
        stream_detail: streams.collect(),
    }
}
/// Counters sort with the largest first, names and times ascending.
fn sort(connections: &mut [ConnectionReport], key: &str) {
    use std::cmp::Reverse;
    match key {
        "subs" => connections.sort_by_key(|c| Reverse(c.subscriptions)),
        "pending" => connections.sort_by_key(|c| Reverse(c.pending_bytes)),
        "msgs_to" => connections.sort_by_key(|c| Reverse(c.out_msgs)),
        "msgs_from" => connections.sort_by_key(|c| Reverse(c.in_msgs)),
        "bytes_to" => connections.sort_by_key(|c| Reverse(c.out_bytes)),
        "bytes_from" => connections.sort_by_key(|c| Reverse(c.in_bytes)),
        "last" => connections.sort_by(|a, b| b.last_activity.cmp(&a.last_activity)),
        "idle" => connections.sort_by(|a, b| a.last_activity.cmp(&b.last_activity)),
        "start" | "uptime" => connections.sort_by(|a, b| a.start.cmp(&b.start)),
        "rtt" => connections.sort_by(|a, b| a.rtt.cmp(&b.rtt)),
        _ => connections.sort_by_key(|c| c.cid),
    }
}

/// A time of the machine as RFC 3339.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    time::format_time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How long ago: `16m19s`, `1d2h3m4s`.
fn ago(at: SystemTime) -> String {
    let seconds = SystemTime::now()
        .duration_since(at)
        .unwrap_or_default()
        .as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let (years, days, seconds) = (days / 365, days % 365, seconds % 60);
    let parts = [(years, 'y'), (days, 'd'), (hours, 'h'), (minutes, 'm')];
    let mut text = String::new();
    for (value, unit) in parts {
        if value > 0 || !text.is_empty() {
            text.push_str(&format!("{value}{unit}"));
        }
    }
    format!("{text}{seconds}s")
}

fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Processor time of this process since the last question.
struct CpuMeter {
    last: parking_lot::Mutex<(std::time::Instant, Duration)>,
}

impl CpuMeter {
    fn start() -> Self {
        Self {
            last: parking_lot::Mutex::new((std::time::Instant::now(), cpu_time())),
        }
    }

    /// Percent of one processor.
    fn percent(&self) -> f64 {
        let (now, used) = (std::time::Instant::now(), cpu_time());
        let (then, before) = std::mem::replace(&mut *self.last.lock(), (now, used));
        let wall = now.duration_since(then).as_secs_f64();
        if wall <= 0.0 {
            return 0.0;
        }
        (used.saturating_sub(before).as_secs_f64() / wall * 1000.0).round() / 10.0
    }
}

fn cpu_time() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(at.tv_sec).unwrap_or(0),
        u32::try_from(at.tv_nsec).unwrap_or(0),
    )
}
