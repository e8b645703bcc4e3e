//! Response envelopes: `type` first, then `error` if any, then the fields of that type.
//!
//! A failed call still carries the fields of its type that are never omitted, at their defaults.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::Serializer;

use super::account::AccountInfo;
use super::consumer::ConsumerInfo;
use super::error::ApiError;
use super::is_zero;
use super::json::to_json;
use super::stream::{StreamConfig, StreamInfo, StreamState};
use super::time::Time;

/// The fields of one type of response. The default is what a failed call carries.
pub trait ApiResponse: Serialize + Default {
    /// The value of `type`.
    const TYPE: &'static str;
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ApiError>,
    #[serde(flatten)]
    body: &'a T,
}

/// Appends the response to a call to `out`.
pub fn encode<T: ApiResponse>(result: &Result<T, ApiError>, out: &mut Vec<u8>) {
    match result {
        Ok(body) => to_json(
            &Envelope {
                kind: T::TYPE,
                error: None,
                body,
            },
            out,
        ),
        Err(error) => encode_error::<T>(error, out),
    }
}

/// Appends the response to a failed call to `out`.
pub fn encode_error<T: ApiResponse>(error: &ApiError, out: &mut Vec<u8>) {
    to_json(
        &Envelope {
            kind: T::TYPE,
            error: Some(error),
            body: &T::default(),
        },
        out,
    );
}

