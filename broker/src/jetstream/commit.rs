//! What waits for the journal: decisions that were logged and are not durable yet.
//!
//! One queue for all streams, in log order. An item leaves when its position is durable; only then is it applied
//! and its answer sent. If the store fails, nothing leaves any more.

use std::collections::VecDeque;

use jetwake_storage::{Location, Lsn};

use crate::jetstream::api::answer::Request;
use crate::jetstream::arena::{Arena, Span};
use crate::jetstream::io::{AccountId, Timestamp};
use crate::jetstream::replica::held::Parcel;

/// One decision that waits.
#[derive(Debug)]
pub(crate) struct Commit {
    /// It may be applied once everything before this position is durable; of a replicated stream: once this index of
    /// its group is committed.
    pub(crate) lsn: Lsn,
    /// The stream, which may be gone when the item leaves.
    pub(crate) stream: u32,
    /// What to do then.
    pub(crate) what: What,
}

/// What to do when a decision is durable.
#[derive(Debug)]
pub(crate) enum What {
    /// Insert a message and acknowledge it.
    Publish(Publish),
    /// Use up a sequence and acknowledge it.
    Skip {
        /// The sequence.
        seq: u64,
        /// When that was decided.
        timestamp: Timestamp,
        /// Where the acknowledgement goes.
        reply: Span,
    },
    /// Acknowledge a message again.
    Duplicate {
        /// The sequence of the first copy.
        seq: u64,
        /// Where the acknowledgement goes.
        reply: Span,
    },
    /// Send an acknowledgement that is ready.
    Ack {
        /// Where it goes.
        reply: Span,
        /// The JSON.
        body: Vec<u8>,
    },
    /// Apply a control entry, and answer the request that asked for it.
    Control {
        /// The entry's bytes.
        entry: Span,
        /// Who waits for the outcome.
        request: Option<Box<Request>>,
    },
    /// Send an answer that is ready.
    Answer {
        /// Who waits.
        request: Box<Request>,
        /// The JSON.
        body: Vec<u8>,
    },
    /// Delete the stream, and answer the request that asked for it.
    Drop {
        /// Who waits.
        request: Box<Request>,
    },
    /// Send what a consumer delivered.
    Deliver(Box<Parcel>),
    /// Send an empty message: the answer to an ack.
    Empty {
        /// The account to route in.
        account: AccountId,
        /// Where it goes.
        reply: Span,
    },
}

/// A publish that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Publish {
    /// Its sequence.
    pub(crate) seq: u64,
    /// Its time.
    pub(crate) timestamp: Timestamp,
    /// Where its bytes are on disk.
    pub(crate) location: Option<Location>,
    /// Its subject.
    pub(crate) key: Span,
    /// Its header block.
    pub(crate) headers: Span,
    /// Its payload.
    pub(crate) payload: Span,
    /// Where the acknowledgement goes, empty if nowhere.
    pub(crate) reply: Span,
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    queue: VecDeque<Commit>,
    /// The bytes that items refer to.
    pub(crate) bytes: Arena,
}

impl Commits {
    /// Adds an item. It also waits for what was queued before it, whatever its own position.
    pub(crate) fn push(&mut self, lsn: Lsn, stream: u32, what: What) {
        let lsn = self.last().map_or(lsn, |last| last.max(lsn));
        self.queue.push_back(Commit { lsn, stream, what });
    }

    /// The next item that is durable.
    pub(crate) fn pop(&mut self, durable: Lsn) -> Option<Commit> {
        if self.queue.front()?.lsn > durable {
            return None;
        }
        self.queue.pop_front()
    }

    /// The message with this sequence of a stream, if it waits.
    pub(crate) fn publish_of(&self, stream: u32, seq: u64) -> Option<&Publish> {
        let mut waiting = self.queue.iter().rev();
        waiting.find_map(|item| match &item.what {
            What::Publish(publish) if item.stream == stream && publish.seq == seq => Some(publish),
            _ => None,
        })
    }

    /// Whether at most `most` items wait, none of which may take long.
    pub(crate) fn are_few(&self, most: usize) -> bool {
        self.queue.len() <= most && self.queue.iter().all(|item| item.what.is_short())
    }

    /// The position that the last item waits for.
    pub(crate) fn last(&self) -> Option<Lsn> {
        self.queue.back().map(|last| last.lsn)
    }
}

impl What {
    /// Whether it is about one message. A control entry may be about all.
    fn is_short(&self) -> bool {
        match self {
            Self::Publish(_)
            | Self::Skip { .. }
            | Self::Duplicate { .. }
            | Self::Ack { .. }
            | Self::Deliver(_)
            | Self::Empty { .. } => true,
            Self::Control { .. } | Self::Answer { .. } | Self::Drop { .. } => false,
        }
    }

    /// Where the item's bytes end.
    pub(crate) fn end(&self) -> Option<u64> {
        match self {
            Self::Publish(publish) => Some(publish.reply.end()),
            Self::Skip { reply, .. }
            | Self::Duplicate { reply, .. }
            | Self::Ack { reply, .. }
            | Self::Empty { reply, .. } => Some(reply.end()),
            Self::Control { entry, .. } => Some(entry.end()),
            Self::Answer { .. } | Self::Drop { .. } | Self::Deliver(_) => None,
        }
    }
}
