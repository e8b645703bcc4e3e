//! Several cores and the frames between them, driven by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jetwake_protocol::jetstream::stream::StreamConfig;
use jetwake_storage::FaultDisk;

use super::rig::{Rig, START};
use crate::jetstream::io::{Event, NodeId, Peer, Timestamp};
use crate::jetstream::replica::create::NewReplica;
use crate::jetstream::{ClusterSettings, Settings};

/// The number of the group that the tests use.
pub(super) const GROUP: u64 = 1000;

/// Nodes 1 to n. A node that is down keeps its disk.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) up: BTreeMap<NodeId, Rig>,
    down: BTreeMap<NodeId, FaultDisk>,
    frames: VecDeque<(NodeId, NodeId, Vec<u8>)>,
    /// Pairs that do not hear each other, lower number first.
    cut: BTreeSet<(NodeId, NodeId)>,
    pub(super) now: Timestamp,
}

fn settings(node: NodeId) -> Settings {
    Settings {
        server_name: format!("n{node}"),
        cluster: Some(ClusterSettings {
            name: "C".to_owned(),
            node,
            routes: 2,
            ..ClusterSettings::default()
        }),
        ..Settings::default()
    }
}

impl Nodes {
    pub(super) fn new(count: u64) -> Self {
        Self::on((1..=count).map(|_| FaultDisk::new()))
    }

    /// The same, with these disks.
    pub(super) fn on(disks: impl IntoIterator<Item = FaultDisk>) -> Self {
        let open = |(node, disk)| (node, Rig::open(disk, settings(node), START));
        Self {
            up: (1..).zip(disks).map(open).collect(),
            down: BTreeMap::new(),
            frames: VecDeque::new(),
            cut: BTreeSet::new(),
            now: START,
        }
    }

    /// Everybody can reach everybody.
    pub(super) fn meet(&mut self) {
        let nodes: Vec<NodeId> = self.up.keys().copied().collect();
        for (one, other) in nodes
            .iter()
            .flat_map(|one| nodes.iter().map(move |other| (*one, *other)))
        {
            if one != other {
                self.introduce(one, other);
            }
        }
        self.settle();
    }

    /// `to` can reach `node`.
    fn introduce(&mut self, to: NodeId, node: NodeId) {
        let peer = Peer {
            id: self.node(node).core.node(),
            name: format!("n{node}"),
            jetstream: true,
            tags: Vec::new(),
            domain: String::new(),
        };
        self.node(to).handle(Event::PeerUp(&peer));
    }

    /// What the API answers at a node.
    pub(super) fn api(&mut self, node: NodeId, path: &str, body: &str) -> String {
        let answer = self.ask(node, path, body);
        answer.unwrap_or_else(|| panic!("no answer to {path}"))
    }

    /// The same, if anything within six seconds.
    pub(super) fn ask(&mut self, node: NodeId, path: &str, body: &str) -> Option<String> {
        self.node(node).take();
        let subject = format!("$JS.API.{path}");
        self.node(node).send(&subject, "_INBOX.9", "", body);
        for _ in 0..120 {
            self.settle();
            let sent = self.node(node).take();
            if let Some(answer) = sent.into_iter().find(|one| one.route == "_INBOX.9") {
                return Some(answer.payload);
            }
            self.pass(50_000_000);
        }
        None
    }

    /// A stream with a replica on every node.
    pub(super) fn stream(&mut self, config: &str) {
        let voters: Vec<NodeId> = self.up.keys().copied().collect();
        for rig in self.up.values_mut() {
            let config: StreamConfig = jetwake_protocol::jetstream::json::from_json(
                config.as_bytes(),
                "server.StreamConfig",
                jetwake_protocol::jetstream::json::Rules::Lenient,
            )
            .unwrap();
            let new = NewReplica {
                group: GROUP,
                account: 0,
                config,
                created: START,
                voters: voters.clone(),
            };
            let (now, out) = (rig.now, &mut rig.out);
            rig.core.core_mut().create_replica(new, now, out).unwrap();
        }
    }

