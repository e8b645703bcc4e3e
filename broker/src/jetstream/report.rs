//! What monitoring shows of JetStream.

use jetwake_protocol::jetstream::stream::PeerInfo;
use jetwake_protocol::jetstream::time::Time;
use serde::Serialize;
use serde_json::Value;

use crate::jetstream::core::{Core, JetStream};
use crate::jetstream::env::Env;
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::stream::Stream;

/// How much a report tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depth {
    /// Each stream.
    pub streams: bool,
    /// Each consumer of each stream.
    pub consumers: bool,
}

/// Numbers of the whole server, and its streams if asked for.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes of memory streams.
    pub memory: u64,
    /// Bytes of file streams.
    pub storage: u64,
    /// Sum of `max_bytes` of memory streams.
    pub reserved_memory: u64,
    /// Sum of `max_bytes` of file streams.
    pub reserved_storage: u64,
    /// Accounts that have JetStream.
    pub accounts: usize,
    /// API calls.
    pub api_total: u64,
    /// API calls that were answered with an error.
    pub api_errors: u64,
    /// Number of streams.
    pub streams: usize,
    /// Number of consumers.
    pub consumers: usize,
    /// Stored messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the store has failed: nothing can be written any more.
    pub failed: bool,
    /// Groups that this node is a member of.
    pub ha_assets: usize,
    /// The group of all nodes, if this is a node of a cluster.
    pub cluster: Option<MetaCluster>,
    /// Why this node is not healthy, if it is not.
    pub ailing: Option<String>,
    /// Each stream.
    pub details: Vec<StreamReport>,
}

/// The group of all nodes, in the form of `/jsz`.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "fields of a form")]
pub struct MetaCluster {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub leader: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<PeerInfo>,
    pub cluster_size: usize,
    pub quorum_needed: usize,
    pub pending: usize,
    pub pending_requests: usize,
    pub pending_infos: usize,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Value,
    /// Its configuration.
    pub config: Value,
    /// Who has it.
    pub cluster: Value,
    /// The name of its group, empty without one.
    pub raft_group: String,
    /// Its state.
    pub state: Value,
    /// The consumers' infos.
    pub consumers: Vec<Value>,
}

impl JetStream {
    /// What monitoring shows.
    pub fn report(&mut self, depth: Depth, now: Timestamp, out: &mut dyn Outbox) -> Report {
        self.core_mut().report(depth, now, out)
    }
}

impl Core {
    fn report(&mut self, depth: Depth, now: Timestamp, out: &mut dyn Outbox) -> Report {
        let mut report = Report {
            failed: self.log.failed,
            ..Report::default()
        };
        for account in self.accounts() {
            report.accounts += 1;
            report.memory += account.memory;
            report.storage += account.storage;
            report.reserved_memory += account.reserved_memory;
            report.reserved_storage += account.reserved_storage;
            report.api_total += account.api_total;
            report.api_errors += account.api_errors;
        }
        report.ha_assets = self.log.replicas.numbers().len();
        report.cluster = self.meta_cluster(now);
        report.ailing = self.ailing(now);
        for id in self.streams.ids() {
            let group = self.streams.get(id).and_then(|stream| stream.group);
            let assigned = group.and_then(|group| self.cluster.meta.by_group(group));
            let raft_group = assigned.map(|(_, one)| one.raft_name.clone());
            let info = group.and_then(|group| self.cluster_info(group, now));
            let cluster = info.unwrap_or_else(|| Stream::leader(&self.settings));
            self.with_stream(id, now, out, |stream, env| {
                add(stream, depth, env, &mut report)
            });
            if let Some(last) = report.details.last_mut().filter(|_| depth.streams) {
                last.cluster = json(&cluster);
                last.raft_group = raft_group.unwrap_or_default();
            }
        }
        report.details.sort_by(|a, b| a.name.cmp(&b.name));
        report
    }
}

fn add(stream: &mut Stream, depth: Depth, env: &mut Env<'_>, report: &mut Report) {
    let state = stream.state();
    report.streams += 1;
    report.consumers += stream.consumers.visible();
    report.messages += state.messages;
    report.bytes += state.bytes;
    if !depth.streams {
        return;
    }
    let mut consumers = Vec::new();
    if depth.consumers {
        for id in stream.consumers.ids() {
            consumers.extend(stream.consumer_info(id, env).map(|info| json(&info)));
        }
    }
    report.details.push(StreamReport {
        name: stream.config.name.clone(),
        created: json(&Time::from_nanos(stream.created)),
        config: json(&stream.config),
        cluster: Value::Null,
        raft_group: String::new(),
        state: json(&state),
        consumers,
    });
}

fn json(value: &impl Serialize) -> Value {
    // Types of the API always have a JSON form.
    serde_json::to_value(value).unwrap_or_default()
}
