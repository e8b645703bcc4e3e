//! Overwriting what was to be erased.
//!
//! A record is erased in place once a durable checkpoint says that its message is gone: the header
//! block and the payload become zeros, with checksums that match, so that the file stays sound. A
//! crash in the middle may leave the record damaged, which harms nobody: nothing refers to it any
//! more.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::files::{Files, RecordFile};
use crate::format::{Fields, RECORD_HEADER, RecordHeader, put, restamp};

/// A record to erase.
#[derive(Debug)]
pub(super) struct Erasure {
    pub(super) file: Arc<RecordFile>,
    pub(super) offset: u32,
}

/// Erases records; returns those whose file is still lent out, to be tried again later.
pub(super) fn run(files: &Files, erasures: Vec<Erasure>) -> Vec<Erasure> {
    let (later, now): (Vec<_>, Vec<_>) = erasures
        .into_iter()
        .partition(|erasure| erasure.file.is_lent());
    let mut dirty: Vec<Arc<RecordFile>> = Vec::new();
    for erasure in now {
        // A file that is gone, or that cannot be written, takes the bytes along or keeps them.
        if erasure.run(files).is_ok() && !dirty.iter().any(|file| Arc::ptr_eq(file, &erasure.file))
        {
            dirty.push(erasure.file);
        }
    }
    for file in dirty {
        if let Ok(file) = file.open(files) {
            let _ = file.sync_data();
        }
    }
    later
}

impl Erasure {
    fn run(&self, files: &Files) -> io::Result<()> {
        let file = self.file.open(files)?;
        let seed = self.file.seed();
        let mut record = vec![0; RECORD_HEADER];
        file.read_at(u64::from(self.offset), &mut record)?;
        let Ok(header) = RecordHeader::decode(&record, seed, self.offset) else {
            return Ok(());
        };
        if !header.fits(self.offset, file.size()?) {
            return Ok(());
        }
        let keep = RECORD_HEADER + header.key_len;
        record.resize(keep, 0);
        let key_at = u64::from(self.offset) + RECORD_HEADER as u64;
        file.read_at(key_at, &mut record[RECORD_HEADER..])?;
        record.resize(RECORD_HEADER + header.body_len(), 0);
        let sum = crc32c::crc32c(&record[RECORD_HEADER..]);
        if sum == Fields(&record).u32(4) {
            return Ok(());
        }
        put(&mut record, 4, sum.to_le_bytes());
        restamp(&mut record, seed, self.offset);
        file.write_at(u64::from(self.offset), &mut [IoSlice::new(&record)])
    }
}
