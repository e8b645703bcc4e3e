//! One stream in memory, one consumer, and everything that leaves it written down.

use std::collections::{BTreeMap, BTreeSet};

use jetwake_protocol::jetstream::consumer::{AckPolicy, ConsumerConfig, ConsumerInfo};
use jetwake_storage::{Insert, Lsn, MemoryMessages, MessageStore};

use crate::jetstream::consumer::ctx::{Ctx, OpLog};
use crate::jetstream::consumer::{Close, Consumer, NewConsumer, Removal};
use crate::jetstream::io::{AccountId, Inbound, Level, Outbox, Outgoing, Tag, TagKind, Timestamp};

pub(super) const MS: i64 = 1_000_000;
pub(super) const S: i64 = 1000 * MS;
pub(super) const START: Timestamp = 1_795_339_013_000_000_000;

/// One message that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) at: Timestamp,
    pub(super) route: String,
    pub(super) subject: String,
    pub(super) reply: String,
    pub(super) headers: String,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct FakeOutbox {
    pub(super) now: Timestamp,
    pub(super) sent: Vec<Sent>,
    pub(super) absent: BTreeSet<String>,
    /// Whether somebody listens to advisories.
    pub(super) advisories: bool,
    pub(super) listeners: BTreeMap<String, Tag>,
    pub(super) watched: Vec<(String, Option<String>)>,
    seed: u64,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Outbox for FakeOutbox {
    fn publish(&mut self, message: Outgoing<'_>) -> bool {
        let route = text(message.route);
        if self.absent.contains(&route) {
            return false;
        }
        self.sent.push(Sent {
            at: self.now,
            route,
            subject: text(message.subject),
            reply: text(message.reply),
            headers: text(message.headers),
            payload: message.payload.to_vec(),
        });
        true
    }

    fn has_interest(&mut self, account: AccountId, subject: &[u8], _: Option<&[u8]>) -> bool {
        self.has_any_interest(account, subject)
    }

    fn has_any_interest(&mut self, _: AccountId, subject: &[u8]) -> bool {
        if subject.starts_with(b"$JS.EVENT") {
            return self.advisories;
        }
        !self.absent.contains(&text(subject))
    }

    fn listen(&mut self, _: AccountId, pattern: &[u8], tag: Tag) {
        assert_eq!(self.listeners.insert(text(pattern), tag), None);
    }

    fn unlisten(&mut self, _: AccountId, pattern: &[u8], tag: Tag) {
        assert_eq!(self.listeners.remove(&text(pattern)), Some(tag));
    }

    fn watch(&mut self, _: AccountId, subject: &[u8], queue: Option<&[u8]>, _: Tag) -> bool {
        self.watched.push((text(subject), queue.map(text)));
        false
    }

    fn unwatch(&mut self, _: AccountId, _: Tag) {
        self.watched.clear();
    }

    fn run(&mut self, _: crate::jetstream::io::Job) {}

    fn client_info(&mut self, _: u64) -> Option<String> {
        None
    }

    fn account_name(&mut self, _: AccountId) -> Option<String> {
        Some("$G".into())
    }

    fn random(&mut self) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.seed >> 8
    }

    fn send(&mut self, _: crate::jetstream::io::NodeId, _: crate::jetstream::io::Lane, _: &[u8]) {}

    fn log(&mut self, _: Level, _: &str) {}
}

/// The records of the consumer, and the answers in the order in which they may leave.
#[derive(Debug, Default)]
pub(super) struct FakeLog {
    pub(super) records: Vec<Vec<u8>>,
    pub(super) answers: Vec<(Option<Lsn>, String)>,
}

impl OpLog for FakeLog {
    fn append(&mut self, _: &str, op: &[u8]) -> Option<Lsn> {
        self.records.push(op.to_vec());
        Some(Lsn(self.records.len() as u64))
    }

    fn answer_when_durable(&mut self, lsn: Option<Lsn>, _: AccountId, reply: &[u8]) {
        self.answers.push((lsn, text(reply)));
    }
}

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) now: Timestamp,
    pub(super) messages: MemoryMessages,
    pub(super) out: FakeOutbox,
    pub(super) log: FakeLog,
    pub(super) released: Vec<u64>,
    pub(super) unreadable: Vec<(u64, jetwake_storage::ReadError)>,
    pub(super) consumer: Consumer,
}

