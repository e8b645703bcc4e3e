//! Sections that are damaged, lost or of another version.

use super::*;
use crate::messages::tests::{Filter, Model, Op, compare, name};
use crate::store::tests::restart::{Rig, file_size};

fn insert_op(at: u64) -> Op {
    Op::Insert {
        gap: 1 + u64::from(at % 7 == 6),
        step: if at % 5 == 4 { -2 } else { 3 },
        key: (at * 3 % 8) as u8,
        size: (at % 9) as usize,
        headers: at.is_multiple_of(4),
    }
}

/// A small store in sections, some rows of which are dead, with a tail, checkpointed.
fn sealed_store() -> (FaultDisk, Model) {
    let mut model = Model::default();
    let mut rig = Rig::open(FaultDisk::new(), 1, 0).unwrap();
    for part in 0..3_u16 {
        for at in 0..9 {
            rig.try_step(&mut model, &insert_op(u64::from(part) * 9 + at))
                .unwrap();
        }
        rig.seal(&mut model, &[Op::Remove { at: part * 8 + 4 }]);
        rig.try_step(&mut model, &Op::Remove { at: part * 7 + 5 })
            .unwrap();
    }
    rig.try_step(&mut model, &Op::RemoveFront { at: 2 })
        .unwrap();
    rig.try_step(&mut model, &insert_op(50)).unwrap();
    rig.try_maintain(false).unwrap();
    compare(&model, &rig.messages, file_size, 9);
    (rig.disk.kill(), model)
}

fn segments(disk: &FaultDisk) -> Vec<std::path::PathBuf> {
    use crate::disk::Disk as _;
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.starts_with("segment"));
    names.sort();
    names.iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// Every answer but the bytes of messages.
fn answers(messages: &FileMessages) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{:?}", messages.state());
    let mut filters = vec![Filter::All, Filter::Letter(b'a'), Filter::Letter(b'b')];
    filters.extend((0..8).map(|key| Filter::Key(name(key))));
    for filter in &filters {
        for seq in (0..=messages.state().last_seq + 1).step_by(3) {
            let next = messages.next_matching(seq, filter).map(|meta| meta.seq);
            let last = messages.last_matching(seq, filter).map(|meta| meta.seq);
            let count = messages.count_matching(seq, filter);
            let each = messages.last_per_key(0, seq, filter, 100);
            let each: Vec<u64> = each.iter().map(|meta| meta.seq).collect();
            write!(out, "{next:?} {last:?} {count} {each:?};").unwrap();
        }
        let mut keys = Vec::new();
        messages.keys_matching(filter, &mut |key, count| keys.push((key.to_vec(), count)));
        keys.sort();
        write!(out, "{keys:?}").unwrap();
    }
    for time in (-5..100).step_by(4) {
        write!(out, "{} ", messages.seq_at(time)).unwrap();
    }
    messages.deleted(&mut |seq| write!(out, "-{seq}").unwrap());
    out
}

/// How many messages are not served; none is altered.
fn unreadable(model: &Model, messages: &FileMessages) -> usize {
    let mut count = 0;
    for (seq, row) in &model.rows {
        match messages.get(*seq) {
            Ok(Some(stored)) => {
                assert_eq!(stored.payload, row.payload);
                assert_eq!(stored.key, row.key);
                assert_eq!(stored.timestamp, row.timestamp);
            }
            _ => count += 1,
        }
    }
    count
}

#[test]
fn a_flipped_bit_anywhere_in_a_segment_costs_at_most_its_record() {
    flip_everywhere(1);
}

/// Flips bits of segments, one at a time; each costs at most so many messages.
pub(super) fn flip_everywhere(most: usize) {
    let (disk, model) = sealed_store();
    let whole = answers(&Rig::open(disk.kill(), 2, u64::MAX).unwrap().messages);
    assert!(segments(&disk).len() >= 3);
    for (at, path) in segments(&disk).into_iter().enumerate() {
        let step = if at == 0 { 1 } else { 7 };
        for offset in (0..disk.size(&path)).step_by(step) {
            let hurt = disk.kill();
            hurt.flip(&path, offset, (offset % 8) as u8);
            let rig = Rig::open(hurt, 3, u64::MAX).unwrap();
            let what = format!("{} at {offset}", path.display());
            assert_eq!(answers(&rig.messages), whole, "{what}");
            assert!(unreadable(&model, &rig.messages) <= most, "{what}");
        }
    }
}

