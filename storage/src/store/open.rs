//! Opening a directory: what is there, what is damaged, and what must be applied again.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::load::{Checkpoints, Segments, read_checkpoints};
use super::plain::{Plain, without_plain_spares};
use super::space::Space;
use super::{Options, Store};
use crate::crypt::unlock_all;
use crate::disk::Disk;
use crate::error::StoreError;
use crate::files::{
    CHECKPOINT, Files, JOURNAL, RecordFile, SEGMENT, SPARE, file_name, file_number,
};
use crate::format::{Record, RecordHeader};
use crate::journal::{
    Groups, JournalWriter, Resume, Scan, ScannedFile, Sizes, Spare, Walked, pair, scan,
};
use crate::messages::{FileMessages, Insert, Location, MessageStore as _, MessagesState};
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
    /// As are entries of the group's log up to this index, wherever they lie, if it keeps one.
    pub applied: Option<u64>,
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
    covered: HashMap<u64, Covered, FixedState>,
}

/// How far a group's checkpoint goes: see [`RecoveredGroup`].
#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    position: Lsn,
    applied: Option<u64>,
}

impl Covered {
    /// Whether a record is part of the state.
    fn has(&self, index: u64, start: Lsn) -> bool {
        match self.applied {
            Some(applied) if index > 0 => index <= applied,
            _ => start < self.position,
        }
    }
}

