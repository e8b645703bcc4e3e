//! Groups that keep a log with entries that are not applied yet: records that are written again,
//! checkpoints that cover an index, and what comes back after a crash.

use std::collections::BTreeMap;

use super::*;
use crate::disk::Disk as _;

/// An entry: its term, and its sequence if it is a message.
type Log = Vec<(u32, Option<u64>)>;

fn payload(index: u64, term: u32) -> Vec<u8> {
    let mut payload = format!("{index}/{term}/").into_bytes();
    payload.resize(40 + (index as usize * 97) % 900, b'x');
    payload
}

fn entry(index: u64, term: u32, seq: Option<u64>, again: bool) -> Written {
    let kind = if seq.is_some() {
        Kind::Message
    } else {
        Kind::Control(3)
    };
    Written {
        group: GROUP,
        index,
        kind: if again { kind.again().unwrap() } else { kind },
        seq: seq.unwrap_or(0),
        key: b"key".to_vec(),
        headers: Vec::new(),
        payload: payload(index, term),
    }
}

fn again(written: &Written, location: Location) -> Insert<'_> {
    Insert {
        seq: written.seq,
        timestamp: written.seq as i64 * 10,
        key: &written.key,
        headers: &written.headers,
        payload: &written.payload,
        location: Some(location),
    }
}

fn append(store: &mut Store, record: &Written, term: u32) -> Location {
    let mut record = record.record();
    record.term = term;
    store.append(&record).location
}

/// A replica's log and messages, as the layer above keeps them.
struct Replica {
    disk: FaultDisk,
    store: Store,
    writer: JournalWriter,
    messages: FileMessages,
    /// Entries that are not applied: term, sequence, place unless it is damaged.
    open: BTreeMap<u64, (u32, Option<u64>, Option<Location>)>,
    applied: u64,
    /// Repairs that came back, to be made once everything is applied.
    repaired: Vec<(Written, Location)>,
}

impl Replica {
    fn recover(disk: &FaultDisk, seed: u64) -> Result<Self, StoreError> {
        let opened = open(disk, seed)?;
        let Opened {
            mut store,
            writer,
            groups,
            replay,
            ..
        } = opened;
        let (mut applied, mut messages) = (0, None);
        for group in groups.into_iter().filter(|group| group.id == GROUP) {
            applied = group.applied.unwrap();
            messages = Some(group.messages);
        }
        let mut entries = BTreeMap::new();
        let messages = messages.unwrap_or_else(|| store.create_group(GROUP, 0));
        let mut repaired = Vec::new();
        replay.run(&mut |item| {
            let record = &item.record;
            if record.group != GROUP {
                return;
            }
            if record.index == 0 && record.kind == Kind::MessageAgain {
                repaired.push((Written::of(record), item.location));
            }
            if record.index == 0
                || !matches!(record.kind.original(), Kind::Message | Kind::Control(_))
            {
                return;
            }
            assert!(record.index > applied, "{record:?}");
            let seq = record.kind.is_message().then_some(record.seq);
            let again = record.kind != record.kind.original();
            if !again {
                entries.split_off(&record.index);
            }
            let location = (!item.damaged).then_some(item.location);
            if !item.damaged {
                assert_eq!(record.payload, payload(record.index, record.term));
            }
            entries.insert(record.index, (record.term, seq, location));
        })?;
        Ok(Self {
            repaired,
            disk: disk.clone(),
            store,
            writer,
            messages,
            open: entries,
            applied,
        })
    }

    fn reopen(disk: &FaultDisk) -> Self {
        Self::recover(disk, 2).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.disk.list(Path::new(DIR)).unwrap()
    }

    fn last(&self) -> u64 {
        self.open
            .last_key_value()
            .map_or(self.applied, |(at, _)| *at)
    }