    /// Takes up what nodes have to say, and lets everybody hear what is under way, until nobody says anything.
    pub(super) fn settle(&mut self) {
        loop {
            for (node, rig) in &mut self.up {
                rig.now = rig.now.max(self.now);
                rig.settle();
                let frames = rig.out.frames.drain(..);
                self.frames
                    .extend(frames.map(|(to, frame)| (*node, to, frame)));
            }
            if self.frames.is_empty() {
                return;
            }
            self.deliver();
        }
    }

    /// Lets everybody take up what came, once.
    pub(super) fn step(&mut self) {
        for (node, rig) in &mut self.up {
            rig.settle();
            let frames = rig.out.frames.drain(..);
            self.frames
                .extend(frames.map(|(to, frame)| (*node, to, frame)));
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        for (from, to, frame) in std::mem::take(&mut self.frames) {
            if self.cut.contains(&(from.min(to), from.max(to))) {
                continue;
            }
            if let Some(rig) = self.up.get_mut(&to) {
                let frame = &frame.into();
                rig.handle(Event::Peer { from, frame });
            }
        }
    }

    /// Passes time in ticks.
    pub(super) fn pass(&mut self, nanos: i64) {
        let end = self.now + nanos;
        while self.now < end {
            self.now = end.min(self.now + 50_000_000);
            for rig in self.up.values_mut() {
                rig.now = self.now;
                if rig.core.deadline().is_some_and(|due| due <= self.now) {
                    rig.handle(Event::Tick);
                }
            }
            self.settle();
        }
    }

    /// The node that decides on the stream.
    pub(super) fn leader(&mut self) -> Option<NodeId> {
        let mut leaders = Vec::new();
        for (node, rig) in &mut self.up {
            let core = rig.core.core_mut();
            let id = core.streams.id(0, "S").unwrap();
            let group = core.streams.get(id).unwrap().group.unwrap();
            let replica = core.log.replica(group);
            leaders.extend(replica.filter(|one| one.standing.serving).map(|_| *node));
        }
        // One that is cut off may not know yet.
        leaders.retain(|node| !self.cut.iter().any(|(a, b)| a == node || b == node));
        assert!(leaders.len() <= 1, "{leaders:?}");
        leaders.pop()
    }

    /// Waits for a leader.
    pub(super) fn elect(&mut self) -> NodeId {
        for _ in 0..200 {
            self.pass(100_000_000);
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader");
    }

    pub(super) fn node(&mut self, node: NodeId) -> &mut Rig {
        self.up.get_mut(&node).unwrap()
    }

    /// Power is lost at a node.
    pub(super) fn crash(&mut self, node: NodeId, seed: u64) {
        let rig = self.up.remove(&node).unwrap();
        self.down.insert(node, rig.disk.crash(seed));
        for rig in self.up.values_mut() {
            rig.handle(Event::PeerDown(node));
        }
    }

    /// It comes back.
    pub(super) fn restart(&mut self, node: NodeId) {
        let disk = self.down.remove(&node).unwrap();
        self.up
            .insert(node, Rig::open(disk, settings(node), self.now));
        let others: Vec<NodeId> = self.up.keys().copied().filter(|one| *one != node).collect();
        for other in others {
            self.introduce(node, other);
            self.introduce(other, node);
        }
    }

    /// A node hears nobody and is heard by nobody.
    pub(super) fn isolate(&mut self, node: NodeId) {
        for other in 1..=9 {
            self.cut.insert((node.min(other), node.max(other)));
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Sequence and payload of everything that a node has applied.
    pub(super) fn messages(&mut self, node: NodeId) -> Vec<(u64, String)> {
        let core = self.node(node).core.core_mut();
        let id = core.streams.id(0, "S").unwrap();
        let messages = &core.streams.get(id).unwrap().messages;
        let mut found = Vec::new();
        let mut next = messages.next(0);
        while let Some(meta) = next {
            let stored = messages.get(meta.seq).unwrap().unwrap();
            let text = String::from_utf8_lossy(&stored.payload).into_owned();
            found.push((meta.seq, text));
            next = messages.next(meta.seq + 1);
        }
        found
    }
}
