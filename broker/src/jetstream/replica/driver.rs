//! Drives the groups of this node: what consensus wants written, sent and applied, in this order.
//!
//! A step's entries go into the journal's batch; a leader's messages leave at once, a follower's when the step is
//! durable. One sync makes the steps of all groups durable. Everything for one node leaves together, once a pass.

use bytes::Bytes;
use jetwake_storage::{Lsn, Purpose};

#[cfg(test)]
use super::planted;
use super::replicas::Unsynced;
use crate::consensus::{Message, NodeId, Ready};
use crate::jetstream::core::Core;
use crate::jetstream::io::{Lane, Outbox, Timestamp};
use crate::jetstream::log::GroupId;

/// Nanoseconds of one tick of the groups.
pub(crate) const TICK: i64 = 100_000_000;
/// The first byte of a frame with messages of groups: each group u64, length u32, message.
pub(crate) const CONSENSUS: u8 = 1;
/// Most bytes that a record has beyond an entry's data.
const HEAD: usize = 256;

impl Core {
    /// Takes the groups as far as they get without the disk and without other nodes, and sends what they have to say.
    pub(crate) fn drive(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        if self.log.replicas.is_empty() {
            return;
        }
        if self.log.failed {
            // A node that cannot write has nothing to promise: the others go on without it.
            while self.log.replicas.next_dirty().is_some() {}
            return;
        }
        let driven = self.log.replicas.any_dirty();
        while let Some(group) = self.log.replicas.next_dirty() {
            while let Some(ready) = self.ready_of(group) {
                if !self.has_room(&ready) {
                    if let Some(replica) = self.log.replica(group) {
                        replica.stalled = Some(ready);
                    }
                    break;
                }
                self.take_ready(group, ready, now, out);
            }
        }
        if driven && self.log.replicas.next_tick.is_none() && self.any_awake() {
            self.log.replicas.next_tick = Some(now.saturating_add(TICK));
        }
        self.send_frames(out);
    }

    fn ready_of(&mut self, group: GroupId) -> Option<Ready> {
        let replica = self.log.replicas.get_mut(group)?;
        replica.stalled.take().or_else(|| replica.consensus.ready())
    }

    /// Whether all that a step wants written can be: half of it must not count as durable.
    fn has_room(&mut self, ready: &Ready) -> bool {
        let writes = !ready.entries.is_empty() || ready.hard.is_some();
        let entries = ready.entries.iter().map(|one| one.data.len() + HEAD);
        !writes || self.log.takes(entries.sum(), Purpose::Free)
    }

    fn any_awake(&self) -> bool {
        let numbers = self.log.replicas.numbers();
        let mut groups = numbers.iter().filter_map(|one| self.log.replicas.get(*one));
        groups.any(|one| one.stalled.is_some() || !one.consensus.is_asleep())
    }

    fn send_frames(&mut self, out: &mut dyn Outbox) {
        for (node, frames) in self.log.replicas.take_outgoing() {
            for frame in frames {
                out.send(node, Lane::Main, &frame);
            }
        }
    }

    fn take_ready(&mut self, group: GroupId, ready: Ready, now: Timestamp, out: &mut dyn Outbox) {
        let Ready {
            number,
            entries,
            hard,
            must_sync,
            messages,
            after_sync,
            committed,
            role,
            snapshot,
        } = ready;
        if let Some(hard) = hard {
            self.log.append_hard(group, &hard);
            if let Some(replica) = self.log.replica(group) {
                replica.hard = hard;
            }
        }
        for entry in &entries {
            let Some(appended) = self.log.append_entry(group, entry, false) else {
                continue;
            };
            if let Some(replica) = self.log.replica(group) {
                replica.place(entry.index, appended.location);
            }
        }
        #[cfg(test)]
        let after_sync = self.answer_early(group, after_sync);
        let waits = !entries.is_empty() || must_sync || self.log.replicas.is_unsynced(group);
        if waits {
            self.log.replicas.unsynced.push_back(Unsynced {
                lsn: self.log.appended(),
                group,
                number,
                messages: after_sync,
            });
        } else {
            self.persisted(group, number, after_sync);
        }
        for (to, message) in &messages {
            self.log.replicas.say(*to, group, message);
        }
        if let Some(role) = role {
            self.change_role(group, &role, now, out);
        }
        if let Some(wanted) = snapshot {
            self.fall_behind(group, wanted, now, out);
        }
        for entry in committed {
            match self.log.replica(group).map(|one| &mut one.held) {
                Some(Some(held)) => held.push(entry),
                _ => self.apply_entry(group, &entry, now, out),
            }
        }
    }

