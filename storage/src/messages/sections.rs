//! The sealed sections of one store: disjoint in sequence, ascending, all below the tail.
//!
//! Every section in the list has a live row. A memory store has none.

use std::cell::Cell;
use std::collections::VecDeque;

use super::KeyId;
use super::index::Entry;
use super::keys::SealedKey;
use super::sealed::Sealed;

/// Keys whose last search is remembered.
const CURSORS: usize = 4;

/// Where the last search for a key ended, so that reading a key's messages in order looks its name
/// up once a section.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    id: KeyId,
    /// First sequence of the section: no two sections share it, unless one replaced the other.
    base: u64,
    number: u32,
    key: u32,
    at: u32,
}

const NOWHERE: Cursor = Cursor {
    id: KeyId(u32::MAX),
    base: 0,
    number: 0,
    key: 0,
    at: 0,
};

#[derive(Debug)]
pub(super) struct Sections {
    pub(super) list: VecDeque<Sealed>,
    /// Live messages in them.
    pub(super) messages: u64,
    /// Sections of which the last message died since a checkpoint.
    pub(super) emptied: bool,
    cursors: [Cell<Cursor>; CURSORS],
}

impl Sections {
    pub(super) fn new() -> Self {
        Self {
            list: VecDeque::new(),
            messages: 0,
            emptied: false,
            cursors: [const { Cell::new(NOWHERE) }; CURSORS],
        }
    }

    /// The first section that ends at or after a sequence.
    pub(super) fn at(&self, seq: u64) -> usize {
        if self.list.back().is_none_or(|last| last.last() < seq) {
            return self.list.len();
        }
        self.list.partition_point(|section| section.last() < seq)
    }

    /// Section and row of a live message.
    pub(super) fn find(&self, seq: u64) -> Option<(usize, u32)> {
        let at = self.at(seq);
        let section = self.list.get(at)?;
        if seq < section.base() {
            return None;
        }
        Some((at, section.find(seq)?))
    }

    pub(super) fn get(&self, seq: u64) -> Option<(u64, Entry)> {
        let (at, row) = self.find(seq)?;
        Some(self.list[at].entry(row))
    }

    pub(super) fn first(&self) -> Option<(u64, Entry)> {
        let section = self.list.front()?;
        Some(section.entry(section.front()))
    }

    /// Live messages from a sequence on, ascending.
    pub(super) fn iter_from(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let mut at = self.at(from);
        let mut next = self.list.get(at).and_then(|section| section.up_from(from));
        std::iter::from_fn(move || {
            loop {
                let section = self.list.get(at)?;
                if let Some(row) = next {
                    next = section.up(row + 1);
                    return Some(section.entry(row));
                }
                at += 1;
                next = self.list.get(at).and_then(|section| section.up(0));
            }
        })
    }

    /// Live messages from a sequence downwards.
    pub(super) fn iter_down(&self, upto: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let behind = self.list.partition_point(|section| section.base() <= upto);
        let mut at = behind.checked_sub(1);
        let mut next = at.and_then(|at| self.list[at].down_from(upto));
        std::iter::from_fn(move || {
            loop {
                let section = self.list.get(at?)?;
                if let Some(row) = next {
                    next = row.checked_sub(1).and_then(|row| section.down(row));
                    return Some(section.entry(row));
                }
                at = at.and_then(|at| at.checked_sub(1));
                next = at.and_then(|at| self.list[at].down(u32::MAX));
            }
        })
    }

    /// How many live messages are at or after a sequence.
    pub(super) fn count_from(&self, from: u64) -> u64 {
        let at = self.at(from);
        let Some(edge) = self.list.get(at) else {
            return 0;
        };
        let inside = edge.count_from(edge.tables.lower_bound(from));
        let later = self
            .list
            .range(at + 1..)
            .map(|section| u64::from(section.live()));
        u64::from(inside) + later.sum::<u64>()
    }

    /// The first live message whose time is at or after `timestamp`.
    pub(super) fn first_at(&self, timestamp: i64) -> Option<(u64, Entry)> {
        let late = |section: &&Sealed| section.tables.entry.max_time >= timestamp;
        self.list.iter().filter(late).find_map(|section| {
            let mut row = section.front();
            loop {
                row = section.up(section.tables.first_at(timestamp, row)?)?;
                let (seq, entry) = section.entry(row);
                if entry.timestamp >= timestamp {
                    return Some((seq, entry));
                }
                row += 1;
            }
        })
    }

