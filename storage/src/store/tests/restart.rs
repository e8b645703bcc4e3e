//! Random programs on a file store that restarts now and then, against the trivial model.

use proptest::prelude::*;

use super::*;
use crate::messages::tests::{Model, Op, Row, apply, compare, op};

const REMOVE: u8 = 1;
const REMOVE_FRONT: u8 = 2;
const SKIP: u8 = 3;

pub(super) fn file_size(row: &Row) -> u64 {
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
    /// Opens; blobs and replayed records must not pass the record with index `most`.
    pub(super) fn open(disk: FaultDisk, life: u64, most: u64) -> Result<Self, StoreError> {
        let opened = open(&disk, life)?;
        let Opened {
            mut store,
            writer,
            mut groups,
            replay,
            ..
        } = opened;
        let mut index = 0;
        let mut messages = match groups.pop() {
            Some(group) => {
                index = u64::from_le_bytes(group.blob.as_ref().try_into().unwrap());
                group.messages
            }
            None => store.create_group(GROUP, 0),
        };
        replay.run(&mut |item| {
            assert_eq!(item.record.index, index + 1, "a record is missing");
            index = item.record.index;
            replay_one(&mut messages, item);
        })?;
        assert!(index <= most);
        Ok(Self {
            disk,
            store,
            writer,
            messages,
            life,
            index,
        })
    }

    pub(super) fn index(&self) -> u64 {
        self.index
    }

    fn log(&mut self, kind: Kind, seq: u64, row: &Row) -> Result<Location, StoreError> {
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
        self.store.seal();
        self.writer.write()?;
        self.writer.sync()?;
        Ok(appended.location)
    }

    fn control(&mut self, tag: u8, number: u64) -> Result<(), StoreError> {
        let payload = number.to_le_bytes().to_vec();
        let row = Row {
            timestamp: 0,
            key: Vec::new(),
            headers: Vec::new(),
            payload,
        };
        self.log(Kind::Control(tag), 0, &row).map(drop)
    }

    /// What the model will be after the operation.
    pub(super) fn plan(&self, model: &mut Model, op: &Op) {
        let mut scratch = crate::MemoryMessages::new();
        for (seq, row) in &model.rows {
            crate::messages::tests::insert_row(&mut scratch, *seq, row);
        }
        if scratch.state().last_seq < model.last {
            scratch.skip(model.last, i64::MIN).unwrap();
        }
        apply(model, &mut scratch, op);
    }

    pub(super) fn try_step(&mut self, model: &mut Model, op: &Op) -> Result<(), StoreError> {
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
                let location = self.log(Kind::Message, seq, &row)?;
                insert_row(&mut self.messages, seq, &row, location);
                return Ok(());
            }
            Op::Remove { .. } | Op::RemoveRun { .. } => {
                for seq in model.victims(op) {
                    self.control(REMOVE, seq)?;
                }
            }
            Op::RemoveFront { at } => self.control(REMOVE_FRONT, model.front(*at))?,
            Op::Skip { by } => self.control(SKIP, model.last + by)?,
            Op::Repair { at } => {
                let seq = model.pick(*at);
                if let Some(row) = model.rows.get(&seq) {
                    let location = self.log(Kind::MessageAgain, seq, row)?;
                    let again = row_insert(seq, row, location);
                    self.messages.repair(&again).unwrap();
                }
                return Ok(());
            }
        }
        apply(model, &mut self.messages, op);
        Ok(())
    }

    pub(super) fn try_maintain(&mut self, retire: bool) -> Result<(), StoreError> {
        let blob = self.index.to_le_bytes().to_vec();
        let groups = &mut [(GROUP, blob, Some(&mut self.messages))];
        maintain(&mut self.store, self.writer.durable(), retire, groups)
    }

    /// Moves all messages into sections; `between` happens while the job runs.
    pub(super) fn seal(&mut self, model: &mut Model, between: &[Op]) {
        let mut job = self.store.begin_copy(u32::MAX);
        add(&mut job, GROUP, &mut self.messages);
        let copied = job.run().unwrap();
        for op in between {
            self.try_step(model, op).unwrap();
        }
        self.store.finish_copy(&copied);
        copied.relocate(GROUP, &mut self.messages);
    }

    pub(super) fn restart(self) -> Self {
        let disk = self.disk.kill();
        let (life, index) = (self.life + 1, self.index);
        drop(self);
        let rig = Self::open(disk, life, index).unwrap();
        assert_eq!(rig.index, index);
        rig
    }
}

