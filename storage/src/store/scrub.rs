//! Reading what nobody reads, so that rot is found while something can still be done about it.
//!
//! The owner plans small pieces and says when; a job reads and checks them on any thread. A piece
//! names places of messages that are alive, so one that moved or went meanwhile may be reported
//! wrongly: whoever takes the report reads those messages again.

use std::sync::Arc;

use super::Store;
use crate::files::Files;
use crate::messages::{FileMessages, Location, MessageStore as _};

/// Messages to be read; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct ScrubJob {
    files: Arc<Files>,
    items: Vec<(u64, u64, Location)>,
    bytes: u64,
    most: u64,
}

/// What a scrub found.
#[derive(Debug)]
pub struct Scrubbed {
    /// Messages that could not be read: group and sequence.
    pub suspects: Vec<(u64, u64)>,
}

impl Store {
    /// Begins a piece of about `most` bytes.
    #[must_use]
    pub fn begin_scrub(&self, most: u64) -> ScrubJob {
        ScrubJob {
            files: Arc::clone(&self.files),
            items: Vec::new(),
            bytes: 0,
            most,
        }
    }
}

impl ScrubJob {
    /// Adds a group's messages from `from` on, as far as the piece goes. Returns where the next
    /// piece goes on, `None` behind the last message.
    pub fn add(&mut self, group: u64, messages: &FileMessages, from: u64) -> Option<u64> {
        let mut next = messages.next(from);
        while let Some(meta) = next {
            if self.is_full() {
                return Some(meta.seq);
            }
            self.bytes += u64::from(meta.size);
            let location = messages.location(meta.seq);
            self.items
                .extend(location.map(|location| (group, meta.seq, location)));
            next = messages.next(meta.seq + 1);
        }
        None
    }

    /// Whether the piece is as long as it should be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= self.most
    }

    /// Reads; blocks on the disk.
    #[must_use]
    pub fn run(self) -> Scrubbed {
        let mut suspects = Vec::new();
        for (group, seq, location) in self.items {
            if self.files.lend_record(seq, location, |_, _| ()).is_err() {
                suspects.push((group, seq));
            }
        }
        Scrubbed { suspects }
    }
}
