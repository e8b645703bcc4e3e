//! The run: time, what goes wrong when, and the order in which everybody does something.

use super::check::Checker;
use super::clients::Clients;
use super::net::{Heard, Net};
use super::node::Node;
use super::random::Random;
use crate::consensus::Change;
use crate::jetstream::io::{Event, NodeId, Peer};

const SECOND: i64 = 1_000_000_000;

/// What may go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    /// Virtual seconds of trouble.
    pub(super) seconds: i64,
    /// In so many of a thousand runs bits flip in files of one node.
    pub(super) rot: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: i64,
    pub(super) nodes: Vec<Node>,
    pub(super) net: Net,
    pub(super) random: Random,
    pub(super) check: Checker,
    pub(super) clients: Clients,
    next_op: i64,
    next_fault: i64,
    /// Clients do something.
    active: bool,
    pub(super) told: bool,
    /// The node whose files rot.
    rotten: Option<NodeId>,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut random = Random::new(plan.seed);
        let count = if random.permille(700) { 3 } else { 5 };
        let nodes = (1..=count)
            .map(|id| Node::new(id, count, &mut random))
            .collect();
        let rotten = random.permille(plan.rot).then(|| random.below(count) + 1);
        let delay = random.pick(&[1, 5, 30]).unwrap_or(1);
        let mut world = Self {
            now: 0,
            nodes,
            net: Net::new(count, delay),
            random,
            check: Checker::default(),
            clients: Clients::default(),
            next_op: 0,
            next_fault: i64::MAX,
            active: false,
            rotten,
            told: std::env::var("JETWAKE_SIM_TELL").is_ok(),
        };
        world.begin();
        world
    }

    /// The cluster forms, with its streams and consumers.
    fn begin(&mut self) {
        let streams = match self.random.below(4) {
            0 => 1 + self.random.below(8),
            _ => 1 + self.random.below(3),
        };
        self.run(SECOND * 3 / 2);
        for stream in 0..streams as usize {
            let replicas = if self.nodes.len() == 5 && self.random.permille(500) {
                5
            } else {
                3
            };
            let limit = if self.random.permille(300) { 40 } else { -1 };
            let config = format!(
                r#"{{"name":"S{stream}","subjects":["s{stream}.>"],"num_replicas":{replicas},"allow_direct":true,"max_msgs":{limit}}}"#
            );
            self.create(&format!("STREAM.CREATE.S{stream}"), &config);
            let config = format!(
                r#"{{"stream_name":"S{stream}","config":{{"durable_name":"c","ack_policy":"explicit","ack_wait":1500000000}}}}"#
            );
            self.create(&format!("CONSUMER.DURABLE.CREATE.S{stream}.c"), &config);
            let group = self.nodes.iter_mut().find_map(|node| {
                let core = node.rig.as_mut()?.core.core_mut();
                let id = core.streams.id(0, &format!("S{stream}"))?;
                core.streams.get(id)?.group
            });
            self.clients.groups.push(group.unwrap());
        }
    }

    /// Creates something, as soon as the cluster is there.
    fn create(&mut self, path: &str, body: &str) {
        for _ in 0..10 {
            let created = self.request(path, body);
            if !created.contains("\"error\"") {
                return;
            }
            self.run(SECOND / 2);
        }
        panic!("{path} is refused");
    }

    fn request(&mut self, path: &str, body: &str) -> String {
        let subject = format!("$JS.API.{path}");
        for _ in 0..3 {
            let node = &mut self.nodes[0];
            node.clock(self.now);
            if let Some(rig) = &mut node.rig {
                rig.out.sent.clear();
                rig.send(&subject, "_INBOX.api", "", body);
                node.touched = true;
            }
            for _ in 0..60 {
                self.run(50_000_000);
                let sent = self.clients.take_api();
                if let Some(sent) = sent {
                    return sent;
                }
            }
        }
        panic!("no answer to {path}");
    }

    pub(super) fn trouble(&mut self, plan: Plan) {
        self.active = true;
        self.next_fault = self.now;
        self.run(plan.seconds * SECOND);
        self.next_fault = i64::MAX;
    }

    /// Everything is well again: within three election timeouts everybody must serve.
    pub(super) fn heal(&mut self) {
        let now = self.now;
        self.net.heal(now);
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            (node.paused_until, node.holds_until) = (now, now);
            if let Some(rig) = &node.rig {
                rig.disk.set_capacity(None);
            }
            if node.rig.is_none() || node.failed || self.random.permille(300) {
                self.crash(at);
                self.start(at);
            }
        }
        self.active = false;
        self.run(5 * SECOND);
        let first = self.clients.publishes.len();
        for stream in 0..self.clients.groups.len() {
            self.clients
                .publish_plain(stream, &mut self.nodes, self.now, &mut self.random);
        }
        self.run(SECOND);
        let publishes = &self.clients.publishes[first..];
        let deaf = publishes.iter().find(|one| one.acked.is_none());
        if let Some(stream) = deaf.map(|one| one.stream) {
            panic!("S{stream} does not serve: {}", self.report());
        }
        self.run(SECOND);
        for (group, history) in &self.check.groups {
            for node in &mut self.nodes {
                let rig = node.rig.as_mut().unwrap();
                let replica = rig.core.core_mut().log.replica(*group);
                let Some(replica) = replica.filter(|one| one.membership.contains(node.id)) else {
                    continue;
                };
                let id = node.id;
                if self.check.behind.contains(&(id, *group)) || self.check.rotten == Some(id) {
                    continue;
                }
                assert_eq!(
                    replica.applied.0,
                    history.applied,
                    "node {} group {group} did not catch up: {:?} {:?}",
                    node.id,
                    replica.standing,
                    replica.consensus.status()
                );
            }
        }
        self.clients.verify(&self.check);
    }

    fn report(&mut self) -> String {
        let mut text = String::new();
        for node in &mut self.nodes {
            let Some(rig) = &mut node.rig else { continue };
            let log = &mut rig.core.core_mut().log;
            for group in log.replicas.numbers() {
                let one = log.replica(group).unwrap();
                text.push_str(&format!(
                    "\n n{} {group} {:?} applied {:?} damaged {} members {:?} {:?}",
                    node.id,
                    one.standing,
                    one.applied,
                    one.damaged_to,
                    one.membership.voters,
                    one.consensus.status()
                ));
            }
        }
        text
    }

    pub(super) fn tell(&self, what: &str) {
        if self.told {
            println!("{:>9.3} {what}", self.now as f64 / 1e9);
        }
    }

    fn crash(&mut self, at: usize) {
        let id = self.nodes[at].id;
        self.tell(&format!("n{id} crashes"));
        self.nodes[at].crash(&mut self.random);
        self.net.lose(id, self.now, &mut self.random);
        self.check.restarted(id);
        self.clients.count("crashes");
    }

    fn start(&mut self, at: usize) {
        let id = self.nodes[at].id;
        self.tell(&format!("n{id} starts"));
        self.nodes[at].start(self.now, &mut self.random);
    }

    /// Passes time.
    pub(super) fn run(&mut self, time: i64) {
        let end = self.now + time;
        while self.now < end {
            if self.active && self.next_op <= self.now {
                self.next_op = self.now + self.random.millis(2, 60);
                self.clients
                    .act(&mut self.nodes, self.now, &mut self.random, &self.check);
            }
            self.clients
                .acknowledge(&mut self.nodes, self.now, &mut self.random);
            if self.next_fault <= self.now {
                self.next_fault = self.now + self.random.millis(50, 1200);
                self.fault();
            }
            self.come_back();
            self.hear();
            self.step();
            let mut next = self.net.next(self.now).min(self.next_fault);
            if self.active {
                next = next.min(self.next_op);
            }
            for node in &self.nodes {
                next = next.min(node.next().unwrap_or(next));
            }
            self.now = next.max(self.now + 500_000).min(end.max(self.now + 1));
        }
    }

    fn hear(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        let acts = |id: NodeId| nodes[id as usize - 1].acts(now);
        let heard = self.net.hear(now, &acts, &mut self.random);
        for (to, one) in heard {
            let node = &mut self.nodes[to as usize - 1];
            match one {
                Heard::Up(id) => {
                    let peer = Peer {
                        id,
                        name: format!("n{id}"),
                        jetstream: true,
                        tags: Vec::new(),
                        domain: String::new(),
                    };
                    node.hear(now, Event::PeerUp(&peer));
                }
                Heard::Down(id) => node.hear(now, Event::PeerDown(id)),
                Heard::Frame(from, frame) => {
                    node.hear(
                        now,
                        Event::Peer {
                            from,
                            frame: &frame,
                        },
                    );
                }
            }
        }
    }

    fn step(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &mut self.nodes[at];
            if !node.step(self.now, &mut self.random) {
                continue;
            }
            self.check.node(node);
            let id = node.id;
            let groups = &self.clients.groups;
            let Some(rig) = &mut node.rig else { continue };
            let frames = std::mem::take(&mut rig.out.frames);
            let sent = rig.take();
            let lines = std::mem::take(&mut rig.out.lines);
            let log = &mut rig.core.core_mut().log;
            let term = |group| log.replica(group).map_or(0, |one| one.standing.term);
            let terms: Vec<u64> = groups.iter().copied().map(term).collect();
            for line in lines {
                self.tell(&format!("n{id}: {line}"));
            }
            for (to, frame) in frames {
                self.check.frame(id, to, &frame);
                self.net.send(id, to, frame, self.now, &mut self.random);
            }
            for one in sent {
                self.clients.hear(
                    id,
                    &terms,
                    &one,
                    self.now,
                    &mut self.random,
                    &mut self.check,
                );
            }
        }
    }

    fn come_back(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].rig.is_none() && self.nodes[at].returns_at <= self.now {
                self.start(at);
            }
            let now = self.now;
            let node = &mut self.nodes[at];
            if let Some(until) = node.full_until.filter(|until| *until <= now) {
                let _ = until;
                node.full_until = None;
                if let Some(rig) = &node.rig {
                    rig.disk.set_capacity(None);
                }
            }
        }
    }

    /// Something goes wrong.
    fn fault(&mut self) {
        let now = self.now;
        let count = self.nodes.len();
        let at = self.random.below(count as u64) as usize;
        let id = at as NodeId + 1;
        match self.random.below(100) {
            0..18 => {
                if self.nodes[at].rig.is_some() {
                    self.crash(at);
                    self.nodes[at].returns_at = now + self.random.millis(20, 4000);
                }
            }
            18..22 => {
                // Everybody at once.
                for at in 0..count {
                    self.crash(at);
                    self.nodes[at].returns_at = now + self.random.millis(20, 1500);
                }
            }
            22..32 => {
                self.nodes[at].paused_until = now + self.random.millis(20, 4500);
                self.tell(&format!("n{id} does nothing"));
            }
            32..50 => self.partition(at),
            50..60 => {
                let other = self.random.below(count as u64) + 1;
                if other != id {
                    self.tell(&format!("link {id} {other} breaks"));
                    self.net.cut(id, other, now, &mut self.random);
                }
            }
            60..68 => {
                self.nodes[at].holds_until = now + self.random.millis(20, 1500);
                self.tell(&format!("n{id} does not sync"));
            }
            68..76 if self.rotten.is_some_and(|_| self.random.permille(500)) => self.rot(),
            68..76 => self.fill(at),
            76..78 => {
                let by = self.random.millis(1, 1500);
                self.nodes[at].jump(by);
            }
            78..90 => self.transfer(),
            90..98 => self.change(),
            _ => {
                if self.nodes[at].failed {
                    self.crash(at);
                    self.nodes[at].returns_at = now + self.random.millis(20, 500);
                }
            }
        }
    }

    fn partition(&mut self, at: usize) {
        let count = self.nodes.len() as u64;
        let until = self.now + self.random.millis(100, 6000);
        let id = at as NodeId + 1;
        let other = if count == 5 && self.random.permille(400) {
            id % count + 1
        } else {
            id
        };
        let way = self.random.below(3);
        self.tell(&format!("{id} and {other} cut off, way {way}"));
        for far in (1..=count).filter(|far| *far != id && *far != other) {
            for near in [id, other] {
                if way != 1 {
                    self.net.block(near, far, until);
                }
                if way != 2 {
                    self.net.block(far, near, until);
                }
            }
        }
    }

    /// A bit of a stored file is not what it was, which shows at the next start.
    fn rot(&mut self) {
        let Some(node) = self.rotten.map(|id| &mut self.nodes[id as usize - 1]) else {
            return;
        };
        if let Some(path) = node.rot(&mut self.random) {
            self.check.rotten = self.rotten;
            self.clients.count("flips");
            self.tell(&format!("a bit of {path} flips at n{:?}", self.rotten));
        }
    }

    fn fill(&mut self, at: usize) {
        let until = self.now + self.random.millis(100, 4000);
        let room = self.random.below(40_000);
        let node = &mut self.nodes[at];
        if let Some(rig) = &node.rig {
            let used = rig.disk.used();
            rig.disk.set_capacity(Some(used + room));
            node.full_until = Some(until);
            let id = node.id;
            self.tell(&format!("n{id} disk full"));
        }
    }

    fn transfer(&mut self) {
        let to = self.random.below(self.nodes.len() as u64) + 1;
        self.lead(|replica| replica.consensus.transfer_to(to));
        self.tell(&format!("leadership to n{to}"));
    }

    fn change(&mut self) {
        let who = self.random.below(self.nodes.len() as u64) + 1;
        let kind = self.random.below(2);
        let change = if kind == 0 {
            Change::Learner(who)
        } else {
            Change::Remove(who)
        };
        self.tell(&format!("{change:?}"));
        self.lead(|replica| {
            let others = replica
                .membership
                .voters
                .iter()
                .filter(|one| **one != who)
                .count();
            // Who is left must have everything, or a part of what is committed would be with a minority.
            let status = replica.consensus.status();
            let complete = status.peers.iter().all(|one| one.matched == status.last);
            if replica.membership.contains(who) && others >= 2 && complete {
                let _ = replica.consensus.propose_change(change);
            }
        });
    }

    /// Has the leader of a random group do something.
    fn lead(&mut self, act: impl FnOnce(&mut crate::jetstream::replica::Replica)) {
        let Some(group) = self.random.pick(&self.clients.groups) else {
            return;
        };
        let now = self.now;
        for node in self.nodes.iter_mut().filter(|node| node.acts(now)) {
            let Some(rig) = &mut node.rig else { continue };
            let log = &mut rig.core.core_mut().log;
            if let Some(replica) = log.replica(group).filter(|one| one.standing.serving) {
                act(replica);
                log.replicas.touch(group);
                node.touched = true;
                return;
            }
        }
    }
}
