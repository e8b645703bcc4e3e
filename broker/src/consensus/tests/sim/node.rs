//! A node: a trivial journal, and members of groups that are driven as the broker drives them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::super::super::{
    Entry, EntryKind, Group, HardState, Membership, Message, NodeId, Ready, Role, Start, Wanted,
};
use super::Bug;
use super::truth::{Truth, chain};

/// The state of a group as of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) chain: u64,
    pub(super) membership: Membership,
}

/// What goes from node to node.
#[derive(Clone, Debug)]
pub(super) enum What {
    Consensus(Vec<u8>),
    Fetch,
    State(State),
}

/// To a node, for a group.
pub(super) type Packet = (NodeId, u64, What);

/// A record of the journal.
#[derive(Clone, Debug)]
enum Record {
    Hard(HardState),
    Entry(Entry),
    /// The state, and whether the log goes on behind it.
    State(State, bool),
}

struct Unsynced {
    upto: usize,
    number: u64,
    messages: Vec<(NodeId, Message)>,
}

/// A state that is written and not durable yet.
struct Installing {
    upto: usize,
    state: State,
}

pub(super) struct Member {
    pub(super) group: Group,
    pub(super) state: State,
    unsynced: VecDeque<Unsynced>,
    wanted: Option<Wanted>,
    installing: Option<Installing>,
    /// Terms of the log behind what is applied, for the check of what is written.
    terms: BTreeMap<u64, u64>,
    /// What clients wait for, by index: term and payload.
    waiting: BTreeMap<u64, (u64, Vec<u8>)>,
    role: Role,
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) members: BTreeMap<u64, Member>,
    journal: Vec<(u64, Record)>,
    synced: usize,
    /// Up to where the sync under way goes.
    pub(super) syncing: Option<usize>,
    /// Crashes so far.
    pub(super) life: u64,
    pub(super) up: bool,
    bug: Bug,
}

impl Node {
    pub(super) fn new(id: NodeId, bug: Bug) -> Self {
        Self {
            id,
            members: BTreeMap::new(),
            journal: Vec::new(),
            synced: 0,
            syncing: None,
            life: 0,
            up: true,
            bug,
        }
    }

    /// Begins a member, blank or with the first voters.
    pub(super) fn begin(&mut self, group: u64, voters: &[NodeId], seed: u64) {
        let membership = Membership {
            voters: voters.to_vec(),
            ..Membership::default()
        };
        let state = State {
            membership,
            ..State::default()
        };
        self.journal
            .push((group, Record::State(state.clone(), true)));
        self.synced = self.journal.len();
        self.start(group, state, HardState::default(), Vec::new(), seed);
    }

    fn start(&mut self, group: u64, state: State, hard: HardState, entries: Vec<Entry>, seed: u64) {
        let mut terms: BTreeMap<u64, u64> = entries.iter().map(|e| (e.index, e.term)).collect();
        terms.insert(state.index, state.term);
        let start = Start {
            id: self.id,
            membership: state.membership.clone(),
            hard,
            applied: (state.index, state.term),
            entries,
            seed: seed ^ self.id << 32 ^ group << 16 ^ self.life,
        };
        let member = Member {
            group: Group::new(start).unwrap(),
            state,
            unsynced: VecDeque::new(),
            wanted: None,
            installing: None,
            terms,
            waiting: BTreeMap::new(),
            role: Role::Follower,
        };
        self.members.insert(group, member);
    }

    /// The node stops; of what was not synced, `kept` records survive.
    pub(super) fn crash(&mut self, kept: usize) {
        self.up = false;
        self.life += 1;
        self.members.clear();
        self.syncing = None;
        self.journal.truncate(self.synced + kept);
        self.synced = self.journal.len();
    }

    /// Records that a crash may lose.
    pub(super) fn at_risk(&self) -> usize {
        self.journal.len() - self.synced
    }

    /// Starts again from the journal.
    pub(super) fn restart(&mut self, seed: u64) {
        self.up = true;
        let mut found: BTreeMap<u64, (State, HardState, BTreeMap<u64, Entry>)> = BTreeMap::new();
        for (group, record) in &self.journal {
            let (state, hard, log) = found.entry(*group).or_default();
            match record {
                Record::Hard(newer) => *hard = *newer,
                Record::Entry(entry) => {
                    log.split_off(&entry.index);
                    log.insert(entry.index, entry.clone());
                }
                Record::State(newer, goes_on) => {
                    *state = newer.clone();
                    *log = if *goes_on {
                        log.split_off(&(newer.index + 1))
                    } else {
                        BTreeMap::new()
                    };
                }
            }
        }
        for (group, (state, hard, log)) in found {
            let mut entries: Vec<Entry> = log.into_values().collect();
            if self.bug == Bug::ForgetsItsTail {
                entries.truncate(entries.len().saturating_sub(2));
            }
            self.start(group, state, hard, entries, seed);
        }
    }

    /// Takes a packet.
    pub(super) fn hear(&mut self, from: NodeId, group: u64, what: What, out: &mut Vec<Packet>) {
        let Some(member) = self.members.get_mut(&group) else {
            return;
        };
        match what {
            What::Consensus(bytes) => {
                let message = Message::decode(Bytes::from(bytes)).unwrap();
                member.group.step(from, message);
            }
            What::Fetch => out.push((from, group, What::State(member.state.clone()))),
            What::State(state) => {
                let fits = member.wanted.as_ref().is_some_and(|wanted| {
                    // Who was removed meanwhile has no use for it.
                    state.index >= wanted.index.max(member.state.index + 1)
                        && state.membership.contains(self.id)
                });
                if fits && member.installing.is_none() {
                    let goes_on = member.group.knows(state.index, state.term);
                    let record = Record::State(state.clone(), goes_on);
                    self.journal.push((group, record));
                    let upto = self.journal.len();
                    member.installing = Some(Installing { upto, state });
                }
            }
        }
    }