#[test]
fn damaged_rows_are_made_again_and_a_damaged_record_stays_counted() {
    let (disk, model) = sealed_store();
    let whole = answers(&Rig::open(disk.kill(), 2, u64::MAX).unwrap().messages);
    let path = &segments(&disk)[1];
    let size = disk.size(path);
    // The first row and the second record: the segment has one section.
    let opened = Rig::open(disk.kill(), 2, u64::MAX).unwrap();
    let state = opened.messages.checkpoint();
    assert_eq!(state.sections.len(), 3);
    let rows = (state.sections[1].rows as usize * 28).next_multiple_of(8);
    let rows_at = size - 64 - 96 - rows;
    for record in (64..160).step_by(8) {
        let hurt = disk.kill();
        hurt.flip(path, rows_at, 1);
        hurt.flip(path, record + 20, 1);
        let rig = Rig::open(hurt, 3, u64::MAX).unwrap();
        assert!(unreadable(&model, &rig.messages) <= 1);
        assert!(!rig.store.take_damage().is_empty());
        let (state, expected) = (rig.messages.state(), opened.messages.state());
        assert_eq!(state, expected);
        // The damaged record's row may have the wrong sequence or time, no other row.
        let same = answers(&rig.messages)
            .split(';')
            .zip(whole.split(';'))
            .filter(|(a, b)| a == b)
            .count();
        assert!(same * 2 > whole.split(';').count(), "{same}");
    }
}

#[test]
fn a_segment_that_is_gone_is_counted() {
    use crate::disk::Disk as _;
    let (disk, model) = sealed_store();
    let opened = Rig::open(disk.kill(), 2, u64::MAX).unwrap();
    let sections = opened.messages.checkpoint().sections;
    for (path, section) in segments(&disk).iter().zip(&sections) {
        let hurt = disk.kill();
        hurt.remove(path).unwrap();
        let opened = open(&hurt, 3).unwrap();
        let line = format!("{} messages", section.live);
        assert!(
            opened
                .report
                .lines
                .iter()
                .any(|found| found.contains(&line)),
            "{:?}",
            opened.report
        );
        let messages = &opened.groups[0].messages;
        let lost = unreadable(&model, messages);
        assert_eq!(lost, section.live as usize);
        if section.last - section.base + 1 == u64::from(section.rows) {
            assert_eq!(opened.report.lost.len(), section.live as usize);
        }
    }
}

#[test]
fn a_store_that_lost_everything_begins_behind_its_end() {
    use crate::disk::Disk as _;
    let (disk, model) = sealed_store();
    for name in disk.list(Path::new(DIR)).unwrap() {
        if !name.starts_with("checkpoint") {
            disk.remove(&Path::new(DIR).join(name)).unwrap();
        }
    }
    let opened = open(&disk, 3).unwrap();
    let state = opened.groups[0].messages.state();
    assert_eq!((state.messages, state.bytes, state.keys), (0, 0, 0));
    assert_eq!(
        (state.first_seq, state.last_seq),
        (model.last + 1, model.last)
    );
}

#[test]
fn files_of_an_earlier_version_are_refused() {
    use crate::disk::Disk as _;
    let (disk, _) = sealed_store();
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.starts_with("segment") || name.starts_with("checkpoint"));
    assert!(names.len() > 2);
    for name in names {
        let hurt = disk.kill();
        let file = hurt.open(&Path::new(DIR).join(&name)).unwrap();
        let mut header = [0; 64];
        file.read_at(0, &mut header).unwrap();
        header[12] = 1;
        let sum = crc32c::crc32c(&header[12..]);
        header[8..12].copy_from_slice(&sum.to_le_bytes());
        file.write_at(0, &mut [std::io::IoSlice::new(&header)])
            .unwrap();
        let refused = open(&hurt, 3);
        assert!(
            matches!(&refused, Err(StoreError::Old(old)) if *old == name),
            "{name}"
        );
    }
}

#[test]
fn a_message_erased_while_it_is_copied_is_overwritten_in_the_copy() {
    use crate::disk::Disk as _;
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    let mut messages = opened.store.create_group(GROUP, 0);
    let mut records = Vec::new();
    for at in 10..16 {
        let mut record = Written::message(at);
        record.payload = vec![at as u8; 300];
        let appended = opened.store.append(&record.record());
        write_and_sync(&mut opened.store, &mut opened.writer);
        insert(&mut messages, &record.record(), appended.location);
        records.push(record);
    }
    let mut job = opened.store.begin_copy(u32::MAX);
    add(&mut job, GROUP, &mut messages);
    let copied = job.run().unwrap();
    messages.remove(13, true).unwrap();
    messages.remove(14, false).unwrap();
    opened.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut messages);
    let groups = &mut [(GROUP, Vec::new(), Some(&mut messages))];
    maintain(&mut opened.store, opened.writer.durable(), false, groups).unwrap();
    let holds = |byte: u8| {
        let names = disk.list(Path::new(DIR)).unwrap();
        let names = names.iter().filter(|name| !name.starts_with("spare"));
        names
            .filter(|name| {
                let file = disk.open(&Path::new(DIR).join(name)).unwrap();
                let mut bytes = vec![0; file.size().unwrap() as usize];
                file.read_at(0, &mut bytes).unwrap();
                bytes.windows(300).any(|window| window == [byte; 300])
            })
            .count()
    };
    assert_eq!((holds(11), holds(12), holds(13)), (2, 0, 2));
    assert_eq!(messages.state().messages, 4);
    assert_eq!(
        messages.get(12).unwrap().unwrap().payload,
        records[1].payload
    );
}

