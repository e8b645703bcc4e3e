//! A leader, another replica and a follower on disks that fail: whatever happens on the way, in the end both have the
//! same.

mod node;

use std::collections::VecDeque;

use jetwake_protocol::peer::sync::{Answer, Ask, is_ask};
use jetwake_storage::{FaultDisk, MessageStore as _};

use self::node::{Node, Op};
use super::follower::{Follower, Progress};
use super::server::Server;
use super::{INACTIVE, NodeId, SYNC};

const LEADER: NodeId = 1;
const OTHER: NodeId = 2;
const FOLLOWER: NodeId = 3;

/// A run of numbers that depend on nothing but the seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below.max(1)
    }
}

/// What is to happen besides the exchange.
#[derive(Clone, Copy, Debug, Default)]
struct Trouble {
    /// The follower crashes after this step.
    crash: Option<u64>,
    /// One frame in so many is lost.
    loss: u64,
    /// What the leader goes on doing.
    busy: bool,
    /// The follower copies and checkpoints meanwhile.
    maintains: bool,
}

struct World {
    leader: Node,
    other: Node,
    follower: Node,
    servers: [Server; 2],
    exchange: Option<Follower>,
    frames: VecDeque<(NodeId, NodeId, Vec<u8>)>,
    log: Vec<Op>,
    dice: Dice,
    now: i64,
    numbers: u64,
    steps: u64,
    lost: Vec<(u64, u64)>,
}

impl World {
    /// `count` operations, of which the follower knows the first ones.
    fn new(seed: u64, count: u64, known: u64, most: u64) -> Self {
        let mut dice = Dice(seed);
        let node = |life| Node::open(FaultDisk::new(), life);
        let mut world = Self {
            leader: node(1),
            other: node(2),
            follower: node(3),
            servers: Default::default(),
            exchange: None,
            frames: VecDeque::new(),
            log: Vec::new(),
            now: 0,
            numbers: 0,
            steps: 0,
            lost: Vec::new(),
            dice: Dice(dice.roll(u64::MAX)),
        };
        for at in 0..count {
            world.lead(most);
            if at < known {
                world.follow();
            }
            if dice.roll(40) == 0 {
                world.leader.maintain();
            }
            if at < known && dice.roll(40) == 0 {
                world.follower.maintain();
            }
        }
        world
    }

    /// The leader and the other replica perform one more operation.
    fn lead(&mut self, most: u64) {
        let op = Op::random(&mut self.dice, &self.leader.messages, most);
        self.leader.perform(&op);
        self.other.perform(&op);
        self.log.push(op);
    }

    /// The follower performs the next one it has not applied.
    fn follow(&mut self) {
        let op = self.log[self.follower.applied as usize].clone();
        self.follower.perform(&op);
    }

    fn begin(&mut self) {
        self.numbers += 100;
        let exchange = Follower::fetch(
            node::GROUP,
            "A > S".to_owned(),
            vec![LEADER, OTHER],
            (self.numbers, self.follower.fetching),
            self.now,
        );
        self.exchange = Some(exchange);
    }

    fn note(&mut self, progress: Progress) {
        if let Progress::Done(lost) = progress {
            self.exchange = None;
            self.lost = lost;
        }
        let sent = std::mem::take(&mut self.follower.sent);
        let frames = sent.into_iter().map(|(to, frame)| (FOLLOWER, to, frame));
        self.frames.extend(frames);
    }

    fn deliver(&mut self, loss: u64) {
        let Some((from, to, frame)) = self.frames.pop_front() else {
            return;
        };
        if loss > 0 && self.dice.roll(loss) == 0 {
            return;
        }
        assert_eq!(frame[0], SYNC);
        let body = &frame[1..];
        if to != FOLLOWER {
            assert!(is_ask(body));
            let (exchange, ask) = Ask::read(body).unwrap();
            let source = if to == LEADER {
                &self.leader
            } else {
                &self.other
            };
            let server = &mut self.servers[to as usize - 1];
            let answer = server.answer(self.now, from, (exchange, &ask), Some(source));
            self.frames.extend(answer.map(|frame| (to, from, frame)));
            return;
        }
        let (exchange, answer) = Answer::read(body).unwrap();
        if let Some(follower) = &mut self.exchange {
            let came = (exchange, &answer);
            let progress = follower.answered(self.now, from, came, &mut self.follower);
            self.note(progress);
        }
    }