fn row_insert(seq: u64, row: &Row, location: Location) -> Insert<'_> {
    Insert {
        seq,
        timestamp: row.timestamp,
        key: &row.key,
        headers: &row.headers,
        payload: &row.payload,
        location: Some(location),
    }
}

fn insert_row(messages: &mut FileMessages, seq: u64, row: &Row, location: Location) {
    messages.insert(&row_insert(seq, row, location)).unwrap();
}

fn replay_one(messages: &mut FileMessages, item: &ReplayRecord<'_>) {
    let number = || u64::from_le_bytes(item.record.payload.try_into().unwrap());
    match item.record.kind {
        Kind::Message => insert(messages, &item.record, item.location),
        Kind::MessageAgain => {
            let row = Row {
                timestamp: item.record.timestamp,
                key: item.record.key.to_vec(),
                headers: item.record.headers.to_vec(),
                payload: item.record.payload.to_vec(),
            };
            let again = row_insert(item.record.seq, &row, item.location);
            messages.repair(&again).unwrap();
        }
        Kind::Control(REMOVE) => {
            messages.remove(number(), false);
        }
        Kind::Control(REMOVE_FRONT) => messages.remove_front(number(), &mut |_, _| {}),
        Kind::Control(_) => messages.skip(number(), i64::MIN).unwrap(),
        _ => unreachable!("this script cuts no log and writes nothing again"),
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Do(Op),
    Restart,
    /// With or without letting journal files go.
    Maintain(bool),
    /// Moves everything into sections, while some operations go on.
    Seal(Vec<Op>),
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![30 => op().prop_map(Step::Do), 1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Maintain),
        2 => prop::collection::vec(op(), 0..8).prop_map(Step::Seal)];
    prop::collection::vec(step, 1..250)
}

/// Runs a program on a store and on the model.
pub(super) fn agree(steps: &[Step]) {
    let mut model = Model::default();
    let mut rig = Rig::open(FaultDisk::new(), 1, 0).unwrap();
    for step in steps {
        match step {
            Step::Do(op) => rig.try_step(&mut model, op).unwrap(),
            Step::Maintain(retire) => {
                rig.try_maintain(*retire).unwrap();
                compare(&model, &rig.messages, file_size, model.last / 2);
            }
            Step::Seal(between) => {
                rig.seal(&mut model, between);
                compare(&model, &rig.messages, file_size, model.last / 2);
            }
            Step::Restart => {
                compare(&model, &rig.messages, file_size, model.last / 2);
                rig = rig.restart();
                compare(&model, &rig.messages, file_size, model.last / 2);
            }
        }
    }
    compare(&model, &rig.messages, file_size, model.last / 2);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn file_store_agrees_with_the_model_across_restarts(steps in steps()) {
        agree(&steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, failure_persistence: None, ..Default::default()
    })]

    /// Nearly everything is in sections, and they are rewritten all the time.
    #[test]
    fn sealed_store_agrees_with_the_model(
        ops in prop::collection::vec(op(), 1..700),
        every in 2..60_usize,
        between in 0..6_usize,
    ) {
        let mut model = Model::default();
        let mut rig = Rig::open(FaultDisk::new(), 1, 0).unwrap();
        let looks = ops.len() / 5 + 1;
        for (at, ops) in ops.chunks(every).enumerate() {
            let (now, while_sealing) = ops.split_at(ops.len().saturating_sub(between));
            for op in now {
                rig.try_step(&mut model, op).unwrap();
            }
            rig.seal(&mut model, while_sealing);
            if at * every % looks < every {
                let probe = model.rows.keys().nth(at).copied().unwrap_or(1);
                compare(&model, &rig.messages, file_size, probe);
            }
        }
        compare(&model, &rig.messages, file_size, model.last / 2);
        rig = rig.restart();
        rig.try_maintain(true).unwrap();
        rig = rig.restart();
        compare(&model, &rig.messages, file_size, model.last / 3);
    }
}
