//! The recorded state of a consumer: what was delivered, what is pending, what is due again.
//!
//! Every change is an [`Op`]; the live consumer and the replay of the log go through the same [`State::apply`], so
//! that both arrive at the same state. Nothing here publishes, and nothing depends on subscribers.

mod codec;
mod ops;
mod pending;
mod rules;
mod snapshot;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, VecDeque};

pub use codec::Corrupt;
pub(super) use ops::{Op, OpBuffer};
pub(super) use pending::{Entry, Pending, Stage};
pub(super) use rules::{Acks, Rules};
use timers::Timers;

use crate::jetstream::io::Timestamp;

/// A place in both numberings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Number of delivery attempts so far.
    pub(super) consumer: u64,
    /// Stream sequence.
    pub(super) stream: u64,
}

/// A message over `max_deliver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    /// Its stream sequence.
    pub(super) seq: u64,
    /// How often it was handed out.
    pub(super) deliveries: u32,
}

/// The recorded state of one consumer.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// The part of the configuration that the state depends on.
    pub(super) rules: Rules,
    /// The last attempt, and the highest sequence delivered (or the start - 1).
    pub(super) delivered: Position,
    /// Nothing at or below is pending.
    pub(super) floor: Position,
    /// The lowest stream sequence not looked at yet.
    pub(super) next: u64,
    /// With last-per-subject: the end of the stream at creation; up to here only the last of each subject counts.
    pub(super) bound: Option<u64>,
    /// Delivered and not yet done.
    pub(super) pending: Pending,
    /// Over `max_deliver` and not acknowledged, with the number of deliveries.
    pub(super) given_up: BTreeMap<u64, u32>,
    queue: VecDeque<u64>,
    timers: Timers,
}

impl State {
    /// The state of a consumer that starts at stream sequence `start`.
    pub(super) fn new(rules: Rules, start: u64, bound: Option<u64>) -> Self {
        let before = Position {
            consumer: 0,
            stream: start.saturating_sub(1),
        };
        Self {
            rules,
            delivered: before,
            floor: before,
            next: start,
            bound,
            pending: Pending::default(),
            given_up: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: Timers::default(),
        }
    }

    /// Performs one operation.
    pub(super) fn apply(&mut self, op: &Op, at: Timestamp) {
        match *op {
            Op::Deliver { seq, len } => (seq..seq + len).for_each(|seq| self.deliver(seq, at)),
            Op::Redeliver { seq, len } => (seq..seq + len).for_each(|seq| self.redeliver(seq, at)),
            Op::Ack { seq, len } => (seq..seq + len).for_each(|seq| self.done(seq)),
            Op::AckUpTo { consumer, stream } => self.done_up_to(consumer, stream),
            Op::Delay { seq, due } => self.delay(seq, due),
            Op::Requeue { seq } => self.requeue(seq),
            Op::Progress { seq } => self.progress(seq, at),
            Op::Expire => self.expire(at, &mut Vec::new()),
            Op::GiveUp { seq } => {
                self.give_up(seq);
            }
            Op::Jump { next } => self.jump(next),
            Op::RequeueAll => self.requeue_all(),
            Op::Rules(ref rules) => self.set_rules(rules.clone()),
            Op::Reset { next } => *self = Self::new(self.rules.clone(), next, None),
        }
    }

    /// Performs the operations of one log record.
    pub(super) fn replay(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        ops::decode(record, |op, at| self.apply(op, at))
    }

    fn deliver(&mut self, seq: u64, at: Timestamp) {
        self.delivered.consumer += 1;
        self.delivered.stream = self.delivered.stream.max(seq);
        self.next = self.next.max(seq.saturating_add(1));
        if self.rules.acks == Acks::None {
            self.floor = self.delivered;
            return;
        }
        let due = self.rules.due(at, 1);
        let added = self.pending.push(Entry {
            seq,
            first: self.delivered.consumer,
            last: at,
            due,
            deliveries: 1,
            stage: Stage::Waiting,
            delayed: false,
        });
        if added {
            let steady = self.rules.backoff.is_empty();
            self.timers.add(&self.pending, due, seq, steady);
        }
    }

    fn redeliver(&mut self, seq: u64, at: Timestamp) {
        if self.next_queued() == Some(seq) {
            self.queue.pop_front();
        }
        self.delivered.consumer += 1;
        let rules = &self.rules;
        let mut due = at;
        let found = self.pending.change(seq, |entry| {
            entry.deliveries = entry.deliveries.saturating_add(1);
            due = rules.due(at, entry.deliveries);
            (entry.last, entry.due) = (at, due);
            (entry.stage, entry.delayed) = (Stage::Waiting, false);
        });
        if found {
            let steady = self.rules.backoff.is_empty();
            self.timers.add(&self.pending, due, seq, steady);
        }
    }

