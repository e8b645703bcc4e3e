//! What a member hands out to be done, step by step.

use raft::eraftpb::{self, MessageType};

use super::codec::Body;
use super::{Entry, EntryKind, Group, HardState, Message, NodeId, Ready, RoleChange, Wanted};

impl Group {
    /// The next step; `None` if there is nothing to do.
    pub fn ready(&mut self) -> Option<Ready> {
        if self.broken.is_some() {
            return self.farewell();
        }
        let rests = std::mem::take(&mut self.bedtime) && self.rest.is_asleep();
        let nothing = !self.offer_is_new && !rests && self.again.is_empty();
        if nothing && !self.node.has_ready() {
            return None;
        }
        let Some(mut ready) = self.call(|node| node.ready()) else {
            return self.farewell();
        };
        let number = ready.number();
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
        let mut after_sync = wrap(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        let must_sync = ready.must_sync();
        self.number = number;
        if must_sync && hard.is_some() {
            self.promised = number;
        }
        if self.call(|node| node.advance_append_async(ready)).is_none() {
            return self.farewell();
        }
        if self.durable < self.promised {
            // Only a leader that elected itself alone gets here: others may not hear of a term that may be forgotten.
            after_sync.append(&mut messages);
        }
        if rests {
            messages.extend(self.to_all(&Body::Asleep {
                term: self.node.raft.term,
                index: self.node.raft.raft_log.last_index(),
            }));
        }
        let offered = self.offered.filter(|_| self.offer_is_new);
        self.offer_is_new = false;
        let committed = self.hand_out(&committed);
        Some(Ready {
            number,
            hard,
            entries: entries.iter().map(Into::into).collect(),
            must_sync,
            messages,
            after_sync,
            role: self.news(),
            snapshot: offered.map(|(from, index)| Wanted { from, index }),
            committed,
        })
    }

    /// What is committed, without what is in a state that was installed.
    fn hand_out(&mut self, committed: &[eraftpb::Entry]) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut self.again);
        for entry in committed {
            let entry: Entry = entry.into();
            self.handed = entry.index;
            if entry.index > self.installed {
                entries.push(entry);
                continue;
            }
            self.pass_over(&entry);
        }
        entries
    }

    /// An entry that is in a state that was installed.
    pub(super) fn pass_over(&mut self, entry: &Entry) {
        if entry.kind == EntryKind::Change {
            self.apply_change(entry);
        }
        self.applied(entry.index, entry.index);
    }

    /// A member that cannot go on says so, once.
    fn farewell(&mut self) -> Option<Ready> {
        let role = self.news()?;
        self.number += 1;
        Some(Ready {
            number: self.number,
            hard: None,
            entries: Vec::new(),
            must_sync: false,
            messages: self.to_all(&Body::GaveUp).collect(),
            after_sync: Vec::new(),
            role: Some(role),
            snapshot: None,
            committed: Vec::new(),
        })
    }

    fn to_all<'a>(&'a self, body: &'a Body) -> impl Iterator<Item = (NodeId, Message)> + 'a {
        let raft = &self.node.raft;
        let others = raft.prs().iter().map(|(node, _)| *node);
        others
            .filter(|node| *node != raft.id)
            .map(|node| (node, Message(body.clone())))
    }

    fn news(&mut self) -> Option<RoleChange> {
        let now = self.standing();
        (now != self.told).then(|| {
            self.told = now;
            now
        })
    }

    /// Everything of the steps up to `number` is durable.
    pub fn persisted(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.call(|node| node.on_persist_ready(number));
    }
}

/// Messages for others. Proposals and wishes for another leader are not passed on: who does not lead refuses them.
fn wrap(messages: Vec<eraftpb::Message>) -> Vec<(NodeId, Message)> {
    let sent = messages.into_iter().filter(|one| {
        let kind = one.get_msg_type();
        kind != MessageType::MsgPropose && kind != MessageType::MsgTransferLeader
    });
    sent.map(|one| (one.to, Message(Body::Engine(Box::new(one)))))
        .collect()
}
