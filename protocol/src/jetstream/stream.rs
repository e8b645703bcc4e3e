//! Stream configuration, state and info, in the field order of the API.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::error::ApiError;
use super::is_zero;
use super::json::{Decode, DecodeError, Kind, Rules, Value, go_quote, object, wire_enum};
use super::time::Time;

fn cannot_unmarshal(raw: &str) -> String {
    format!("can not unmarshal {}", go_quote(raw))
}

wire_enum! {
    /// What a stream keeps messages for.
    pub enum RetentionPolicy {
        /// Until a limit is reached.
        Limits = "limits",
        /// Until every interested consumer is done with them.
        Interest = "interest",
        /// Until one consumer is done with them.
        WorkQueue = "workqueue",
    } else cannot_unmarshal
}

wire_enum! {
    /// Where a stream keeps messages.
    pub enum StorageType {
        /// On disk.
        File = "file",
        /// In memory.
        Memory = "memory",
    } else cannot_unmarshal
}

wire_enum! {
    /// When a publish is acknowledged.
    pub enum PersistMode {
        /// When it is as durable as the server promises.
        Default = "default" | "",
        /// Possibly before it is written.
        Async = "async",
    } else cannot_unmarshal
}

/// What gives way when a stream is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DiscardPolicy {
    /// The oldest messages.
    #[default]
    Old,
    /// The new message.
    New,
}

impl DiscardPolicy {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            DiscardPolicy::Old => "old",
            DiscardPolicy::New => "new",
        }
    }
}

impl Serialize for DiscardPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Decode for DiscardPolicy {
    fn decode(&mut self, value: &Value<'_>, _: &str, _: Rules) -> Result<(), DecodeError> {
        // The one enumeration whose words match in any case.
        *self = match value.raw.to_ascii_lowercase().as_slice() {
            br#""old""# => DiscardPolicy::Old,
            br#""new""# => DiscardPolicy::New,
            _ => {
                let raw = String::from_utf8_lossy(value.raw);
                return Err(DecodeError::Text(cannot_unmarshal(&raw)));
            }
        };
        Ok(())
    }
}

/// How stored messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With S2.
    S2,
}

impl Compression {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::S2 => "s2",
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Decode for Compression {
    fn decode(&mut self, value: &Value<'_>, _: &str, _: Rules) -> Result<(), DecodeError> {
        let unknown = || DecodeError::Text("unknown compression algorithm".to_owned());
        let word = match &value.kind {
            Kind::Null => return Err(unknown()),
            Kind::String(word) => word,
            // The reference reads the word on its own here, without the path to it.
            other => {
                let text = format!(
                    "json: cannot unmarshal {} into Go value of type string",
                    other.name()
                );
                return Err(DecodeError::Text(text));
            }
        };
        *self = match word.as_ref() {
            "none" => Compression::None,
            "s2" => Compression::S2,
            _ => return Err(unknown()),
        };
        Ok(())
    }
}

/// Where the replicas of a stream should live.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Tags that every server must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The server that should lead; only for step-down requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preferred: String,
}

object!(Placement {
    "cluster" => cluster: "string",
    "tags" => tags: "[]string",
    "preferred" => preferred: "string",
});

/// A rule that renames subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubjectTransform {
    /// The subjects it applies to.
    pub src: String,
    /// What they become.
    pub dest: String,
}

object!(SubjectTransform {
    "src" => src: "string",
    "dest" => dest: "string",
});

/// A rule that publishes stored messages again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RePublish {
    /// The stored subjects it applies to, everything if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// The subject to publish on.
    pub dest: String,
    /// Whether payloads are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub headers_only: bool,
}

object!(RePublish {
    "src" => src: "string",
    "dest" => dest: "string",
    "headers_only" => headers_only: "bool",
});

/// How to reach the JetStream API of another account or domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExternalStream {
    /// The prefix that replaces `$JS.API`.
    pub api: String,
    /// The prefix of the deliver subject.
    pub deliver: String,
}

object!(ExternalStream {
    "api" => api: "string",
    "deliver" => deliver: "string",
});

/// A consumer at the origin that the user made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamConsumerSource {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it delivers to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
}

object!(StreamConsumerSource {
    "name" => name: "string",
    "deliver_subject" => deliver_subject: "string",
});

/// A stream that is copied from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamSource {
    /// The name of the stream.
    pub name: String,
    /// The first sequence to copy.
    #[serde(skip_serializing_if = "is_zero")]
    pub opt_start_seq: u64,
    /// The time to copy from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Time>,
    /// The subjects to copy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Filters that rename at the same time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// How to reach it, if it is not in this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// The consumer to use there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<StreamConsumerSource>,
}

