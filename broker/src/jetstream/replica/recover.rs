//! Members of groups after a restart. Nothing is applied while the journal is read: the log is put together, and
//! consensus says anew what of it is committed.

use std::collections::BTreeMap;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_storage::{Insert, Kind, Location, ReplayRecord};

use super::member::Member;
use super::payload::Payload;
use super::{META, Replica};
use crate::consensus::{self, EntryKind, HardState, NodeId, Start};
use crate::jetstream::commit::Commits;
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Entry, Malformed};
use crate::jetstream::io::{Level, Outbox};
use crate::jetstream::log::GroupId;
use crate::jetstream::shadow::Shadow;

/// What is known of a member while the journal is read.
#[derive(Debug, Default)]
pub(crate) struct Reborn {
    pub(crate) stream: Option<u32>,
    pub(crate) member: Member,
    pub(crate) shadow: Shadow,
    /// The log behind what is applied.
    pub(crate) log: BTreeMap<u64, (u64, EntryKind, Bytes, Location)>,
    /// Entries up to this index were there and cannot be read any more.
    damaged_to: u64,
    /// A record of what it may not forget cannot be read.
    hurt: bool,
}

/// All members, by group.
pub(crate) type Rebirth = HashMap<GroupId, Reborn, FixedState>;

impl Reborn {
    /// A member as its checkpoint, or its first record, describes it.
    pub(crate) fn new(stream: Option<u32>, member: Member, shadow: Shadow) -> Self {
        Self {
            stream,
            member,
            shadow,
            ..Self::default()
        }
    }

    /// Takes a record of the group.
    pub(crate) fn replay(&mut self, item: &ReplayRecord<'_>) -> Result<(), Malformed> {
        let record = &item.record;
        let again = matches!(record.kind, Kind::MessageAgain | Kind::ControlAgain(_));
        if record.index == 0 && item.damaged {
            // What it promised is not known: it waits for the next entry that the others commit.
            self.hurt = true;
            return Ok(());
        }
        if record.index == 0 {
            if let Entry::Hard { term, vote, commit } = Entry::decode(record.payload)? {
                self.member.hard = newer(self.member.hard, HardState { term, vote, commit });
            }
            return Ok(());
        }
        let (index, term) = (record.index, u64::from(record.term));
        if index <= self.member.applied.0 {
            return Ok(());
        }
        let same = self.log.get(&index).is_some_and(|known| known.0 == term);
        if again && !same && self.log.contains_key(&index) {
            // A copy of what was replaced after it had been written.
            return Ok(());
        }
        if !same {
            self.log.split_off(&index);
        }
        if item.damaged {
            self.damaged_to = self.damaged_to.max(index);
            return Ok(());
        }
        let (kind, data) = match record.kind {
            Kind::Message | Kind::MessageAgain => {
                let message = Insert {
                    seq: record.seq,
                    timestamp: record.timestamp,
                    key: record.key,
                    headers: record.headers,
                    payload: record.payload,
                    location: None,
                };
                (EntryKind::Data, Payload::Message(message).encode())
            }
            _ => match Entry::decode(record.payload)? {
                Entry::Noop => (EntryKind::Empty, Bytes::new()),
                Entry::Change { change } => (EntryKind::Change, Bytes::copy_from_slice(change)),
                Entry::Meta { entry } => (EntryKind::Data, Bytes::copy_from_slice(entry)),
                _ => (EntryKind::Data, Payload::Control(record.payload).encode()),
            },
        };
        self.log.insert(index, (term, kind, data, item.location));
        Ok(())
    }

    /// A state was given to the member. Whether it is newer than what it had.
    pub(crate) fn install(&mut self, member: Member) -> bool {
        let newer = member.applied.0 > self.member.applied.0;
        if newer {
            self.log = self.log.split_off(&(member.applied.0 + 1));
            self.member.applied = member.applied;
            self.member.membership = member.membership;
            self.member.fetching = false;
        }
        newer
    }

