//! Encryption at rest: the keys of a store and of its files.
//!
//! Every file has a key of its own for each life it has, derived from a secret that the shell drew
//! for this opening and wrapped by the store's key in the file's key block. What it seals is bound
//! to its place in that file, so a nonce, which is the place, serves once. This crate draws no
//! randomness itself.

pub(crate) mod scratch;
mod unlock;

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;

use crate::format::{FILE_KEY, KEY_TAG, KeyBlock, Record, RecordHeader, Seed, encode_sealed};

pub(crate) use unlock::{Unlocked, unlock, unlock_all};

/// What sealing adds to a length.
pub(crate) const TAG: usize = KEY_TAG;

/// How new files are encrypted; both take keys of 256 bits and add 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// AES-256-GCM.
    Aes,
    /// ChaCha20-Poly1305.
    #[default]
    ChaCha,
}

impl Cipher {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes => &AES_256_GCM,
            Self::ChaCha => &CHACHA20_POLY1305,
        }
    }

    /// The number in a key block.
    fn number(self) -> u32 {
        match self {
            Self::Aes => 1,
            Self::ChaCha => 2,
        }
    }

    fn of(number: u32) -> Option<Self> {
        [Self::Aes, Self::ChaCha]
            .into_iter()
            .find(|cipher| cipher.number() == number)
    }
}

/// Why an encrypted file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key was given.
    #[error("encryption not enabled")]
    NotEnabled,
    /// None of the keys given is the one that it was written with.
    #[error("unable to recover keys")]
    Wrong,
}

/// The keys of a store; nothing of them is ever printed.
#[derive(Clone)]
pub struct Encryption {
    cipher: Cipher,
    key: Arc<StoreKey>,
    previous: Option<Arc<StoreKey>>,
    /// What the keys of new files are derived from.
    entropy: Arc<hmac::Key>,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption")
            .field("cipher", &self.cipher)
            .finish_non_exhaustive()
    }
}

impl Encryption {
    /// Writes with `key`, and reads what was written with it or with `previous`. `entropy` comes
    /// from the system's source of randomness, anew for each opening.
    #[must_use]
    pub fn new(cipher: Cipher, key: &[u8], previous: Option<&[u8]>, entropy: &[u8; 32]) -> Self {
        Self {
            cipher,
            key: Arc::new(StoreKey::new(key)),
            previous: previous.map(|key| Arc::new(StoreKey::new(key))),
            entropy: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, entropy)),
        }
    }

    /// A key for a file that begins, and the block that keeps it.
    pub(crate) fn create(&self, number: u32, generation: u64) -> (FileKey, KeyBlock) {
        let mut context = hmac::Context::with_key(&self.entropy);
        context.update(b"jetwake file key 1");
        context.update(&number.to_le_bytes());
        context.update(&generation.to_le_bytes());
        let secret = Secret::of(&context.sign());
        let block = self.key.wrap(self.cipher, number, generation, &secret);
        (FileKey::new(self.cipher, &secret), block)
    }
}

/// 32 bytes that are wiped.
struct Secret(Zeroizing<[u8; FILE_KEY]>);

impl Secret {
    fn of(tag: &hmac::Tag) -> Self {
        let mut bytes = Zeroizing::new([0; FILE_KEY]);
        bytes.copy_from_slice(tag.as_ref());
        Self(bytes)
    }
}

/// The key that wraps the keys of files, in one form for each cipher.
struct StoreKey {
    aes: FileKey,
    chacha: FileKey,
}

impl StoreKey {
    fn new(key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let wrapping = |cipher: Cipher| {
            let mut context = hmac::Context::with_key(&key);
            context.update(b"jetwake store key 1");
            context.update(&cipher.number().to_le_bytes());
            FileKey::new(cipher, &Secret::of(&context.sign()))
        };
        Self {
            aes: wrapping(Cipher::Aes),
            chacha: wrapping(Cipher::ChaCha),
        }
    }