    /// The first live message of a key at or after `from`.
    pub(super) fn next_of(
        &self,
        (id, name): (KeyId, &[u8]),
        sealed: &SealedKey,
        from: u64,
    ) -> Option<(u64, Entry)> {
        let (first, last) = (sealed.first(), sealed.last());
        let start = from.max(first);
        if start > last {
            return None;
        }
        for at in self.at(start)..self.list.len() {
            let section = &self.list[at];
            if section.base() > last {
                break;
            }
            let row = section.tables.lower_bound(start);
            if let Some(row) = self.key_up(section, id, name, row) {
                let found = section.entry(row);
                if from <= first {
                    sealed.raise_first(found.0);
                }
                return Some(found);
            }
        }
        None
    }

    fn key_up(&self, section: &Sealed, id: KeyId, name: &[u8], row: u32) -> Option<u32> {
        let cell = &self.cursors[id.0 as usize % CURSORS];
        let mut cursor = cell.get();
        let place = (id, section.base(), section.number());
        if (cursor.id, cursor.base, cursor.number) != place {
            cursor = Cursor {
                id,
                base: section.base(),
                number: section.number(),
                key: section.tables.find_key(name)?,
                at: 0,
            };
        }
        let found = section.key_up(cursor.key, row, &mut cursor.at);
        cell.set(cursor);
        found
    }

    /// The last live message of a key at or before `upto`.
    pub(super) fn last_of(
        &self,
        (id, name): (KeyId, &[u8]),
        sealed: &SealedKey,
        upto: u64,
    ) -> Option<(u64, Entry)> {
        let (first, last) = (sealed.first(), sealed.last());
        if last <= upto
            && let Some((seq, entry)) = self.get(last)
            && entry.key == id
        {
            return Some((seq, entry));
        }
        let start = upto.min(last);
        let behind = self.list.partition_point(|section| section.base() <= start);
        for section in self.list.range(..behind).rev() {
            if section.last() < first {
                break;
            }
            let rows = section.tables.lower_bound(start.saturating_add(1));
            let row = rows.checked_sub(1).and_then(|row| {
                let key = section.tables.find_key(name)?;
                section.key_down(key, row)
            });
            if let Some(row) = row {
                let found = section.entry(row);
                if last <= upto {
                    sealed.lower_last(found.0);
                }
                return Some(found);
            }
        }
        None
    }

    /// How many live messages of a key are at or after `from`.
    pub(super) fn count_of_from(&self, name: &[u8], sealed: &SealedKey, from: u64) -> u64 {
        if from <= sealed.first() {
            return sealed.count();
        }
        if from > sealed.last() {
            return 0;
        }
        let mut count = 0;
        for section in self.list.range(self.at(from)..) {
            if section.base() > sealed.last() {
                break;
            }
            if let Some(key) = section.tables.find_key(name) {
                let row = section.tables.lower_bound(from);
                count += if row == 0 {
                    u64::from(section.key_count(key))
                } else {
                    u64::from(section.key_count_from(key, row))
                };
            }
        }
        count
    }

    /// Takes a live message out; says which that was.
    pub(super) fn kill(&mut self, at: usize, row: u32) -> (u64, Entry) {
        let section = &mut self.list[at];
        let (seq, entry) = section.kill(row);
        self.messages -= 1;
        if section.live() == 0 {
            self.list.remove(at);
            self.emptied = true;
        }
        (seq, entry)
    }

    /// Puts a section in its place.
    pub(super) fn insert(&mut self, section: Sealed) {
        if section.live() == 0 {
            self.emptied = true;
            return;
        }
        self.messages += u64::from(section.live());
        let at = self.at(section.base());
        self.list.insert(at, section);
    }

    /// Takes out the sections that lie in a range of sequences.
    pub(super) fn take_range(&mut self, first: u64, last: u64) {
        self.list.retain(|section| {
            let gone = section.base() >= first && section.last() <= last;
            if gone {
                self.messages -= u64::from(section.live());
            }
            !gone
        });
    }
}
