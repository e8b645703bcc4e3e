//! Messages of a replica whose bytes went bad are fetched from another one and written again: what others can read is
//! not lost.

use super::fetch::Fetches;
use crate::jetstream::cluster::sync::follower::Follower;
use crate::jetstream::core::Core;
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::log::GroupId;

impl Fetches {
    /// These messages are damaged or missing.
    pub(crate) fn note_damaged(&mut self, group: GroupId, seqs: impl IntoIterator<Item = u64>) {
        let mut seqs = seqs.into_iter().peekable();
        if seqs.peek().is_some() {
            self.damaged.entry(group).or_default().extend(seqs);
        }
    }
}

impl Core {
    /// Asks for what was found damaged, as far as there is somebody to ask.
    pub(crate) fn mend_damaged(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        for (group, seq) in std::mem::take(&mut self.agenda.damaged) {
            self.fetches.note_damaged(group, [seq]);
        }
        let groups: Vec<GroupId> = self.fetches.damaged.keys().copied().collect();
        for group in groups {
            if !self.fetches.is_active(group) {
                self.mend_group(group, now, out);
            }
        }
    }

    fn mend_group(&mut self, group: GroupId, now: Timestamp, out: &mut dyn Outbox) {
        let Some(replica) = self.log.replicas.get(group) else {
            self.fetches.damaged.remove(&group);
            return;
        };
        let (Some(id), lacks_state) = (replica.stream, replica.lacks_state()) else {
            return;
        };
        let servers = self.servers_of(group);
        if lacks_state || servers.is_empty() {
            return;
        }
        let leads = replica.standing.leader == Some(self.node);
        self.look_again_at_damaged(group, id);
        let (Some(stream), Some(seqs)) = (self.streams.get(id), self.fetches.damaged.get(&group))
        else {
            return;
        };
        let messages = &stream.messages;
        let fits = |seq: &u64| messages.meta(*seq).is_some() || messages.has_room_for(*seq);
        let lost: Vec<u64> = seqs.iter().copied().filter(|seq| !fits(seq)).collect();
        let Some(label) = self.label_of(group, out) else {
            return;
        };
        if !lost.is_empty() && !leads {
            // They belong where nothing can be put between: everything is fetched again.
            self.fetches.damaged.remove(&group);
            let follower = Follower::fetch(group, label, servers, (out.random(), true), now);
            if let Some(replica) = self.log.replicas.get_mut(group) {
                replica.fetching = true;
            }
            self.fetches.begin(group, follower.anew(), 0);
            return self.with_fetch(group, now, out, |one, hand| one.tick(now, hand));
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for seq in seqs.iter().copied().filter(fits) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => runs.push((seq, seq)),
            }
        }
        if let Some(damaged) = self.fetches.damaged.get_mut(&group) {
            damaged.retain(|seq| lost.binary_search(seq).is_err());
        }
        self.with_stream(id, now, out, |stream, env| stream.note_lost(&lost, env));
        if runs.is_empty() {
            self.fetches.damaged.remove(&group);
            return;
        }
        let follower = Follower::mend(group, label, servers, out.random(), runs, now);
        self.fetches.begin(group, follower, 0);
        self.with_fetch(group, now, out, |one, hand| one.tick(now, hand));
    }

    /// Forgets what can be read by now, or is lost for good.
    pub(super) fn look_again_at_damaged(&mut self, group: GroupId, id: u32) {
        let (Some(stream), Some(seqs)) =
            (self.streams.get(id), self.fetches.damaged.get_mut(&group))
        else {
            return;
        };
        let messages = &stream.messages;
        let state = messages.state();
        seqs.retain(|seq| {
            let readable = messages.read(*seq, &mut |_| {}) == Ok(true);
            !readable && *seq >= state.first_seq && !stream.damage.is_lost(*seq)
        });
        if seqs.is_empty() {
            self.fetches.damaged.remove(&group);
        }
    }
}
