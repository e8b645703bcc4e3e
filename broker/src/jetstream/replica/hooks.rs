//! The group of all nodes as a member of it: what a checkpoint holds of it, how a member that has fallen behind gets
//! the state, and what becomes of a change of its leader.

use super::META;
use super::member::Member;
use super::recover::Reborn;
use crate::consensus::Wanted;
use crate::jetstream::cluster::meta::{Entry as MetaEntry, Meta};
use crate::jetstream::cluster::wire::Say;
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Entry, Malformed, Reader, put_u64};
use crate::jetstream::io::{Lane, Level, NodeId, Outbox, Timestamp};
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
            self.cluster.meta.write(&mut blob);
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
        self.cluster.meta = Meta::read(&mut from)?;
        Ok(Some(Reborn::new(None, member, Shadow::default())))
    }

    /// This node decides for the cluster.
    pub(crate) fn meta_elected(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        out.log(Level::Info, "Self is new JetStream cluster metadata leader");
        if self.cluster.meta.cluster == 0 {
            // 0 stands for none.
            let cluster = out.random().max(1);
            let name = self.settings.server_name.clone();
            self.propose_meta(&MetaEntry::Found { cluster });
            self.propose_meta(&MetaEntry::Node {
                id: self.node,
                name,
            });
        }
        self.cluster.look = Some(now);
    }

    /// Another node does, or nobody.
    pub(crate) fn meta_deposed(&mut self, _now: Timestamp, _out: &mut dyn Outbox) {
        self.cluster.proposed.clear();
    }

    /// Another node leads a group, or nobody.
    pub(crate) fn leader_changed(&mut self, group: GroupId, now: Timestamp, out: &mut dyn Outbox) {
        let leader = self.log.replica(group).and_then(|one| one.standing.leader);
        if group == META && leader != Some(self.node) {
            let text = match leader {
                Some(leader) => {
                    let cluster = self.settings.cluster.as_ref();
                    let cluster = cluster.map_or("", |one| &one.name);
                    let name = self.node_name(leader);
                    format!("JetStream cluster new metadata leader: {name}/{cluster}")
                }
                None => "JetStream cluster no metadata leader".to_owned(),
            };
            out.log(Level::Info, &text);
        }
        if let Some(leader) = leader.filter(|leader| *leader != self.node)
            && let Some(replica) = self.log.replica(group)
        {
            let term = replica.standing.term;
            self.cluster.leaders.insert(group, (leader, term));
        }
        self.cluster.look = Some(now);
    }

    /// The group's log goes on behind what this member has: it needs the state.
    pub(crate) fn fall_behind(
        &mut self,
        group: GroupId,
        wanted: Wanted,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        if group == META {
            self.cluster.wants = Some(wanted.from);
            return self.want_state(out);
        }
        self.begin_fetch(group, wanted.index, now, out);
    }

    /// Asks for the state of the group of all nodes, as long as it is not there.
    pub(crate) fn want_state(&mut self, out: &mut dyn Outbox) {
        if let Some(from) = self.cluster.wants {
            let said = Say::WantState { group: META };
            out.send(from, Lane::Main, &said.encode());
        }
    }

    /// A member of the group of all nodes has fallen behind.
    pub(crate) fn give_state(&mut self, to: NodeId, group: GroupId, out: &mut dyn Outbox) {
        let Some(replica) = self.log.replicas.get(group).filter(|_| group == META) else {
            return;
        };
        let mut body = Vec::new();
        replica.member().write(&mut body);
        self.cluster.meta.write(&mut body);
        out.send(to, Lane::Main, &Say::HaveState { group, body }.encode());
    }

    /// The state that this member of the group of all nodes needs.
    pub(crate) fn take_state(
        &mut self,
        group: GroupId,
        body: &[u8],
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        if group != META || self.install_meta(body).is_err() {
            return;
        }
        self.cluster.wants = None;
        self.log.note(META, &Entry::State { state: body });
        let Some(replica) = self.log.replica(META) else {
            return;
        };
        let (applied, members) = (replica.applied, replica.membership.clone());
        replica.consensus.restored(applied.0, applied.1, &members);
        self.log.replicas.touch(META);
        self.introduce_to_all(out);
        self.take_assigned(now, out);
    }

    /// Takes over a state of the group of all nodes, if it is newer than what is known.
    fn install_meta(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut from = Reader { rest: body };
        let member = Member::read(&mut from)?;
        let meta = Meta::read(&mut from)?;
        let replica = self.log.replica(META).ok_or(Malformed)?;
        if member.applied.0 <= replica.applied.0 {
            return Err(Malformed);
        }
        replica.applied = member.applied;
        replica.membership = member.membership;
        replica.placed.retain(|one| one.index > member.applied.0);
        self.cluster.meta = meta;
        Ok(())
    }

    /// The same, read from the journal.
    pub(crate) fn replay_state(
        &mut self,
        state: &[u8],
        reborn: Option<&mut Reborn>,
    ) -> Result<(), Malformed> {
        let mut from = Reader { rest: state };
        let member = Member::read(&mut from)?;
        let meta = Meta::read(&mut from)?;
        if reborn.is_some_and(|reborn| reborn.install(member)) {
            self.cluster.meta = meta;
        }
        Ok(())
    }
}
