//! What monitoring shows of this server.
//!
//! A shell module: it reads the clock.

// Monitoring shows the machine's time.
#![allow(clippy::disallowed_methods)]

mod connz;
mod machine;
mod routez;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jetwake_protocol::time;
use tokio::sync::oneshot;

use machine::CpuMeter;

use super::inbox::{Inbox, Mail};
use super::limits::Limits;
use crate::cli::LAZY_SYNC_INTERVAL;
use crate::jetstream::{Depth, Report};
use crate::mesh;
use crate::monitor::report::{
    AccountDetail, ApiStats, Connz, DiskWaits, Empty, Health, JetStreamConfig, JetStreamLimits,
    JetStreamStats, Jsz, KindCounts, Peers, StreamDetail, Subsz, Varz, VarzCluster, VarzJetStream,
};
use crate::monitor::{Answer, ConnzQuery, JszQuery, Source, SubszQuery};
use crate::options::{RouteUrl, SyncPolicy};
use crate::server::Shared;
use crate::version;

/// See the module.
pub(super) struct Reporter {
    shared: Arc<Shared>,
    inbox: Option<Arc<Inbox>>,
    limits: Option<Limits>,
    peers: Arc<OnceLock<mesh::Peers>>,
    cpu: CpuMeter,
}

impl Reporter {
    pub(super) fn new(
        shared: Arc<Shared>,
        inbox: Option<Arc<Inbox>>,
        limits: Option<Limits>,
        peers: Arc<OnceLock<mesh::Peers>>,
    ) -> Self {
        let cpu = CpuMeter::start();
        Self {
            shared,
            inbox,
            limits,
            peers,
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
            // nats-server shows its interval even where it has none.
            SyncPolicy::Always => (true, LAZY_SYNC_INTERVAL),
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

    fn links(&self) -> Vec<mesh::LinkReport> {
        self.peers.get().map_or(Vec::new(), mesh::Peers::report)
    }

    fn cluster(&self) -> VarzCluster {
        let options = &self.shared.options.cluster;
        let name = self.shared.neighbours.name().text;
        let Some(peers) = self.peers.get() else {
            return VarzCluster {
                name,
                ..VarzCluster::default()
            };
        };
        VarzCluster {
            name,
            addr: options.host.clone(),
            cluster_port: Some(peers.address().port()),
            auth_timeout: Some(options.auth_timeout.as_secs_f64()),
            urls: options.routes.iter().map(RouteUrl::address).collect(),
            tls_timeout: Some(2.0),
            pool_size: options.pool_size,
            write_deadline: options.write_deadline.map_or(0, nanos),
        }
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
            connect_urls: shared.neighbours.connect_urls(shared.random()),
            max_connections: options.max_connections,
            max_subscriptions: options.max_subscriptions,
            ping_interval: nanos(options.ping_interval),
            ping_max: options.ping_max,
            http_host: monitor.map(|m| m.host.clone()).unwrap_or_default(),
            // As configured, also where that is -1 for a free one.
            http_port: monitor.map_or(0, |m| if m.port == 0 { -1 } else { i32::from(m.port) }),
            http_base_path: monitor.map(|m| m.base_path.clone()).unwrap_or_default(),
            https_port: 0,
            auth_timeout: options.auth_timeout.as_secs_f64(),
            max_control_line: options.max_control_line,
            max_payload: options.max_payload,
            max_pending: options.max_pending,
            cluster: self.cluster(),
            gateway: Empty {},
            leaf: Empty {},
            mqtt: Empty {},
            websocket: Empty {},
            jetstream: Default::default(),
            tls_timeout: 2.0,
            write_deadline: nanos(options.write_deadline),
            start: rfc3339(shared.started),
            now: rfc3339(SystemTime::now()),
            uptime: elapsed(shared.started, SystemTime::now()),
            mem: machine::resident_bytes(),
            cores,
            gomaxprocs: cores,
            cpu: self.cpu.percent(),
            connections: shared.connection_count(),
            total_connections: incidents.total_connections.load(Ordering::Relaxed),
            routes: self.links().len(),
            remotes: self.peers.get().map_or(0, |peers| peers.all().len()),
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
            feature_flags: version::FEATURE_FLAGS.into(),
            system_account: "$SYS".to_owned(),
            slow_consumer_stats: KindCounts {
                clients: slow,
                ..KindCounts::default()
            },
            stale_connection_stats: KindCounts {
                clients: stale,
                ..KindCounts::default()
            },
            disk_io_wait_stats: DiskWaits::default(),
        }
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
        connz::connz(&self.shared, query)
    }

    fn subsz(&self, query: &SubszQuery) -> Subsz {
        connz::subsz(&self.shared, query)
    }

    fn peers(&self) -> Peers {
        let identity = &self.shared.identity;
        Peers {
            server_id: identity.id.clone(),
            server_name: identity.name.clone(),
            now: rfc3339(SystemTime::now()),
            routes: self
                .links()
                .into_iter()
                .map(|link| routez::route(&self.shared, link))
                .collect(),
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
                meta_cluster: report.cluster.clone(),
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
                (Some(_), Some(report)) if !report.failed => {
                    report.ailing.map_or(Health::Ok, Health::Unavailable)
                }
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
        ha_assets: u32::try_from(report.ha_assets).unwrap_or(u32::MAX),
        api: ApiStats {
            level: 5,
            total: report.api_total,
            errors: report.api_errors,
        },
    }
}

/// The one account, whose requests are all there are.
fn account(report: Report, query: &JszQuery) -> AccountDetail {
    let streams = report.details.into_iter().map(|stream| StreamDetail {
        name: stream.name,
        created: stream.created,
        cluster: stream.cluster,
        config: query.config.then_some(stream.config),
        state: stream.state,
        consumer_detail: stream.consumers,
        stream_raft_group: stream.raft_group,
    });
    AccountDetail {
        name: GLOBAL.to_owned(),
        id: GLOBAL.to_owned(),
        stats: JetStreamStats {
            memory: report.memory,
            storage: report.storage,
            reserved_memory: u64::MAX,
            reserved_storage: u64::MAX,
            api: ApiStats {
                level: 0,
                total: report.api_total,
                errors: report.api_errors,
            },
            ..JetStreamStats::default()
        },
        stream_detail: streams.collect(),
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

/// How long from one time to another: `16m19s`, `1d2h3m4s`.
fn elapsed(from: SystemTime, until: SystemTime) -> String {
    let seconds = until.duration_since(from).unwrap_or_default().as_secs();
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