macro_rules! response {
    (
        $(#[$meta:meta])*
        pub struct $type:ident = $name:literal {
            $($(#[$field_meta:meta])* pub $field:ident: $rust:ty),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct $type {
            $($(#[$field_meta])* pub $field: $rust),*
        }

        impl ApiResponse for $type {
            const TYPE: &'static str = concat!("io.nats.jetstream.api.v1.", $name);
        }
    };
}

response! {
    /// INFO.
    pub struct AccountInfoResponse = "account_info_response" {
        /// Everything about the account.
        #[serde(flatten)]
        pub info: Option<AccountInfo>,
    }
}

response! {
    /// STREAM.CREATE.
    pub struct StreamCreateResponse = "stream_create_response" {
        /// The stream.
        #[serde(flatten)]
        pub info: Option<StreamInfo>,
        /// Whether it is new; a single server says so of a repeated create as well.
        #[serde(skip_serializing_if = "is_zero")]
        pub did_create: bool,
    }
}

response! {
    /// STREAM.UPDATE.
    pub struct StreamUpdateResponse = "stream_update_response" {
        /// The stream.
        #[serde(flatten)]
        pub info: Option<StreamInfo>,
    }
}

response! {
    /// STREAM.INFO.
    pub struct StreamInfoResponse = "stream_info_response" {
        /// Subjects that match.
        pub total: u64,
        /// Subjects skipped.
        pub offset: i64,
        /// Most subjects in one response.
        pub limit: u64,
        /// The stream.
        #[serde(flatten)]
        pub info: Option<StreamInfo>,
    }
}

response! {
    /// STREAM.NAMES. No names at all is `null`.
    pub struct StreamNamesResponse = "stream_names_response" {
        /// Streams that match.
        pub total: u64,
        /// Streams skipped.
        pub offset: u64,
        /// Most names in one response.
        pub limit: u64,
        /// The names.
        pub streams: Option<Vec<String>>,
    }
}

response! {
    /// STREAM.LIST.
    pub struct StreamListResponse = "stream_list_response" {
        /// Streams that match.
        pub total: u64,
        /// Streams skipped.
        pub offset: u64,
        /// Most streams in one response.
        pub limit: u64,
        /// The streams.
        pub streams: Vec<StreamInfo>,
        /// Streams that did not answer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub missing: Vec<String>,
        /// Streams that are kept offline and why.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub offline: BTreeMap<String, String>,
    }
}

macro_rules! success {
    ($($(#[$meta:meta])* $type:ident = $name:literal;)*) => {$(
        response! {
            $(#[$meta])*
            pub struct $type = $name {
                /// Whether it was done.
                #[serde(skip_serializing_if = "is_zero")]
                pub success: bool,
            }
        }
    )*};
}

success! {
    /// STREAM.DELETE.
    StreamDeleteResponse = "stream_delete_response";
    /// STREAM.MSG.DELETE.
    MsgDeleteResponse = "stream_msg_delete_response";
    /// STREAM.LEADER.STEPDOWN.
    StreamStepDownResponse = "stream_leader_stepdown_response";
    /// STREAM.PEER.REMOVE.
    StreamRemovePeerResponse = "stream_remove_peer_response";
    /// STREAM.PEER.EVACUATE.
    StreamEvacuatePeerResponse = "stream_evacuate_peer_response";
    /// STREAM.CANCEL_MOVE.
    StreamCancelMoveResponse = "stream_cancel_move_response";
    /// CONSUMER.DELETE.
    ConsumerDeleteResponse = "consumer_delete_response";
    /// CONSUMER.LEADER.STEPDOWN.
    ConsumerStepDownResponse = "consumer_leader_stepdown_response";
    /// CONSUMER.PEER.REMOVE.
    ConsumerRemovePeerResponse = "consumer_remove_peer_response";
    /// CONSUMER.PEER.EVACUATE.
    ConsumerEvacuatePeerResponse = "consumer_evacuate_peer_response";
}

response! {
    /// STREAM.PURGE.
    pub struct StreamPurgeResponse = "stream_purge_response" {
        /// Whether it was done.
        #[serde(skip_serializing_if = "is_zero")]
        pub success: bool,
        /// Messages removed.
        pub purged: u64,
    }
}

/// A stored message inside a response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StoredMessage {
    /// Its subject.
    pub subject: String,
    /// Its sequence.
    pub seq: u64,
    /// Its header block.
    #[serde(rename = "hdrs", skip_serializing_if = "Base64::is_empty")]
    pub headers: Base64,
    /// Its payload.
    #[serde(skip_serializing_if = "Base64::is_empty")]
    pub data: Base64,
    /// When it was stored.
    pub time: Time,
}

/// Bytes that are written in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

response! {
    /// STREAM.MSG.GET.
    pub struct MsgGetResponse = "stream_msg_get_response" {
        /// The message.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub message: Option<StoredMessage>,
    }
}

response! {
    /// STREAM.SNAPSHOT.
    pub struct StreamSnapshotResponse = "stream_snapshot_response" {
        /// The configuration.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub config: Option<StreamConfig>,
        /// What the archive covers.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub state: Option<StreamState>,
    }
}

response! {
    /// STREAM.RESTORE.
    pub struct StreamRestoreResponse = "stream_restore_response" {
        /// Where the chunks go.
        pub deliver_subject: String,
    }
}

response! {
    /// CONSUMER.CREATE.
    pub struct ConsumerCreateResponse = "consumer_create_response" {
        /// The consumer.
        #[serde(flatten)]
        pub info: Option<ConsumerInfo>,
    }
}

response! {
    /// CONSUMER.INFO.
    pub struct ConsumerInfoResponse = "consumer_info_response" {
        /// The consumer.
        #[serde(flatten)]
        pub info: Option<ConsumerInfo>,
    }
}

response! {
    /// CONSUMER.NAMES.
    pub struct ConsumerNamesResponse = "consumer_names_response" {
        /// Consumers of the stream.
        pub total: u64,
        /// Consumers skipped.
        pub offset: u64,
        /// Most names in one response.
        pub limit: u64,
        /// The names.
        pub consumers: Vec<String>,
    }
}

response! {
    /// CONSUMER.LIST.
    pub struct ConsumerListResponse = "consumer_list_response" {
        /// Consumers of the stream.
        pub total: u64,
        /// Consumers skipped.
        pub offset: u64,
        /// Most consumers in one response.
        pub limit: u64,
        /// The consumers.
        pub consumers: Vec<ConsumerInfo>,
        /// Consumers that did not answer.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub missing: Vec<String>,
        /// Consumers that are kept offline and why.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub offline: BTreeMap<String, String>,
    }
}

response! {
    /// CONSUMER.PAUSE.
    pub struct ConsumerPauseResponse = "consumer_pause_response" {
        /// Whether it pauses now.
        pub paused: bool,
        /// Until when, as asked.
        pub pause_until: Time,
        /// Nanoseconds until then.
        #[serde(skip_serializing_if = "is_zero")]
        pub pause_remaining: i64,
    }
}

response! {
    /// CONSUMER.UNPIN.
    pub struct ConsumerUnpinResponse = "consumer_unpin_response" {}
}

response! {
    /// CONSUMER.RESET.
    pub struct ConsumerResetResponse = "consumer_reset_response" {
        /// The consumer.
        #[serde(flatten)]
        pub info: Option<ConsumerInfo>,
        /// Where it goes on.
        pub reset_seq: u64,
    }
}

response! {
    /// What the system account is told on subjects that it cannot use.
    pub struct SystemResponse = "system_response" {}
}

#[cfg(test)]
mod tests;
