//! What clients do, and what they were told.

use std::collections::{BTreeMap, BTreeSet};

use super::check::Checker;
use super::node::Node;
use super::random::{Random, digest};
use crate::jetstream::io::NodeId;
use crate::jetstream::log::GroupId;
use crate::jetstream::tests::rig::{Sent, block};

/// A message that somebody wants stored.
#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) stream: usize,
    payload: String,
    id: Option<String>,
    expected: Option<u64>,
    sent_at: i64,
    /// The sequence that was acknowledged.
    pub(super) acked: Option<u64>,
    /// It was refused: of its attempts, how many; with an id there may be several.
    refused: u32,
    attempts: u32,
}

/// What an answer is to.
#[derive(Clone, Debug)]
enum Asked {
    Publish(usize),
    Delete(usize, u64),
    Purge(usize, u64),
    Direct(usize, u64),
    Ack(usize, u64),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) publishes: Vec<Publish>,
    asked: BTreeMap<u64, Asked>,
    next: u64,
    /// The group of each stream.
    pub(super) groups: Vec<GroupId>,
    /// Acks to be sent: when, subject, stream and sequence, confirmed or not.
    acks: Vec<(i64, String, usize, u64, u64)>,
    /// Stream and sequence with the highest term in which the ack was confirmed.
    confirmed: BTreeMap<(usize, u64), u64>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// The last sequence that was acknowledged, by stream.
    last: BTreeMap<usize, u64>,
    /// The last answer of the API.
    api: Option<String>,
    /// Deletions that were confirmed are checked once.
    deleted: BTreeSet<(usize, u64)>,
}

impl Clients {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(super) fn take_api(&mut self) -> Option<String> {
        self.api.take()
    }

    fn ask(&mut self, asked: Asked) -> String {
        self.next += 1;
        self.asked.insert(self.next, asked);
        format!("_INBOX.{}", self.next)
    }

    /// Sends to one of the nodes that listen.
    fn send(
        &mut self,
        nodes: &mut [Node],
        now: i64,
        random: &mut Random,
        (subject, reply, headers, payload): (&str, &str, &str, &str),
    ) -> bool {
        let takes = |node: &Node| {
            node.acts(now)
                && node.rig.as_ref().is_some_and(|rig| {
                    let mut patterns = rig.out.listeners.iter().map(|(pattern, _)| pattern);
                    patterns.any(|one| jetwake_protocol::subject::matches(one, subject.as_bytes()))
                })
        };
        let able: Vec<usize> = (0..nodes.len()).filter(|at| takes(&nodes[*at])).collect();
        let Some(at) = random.pick(&able) else {
            return false;
        };
        let node = &mut nodes[at];
        node.clock(now);
        if let Some(rig) = &mut node.rig {
            rig.send(subject, reply, headers, payload);
            node.touched = true;
        }
        true
    }

    /// A random thing to do.
    pub(super) fn act(
        &mut self,
        nodes: &mut [Node],
        now: i64,
        random: &mut Random,
        check: &Checker,
    ) {
        let stream = random.below(self.groups.len() as u64) as usize;
        match random.below(100) {
            0..60 => self.publish(stream, nodes, now, random),
            60..70 => self.retry(nodes, now, random),
            70..82 => self.pull(stream, nodes, now, random),
            82..92 => self.look(stream, nodes, now, random, check),
            92..97 => self.delete(stream, nodes, now, random),
            97..98 => self.purge(stream, nodes, now, random),
            _ => {
                let subject = format!("$JS.API.STREAM.INFO.S{stream}");
                self.send(nodes, now, random, (&subject, "_INBOX.0", "", ""));
            }
        }
    }

    pub(super) fn publish(
        &mut self,
        stream: usize,
        nodes: &mut [Node],
        now: i64,
        random: &mut Random,
    ) {
        let at = self.publishes.len();
        let most = if random.permille(50) { 4000 } else { 300 };
        let filler = "x".repeat(random.below(most) as usize);
        let kind = random.below(10);
        self.publishes.push(Publish {
            stream,
            payload: format!("{at}-{filler}"),
            id: (kind < 4).then(|| format!("id{at}")),
            expected: (kind == 9).then(|| self.last.get(&stream).copied().unwrap_or(0)),
            sent_at: 0,
            acked: None,
            refused: 0,
            attempts: 0,
        });
        self.attempt(at, nodes, now, random);
    }

    /// A publish without conditions.
    pub(super) fn publish_plain(
        &mut self,
        stream: usize,
        nodes: &mut [Node],
        now: i64,
        random: &mut Random,
    ) {
        self.publishes.push(Publish {
            stream,
            payload: format!("{}-last", self.publishes.len()),
            id: None,
            expected: None,
            sent_at: 0,
            acked: None,
            refused: 0,
            attempts: 0,
        });
        self.attempt(self.publishes.len() - 1, nodes, now, random);
    }

