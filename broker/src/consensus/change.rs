//! Changes of a group's members, one node at a time.

use raft::eraftpb::{ConfChange, ConfChangeType};

use super::{Malformed, NodeId};

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The node gets everything and does not vote, also if it voted before.
    Learner(NodeId),
    /// The node votes.
    Voter(NodeId),
    /// The node does not belong to the group any more.
    Remove(NodeId),
}

// Field numbers and wire types of the engine's own form of a change: kind (2) and node (3).
const KIND: u8 = 0x10;
const NODE: u8 = 0x18;

impl Change {
    /// The bytes of the entry, in the engine's own form, because it reads them as well.
    pub fn encode(self) -> Vec<u8> {
        let (kind, node) = match self {
            Self::Voter(node) => (0, node),
            Self::Remove(node) => (1, node),
            Self::Learner(node) => (2, node),
        };
        let mut bytes = vec![KIND, kind, NODE];
        let mut rest = node;
        while rest >= 0x80 {
            bytes.push((rest as u8) | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    /// Reads an entry's bytes; `None` for one without content, which ends a joint change.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Malformed> {
        let [KIND, kind, NODE, varint @ ..] = bytes else {
            return if bytes.is_empty() {
                Ok(None)
            } else {
                Err(Malformed)
            };
        };
        let mut node: u64 = 0;
        for (at, byte) in varint.iter().enumerate() {
            if at >= 10 {
                return Err(Malformed);
            }
            node |= u64::from(byte & 0x7f)
                .checked_shl(7 * at as u32)
                .ok_or(Malformed)?;
        }
        Ok(Some(match kind {
            0 => Self::Voter(node),
            1 => Self::Remove(node),
            2 => Self::Learner(node),
            _ => return Err(Malformed),
        }))
    }

    /// The change as the engine takes it.
    pub(super) fn for_engine(self) -> ConfChange {
        let (kind, node) = match self {
            Self::Voter(node) => (ConfChangeType::AddNode, node),
            Self::Remove(node) => (ConfChangeType::RemoveNode, node),
            Self::Learner(node) => (ConfChangeType::AddLearnerNode, node),
        };
        let mut change = ConfChange::default();
        change.set_change_type(kind);
        change.node_id = node;
        change
    }
}
