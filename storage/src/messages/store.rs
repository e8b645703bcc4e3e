//! One implementation of [`MessageStore`] for every kind of store; they differ in where bytes lie.

use std::fmt::Debug;

use super::index::{Entry, Index};
use super::{
    FileMessages, Insert, KeyFilter, KeyId, MessageStore, Meta, NoPlace, OutOfOrder, ReadError,
    State, Stored, StoredRef,
};

/// How a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// With everything before it.
    Front,
    /// Alone.
    Single,
    /// Alone, and its bytes are to be overwritten.
    Erase,
}

/// The bytes of the messages of one store. A `place` is theirs to define.
pub trait Bodies: Send + Debug {
    /// What a message counts for in the state's bytes.
    fn size(message: &Insert<'_>) -> u32;
    /// Takes over a message's bytes.
    fn put(&mut self, message: &Insert<'_>) -> u64;
    /// Lets go of a message's bytes.
    fn drop_place(&mut self, seq: u64, place: u64, removal: Removal);
    /// Notes that a message got a place behind those of later messages, up to the last of the tail.
    fn moved(&mut self, last: u64);
    /// Reads a message.
    ///
    /// # Errors
    /// The bytes cannot be served.
    fn get(&self, seq: u64, timestamp: i64, place: u64) -> Result<Stored, ReadError>;
    /// Lends a message.
    ///
    /// # Errors
    /// The bytes cannot be served.
    fn read(
        &self,
        seq: u64,
        timestamp: i64,
        place: u64,
        use_it: &mut dyn FnMut(StoredRef<'_>),
    ) -> Result<(), ReadError>;
    /// The store over these bodies, when they lie in files.
    fn file(store: &Messages<Self>) -> Option<&FileMessages>
    where
        Self: Sized;
    /// As [`file`](Self::file), to be changed.
    fn file_mut(store: &mut Messages<Self>) -> Option<&mut FileMessages>
    where
        Self: Sized;
}

/// A message store: an index over some kind of bodies.
#[derive(Debug)]
pub struct Messages<B> {
    pub(super) index: Index,
    pub(super) bodies: B,
}

impl<B: Bodies> Messages<B> {
    pub(super) fn with_bodies(bodies: B) -> Self {
        Self {
            index: Index::new(),
            bodies,
        }
    }

    fn forget(&mut self, seq: u64, entry: &Entry, removal: Removal) -> Meta {
        self.bodies.drop_place(seq, entry.place, removal);
        entry.meta(seq)
    }
}

impl<B: Bodies> MessageStore for Messages<B> {
    fn state(&self) -> State {
        self.index.state()
    }

    fn insert(&mut self, message: &Insert<'_>) -> Result<Meta, OutOfOrder> {
        self.index.check_next(message.seq)?;
        let size = B::size(message);
        let place = self.bodies.put(message);
        Ok(self
            .index
            .insert(message.seq, message.timestamp, message.key, size, place))
    }

    fn set_first_seq(&mut self, first_seq: u64) -> Result<(), OutOfOrder> {
        self.index.set_first_seq(first_seq)
    }

    fn skip(&mut self, last_seq: u64, timestamp: i64) -> Result<(), OutOfOrder> {
        self.index.skip(last_seq, timestamp)
    }

    fn repair(&mut self, message: &Insert<'_>) -> Result<Meta, NoPlace> {
        let (seq, size) = (message.seq, B::size(message));
        let old = self.index.entry(seq);
        let fits = match &old {
            Some(entry) => {
                entry.timestamp == message.timestamp
                    && entry.size == size
                    && self.index.key(entry.key) == message.key
            }
            None => self.index.has_room_for(seq),
        };
        if !fits {
            return Err(NoPlace { seq });
        }
        let place = self.bodies.put(message);
        self.bodies.moved(self.index.last_of_tail());
        match old {
            Some(old) => {
                self.bodies.drop_place(seq, old.place, Removal::Front);
                self.index.replace(seq, place);
                Ok(old.meta(seq))
            }
            None => {
                let timestamp = message.timestamp;
                let meta = self.index.put_in(seq, timestamp, message.key, size, place);
                Ok(meta)
            }
        }
    }

    fn has_room_for(&self, seq: u64) -> bool {
        self.index.entry(seq).is_none() && self.index.has_room_for(seq)
    }

    fn set_ends(&mut self, first_seq: u64, last_seq: u64, last_ts: i64) {
        self.index.restore_ends(first_seq, last_seq, last_ts);
    }

    fn present(&self, visit: &mut dyn FnMut(u64, u64)) {
        self.index.present(visit);
    }

    fn retain(&mut self, runs: &[(u64, u64)], removed: &mut dyn FnMut(&Meta, &[u8])) {
        let mut doomed = Vec::new();
        let mut runs = runs.iter().copied().peekable();
        self.index.present(&mut |first, last| {
            let mut from = first;
            while from <= last {
                while runs.next_if(|(_, end)| *end < from).is_some() {}
                let keep = runs.peek().filter(|(begin, _)| *begin <= last).copied();
                let (begin, end) = keep.unwrap_or((last.saturating_add(1), last));
                if from < begin {
                    doomed.push((from, begin - 1));
                }
                if end >= last {
                    break;
                }
                from = end + 1;
            }
        });
        for seq in doomed.into_iter().flat_map(|(first, last)| first..=last) {
            if let Some(entry) = self.index.remove(seq) {
                let meta = self.forget(seq, &entry, Removal::Single);
                removed(&meta, self.index.key(meta.key));
            }
        }
    }

    fn get(&self, seq: u64) -> Result<Option<Stored>, ReadError> {
        let Some(entry) = self.index.entry(seq) else {
            return Ok(None);
        };
        self.bodies.get(seq, entry.timestamp, entry.place).map(Some)
    }

    fn read(&self, seq: u64, use_it: &mut dyn FnMut(StoredRef<'_>)) -> Result<bool, ReadError> {
        let Some(entry) = self.index.entry(seq) else {
            return Ok(false);
        };
        self.bodies
            .read(seq, entry.timestamp, entry.place, use_it)?;
        Ok(true)
    }

    fn meta(&self, seq: u64) -> Option<Meta> {
        self.index.meta(seq)
    }

    fn remove(&mut self, seq: u64, erase: bool) -> Option<Meta> {
        let entry = self.index.remove(seq)?;
        let removal = if erase {
            Removal::Erase
        } else {
            Removal::Single
        };
        Some(self.forget(seq, &entry, removal))
    }

    fn remove_front(&mut self, first_seq: u64, removed: &mut dyn FnMut(&Meta, &[u8])) {
        while let Some((seq, entry)) = self.index.pop_below(first_seq) {
            let meta = self.forget(seq, &entry, Removal::Front);
            removed(&meta, self.index.key(meta.key));
        }
        self.index.raise_first(first_seq);
    }

    fn next(&self, from: u64) -> Option<Meta> {
        self.index.next(from)
    }

    fn prev(&self, upto: u64) -> Option<Meta> {
        self.index.prev(upto)
    }

    fn next_matching(&self, from: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        self.index.next_matching(from, filter)
    }

    fn last_matching(&self, upto: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        self.index.last_matching(upto, filter)
    }

    fn last_of_key(&self, key: &[u8], upto: u64) -> Option<Meta> {
        self.index.last_of_id(self.index.key_id(key)?, upto)
    }

    fn first_of_key(&self, key: &[u8]) -> Option<Meta> {
        self.index.first_of_id(self.index.key_id(key)?)
    }

    fn count_of_key(&self, key: &[u8]) -> u64 {
        self.index
            .key_id(key)
            .map_or(0, |id| self.index.count_of_id(id))
    }

    fn last_of_id(&self, key: KeyId, upto: u64) -> Option<Meta> {
        self.index.last_of_id(key, upto)
    }

    fn first_of_id(&self, key: KeyId) -> Option<Meta> {
        self.index.first_of_id(key)
    }

    fn count_of_id(&self, key: KeyId) -> u64 {
        self.index.count_of_id(key)
    }

    fn count_matching(&self, from: u64, filter: &dyn KeyFilter) -> u64 {
        self.index.count_matching(from, filter)
    }

    fn last_per_key(
        &self,
        from: u64,
        upto: u64,
        filter: &dyn KeyFilter,
        limit: usize,
    ) -> Vec<Meta> {
        self.index.last_per_key(from, upto, filter, limit)
    }

    fn keys_matching(&self, filter: &dyn KeyFilter, visit: &mut dyn FnMut(&[u8], u64)) {
        self.index.keys_matching(filter, visit);
    }

    fn seq_at(&self, timestamp: i64) -> u64 {
        self.index.seq_at(timestamp)
    }

    fn deleted(&self, visit: &mut dyn FnMut(u64)) {
        self.index.deleted(visit);
    }

    fn deleted_count(&self) -> u64 {
        self.index.deleted_count()
    }

    fn key(&self, id: KeyId) -> &[u8] {
        self.index.key(id)
    }

    fn key_id(&self, key: &[u8]) -> Option<KeyId> {
        self.index.key_id(key)
    }

    fn as_file(&self) -> Option<&FileMessages> {
        B::file(self)
    }

    fn as_file_mut(&mut self) -> Option<&mut FileMessages> {
        B::file_mut(self)
    }
}