    /// A tick of all members.
    pub(super) fn tick(&mut self, out: &mut Vec<Packet>) {
        for (group, member) in &mut self.members {
            if !member.group.is_asleep() {
                member.group.tick();
            }
            if let Some(wanted) = &member.wanted {
                out.push((wanted.from, *group, What::Fetch));
            }
        }
    }

    /// Takes all members as far as they get without the disk and the others.
    pub(super) fn drive(&mut self, truth: &mut Truth, out: &mut Vec<Packet>) {
        let groups: Vec<u64> = self.members.keys().copied().collect();
        for group in groups {
            while let Some(ready) = self
                .members
                .get_mut(&group)
                .and_then(|one| one.group.ready())
            {
                self.take(group, ready, truth, out);
            }
            let (id, life) = (self.id, self.life);
            if let Some(member) = self.members.get_mut(&group) {
                let broken = member.group.broken().is_some();
                truth.look(group, id, life, &member.group);
                if broken {
                    self.members.remove(&group);
                }
            }
        }
    }

    fn take(&mut self, group: u64, ready: Ready, truth: &mut Truth, out: &mut Vec<Packet>) {
        let Some(member) = self.members.get_mut(&group) else {
            return;
        };
        if let Some(mut hard) = ready.hard {
            if self.bug == Bug::ForgetsItsVote {
                hard.vote = 0;
            }
            self.journal.push((group, Record::Hard(hard)));
        }
        for entry in &ready.entries {
            let before = member.terms.get(&(entry.index - 1)).copied();
            member.terms.split_off(&entry.index);
            member.terms.insert(entry.index, entry.term);
            truth.written(group, entry, before.unwrap_or_default());
            self.journal.push((group, Record::Entry(entry.clone())));
        }
        let send = |messages: &[(NodeId, Message)], out: &mut Vec<Packet>| {
            for (to, message) in messages {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                out.push((*to, group, What::Consensus(bytes)));
            }
        };
        send(&ready.messages, out);
        let waits = ready.must_sync || !ready.entries.is_empty() || !member.unsynced.is_empty();
        if waits && self.bug != Bug::SpeaksTooEarly {
            member.unsynced.push_back(Unsynced {
                upto: self.journal.len(),
                number: ready.number,
                messages: ready.after_sync,
            });
        } else {
            send(&ready.after_sync, out);
            member.group.persisted(ready.number);
        }
        if let Some(role) = ready.role {
            member.role = role.role;
            member.waiting.clear();
        }
        member.wanted = ready.snapshot.or(member.wanted.take());
        for entry in ready.committed {
            self.apply(group, &entry, truth);
        }
    }

    fn apply(&mut self, group: u64, entry: &Entry, truth: &mut Truth) {
        let id = self.id;
        let Some(member) = self.members.get_mut(&group) else {
            return;
        };
        if member.wanted.is_some() || entry.index <= member.state.index {
            return;
        }
        if entry.index != member.state.index + 1 {
            let (at, from) = (entry.index, member.state.index);
            return truth.fail(format!("group {group} of {id} goes from {from} to {at}"));
        }
        if entry.kind == EntryKind::Change {
            member.state.membership = member.group.apply_change(entry);
        }
        member.state.chain = chain(member.state.chain, entry);
        (member.state.index, member.state.term) = (entry.index, entry.term);
        truth.applied(group, entry, member.state.chain);
        member.group.applied(entry.index, entry.index);
        if let Some((term, data)) = member.waiting.remove(&entry.index)
            && term == entry.term
        {
            truth.acked(group, entry.index, data);
        }
        if entry.index % 16 == id % 16 {
            let record = Record::State(member.state.clone(), true);
            self.journal.push((group, record));
        }
    }

    /// The sync under way is done.
    pub(super) fn sync_done(&mut self, out: &mut Vec<Packet>) {
        let Some(synced) = self.syncing.take() else {
            return;
        };
        self.synced = synced;
        for (group, member) in &mut self.members {
            while let Some(done) = member.unsynced.pop_front_if(|one| one.upto <= synced) {
                for (to, message) in &done.messages {
                    let mut bytes = Vec::new();
                    message.encode(&mut bytes);
                    out.push((*to, *group, What::Consensus(bytes)));
                }
                member.group.persisted(done.number);
            }
            if let Some(done) = member.installing.take_if(|one| one.upto <= synced) {
                member.wanted = None;
                let State { index, term, .. } = done.state;
                member.terms.insert(index, term);
                member.state = done.state;
                let membership = member.state.membership.clone();
                member.group.restored(index, term, &membership);
            }
        }
    }

    /// Begins a sync, if there is something to be synced and none is under way.
    pub(super) fn begin_sync(&mut self) -> bool {
        let wanted = self.syncing.is_none() && self.journal.len() > self.synced;
        if wanted {
            self.syncing = Some(self.journal.len());
        }
        wanted
    }

    /// A client publishes.
    pub(super) fn propose(&mut self, group: u64, data: Vec<u8>) -> bool {
        let Some(member) = self.members.get_mut(&group) else {
            return false;
        };
        let Ok(index) = member.group.propose(data.clone().into()) else {
            return false;
        };
        let term = member.group.status().term;
        member.waiting.insert(index, (term, data));
        true
    }
}