#[test]
fn a_message_that_cannot_be_copied_is_gone_and_said_to_be() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    let mut messages = opened.store.create_group(GROUP, 0);
    let mut places = Vec::new();
    for at in 0..6 {
        let record = Written::message(at * 2);
        let appended = opened.store.append(&record.record());
        write_and_sync(&mut opened.store, &mut opened.writer);
        insert(&mut messages, &record.record(), appended.location);
        places.push(appended.location);
    }
    let Location::Journal { file, offset } = places[2] else {
        panic!("not in the journal")
    };
    let path = Path::new(DIR).join(format!("journal-{file:010}"));
    disk.flip(&path, offset as usize + 60, 2);
    let before = messages.state();
    let mut job = opened.store.begin_copy(u32::MAX);
    add(&mut job, GROUP, &mut messages);
    let copied = job.run().unwrap();
    assert_eq!(copied.lost.len(), 1);
    assert_eq!((copied.lost[0].0, copied.lost[0].1), (GROUP, 5));
    opened.store.finish_copy(&copied);
    copied.relocate(GROUP, &mut messages);
    let after = messages.state();
    assert_eq!(after.messages, before.messages - 1);
    assert_eq!(
        after.keys,
        before.keys - 1,
        "it was the only one of its key"
    );
    assert!(messages.meta(5).is_none() && messages.get(7).unwrap().is_some());
    // An answer that comes twice changes nothing.
    copied.relocate(GROUP, &mut messages);
    assert_eq!(messages.state(), after);
}

/// A store on the real disk with one segment, whose last record is longer by so much, and where the
/// segment's tables begin.
fn on_disk(dir: &Path, longer: usize) -> (Store, FileMessages, usize) {
    use crate::disk::Disk as _;
    let opened = Store::open(Arc::new(crate::RealDisk), dir, options(5)).unwrap();
    let Opened {
        mut store,
        mut writer,
        ..
    } = opened;
    let mut messages = store.create_group(GROUP, 0);
    for at in 0..200 {
        let mut record = Written::message(at);
        record.group = GROUP;
        record.key = format!("key.{}", at * 7 % 60).into_bytes();
        if at == 199 {
            record.payload = vec![7; 8 + longer];
        }
        let appended = store.append(&record.record());
        store.seal();
        writer.write().unwrap();
        insert(&mut messages, &record.record(), appended.location);
    }
    writer.sync().unwrap();
    let mut job = store.begin_copy(u32::MAX);
    add(&mut job, GROUP, &mut messages);
    let copied = job.run().unwrap();
    store.finish_copy(&copied);
    copied.relocate(GROUP, &mut messages);
    let file = crate::RealDisk
        .open(&dir.join("segment-0000000001"))
        .unwrap();
    // The directory has one entry of 96 bytes.
    let mut keys_at = [0; 8];
    let entry = file.size().unwrap() - 64 - 96;
    file.read_at(entry + 40, &mut keys_at).unwrap();
    (store, messages, u64::from_le_bytes(keys_at) as usize)
}

#[test]
#[allow(clippy::disallowed_methods)] // A test may cut and remove what it made.
fn tables_whose_pages_are_gone_are_made_again() {
    let page = rustix::param::page_size();
    let dir = std::env::temp_dir().join(format!("jetwake-gone-{}", std::process::id()));
    let (store, messages, at) = on_disk(&dir, 0);
    drop((store, messages));
    std::fs::remove_dir_all(&dir).unwrap();
    // Now so that the tables begin with a page: what is cut off a page reads as zeros.
    let (store, mut messages, at) = on_disk(&dir, at.next_multiple_of(page) - at);
    assert_eq!(at % page, 0);
    messages.remove(50, false).unwrap();
    let whole = answers(&messages);
    let segment = std::fs::File::options()
        .write(true)
        .open(dir.join("segment-0000000001"))
        .unwrap();
    segment.set_len(at as u64).unwrap();
    assert_eq!(answers(&messages), whole);
    assert_eq!(store.take_damage().len(), 2, "keys and rows");
    for seq in 1..=200 {
        assert_eq!(messages.get(seq).unwrap().is_some(), seq != 50, "{seq}");
    }
    drop((messages, store));
    std::fs::remove_dir_all(&dir).unwrap();
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 100, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn noise_in_segments_alters_nothing(seed in proptest::num::u64::ANY, times in 1..5_u8) {
        noise(seed, times);
    }
}

/// Overwrites parts of segments.
pub(super) fn noise(seed: u64, times: u8) {
    let (disk, model) = sealed_store();
    let mut state = seed;
    let mut choose = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let paths = segments(&disk);
    for _ in 0..times {
        use crate::disk::Disk as _;
        let path = &paths[choose(paths.len())];
        let file = disk.open(path).unwrap();
        let size = disk.size(path);
        let len = 1 + choose(400.min(size));
        let noise: Vec<u8> = (0..len).map(|_| choose(256) as u8).collect();
        let at = choose(size - len + 1) as u64;
        file.write_at(at, &mut [std::io::IoSlice::new(&noise)])
            .unwrap();
    }
    let opened = open(&disk.kill(), 3).unwrap();
    for group in opened.groups {
        answers(&group.messages);
        unreadable(&model, &group.messages);
        let state = group.messages.state();
        assert!(state.messages == 0 || state.first_seq <= state.last_seq);
    }
}
