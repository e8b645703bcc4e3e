//! The answer to `$JS.API.INFO`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::is_zero;

/// Limits of an account, -1 for none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountLimits {
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes on disk.
    #[serde(rename = "max_storage")]
    pub max_store: i64,
    /// Streams.
    pub max_streams: i64,
    /// Consumers.
    pub max_consumers: i64,
    /// Ceiling of `max_ack_pending`.
    pub max_ack_pending: i64,
    /// Ceiling of `max_bytes` in memory.
    pub memory_max_stream_bytes: i64,
    /// Ceiling of `max_bytes` on disk.
    #[serde(rename = "storage_max_stream_bytes")]
    pub store_max_stream_bytes: i64,
    /// Whether streams must have `max_bytes`.
    pub max_bytes_required: bool,
}

impl AccountLimits {
    /// No limits at all.
    pub const UNLIMITED: AccountLimits = AccountLimits {
        max_memory: -1,
        max_store: -1,
        max_streams: -1,
        max_consumers: -1,
        max_ack_pending: -1,
        memory_max_stream_bytes: -1,
        store_max_stream_bytes: -1,
        max_bytes_required: false,
    };
}

impl Default for AccountLimits {
    fn default() -> Self {
        AccountLimits::UNLIMITED
    }
}

/// What an account uses, of what it may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountTier {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    #[serde(rename = "storage")]
    pub store: u64,
    /// Bytes of memory promised to streams.
    pub reserved_memory: u64,
    /// Bytes of disk promised to streams.
    #[serde(rename = "reserved_storage")]
    pub reserved_store: u64,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// What it may use.
    pub limits: AccountLimits,
}

/// Use of the API itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ApiStats {
    /// The API level of this server.
    pub level: u32,
    /// Requests.
    pub total: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests being worked on.
    #[serde(skip_serializing_if = "is_zero")]
    pub inflight: u64,
}

/// Everything about an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccountInfo {
    /// Use and limits over all tiers.
    #[serde(flatten)]
    pub tier: AccountTier,
    /// The JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Use of the API.
    pub api: ApiStats,
    /// Use and limits by tier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, AccountTier>,
}
