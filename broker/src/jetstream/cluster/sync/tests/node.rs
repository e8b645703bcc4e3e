//! A replica of a stream that is not one: messages, and bytes that stand for everything else.

use std::path::Path;
use std::sync::Arc;

use jetwake_protocol::peer::sync::{Message, State};
use jetwake_storage::{
    Disk as _, FaultDisk, FileMessages, Insert, JournalWriter, Kind, Location, Lsn, MessageStore,
    Options, Record, Store,
};

use super::Dice;
use crate::jetstream::cluster::sync::NodeId;
use crate::jetstream::cluster::sync::follower::Local;
use crate::jetstream::cluster::sync::server::Source;
use crate::jetstream::io::Level;

pub(super) const GROUP: u64 = 77;
const DIR: &str = "/replica";
const BEGIN: u8 = 50;
const OP: u8 = 51;

/// A committed operation.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert {
        size: u64,
        key: u64,
        step: i64,
    },
    Remove(u64),
    RemoveFront(u64),
    Skip,
    /// Something about consumers or ids.
    Other(u8),
}

impl Op {
    pub(super) fn random(dice: &mut Dice, messages: &FileMessages, most: u64) -> Self {
        let state = messages.state();
        let span = state.last_seq.saturating_sub(state.first_seq) + 1;
        match dice.roll(24) {
            0..=14 => Self::Insert {
                size: dice.roll(most),
                key: dice.roll(9),
                step: dice.roll(12) as i64 - 3,
            },
            15..=19 => Self::Remove(state.first_seq + dice.roll(span)),
            20 if dice.roll(2) == 0 => {
                let beyond = u64::from(dice.roll(20) == 0) * (span + dice.roll(4));
                Self::RemoveFront(state.first_seq + dice.roll(span / 8 + 1) + beyond)
            }
            21 => Self::Skip,
            _ => Self::Other(dice.roll(200) as u8),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let (kind, number) = match self {
            Self::Insert { .. } => (0, 0),
            Self::Remove(seq) => (1, *seq),
            Self::RemoveFront(seq) => (2, *seq),
            Self::Skip => (3, 0),
            Self::Other(byte) => (4, u64::from(*byte)),
        };
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let number = u64::from_le_bytes(bytes[1..9].try_into().unwrap());
        match bytes[0] {
            1 => Self::Remove(number),
            2 => Self::RemoveFront(number),
            3 => Self::Skip,
            _ => Self::Other(number as u8),
        }
    }
}

/// What becomes of a record once it is durable.
enum Pending {
    Insert(Body, bool),
    Installed,
}

struct Body {
    seq: u64,
    timestamp: i64,
    key: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
    location: Location,
}

impl Body {
    fn insert(&self) -> Insert<'_> {
        Insert {
            seq: self.seq,
            timestamp: self.timestamp,
            key: &self.key,
            headers: &self.headers,
            payload: &self.payload,
            location: Some(self.location),
        }
    }
}

/// How the payload of a message begins.
fn stamp(seq: u64) -> Vec<u8> {
    format!("<message {seq}>").into_bytes()
}

pub(super) struct Node {
    pub(super) disk: FaultDisk,
    store: Store,
    writer: JournalWriter,
    pub(super) messages: FileMessages,
    pub(super) applied: u64,
    clock: i64,
    blob: Vec<u8>,
    pub(super) fetching: bool,
    pub(super) was_installed: bool,
    pending: Vec<Pending>,
    pub(super) sent: Vec<(NodeId, Vec<u8>)>,
    pub(super) said: Vec<String>,
}