    #[cfg(test)]
    fn answer_early(
        &mut self,
        group: GroupId,
        messages: Vec<(NodeId, Message)>,
    ) -> Vec<(NodeId, Message)> {
        if !planted::has(planted::Bug::AnswersBeforeSync) {
            return messages;
        }
        for (to, message) in &messages {
            self.log.replicas.say(*to, group, message);
        }
        Vec::new()
    }

    /// The group's steps up to `number` are durable.
    fn persisted(&mut self, group: GroupId, number: u64, messages: Vec<(NodeId, Message)>) {
        for (to, message) in &messages {
            self.log.replicas.say(*to, group, message);
        }
        if let Some(replica) = self.log.replica(group) {
            replica.consensus.persisted(number);
            self.log.replicas.touch(group);
        }
    }

    /// The journal is durable up to here.
    pub(crate) fn groups_durable(&mut self, lsn: Lsn, now: Timestamp, out: &mut dyn Outbox) {
        if self.log.replicas.is_empty() {
            return;
        }
        while let Some(done) = self.log.replicas.next_synced(lsn) {
            self.persisted(done.group, done.number, done.messages);
        }
        self.fetches_durable(lsn, now, out);
        self.drive(now, out);
    }

    /// A tick of all groups that are awake, if it is time.
    pub(crate) fn tick_groups(&mut self, now: Timestamp) -> bool {
        let replicas = &mut self.log.replicas;
        if replicas.next_tick.is_none_or(|due| due > now) {
            return false;
        }
        replicas.next_tick = None;
        for group in replicas.numbers() {
            if let Some(replica) = replicas.get_mut(group)
                && (replica.stalled.is_some() || !replica.consensus.is_asleep())
            {
                if replica.may_lead() && replica.stalled.is_none() {
                    replica.consensus.tick();
                }
                replicas.touch(group);
            }
        }
        true
    }

    /// Another node's groups speak to those of this node.
    pub(crate) fn hear(
        &mut self,
        from: NodeId,
        frame: &Bytes,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let full = !self.log.takes(frame.len(), Purpose::Free);
        let mut rest = frame.slice(1..);
        while rest.len() >= 12 {
            let head = rest.split_to(12);
            let (group, len) = head.split_at(8);
            let (Ok(group), Ok(len)) = (group.try_into(), len.try_into()) else {
                return;
            };
            let (group, len) = (u64::from_le_bytes(group), u32::from_le_bytes(len) as usize);
            if rest.len() < len {
                return;
            }
            let Ok(message) = Message::decode(rest.split_to(len)) else {
                return;
            };
            if self.log.replicas.get(group).is_none() {
                // What was said before it in this frame may create it.
                self.drive(now, out);
            }
            let Some(replica) = self.log.replicas.get_mut(group) else {
                continue;
            };
            // What finds no room on the disk was never received; a log with damage does not vote.
            if (full && message.has_entries())
                || replica.stalled.is_some()
                || (replica.damaged_to > 0 && message.asks_vote())
            {
                continue;
            }
            replica.consensus.step(from, message);
            self.log.replicas.touch(group);
        }
    }

    /// Another node can be reached, again or for the first time.
    pub(crate) fn peer_up(&mut self, node: NodeId) {
        for group in self.log.replicas.numbers() {
            if let Some(replica) = self.log.replicas.get_mut(group)
                && replica.membership.contains(node)
            {
                replica.consensus.wake();
                self.log.replicas.touch(group);
            }
        }
    }

    /// Another node cannot be reached: the groups that it led elect.
    pub(crate) fn peer_down(&mut self, node: NodeId) {
        for group in self.log.replicas.numbers() {
            let Some(replica) = self.log.replicas.get_mut(group) else {
                continue;
            };
            if !replica.membership.contains(node) {
                continue;
            }
            replica.consensus.wake();
            replica.consensus.report_unreachable(node);
            if replica.standing.leader == Some(node) && replica.may_lead() {
                replica.consensus.campaign();
            }
            self.log.replicas.touch(group);
        }
    }
}
