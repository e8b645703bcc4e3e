//! Segments, checkpoints and the files that come and go with them.

use super::*;
use crate::disk::Disk as _;
use crate::messages::State;
use crate::messages::tests::{Model, Op, compare};
use crate::store::tests::restart::{Rig, file_size};

fn files(disk: &FaultDisk, kind: &str) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.starts_with(kind));
    names.sort();
    names
}

fn append(store: &mut Store, writer: &mut JournalWriter, messages: &mut FileMessages, at: u64) {
    let mut record = Written::message(at);
    record.group = messages_group(at);
    let appended = store.append(&record.record());
    write_and_sync(store, writer);
    insert(messages, &record.record(), appended.location);
}

fn messages_group(at: u64) -> u64 {
    GROUP + at % 2
}

#[test]
pub(super) fn survivors_move_to_segments_and_files_go() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut pair = [
        store.create_group(GROUP, 0),
        store.create_group(GROUP + 1, 0),
    ];
    for at in 0..60 {
        append(&mut store, &mut writer, &mut pair[at as usize % 2], at);
    }
    for messages in &mut pair {
        messages.remove_front(21, &mut |_, _| {});
        messages.remove(41, false);
    }
    let before = files(&disk, "journal").len();
    let states = pair.each_ref().map(|messages| messages.state());
    let [first, second] = &mut pair;
    let mut groups = [
        (0, b"meta".to_vec(), None),
        (GROUP, b"one".to_vec(), Some(first)),
        (GROUP + 1, b"two".to_vec(), Some(second)),
    ];
    maintain(&mut store, writer.durable(), true, &mut groups).unwrap();
    assert!(before > 3, "{before} journal files");
    assert_eq!(files(&disk, "journal").len(), 1);
    assert_eq!(
        files(&disk, "segment").len(),
        if COMPRESSED.get() { 2 } else { 1 },
        "small groups share a segment"
    );
    assert_eq!(files(&disk, "checkpoint").len(), 1);
    assert_eq!(files(&disk, "spare").len(), 1);
    check_messages(&pair, &states);
    drop((pair, store, writer));

    let opened = open(&disk.kill(), 2).unwrap();
    assert_eq!(opened.report, Report::default());
    let blobs: Vec<&[u8]> = opened.groups.iter().map(|group| &group.blob[..]).collect();
    assert_eq!(blobs, [&b"meta"[..], b"one", b"two"]);
    let mut recovered = opened
        .groups
        .into_iter()
        .skip(1)
        .map(|group| group.messages);
    let pair = [recovered.next().unwrap(), recovered.next().unwrap()];
    check_messages(&pair, &states);
    let mut left = 0;
    opened.replay.run(&mut |_| left += 1).unwrap();
    assert_eq!(left, 0, "everything is covered");
}

fn check_messages(pair: &[FileMessages; 2], states: &[State; 2]) {
    for (messages, state) in pair.iter().zip(states) {
        assert_eq!(messages.state(), *state);
        let mut next = messages.next(0);
        while let Some(meta) = next {
            let stored = messages.get(meta.seq).unwrap().unwrap();
            let written = Written::message(meta.seq - 1);
            assert_eq!(
                (&stored.key[..], &stored.headers[..]),
                (&written.key[..], &written.headers[..])
            );
            assert_eq!(stored.payload, written.payload);
            next = messages.next(meta.seq + 1);
        }
    }
}

#[test]
pub(super) fn segments_without_life_are_removed() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    for at in (0..60).step_by(2) {
        append(&mut store, &mut writer, &mut messages, at);
    }
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), true, groups).unwrap();
    assert_eq!(files(&disk, "segment").len(), 1);
    messages.remove_front(60, &mut |_, _| {});
    assert!(messages.has_dead_segments());
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), false, groups).unwrap();
    assert!(!messages.has_dead_segments());
    assert_eq!(files(&disk, "segment").len(), 0);
    assert_eq!(files(&disk, "checkpoint").len(), 1);
}