    /// One event of many; true when the follower has the state.
    fn step(&mut self, trouble: Trouble) -> bool {
        self.steps += 1;
        if trouble.crash == Some(self.steps) {
            let disk = self.follower.disk.crash(self.steps);
            self.follower = Node::open(disk, self.steps + 100);
            self.exchange = None;
            self.frames.clear();
        }
        if self.exchange.is_none() {
            if !self.follower.fetching && self.follower.applied > 0 && self.follower.was_installed {
                return true;
            }
            self.begin();
        }
        if trouble.busy && self.dice.roll(3) == 0 {
            self.lead(400);
        }
        if trouble.maintains && self.dice.roll(7) == 0 && self.follower.is_settled() {
            self.follower.maintain();
        }
        if !self.follower.is_settled() && self.dice.roll(2) == 0 {
            self.follower.sync();
            if let Some(follower) = &mut self.exchange {
                let progress = follower.settled(self.now, &mut self.follower);
                self.note(progress);
            }
        } else if self.frames.is_empty() {
            if self.follower.is_settled() {
                let due = self.exchange.as_ref().map_or(self.now, Follower::due);
                self.now = self.now.max(due);
            }
            if let Some(follower) = &mut self.exchange {
                let progress = follower.tick(self.now, &mut self.follower);
                self.note(progress);
            }
        } else {
            self.deliver(trouble.loss);
        }
        false
    }

    /// Runs until the follower has the state; says how many steps that took.
    fn run(&mut self, trouble: Trouble, what: &str) -> u64 {
        while !self.step(trouble) {
            assert!(self.steps < 20_000, "{what}: no end");
        }
        self.steps
    }

    /// The follower performs what came after the state; then it must have what the leader has.
    fn compare(&mut self, what: &str) {
        while (self.follower.applied as usize) < self.log.len() {
            self.follow();
        }
        self.follower.compare(&self.leader, what);
        // And after a restart.
        let disk = self.follower.disk.kill();
        self.follower = Node::open(disk, self.steps + 7_000);
        assert!(!self.follower.fetching, "{what}");
        self.follower
            .compare(&self.leader, &format!("{what}, restarted"));
    }
}

#[test]
fn a_new_replica_gets_everything() {
    for seed in 0..20 {
        let mut world = World::new(seed, 20 + seed * 8, 0, 3_000);
        let trouble = Trouble {
            busy: seed % 2 == 0,
            maintains: seed % 3 == 0,
            ..Trouble::default()
        };
        world.run(trouble, "new");
        world.compare(&format!("seed {seed}"));
        let said = world.follower.said.last().cloned().unwrap_or_default();
        assert!(
            said.is_empty() || said.starts_with("Catchup for stream 'A > S' complete (took "),
            "{said}"
        );
    }
}

#[test]
fn large_stores_come_in_chunks() {
    let mut world = World::new(5, 60, 10, 200_000);
    while world.leader.messages.state().bytes < 12 << 20 {
        world.lead(600_000);
    }
    world.run(Trouble::default(), "large");
    assert!(world.steps > 20, "{} steps", world.steps);
    world.compare("large");
    while !world.frames.is_empty() {
        world.deliver(0);
    }
    assert_eq!(world.servers[0].outgoing(), 0);
}

#[test]
fn a_replica_that_is_behind_survives_a_crash_at_every_step() {
    for seed in 0..4 {
        let build = || World::new(seed * 31 + 1, 120, seed * 19, 900);
        let trouble = Trouble {
            busy: seed % 2 == 0,
            maintains: seed % 3 > 0,
            ..Trouble::default()
        };
        let steps = build().run(trouble, "no crash");
        for crash in 1..=steps + 1 {
            let what = format!("seed {seed}, crash at step {crash}");
            let mut world = build();
            let crash = Some(crash);
            world.run(Trouble { crash, ..trouble }, &what);
            world.compare(&what);
        }
    }
}

#[test]
fn servers_may_change_and_everything_may_be_fetched_anew() {
    for seed in 0..10 {
        let mut world = World::new(seed * 3 + 40, 120, 60, 20_000);
        world.begin();
        world.exchange = world.exchange.take().map(Follower::anew);
        for _ in 0..seed {
            world.step(Trouble::default());
        }
        if let Some(exchange) = &mut world.exchange {
            exchange.set_servers(Vec::new());
            exchange.set_servers(vec![OTHER]);
        }
        let what = format!("seed {seed}");
        world.run(Trouble::default(), &what);
        world.compare(&what);
    }
}

#[test]
fn lost_frames_cost_time_only() {
    for seed in 0..15 {
        let mut world = World::new(seed + 500, 150, seed * 4, 60_000);
        let trouble = Trouble {
            loss: 3,
            busy: seed % 2 == 0,
            ..Trouble::default()
        };
        let what = format!("seed {seed}");
        world.run(trouble, &what);
        world.compare(&what);
    }
}

#[test]
fn messages_missing_in_the_middle_are_fetched() {
    let mut all = 0;
    for seed in 0..40 {
        let mut world = World::new(seed + 900, 200, 150, 900);
        // Some are in sections, where nothing can be put between.
        let mut present = Vec::new();
        let messages = &mut world.follower.messages;
        messages.present(&mut |first, last| present.extend(first..=last));
        let mut missing = 0;
        for seq in present {
            if world.dice.roll(12) == 0 {
                world.follower.messages.remove(seq, false);
                missing += 1;
            }
        }
        all += missing;
        let what = format!("seed {seed}, {missing} missing");
        let crash = (seed % 3 == 0).then_some(seed);
        let trouble = Trouble {
            crash,
            busy: seed % 2 == 0,
            ..Trouble::default()
        };
        world.run(trouble, &what);
        world.compare(&what);
    }
    assert!(all > 100, "{all}");
}

