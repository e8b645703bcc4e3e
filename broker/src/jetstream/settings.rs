//! What JetStream is told when it starts. Immutable afterwards.

use crate::jetstream::io::{AccountId, NodeId};

/// Settings of the JetStream core.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's name, as shown in stream info and advisories.
    pub server_name: String,
    /// The JetStream domain.
    pub domain: Option<String>,
    /// Whether unknown fields of API requests are errors.
    pub strict: bool,
    /// Most bytes of memory streams.
    pub max_memory: u64,
    /// Most bytes of file streams.
    pub max_file: u64,
    /// Most bytes that one batched direct get sends.
    pub max_pending: u64,
    /// Largest message that the server takes, headers and payload.
    pub max_payload: u64,
    /// Bytes of complete journal files that are kept before their messages move to segments. More
    /// of them spare short-lived messages the move, and take longer to read after a crash.
    pub keep: u64,
    /// Nanoseconds in which everything that is stored in files is read once, 0 for never.
    pub scrub_period: i64,
    /// Largest `max_ack_pending` of a consumer, 0 for no limit.
    pub max_ack_pending: i64,
    /// Largest `max_batch` of a consumer, 0 for no limit.
    pub max_request_batch: i64,
    /// Largest `duplicate_window` of a stream in nanoseconds, 0 for no limit.
    pub max_duplicate_window: i64,
    /// Most consumers of a stream that sets no limit itself, 0 for no limit.
    pub default_max_consumers: usize,
    /// The accounts that have JetStream.
    pub accounts: Vec<AccountId>,
    /// The cluster that this server is part of.
    pub cluster: Option<ClusterSettings>,
}

/// What the core is told of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The cluster's name.
    pub name: String,
    /// A number for this node, if its directory has none yet: random, not 0.
    pub node: NodeId,
    /// How many other nodes the configuration names.
    pub routes: usize,
    /// This server's tags.
    pub tags: Vec<String>,
    /// Replicas of a stream go to servers whose tags with this in front differ; empty if that does not matter.
    pub unique_tag: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            domain: None,
            strict: true,
            max_memory: u64::MAX,
            max_file: u64::MAX,
            max_pending: 64 << 20,
            max_payload: 1 << 20,
            keep: 32 << 20,
            scrub_period: 30 * 86_400 * 1_000_000_000,
            max_ack_pending: 0,
            max_request_batch: 0,
            max_duplicate_window: 0,
            default_max_consumers: 1000,
            accounts: vec![0],
            cluster: None,
        }
    }
}

impl Settings {
    /// What API subjects start with: `$JS.API`, and `$JS.<domain>.API` if there is a domain.
    pub(crate) fn api_prefixes(&self) -> impl Iterator<Item = String> + use<> {
        let domain = self
            .domain
            .as_ref()
            .map(|domain| format!("$JS.{domain}.API"));
        std::iter::once("$JS.API".to_owned()).chain(domain)
    }
}
