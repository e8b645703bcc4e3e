//! What clients say about deliveries: done, again, later, still working, never again, next.
//!
//! An answer is sent only when the ack that it confirms is durable; until then it waits in [`Answers`].

use jetwake_protocol::ack::{AckKind, AckSubject, NextRequest};
use jetwake_storage::Lsn;

use super::ctx::Ctx;
use super::events::{self, About};
use super::pull::send_status;
use super::state::{Acks, Op};
use super::{Consumer, Mode};
use crate::jetstream::io::Inbound;

/// A NAK with a delay, even of nothing, comes back with the peer's next look at what is pending.
const SHORTEST_DELAY: i64 = 10_000_000;

/// Answers that wait for the next log record.
#[derive(Debug, Default)]
pub(super) struct Answers {
    replies: Vec<u8>,
    ends: Vec<usize>,
}

impl Answers {
    fn push(&mut self, reply: &[u8]) {
        self.replies.extend_from_slice(reply);
        self.ends.push(self.replies.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn send(&mut self, ctx: &mut Ctx<'_>, lsn: Option<Lsn>) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            ctx.log
                .answer_when_durable(lsn, ctx.account, &self.replies[start..end]);
            start = end;
        }
        self.replies.clear();
    }
}

impl Consumer {
    /// A message to one of this consumer's ack subjects.
    pub fn on_ack(&mut self, ctx: &mut Ctx<'_>, message: &Inbound<'_>) {
        let Some(subject) = AckSubject::parse(message.subject) else {
            return;
        };
        if self.state.rules.acks == Acks::None {
            return;
        }
        match AckKind::parse(message.payload) {
            AckKind::Ack => {
                if self.ack(ctx, &subject) {
                    self.answer_later(message.reply);
                }
            }
            AckKind::Term { reason } => {
                let known = self.ack(ctx, &subject);
                let reason = String::from_utf8_lossy(reason);
                events::terminated(ctx, &self.name, about(&subject), &reason);
                if known {
                    self.answer_later(message.reply);
                }
            }
            AckKind::Nak { delay } => {
                self.nak(ctx, &subject, delay);
                answer_now(ctx, message.reply);
            }
            AckKind::InProgress => {
                self.progress(ctx, &subject);
                answer_now(ctx, message.reply);
            }
            AckKind::Next(next) => {
                self.ack(ctx, &subject);
                let digits;
                let body = match next {
                    NextRequest::Json(body) | NextRequest::Malformed(body) => body,
                    NextRequest::Batch(batch) => {
                        digits = batch.to_string();
                        digits.as_bytes()
                    }
                };
                self.on_next(
                    ctx,
                    &Inbound {
                        payload: body,
                        headers: &[],
                        ..*message
                    },
                );
            }
            AckKind::Unknown => answer_now(ctx, message.reply),
        }
    }

    fn answer_later(&mut self, reply: &[u8]) {
        if !reply.is_empty() {
            self.answers.push(reply);
            self.dirty = true;
        }
    }

    /// Takes an ack. Whether it is to be answered: not if the message was never delivered.
    fn ack(&mut self, ctx: &mut Ctx<'_>, subject: &AckSubject<'_>) -> bool {
        let seq = subject.stream_seq;
        if seq >= self.state.next {
            return false;
        }
        let was_stalled = self.is_stalled();
        match self.state.rules.acks {
            Acks::Explicit => self.ack_one(ctx, subject),
            Acks::All => {
                let (consumer, stream) = (subject.consumer_seq, subject.stream_seq);
                let floor = self.state.floor;
                if consumer <= floor.consumer || stream <= floor.stream {
                    return true;
                }
                self.ack_up_to(ctx, consumer, stream);
            }
            Acks::None => {}
        }
        self.activity.acked(ctx.now);
        self.dirty |= was_stalled;
        true
    }

    fn ack_one(&mut self, ctx: &mut Ctx<'_>, subject: &AckSubject<'_>) {
        let seq = subject.stream_seq;
        let Some(entry) = self.state.pending.get(seq).copied() else {
            if self.state.given_up.contains_key(&seq) {
                self.finish(ctx, seq);
            }
            return;
        };
        if self.settings.sample > 0 && ctx.out.random() % 100 < self.settings.sample {
            events::acked(ctx, &self.name, &entry, subject.consumer_seq);
        }
        self.finish(ctx, seq);
    }

    /// This message is done.
    pub(super) fn finish(&mut self, ctx: &mut Ctx<'_>, seq: u64) {
        self.record(&Op::Ack { seq, len: 1 }, ctx.now);
        ctx.released.push(seq);
        self.dirty = true;
    }

    fn ack_up_to(&mut self, ctx: &mut Ctx<'_>, consumer: u64, stream: u64) {
        let pending = self.state.pending.iter().map(|entry| entry.seq);
        ctx.released
            .extend(pending.take_while(|seq| *seq <= stream));
        ctx.released
            .extend(self.state.given_up.range(..=stream).map(|(seq, _)| *seq));
        self.record(&Op::AckUpTo { consumer, stream }, ctx.now);
        self.dirty = true;
    }

    fn nak(&mut self, ctx: &mut Ctx<'_>, subject: &AckSubject<'_>, delay: Option<i64>) {
        let seq = subject.stream_seq;
        let Some(entry) = self.state.pending.get(seq).copied() else {
            return;
        };
        let (floor, last) = (self.state.floor.consumer, self.state.delivered.consumer);
        // A number above the last one is from before a reset.
        if subject.consumer_seq <= floor || subject.consumer_seq > last {
            return;
        }
        self.activity.touch(ctx.now);
        events::naked(ctx, &self.name, about(subject));
        match delay {
            Some(delay) => {
                let due = ctx.now.saturating_add(delay.max(SHORTEST_DELAY));
                self.record(&Op::Delay { seq, due }, ctx.now);
            }
            _ if self.state.rules.exhausted(entry.deliveries) => self.give_up(ctx, seq),
            _ => self.record(&Op::Requeue { seq }, ctx.now),
        }
        self.dirty = true;
    }

    fn progress(&mut self, ctx: &mut Ctx<'_>, subject: &AckSubject<'_>) {
        let seq = subject.stream_seq;
        if self.state.pending.get(seq).is_some() {
            self.record(&Op::Progress { seq }, ctx.now);
            self.activity.touch(ctx.now);
            let wait = self
                .state
                .rules
                .wait(subject.delivered.try_into().unwrap_or(u32::MAX));
            self.activity.held(ctx.now, wait);
            self.dirty = true;
        }
    }

    /// Whether acks are listened to.
    pub(crate) fn takes_acks(&self) -> bool {
        self.state.rules.acks != Acks::None
    }

    /// Whether it is a pull consumer.
    pub(super) fn is_pull(&self) -> bool {
        matches!(self.mode, Mode::Pull(_))
    }
}

fn about(subject: &AckSubject<'_>) -> About {
    About {
        consumer_seq: subject.consumer_seq,
        stream_seq: subject.stream_seq,
        deliveries: subject.delivered,
    }
}

fn answer_now(ctx: &mut Ctx<'_>, reply: &[u8]) {
    if !reply.is_empty() {
        send_status(ctx.out, ctx.account, reply, &[]);
    }
}
