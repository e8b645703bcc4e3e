//! Key blocks: the key of an encrypted file, wrapped by the store's key.

use super::{Fields, put};

/// Length of a file's key.
pub(crate) const FILE_KEY: usize = 32;
/// What the cipher adds to whatever it seals.
pub(crate) const KEY_TAG: usize = 16;
/// Size of a key block.
pub(crate) const KEY_BLOCK: usize = 32 + FILE_KEY + KEY_TAG;
/// Where the first copy is, in every kind of file.
pub(crate) const KEY_BLOCK_AT: usize = 64;

/// Where the second copy is in a file of this size whose last 64 bytes are a trailer.
pub(crate) fn key_block_behind(size: u64) -> u64 {
    size.saturating_sub((KEY_BLOCK_AT + KEY_BLOCK) as u64)
}

const MAGIC: [u8; 4] = *b"JWKB";

/// A wrapped key, with everything that is needed to unwrap it but the store's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyBlock {
    pub(crate) cipher: u32,
    pub(crate) number: u32,
    pub(crate) generation: u64,
    pub(crate) wrapped: [u8; FILE_KEY + KEY_TAG],
}

impl KeyBlock {
    pub(crate) fn encode(&self) -> [u8; KEY_BLOCK] {
        let mut bytes = [0; KEY_BLOCK];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 8, self.associated());
        put(&mut bytes, 32, self.wrapped);
        let sum = crc32c::crc32c(&bytes[8..]);
        put(&mut bytes, 4, sum.to_le_bytes());
        bytes
    }

    /// Decodes the block at the start of `bytes`, if it proves itself.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..KEY_BLOCK)?;
        let fields = Fields(bytes);
        if bytes[..4] != MAGIC || fields.u32(4) != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        Some(Self {
            cipher: fields.u32(8),
            number: fields.u32(12),
            generation: fields.u64(16),
            wrapped: fields.array(32),
        })
    }

    /// What the wrapped key is bound to: bytes 8..32 of the block.
    pub(crate) fn associated(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        put(&mut bytes, 0, self.cipher.to_le_bytes());
        put(&mut bytes, 4, self.number.to_le_bytes());
        put(&mut bytes, 8, self.generation.to_le_bytes());
        bytes
    }

    /// The nonce of the wrapping: a generation is one file's for one life.
    pub(crate) fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        put(&mut nonce, 0, self.generation.to_le_bytes());
        put(&mut nonce, 8, self.number.to_le_bytes());
        nonce
    }
}