/// An explicit pull consumer with the defaults of the API.
pub(super) fn pull() -> ConsumerConfig {
    ConsumerConfig {
        durable: "a".into(),
        name: "a".into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: 30 * S,
        max_deliver: -1,
        max_waiting: 512,
        max_ack_pending: 1000,
        ..ConsumerConfig::default()
    }
}

/// A push consumer to `d` without acks.
pub(super) fn push() -> ConsumerConfig {
    ConsumerConfig {
        name: "a".into(),
        ack_policy: AckPolicy::None,
        max_deliver: -1,
        deliver_subject: "d".into(),
        ..ConsumerConfig::default()
    }
}

macro_rules! ctx {
    ($rig:expr) => {
        &mut Ctx {
            now: $rig.now,
            account: 0,
            stream_id: 1,
            stream_name: "Q",
            domain: None,
            messages: &$rig.messages,
            log: &mut $rig.log,
            out: &mut $rig.out,
            released: &mut $rig.released,
            unreadable: &mut $rig.unreadable,
            lost: None,
        }
    };
}
pub(super) use ctx;

pub(super) fn store(messages: &mut MemoryMessages, at: Timestamp, subject: &str, payload: &[u8]) {
    let seq = messages.state().last_seq + 1;
    let insert = Insert {
        seq,
        timestamp: at,
        key: subject.as_bytes(),
        headers: b"",
        payload,
        location: None,
    };
    messages.insert(&insert).unwrap();
}

impl Rig {
    /// A consumer on a stream that holds one empty message for each subject.
    pub(super) fn new(config: ConsumerConfig, subjects: &[&str]) -> Self {
        let mut messages = MemoryMessages::new();
        for subject in subjects {
            store(&mut messages, START, subject, b"");
        }
        Self::on(config, messages)
    }

    pub(super) fn on(config: ConsumerConfig, messages: MemoryMessages) -> Self {
        let mut out = FakeOutbox {
            now: START,
            ..FakeOutbox::default()
        };
        let (mut log, mut released) = (FakeLog::default(), Vec::new());
        let mut ctx = Ctx {
            now: START,
            account: 0,
            stream_id: 1,
            stream_name: "Q",
            domain: None,
            messages: &messages,
            log: &mut log,
            out: &mut out,
            released: &mut released,
            unreadable: &mut Vec::new(),
            lost: None,
        };
        let new = NewConsumer {
            id: 7,
            name: "a",
            config,
            created: START,
            single: false,
        };
        let mut consumer = Consumer::new(&mut ctx, new);
        consumer.open(&mut ctx);
        Self {
            now: START,
            messages,
            out,
            log,
            released,
            unreadable: Vec::new(),
            consumer,
        }
    }

    /// Stores a message and lets the consumer deliver.
    pub(super) fn publish(&mut self, subject: &str) {
        store(&mut self.messages, self.now, subject, b"");
        let seq = self.messages.state().last_seq;
        let key = self.messages.meta(seq).unwrap().key;
        self.consumer.on_stored(ctx!(self), seq, key);
        self.pump();
    }

    /// The end of a batch.
    pub(super) fn pump(&mut self) {
        while self.consumer.dirty() {
            let mut budget = 1000;
            self.consumer.pump(ctx!(self), &mut budget);
        }
    }

