//! What a producer gathers for other nodes: changes of interest first, then messages.

use std::sync::Arc;

use jetwake_protocol::peer::Kind;
use jetwake_protocol::peer::message::{Message, Messages};

use super::Account;
use super::counters::Volume;
use super::deltas::Deltas;
use super::nodes::Node;
use super::shared::Shared;
use crate::mesh::{Frames, Sent};
use crate::routing::{Changed, Group, PeerId};

/// A node that has gathered this much gets it at once.
const SEND_AT: usize = 64 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Forward {
    deltas: Deltas,
    targets: Vec<Target>,
    /// Nodes that a message goes to for a queue group, with the group's place among the matches.
    picked: Vec<(PeerId, usize)>,
    /// A link that is nearly full.
    stalled: bool,
}

#[derive(Debug)]
struct Target {
    id: PeerId,
    /// `None` if it has just gone: what it listened to is about to be forgotten.
    node: Option<Arc<Node>>,
    account: u32,
    body: Vec<u8>,
    volume: Volume,
}

impl Forward {
    /// Keeps a change of what this node listens to, if there is anybody to tell.
    pub(super) fn note<L>(
        &mut self,
        shared: &Shared,
        account: &Account,
        (filter, queue): (&[u8], Option<&[u8]>),
        changed: &Changed<L>,
    ) {
        if changed.shown != 0 && !shared.nodes.is_empty() {
            let place = (account.id, changed.generation);
            self.deltas.push(place, filter, queue, changed.shown);
        }
    }

    /// The message goes to this node for a queue group.
    pub(super) fn pick(&mut self, node: PeerId, group: usize) {
        self.picked.push((node, group));
    }

    /// Gives a message to the nodes that have plain subscriptions and to those that were picked; whether there is any.
    pub(super) fn message<S>(
        &mut self,
        shared: &Shared,
        account: u32,
        message: &Message<'_>,
        (peers, groups): (&[PeerId], &[Group<S>]),
    ) -> bool {
        let mut picked = std::mem::take(&mut self.picked);
        picked.sort_unstable_by_key(|(peer, _)| peer.0);
        for peer in peers {
            let queues = picked.iter().filter(|(id, _)| id == peer);
            let queues = queues.map(|(_, group)| &*groups[*group].name);
            self.append(shared, *peer, account, message, queues);
        }
        let others = picked.chunk_by(|(a, _), (b, _)| a == b);
        for chosen in others.filter(|chosen| !peers.contains(&chosen[0].0)) {
            let queues = chosen.iter().map(|(_, group)| &*groups[*group].name);
            self.append(shared, chosen[0].0, account, message, queues);
        }
        let any = !peers.is_empty() || !picked.is_empty();
        picked.clear();
        self.picked = picked;
        any
    }

    fn append<'q>(
        &mut self,
        shared: &Shared,
        to: PeerId,
        account: u32,
        message: &Message<'_>,
        queues: impl Iterator<Item = &'q [u8]>,
    ) {
        let known = self.targets.iter().position(|target| target.id == to);
        let at = known.unwrap_or_else(|| {
            self.targets.push(Target {
                id: to,
                node: shared.nodes.get(to),
                account,
                body: Vec::new(),
                volume: Volume::default(),
            });
            self.targets.len() - 1
        });
        if self.targets[at].account != account {
            self.send(shared, at);
        }
        let target = &mut self.targets[at];
        if target.node.is_none() {
            return;
        }
        if target.body.is_empty() {
            let Some(account) = shared.accounts.get(account) else {
                return;
            };
            target.account = account.id;
            Messages::begin(&mut target.body, account.name.as_bytes());
        }
        Messages::append(&mut target.body, message, queues);
        let size = message.headers.len() + message.payload.len();
        target.volume.add(size);
        if target.body.len() >= SEND_AT {
            self.send(shared, at);
        }
    }

    /// Whether nothing waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.deltas.is_empty() && self.targets.iter().all(|target| target.body.is_empty())
    }

    /// Whether a link was nearly full at the last flush.
    pub(super) fn take_stalled(&mut self) -> bool {
        std::mem::take(&mut self.stalled)
    }

    /// Sends everything.
    pub(super) fn flush(&mut self, shared: &Shared) {
        self.tell(shared);
        for at in 0..self.targets.len() {
            self.send(shared, at);
        }
        self.targets.clear();
    }

    /// Sends the changes.
    pub(super) fn tell(&mut self, shared: &Shared) {
        if self.deltas.is_empty() {
            return;
        }
        for node in shared.nodes.all() {
            node.tell(&shared.accounts, &self.deltas);
        }
        self.deltas.clear();
    }

    fn send(&mut self, shared: &Shared, at: usize) {
        // What is sent may be asked for an answer.
        self.tell(shared);
        let target = &mut self.targets[at];
        let Some(node) = target.node.as_ref().filter(|_| !target.body.is_empty()) else {
            return;
        };
        let mut frames = Frames::default();
        // One message is far smaller than a frame may be.
        frames.push(Kind::MESSAGE, &target.body);
        target.body.clear();
        shared.traffic.sent(std::mem::take(&mut target.volume));
        self.stalled |= node.send(&mut frames) == Sent::NearlyFull;
    }
}
