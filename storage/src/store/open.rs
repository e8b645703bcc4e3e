//! Opening a directory: what is there, what is damaged, and what must be applied again.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Options, Store};
use crate::disk::Disk;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, RecordFile, file_name};
use crate::format::Record;
use crate::journal::{JournalWriter, Resume, Scan, Sizes, pair, scan};
use crate::messages::{FileMessages, Location};
use crate::position::Lsn;

/// A group whose state was found in a checkpoint.
#[derive(Debug)]
pub struct RecoveredGroup {
    /// The group.
    pub id: u64,
    /// What the layer above handed in with the checkpoint.
    pub blob: Bytes,
    /// Its messages as of the checkpoint.
    pub messages: FileMessages,
    /// Records below this position are part of the state.
    pub covered: Lsn,
}

/// What opening found wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One line for each finding, naming file and place.
    pub lines: Vec<String>,
    /// Messages that were written and cannot be read: group and sequence.
    pub lost: Vec<(u64, u64)>,
}

/// An open directory.
#[derive(Debug)]
pub struct Opened {
    /// The owner's handle.
    pub store: Store,
    /// For the disk thread.
    pub writer: JournalWriter,
    /// The groups with a checkpoint.
    pub groups: Vec<RecoveredGroup>,
    /// The records to apply again, before anything is appended.
    pub replay: Replay,
    /// What was wrong.
    pub report: Report,
}

/// A record read back.
#[derive(Clone, Copy, Debug)]
pub struct ReplayRecord<'a> {
    /// The record; of a damaged one only the header's fields are right, and all bytes are empty.
    pub record: Record<'a>,
    /// Where it lies.
    pub location: Location,
    /// The position behind it.
    pub end: Lsn,
    /// Its body is damaged: it happened, and what it said is lost.
    pub damaged: bool,
}

/// The records that no checkpoint covers.
#[derive(Debug)]
pub struct Replay {
    scan: Scan,
    covered: HashMap<u64, Lsn, FixedState>,
}

impl Replay {
    /// Visits the records in order.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn run(self, visit: &mut dyn FnMut(&ReplayRecord<'_>)) -> Result<(), StoreError> {
        self.scan.walk(&mut |walked| {
            let covered = self
                .covered
                .get(&walked.header.group)
                .copied()
                .unwrap_or_default();
            if walked.start < covered {
                return;
            }
            let header = &walked.header;
            let mut record = header.record(walked.body.unwrap_or(&[]));
            if walked.body.is_none() {
                (record.key, record.headers, record.payload) = (&[], &[], &[]);
            }
            visit(&ReplayRecord {
                record,
                location: Location::Journal {
                    file: walked.start.file(),
                    offset: walked.start.offset(),
                },
                end: walked.end,
                damaged: walked.body.is_none(),
            });
        })
    }
}

impl Store {
    /// Opens a directory, which is created when it is not there. A fresh one stays empty until the first
    /// record is written.
    ///
    /// # Errors
    /// The directory is in use, or the disk refused a call. Damage is not an error: it is reported.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Opened, StoreError> {
        let files = Arc::new(Files::lock(disk, dir)?);
        let listed = files.disk.list(dir);
        let names =
            listed.map_err(|error| StoreError::io("list", dir.display().to_string(), error))?;
        let mut scan = scan(&files, &names)?;
        for name in &scan.unreadable {
            Self::set_aside(&files, name)?;
        }
        for idle in std::mem::take(&mut scan.idle) {
            let removed = files.disk.remove(&files.path(&idle.name));
            removed.map_err(|error| StoreError::io("remove", idle.name, error))?;
        }
        for file in &scan.files {
            let record_file = RecordFile::new(file_name(JOURNAL, file.number), file.generation);
            if file.damaged {
                record_file.mark_damaged();
            }
            files.add_journal(file.number, record_file);
        }
        let resume = scan.resume.unwrap_or(Resume {
            last_file: 0,
            end: Lsn::default(),
            chain: 0,
        });
        let sizes = Sizes {
            first: options.journal_first,
            max: options.journal_max,
        };
        let (journal, writer) = pair(Arc::clone(&files), options.seed, sizes, resume);
        let mut store = Self {
            files,
            journal,
            uses: std::collections::VecDeque::new(),
            groups: HashMap::default(),
        };
        scan.walk(&mut |walked| store.note(walked.header.group, walked.start))?;
        let report = Report {
            lines: scan.report.clone(),
            lost: scan.lost.clone(),
        };
        let replay = Replay {
            scan,
            covered: HashMap::default(),
        };
        Ok(Opened {
            store,
            writer,
            groups: Vec::new(),
            replay,
            report,
        })
    }
}