#[test]
fn what_one_server_cannot_read_another_one_gives() {
    for seed in 0..20 {
        let mut world = World::new(seed + 70, 150, 40, 900);
        let hurt = world.leader.damage(&mut world.dice);
        world.run(Trouble::default(), "damaged server");
        let what = format!("seed {seed}: {hurt:?}");
        assert_eq!(world.lost, [], "{what}");
        world.follower.compare(&world.other, &what);
    }
}

#[test]
fn what_nobody_can_read_is_named_and_the_rest_is_there() {
    for seed in 0..20 {
        let mut world = World::new(seed + 170, 150, 20, 900);
        let mut hurt = world.leader.damage(&mut world.dice);
        let seqs: Vec<u64> = hurt.iter().copied().filter(|seq| seq % 2 == 0).collect();
        world.other.damage_these(&seqs);
        world.run(Trouble::default(), "damaged servers");
        let state = world.follower.messages.state();
        hurt.retain(|seq| seq % 2 == 0 && world.follower.messages.meta(*seq).is_none());
        let named: Vec<u64> = world
            .lost
            .iter()
            .flat_map(|(first, last)| *first..=*last)
            .collect();
        assert_eq!(named, hurt, "seed {seed}");
        let expected = world.leader.messages.state();
        assert_eq!(state.messages + hurt.len() as u64, expected.messages);
        assert_eq!(state.last_seq, expected.last_seq);
    }
}

#[test]
fn damaged_messages_are_mended_while_the_replica_goes_on() {
    for seed in 0..20 {
        let mut world = World::new(seed + 300, 150, 150, 900);
        let hurt = world.follower.damage(&mut world.dice);
        let runs: Vec<(u64, u64)> = hurt.iter().map(|seq| (*seq, *seq)).collect();
        // The first server has the same damage in part.
        let same: Vec<u64> = hurt.iter().copied().filter(|seq| seq % 3 == 0).collect();
        world.leader.damage_these(&same);
        let label = "A > S".to_owned();
        let servers = vec![LEADER, OTHER];
        let mend = Follower::mend(node::GROUP, label, servers, 1, runs, 0);
        assert!(mend.is_mend());
        world.exchange = Some(mend);
        world.follower.was_installed = true;
        world.run(Trouble::default(), "mend");
        assert_eq!(world.lost, []);
        let what = format!("seed {seed}: {hurt:?}");
        assert!(!world.follower.fetching);
        world.follower.compare(&world.other, &what);
        let disk = world.follower.disk.crash(seed);
        let mut follower = Node::open(disk, 900);
        follower.compare(&world.other, &what);
        follower.maintain();
        follower.maintain();
        follower.compare(&world.other, &what);
    }
}

#[test]
fn a_silent_server_is_left_for_another_one() {
    let mut world = World::new(11, 100, 10, 900);
    world.begin();
    for _ in 0..5_000 {
        let silent = world.frames.front().is_some_and(|(_, to, _)| *to == LEADER);
        if silent {
            world.frames.pop_front();
        } else if world.step(Trouble::default()) {
            break;
        }
    }
    world.compare("silent leader");
    let said = world.follower.said.join("\n");
    assert!(
        said.is_empty() || said.contains("errored, will retry: catchup stalled"),
        "{said}"
    );
}

#[test]
fn what_is_under_way_is_bounded_and_forgotten() {
    let mut leader = Node::open(FaultDisk::new(), 1);
    let mut dice = Dice(3);
    for _ in 0..40 {
        let op = Op::Insert {
            size: 900_000,
            key: 1,
            step: 1,
        };
        leader.perform(&op);
        let _ = dice.roll(2);
    }
    let mut server = Server::default();
    let ask = Ask::Messages {
        from: 1,
        upto: u64::MAX,
        most: u32::MAX,
    };
    let mut refused = 0;
    for node in 0..100 {
        let exchange = jetwake_protocol::peer::sync::Exchange {
            group: node::GROUP,
            number: 1,
            step: 1,
        };
        let frame = server
            .answer(0, node, (exchange, &ask), Some(&leader))
            .unwrap();
        assert!(frame.len() < (1 << 20) + 100);
        let (_, answer) = Answer::read(&frame[1..]).unwrap();
        refused += u32::from(matches!(answer, Answer::Refused(_)));
        assert!(server.outgoing() <= super::OUTGOING + 10_000);
    }
    assert!((20..60).contains(&refused), "{refused}");
    assert_eq!(server.due(), Some(INACTIVE));
    server.forget(5);
    server.tick(INACTIVE);
    assert_eq!((server.outgoing(), server.due()), (0, None));
}
