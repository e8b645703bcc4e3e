//! Reading the journal back: which records are there, where it ends, and what is damaged.
//!
//! Bytes that do not prove themselves are rot when they lie below a position that was known
//! durable, and the torn end of the last write otherwise; docs/FORMAT.md has the rule. Scanning
//! changes nothing on disk, so a crash in the middle of it changes nothing either.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Resume;
use super::filescan::{FileScan, Stop};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, file_name, file_number};
use crate::format::{
    BATCH_HEADER, BATCHES_START, BatchHeader, FILE_HEADER, FileHeader, HEADER_COPIES, HeadError,
    RECORD_HEADER, RecordHeader, Seed, WATERMARK_AT, decode_watermark,
};
use crate::position::Lsn;

/// Records and batches start at multiples of this.
pub(super) const STEP: u32 = 8;

/// A longer file is none of ours: offsets of what lies in a shorter one, rounded up, stay in range.
const FILE_MAX: u32 = u32::MAX - BATCHES_START;

/// A record whose body does not prove itself carries this bit in its offset.
pub(crate) const DAMAGED: u32 = 1;

/// A journal file that was read.
#[derive(Debug)]
pub(crate) struct ScannedFile {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) size: u32,
    /// Offsets of the records, with [`DAMAGED`] where only the header is good.
    pub(crate) records: Vec<u32>,
    /// The groups with records in it, ascending.
    pub(crate) groups: Vec<u64>,
    /// Something in it is rotten.
    pub(crate) damaged: bool,
    file: Arc<dyn DiskFile>,
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
    /// Group, index, position: records of the group with that index or more, before that position,
    /// are replaced.
    pub(crate) replaced: Vec<(u64, u64, Lsn)>,
    retired: u32,
    durable: Lsn,
    last_index: HashMap<u64, u64, foldhash::fast::FixedState>,
    pub(crate) resume: Option<Resume>,
}

struct Candidate {
    header: FileHeader,
    file: Arc<dyn DiskFile>,
    size: u32,
    /// The watermark in the slot.
    slot: Lsn,
}

/// Reads a file into a buffer that is used again, up to `size`.
fn load<'a>(
    buffer: &'a mut Vec<u8>,
    file: &Arc<dyn DiskFile>,
    number: u32,
    size: u32,
) -> Result<&'a [u8], StoreError> {
    buffer.resize(buffer.len().max(size as usize), 0);
    let bytes = &mut buffer[..size as usize];
    let read = file.read_at(0, bytes);
    read.map_err(|error| StoreError::io("read", file_name(JOURNAL, number), error))?;
    Ok(bytes)
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
    /// Opens a file and judges its head.
    fn open(&mut self, files: &Files, number: u32) -> Result<Option<Candidate>, StoreError> {
        let name = file_name(JOURNAL, number);
        let failed = |what| {
            let name = name.clone();
            move |error| StoreError::io(what, name, error)
        };
        let file = files
            .disk
            .open(&files.path(&name))
            .map_err(failed("open"))?;
        let size = file.size().map_err(failed("measure"))?;
        let Some(size) = u32::try_from(size).ok().filter(|size| *size <= FILE_MAX) else {
            self.report
                .push(format!("{name}: too long to be a journal file; set aside"));
            self.unreadable.push(name);
            return Ok(None);
        };
        // The head and, should the head be lost, the first batch header.
        let mut front = vec![0; size.min(BATCHES_START + BATCH_HEADER as u32) as usize];
        file.read_at(0, &mut front).map_err(failed("read"))?;
        let header = match head_of(&front, number, size) {
            Head::Good(header) => header,
            Head::Idle => {
                if front.is_empty() {
                    // Begun a moment before a crash, or cut: nothing is left to tell.
                    self.report.push(format!("{name}: empty"));
                }
                self.idle.push(name);
                return Ok(None);
            }
            Head::Rescued(header) => {
                let line = format!("{name}: both copies of its header are damaged");
                self.report.push(line);
                header
            }
            Head::Bad(why) => {
                self.report.push(format!("{name}: {why}; set aside"));
                self.unreadable.push(name);
                return Ok(None);
            }
        };
        let slot = front.get(WATERMARK_AT as usize..).unwrap_or(&[]);
        let slot = decode_watermark(slot, header.generation).unwrap_or_default();
        Ok(Some(Candidate {
            header,
            file,
            size,
            slot,
        }))
    }

    /// The files that belong together, ascending: from the newest along the links to the oldest.
    fn chain_of(&mut self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut chain: Vec<Candidate> = Vec::new();
        while let Some(candidate) = candidates.pop() {
            let Some(next) = chain.last() else {
                chain.push(candidate);
                continue;
            };
            let (number, wanted) = (candidate.header.number, next.header.previous.file());
            if number > wanted {
                // Behind the end that the newer file sealed.
                let name = file_name(JOURNAL, number);
                self.idle.push(name);
                continue;
            }
            if number < wanted && wanted > self.retired {
                self.report
                    .push(format!("{} is missing", file_name(JOURNAL, wanted)));
            }
            chain.push(candidate);
        }
        chain.reverse();
        chain
    }

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
            let mut later = |from: u32| latest_watermark(&chain[at..], from);
            let mut file = FileScan {
                scan: self,
                out: ScannedFile::new(candidate),
                bytes: load(&mut buffer, &candidate.file, header.number, size)?,
                seed: Seed::new(header.generation),
                limit,
                watermark,
                chain: Some(header.chain),
                last_chain: header.chain,
                later: &mut later,
            };
            let stop = file.run()?;
            watermark = file.watermark;
            sum = file.last_chain;
            let mut out = file.out;
            out.finish();
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
        let synced = files.disk.sync_dir(&files.dir);
        synced.map_err(|error| StoreError::io("sync", "the store directory", error))
    }

    /// Notes a good header.
    pub(super) fn note(&mut self, header: &RecordHeader, at: Lsn) {
        if header.index == 0 {
            return;
        }
        let last = self.last_index.entry(header.group).or_insert(0);
        if header.index <= *last {
            self.replaced.push((header.group, header.index, at));
        }
        *last = header.index;
    }

    /// Whether a later record replaced this one.
    pub(crate) fn is_replaced(&self, header: &RecordHeader, at: Lsn) -> bool {
        header.index != 0
            && self.replaced.iter().any(|(group, index, by)| {
                *group == header.group && *index <= header.index && *by > at
            })
    }
}

