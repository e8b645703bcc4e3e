//! Reading the journal back: which records are there, where it ends, and what is damaged.
//!
//! Bytes that do not prove themselves are rot when they lie below a position that was known durable, and
//! the torn end of the last write otherwise; docs/FORMAT.md has the rule. Scanning changes nothing on
//! disk, so a crash in the middle of it changes nothing either.

use std::sync::Arc;

use hashbrown::HashMap;

use super::Resume;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, file_name, file_number};
use crate::format::{
    BATCH_HEADER, BATCHES_START, BatchHeader, FILE_HEADER, FileHeader, HEADER_COPIES, HeadError,
    HeaderError, RecordHeader, Seed, WATERMARK_AT, decode_watermark,
};
use crate::position::Lsn;

/// Records and batches start at multiples of this.
const STEP: u32 = 8;

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
    /// Group, index, position: records of the group with that index or more, before that position, are
    /// replaced.
    pub(crate) replaced: Vec<(u64, u64, Lsn)>,
    retired: u32,
    durable: Lsn,
    last_index: HashMap<u64, u64, foldhash::fast::FixedState>,
    pub(crate) resume: Option<Resume>,
}

struct Candidate {
    header: FileHeader,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
}

/// Whether a file's scan reached its end or the journal's.
enum Stop {
    Through(u32),
    Torn(u32),
}

struct FileScan<'a> {
    scan: &'a mut Scan,
    out: ScannedFile,
    bytes: &'a [u8],
    seed: Seed,
    limit: u32,
    /// Highest durable position known.
    watermark: Lsn,
    /// Checksum of the batch header before, unknown after damage.
    chain: Option<u32>,
    last_chain: u32,
    /// Lazily: the watermarks of everything that comes later.
    later: &'a mut dyn FnMut(u32) -> Lsn,
}