    fn attempt(&mut self, at: usize, nodes: &mut [Node], now: i64, random: &mut Random) {
        let publish = self.publishes[at].clone();
        let expected = publish.expected.map(|one| one.to_string());
        let mut headers = Vec::new();
        headers.extend(publish.id.as_deref().map(|id| ("Nats-Msg-Id", id)));
        headers.extend(
            expected
                .as_deref()
                .map(|one| ("Nats-Expected-Last-Sequence", one)),
        );
        let reply = self.ask(Asked::Publish(at));
        let subject = format!("s{}.{}", publish.stream, at % 5);
        let sent = self.send(
            nodes,
            now,
            random,
            (&subject, &reply, &block(&headers), &publish.payload),
        );
        self.publishes[at].sent_at = now;
        self.publishes[at].attempts += u32::from(sent);
        self.count(if sent { "publishes" } else { "unheard" });
    }

    /// Publishes again what has an id and was not acknowledged.
    fn retry(&mut self, nodes: &mut [Node], now: i64, random: &mut Random) {
        let waits = |one: &Publish| one.id.is_some() && one.sent_at + 400_000_000 < now;
        let start = self.publishes.len().saturating_sub(300);
        let late: Vec<usize> = (start..self.publishes.len())
            .filter(|at| {
                waits(&self.publishes[*at]) && (self.publishes[*at].acked.is_none() || *at % 7 == 0)
            })
            .collect();
        if let Some(at) = random.pick(&late) {
            self.count("retries");
            self.attempt(at, nodes, now, random);
        }
    }

