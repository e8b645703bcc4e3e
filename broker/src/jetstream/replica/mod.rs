//! One member of a replicated group on this node: its consensus, the places of its log in the journal, what waits for
//! it to be committed, and the part of its state that is not in the stream itself.
//!
//! A position in [`Commits`] is an index here, not one of the journal.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod driver;
pub(crate) mod fetch;
pub(crate) mod held;
pub(crate) mod hooks;
pub(crate) mod member;
pub(crate) mod mend;
pub(crate) mod payload;
#[cfg(test)]
pub(crate) mod planted;
pub(crate) mod recover;
pub(crate) mod refetch;
pub(crate) mod replicas;
pub(crate) mod role;

use std::collections::VecDeque;

use bytes::Bytes;
use jetwake_storage::{Location, Lsn};

use crate::consensus::{self, HardState, Membership, NodeId};
use crate::jetstream::commit::Commits;
use crate::jetstream::io::Timestamp;
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::member::Member;
use crate::jetstream::shadow::Shadow;

/// The group of all nodes. Numbers of streams follow the clock and never come down to it.
pub(crate) const META: GroupId = 1;

/// An entry that is in the journal and not applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// Its index.
    pub(crate) index: u64,
    /// Where it lies.
    pub(crate) location: Location,
}

/// A batch that its leader has begun to apply. The outcome is in the queue until the last part is committed; whoever is
/// deposed before that needs the parts, because the next leader may have all of them.
#[derive(Debug)]
pub(crate) struct OpenBatch {
    /// Parts to come.
    pub(crate) left: u64,
    /// The entries so far, and where messages lie.
    pub(crate) entries: Vec<(Bytes, Option<Location>)>,
}

/// What this member is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Who leads, if that is known.
    pub(crate) leader: Option<NodeId>,
    /// In which term.
    pub(crate) term: u64,
    /// Since when that is so.
    pub(crate) since: Timestamp,
    /// This member leads and everything of earlier terms is applied: it decides.
    pub(crate) serving: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The group's number.
    pub(crate) group: GroupId,
    /// The stream, `None` for the group of all nodes.
    pub(crate) stream: Option<u32>,
    /// Its consensus.
    pub(crate) consensus: consensus::Group,
    /// What waits to be committed, while no call into the stream has it.
    pub(crate) commits: Commits,
    /// What is in the journal and not applied, ascending.
    pub(crate) placed: VecDeque<Placed>,
    /// Where applied messages lie that are still in the queue, by sequence.
    pub(crate) located: VecDeque<(u64, Location)>,
    /// What the member may not forget.
    pub(crate) hard: HardState,
    /// Who belongs to the group.
    pub(crate) membership: Membership,
    /// Everything up to this index and its term is applied.
    pub(crate) applied: (u64, u64),
    /// The last entry before a batch that is not complete yet.
    pub(crate) whole: Option<(u64, u64)>,
    /// That batch, if this member leads.
    pub(crate) open_batch: Option<OpenBatch>,
    /// The last index that this leader proposed.
    pub(crate) proposed: u64,
    /// Recorded consumers.
    pub(crate) shadow: Shadow,
    /// What it is.
    pub(crate) standing: Standing,
    /// Its log has damage up to this index: it does not vote before it has everything again.
    pub(crate) damaged_to: u64,
    /// While a checkpoint is taken: what is committed and may not be applied yet.
    pub(crate) held: Option<Vec<consensus::Entry>>,
    /// The state is being fetched from a peer: nothing is applied.
    pub(crate) fetching: bool,
    /// The last committed entry that was not applied because of that.
    pub(crate) passed_over: u64,
    /// A step that finds no room on the disk: until it does, the member does nothing.
    pub(crate) stalled: Option<consensus::Ready>,
    /// What was applied since somebody looked.
    #[cfg(test)]
    pub(crate) audit: Vec<consensus::Entry>,
}

impl Replica {
    /// Proposes an entry. `None` if this member does not lead, or too much is under way.
    pub(crate) fn propose(&mut self, data: Bytes) -> Option<Lsn> {
        if !self.standing.serving {
            return None;
        }
        let index = self.consensus.propose(data).ok()?;
        self.proposed = index;
        Some(Lsn(index))
    }

    /// What an answer about anything that was decided must wait for.
    pub(crate) fn waits(&self) -> Option<Lsn> {
        (self.proposed > self.applied.0).then_some(Lsn(self.proposed))
    }

    /// What a checkpoint holds of it.
    pub(crate) fn member(&self) -> Member {
        Member {
            applied: self.settled(),
            hard: self.hard,
            membership: self.membership.clone(),
            fetching: self.fetching,
        }
    }

    /// Whether it may call an election: not while it lacks something that it promised or applied.
    pub(crate) fn may_lead(&self) -> bool {
        self.damaged_to == 0 && !self.fetching
    }

    /// Whether it needs the state of another member.
    pub(crate) fn lacks_state(&self) -> bool {
        self.fetching || self.damaged_to > self.applied.0
    }

    /// Up to where the state is one that a checkpoint may hold: not inside a batch.
    pub(crate) fn settled(&self) -> (u64, u64) {
        self.whole.unwrap_or(self.applied)
    }

    /// Forgets what was decided and not committed; nobody is told.
    pub(crate) fn abandon(&mut self) {
        self.commits = Commits::default();
        self.located.clear();
        self.proposed = 0;
    }

    /// Notes where an entry lies; those from its index on are replaced.
    pub(crate) fn place(&mut self, index: u64, location: Location) {
        while self
            .placed
            .pop_back_if(|last| last.index >= index)
            .is_some()
        {}
        self.placed.push_back(Placed { index, location });
    }

    /// An entry was written once more.
    pub(crate) fn move_place(&mut self, index: u64, location: Location) {
        if let Ok(at) = self.placed.binary_search_by_key(&index, |one| one.index) {
            self.placed[at].location = location;
        }
    }

    /// Where an entry that is being applied lies.
    pub(crate) fn take_place(&mut self, index: u64) -> Option<Location> {
        while let Some(first) = self.placed.front().copied() {
            if first.index > index {
                return None;
            }
            self.placed.pop_front();
            if first.index == index {
                return Some(first.location);
            }
        }
        None
    }

    /// Where a message that leaves the queue lies.
    pub(crate) fn locate(&mut self, seq: u64) -> Option<Location> {
        while let Some((first, location)) = self.located.front().copied() {
            if first > seq {
                return None;
            }
            self.located.pop_front();
            if first == seq {
                return Some(location);
            }
        }
        None
    }
}
