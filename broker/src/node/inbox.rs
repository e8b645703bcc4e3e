//! The mailbox of the JetStream thread: connections, the disk thread and background jobs put mail in, the thread
//! takes everything out at once.
//!
//! Bound: [`HIGH_WATER`] bytes of messages. Beyond it a connection's reader waits before it reads on, so the
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

use crate::jetstream::JetStream;
use crate::jetstream::io::{JobDone, Outbox, Timestamp};
use crate::jetstream::tag::{AccountId, Tag};
use crate::server::{InboundBatch, JetStreamInbox};

/// Bytes of waiting messages from which readers wait.
const HIGH_WATER: usize = 32 << 20;

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
    /// A background job is done.
    Job(JobDone),
    /// A write or sync failed: the store is poisoned.
    StoreFailed(String),
    /// Somebody wants to look at the core from outside (monitoring).
    Look(Box<Look>),
    /// Somebody waits until nothing is due and nothing waits for the disk.
    Settle(mpsc::Sender<()>),
    /// The end.
    Stop,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch(_) => "Batch",
            Self::Durable(_) => "Durable",
            Self::Watch { .. } => "Watch",
            Self::Job(_) => "Job",
            Self::StoreFailed(_) => "StoreFailed",
            Self::Look(_) => "Look",
            Self::Settle(_) => "Settle",
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
    sleeping: bool,
    closed: bool,
}

impl Inbox {
    /// Puts mail in and wakes the thread if it sleeps. Mail to a closed mailbox is dropped.
    pub(super) fn post(&self, mail: Mail) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        if let Mail::Batch(batch) = &mail {
            queue.bytes += batch.bytes();
        }
        queue.mail.push(mail);
        let wake = queue.sleeping;
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
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
        let left = std::mem::take(&mut queue.mail);
        drop(queue);
        drop(left);
        self.drained.notify_waiters();
    }

    /// Waits for mail, at most for `timeout`, and moves all of it into `into`, which must be empty.
    pub(super) fn take(&self, into: &mut Vec<Mail>, timeout: Option<Duration>) {
        let mut queue = self.queue.lock();
        if queue.mail.is_empty() && timeout != Some(Duration::ZERO) {
            queue.sleeping = true;
            match timeout {
                Some(timeout) => {
                    self.arrived.wait_for(&mut queue, timeout);
                }
                None => self.arrived.wait(&mut queue),
            }
            queue.sleeping = false;
        }
        std::mem::swap(&mut queue.mail, into);
        let was_full = std::mem::take(&mut queue.bytes) > HIGH_WATER;
        drop(queue);
        if was_full {
            self.drained.notify_waiters();
        }
    }
}

impl JetStreamInbox for Inbox {
    fn submit(&self, batch: InboundBatch) {
        self.post(Mail::Batch(batch));
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
