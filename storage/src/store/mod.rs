//! The store of one data directory: the journal that all groups share, and what they keep.
//!
//! One thread owns the [`Store`]; the [`JournalWriter`](crate::JournalWriter) belongs to the disk
//! thread. The owner appends records, learns from the disk thread how far the journal is durable,
//! and only then inserts messages into the groups' [`FileMessages`] and tells anybody.

mod adopt;
mod checkpoint;
mod copy;
mod erase;
mod load;
mod open;
mod plain;
mod scrub;
mod space;
mod spare;
mod sparse;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::crypt::Encryption;
use crate::files::Files;
use crate::format::{Kind, Record};
use crate::journal::{Appended, Groups, Journal};
use crate::messages::{FileMessages, Location, MessageStore};
use crate::position::Lsn;

pub use checkpoint::{Checkpoint, CheckpointDone, CheckpointJob, Cleaned, Cleanup, Retire};
pub use copy::{Copied, CopyJob};
pub use open::{Opened, RecoveredGroup, Replay, ReplayRecord, Report};
pub use scrub::{ScrubJob, Scrubbed};
pub use space::{Purpose, ReserveDone, ReserveJob};
pub use spare::{SpareDone, SpareJob};
pub use sparse::Shares;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// A random number, a new one for each opening: it makes the bytes of this life recognisable.
    pub seed: u64,
    /// Length of the first journal file.
    pub journal_first: u32,
    /// Length that journal files grow to by doubling.
    pub journal_max: u32,
    /// The keys, when what is written is to be encrypted.
    pub encryption: Option<Encryption>,
    /// Least length of a journal file that becomes the body of a segment when most of it is alive;
    /// shorter ones are always copied, so that there are few files.
    pub adopt_least: u32,
    /// A group of which less than this is copied at a time is not compressed: compressed messages
    /// have a segment file of their own.
    pub pack_least: u64,
}

impl Options {
    /// The defaults with this random number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            journal_first: 256 << 10,
            journal_max: 32 << 20,
            encryption: None,
            adopt_least: 1 << 20,
            pack_least: 64 << 10,
        }
    }
}

/// A journal file that is in use, and the groups with records in it.
#[derive(Debug)]
struct FileUse {
    number: u32,
    size: u32,
    groups: Vec<u64>,
}

/// The owner's handle of a data directory.
pub struct Store {
    files: Arc<Files>,
    journal: Journal,
    seed: u64,
    /// Journal files with records, oldest first.
    uses: VecDeque<FileUse>,
    /// The groups that exist, each with the newest journal file that lists it.
    groups: HashMap<u64, u32, FixedState>,
    /// Groups that nobody could bring back; nothing of theirs may go.
    held: HashSet<u64, FixedState>,
    /// What the journal holds of the groups' logs.
    logs: Groups,
    /// The position behind the last record that was written again.
    again: Lsn,
    /// Groups dropped since the last checkpoint.
    dropped: Vec<u64>,
    /// Records to overwrite once a checkpoint says that their messages are gone.
    erasures: Vec<Location>,
    /// How many of them a cleanup is at.
    erasing: usize,
    /// Segments, with the groups that need them.
    segments: HashMap<u32, Vec<u64>, FixedState>,
    /// Checkpoint files, with the groups whose newest section is in each.
    checkpoints: BTreeMap<u32, Vec<u64>>,
    /// Newest journal file that is not needed any more.
    retired: u32,
    plain: plain::Plain,
    /// Segments that the next copy empties, although their sections are mostly alive.
    renewing: BTreeSet<u32>,
    /// Segments whose records lie in journal files, and which.
    bodies: HashMap<u32, u32, FixedState>,
    adopt_least: u32,
    pack_least: u64,
    next_segment: Arc<AtomicU32>,
    last_checkpoint: u32,
    last_spare: u32,
    space: space::Space,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("dir", &self.files.dir)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Encodes a record into the gathering batch; no I/O. Without having asked
    /// [`admit`](Self::admit), a full disk ends the store.
    pub fn append(&mut self, record: &Record<'_>) -> Appended {
        let appended = self.journal.append(record);
        let start = appended.start();
        self.note(record.group, start.file(), self.journal.file_size());
        let plain = matches!(record.kind, Kind::Message | Kind::Control(_));
        if !plain || record.index > 0 || !self.logs.is_without_logs() {
            self.note_log(record, start);
            if matches!(record.kind, Kind::MessageAgain | Kind::ControlAgain(_)) {
                self.again = appended.end;
            }
        }
        appended
    }

