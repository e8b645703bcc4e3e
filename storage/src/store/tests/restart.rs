//! Random programs on a file store that restarts now and then, against the trivial model.

use proptest::prelude::*;

use super::*;
use crate::messages::tests::{Model, Op, Row, apply, compare, op};

const REMOVE: u8 = 1;
const REMOVE_FRONT: u8 = 2;
const SKIP: u8 = 3;

fn file_size(row: &Row) -> u64 {
    let headers = if row.headers.is_empty() {
        0
    } else {
        4 + row.headers.len()
    };
    (30 + row.key.len() + row.payload.len() + headers) as u64
}

/// A store with one group, driven as the layer above would drive it.
pub(super) struct Rig {
    pub(super) disk: FaultDisk,
    pub(super) store: Store,
    pub(super) writer: JournalWriter,
    pub(super) messages: FileMessages,
    life: u64,
    index: u64,
}

impl Rig {
    fn new() -> Self {
        let disk = FaultDisk::new();
        let Opened {
            mut store, writer, ..
        } = open(&disk, 1).unwrap();
        let messages = store.create_group(GROUP, 0);
        Self {
            disk,
            store,
            writer,
            messages,
            life: 1,
            index: 0,
        }
    }

    fn log(&mut self, kind: Kind, seq: u64, row: &Row) -> Location {
        self.index += 1;
        let appended = self.store.append(&Record {
            group: GROUP,
            kind,
            index: self.index,
            term: 1,
            seq,
            timestamp: row.timestamp,
            key: &row.key,
            headers: &row.headers,
            payload: &row.payload,
        });
        write_and_sync(&mut self.store, &mut self.writer);
        appended.location
    }

    fn control(&mut self, tag: u8, number: u64) {
        let payload = number.to_le_bytes().to_vec();
        let row = Row {
            timestamp: 0,
            key: Vec::new(),
            headers: Vec::new(),
            payload,
        };
        self.log(Kind::Control(tag), 0, &row);
    }

    fn step(&mut self, model: &mut Model, op: &Op) {
        match op {
            Op::Insert {
                gap,
                step,
                key,
                size,
                headers,
            } => {
                let seq = model.row(*gap, *step, *key, *size, *headers);
                model.settle();
                let row = model.rows[&seq].clone();
                let location = self.log(Kind::Message, seq, &row);
                insert_row(&mut self.messages, seq, &row, location);
                return;
            }
            Op::Remove { .. } | Op::RemoveRun { .. } => {
                for seq in model.victims(op) {
                    self.control(REMOVE, seq);
                }
            }
            Op::RemoveFront { at } => self.control(REMOVE_FRONT, model.front(*at)),
            Op::Skip { by } => self.control(SKIP, model.last + by),
        }
        apply(model, &mut self.messages, op);
    }

    fn restart(self) -> Self {
        let disk = self.disk.kill();
        let life = self.life + 1;
        let index = self.index;
        drop(self);
        let opened = open(&disk, life).unwrap();
        assert_eq!(opened.report, Report::default());
        let Opened {
            mut store,
            writer,
            mut groups,
            replay,
            ..
        } = opened;
        let mut messages = match groups.pop() {
            Some(group) => group.messages,
            None => store.create_group(GROUP, 0),
        };
        replay
            .run(&mut |item| replay_one(&mut messages, item))
            .unwrap();
        Self {
            disk,
            store,
            writer,
            messages,
            life,
            index,
        }
    }
}

fn insert_row(messages: &mut FileMessages, seq: u64, row: &Row, location: Location) {
    messages
        .insert(&Insert {
            seq,
            timestamp: row.timestamp,
            key: &row.key,
            headers: &row.headers,
            payload: &row.payload,
            location: Some(location),
        })
        .unwrap();
}

fn replay_one(messages: &mut FileMessages, item: &ReplayRecord<'_>) {
    let number = || u64::from_le_bytes(item.record.payload.try_into().unwrap());
    match item.record.kind {
        Kind::Message => insert(messages, &item.record, item.location),
        Kind::Control(REMOVE) => {
            messages.remove(number(), false);
        }
        Kind::Control(REMOVE_FRONT) => messages.remove_front(number(), &mut |_, _| {}),
        Kind::Control(_) => messages.skip(number()).unwrap(),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Do(Op),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![30 => op().prop_map(Step::Do), 1 => Just(Step::Restart)];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn file_store_agrees_with_the_model_across_restarts(steps in steps()) {
        let mut model = Model::default();
        let mut rig = Rig::new();
        for step in &steps {
            match step {
                Step::Do(op) => rig.step(&mut model, op),
                Step::Restart => {
                    compare(&model, &rig.messages, file_size, model.last / 2);
                    rig = rig.restart();
                    compare(&model, &rig.messages, file_size, model.last / 2);
                }
            }
        }
        compare(&model, &rig.messages, file_size, model.last / 2);
    }
}
