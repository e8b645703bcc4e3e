//! A durable record store: journal, segments, indexes, checkpoints and recovery.
//!
//! Records belong to numbered groups. A group is one stream of the layer above: its messages carry
//! a key, and everything else that the layer above must remember is a control record whose content
//! this crate never reads. The crate knows no wildcard syntax, no clock, no thread and no network:
//! filters come in as [`KeyFilter`], times as nanoseconds since 1970, and blocking work as jobs
//! that the caller runs where it likes.

mod chunk;
mod crypt;
pub mod disk;
mod error;
mod files;
mod format;
mod journal;
pub mod messages;
mod mmap;
mod position;
mod segment;
mod store;

pub use crypt::{Cipher, Encryption, KeyError};
pub use disk::{Disk, DiskFile, Fault, FaultDisk, RealDisk};
pub use error::StoreError;
pub use format::{Kind, Record};
pub use journal::{Appended, JournalWriter, Written};
pub use messages::{
    FileMessages, Insert, KeyFilter, KeyId, Location, MemoryMessages, MessageStore, Meta, NoPlace,
    OutOfOrder, ReadError, State, Stored, StoredRef,
};
pub use position::Lsn;
pub use store::{
    Checkpoint, CheckpointDone, CheckpointJob, Cleaned, Cleanup, Copied, CopyJob, Opened, Options,
    Purpose, RecoveredGroup, Replay, ReplayRecord, Report, ReserveDone, ReserveJob, Retire,
    ScrubJob, Scrubbed, Shares, SpareDone, SpareJob, Store,
};
