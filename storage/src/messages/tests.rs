//! Random programs on a store against a map that is obviously right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Keys look like `a.7`; the filter is everything, one key, or "first letter", or "last digits".
#[derive(Clone, Debug)]
pub(crate) enum Filter {
    All,
    Key(Vec<u8>),
    Letter(u8),
    Digits(&'static [u8]),
}

impl KeyFilter for Filter {
    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Key(name) => key == name,
            Self::Letter(letter) => key.first() == Some(letter),
            Self::Digits(digits) => key.ends_with(digits),
        }
    }

    fn literal(&self) -> Option<&[u8]> {
        if let Self::Key(name) = self {
            Some(name)
        } else {
            None
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Self::All)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Insert {
        gap: u64,
        step: i64,
        key: u8,
        size: usize,
        headers: bool,
    },
    Remove {
        at: u16,
    },
    RemoveFront {
        at: u16,
    },
    RemoveRun {
        at: u16,
        count: u16,
    },
    Skip {
        by: u64,
    },
    /// A message gets its bytes from a new place.
    Repair {
        at: u16,
    },
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let gap = prop_oneof![9 => Just(1_u64), 1 => 1..5_u64, 1 => Just(5_000_000_000)];
    prop_oneof![
        20 => (gap, -3..10_i64, 0..40_u8, 0..200_usize, any::<bool>()).prop_map(
            |(gap, step, key, size, headers)| Op::Insert { gap, step, key, size, headers }
        ),
        6 => any::<u16>().prop_map(|at| Op::Remove { at }),
        1 => any::<u16>().prop_map(|at| Op::RemoveFront { at }),
        2 => (any::<u16>(), 0..80_u16).prop_map(|(at, count)| Op::RemoveRun { at, count }),
        1 => (0..3_u64).prop_map(|by| Op::Skip { by }),
        1 => any::<u16>().prop_map(|at| Op::Repair { at }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) timestamp: i64,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

/// The trivial model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) rows: BTreeMap<u64, Row>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) last_ts: i64,
    pub(crate) clock: i64,
}

pub(crate) fn name(key: u8) -> Vec<u8> {
    format!("{}.{key}", char::from(b'a' + key % 3)).into_bytes()
}

impl Model {
    /// First and last of every run of messages.
    pub(crate) fn runs(&self) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for seq in self.rows.keys() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *seq => *last = *seq,
                _ => runs.push((*seq, *seq)),
            }
        }
        runs
    }

    pub(crate) fn pick(&self, at: u16) -> u64 {
        let Some(span) = self
            .rows
            .keys()
            .nth(usize::from(at) % self.rows.len().max(1))
        else {
            return self.last;
        };
        *span
    }

    pub(crate) fn row(&mut self, gap: u64, step: i64, key: u8, size: usize, headers: bool) -> u64 {
        self.clock += step;
        self.last += gap;
        self.last_ts = self.clock;
        let headers = if headers {
            b"NATS/1.0\r\n\r\n".to_vec()
        } else {
            Vec::new()
        };
        let payload = (0..size)
            .map(|at| (at as u64 * 7 + self.last) as u8)
            .collect();
        let row = Row {
            timestamp: self.clock,
            key: name(key),
            headers,
            payload,
        };
        self.rows.insert(self.last, row);
        self.last
    }

    pub(crate) fn victims(&self, op: &Op) -> Vec<u64> {
        match op {
            Op::Remove { at } => vec![self.pick(*at)],
            Op::RemoveRun { at, count } => {
                let from = self.pick(*at);
                self.rows
                    .range(from..)
                    .take(usize::from(*count))
                    .map(|(seq, _)| *seq)
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, seq: u64) -> Option<Row> {
        let row = self.rows.remove(&seq);
        self.settle();
        row
    }

    pub(crate) fn settle(&mut self) {
        // A store that never held anything starts at 0 until all of it is removed.
        let empty = if self.last == 0 {
            self.first
        } else {
            self.last + 1
        };
        self.first = self.rows.keys().next().copied().unwrap_or(empty);
    }

    pub(crate) fn front(&self, at: u16) -> u64 {
        if at.is_multiple_of(7) {
            self.last + u64::from(at % 3)
        } else {
            self.pick(at)
        }
    }

    pub(crate) fn drop_front(&mut self, first: u64) -> usize {
        let before = self.rows.len();
        self.rows = self.rows.split_off(&first);
        if self.rows.is_empty() && first > self.last {
            self.last = first - 1;
            self.first = first;
        }
        self.settle();
        before - self.rows.len()
    }
}

/// Applies one operation to both and compares what it returned.
pub(crate) fn apply(model: &mut Model, store: &mut dyn MessageStore, op: &Op) {
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
            insert_row(store, seq, &model.rows[&seq]);
        }
        Op::Remove { .. } | Op::RemoveRun { .. } => {
            for seq in model.victims(op) {
                let meta = store.remove(seq, false);
                let row = model.take(seq);
                assert_eq!(meta.is_some(), row.is_some());
                if let (Some(meta), Some(row)) = (meta, row) {
                    assert_eq!(store.key(meta.key), row.key);
                }
            }
        }
        Op::RemoveFront { at } => {
            let first = model.front(*at);
            let mut seen = Vec::new();
            store.remove_front(first, &mut |meta, key| seen.push((meta.seq, key.to_vec())));
            let expected: Vec<_> = model
                .rows
                .range(..first)
                .map(|(seq, row)| (*seq, row.key.clone()))
                .collect();
            assert_eq!(seen, expected);
            model.drop_front(first);
        }
        Op::Skip { by } => {
            model.last += by;
            store.skip(model.last, i64::MIN).unwrap();
            model.settle();
        }
        Op::Repair { at } => {
            if let Some(row) = model.rows.get(&model.pick(*at)) {
                store.repair(&row_insert(model.pick(*at), row)).unwrap();
            }
        }
    }
}

