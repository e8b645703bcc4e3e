//! Members come and go, as the layer above would have it: a new node learns, then votes, and then an old one leaves.

use super::{Event, NodeId, World};
use crate::consensus::{Change, Status};

impl World {
    /// A node is to be replaced by a new one: it lost its disk, or is only not wanted any more.
    pub(super) fn replace(&mut self, old: NodeId) {
        if !self.leaving.is_empty() || !self.nodes.contains_key(&old) {
            return;
        }
        let new = 1 + self.nodes.keys().next_back().copied().unwrap_or_default();
        if self.dice.one_in(500) {
            // Its disk is gone, and its number with it.
            self.nodes.remove(&old);
            self.tell_all(old, false);
        }
        self.add_node(new);
        let seed = self.seed;
        for group in 1..=self.groups {
            if let Some(node) = self.nodes.get_mut(&new) {
                node.begin(group, &[], seed);
            }
        }
        self.leaving.push((old, new));
    }

    /// Leaders see to their members.
    pub(super) fn tend(&mut self) {
        self.at(200, Event::Tend);
        let Some((old, new)) = self.leaving.first().copied() else {
            return;
        };
        let mut done = true;
        for group in 1..=self.groups {
            done &= self.tend_group(group, old, new);
        }
        if done {
            self.leaving.remove(0);
            self.nodes.remove(&old);
        }
    }

    /// Whether a group is as it is wanted.
    fn tend_group(&mut self, group: u64, old: NodeId, new: NodeId) -> bool {
        let Some(leader) = self.leader(group) else {
            return false;
        };
        let Some(member) = self
            .nodes
            .get_mut(&leader)
            .and_then(|node| node.members.get_mut(&group))
        else {
            return false;
        };
        let members = &member.state.membership;
        let status = member.group.status();
        let change = if !members.contains(new) {
            Change::Learner(new)
        } else if members.learners.contains(&new) {
            if !has_all(&status, new) {
                return false;
            }
            Change::Voter(new)
        } else if members.contains(old) {
            Change::Remove(old)
        } else {
            // The others must know as well before the old one may go.
            return status.peers.iter().all(|peer| peer.matched == status.last);
        };
        self.with_node(leader, |node, _| {
            if let Some(member) = node.members.get_mut(&group) {
                let _ = member.group.propose_change(change);
            }
        });
        false
    }
}

fn has_all(status: &Status, node: NodeId) -> bool {
    let mut peers = status.peers.iter();
    peers.any(|peer| peer.node == node && peer.matched + 5 >= status.last)
}
