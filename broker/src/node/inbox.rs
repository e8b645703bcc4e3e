//! The mailbox of the JetStream thread: connections, the disk thread and background jobs put mail in, the thread
//! takes everything out at once. While the thread rests, the mailbox keeps its [`Desk`] and lends it to guests.
//!
//! Bound: [`HIGH_WATER`] bytes of messages and of other nodes' frames. Beyond it a reader waits before it reads on, so the
//! publisher's socket fills up: backpressure instead of memory. Mail that is not from clients (durability, jobs,
//! interest) is never refused; there is little of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use jetwake_storage::Lsn;

use super::desk::Desk;
use crate::jetstream::JetStream;
use bytes::Bytes;

use crate::jetstream::io::{JobDone, NodeId, Outbox, Peer, Timestamp};
use crate::jetstream::tag::{AccountId, Tag};
use crate::server::{InboundBatch, JetStreamInbox};

/// Bytes of waiting messages from which readers wait.
const HIGH_WATER: usize = 32 << 20;
/// Most messages and bytes that a connection's reader handles itself.
const GUEST_MESSAGES: usize = 16;
const GUEST_BYTES: usize = 16 << 10;
/// Most bytes of frames that a link's reader handles itself.
const GUEST_FRAMES: usize = 32 << 10;
/// Emptied batches kept for reuse, and the largest worth keeping.
const SPARES: usize = 4;
const SPARE_BYTES: usize = 128 << 10;
/// Most decisions that the disk thread lets go itself.
const GUEST_COMMITS: usize = 64;

/// A look at the core from outside.
pub(super) type Look = dyn FnOnce(&mut JetStream, Timestamp, &mut dyn Outbox) + Send;

/// What is put into the mailbox.
pub(super) enum Mail {
    /// What one read buffer of a connection produced.
    Batch(InboundBatch),
    /// The journal is durable up to here.
    Durable(Lsn),
    /// A watch turned: ask the router how it stands.
    Watch { account: AccountId, tag: Tag },
    /// Another node can be reached.
    PeerUp(Peer),
    /// Another node cannot be reached any more.
    PeerDown(NodeId),
    /// What another node's core says.
    Frames { from: NodeId, frames: Vec<Bytes> },
    /// A background job is done.
    Job(JobDone),
    /// A write or sync failed: the store is poisoned.
    StoreFailed(String),
    /// Somebody wants to look at the core from outside (monitoring).
    Look(Box<Look>),
    /// Somebody waits until nothing is due and nothing waits for the disk.
    Settle(mpsc::Sender<()>),
    /// The server will stop before long.
    LameDuck,
    /// The end.
    Stop,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch(_) => "Batch",
            Self::Durable(_) => "Durable",
            Self::Watch { .. } => "Watch",
            Self::PeerUp(_) => "PeerUp",
            Self::PeerDown(_) => "PeerDown",
            Self::Frames { .. } => "Frames",
            Self::Job(_) => "Job",
            Self::StoreFailed(_) => "StoreFailed",
            Self::Look(_) => "Look",
            Self::Settle(_) => "Settle",
            Self::LameDuck => "LameDuck",
            Self::Stop => "Stop",
        })
    }
}

/// The mailbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    mail: Vec<Mail>,
    bytes: usize,
    /// Emptied batches: their memory is reused.
    spares: Vec<InboundBatch>,
    /// Here while the thread sleeps and no guest works.
    desk: Option<Box<Desk>>,
    /// A guest has the desk.
    away: bool,
    /// When the thread will wake up by itself.
    deadline: Option<Timestamp>,
    /// The thread waits for mail or for its deadline.
    sleeping: bool,
    /// The thread waits for a guest to give the desk back.
    awaited: bool,
    closed: bool,
}

/// The desk in the hands of a guest.
struct Visit<'a> {
    inbox: &'a Inbox,
    desk: Option<Box<Desk>>,
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The core died half-way through an event.
            self.inbox.close();
        } else if let Some(desk) = self.desk.take() {
            self.inbox.give_back(desk);
        }
    }
}

impl Inbox {
    /// Puts mail in and wakes the thread if it sleeps. Mail to a closed mailbox is dropped.
    pub(super) fn post(&self, mail: Mail) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.bytes += match &mail {
            Mail::Batch(batch) => batch.bytes(),
            Mail::Frames { frames, .. } => frames.iter().map(Bytes::len).sum(),
            _ => 0,
        };
        queue.mail.push(mail);
        // A guest wakes the thread when it gives the desk back.
        let wake = queue.sleeping && !queue.away;
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// Puts a batch in and leaves an empty one in its place.
    fn post_batch(&self, batch: &mut InboundBatch) {
        let spare = self.queue.lock().spares.pop();
        let full = std::mem::replace(batch, spare.unwrap_or_default());
        self.post(Mail::Batch(full));
    }

