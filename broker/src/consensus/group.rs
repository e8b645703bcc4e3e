//! One member of a group: the engine, and what it does not do itself.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use raft::eraftpb::{self, ConfState, EntryType, MessageType};
use raft::{Config, ProgressState, RawNode, SnapshotStatus, StateRole};

use super::codec::Body;
use super::log::Log;
use super::rest::Rest;
use super::{
    Broken, Change, Entry, EntryKind, HardState, Membership, Message, NodeId, PeerStatus, Ready,
    Refused, Role, RoleChange, Start, Status, Wanted,
};

/// Ticks without a word from the leader after which a member calls an election: at least, and twice that at most.
const ELECTION: usize = 10;
/// Ticks between two heartbeats of a leader.
const HEARTBEAT: usize = 3;
/// Bytes of one message with entries.
const MESSAGE: u64 = 1 << 20;
/// Messages with entries that may be under way to one member.
const INFLIGHT: usize = 64;
/// Bytes that a leader may have proposed and not committed.
const UNCOMMITTED: u64 = 64 << 20;
/// Bytes of entries that one step hands over to be applied.
const COMMITTED: u64 = 4 << 20;

/// See the module.
pub struct Group {
    node: RawNode<Log>,
    rest: Rest,
    /// Says why, once it cannot go on.
    broken: Option<Broken>,
    random: u64,
    /// The election timeout that was drawn from `random`.
    timeout: usize,
    /// The leader that offers a state, and its message.
    offered: Option<eraftpb::Message>,
    /// The offer was not handed out yet.
    offer_is_new: bool,
    /// What was told of the leader last.
    told: RoleChange,
    /// Members that are to be told that the group rests.
    bedtime: bool,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

impl Group {
    /// Starts a member.
    ///
    /// # Errors
    /// What it remembers makes no sense.
    pub fn new(start: Start) -> Result<Self, Broken> {
        let Start {
            id,
            membership,
            hard,
            applied,
            entries,
            seed,
        } = start;
        let last = applied.0 + entries.len() as u64;
        let mut state = eraftpb::HardState::default();
        state.term = hard.term.max(applied.1);
        state.vote = if state.term == hard.term {
            hard.vote
        } else {
            0
        };
        // The engine takes neither a commit that is behind what is applied nor one beyond the log.
        state.commit = hard.commit.clamp(applied.0, last);
        let entries = entries.iter().map(Into::into).collect();
        let log = Log::new(state, ConfState::from(&membership), applied, entries);
        let config = Config {
            id,
            election_tick: ELECTION,
            heartbeat_tick: HEARTBEAT,
            applied: applied.0,
            max_size_per_msg: MESSAGE,
            max_inflight_msgs: INFLIGHT,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: UNCOMMITTED,
            max_committed_size_per_ready: COMMITTED,
            ..Config::default()
        };
        let made =
            std::panic::catch_unwind(AssertUnwindSafe(|| RawNode::new(&config, log, &quiet())));
        let node = match made {
            Ok(Ok(node)) => node,
            Ok(Err(error)) => return Err(Broken(error.to_string())),
            Err(_) => return Err(Broken("the engine gave up at its start".to_owned())),
        };
        let term = node.raft.term;
        let mut group = Self {
            node,
            rest: Rest::default(),
            broken: None,
            random: seed | 1,
            timeout: 0,
            offered: None,
            offer_is_new: false,
            told: RoleChange {
                role: Role::Follower,
                leader: None,
                term,
            },
            bedtime: false,
        };
        group.draw_timeout();
        Ok(group)
    }

    /// Why it cannot go on, if it cannot.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Calls the engine. It gives up by a panic, which costs this member and nothing else.
    fn call<R>(&mut self, call: impl FnOnce(&mut RawNode<Log>) -> R) -> Option<R> {
        if self.broken.is_some() {
            return None;
        }
        let node = &mut self.node;
        match std::panic::catch_unwind(AssertUnwindSafe(|| call(node))) {
            Ok(result) => {
                self.draw_timeout();
                Some(result)
            }
            Err(cause) => {
                let text = cause
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| cause.downcast_ref::<&str>().copied());
                self.broken = Some(Broken(text.unwrap_or("the engine gave up").to_owned()));
                None
            }
        }
    }

