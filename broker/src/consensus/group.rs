//! One member of a group: the engine, and what it does not do itself.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use raft::eraftpb::{self, EntryType, MessageType};
use raft::{Config, ProgressState, RawNode, SnapshotStatus, StateRole};

use super::codec::Body;
use super::log::Log;
use super::rest::Rest;
use super::{
    Broken, Change, Entry, EntryKind, Membership, Message, NodeId, PeerStatus, Refused, Role,
    RoleChange, Start, Status,
};

/// Ticks without a word from the leader after which a member calls an election: at least, and twice that at most.
pub(super) const ELECTION: usize = 10;
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
/// Ticks after which a state is offered again to a member that does not seem to have it.
const REMIND: u32 = 2 * ELECTION as u32;

/// See the module.
pub struct Group {
    pub(super) node: RawNode<Log>,
    pub(super) rest: Rest,
    /// Says why, once it cannot go on.
    pub(super) broken: Option<Broken>,
    random: u64,
    /// The leader that offers a state, and of which index it is.
    pub(super) offered: Option<(NodeId, u64)>,
    /// The offer was not handed out yet.
    pub(super) offer_is_new: bool,
    /// What was told of the leader last.
    pub(super) told: RoleChange,
    /// Members are to be told that the group rests.
    pub(super) bedtime: bool,
    /// The number of the last step.
    pub(super) number: u64,
    /// Steps up to this one are durable.
    pub(super) durable: u64,
    /// The last step with another term or vote.
    pub(super) promised: u64,
    /// The last index that was handed out as committed.
    pub(super) handed: u64,
    /// A state of this index is installed: what is committed up to there is in it.
    pub(super) installed: u64,
    /// Handed out before a state was installed, behind it, and to be handed out again.
    pub(super) again: Vec<Entry>,
    /// Who asked for a vote while the leader was trusted.
    suitor: Option<Box<eraftpb::Message>>,
    ticks: u32,
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

/// The log behind what is applied, as far as it makes sense: an entry of a lower term than the one before it was left
/// behind by a state that was installed.
fn log_of(applied: (u64, u64), entries: &[Entry]) -> Result<Vec<eraftpb::Entry>, Broken> {
    let (mut index, mut term) = applied;
    let mut log = Vec::with_capacity(entries.len());
    for entry in entries {
        if entry.index != index + 1 {
            return Err(Broken(format!(
                "the log goes from {index} to {}",
                entry.index
            )));
        }
        if entry.term < term {
            break;
        }
        (index, term) = (entry.index, entry.term);
        log.push(entry.into());
    }
    Ok(log)
}

/// What it promised. Whoever wrote an entry had been elected: a member that knows the entry and not the term any more
/// has no vote left there. Terms begin with 1: some of the engine's messages cannot say 0.
fn promise_of(start: &Start, log: &[eraftpb::Entry]) -> eraftpb::HardState {
    let (mut last, mut last_term) = start.applied;
    if let Some(entry) = log.last() {
        (last, last_term) = (entry.index, entry.term);
    }
    let mut state = eraftpb::HardState::default();
    (state.term, state.vote) = (start.hard.term, start.hard.vote);
    if state.term < last_term {
        (state.term, state.vote) = (last_term, start.id);
    } else if state.term == 0 {
        (state.term, state.vote) = (1, 0);
    }
    // The engine takes neither a commit that is behind what is applied nor one beyond the log.
    state.commit = start.hard.commit.clamp(start.applied.0, last);
    state
}

impl Group {
    /// Starts a member.
    ///
    /// # Errors
    /// What it remembers makes no sense.
    pub fn new(start: Start) -> Result<Self, Broken> {
        let log = log_of(start.applied, &start.entries)?;
        let state = promise_of(&start, &log);
        let term = state.term;
        let log = Log::new(state, (&start.membership).into(), start.applied, log);
        let config = Config {
            id: start.id,
            election_tick: ELECTION,
            heartbeat_tick: HEARTBEAT,
            min_election_tick: ELECTION,
            // So high that what the engine draws by itself is never taken for one of ours.
            max_election_tick: usize::MAX,
            applied: start.applied.0,
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
        let mut group = Self {
            node,
            rest: Rest::default(),
            broken: None,
            random: start.seed,
            offered: None,
            offer_is_new: false,
            told: RoleChange {
                role: Role::Follower,
                leader: None,
                term,
            },
            bedtime: false,
            number: 0,
            durable: 0,
            promised: 0,
            handed: start.applied.0,
            installed: 0,
            again: Vec::new(),
            suitor: None,
            ticks: 0,
        };
        group.draw_timeout();
        Ok(group)
    }

    /// Why it cannot go on, if it cannot.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// Calls the engine. It gives up by a panic, which costs this member and nothing else.
    pub(super) fn call<R>(&mut self, call: impl FnOnce(&mut RawNode<Log>) -> R) -> Option<R> {
        if self.broken.is_some() {
            return None;
        }
        let node = &mut self.node;
        match std::panic::catch_unwind(AssertUnwindSafe(|| call(node))) {
            Ok(result) => {
                self.draw_timeout();
                if self.node.raft.leader_id != 0 {
                    self.rest.led();
                }
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
        if self.node.raft.randomized_election_timeout() < 2 * ELECTION {
            return;
        }
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.random;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let timeout = ELECTION + (drawn >> 33) as usize % ELECTION;
        self.node.raft.set_randomized_election_timeout(timeout);
    }

    /// Takes a message from another member.
    pub fn step(&mut self, from: NodeId, message: Message) {
        let mut one = match message.0 {
            Body::Asleep { term, index } => return self.fall_asleep(from, term, index),
            Body::GaveUp => {
                if self.node.raft.leader_id == from {
                    self.campaign();
                }
                return;
            }
            Body::Engine(one) => one,
        };
        one.from = from;
        one.to = self.node.raft.id;
        self.rest.wake();
        match one.get_msg_type() {
            MessageType::MsgSnapshot => return self.take_offer(&one),
            MessageType::MsgAppend if self.is_blank() => return self.ask_for_state(&one),
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                self.hear_candidate(&one);
            }
            MessageType::MsgAppendResponse if one.reject => self.doubt(&one),
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse => {
                self.perhaps_resume(&one);
            }
            MessageType::MsgAppend | MessageType::MsgHeartbeat => self.suitor = None,
            _ => {}
        }
        // A message that makes no sense here is none.
        self.call(|node| node.step(*one).is_ok());
    }

    /// Somebody wants to be elected.
    fn hear_candidate(&mut self, one: &eraftpb::Message) {
        self.rest.stir();
        let raft = &self.node.raft;
        if one.term <= raft.term {
            return;
        }
        if raft.leader_id == one.from {
            // It leads no more, then.
            self.call(|node| node.raft.leader_id = 0);
        }
        let raft = &self.node.raft;
        if !raft.raft_log.is_up_to_date(one.index, one.log_term) {
            if self.rest.hunts() {
                self.call_election();
            }
        } else if raft.leader_id == 0 {
            self.rest.give_way();
        } else if one.get_msg_type() == MessageType::MsgRequestPreVote {
            // It is not heard as long as the leader is trusted. That may change soon.
            self.suitor = Some(Box::new(one.clone()));
        }
    }

    fn fall_asleep(&mut self, from: NodeId, term: u64, index: u64) {
        let raft = &self.node.raft;
        let agrees = raft.leader_id == from
            && raft.state == StateRole::Follower
            && raft.term == term
            && raft.raft_log.last_index() == index
            && raft.raft_log.committed == index;
        if agrees {
            self.lie_down();
        }
    }

    /// Rests; nobody needs what is applied.
    fn lie_down(&mut self) {
        self.rest.sleep();
        self.call(|node| {
            node.raft.maybe_free_inflight_buffers();
            node.mut_store().forget();
        });
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
        self.rest.stir();
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
            // Refused everywhere alike.
            _ => self.node.raft.prs().conf().to_conf_state(),
        };
        self.node.mut_store().changed(entry.index, &members);
        let raft = &self.node.raft;
        if raft.state == StateRole::Leader && !raft.prs().conf().voters().contains(raft.id) {
            // It told the others already what is committed.
            let term = raft.term;
            self.call(|node| node.raft.become_follower(term, 0));
        }
        (&members).into()
    }

    /// Everything up to `index` is applied. What lies behind `settled` is still wanted by [`Group::entries_after`].
    pub fn applied(&mut self, index: u64, settled: u64) {
        let log = &self.node.raft.raft_log;
        let index = index.min(log.committed.min(log.persisted));
        let (before, slowest) = (log.applied, self.slowest());
        self.call(|node| {
            if index > before {
                node.advance_apply_to(index);
            }
            node.mut_store()
                .applied(index.max(before), settled, slowest);
        });
    }

    /// Up to where everybody who is in touch with this leader has the log.
    fn slowest(&self) -> u64 {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return u64::MAX;
        }
        let touched = raft.prs().iter().filter(|(_, one)| one.recent_active);
        let reached = touched.map(|(_, one)| one.matched.max(one.pending_snapshot));
        reached.min().unwrap_or(u64::MAX)
    }

