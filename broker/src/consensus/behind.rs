//! A member that is too far behind: the log of the others begins behind what it has. The state itself comes by other
//! means; here is who needs one, and what becomes of the log when it is there.

use raft::eraftpb::{self, MessageType};
use raft::{ProgressState, StateRole};

use super::{Broken, Entry, Group, Membership, NodeId};

impl Group {
    /// A member that does not know who belongs to the group: it joined, and needs a state first. From the log alone it
    /// would learn of changes of members that it never knew.
    pub(super) fn is_blank(&self) -> bool {
        self.node.raft.prs().conf().voters().ids().is_empty()
    }

    /// Answers a leader that sends entries to a blank member.
    pub(super) fn ask_for_state(&mut self, append: &eraftpb::Message) {
        self.hear_leader(append);
        let mut refusal = self.reply(append.from);
        refusal.reject = true;
        refusal.index = append.index;
        refusal.request_snapshot = 1;
        if append.term >= self.node.raft.term {
            self.node.raft.msgs.push(refusal);
        }
    }

    /// A leader has forgotten what this member would need. Its offer is taken when the state is there; the log stays
    /// what it is until then.
    pub(super) fn take_offer(&mut self, offer: &eraftpb::Message) {
        if offer.term < self.node.raft.term {
            return;
        }
        self.hear_leader(offer);
        let index = offer.get_snapshot().get_metadata().index;
        if index > self.node.raft.raft_log.committed {
            self.offered = Some((offer.from, index));
            self.offer_is_new = true;
        } else {
            self.report(offer.from);
        }
    }

    /// A leader is heard of, whatever else it has to say.
    fn hear_leader(&mut self, message: &eraftpb::Message) {
        let mut beat = eraftpb::Message::default();
        beat.set_msg_type(MessageType::MsgHeartbeat);
        (beat.from, beat.to, beat.term) = (message.from, message.to, message.term);
        self.call(|node| node.step(beat).is_ok());
    }

    fn reply(&self, to: NodeId) -> eraftpb::Message {
        let raft = &self.node.raft;
        let mut reply = eraftpb::Message::default();
        reply.set_msg_type(MessageType::MsgAppendResponse);
        (reply.from, reply.to, reply.term) = (raft.id, to, raft.term);
        reply.commit = raft.raft_log.committed;
        reply
    }

    /// Tells the leader up to where this member has everything.
    fn report(&mut self, leader: NodeId) {
        if leader != 0 && self.node.raft.state == StateRole::Follower {
            let mut report = self.reply(leader);
            report.index = report.commit;
            self.node.raft.msgs.push(report);
        }
    }

    /// A member refuses what it had acknowledged: it was removed, lost everything, and joined again, or the message is
    /// late. Either way, what it has is to be found out anew.
    pub(super) fn doubt(&mut self, refusal: &eraftpb::Message) {
        let (from, at) = (refusal.from, refusal.index);
        let leads = self.node.raft.state == StateRole::Leader;
        if !leads || refusal.term != self.node.raft.term {
            return;
        }
        if let Some(member) = self.node.raft.mut_prs().get_mut(from)
            && at <= member.matched
            && member.state != ProgressState::Snapshot
        {
            member.matched = 0;
            member.become_probe();
            member.next_idx = at + 1;
        }
    }

    /// A member that was to fetch a state has what this leader's log goes on from: it needs none any more.
    pub(super) fn perhaps_resume(&mut self, reply: &eraftpb::Message) {
        let raft = &mut self.node.raft;
        let has = reply.commit.max(reply.index);
        let goes_on = has > 0 && has + 1 >= raft.raft_log.first_index();
        if !goes_on || raft.state != StateRole::Leader || reply.term != raft.term {
            return;
        }
        if let Some(member) = raft.mut_prs().get_mut(reply.from) {
            member.pending_request_snapshot = 0;
            if member.state == ProgressState::Snapshot {
                member.become_probe();
                member.next_idx = has.max(member.matched) + 1;
            }
        }
    }

    /// Whether the log has this entry. If it has not, a state of that index replaces the log, and what was written
    /// behind the index is void.
    pub fn knows(&self, index: u64, term: u64) -> bool {
        let log = &self.node.raft.raft_log;
        index <= log.committed || log.match_term(index, term)
    }

    /// The state of the group at `index` was installed, and is durable. What was handed out as committed behind `index`
    /// is handed out once more.
    pub fn restored(&mut self, index: u64, term: u64, membership: &Membership) {
        self.offered = None;
        self.offer_is_new = false;
        let log = &self.node.raft.raft_log;
        if self.broken.is_some() || index <= log.applied {
            return;
        }
        if self.knows(index, term) {
            self.skip_to(index);
        } else {
            self.replace_log(index, term, membership);
        }
        self.installed = index;
        self.report(self.node.raft.leader_id);
    }

    /// The log goes on behind the state: what it says up to there is passed over.
    fn skip_to(&mut self, index: u64) {
        self.call(|node| node.raft.raft_log.commit_to(index));
        let applied = self.node.raft.raft_log.applied;
        let (behind, handed) = (self.node.store().after(applied), self.handed);
        let given = behind.take_while(|entry| entry.index <= handed);
        let (known, again): (Vec<Entry>, Vec<Entry>) = given
            .map(Entry::from)
            .partition(|entry| entry.index <= index);
        self.again = again;
        for entry in &known {
            self.pass_over(entry);
        }
    }

    /// The log ends before the state, or contradicts it: it begins anew.
    fn replace_log(&mut self, index: u64, term: u64, membership: &Membership) {
        if !membership.contains(self.node.raft.id) {
            let text = format!("the state at {index} knows nothing of this member");
            self.broken = Some(Broken(text));
            return;
        }
        let mut state = eraftpb::Snapshot::default();
        let meta = state.mut_metadata();
        (meta.index, meta.term) = (index, term);
        meta.set_conf_state(membership.into());
        self.again.clear();
        self.handed = index;
        self.call(|node| {
            let raft = &mut node.raft;
            if raft.state != StateRole::Follower {
                let term = raft.term;
                raft.become_follower(term, 0);
            }
            if raft.restore(state) {
                raft.on_persist_snap(index);
                node.advance_apply_to(index);
            }
        });
    }
}
