//! Few open files, many records; and what happens when a file fails behind its mapping.
#![allow(clippy::disallowed_methods)] // These tests are about real files.

use std::io::IoSlice;

use super::*;
use crate::disk::{FaultDisk, RealDisk};
use crate::format::{Kind, Record, encode_record};

const FILES: u32 = 6;

fn in_segment(file: u32, offset: u32) -> Location {
    Location::Segment { file, offset }
}

/// Segments 1 to [`FILES`] with a record each at offset 8; the sequence is the number.
fn filled(disk: Arc<dyn Disk>, dir: &Path, most: usize) -> Files {
    let files = Files::lock(disk, dir, None).unwrap();
    files.table.write().open_max = most;
    for number in 1..=FILES {
        let name = file_name(SEGMENT, number);
        let mut bytes = vec![0; 8];
        let record = Record {
            group: 1,
            kind: Kind::Message,
            index: 0,
            term: 0,
            seq: number.into(),
            timestamp: 5,
            key: b"key",
            headers: b"",
            payload: &[number as u8; 9000],
        };
        encode_record(&mut bytes, Seed::new(number.into()), 8, &record);
        let file = files.disk.create(&files.path(&name)).unwrap();
        file.write_at(0, &mut [IoSlice::new(&bytes)]).unwrap();
        files.add_segment(number, RecordFile::new(name, number.into(), None));
    }
    files
}

fn get(files: &Files, number: u32) -> Result<Stored, ReadError> {
    files.get(number.into(), in_segment(number, 8))
}

fn open(files: &Files) -> Vec<u32> {
    let table = files.table.read();
    let open = table
        .segments
        .iter()
        .filter(|(_, slot)| slot.open.is_some());
    let mut open: Vec<u32> = open.map(|(number, _)| *number).collect();
    open.sort_unstable();
    assert_eq!(open.len(), table.open.len());
    open
}

fn real(name: &str, test: impl FnOnce(&Path)) {
    let dir = std::env::temp_dir().join(format!("jetwake-files-{name}-{}", std::process::id()));
    test(&dir);
    std::fs::remove_dir_all(dir).unwrap();
}

fn stays_below_the_cap(disk: Arc<dyn Disk>, dir: &Path) {
    let files = filled(disk, dir, 2);
    let mut kept = Vec::new();
    for round in 0..3 {
        for number in 1..=FILES {
            let stored = get(&files, number).unwrap();
            assert_eq!(stored.payload[..], [number as u8; 9000]);
            files
                .lend(number.into(), in_segment(number, 8), &mut |lent| {
                    assert_eq!(lent.payload, &stored.payload[..]);
                    // A read within a read, of a file that makes another one go.
                    get(&files, 1 + number % FILES).unwrap();
                })
                .unwrap();
            if round == 0 {
                kept.push(stored);
            }
            assert!(open(&files).len() <= 2);
        }
    }
    for (stored, number) in kept.iter().zip(1..) {
        assert_eq!(stored.payload[..], [number; 9000], "outlives the table");
    }
}

#[test]
fn a_mapped_file_makes_room_for_another() {
    real("cap", |dir| stays_below_the_cap(Arc::new(RealDisk), dir));
}

#[test]
fn an_open_file_makes_room_for_another() {
    let disk = FaultDisk::new();
    stays_below_the_cap(Arc::new(disk.clone()), Path::new("/files"));
    assert_eq!(disk.open_files(), 0, "nothing dangles");
}

#[test]
fn what_is_read_stays_open() {
    let files = filled(Arc::new(FaultDisk::new()), Path::new("/files"), 3);
    for number in [1, 2, 3] {
        get(&files, number).unwrap();
    }
    get(&files, 4).unwrap();
    for number in [4, 5, 4, 6, 4] {
        get(&files, number).unwrap();
        assert!(open(&files).contains(&4));
    }
}

#[test]
fn lent_bytes_are_known_after_the_table_let_go() {
    real("lent", |dir| {
        let files = filled(Arc::new(RealDisk), dir, 2);
        let stored = get(&files, 1).unwrap();
        for number in 2..=FILES {
            get(&files, number).unwrap();
        }
        assert!(!open(&files).contains(&1));
        let one = files.take_segment(1).unwrap();
        assert!(one.is_lent());
        drop(stored);
        assert!(!one.is_lent());
        get(&files, 2).unwrap();
        let (two, _) = files.find(in_segment(2, 0)).unwrap();
        assert!(two.is_lent(), "by the table");
        files.close(in_segment(2, 8));
        assert!(!two.is_lent());
    });
}

#[test]
fn a_file_that_is_cut_behind_its_mapping_is_damaged_and_kills_nobody() {
    real("cut", |dir| {
        let files = filled(Arc::new(RealDisk), dir, 4);
        assert!(get(&files, 1).is_ok() && get(&files, 2).is_ok());
        let path = files.path(&file_name(SEGMENT, 1));
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_len(4096).unwrap();
        assert!(matches!(
            get(&files, 1),
            Err(ReadError::Damaged { seq: 1, .. })
        ));
        assert!(files.find(in_segment(1, 0)).unwrap().0.is_damaged());
        assert!(get(&files, 2).is_ok(), "nothing else is");
    });
}

#[test]
fn a_mapping_that_failed_once_is_replaced() {
    real("heal", |dir| {
        let files = filled(Arc::new(RealDisk), dir, 4);
        get(&files, 1).unwrap();
        let path = files.path(&file_name(SEGMENT, 1));
        let whole = std::fs::read(&path).unwrap();
        // The page is missing for a moment, as if a cable was loose.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(4096).unwrap();
        let location = in_segment(1, 8);
        let map = match &files.open(1, location).unwrap().content {
            Content::Mapped(map) => map.clone(),
            Content::Plain(_) => unreachable!("real files are mapped"),
        };
        assert_eq!(map.bytes()[8000], 0);
        assert!(map.is_broken());
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(get(&files, 1).unwrap().payload[..], [1; 9000]);
        assert!(!files.find(location).unwrap().0.is_damaged());
        assert!(open(&files).is_empty(), "the broken mapping is gone");
        assert!(get(&files, 1).is_ok());
        assert_eq!(open(&files), [1]);
    });
}

#[test]
fn a_refused_read_is_not_damage() {
    let disk = FaultDisk::new();
    let files = filled(Arc::new(disk.clone()), Path::new("/files"), 4);
    let path = files.path(&file_name(SEGMENT, 3));
    disk.fail_reads(&path, 4096..5000);
    assert!(matches!(get(&files, 3), Err(ReadError::Io { .. })));
    assert!(!files.find(in_segment(3, 0)).unwrap().0.is_damaged());
    assert!(get(&files, 2).is_ok());
    disk.fail_reads(&path, 0..0);
    assert!(get(&files, 3).is_ok());
    disk.remove(&files.path(&file_name(SEGMENT, 5))).unwrap();
    assert!(
        matches!(get(&files, 5), Err(ReadError::Damaged { .. })),
        "a file that is gone"
    );
}