#[test]
pub(super) fn overwritten_keys_do_not_pile_up_in_segments() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    let mut seq = 0;
    let mut put =
        |store: &mut Store, writer: &mut JournalWriter, messages: &mut FileMessages, key: u64| {
            seq += 1;
            let mut record = Written::message(8);
            (record.seq, record.index) = (seq, seq);
            record.key = format!("key.{key}").into_bytes();
            let appended = store.append(&record.record());
            write_and_sync(store, writer);
            let old = messages.first_of_key(&record.key);
            insert(messages, &record.record(), appended.location);
            if let Some(old) = old {
                messages.remove(old.seq, false);
            }
        };
    for round in 0..40_u64 {
        // Twenty keys change every round; one more comes and stays.
        for key in (0..20).chain([100 + round]) {
            put(&mut store, &mut writer, &mut messages, key);
        }
        let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
        maintain(&mut store, writer.durable(), true, groups).unwrap();
    }
    let live = messages.state().bytes as usize;
    let names = files(&disk, "segment");
    let used: usize = names
        .iter()
        .map(|name| disk.size(&Path::new(DIR).join(name)))
        .sum();
    assert!(
        used < live * 5,
        "{used} bytes in {} segments for {live}",
        names.len()
    );
    let state = messages.state();
    drop((messages, store, writer));
    let opened = open(&disk.kill(), 2).unwrap();
    assert_eq!(opened.groups[0].messages.state(), state);
}

#[test]
pub(super) fn a_dropped_group_leaves_nothing() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut pair = [
        store.create_group(GROUP, 0),
        store.create_group(GROUP + 1, 0),
    ];
    for at in 0..60 {
        append(&mut store, &mut writer, &mut pair[at as usize % 2], at);
    }
    let [first, second] = &mut pair;
    let groups = &mut [
        (GROUP, Vec::new(), Some(first)),
        (GROUP + 1, Vec::new(), Some(second)),
    ];
    maintain(&mut store, writer.durable(), true, groups).unwrap();
    store.drop_group(GROUP);
    store.drop_group(GROUP + 1);
    let groups = &mut [(0, Vec::new(), None)];
    maintain(&mut store, writer.durable(), true, groups).unwrap();
    assert_eq!(files(&disk, "segment").len(), 0);
    drop((pair, store, writer));
    let opened = open(&disk.kill(), 2).unwrap();
    assert_eq!(
        opened
            .groups
            .iter()
            .map(|group| group.id)
            .collect::<Vec<_>>(),
        [0]
    );
    let mut left = 0;
    opened.replay.run(&mut |_| left += 1).unwrap();
    assert_eq!(left, 0, "records of dropped groups do not come back");
}

/// Whether these bytes are in a file of this kind.
fn is_in(disk: &FaultDisk, kind: &str, bytes: &[u8]) -> bool {
    files(disk, kind).iter().any(|name| {
        let file = disk.open(&Path::new(DIR).join(name)).unwrap();
        let mut content = vec![0; file.size().unwrap() as usize];
        file.read_at(0, &mut content).unwrap();
        content.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
pub(super) fn erased_messages_are_overwritten_in_journal_and_segment() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    for at in (0..60).step_by(2) {
        append(&mut store, &mut writer, &mut messages, at);
    }
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), true, groups).unwrap();
    append(&mut store, &mut writer, &mut messages, 68);
    // A reused journal file may still hold an old copy of the first behind its end.
    let places = [(9, "segment"), (69, "journal")];
    for (seq, kind) in places {
        messages.remove(seq, true).unwrap();
        assert!(is_in(&disk, kind, &Written::message(seq - 1).payload));
    }
    assert!(messages.has_erasures());
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), false, groups).unwrap();
    for (seq, kind) in places {
        assert!(!is_in(&disk, kind, &Written::message(seq - 1).payload));
    }
    let opened = open(&disk.crash(1), 2).unwrap();
    assert_eq!(opened.report, Report::default());
    assert_eq!(opened.groups[0].messages.state(), messages.state());
}

#[test]
pub(super) fn a_damaged_segment_is_set_aside_and_not_removed() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    for at in (0..60).step_by(2) {
        append(&mut store, &mut writer, &mut messages, at);
    }
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), true, groups).unwrap();
    drop((messages, store, writer));
    let disk = disk.kill();
    let name = files(&disk, "segment").remove(0);
    disk.truncate(&Path::new(DIR).join(&name), 100);
    let opened = open(&disk, 2).unwrap();
    assert!(
        opened.report.lines[0].contains(&name),
        "{:?}",
        opened.report
    );
    let Opened {
        mut store,
        writer,
        mut groups,
        ..
    } = opened;
    let messages = &mut groups[0].messages;
    maintain(
        &mut store,
        writer.durable(),
        false,
        &mut [(GROUP, Vec::new(), Some(messages))],
    )
    .unwrap();
    assert_eq!(files(&disk, "segment"), [format!("{name}.damaged")]);
}

