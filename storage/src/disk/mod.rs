//! The few calls through which everything reaches the medium, so that tests can replace it.
//!
//! [`RealDisk`] is the operating system; [`FaultDisk`] lives in memory, forgets what was not synced
//! and fails on order. Nothing else in the crate may touch the file system.

mod fault;
mod real;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use crate::mmap::Map;
pub use fault::{Fault, FaultDisk};
pub use real::RealDisk;

/// A held lock; dropping it releases.
pub trait DiskLock: Send + Sync + Debug {}

/// A medium with directories and files.
pub trait Disk: Send + Sync + Debug {
    /// Makes sure that a directory exists.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock of a directory.
    ///
    /// # Errors
    /// `WouldBlock` when somebody else holds it; otherwise the system's.
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// The names of the files in a directory.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Creates an empty file, replacing what had the name.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names of a directory durable.
    ///
    /// # Errors
    /// The system's; the names may or may not be durable then.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all slices, one after the other, from `offset` on.
    ///
    /// # Errors
    /// The system's; any part may have been written.
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()>;

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` past the end; otherwise the system's.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The system's; the file must not be trusted any more.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space up to `len`, which becomes the length.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Reserves space up to `len` and leaves the length as it is.
    ///
    /// # Errors
    /// The system's.
    fn reserve(&self, len: u64) -> io::Result<()>;

    /// The length.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// The whole file as bytes that follow later writes, or `None` when it can only be read.
    ///
    /// # Errors
    /// The system's.
    fn map(&self) -> io::Result<Option<Map>>;
}
