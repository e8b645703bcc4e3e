//! Consumer configuration, positions and info, in the field order of the API.

use std::collections::BTreeMap;

use serde::Serialize;

use super::is_zero;
use super::json::{go_quote, object, wire_enum};
use super::stream::ClusterInfo;
use super::time::Time;

fn cannot_unmarshal(raw: &str) -> String {
    format!("can not unmarshal {}", go_quote(raw))
}

fn unknown_priority_policy(raw: &str) -> String {
    format!("unknown priority policy: {raw}")
}

fn unknown_action(raw: &str) -> String {
    format!("unknown consumer action: {raw}")
}

wire_enum! {
    /// Where a consumer starts.
    pub enum DeliverPolicy {
        /// At the first message.
        All = "all" | "undefined",
        /// At the last message.
        Last = "last",
        /// Behind the last message.
        New = "new",
        /// At a sequence.
        ByStartSequence = "by_start_sequence",
        /// At a time.
        ByStartTime = "by_start_time",
        /// At the last message of every subject.
        LastPerSubject = "last_per_subject",
    } else cannot_unmarshal
}

wire_enum! {
    /// What an ack covers.
    pub enum AckPolicy {
        /// There are no acks.
        None = "none",
        /// Everything up to the message.
        All = "all",
        /// One message.
        Explicit = "explicit",
        /// Everything up to what a flow control answer names.
        FlowControl = "flow_control",
    } else cannot_unmarshal
}

wire_enum! {
    /// How fast stored messages are delivered.
    pub enum ReplayPolicy {
        /// As fast as possible.
        Instant = "instant",
        /// As they came in.
        Original = "original",
    } else cannot_unmarshal
}

wire_enum! {
    /// Who is served first.
    pub enum PriorityPolicy {
        /// Nobody in particular.
        None = "none",
        /// Some only when others are behind.
        Overflow = "overflow",
        /// One client as long as it asks.
        PinnedClient = "pinned_client",
        /// By the number in the request.
        Prioritized = "prioritized",
    } else unknown_priority_policy
}

wire_enum! {
    /// Whether a create request may create, update or both.
    pub enum ConsumerAction {
        /// Both.
        CreateOrUpdate = "",
        /// Create only.
        Create = "create",
        /// Update only.
        Update = "update",
    } else unknown_action
}

/// The configuration of a consumer. Durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerConfig {
    /// The name of a consumer that lives without activity.
    #[serde(rename = "durable_name", skip_serializing_if = "String::is_empty")]
    pub durable: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it starts.
    pub deliver_policy: DeliverPolicy,
    /// The sequence to start at.
    #[serde(skip_serializing_if = "is_zero")]
    pub opt_start_seq: u64,
    /// The time to start at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Time>,
    /// What an ack covers.
    pub ack_policy: AckPolicy,
    /// How long an ack may take.
    #[serde(skip_serializing_if = "is_zero")]
    pub ack_wait: i64,
    /// How often a message is delivered, -1 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_deliver: i64,
    /// How long acks may take, attempt by attempt.
    #[serde(rename = "backoff", skip_serializing_if = "Vec::is_empty")]
    pub backoff: Vec<i64>,
    /// The subjects it sees.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// The subjects it sees, if more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter_subjects: Vec<String>,
    /// How fast stored messages are delivered.
    pub replay_policy: ReplayPolicy,
    /// Bits a second, 0 for no limit.
    #[serde(rename = "rate_limit_bps", skip_serializing_if = "is_zero")]
    pub rate_limit: u64,
    /// Percentage of acks that are measured.
    #[serde(rename = "sample_freq", skip_serializing_if = "String::is_empty")]
    pub sample_frequency: String,
    /// Pull requests that may wait.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_waiting: i64,
    /// Deliveries that may wait for an ack, -1 for no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
    /// Whether the subscriber slows deliveries down.
    #[serde(skip_serializing_if = "is_zero")]
    pub flow_control: bool,
    /// Whether payloads are left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub headers_only: bool,
    /// Largest batch a pull may ask for, 0 for no limit.
    #[serde(rename = "max_batch", skip_serializing_if = "is_zero")]
    pub max_request_batch: i64,
    /// Longest time a pull may wait, 0 for no limit.
    #[serde(rename = "max_expires", skip_serializing_if = "is_zero")]
    pub max_request_expires: i64,
    /// Most bytes a pull may ask for, 0 for no limit.
    #[serde(rename = "max_bytes", skip_serializing_if = "is_zero")]
    pub max_request_max_bytes: i64,
    /// Where messages are pushed to; empty for a pull consumer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
    /// The queue group that counts as listener.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_group: String,
    /// How often silence is filled.
    #[serde(rename = "idle_heartbeat", skip_serializing_if = "is_zero")]
    pub heartbeat: i64,
    /// How long it lives without activity, 0 for ever.
    #[serde(skip_serializing_if = "is_zero")]
    pub inactive_threshold: i64,
    /// Number of servers that keep its state, 0 for as many as the stream.
    #[serde(rename = "num_replicas")]
    pub replicas: i64,
    /// Whether its state is kept in memory only.
    #[serde(rename = "mem_storage", skip_serializing_if = "is_zero")]
    pub memory_storage: bool,
    /// Whether it belongs to a mirror or source.
    #[serde(skip_serializing_if = "is_zero")]
    pub direct: bool,
    /// Whether it belongs to a mirror or source that leaves the mode to the origin.
    #[serde(skip_serializing_if = "is_zero")]
    pub sourcing: bool,
    /// Free keys and values; the server's own start with `_nats.`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Until when nothing is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_until: Option<Time>,
    /// The groups that pull requests name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<String>,
    /// Who is served first.
    #[serde(skip_serializing_if = "PriorityPolicy::is_default")]
    pub priority_policy: PriorityPolicy,
    /// How long a pinned client may be silent.
    #[serde(rename = "priority_timeout", skip_serializing_if = "is_zero")]
    pub pinned_ttl: i64,
}

