//! What the stream's own changes mean for a consumer: new messages, removed ones, purges.

use jetwake_storage::{KeyFilter, KeyId, MessageStore};

use super::ctx::Ctx;
use super::events::{self, About};
use super::state::{Acks, Op};
use super::{Consumer, Mode};

/// Why a message left the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Somebody deleted it.
    Deleted,
    /// A limit or its age.
    Limit,
    /// Its consumers were done with it.
    Released,
}

const DELETED: &str = "Unacknowledged message was deleted";

impl Consumer {
    /// A message was stored. Called once for each, in order.
    pub fn on_stored(&mut self, ctx: &mut Ctx<'_>, seq: u64, key: KeyId) {
        if seq >= self.state.next && self.matches(key, ctx.messages) {
            self.num_pending.add(seq);
            self.dirty |= match &self.mode {
                Mode::Pull(queue) => queue.len() > 0,
                Mode::Push(push) => push.can_take(),
            };
        }
        self.num_pending.looked_at(seq);
    }

    /// A message left the stream.
    pub fn on_removed(&mut self, ctx: &mut Ctx<'_>, seq: u64, key: KeyId, why: Removal) {
        if seq >= self.state.next {
            if self.counts(seq) && self.matches(key, ctx.messages) {
                self.num_pending.take(seq);
            }
            return;
        }
        let pending = self.state.pending.get(seq).copied();
        if pending.is_none() && !self.state.given_up.contains_key(&seq) {
            return;
        }
        let front = self.state.pending.front().map(|front| front.seq);
        match pending {
            // An ack of the lowest one, as far as the floor is concerned.
            Some(entry) if self.state.rules.acks == Acks::All && front == Some(seq) => {
                let (consumer, stream) = (entry.first, seq);
                self.record(&Op::AckUpTo { consumer, stream }, ctx.now);
            }
            _ => self.record(&Op::Ack { seq, len: 1 }, ctx.now),
        }
        self.activity.settled(ctx.now);
        self.dirty = true;
        if let Some(entry) = pending
            && why != Removal::Released
        {
            let about = About {
                consumer_seq: entry.first,
                stream_seq: seq,
                deliveries: u64::from(entry.deliveries),
            };
            events::terminated(ctx, &self.name, about, DELETED);
        }
    }

    /// Whether an undelivered message is among those that will be delivered, apart from the filters.
    fn counts(&self, seq: u64) -> bool {
        self.state
            .bound
            .is_none_or(|bound| seq > bound || self.members.binary_search(&seq).is_ok())
    }

    /// Everything up to `upto` was purged, or of it what matches `subject`. Of these, `next` is the first that is left.
    pub fn on_purged(&mut self, ctx: &mut Ctx<'_>, subject: Option<&[u8]>, upto: u64, next: u64) {
        let pending = self.state.pending.iter().map(|entry| entry.seq);
        let given_up = self.state.given_up.range(..=upto).map(|(seq, _)| *seq);
        let held = pending.take_while(|seq| *seq <= upto).chain(given_up);
        let gone: Vec<u64> = held
            .filter(|seq| ctx.messages.meta(*seq).is_none())
            .collect();
        if !gone.is_empty() {
            self.activity.settled(ctx.now);
        }
        for seq in gone {
            self.record(&Op::Ack { seq, len: 1 }, ctx.now);
        }
        let is_behind = self.state.next <= upto;
        self.jump_over(ctx, subject, next);
        if is_behind {
            self.members.retain(|seq| ctx.messages.meta(*seq).is_some());
            self.count_again(ctx.messages);
        }
        self.dirty = true;
    }

    /// The same when only these messages went, all of them on subjects that match `subject`.
    pub fn on_purged_few(
        &mut self,
        ctx: &mut Ctx<'_>,
        subject: &[u8],
        gone: &[(u64, KeyId)],
        next: u64,
    ) {
        for &(seq, key) in gone {
            if seq >= self.state.next {
                if self.counts(seq) && self.matches(key, ctx.messages) {
                    self.num_pending.take(seq);
                }
            } else if self.holds(seq) {
                self.record(&Op::Ack { seq, len: 1 }, ctx.now);
                self.activity.settled(ctx.now);
                self.dirty = true;
            }
        }
        self.jump_over(ctx, Some(subject), next);
    }

    /// Goes on behind what was purged, if that was all that the filters let through; if it was a part of that, at the
    /// first message of the stream.
    fn jump_over(&mut self, ctx: &Ctx<'_>, subject: Option<&[u8]>, next: u64) {
        let next = match subject {
            Some(pattern) if self.filter.covers(pattern) && !self.filter.is_covered_by(pattern) => {
                ctx.messages.state().first_seq
            }
            Some(pattern) if !self.filter.is_covered_by(pattern) => return,
            _ => next,
        };
        // What was looked at without a match shows from now on, too.
        let next = next.max(self.state.next);
        if next > self.state.delivered.stream.saturating_add(1) {
            self.record(&Op::Jump { next }, ctx.now);
            self.dirty = true;
        }
    }

    /// Takes the number of undelivered messages from the index.
    pub(super) fn count_again(&mut self, messages: &dyn MessageStore) {
        let next = self.state.next;
        let last = messages.state().last_seq;
        let members = self.members.iter();
        let members = members.filter(|seq| **seq >= next && messages.meta(**seq).is_some());
        let from = self
            .state
            .bound
            .map_or(next, |bound| next.max(bound.saturating_add(1)));
        let later = if from > last {
            0
        } else {
            self.filter.count(messages, from)
        };
        self.num_pending.set(members.count() as u64 + later, last);
    }

    /// Whether it was handed out and is not settled.
    fn holds(&self, seq: u64) -> bool {
        self.state.pending.get(seq).is_some() || self.state.given_up.contains_key(&seq)
    }

    /// Whether the filters match a key of the store.
    #[must_use]
    pub fn matches(&self, key: KeyId, messages: &dyn MessageStore) -> bool {
        self.filter.is_everything() || self.filter.matches(messages.key(key))
    }

    /// Whether it holds messages that its filters, which may have changed since, do not let through.
    #[must_use]
    pub fn holds_strays(&self, messages: &dyn MessageStore) -> bool {
        if self.filter.is_everything() {
            return false;
        }
        let pending = self.state.pending.iter().map(|entry| entry.seq);
        let held = pending.chain(self.state.given_up.keys().copied());
        let mut metas = held.filter_map(|seq| messages.meta(seq));
        metas.any(|meta| !self.filter.matches(messages.key(meta.key)))
    }

    /// Whether the stream has to keep a message for this consumer.
    #[must_use]
    pub fn needs(&self, seq: u64, key: KeyId, messages: &dyn MessageStore) -> bool {
        // What the filters do not let through any more it is done with, even if a client still has it.
        self.matches(key, messages)
            && (self.holds(seq) || (seq >= self.state.next && self.counts(seq)))
    }

    /// Whether a message was for this consumer and is settled: a work queue lets it go.
    #[must_use]
    pub fn is_done_with(&self, seq: u64, key: KeyId, messages: &dyn MessageStore) -> bool {
        seq < self.state.next && !self.needs(seq, key, messages) && self.matches(key, messages)
    }
}