    /// What the log says, as far as it can be told: `None` where nothing is left of an entry.
    fn log(&self) -> Vec<Option<(u32, Option<u64>)>> {
        let mut log = vec![None; self.applied as usize];
        let mut next = self.messages.next(0);
        while let Some(meta) = next {
            let stored = self.messages.get(meta.seq).unwrap().unwrap();
            let text = String::from_utf8_lossy(&stored.payload).into_owned();
            let mut parts = text.split('/').map(|part| part.parse().unwrap_or(0));
            let (index, term) = (parts.next().unwrap(), parts.next().unwrap());
            assert_eq!(stored.payload, payload(index as u64, term));
            log[index as usize - 1] = Some((term, Some(meta.seq)));
            next = self.messages.next(meta.seq + 1);
        }
        for (index, (term, seq, _)) in &self.open {
            assert_eq!(*index, log.len() as u64 + 1, "the log has a hole");
            log.push(Some((*term, *seq)));
        }
        log
    }

    fn apply(&mut self, upto: u64) {
        while let Some(first) = self.open.first_entry().filter(|first| *first.key() <= upto) {
            let (index, (term, seq, location)) = first.remove_entry();
            self.applied = index;
            let Some(seq) = seq else { continue };
            match location {
                Some(location) => {
                    let record = entry(index, term, Some(seq), false);
                    insert(&mut self.messages, &record.record(), location);
                }
                None => self.messages.skip(seq, seq as i64 * 10).unwrap(),
            }
        }
        for (written, location) in std::mem::take(&mut self.repaired) {
            self.messages.repair(&again(&written, location)).unwrap();
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.store.seal();
        self.writer.write()?;
        self.writer.sync()?;
        Ok(())
    }

    /// Lets old files go: everything that is not applied is written again.
    fn maintain(&mut self) -> Result<(), StoreError> {
        let Some(retire) = self.store.plan_retire(self.writer.durable(), 0) else {
            return Ok(());
        };
        for (index, (term, seq, location)) in &mut self.open {
            if matches!(location, Some(Location::Journal { file, .. }) if *file <= retire.through) {
                let copy = entry(*index, *term, *seq, true);
                *location = Some(append(&mut self.store, &copy, *term));
                // Each copy may be lost alone.
                self.store.seal();
                self.writer.write()?;
            }
        }
        self.sync()?;
        let mut job = self.store.begin_copy(retire.through);
        add(&mut job, GROUP, &mut self.messages);
        let copied = job.run()?;
        assert!(copied.lost.is_empty());
        self.store.finish_copy(&copied);
        copied.relocate(GROUP, &mut self.messages);
        let mut checkpoint = self.store.begin_checkpoint(Some(&retire));
        let covered = self.writer.durable();
        for group in &retire.groups {
            if *group == GROUP {
                let to = (covered, self.applied);
                checkpoint.add_applied(GROUP, to, &[b"blob"], Some(&mut self.messages));
            } else {
                checkpoint.add(*group, covered, b"other", None);
            }
        }
        let done = self.store.seal_checkpoint(checkpoint).run()?;
        let cleaned = self.store.finish_checkpoint(done).run();
        self.store.finish_cleanup(cleaned);
        Ok(())
    }
}

/// All states that the log was in, and which of them is acknowledged.
#[derive(Debug)]
struct History {
    states: Vec<Log>,
    acked: usize,
}

impl History {
    fn push(&mut self, term: u32, seq: Option<u64>, at: u64) {
        let mut log = self.states.last().cloned().unwrap_or_default();
        log.truncate(at as usize - 1);
        log.push((term, seq));
        self.states.push(log);
    }

