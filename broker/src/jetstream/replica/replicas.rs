//! All groups that this node is a member of, and what they have to say to other nodes.

use std::collections::{BTreeMap, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_storage::Lsn;

use super::Replica;
use super::driver::CONSENSUS;
use crate::consensus::{Message, NodeId};
use crate::jetstream::io::Timestamp;
use crate::jetstream::log::GroupId;

/// A frame of this length takes no further message.
const FRAME: usize = 4 << 20;

/// Something that must be durable before a group goes on.
#[derive(Debug)]
pub(crate) struct Unsynced {
    /// The end of its records in the journal.
    pub(crate) lsn: Lsn,
    /// The group.
    pub(crate) group: GroupId,
    /// The number of the group's step.
    pub(crate) number: u64,
    /// What may be said afterwards.
    pub(crate) messages: Vec<(NodeId, Message)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Replicas {
    groups: HashMap<GroupId, Box<Replica>, FixedState>,
    /// Groups that have something to do.
    dirty: Vec<GroupId>,
    /// What the journal has not made durable yet, in its order.
    pub(crate) unsynced: VecDeque<Unsynced>,
    /// The frames that go to each node at the end of the pass.
    outgoing: BTreeMap<NodeId, Vec<Vec<u8>>>,
    /// The next tick of all groups that are awake.
    pub(crate) next_tick: Option<Timestamp>,
}

impl Replicas {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// A group.
    pub(crate) fn get(&self, group: GroupId) -> Option<&Replica> {
        self.groups.get(&group).map(|one| &**one)
    }

    /// A group to change.
    pub(crate) fn get_mut(&mut self, group: GroupId) -> Option<&mut Replica> {
        self.groups.get_mut(&group).map(|one| &mut **one)
    }

    /// Takes a group out, to lend it or for good.
    pub(crate) fn take(&mut self, group: GroupId) -> Option<Box<Replica>> {
        self.groups.remove(&group)
    }

    /// Adds a group, or puts one back.
    pub(crate) fn put(&mut self, replica: Box<Replica>) {
        self.groups.insert(replica.group, replica);
    }

    /// All numbers, ascending.
    pub(crate) fn numbers(&self) -> Vec<GroupId> {
        let mut numbers: Vec<GroupId> = self.groups.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// A group has something to do.
    pub(crate) fn touch(&mut self, group: GroupId) {
        if self.dirty.last() != Some(&group) {
            self.dirty.push(group);
        }
    }

    /// A group that has something to do.
    pub(crate) fn next_dirty(&mut self) -> Option<GroupId> {
        self.dirty.pop()
    }

    /// Whether any group has something to do.
    pub(crate) fn any_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether a step of this group waits for the disk.
    pub(crate) fn is_unsynced(&self, group: GroupId) -> bool {
        self.unsynced.iter().any(|one| one.group == group)
    }

    /// The next step that is durable.
    pub(crate) fn next_synced(&mut self, lsn: Lsn) -> Option<Unsynced> {
        self.unsynced.pop_front_if(|one| one.lsn <= lsn)
    }

    /// Keeps a message for another node until the end of the pass.
    pub(crate) fn say(&mut self, to: NodeId, group: GroupId, message: &Message) {
        let frames = self.outgoing.entry(to).or_default();
        if frames.last().is_none_or(|last| last.len() > FRAME) {
            frames.push(vec![CONSENSUS]);
        }
        let Some(frame) = frames.last_mut() else {
            return;
        };
        frame.extend_from_slice(&group.to_le_bytes());
        let at = frame.len();
        frame.extend_from_slice(&[0; 4]);
        message.encode(frame);
        let len = u32::try_from(frame.len() - at - 4).unwrap_or(u32::MAX);
        frame[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// Takes what there is to say, by node: as many frames as it needs, in order.
    pub(crate) fn take_outgoing(&mut self) -> BTreeMap<NodeId, Vec<Vec<u8>>> {
        std::mem::take(&mut self.outgoing)
    }
}
