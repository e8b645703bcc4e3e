//! What every disk must do, and what the fault disk does on order.

use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

use super::*;

fn write(file: &Arc<dyn DiskFile>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(offset, &mut [IoSlice::new(bytes)])
}

fn read(file: &Arc<dyn DiskFile>, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

fn locks(disk: &dyn Disk, dir: &Path) {
    disk.create_dir(dir).unwrap();
    let lock = disk.lock(dir).unwrap();
    assert_eq!(disk.lock(dir).unwrap_err().kind(), ErrorKind::WouldBlock);
    let nested = dir.join("nested");
    disk.create_dir(&nested).unwrap();
    drop(disk.lock(&nested).unwrap());
    drop(lock);
    drop(disk.lock(dir).unwrap());
}

fn writes_and_reads(disk: &dyn Disk, dir: &Path) {
    let file = disk.create(&dir.join("one")).unwrap();
    assert_eq!(file.size().unwrap(), 0);
    let parts: Vec<Vec<u8>> = (0..1500).map(|at| vec![at as u8; at % 3]).collect();
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    file.write_at(10, &mut slices).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&file, 10, 1500).unwrap(), parts.concat());
    assert_eq!(read(&file, 0, 10).unwrap(), [0; 10], "a gap is zeros");
    assert_eq!(file.size().unwrap(), 1510);
    let past = read(&file, 1505, 10).unwrap_err();
    assert_eq!(past.kind(), ErrorKind::UnexpectedEof);
    let far = read(&file, u64::MAX - 5, 10).unwrap_err();
    assert!(matches!(
        far.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::InvalidInput
    ));
    write(&file, 3, b"").unwrap();
    write(&file, 3, b"over").unwrap();
    assert_eq!(read(&file, 0, 8).unwrap(), *b"\0\0\0over\0");
}

fn allocates(disk: &dyn Disk, dir: &Path) {
    let file = disk.create(&dir.join("one")).unwrap();
    write(&file, 0, b"kept").unwrap();
    file.allocate(10_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_000);
    assert_eq!(read(&file, 0, 6).unwrap(), *b"kept\0\0");
    file.allocate(100).unwrap();
    assert_eq!(file.size().unwrap(), 10_000, "never shorter");
    file.reserve(100_000).unwrap();
    assert_eq!(file.size().unwrap(), 10_000, "reserving is not growing");
    write(&file, 20_000, b"x").unwrap();
    assert_eq!(file.size().unwrap(), 20_001);
}

