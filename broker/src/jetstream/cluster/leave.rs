//! A node that is about to go hands over what it leads first, so that clients wait for a moment and not for an election.

use crate::jetstream::core::Core;
use crate::jetstream::io::NodeId;
use crate::jetstream::log::GroupId;

/// Ticks that a node waits for others to take over.
const PATIENCE: u32 = 10;

impl Core {
    /// Leads nothing any more from here on, as far as others can.
    pub(crate) fn hand_everything_over(&mut self) {
        self.cluster.leaving = Some(PATIENCE);
        for group in self.log.replicas.numbers() {
            if let Some(heir) = self.next_leader(group)
                && let Some(replica) = self.log.replicas.get_mut(group)
            {
                replica.consensus.transfer_to(heir);
                self.log.replicas.touch(group);
            }
        }
    }

    /// Who could lead a group that this node leads.
    fn next_leader(&self, group: GroupId) -> Option<NodeId> {
        let status = self.log.replicas.get(group)?.consensus.status();
        let near = &self.cluster.near;
        let able = status.peers.iter();
        let able = able.filter(|one| !one.learner && near.contains_key(&one.node));
        able.max_by_key(|one| one.matched).map(|one| one.node)
    }

    /// A tick while the node is leaving.
    pub(crate) fn tick_leaving(&mut self) {
        if let Some(left) = &mut self.cluster.leaving {
            *left = left.saturating_sub(1);
        }
    }

    /// Whether nothing is led here that somebody else could lead, or that took too long.
    pub(crate) fn has_left(&self) -> bool {
        match self.cluster.leaving {
            None | Some(0) => true,
            Some(_) => {
                let groups = self.log.replicas.numbers();
                groups
                    .into_iter()
                    .all(|group| self.next_leader(group).is_none())
            }
        }
    }
}
