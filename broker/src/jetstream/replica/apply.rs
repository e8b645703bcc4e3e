//! Applies what a group committed. A leader that decided an entry itself has its outcome in the queue, with those who
//! wait for it; everybody else performs the entry as a recovery does.

use bytes::Bytes;
use jetwake_storage::{Insert, Location, Lsn};

use super::payload::Payload;
use super::{META, OpenBatch};
use crate::consensus::{self, EntryKind};
use crate::jetstream::cluster::wire::Say;
use crate::jetstream::core::Core;
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{Lane, Level, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::recover::replay_message;

impl Core {
    /// Applies one committed entry; they come in order.
    pub(crate) fn apply_entry(
        &mut self,
        group: GroupId,
        entry: &consensus::Entry,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Some(replica) = self.log.replica(group) else {
            return;
        };
        if replica.fetching {
            replica.passed_over = replica.passed_over.max(entry.index);
            return;
        }
        if entry.index <= replica.applied.0 {
            return;
        }
        #[cfg(test)]
        replica.audit.push(entry.clone());
        let location = replica.take_place(entry.index);
        let stream = replica.stream;
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Change => {
                let now_in = replica.consensus.apply_change(entry);
                let before = std::mem::replace(&mut replica.membership, now_in.clone());
                let leads = replica.standing.serving && group != META;
                let left = before.voters.iter().chain(&before.learners);
                // Not sooner: their votes may have been needed for it.
                for node in left.filter(|node| leads && !now_in.contains(**node)) {
                    out.send(*node, Lane::Main, &Say::Gone { group }.encode());
                }
                self.cluster.look = Some(now);
            }
            EntryKind::Data if group == META => self.apply_meta(entry, now, out),
            EntryKind::Data => {
                if let Some(stream) = stream {
                    self.apply_data(group, stream, &entry.data, location, now, out);
                }
            }
        }
        if let Some(replica) = self.log.replica(group) {
            replica.applied = (entry.index, entry.term);
            if replica.damaged_to <= entry.index {
                // It has everything that it promised.
                replica.damaged_to = 0;
            }
            let settled = replica.settled().0;
            replica.consensus.applied(entry.index, settled);
        }
        self.settle_commits(group, entry.index, now, out);
        self.perhaps_serve(group, now, out);
    }

    pub(super) fn apply_data(
        &mut self,
        group: GroupId,
        stream: u32,
        data: &Bytes,
        location: Option<Location>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let applied = match Payload::decode(data) {
            Ok(Payload::Message(message)) => {
                self.note_part(group, None, data, location);
                self.apply_message(group, stream, &message, location, now, out);
                true
            }
            Ok(Payload::Control(bytes)) => Entry::decode(bytes).is_ok_and(|control| {
                self.note_part(group, Some(&control), data, None);
                self.apply_control(group, stream, &control, now, out)
            }),
            Err(_) => false,
        };
        if !applied {
            let text = format!("JetStream group {group}: malformed entry");
            out.log(Level::Error, &text);
        }
    }

    /// Keeps the parts of a batch that this leader applies, until it is complete or given up.
    fn note_part(
        &mut self,
        group: GroupId,
        control: Option<&Entry<'_>>,
        data: &Bytes,
        location: Option<Location>,
    ) {
        let replica = self.log.replica(group);
        let Some(replica) = replica.filter(|one| one.standing.serving) else {
            return;
        };
        match (control, &mut replica.open_batch) {
            (Some(Entry::Batch { count }), open) => {
                *open = (*count > 0).then(|| OpenBatch {
                    left: *count,
                    entries: vec![(data.clone(), None)],
                });
                let before = replica.whole.unwrap_or(replica.applied);
                replica.whole = open.as_ref().map(|_| before);
            }
            (None, Some(open)) => {
                open.left = open.left.saturating_sub(1);
                open.entries.push((data.clone(), location));
                if open.left == 0 {
                    replica.open_batch = None;
                    replica.whole = None;
                }
            }
            _ => {}
        }
    }

    fn apply_message(
        &mut self,
        group: GroupId,
        stream: u32,
        message: &Insert<'_>,
        location: Option<Location>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Some(replica) = self.log.replica(group) else {
            return;
        };
        if replica.standing.serving {
            replica
                .located
                .extend(location.map(|location| (message.seq, location)));
            return;
        }
        let before = replica.applied;
        let insert = Insert {
            location,
            ..*message
        };
        let partial = self.with_stream(stream, now, out, |stream, env| {
            replay_message(stream, &insert, false);
            stream.changes.clear();
            stream.account_for(env);
            stream.partial.is_some()
        });
        self.note_whole(group, partial == Some(true), before);
    }

    /// False if the entry is damaged.
    fn apply_control(
        &mut self,
        group: GroupId,
        stream: u32,
        control: &Entry<'_>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> bool {
        let Some(replica) = self.log.replica(group) else {
            return true;
        };
        match replica.shadow.apply(control) {
            Ok(false) => {}
            Ok(true) => return true,
            Err(_) => return false,
        }
        if replica.standing.serving {
            // Its outcome is in the queue.
            return true;
        }
        let before = replica.applied;
        let applied = self.with_stream(stream, now, out, |stream, env| {
            let applied = stream.replay_control(control, env);
            stream.changes.clear();
            stream.account_for(env);
            (applied, stream.partial.is_some())
        });
        let (applied, partial) = applied.unwrap_or((true, false));
        self.note_whole(group, partial, before);
        if matches!(control, Entry::Config { .. }) {
            self.streams.index(stream);
        }
        applied
    }

    /// Keeps in mind where a batch began that is not complete.
    fn note_whole(&mut self, group: GroupId, partial: bool, before: (u64, u64)) {
        if let Some(replica) = self.log.replica(group) {
            replica.whole = partial.then(|| replica.whole.unwrap_or(before));
        }
    }

    /// Performs what waited for this index.
    fn settle_commits(&mut self, group: GroupId, index: u64, now: Timestamp, out: &mut dyn Outbox) {
        let entered = self.log.enter(Some(group));
        self.apply_upto(Lsn(index), now, out);
        if entered {
            self.log.leave();
        }
    }
}
