//! Publishes advisories and metrics about a consumer. They are made only when somebody listens.

use jetwake_protocol::jetstream::advisory::{
    self, ConsumerAck, ConsumerGroupPinned, ConsumerGroupUnpinned, ConsumerPause, Event,
    MaxDeliveries, MessageNaked, MessageTerminated,
};
use jetwake_protocol::jetstream::time::Time;
use jetwake_protocol::nuid::Nuid;

use super::ctx::Ctx;
use super::pull::PinId;
use super::state::{Entry, GivenUp};
use crate::jetstream::io::{Outgoing, Timestamp};

/// What an ack, NAK or TERM was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// The consumer sequence in the ack subject.
    pub(super) consumer_seq: u64,
    /// The message.
    pub(super) stream_seq: u64,
    /// The number of the attempt.
    pub(super) deliveries: u64,
}

fn send<T: Event>(ctx: &mut Ctx<'_>, event: &T) {
    let subject = event.subject();
    if !ctx.out.has_any_interest(ctx.account, subject.as_bytes()) {
        return;
    }
    let id = Nuid::new([ctx.out.random(), ctx.out.random(), ctx.out.random()]).next_name();
    let id = String::from_utf8_lossy(&id);
    let mut payload = Vec::new();
    let domain = ctx.domain.unwrap_or_default();
    advisory::encode(event, &id, Time::from_nanos(ctx.now), domain, &mut payload);
    ctx.out.publish(Outgoing {
        account: ctx.account,
        route: subject.as_bytes(),
        subject: subject.as_bytes(),
        reply: &[],
        headers: &[],
        payload: &payload,
    });
}

/// A message had all its attempts.
pub(super) fn max_deliveries(ctx: &mut Ctx<'_>, consumer: &str, gone: GivenUp) {
    let (stream_seq, deliveries) = (gone.seq, u64::from(gone.deliveries));
    let stream = ctx.stream_name;
    send(
        ctx,
        &MaxDeliveries {
            stream,
            consumer,
            stream_seq,
            deliveries,
        },
    );
}

/// A client refused a message for now.
pub(super) fn naked(ctx: &mut Ctx<'_>, consumer: &str, about: About) {
    let About {
        consumer_seq,
        stream_seq,
        deliveries,
    } = about;
    let stream = ctx.stream_name;
    send(
        ctx,
        &MessageNaked {
            stream,
            consumer,
            consumer_seq,
            stream_seq,
            deliveries,
        },
    );
}

/// A message will not be delivered again, by the wish of a client or because it left the stream.
pub(super) fn terminated(ctx: &mut Ctx<'_>, consumer: &str, about: About, reason: &str) {
    let About {
        consumer_seq,
        stream_seq,
        deliveries,
    } = about;
    let stream = ctx.stream_name;
    send(
        ctx,
        &MessageTerminated {
            stream,
            consumer,
            consumer_seq,
            stream_seq,
            deliveries,
            reason,
        },
    );
}

/// A sampled ack.
pub(super) fn acked(ctx: &mut Ctx<'_>, consumer: &str, entry: &Entry, consumer_seq: u64) {
    let ack_time = ctx.now.saturating_sub(entry.last).max(0);
    let (stream_seq, deliveries) = (entry.seq, u64::from(entry.deliveries));
    let stream = ctx.stream_name;
    send(
        ctx,
        &ConsumerAck {
            stream,
            consumer,
            consumer_seq,
            stream_seq,
            ack_time,
            deliveries,
        },
    );
}

/// Deliveries pause until then, or go on because somebody said so.
pub(super) fn paused(ctx: &mut Ctx<'_>, consumer: &str, until: Option<Timestamp>) {
    let (stream, paused) = (ctx.stream_name, until.is_some());
    let pause_until = until.map_or(Time::ZERO, Time::from_nanos);
    send(
        ctx,
        &ConsumerPause {
            stream,
            consumer,
            paused,
            pause_until,
        },
    );
}

/// A pause that lasted until then is over.
pub(super) fn resumed(ctx: &mut Ctx<'_>, consumer: &str, until: Timestamp) {
    let stream = ctx.stream_name;
    let pause_until = Time::from_nanos(until);
    send(
        ctx,
        &ConsumerPause {
            stream,
            consumer,
            paused: false,
            pause_until,
        },
    );
}

/// A client is served alone from now on.
pub(super) fn pinned(ctx: &mut Ctx<'_>, consumer: &str, group: &str, pin: &PinId) {
    let account = ctx.out.account_name(ctx.account).unwrap_or_default();
    let (account, stream) = (account.as_str(), ctx.stream_name);
    let pinned_id = &String::from_utf8_lossy(pin);
    send(
        ctx,
        &ConsumerGroupPinned {
            account,
            stream,
            consumer,
            group,
            pinned_id,
        },
    );
}

/// Nobody is served alone any more: `timeout` or `admin`.
pub(super) fn unpinned(ctx: &mut Ctx<'_>, consumer: &str, group: &str, reason: &str) {
    let account = ctx.out.account_name(ctx.account).unwrap_or_default();
    let (account, stream) = (account.as_str(), ctx.stream_name);
    send(
        ctx,
        &ConsumerGroupUnpinned {
            account,
            stream,
            consumer,
            group,
            reason,
        },
    );
}
