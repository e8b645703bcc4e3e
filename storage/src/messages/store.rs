//! One implementation of [`MessageStore`] for every kind of store; they differ in where bytes lie.

use std::fmt::Debug;

use super::index::{Entry, Index};
use super::{
    FileMessages, Insert, KeyFilter, KeyId, MessageStore, Meta, OutOfOrder, ReadError, State,
    Stored, StoredRef,
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
