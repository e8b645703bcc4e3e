//! The committed messages of one stream: what a reader may see, by sequence, by key and by time.
//!
//! Invariants: sequences ascend strictly; a message is here only once it is committed; every answer
//! is exact at every moment (no "needs update" flags). Nothing here writes: the journal is written
//! before a message is inserted, and a removal is journaled by the caller before it is applied.

mod file;
mod index;
mod keys;
mod memory;
mod moving;
mod postings;
mod sealed;
mod search;
mod sections;
mod seqmap;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt::Debug;

use bytes::Bytes;

pub use file::{FileBodies, FileMessages};
pub(crate) use file::{MessagesState, SectionState, size_of};
pub use memory::{Heap, MemoryMessages};
pub(crate) use moving::{CopyItem, CopyPlan, MovedGroup};
pub(crate) use sealed::{DeadRows, Sealed};
pub use store::{Bodies, Messages, Removal};

/// A set of keys, decided by the layer above.
pub trait KeyFilter {
    /// Whether `key` belongs to the set.
    fn matches(&self, key: &[u8]) -> bool;
    /// The only member, when the set has exactly one.
    fn literal(&self) -> Option<&[u8]>;
    /// Whether every key belongs to the set.
    fn is_everything(&self) -> bool;
}

/// A short name for a key of one store. It stays valid while a message of the key exists, and after
/// the removal of the last one until the next insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub(crate) u32);

/// Where the bytes of a message are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// In a journal file, at the offset of the record's header.
    Journal {
        /// Number of the file.
        file: u32,
        /// Offset of the record's header.
        offset: u32,
    },
    /// In a segment file of the group, at the offset of the record's header.
    Segment {
        /// Number of the file.
        file: u32,
        /// Offset of the record's header.
        offset: u32,
    },
}

impl Location {
    /// The offset in the file.
    #[must_use]
    pub fn offset(self) -> u32 {
        match self {
            Self::Journal { offset, .. } | Self::Segment { offset, .. } => offset,
        }
    }
}

/// A message to add. `location` says where a file store finds it; a memory store copies the bytes.
#[derive(Clone, Copy, Debug)]
pub struct Insert<'a> {
    /// Sequence, greater than every earlier one of this store.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// The key.
    pub key: &'a [u8],
    /// The header block, empty when there is none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
    /// Where the durable bytes are.
    pub location: Option<Location>,
}

/// What is known of a message without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// The key's short name.
    pub key: KeyId,
    /// What the message counts for in [`State::bytes`].
    pub size: u32,
}

/// A message with bytes that outlive the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// The key.
    pub key: Bytes,
    /// The header block, empty when there is none.
    pub headers: Bytes,
    /// The payload.
    pub payload: Bytes,
}

/// A message whose bytes are borrowed for the length of a call.
#[derive(Clone, Copy, Debug)]
pub struct StoredRef<'a> {
    /// Sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub timestamp: i64,
    /// The key.
    pub key: &'a [u8],
    /// The header block, empty when there is none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// The counters of a store, by the formulas that clients see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Messages present.
    pub messages: u64,
    /// Sum of the sizes of the messages present.
    pub bytes: u64,
    /// First sequence present; last + 1 once emptied; 0 when fresh.
    pub first_seq: u64,
    /// Time of the first message present, 0 when there is none.
    pub first_ts: i64,
    /// Highest sequence ever given.
    pub last_seq: u64,
    /// Time of the last message ever inserted.
    pub last_ts: i64,
    /// Distinct keys present.
    pub keys: u64,
}

/// An insertion or skip that does not ascend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sequence {seq} is not above the last sequence {last}")]
pub struct OutOfOrder {
    /// The sequence offered.
    pub seq: u64,
    /// The last sequence of the store.
    pub last: u64,
}

/// A message that cannot be put where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sequence {seq} cannot be put among the messages that are there")]
pub struct NoPlace {
    /// The sequence offered.
    pub seq: u64,
}

/// A message that is indexed and cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The disk refused the read.
    #[error("cannot read {file}: {reason}")]
    Io {
        /// Name of the file.
        file: String,
        /// The system's text.
        reason: String,
    },
    /// The bytes are not those that were written.
    #[error("damaged record of sequence {seq} in {file} at offset {offset}")]
    Damaged {
        /// Sequence of the message.
        seq: u64,
        /// Name of the file.
        file: String,
        /// Offset of the record.
        offset: u64,
    },
}

/// The committed messages of one stream.
pub trait MessageStore: Send + Debug {
    /// The counters.
    fn state(&self) -> State;

