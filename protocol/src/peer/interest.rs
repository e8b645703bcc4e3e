//! Changes of what a node listens to, in one account.
//!
//! An entry adds to or takes from a count that the receiver keeps for each filter, or for each filter and queue
//! group. Sums do not depend on the order of their parts: whoever changes something on the sending node sends it
//! itself, and no lock is needed to keep the changes of different connections in order.

use super::fields::{BodyError, Reader};

/// The entry is about a queue group.
const QUEUE: u8 = 1;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    /// The subject, with wildcards.
    pub filter: &'b [u8],
    /// The queue group; plain subscriptions without one.
    pub queue: Option<&'b [u8]>,
    /// What is added to the count.
    pub delta: i32,
}

/// A body that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest<'b> {
    /// The account's name.
    pub account: &'b [u8],
    entries: &'b [u8],
}

impl<'b> Interest<'b> {
    /// Begins a body.
    pub fn begin(out: &mut Vec<u8>, account: &[u8]) {
        super::fields::bytes(out, account);
    }

    /// Appends an entry to a body that was begun.
    pub fn append(out: &mut Vec<u8>, entry: &Entry<'_>) {
        let flags = if entry.queue.is_some() { QUEUE } else { 0 };
        out.push(flags);
        out.extend_from_slice(&entry.delta.to_le_bytes());
        super::fields::bytes(out, entry.filter);
        if let Some(queue) = entry.queue {
            super::fields::bytes(out, queue);
        }
    }

    /// Reads a body up to its entries.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(body: &'b [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader(body);
        let account = reader.bytes()?;
        Ok(Self {
            account,
            entries: reader.0,
        })
    }

    /// The entries, in the order in which they were made; the last one may be an error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'b>, BodyError>> + use<'b> {
        let mut reader = Reader(self.entries);
        std::iter::from_fn(move || {
            if reader.0.is_empty() {
                return None;
            }
            let entry = entry(&mut reader);
            if entry.is_err() {
                reader.0 = &[];
            }
            Some(entry)
        })
    }
}

fn entry<'b>(reader: &mut Reader<'b>) -> Result<Entry<'b>, BodyError> {
    let flags = reader.u8()?;
    if flags & !QUEUE != 0 {
        return Err(BodyError::Unknown);
    }
    let delta = reader.i32()?;
    let filter = reader.bytes()?;
    let queue = if flags & QUEUE != 0 {
        Some(reader.bytes()?)
    } else {
        None
    };
    Ok(Entry {
        filter,
        queue,
        delta,
    })
}
