//! What must be true after every step, whatever happens: one history, and nobody was told anything else.

use std::collections::{BTreeMap, BTreeSet};

use jetwake_protocol::header;

use super::node::Node;
use super::random::{digest, mix};
use crate::consensus::{EntryKind, Message};
use crate::jetstream::core::Core;
use crate::jetstream::entry::Entry;
use crate::jetstream::io::NodeId;
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;
use crate::jetstream::replica::payload::Payload;

/// What one group has decided, as whoever applied it first saw it.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Term and digest of each entry.
    entries: BTreeMap<u64, (u64, u64)>,
    /// Who applied it first, for the report.
    first: BTreeMap<u64, NodeId>,
    /// The digest of the state behind an index.
    states: BTreeMap<u64, u64>,
    /// Every message that was ever committed.
    pub(super) ever: BTreeMap<u64, String>,
    /// Those that were not deleted.
    pub(super) live: BTreeMap<u64, String>,
    /// Message ids and payloads that were committed.
    ids: BTreeSet<String>,
    pub(super) payloads: BTreeSet<String>,
    /// The last index that was applied anywhere.
    pub(super) applied: u64,
    /// Most messages that it keeps.
    limit: Option<usize>,
    /// Who served in a term.
    leaders: BTreeMap<u64, NodeId>,
}

/// How far one member was.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    term: u64,
    commit: u64,
    applied: u64,
}

/// The observer.
#[derive(Debug, Default)]
pub(super) struct Checker {
    pub(super) groups: BTreeMap<GroupId, History>,
    /// By node and group, since the node's start.
    progress: BTreeMap<(NodeId, GroupId), Progress>,
    /// Who got a vote, by group, term and voter.
    votes: BTreeMap<(GroupId, u64, NodeId), NodeId>,
    /// Groups whose leader has forgotten what a member needs: node and group.
    pub(super) behind: BTreeSet<(NodeId, GroupId)>,
    pub(super) broken: BTreeSet<(NodeId, GroupId)>,
    pub(super) trace: u64,
    /// The node whose files were damaged.
    pub(super) rotten: Option<NodeId>,
}

impl Checker {
    pub(super) fn note(&mut self, what: u64) {
        self.trace = mix(self.trace ^ what).wrapping_add(1);
    }

    /// The node has lost what it had in memory.
    pub(super) fn restarted(&mut self, node: NodeId) {
        self.progress.retain(|(one, _), _| *one != node);
    }

    /// A frame is on its way.
    pub(super) fn frame(&mut self, from: NodeId, to: NodeId, frame: &[u8]) {
        self.note(digest(frame) ^ from << 8 ^ to);
        if frame.first() != Some(&1) {
            return;
        }
        let mut rest = bytes::Bytes::copy_from_slice(&frame[1..]);
        while rest.len() >= 12 {
            let head = rest.split_to(12);
            let group = u64::from_le_bytes(head[..8].try_into().unwrap());
            let len = u32::from_le_bytes(head[8..].try_into().unwrap()) as usize;
            let message = Message::decode(rest.split_to(len)).unwrap();
            if let Some(term) = message.gives_vote() {
                let voted = *self.votes.entry((group, term, from)).or_insert(to);
                assert_eq!(
                    voted, to,
                    "node {from} voted twice in term {term} of {group}"
                );
            }
        }
    }

    /// Looks at a node after its step.
    pub(super) fn node(&mut self, node: &mut Node) {
        let id = node.id;
        let Some(rig) = &mut node.rig else {
            return;
        };
        for group in rig.core.core_mut().log.replicas.numbers() {
            let core = rig.core.core_mut();
            let Some(replica) = core.log.replica(group) else {
                continue;
            };
            if let Some(broken) = replica.consensus.broken() {
                assert!(
                    self.broken.insert((id, group)),
                    "node {id} group {group}: {broken}"
                );
            }
            let applied = replica.applied.0;
            let status = replica.consensus.status();
            for peer in &status.peers {
                if peer.fetching {
                    self.behind.insert((peer.node, group));
                }
            }
            let (standing, audit) = (replica.standing, std::mem::take(&mut replica.audit));
            let history = self.groups.entry(group).or_default();
            let last = self.progress.entry((id, group)).or_default();
            let stream = replica.stream.and_then(|id| core.streams.get(id));
            let limit = stream.map_or(-1, |one| one.config.max_msgs);
            history.limit = usize::try_from(limit).ok();
            for entry in &audit {
                history.apply(group, id, entry);
            }
            if standing.serving {
                let first = *history.leaders.entry(standing.term).or_insert(id);
                assert_eq!(
                    first, id,
                    "two leaders of {group} in term {}",
                    standing.term
                );
            }
            let now = Progress {
                term: status.term,
                commit: status.commit,
                applied,
            };
            assert!(
                now.term >= last.term && now.commit >= last.commit && now.applied >= last.applied,
                "node {id} group {group} went back: {last:?} {now:?}"
            );
            assert!(applied <= status.commit, "applied beyond what is committed");
            if applied != last.applied && group != META && self.rotten != Some(id) {
                let state = state_of(core, group);
                let known = *history.states.entry(applied).or_insert(state.0);
                assert_eq!(
                    known,
                    state.0,
                    "node {id} group {group} differs at {applied}: {}, model {:?}",
                    state.1,
                    history.live.keys().collect::<Vec<_>>()
                );
                let core = rig.core.core_mut();
                if applied == history.applied {
                    history.compare(core, group, id);
                }
            }
            *last = now;
            self.trace = mix(self.trace ^ now.term ^ now.commit << 20 ^ now.applied << 40);
        }
    }
}

