//! The bodies of advisories and metrics, and the subjects they go to.
//!
//! Ids and times are handed in; whether anybody listens is asked before a body is made.

use serde::Serialize;

use super::is_zero;
use super::json::to_json;
use super::time::Time;

/// The fields of one type of event, behind the common ones.
pub trait Event: Serialize {
    /// The value of `type`.
    fn kind(&self) -> &'static str;

    /// The subject it is published on.
    fn subject(&self) -> String;
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    timestamp: Time,
    #[serde(flatten)]
    body: &'a T,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

/// Appends the body of an event to `out`. `domain` is empty where there is none.
pub fn encode<T: Event>(event: &T, id: &str, now: Time, domain: &str, out: &mut Vec<u8>) {
    let envelope = Envelope {
        kind: event.kind(),
        id,
        timestamp: now,
        body: event,
        domain,
    };
    to_json(&envelope, out);
}

const ADVISORY: &str = "$JS.EVENT.ADVISORY";

macro_rules! event {
    (
        $(#[$meta:meta])*
        pub struct $type:ident<$life:lifetime> = $kind:literal {
            $($(#[$field_meta:meta])* pub $field:ident: $rust:ty),* $(,)?
        }
        subject($event:ident) $subject:expr
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        pub struct $type<$life> {
            $($(#[$field_meta])* pub $field: $rust),*
        }

        impl Event for $type<'_> {
            fn kind(&self) -> &'static str {
                concat!("io.nats.jetstream.", $kind)
            }

            fn subject(&self) -> String {
                let $event = self;
                $subject
            }
        }
    };
}

/// What happened to a stream or consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It was created.
    Create,
    /// Its configuration changed.
    Modify,
    /// It was deleted.
    Delete,
}

impl Action {
    fn token(self) -> &'static str {
        match self {
            Action::Create => "CREATED",
            Action::Modify => "UPDATED",
            Action::Delete => "DELETED",
        }
    }
}

event! {
    /// A stream came, changed or went.
    pub struct StreamAction<'a> = "advisory.v1.stream_action" {
        /// The stream.
        pub stream: &'a str,
        /// What happened.
        pub action: Action,
    }
    subject(event) format!("{ADVISORY}.STREAM.{}.{}", event.action.token(), event.stream)
}

event! {
    /// An atomic batch was dropped.
    pub struct BatchAbandoned<'a> = "advisory.v1.stream_batch_abandoned" {
        /// The account, for the system account's copy only.
        #[serde(skip_serializing_if = "str::is_empty")]
        pub account: &'a str,
        /// The stream.
        pub stream: &'a str,
        /// The batch.
        pub batch: &'a str,
        /// `timeout`, `large`, `incomplete` or `unsupported`.
        pub reason: &'a str,
    }
    subject(event) format!("{ADVISORY}.STREAM.BATCH_ABANDONED.{}", event.stream)
}

event! {
    /// A consumer came or went.
    pub struct ConsumerAction<'a> = "advisory.v1.consumer_action" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// What happened.
        pub action: Action,
    }
    subject(event) consumer_subject(event.action.token(), event.stream, event.consumer)
}

event! {
    /// A message was delivered as often as it may be.
    pub struct MaxDeliveries<'a> = "advisory.v1.max_deliver" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The message.
        pub stream_seq: u64,
        /// How often it was delivered.
        pub deliveries: u64,
    }
    subject(event) consumer_subject("MAX_DELIVERIES", event.stream, event.consumer)
}

event! {
    /// A message was refused by a client.
    pub struct MessageNaked<'a> = "advisory.v1.nak" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The delivery.
        pub consumer_seq: u64,
        /// The message.
        pub stream_seq: u64,
        /// How often it was delivered.
        pub deliveries: u64,
    }
    subject(event) consumer_subject("MSG_NAKED", event.stream, event.consumer)
}

event! {
    /// A message was given up by a client or removed while it was pending.
    pub struct MessageTerminated<'a> = "advisory.v1.terminated" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The delivery.
        pub consumer_seq: u64,
        /// The message.
        pub stream_seq: u64,
        /// How often it was delivered.
        pub deliveries: u64,
        /// Why.
        #[serde(skip_serializing_if = "str::is_empty")]
        pub reason: &'a str,
    }
    subject(event) consumer_subject("MSG_TERMINATED", event.stream, event.consumer)
}

event! {
    /// A consumer pauses or goes on.
    pub struct ConsumerPause<'a> = "advisory.v1.consumer_pause" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// Whether it pauses.
        pub paused: bool,
        /// Until when.
        #[serde(skip_serializing_if = "is_zero")]
        pub pause_until: Time,
    }
    subject(event) consumer_subject("PAUSE", event.stream, event.consumer)
}

event! {
    /// A client is served alone.
    pub struct ConsumerGroupPinned<'a> = "advisory.v1.consumer_group_pinned" {
        /// The account.
        #[serde(skip_serializing_if = "str::is_empty")]
        pub account: &'a str,
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The group.
        pub group: &'a str,
        /// The pin.
        pub pinned_id: &'a str,
    }
    subject(event) consumer_subject("PINNED", event.stream, event.consumer)
}

event! {
    /// A client is not served alone any more.
    pub struct ConsumerGroupUnpinned<'a> = "advisory.v1.consumer_group_unpinned" {
        /// The account.
        #[serde(skip_serializing_if = "str::is_empty")]
        pub account: &'a str,
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The group.
        pub group: &'a str,
        /// `admin` or `timeout`.
        pub reason: &'a str,
    }
    subject(event) consumer_subject("UNPINNED", event.stream, event.consumer)
}

event! {
    /// How long an ack took.
    pub struct ConsumerAck<'a> = "metric.v1.consumer_ack" {
        /// The stream.
        pub stream: &'a str,
        /// The consumer.
        pub consumer: &'a str,
        /// The delivery.
        pub consumer_seq: u64,
        /// The message.
        pub stream_seq: u64,
        /// Nanoseconds since the delivery.
        pub ack_time: i64,
        /// How often it was delivered.
        pub deliveries: u64,
    }
    subject(event) format!("$JS.EVENT.METRIC.CONSUMER.ACK.{}.{}", event.stream, event.consumer)
}

fn consumer_subject(token: &str, stream: &str, consumer: &str) -> String {
    format!("{ADVISORY}.CONSUMER.{token}.{stream}.{consumer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_fields_come_first_and_domain_last() {
        let event = MaxDeliveries {
            stream: "Q",
            consumer: "a",
            stream_seq: 2,
            deliveries: 2,
        };
        assert_eq!(
            event.subject(),
            "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.Q.a"
        );
        let mut out = Vec::new();
        let now = Time::from_nanos(1_795_339_099_180_892_578);
        encode(&event, "cFSPZhBNAhFGkfWKBHUYZB", now, "D", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"type":"io.nats.jetstream.advisory.v1.max_deliver","#,
                r#""id":"cFSPZhBNAhFGkfWKBHUYZB","timestamp":"2026-11-22T09:18:19.180892578Z","#,
                r#""stream":"Q","consumer":"a","stream_seq":2,"deliveries":2,"domain":"D"}"#
            )
        );
    }

    #[test]
    fn actions_name_subject_and_word() {
        let event = StreamAction {
            stream: "S",
            action: Action::Modify,
        };
        assert_eq!(event.subject(), "$JS.EVENT.ADVISORY.STREAM.UPDATED.S");
        let mut out = Vec::new();
        encode(&event, "i", Time::ZERO, "", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with(r#""stream":"S","action":"modify"}"#),
            "{text}"
        );
    }
}