pub(crate) fn insert_row(store: &mut dyn MessageStore, seq: u64, row: &Row) {
    let meta = store
        .insert(&Insert {
            seq,
            timestamp: row.timestamp,
            key: &row.key,
            headers: &row.headers,
            payload: &row.payload,
            location: None,
        })
        .unwrap();
    assert_eq!(store.key(meta.key), row.key);
}

/// Compares every answer of the store with the model's.
pub(crate) fn compare(model: &Model, store: &dyn MessageStore, size: fn(&Row) -> u64, at: u64) {
    let keys: BTreeSet<_> = model.rows.values().map(|row| row.key.clone()).collect();
    let first = model.rows.iter().next();
    let state = State {
        messages: model.rows.len() as u64,
        bytes: model.rows.values().map(size).sum(),
        first_seq: model.first,
        first_ts: first.map_or(0, |(_, row)| row.timestamp),
        last_seq: model.last,
        last_ts: model.last_ts,
        keys: keys.len() as u64,
    };
    assert_eq!(store.state(), state);
    for (seq, row) in &model.rows {
        let got = store.get(*seq).unwrap().unwrap();
        let got = Row {
            timestamp: got.timestamp,
            key: got.key.to_vec(),
            headers: got.headers.to_vec(),
            payload: got.payload.to_vec(),
        };
        assert_eq!(&got, row);
    }
    let probes = [
        0,
        1,
        at,
        at.saturating_sub(1),
        model.first,
        model.last,
        model.last + 1,
    ];
    let mut filters = vec![Filter::All, Filter::Letter(b'a'), Filter::Letter(b'z')];
    filters.extend([Filter::Digits(b"38"), Filter::Digits(b"9")]);
    filters.extend([0, 1, 2, 39].map(|key| Filter::Key(name(key))));
    for probe in probes {
        for filter in &filters {
            compare_filtered(model, store, probe, filter);
        }
        assert_eq!(store.meta(probe).is_some(), model.rows.contains_key(&probe));
    }
    compare_times(model, store);
    compare_present(model, store);
    if model.last < 4_000_000_000 {
        let mut deleted = Vec::new();
        store.deleted(&mut |seq| deleted.push(seq));
        let expected: Vec<u64> = match first {
            Some((first, _)) => (*first..=model.last)
                .filter(|seq| !model.rows.contains_key(seq))
                .collect(),
            None => Vec::new(),
        };
        assert_eq!(store.deleted_count(), expected.len() as u64);
        assert_eq!(deleted, expected);
    }
}

