//! Overwriting what was to be erased.
//!
//! A record is erased in place once a durable checkpoint says that its message is gone: the header
//! block and the payload become zeros, with checksums that match, so that the file stays sound. A
//! crash in the middle may leave the record damaged, which harms nobody: nothing refers to it any
//! more. A checkpoint lists what is still to be overwritten, so that opening does what a crash left
//! undone.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::Store;
use super::checkpoint::Section;
use crate::disk::DiskFile;
use crate::files::{Files, RecordFile};
use crate::format::{
    Fields, RECORD_HEADER, RecordHeader, SectionKind, put, put_varint, restamp, take_varint,
};
use crate::messages::Location;
use crate::position::Lsn;

/// A record to erase.
#[derive(Debug)]
pub(super) struct Erasure {
    file: Arc<RecordFile>,
    location: Location,
}

/// Finds the files of what is to be erased; what is in none has nothing left.
pub(super) fn find(files: &Files, locations: &[Location]) -> Vec<Erasure> {
    let found = locations.iter().filter_map(|&location| {
        let (file, _) = files.find(location)?;
        Some(Erasure { file, location })
    });
    found.collect()
}

/// Erases records; returns those whose file is still lent out, to be tried again later, and those
/// in chunks, which go with their file when what is alive was copied out of it.
pub(super) fn run(files: &Files, erasures: Vec<Erasure>) -> Vec<Location> {
    for erasure in &erasures {
        files.close(erasure.location);
    }
    let (later, now): (Vec<_>, Vec<_>) = erasures
        .into_iter()
        .partition(|erasure| erasure.file.is_lent() || erasure.file.is_packed());
    let mut open: Vec<OpenFile> = Vec::new();
    for erasure in now {
        let known = open
            .iter()
            .position(|one| Arc::ptr_eq(&one.of, &erasure.file));
        let at = match known {
            Some(at) => at,
            // A file that is gone takes the bytes along.
            None => match erasure.file.open(files) {
                Ok(file) => {
                    let of = Arc::clone(&erasure.file);
                    let dirty = false;
                    open.push(OpenFile { of, file, dirty });
                    open.len() - 1
                }
                Err(_) => continue,
            },
        };
        // One that cannot be written keeps them.
        open[at].dirty |= erasure.run(&*open[at].file).unwrap_or(true);
    }
    for file in open.into_iter().filter(|file| file.dirty) {
        let _ = file.file.sync_data();
    }
    later.into_iter().map(|erasure| erasure.location).collect()
}

/// A file while records in it are overwritten.
struct OpenFile {
    of: Arc<RecordFile>,
    file: Arc<dyn DiskFile>,
    dirty: bool,
}

/// The body of the section that lists what is to be erased.
fn encode(locations: &[Location]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, locations.len() as u64);
    for location in locations {
        let (segment, file, offset) = match *location {
            Location::Journal { file, offset } => (0, file, offset),
            Location::Segment { file, offset } => (1, file, offset),
        };
        put_varint(&mut out, u64::from(file) << 1 | segment);
        put_varint(&mut out, u64::from(offset));
    }
    out
}

/// Reads such a body.
pub(super) fn decode(mut body: &[u8]) -> Option<Vec<Location>> {
    let count = take_varint(&mut body)?;
    let mut locations = Vec::new();
    for _ in 0..count {
        let file = take_varint(&mut body)?;
        let offset = u32::try_from(take_varint(&mut body)?).ok()?;
        let (segment, file) = (file & 1 == 1, u32::try_from(file >> 1).ok()?);
        locations.push(if segment {
            Location::Segment { file, offset }
        } else {
            Location::Journal { file, offset }
        });
    }
    Some(locations)
}

impl Store {
    /// What is to be overwritten, for a checkpoint. What no file holds any more is forgotten.
    pub(super) fn erasures_section(&mut self) -> Option<Section> {
        self.erasures
            .retain(|location| self.files.find(*location).is_some());
        (!self.erasures.is_empty()).then(|| Section {
            group: 0,
            applied: None,
            covered: Lsn::default(),
            kind: SectionKind::Erasures,
            body: encode(&self.erasures),
        })
    }

    /// Overwrites what a checkpoint lists and a crash may have left undone.
    pub(super) fn erase_again(&mut self) {
        let erasures = find(&self.files, &self.erasures);
        self.erasures = run(&self.files, erasures);
    }
}

impl Erasure {
    /// Overwrites, unless it was done before.
    fn run(&self, file: &dyn DiskFile) -> io::Result<bool> {
        let (seed, offset) = (self.file.seed(), self.location.offset());
        let mut record = vec![0; RECORD_HEADER];
        file.read_at(u64::from(offset), &mut record)?;
        let Ok(header) = RecordHeader::decode(&record, seed, offset) else {
            return Ok(false);
        };
        if !header.fits(offset, file.size()?) {
            return Ok(false);
        }
        // Of an encrypted record nothing can be kept without the rest.
        let kept = if self.file.is_encrypted() {
            0
        } else {
            header.key_len
        };
        let keep = RECORD_HEADER + kept;
        record.resize(keep, 0);
        let key_at = u64::from(offset) + RECORD_HEADER as u64;
        file.read_at(key_at, &mut record[RECORD_HEADER..])?;
        record.resize(RECORD_HEADER + header.body_len(), 0);
        let sum = crc32c::crc32c(&record[RECORD_HEADER..]);
        if sum == Fields(&record).u32(4) {
            return Ok(false);
        }
        put(&mut record, 4, sum.to_le_bytes());
        restamp(&mut record, seed, offset);
        file.write_at(u64::from(offset), &mut [IoSlice::new(&record)])?;
        Ok(true)
    }
}
