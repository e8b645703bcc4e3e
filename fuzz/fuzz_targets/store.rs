//! A store directory with damage: opening it neither panics nor hangs nor asks for absurd memory, what
//! it serves proves itself, and it takes new records that the next opening finds again.
//!
//! The directory is written once; the input is a list of changes to it, eight bytes each: how, which
//! file, where (four bytes), and two bytes of value. Checksums would hide everything behind them, so
//! some changes repair the checksum of the header that they hit.
#![no_main]

use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use jetwake_storage::{
    Disk, FaultDisk, FileMessages, Insert, JournalWriter, Kind, Lsn, MessageStore, Opened, Options,
    Record, Store, StoreError,
};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/store";
const GROUPS: [u64; 2] = [7, 8];

/// Opens; nothing when a forged header says that a file is of an earlier version.
fn try_open(disk: &FaultDisk, seed: u64) -> Option<Opened> {
    let options = Options {
        seed,
        journal_first: 8 << 10,
        journal_max: 16 << 10,
        encryption: None,
        adopt_least: 0,
        pack_least: 0,
    };
    match Store::open(Arc::new(disk.clone()), Path::new(DIR), options) {
        Err(StoreError::Old(_)) => None,
        opened => Some(opened.expect("damage is not an error")),
    }
}

fn open(disk: &FaultDisk, seed: u64) -> Opened {
    try_open(disk, seed).expect("it was not forged")
}

fn record(group: u64, seq: u64, payload: &[u8]) -> Record<'_> {
    Record {
        group,
        kind: Kind::Message,
        index: 0,
        term: 0,
        seq,
        timestamp: seq as i64,
        key: b"key",
        headers: b"",
        payload,
    }
}

fn append(store: &mut Store, messages: &mut FileMessages, record: &Record<'_>) {
    let appended = store.append(record);
    let inserted = messages.insert(&Insert {
        seq: record.seq,
        timestamp: record.timestamp,
        key: record.key,
        headers: record.headers,
        payload: record.payload,
        location: Some(appended.location),
    });
    inserted.expect("sequences ascend");
}

fn sync(store: &mut Store, writer: &mut JournalWriter) {
    store.seal();
    writer.write().expect("the disk is sound");
    writer.sync().expect("the disk is sound");
}

/// Copies, checkpoints and retires; leaves a segment, a checkpoint and a short journal.
fn maintain(store: &mut Store, messages: &mut [FileMessages]) {
    let retire = store
        .plan_retire(store.end(), 0)
        .expect("files are complete");
    let mut job = store.begin_copy(retire.through);
    for (group, messages) in GROUPS.iter().zip(messages.iter_mut()) {
        // One group is compressed.
        if *group == GROUPS[1] {
            job.add_compressed(*group, messages);
        } else {
            job.add(*group, messages);
        }
    }
    let copied = job.run().expect("the disk is sound");
    store.finish_copy(&copied);
    for (group, messages) in GROUPS.iter().zip(messages.iter_mut()) {
        copied.relocate(*group, messages);
    }
    let mut checkpoint = store.begin_checkpoint(Some(&retire));
    for (group, messages) in GROUPS.iter().zip(messages.iter_mut()) {
        checkpoint.add(*group, store.end(), b"blob", Some(messages));
    }
    let done = store.seal_checkpoint(checkpoint).run();
    let cleaned = store
        .finish_checkpoint(done.expect("the disk is sound"))
        .run();
    store.finish_cleanup(cleaned);
}

/// A sound directory: a segment, a checkpoint with removed messages, and a journal of two lives.
fn sound() -> FaultDisk {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1);
    let (store, writer) = (&mut opened.store, &mut opened.writer);
    let mut messages: Vec<FileMessages> = GROUPS
        .iter()
        .map(|group| store.create_group(*group, 0))
        .collect();
    for seq in 1..60 {
        let payload = vec![seq as u8; (seq * 37 % 900) as usize];
        for (group, messages) in GROUPS.iter().zip(&mut messages) {
            append(store, messages, &record(*group, seq, &payload));
        }
        sync(store, writer);
    }
    messages[0].remove(9, false);
    messages[1].remove_front(20, &mut |_, _| ());
    maintain(store, &mut messages);
    for seq in 60..70 {
        append(store, &mut messages[0], &record(GROUPS[0], seq, b"later"));
        sync(store, writer);
    }
    writer.idle().expect("the disk is sound");
    drop(messages);
    drop(opened);
    disk
}

