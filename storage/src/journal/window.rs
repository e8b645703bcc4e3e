//! Reading a file front to back through a small buffer that is used again.
//!
//! The buffer stays in the processor's cache and is never zeroed twice, so that what recovery pays
//! for is the bytes themselves. A disk that fails shows as an error here and never as a signal.

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{JOURNAL, file_name};

/// What is read at once, unless more is asked for.
const CHUNK: usize = 256 << 10;

/// A part of a file that moves forward with what is asked for.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a dyn DiskFile,
    number: u32,
    /// Nothing is read from here on.
    limit: u32,
    buffer: &'a mut Vec<u8>,
    /// Where the buffer's first byte lies, and how many are good.
    start: u32,
    len: usize,
}

impl<'a> Window<'a> {
    /// A view of journal file `number` up to `limit`, which is not behind the file's end.
    pub(super) fn new(
        file: &'a dyn DiskFile,
        number: u32,
        limit: u32,
        buffer: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            file,
            number,
            limit,
            buffer,
            start: 0,
            len: 0,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// The bytes from `at` on: at least `need` of them, unless the limit comes first.
    pub(super) fn get(&mut self, at: u32, need: usize) -> Result<&[u8], StoreError> {
        let left = self.limit.saturating_sub(at) as usize;
        let inside = at >= self.start && (at - self.start) as usize + need.min(left) <= self.len;
        if !inside {
            self.load(at, need.max(CHUNK).min(left))?;
        }
        let from = (at - self.start) as usize;
        Ok(self.buffer.get(from..self.len).unwrap_or(&[]))
    }

    fn load(&mut self, at: u32, len: usize) -> Result<(), StoreError> {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        (self.start, self.len) = (at, 0);
        let read = self.file.read_at(u64::from(at), &mut self.buffer[..len]);
        read.map_err(|error| StoreError::io("read", file_name(JOURNAL, self.number), error))?;
        self.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use super::*;
    use crate::disk::{Disk as _, FaultDisk};

    #[test]
    fn a_window_shows_the_file_wherever_it_stands() {
        let disk = FaultDisk::new();
        let file = disk.create(Path::new("/file")).unwrap();
        let bytes: Vec<u8> = (0..CHUNK * 3).map(|at| (at / 7 % 251) as u8).collect();
        file.write_at(0, &mut [IoSlice::new(&bytes)]).unwrap();
        let limit = bytes.len() as u32 - 100;
        let mut buffer = Vec::new();
        let mut window = Window::new(&*file, 1, limit, &mut buffer);
        for (at, need) in [(0, 8), (8, 100), (CHUNK - 4, 8), (CHUNK, CHUNK + 9), (3, 5)] {
            let got = window.get(at as u32, need).unwrap();
            assert!(got.len() >= need);
            assert_eq!(got, &bytes[at..at + got.len()]);
        }
        assert_eq!(window.get(limit - 3, 56).unwrap().len(), 3);
        assert_eq!(window.get(limit, 1).unwrap(), b"");
        assert_eq!(window.get(limit + 50, 1).unwrap(), b"");
    }
}
