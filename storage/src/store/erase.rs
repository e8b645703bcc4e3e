//! Overwriting what was to be erased.
//!
//! A record is erased in place once a durable checkpoint says that its message is gone: the header
//! block and the payload become zeros, with checksums that match, so that the file stays sound. A
//! crash in the middle may leave the record damaged, which harms nobody: nothing refers to it any
//! more.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::files::{Files, RecordFile};
use crate::format::{Fields, RECORD_HEADER, RecordHeader, put, restamp};
use crate::messages::Location;

/// A record to erase.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) file: Arc<RecordFile>,
    pub(super) location: Location,
}

/// Erases records; returns those whose file is still lent out, to be tried again later.
pub(super) fn run(files: &Files, erasures: Vec<Erasure>) -> Vec<Erasure> {
    for erasure in &erasures {
        files.close(erasure.location);
    }
    let (later, now): (Vec<_>, Vec<_>) = erasures
        .into_iter()
        .partition(|erasure| erasure.file.is_lent());
    let mut open: Vec<(Arc<RecordFile>, Arc<dyn DiskFile>)> = Vec::new();
    for erasure in now {
        let known = open.iter().find(|(of, _)| Arc::ptr_eq(of, &erasure.file));
        let file = match known {
            Some((_, file)) => Arc::clone(file),
            // A file that is gone takes the bytes along.
            None => match erasure.file.open(files) {
                Ok(file) => {
                    open.push((Arc::clone(&erasure.file), Arc::clone(&file)));
                    file
                }
                Err(_) => continue,
            },
        };
        // One that cannot be written keeps them.
        let _ = erasure.run(&*file);
    }
    for (_, file) in open {
        let _ = file.sync_data();
    }
    later
}

impl Erasure {
    fn run(&self, file: &dyn DiskFile) -> io::Result<()> {
        let (seed, offset) = (self.file.seed(), self.location.offset());
        let mut record = vec![0; RECORD_HEADER];
        file.read_at(u64::from(offset), &mut record)?;
        let Ok(header) = RecordHeader::decode(&record, seed, offset) else {
            return Ok(());
        };
        if !header.fits(offset, file.size()?) {
            return Ok(());
        }
        let keep = RECORD_HEADER + header.key_len;
        record.resize(keep, 0);
        let key_at = u64::from(offset) + RECORD_HEADER as u64;
        file.read_at(key_at, &mut record[RECORD_HEADER..])?;
        record.resize(RECORD_HEADER + header.body_len(), 0);
        let sum = crc32c::crc32c(&record[RECORD_HEADER..]);
        if sum == Fields(&record).u32(4) {
            return Ok(());
        }
        put(&mut record, 4, sum.to_le_bytes());
        restamp(&mut record, seed, offset);
        file.write_at(u64::from(offset), &mut [IoSlice::new(&record)])
    }
}