    /// The state that the disk brought back.
    fn check(&self, replica: &Replica, what: &str) -> usize {
        let found = replica.log();
        let same = |state: &Log| {
            state.len() == found.len()
                && state
                    .iter()
                    .zip(&found)
                    .all(|(had, has)| has.is_none_or(|has| has == *had))
        };
        let possible = self.states.iter().skip(self.acked);
        let at = possible.into_iter().position(same);
        let acked = self.states.get(self.acked);
        self.acked + at.unwrap_or_else(|| panic!("{what}: {found:?} of {acked:?}"))
    }
}

/// Appends, overwrites, applies and maintains, until the disk stops.
fn script(replica: &mut Replica, history: &mut History, rounds: u64, seed: u64) -> bool {
    for round in seed..seed + rounds {
        let choose = |of: u64, below: u64| crate::journal::mix(round * 16 + of) % below;
        let term = round as u32;
        // A new leader may have another tail.
        let cut = choose(0, 3) == 0;
        if cut {
            let at = replica.applied + 1 + choose(1, replica.last() - replica.applied + 1);
            replica.open.split_off(&at);
        }
        for _ in 0..choose(2, 5).max(u64::from(cut)) {
            let index = replica.last() + 1;
            let mut open = replica.open.values().rev();
            let last = open.find_map(|(_, seq, _)| *seq);
            let last = last.unwrap_or_else(|| replica.messages.state().last_seq);
            let seq = (!index.is_multiple_of(4)).then_some(last + 1);
            let record = entry(index, term, seq, false);
            let location = append(&mut replica.store, &record, term);
            replica.open.insert(index, (term, seq, Some(location)));
            history.push(term, seq, index);
        }
        let mut other = Written::message(round * 2 + 1);
        other.index = 0;
        other.kind = Kind::Control(1);
        replica.store.append(&other.record());
        if replica.sync().is_err() {
            return false;
        }
        history.acked = history.states.len() - 1;
        // What one round brought is not applied before the next ones.
        if choose(3, 4) > 0 {
            let open = replica.last() - replica.applied;
            replica.apply(replica.applied + choose(4, open + 1));
        }
        if choose(5, 4) == 0 && replica.maintain().is_err() {
            return false;
        }
    }
    true
}

fn history() -> History {
    History {
        states: vec![Vec::new()],
        acked: 0,
    }
}

#[test]
fn a_log_survives_a_crash_after_every_call() {
    for adopt in [false, true] {
        if adopt {
            adopt_files();
        }
        let total = {
            let disk = FaultDisk::new();
            let mut replica = Replica::recover(&disk, 1).unwrap();
            assert!(script(&mut replica, &mut history(), 60, 0));
            let first = disk.list(Path::new(DIR)).unwrap();
            assert!(
                !first.contains(&"journal-0000000001".to_owned()),
                "{first:?}"
            );
            disk.calls()
        };
        for last in (0..=total).step_by(if adopt { 3 } else { 1 }) {
            let what = format!("crash after call {last}, adopt {adopt}");
            let disk = FaultDisk::new();
            disk.stop_after(last);
            let mut history = history();
            if let Ok(mut replica) = Replica::recover(&disk, 1) {
                script(&mut replica, &mut history, 60, 0);
            }
            let disk = disk.crash(last);
            let mut replica = Replica::recover(&disk, 2).unwrap();
            let at = history.check(&replica, &what);
            // The next life goes on, and its power fails, too.
            history.states.truncate(at + 1);
            history.acked = at;
            disk.stop_after(disk.calls() + last % 50);
            script(&mut replica, &mut history, 20, 100);
            drop(replica);
            let disk = disk.crash(last + 7);
            let mut replica = Replica::recover(&disk, 3).unwrap();
            history.check(&replica, &what);
            // Everything can be applied, and is there afterwards.
            replica.apply(u64::MAX);
            replica.maintain().unwrap();
            let log = replica.log();
            drop(replica);
            let mut replica = Replica::recover(&disk.kill(), 4).unwrap();
            replica.apply(u64::MAX);
            let again = replica.log();
            for (had, has) in log.iter().zip(&again) {
                assert!(had.is_none() || had == has, "{what}");
            }
            assert_eq!(log.len(), again.len(), "{what}");
        }
    }
}

#[test]
fn a_copy_replaces_nothing_and_is_replaced_with_its_original() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    for (index, term, again) in [
        (1, 1, false),
        (2, 1, false),
        (3, 1, false),
        (2, 1, true),
        (3, 1, true),
        (4, 1, false),
        (3, 2, false),
        (2, 1, true),
    ] {
        let record = entry(index, term, Some(index), again);
        append(&mut opened.store, &record, term);
    }
    write_and_sync(&mut opened.store, &mut opened.writer);
    drop(opened);
    let found = replayed(open(&disk, 2).unwrap().replay);
    let found: Vec<(u64, Kind)> = found
        .iter()
        .map(|(one, ..)| (one.index, one.kind))
        .collect();
    let (first, again) = (Kind::Message, Kind::MessageAgain);
    assert_eq!(
        found,
        [(1, first), (2, first), (2, again), (3, first), (2, again)]
    );
}

