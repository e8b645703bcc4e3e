//! The delivery loop: which message is next, and whether anybody can take it.
//!
//! Nothing counts as delivered before somebody took it: a hand-over that fails leaves no trace.

use jetwake_storage::{MessageStore, Meta, ReadError};

use super::ctx::Ctx;
use super::state::{Acks, Op};
use super::{Consumer, Mode};

/// A message to deliver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Its sequence.
    pub(super) seq: u64,
    /// The number of this attempt.
    pub(super) deliveries: u32,
}

impl Choice {
    /// Whether it was never delivered before.
    pub(super) fn is_first(&self) -> bool {
        self.deliveries == 1
    }
}

/// What became of a choice.
#[derive(Debug)]
pub(super) enum Given {
    /// Taken; the size that counts for limits.
    Taken(i64),
    /// Nobody is there to take it.
    NoTaker,
    /// It is no longer in the stream.
    Missing,
    /// The store cannot serve it.
    Unreadable(ReadError),
}

enum Selection {
    Give(Choice),
    /// Too many messages are pending.
    Stalled,
    /// Nothing is left to deliver.
    End,
    /// The next one has to wait for its time.
    Early,
}

impl Consumer {
    /// Delivers as much as possible, at most `budget` messages, and writes what was gathered for the log. Whether
    /// there is more to deliver at once.
    pub fn pump(&mut self, ctx: &mut Ctx<'_>, budget: &mut usize) -> bool {
        self.dirty = false;
        let more = self.deliver(ctx, budget);
        self.flush(ctx);
        self.dirty |= more;
        more
    }

    fn deliver(&mut self, ctx: &mut Ctx<'_>, budget: &mut usize) -> bool {
        while self.can_take() {
            if self.pace.is_held(ctx.now) {
                return false;
            }
            if *budget == 0 {
                return true;
            }
            let choice = match self.choose(ctx) {
                Selection::Give(choice) => choice,
                Selection::Stalled | Selection::Early => return false,
                Selection::End => {
                    self.end_no_wait(ctx);
                    return false;
                }
            };
            let given = match self.mode {
                Mode::Pull(_) => self.give_to_request(ctx, &choice),
                Mode::Push(_) => self.give_to_subscriber(ctx, &choice),
            };
            match given {
                Given::Taken(size) => {
                    *budget -= 1;
                    self.commit(ctx, &choice);
                    self.pushed(ctx, size);
                    self.pace.spend(ctx.now, size);
                }
                Given::NoTaker => {
                    self.end_no_wait(ctx);
                    return false;
                }
                Given::Missing => self.skip(ctx, &choice),
                Given::Unreadable(error) => {
                    // What the disk refuses now it may give another time, or another node; what is damaged otherwise
                    // is lost.
                    let lost = ctx.lost.is_none_or(|lost| lost.is_lost(choice.seq));
                    let later = matches!(error, ReadError::Io { .. }) || !lost;
                    ctx.unreadable.push((choice.seq, error));
                    if later {
                        self.pace.read_again(ctx.now);
                        return false;
                    }
                    self.skip(ctx, &choice);
                }
            }
        }
        false
    }

    fn can_take(&self) -> bool {
        match &self.mode {
            Mode::Pull(queue) => queue.len() > 0,
            Mode::Push(push) => push.can_take(),
        }
    }

    /// Repeats come first and know no limit; then what was never delivered, while not too much is pending.
    fn choose(&mut self, ctx: &mut Ctx<'_>) -> Selection {
        while let Some(seq) = self.state.next_queued() {
            let deliveries = self
                .state
                .pending
                .get(seq)
                .map_or(0, |entry| entry.deliveries);
            if !self.state.rules.exhausted(deliveries) {
                return Selection::Give(Choice {
                    seq,
                    deliveries: deliveries.saturating_add(1),
                });
            }
            self.give_up(ctx, seq);
        }
        if self.is_stalled() {
            return Selection::Stalled;
        }
        match self.first_undelivered(ctx.messages) {
            Some(meta) if self.pace.is_early(ctx.now, &meta) => Selection::Early,
            Some(meta) => Selection::Give(Choice {
                seq: meta.seq,
                deliveries: 1,
            }),
            None => Selection::End,
        }
    }

    /// Whether too many messages are pending to deliver a new one.
    pub(super) fn is_stalled(&self) -> bool {
        self.settings
            .max_ack_pending
            .is_some_and(|limit| self.state.pending.len() >= limit)
    }

    fn first_undelivered(&mut self, messages: &dyn MessageStore) -> Option<Meta> {
        while let Some(seq) = self.members.front().copied() {
            if seq >= self.state.next
                && let Some(meta) = messages.meta(seq)
            {
                return Some(meta);
            }
            self.members.pop_front();
        }
        if let Some(bound) = self.state.bound {
            self.state.next = self.state.next.max(bound.saturating_add(1));
        }
        let found = self.filter.next(messages, self.state.next);
        if found.is_none() {
            let last = messages.state().last_seq;
            self.state.next = self.state.next.max(last.saturating_add(1));
            self.num_pending.set(0, last);
        }
        found
    }

    fn commit(&mut self, ctx: &mut Ctx<'_>, choice: &Choice) {
        let (seq, len) = (choice.seq, 1);
        if choice.is_first() {
            self.record(&Op::Deliver { seq, len }, ctx.now);
            self.num_pending.take(seq);
            let messages = ctx.messages;
            let stored = || messages.meta(seq).map_or(0, |meta| meta.timestamp);
            self.pace.keep_time(ctx.now, seq, stored);
            if self.state.rules.acks == Acks::None {
                ctx.released.push(seq);
            }
        } else {
            self.record(&Op::Redeliver { seq, len }, ctx.now);
        }
        let wait = self.state.rules.wait(choice.deliveries);
        self.activity.delivered(ctx.now, wait);
    }

    /// Passes over a message that cannot be delivered.
    fn skip(&mut self, ctx: &Ctx<'_>, choice: &Choice) {
        if choice.is_first() {
            self.state.next = self.state.next.max(choice.seq.saturating_add(1));
            self.num_pending.take(choice.seq);
        } else {
            self.record(
                &Op::Ack {
                    seq: choice.seq,
                    len: 1,
                },
                ctx.now,
            );
        }
    }
}
