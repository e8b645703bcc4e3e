//! The core's side of the journal: appends records, and keeps what waits for them in order.
//!
//! A stream's decisions wait for the journal, or, if it is replicated, for its group: then "position" means an index of
//! that group, and an entry is appended by proposing it. A call into a replicated stream is lent its group for that
//! long ([`Log::enter`]), so that those who decide do not have to know.
//!
//! Once a write has failed the log is closed for good; everything that waits stays unanswered. On a full disk the log
//! refuses what adds and takes what frees, see [`Purpose`]; that ends by itself.

use std::collections::BTreeSet;

use jetwake_storage::{
    Appended, FileMessages, Insert, Kind, Location, Lsn, Purpose, Record, Store,
};

use crate::consensus::{EntryKind, HardState};
use crate::jetstream::api::answer::Request;
use crate::jetstream::commit::{Commits, What};
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{AccountId, Outbox, Outgoing, Timestamp};
use crate::jetstream::replica::held::Parcel;
use crate::jetstream::replica::payload::Payload;
#[cfg(test)]
use crate::jetstream::replica::planted;
use crate::jetstream::replica::replicas::Replicas;
use crate::jetstream::replica::{META, Replica};

/// The number of a stream on disk, never reused.
pub(crate) type GroupId = u64;

/// What a record has beyond the bytes that its author counts: its header, and what is added to the message.
const SLACK: usize = 1024;