    fn done(&mut self, seq: u64) {
        let was_front = self.pending.front().is_some_and(|front| front.seq == seq);
        let removed = self.pending.remove(seq).is_some();
        if !self.given_up.is_empty() {
            self.given_up.remove(&seq);
        }
        if removed {
            self.raise_floor(was_front);
        }
    }

    /// The floor moves when the lowest pending message went; it follows from what is pending and nothing else.
    fn raise_floor(&mut self, was_front: bool) {
        match self.pending.front() {
            None => self.floor = self.delivered,
            Some(front) if was_front => {
                self.floor = Position {
                    consumer: front.first.saturating_sub(1),
                    stream: front.seq - 1,
                };
            }
            Some(_) => {}
        }
    }

    fn done_up_to(&mut self, consumer: u64, stream: u64) {
        while let Some(front) = self.pending.front().map(|front| front.seq)
            && front <= stream
        {
            self.pending.remove(front);
        }
        self.given_up = self.given_up.split_off(&stream.saturating_add(1));
        self.floor = Position {
            consumer: consumer.min(self.delivered.consumer),
            stream,
        };
    }

    fn delay(&mut self, seq: u64, due: Timestamp) {
        let mut was_queued = false;
        let found = self.pending.change(seq, |entry| {
            was_queued = entry.stage == Stage::Queued;
            (entry.stage, entry.due, entry.delayed) = (Stage::Waiting, due, true);
        });
        if was_queued {
            self.queue.retain(|queued| *queued != seq);
        }
        if found {
            self.timers.add(&self.pending, due, seq, false);
        }
    }

    fn requeue(&mut self, seq: u64) {
        let mut newly = false;
        self.pending.change(seq, |entry| {
            newly = entry.stage == Stage::Waiting;
            entry.stage = Stage::Queued;
        });
        if newly {
            self.queue.push_back(seq);
        }
    }

    fn requeue_all(&mut self) {
        let queue = &mut self.queue;
        self.pending.change_all(|entry| {
            if entry.stage == Stage::Waiting {
                entry.stage = Stage::Queued;
                queue.push_back(entry.seq);
            }
        });
    }

    fn progress(&mut self, seq: u64, at: Timestamp) {
        let rules = &self.rules;
        let mut due = None;
        self.pending.change(seq, |entry| {
            entry.last = at;
            if entry.stage == Stage::Waiting {
                (entry.due, entry.delayed) = (rules.due(at, entry.deliveries), false);
                due = Some(entry.due);
            }
        });
        if let Some(due) = due {
            let steady = self.rules.backoff.is_empty();
            self.timers.add(&self.pending, due, seq, steady);
        }
    }

    /// Queues what is due, in stream order; `given_up` gets what has no attempt left.
    pub(super) fn expire(&mut self, now: Timestamp, given_up: &mut Vec<GivenUp>) {
        let from = self.queue.len();
        while let Some(seq) = self.timers.pop(&self.pending, now) {
            let exhausted = self
                .pending
                .get(seq)
                .is_some_and(|entry| self.rules.exhausted(entry.deliveries));
            if exhausted {
                given_up.extend(self.give_up(seq));
            } else {
                self.requeue(seq);
            }
        }
        self.queue.make_contiguous()[from..].sort_unstable();
        given_up.sort_unstable_by_key(|gone| gone.seq);
    }

    /// Makes no further attempt with a message. It stays known until it is acknowledged or leaves the stream.
    pub(super) fn give_up(&mut self, seq: u64) -> Option<GivenUp> {
        let was_front = self.pending.front().is_some_and(|front| front.seq == seq);
        let deliveries = self.pending.remove(seq)?.deliveries;
        self.given_up.insert(seq, deliveries);
        self.raise_floor(was_front);
        Some(GivenUp { seq, deliveries })
    }

    fn jump(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.delivered.stream = self.delivered.stream.max(next.saturating_sub(1));
        if self.pending.len() == 0 {
            self.floor = self.delivered;
        }
    }

    fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
        let rules = &self.rules;
        self.pending.change_all(|entry| {
            if entry.stage == Stage::Waiting && !entry.delayed {
                entry.due = rules.due(entry.last, entry.deliveries);
            }
        });
        self.timers.rebuild(&self.pending);
    }

    /// The first message of the redelivery queue.
    pub(super) fn next_queued(&mut self) -> Option<u64> {
        while let Some(seq) = self.queue.front() {
            if self
                .pending
                .get(*seq)
                .is_some_and(|entry| entry.stage == Stage::Queued)
            {
                return Some(*seq);
            }
            self.queue.pop_front();
        }
        None
    }

    /// When the next pending message is due.
    pub(super) fn next_due(&mut self) -> Option<Timestamp> {
        self.timers.next(&self.pending)
    }

    /// The redelivery queue without what was acknowledged meanwhile.
    fn queued(&self) -> impl Iterator<Item = u64> {
        self.queue.iter().copied().filter(|seq| {
            self.pending
                .get(*seq)
                .is_some_and(|entry| entry.stage == Stage::Queued)
        })
    }
}
