//! What has to be done again and again: nodes that were seen join the group of all nodes, replicas come where they are
//! assigned and go where they are not. One change of a group at a time, a new member first without a vote.

use super::wire::Say;
use super::{LOOK, Near};
use crate::consensus::{Change, PeerStatus};
use crate::jetstream::cluster::meta::Entry;
use crate::jetstream::core::Core;
use crate::jetstream::io::{Lane, NodeId, Outbox, Peer, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;

/// Most nodes that vote in the group of all nodes.
const VOTERS: usize = 7;
/// Entries that a member may be behind to get its vote.
const CLOSE: u64 = 64;
/// Nanoseconds between two looks while somebody is on the way into a group.
const SOON: i64 = 5_000_000;

impl Core {
    /// Whether this server is part of a cluster.
    pub(crate) fn in_cluster(&self) -> bool {
        self.settings.cluster.is_some()
    }

    /// Another node can be reached.
    pub(crate) fn greet(&mut self, peer: &Peer, now: Timestamp, out: &mut dyn Outbox) {
        let near = Near {
            peer: peer.clone(),
            state: None,
        };
        self.cluster.near.insert(peer.id, near);
        self.cluster.seen.remove(&peer.id);
        self.introduce(peer.id, out);
        let leads = self.led_groups();
        if !leads.is_empty() {
            out.send(peer.id, Lane::Main, &Say::Leads(leads).encode());
        }
        self.cluster.look = Some(now);
    }

    /// A node cannot be reached any more.
    pub(crate) fn part(&mut self, node: NodeId, now: Timestamp) {
        self.cluster.near.remove(&node);
        self.cluster.seen.insert(node, now);
        self.cluster
            .leaders
            .retain(|_, (leader, _)| *leader != node);
        self.cluster.look = Some(now);
    }

    fn led_groups(&mut self) -> Vec<(GroupId, u64)> {
        let numbers = self.log.replicas.numbers();
        let replicas = numbers.iter().filter_map(|one| self.log.replicas.get(*one));
        replicas
            .filter(|one| one.standing.serving && one.group != META)
            .map(|one| (one.group, one.standing.term))
            .collect()
    }

    /// Looks at everything, if it is time.
    pub(crate) fn tend(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        if !self.in_cluster() || self.log.failed || self.cluster.look.is_none_or(|due| due > now) {
            return;
        }
        self.cluster.look = Some(now.saturating_add(LOOK));
        if self.has_newcomers() {
            self.cluster.look = Some(now.saturating_add(SOON));
        }
        if self.is_homeless() {
            self.boot(now, out);
        } else if self.leads_cluster() {
            self.tend_nodes(out);
        }
        self.want_state(out);
        self.adopt(now, out);
        self.report_room(now, out);
        self.tend_streams(now, out);
        self.retry_waiting(now, out);
        self.end_gathers(now, out);
        self.drive(now, out);
    }

    /// Whether anybody is on the way into a group that this node leads.
    fn has_newcomers(&self) -> bool {
        let numbers = self.log.replicas.numbers();
        let mut groups = numbers.iter().filter_map(|one| self.log.replicas.get(*one));
        groups.any(|one| one.standing.serving && !one.membership.learners.is_empty())
    }

    /// Whether this node decides for the cluster.
    pub(crate) fn leads_cluster(&self) -> bool {
        let meta = self.log.replicas.get(META);
        meta.is_some_and(|one| one.standing.serving)
    }

    /// Appends an entry to the log of all nodes. False if this node does not lead them.
    pub(crate) fn propose_meta(&mut self, entry: &Entry) -> bool {
        let data = entry.encode();
        let proposed = self
            .log
            .replica(META)
            .and_then(|one| one.propose(data.into()));
        self.log.replicas.touch(META);
        proposed.is_some()
    }

    /// Lets nodes join that were seen.
    fn tend_nodes(&mut self, out: &mut dyn Outbox) {
        let Some(replica) = self.log.replicas.get(META) else {
            return;
        };
        let members = replica.membership.clone();
        let status = replica.consensus.status();
        let cluster = self.cluster.meta.cluster;
        let others = self.cluster.near.values();
        let strangers = others.filter(|one| {
            let state = one.state.as_ref();
            let theirs = state.map(|state| state.cluster);
            one.peer.jetstream && (theirs == Some(0) || theirs == Some(cluster))
        });
        let strangers: Vec<Peer> = strangers.map(|one| one.peer.clone()).collect();
        for peer in strangers {
            if self.cluster.meta.nodes.get(&peer.id) != Some(&peer.name) {
                let entry = Entry::Node {
                    id: peer.id,
                    name: peer.name.clone(),
                };
                self.propose_meta(&entry);
                return;
            }
            if !members.contains(peer.id) {
                let welcome = Say::Welcome { cluster };
                out.send(peer.id, Lane::Main, &welcome.encode());
                return self.change_members(META, Change::Learner(peer.id));
            }
        }
        for one in status.peers.iter().filter(|one| one.matched == 0) {
            // It may not have heard it the first time.
            out.send(one.node, Lane::Main, &Say::Welcome { cluster }.encode());
        }
        let current = |one: &&PeerStatus| one.learner && one.matched + CLOSE > status.last;
        let ready = status.peers.iter().find(current);
        if let Some(ready) = ready.filter(|_| members.voters.len() < VOTERS) {
            return self.change_members(META, Change::Voter(ready.node));
        }
        // A former incarnation of a node that is back, or a node that was removed.
        let nodes = &self.cluster.meta.nodes;
        let everybody = members.voters.iter().chain(&members.learners);
        let gone = everybody.copied().find(|node| !nodes.contains_key(node));
        if let Some(gone) = gone.filter(|gone| *gone != self.node) {
            self.change_members(META, Change::Remove(gone));
        }
    }

    fn change_members(&mut self, group: GroupId, change: Change) {
        if let Some(replica) = self.log.replica(group) {
            // One at a time: what is refused is tried again at the next look.
            let _ = replica.consensus.propose_change(change);
        }
        self.log.replicas.touch(group);
    }

    /// Brings the members of the streams that this node leads in line with where they are assigned.
    fn tend_streams(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        for group in self.log.replicas.numbers() {
            if group != META {
                self.tend_stream(group);
            }
        }
        self.tend_local(now, out);
        self.begin_fetches(now, out);
    }

    fn tend_stream(&mut self, group: GroupId) {
        let (Some(replica), Some((_, assigned))) = (
            self.log.replicas.get(group),
            self.cluster.meta.by_group(group),
        ) else {
            return;
        };
        if !replica.standing.serving {
            return;
        }
        let members = &replica.membership;
        let is_in_line = members.learners.is_empty()
            && members.voters.len() == assigned.peers.len()
            && assigned
                .peers
                .iter()
                .all(|peer| members.voters.contains(peer));
        if is_in_line {
            return;
        }
        let status = replica.consensus.status();
        let wanted = assigned.peers.clone();
        let members = members.clone();
        let missing = wanted
            .iter()
            .find(|peer| !members.contains(**peer) && self.cluster.near.contains_key(peer));
        if let Some(missing) = missing {
            return self.change_members(group, Change::Learner(*missing));
        }
        let current = |one: &&PeerStatus| {
            one.learner && wanted.contains(&one.node) && one.matched + CLOSE > status.last
        };
        if let Some(ready) = status.peers.iter().find(current) {
            return self.change_members(group, Change::Voter(ready.node));
        }
        let complete = wanted.iter().all(|peer| members.voters.contains(peer));
        let mut everybody = members.voters.iter().chain(&members.learners).copied();
        let Some(extra) = everybody.find(|node| !wanted.contains(node)) else {
            return;
        };
        // Those that are gone for good need not wait for the others.
        let known = self.cluster.meta.nodes.contains_key(&extra);
        if !complete && known {
            return;
        }
        if extra == self.node {
            let heir = status.peers.iter().filter(|one| wanted.contains(&one.node));
            if let Some(heir) = heir.max_by_key(|one| one.matched).map(|one| one.node)
                && let Some(replica) = self.log.replica(group)
            {
                replica.consensus.transfer_to(heir);
                self.log.replicas.touch(group);
            }
            return;
        }
        self.change_members(group, Change::Remove(extra));
    }
}