fn overwrite(disk: &FaultDisk, path: &Path, at: usize, bytes: &[u8]) {
    let file = disk.open(path).expect("it was listed");
    file.write_at(at as u64, &mut [IoSlice::new(bytes)])
        .expect("the disk is sound");
    // Damage is there for good: a crash does not undo it.
    file.sync_data().expect("the disk is sound");
}

fn content(disk: &FaultDisk, path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; disk.size(path)];
    disk.open(path)
        .and_then(|file| file.read_at(0, &mut bytes))
        .expect("it was listed");
    bytes
}

fn seeded(generation: &[u8], at: usize, bytes: &[u8]) -> u32 {
    let seed = crc32c::crc32c(generation);
    let seed = crc32c::crc32c_append(seed, &(at as u64).to_le_bytes());
    crc32c::crc32c_append(seed, bytes)
}

/// Changes a byte of the header that begins at `at`, and makes its checksum right again.
fn forge(disk: &FaultDisk, path: &Path, at: usize, [place, value]: [u8; 2]) {
    let bytes = content(disk, path);
    let Some(head) = bytes.get(at..) else { return };
    let generation = bytes.get(24..32).unwrap_or(&[]);
    let (sum_at, from, len, seed) = match head {
        [b'J', b'W', b'B', b'T', ..] => (4, 8, 48, Some(generation)),
        [b'J', b'W', b'G', b'S', ..] => (4, 8, 64, Some(generation)),
        [b'J', b'W', b'W', b'M', ..] => (4, 8, 32, Some(generation)),
        [b'J', b'W', ..] => (8, 12, 64, None),
        _ => (0, 4, 56, Some(generation)),
    };
    let Some(head) = head.get(..len) else { return };
    let mut head = head.to_vec();
    head[from + usize::from(place) % (len - from)] = value;
    let sum = match seed {
        Some(generation) => seeded(generation, at, &head[from..]),
        None => crc32c::crc32c(&head[from..]),
    };
    head[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
    overwrite(disk, path, at, &head);
}

fn damage(disk: &FaultDisk, change: &[u8; 8]) {
    let [how, which, a, b, c, d, place, value] = *change;
    let mut names = disk.list(Path::new(DIR)).expect("it is there");
    names.sort();
    let path = Path::new(DIR).join(&names[usize::from(which) % names.len()]);
    let size = disk.size(&path).max(1);
    let at = u32::from_le_bytes([a, b, c, d]) as usize % size;
    match how % 8 {
        0 | 1 => disk.flip(&path, at, value),
        2 => disk.truncate(&path, at),
        3 => overwrite(disk, &path, at, &[value; 512][..(size - at).min(512)]),
        4 => overwrite(disk, &path, size, &[value; 64][..usize::from(place) % 64]),
        // The next header with a magic, or the next record (they begin with a checksum).
        5 | 6 => {
            let bytes = content(disk, &path);
            let found = bytes[at & !7..]
                .chunks(8)
                .position(|word| word.starts_with(b"JW"));
            let at = (at & !7) + found.unwrap_or(0) * 8;
            forge(
                disk,
                &path,
                at + if how % 8 == 6 { 48 } else { 0 },
                [place, value],
            );
        }
        _ => forge(disk, &path, at & !7, [place, value]),
    }
}

/// Reads everything, and appends one record to a group of its own. Says how many were there.
fn use_it(disk: &FaultDisk, seed: u64) -> Option<usize> {
    let mut opened = try_open(disk, seed)?;
    for group in &opened.groups {
        let mut next = 0;
        while let Some(meta) = group.messages.next(next) {
            if let Ok(Some(stored)) = group.messages.get(meta.seq) {
                assert_eq!(stored.seq, meta.seq);
            }
            next = meta.seq.saturating_add(1);
            if next == u64::MAX {
                break;
            }
        }
        let _ = (group.messages.state(), group.messages.deleted_count());
    }
    let mut known = 0;
    opened
        .replay
        .run(&mut |item| known += usize::from(item.record.group == 99 && !item.damaged))
        .expect("damage is not an error");
    opened.store.append(&record(99, seed, b"new"));
    sync(&mut opened.store, &mut opened.writer);
    assert!(opened.store.end() > Lsn::default());
    Some(known)
}

fuzz_target!(|data: &[u8]| {
    static SOUND: OnceLock<FaultDisk> = OnceLock::new();
    let disk = SOUND.get_or_init(sound).kill();
    for change in data.as_chunks::<8>().0.iter().take(16) {
        damage(&disk, change);
    }
    let Some(before) = use_it(&disk, 10) else {
        return;
    };
    let after = use_it(&disk.crash(1), 11);
    assert_eq!(after, Some(before + 1));
});
