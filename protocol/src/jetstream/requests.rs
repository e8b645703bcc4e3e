//! The bodies of API requests and the rules for reading them.

use super::consumer::{ConsumerAction, ConsumerConfig};
use super::error::ApiError;
use super::json::{Decode, Rules, from_json, object};
use super::stream::{Placement, StreamConfig, StreamState};
use super::time::Time;

/// A request body and what the reference calls its type.
pub trait ApiRequest: Decode + Default {
    /// The name that complaints about the body carry.
    const GO_TYPE: &'static str;
}

/// Reads a body. An empty one leaves every field at its default.
///
/// `strict` is the server's setting for unknown fields.
pub fn parse<T: ApiRequest>(body: &[u8], strict: bool) -> Result<T, ApiError> {
    let rules = if strict {
        Rules::Strict
    } else {
        Rules::Lenient
    };
    from_json(body, T::GO_TYPE, rules).map_err(ApiError::invalid_json)
}

/// Reads the body of a call that works without one: anything that does not look like JSON is
/// ignored.
pub fn parse_optional<T: ApiRequest>(body: &[u8], strict: bool) -> Result<T, ApiError> {
    match body.trim_ascii_start().first() {
        Some(b'{' | b'[') => parse(body, strict),
        _ => Ok(T::default()),
    }
}

/// Reads the body of a call that cannot do without one.
pub fn parse_required<T: ApiRequest>(body: &[u8], strict: bool) -> Result<T, ApiError> {
    if is_empty_request(body) {
        return Err(ApiError::bad_request());
    }
    parse(body, strict)
}