fn names(disk: &dyn Disk, dir: &Path) {
    let (one, two) = (dir.join("one"), dir.join("two"));
    assert_eq!(disk.open(&one).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list(dir).unwrap().is_empty());
    let file = disk.create(&one).unwrap();
    write(&file, 0, b"first").unwrap();
    disk.create(&two).unwrap();
    disk.rename(&one, &two).unwrap();
    disk.sync_dir(dir).unwrap();
    assert_eq!(disk.list(dir).unwrap(), ["two"]);
    assert_eq!(
        disk.rename(&one, &two).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(read(&disk.open(&two).unwrap(), 0, 5).unwrap(), b"first");
    write(&file, 0, b"moved").unwrap();
    assert_eq!(
        read(&disk.open(&two).unwrap(), 0, 5).unwrap(),
        b"moved",
        "the same file"
    );
    let emptied = disk.create(&two).unwrap();
    assert_eq!(emptied.size().unwrap(), 0, "create empties");
    disk.remove(&two).unwrap();
    assert_eq!(disk.remove(&two).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list(dir).unwrap().is_empty());
    write(&emptied, 0, b"nameless").unwrap();
    assert_eq!(
        read(&emptied, 0, 8).unwrap(),
        b"nameless",
        "an open file outlives its name"
    );
}

fn maps(disk: &dyn Disk, dir: &Path) {
    let file = disk.create(&dir.join("one")).unwrap();
    write(&file, 0, b"before").unwrap();
    file.allocate(5000).unwrap();
    let Some(map) = file.map().unwrap() else {
        return;
    };
    assert_eq!(
        (map.bytes().len(), &map.bytes()[..6]),
        (5000, &b"before"[..])
    );
    write(&file, 4000, b"later").unwrap();
    assert_eq!(map.bytes()[4000..4005], *b"later", "a mapping follows");
    disk.remove(&dir.join("one")).unwrap();
    let slice = map.bytes().slice(4000..4005);
    drop((map, file));
    assert_eq!(slice, &b"later"[..], "a slice outlives handle and name");
}

type Row = fn(&dyn Disk, &Path);

/// One row for each thing that every disk must do.
const CONTRACT: [(&str, Row); 5] = [
    ("locks", locks),
    ("writes and reads", writes_and_reads),
    ("allocates", allocates),
    ("names", names),
    ("maps", maps),
];

#[test]
fn the_fault_disk_is_a_disk() {
    for (what, test) in CONTRACT {
        println!("{what}");
        let disk = FaultDisk::new();
        test(&disk, Path::new("/disk"));
        assert_eq!(disk.open_files(), 0);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // A test may make a place for itself.
fn the_real_disk_is_a_disk() {
    for (at, (what, test)) in CONTRACT.iter().enumerate() {
        println!("{what}");
        let name = format!("jetwake-disk-{}-{at}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        test(&RealDisk, &dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

fn file() -> (FaultDisk, PathBuf, Arc<dyn DiskFile>) {
    let (disk, path) = (FaultDisk::new(), PathBuf::from("/disk/file"));
    let file = disk.create(&path).unwrap();
    disk.sync_dir(Path::new("/disk")).unwrap();
    (disk, path, file)
}

fn full<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let (disk, path, file) = file();
        write(&file, 0, &[1; 1024]).unwrap();
        file.sync_data().unwrap();
        write(&file, 0, &[2; 1024]).unwrap();
        disk.create(Path::new("/disk/unsynced")).unwrap();
        let after = disk.crash(seed);
        let found = read(&after.open(&path).unwrap(), 0, 1024).unwrap();
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

#[test]
fn a_full_disk_refuses_what_was_not_allocated_and_nothing_else() {
    let (disk, path, file) = file();
    file.allocate(8192).unwrap();
    disk.set_capacity(Some(disk.used() + 4096));
    write(&file, 0, &[1; 8192]).unwrap();
    assert!(full(file.allocate(16384)));
    assert_eq!(
        file.size().unwrap(),
        8192,
        "a refused allocation changes nothing"
    );
    let other = disk.create(Path::new("/disk/other")).unwrap();
    assert!(full(write(&other, 0, &[2; 9000])), "only a part fits");
    assert_eq!(read(&other, 0, 4096).unwrap(), [2; 4096]);
    assert!(full(other.reserve(8192)));
    assert!(
        full(disk.kill().open(&path).unwrap().allocate(16384)),
        "still full"
    );
    disk.remove(Path::new("/disk/other")).unwrap();
    assert!(full(file.allocate(12288)), "somebody has it open");
    drop(other);
    file.reserve(12288).unwrap();
    assert!(full(file.reserve(12289)));
    disk.set_capacity(None);
    file.allocate(1 << 20).unwrap();
}

#[test]
fn a_failed_sync_loses_what_it_was_to_save_whatever_comes_later() {
    let (disk, path, file) = file();
    write(&file, 0, &[1; 1024]).unwrap();
    file.sync_data().unwrap();
    write(&file, 0, &[2; 512]).unwrap();
    disk.fail_sync(2, Fault::Io);
    let error = file.sync_data().unwrap_err();
    assert_eq!(
        error.raw_os_error(),
        Some(rustix::io::Errno::IO.raw_os_error())
    );
    write(&file, 512, &[3; 512]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&file, 0, 1).unwrap(), [2], "the cache has it");
    for seed in 0..20 {
        let after = disk.crash(seed).open(&path).unwrap();
        let found = (read(&after, 0, 1).unwrap(), read(&after, 512, 1).unwrap());
        assert_eq!(found, (vec![1], vec![3]));
    }
}

#[test]
fn calls_fail_on_order() {
    let (disk, path, file) = file();
    disk.fail_at(disk.calls() + 2, Fault::Io);
    write(&file, 0, &[1; 4096]).unwrap();
    assert!(write(&file, 0, &[2; 4096]).is_err());
    assert_eq!(
        read(&file, 2047, 2).unwrap(),
        [2, 1],
        "half of it was written"
    );
    write(&file, 0, &[3; 1024]).unwrap();
    disk.fail_reads(&path, 1000..1001);
    assert!(read(&file, 0, 1001).is_err());
    assert!(read(&file, 0, 1000).is_ok() && read(&file, 1001, 10).is_ok());
    disk.flip(&path, 5, 0);
    assert_eq!(read(&file, 4, 2).unwrap(), [3, 2]);
    disk.truncate(&path, 5);
    assert!(read(&file, 4, 2).is_err());
    disk.stop_after(disk.calls());
    assert!(write(&file, 0, b"x").is_err() && file.sync_data().is_err());
    assert_eq!(read(&file, 0, 1).unwrap(), [3]);
}