impl Replay {
    /// Visits the records in order. Of a group that keeps a log these are all that its checkpoint
    /// does not have, also those below its position; an entry that was written again comes more
    /// than once.
    ///
    /// # Errors
    /// The disk refused a read.
    pub fn run(self, visit: &mut dyn FnMut(&ReplayRecord<'_>)) -> Result<(), StoreError> {
        let uncovered = |file: &ScannedFile| {
            let end = Lsn::new(file.number + 1, 0);
            file.groups
                .iter()
                .any(|group| match self.covered.get(group) {
                    Some(covered) => covered.applied.is_some() || covered.position < end,
                    None => true,
                })
        };
        self.scan.walk(uncovered, &mut |walked| {
            let covered = self.covered.get(&walked.header.group);
            if covered.is_some_and(|covered| covered.has(walked.header.index, walked.start)) {
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
    /// Opens a directory, which is created when it is not there. A fresh one stays empty until the
    /// first record is written.
    ///
    /// # Errors
    /// The directory is in use, its keys are not those of the options, or the disk refused a call.
    /// Damage is not an error: it is reported.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Opened, StoreError> {
        let files = Files::lock(disk, dir, options.encryption.clone())?;
        let files = Arc::new(files);
        let listed = files.disk.list(dir);
        let names =
            listed.map_err(|error| StoreError::io("list", dir.display().to_string(), error))?;
        unlock_all(&files, &names)?;
        let checkpoints = read_checkpoints(&files, &names)?;
        let scan = scan(&files, &names, checkpoints.retired, checkpoints.durable)?;
        let names = without_plain_spares(&files, names)?;
        tidy(&files, &names, &checkpoints, &scan)?;
        for file in &scan.files {
            let name = file_name(JOURNAL, file.number);
            let record_file = RecordFile::new(name, file.generation, file.key.clone());
            if file.damaged {
                record_file.mark_damaged();
            }
            files.add_journal(file.number, record_file);
        }
        let mut store = Self::assemble(files, options, &names, &checkpoints, &scan)?;
        let plain_checkpoints = checkpoints.plain.clone();
        let mut recovered = recover(&store.0.files, checkpoints, &scan)?;
        tidy_journal(&store.0.files, &scan.idle, store.0.retired, &mut recovered)?;
        store.0.bodies = std::mem::take(&mut recovered.bodies);
        if store.0.files.encryption().is_some() {
            let plain = &mut store.0.plain;
            plain.checkpoints = plain_checkpoints;
            let journal = scan.files.iter().filter(|file| file.key.is_none());
            plain.journal = journal.map(|file| file.number).max().unwrap_or(0);
            for number in &recovered.plain_segments {
                plain.add_segment(*number);
            }
        }
        store.0.erase_again();
        store.0.logs = scan.groups.clone().without(store.0.retired);
        for file in &scan.files {
            for group in file
                .groups
                .iter()
                .filter(|group| !recovered.is_dropped(**group))
            {
                store.0.note(*group, file.number, file.size);
            }
        }
        let mut lines = scan.report.clone();
        lines.extend(recovered.report);
        let lost = scan.lost.iter().copied().chain(recovered.lost).collect();
        let replay = Replay {
            scan,
            covered: recovered.covered,
        };
        let report = Report { lines, lost };
        let (store, writer) = store;
        Ok(Opened {
            store,
            writer,
            groups: recovered.groups,
            replay,
            report,
        })
    }

    fn assemble(
        files: Arc<Files>,
        options: Options,
        names: &[String],
        checkpoints: &Checkpoints,
        scan: &Scan,
    ) -> Result<(Self, JournalWriter), StoreError> {
        // The numbers of files that were set aside are not used again.
        let highest = |kind| {
            let plain =
                |name: &'_ String| file_number(kind, name.strip_suffix(".damaged").unwrap_or(name));
            names.iter().filter_map(plain).max()
        };
        let nothing = Resume {
            last_file: 0,
            end: checkpoints.durable,
            chain: 0,
        };
        let mut resume = scan.resume.unwrap_or(nothing);
        resume.last_file = resume
            .last_file
            .max(checkpoints.retired)
            .max(highest(JOURNAL).unwrap_or(0))
            .max(resume.end.file())
            // The file may be gone, but its positions are spoken for.
            .max(checkpoints.durable.file());
        let sizes = Sizes {
            first: options.journal_first,
            max: options.journal_max,
        };
        let (journal, writer) = pair(Arc::clone(&files), options.seed, sizes, resume);
        let groups = checkpoints
            .groups
            .iter()
            .filter(|(_, found)| !found.dropped);
        let mut store = Self {
            journal,
            seed: options.seed,
            uses: VecDeque::new(),
            groups: groups.map(|(group, _)| (*group, 0)).collect(),
            held: HashSet::default(),
            logs: Groups::default(),
            again: Lsn::default(),
            dropped: Vec::new(),
            erasures: checkpoints.erasures.clone(),
            erasing: 0,
            segments: checkpoints.segments(),
            checkpoints: checkpoints.files.clone(),
            retired: checkpoints.retired,
            plain: Plain::default(),
            renewing: BTreeSet::new(),
            bodies: HashMap::default(),
            adopt_least: options.adopt_least,
            pack_least: options.pack_least,
            next_segment: Arc::new(AtomicU32::new(highest(SEGMENT).unwrap_or(0) + 1)),
            last_checkpoint: highest(CHECKPOINT).unwrap_or(0),
            last_spare: highest(SPARE).unwrap_or(0),
            space: Space::found(&files, names)?,
            files,
        };
        for name in names
            .iter()
            .filter(|name| file_number(SPARE, name).is_some())
        {
            let failed = |error| StoreError::io("open", name, error);
            let file = store
                .files
                .disk
                .open(&store.files.path(name))
                .map_err(failed)?;
            let size = u32::try_from(file.size().map_err(failed)?).unwrap_or(0);
            store.journal.offer_spare(Spare {
                name: name.clone(),
                size,
            });
        }
        Ok((store, writer))
    }
}

/// Removes what never counted and sets aside what cannot be read.
fn tidy(
    files: &Files,
    names: &[String],
    checkpoints: &Checkpoints,
    scan: &Scan,
) -> Result<(), StoreError> {
    for name in scan.unreadable.iter().chain(&checkpoints.set_aside) {
        set_aside(files, name)?;
    }
    let unfinished = names.iter().filter(|name| name.ends_with(".tmp")).cloned();
    for name in unfinished.chain(checkpoints.orphans(names)) {
        remove(files, &name)?;
    }
    Ok(())
}

/// Removes journal files that nothing needs. Those that segments have adopted stay, and as long as
/// a segment cannot be asked, all are kept somewhere.
fn tidy_journal(
    files: &Files,
    idle: &[String],
    retired: u32,
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    let bodies: HashSet<u32, FixedState> = recovered.bodies.values().copied().collect();
    for name in idle {
        let number = file_number(JOURNAL, name).unwrap_or(0);
        if bodies.contains(&number) {
            continue;
        }
        if recovered.unknown && number <= retired {
            let line = format!("{name}: may belong to a segment that is damaged; set aside");
            recovered.report.push(line);
            set_aside(files, name)?;
        } else {
            remove(files, name)?;
        }
    }
    Ok(())
}

fn set_aside(files: &Files, name: &str) -> Result<(), StoreError> {
    let aside = files.path(&format!("{name}.damaged"));
    let moved = files.disk.rename(&files.path(name), &aside);
    moved.map_err(|error| StoreError::io("rename", name, error))
}

fn remove(files: &Files, name: &str) -> Result<(), StoreError> {
    let removed = files.disk.remove(&files.path(name));
    removed.map_err(|error| StoreError::io("remove", name, error))
}

/// The groups as their checkpoints have them.
struct Recovered {
    groups: Vec<RecoveredGroup>,
    covered: HashMap<u64, Covered, FixedState>,
    report: Vec<String>,
    lost: Vec<(u64, u64)>,
    plain_segments: Vec<u32>,
    /// Segments whose records lie in journal files, and which.
    bodies: HashMap<u32, u32, FixedState>,
    /// A segment that is needed cannot be asked whether it needs a journal file.
    unknown: bool,
}

impl Recovered {
    fn is_dropped(&self, group: u64) -> bool {
        let covered = self.covered.get(&group);
        covered.is_some_and(|covered| covered.position == Lsn(u64::MAX))
    }
}

/// Loads segments and, from the journal, the messages that were not copied when the checkpoint was
/// taken.
fn recover(
    files: &Arc<Files>,
    checkpoints: Checkpoints,
    scan: &Scan,
) -> Result<Recovered, StoreError> {
    let mut segments = Segments::erasing(&checkpoints.erasures);
    let mut groups = Vec::new();
    let mut covered: HashMap<u64, Covered, FixedState> = HashMap::default();
    let mut tails: HashMap<u64, Tail, FixedState> = HashMap::default();
    for (id, found) in checkpoints.groups {
        let position = if found.dropped {
            Lsn(u64::MAX)
        } else {
            found.covered
        };
        let applied = found.applied;
        let known = Covered { position, applied };
        covered.insert(id, known);
        let reset = scan.groups.reset(id);
        if found.dropped || reset.is_some_and(|at| at >= found.covered) {
            continue;
        }
        let messages = segments.load(files, id, &found.state)?;
        let blob = Bytes::from(found.blob);
        tails.insert(
            id,
            Tail {
                at: groups.len(),
                covered: known,
                state: found.state,
            },
        );
        groups.push(RecoveredGroup {
            id,
            blob,
            messages,
            covered: found.covered,
            applied,
        });
    }
    if tails.values().any(|tail| !tail.state.runs.is_empty()) {
        let ends = tails.values().filter(|tail| !tail.state.runs.is_empty());
        let end = ends.map(|tail| tail.end()).max();
        let within = |file: &ScannedFile| Some(Lsn::new(file.number, 0)) < end;
        scan.walk(within, &mut |walked| {
            let Some(tail) = tails.get_mut(&walked.header.group) else {
                return;
            };
            let group = &mut groups[tail.at];
            if tail.wants(&walked.header, walked.start) {
                insert_walked(&mut group.messages, walked);
            }
        })?;
    }
    let mut lost = std::mem::take(&mut segments.lost);
    for tail in tails.into_values() {
        let group = &mut groups[tail.at];
        for (first, len) in &tail.state.runs {
            let gone = (*first..first + len).filter(|seq| group.messages.meta(*seq).is_none());
            lost.extend(gone.map(|seq| (group.id, seq)));
        }
        group.messages.finish_load(&tail.state);
    }
    // What the scan found damaged is not reported twice.
    lost.retain(|item| !scan.lost.contains(item));
    lost.sort_unstable();
    let mut report = checkpoints.report;
    let plain_segments = std::mem::take(&mut segments.plain);
    let (bodies, unknown) = (std::mem::take(&mut segments.bodies), segments.unknown);
    report.extend(segments.into_report(files));
    Ok(Recovered {
        groups,
        covered,
        report,
        lost,
        plain_segments,
        bodies,
        unknown,
    })
}

/// Which messages of a group are to be found in the journal.
struct Tail {
    at: usize,
    covered: Covered,
    state: MessagesState,
}

impl Tail {
    /// Where the last of them may be.
    fn end(&self) -> Lsn {
        if self.covered.applied.is_some() {
            Lsn(u64::MAX)
        } else {
            self.covered.position
        }
    }

    fn wants(&self, header: &RecordHeader, start: Lsn) -> bool {
        if !header.kind.is_message() || !self.covered.has(header.index, start) {
            return false;
        }
        let runs = &self.state.runs;
        let at = runs.partition_point(|(first, len)| first + len <= header.seq);
        runs.get(at).is_some_and(|(first, _)| *first <= header.seq)
    }
}

fn insert_walked(messages: &mut FileMessages, walked: &Walked<'_>) {
    let Some(body) = walked.body else { return };
    let record = walked.header.record(body);
    let location = Location::Journal {
        file: walked.start.file(),
        offset: walked.start.offset(),
    };
    let message = Insert {
        seq: record.seq,
        timestamp: record.timestamp,
        key: record.key,
        headers: record.headers,
        payload: record.payload,
        location: Some(location),
    };
    // What is there twice is where it was written last.
    if messages.insert(&message).is_err() {
        let _ = messages.repair(&message);
    }
}