fn compare_present(model: &Model, store: &dyn MessageStore) {
    let mut found = Vec::new();
    store.present(&mut |first, last| found.push((first, last)));
    assert_eq!(found, model.runs());
}

fn compare_times(model: &Model, store: &dyn MessageStore) {
    for timestamp in [
        i64::MIN,
        -5,
        0,
        7,
        model.clock / 2,
        model.clock,
        model.clock + 1,
        i64::MAX,
    ] {
        let expected = model
            .rows
            .iter()
            .find(|(_, row)| row.timestamp >= timestamp);
        let expected = expected.map_or(model.last + 1, |(seq, _)| *seq);
        assert_eq!(store.seq_at(timestamp), expected);
    }
}

fn compare_filtered(model: &Model, store: &dyn MessageStore, probe: u64, filter: &Filter) {
    let hits = |range: std::ops::RangeInclusive<u64>| {
        model
            .rows
            .range(range)
            .filter(|(_, row)| filter.matches(&row.key))
    };
    let seq = |meta: Option<Meta>| meta.map(|meta| meta.seq);
    assert_eq!(
        seq(store.next_matching(probe, filter)),
        hits(probe..=u64::MAX).next().map(|(seq, _)| *seq)
    );
    assert_eq!(
        seq(store.last_matching(probe, filter)),
        hits(0..=probe).next_back().map(|(seq, _)| *seq)
    );
    assert_eq!(
        store.count_matching(probe, filter),
        hits(probe..=u64::MAX).count() as u64
    );
    let mut last: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for (seq, row) in hits(0..=u64::MAX) {
        *counts.entry(row.key.clone()).or_default() += 1;
        if *seq <= probe {
            last.insert(&row.key, *seq);
        }
    }
    let mut last: Vec<u64> = last
        .into_values()
        .filter(|seq| *seq >= model.first + 3)
        .collect();
    last.sort_unstable();
    last.truncate(10);
    let got = store.last_per_key(model.first + 3, probe, filter, 10);
    assert_eq!(got.iter().map(|meta| meta.seq).collect::<Vec<_>>(), last);
    let mut got = BTreeMap::new();
    store.keys_matching(filter, &mut |key, count| {
        assert!(got.insert(key.to_vec(), count).is_none());
    });
    assert_eq!(got, counts);
    if let Filter::Key(key) = filter {
        assert_eq!(
            store.count_of_key(key),
            counts.get(key).copied().unwrap_or(0)
        );
        assert_eq!(
            seq(store.first_of_key(key)),
            hits(0..=u64::MAX).next().map(|(seq, _)| *seq)
        );
        assert_eq!(store.key_id(key).is_some(), counts.contains_key(key));
    }
}

fn memory_size(row: &Row) -> u64 {
    (16 + row.key.len() + row.headers.len() + row.payload.len()) as u64
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn memory_store_agrees_with_the_model(ops in prop::collection::vec(op(), 1..700)) {
        let mut model = Model::default();
        let mut store = MemoryMessages::new();
        let every = ops.len() / 8 + 1;
        for (at, op) in ops.iter().enumerate() {
            apply(&mut model, &mut store, op);
            if at % every == 0 {
                let probe = model.pick(at as u16);
                compare(&model, &store, memory_size, probe);
            }
        }
        compare(&model, &store, memory_size, model.pick(7));
    }
}