impl Node {
    pub(super) fn open(disk: FaultDisk, life: u64) -> Self {
        let mut options = Options::new(life);
        (options.journal_first, options.journal_max) = (8 << 10, 64 << 10);
        options.adopt_least = if life.is_multiple_of(2) { 1 } else { u32::MAX };
        let opened = Store::open(Arc::new(disk.clone()), Path::new(DIR), options).unwrap();
        let mut store = opened.store;
        let group = opened.groups.into_iter().find(|group| group.id == GROUP);
        let (messages, applied, blob) = match group {
            Some(group) => (group.messages, group.applied.unwrap(), group.blob.to_vec()),
            None => (
                store.create_group(GROUP, 0),
                0,
                vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        };
        let mut node = Self {
            disk,
            store,
            writer: opened.writer,
            messages,
            applied,
            clock: i64::from_le_bytes(blob[2..10].try_into().unwrap()),
            blob: blob[10..].to_vec(),
            fetching: blob[0] == 1,
            was_installed: blob[1] == 1,
            pending: Vec::new(),
            sent: Vec::new(),
            said: Vec::new(),
        };
        opened
            .replay
            .run(&mut |item| {
                let location = (!item.damaged).then_some(item.location);
                node.replay(&item.record, location);
            })
            .unwrap();
        node
    }

    fn replay(&mut self, record: &Record<'_>, location: Option<Location>) {
        let Some(location) = location else {
            // Its sequence was used; the message comes back with its repair.
            assert!(record.kind.is_message());
            self.messages.skip(record.seq, record.timestamp).unwrap();
            self.messages.set_ends(0, record.seq, record.timestamp);
            self.blob.push(record.seq as u8);
            (self.clock, self.applied) = (record.timestamp, record.index.max(self.applied));
            return;
        };
        let body = Body {
            seq: record.seq,
            timestamp: record.timestamp,
            key: record.key.to_vec(),
            headers: record.headers.to_vec(),
            payload: record.payload.to_vec(),
            location,
        };
        match record.kind {
            Kind::Install => {
                let state = State::read(record.payload).unwrap();
                self.take_over(&state);
            }
            Kind::Control(BEGIN) => self.mark(record.payload == [1]),
            Kind::MessageAgain => {
                let _ = self.messages.repair(&body.insert());
            }
            Kind::Message if record.index == 0 => {
                self.messages.insert(&body.insert()).unwrap();
            }
            Kind::Message => {
                self.apply_message(&body);
                self.applied = record.index;
            }
            Kind::Control(OP) => {
                self.apply(&Op::decode(record.payload));
                self.applied = record.index;
            }
            _ => panic!("{record:?}"),
        }
    }

    fn apply_message(&mut self, body: &Body) {
        self.messages.insert(&body.insert()).unwrap();
        self.clock = body.timestamp;
        // Ids and deadlines follow from messages.
        self.blob.push(body.seq as u8);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Insert { .. } => panic!("a message"),
            Op::Remove(seq) => drop(self.messages.remove(*seq, false)),
            Op::RemoveFront(seq) => self.messages.remove_front(*seq, &mut |_, _| {}),
            Op::Skip => {
                let next = self.messages.state().last_seq + 1;
                self.messages.skip(next, self.clock).unwrap();
            }
            Op::Other(byte) => self.blob.push(*byte),
        }
    }

    fn append(&mut self, record: &Record<'_>) -> Location {
        self.store.append(record).location
    }

    /// Performs an operation of the group's log, durably.
    pub(super) fn perform(&mut self, op: &Op) {
        assert!(!self.fetching);
        let index = self.applied + 1;
        let mut record = Record {
            group: GROUP,
            kind: Kind::Control(OP),
            index,
            term: 1,
            seq: 0,
            timestamp: 0,
            key: &[],
            headers: &[],
            payload: &op.encode(),
        };
        if let Op::Insert { size, key, step } = op {
            let state = self.messages.state();
            let (seq, timestamp) = (state.last_seq + 1, self.clock + step);
            let key = format!("key.{key}").into_bytes();
            let mut payload = stamp(seq);
            payload.extend((0..*size).map(|at| (at * 7 + seq) as u8));
            let headers: &[u8] = if seq % 4 == 0 {
                b"NATS/1.0\r\n\r\n"
            } else {
                b""
            };
            (record.kind, record.seq, record.timestamp) = (Kind::Message, seq, timestamp);
            (record.key, record.headers, record.payload) = (&key, headers, &payload);
            let location = self.append(&record);
            self.flush();
            self.apply_message(&Body {
                seq,
                timestamp,
                headers: headers.to_vec(),
                key,
                payload,
                location,
            });
        } else {
            self.append(&record);
            self.flush();
            self.apply(op);
        }
        self.applied = index;
    }

