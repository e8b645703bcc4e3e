//! The only place with `unsafe`: read-only, shared mappings of our own files.
//!
//! Invariants that the rest of the crate keeps: a mapped file is never shortened; bytes that were
//! handed out are not written while somebody holds them (journal batches are written once, segments
//! are sealed before they are mapped, a journal file is recycled and a message is erased in place
//! only when nobody holds a slice of the mapping); no other process writes, because the directory is
//! locked.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// Maps a whole file; the mapping lives as long as the last slice of the bytes.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the module's invariants: no byte that is read through the mapping changes while a
    // slice of it is alive, and the file keeps its length.
    let map = unsafe { Mmap::map(file) }?;
    Ok(Bytes::from_owner(map))
}
