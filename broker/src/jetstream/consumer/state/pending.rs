//! The messages that were delivered and not yet acknowledged, in stream order.
//!
//! First deliveries come in ascending sequence, so the entries are a sorted ring: a new one goes to the back, an
//! acknowledged one leaves a hole that is reclaimed from the front or by compaction. In a dense stretch an entry
//! is found at its distance from the front; otherwise by bisection below that distance.

use std::collections::VecDeque;

use crate::jetstream::io::Timestamp;

/// Holes that are tolerated beyond the number of live entries.
const HOLE_SLACK: usize = 64;

/// What happens next to a pending message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jetstream::consumer) enum Stage {
    /// With a client until `due`.
    Waiting,
    /// In the redelivery queue.
    Queued,
    /// A hole.
    Gone,
}

/// One delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jetstream::consumer) struct Entry {
    /// Its stream sequence.
    pub(in crate::jetstream::consumer) seq: u64,
    /// The consumer sequence of the first delivery.
    pub(in crate::jetstream::consumer) first: u64,
    /// When it was last handed out, or last reported as in progress.
    pub(in crate::jetstream::consumer) last: Timestamp,
    /// When it is to be delivered again.
    pub(in crate::jetstream::consumer) due: Timestamp,
    /// How often it was handed out.
    pub(in crate::jetstream::consumer) deliveries: u32,
    /// What happens next.
    pub(in crate::jetstream::consumer) stage: Stage,
    /// `due` was asked for by the client and does not follow from `last`.
    pub(in crate::jetstream::consumer) delayed: bool,
}

/// All pending messages of one consumer.
#[derive(Clone, Debug, Default)]
pub(in crate::jetstream::consumer) struct Pending {
    slots: VecDeque<Entry>,
    live: usize,
    queued: usize,
    repeated: usize,
}

impl Pending {
    /// How many messages are pending.
    pub(in crate::jetstream::consumer) fn len(&self) -> usize {
        self.live
    }

    /// How many of them wait in the redelivery queue.
    pub(in crate::jetstream::consumer) fn queued(&self) -> usize {
        self.queued
    }

    /// How many of them were handed out more than once.
    pub(in crate::jetstream::consumer) fn repeated(&self) -> usize {
        self.repeated
    }

    /// Adds a message; its sequence is above every earlier one. Returns false (and adds nothing) otherwise.
    pub(in crate::jetstream::consumer) fn push(&mut self, entry: Entry) -> bool {
        if self.slots.back().is_some_and(|back| back.seq >= entry.seq) {
            return false;
        }
        self.live += 1;
        self.queued += usize::from(entry.stage == Stage::Queued);
        self.repeated += usize::from(entry.deliveries > 1);
        self.slots.push_back(entry);
        true
    }

    fn find(&self, seq: u64) -> Option<usize> {
        let distance = seq.checked_sub(self.slots.front()?.seq)?;
        let last = self.slots.len() - 1;
        let mut high = usize::try_from(distance).map_or(last, |distance| distance.min(last));
        let mut low = 0;
        // The front's distance is exact where no sequence is missing in between.
        let mut probe = high;
        loop {
            let slot = &self.slots[probe];
            if slot.seq == seq {
                return (slot.stage != Stage::Gone).then_some(probe);
            }
            if slot.seq < seq {
                low = probe + 1;
            } else {
                high = probe.checked_sub(1)?;
            }
            if low > high {
                return None;
            }
            probe = low.midpoint(high);
        }
    }

    /// The entry of a sequence.
    pub(in crate::jetstream::consumer) fn get(&self, seq: u64) -> Option<&Entry> {
        self.find(seq).map(|at| &self.slots[at])
    }

    /// Changes the entry of a sequence in place, keeping the counters.
    pub(in crate::jetstream::consumer) fn change(
        &mut self,
        seq: u64,
        change: impl FnOnce(&mut Entry),
    ) -> bool {
        let Some(at) = self.find(seq) else {
            return false;
        };
        let entry = &mut self.slots[at];
        self.queued -= usize::from(entry.stage == Stage::Queued);
        self.repeated -= usize::from(entry.deliveries > 1);
        change(entry);
        self.queued += usize::from(entry.stage == Stage::Queued);
        self.repeated += usize::from(entry.deliveries > 1);
        true
    }

