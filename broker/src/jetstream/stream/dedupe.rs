//! The window of message ids that a stream has seen.
//!
//! Ids live in one arena in the order of their arrival, which is also the order in which they leave; the table
//! holds numbers only. An id stays for the whole window, also when its message is gone and over a restart.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::jetstream::arena::{Arena, Span};
use crate::jetstream::io::Timestamp;

#[derive(Debug)]
struct Seen {
    id: Span,
    hash: u64,
    seq: u64,
    timestamp: Timestamp,
}

/// Ids seen within the window.
#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    /// Nanoseconds; 0 switches deduplication off.
    window: i64,
    ids: Arena,
    seen: VecDeque<Seen>,
    /// Number of `seen[0]`.
    first: u64,
    table: HashTable<u64>,
}

impl Dedupe {
    /// An empty window of `window` nanoseconds.
    pub(crate) fn new(window: i64) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// Changes the window; it applies to the ids already seen.
    pub(crate) fn set_window(&mut self, window: i64) {
        self.window = window;
    }

    /// The sequence that `id` was stored with, if that is inside the window.
    pub(crate) fn find(&self, id: &[u8], now: Timestamp) -> Option<u64> {
        if self.window <= 0 {
            return None;
        }
        let hash = FixedState::default().hash_one(id);
        let at = self.table.find(hash, |number| {
            entry(&self.seen, self.first, *number).is_some_and(|seen| {
                seen.timestamp.saturating_add(self.window) > now && self.ids.get(seen.id) == id
            })
        })?;
        entry(&self.seen, self.first, *at).map(|seen| seen.seq)
    }

    /// Remembers `id`. The caller has checked that it is not known.
    pub(crate) fn insert(&mut self, id: &[u8], seq: u64, timestamp: Timestamp) {
        if self.window <= 0 {
            return;
        }
        let hash = FixedState::default().hash_one(id);
        let id = self.ids.push(id);
        let number = self.first + self.seen.len() as u64;
        self.seen.push_back(Seen {
            id,
            hash,
            seq,
            timestamp,
        });
        let (seen, first) = (&self.seen, self.first);
        self.table.insert_unique(hash, number, |number| {
            entry(seen, first, *number).map_or(0, |seen| seen.hash)
        });
    }

    /// Every id that is remembered, oldest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], u64, Timestamp)> {
        self.seen
            .iter()
            .map(|seen| (self.ids.get(seen.id), seen.seq, seen.timestamp))
    }

    /// Forgets what has left the window.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some(oldest) = self.seen.front() {
            if oldest.timestamp.saturating_add(self.window) > now {
                break;
            }
            let number = self.first;
            if let Ok(entry) = self.table.find_entry(oldest.hash, |other| *other == number) {
                entry.remove();
            }
            self.ids.free(oldest.id.end());
            self.first += 1;
            self.seen.pop_front();
        }
    }
}

fn entry(seen: &VecDeque<Seen>, first: u64, number: u64) -> Option<&Seen> {
    seen.get(usize::try_from(number.checked_sub(first)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::Dedupe;

    #[test]
    fn remembers_for_the_window_and_no_longer() {
        let mut dedupe = Dedupe::new(100);
        for n in 0..1000u64 {
            let id = format!("id-{n}");
            assert_eq!(dedupe.find(id.as_bytes(), n as i64), None);
            dedupe.insert(id.as_bytes(), n + 1, n as i64);
            assert_eq!(dedupe.find(id.as_bytes(), n as i64), Some(n + 1));
        }
        assert_eq!(dedupe.find(b"id-900", 999), Some(901));
        assert_eq!(dedupe.find(b"id-900", 1000), None);
        dedupe.expire(1000);
        assert_eq!(dedupe.seen.len(), 99);
    }

    #[test]
    fn is_off_without_a_window() {
        let mut dedupe = Dedupe::new(0);
        dedupe.insert(b"a", 1, 0);
        assert_eq!(dedupe.find(b"a", 0), None);
    }
}
