//! The core's side of the journal: appends records, and keeps what waits for them in order.
//!
//! Once a write has failed the log is closed for good; everything that waits stays unanswered. On a full disk the log
//! refuses what adds and takes what frees, see [`Purpose`]; that ends by itself.

use std::collections::BTreeSet;

use jetwake_storage::{Appended, FileMessages, Insert, Kind, Lsn, Purpose, Record, Store};

use crate::jetstream::api::answer::Request;
use crate::jetstream::commit::{Commits, What};
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{AccountId, Outbox, Outgoing, Timestamp};

/// The number of a stream on disk, never reused.
pub(crate) type GroupId = u64;

/// What a record has beyond the bytes that its author counts: its header, and what is added to the message.
const SLACK: usize = 1024;

/// The log of all streams on disk.
#[derive(Debug)]
pub(crate) struct Log {
    /// The store.
    pub(crate) store: Store,
    /// What waits.
    pub(crate) commits: Commits,
    /// Nothing can be written any more.
    pub(crate) failed: bool,
    /// The highest group number ever used.
    pub(crate) last_group: GroupId,
    appended: Lsn,
    durable: Lsn,
    buffer: Vec<u8>,
    ready: Vec<(AccountId, Vec<u8>)>,
    /// Streams and consumers with operations that found no room on a full disk.
    pub(crate) gaps: BTreeSet<(u32, String)>,
}

impl Log {
    /// A log on an open store.
    pub(crate) fn new(store: Store) -> Self {
        let end = store.end();
        Self {
            store,
            commits: Commits::default(),
            failed: false,
            last_group: 0,
            appended: end,
            durable: end,
            buffer: Vec::new(),
            ready: Vec::new(),
            gaps: BTreeSet::new(),
        }
    }

    /// Whether records with about so many bytes in all would be taken now.
    pub(crate) fn takes(&mut self, bytes: usize, purpose: Purpose) -> bool {
        !self.failed && self.store.admit(bytes.saturating_add(SLACK), purpose)
    }

    /// Appends a message; `None` if the log is closed or the disk full.
    pub(crate) fn publish(
        &mut self,
        group: GroupId,
        message: &Insert<'_>,
        purpose: Purpose,
    ) -> Option<Appended> {
        let record = Record {
            group,
            kind: Kind::Message,
            index: 0,
            term: 0,
            seq: message.seq,
            timestamp: message.timestamp,
            key: message.key,
            headers: message.headers,
            payload: message.payload,
        };
        self.append(&record, purpose)
    }

    /// Appends a control entry; `None` if the log is closed or the disk full.
    pub(crate) fn control(
        &mut self,
        group: GroupId,
        entry: &Entry<'_>,
        purpose: Purpose,
    ) -> Option<Lsn> {
        let mut payload = std::mem::take(&mut self.buffer);
        payload.clear();
        entry.encode(&mut payload);
        let record = Record {
            group,
            kind: Kind::Control(entry.tag()),
            index: 0,
            term: 0,
            seq: 0,
            timestamp: 0,
            key: &[],
            headers: &[],
            payload: &payload,
        };
        let appended = self.append(&record, purpose);
        self.buffer = payload;
        appended.map(|appended| appended.end)
    }

    fn append(&mut self, record: &Record<'_>, purpose: Purpose) -> Option<Appended> {
        if self.failed || !self.store.admit(record.size(), purpose) {
            return None;
        }
        let appended = self.store.append(record);
        self.appended = appended.end;
        Some(appended)
    }

    /// Hands what gathered to the disk.
    pub(crate) fn seal(&mut self) {
        if !self.failed {
            self.store.seal();
        }
    }

    /// Begins a group. Numbers follow the clock where they can, because those of groups whose last trace is gone
    /// must not come back either.
    pub(crate) fn create_group(
        &mut self,
        first_seq: u64,
        now: Timestamp,
    ) -> (GroupId, FileMessages) {
        self.last_group = (self.last_group + 1).max(u64::try_from(now).unwrap_or(0));
        (
            self.last_group,
            self.store.create_group(self.last_group, first_seq),
        )
    }

    /// Appends a control entry and queues it, to be applied and answered when durable. Gives the request back if the
    /// log is closed or the disk full.
    pub(crate) fn submit(
        &mut self,
        stream: u32,
        group: GroupId,
        entry: &Entry<'_>,
        request: Option<Box<Request>>,
    ) -> Result<(), Option<Box<Request>>> {
        let Some(lsn) = self.control(group, entry, Purpose::Free) else {
            return Err(request);
        };
        let entry = self.commits.bytes.push(&self.buffer);
        self.commits
            .push(lsn, stream, What::Control { entry, request });
        Ok(())
    }

    /// What an answer about anything that was decided must wait for; `None` if all of it is durable.
    pub(crate) fn waits(&self) -> Option<Lsn> {
        (self.appended > self.durable).then_some(self.appended)
    }

    /// The position behind the last record.
    pub(crate) fn appended(&self) -> Lsn {
        self.appended
    }

    /// Everything before this is durable.
    pub(crate) fn durable(&self) -> Lsn {
        self.durable
    }

    /// Everything before `lsn` is durable.
    pub(crate) fn became_durable(&mut self, lsn: Lsn) {
        self.durable = self.durable.max(lsn);
    }

    /// Answers an ack with an empty message when `lsn` is durable.
    pub(crate) fn answer_empty(
        &mut self,
        stream: u32,
        lsn: Option<Lsn>,
        account: AccountId,
        reply: &[u8],
    ) {
        match lsn {
            Some(lsn) if lsn > self.durable => {
                let reply = self.commits.bytes.push(reply);
                self.commits
                    .push(lsn, stream, What::Empty { account, reply });
            }
            _ => self.ready.push((account, reply.to_vec())),
        }
    }

    /// Sends the answers that had nothing to wait for.
    pub(crate) fn send_ready(&mut self, out: &mut dyn Outbox) {
        for (account, reply) in self.ready.drain(..) {
            out.publish(Outgoing {
                account,
                route: &reply,
                subject: &reply,
                reply: &[],
                headers: &[],
                payload: &[],
            });
        }
    }
}
