//! Reading the journal back: which records are there, where it ends, and what is damaged.
//!
//! Bytes that do not prove themselves are rot when they lie below a position that was known
//! durable, and the torn end of the last write otherwise; docs/FORMAT.md has the rule. Scanning
//! changes nothing on disk, so a crash in the middle of it changes nothing either.

use std::sync::Arc;

use super::Resume;
use super::filescan::{FileScan, Stop};
use super::groups::Groups;
use super::heads::{Candidate, latest_watermark};
use super::window::Window;
use crate::crypt::Unlocked;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, file_name, file_number};
use crate::format::{BATCHES_START, Seed};
use crate::position::Lsn;

/// Records and batches start at multiples of this.
pub(super) const STEP: u32 = 8;

/// A record whose body does not prove itself carries this bit in its offset.
pub(crate) const DAMAGED: u32 = 1;

/// A journal file that was read.
#[derive(Debug)]
pub(crate) struct ScannedFile {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) size: u32,
    pub(crate) key: Unlocked,
    /// Offsets of the records, with [`DAMAGED`] where only the header is good.
    pub(crate) records: Vec<u32>,
    /// The groups with records in it.
    pub(crate) groups: Vec<u64>,
    /// Something in it is rotten.
    pub(crate) damaged: bool,
    pub(super) file: Arc<dyn DiskFile>,
}

/// The journal as it was found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) files: Vec<ScannedFile>,
    /// Files with nothing to say: not yet written in their role, or behind the torn end.
    pub(crate) idle: Vec<String>,
    /// Files that cannot be read at all.
    pub(crate) unreadable: Vec<String>,
    /// Damage, one line each.
    pub(crate) report: Vec<String>,
    /// Messages whose bodies are damaged: group and sequence.
    pub(crate) lost: Vec<(u64, u64)>,
    /// What was learnt about the groups.
    pub(crate) groups: Groups,
    pub(super) retired: u32,
    durable: Lsn,
    pub(crate) resume: Option<Resume>,
}

/// Reads the journal files above `retired`; everything below `durable` is known to have been
/// durable.
pub(crate) fn scan(
    files: &Files,
    names: &[String],
    retired: u32,
    durable: Lsn,
) -> Result<Scan, StoreError> {
    let mut scan = Scan {
        retired,
        durable,
        ..Scan::default()
    };
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|n| file_number(JOURNAL, n))
        .collect();
    numbers.sort_unstable();
    let Some(last_file) = numbers.last().copied() else {
        return Ok(scan);
    };
    let mut candidates = Vec::new();
    for number in numbers {
        if number <= retired {
            scan.idle.push(file_name(JOURNAL, number));
            continue;
        }
        if let Some(candidate) = scan.open(files, number)? {
            candidates.push(candidate);
        }
    }
    let chain = scan.chain_of(candidates);
    let (end, sum) = scan.read_chain(&chain)?;
    scan.resume = Some(Resume {
        last_file,
        end,
        chain: sum,
    });
    scan.settle(files)?;
    Ok(scan)
}

impl Scan {
    /// Scans the chain; returns where the good records end and the last batch header's checksum.
    fn read_chain(&mut self, chain: &[Candidate]) -> Result<(Lsn, u32), StoreError> {
        let known = chain
            .iter()
            .map(|file| file.header.watermark.max(file.slot));
        let mut watermark = known.max().unwrap_or_default().max(self.durable);
        let mut end = self.durable;
        let mut sum = 0;
        let mut buffer = Vec::new();
        for (at, candidate) in chain.iter().enumerate() {
            let header = &candidate.header;
            if self.follows_nothing(&chain[..at], &chain[at..], &mut watermark)? {
                self.discard(&chain[at..]);
                break;
            }
            let size = candidate.size;
            if size < header.size {
                let name = file_name(JOURNAL, header.number);
                let line = format!("{name}: cut to {size} of {} bytes", header.size);
                self.report.push(line);
            }
            let next = chain.get(at + 1).map(|next| next.header.previous);
            let next = next.filter(|end| end.file() == header.number);
            let limit = next.map_or(size, Lsn::offset).min(size);
            let mut file = FileScan {
                scan: self,
                out: ScannedFile::new(candidate),
                bytes: Window::new(&*candidate.file, header.number, limit, &mut buffer),
                seed: Seed::new(header.generation),
                watermark,
                chain: Some(header.chain),
                last_chain: header.chain,
                rest: &chain[at..],
            };
            let stop = file.run()?;
            watermark = file.watermark;
            sum = file.last_chain;
            let out = file.out;
            self.files.push(out);
            match stop {
                Stop::Through(offset) => end = Lsn::new(header.number, offset),
                Stop::Torn(offset) => {
                    end = Lsn::new(header.number, offset);
                    self.discard(&chain[at + 1..]);
                    break;
                }
            }
        }
        Ok((end, sum))
    }

    /// Notes files behind the end: what they hold was never acknowledged.
    fn discard(&mut self, dead: &[Candidate]) {
        for candidate in dead {
            self.idle.push(file_name(JOURNAL, candidate.header.number));
        }
    }

    /// Whether the first of `later` goes on from a file whose bytes never arrived. If they had
    /// arrived, that file is damaged, and what comes later counts.
    fn follows_nothing(
        &mut self,
        earlier: &[Candidate],
        later: &[Candidate],
        watermark: &mut Lsn,
    ) -> Result<bool, StoreError> {
        let Some(first) = later.first() else {
            return Ok(false);
        };
        let previous = first.header.previous;
        if previous.file() <= self.retired {
            return Ok(false);
        }
        if earlier
            .last()
            .is_some_and(|last| last.header.number == previous.file())
        {
            return Ok(false);
        }
        let name = file_name(JOURNAL, previous.file());
        let Some(at) = self.idle.iter().position(|idle| *idle == name) else {
            return Ok(false);
        };
        *watermark = (*watermark).max(latest_watermark(later, BATCHES_START)?);
        if previous > *watermark {
            return Ok(true);
        }
        self.report
            .push(format!("{name}: its content is gone; set aside"));
        self.idle.swap_remove(at);
        self.unreadable.push(name);
        Ok(false)
    }

    /// What was read may exist in the page cache only: make it durable before anybody believes it.
    fn settle(&self, files: &Files) -> Result<(), StoreError> {
        for file in &self.files {
            let name = || file_name(JOURNAL, file.number);
            file.file
                .sync_data()
                .map_err(|error| StoreError::io("sync", name(), error))?;
        }
        let synced = files.sync_names();
        synced.map_err(|error| StoreError::io("sync", "the store directory", error))
    }
}

impl ScannedFile {
    fn new(candidate: &Candidate) -> Self {
        Self {
            number: candidate.header.number,
            generation: candidate.header.generation,
            size: candidate.size,
            key: candidate.key.clone(),
            records: Vec::new(),
            groups: Vec::new(),
            damaged: candidate.size < candidate.header.size,
            file: Arc::clone(&candidate.file),
        }
    }

    /// Takes a record whose header is good, and its group when it is the first of it.
    pub(super) fn push(&mut self, record: u32, group: Option<u64>) {
        self.records.push(record);
        self.groups.extend(group);
    }
}