    /// Notes what a record says about its group's log.
    fn note_log(&mut self, record: &Record<'_>, at: Lsn) {
        if record.kind == Kind::Reset {
            // Groups without a log are noted with their files only.
            let uses = self.uses.iter();
            for file in uses.filter(|file| file.groups.contains(&record.group)) {
                self.logs.set_ambiguous(file.number);
            }
        }
        self.logs.note(record.into(), at);
    }

    /// Ends a group's log before `index`: what was appended with that index or a higher one is void,
    /// also after a restart. Only what no checkpoint covers may be cut.
    pub fn append_truncate(&mut self, group: u64, index: u64, term: u32) -> Appended {
        self.append(&mark(Kind::Truncate, group, index, term, &[]))
    }

    /// Begins a group anew: after a restart nothing from before exists, neither records nor a
    /// checkpoint; the log goes on behind `index`, the last one of `term`. `state` comes back with
    /// the record. The caller begins with fresh messages
    /// ([`create_group`](Self::create_group)); what the old ones had on disk goes with the group's
    /// next checkpoint.
    pub fn append_reset(&mut self, group: u64, index: u64, term: u32, state: &[u8]) -> Appended {
        self.append(&mark(Kind::Reset, group, index, term, state))
    }

    /// Goes on from a state that came from elsewhere: what the group's log held from index `from` on
    /// is void, and it goes on behind `index`, the last one of `term`, or behind what is left of it.
    /// A log that has the same entry at `index` is left alone: `from` is behind its end. Messages and records without
    /// an index stay as they are, and `state` comes back with the record.
    pub fn append_install(
        &mut self,
        group: u64,
        from: u64,
        (index, term): (u64, u32),
        state: &[u8],
    ) -> Appended {
        let mut record = mark(Kind::Install, group, index, term, state);
        record.seq = from;
        self.append(&record)
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

    /// Begins a group that has no state yet, whose first sequence will be `first_seq` (0 for the
    /// usual).
    #[must_use]
    pub fn create_group(&mut self, id: u64, first_seq: u64) -> FileMessages {
        self.groups.entry(id).or_insert(0);
        let mut messages = FileMessages::new(Arc::clone(&self.files));
        if first_seq > 0 {
            // A fresh store accepts any first sequence.
            let _ = messages.set_first_seq(first_seq);
        }
        messages
    }

    /// Forgets a group for good; its number must not be used again. To be called once the removal
    /// is durable in the journal. Space is freed by later checkpoints.
    pub fn drop_group(&mut self, id: u64) {
        if self.groups.remove(&id).is_some() {
            self.dropped.push(id);
        }
    }

    /// The groups that exist.
    pub fn groups(&self) -> impl Iterator<Item = u64> + '_ {
        self.groups.keys().copied()
    }

    /// Keeps everything of a group whose state the layer above could not bring back: the journal is
    /// not shortened past its records, and its checkpoint and segments stay.
    pub fn hold_group(&mut self, id: u64) {
        self.held.insert(id);
    }

    /// Notes that a record of a group lies in a journal file.
    fn note(&mut self, group: u64, file: u32, size: u32) {
        let listed = self.groups.entry(group).or_insert(0);
        if *listed == file {
            return;
        }
        *listed = file;
        match self.uses.back_mut() {
            Some(last) if last.number == file => last.groups.push(group),
            _ => self.uses.push_back(FileUse {
                number: file,
                size,
                groups: vec![group],
            }),
        }
    }

    /// The position behind the last record that was appended.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.journal.end()
    }
}

/// A record that says something about the log.
fn mark(kind: Kind, group: u64, index: u64, term: u32, payload: &[u8]) -> Record<'_> {
    Record {
        group,
        kind,
        index,
        term,
        seq: 0,
        timestamp: 0,
        key: &[],
        headers: &[],
        payload,
    }
}
