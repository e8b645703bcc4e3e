//! Segment files: header, directory and trailer.

use super::{Fields, HeadError, check_head, head, put, seal_head};

/// Size of a segment's header and of its trailer.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// Size of a row.
pub(crate) const ROW: usize = 24;
/// Size of a directory entry.
pub(crate) const DIRECTORY_ENTRY: usize = 64;

const HEADER_MAGIC: &[u8; 8] = b"JWSEGM\r\n";
const TRAILER_MAGIC: &[u8; 8] = b"JWSEGEND";

pub(crate) fn encode_segment_header(number: u32, generation: u64) -> [u8; SEGMENT_HEADER] {
    let mut bytes = head(HEADER_MAGIC, number, generation);
    seal_head(&mut bytes);
    bytes
}

/// Number and generation in a segment's header.
pub(crate) fn decode_segment_header(bytes: &[u8]) -> Result<(u32, u64), HeadError> {
    let fields = check_head(bytes, HEADER_MAGIC)?;
    Ok((fields.u32(20), fields.u64(24)))
}

/// The last bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) directory: u64,
    pub(crate) sections: u32,
    pub(crate) directory_sum: u32,
    pub(crate) records_sum: u32,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = head(TRAILER_MAGIC, self.number, self.generation);
        put(&mut bytes, 32, self.directory.to_le_bytes());
        put(&mut bytes, 40, self.sections.to_le_bytes());
        put(&mut bytes, 44, self.directory_sum.to_le_bytes());
        put(&mut bytes, 48, self.records_sum.to_le_bytes());
        seal_head(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let fields = check_head(bytes, TRAILER_MAGIC)?;
        Ok(Self {
            number: fields.u32(20),
            generation: fields.u64(24),
            directory: fields.u64(32),
            sections: fields.u32(40),
            directory_sum: fields.u32(44),
            records_sum: fields.u32(48),
        })
    }
}

/// What a segment holds of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) group: u64,
    pub(crate) base_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) keys_at: u64,
    pub(crate) rows_at: u64,
    pub(crate) keys: u32,
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
    pub(crate) sum: u32,
}

impl DirectoryEntry {
    pub(crate) fn encode(&self) -> [u8; DIRECTORY_ENTRY] {
        let mut bytes = [0; DIRECTORY_ENTRY];
        put(&mut bytes, 0, self.group.to_le_bytes());
        put(&mut bytes, 8, self.base_seq.to_le_bytes());
        put(&mut bytes, 16, self.last_seq.to_le_bytes());
        put(&mut bytes, 24, self.keys_at.to_le_bytes());
        put(&mut bytes, 32, self.rows_at.to_le_bytes());
        put(&mut bytes, 40, self.keys.to_le_bytes());
        put(&mut bytes, 44, self.rows.to_le_bytes());
        put(&mut bytes, 48, self.bytes.to_le_bytes());
        put(&mut bytes, 56, self.sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let fields = Fields(bytes);
        Self {
            group: fields.u64(0),
            base_seq: fields.u64(8),
            last_seq: fields.u64(16),
            keys_at: fields.u64(24),
            rows_at: fields.u64(32),
            keys: fields.u32(40),
            rows: fields.u32(44),
            bytes: fields.u64(48),
            sum: fields.u32(56),
        }
    }
}

/// A message in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) offset: u32,
    pub(crate) timestamp: i64,
    /// Position of its key in the key block.
    pub(crate) key: u32,
    pub(crate) size: u32,
}

impl Row {
    /// Encodes a row whose distance to `base` fits.
    pub(crate) fn encode(&self, base: u64) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        put(&mut bytes, 0, ((self.seq - base) as u32).to_le_bytes());
        put(&mut bytes, 4, self.offset.to_le_bytes());
        put(&mut bytes, 8, self.timestamp.to_le_bytes());
        put(&mut bytes, 16, self.key.to_le_bytes());
        put(&mut bytes, 20, self.size.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], base: u64) -> Self {
        let fields = Fields(bytes);
        Self {
            seq: base + u64::from(fields.u32(0)),
            offset: fields.u32(4),
            timestamp: fields.i64(8),
            key: fields.u32(16),
            size: fields.u32(20),
        }
    }
}
