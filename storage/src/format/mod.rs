//! The bytes of docs/FORMAT.md: encoding and checked decoding, without any I/O.
//!
//! A decoder never trusts a length before the checksum that covers it, and never panics on any
//! input.

mod checkpoint;
mod chunk;
mod journal;
mod key;
mod picks;
mod record;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use checkpoint::{
    CHECKPOINT_HEADER, CheckpointHeader, SectionHeader, SectionKind, put_varint, take_varint,
};
pub(crate) use chunk::{CHUNK_HEADER, ChunkHeader};
pub(crate) use key::{FILE_KEY, KEY_BLOCK, KEY_BLOCK_AT, KEY_TAG, KeyBlock, key_block_behind};
pub(crate) use segment::{
    BodyRef, DIRECTORY_ENTRY, DirectoryEntry, KEY_ENTRY, KeyEntry, ROW, Row, SEGMENT_HEADER,
    SegmentHeader, Trailer,
};

pub(crate) use journal::{
    BATCH_HEADER, BATCHES_START, BatchHeader, FILE_HEADER, FileHeader, HEADER_COPIES, WATERMARK_AT,
    decode_watermark, encode_watermark, find_batch,
};
pub(crate) use picks::{Picks, encode_picks};
pub(crate) use record::{
    HeaderError, RECORD_HEADER, RecordHeader, encode_record, encode_sealed, padded, record_size,
    restamp,
};
pub use record::{Kind, Record};

/// Feature of a file: what it keeps of the layer above is encrypted, and key blocks are there.
pub(crate) const ENCRYPTED: u32 = 1 << 8;
/// Feature of a segment: its records are in chunks.
pub(crate) const PACKED: u32 = 1 << 9;
/// The features that this code understands.
const KNOWN: u32 = ENCRYPTED | PACKED;

/// The start of every checksum that is bound to a place: a generation, then an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u32);

impl Seed {
    pub(crate) fn new(generation: u64) -> Self {
        Self(crc32c::crc32c(&generation.to_le_bytes()))
    }

    pub(crate) fn sum(self, offset: u32, bytes: &[u8]) -> u32 {
        let at = crc32c::crc32c_append(self.0, &u64::from(offset).to_le_bytes());
        crc32c::crc32c_append(at, bytes)
    }
}

/// Reads little-endian numbers of a header whose length was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let found = self
            .0
            .get(at..at + N)
            .and_then(|bytes| bytes.try_into().ok());
        found.unwrap_or([0; N])
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
}

/// Writes little-endian numbers into a header.
pub(crate) fn put<const N: usize>(header: &mut [u8], at: usize, bytes: [u8; N]) {
    if let Some(place) = header.get_mut(at..at + N) {
        place.copy_from_slice(&bytes);
    }
}

/// Begins a 64-byte file header: magic, version, length, features and number; [`seal_head`]
/// completes it.
pub(crate) fn head(
    magic: &[u8; 8],
    version: u16,
    number: u32,
    generation: u64,
    features: u32,
) -> [u8; 64] {
    let mut bytes = [0; 64];
    put(&mut bytes, 0, *magic);
    put(&mut bytes, 12, version.to_le_bytes());
    put(&mut bytes, 14, 64_u16.to_le_bytes());
    put(&mut bytes, 16, features.to_le_bytes());
    put(&mut bytes, 20, number.to_le_bytes());
    put(&mut bytes, 24, generation.to_le_bytes());
    bytes
}

/// Writes the checksum of a 64-byte file header.
pub(crate) fn seal_head(bytes: &mut [u8; 64]) {
    let sum = crc32c::crc32c(&bytes[12..]);
    put(bytes, 8, sum.to_le_bytes());
}

/// Whether the features of a checked file header say that it is encrypted.
fn is_encrypted(fields: &Fields<'_>) -> bool {
    fields.u32(16) & ENCRYPTED != 0
}

/// Whether the features of a checked file header say that its records are in chunks.
fn is_packed(fields: &Fields<'_>) -> bool {
    fields.u32(16) & PACKED != 0
}

fn features(encrypted: bool) -> u32 {
    if encrypted { ENCRYPTED } else { 0 }
}

/// Why a file header is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Only zeros: never written.
    Blank,
    /// Not what was written, or not ours.
    Damaged,
    /// From an earlier version that is not read any more.
    Old,
    /// From a later version.
    Unknown,
}

/// Checks a 64-byte file header, which must be of this version, and returns its fields.
pub(crate) fn check_head<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    version: u16,
) -> Result<Fields<'a>, HeadError> {
    let Some(bytes) = bytes.get(..64) else {
        return Err(HeadError::Damaged);
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Err(HeadError::Blank);
    }
    let fields = Fields(bytes);
    if bytes[..8] != *magic || fields.u32(8) != crc32c::crc32c(&bytes[12..]) {
        return Err(HeadError::Damaged);
    }
    if fields.u16(12) > version || fields.u32(16) & !KNOWN != 0 {
        return Err(HeadError::Unknown);
    }
    if fields.u16(12) < version {
        return Err(HeadError::Old);
    }
    Ok(fields)
}
