//! What every disk must do.

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use super::*;

fn contract(disk: &dyn Disk, dir: &Path) {
    disk.create_dir(dir).unwrap();
    disk.create_dir(dir).unwrap();
    let lock = disk.lock(dir).unwrap();
    assert_eq!(disk.lock(dir).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(lock);
    drop(disk.lock(dir).unwrap());
    assert!(disk.list(dir).unwrap().is_empty());

    let (one, two) = (dir.join("one"), dir.join("two"));
    assert_eq!(disk.open(&one).unwrap_err().kind(), ErrorKind::NotFound);
    let file = disk.create(&one).unwrap();
    file.allocate(1000).unwrap();
    assert_eq!(file.size().unwrap(), 1000);
    let parts: Vec<Vec<u8>> = (0..1500).map(|at| vec![at as u8; at % 3]).collect();
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_at(10, &mut slices).unwrap();
    file.sync_data().unwrap();
    let mut back = vec![0; 1500];
    file.read_at(10, &mut back).unwrap();
    assert_eq!(back, parts.concat());
    assert_eq!(file.size().unwrap(), 1510);
    let past = file.read_at(1505, &mut [0; 10]).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    if let Some(map) = file.map().unwrap() {
        assert_eq!(map[10..], back);
        file.write_at(0, &mut [IoSlice::new(b"later")]).unwrap();
        assert_eq!(&map[..5], b"later", "a mapping follows");
    }

    disk.create(&two).unwrap();
    disk.rename(&one, &two).unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["two"]);
    assert_eq!(disk.open(&two).unwrap().size().unwrap(), 1510);
    assert_eq!(
        disk.create(&two).unwrap().size().unwrap(),
        0,
        "create empties"
    );
    disk.remove(&two).unwrap();
    assert_eq!(disk.remove(&two).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list(dir).unwrap().is_empty());
}

#[test]
fn the_fault_disk_is_a_disk() {
    contract(&FaultDisk::new(), Path::new("/disk"));
}

#[test]
fn the_real_disk_is_a_disk() {
    let dir = std::env::temp_dir().join(format!("jetwake-disk-{}", std::process::id()));
    contract(&RealDisk, &dir);
    #[allow(clippy::disallowed_methods)] // A test may remove what it made.
    std::fs::remove_dir(&dir).unwrap();
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    let path = Path::new("/disk/file");
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let disk = FaultDisk::new();
        let file = disk.create(path).unwrap();
        file.write_at(0, &mut [IoSlice::new(&[1; 1024])]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/disk")).unwrap();
        file.write_at(0, &mut [IoSlice::new(&[2; 1024])]).unwrap();
        disk.create(Path::new("/disk/unsynced")).unwrap();
        let after = disk.crash(seed);
        let mut found = [0; 1024];
        after.open(path).unwrap().read_at(0, &mut found).unwrap();
        assert!(
            found[..512].iter().all(|byte| *byte == found[0]),
            "sectors are whole"
        );
        let unsynced = after.open(Path::new("/disk/unsynced")).is_ok();
        outcomes.insert((found[0], found[512], unsynced));
    }
    assert_eq!(
        outcomes.len(),
        8,
        "every combination is possible: {outcomes:?}"
    );
}