/// Reads the journal files above `retired`; everything below `durable` is known to have been durable.
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
    let (end, sum) = scan.read_chain(&chain);
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
        let Ok(size) = u32::try_from(size) else {
            self.report
                .push(format!("{name}: too long to be a journal file; set aside"));
            self.unreadable.push(name);
            return Ok(None);
        };
        let mut bytes = vec![0; size as usize];
        file.read_at(0, &mut bytes).map_err(failed("read"))?;
        match head_of(&bytes, number) {
            Head::Good(header) => Ok(Some(Candidate {
                header,
                file,
                bytes,
            })),
            Head::Idle => {
                if bytes.is_empty() {
                    // Begun a moment before a crash, or cut: nothing is left to tell.
                    self.report.push(format!("{name}: empty"));
                }
                self.idle.push(name);
                Ok(None)
            }
            Head::Rescued(header) => {
                self.report
                    .push(format!("{name}: both copies of its header are damaged"));
                Ok(Some(Candidate {
                    header,
                    file,
                    bytes,
                }))
            }
            Head::Bad(why) => {
                self.report.push(format!("{name}: {why}; set aside"));
                self.unreadable.push(name);
                Ok(None)
            }
        }
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
    fn read_chain(&mut self, chain: &[Candidate]) -> (Lsn, u32) {
        let mut watermark = self.durable;
        for candidate in chain {
            let slot = candidate.bytes.get(WATERMARK_AT as usize..).unwrap_or(&[]);
            let slot = decode_watermark(slot, candidate.header.generation).unwrap_or_default();
            watermark = watermark.max(candidate.header.watermark).max(slot);
        }
        let mut end = self.durable;
        let mut sum = 0;
        for (at, candidate) in chain.iter().enumerate() {
            let header = &candidate.header;
            if self.follows_nothing(&chain[..at], &chain[at..], &mut watermark) {
                self.discard(&chain[at..]);
                break;
            }
            let size = candidate.bytes.len() as u32;
            if size < header.size {
                let name = file_name(JOURNAL, header.number);
                self.report
                    .push(format!("{name}: cut to {size} of {} bytes", header.size));
            }
            let next = chain.get(at + 1).map(|next| next.header.previous);
            let limit = next
                .filter(|end| end.file() == header.number)
                .map_or(size, Lsn::offset);
            let mut later = |from: u32| latest_watermark(&chain[at..], from);
            let mut file = FileScan {
                scan: self,
                out: ScannedFile {
                    number: header.number,
                    generation: header.generation,
                    size,
                    records: Vec::new(),
                    damaged: size < header.size,
                    file: Arc::clone(&candidate.file),
                },
                bytes: &candidate.bytes,
                seed: Seed::new(header.generation),
                limit: limit.min(size),
                watermark,
                chain: Some(header.chain),
                last_chain: header.chain,
                later: &mut later,
            };
            let stop = file.run();
            watermark = file.watermark;
            sum = file.last_chain;
            let out = file.out;
            self.files.push(out);
            match stop {
                Stop::Through(offset) => end = Lsn::new(header.number, offset),
                Stop::Torn(offset) => {
                    end = Lsn::new(header.number, offset);
                    for dead in &chain[at + 1..] {
                        let name = file_name(JOURNAL, dead.header.number);
                        self.idle.push(name);
                    }
                    break;
                }
            }
        }
        (end, sum)
    }

    /// Notes files behind the end: what they hold was never acknowledged.
    fn discard(&mut self, dead: &[Candidate]) {
        for candidate in dead {
            self.idle.push(file_name(JOURNAL, candidate.header.number));
        }
    }

    /// Whether the first of `later` goes on from a file whose bytes never arrived. If they had arrived,
    /// that file is damaged, and what comes later counts.
    fn follows_nothing(
        &mut self,
        earlier: &[Candidate],
        later: &[Candidate],
        watermark: &mut Lsn,
    ) -> bool {
        let Some(first) = later.first() else {
            return false;
        };
        let previous = first.header.previous;
        if previous.file() <= self.retired {
            return false;
        }
        if earlier
            .last()
            .is_some_and(|last| last.header.number == previous.file())
        {
            return false;
        }
        let name = file_name(JOURNAL, previous.file());
        let Some(at) = self.idle.iter().position(|idle| *idle == name) else {
            return false;
        };
        *watermark = (*watermark).max(latest_watermark(later, BATCHES_START));
        if previous > *watermark {
            return true;
        }
        self.report
            .push(format!("{name}: its content is gone; set aside"));
        self.idle.swap_remove(at);
        self.unreadable.push(name);
        false
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
    fn note(&mut self, header: &RecordHeader, at: Lsn) {
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

fn head_of(bytes: &[u8], number: u32) -> Head {
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
            size: bytes.len() as u32,
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
fn latest_watermark(chain: &[Candidate], from: u32) -> Lsn {
    let mut highest = Lsn::default();
    for (at, candidate) in chain.iter().enumerate() {
        let header = &candidate.header;
        let mut offset = if at == 0 { from } else { BATCHES_START };
        while let Some(rest) = candidate.bytes.get(offset as usize..)
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
    highest
}

impl FileScan<'_> {
    fn at(&self, offset: u32) -> Lsn {
        Lsn::new(self.out.number, offset)
    }

    fn rest(&self, offset: u32) -> &[u8] {
        self.bytes
            .get(offset as usize..self.limit as usize)
            .unwrap_or(&[])
    }

    /// Whether damage at `offset` is rot rather than the torn end.
    fn is_rot(&mut self, offset: u32) -> bool {
        let here = self.at(offset);
        if here >= self.watermark {
            self.watermark = self.watermark.max((self.later)(offset));
        }
        here < self.watermark
    }

    fn rot(&mut self, from: u32, to: u32) {
        self.out.damaged = true;
        let name = file_name(JOURNAL, self.out.number);
        self.scan
            .report
            .push(format!("{name}: bytes {from}..{to} are damaged"));
    }

    fn torn(&mut self, from: u32) -> Stop {
        let name = file_name(JOURNAL, self.out.number);
        self.scan
            .report
            .push(format!("{name}: the last write ended torn at byte {from}"));
        Stop::Torn(from)
    }

    fn run(&mut self) -> Stop {
        let mut pos = BATCHES_START;
        while pos < self.limit {
            match BatchHeader::decode(self.rest(pos), self.out.number, pos) {
                Some((batch, sum)) if batch.generation == self.generation() => {
                    if self.chain.is_some_and(|chain| chain != batch.previous) {
                        if !self.is_rot(pos) {
                            return self.torn(pos);
                        }
                        self.rot(pos, pos);
                    }
                    self.watermark = self.watermark.max(batch.watermark);
                    (self.chain, self.last_chain) = (Some(sum), sum);
                    let end = (pos + BATCH_HEADER as u32).saturating_add(batch.length);
                    match self.batch(pos + BATCH_HEADER as u32, end.min(self.limit)) {
                        Stop::Through(next) => pos = next,
                        torn @ Stop::Torn(_) => return torn,
                    }
                }
                _ if self.is_rot(pos) => {
                    let next = self.resync(pos + STEP);
                    self.rot(pos, next);
                    self.chain = None;
                    pos = self.loose(next);
                }
                _ => return self.end_at(pos),
            }
        }
        Stop::Through(self.limit)
    }

    fn generation(&self) -> u64 {
        self.out.generation
    }

    /// The journal ends here: cleanly, or with a batch that began and did not arrive.
    fn end_at(&mut self, pos: u32) -> Stop {
        let rest = self.rest(pos);
        let begun = rest.starts_with(b"JWBT") && rest.get(16..20) == Some(&self.number_bytes());
        if begun {
            self.torn(pos)
        } else {
            Stop::Torn(pos)
        }
    }

    fn number_bytes(&self) -> [u8; 4] {
        self.out.number.to_le_bytes()
    }

    /// The records of one batch.
    fn batch(&mut self, from: u32, end: u32) -> Stop {
        let mut pos = from;
        while pos < end {
            match self.record(pos, end) {
                Ok(size) => pos += size,
                Err(Bad::Unknown(size)) => {
                    let name = file_name(JOURNAL, self.out.number);
                    let line = format!("{name}: a record of an unknown kind at byte {pos}");
                    self.scan.report.push(line);
                    pos = pos.saturating_add(size);
                }
                Err(bad) => {
                    if !self.is_rot(pos) {
                        return self.torn(pos);
                    }
                    let next = match bad {
                        Bad::Body(header) => {
                            self.lose(&header, pos);
                            pos + header.size() as u32
                        }
                        _ => self.resync(pos + STEP).min(end),
                    };
                    self.rot(pos, next);
                    pos = next;
                }
            }
        }
        Stop::Through(end)
    }

    /// Records whose batch header is lost, as far as they prove themselves.
    fn loose(&mut self, from: u32) -> u32 {
        let mut pos = from;
        while let Ok(size) = self.record(pos, self.limit) {
            pos += size;
        }
        pos
    }

    fn lose(&mut self, header: &RecordHeader, pos: u32) {
        self.scan.note(header, self.at(pos));
        self.out.records.push(pos | DAMAGED);
        self.scan.lost.push((header.group, header.seq));
    }

    /// Takes the record at `pos` and says how long it is.
    fn record(&mut self, pos: u32, end: u32) -> Result<u32, Bad> {
        let bytes = self.bytes.get(pos as usize..end as usize).unwrap_or(&[]);
        let header = match RecordHeader::decode(bytes, self.seed, pos) {
            Ok(header) => header,
            Err(HeaderError::Damaged) => return Err(Bad::Header),
            Err(HeaderError::Unknown(size)) => return Err(Bad::Unknown(size as u32)),
        };
        if header.size() > bytes.len() {
            return Err(Bad::Header);
        }
        if header.body(bytes).is_none() {
            return Err(Bad::Body(header));
        }
        self.scan.note(&header, self.at(pos));
        self.out.records.push(pos);
        Ok(header.size() as u32)
    }

    /// The next place from `from` on where a batch or record proves itself, else the limit.
    fn resync(&self, from: u32) -> u32 {
        let mut pos = from;
        while pos < self.limit {
            let rest = self.rest(pos);
            let batch = BatchHeader::decode(rest, self.out.number, pos);
            if batch.is_some_and(|(batch, _)| batch.generation == self.generation())
                || RecordHeader::decode(rest, self.seed, pos).is_ok()
            {
                return pos;
            }
            pos += STEP;
        }
        self.limit
    }
}

enum Bad {
    Header,
    Body(RecordHeader),
    Unknown(u32),
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
        for file in &self.files {
            let Some(last) = file.records.last() else {
                continue;
            };
            let seed = Seed::new(file.generation);
            let mut bytes = vec![0; file.size as usize];
            let name = || file_name(JOURNAL, file.number);
            let read = file.file.read_at(0, &mut bytes);
            read.map_err(|error| StoreError::io("read", name(), error))?;
            debug_assert!(*last < file.size);
            for record in &file.records {
                let offset = record & !DAMAGED;
                let rest = &bytes[offset as usize..];
                let Ok(header) = RecordHeader::decode(rest, seed, offset) else {
                    continue;
                };
                let start = Lsn::new(file.number, offset);
                if self.is_replaced(&header, start) {
                    continue;
                }
                let body = if record & DAMAGED == 0 {
                    header.body(rest)
                } else {
                    None
                };
                let end = Lsn::new(file.number, offset + header.size() as u32);
                visit(&Walked {
                    header,
                    body,
                    start,
                    end,
                });
            }
        }
        Ok(())
    }
}