    /// Adds a message and names its key.
    ///
    /// # Errors
    /// The sequence is not above the last one; nothing changed.
    fn insert(&mut self, message: &Insert<'_>) -> Result<Meta, OutOfOrder>;

    /// Makes `first_seq` the next sequence of a store that holds nothing, by moving both ends.
    ///
    /// # Errors
    /// The store holds messages or has already passed that sequence.
    fn set_first_seq(&mut self, first_seq: u64) -> Result<(), OutOfOrder>;

    /// Consumes all sequences up to `last_seq` without storing anything; the last of them was used
    /// at `timestamp`.
    ///
    /// # Errors
    /// `last_seq` is below the last sequence.
    fn skip(&mut self, last_seq: u64, timestamp: i64) -> Result<(), OutOfOrder>;

    /// Takes a message's bytes from a new place, when those at the old one are damaged. A message
    /// that is missing, and was never removed, is put in its place.
    ///
    /// # Errors
    /// Another message has this sequence, or the place of a missing one is among sealed messages,
    /// where nothing can be put between; nothing changed.
    fn repair(&mut self, message: &Insert<'_>) -> Result<Meta, NoPlace>;

    /// Whether [`repair`](Self::repair) would put a missing message with this sequence in its place.
    fn has_room_for(&self, seq: u64) -> bool;

    /// Takes over both ends and the time of the last message from another store with the same
    /// messages; `first_seq` counts where there are none.
    fn set_ends(&mut self, first_seq: u64, last_seq: u64, last_ts: i64);

    /// First and last sequence of every run of messages that are present, ascending.
    fn present(&self, visit: &mut dyn FnMut(u64, u64));

    /// Removes everything that is in none of these runs, which ascend; `removed` sees each removed
    /// message and its key.
    fn retain(&mut self, runs: &[(u64, u64)], removed: &mut dyn FnMut(&Meta, &[u8]));

    /// The message with this sequence.
    ///
    /// # Errors
    /// It is indexed and cannot be read.
    fn get(&self, seq: u64) -> Result<Option<Stored>, ReadError>;

    /// Lends the message with this sequence; false when there is none.
    ///
    /// # Errors
    /// It is indexed and cannot be read.
    fn read(&self, seq: u64, use_it: &mut dyn FnMut(StoredRef<'_>)) -> Result<bool, ReadError>;

    /// What is known of the message with this sequence.
    fn meta(&self, seq: u64) -> Option<Meta>;

    /// Removes a message. With `erase` its bytes are also overwritten: in memory by being freed, in
    /// a file after the next checkpoint of the group.
    fn remove(&mut self, seq: u64, erase: bool) -> Option<Meta>;

    /// Removes everything below `first_seq`, which becomes the first sequence; past the end, the
    /// last sequence becomes `first_seq - 1`. `removed` sees each removed message and its key.
    fn remove_front(&mut self, first_seq: u64, removed: &mut dyn FnMut(&Meta, &[u8]));

    /// The first message at or after `from`.
    fn next(&self, from: u64) -> Option<Meta>;

    /// The last message at or before `upto`.
    fn prev(&self, upto: u64) -> Option<Meta>;

    /// The first message at or after `from` whose key matches.
    fn next_matching(&self, from: u64, filter: &dyn KeyFilter) -> Option<Meta>;

    /// The last message at or before `upto` whose key matches.
    fn last_matching(&self, upto: u64, filter: &dyn KeyFilter) -> Option<Meta>;

    /// The last message of a key at or before `upto`.
    fn last_of_key(&self, key: &[u8], upto: u64) -> Option<Meta>;

    /// The first message of a key.
    fn first_of_key(&self, key: &[u8]) -> Option<Meta>;

    /// How many messages a key has.
    fn count_of_key(&self, key: &[u8]) -> u64;

    /// As [`last_of_key`](Self::last_of_key), without the look-up.
    fn last_of_id(&self, key: KeyId, upto: u64) -> Option<Meta>;

    /// As [`first_of_key`](Self::first_of_key), without the look-up.
    fn first_of_id(&self, key: KeyId) -> Option<Meta>;

    /// As [`count_of_key`](Self::count_of_key), without the look-up.
    fn count_of_id(&self, key: KeyId) -> u64;

    /// How many messages at or after `from` have a matching key.
    fn count_matching(&self, from: u64, filter: &dyn KeyFilter) -> u64;

    /// For each matching key its last message at or before `upto`, if that is at or after `from`;
    /// ascending by sequence, at most `limit`.
    fn last_per_key(&self, from: u64, upto: u64, filter: &dyn KeyFilter, limit: usize)
    -> Vec<Meta>;

    /// Every matching key with its number of messages, in no particular order.
    fn keys_matching(&self, filter: &dyn KeyFilter, visit: &mut dyn FnMut(&[u8], u64));

    /// The first sequence whose time is at or after `timestamp`, else last + 1.
    fn seq_at(&self, timestamp: i64) -> u64;

    /// Every sequence between first and last that is not present, ascending.
    fn deleted(&self, visit: &mut dyn FnMut(u64));

    /// How many sequences between first and last are not present.
    fn deleted_count(&self) -> u64;

    /// The key behind a short name; empty when the name is no longer in use.
    fn key(&self, id: KeyId) -> &[u8];

    /// The short name of a key that has messages.
    fn key_id(&self, key: &[u8]) -> Option<KeyId>;

    /// The store as one that lies in files.
    fn as_file(&self) -> Option<&FileMessages>;

    /// The store as one that lies in files, to be changed.
    fn as_file_mut(&mut self) -> Option<&mut FileMessages>;
}
