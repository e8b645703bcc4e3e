//! What monitoring shows of JetStream.

use jetwake_protocol::jetstream::json::to_json;
use serde_json::Value;

use crate::jetstream::core::JetStream;

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
    /// Each stream.
    pub details: Vec<StreamReport>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: String,
    /// Its configuration.
    pub config: Value,
    /// Its state.
    pub state: Value,
    /// The consumers' infos.
    pub consumers: Vec<Value>,
}
