//! Reading one journal file: batch by batch, record by record, around damage.

use super::heads::{Candidate, latest_watermark};
use super::scan::{DAMAGED, STEP, Scan, ScannedFile};
use super::window::Window;
use crate::error::StoreError;
use crate::files::{JOURNAL, file_name};
use crate::format::{
    BATCH_HEADER, BATCHES_START, BatchHeader, HeaderError, RECORD_HEADER, RecordHeader, Seed,
};
use crate::position::Lsn;

/// Whether a file's scan reached its end or the journal's.
pub(super) enum Stop {
    Through(u32),
    Torn(u32),
}

pub(super) struct FileScan<'a> {
    pub(super) scan: &'a mut Scan,
    pub(super) out: ScannedFile,
    /// The file up to the end that is known for it.
    pub(super) bytes: Window<'a>,
    pub(super) seed: Seed,
    /// Highest durable position known.
    pub(super) watermark: Lsn,
    /// Checksum of the batch header before, unknown after damage.
    pub(super) chain: Option<u32>,
    pub(super) last_chain: u32,
    /// This file and everything that comes later: looked through only where something is wrong.
    pub(super) rest: &'a [Candidate],
}

impl FileScan<'_> {
    fn at(&self, offset: u32) -> Lsn {
        Lsn::new(self.out.number, offset)
    }

    /// Whether damage at `offset` is rot rather than the torn end.
    fn is_rot(&mut self, offset: u32) -> Result<bool, StoreError> {
        let here = self.at(offset);
        if here >= self.watermark {
            self.watermark = self.watermark.max(latest_watermark(self.rest, offset)?);
        }
        Ok(here < self.watermark)
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

    pub(super) fn run(&mut self) -> Result<Stop, StoreError> {
        let mut pos = BATCHES_START;
        while pos < self.bytes.limit() {
            match self.batch_header(pos)? {
                Some((batch, sum)) => {
                    if self.chain.is_some_and(|chain| chain != batch.previous) {
                        if !self.is_rot(pos)? {
                            return Ok(self.torn(pos));
                        }
                        self.rot(pos, pos);
                    }
                    self.watermark = self.watermark.max(batch.watermark);
                    (self.chain, self.last_chain) = (Some(sum), sum);
                    let end = (pos + BATCH_HEADER as u32).saturating_add(batch.length);
                    let end = end.min(self.bytes.limit());
                    match self.batch(pos + BATCH_HEADER as u32, end)? {
                        Stop::Through(end) => pos = end,
                        torn @ Stop::Torn(_) => return Ok(torn),
                    }
                }
                None if self.is_rot(pos)? => {
                    let next = self.resync(pos + STEP)?;
                    self.rot(pos, next);
                    self.chain = None;
                    pos = self.loose(next)?;
                }
                None => return self.end_at(pos),
            }
        }
        Ok(Stop::Through(self.bytes.limit()))
    }

    fn batch_header(&mut self, pos: u32) -> Result<Option<(BatchHeader, u32)>, StoreError> {
        let rest = self.bytes.get(pos, BATCH_HEADER)?;
        let found = BatchHeader::decode(rest, self.out.number, pos);
        Ok(found.filter(|(batch, _)| batch.generation == self.out.generation))
    }

    /// The journal ends here: cleanly, or with a batch that began and did not arrive.
    fn end_at(&mut self, pos: u32) -> Result<Stop, StoreError> {
        let rest = self.bytes.get(pos, BATCH_HEADER)?;
        let number = self.out.number.to_le_bytes();
        let begun = rest.starts_with(b"JWBT") && rest.get(16..20) == Some(&number);
        Ok(if begun {
            self.torn(pos)
        } else {
            Stop::Torn(pos)
        })
    }

    /// The records of one batch.
    fn batch(&mut self, from: u32, end: u32) -> Result<Stop, StoreError> {
        let mut pos = from;
        while pos < end {
            match self.record(pos, end)? {
                Found::Good(size) => pos += size,
                Found::Unknown(size) => {
                    let name = file_name(JOURNAL, self.out.number);
                    let line = format!("{name}: a record of an unknown kind at byte {pos}");
                    self.scan.report.push(line);
                    pos = pos.saturating_add(size);
                }
                bad => {
                    if !self.is_rot(pos)? {
                        return Ok(self.torn(pos));
                    }
                    let next = match bad {
                        Found::BadBody(header) => {
                            self.lose(&header, pos);
                            pos + header.size() as u32
                        }
                        _ => self.resync(pos + STEP)?.min(end),
                    };
                    self.rot(pos, next);
                    pos = next;
                }
            }
        }
        Ok(Stop::Through(end))
    }

    /// Records whose batch header is lost, as far as they prove themselves.
    fn loose(&mut self, from: u32) -> Result<u32, StoreError> {
        let mut pos = from;
        while let Found::Good(size) = self.record(pos, self.bytes.limit())? {
            pos += size;
        }
        Ok(pos)
    }

    fn take(&mut self, header: &RecordHeader, pos: u32, mark: u32) {
        let first = self.scan.groups.note(header.into(), self.at(pos));
        self.out.push(pos | mark, first.then_some(header.group));
    }

    fn lose(&mut self, header: &RecordHeader, pos: u32) {
        self.take(header, pos, DAMAGED);
        if header.kind.is_message() {
            self.scan.lost.push((header.group, header.seq));
        }
    }

    /// Takes the record at `pos` and says how long it is.
    fn record(&mut self, pos: u32, end: u32) -> Result<Found, StoreError> {
        let left = end.saturating_sub(pos) as usize;
        let bytes = self.bytes.get(pos, RECORD_HEADER)?;
        let header = match RecordHeader::decode(bytes, self.seed, pos) {
            Ok(header) => header,
            Err(HeaderError::Damaged) => return Ok(Found::BadHeader),
            Err(HeaderError::Unknown(size)) => {
                return Ok(Found::Unknown(u32::try_from(size).unwrap_or(u32::MAX)));
            }
        };
        if header.size() > left {
            return Ok(Found::BadHeader);
        }
        let bytes = self.bytes.get(pos, header.size())?;
        if header.body(bytes).is_none() {
            return Ok(Found::BadBody(header));
        }
        self.take(&header, pos, 0);
        Ok(Found::Good(header.size() as u32))
    }

    /// The next place from `from` on where a batch or record proves itself, else the limit.
    fn resync(&mut self, from: u32) -> Result<u32, StoreError> {
        let mut pos = from;
        while pos < self.bytes.limit() {
            if self.batch_header(pos)?.is_some() {
                return Ok(pos);
            }
            let rest = self.bytes.get(pos, RECORD_HEADER)?;
            if RecordHeader::decode(rest, self.seed, pos).is_ok() {
                return Ok(pos);
            }
            pos += STEP;
        }
        Ok(self.bytes.limit())
    }
}

/// What is at a place where a record should be.
enum Found {
    /// A record of this size.
    Good(u32),
    BadHeader,
    BadBody(RecordHeader),
    Unknown(u32),
}
