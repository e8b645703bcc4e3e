//! Checkpoint files: header, section headers, and the numbers inside section bodies.

use super::{Fields, HeadError, Seed, check_head, features, head, is_encrypted, put, seal_head};
use crate::position::Lsn;

/// Size of a checkpoint's header and of a section's.
pub(crate) const CHECKPOINT_HEADER: usize = 64;

/// The version of checkpoint files that this code writes and reads.
const CHECKPOINT_VERSION: u16 = 2;
const FILE_MAGIC: &[u8; 8] = b"JWCHKP\r\n";
const SECTION_MAGIC: [u8; 4] = *b"JWGS";

/// The head of a checkpoint file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckpointHeader {
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) sections: u32,
    /// Newest journal file that is not needed any more.
    pub(crate) retired: u32,
    pub(crate) durable: Lsn,
    pub(crate) encrypted: bool,
}

impl CheckpointHeader {
    pub(crate) fn encode(&self) -> [u8; CHECKPOINT_HEADER] {
        let features = features(self.encrypted);
        let mut bytes = head(
            FILE_MAGIC,
            CHECKPOINT_VERSION,
            self.number,
            self.generation,
            features,
        );
        put(&mut bytes, 32, self.sections.to_le_bytes());
        put(&mut bytes, 36, self.retired.to_le_bytes());
        put(&mut bytes, 40, self.durable.0.to_le_bytes());
        seal_head(&mut bytes);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeadError> {
        let fields = check_head(bytes, FILE_MAGIC, CHECKPOINT_VERSION)?;
        Ok(Self {
            number: fields.u32(20),
            generation: fields.u64(24),
            sections: fields.u32(32),
            retired: fields.u32(36),
            durable: Lsn(fields.u64(40)),
            encrypted: is_encrypted(&fields),
        })
    }
}

/// What a section says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// The state of a group.
    Group,
    /// The group exists no more.
    Dropped,
    /// Records that are to be overwritten, of any group.
    Erasures,
}

impl SectionKind {
    fn code(self) -> u32 {
        match self {
            Self::Group => 0,
            Self::Dropped => 1,
            Self::Erasures => 2,
        }
    }

    fn parse(code: u32) -> Option<Self> {
        let all = [Self::Group, Self::Dropped, Self::Erasures];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// The head of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionHeader {
    pub(crate) group: u64,
    pub(crate) length: u32,
    pub(crate) body_sum: u32,
    pub(crate) kind: SectionKind,
    pub(crate) covered: Lsn,
    pub(crate) applied: Option<u64>,
}

impl SectionHeader {
    /// What an encrypted body is bound to: its encoded header without the checksums.
    pub(crate) fn bound(header: &[u8]) -> [u8; CHECKPOINT_HEADER - 8] {
        let mut bound = Fields(header).array(8);
        put(&mut bound, 20 - 8, 0_u32.to_le_bytes());
        bound
    }

    pub(crate) fn encode(&self, generation: u64, offset: u32) -> [u8; CHECKPOINT_HEADER] {
        let mut bytes = [0; CHECKPOINT_HEADER];
        put(&mut bytes, 0, SECTION_MAGIC);
        put(&mut bytes, 8, self.group.to_le_bytes());
        put(&mut bytes, 16, self.length.to_le_bytes());
        put(&mut bytes, 20, self.body_sum.to_le_bytes());
        put(&mut bytes, 24, self.kind.code().to_le_bytes());
        put(&mut bytes, 32, self.covered.0.to_le_bytes());
        put(&mut bytes, 40, generation.to_le_bytes());
        let applied = self.applied.map_or(0, |index| index.saturating_add(1));
        put(&mut bytes, 48, applied.to_le_bytes());
        let sum = Seed::new(generation).sum(offset, &bytes[8..]);
        put(&mut bytes, 4, sum.to_le_bytes());
        bytes
    }

    /// Decodes the section at the start of `bytes`, which lie at `offset`, with its body.
    pub(crate) fn decode(bytes: &[u8], offset: u32) -> Option<(Self, &[u8])> {
        let (header, rest) = bytes.split_at_checked(CHECKPOINT_HEADER)?;
        if header[..4] != SECTION_MAGIC {
            return None;
        }
        let fields = Fields(header);
        let sum = Seed::new(fields.u64(40)).sum(offset, &header[8..]);
        let section = Self {
            group: fields.u64(8),
            length: fields.u32(16),
            body_sum: fields.u32(20),
            kind: SectionKind::parse(fields.u32(24))?,
            covered: Lsn(fields.u64(32)),
            applied: fields.u64(48).checked_sub(1),
        };
        let body = rest.get(..section.length as usize)?;
        let good = fields.u32(4) == sum && crc32c::crc32c(body) == section.body_sum;
        good.then_some((section, body))
    }
}

/// Appends a LEB128 number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a LEB128 number off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