    fn inbound<'a>(kind: TagKind, subject: &'a str, reply: &'a str, body: &'a str) -> Inbound<'a> {
        Inbound {
            tag: Tag {
                kind,
                stream: 1,
                consumer: 7,
            },
            account: 0,
            subject: subject.as_bytes(),
            reply: reply.as_bytes(),
            headers: b"",
            payload: body.as_bytes(),
            client: 1,
        }
    }

    /// A pull request.
    pub(super) fn next(&mut self, reply: &str, body: &str) {
        self.next_quietly(reply, body);
        self.pump();
    }

    /// A pull request in the middle of a batch.
    pub(super) fn next_quietly(&mut self, reply: &str, body: &str) {
        let subject = "$JS.API.CONSUMER.MSG.NEXT.Q.a";
        let message = Self::inbound(TagKind::Next, subject, reply, body);
        self.consumer.on_next(ctx!(self), &message);
    }

    /// Sends `payload` to an ack subject.
    pub(super) fn ack_subject(&mut self, subject: &str, reply: &str, payload: &str) {
        let message = Self::inbound(TagKind::Ack, subject, reply, payload);
        self.consumer.on_ack(ctx!(self), &message);
        self.pump();
    }

    /// Says something about the last delivery of a message.
    pub(super) fn say(&mut self, seq: u64, payload: &str) {
        let subject = self.ack_subject_of(seq);
        self.ack_subject(&subject, "", payload);
    }

    pub(super) fn ack_subject_of(&self, seq: u64) -> String {
        let of = |sent: &&Sent| delivery(sent).is_some_and(|parts| parts[1] == seq);
        self.out.sent.iter().rev().find(of).unwrap().reply.clone()
    }

    /// Answers a flow control request.
    pub(super) fn answer_flow_control(&mut self, subject: &str) {
        let message = Self::inbound(TagKind::FlowControl, subject, "", "");
        self.consumer.on_flow_control(ctx!(self), &message);
        self.pump();
    }

    pub(super) fn interest(&mut self, present: bool) {
        self.consumer.on_interest(ctx!(self), present);
        self.pump();
    }

    /// Lets time pass, with a tick at every deadline.
    pub(super) fn pass(&mut self, time: i64) {
        let end = self.now + time;
        while let Some(deadline) = self.consumer.deadline().filter(|deadline| *deadline <= end) {
            assert!(
                deadline >= self.now,
                "a deadline in the past is never served"
            );
            self.now = deadline;
            self.out.now = deadline;
            self.consumer.on_tick(ctx!(self));
            self.pump();
        }
        self.now = end;
        self.out.now = end;
    }

    pub(super) fn remove(&mut self, seq: u64, why: Removal) {
        let meta = self.messages.remove(seq, false).unwrap();
        self.consumer.on_removed(ctx!(self), seq, meta.key, why);
        self.pump();
    }

    /// Purges what matches `subject` (all without one) up to `upto`.
    pub(super) fn purge(&mut self, subject: Option<&str>, upto: u64) {
        if let Some(subject) = subject {
            for seq in 1..=upto {
                let key = self
                    .messages
                    .meta(seq)
                    .map(|meta| self.messages.key(meta.key));
                if key == Some(subject.as_bytes()) {
                    self.messages.remove(seq, false);
                }
            }
        } else {
            self.messages.remove_front(upto + 1, &mut |_, _| ());
        }
        let state = self.messages.state();
        let left = |name: &str| self.messages.first_of_key(name.as_bytes());
        let next = subject.map_or(state.first_seq, |name| {
            left(name).map_or(state.last_seq + 1, |meta| meta.seq)
        });
        let subject = subject.map(str::as_bytes);
        self.consumer.on_purged(ctx!(self), subject, upto, next);
        self.pump();
    }

    pub(super) fn update(&mut self, change: impl FnOnce(&mut ConsumerConfig)) {
        let mut config = self.consumer.config().clone();
        change(&mut config);
        self.consumer.update(ctx!(self), config);
        self.pump();
    }

    pub(super) fn close(&mut self, why: Close) {
        self.consumer.close(ctx!(self), why);
    }

    pub(super) fn info(&mut self) -> ConsumerInfo {
        self.consumer.info(ctx!(self))
    }

    /// (delivered, floor) as consumer and stream sequence each.
    pub(super) fn positions(&mut self) -> [(u64, u64); 2] {
        let info = self.info();
        [info.delivered, info.ack_floor].map(|place| (place.consumer_seq, place.stream_seq))
    }

    /// Takes what was sent since the last call, in short form: `route<seq#deliveries` for messages, `route!status`
    /// for statuses.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out.sent)
            .iter()
            .map(short)
            .collect()
    }
}

/// [deliveries, stream seq, consumer seq, timestamp, pending] of a delivery.
pub(super) fn delivery(sent: &Sent) -> Option<[u64; 5]> {
    let numbers = sent.reply.strip_prefix("$JS.ACK.Q.a.")?;
    let numbers: Vec<u64> = numbers
        .split('.')
        .map(|number| number.parse().unwrap())
        .collect();
    numbers.try_into().ok()
}

fn short(sent: &Sent) -> String {
    if let Some([deliveries, seq, ..]) = delivery(sent) {
        return format!("{}<{seq}#{deliveries}", sent.route);
    }
    let lines: Vec<&str> = sent.headers.trim_end().split("\r\n").collect();
    let status = lines.join(" ");
    format!(
        "{}!{}",
        sent.route,
        status.strip_prefix("NATS/1.0 ").unwrap_or(&status)
    )
}
