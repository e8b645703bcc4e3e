//! Logs that are cut and begun anew: what comes back after a restart.

use super::*;

#[test]
pub(super) fn a_later_record_with_a_lower_index_replaces() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    let mut records: Vec<Written> = (0..6).map(|at| Written::message(at * 2)).collect();
    for (at, record) in records.iter_mut().enumerate() {
        record.index = [1, 2, 3, 4, 3, 4][at];
        opened.store.append(&record.record());
        write_and_sync(&mut opened.store, &mut opened.writer);
    }
    drop(opened);
    let found = replayed(open(&disk, 2).unwrap().replay);
    let found: Vec<Written> = found.into_iter().map(|(record, ..)| record).collect();
    let kept: Vec<Written> = [0, 1, 4, 5].iter().map(|at| records[*at].clone()).collect();
    assert_eq!(found, kept);
}

/// Appends messages of one group with these indexes, each durable at once.
fn write(opened: &mut Opened, indexes: std::ops::RangeInclusive<u64>) {
    for index in indexes {
        let mut record = Written::message(index * 2);
        record.index = index;
        opened.store.append(&record.record());
        write_and_sync(&mut opened.store, &mut opened.writer);
    }
}

/// Kind and index of everything that comes back.
fn log(opened: Opened) -> Vec<(Kind, u64)> {
    let found = replayed(opened.replay);
    found
        .iter()
        .map(|(one, ..)| (one.kind, one.index))
        .collect()
}

fn messages(indexes: impl IntoIterator<Item = u64>) -> Vec<(Kind, u64)> {
    indexes
        .into_iter()
        .map(|index| (Kind::Message, index))
        .collect()
}

#[test]
pub(super) fn a_truncated_log_stays_truncated() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    write(&mut opened, 1..=30);
    opened.store.append_truncate(GROUP, 12, 4);
    write_and_sync(&mut opened.store, &mut opened.writer);
    drop(opened);
    let mut opened = open(&disk.crash(1), 2).unwrap();
    write(&mut opened, 12..=14);
    drop(opened);
    let mut found = log(open(&disk.crash(2), 3).unwrap());
    assert_eq!(found.remove(11), (Kind::Truncate, 12));
    assert_eq!(found, messages(1..=11));

    // And with what was written over it.
    let mut opened = open(&disk, 4).unwrap();
    write(&mut opened, 12..=14);
    opened.store.append_truncate(GROUP, 14, 5);
    opened.store.append_truncate(GROUP, 13, 5);
    write_and_sync(&mut opened.store, &mut opened.writer);
    drop(opened);
    let found = log(open(&disk.crash(3), 5).unwrap());
    let mut expected = messages(1..=11);
    expected.push((Kind::Truncate, 12));
    expected.extend(messages(12..=12));
    expected.push((Kind::Truncate, 13));
    assert_eq!(found, expected);
}

#[test]
pub(super) fn other_groups_and_records_without_an_index_are_not_cut() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    write(&mut opened, 1..=3);
    for (group, index) in [(GROUP, 0), (GROUP + 1, 1), (GROUP + 1, 2)] {
        let mut record = Written::message(9);
        (record.group, record.index, record.kind) = (group, index, Kind::Control(3));
        opened.store.append(&record.record());
    }
    opened.store.append_truncate(GROUP, 1, 4);
    write_and_sync(&mut opened.store, &mut opened.writer);
    let kinds = log(open(&disk.kill(), 2).unwrap());
    let control = |index| (Kind::Control(3), index);
    assert_eq!(
        kinds,
        [control(0), control(1), control(2), (Kind::Truncate, 1)]
    );
}

/// A group with a checkpoint, a segment and a tail.
fn checkpointed(disk: &FaultDisk) -> Opened {
    let mut opened = open(disk, 1).unwrap();
    let mut messages = opened.store.create_group(GROUP, 0);
    for index in 1..=30 {
        let mut record = Written::message(index * 2);
        record.index = index;
        let appended = opened.store.append(&record.record());
        write_and_sync(&mut opened.store, &mut opened.writer);
        insert(&mut messages, &record.record(), appended.location);
    }
    let groups = &mut [(GROUP, b"old".to_vec(), Some(&mut messages))];
    maintain(&mut opened.store, opened.writer.durable(), true, groups).unwrap();
    write(&mut opened, 31..=33);
    opened
}