#[test]
fn an_installed_state_voids_the_open_end_of_the_log_and_nothing_else() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    let (store, writer) = (&mut opened.store, &mut opened.writer);
    let mut messages = store.create_group(GROUP, 0);
    for index in 1..=20 {
        let record = entry(index, 1, Some(index), false);
        let location = append(store, &record, 1);
        if index <= 10 {
            insert(&mut messages, &record.record(), location);
        }
    }
    // The same sequences, as others have committed them.
    for seq in 11..=15 {
        let mut fetched = entry(seq, 7, Some(seq), false);
        fetched.index = 0;
        let location = append(store, &fetched, 0);
        insert(&mut messages, &fetched.record(), location);
    }
    write_and_sync(store, writer);
    // In the middle of the exchange the log is what it was.
    let middle = open(&disk.kill(), 2).unwrap();
    assert_eq!(replayed(middle.replay).len(), 25);
    store.append_install(GROUP, 11, (50, 7), b"state");
    append(store, &entry(51, 7, Some(16), false), 7);
    write_and_sync(store, writer);
    let mut checkpoint = store.begin_checkpoint(None);
    checkpoint.add_applied(GROUP, (store.end(), 50), &[b"blob"], Some(&mut messages));
    let done = store.seal_checkpoint(checkpoint).run().unwrap();
    let before = disk.kill();
    let cleaned = store.finish_checkpoint(done).run();
    store.finish_cleanup(cleaned);
    let opened = open(&before, 3).unwrap();
    assert_eq!(opened.report, Report::default());
    let recovered = &opened.groups[0];
    assert_eq!(recovered.applied, Some(50));
    assert_eq!(recovered.messages.state(), messages.state());
    let read = |seq| recovered.messages.get(seq).unwrap().unwrap().payload;
    assert_eq!(read(10), payload(10, 1));
    assert_eq!(read(11), payload(11, 7));
    let found = replayed(opened.replay);
    let left: Vec<u64> = found.iter().map(|(one, ..)| one.index).collect();
    assert_eq!(left, [51]);
}

#[test]
fn a_file_with_replaced_records_is_not_adopted() {
    adopt_files();
    for case in 0..6 {
        let disk = FaultDisk::new();
        let mut replica = Replica::recover(&disk, 1).unwrap();
        let write = |replica: &mut Replica, indexes: std::ops::Range<u64>, term| {
            let mut file = 0;
            for index in indexes {
                let record = entry(index, term, Some(index), false);
                let location = append(&mut replica.store, &record, term);
                if let Location::Journal { file: now, .. } = location {
                    file = now;
                }
                replica
                    .open
                    .insert(index, (term, Some(index), Some(location)));
                replica.sync().unwrap();
            }
            file
        };
        // Up to the fifth of the second file, which is large enough.
        let mut next = 1;
        while write(&mut replica, next..next + 1, 1) == 1 {
            next += 1;
        }
        let at = next + 4;
        write(&mut replica, next + 1..at + 1, 1);
        match case {
            0 => {}
            // A few records of the file are replaced.
            1 => assert_eq!(write(&mut replica, at - 1..at + 1, 2), 2),
            2 => {
                replica.store.append_truncate(GROUP, at, 2);
                write(&mut replica, at..at + 1, 2);
            }
            3 => {
                replica.store.append_install(GROUP, at, (at - 1, 2), b"");
                write(&mut replica, at..at + 1, 2);
            }
            4 => {
                let copy = entry(2, 1, Some(2), true);
                append(&mut replica.store, &copy, 1);
            }
            // The same sequence, fetched: the log's entry with it is void later.
            _ => {
                let mut fetched = entry(at, 2, Some(at), false);
                fetched.index = 0;
                append(&mut replica.store, &fetched, 1);
            }
        }
        write(&mut replica, at + 1..70, 3);
        // It is known after a restart as well.
        if case % 2 == 1 {
            drop(replica);
            replica = Replica::reopen(&disk.kill());
        }
        replica.apply(69);
        replica.maintain().unwrap();
        let names = replica.names();
        let kept = |number| names.contains(&format!("journal-{number:010}"));
        assert_eq!(kept(2), case == 0, "case {case}: {names:?}");
        assert!(kept(3), "others are: {names:?}");
        assert_eq!(replica.log().len(), 69);
    }
}