#[test]
pub(super) fn a_file_number_that_a_checkpoint_covers_is_not_used_again() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP, 0);
    append(&mut store, &mut writer, &mut messages, 0);
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut store, writer.durable(), false, groups).unwrap();
    drop((messages, store, writer));
    let disk = disk.kill();
    for name in files(&disk, "journal") {
        disk.remove(&Path::new(DIR).join(name)).unwrap();
    }
    let Opened {
        mut store,
        mut writer,
        groups,
        report,
        ..
    } = open(&disk, 2).unwrap();
    assert_eq!(report.lost, [(GROUP, 1)]);
    assert_eq!(groups[0].messages.state().last_seq, 1);
    store.append(&Written::message(2).record());
    write_and_sync(&mut store, &mut writer);
    drop((store, writer, groups));
    let found = replayed(open(&disk.kill(), 3).unwrap().replay);
    assert_eq!(found.len(), 1, "what came after the loss is replayed");
}

#[test]
pub(super) fn old_checkpoint_files_are_carried_over() {
    let disk = FaultDisk::new();
    let Opened {
        mut store, writer, ..
    } = open(&disk, 1).unwrap();
    for round in 0..3_u8 {
        for group in 1..=9_u64 {
            let _ = store.create_group(group, 0);
            let groups = &mut [(group, vec![round, group as u8], None)];
            maintain(&mut store, writer.durable(), false, groups).unwrap();
            assert!(files(&disk, "checkpoint").len() <= 5);
        }
    }
    drop((store, writer));
    let opened = open(&disk.kill(), 2).unwrap();
    let found: Vec<_> = opened
        .groups
        .iter()
        .map(|group| (group.id, group.blob.to_vec()))
        .collect();
    let expected: Vec<_> = (1..=9).map(|group| (group, vec![2, group as u8])).collect();
    assert_eq!(found, expected);
}

#[test]
pub(super) fn a_lent_message_survives_the_recycling_of_its_file() {
    let dir = std::env::temp_dir().join(format!("jetwake-lent-{}", std::process::id()));
    let opened = Store::open(Arc::new(crate::RealDisk), &dir, options(5)).unwrap();
    let Opened {
        mut store,
        mut writer,
        ..
    } = opened;
    let mut messages = store.create_group(GROUP, 0);
    append(&mut store, &mut writer, &mut messages, 8);
    let lent = messages.get(9).unwrap().unwrap();
    let mut at = 10;
    for _ in 0..30 {
        append(&mut store, &mut writer, &mut messages, at);
        at += 2;
        messages.remove_front(at, &mut |_, _| {});
        let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
        maintain(&mut store, writer.durable(), true, groups).unwrap();
        assert_eq!(lent.payload, Written::message(8).payload);
    }
    drop((messages, store, writer));
    let again = Store::open(Arc::new(crate::RealDisk), &dir, options(6)).unwrap();
    assert_eq!(again.report, Report::default());
    assert_eq!(again.groups[0].messages.state().last_seq, at - 1);
    assert!(matches!(
        Store::open(Arc::new(crate::RealDisk), &dir, options(7)),
        Err(StoreError::Locked(_))
    ));
    drop(again);
    #[allow(clippy::disallowed_methods)] // A test may remove what it made.
    std::fs::remove_dir_all(&dir).unwrap();
}

/// The operations of the crash script: one journal record each.
fn script_op(at: u64) -> Op {
    match at % 9 {
        5 => Op::Remove {
            at: (at * 7) as u16,
        },
        7 => Op::RemoveFront {
            at: 1 + (at % 2) as u16,
        },
        8 if at.is_multiple_of(4) => Op::Skip { by: 2 },
        _ => Op::Insert {
            gap: 1 + at % 2,
            step: 3,
            key: (at % 6) as u8,
            size: (at * 397 % 2100) as usize,
            headers: at.is_multiple_of(3),
        },
    }
}

/// Runs the script with maintenance in between; returns a snapshot after every record, and how many
/// records were acknowledged.
fn script(disk: &FaultDisk) -> (Vec<Model>, u64) {
    let mut model = Model::default();
    let mut snapshots = vec![model.clone()];
    let Ok(mut rig) = Rig::open(disk.clone(), 1, 0) else {
        return (snapshots, 0);
    };
    for at in 0..50 {
        // What is asked for may arrive even if it is never acknowledged.
        let mut after = model.clone();
        rig.plan(&mut after, &script_op(at));
        snapshots.push(after);
        if rig.try_step(&mut model, &script_op(at)).is_err() {
            return (snapshots, at);
        }
        if at % 11 == 10 && rig.try_maintain(at != 43).is_err() {
            return (snapshots, at + 1);
        }
    }
    (snapshots, 50)
}

