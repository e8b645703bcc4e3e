//! Sequence, key and time index of one store, with the accounting; shared by all kinds of store.
//!
//! Sealed sections come first, then the tail, which holds an entry for each message. The index knows
//! where a message lies only as an opaque `place`, which the owner of the bytes reads. Looking for
//! messages is in `search`.

use super::keys::KeyTable;
use super::sealed::Sealed;
use super::sections::Sections;
use super::seqmap::SeqMap;
use super::{KeyId, Meta, OutOfOrder, State};

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) timestamp: i64,
    pub(super) place: u64,
    pub(super) key: KeyId,
    pub(super) size: u32,
}

impl Entry {
    pub(super) fn meta(&self, seq: u64) -> Meta {
        Meta {
            seq,
            timestamp: self.timestamp,
            key: self.key,
            size: self.size,
        }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) sections: Sections,
    pub(super) tail: SeqMap<Entry>,
    pub(super) keys: KeyTable,
    /// First sequence while empty: last + 1, or 0 when fresh.
    empty_first: u64,
    pub(super) last_seq: u64,
    last_ts: i64,
    /// Bytes of all messages.
    pub(super) bytes: u64,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            sections: Sections::new(),
            tail: SeqMap::new(),
            keys: KeyTable::new(),
            empty_first: 0,
            last_seq: 0,
            last_ts: 0,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sections.messages == 0 && self.tail.len() == 0
    }

    pub(super) fn first(&self) -> Option<(u64, Entry)> {
        self.sections.first().or_else(|| self.tail.first())
    }

    pub(super) fn state(&self) -> State {
        let first = self.first();
        State {
            messages: self.sections.messages + self.tail.len() as u64,
            bytes: self.bytes,
            first_seq: first.map_or(self.empty_first, |(seq, _)| seq),
            first_ts: first.map_or(0, |(_, entry)| entry.timestamp),
            last_seq: self.last_seq,
            last_ts: self.last_ts,
            keys: self.keys.live() as u64,
        }
    }

    /// Whether `seq` may be the next sequence.
    pub(super) fn check_next(&self, seq: u64) -> Result<(), OutOfOrder> {
        if seq > self.last_seq {
            return Ok(());
        }
        Err(OutOfOrder {
            seq,
            last: self.last_seq,
        })
    }

    /// Adds a message whose sequence was checked by [`check_next`](Self::check_next).
    pub(super) fn insert(
        &mut self,
        seq: u64,
        timestamp: i64,
        key: &[u8],
        size: u32,
        place: u64,
    ) -> Meta {
        let key = self.keys.insert(key, seq);
        let entry = Entry {
            timestamp,
            place,
            key,
            size,
        };
        self.tail.push(seq, entry, timestamp);
        self.last_seq = seq;
        self.last_ts = timestamp;
        self.bytes += u64::from(size);
        entry.meta(seq)
    }

    /// The last sequence in the tail.
    pub(super) fn last_of_tail(&self) -> u64 {
        self.tail.last().map_or(0, |(seq, _)| seq)
    }

    /// Whether a missing message could be put in its place: sections cannot be changed.
    pub(super) fn has_room_for(&self, seq: u64) -> bool {
        let sealed = self.sections.list.back().map_or(0, Sealed::last);
        seq > sealed && seq <= self.last_seq
    }

    /// Puts a message among those of the tail, where there is [room](Self::has_room_for) for it.
    pub(super) fn put_in(
        &mut self,
        seq: u64,
        timestamp: i64,
        key: &[u8],
        size: u32,
        place: u64,
    ) -> Meta {
        let key = self.keys.insert(key, seq);
        let entry = Entry {
            timestamp,
            place,
            key,
            size,
        };
        self.tail.put_in(seq, entry, timestamp);
        self.bytes += u64::from(size);
        entry.meta(seq)
    }

    /// Gives a message that is there another place.
    pub(super) fn replace(&mut self, seq: u64, place: u64) {
        if let Some((at, row)) = self.sections.find(seq) {
            self.sections.list[at].repair(row, place);
        } else if let Some(entry) = self.tail.get_mut(seq) {
            entry.place = place;
        }
    }

    pub(super) fn set_first_seq(&mut self, first_seq: u64) -> Result<(), OutOfOrder> {
        if !self.is_empty() || first_seq <= self.last_seq {
            return Err(OutOfOrder {
                seq: first_seq,
                last: self.last_seq,
            });
        }
        self.last_seq = first_seq - 1;
        self.empty_first = first_seq;
        Ok(())
    }

    pub(super) fn skip(&mut self, last_seq: u64, timestamp: i64) -> Result<(), OutOfOrder> {
        if last_seq < self.last_seq {
            return Err(OutOfOrder {
                seq: last_seq,
                last: self.last_seq,
            });
        }
        if last_seq > self.last_seq {
            self.last_seq = last_seq;
            self.last_ts = self.last_ts.max(timestamp);
            self.empty_first = last_seq.saturating_add(1);
        }
        Ok(())
    }

    /// Restores the ends of a store read back from a checkpoint. When all its messages were lost,
    /// its first sequence is the next one.
    pub(super) fn restore_ends(&mut self, empty_first: u64, last_seq: u64, last_ts: i64) {
        self.last_seq = last_seq.max(self.last_seq);
        self.last_ts = last_ts;
        self.empty_first = if self.last_seq == 0 {
            empty_first
        } else {
            empty_first.max(self.last_seq.saturating_add(1))
        };
    }

    pub(super) fn entry(&self, seq: u64) -> Option<Entry> {
        match self.sections.get(seq) {
            Some((_, entry)) => Some(entry),
            None => self.tail.get(seq),
        }
    }

    pub(super) fn meta(&self, seq: u64) -> Option<Meta> {
        Some(self.entry(seq)?.meta(seq))
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        if let Some((at, row)) = self.sections.find(seq) {
            return Some(self.remove_sealed(at, row).1);
        }
        let entry = self.tail.remove(seq)?;
        self.removed(seq, &entry);
        Some(entry)
    }

    fn remove_sealed(&mut self, at: usize, row: u32) -> (u64, Entry) {
        let (seq, entry) = self.sections.kill(at, row);
        self.bytes = self.bytes.saturating_sub(u64::from(entry.size));
        self.keys.remove_sealed(entry.key, seq);
        self.note_empty();
        (seq, entry)
    }

    /// Removes the first message if it is below `first_seq`.
    pub(super) fn pop_below(&mut self, first_seq: u64) -> Option<(u64, Entry)> {
        if let Some(section) = self.sections.list.front() {
            let row = section.front();
            if section.tables.seq(row) >= first_seq {
                return None;
            }
            return Some(self.remove_sealed(0, row));
        }
        if self.tail.first()?.0 >= first_seq {
            return None;
        }
        let (seq, entry) = self.tail.pop_first()?;
        self.removed(seq, &entry);
        Some((seq, entry))
    }

    /// Notes that everything below `first_seq` is gone; past the end this consumes sequences.
    pub(super) fn raise_first(&mut self, first_seq: u64) {
        if self.is_empty() && first_seq > self.last_seq {
            self.last_seq = first_seq - 1;
            self.empty_first = first_seq;
        }
    }

    fn removed(&mut self, seq: u64, entry: &Entry) {
        self.bytes -= u64::from(entry.size);
        self.keys.remove(entry.key, seq);
        self.note_empty();
    }

    fn note_empty(&mut self) {
        if self.is_empty() {
            self.empty_first = self.last_seq.saturating_add(1);
        }
    }

    pub(super) fn key(&self, id: KeyId) -> &[u8] {
        self.keys.name(id)
    }

    pub(super) fn key_id(&self, key: &[u8]) -> Option<KeyId> {
        self.keys.find(key)
    }
}
