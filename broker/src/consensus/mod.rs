//! Consensus: members of replicated groups, by the crate `raft` behind our own narrow border.
//!
//! Nothing else names the crate. A [`Group`] is a state machine without a clock, a network or a disk: messages and ticks
//! go in, and [`Group::ready`] says what is to be written, what may be said now or when it is written, and what is
//! committed. The journal is its log; what it keeps in memory are the entries that are not applied and a bounded tail of
//! those that are, for members that are a little behind. A member further behind is told to fetch the state
//! ([`Wanted`]); until that is installed ([`Group::restored`]) it keeps its log, because others count on what it
//! acknowledged.

mod behind;
mod change;
mod codec;
mod group;
mod log;
mod ready;
mod rest;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use change::Change;
pub use codec::Message;
pub use group::Group;

/// An incarnation of a node; 0 is none.
pub type NodeId = u64;

/// What a member may not forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Its term.
    pub term: u64,
    /// Who got its vote in this term, 0 for nobody.
    pub vote: NodeId,
    /// The last index that it knows to be committed. May be forgotten.
    pub commit: u64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A leader's first, which says nothing.
    Empty,
    /// The application's.
    Data,
    /// Members come or go.
    Change,
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it is.
    pub kind: EntryKind,
    /// What it says.
    pub data: Bytes,
}

/// Who belongs to a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who gets everything and does not vote.
    pub learners: Vec<NodeId>,
    /// During a joint change: who voted before it.
    pub outgoing: Vec<NodeId>,
    /// During a joint change: voters that become learners at its end.
    pub learners_next: Vec<NodeId>,
    /// Whether the joint change ends by itself.
    pub auto_leave: bool,
}

impl Membership {
    /// Whether a node belongs to it in any way.
    pub fn contains(&self, node: NodeId) -> bool {
        let lists = [&self.voters, &self.learners, &self.outgoing];
        lists.iter().any(|list| list.contains(&node))
    }
}

/// A member to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The node.
    pub id: NodeId,
    /// Who belongs to the group as of what is applied.
    pub membership: Membership,
    /// What it had promised.
    pub hard: HardState,
    /// Index and term of the last applied entry; the log goes on behind it.
    pub applied: (u64, u64),
    /// The log, without gaps.
    pub entries: Vec<Entry>,
    /// For its timeouts.
    pub seed: u64,
}

/// A member that cannot go on: what it remembers makes no sense, or the engine gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// A proposal that was not taken: this member does not lead, hands leadership over, or has too much under way. Nothing
/// of it is in any log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("proposal refused")]
pub struct Refused;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed consensus message")]
pub struct Malformed;

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It follows, or waits.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It leads.
    Leader,
}

/// Who leads from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// What this member is.
    pub role: Role,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// In which term.
    pub term: u64,
}

/// A state to be fetched: the log of the others begins behind what this member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Who offers it.
    pub from: NodeId,
    /// The state must be of this index or a later one.
    pub index: u64,
}

/// One step of a group. Everything in it is to be done in the order of the fields.
#[derive(Debug)]
pub struct Ready {
    /// The number of the step.
    pub number: u64,
    /// To be written, if there is one.
    pub hard: Option<HardState>,
    /// To be written behind each other; one at or below the last index replaces everything from there on.
    pub entries: Vec<Entry>,
    /// Whether what was written must be durable before [`Group::persisted`].
    pub must_sync: bool,
    /// To be sent at once.
    pub messages: Vec<(NodeId, Message)>,
    /// To be sent when the step and all before it are durable.
    pub after_sync: Vec<(NodeId, Message)>,
    /// Who leads, if that changed.
    pub role: Option<RoleChange>,
    /// A state to be fetched.
    pub snapshot: Option<Wanted>,
    /// To be applied.
    pub committed: Vec<Entry>,
}

/// What one member knows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The node.
    pub node: NodeId,
    /// Up to here its log is known to be the leader's.
    pub matched: u64,
    /// It was heard of since the last look.
    pub active: bool,
    /// It does not vote.
    pub learner: bool,
    /// It is fetching the state.
    pub fetching: bool,
}

/// How a member stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// Who leads, if that is known.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: u64,
    /// The last index of its log.
    pub last: u64,
    /// The last committed index that it knows.
    pub commit: u64,
    /// What it knows of the others; only a leader knows anything.
    pub peers: Vec<PeerStatus>,
}
