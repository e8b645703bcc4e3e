//! A durable record store: journal, segments, indexes, checkpoints and recovery.
//!
//! Records belong to numbered groups. A group is one stream of the layer above: its messages carry a
//! key, and everything else that the layer above must remember is a control record whose content this
//! crate never reads. The crate knows no wildcard syntax, no clock, no thread and no network: filters
//! come in as [`KeyFilter`], times as nanoseconds since 1970, and blocking work as jobs that the caller
//! runs where it likes.

pub mod messages;

pub use messages::{
    Insert, KeyFilter, KeyId, Location, MemoryMessages, MessageStore, Meta, OutOfOrder, ReadError,
    State, Stored, StoredRef,
};
