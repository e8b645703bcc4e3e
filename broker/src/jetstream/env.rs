//! What every call into a stream is lent: time, the log, the way out, and lists of what to do later.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_storage::ReadError;

use crate::jetstream::account::Account;
use crate::jetstream::io::{AccountId, NodeId, Outbox, Outgoing, Timestamp};
use crate::jetstream::log::Log;
use crate::jetstream::settings::Settings;

/// Lent for the length of one call.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    /// Now.
    pub(crate) now: Timestamp,
    /// The way out.
    pub(crate) out: &'a mut dyn Outbox,
    /// The journal and what waits for it.
    pub(crate) log: &'a mut Log,
    /// The account that owns the stream.
    pub(crate) account: &'a mut Account,
    /// What the server was told.
    pub(crate) settings: &'a Settings,
    /// This node.
    pub(crate) node: NodeId,
    /// What to look at before the batch ends.
    pub(crate) agenda: &'a mut Agenda,
}

impl Env<'_> {
    /// Sends a message without headers and without a reply subject.
    pub(crate) fn send(&mut self, account: AccountId, subject: &[u8], payload: &[u8]) {
        self.out.publish(Outgoing {
            account,
            route: subject,
            subject,
            reply: &[],
            headers: &[],
            payload,
        });
    }
}

/// Work that is gathered during a batch, and work that waits for a time.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// Consumers that may have something to deliver or to write, as (stream, consumer); may hold repeats.
    pub(crate) dirty: Vec<(u32, u32)>,
    /// Deadlines.
    pub(crate) timers: Timers,
    /// Atomic batches that are open on this server.
    pub(crate) open_batches: usize,
    /// Fast batches that are open on this server.
    pub(crate) fast_batches: usize,
    /// What the stream that is called could not read.
    pub(crate) unreadable: Vec<(u64, ReadError)>,
    /// Damaged messages of replicas, by group.
    pub(crate) damaged: Vec<(u64, u64)>,
    /// Buffer for answers.
    pub(crate) buffer: Vec<u8>,
    /// Buffer for reply subjects.
    pub(crate) reply: Vec<u8>,
}

/// The deadlines of streams (consumer 0) and their consumers, at most one each.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Timestamp, u32, u32)>,
    set: HashMap<(u32, u32), Timestamp, FixedState>,
}

impl Timers {
    /// Sets, moves or clears a deadline.
    pub(crate) fn set(&mut self, stream: u32, consumer: u32, deadline: Option<Timestamp>) {
        let old = match deadline {
            Some(deadline) => self.set.insert((stream, consumer), deadline),
            None => self.set.remove(&(stream, consumer)),
        };
        if old == deadline {
            return;
        }
        if let Some(old) = old {
            self.queue.remove(&(old, stream, consumer));
        }
        if let Some(deadline) = deadline {
            self.queue.insert((deadline, stream, consumer));
        }
    }

    /// The deadline of one holder.
    pub(crate) fn get(&self, stream: u32, consumer: u32) -> Option<Timestamp> {
        self.set.get(&(stream, consumer)).copied()
    }

    /// The earliest deadline.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.queue.first().map(|(deadline, ..)| *deadline)
    }

    /// Takes one holder whose deadline has passed.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(u32, u32)> {
        let &(deadline, stream, consumer) = self.queue.first()?;
        if deadline > now {
            return None;
        }
        self.set(stream, consumer, None);
        Some((stream, consumer))
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;

    #[test]
    fn holds_one_deadline_each() {
        let mut timers = Timers::default();
        timers.set(1, 0, Some(50));
        timers.set(1, 2, Some(30));
        timers.set(1, 0, Some(20));
        assert_eq!(timers.first(), Some(20));
        assert_eq!(timers.pop(25), Some((1, 0)));
        assert_eq!(timers.pop(25), None);
        timers.set(1, 2, None);
        assert_eq!(timers.first(), None);
    }
}
