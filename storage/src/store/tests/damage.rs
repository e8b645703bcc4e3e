//! Flipped bits and cut files: nothing altered is ever returned, and little else is lost.

use super::*;

const COUNT: u64 = 60;

/// A store with two lives and several files; everything in it is durable and known to be.
fn written() -> (FaultDisk, Vec<Written>) {
    let disk = FaultDisk::new();
    let mut records = Vec::new();
    for life in 0..2 {
        let mut opened = open(&disk, life + 1).unwrap();
        for at in life * COUNT / 2..(life + 1) * COUNT / 2 {
            let record = Written::message(at);
            opened.store.append(&record.record());
            records.push(record);
            if at % 3 != 1 {
                write_and_sync(&mut opened.store, &mut opened.writer);
            }
        }
        write_and_sync(&mut opened.store, &mut opened.writer);
        opened.writer.idle().unwrap();
    }
    (disk, records)
}

fn journal_files(disk: &FaultDisk) -> Vec<String> {
    use crate::disk::Disk as _;
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.retain(|name| name.starts_with("journal"));
    names.sort();
    names
}

/// Every record found is one that was written, in order; returns how many are missing.
fn missing(disk: &FaultDisk, records: &[Written], what: &str) -> usize {
    let opened = open(disk, 9).unwrap();
    let report = opened.report.clone();
    let found = replayed(opened.replay);
    let mut expected = records.iter();
    let mut good = 0;
    for (record, _, damaged) in &found {
        let same = |written: &&Written| {
            if *damaged {
                written.seq == record.seq
            } else {
                *written == record
            }
        };
        assert!(
            expected.any(|written| same(&written)),
            "{what}: {record:?} was not written"
        );
        good += usize::from(!damaged);
    }
    let missing = records.len() - good;
    assert!(
        missing == 0 || !report.lines.is_empty(),
        "{what}: {missing} missing silently"
    );
    missing
}

#[test]
pub(super) fn one_flipped_bit_costs_at_most_its_record() {
    let (disk, records) = written();
    assert_eq!(missing(&disk.kill(), &records, "undamaged"), 0);
    for name in journal_files(&disk) {
        let path = Path::new(DIR).join(&name);
        let mut offset = 0;
        while offset < disk.size(&path) {
            let hurt = disk.kill();
            hurt.flip(&path, offset, (offset % 8) as u8);
            let what = format!("{name} at {offset}");
            let missing = missing(&hurt, &records, &what);
            assert!(missing <= 1, "{what}: {missing} records lost");
            offset += if offset < 4096 { 61 } else { 13 };
        }
    }
}

#[test]
pub(super) fn cut_files_are_reported_and_the_rest_is_served() {
    let (disk, records) = written();
    for name in journal_files(&disk) {
        let path = Path::new(DIR).join(&name);
        for len in (0..disk.size(&path)).step_by(997) {
            let hurt = disk.kill();
            hurt.truncate(&path, len);
            missing(&hurt, &records, &format!("{name} cut to {len}"));
        }
    }
}

#[test]
pub(super) fn messages_with_damaged_bytes_are_refused() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    let mut messages = opened.store.create_group(GROUP, 0);
    let record = Written::message(8);
    let appended = opened.store.append(&record.record());
    write_and_sync(&mut opened.store, &mut opened.writer);
    insert(&mut messages, &record.record(), appended.location);
    assert_eq!(messages.get(9).unwrap().unwrap().payload, record.payload);
    let path = Path::new(DIR).join(&journal_files(&disk)[0]);
    for at in (appended.start().offset()..appended.end.offset()).step_by(3) {
        disk.flip(&path, at as usize, 3);
        let used = 56 + record.key.len() + record.headers.len() + record.payload.len();
        if ((at - appended.start().offset()) as usize) < used {
            assert!(messages.get(9).is_err(), "byte {at}");
        }
        disk.flip(&path, at as usize, 3);
    }
    assert!(messages.get(9).unwrap().is_some());
}

/// Overwrites a stretch of a file with noise.
fn scribble(disk: &FaultDisk, name: &str, choose: &mut impl FnMut(usize) -> usize) {
    use crate::disk::Disk as _;
    let file = disk.open(&Path::new(DIR).join(name)).unwrap();
    let size = file.size().unwrap() as usize;
    let len = 1 + choose(700.min(size));
    let noise: Vec<u8> = (0..len).map(|_| choose(256) as u8).collect();
    let at = choose(size - len + 1) as u64;
    file.write_at(at, &mut [std::io::IoSlice::new(&noise)])
        .unwrap();
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        cases: 150, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn noise_alters_nothing_and_is_reported(seed in proptest::num::u64::ANY, times in 1..4_u8) {
        let (disk, records) = written();
        let mut state = seed;
        let mut choose = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let names = journal_files(&disk);
        for _ in 0..times {
            let name = &names[choose(names.len())];
            scribble(&disk, name, &mut choose);
        }
        missing(&disk.kill(), &records, "noise");
    }
}
