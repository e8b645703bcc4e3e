//! Carries one message to one subject: ack subject, headers, hand-over.
//!
//! Both buffers are reused, so a delivery allocates nothing.

use jetwake_protocol::ack::{AckPrefix, Stamp};
use jetwake_protocol::header::Headers;
use jetwake_storage::{MessageStore, ReadError, StoredRef};

use super::pull::PinId;
use crate::jetstream::io::{AccountId, Outbox, Outgoing, Timestamp};

const SIZE_HEADER: &[u8] = b"Nats-Msg-Size";
const PIN_HEADER: &[u8] = b"Nats-Pin-Id";

/// One message and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel<'a> {
    /// The account to route in.
    pub(super) account: AccountId,
    /// An inbox or deliver subject.
    pub(super) route: &'a [u8],
    /// Which message.
    pub(super) seq: u64,
    /// The number of this attempt.
    pub(super) deliveries: u32,
    /// The consumer sequence of this attempt.
    pub(super) consumer_seq: u64,
    /// What is pending after it.
    pub(super) pending: u64,
    /// The most bytes it may have.
    pub(super) limit: Option<i64>,
    /// The pin it carries, which does not count as bytes.
    pub(super) pin: Option<&'a PinId>,
}

/// How many bytes a delivery has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// The stored subject.
    pub(super) subject: i64,
    /// Ack subject, headers and payload.
    pub(super) rest: i64,
}

impl Size {
    /// What counts for the byte limit of a pull request.
    pub(super) fn total(self) -> i64 {
        self.subject.saturating_add(self.rest)
    }
}

/// What became of a parcel.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Somebody took it.
    Taken(Size),
    /// Nobody listens there.
    NoOne,
    /// Over the limit.
    TooLarge,
    /// The message is no longer in the stream.
    Missing,
    /// The store cannot serve it.
    Unreadable(ReadError),
}

/// Carries the messages of one consumer.
#[derive(Debug)]
pub(super) struct Courier {
    prefix: AckPrefix,
    stamp: Stamp,
    reply: Vec<u8>,
    headers: Vec<u8>,
    headers_only: bool,
}

impl Courier {
    /// For a consumer of a stream.
    pub(super) fn new(stream: &str, consumer: &str, headers_only: bool) -> Self {
        let prefix = AckPrefix::v1(stream.as_bytes(), consumer.as_bytes());
        Self {
            prefix,
            stamp: Stamp::default(),
            reply: Vec::new(),
            headers: Vec::new(),
            headers_only,
        }
    }

    /// Whether payloads stay behind.
    pub(super) fn set_headers_only(&mut self, headers_only: bool) {
        self.headers_only = headers_only;
    }

    /// Hands a message over.
    pub(super) fn carry(
        &mut self,
        messages: &dyn MessageStore,
        out: &mut dyn Outbox,
        parcel: &Parcel<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::Missing;
        let read = messages.read(parcel.seq, &mut |message| {
            outcome = self.hand_over(out, parcel, &message);
        });
        match read {
            Ok(_) => outcome,
            Err(error) => Outcome::Unreadable(error),
        }
    }

    fn hand_over(
        &mut self,
        out: &mut dyn Outbox,
        parcel: &Parcel<'_>,
        message: &StoredRef<'_>,
    ) -> Outcome {
        self.write_reply(parcel, message.timestamp);
        let (mut headers, mut payload) = (message.headers, message.payload);
        if self.headers_only {
            self.write_headers(message, None);
            (headers, payload) = (&self.headers, &[]);
        }
        let rest = self.reply.len() + headers.len() + payload.len();
        let size = Size {
            subject: message.key.len() as i64,
            rest: rest as i64,
        };
        if parcel.limit.is_some_and(|limit| size.total() > limit) {
            return Outcome::TooLarge;
        }
        if parcel.pin.is_some() {
            self.write_headers(message, parcel.pin);
            headers = &self.headers;
        }
        let taken = out.publish(Outgoing {
            account: parcel.account,
            route: parcel.route,
            subject: message.key,
            reply: &self.reply,
            headers,
            payload,
        });
        if taken {
            Outcome::Taken(size)
        } else {
            Outcome::NoOne
        }
    }

    fn write_reply(&mut self, parcel: &Parcel<'_>, timestamp: Timestamp) {
        self.reply.clear();
        self.stamp.set(timestamp);
        self.prefix.write(
            &mut self.reply,
            u64::from(parcel.deliveries),
            parcel.seq,
            parcel.consumer_seq,
            &self.stamp,
            parcel.pending,
        );
    }

    /// The message's headers and those that are not stored.
    fn write_headers(&mut self, message: &StoredRef<'_>, pin: Option<&PinId>) {
        self.headers.clear();
        let mut headers = Headers::copied(&mut self.headers, message.headers);
        if self.headers_only {
            headers.add_number(SIZE_HEADER, message.payload.len() as u64);
        }
        if let Some(pin) = pin {
            headers.add(PIN_HEADER, pin);
        }
        headers.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_the_ack_subject() {
        let mut courier = Courier::new("Q", "a", false);
        let parcel = Parcel {
            account: 0,
            route: b"r",
            seq: 2,
            deliveries: 1,
            consumer_seq: 3,
            pending: 0,
            limit: None,
            pin: None,
        };
        courier.write_reply(&parcel, 1_795_339_013_585_256_936);
        courier.write_reply(&parcel, 1_795_339_013_585_256_936);
        assert_eq!(courier.reply, b"$JS.ACK.Q.a.1.2.3.1795339013585256936.0");
    }

    #[test]
    fn appends_headers() {
        let mut courier = Courier::new("Q", "a", true);
        let mut message = StoredRef {
            seq: 1,
            timestamp: 1,
            key: b"k",
            headers: b"",
            payload: b"12345",
        };
        courier.write_headers(&message, None);
        assert_eq!(courier.headers, b"NATS/1.0\r\nNats-Msg-Size: 5\r\n\r\n");
        message.headers = b"NATS/1.0\r\nA: b\r\n\r\n";
        courier.write_headers(&message, None);
        assert_eq!(
            courier.headers,
            b"NATS/1.0\r\nA: b\r\nNats-Msg-Size: 5\r\n\r\n"
        );
        courier.set_headers_only(false);
        courier.write_headers(&message, Some(b"EbBF2Zw2Z69fmvc7TTsFT7"));
        assert_eq!(
            courier.headers,
            b"NATS/1.0\r\nA: b\r\nNats-Pin-Id: EbBF2Zw2Z69fmvc7TTsFT7\r\n\r\n"
        );
    }
}