    /// Removes the entry of a sequence.
    pub(in crate::jetstream::consumer) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let at = self.find(seq)?;
        let entry = self.slots[at];
        self.slots[at].stage = Stage::Gone;
        self.live -= 1;
        self.queued -= usize::from(entry.stage == Stage::Queued);
        self.repeated -= usize::from(entry.deliveries > 1);
        while self
            .slots
            .front()
            .is_some_and(|front| front.stage == Stage::Gone)
        {
            self.slots.pop_front();
        }
        if self.slots.len() > 2 * self.live + HOLE_SLACK {
            self.slots.retain(|slot| slot.stage != Stage::Gone);
        }
        Some(entry)
    }

    /// The lowest pending message.
    pub(in crate::jetstream::consumer) fn front(&self) -> Option<&Entry> {
        // The front is never a hole: `remove` sees to it.
        self.slots.front()
    }

    /// All pending messages, ascending.
    pub(in crate::jetstream::consumer) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().filter(|slot| slot.stage != Stage::Gone)
    }

    /// Changes every pending message, keeping the counters.
    pub(in crate::jetstream::consumer) fn change_all(
        &mut self,
        mut change: impl FnMut(&mut Entry),
    ) {
        self.queued = 0;
        self.repeated = 0;
        for entry in self
            .slots
            .iter_mut()
            .filter(|slot| slot.stage != Stage::Gone)
        {
            change(entry);
            self.queued += usize::from(entry.stage == Stage::Queued);
            self.repeated += usize::from(entry.deliveries > 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64) -> Entry {
        Entry {
            seq,
            first: seq,
            last: 0,
            due: 0,
            deliveries: 1,
            stage: Stage::Waiting,
            delayed: false,
        }
    }

    #[test]
    fn finds_in_dense_and_sparse_stretches() {
        let mut pending = Pending::default();
        let seqs: Vec<u64> = (10..40).chain([50, 90, 91, 1000, 1_000_000]).collect();
        for seq in &seqs {
            assert!(pending.push(entry(*seq)));
        }
        for seq in 0..1_000_010 {
            assert_eq!(pending.get(seq).is_some(), seqs.contains(&seq), "{seq}");
        }
        assert!(!pending.push(entry(5)));
    }

    #[test]
    fn removal_keeps_order_and_reclaims_holes() {
        let mut pending = Pending::default();
        for seq in 1..=1000 {
            pending.push(entry(seq));
        }
        for seq in (2..=1000).filter(|seq| seq % 7 != 0) {
            assert_eq!(pending.remove(seq).map(|gone| gone.seq), Some(seq));
            assert_eq!(pending.remove(seq), None);
        }
        assert_eq!(pending.front().map(|front| front.seq), Some(1));
        assert!(pending.slots.len() <= 2 * pending.len() + HOLE_SLACK);
        let left: Vec<u64> = pending.iter().map(|entry| entry.seq).collect();
        let expected: Vec<u64> = [1].into_iter().chain((7..=1000).step_by(7)).collect();
        assert_eq!(left, expected);
        pending.remove(1);
        assert_eq!(pending.front().map(|front| front.seq), Some(7));
    }

    #[test]
    fn counts_queued_and_repeated() {
        let mut pending = Pending::default();
        for seq in 1..=3 {
            pending.push(entry(seq));
        }
        pending.change(2, |entry| {
            entry.stage = Stage::Queued;
            entry.deliveries = 2;
        });
        assert_eq!(
            (pending.len(), pending.queued(), pending.repeated()),
            (3, 1, 1)
        );
        pending.remove(2);
        assert_eq!(
            (pending.len(), pending.queued(), pending.repeated()),
            (2, 0, 0)
        );
    }
}
