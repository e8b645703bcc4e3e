//! Where the groups tell the layer of the whole cluster: the group of all nodes, leaders that change, members that
//! have fallen behind.

use super::META;
use super::member::Member;
use super::recover::Reborn;
use crate::consensus::{self, Wanted};
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Malformed, Reader, put_u64};
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::shadow::Shadow;

const VERSION: u8 = 1;

impl Core {
    /// What a checkpoint holds of this node and of the group of all nodes.
    ///
    /// ```text
    /// version u8, this node's number u64, whether it belongs to the group u8, and then: the member, the group's state
    /// ```
    pub(crate) fn meta_blob(&self) -> Vec<u8> {
        let mut blob = vec![VERSION];
        put_u64(&mut blob, self.node);
        let replica = self.log.replicas.get(META);
        blob.push(u8::from(replica.is_some()));
        if let Some(replica) = replica {
            replica.member().write(&mut blob);
        }
        blob
    }

    /// Reads it. A member that is to be started again, if this node belongs to the group.
    pub(crate) fn recover_meta(&mut self, blob: &[u8]) -> Result<Option<Reborn>, Malformed> {
        let mut from = Reader { rest: blob };
        if from.u8()? != VERSION {
            return Err(Malformed);
        }
        self.node = from.u64()?;
        if from.u8()? == 0 {
            return Ok(None);
        }
        let member = Member::read(&mut from)?;
        Ok(Some(Reborn::new(None, member, Shadow::default())))
    }

    /// The group of all nodes committed something.
    pub(crate) fn apply_meta(
        &mut self,
        _entry: &consensus::Entry,
        _now: Timestamp,
        _out: &mut dyn Outbox,
    ) {
    }

    /// This node decides for the cluster.
    pub(crate) fn meta_elected(&mut self, _now: Timestamp, _out: &mut dyn Outbox) {}

    /// Another node does, or nobody.
    pub(crate) fn meta_deposed(&mut self, _now: Timestamp, _out: &mut dyn Outbox) {}

    /// Another node leads a group, or nobody.
    pub(crate) fn leader_changed(
        &mut self,
        _group: GroupId,
        _now: Timestamp,
        _out: &mut dyn Outbox,
    ) {
    }

    /// The group's log goes on behind what this member has: it needs the state.
    pub(crate) fn fall_behind(
        &mut self,
        _group: GroupId,
        _wanted: Wanted,
        _now: Timestamp,
        _out: &mut dyn Outbox,
    ) {
    }
}