object!(StreamSource {
    "name" => name: "string",
    "opt_start_seq" => opt_start_seq: "uint64",
    "opt_start_time" => opt_start_time: "time.Time",
    "filter_subject" => filter_subject: "string",
    "subject_transforms" => subject_transforms: "[]server.SubjectTransformConfig",
    "external" => external: "server.ExternalStream",
    "consumer" => consumer: "server.StreamConsumerSource",
});

/// Defaults and ceilings for the consumers of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamConsumerLimits {
    /// For `inactive_threshold`, in nanoseconds; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive_threshold: i64,
    /// For `max_ack_pending`; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
}

object!(StreamConsumerLimits {
    "inactive_threshold" => inactive_threshold: "time.Duration",
    "max_ack_pending" => max_ack_pending: "int",
});

/// The configuration of a stream. Durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamConfig {
    /// The name.
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The subjects whose messages it stores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// What it keeps messages for.
    pub retention: RetentionPolicy,
    /// Highest number of consumers, -1 for no limit.
    pub max_consumers: i64,
    /// Highest number of messages, -1 for no limit.
    pub max_msgs: i64,
    /// Highest number of bytes, -1 for no limit.
    pub max_bytes: i64,
    /// Highest age of a message, 0 for no limit.
    pub max_age: i64,
    /// Highest number of messages on one subject, -1 for no limit.
    pub max_msgs_per_subject: i64,
    /// Highest size of header block and payload, -1 for no limit.
    pub max_msg_size: i32,
    /// What gives way when it is full.
    pub discard: DiscardPolicy,
    /// Where messages are kept.
    pub storage: StorageType,
    /// Number of servers that keep a copy.
    pub num_replicas: i64,
    /// Whether publishes are never answered.
    #[serde(skip_serializing_if = "is_zero")]
    pub no_ack: bool,
    /// How long message ids are remembered, 0 for not at all.
    #[serde(rename = "duplicate_window", skip_serializing_if = "is_zero")]
    pub duplicates: i64,
    /// Where replicas should live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// The stream that this is a mirror of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSource>,
    /// The streams that messages are copied from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSource>,
    /// How stored messages are compressed.
    pub compression: Compression,
    /// The sequence of the first message, if not 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub first_seq: u64,
    /// Renames subjects before anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_transform: Option<SubjectTransform>,
    /// Publishes stored messages again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<RePublish>,
    /// Whether DIRECT.GET works.
    pub allow_direct: bool,
    /// Whether a mirror answers DIRECT.GET for its origin.
    pub mirror_direct: bool,
    /// Whether `discard: new` also holds for the limit per subject.
    #[serde(skip_serializing_if = "is_zero")]
    pub discard_new_per_subject: bool,
    /// Whether nothing may change any more.
    pub sealed: bool,
    /// Whether single messages may not be deleted.
    pub deny_delete: bool,
    /// Whether it may not be purged.
    pub deny_purge: bool,
    /// Whether `Nats-Rollup` works.
    pub allow_rollup_hdrs: bool,
    /// Defaults and ceilings for consumers.
    pub consumer_limits: StreamConsumerLimits,
    /// Whether `Nats-TTL` works.
    pub allow_msg_ttl: bool,
    /// How long markers of expired subjects live, 0 for no markers.
    #[serde(skip_serializing_if = "is_zero")]
    pub subject_delete_marker_ttl: i64,
    /// Whether messages are counters.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_msg_counter: bool,
    /// Whether atomic batches work.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_atomic: bool,
    /// Whether schedules work.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_msg_schedules: bool,
    /// When publishes are acknowledged.
    #[serde(skip_serializing_if = "PersistMode::is_default")]
    pub persist_mode: PersistMode,
    /// Whether fast ingest works.
    #[serde(skip_serializing_if = "is_zero")]
    pub allow_batched: bool,
    /// Free keys and values; the server's own start with `_nats.`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

