//! Segment files: header, directory and trailer, and the fixed-size parts of a section's tables.

use super::{
    Fields, HeadError, PACKED, check_head, features, head, is_encrypted, is_packed, put, seal_head,
};

/// The version of segment files that this code writes and reads.
const SEGMENT_VERSION: u16 = 2;
/// Size of a segment's header and of its trailer.
pub(crate) const SEGMENT_HEADER: usize = 64;
/// Size of a row.
pub(crate) const ROW: usize = 24;
/// Size of a key's entry.
pub(crate) const KEY_ENTRY: usize = 16;
/// Size of a directory entry.
pub(crate) const DIRECTORY_ENTRY: usize = 96;

const HEADER_MAGIC: &[u8; 8] = b"JWSEGM\r\n";
const TRAILER_MAGIC: &[u8; 8] = b"JWSEGEND";
/// Times never fall from one row to the next.
const ASCENDING: u32 = 1;

/// Another file that holds the records of a segment; number 0 for the segment itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyRef {
    pub(crate) file: u32,
    pub(crate) generation: u64,
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) body: BodyRef,
    pub(crate) encrypted: bool,
    /// The records are in chunks.
    pub(crate) packed: bool,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = head(
            HEADER_MAGIC,
            SEGMENT_VERSION,
            self.number,
            self.generation,
            features(self.encrypted) | packed(self.packed),
        );
        put(&mut bytes, 32, self.body.file.to_le_bytes());
        put(&mut bytes, 40, self.body.generation.to_le_bytes());
        seal_head(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let fields = check_head(bytes, HEADER_MAGIC, SEGMENT_VERSION)?;
        Ok(Self {
            number: fields.u32(20),
            generation: fields.u64(24),
            body: BodyRef {
                file: fields.u32(32),
                generation: fields.u64(40),
            },
            encrypted: is_encrypted(&fields),
            packed: is_packed(&fields),
        })
    }
}

fn packed(packed: bool) -> u32 {
    if packed { PACKED } else { 0 }
}

/// The last bytes of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) directory: u64,
    pub(crate) sections: u32,
    pub(crate) directory_sum: u32,
    pub(crate) records_sum: u32,
    pub(crate) body: BodyRef,
    pub(crate) encrypted: bool,
    /// The records are in chunks.
    pub(crate) packed: bool,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = head(
            TRAILER_MAGIC,
            SEGMENT_VERSION,
            self.number,
            self.generation,
            features(self.encrypted) | packed(self.packed),
        );
        put(&mut bytes, 32, self.directory.to_le_bytes());
        put(&mut bytes, 40, self.sections.to_le_bytes());
        put(&mut bytes, 44, self.directory_sum.to_le_bytes());
        put(&mut bytes, 48, self.records_sum.to_le_bytes());
        put(&mut bytes, 52, self.body.file.to_le_bytes());
        put(&mut bytes, 56, self.body.generation.to_le_bytes());
        seal_head(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let fields = check_head(bytes, TRAILER_MAGIC, SEGMENT_VERSION)?;
        Ok(Self {
            number: fields.u32(20),
            generation: fields.u64(24),
            directory: fields.u64(32),
            sections: fields.u32(40),
            directory_sum: fields.u32(44),
            records_sum: fields.u32(48),
            body: BodyRef {
                file: fields.u32(52),
                generation: fields.u64(56),
            },
            encrypted: is_encrypted(&fields),
            packed: is_packed(&fields),
        })
    }
}

/// What a segment holds of one group: a run of its messages, and where their tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryEntry {
    pub(crate) group: u64,
    /// First sequence.
    pub(crate) base: u64,
    /// Last sequence.
    pub(crate) last: u64,
    /// Highest time.
    pub(crate) max_time: i64,
    /// Accounted bytes.
    pub(crate) bytes: u64,
    /// Offset of the key part: entries, then names.
    pub(crate) keys_at: u64,
    /// Offset of the row part: rows, then the rows of each key.
    pub(crate) rows_at: u64,
    pub(crate) keys: u32,
    pub(crate) rows: u32,
    pub(crate) keys_sum: u32,
    pub(crate) rows_sum: u32,
    /// Offset of the first record, and behind the last one.
    pub(crate) records: (u32, u32),
    /// Times never fall from one row to the next.
    pub(crate) ascending: bool,
    /// How many rows more the file would have if all of it were rows like these: what else is in
    /// it, when it is an adopted journal file.
    pub(crate) garbage: u32,
}

