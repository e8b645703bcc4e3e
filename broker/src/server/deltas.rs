//! Changes of what this node listens to, on their way to the other nodes.
//!
//! Whoever changes something sends the change itself, before anything else that it sends: a request's answer finds
//! its way back. The receiver adds the changes up, so that those of different connections may overtake each other.

use jetwake_protocol::peer::Kind;
use jetwake_protocol::peer::interest::{Entry, Interest};

use super::Accounts;
use crate::mesh::Frames;

/// From this size on a frame is closed and another one begun.
const FRAME: usize = 256 << 10;

/// Changes in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas {
    bytes: Vec<u8>,
    entries: Vec<Delta>,
}

#[derive(Clone, Copy, Debug)]
struct Delta {
    account: u32,
    /// The account's, from this change on.
    generation: u64,
    delta: i32,
    /// Lengths of what follows in `bytes`: filter, and queue if there is one.
    filter: usize,
    queue: Option<usize>,
}

impl Deltas {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    pub(super) fn push(
        &mut self,
        (account, generation): (u32, u64),
        filter: &[u8],
        queue: Option<&[u8]>,
        delta: i32,
    ) {
        self.bytes.extend_from_slice(filter);
        self.bytes.extend_from_slice(queue.unwrap_or_default());
        self.entries.push(Delta {
            account,
            generation,
            delta,
            filter: filter.len(),
            queue: queue.map(<[u8]>::len),
        });
    }

    /// Adds the changes of others.
    pub(super) fn extend(&mut self, others: &Self) {
        self.bytes.extend_from_slice(&others.bytes);
        self.entries.extend_from_slice(&others.entries);
    }

    /// Appends frames with all changes that are newer than what the receiver was told: for each account, what it was
    /// told is that of this generation.
    pub(super) fn append(&self, frames: &mut Frames, accounts: &Accounts, told: &[u64]) {
        let mut writer = Writer::new(frames, accounts);
        let mut at = 0;
        for entry in &self.entries {
            let (filter, rest) = self.bytes[at..].split_at(entry.filter);
            let queue = entry.queue.map(|length| &rest[..length]);
            at += entry.filter + entry.queue.unwrap_or(0);
            let told = told.get(entry.account as usize);
            if told.is_none_or(|told| entry.generation > *told) {
                let delta = entry.delta;
                writer.push(
                    entry.account,
                    &Entry {
                        filter,
                        queue,
                        delta,
                    },
                );
            }
        }
        writer.close();
    }
}

/// Writes entries into frames.
pub(super) struct Writer<'f> {
    frames: &'f mut Frames,
    accounts: &'f Accounts,
    account: u32,
    body: Vec<u8>,
}

impl<'f> Writer<'f> {
    pub(super) fn new(frames: &'f mut Frames, accounts: &'f Accounts) -> Self {
        Self {
            frames,
            accounts,
            account: 0,
            body: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, account: u32, entry: &Entry<'_>) {
        if self.account != account || self.body.len() >= FRAME {
            self.close();
        }
        if self.body.is_empty() {
            let Some(known) = self.accounts.get(account) else {
                return;
            };
            self.account = account;
            Interest::begin(&mut self.body, known.name.as_bytes());
        }
        Interest::append(&mut self.body, entry);
    }

    pub(super) fn close(&mut self) {
        if !self.body.is_empty() {
            // One filter is far smaller than a frame may be.
            self.frames.push(Kind::INTEREST, &self.body);
            self.body.clear();
        }
    }
}