/// Whether a body is empty or an object without fields.
pub fn is_empty_request(body: &[u8]) -> bool {
    if body.is_empty() {
        return true;
    }
    let body = body.trim_ascii();
    let inner = body
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"));
    inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

/// Refuses a body where none belongs.
pub fn expect_empty(body: &[u8]) -> Result<(), ApiError> {
    if is_empty_request(body) {
        Ok(())
    } else {
        Err(ApiError::not_empty_request())
    }
}

macro_rules! request {
    (
        $(#[$meta:meta])*
        pub struct $type:ident = $go_type:literal {
            $($(#[$field_meta:meta])* $name:literal => $field:ident: $rust:ty = $go:literal),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $type {
            $($(#[$field_meta])* pub $field: $rust),*
        }

        object!($type { $($name => $field: $go),* });

        impl ApiRequest for $type {
            const GO_TYPE: &'static str = $go_type;
        }
    };
}

/// STREAM.CREATE and STREAM.UPDATE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamConfigRequest {
    /// The configuration asked for.
    pub config: StreamConfig,
    /// Refuse instead of adjusting.
    pub pedantic: bool,
}

object!(StreamConfigRequest { "pedantic" => pedantic: "bool"; ..config });

impl ApiRequest for StreamConfigRequest {
    const GO_TYPE: &'static str = "server.StreamConfigRequest";
}

request! {
    /// STREAM.NAMES.
    pub struct StreamNamesRequest = "server.JSApiStreamNamesRequest" {
        /// Names to skip.
        "offset" => offset: i64 = "int",
        /// Only streams whose subjects overlap with it.
        "subject" => subject: String = "string",
    }
}

request! {
    /// STREAM.LIST.
    pub struct StreamListRequest = "server.JSApiStreamListRequest" {
        /// Streams to skip.
        "offset" => offset: i64 = "int",
        /// Only streams whose subjects overlap with it.
        "subject" => subject: String = "string",
    }
}

request! {
    /// STREAM.INFO.
    pub struct StreamInfoRequest = "server.JSApiStreamInfoRequest" {
        /// Subjects to skip.
        "offset" => offset: i64 = "int",
        /// Whether deleted sequences are listed.
        "deleted_details" => deleted_details: bool = "bool",
        /// The subjects to count messages of.
        "subjects_filter" => subjects_filter: String = "string",
    }
}

request! {
    /// STREAM.PURGE.
    pub struct StreamPurgeRequest = "server.JSApiStreamPurgeRequest" {
        /// Only below this sequence.
        "seq" => sequence: u64 = "uint64",
        /// Only these subjects.
        "filter" => subject: String = "string",
        /// How many to keep.
        "keep" => keep: u64 = "uint64",
    }
}

request! {
    /// STREAM.MSG.GET and DIRECT.GET.
    pub struct MsgGetRequest = "server.JSApiMsgGetRequest" {
        /// The message with this sequence, or the lower bound.
        "seq" => seq: u64 = "uint64",
        /// The last message on this subject.
        "last_by_subj" => last_for: String = "string",
        /// The next message on this subject.
        "next_by_subj" => next_for: String = "string",
        /// How many messages.
        "batch" => batch: i64 = "int",
        /// How many bytes.
        "max_bytes" => max_bytes: i64 = "int",
        /// The first message at or after this time.
        "start_time" => start_time: Option<Time> = "time.Time",
        /// The last message of each of these subjects.
        "multi_last" => multi_last: Vec<String> = "[]string",
        /// As of this sequence.
        "up_to_seq" => up_to_seq: u64 = "uint64",
        /// As of this time.
        "up_to_time" => up_to_time: Option<Time> = "time.Time",
        /// Whether headers are left out.
        "no_hdr" => no_headers: bool = "bool",
    }
}

request! {
    /// STREAM.MSG.DELETE.
    pub struct MsgDeleteRequest = "server.JSApiMsgDeleteRequest" {
        /// The message.
        "seq" => seq: u64 = "uint64",
        /// Whether its bytes may stay on disk.
        "no_erase" => no_erase: bool = "bool",
    }
}

request! {
    /// STREAM.SNAPSHOT.
    pub struct StreamSnapshotRequest = "server.JSApiStreamSnapshotRequest" {
        /// Where the chunks go.
        "deliver_subject" => deliver_subject: String = "string",
        /// Whether consumers are left out.
        "no_consumers" => no_consumers: bool = "bool",
        /// Bytes in a chunk.
        "chunk_size" => chunk_size: i64 = "int",
        /// Bytes without an answer.
        "window_size" => window_size: i64 = "int",
        /// Whether checksums are verified first.
        "jsck" => check_messages: bool = "bool",
    }
}

request! {
    /// STREAM.RESTORE.
    pub struct StreamRestoreRequest = "server.JSApiStreamRestoreRequest" {
        /// The configuration to restore under.
        "config" => config: StreamConfig = "server.StreamConfig",
        /// The state when the backup was made.
        "state" => state: StreamState = "server.StreamState",
    }
}

request! {
    /// STREAM.LEADER.STEPDOWN and CONSUMER.LEADER.STEPDOWN.
    pub struct LeaderStepDownRequest = "server.JSApiLeaderStepdownRequest" {
        /// Where the new leader should be.
        "placement" => placement: Option<Placement> = "server.Placement",
    }
}

request! {
    /// STREAM.PEER.REMOVE.
    pub struct PeerRequest = "server.JSApiStreamRemovePeerRequest" {
        /// Name or id of the server.
        "peer" => peer: String = "string",
    }
}

request! {
    /// CONSUMER.CREATE in all its forms.
    pub struct CreateConsumerRequest = "server.CreateConsumerRequest" {
        /// The stream.
        "stream_name" => stream: String = "string",
        /// The configuration asked for.
        "config" => config: ConsumerConfig = "server.ConsumerConfig",
        /// Whether it may exist already.
        "action" => action: ConsumerAction = "server.ConsumerAction",
        /// Refuse instead of adjusting.
        "pedantic" => pedantic: bool = "bool",
    }
}

request! {
    /// CONSUMER.NAMES and CONSUMER.LIST.
    pub struct ConsumersRequest = "server.JSApiConsumersRequest" {
        /// Consumers to skip.
        "offset" => offset: i64 = "int",
    }
}

request! {
    /// CONSUMER.PAUSE.
    pub struct ConsumerPauseRequest = "server.JSApiConsumerPauseRequest" {
        /// Until when; zero or past resumes.
        "pause_until" => pause_until: Time = "time.Time",
    }
}

request! {
    /// CONSUMER.UNPIN. Never read strictly.
    pub struct ConsumerUnpinRequest = "server.JSApiConsumerUnpinRequest" {
        /// The priority group.
        "group" => group: String = "string",
    }
}

request! {
    /// CONSUMER.RESET. Never read strictly.
    pub struct ConsumerResetRequest = "server.JSApiConsumerResetRequest" {
        /// Where to go on; 0 is behind the ack floor.
        "seq" => seq: u64 = "uint64",
    }
}

impl ConsumerUnpinRequest {
    /// Reads the body with its own complaints.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let request: Self =
            from_json(body, Self::GO_TYPE, Rules::Single).map_err(ApiError::invalid_json)?;
        if request.group.is_empty() {
            return Err(ApiError::invalid_json("consumer group not specified"));
        }
        Ok(request)
    }
}

impl ConsumerResetRequest {
    /// Reads the body, which may be empty.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        from_json(body, Self::GO_TYPE, Rules::Single).map_err(ApiError::invalid_json)
    }
}

impl MsgGetRequest {
    /// Reads the body of a DIRECT.GET: unknown fields do not matter, and `None` means it is
    /// malformed.
    pub fn parse_direct(body: &[u8]) -> Option<Self> {
        from_json(body, Self::GO_TYPE, Rules::Single).ok()
    }
}

#[cfg(test)]
mod tests;