object!(ConsumerConfig {
    "durable_name" => durable: "string",
    "name" => name: "string",
    "description" => description: "string",
    "deliver_policy" => deliver_policy: "server.DeliverPolicy",
    "opt_start_seq" => opt_start_seq: "uint64",
    "opt_start_time" => opt_start_time: "time.Time",
    "ack_policy" => ack_policy: "server.AckPolicy",
    "ack_wait" => ack_wait: "time.Duration",
    "max_deliver" => max_deliver: "int",
    "backoff" => backoff: "[]time.Duration",
    "filter_subject" => filter_subject: "string",
    "filter_subjects" => filter_subjects: "[]string",
    "replay_policy" => replay_policy: "server.ReplayPolicy",
    "rate_limit_bps" => rate_limit: "uint64",
    "sample_freq" => sample_frequency: "string",
    "max_waiting" => max_waiting: "int",
    "max_ack_pending" => max_ack_pending: "int",
    "flow_control" => flow_control: "bool",
    "headers_only" => headers_only: "bool",
    "max_batch" => max_request_batch: "int",
    "max_expires" => max_request_expires: "time.Duration",
    "max_bytes" => max_request_max_bytes: "int",
    "deliver_subject" => deliver_subject: "string",
    "deliver_group" => deliver_group: "string",
    "idle_heartbeat" => heartbeat: "time.Duration",
    "inactive_threshold" => inactive_threshold: "time.Duration",
    "num_replicas" => replicas: "int",
    "mem_storage" => memory_storage: "bool",
    "direct" => direct: "bool",
    "sourcing" => sourcing: "bool",
    "metadata" => metadata: "map[string]string",
    "pause_until" => pause_until: "time.Time",
    "priority_groups" => priority_groups: "[]string",
    "priority_policy" => priority_policy: "server.PriorityPolicy",
    "priority_timeout" => pinned_ttl: "time.Duration",
});

impl ConsumerConfig {
    /// Whether messages are pushed to a subject.
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// Whether it lives without activity.
    pub fn is_durable(&self) -> bool {
        !self.durable.is_empty()
    }

    /// The filters, whichever of the two fields they stand in. Empty means everything.
    pub fn filters(&self) -> &[String] {
        if self.filter_subject.is_empty() {
            &self.filter_subjects
        } else {
            std::slice::from_ref(&self.filter_subject)
        }
    }
}

/// A position of a consumer: in its own count and in the stream's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SequenceInfo {
    /// Deliveries counted from 1.
    pub consumer_seq: u64,
    /// The stream's sequence.
    pub stream_seq: u64,
    /// When the position moved last in this server's life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active: Option<Time>,
}

/// The state of a priority group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PriorityGroupState {
    /// The group.
    pub group: String,
    /// The client that is served alone.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pinned_client_id: String,
    /// Since when, zero without a pin.
    pub pinned_ts: Time,
}

/// Everything about a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConsumerInfo {
    /// The stream it reads.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// The effective configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConsumerConfig>,
    /// The last delivery.
    pub delivered: SequenceInfo,
    /// The position at or below which nothing waits for an ack.
    pub ack_floor: SequenceInfo,
    /// Deliveries that wait for an ack.
    pub num_ack_pending: u64,
    /// Messages delivered more than once that wait for an ack.
    pub num_redelivered: u64,
    /// Pull requests that wait.
    pub num_waiting: u64,
    /// Messages not delivered yet.
    pub num_pending: u64,
    /// The servers behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterInfo>,
    /// Whether somebody listens to the deliver subject.
    #[serde(skip_serializing_if = "is_zero")]
    pub push_bound: bool,
    /// Whether deliveries pause.
    #[serde(skip_serializing_if = "is_zero")]
    pub paused: bool,
    /// Nanoseconds until they go on.
    #[serde(skip_serializing_if = "is_zero")]
    pub pause_remaining: i64,
    /// When this was written down.
    pub ts: Time,
    /// The priority group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<PriorityGroupState>,
}