object!(StreamConfig {
    "name" => name: "string",
    "description" => description: "string",
    "subjects" => subjects: "[]string",
    "retention" => retention: "server.RetentionPolicy",
    "max_consumers" => max_consumers: "int",
    "max_msgs" => max_msgs: "int64",
    "max_bytes" => max_bytes: "int64",
    "max_age" => max_age: "time.Duration",
    "max_msgs_per_subject" => max_msgs_per_subject: "int64",
    "max_msg_size" => max_msg_size: "int32",
    "discard" => discard: "server.DiscardPolicy",
    "storage" => storage: "server.StorageType",
    "num_replicas" => num_replicas: "int",
    "no_ack" => no_ack: "bool",
    "duplicate_window" => duplicates: "time.Duration",
    "placement" => placement: "server.Placement",
    "mirror" => mirror: "server.StreamSource",
    "sources" => sources: "[]*server.StreamSource",
    "compression" => compression: "server.StoreCompression",
    "first_seq" => first_seq: "uint64",
    "subject_transform" => subject_transform: "server.SubjectTransformConfig",
    "republish" => republish: "server.RePublish",
    "allow_direct" => allow_direct: "bool",
    "mirror_direct" => mirror_direct: "bool",
    "discard_new_per_subject" => discard_new_per_subject: "bool",
    "sealed" => sealed: "bool",
    "deny_delete" => deny_delete: "bool",
    "deny_purge" => deny_purge: "bool",
    "allow_rollup_hdrs" => allow_rollup_hdrs: "bool",
    "consumer_limits" => consumer_limits: "server.StreamConsumerLimits",
    "allow_msg_ttl" => allow_msg_ttl: "bool",
    "subject_delete_marker_ttl" => subject_delete_marker_ttl: "time.Duration",
    "allow_msg_counter" => allow_msg_counter: "bool",
    "allow_atomic" => allow_atomic: "bool",
    "allow_msg_schedules" => allow_msg_schedules: "bool",
    "persist_mode" => persist_mode: "server.PersistModeType",
    "allow_batched" => allow_batched: "bool",
    "metadata" => metadata: "map[string]string",
});

/// What a stream holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamState {
    /// Number of messages.
    pub messages: u64,
    /// Their size, counted as the API counts it.
    pub bytes: u64,
    /// The first sequence; behind the last one when empty.
    pub first_seq: u64,
    /// Time of the first message, zero when empty.
    pub first_ts: Time,
    /// The last sequence ever given out.
    pub last_seq: u64,
    /// Time of the last message ever stored.
    pub last_ts: Time,
    /// Number of distinct subjects.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_subjects: u64,
    /// Messages per subject, on request.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, u64>,
    /// Number of sequences between first and last without a message.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_deleted: u64,
    /// Those sequences, on request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<u64>,
    /// What was lost to damage, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostData>,
    /// Number of consumers, without those of mirrors and sources.
    pub consumer_count: u64,
}

object!(StreamState {
    "messages" => messages: "uint64",
    "bytes" => bytes: "uint64",
    "first_seq" => first_seq: "uint64",
    "first_ts" => first_ts: "time.Time",
    "last_seq" => last_seq: "uint64",
    "last_ts" => last_ts: "time.Time",
    "num_subjects" => num_subjects: "int",
    "subjects" => subjects: "map[string]uint64",
    "num_deleted" => num_deleted: "int",
    "deleted" => deleted: "[]uint64",
    "lost" => lost: "server.LostStreamData",
    "consumer_count" => consumer_count: "int",
});

/// Messages lost to damage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LostData {
    /// Their sequences, if known.
    pub msgs: Option<Vec<u64>>,
    /// Their size.
    pub bytes: u64,
}

object!(LostData {
    "msgs" => msgs: "[]uint64",
    "bytes" => bytes: "uint64",
});

/// A server in a replica set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerInfo {
    /// Its name.
    pub name: String,
    /// Whether it has everything.
    pub current: bool,
    /// Whether it is away.
    #[serde(skip_serializing_if = "is_zero")]
    pub offline: bool,
    /// Nanoseconds since it was heard last.
    pub active: i64,
    /// Entries it is behind.
    #[serde(skip_serializing_if = "is_zero")]
    pub lag: u64,
    /// Its id.
    pub peer: String,
}

/// The servers behind a stream or consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClusterInfo {
    /// The cluster's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The replication group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub raft_group: String,
    /// The leader's server name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub leader: String,
    /// Since when it leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_since: Option<Time>,
    /// Whether replication runs in the system account.
    #[serde(skip_serializing_if = "is_zero")]
    pub system_account: bool,
    /// The account that replication runs in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub traffic_account: String,
    /// The other servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<PeerInfo>,
}

/// How far copying from another stream has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamSourceInfo {
    /// The name of the stream.
    pub name: String,
    /// How it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalStream>,
    /// Messages behind.
    pub lag: u64,
    /// The last sequence taken over.
    #[serde(skip_serializing_if = "is_zero")]
    pub seq: u64,
    /// Nanoseconds since anything came, -1 if nothing ever did.
    pub active: i64,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// The subjects copied.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// The filters that rename.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
}

/// A mirror that can answer in place of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamAlternate {
    /// Its name.
    pub name: String,
    /// Its domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Its cluster.
    pub cluster: String,
}

/// Everything about a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StreamInfo {
    /// The effective configuration.
    pub config: StreamConfig,
    /// When it was created.
    pub created: Time,
    /// What it holds.
    pub state: StreamState,
    /// The JetStream domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// The servers behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
    /// How far mirroring has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSourceInfo>,
    /// How far copying has come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSourceInfo>,
    /// Mirrors of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternates: Vec<StreamAlternate>,
    /// When this was written down.
    pub ts: Time,
}
