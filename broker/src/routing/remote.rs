//! What other nodes listen to: the part of a trie's leaf that is about them.
//!
//! A leaf without remote interest has none of this, so that a broker alone pays nothing for it.

use std::sync::Arc;

use super::matches::Matches;

/// Another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerId(pub u64);

/// A queue group and its members on each node.
type Members = (Arc<[u8]>, Vec<(PeerId, u32)>);

/// The nodes that listen to one filter.
#[derive(Debug, Default)]
pub(super) struct Remote {
    plain: Vec<PeerId>,
    queues: Vec<Members>,
}

impl Remote {
    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.queues.is_empty()
    }

    pub(super) fn interests(&self, queue: Option<&[u8]>) -> bool {
        match queue {
            None => !self.plain.is_empty(),
            Some(queue) => self.queues.iter().any(|(name, _)| **name == *queue),
        }
    }

    /// Says how much a node listens; 0 is not at all.
    pub(super) fn set(&mut self, peer: PeerId, queue: Option<&[u8]>, weight: u32) {
        let Some(queue) = queue else {
            self.plain.retain(|known| *known != peer);
            if weight > 0 {
                self.plain.push(peer);
            }
            return;
        };
        let known = self.queues.iter().position(|(name, _)| **name == *queue);
        let at = match known {
            Some(at) => at,
            None if weight == 0 => return,
            None => {
                self.queues.push((queue.into(), Vec::new()));
                self.queues.len() - 1
            }
        };
        let nodes = &mut self.queues[at].1;
        nodes.retain(|(known, _)| *known != peer);
        if weight > 0 {
            nodes.push((peer, weight));
        } else if nodes.is_empty() {
            self.queues.swap_remove(at);
        }
    }

    pub(super) fn add_to<S, L>(&self, matches: &mut Matches<S, L>) {
        for peer in &self.plain {
            if !matches.peers.contains(peer) {
                matches.peers.push(*peer);
            }
        }
        for (name, nodes) in &self.queues {
            matches.group(name).remote.extend_from_slice(nodes);
        }
    }
}