#[test]
fn messages_out_of_order_in_the_journal_are_all_copied() {
    let disk = FaultDisk::new();
    let mut replica = Replica::recover(&disk, 1).unwrap();
    let mut entries = Vec::new();
    for index in 1..=60 {
        let record = entry(index, 1, Some(index), false);
        entries.push((record.clone(), append(&mut replica.store, &record, 1)));
        replica.sync().unwrap();
    }
    // Early messages are where their copies are, behind all others.
    for index in 1..=40_u64 {
        if index % 3 > 0 {
            let copy = entry(index, 1, Some(index), true);
            entries[index as usize - 1].1 = append(&mut replica.store, &copy, 1);
        }
    }
    replica.sync().unwrap();
    for (record, location) in &entries {
        insert(&mut replica.messages, &record.record(), *location);
    }
    replica.applied = 60;
    replica.maintain().unwrap();
    let names = disk.list(Path::new(DIR)).unwrap();
    let journal = names.iter().filter(|name| name.starts_with("journal"));
    assert_eq!(journal.count(), 1);
    assert_eq!(replica.log().len(), 60);
    let state = replica.messages.state();
    drop(replica);
    let replica = Replica::recover(&disk.kill(), 2).unwrap();
    assert_eq!(replica.messages.state(), state);
    assert_eq!(replica.log().len(), 60);
}

#[test]
fn a_repair_while_messages_are_copied_keeps_the_files() {
    let disk = FaultDisk::new();
    let mut replica = Replica::recover(&disk, 1).unwrap();
    for index in 1..=60 {
        let record = entry(index, 1, Some(index), false);
        let location = append(&mut replica.store, &record, 1);
        replica.open.insert(index, (1, Some(index), Some(location)));
        replica.sync().unwrap();
    }
    replica.apply(60);
    let durable = replica.writer.durable();
    let retire = replica.store.plan_retire(durable, 0).unwrap();
    let mut job = replica.store.begin_copy(retire.through);
    add(&mut job, GROUP, &mut replica.messages);
    let copied = job.run().unwrap();
    let copy = entry(1, 1, Some(1), true);
    let location = append(&mut replica.store, &copy, 1);
    replica.sync().unwrap();
    replica.messages.repair(&again(&copy, location)).unwrap();
    replica.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut replica.messages);
    let mut checkpoint = replica.store.begin_checkpoint(Some(&retire));
    let to = (replica.writer.durable(), 60);
    checkpoint.add_applied(GROUP, to, &[], Some(&mut replica.messages));
    let done = replica.store.seal_checkpoint(checkpoint).run().unwrap();
    let cleaned = replica.store.finish_checkpoint(done).run();
    replica.store.finish_cleanup(cleaned);
    assert_eq!(replica.log().len(), 60);
    drop(replica);
    let mut replica = Replica::recover(&disk.kill(), 2).unwrap();
    assert_eq!(replica.log().len(), 60);
    // The next pass takes them all.
    replica.maintain().unwrap();
    assert!(!replica.names().contains(&"journal-0000000001".to_owned()));
    assert_eq!(replica.log().len(), 60);
}

#[test]
fn no_file_goes_before_copies_are_durable() {
    let disk = FaultDisk::new();
    let mut replica = Replica::recover(&disk, 1).unwrap();
    for index in 1..=60 {
        let record = entry(index, 1, Some(index), false);
        let location = append(&mut replica.store, &record, 1);
        replica.open.insert(index, (1, Some(index), Some(location)));
        replica.sync().unwrap();
    }
    replica.apply(58);
    let retire = replica
        .store
        .plan_retire(replica.writer.durable(), 0)
        .unwrap();
    append(&mut replica.store, &entry(59, 1, Some(59), true), 1);
    let mut job = replica.store.begin_copy(retire.through);
    add(&mut job, GROUP, &mut replica.messages);
    let copied = job.run().unwrap();
    replica.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut replica.messages);
    let mut checkpoint = replica.store.begin_checkpoint(Some(&retire));
    let to = (replica.writer.durable(), 58);
    checkpoint.add_applied(GROUP, to, &[], Some(&mut replica.messages));
    let done = replica.store.seal_checkpoint(checkpoint).run().unwrap();
    let cleaned = replica.store.finish_checkpoint(done).run();
    replica.store.finish_cleanup(cleaned);
    let names = disk.list(Path::new(DIR)).unwrap();
    assert!(
        names.contains(&"journal-0000000001".to_owned()),
        "{names:?}"
    );
}

