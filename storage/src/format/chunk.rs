//! The header of a chunk: records that were compressed together.

use super::{Fields, Seed, put};

/// Size of a chunk's header.
pub(crate) const CHUNK_HEADER: usize = 32;

const MAGIC: &[u8; 4] = b"JWCK";
/// The records are compressed.
const COMPRESSED: u32 = 1;

/// What lies behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChunkHeader {
    /// Length in the file.
    pub(crate) stored: u32,
    /// Length of the records.
    pub(crate) plain: u32,
    /// Checksum of the bytes in the file.
    pub(crate) sum: u32,
    pub(crate) compressed: bool,
}

impl ChunkHeader {
    /// What an encrypted chunk is bound to.
    pub(crate) fn bound(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        put(&mut bytes, 0, self.stored.to_le_bytes());
        put(&mut bytes, 4, self.plain.to_le_bytes());
        put(&mut bytes, 8, self.flags().to_le_bytes());
        bytes
    }

    fn flags(&self) -> u32 {
        if self.compressed { COMPRESSED } else { 0 }
    }

    /// Encodes the header of a chunk at `offset`.
    pub(crate) fn encode(&self, seed: Seed, offset: u32) -> [u8; CHUNK_HEADER] {
        let mut bytes = [0; CHUNK_HEADER];
        put(&mut bytes, 0, *MAGIC);
        put(&mut bytes, 8, self.stored.to_le_bytes());
        put(&mut bytes, 12, self.plain.to_le_bytes());
        put(&mut bytes, 16, self.sum.to_le_bytes());
        put(&mut bytes, 20, self.flags().to_le_bytes());
        let sum = seed.sum(offset, &bytes[8..]);
        put(&mut bytes, 4, sum.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, which lie at `offset`, if it proves itself.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u32) -> Option<Self> {
        let header = bytes.get(..CHUNK_HEADER)?;
        let fields = Fields(header);
        if header[..4] != *MAGIC || fields.u32(4) != seed.sum(offset, &header[8..]) {
            return None;
        }
        Some(Self {
            stored: fields.u32(8),
            plain: fields.u32(12),
            sum: fields.u32(16),
            compressed: fields.u32(20) & COMPRESSED != 0,
        })
    }
}
