//! The heads of journal files: which files belong together, and what their heads say about each
//! other.

use std::sync::Arc;

use super::scan::{STEP, Scan};
use super::window::Window;
use crate::crypt::{Unlocked, unlock};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, file_name};
use crate::format::{
    BATCH_HEADER, BATCHES_START, BatchHeader, FILE_HEADER, FileHeader, HEADER_COPIES, HeadError,
    WATERMARK_AT, decode_watermark, find_batch,
};
use crate::position::Lsn;

/// A longer file is none of ours: offsets of what lies in a shorter one, rounded up, stay in range.
const FILE_MAX: u32 = u32::MAX - BATCHES_START;

/// A file whose head makes sense.
pub(super) struct Candidate {
    pub(super) header: FileHeader,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) size: u32,
    pub(super) key: Unlocked,
    /// The watermark in the slot.
    pub(super) slot: Lsn,
}

impl Scan {
    /// Opens a file and judges its head.
    pub(super) fn open(
        &mut self,
        files: &Files,
        number: u32,
    ) -> Result<Option<Candidate>, StoreError> {
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
            Head::Rescued(mut header) => {
                let line = format!("{name}: both copies of its header are damaged");
                self.report.push(line);
                // Nothing says that it is plain.
                header.encrypted = files.encryption().is_some();
                header
            }
            Head::Bad(why) => {
                self.report.push(format!("{name}: {why}; set aside"));
                self.unreadable.push(name);
                return Ok(None);
            }
        };
        let blocks = HEADER_COPIES.map(|at| front.get(at as usize + FILE_HEADER..).unwrap_or(&[]));
        let key = unlock(files.encryption(), number, blocks)?;
        if header.encrypted && key.is_none() {
            self.report
                .push(format!("{name}: its key is damaged; set aside"));
            self.unreadable.push(name);
            return Ok(None);
        }
        let slot = front.get(WATERMARK_AT as usize..).unwrap_or(&[]);
        let slot = decode_watermark(slot, header.generation).unwrap_or_default();
        Ok(Some(Candidate {
            header,
            file,
            size,
            key,
            slot,
        }))
    }

    /// The files that belong together, ascending: from the newest along the links to the oldest.
    pub(super) fn chain_of(&mut self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
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
            Err(HeadError::Old) => return Head::Bad("written by an earlier version"),
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
            encrypted: false,
        });
    }
    if blank {
        Head::Idle
    } else {
        Head::Bad("its header is damaged")
    }
}

/// The highest watermark in the batch headers from `from` in the first file on.
pub(super) fn latest_watermark(chain: &[Candidate], from: u32) -> Result<Lsn, StoreError> {
    let mut highest = Lsn::default();
    let mut buffer = Vec::new();
    for (at, candidate) in chain.iter().enumerate() {
        let header = &candidate.header;
        let (number, size) = (header.number, candidate.size);
        let mut bytes = Window::new(&*candidate.file, number, size, &mut buffer);
        let mut offset = if at == 0 { from } else { BATCHES_START };
        loop {
            let rest = bytes.get(offset, BATCH_HEADER)?;
            if rest.len() < BATCH_HEADER {
                break;
            }
            // What is left at the end of the window is looked at again in the next one.
            let searched = &rest[..rest.len() - BATCH_HEADER + STEP as usize];
            let Some(found) = find_batch(searched) else {
                offset += searched.len() as u32 / STEP * STEP;
                continue;
            };
            let place = offset + found as u32;
            let batch = BatchHeader::decode(&rest[found..], number, place);
            offset = match batch.filter(|(batch, _)| batch.generation == header.generation) {
                Some((batch, _)) => {
                    highest = highest.max(batch.watermark);
                    (place + BATCH_HEADER as u32).saturating_add(batch.length)
                }
                None => place + STEP,
            };
        }
    }
    Ok(highest)
}
