//! Journal files: file header, watermark slot and batch headers.

use super::{Fields, HeadError, Seed, check_head, features, head, is_encrypted, put, seal_head};
use crate::position::Lsn;

/// Size of a file header.
pub(crate) const FILE_HEADER: usize = 64;
/// Where the copies of the file header are.
pub(crate) const HEADER_COPIES: [u32; 2] = [0, 512];
/// Where the watermark slot is.
pub(crate) const WATERMARK_AT: u32 = 1024;
/// Size of the watermark slot.
const WATERMARK: usize = 32;
/// Where the first batch begins.
pub(crate) const BATCHES_START: u32 = 4096;
/// Size of a batch header.
pub(crate) const BATCH_HEADER: usize = 48;

/// The version of journal files that this code writes and reads.
const JOURNAL_VERSION: u16 = 1;
const FILE_MAGIC: &[u8; 8] = b"JWJRNL\r\n";
const BATCH_MAGIC: [u8; 4] = *b"JWBT";
const WATERMARK_MAGIC: [u8; 4] = *b"JWWM";

/// The head of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) size: u32,
    /// Where the previous file ended.
    pub(crate) previous: Lsn,
    /// Checksum of the last batch header before this file.
    pub(crate) chain: u32,
    pub(crate) watermark: Lsn,
    pub(crate) encrypted: bool,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER] {
        let features = features(self.encrypted);
        let mut bytes = head(
            FILE_MAGIC,
            JOURNAL_VERSION,
            self.number,
            self.generation,
            features,
        );
        put(&mut bytes, 32, self.size.to_le_bytes());
        put(&mut bytes, 36, self.previous.offset().to_le_bytes());
        put(&mut bytes, 40, self.previous.file().to_le_bytes());
        put(&mut bytes, 44, self.chain.to_le_bytes());
        put(&mut bytes, 48, self.watermark.0.to_le_bytes());
        seal_head(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let fields = check_head(bytes, FILE_MAGIC, JOURNAL_VERSION)?;
        Ok(Self {
            number: fields.u32(20),
            generation: fields.u64(24),
            size: fields.u32(32),
            previous: Lsn::new(fields.u32(40), fields.u32(36)),
            chain: fields.u32(44),
            watermark: Lsn(fields.u64(48)),
            encrypted: is_encrypted(&fields),
        })
    }
}

/// Encodes the watermark slot.
pub(crate) fn encode_watermark(generation: u64, watermark: Lsn) -> [u8; WATERMARK] {
    let mut bytes = [0; WATERMARK];
    put(&mut bytes, 0, WATERMARK_MAGIC);
    put(&mut bytes, 8, generation.to_le_bytes());
    put(&mut bytes, 16, watermark.0.to_le_bytes());
    let sum = Seed::new(generation).sum(WATERMARK_AT, &bytes[8..]);
    put(&mut bytes, 4, sum.to_le_bytes());
    bytes
}

/// Decodes the watermark slot of a file of this generation.
pub(crate) fn decode_watermark(bytes: &[u8], generation: u64) -> Option<Lsn> {
    let bytes = bytes.get(..WATERMARK)?;
    let fields = Fields(bytes);
    let sum = Seed::new(generation).sum(WATERMARK_AT, &bytes[8..]);
    let ours = bytes[..4] == WATERMARK_MAGIC && fields.u64(8) == generation;
    (ours && fields.u32(4) == sum).then(|| Lsn(fields.u64(16)))
}

/// Where a batch header may be, in bytes that lie at a multiple of 8.
pub(crate) fn find_batch(bytes: &[u8]) -> Option<usize> {
    let words = bytes.chunks_exact(8);
    let found = words.enumerate().find(|(_, word)| word[..4] == BATCH_MAGIC);
    found.map(|(at, _)| at * 8)
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) generation: u64,
    pub(crate) file: u32,
    /// Length of the records.
    pub(crate) length: u32,
    pub(crate) count: u32,
    /// Checksum of the previous batch's header.
    pub(crate) previous: u32,
    pub(crate) watermark: Lsn,
}

impl BatchHeader {
    /// Encodes the header for a batch at `offset`; its checksum is the next batch's `previous`.
    pub(crate) fn encode(&self, offset: u32) -> ([u8; BATCH_HEADER], u32) {
        let mut bytes = [0; BATCH_HEADER];
        put(&mut bytes, 0, BATCH_MAGIC);
        put(&mut bytes, 8, self.generation.to_le_bytes());
        put(&mut bytes, 16, self.file.to_le_bytes());
        put(&mut bytes, 20, self.length.to_le_bytes());
        put(&mut bytes, 24, self.count.to_le_bytes());
        put(&mut bytes, 28, self.previous.to_le_bytes());
        put(&mut bytes, 32, self.watermark.0.to_le_bytes());
        let sum = Seed::new(self.generation).sum(offset, &bytes[8..]);
        put(&mut bytes, 4, sum.to_le_bytes());
        (bytes, sum)
    }

    /// Decodes the batch header at the start of `bytes`, which lie at `offset` of file `file`; also
    /// returns its checksum.
    pub(crate) fn decode(bytes: &[u8], file: u32, offset: u32) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER)?;
        if bytes[..4] != BATCH_MAGIC {
            return None;
        }
        let fields = Fields(bytes);
        let header = Self {
            generation: fields.u64(8),
            file: fields.u32(16),
            length: fields.u32(20),
            count: fields.u32(24),
            previous: fields.u32(28),
            watermark: Lsn(fields.u64(32)),
        };
        let sum = Seed::new(header.generation).sum(offset, &bytes[8..]);
        (header.file == file && fields.u32(4) == sum).then_some((header, sum))
    }
}