/// Where a message went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logged {
    /// The position that it waits for.
    pub(crate) end: Lsn,
    /// Where its bytes are, if they are somewhere already.
    pub(crate) location: Option<Location>,
}

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
    /// The groups with other nodes.
    pub(crate) replicas: Replicas,
    /// The group of the stream that is being called.
    lent: Option<Box<Replica>>,
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
            replicas: Replicas::default(),
            lent: None,
        }
    }

    /// Lends a group to the calls until [`leave`](Self::leave). False if there is nothing to lend: the stream is local,
    /// or has its group already.
    pub(crate) fn enter(&mut self, group: Option<GroupId>) -> bool {
        if self.replicas.is_empty() || self.lent.is_some() {
            return false;
        }
        let Some(mut replica) = group.and_then(|group| self.replicas.take(group)) else {
            return false;
        };
        std::mem::swap(&mut self.commits, &mut replica.commits);
        self.lent = Some(replica);
        true
    }

    /// Takes the group back.
    pub(crate) fn leave(&mut self) {
        if let Some(mut replica) = self.lent.take() {
            std::mem::swap(&mut self.commits, &mut replica.commits);
            self.replicas.touch(replica.group);
            self.replicas.put(replica);
        }
    }

    /// A group, lent or not.
    pub(crate) fn replica(&mut self, group: GroupId) -> Option<&mut Replica> {
        match &mut self.lent {
            Some(lent) if lent.group == group => Some(lent),
            _ => self.replicas.get_mut(group),
        }
    }

    /// The group of the stream that is being called.
    pub(crate) fn lent(&mut self) -> Option<&mut Replica> {
        self.lent.as_deref_mut()
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
    ) -> Option<Logged> {
        if self.lent.is_some() {
            let end = self.propose(&Payload::Message(*message), purpose)?;
            return Some(Logged {
                end,
                location: None,
            });
        }
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
        let appended = self.append(&record, purpose)?;
        Some(Logged {
            end: appended.end,
            location: Some(appended.location),
        })
    }

    fn propose(&mut self, payload: &Payload<'_>, purpose: Purpose) -> Option<Lsn> {
        let data = payload.encode();
        if !self.takes(data.len(), purpose) {
            return None;
        }
        self.lent()?.propose(data)
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
        let end = if self.lent.is_some() {
            self.propose(&Payload::Control(&payload), purpose)
        } else {
            let record = control(group, entry.tag(), (0, 0), &payload);
            self.append(&record, purpose).map(|appended| appended.end)
        };
        self.buffer = payload;
        end
    }

    /// Appends a record of a group that is not part of the group's own log.
    pub(crate) fn note(&mut self, group: GroupId, entry: &Entry<'_>) -> Option<Lsn> {
        let mut payload = std::mem::take(&mut self.buffer);
        payload.clear();
        entry.encode(&mut payload);
        let record = control(group, entry.tag(), (0, 0), &payload);
        let appended = self.append(&record, Purpose::Free);
        self.buffer = payload;
        appended.map(|appended| appended.end)
    }

    /// Appends an entry of a group's log as the group decided it. Written once more (`again`) it replaces nothing.
    pub(crate) fn append_entry(
        &mut self,
        group: GroupId,
        entry: &crate::consensus::Entry,
        again: bool,
    ) -> Option<Appended> {
        let (index, term) = (entry.index, u32::try_from(entry.term).unwrap_or(u32::MAX));
        let logged = match entry.kind {
            EntryKind::Empty => Entry::Noop,
            EntryKind::Change => Entry::Change {
                change: &entry.data,
            },
            EntryKind::Data if group == META => Entry::Meta { entry: &entry.data },
            EntryKind::Data => match Payload::decode(&entry.data).ok()? {
                Payload::Message(message) => {
                    let record = Record {
                        group,
                        kind: if again {
                            Kind::MessageAgain
                        } else {
                            Kind::Message
                        },
                        index,
                        term,
                        seq: message.seq,
                        timestamp: message.timestamp,
                        key: message.key,
                        headers: message.headers,
                        payload: message.payload,
                    };
                    return self.append(&record, Purpose::Free);
                }
                Payload::Control(bytes) => {
                    let tag = bytes.first().copied().unwrap_or_default();
                    let mut record = control(group, tag, (index, term), bytes);
                    if again {
                        record.kind = Kind::ControlAgain(tag);
                    }
                    return self.append(&record, Purpose::Free);
                }
            },
        };
        let mut data = Vec::new();
        logged.encode(&mut data);
        let mut record = control(group, logged.tag(), (index, term), &data);
        if again {
            record.kind = Kind::ControlAgain(logged.tag());
        }
        self.append(&record, Purpose::Free)
    }

    /// Appends what a member of a group may not forget.
    pub(crate) fn append_hard(&mut self, group: GroupId, hard: &HardState) -> Option<Lsn> {
        #[cfg(test)]
        if planted::has(planted::Bug::ForgetsVotes) {
            return None;
        }
        let &HardState { term, vote, commit } = hard;
        self.note(group, &Entry::Hard { term, vote, commit })
    }

    pub(crate) fn append(&mut self, record: &Record<'_>, purpose: Purpose) -> Option<Appended> {
        if self.failed || !self.store.admit(record.size(), purpose) {
            return None;
        }
        let appended = self.store.append(record);
        self.appended = appended.end;
        Some(appended)
    }

    /// Appends a message that another member gave; `again`: there is one with its sequence, or was.
    pub(crate) fn append_fetched(
        &mut self,
        group: GroupId,
        message: &Insert<'_>,
        again: bool,
    ) -> Option<Appended> {
        let record = Record {
            group,
            kind: if again {
                Kind::MessageAgain
            } else {
                Kind::Message
            },
            index: 0,
            term: 0,
            seq: message.seq,
            timestamp: message.timestamp,
            key: message.key,
            headers: message.headers,
            payload: message.payload,
        };
        self.append(&record, Purpose::Add)
    }

    /// Appends the state that a member got; what its log has from `from` on is void.
    pub(crate) fn append_install(
        &mut self,
        group: GroupId,
        from: u64,
        (index, term): (u64, u64),
        state: &[u8],
    ) -> Option<Lsn> {
        if !self.takes(state.len(), Purpose::Add) {
            return None;
        }
        let term = u32::try_from(term).unwrap_or(u32::MAX);
        let appended = self.store.append_install(group, from, (index, term), state);
        self.appended = appended.end;
        Some(appended.end)
    }

    /// Whether the stream that is called has replicas on other nodes.
    pub(crate) fn has_peers(&self) -> bool {
        let lent = self.lent.as_ref();
        lent.is_some_and(|one| one.membership.voters.len() + one.membership.learners.len() > 1)
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
        group: Option<GroupId>,
        first_seq: u64,
        now: Timestamp,
    ) -> (GroupId, FileMessages) {
        let next = (self.last_group + 1).max(u64::try_from(now).unwrap_or(0));
        let group = group.unwrap_or(next);
        self.last_group = self.last_group.max(group);
        (group, self.store.create_group(group, first_seq))
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
        if let Some(lent) = &self.lent {
            return lent.waits();
        }
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
        let settled = self
            .lent
            .as_ref()
            .map_or(self.durable, |lent| Lsn(lent.applied.0));
        match lsn {
            Some(lsn) if lsn > settled => {
                let reply = self.commits.bytes.push(reply);
                self.commits
                    .push(lsn, stream, What::Empty { account, reply });
            }
            _ => self.ready.push((account, reply.to_vec())),
        }
    }

    /// Keeps what a consumer of a replicated stream sent until `end` is committed, and behind what waits already.
    pub(crate) fn hold(
        &mut self,
        stream: u32,
        held: Vec<Parcel>,
        end: Option<Lsn>,
        out: &mut dyn Outbox,
    ) {
        let position = end.or_else(|| self.commits.last());
        #[cfg(test)]
        let position = position.filter(|_| !planted::has(planted::Bug::DeliversEarly));
        for parcel in held {
            match position {
                Some(position) => {
                    self.commits
                        .push(position, stream, What::Deliver(Box::new(parcel)))
                }
                None => {
                    out.publish(parcel.message());
                }
            }
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

/// A record that is no message.
fn control(group: GroupId, tag: u8, (index, term): (u64, u32), payload: &[u8]) -> Record<'_> {
    Record {
        group,
        kind: Kind::Control(tag),
        index,
        term,
        seq: 0,
        timestamp: 0,
        key: &[],
        headers: &[],
        payload,
    }
}