    fn flush(&mut self) {
        self.store.seal();
        self.writer.write().unwrap();
        self.writer.sync().unwrap();
        self.writer.idle().unwrap();
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Makes durable what was appended, and puts it in its place.
    pub(super) fn sync(&mut self) {
        self.flush();
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Insert(body, false) => drop(self.messages.insert(&body.insert()).unwrap()),
                Pending::Insert(body, true) => drop(self.messages.repair(&body.insert())),
                Pending::Installed => {}
            }
        }
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = vec![u8::from(self.fetching), u8::from(self.was_installed)];
        blob.extend_from_slice(&self.clock.to_le_bytes());
        blob.extend_from_slice(&self.blob);
        blob
    }

    pub(super) fn maintain(&mut self) {
        let durable: Lsn = self.writer.durable();
        let retire = self.store.plan_retire(durable, 0);
        let mut job = self
            .store
            .begin_copy(retire.as_ref().map_or(0, |one| one.through));
        job.add(GROUP, &mut self.messages);
        let copied = job.run().unwrap();
        self.store.finish_copy(&copied);
        if copied.lost.is_empty() {
            copied.relocate(GROUP, &mut self.messages);
        }
        let blob = self.blob();
        let mut checkpoint = self.store.begin_checkpoint(retire.as_ref());
        let to = (durable, self.applied);
        checkpoint.add_applied(GROUP, to, &[&blob], Some(&mut self.messages));
        let done = self.store.seal_checkpoint(checkpoint).run().unwrap();
        let cleaned = self.store.finish_checkpoint(done).run();
        self.store.finish_cleanup(cleaned);
    }

    fn mark(&mut self, fresh: bool) {
        self.fetching = true;
        if fresh {
            self.messages = self.store.create_group(GROUP, 0);
        }
    }

    fn take_over(&mut self, state: &State<'_>) {
        self.messages.retain(&state.runs, &mut |_, _| {});
        self.messages
            .set_ends(state.first_seq, state.last_seq, state.last_ts);
        self.applied = state.index;
        self.clock = i64::from_le_bytes(state.blob[..8].try_into().unwrap());
        self.blob = state.blob[8..].to_vec();
        (self.fetching, self.was_installed) = (false, true);
    }

    /// Damages some messages; which.
    pub(super) fn damage(&mut self, dice: &mut Dice) -> Vec<u64> {
        let mut seqs = Vec::new();
        self.messages
            .present(&mut |first, last| seqs.extend(first..=last));
        seqs.retain(|_| dice.roll(9) == 0);
        self.damage_these(&seqs);
        seqs
    }

    pub(super) fn damage_these(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let Ok(Some(_)) = self.messages.get(*seq) else {
                continue;
            };
            let mut found = 0;
            for name in self.disk.list(Path::new(DIR)).unwrap() {
                let path = Path::new(DIR).join(name);
                let file = self.disk.open(&path).unwrap();
                let mut bytes = vec![0; file.size().unwrap() as usize];
                file.read_at(0, &mut bytes).unwrap();
                let stamp = stamp(*seq);
                let places = bytes.windows(stamp.len()).enumerate();
                for (at, _) in places.filter(|(_, window)| **window == stamp) {
                    self.disk.flip(&path, at + 3, 2);
                    found += 1;
                }
            }
            assert!(found > 0);
            assert!(self.messages.get(*seq).is_err(), "{seq}");
        }
    }

    /// Both have the same.
    pub(super) fn compare(&self, other: &Self, what: &str) {
        assert_eq!(self.applied, other.applied, "{what}");
        assert_eq!(self.messages.state(), other.messages.state(), "{what}");
        assert_eq!(
            (self.clock, &self.blob),
            (other.clock, &other.blob),
            "{what}"
        );
        let mut next = other.messages.next(0);
        while let Some(meta) = next {
            let one = self.messages.get(meta.seq).unwrap();
            assert_eq!(
                one,
                other.messages.get(meta.seq).unwrap(),
                "{what}: {}",
                meta.seq
            );
            next = other.messages.next(meta.seq + 1);
        }
    }
}

impl Source for Node {
    fn messages(&self) -> &dyn MessageStore {
        &self.messages
    }

    fn applied(&self) -> (u64, u64) {
        (self.applied, 1)
    }

    fn note(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.clock.to_le_bytes());
        into.extend_from_slice(&self.blob);
    }
}

impl Local for Node {
    fn messages(&self) -> &dyn MessageStore {
        assert!(self.is_settled());
        &self.messages
    }

    fn applied(&self) -> u64 {
        self.applied
    }

    fn begin(&mut self, fresh: bool) -> bool {
        Node::append(
            self,
            &Record {
                group: GROUP,
                kind: Kind::Control(BEGIN),
                index: 0,
                term: 0,
                seq: 0,
                timestamp: 0,
                key: &[],
                headers: &[],
                payload: &[u8::from(fresh)],
            },
        );
        self.mark(fresh);
        true
    }

    fn append(&mut self, message: &Message<'_>, again: bool) -> bool {
        let location = Node::append(
            self,
            &Record {
                group: GROUP,
                kind: if again {
                    Kind::MessageAgain
                } else {
                    Kind::Message
                },
                index: 0,
                term: 0,
                seq: message.seq,
                timestamp: message.timestamp,
                key: message.key,
                headers: message.headers,
                payload: message.payload,
            },
        );
        let body = Body {
            seq: message.seq,
            timestamp: message.timestamp,
            key: message.key.to_vec(),
            headers: message.headers.to_vec(),
            payload: message.payload.to_vec(),
            location,
        };
        self.pending.push(Pending::Insert(body, again));
        true
    }

    fn install(&mut self, state: &State<'_>, bytes: &[u8]) -> bool {
        let to = (state.index, state.term as u32);
        self.store
            .append_install(GROUP, self.applied + 1, to, bytes);
        self.pending.push(Pending::Installed);
        true
    }

    fn installed(&mut self, state: &State<'_>) {
        self.take_over(state);
    }

    fn send(&mut self, to: NodeId, frame: Vec<u8>) {
        self.sent.push((to, frame));
    }

    fn log(&mut self, _level: Level, text: &str) {
        self.said.push(text.to_owned());
    }
}
