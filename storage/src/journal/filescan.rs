//! Reading one journal file: batch by batch, record by record, around damage.

use super::scan::{DAMAGED, STEP, Scan, ScannedFile};
use crate::error::StoreError;
use crate::files::{JOURNAL, file_name};
use crate::format::{BATCH_HEADER, BATCHES_START, BatchHeader, HeaderError, RecordHeader, Seed};
use crate::position::Lsn;

/// Whether a file's scan reached its end or the journal's.
pub(super) enum Stop {
    Through(u32),
    Torn(u32),
}

pub(super) struct FileScan<'a> {
    pub(super) scan: &'a mut Scan,
    pub(super) out: ScannedFile,
    pub(super) bytes: &'a [u8],
    pub(super) seed: Seed,
    pub(super) limit: u32,
    /// Highest durable position known.
    pub(super) watermark: Lsn,
    /// Checksum of the batch header before, unknown after damage.
    pub(super) chain: Option<u32>,
    pub(super) last_chain: u32,
    /// Lazily: the watermarks of everything that comes later.
    pub(super) later: &'a mut dyn FnMut(u32) -> Result<Lsn, StoreError>,
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
    fn is_rot(&mut self, offset: u32) -> Result<bool, StoreError> {
        let here = self.at(offset);
        if here >= self.watermark {
            self.watermark = self.watermark.max((self.later)(offset)?);
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
        while pos < self.limit {
            match BatchHeader::decode(self.rest(pos), self.out.number, pos) {
                Some((batch, sum)) if batch.generation == self.generation() => {
                    if self.chain.is_some_and(|chain| chain != batch.previous) {
                        if !self.is_rot(pos)? {
                            return Ok(self.torn(pos));
                        }
                        self.rot(pos, pos);
                    }
                    self.watermark = self.watermark.max(batch.watermark);
                    (self.chain, self.last_chain) = (Some(sum), sum);
                    let end = (pos + BATCH_HEADER as u32).saturating_add(batch.length);
                    match self.batch(pos + BATCH_HEADER as u32, end.min(self.limit))? {
                        Stop::Through(next) => pos = next,
                        torn @ Stop::Torn(_) => return Ok(torn),
                    }
                }
                _ if self.is_rot(pos)? => {
                    let next = self.resync(pos + STEP);
                    self.rot(pos, next);
                    self.chain = None;
                    pos = self.loose(next);
                }
                _ => return Ok(self.end_at(pos)),
            }
        }
        Ok(Stop::Through(self.limit))
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
    fn batch(&mut self, from: u32, end: u32) -> Result<Stop, StoreError> {
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
                    if !self.is_rot(pos)? {
                        return Ok(self.torn(pos));
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
        Ok(Stop::Through(end))
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
        self.out.push(pos | DAMAGED, header.group);
        self.scan.lost.push((header.group, header.seq));
    }

    /// Takes the record at `pos` and says how long it is.
    fn record(&mut self, pos: u32, end: u32) -> Result<u32, Bad> {
        let bytes = self.bytes.get(pos as usize..end as usize).unwrap_or(&[]);
        let header = match RecordHeader::decode(bytes, self.seed, pos) {
            Ok(header) => header,
            Err(HeaderError::Damaged) => return Err(Bad::Header),
            Err(HeaderError::Unknown(size)) => {
                return Err(Bad::Unknown(u32::try_from(size).unwrap_or(u32::MAX)));
            }
        };
        if header.size() > bytes.len() {
            return Err(Bad::Header);
        }
        if header.body(bytes).is_none() {
            return Err(Bad::Body(header));
        }
        self.scan.note(&header, self.at(pos));
        self.out.push(pos, header.group);
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
