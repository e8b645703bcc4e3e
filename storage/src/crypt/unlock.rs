//! Finding the keys of files that are there, and moving them from the previous store key to the
//! current one.
//!
//! A change of the store's key rewrites nothing but key blocks. Both copies of a block are
//! replaced in one go: each lies in a sector of its own, so that after a crash each is the old or
//! the new one, and either can be unwrapped.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::{Cipher, Encryption, FileKey, KeyError, Secret};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{CHECKPOINT, Files, JOURNAL, SEGMENT, file_number};
use crate::format::{
    FILE_HEADER, HEADER_COPIES, KEY_BLOCK, KEY_BLOCK_AT, KeyBlock, key_block_behind,
};

/// The key of a file, if it has one.
pub(crate) type Unlocked = Option<Arc<FileKey>>;

impl Encryption {
    fn unwrap(&self, block: &KeyBlock) -> Option<(Secret, Cipher, bool)> {
        let cipher = Cipher::of(block.cipher)?;
        if let Some(secret) = self.key.unwrap(cipher, block) {
            return Some((secret, cipher, true));
        }
        let secret = self.previous.as_ref()?.unwrap(cipher, block)?;
        Some((secret, cipher, false))
    }
}

/// The key of a file of this number, whose key blocks are copies of each other; `None` when no
/// block is there.
///
/// # Errors
/// A block is there and none of the store's keys fits.
pub(crate) fn unlock(
    encryption: Option<&Encryption>,
    number: u32,
    copies: [&[u8]; 2],
) -> Result<Unlocked, KeyError> {
    let mut refused = None;
    for block in copies.into_iter().filter_map(KeyBlock::decode) {
        if block.number != number {
            continue;
        }
        match encryption.map(|encryption| encryption.unwrap(&block)) {
            Some(Some((secret, cipher, _))) => {
                return Ok(Some(Arc::new(FileKey::new(cipher, &secret))));
            }
            Some(None) => refused = Some(KeyError::Wrong),
            None => refused = Some(KeyError::NotEnabled),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Checks that the key of every file can be had, and wraps those anew that the previous key
/// wrapped.
///
/// # Errors
/// A key fits none of the store's: nothing was changed then. Or the disk refused.
pub(crate) fn unlock_all(files: &Files, names: &[String]) -> Result<(), StoreError> {
    let Some(encryption) = files.encryption() else {
        return Ok(());
    };
    let mut outdated = Vec::new();
    for name in names {
        let of_kind = |kind| file_number(kind, name);
        let journal = of_kind(JOURNAL);
        let Some(number) = journal
            .or_else(|| of_kind(SEGMENT))
            .or_else(|| of_kind(CHECKPOINT))
        else {
            continue;
        };
        let failed = |error| StoreError::io("read", name, error);
        let file = files.disk.open(&files.path(name)).map_err(failed)?;
        let mut blocks = Vec::new();
        for at in places(&*file, journal.is_some()).map_err(failed)? {
            let mut bytes = [0; KEY_BLOCK];
            match file.read_at(at, &mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                read => read.map_err(failed)?,
            }
            let block = KeyBlock::decode(&bytes).filter(|block| block.number == number);
            blocks.extend(block.map(|block| (at, block)));
        }
        let unwrapped = |(_, block): &(u64, KeyBlock)| Some((encryption.unwrap(block)?, *block));
        let Some(((secret, cipher, _), block)) = blocks.iter().find_map(unwrapped) else {
            match blocks.first() {
                Some(_) => return Err(KeyError::Wrong.into()),
                None => continue,
            }
        };
        let current = |(_, block): &(u64, KeyBlock)| encryption.key.unwrap(cipher, block).is_some();
        if !blocks.iter().all(current) {
            let (number, generation) = (block.number, block.generation);
            let new = encryption.key.wrap(cipher, number, generation, &secret);
            let places = blocks.into_iter().map(|(at, _)| at);
            outdated.push((name, places, new.encode()));
        }
    }
    for (name, places, block) in outdated {
        let failed = |error| StoreError::io("write", name, error);
        let file = files.disk.open(&files.path(name)).map_err(failed)?;
        for at in places {
            file.write_at(at, &mut [IoSlice::new(&block)])
                .map_err(failed)?;
        }
        file.sync_data().map_err(failed)?;
    }
    Ok(())
}

/// Where the copies of a file's key block are.
fn places(file: &dyn DiskFile, journal: bool) -> io::Result<[u64; 2]> {
    let first = KEY_BLOCK_AT as u64;
    if journal {
        return Ok([first, u64::from(HEADER_COPIES[1]) + FILE_HEADER as u64]);
    }
    Ok([first, key_block_behind(file.size()?)])
}
