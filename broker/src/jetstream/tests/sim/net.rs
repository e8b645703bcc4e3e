//! Links between nodes as a mesh of byte streams gives them: in order within one direction, lost only when the link
//! breaks, silent while a direction is blocked or the other side does nothing.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::random::Random;
use crate::jetstream::io::NodeId;

/// Nanoseconds without a sign of life after which the other side counts as down.
const SILENCE: i64 = 3_000_000_000;
/// Frames that may come again when a link is new.
const AGAIN: usize = 3;

/// What a node hears.
#[derive(Debug)]
pub(super) enum Heard {
    Up(NodeId),
    Down(NodeId),
    Frame(NodeId, Bytes),
}

/// One direction of a link: what `to` hears of `from`.
#[derive(Debug, Default)]
struct Way {
    queue: VecDeque<(i64, Bytes)>,
    /// Nothing passes before this time.
    blocked_until: i64,
    /// `to` has heard nothing since.
    silent: Option<i64>,
    /// `to` counts `from` as up.
    up: bool,
    /// `to` learns at this time that the link is broken.
    down_at: Option<i64>,
    /// What passed last.
    recent: VecDeque<Bytes>,
    /// Frames that arrived before the link broke, and are still to be taken.
    rest: bool,
}

/// All links.
#[derive(Debug, Default)]
pub(super) struct Net {
    ways: BTreeMap<(NodeId, NodeId), Way>,
    /// By pair, lower number first: when the link may be there again; `None` while it is there.
    joins_at: BTreeMap<(NodeId, NodeId), Option<i64>>,
    /// Delay of a frame in milliseconds, at most.
    pub(super) delay: u64,
}

fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl Net {
    pub(super) fn new(nodes: u64, delay: u64) -> Self {
        let mut net = Self {
            delay,
            ..Self::default()
        };
        for from in 1..=nodes {
            for to in (1..=nodes).filter(|to| *to != from) {
                net.ways.insert((from, to), Way::default());
                net.joins_at.insert(pair(from, to), Some(0));
            }
        }
        net
    }

    pub(super) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        frame: Vec<u8>,
        now: i64,
        random: &mut Random,
    ) {
        if self.joins_at.get(&pair(from, to)) != Some(&None) {
            return;
        }
        let delay = if random.permille(20) {
            random.millis(0, self.delay * 10)
        } else {
            random.millis(0, self.delay)
        };
        let Some(way) = self.ways.get_mut(&(from, to)) else {
            return;
        };
        let last = way.queue.back().map_or(0, |(at, _)| *at);
        way.queue
            .push_back((last.max(now + 50_000 + delay), frame.into()));
    }

    /// Nothing passes from one node to the other for a while.
    pub(super) fn block(&mut self, from: NodeId, to: NodeId, until: i64) {
        if let Some(way) = self.ways.get_mut(&(from, to)) {
            way.blocked_until = way.blocked_until.max(until);
        }
    }

    /// A link breaks; both sides learn of it, each in its time.
    pub(super) fn cut(&mut self, one: NodeId, other: NodeId, now: i64, random: &mut Random) {
        let joins = self.joins_at.get_mut(&pair(one, other));
        let Some(joins) = joins.filter(|joins| joins.is_none()) else {
            return;
        };
        *joins = Some(now + random.millis(50, 600));
        for key in [(one, other), (other, one)] {
            let Some(way) = self.ways.get_mut(&key) else {
                continue;
            };
            // Some of what was under way arrives.
            let kept = random.below(way.queue.len() as u64 + 1) as usize;
            way.queue
                .truncate(if way.blocked_until > now { 0 } else { kept });
            way.queue.iter_mut().for_each(|(at, _)| *at = now);
            way.rest = true;
            way.down_at = Some(if way.blocked_until > now {
                way.blocked_until.min(now + SILENCE)
            } else {
                now
            });
        }
    }

    /// The node has lost all its links, and nobody need have noticed.
    pub(super) fn lose(&mut self, node: NodeId, now: i64, random: &mut Random) {
        let others: Vec<NodeId> = self
            .ways
            .keys()
            .filter(|key| key.0 == node)
            .map(|key| key.1)
            .collect();
        for other in others {
            let quiet = random.permille(500);
            self.cut(node, other, now, random);
            if let Some(way) = self.ways.get_mut(&(node, other))
                && quiet
                && way.up
            {
                way.down_at = Some(now + SILENCE);
            }
            if let Some(way) = self.ways.get_mut(&(other, node)) {
                way.queue.clear();
                (way.up, way.down_at) = (false, None);
            }
        }
    }

    pub(super) fn heal(&mut self, now: i64) {
        for way in self.ways.values_mut() {
            way.blocked_until = way.blocked_until.min(now);
        }
    }

    /// What nodes hear now. `hears` says which of them do anything.
    pub(super) fn hear(
        &mut self,
        now: i64,
        hears: &dyn Fn(NodeId) -> bool,
        random: &mut Random,
    ) -> Vec<(NodeId, Heard)> {
        let mut heard = Vec::new();
        let mut broken = Vec::new();
        for ((from, to), way) in &mut self.ways {
            if !hears(*to) {
                way.silent = None;
                continue;
            }
            let linked = self.joins_at[&pair(*from, *to)].is_none();
            let blocked = way.blocked_until > now;
            while let Some((_, frame)) = way
                .queue
                .pop_front_if(|(at, _)| *at <= now && (way.rest || !blocked))
            {
                way.recent.push_back(frame.clone());
                if way.recent.len() > AGAIN {
                    way.recent.pop_front();
                }
                heard.push((*to, Heard::Frame(*from, frame)));
            }
            if way.down_at.is_some_and(|at| at <= now) {
                way.down_at = None;
                if std::mem::take(&mut way.up) {
                    heard.push((*to, Heard::Down(*from)));
                }
            }
            if linked && (blocked || !hears(*from)) {
                let since = *way.silent.get_or_insert(now);
                if now - since >= SILENCE {
                    broken.push((*from, *to));
                }
            } else {
                way.silent = None;
            }
        }
        for (one, other) in broken {
            self.cut(one, other, now, random);
            if let Some(way) = self.ways.get_mut(&(one, other)) {
                way.down_at = Some(now);
            }
        }
        self.join(now, hears, random, &mut heard);
        heard
    }

    fn join(
        &mut self,
        now: i64,
        hears: &dyn Fn(NodeId) -> bool,
        random: &mut Random,
        heard: &mut Vec<(NodeId, Heard)>,
    ) {
        for (&(one, other), joins) in &mut self.joins_at {
            let keys = [(one, other), (other, one)];
            let free = keys.iter().all(|key| self.ways[key].blocked_until <= now);
            let awake = hears(one) && hears(other);
            if !free || !awake || joins.is_none_or(|at| at > now) {
                continue;
            }
            *joins = None;
            let again = random.permille(200);
            for (from, to) in keys {
                let Some(way) = self.ways.get_mut(&(from, to)) else {
                    continue;
                };
                if way.up {
                    heard.push((to, Heard::Down(from)));
                }
                heard.push((to, Heard::Up(from)));
                way.queue.clear();
                (way.up, way.down_at, way.silent, way.rest) = (true, None, None, false);
                if again {
                    let frames = way.recent.iter().filter(|frame| frame.first() == Some(&1));
                    way.queue
                        .extend(frames.map(|frame| (now + 1, frame.clone())));
                }
                way.recent.clear();
            }
        }
    }

    /// When something happens next.
    pub(super) fn next(&self, now: i64) -> i64 {
        let mut next = now + 50_000_000;
        for way in self.ways.values() {
            let arrives = way
                .queue
                .front()
                .map(|(at, _)| (*at).max(way.blocked_until));
            next = next.min(arrives.filter(|at| *at > now).unwrap_or(next));
        }
        next
    }
}