#[test]
pub(super) fn a_reset_voids_what_came_before_and_a_later_checkpoint_frees_it() {
    use crate::disk::Disk as _;
    let disk = FaultDisk::new();
    let mut opened = checkpointed(&disk);
    opened.store.append_reset(GROUP, 100, 7, b"state");
    write_and_sync(&mut opened.store, &mut opened.writer);
    write(&mut opened, 101..=102);
    drop(opened);
    // Twice: opening changes nothing.
    for life in 2..4 {
        let opened = open(&disk.kill(), life).unwrap();
        assert!(opened.groups.is_empty(), "the checkpoint is void");
        assert_eq!(opened.report, Report::default());
    }
    let disk = disk.kill();
    let mut opened = open(&disk, 4).unwrap();
    let found = replayed(opened.replay);
    assert_eq!((found[0].0.kind, found[0].0.index), (Kind::Reset, 100));
    assert_eq!(found[0].0.payload, b"state");
    let later: Vec<u64> = found[1..].iter().map(|(one, ..)| one.index).collect();
    assert_eq!(later, [101, 102]);

    let mut messages = opened.store.create_group(GROUP, 0);
    for (record, location, _) in &found[1..] {
        insert(&mut messages, &record.record(), *location);
    }
    let state = messages.state();
    let groups = &mut [(GROUP, b"new".to_vec(), Some(&mut messages))];
    let applied = opened.store.end();
    maintain(&mut opened.store, applied, false, groups).unwrap();
    let again = open(&disk.kill(), 5).unwrap();
    let names = disk.list(Path::new(DIR)).unwrap();
    assert!(
        !names.iter().any(|name| name.starts_with("segment")),
        "{names:?}"
    );
    assert_eq!(again.groups[0].messages.state(), state);
    assert_eq!(again.groups[0].blob, b"new"[..]);
}

#[test]
pub(super) fn a_crash_around_a_reset_leaves_the_old_or_the_new() {
    let calls = {
        let disk = FaultDisk::new();
        checkpointed(&disk);
        disk.calls()
    };
    for last in calls..calls + 4 {
        for crash in 0..4 {
            let disk = FaultDisk::new();
            let mut opened = checkpointed(&disk);
            disk.stop_after(last);
            opened.store.append_reset(GROUP, 100, 7, b"state");
            opened.store.seal();
            let done = opened.writer.write().is_ok() && opened.writer.sync().is_ok();
            drop(opened);
            let opened = open(&disk.crash(crash), 2).unwrap();
            let old = opened.groups.len();
            let found = log(opened);
            let what = format!("call {last}, crash {crash}: {found:?}");
            if found.contains(&(Kind::Reset, 100)) {
                assert_eq!((old, found.len()), (0, 1), "{what}");
            } else {
                assert!(!done, "{what}");
                assert_eq!(found[found.len() - 3..], messages(31..=33), "{what}");
                assert_eq!(old, 1, "{what}");
            }
        }
    }
}

#[test]
pub(super) fn a_damaged_reset_still_resets() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    write(&mut opened, 1..=3);
    let reset = opened.store.append_reset(GROUP, 100, 7, b"state");
    write_and_sync(&mut opened.store, &mut opened.writer);
    write(&mut opened, 101..=101);
    opened.writer.idle().unwrap();
    let path = Path::new(DIR).join("journal-0000000001");
    disk.flip(&path, reset.start().offset() as usize + 58, 1);
    let opened = open(&disk.kill(), 2).unwrap();
    assert!(opened.report.lost.is_empty(), "no message was hit");
    assert_eq!(opened.report.lines.len(), 1);
    let found = replayed(opened.replay);
    let damaged: Vec<bool> = found.iter().map(|(.., damaged)| *damaged).collect();
    assert_eq!(damaged, [true, false]);
}