    /// The engine draws its timeouts from the system's randomness; ours come from the seed.
    fn draw_timeout(&mut self) {
        if self.node.raft.randomized_election_timeout() == self.timeout && self.timeout > 0 {
            return;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.timeout = ELECTION + (self.random >> 33) as usize % ELECTION;
        self.node.raft.set_randomized_election_timeout(self.timeout);
    }

    /// Takes a message from another member.
    pub fn step(&mut self, from: NodeId, message: Message) {
        match message.0 {
            Body::Asleep { term, index } => self.fall_asleep(from, term, index),
            Body::Engine(mut one) => {
                one.from = from;
                one.to = self.node.raft.id;
                if one.get_msg_type() == MessageType::MsgSnapshot {
                    return self.take_offer(*one);
                }
                self.rest.wake();
                if one.term >= self.node.raft.term
                    && matches!(
                        one.get_msg_type(),
                        MessageType::MsgAppend | MessageType::MsgHeartbeat
                    )
                {
                    self.rest.led();
                }
                // A message that makes no sense here is none.
                self.call(|node| node.step(*one).is_ok());
            }
        }
    }

    fn fall_asleep(&mut self, from: NodeId, term: u64, index: u64) {
        let raft = &self.node.raft;
        let agrees = raft.leader_id == from
            && raft.term == term
            && raft.raft_log.last_index() == index
            && raft.raft_log.committed == index;
        if agrees {
            self.rest.sleep();
        }
    }

    /// A leader has forgotten what this member would need. Its offer is taken when the state is there; the log stays
    /// what it is until then.
    fn take_offer(&mut self, offer: eraftpb::Message) {
        let raft = &self.node.raft;
        if offer.term < raft.term {
            return;
        }
        self.rest.wake();
        let mut beat = eraftpb::Message::default();
        // Its leader is heard of all the same.
        beat.set_msg_type(MessageType::MsgHeartbeat);
        (beat.from, beat.to, beat.term) = (offer.from, offer.to, offer.term);
        self.call(|node| node.step(beat).is_ok());
        if offer.get_snapshot().get_metadata().index > self.node.raft.raft_log.committed {
            self.offered = Some(offer);
            self.offer_is_new = true;
        }
    }

    /// The state of all members at `index` was installed, and is durable.
    pub fn restored(&mut self, index: u64, term: u64, membership: &Membership) {
        let mut offer = self.offered.take().unwrap_or_default();
        if index <= self.node.raft.raft_log.committed
            && index <= self.node.raft.raft_log.last_index()
        {
            return;
        }
        offer.set_msg_type(MessageType::MsgSnapshot);
        if offer.from == 0 {
            offer.from = self.node.raft.leader_id;
        }
        offer.to = self.node.raft.id;
        offer.term = self.node.raft.term;
        let meta = offer.mut_snapshot().mut_metadata();
        (meta.index, meta.term) = (index, term);
        meta.set_conf_state(membership.into());
        self.call(|node| node.step(offer).is_ok());
    }

    /// Proposes an entry. Its index; where it ends is seen when something is committed there.
    ///
    /// # Errors
    /// Nothing was proposed.
    pub fn propose(&mut self, data: Bytes) -> Result<u64, Refused> {
        self.propose_entry(EntryType::EntryNormal, data)
    }

    /// Proposes a change of the members. One at a time: the engine makes an empty entry of a second one.
    ///
    /// # Errors
    /// Nothing was proposed.
    pub fn propose_change(&mut self, change: Change) -> Result<u64, Refused> {
        if self.node.raft.has_pending_conf() {
            return Err(Refused);
        }
        self.propose_entry(EntryType::EntryConfChange, change.encode().into())
    }

    fn propose_entry(&mut self, kind: EntryType, data: Bytes) -> Result<u64, Refused> {
        if data.is_empty() || self.node.raft.state != StateRole::Leader {
            return Err(Refused);
        }
        self.rest.wake();
        let mut entry = eraftpb::Entry::default();
        entry.set_entry_type(kind);
        entry.data = data;
        let mut message = eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.node.raft.id;
        message.set_entries(vec![entry].into());
        match self.call(|node| {
            node.raft
                .step(message)
                .map(|()| node.raft.raft_log.last_index())
        }) {
            Some(Ok(index)) => Ok(index),
            _ => Err(Refused),
        }
    }

    /// A change entry is applied. Who belongs to the group now.
    pub fn apply_change(&mut self, entry: &Entry) -> Membership {
        let change = Change::decode(&entry.data);
        let applied = self.call(|node| match change {
            Ok(Some(change)) => node.apply_conf_change(&change.for_engine()),
            _ => node.apply_conf_change(&eraftpb::ConfChangeV2::default()),
        });
        let members = match applied {
            Some(Ok(members)) => members,
            _ => self.node.raft.prs().conf().to_conf_state(),
        };
        self.node.mut_store().applied(entry.index, Some(&members));
        (&members).into()
    }

    /// Everything up to `index` is applied.
    pub fn applied(&mut self, index: u64) {
        self.call(|node| {
            node.advance_apply_to(index);
            node.mut_store().applied(index, None);
        });
    }

    /// Some time has passed.
    pub fn tick(&mut self) {
        if self.rest.is_asleep() {
            return;
        }
        if self.rest.is_due() {
            self.call_election();
        }
        self.call(RawNode::tick);
        let nothing_to_do = self.rest.tick();
        if nothing_to_do && self.all_have_everything() {
            self.bedtime = true;
            self.rest.sleep();
        }
    }

    fn all_have_everything(&self) -> bool {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        raft.state == StateRole::Leader
            && raft.lead_transferee.is_none()
            && raft.raft_log.committed == last
            && raft.raft_log.applied == last
            && raft.prs().iter().all(|(_, one)| one.matched == last)
    }

    /// The group is new, and this member is to lead it first: elections until somebody leads.
    pub fn begin(&mut self) {
        self.rest.begin();
        self.call_election();
    }

    /// The leader's node is gone: an election, with the member first whose number is the lowest of those that are left.
    pub fn campaign(&mut self) {
        let raft = &self.node.raft;
        let (me, gone) = (raft.id, raft.leader_id);
        if raft.state == StateRole::Leader || !raft.prs().conf().voters().contains(me) {
            return;
        }
        let voters = raft.prs().conf().voters().ids();
        let rank = voters
            .iter()
            .filter(|one| *one < me && *one != gone)
            .count();
        // Who votes for somebody else must not count on the leader, either.
        self.call(|node| node.raft.leader_id = 0);
        if self.rest.campaign(u32::try_from(rank).unwrap_or(u32::MAX)) {
            self.call_election();
        }
    }

    fn call_election(&mut self) {
        self.call(|node| node.campaign().is_ok());
    }

    /// Hands leadership over, if this member leads.
    pub fn transfer_to(&mut self, node: NodeId) {
        self.rest.wake();
        self.call(|engine| engine.transfer_leader(node));
    }

    /// Something happened that the group has to see to.
    pub fn wake(&mut self) {
        self.rest.wake();
    }

    /// Whether ticks mean nothing to it.
    pub fn is_asleep(&self) -> bool {
        self.rest.is_asleep() && !self.bedtime
    }

    /// Another node cannot be reached.
    pub fn report_unreachable(&mut self, node: NodeId) {
        self.call(|engine| {
            engine.report_unreachable(node);
            engine.report_snapshot(node, SnapshotStatus::Failure);
        });
    }

    /// The next step; `None` if there is nothing to do.
    pub fn ready(&mut self) -> Option<Ready> {
        if self.broken.is_some() {
            return None;
        }
        if !self.node.has_ready() && !self.offer_is_new && !self.bedtime {
            return None;
        }
        let mut ready = self.call(|node| node.ready())?;
        let hard = ready.hs().map(|hard| HardState {
            term: hard.term,
            vote: hard.vote,
            commit: hard.commit,
        });
        let entries = ready.take_entries();
        let store = self.node.mut_store();
        let state = ready.snapshot().get_metadata();
        if state.index > 0 {
            store.restore(state.index, state.term, state.get_conf_state());
        }
        store.append(&entries);
        let mut messages = wrap(ready.take_messages());
        let after_sync = wrap(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        let (number, must_sync) = (ready.number(), ready.must_sync());
        self.call(|node| node.advance_append_async(ready))?;
        if std::mem::take(&mut self.bedtime) {
            messages.extend(self.good_night());
        }
        let offer = std::mem::take(&mut self.offer_is_new);
        let offered = self.offered.as_ref().filter(|_| offer);
        let snapshot = offered.map(|offer| Wanted {
            from: offer.from,
            index: offer.get_snapshot().get_metadata().index,
        });
        Some(Ready {
            number,
            hard,
            entries: entries.iter().map(Into::into).collect(),
            must_sync,
            messages,
            after_sync,
            role: self.news(),
            snapshot,
            committed: committed.iter().map(Into::into).collect(),
        })
    }

    fn good_night(&self) -> Vec<(NodeId, Message)> {
        let raft = &self.node.raft;
        let (term, index) = (raft.term, raft.raft_log.last_index());
        let others = raft.prs().iter().map(|(node, _)| *node);
        others
            .filter(|node| *node != raft.id)
            .map(|node| (node, Message(Body::Asleep { term, index })))
            .collect()
    }

    fn news(&mut self) -> Option<RoleChange> {
        let now = self.standing();
        (now != self.told).then(|| {
            self.told = now;
            now
        })
    }

    fn standing(&self) -> RoleChange {
        let raft = &self.node.raft;
        RoleChange {
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            leader: (raft.leader_id != 0).then_some(raft.leader_id),
            term: raft.term,
        }
    }

    /// Everything of the steps up to `number` is durable.
    pub fn persisted(&mut self, number: u64) {
        self.call(|node| node.on_persist_ready(number));
    }

    /// What was handed out to be written behind `index`.
    pub fn entries_after(&self, index: u64) -> Vec<Entry> {
        self.node.store().after(index).map(Into::into).collect()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let raft = &self.node.raft;
        let RoleChange { role, leader, term } = self.standing();
        let leads = role == Role::Leader;
        let peers = raft
            .prs()
            .iter()
            .filter(|(node, _)| leads && **node != raft.id);
        let learners = raft.prs().conf().learners();
        let mut peers: Vec<PeerStatus> = peers
            .map(|(node, one)| PeerStatus {
                node: *node,
                matched: one.matched,
                active: one.recent_active,
                learner: learners.contains(node),
                fetching: one.state == ProgressState::Snapshot,
            })
            .collect();
        peers.sort_unstable_by_key(|peer| peer.node);
        Status {
            role,
            leader,
            term,
            last: raft.raft_log.last_index(),
            commit: raft.raft_log.committed,
            peers,
        }
    }
}

/// Messages for others. Proposals are not passed on: who does not lead refuses them.
fn wrap(messages: Vec<eraftpb::Message>) -> Vec<(NodeId, Message)> {
    let sent = messages
        .into_iter()
        .filter(|one| one.get_msg_type() != MessageType::MsgPropose);
    sent.map(|one| (one.to, Message(Body::Engine(Box::new(one)))))
        .collect()
}

/// Whether an entry kind is one that the application made.
impl EntryKind {
    /// Whether it is the application's.
    pub fn is_data(self) -> bool {
        self == Self::Data
    }
}
