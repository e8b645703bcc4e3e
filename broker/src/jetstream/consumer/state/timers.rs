//! The deadlines of pending messages, ordered by due time.
//!
//! Deadlines with the constant ack wait ascend by themselves and live in a ring; the others (backoff, delayed
//! redelivery) in a heap. An item is valid only while its entry still waits for exactly this time, so nothing is
//! ever searched for removal; stale items are dropped when they surface, and all at once when they are the most.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::pending::{Pending, Stage};
use crate::jetstream::io::Timestamp;

/// Stale items that are tolerated beyond twice the number of pending messages.
const STALE_SLACK: usize = 1024;

/// All deadlines of one consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    steady: VecDeque<(Timestamp, u64)>,
    odd: BinaryHeap<Reverse<(Timestamp, u64)>>,
}

fn valid(pending: &Pending, due: Timestamp, seq: u64) -> bool {
    pending
        .get(seq)
        .is_some_and(|entry| entry.stage == Stage::Waiting && entry.due == due)
}

impl Timers {
    /// Notes that `seq` is due at `due`. `steady`: the time is now plus the constant wait.
    pub(super) fn add(&mut self, pending: &Pending, due: Timestamp, seq: u64, steady: bool) {
        if steady && self.steady.back().is_none_or(|(last, _)| *last <= due) {
            self.steady.push_back((due, seq));
        } else {
            self.odd.push(Reverse((due, seq)));
        }
        if self.steady.len() + self.odd.len() > 2 * pending.len() + STALE_SLACK {
            self.steady.retain(|(due, seq)| valid(pending, *due, *seq));
            self.odd
                .retain(|Reverse((due, seq))| valid(pending, *due, *seq));
        }
    }

    /// The next deadline.
    pub(super) fn next(&mut self, pending: &Pending) -> Option<Timestamp> {
        self.trim(pending);
        let steady = self.steady.front().map(|(due, _)| *due);
        let odd = self.odd.peek().map(|Reverse((due, _))| *due);
        steady.into_iter().chain(odd).min()
    }

    /// Takes one sequence that is due at `now`.
    pub(super) fn pop(&mut self, pending: &Pending, now: Timestamp) -> Option<u64> {
        self.trim(pending);
        if self.steady.front().is_some_and(|(due, _)| *due <= now) {
            return self.steady.pop_front().map(|(_, seq)| seq);
        }
        if self.odd.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            return self.odd.pop().map(|Reverse((_, seq))| seq);
        }
        None
    }

    fn trim(&mut self, pending: &Pending) {
        while self
            .steady
            .front()
            .is_some_and(|(due, seq)| !valid(pending, *due, *seq))
        {
            self.steady.pop_front();
        }
        while self
            .odd
            .peek()
            .is_some_and(|Reverse((due, seq))| !valid(pending, *due, *seq))
        {
            self.odd.pop();
        }
    }

    /// Starts over from the pending messages.
    pub(super) fn rebuild(&mut self, pending: &Pending) {
        self.steady.clear();
        self.odd.clear();
        for entry in pending.iter().filter(|entry| entry.stage == Stage::Waiting) {
            self.odd.push(Reverse((entry.due, entry.seq)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::Entry;
    use super::*;

    fn waiting(seq: u64, due: Timestamp) -> Entry {
        Entry {
            seq,
            first: seq,
            last: 0,
            due,
            deliveries: 1,
            stage: Stage::Waiting,
            delayed: false,
        }
    }

    #[test]
    fn acked_messages_leave_no_deadline_and_no_garbage() {
        let (mut pending, mut timers) = (Pending::default(), Timers::default());
        for seq in 1..=100_000_u64 {
            pending.push(waiting(seq, seq as i64));
            timers.add(&pending, seq as i64, seq, true);
            if seq != 7 {
                pending.remove(seq);
            }
        }
        assert_eq!(timers.next(&pending), Some(7));
        assert!(timers.steady.len() <= 2 * pending.len() + STALE_SLACK + 1);
        assert_eq!(timers.pop(&pending, 6), None);
        assert_eq!(timers.pop(&pending, 7), Some(7));
    }

    #[test]
    fn odd_deadlines_mix_with_steady_ones() {
        let (mut pending, mut timers) = (Pending::default(), Timers::default());
        for (seq, due, steady) in [(1, 30, true), (2, 10, false), (3, 40, true), (4, 35, false)] {
            pending.push(waiting(seq, due));
            timers.add(&pending, due, seq, steady);
        }
        let mut order = Vec::new();
        while let Some(seq) = timers.pop(&pending, 100) {
            order.push(seq);
        }
        order.sort_unstable();
        assert_eq!(order, [1, 2, 3, 4]);
        timers.rebuild(&pending);
        assert_eq!(timers.next(&pending), Some(10));
    }
}
