//! The JetStream core with what a pass over it needs.
//!
//! There is one [`Desk`] and whoever holds it is the JetStream thread for that long. The thread itself runs whole
//! passes ([`Desk::pass`]). While it rests, the mailbox lends the desk to guests, which saves them the way through
//! the mailbox and back: a connection's reader that brings a few publishes, the disk thread that has a few
//! acknowledgements to let go. Guests do nothing that reads from disk or takes long: they leave deliveries,
//! requests and maintenance to the thread.

use bytes::Bytes;

use super::outbox::ShardOutbox;
use crate::clock::Clock;
use crate::jetstream::JetStream;
use crate::jetstream::io::{Event, NodeId, Timestamp};

use crate::server::InboundBatch;

/// A pass of the thread is due after this many guests: it looks after what has no event of its own.
const GUESTS_MAX: u32 = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) jetstream: JetStream,
    pub(super) out: ShardOutbox,
    pub(super) clock: Clock,
    guests: u32,
}

impl Desk {
    pub(super) fn new(jetstream: JetStream, out: ShardOutbox, clock: Clock) -> Self {
        Self {
            jetstream,
            out,
            clock,
            guests: 0,
        }
    }

    /// Whether a reader may bring this: short work that reads nothing from disk.
    pub(super) fn serves(&self, batch: &InboundBatch) -> bool {
        batch
            .iter()
            .all(|message| self.jetstream.is_short(message.tag))
    }

    /// A reader's visit: decides on its messages and hands them to the disk thread.
    pub(super) fn take_batch(&mut self, batch: &InboundBatch) {
        let now = self.clock.now();
        self.read_batch(batch, now);
        self.leave(now);
    }

    /// All messages of a batch to the core.
    pub(super) fn read_batch(&mut self, batch: &InboundBatch, now: Timestamp) {
        for message in batch.iter() {
            self.jetstream
                .handle(now, Event::Message(message), &mut self.out);
        }
    }

    /// A link's visit: hears what another node has to say, and hands what follows to the disk thread.
    pub(super) fn take_frames(&mut self, from: NodeId, frames: &[Bytes]) {
        let now = self.clock.now();
        for frame in frames {
            self.jetstream
                .handle(now, Event::Peer { from, frame }, &mut self.out);
        }
        self.leave(now);
    }

    /// The disk thread's visit: lets go what waited for the journal.
    pub(super) fn take_durable(&mut self, lsn: jetwake_storage::Lsn) {
        let now = self.clock.now();
        self.jetstream
            .handle(now, Event::Durable(lsn), &mut self.out);
        self.leave(now);
    }

    fn leave(&mut self, now: Timestamp) {
        self.guests += 1;
        self.jetstream.handle(now, Event::Seal, &mut self.out);
        self.out.flush();
    }

    /// Ends a pass of the thread.
    pub(super) fn end_pass(&mut self, now: Timestamp) {
        self.guests = 0;
        self.jetstream.handle(now, Event::BatchEnd, &mut self.out);
        self.out.flush();
    }

    /// Whether the thread has to make a pass, although nothing is due and no mail came.
    pub(super) fn wants_pass(&self) -> bool {
        self.guests >= GUESTS_MAX || self.jetstream.wants_batch_end()
    }

    /// When the thread has to make a pass.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.jetstream.deadline()
    }

    /// Whether the deadline has passed.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }
}
