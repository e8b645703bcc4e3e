//! Messages that are logged and not committed yet, as far as later decisions must know of them.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::jetstream::arena::{Arena, Span};

#[derive(Debug)]
struct InFlight {
    seq: u64,
    hash: u64,
    key: Span,
    size: u32,
}

/// The in-flight messages of one stream, in sequence order.
#[derive(Debug)]
pub(crate) struct Staged {
    queue: VecDeque<InFlight>,
    /// Sum of the sizes.
    pub(crate) bytes: u64,
    /// The last sequence that was decided, committed or not.
    pub(crate) last_seq: u64,
}

impl Staged {
    /// Nothing in flight.
    pub(crate) fn new(last_seq: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            last_seq,
        }
    }

    /// How many messages are in flight.
    pub(crate) fn len(&self) -> u64 {
        self.queue.len() as u64
    }

    /// Adds the message that takes the next sequence.
    pub(crate) fn push(&mut self, seq: u64, key: Span, bytes: &[u8], size: u32) {
        let hash = FixedState::default().hash_one(bytes);
        self.queue.push_back(InFlight {
            seq,
            hash,
            key,
            size,
        });
        self.bytes += u64::from(size);
        self.last_seq = seq;
    }

    /// The message with this sequence is committed.
    pub(crate) fn pop(&mut self, seq: u64) {
        while self.queue.front().is_some_and(|first| first.seq <= seq) {
            if let Some(first) = self.queue.pop_front() {
                self.bytes -= u64::from(first.size);
            }
        }
    }

    /// The last message in flight whose key is accepted.
    pub(crate) fn last(&self, arena: &Arena, accept: impl Fn(&[u8]) -> bool) -> Option<u64> {
        self.queue
            .iter()
            .rev()
            .find(|one| accept(arena.get(one.key)))
            .map(|one| one.seq)
    }

    /// How many messages of `key` are in flight, and the sequence of the last.
    pub(crate) fn of_key(&self, arena: &Arena, key: &[u8]) -> (u64, Option<u64>) {
        if self.queue.is_empty() {
            return (0, None);
        }
        let hash = FixedState::default().hash_one(key);
        let mut found = (0, None);
        for one in &self.queue {
            if one.hash == hash && arena.get(one.key) == key {
                found = (found.0 + 1, Some(one.seq));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::Staged;
    use crate::jetstream::arena::Arena;

    #[test]
    fn knows_what_is_in_flight() {
        let mut arena = Arena::default();
        let mut staged = Staged::new(10);
        for (seq, key) in [(11, b"a"), (12, b"b"), (13, b"a")] {
            let span = arena.push(key);
            staged.push(seq, span, key, 5);
        }
        assert_eq!(staged.of_key(&arena, b"a"), (2, Some(13)));
        assert_eq!(staged.last(&arena, |key| key == b"b"), Some(12));
        staged.pop(12);
        assert_eq!(staged.of_key(&arena, b"a"), (1, Some(13)));
        assert_eq!((staged.len(), staged.bytes, staged.last_seq), (1, 5, 13));
    }
}