/// A message as it was inserted, from elsewhere.
fn row_insert(seq: u64, row: &Row) -> Insert<'_> {
    Insert {
        seq,
        timestamp: row.timestamp,
        key: &row.key,
        headers: &row.headers,
        payload: &row.payload,
        location: None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn what_is_missing_is_put_back_and_what_is_not_wanted_goes(
        ops in prop::collection::vec(op(), 1..400),
        missing in prop::collection::vec(any::<u16>(), 0..300),
        unwanted in prop::collection::vec((any::<u16>(), 0..60_u16), 0..6),
    ) {
        let mut model = Model::default();
        let mut store = MemoryMessages::new();
        for op in &ops {
            apply(&mut model, &mut store, op);
        }
        // Some are there and get their bytes once more.
        for at in &missing {
            let seq = model.pick(*at);
            if *at % 3 > 0 {
                store.remove(seq, false);
            }
        }
        for at in &missing {
            let seq = model.pick(*at);
            let Some(row) = model.rows.get(&seq) else { continue };
            let mut other = row.clone();
            other.payload.push(1);
            let there = store.meta(seq).is_some();
            prop_assert_eq!(store.repair(&row_insert(seq, &other)).is_err(), there);
            if there {
                store.repair(&row_insert(seq, row)).unwrap();
            } else {
                store.remove(seq, false);
                store.repair(&row_insert(seq, row)).unwrap();
            }
        }
        compare(&model, &store, memory_size, model.pick(7));
        let mut gone = Vec::new();
        for (at, count) in &unwanted {
            let op = Op::RemoveRun { at: *at, count: *count };
            for seq in model.victims(&op) {
                gone.extend(model.take(seq).map(|row| (seq, row.key)));
            }
        }
        gone.sort_unstable();
        // Runs may cover what never was there.
        let mut runs = model.runs();
        runs.insert(0, (0, 0));
        runs.push((model.last + 1, u64::MAX));
        let mut removed = Vec::new();
        store.retain(&runs, &mut |meta, key| removed.push((meta.seq, key.to_vec())));
        prop_assert_eq!(removed, gone);
        compare(&model, &store, memory_size, model.pick(7));
        let mut other = MemoryMessages::new();
        for (seq, row) in &model.rows {
            insert_row(&mut other, *seq, row);
        }
        let state = store.state();
        other.set_ends(state.first_seq, state.last_seq, state.last_ts);
        prop_assert_eq!(other.state(), state);
        let beyond = Row { timestamp: 1, key: name(1), headers: Vec::new(), payload: Vec::new() };
        let seq = model.last + 1;
        prop_assert_eq!(store.repair(&row_insert(seq, &beyond)), Err(NoPlace { seq }));
    }
}

#[test]
fn ends_of_a_fresh_a_positioned_and_an_emptied_store() {
    let mut store = MemoryMessages::new();
    assert_eq!(store.state(), State::default());
    store.set_first_seq(100).unwrap();
    let state = store.state();
    assert_eq!((state.first_seq, state.last_seq), (100, 99));
    assert!(store.set_first_seq(50).is_err());
    let row = Row {
        timestamp: 9,
        key: name(1),
        headers: Vec::new(),
        payload: vec![1],
    };
    insert_row(&mut store, 100, &row);
    let again = Insert {
        seq: 100,
        timestamp: 10,
        key: b"k",
        headers: b"",
        payload: b"",
        location: None,
    };
    assert_eq!(
        store.insert(&again),
        Err(OutOfOrder {
            seq: 100,
            last: 100
        })
    );
    store.remove(100, false).unwrap();
    let state = store.state();
    assert_eq!(
        (
            state.first_seq,
            state.last_seq,
            state.first_ts,
            state.last_ts
        ),
        (101, 100, 0, 9)
    );
    store.remove_front(201, &mut |_, _| panic!("nothing to remove"));
    assert_eq!(
        (store.state().first_seq, store.state().last_seq),
        (201, 200)
    );
}

#[test]
fn emptied_keys_are_reclaimed() {
    let mut store = MemoryMessages::new();
    let mut highest = 0;
    for seq in 1..5000_u64 {
        let key = format!("only.once.{seq}").into_bytes();
        let row = Row {
            timestamp: 1,
            key,
            headers: Vec::new(),
            payload: Vec::new(),
        };
        insert_row(&mut store, seq, &row);
        highest = highest.max(store.key_id(&row.key).unwrap().0);
        if seq > 3 {
            store.remove(seq - 3, false).unwrap();
        }
    }
    assert!(highest < 10, "{highest} ids for three live keys");
}
