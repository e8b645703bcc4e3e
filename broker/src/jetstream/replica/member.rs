//! What a checkpoint holds of a member of a group, beside the state that it has in common with the others.
//!
//! ```text
//! index u64 and term u64 that the state is of; term u64, vote u64, commit u64 of the member;
//! voters, learners, voters before a change under way, learners after it: count u64, then nodes u64;
//! whether the change ends by itself u8; whether the member is fetching its state u8
//! ```

use crate::consensus::{HardState, Membership, NodeId};
use crate::jetstream::entry::{Malformed, Reader, put_u64};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Index and term of the last applied entry.
    pub(crate) applied: (u64, u64),
    /// What the member may not forget.
    pub(crate) hard: HardState,
    /// Who belongs to the group.
    pub(crate) membership: Membership,
    /// Its state is being fetched from another member: nothing is applied before that is there.
    pub(crate) fetching: bool,
}

impl Member {
    /// A member of a group that begins with these voters; its state so far stands for `index`.
    pub(crate) fn begin(voters: Vec<NodeId>, index: u64) -> Self {
        let term = u64::from(index > 0);
        Self {
            applied: (index, term),
            hard: HardState {
                term,
                vote: 0,
                commit: index,
            },
            membership: Membership {
                voters,
                ..Membership::default()
            },
            fetching: false,
        }
    }

    /// Appends the bytes.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        let HardState { term, vote, commit } = self.hard;
        for number in [self.applied.0, self.applied.1, term, vote, commit] {
            put_u64(into, number);
        }
        write_membership(&self.membership, into);
        into.push(u8::from(self.fetching));
    }

    /// Reads them.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            applied: (from.u64()?, from.u64()?),
            hard: HardState {
                term: from.u64()?,
                vote: from.u64()?,
                commit: from.u64()?,
            },
            membership: read_membership(from)?,
            fetching: from.u8()? != 0,
        })
    }
}

/// Appends the members of a group.
pub(crate) fn write_membership(membership: &Membership, into: &mut Vec<u8>) {
    let Membership {
        voters,
        learners,
        outgoing,
        learners_next,
        auto_leave,
    } = membership;
    for list in [voters, learners, outgoing, learners_next] {
        put_u64(into, list.len() as u64);
        list.iter().for_each(|node| put_u64(into, *node));
    }
    into.push(u8::from(*auto_leave));
}

/// Reads the members of a group.
pub(crate) fn read_membership(from: &mut Reader<'_>) -> Result<Membership, Malformed> {
    fn list(from: &mut Reader<'_>) -> Result<Vec<NodeId>, Malformed> {
        let count = from.u64()?;
        (0..count).map(|_| from.u64()).collect()
    }
    Ok(Membership {
        voters: list(from)?,
        learners: list(from)?,
        outgoing: list(from)?,
        learners_next: list(from)?,
        auto_leave: from.u8()? != 0,
    })
}
