//! What must hold whatever happens, checked after every step.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

use super::super::super::{Entry, EntryKind, Group, NodeId, Role};

/// A digest of bytes.
pub(super) fn digest(parts: &[&[u8]]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

/// The digest of everything that was applied up to an entry.
pub(super) fn chain(before: u64, entry: &Entry) -> u64 {
    digest(&[
        &before.to_le_bytes(),
        &entry.index.to_le_bytes(),
        &entry.term.to_le_bytes(),
        &entry.data,
    ])
}

/// What all members together have shown so far.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// Who led, by group and term.
    leaders: BTreeMap<(u64, u64), NodeId>,
    /// Digest and the term before, by group, index and term.
    entries: BTreeMap<(u64, u64, u64), (u64, u64)>,
    /// Term and chain of what was committed, by group and index.
    committed: BTreeMap<(u64, u64), (u64, u64)>,
    /// Terms that a member has shown, by group, node and how often that crashed: a term that was not synced may be
    /// forgotten.
    terms: BTreeMap<(u64, NodeId, u64), u64>,
    /// What clients were told, by group: index and payload.
    acked: BTreeMap<(u64, u64), Vec<u8>>,
    /// Payloads of what was committed, by group and index.
    payloads: BTreeMap<(u64, u64), Vec<u8>>,
    /// The first thing that did not hold.
    pub(super) broken: Option<String>,
    /// A digest of everything that happened.
    pub(super) trace: u64,
}

impl Truth {
    pub(super) fn fail(&mut self, text: String) {
        self.broken.get_or_insert(text);
    }

    /// Something happened.
    pub(super) fn note(&mut self, parts: &[&[u8]]) {
        let before = self.trace.to_le_bytes();
        let mut all: Vec<&[u8]> = vec![&before];
        all.extend(parts);
        self.trace = digest(&all);
    }

    /// A member writes an entry behind one of `before`'s term: the same index and term say the same everywhere.
    pub(super) fn written(&mut self, group: u64, entry: &Entry, before: u64) {
        let what = (digest(&[&entry.data]), before);
        let at = (group, entry.index, entry.term);
        let known = *self.entries.entry(at).or_insert(what);
        if known != what {
            self.fail(format!("two entries at {at:?}: {known:?} and {what:?}"));
        }
    }

    /// A member applies an entry: everybody applies the same.
    pub(super) fn applied(&mut self, group: u64, entry: &Entry, chain: u64) {
        let at = (group, entry.index);
        let what = (entry.term, chain);
        let known = *self.committed.entry(at).or_insert(what);
        if known != what {
            self.fail(format!("two truths at {at:?}: {known:?} and {what:?}"));
        }
        if entry.kind == EntryKind::Data {
            self.payloads.insert(at, entry.data.to_vec());
        }
    }

    /// A client was told that its entry is there.
    pub(super) fn acked(&mut self, group: u64, index: u64, data: Vec<u8>) {
        if self.payloads.get(&(group, index)) != Some(&data) {
            self.fail(format!("acknowledged and not committed: {group} {index}"));
        }
        self.acked.insert((group, index), data);
    }

    /// How many entries clients were told of.
    pub(super) fn acks(&self) -> usize {
        self.acked.len()
    }

    /// The last index of a group that was committed.
    pub(super) fn last(&self, group: u64) -> u64 {
        let of_group = (group, 0)..=(group, u64::MAX);
        self.committed
            .range(of_group)
            .next_back()
            .map_or(0, |(at, _)| at.1)
    }

    /// A member after a step.
    pub(super) fn look(&mut self, group: u64, node: NodeId, life: u64, member: &Group) {
        let status = member.status();
        if let Some(broken) = member.broken() {
            self.fail(format!("group {group} of node {node} is broken: {broken}"));
        }
        let term = self.terms.entry((group, node, life)).or_default();
        if status.term < *term {
            let text = format!("group {group} of node {node} went back to {}", status.term);
            return self.fail(text);
        }
        *term = status.term;
        if status.role != Role::Leader {
            return;
        }
        let elected = !self.leaders.contains_key(&(group, status.term));
        let leader = *self.leaders.entry((group, status.term)).or_insert(node);
        if leader != node {
            let text = format!("group {group} has two leaders: {leader} and {node}");
            return self.fail(text);
        }
        if elected {
            self.complete(group, node, member);
        }
    }

    /// A new leader has everything that was committed.
    fn complete(&mut self, group: u64, node: NodeId, member: &Group) {
        let last = self.last(group);
        let known = self.committed.get(&(group, last)).map(|one| one.0);
        let log = &member.node.raft.raft_log;
        let has = known.is_none_or(|term| {
            log.first_index() > last + 1 || log.term(last).is_ok_and(|own| own == term)
        });
        if !has {
            self.fail(format!("group {group}: new leader {node} lacks {last}"));
        }
    }

    /// At the end, when everybody has everything.
    pub(super) fn finish(&mut self) {
        let lost = self
            .acked
            .iter()
            .find(|(at, data)| self.payloads.get(at) != Some(data));
        if let Some((at, _)) = lost {
            self.fail(format!("acknowledged and lost: {at:?}"));
        }
    }
}
