//! How a cluster begins. A node without one waits until it sees a majority of the nodes that a new cluster is expected
//! to have, all without a cluster as well; the one with the lowest name asks the others, each of which agrees to one
//! founder only, and with a majority behind it begins a cluster of itself, to which the others are added. A node that
//! sees a cluster waits to be added to it.

use std::collections::BTreeSet;

use super::wire::{NodeState, Room, Say};
use crate::jetstream::core::Core;
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{Lane, Level, NodeId, Outbox, Timestamp};
use crate::jetstream::replica::META;

const SECOND: i64 = 1_000_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// Who may found a cluster, as far as this node is concerned; itself, perhaps.
    granted: NodeId,
    /// Its name.
    granted_name: String,
    /// Who agreed to this node.
    grants: BTreeSet<NodeId>,
}

impl Core {
    /// Whether this node belongs to no cluster.
    pub(crate) fn is_homeless(&self) -> bool {
        self.log.replicas.get(META).is_none()
    }

    fn expects(&self) -> u64 {
        let routes = self.settings.cluster.as_ref().map_or(0, |one| one.routes);
        (routes as u64 + 1).max(2)
    }

    fn own_state(&self) -> NodeState {
        NodeState {
            cluster: self.cluster.meta.cluster,
            expects: self.expects(),
            granted: self.cluster.boot.granted,
            room: self.room(),
        }
    }

    /// What fits at this node.
    pub(crate) fn room(&self) -> Room {
        let mut room = Room {
            max_memory: self.settings.max_memory,
            max_file: self.settings.max_file,
            ..Room::default()
        };
        for account in self.accounts() {
            room.memory += account.memory;
            room.file += account.storage;
        }
        room
    }

    /// Tells all nodes how much room there is, if it is another than they know. Not more often than once a second.
    pub(crate) fn report_room(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let room = self.room();
        let (told, at) = self.cluster.told;
        if room != told && now.saturating_sub(at) >= SECOND {
            self.cluster.told = (room, now);
            self.introduce_to_all(out);
        }
    }

    /// Tells one node how this one stands.
    pub(crate) fn introduce(&mut self, to: NodeId, out: &mut dyn Outbox) {
        out.send(to, Lane::Main, &Say::State(self.own_state()).encode());
    }

    /// Tells all nodes.
    pub(crate) fn introduce_to_all(&mut self, out: &mut dyn Outbox) {
        let frame = Say::State(self.own_state()).encode();
        for node in self.cluster.near.keys() {
            out.send(*node, Lane::Main, &frame);
        }
    }

    /// Looks whether it is this node's turn to found a cluster.
    pub(crate) fn boot(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let me = self.node;
        let near = self.cluster.near.values().filter(|one| one.peer.jetstream);
        let known: Vec<_> = near
            .filter_map(|one| Some((&one.peer, one.state.as_ref()?)))
            .collect();
        if known.iter().any(|(_, state)| state.cluster != 0) {
            return;
        }
        let expected = known.iter().map(|(_, state)| state.expects).max();
        let all = known.len() as u64 + 1;
        let majority = expected.unwrap_or(0).max(self.expects()).max(all) / 2 + 1;
        let name = &self.settings.server_name;
        let first = known.iter().all(|(peer, _)| peer.name > *name);
        // Whoever was agreed to goes on, although one with a lower name has come.
        if all < majority || !(first || self.cluster.boot.granted == me) {
            return;
        }
        let agreed = known.iter().filter(|(_, state)| state.granted == me);
        let agreed: Vec<NodeId> = agreed.map(|(peer, _)| peer.id).collect();
        let granted = self.cluster.boot.granted;
        if granted != me && granted != 0 {
            // That one may have founded a cluster, wherever it is now.
            return;
        }
        if granted != me {
            self.cluster.boot.granted = me;
            self.cluster
                .boot
                .granted_name
                .clone_from(&self.settings.server_name);
            self.cluster.boot.grants.clear();
            return self.introduce_to_all(out);
        }
        self.cluster.boot.grants.extend(agreed);
        let reached = self.cluster.boot.grants.iter();
        let reached = reached
            .filter(|one| self.cluster.reaches(me, **one))
            .count() as u64
            + 1;
        if reached >= majority {
            self.found(now, out);
        }
    }

    fn found(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        out.log(Level::Info, "JetStream cluster bootstrapping");
        self.join_meta(vec![self.node], out);
        if let Some(replica) = self.log.replica(META) {
            replica.consensus.campaign();
        }
        self.drive(now, out);
    }

    /// Becomes a member of the group of all nodes: its first, or one that is told everything by the leader.
    fn join_meta(&mut self, voters: Vec<NodeId>, out: &mut dyn Outbox) {
        let bytes: Vec<u8> = voters.iter().flat_map(|node| node.to_le_bytes()).collect();
        let index = u64::from(!voters.is_empty());
        let entry = Entry::Replica {
            account: 0,
            created: 0,
            config: &[],
            voters: &bytes,
            index,
        };
        if self.log.note(META, &entry).is_some() {
            self.begin_member(META, None, voters, index, out);
        }
    }

    /// Another node says how it stands.
    pub(crate) fn hear_state(&mut self, from: NodeId, state: NodeState, out: &mut dyn Outbox) {
        let Some(near) = self.cluster.near.get_mut(&from) else {
            return;
        };
        if state.cluster != 0
            && self.cluster.meta.cluster != 0
            && state.cluster != self.cluster.meta.cluster
        {
            let text = format!(
                "JetStream on {} belongs to another cluster of the same name and is left alone",
                near.peer.name
            );
            out.log(Level::Error, &text);
        }
        let gave_up = state.cluster == 0 && state.granted != 0 && state.granted != from;
        near.state = Some(state);
        if gave_up && self.cluster.boot.granted == from {
            // It has agreed to another one itself.
            self.cluster.boot.granted = 0;
        }
        self.agree(out);
    }

    /// Agrees to the node with the lowest name that asks. To one only, also if that cannot be reached any more: it may have
    /// begun. If it has not, it asks again, with another number if its directory is another.
    fn agree(&mut self, out: &mut dyn Outbox) {
        if !self.is_homeless() {
            return;
        }
        let near = self.cluster.near.values();
        let asking = near.filter(|one| {
            let state = one.state.as_ref();
            state.is_some_and(|state| state.granted == one.peer.id && state.cluster == 0)
        });
        let Some(first) = asking
            .map(|one| &one.peer)
            .min_by(|a, b| a.name.cmp(&b.name))
        else {
            return;
        };
        let boot = &self.cluster.boot;
        let free = boot.granted == 0;
        let own = boot.granted == self.node && first.name < self.settings.server_name;
        let again = boot.granted != first.id && boot.granted_name == first.name;
        if !free && !own && !again {
            return;
        }
        let (id, name) = (first.id, first.name.clone());
        self.cluster.boot.granted = id;
        self.cluster.boot.granted_name = name;
        self.cluster.boot.grants.clear();
        // Also to those that had agreed to this node.
        self.introduce_to_all(out);
    }

    /// The leader of a cluster adds this node.
    pub(crate) fn hear_welcome(&mut self, cluster: u64, out: &mut dyn Outbox) {
        if self.is_homeless() {
            out.log(
                Level::Debug,
                &format!("JetStream joins cluster {cluster:x}"),
            );
            self.join_meta(Vec::new(), out);
        }
    }
}
