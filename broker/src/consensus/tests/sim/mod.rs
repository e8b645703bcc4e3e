//! A whole cluster in one thread, with a network and disks that misbehave as a seed says: what must hold is checked
//! after every step; then everything is healed, and has to serve again.
//!
//! `JETWAKE_SEEDS=5000 cargo test -p jetwake consensus::tests::sim` runs more seeds than usual, `JETWAKE_SEED=7` only
//! that one.

mod calm;
mod faults;
mod node;
mod runs;
mod tend;
mod truth;

use std::collections::BTreeMap;

use self::node::{Node, Packet, What};
use self::truth::Truth;
use super::super::{NodeId, Role};

/// A fault that is planted to see whether it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bug {
    #[default]
    None,
    /// What may be said when it is durable is said at once.
    SpeaksTooEarly,
    /// The vote is not in the journal.
    ForgetsItsVote,
    /// The last entries of a log are gone after a restart.
    ForgetsItsTail,
}

/// Milliseconds.
type Time = u64;
const TICK: Time = 100;
/// How long the network and the disks misbehave.
const STORM: Time = 8_000;
/// How long it may take then until everything is served: three times the longest election timeout.
const RECOVERY: Time = 6_000;

#[derive(Debug)]
enum Event {
    Packet(NodeId, Packet),
    Tick(NodeId),
    Synced(NodeId, u64),
    Restart(NodeId),
    /// A node learns whether another one can be reached.
    Peer(NodeId, NodeId, bool),
    Fault,
    Heal,
    Client,
    Tend,
}

/// Random numbers of a seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % below.max(1)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll(high - low + 1)
    }

    /// True in so many of a thousand cases.
    fn one_in(&mut self, permille: u64) -> bool {
        self.roll(1000) < permille
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.roll(from.len() as u64) as usize;
        from.get(at).copied()
    }
}

struct World {
    seed: u64,
    dice: Dice,
    now: Time,
    events: BTreeMap<(Time, u64), Event>,
    number: u64,
    nodes: BTreeMap<NodeId, Node>,
    groups: u64,
    truth: Truth,
    bug: Bug,
    /// In permille.
    loss: u64,
    late: u64,
    double: u64,
    /// Pairs of nodes without a connection.
    cut: Vec<(NodeId, NodeId)>,
    slow_disk: Time,
    stormy: bool,
    /// Members that are to go, and who comes instead.
    leaving: Vec<(NodeId, NodeId)>,
    /// Messages that were delivered.
    delivered: u64,
}

impl World {
    fn new(seed: u64, bug: Bug) -> Self {
        let mut dice = Dice(seed);
        let count = if dice.one_in(500) { 3 } else { 5 };
        let groups = dice.between(1, 3);
        Self::with(seed, bug, count, groups)
    }

    fn with(seed: u64, bug: Bug, count: u64, groups: u64) -> Self {
        let mut dice = Dice(!seed);
        let mut world = Self {
            seed,
            now: 0,
            events: BTreeMap::new(),
            number: 0,
            nodes: BTreeMap::new(),
            groups,
            truth: Truth::default(),
            bug,
            loss: dice.roll(2) * dice.roll(150),
            late: dice.roll(2) * dice.roll(200),
            double: dice.roll(2) * dice.roll(100),
            cut: Vec::new(),
            slow_disk: 0,
            stormy: true,
            leaving: Vec::new(),
            delivered: 0,
            dice,
        };
        let ids: Vec<NodeId> = (1..=count).collect();
        for id in &ids {
            world.add_node(*id);
        }
        for group in 1..=groups {
            for id in &ids {
                if let Some(node) = world.nodes.get_mut(id) {
                    node.begin(group, &ids, seed);
                }
            }
        }
        world.at(500, Event::Fault);
        world.at(50, Event::Client);
        world.at(200, Event::Tend);
        world.at(STORM, Event::Heal);
        world
    }

    fn add_node(&mut self, id: NodeId) {
        self.nodes.insert(id, Node::new(id, self.bug));
        let phase = self.dice.roll(TICK);
        self.at(phase, Event::Tick(id));
    }

    fn at(&mut self, after: Time, event: Event) {
        self.number += 1;
        self.events.insert((self.now + after, self.number), event);
    }