impl DirectoryEntry {
    /// What an encrypted key part is bound to.
    pub(crate) fn bound(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        put(&mut bytes, 0, self.group.to_le_bytes());
        put(&mut bytes, 8, self.base.to_le_bytes());
        put(&mut bytes, 16, self.last.to_le_bytes());
        put(&mut bytes, 24, self.keys.to_le_bytes());
        put(&mut bytes, 28, self.rows.to_le_bytes());
        bytes
    }

    pub(crate) fn encode(&self) -> [u8; DIRECTORY_ENTRY] {
        let mut bytes = [0; DIRECTORY_ENTRY];
        put(&mut bytes, 0, self.group.to_le_bytes());
        put(&mut bytes, 8, self.base.to_le_bytes());
        put(&mut bytes, 16, self.last.to_le_bytes());
        put(&mut bytes, 24, self.max_time.to_le_bytes());
        put(&mut bytes, 32, self.bytes.to_le_bytes());
        put(&mut bytes, 40, self.keys_at.to_le_bytes());
        put(&mut bytes, 48, self.rows_at.to_le_bytes());
        put(&mut bytes, 56, self.keys.to_le_bytes());
        put(&mut bytes, 60, self.rows.to_le_bytes());
        put(&mut bytes, 64, self.keys_sum.to_le_bytes());
        put(&mut bytes, 68, self.rows_sum.to_le_bytes());
        put(&mut bytes, 72, self.records.0.to_le_bytes());
        put(&mut bytes, 76, self.records.1.to_le_bytes());
        let flags = if self.ascending { ASCENDING } else { 0 };
        put(&mut bytes, 80, flags.to_le_bytes());
        put(&mut bytes, 84, self.garbage.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let fields = Fields(bytes);
        Self {
            group: fields.u64(0),
            base: fields.u64(8),
            last: fields.u64(16),
            max_time: fields.i64(24),
            bytes: fields.u64(32),
            keys_at: fields.u64(40),
            rows_at: fields.u64(48),
            keys: fields.u32(56),
            rows: fields.u32(60),
            keys_sum: fields.u32(64),
            rows_sum: fields.u32(68),
            records: (fields.u32(72), fields.u32(76)),
            ascending: fields.u32(80) & ASCENDING != 0,
            garbage: fields.u32(84),
        }
    }
}

/// A key of a section. One more entry than there are keys closes names and rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyEntry {
    /// Where its name starts among the names.
    pub(crate) name: u32,
    /// Where its rows start among the rows of all keys.
    pub(crate) start: u32,
    /// Its first sequence, from the section's.
    pub(crate) first: u32,
    /// Its last sequence, from the section's.
    pub(crate) last: u32,
}

impl KeyEntry {
    pub(crate) fn encode(&self) -> [u8; KEY_ENTRY] {
        let mut bytes = [0; KEY_ENTRY];
        put(&mut bytes, 0, self.name.to_le_bytes());
        put(&mut bytes, 4, self.start.to_le_bytes());
        put(&mut bytes, 8, self.first.to_le_bytes());
        put(&mut bytes, 12, self.last.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let fields = Fields(bytes);
        Self {
            name: fields.u32(0),
            start: fields.u32(4),
            first: fields.u32(8),
            last: fields.u32(12),
        }
    }
}

/// A message in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) offset: u32,
    pub(crate) timestamp: i64,
    /// Its key among those of the section, by name.
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
            seq: base.saturating_add(u64::from(fields.u32(0))),
            offset: fields.u32(4),
            timestamp: fields.i64(8),
            key: fields.u32(16),
            size: fields.u32(20),
        }
    }
}