fn check(disk: FaultDisk, snapshots: &[Model], acked: u64, what: &str) -> u64 {
    let rig = Rig::open(disk, 77, u64::MAX).unwrap();
    let index = rig.index();
    assert!(index >= acked, "{what}: {index} of {acked} acknowledged");
    let model = &snapshots[index as usize];
    compare(model, &rig.messages, file_size, model.last / 2);
    index
}

#[test]
pub(super) fn maintenance_survives_a_crash_after_every_call() {
    crash_after_every_call();
}

#[test]
fn maintenance_that_adopts_files_survives_a_crash_after_every_call() {
    adopt_files();
    crash_after_every_call();
}

fn crash_after_every_call() {
    let disk = FaultDisk::new();
    let (snapshots, acked) = script(&disk);
    assert_eq!((snapshots.len(), acked), (51, 50));
    assert!(!files(&disk, "segment").is_empty() && !files(&disk, "checkpoint").is_empty());
    for last in 0..=disk.calls() {
        for seed in 0..4 {
            let what = format!("crash after call {last}, seed {seed}");
            let disk = FaultDisk::new();
            disk.stop_after(last);
            let (snapshots, acked) = script(&disk);
            let crashed = disk.crash(seed);
            for inside in 0..if seed == 0 { 8 } else { 0 } {
                let again = crashed.kill();
                again.stop_after(inside);
                let _ = Rig::open(again.clone(), 50, u64::MAX);
                check(
                    again.crash(inside),
                    &snapshots,
                    acked,
                    &format!("{what}, inside {inside}"),
                );
            }
            check(crashed, &snapshots, acked, &what);
        }
    }
}

#[test]
pub(super) fn one_flipped_bit_in_segment_or_checkpoint_costs_at_most_one_message() {
    flip_and_cut();
}

#[test]
fn one_flipped_bit_where_files_were_adopted_costs_at_most_one_message() {
    adopt_files();
    flip_and_cut();
}

fn flip_and_cut() {
    let disk = FaultDisk::new();
    let (snapshots, _) = script(&disk);
    let model = &snapshots[50];
    let mut names = files(&disk, "segment");
    names.extend(files(&disk, "checkpoint"));
    assert!(names.len() >= 2);
    for name in names {
        let path = Path::new(DIR).join(&name);
        for offset in (0..disk.size(&path)).step_by(11) {
            let hurt = disk.kill();
            hurt.flip(&path, offset, (offset % 8) as u8);
            let rig = Rig::open(hurt, 3, u64::MAX).unwrap();
            assert_eq!(rig.index(), 50, "{name} at {offset}");
            let unreadable = count_unreadable(model, &rig.messages);
            assert!(
                unreadable <= 1,
                "{name} at {offset}: {unreadable} messages lost"
            );
        }
        for len in (0..disk.size(&path)).step_by(501) {
            let hurt = disk.kill();
            hurt.truncate(&path, len);
            // A cut checkpoint may take its groups along, but never a segment, and not silently.
            let segments = files(&hurt, "segment").len();
            let opened = open(&hurt, 3).unwrap();
            assert!(!opened.report.lines.is_empty(), "{name} cut to {len}");
            for group in opened.groups {
                count_unreadable(model, &group.messages);
            }
            assert_eq!(files(&hurt, "segment").len(), segments);
        }
    }
}

/// No message is altered; says how many are not served.
fn count_unreadable(model: &Model, messages: &FileMessages) -> usize {
    let mut unreadable = 0;
    for (seq, row) in &model.rows {
        match messages.get(*seq) {
            Ok(Some(stored)) => {
                assert_eq!(stored.payload, row.payload);
                assert_eq!(stored.key, row.key);
            }
            _ => unreadable += 1,
        }
    }
    unreadable
}

#[test]
pub(super) fn a_held_group_keeps_its_files() {
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    let mut messages = store.create_group(GROUP + 1, 0);
    for at in (1..60).step_by(2) {
        append(&mut store, &mut writer, &mut messages, at);
    }
    let before = store.plan_retire(writer.durable(), 0);
    assert!(before.is_some_and(|retire| retire.through > 1));
    store.hold_group(GROUP + 1);
    assert_eq!(store.plan_retire(writer.durable(), 0), None);
}