    /// Some time has passed.
    pub fn tick(&mut self) {
        if self.rest.is_asleep() || self.must_wait() {
            return;
        }
        if self.rest.is_due() && self.node.raft.state != StateRole::Candidate {
            self.call_election();
        }
        self.call(RawNode::tick);
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(REMIND) {
            self.offer_again();
        }
        let nothing_to_do = self.rest.tick();
        if nothing_to_do && self.all_have_everything() {
            self.bedtime = true;
            self.lie_down();
        }
    }

    /// A member that elects itself alone does so at once, and the engine wants everything durable by then.
    fn must_wait(&self) -> bool {
        let raft = &self.node.raft;
        let voters = raft.prs().conf().voters();
        self.durable < self.number
            && raft.state != StateRole::Leader
            && voters.contains(raft.id)
            && voters.ids().len() == 1
    }

    /// A member that was offered a state may not have heard of it, or could not get it.
    fn offer_again(&mut self) {
        let raft = &self.node.raft;
        if raft.state != StateRole::Leader {
            return;
        }
        let fetching = |(node, one): (&u64, &raft::Progress)| {
            (one.state == ProgressState::Snapshot).then_some(*node)
        };
        let late: Vec<NodeId> = raft.prs().iter().filter_map(fetching).collect();
        for node in late {
            self.call(|engine| engine.report_snapshot(node, SnapshotStatus::Failure));
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
        let at_once = self.rest.campaign(u32::try_from(rank).unwrap_or(u32::MAX));
        if let Some(suitor) = self.suitor.take() {
            self.rest.give_way();
            self.call(|node| node.step(*suitor).is_ok());
        } else if at_once {
            self.call_election();
        }
    }

    fn call_election(&mut self) {
        if !self.must_wait() {
            self.call(|node| node.campaign().is_ok());
        }
    }

    /// Hands leadership over, if this member leads.
    pub fn transfer_to(&mut self, node: NodeId) {
        if self.node.raft.state == StateRole::Leader {
            self.rest.stir();
            self.call(|engine| engine.transfer_leader(node));
        }
    }

    /// Something happened that the group has to see to.
    pub fn wake(&mut self) {
        self.rest.stir();
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

    /// What was handed out to be written behind `index`.
    pub fn entries_after(&self, index: u64) -> Vec<Entry> {
        self.node.store().after(index).map(Into::into).collect()
    }

    pub(super) fn standing(&self) -> RoleChange {
        let raft = &self.node.raft;
        let (mut role, mut leader) = match raft.state {
            StateRole::Follower => (Role::Follower, raft.leader_id),
            StateRole::Candidate | StateRole::PreCandidate => (Role::Candidate, raft.leader_id),
            StateRole::Leader => (Role::Leader, raft.id),
        };
        if self.broken.is_some() {
            (role, leader) = (Role::Follower, 0);
        }
        RoleChange {
            role,
            leader: (leader != 0).then_some(leader),
            term: raft.term,
        }
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

impl EntryKind {
    /// Whether it is the application's.
    pub fn is_data(self) -> bool {
        self == Self::Data
    }
}