/// A replica whose messages are in sections, of one journal file each or copied, and in the tail.
fn long_replica(disk: &FaultDisk) -> Replica {
    let mut replica = Replica::recover(disk, 1).unwrap();
    for index in 1..=80 {
        let record = entry(index, 1, Some(index), false);
        let location = append(&mut replica.store, &record, 1);
        replica.open.insert(index, (1, Some(index), Some(location)));
        replica.sync().unwrap();
        if index % 30 == 0 {
            replica.apply(index);
            replica.maintain().unwrap();
        }
    }
    replica.apply(80);
    replica.writer.idle().unwrap();
    replica
}

/// Damages the bodies of some messages.
fn damage(replica: &Replica, seed: u64) -> Vec<u64> {
    let mut hurt = Vec::new();
    for seq in (1..=80).filter(|seq| crate::journal::mix(seq * 9 + seed).is_multiple_of(8)) {
        let (kind, file) = match replica.messages.location(seq).unwrap() {
            Location::Journal { file, .. } => ("journal", file),
            Location::Segment { file, .. } => match replica.store.bodies.get(&file) {
                Some(body) => ("journal", *body),
                None => ("segment", file),
            },
        };
        let path = Path::new(DIR).join(format!("{kind}-{file:010}"));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let files = super::redo::content(&replica.disk);
        let (_, bytes) = files.into_iter().find(|one| one.0 == name).unwrap();
        let text = payload(seq, 1);
        // Behind the record's header: a recycled file may hold the text elsewhere as well.
        let from = replica.messages.location(seq).unwrap().offset() as usize;
        let mut windows = bytes[from..].windows(text.len());
        let found = windows.position(|window| window == text).unwrap();
        replica.disk.flip(&path, from + found + 1, 2);
        hurt.push(seq);
    }
    hurt
}

#[test]
fn damaged_messages_get_good_places_and_keep_them() {
    for adopt in [false, true] {
        if adopt {
            adopt_files();
        }
        for seed in 0..30_u64 {
            let mut replica = long_replica(&FaultDisk::new());
            let hurt = damage(&replica, seed);
            let what = format!("adopt {adopt}, seed {seed}: {hurt:?}");
            for seq in &hurt {
                assert!(replica.messages.get(*seq).is_err(), "{what}: {seq}");
            }
            let state = replica.messages.state();
            let mut repaired = Vec::new();
            for seq in &hurt {
                let mut copy = entry(*seq, 1, Some(*seq), true);
                copy.index = 0;
                let location = append(&mut replica.store, &copy, 1);
                repaired.push((copy, location));
            }
            replica.sync().unwrap();
            let calls = replica.disk.calls();
            replica.disk.stop_after(calls + seed * 2);
            for (copy, location) in &repaired {
                replica.messages.repair(&again(copy, *location)).unwrap();
            }
            assert_eq!(replica.messages.state(), state, "{what}");
            assert_eq!(replica.log().len(), 80, "{what}");
            if seed % 3 == 0 {
                // A checkpoint that retires nothing, and refers to what the journal has.
                let mut checkpoint = replica.store.begin_checkpoint(None);
                let to = (replica.writer.durable(), 80);
                checkpoint.add_applied(GROUP, to, &[], Some(&mut replica.messages));
                if let Ok(done) = replica.store.seal_checkpoint(checkpoint).run() {
                    let cleaned = replica.store.finish_checkpoint(done).run();
                    replica.store.finish_cleanup(cleaned);
                }
            }
            let _ = replica.maintain();
            let disk = replica.disk.crash(seed);
            drop(replica);
            for life in 2..5 {
                let mut replica = Replica::recover(&disk, life).unwrap();
                replica.apply(80);
                let found: Vec<u64> = replica
                    .log()
                    .iter()
                    .flatten()
                    .filter_map(|one| one.1)
                    .collect();
                assert_eq!(found, (1..=80).collect::<Vec<_>>(), "{what}, life {life}");
                assert_eq!(replica.messages.state(), state, "{what}, life {life}");
                replica.maintain().unwrap();
                assert_eq!(replica.log().len(), 80, "{what}, life {life}");
            }
        }
    }
}