enum Head {
    Good(FileHeader),
    /// The header is lost, but the first batch says enough.
    Rescued(FileHeader),
    /// Not written in this role.
    Idle,
    Bad(&'static str),
}

fn head_of(bytes: &[u8], number: u32, size: u32) -> Head {
    let mut blank = true;
    for at in HEADER_COPIES {
        let copy = bytes
            .get(at as usize..at as usize + FILE_HEADER)
            .unwrap_or(&[]);
        match FileHeader::decode(copy) {
            Ok(header) if header.number == number => return Head::Good(header),
            Ok(_) | Err(HeadError::Blank) => {}
            Err(HeadError::Unknown) => return Head::Bad("written by a later version"),
            Err(HeadError::Damaged) => blank &= bytes.is_empty(),
        }
    }
    let first = bytes.get(BATCHES_START as usize..).unwrap_or(&[]);
    if let Some((batch, _)) = BatchHeader::decode(first, number, BATCHES_START) {
        return Head::Rescued(FileHeader {
            number,
            generation: batch.generation,
            size,
            previous: Lsn::new(number.saturating_sub(1), u32::MAX),
            chain: batch.previous,
            watermark: batch.watermark,
        });
    }
    if blank {
        Head::Idle
    } else {
        Head::Bad("its header is damaged")
    }
}

/// The highest watermark in the batch headers from `from` in the first file on.
fn latest_watermark(chain: &[Candidate], from: u32) -> Result<Lsn, StoreError> {
    let mut highest = Lsn::default();
    let mut buffer = Vec::new();
    for (at, candidate) in chain.iter().enumerate() {
        let header = &candidate.header;
        let bytes = load(&mut buffer, &candidate.file, header.number, candidate.size)?;
        let mut offset = if at == 0 { from } else { BATCHES_START };
        while let Some(rest) = bytes.get(offset as usize..)
            && rest.len() >= BATCH_HEADER
        {
            match BatchHeader::decode(rest, header.number, offset) {
                Some((batch, _)) if batch.generation == header.generation => {
                    highest = highest.max(batch.watermark);
                    offset = offset.saturating_add(BATCH_HEADER as u32);
                }
                _ => offset = offset.saturating_add(STEP),
            }
        }
    }
    Ok(highest)
}

impl ScannedFile {
    fn new(candidate: &Candidate) -> Self {
        Self {
            number: candidate.header.number,
            generation: candidate.header.generation,
            size: candidate.size,
            records: Vec::new(),
            groups: Vec::new(),
            damaged: candidate.size < candidate.header.size,
            file: Arc::clone(&candidate.file),
        }
    }

    /// Takes a record whose header is good.
    pub(super) fn push(&mut self, record: u32, group: u64) {
        self.records.push(record);
        if self.groups.last() != Some(&group) {
            self.groups.push(group);
        }
    }

    /// Settles the list of groups once all records are in.
    pub(super) fn finish(&mut self) {
        self.groups.sort_unstable();
        self.groups.dedup();
    }
}

/// A record as it is found again.
#[derive(Debug)]
pub(crate) struct Walked<'a> {
    pub(crate) header: RecordHeader,
    /// `None` when the body is damaged.
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
}

impl Scan {
    /// Visits every record that was not replaced, in order.
    pub(crate) fn walk(&self, visit: &mut dyn FnMut(&Walked<'_>)) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        for file in &self.files {
            if file.records.is_empty() {
                continue;
            }
            let seed = Seed::new(file.generation);
            let bytes = load(&mut buffer, &file.file, file.number, file.size)?;
            for record in &file.records {
                let offset = record & !DAMAGED;
                let rest = bytes.get(offset as usize..).unwrap_or(&[]);
                let Ok(header) = RecordHeader::decode(rest, seed, offset) else {
                    continue;
                };
                let start = Lsn::new(file.number, offset);
                if self.is_replaced(&header, start) {
                    continue;
                }
                // The scan has checked it.
                let good = record & DAMAGED == 0;
                let body = rest.get(RECORD_HEADER..RECORD_HEADER + header.body_len());
                visit(&Walked {
                    header,
                    body: body.filter(|_| good),
                    start,
                    end: Lsn::new(file.number, offset + header.size() as u32),
                });
            }
        }
        Ok(())
    }
}