fn state_of(core: &mut Core, group: GroupId) -> (u64, String) {
    let Some(replica) = core.log.replica(group) else {
        return (0, String::new());
    };
    let mut bytes = Vec::new();
    replica.shadow.write(&mut bytes);
    let shadow = digest(&bytes);
    let Some(stream) = replica.stream.and_then(|id| core.streams.get(id)) else {
        return (0, String::new());
    };
    let state = stream.messages.state();
    let text = format!("{state:?} {shadow:x}");
    (digest(text.as_bytes()), text)
}

impl History {
    fn apply(&mut self, group: GroupId, node: NodeId, entry: &crate::consensus::Entry) {
        let hash = digest(&entry.data) ^ u64::from(entry.kind.is_data());
        let known = self.entries.get(&entry.index);
        if let Some(known) = known {
            assert_eq!(
                *known,
                (entry.term, hash),
                "node {node} applied another entry {} of {group} than node {}",
                entry.index,
                self.first[&entry.index]
            );
            return;
        }
        assert!(
            self.applied == 0 || entry.index == self.applied + 1,
            "node {node} applied {} of {group} after {}",
            entry.index,
            self.applied
        );
        self.entries.insert(entry.index, (entry.term, hash));
        self.first.insert(entry.index, node);
        self.applied = entry.index;
        if entry.kind == EntryKind::Data && group != META {
            self.perform(&entry.data);
        }
    }

    /// A node has exactly what is committed.
    fn compare(&self, core: &mut Core, group: GroupId, node: NodeId) {
        let stream = core.log.replica(group).and_then(|one| one.stream);
        let Some(stream) = stream.and_then(|id| core.streams.get(id)) else {
            return;
        };
        let state = stream.messages.state();
        let first = self.live.keys().next().copied();
        assert_eq!(
            (state.messages, first.unwrap_or(state.first_seq)),
            (self.live.len() as u64, state.first_seq),
            "node {node} group {group} has {state:?}, not {:?}",
            self.live.keys().collect::<Vec<_>>()
        );
    }

    fn perform(&mut self, data: &[u8]) {
        match Payload::decode(data) {
            Ok(Payload::Message(message)) => {
                let text = String::from_utf8_lossy(message.payload).into_owned();
                if let Some(id) = header::get(message.headers, b"Nats-Msg-Id") {
                    let id = String::from_utf8_lossy(id).into_owned();
                    assert!(self.ids.insert(id), "{text} stored twice");
                }
                assert!(self.payloads.insert(text.clone()), "{text} stored twice");
                let before = self.ever.insert(message.seq, text.clone());
                assert_eq!(before, None, "sequence {} twice", message.seq);
                self.live.insert(message.seq, text);
                while self.limit.is_some_and(|limit| self.live.len() > limit) {
                    self.live.pop_first();
                }
            }
            Ok(Payload::Control(bytes)) => match Entry::decode(bytes) {
                Ok(Entry::Delete { seq, .. }) => {
                    self.live.remove(&seq);
                }
                Ok(Entry::Purge { seq, keep, .. }) => {
                    let end = if seq > 0 { seq } else { u64::MAX };
                    let last = self.live.keys().rev().nth(keep.saturating_sub(1) as usize);
                    let end = match last {
                        _ if keep == 0 => end,
                        Some(last) => end.min(*last),
                        None => 0,
                    };
                    self.live.retain(|seq, _| *seq >= end);
                }
                _ => {}
            },
            Err(_) => panic!("malformed"),
        }
    }
}