    /// Runs until a time, or until something does not hold.
    fn run_until(&mut self, end: Time) {
        while self.truth.broken.is_none() {
            let Some(next) = self.events.first_entry().filter(|one| one.key().0 <= end) else {
                break;
            };
            let ((now, _), event) = next.remove_entry();
            self.now = now;
            self.handle(event);
        }
        self.now = self.now.max(end);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Packet(from, (to, group, what)) => self.deliver(from, to, group, what),
            Event::Tick(id) => {
                let drift = self.dice.roll(5);
                self.at(TICK - 2 + drift, Event::Tick(id));
                self.with_node(id, Node::tick);
            }
            Event::Synced(id, life) => self.with_node(id, |node, out| {
                if node.life == life {
                    node.sync_done(out);
                }
            }),
            Event::Restart(id) => {
                let seed = self.seed;
                if let Some(node) = self.nodes.get_mut(&id).filter(|node| !node.up) {
                    node.restart(seed);
                    self.tell_all(id, true);
                }
            }
            Event::Peer(id, peer, up) => self.tell(id, peer, up),
            Event::Fault => self.fault(),
            Event::Heal => self.heal(),
            Event::Client => self.publish(),
            Event::Tend => self.tend(),
        }
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, group: u64, what: What) {
        if self.is_cut(from, to) || !self.nodes.get(&to).is_some_and(|node| node.up) {
            return;
        }
        self.delivered += 1;
        if let What::Consensus(bytes) = &what {
            let head = [self.now, from, to, group].map(u64::to_le_bytes);
            let parts: Vec<&[u8]> = head.iter().map(|one| &one[..]).collect();
            self.truth.note(&[&parts.concat(), bytes]);
        }
        self.with_node(to, |node, out| node.hear(from, group, what, out));
    }

    /// Does something with a node, drives it, and sends what it has to say.
    fn with_node(&mut self, id: NodeId, act: impl FnOnce(&mut Node, &mut Vec<Packet>)) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else {
            return;
        };
        let mut out = Vec::new();
        act(node, &mut out);
        node.drive(&mut self.truth, &mut out);
        if node.begin_sync() {
            let life = node.life;
            let slow = self.slow_disk;
            let delay = self.dice.between(1, 8) + self.dice.roll(slow + 1);
            self.at(delay, Event::Synced(id, life));
        }
        for packet in out {
            self.send(id, packet);
        }
    }

    fn send(&mut self, from: NodeId, packet: Packet) {
        if self.is_cut(from, packet.0) || self.dice.one_in(self.loss) {
            return;
        }
        if self.dice.one_in(self.double) {
            let delay = self.dice.between(1, 400);
            self.at(delay, Event::Packet(from, packet.clone()));
        }
        let delay = if self.dice.one_in(self.late) {
            self.dice.between(1, 300)
        } else {
            self.dice.between(1, 4)
        };
        self.at(delay, Event::Packet(from, packet));
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from.min(to), from.max(to)))
    }

    /// Every other node learns that a node came or went.
    fn tell_all(&mut self, peer: NodeId, up: bool) {
        let others: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in others.into_iter().filter(|id| *id != peer) {
            let delay = self.dice.between(1, 80);
            self.at(delay, Event::Peer(id, peer, up));
        }
    }

    fn tell(&mut self, id: NodeId, peer: NodeId, up: bool) {
        self.with_node(id, |node, _| {
            for member in node.members.values_mut() {
                if !member.state.membership.contains(peer) {
                    continue;
                }
                member.group.wake();
                if !up {
                    member.group.report_unreachable(peer);
                    if member.group.status().leader == Some(peer) {
                        member.group.campaign();
                    }
                }
            }
        });
    }

    /// Who leads a group, among those that are up; the one of the highest term.
    fn leader(&self, group: u64) -> Option<NodeId> {
        let up = self.nodes.values().filter(|node| node.up);
        let members = up.filter_map(|node| Some((node.id, node.members.get(&group)?)));
        let leading = members.map(|(id, member)| (id, member.group.status()));
        leading
            .filter(|(_, status)| status.role == Role::Leader)
            .max_by_key(|(_, status)| status.term)
            .map(|(id, _)| id)
    }

    /// A client publishes now and then, sometimes nothing for a while.
    fn publish(&mut self) {
        let quiet = (self.now / 4_000 + self.seed).is_multiple_of(4);
        let delay = self
            .dice
            .between(5, if quiet && self.stormy { 3_500 } else { 40 });
        self.at(delay, Event::Client);
        let group = self.dice.between(1, self.groups);
        self.publish_to(group);
    }

    fn publish_to(&mut self, group: u64) {
        let Some(leader) = self.leader(group) else {
            return;
        };
        let number = self.number;
        let len = self.dice.roll(40) as usize;
        let mut data = number.to_le_bytes().to_vec();
        data.resize(8 + len, 7);
        self.with_node(leader, |node, _| {
            node.propose(group, data);
        });
    }
}