    fn of(&self, cipher: Cipher) -> &FileKey {
        match cipher {
            Cipher::Aes => &self.aes,
            Cipher::ChaCha => &self.chacha,
        }
    }

    fn wrap(&self, cipher: Cipher, number: u32, generation: u64, secret: &Secret) -> KeyBlock {
        let mut block = KeyBlock {
            cipher: cipher.number(),
            number,
            generation,
            wrapped: [0; FILE_KEY + KEY_TAG],
        };
        let mut wrapped = Vec::with_capacity(block.wrapped.len());
        wrapped.extend_from_slice(&*secret.0);
        let nonce = block.nonce();
        self.of(cipher)
            .seal_with(nonce, &block.associated(), &mut wrapped, 0);
        block.wrapped.copy_from_slice(&wrapped);
        block
    }

    fn unwrap(&self, cipher: Cipher, block: &KeyBlock) -> Option<Secret> {
        let mut bytes = Zeroizing::new(block.wrapped);
        let (nonce, associated) = (block.nonce(), block.associated());
        let opened = self
            .of(cipher)
            .open_with(nonce, &associated, &mut bytes[..])?;
        let mut secret = Secret(Zeroizing::new([0; FILE_KEY]));
        secret.0.copy_from_slice(opened);
        Some(secret)
    }
}

/// The key of one file in one of its lives.
pub(crate) struct FileKey(Box<LessSafeKey>);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileKey").finish_non_exhaustive()
    }
}

impl FileKey {
    #[expect(
        clippy::expect_used,
        reason = "the length is the one that both ciphers take"
    )]
    fn new(cipher: Cipher, secret: &Secret) -> Self {
        let key = UnboundKey::new(cipher.algorithm(), &*secret.0);
        Self(Box::new(LessSafeKey::new(key.expect("a key of 32 bytes"))))
    }

    /// Encrypts what `out` holds from `from` on, which will lie at `place` of the file, and appends
    /// the tag. A place is sealed once in the life of the file.
    pub(crate) fn seal(&self, place: u32, associated: &[u8], out: &mut Vec<u8>, from: usize) {
        self.seal_with(at(place), associated, out, from);
    }

    /// Decrypts in place what was sealed for `place`.
    pub(crate) fn open<'a>(
        &self,
        place: u32,
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        self.open_with(at(place), associated, sealed)
    }

    /// Appends a record that will lie at `offset` of the file.
    pub(crate) fn encode_record(
        &self,
        out: &mut Vec<u8>,
        seed: Seed,
        offset: u32,
        record: &Record<'_>,
    ) {
        encode_sealed(out, seed, offset, record, TAG, |bound, out, from| {
            self.seal(offset, bound, out, from);
        });
    }

    /// Decrypts the record at the start of `bytes` into `into`, as it would lie in a plain file but
    /// for its checksums. `header` is its header and was checked, as was the body.
    pub(crate) fn open_record(
        &self,
        header: RecordHeader,
        bytes: &[u8],
        offset: u32,
        into: &mut Vec<u8>,
    ) -> Option<RecordHeader> {
        header.open(bytes, into, |bound, sealed| {
            self.open(offset, bound, sealed).map(|opened| opened.len())
        })
    }

    fn seal_with(&self, nonce: [u8; 12], associated: &[u8], out: &mut Vec<u8>, from: usize) {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let associated = Aad::from(associated);
        let sealed = self
            .0
            .seal_in_place_separate_tag(nonce, associated, &mut out[from..]);
        match sealed {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            // Longer than the cipher allows, which nothing of ours is: nothing plain may remain.
            Err(_) => {
                out[from..].fill(0);
                out.resize(out.len() + TAG, 0);
            }
        }
    }

    fn open_with<'a>(
        &self,
        nonce: [u8; 12],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_in_place(nonce, Aad::from(associated), sealed)
            .ok()
    }
}

/// The nonce of a place.
fn at(place: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&place.to_le_bytes());
    nonce
}
