//! The store of one data directory: the journal that all groups share, and what they keep.
//!
//! One thread owns the [`Store`]; the [`JournalWriter`](crate::JournalWriter) belongs to the disk thread.
//! The owner appends records, learns from the disk thread how far the journal is durable, and only then
//! inserts messages into the groups' [`FileMessages`] and tells anybody.

mod open;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::error::StoreError;
use crate::files::Files;
use crate::format::Record;
use crate::journal::{Appended, Journal};
use crate::messages::{FileMessages, MessageStore};
use crate::position::Lsn;

pub use open::{Opened, RecoveredGroup, Replay, ReplayRecord, Report};

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A random number, a new one for each opening: it makes the bytes of this life recognisable.
    pub seed: u64,
    /// Length of the first journal file.
    pub journal_first: u32,
    /// Length that journal files grow to by doubling.
    pub journal_max: u32,
}

impl Options {
    /// The defaults with this random number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            journal_first: 256 << 10,
            journal_max: 64 << 20,
        }
    }
}

/// A journal file that is in use, and the groups with records in it.
#[derive(Debug)]
struct FileUse {
    number: u32,
    groups: Vec<u64>,
}

/// What the store knows of a group.
#[derive(Clone, Copy, Debug, Default)]
struct GroupUse {
    /// Start of its newest record.
    last: Lsn,
    /// Records below this are in a durable checkpoint.
    covered: Lsn,
    /// The newest file that lists it.
    listed: u32,
}

/// The owner's handle of a data directory.
pub struct Store {
    files: Arc<Files>,
    journal: Journal,
    uses: VecDeque<FileUse>,
    groups: HashMap<u64, GroupUse, FixedState>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.files.dir)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Encodes a record into the gathering batch; no I/O.
    pub fn append(&mut self, record: &Record<'_>) -> Appended {
        let appended = self.journal.append(record);
        self.note(record.group, appended.start());
        appended
    }

    /// Hands what gathered to the writer.
    pub fn seal(&mut self) {
        self.journal.seal();
    }

    /// Why the store failed, if it did: nothing can be written any more.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.journal.failure()
    }

    /// Hands over what gathered and lets the writer's thread end once it is written.
    pub fn stop(&mut self) {
        self.journal.seal();
        self.journal.stop();
    }

    /// Begins a group that has no state yet, whose first sequence will be `first_seq` (0 for the usual).
    #[must_use]
    pub fn create_group(&mut self, id: u64, first_seq: u64) -> FileMessages {
        self.groups.entry(id).or_default();
        let mut messages = FileMessages::new(Arc::clone(&self.files));
        if first_seq > 0 {
            // A fresh store accepts any first sequence.
            let _ = messages.set_first_seq(first_seq);
        }
        messages
    }

    /// Notes that a record of a group lies at a position.
    fn note(&mut self, group: u64, start: Lsn) {
        let entry = self.groups.entry(group).or_default();
        entry.last = start;
        if entry.listed == start.file() {
            return;
        }
        entry.listed = start.file();
        match self.uses.back_mut() {
            Some(file) if file.number == start.file() => file.groups.push(group),
            _ => self.uses.push_back(FileUse {
                number: start.file(),
                groups: vec![group],
            }),
        }
    }

    /// The position behind the last record that was appended.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.journal.end()
    }

    /// Sets damaged files aside under another name; they are never removed.
    fn set_aside(files: &Files, name: &str) -> Result<(), StoreError> {
        let aside = files.path(&format!("{name}.damaged"));
        let moved = files.disk.rename(&files.path(name), &aside);
        moved.map_err(|error| StoreError::io("rename", name, error))
    }
}