    fn pull(&mut self, stream: usize, nodes: &mut [Node], now: i64, random: &mut Random) {
        self.next += 1;
        let reply = format!("_INBOX.pull{stream}.{}", self.next);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.S{stream}.c");
        let batch = random.below(6) + 1;
        let body = format!(r#"{{"batch":{batch},"expires":1000000000}}"#);
        self.send(nodes, now, random, (&subject, &reply, "", &body));
    }

    fn look(
        &mut self,
        stream: usize,
        nodes: &mut [Node],
        now: i64,
        random: &mut Random,
        check: &Checker,
    ) {
        let known = check.groups.get(&self.groups[stream]);
        let last = known
            .and_then(|one| one.ever.keys().next_back().copied())
            .unwrap_or(0);
        let seq = (last + 3).saturating_sub(random.below(8)).max(1);
        let reply = self.ask(Asked::Direct(stream, seq));
        let (subject, body) = (
            format!("$JS.API.DIRECT.GET.S{stream}"),
            format!(r#"{{"seq":{seq}}}"#),
        );
        self.send(nodes, now, random, (&subject, &reply, "", &body));
    }

    fn delete(&mut self, stream: usize, nodes: &mut [Node], now: i64, random: &mut Random) {
        let last = self.last.get(&stream).copied().unwrap_or(0);
        let seq = last.saturating_sub(random.below(30)).max(1);
        let reply = self.ask(Asked::Delete(stream, seq));
        let (subject, body) = (
            format!("$JS.API.STREAM.MSG.DELETE.S{stream}"),
            format!(r#"{{"seq":{seq}}}"#),
        );
        self.send(nodes, now, random, (&subject, &reply, "", &body));
    }

    fn purge(&mut self, stream: usize, nodes: &mut [Node], now: i64, random: &mut Random) {
        let last = self.last.get(&stream).copied().unwrap_or(0);
        let seq = last.saturating_sub(random.below(20)).max(1);
        let (body, below) = match random.below(3) {
            0 => (format!(r#"{{"keep":{}}}"#, random.below(9) + 1), 0),
            _ => (format!(r#"{{"seq":{seq}}}"#), seq),
        };
        let reply = self.ask(Asked::Purge(stream, below));
        let subject = format!("$JS.API.STREAM.PURGE.S{stream}");
        self.send(nodes, now, random, (&subject, &reply, "", &body));
    }

    /// Sends acks that are due.
    pub(super) fn acknowledge(&mut self, nodes: &mut [Node], now: i64, random: &mut Random) {
        for (at, subject, stream, seq, kind) in std::mem::take(&mut self.acks) {
            if at > now {
                self.acks.push((at, subject, stream, seq, kind));
                continue;
            }
            let reply = if kind == 0 {
                String::new()
            } else {
                self.ask(Asked::Ack(stream, seq))
            };
            let body = if kind == 2 { "-NAK" } else { "+ACK" };
            let reply = if kind == 2 { "" } else { &reply };
            self.send(nodes, now, random, (&subject, reply, "", body));
        }
    }

    /// A client hears something.
    pub(super) fn hear(
        &mut self,
        node: NodeId,
        terms: &[u64],
        sent: &Sent,
        now: i64,
        random: &mut Random,
        check: &mut Checker,
    ) {
        check.note(digest(sent.route.as_bytes()) ^ digest(sent.payload.as_bytes()));
        if let Some(rest) = sent.route.strip_prefix("_INBOX.pull") {
            let stream: usize = rest.split('.').next().unwrap().parse().unwrap();
            return self.deliver(node, stream, terms, sent, now, random, check);
        }
        if sent.route == "_INBOX.api" {
            self.api = Some(sent.payload.clone());
        }
        let number = sent
            .route
            .strip_prefix("_INBOX.")
            .and_then(|one| one.parse().ok());
        let Some(asked) = number.and_then(|one: u64| self.asked.get(&one).cloned()) else {
            return;
        };
        match asked {
            Asked::Publish(at) => self.published(at, sent, check),
            Asked::Delete(stream, seq) => {
                if sent.payload.contains("\"success\":true") && self.deleted.insert((stream, seq)) {
                    self.count("deleted");
                    let live = &check.groups[&self.groups[stream]].live;
                    assert!(
                        !live.contains_key(&seq),
                        "{seq} of S{stream} was not deleted"
                    );
                }
            }
            Asked::Purge(stream, below) => {
                if sent.payload.contains("\"success\":true") {
                    self.count("purged");
                    let live = &check.groups[&self.groups[stream]].live;
                    let first = live.keys().next().copied().unwrap_or(u64::MAX);
                    assert!(first >= below, "S{stream} was not purged to {below}");
                }
            }
            Asked::Direct(stream, seq) => {
                if sent.headers.contains("Nats-Sequence") {
                    self.count("looked");
                    let ever = &check.groups[&self.groups[stream]].ever;
                    assert_eq!(
                        ever.get(&seq),
                        Some(&sent.payload),
                        "S{stream} {seq} at node {node}"
                    );
                }
            }
            Asked::Ack(stream, seq) => {
                assert_eq!(sent.payload, "", "an ack was refused");
                self.count("confirmed");
                let term = self.confirmed.entry((stream, seq)).or_default();
                *term = (*term).max(terms[stream]);
            }
        }
    }

    fn published(&mut self, at: usize, sent: &Sent, check: &Checker) {
        let answer: serde_json::Value = serde_json::from_str(&sent.payload).unwrap();
        let publish = &mut self.publishes[at];
        let stream = publish.stream;
        let history = &check.groups[&self.groups[stream]];
        if answer.get("error").is_some() {
            publish.refused += 1;
            self.count("refused");
            return;
        }
        let seq = answer["seq"].as_u64().unwrap();
        assert_eq!(
            history.ever.get(&seq),
            Some(&publish.payload),
            "S{stream} acknowledged {seq} without having it"
        );
        assert!(publish.acked.is_none_or(|one| one == seq));
        if answer["duplicate"] != true
            && let Some(expected) = publish.expected
        {
            assert_eq!(seq, expected + 1);
        }
        publish.acked = Some(seq);
        let last = self.last.entry(stream).or_default();
        *last = (*last).max(seq);
        self.count("acknowledged");
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything there is to know of a delivery"
    )]
    fn deliver(
        &mut self,
        node: NodeId,
        stream: usize,
        terms: &[u64],
        sent: &Sent,
        now: i64,
        random: &mut Random,
        check: &Checker,
    ) {
        if !sent.reply.starts_with("$JS.ACK.") {
            return;
        }
        self.count("delivered");
        let seq: u64 = sent.reply.split('.').nth(5).unwrap().parse().unwrap();
        let ever = &check.groups[&self.groups[stream]].ever;
        assert_eq!(
            ever.get(&seq),
            Some(&sent.payload),
            "S{stream} delivered {seq} that is not committed"
        );
        if let Some(term) = self.confirmed.get(&(stream, seq)) {
            assert!(
                *term > terms[stream],
                "S{stream} {seq} was confirmed in term {term} and delivered again by node {node} in {}",
                terms[stream]
            );
        }
        let kind = match random.below(10) {
            0..4 => 0,
            4..8 => 1,
            8 => 2,
            _ => return,
        };
        let at = now + random.millis(1, 700);
        self.acks.push((at, sent.reply.clone(), stream, seq, kind));
    }

    /// What must be true in the end.
    pub(super) fn verify(&self, check: &Checker) {
        for publish in &self.publishes {
            let history = &check.groups[&self.groups[publish.stream]];
            let stored = history.payloads.contains(&publish.payload);
            let refused = publish.refused > 0 && publish.refused == publish.attempts;
            assert!(
                !(stored && refused),
                "{publish:?} was refused and is stored"
            );
        }
    }
}