    /// Takes back a batch that was worked through.
    pub(super) fn recycle(&self, mut batch: InboundBatch) {
        if batch.capacity() > SPARE_BYTES {
            return;
        }
        batch.clear();
        let mut queue = self.queue.lock();
        if queue.spares.len() < SPARES {
            queue.spares.push(batch);
        }
    }

    /// Takes what another node's core says: handles it at once if it is little and nobody else works.
    pub(super) fn hear(&self, from: NodeId, frames: &mut Vec<Bytes>) {
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        if bytes <= GUEST_FRAMES
            && let Some(mut visit) = self.visit()
            && let Some(desk) = visit.desk.as_mut()
        {
            desk.take_frames(from, frames);
            return frames.clear();
        }
        let frames = std::mem::take(frames);
        self.post(Mail::Frames { from, frames });
    }

    /// Lets go what waited for the journal: at once if that is little and nobody else works, otherwise by mail.
    pub(super) fn durable(&self, lsn: Lsn) {
        if let Some(mut visit) = self.visit()
            && let Some(desk) = visit.desk.as_mut()
            && desk.jetstream.waits_for_few(GUEST_COMMITS)
        {
            return desk.take_durable(lsn);
        }
        self.post(Mail::Durable(lsn));
    }

    /// Blocks until the thread has done everything that is due and all of it is stored: its clock was moved.
    pub(super) fn settle(&self) {
        let (settled, wait) = mpsc::channel();
        self.post(Mail::Settle(settled));
        // An error is a mailbox that was closed: nothing is due there any more.
        let _ = wait.recv();
    }

    /// Nobody takes mail any more.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        queue.bytes = 0;
        let left = (std::mem::take(&mut queue.mail), queue.desk.take());
        drop(queue);
        drop(left);
        self.arrived.notify_one();
        self.drained.notify_waiters();
    }

    /// Waits for mail or for the desk's deadline, and moves all mail into `into`, which must be empty. Meanwhile
    /// guests may use the desk, if it is `lent`. `None` if a guest died with it.
    pub(super) fn take(
        &self,
        desk: Box<Desk>,
        lent: bool,
        into: &mut Vec<Mail>,
    ) -> Option<Box<Desk>> {
        let deadline = desk.deadline();
        let timeout = deadline.and_then(|deadline| desk.clock.until(deadline));
        let mut desk = Some(desk);
        let mut queue = self.queue.lock();
        if queue.mail.is_empty() && timeout != Some(Duration::ZERO) {
            queue.sleeping = true;
            if lent {
                queue.deadline = deadline;
                queue.desk = desk.take();
            }
            match timeout {
                Some(timeout) => {
                    self.arrived.wait_for(&mut queue, timeout);
                }
                None => self.arrived.wait(&mut queue),
            }
            queue.sleeping = false;
            while queue.away && !queue.closed {
                queue.awaited = true;
                self.arrived.wait(&mut queue);
            }
            queue.awaited = false;
            desk = desk.or_else(|| queue.desk.take());
        }
        std::mem::swap(&mut queue.mail, into);
        let was_full = std::mem::take(&mut queue.bytes) > HIGH_WATER;
        drop(queue);
        if was_full {
            self.drained.notify_waiters();
        }
        desk
    }

    /// Takes the desk, if nobody works and nothing waits.
    fn visit(&self) -> Option<Visit<'_>> {
        let mut queue = self.queue.lock();
        if !queue.mail.is_empty() {
            return None;
        }
        let desk = queue.desk.take()?;
        queue.away = true;
        drop(queue);
        Some(Visit {
            inbox: self,
            desk: Some(desk),
        })
    }

    /// A guest is done. Wakes the thread if there is something to do for it.
    fn give_back(&self, desk: Box<Desk>) {
        let deadline = desk.deadline();
        let wanted = desk.wants_pass();
        let mut queue = self.queue.lock();
        queue.away = false;
        queue.desk = Some(desk);
        let earlier = deadline.is_some_and(|due| queue.deadline.is_none_or(|set| due < set));
        let wake = wanted || earlier || queue.awaited || !queue.mail.is_empty();
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
    }
}

impl JetStreamInbox for Inbox {
    fn submit(&self, batch: &mut InboundBatch) {
        let little = batch.len() <= GUEST_MESSAGES && batch.bytes() <= GUEST_BYTES;
        if little
            && let Some(mut visit) = self.visit()
            && let Some(desk) = visit.desk.as_mut()
            && desk.serves(batch)
        {
            desk.take_batch(batch);
            if batch.bytes() * 8 < batch.capacity() {
                // The connection was busy once and is not any more.
                *batch = InboundBatch::default();
            }
            batch.clear();
        } else {
            self.post_batch(batch);
        }
    }

    fn interest_changed(&self, account: AccountId, tag: Tag) {
        self.post(Mail::Watch { account, tag });
    }

    fn is_full(&self) -> bool {
        self.queue.lock().bytes > HIGH_WATER
    }

    fn has_room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            loop {
                let drained = self.drained.notified();
                if !self.is_full() {
                    return;
                }
                drained.await;
            }
        })
    }
}