    /// The member, ready to go on.
    fn start(self, group: GroupId, node: NodeId, seed: u64) -> Result<Replica, consensus::Broken> {
        let Self {
            stream,
            member,
            shadow,
            log,
            mut damaged_to,
            hurt,
        } = self;
        let applied = member.applied;
        let mut entries = Vec::new();
        let mut placed = std::collections::VecDeque::new();
        for (index, (term, kind, data, location)) in log {
            if index != applied.0 + 1 + entries.len() as u64 {
                // What lies behind a gap was promised, too.
                damaged_to = damaged_to.max(index);
                continue;
            }
            placed.push_back(super::Placed { index, location });
            entries.push(consensus::Entry {
                index,
                term,
                kind,
                data,
            });
        }
        #[cfg(test)]
        if super::planted::has(super::planted::Bug::LosesTail) {
            entries.pop();
        }
        let last = applied.0 + entries.len() as u64;
        if hurt {
            damaged_to = damaged_to.max(last + 1);
        }
        let mut hard = member.hard;
        hard.commit = hard.commit.clamp(applied.0, last);
        let start = Start {
            id: node,
            membership: member.membership.clone(),
            hard,
            applied,
            entries,
            seed,
        };
        Ok(Replica {
            group,
            stream,
            consensus: consensus::Group::new(start)?,
            commits: Commits::default(),
            placed,
            located: Default::default(),
            hard,
            membership: member.membership.clone(),
            applied,
            whole: None,
            open_batch: None,
            proposed: 0,
            shadow,
            standing: Default::default(),
            damaged_to: if damaged_to > last { damaged_to } else { 0 },
            held: None,
            fetching: member.fetching,
            passed_over: 0,
            stalled: None,
            #[cfg(test)]
            audit: Vec::new(),
        })
    }
}

/// Of two states of one member the later one.
fn newer(old: HardState, new: HardState) -> HardState {
    if new.term < old.term {
        return HardState {
            commit: old.commit.max(new.commit),
            ..old
        };
    }
    let vote = if new.term == old.term && new.vote == 0 {
        old.vote
    } else {
        new.vote
    };
    HardState {
        term: new.term,
        vote,
        commit: old.commit.max(new.commit),
    }
}

impl Core {
    /// Gives this node its number when it first belongs to a cluster.
    pub(crate) fn name_node(&mut self) {
        if let Some(cluster) = self.settings.cluster.as_ref().filter(|_| self.node == 0) {
            let id = cluster.node;
            self.node = id;
            self.log.note(META, &Entry::Node { id });
        }
    }

    /// Starts the members that the journal told of.
    pub(crate) fn start_members(&mut self, rebirth: Rebirth, out: &mut dyn Outbox) {
        let mut rebirth: Vec<(GroupId, Reborn)> = rebirth.into_iter().collect();
        rebirth.sort_unstable_by_key(|(group, _)| *group);
        for (group, reborn) in rebirth {
            self.start_member(group, reborn, out);
        }
    }

    /// Begins a group, or joins one: its state so far stands for `index`.
    pub(crate) fn begin_member(
        &mut self,
        group: GroupId,
        stream: Option<u32>,
        voters: Vec<NodeId>,
        index: u64,
        out: &mut dyn Outbox,
    ) {
        let member = Member::begin(voters, index);
        self.start_member(group, Reborn::new(stream, member, Shadow::default()), out);
    }

    pub(crate) fn start_member(&mut self, group: GroupId, reborn: Reborn, out: &mut dyn Outbox) {
        let stream = reborn.stream;
        if let Some(stream) = stream.and_then(|id| self.streams.get_mut(id)) {
            stream.replicated = Some(false);
        }
        if self.settings.cluster.is_none() {
            // Its data stays for the day when the node is part of its cluster again.
            if let Some(stream) = stream.and_then(|id| self.streams.get(id)) {
                let name = &stream.config.name;
                let text = format!(
                    "Error recreating stream {name:?}: replicas > 1 not supported in non-clustered mode (10074)"
                );
                out.log(Level::Warn, &text);
            }
            return self.log.store.hold_group(group);
        }
        // Members that draw the same timeouts would split every vote.
        let own = self.node.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ group;
        match reborn.start(group, self.node, out.random() ^ own) {
            Ok(replica) => {
                self.log.replicas.put(Box::new(replica));
                self.log.replicas.touch(group);
            }
            Err(error) => {
                let text = format!("JetStream group {group} cannot go on: {error}");
                out.log(Level::Error, &text);
                self.log.store.hold_group(group);
            }
        }
    }
}

/// The record that begins a member.
pub(crate) fn voters_of(bytes: &[u8]) -> Vec<NodeId> {
    let (chunks, _) = bytes.as_chunks::<8>();
    chunks
        .iter()
        .map(|one| NodeId::from_le_bytes(*one))
        .collect()
}

/// Whether a group is one of a stream.
pub(crate) fn has_stream(group: GroupId) -> bool {
    group != META
}
