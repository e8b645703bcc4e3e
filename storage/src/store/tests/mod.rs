//! Whole stores on the fault disk: restarts, crashes after every call, damaged files.

mod adopt;
mod again;
mod atrest;
mod crash;
mod damage;
mod log;
mod maintain;
mod packed;
mod redo;
mod restart;
mod sealed;
mod space;
mod sparse;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::StoreError;
use crate::crypt::{Cipher, Encryption};
use crate::disk::FaultDisk;
use crate::format::Kind;
use crate::journal::JournalWriter;
use crate::messages::{Insert, Location};

pub(crate) const DIR: &str = "/store";
pub(crate) const GROUP: u64 = 7;

thread_local! {
    /// Whether the stores of this thread are encrypted.
    pub(crate) static ENCRYPTED: Cell<bool> = const { Cell::new(false) };
    /// Whether the stores of this thread compress.
    pub(crate) static COMPRESSED: Cell<bool> = const { Cell::new(false) };
    /// Whether this test adopts journal files.
    static ADOPT_LEAST: Cell<u32> = const { Cell::new(u32::MAX) };
}

pub(crate) fn encryption(key: &[u8], previous: Option<&[u8]>, seed: u64) -> Encryption {
    let cipher = [Cipher::Aes, Cipher::ChaCha][seed as usize % 2];
    Encryption::new(cipher, key, previous, &[seed as u8; 32])
}

/// From now on this test adopts journal files that are mostly alive.
pub(crate) fn adopt_files() {
    ADOPT_LEAST.set(0);
}

/// Files as small as they get, so that scripts cross their ends.
pub(crate) fn options(seed: u64) -> Options {
    Options {
        seed,
        journal_first: 8 << 10,
        journal_max: 16 << 10,
        encryption: ENCRYPTED.get().then(|| encryption(b"one", None, seed)),
        adopt_least: ADOPT_LEAST.get(),
        pack_least: 0,
    }
}

pub(crate) fn open(disk: &FaultDisk, seed: u64) -> Result<Opened, StoreError> {
    Store::open(Arc::new(disk.clone()), Path::new(DIR), options(seed))
}

/// A record that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) group: u64,
    pub(crate) index: u64,
    pub(crate) kind: Kind,
    pub(crate) seq: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) headers: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Written {
    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            group: self.group,
            kind: self.kind,
            index: self.index,
            term: 3,
            seq: self.seq,
            timestamp: self.seq as i64 * 10,
            key: &self.key,
            headers: &self.headers,
            payload: &self.payload,
        }
    }

    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self {
            group: record.group,
            index: record.index,
            kind: record.kind,
            seq: record.seq,
            key: record.key.to_vec(),
            headers: record.headers.to_vec(),
            payload: record.payload.to_vec(),
        }
    }

    /// The `at`-th message of a script; sizes vary, some need a file of their own.
    pub(crate) fn message(at: u64) -> Self {
        let size = match at % 10 {
            3 => 0,
            7 => 3000,
            9 if at % 20 == 9 => 20_000,
            other => other as usize * 31,
        };
        Self {
            group: GROUP + at % 2,
            index: at + 1,
            kind: Kind::Message,
            seq: at + 1,
            key: format!("key.{}", at % 5).into_bytes(),
            headers: if at.is_multiple_of(3) {
                b"NATS/1.0\r\n\r\n".to_vec()
            } else {
                Vec::new()
            },
            payload: (0..size)
                .map(|byte| (byte as u64 * 13 + at) as u8)
                .collect(),
        }
    }
}

/// Everything that replays, in order; damaged ones with empty bytes.
pub(crate) fn replayed(replay: Replay) -> Vec<(Written, Location, bool)> {
    let mut found = Vec::new();
    replay
        .run(&mut |item| found.push((Written::of(&item.record), item.location, item.damaged)))
        .unwrap();
    found
}

pub(crate) fn write_and_sync(store: &mut Store, writer: &mut JournalWriter) {
    store.seal();
    writer.write().unwrap();
    writer.sync().unwrap();
}

pub(crate) fn insert(messages: &mut FileMessages, record: &Record<'_>, location: Location) {
    messages
        .insert(&Insert {
            seq: record.seq,
            timestamp: record.timestamp,
            key: record.key,
            headers: record.headers,
            payload: record.payload,
            location: Some(location),
        })
        .unwrap();
}

/// Adds a group to a copy.
pub(crate) fn add(job: &mut CopyJob, group: u64, messages: &mut FileMessages) {
    if COMPRESSED.get() {
        job.add_compressed(group, messages);
    } else {
        job.add(group, messages);
    }
}

/// A store with one group, and what the group has.
struct Single {
    disk: FaultDisk,
    store: Store,
    writer: JournalWriter,
    messages: FileMessages,
}

impl Single {
    fn new() -> Self {
        let disk = FaultDisk::new();
        let Opened {
            mut store, writer, ..
        } = open(&disk, 1).unwrap();
        let messages = store.create_group(GROUP, 0);
        Self {
            disk,
            store,
            writer,
            messages,
        }
    }

    fn append(&mut self, record: &Written) {
        let appended = self.store.append(&record.record());
        write_and_sync(&mut self.store, &mut self.writer);
        insert(&mut self.messages, &record.record(), appended.location);
    }

    fn maintain(&mut self, retire: bool) {
        let groups = &mut [(GROUP, b"blob".to_vec(), Some(&mut self.messages))];
        maintain(&mut self.store, self.writer.durable(), retire, groups).unwrap();
    }

    fn check(&self, written: impl Fn(u64) -> Written) {
        let mut next = self.messages.next(0);
        let mut count = 0;
        while let Some(meta) = next {
            let stored = self.messages.get(meta.seq).unwrap().unwrap();
            let written = written(meta.seq);
            assert_eq!(stored.payload, written.payload);
            assert_eq!(stored.key, written.key);
            count += 1;
            next = self.messages.next(meta.seq + 1);
        }
        assert_eq!(count, self.messages.state().messages);
    }

    /// Opens it once more after the process was killed.
    fn reopen(self) -> Self {
        let (disk, state) = (self.disk.kill(), self.messages.state());
        drop(self);
        let Opened {
            store,
            writer,
            groups,
            replay,
            report,
        } = open(&disk, 9).unwrap();
        assert_eq!(report, Report::default());
        let mut messages = groups.into_iter().next().unwrap().messages;
        for (record, location, _) in replayed(replay) {
            insert(&mut messages, &record.record(), location);
        }
        assert_eq!(messages.state(), state);
        Self {
            disk,
            store,
            writer,
            messages,
        }
    }
}

/// Copies what is alive out of complete journal files, checkpoints the groups and lets the files
/// go. Says how far it got when the disk refuses.
pub(crate) fn maintain(
    store: &mut Store,
    applied: Lsn,
    retire: bool,
    groups: &mut [(u64, Vec<u8>, Option<&mut FileMessages>)],
) -> Result<(), StoreError> {
    if let Some(job) = store.plan_spare(false) {
        let done = job.run()?;
        store.finish_spare(done);
    }
    let retire = if retire {
        store.plan_retire(applied, 0)
    } else {
        None
    };
    if let Some(retire) = &retire {
        let mut job = store.begin_copy(retire.through);
        for (id, _, messages) in groups.iter_mut() {
            if let Some(messages) = messages {
                add(&mut job, *id, messages);
            }
        }
        let copied = job.run()?;
        assert!(copied.lost.is_empty());
        store.finish_copy(&copied);
        for (id, _, messages) in groups.iter_mut() {
            if let Some(messages) = messages {
                copied.relocate(*id, messages);
            }
        }
    }
    let mut checkpoint = store.begin_checkpoint(retire.as_ref());
    for (id, blob, messages) in groups.iter_mut() {
        checkpoint.add(*id, applied, blob, messages.as_deref_mut());
    }
    let done = store.seal_checkpoint(checkpoint).run()?;
    let cleaned = store.finish_checkpoint(done).run();
    store.finish_cleanup(cleaned);
    Ok(())
}

#[test]
fn a_fresh_store_writes_nothing_and_locks_its_directory() {
    let disk = FaultDisk::new();
    let opened = open(&disk, 1).unwrap();
    assert_eq!(disk.calls(), 0);
    assert!(matches!(open(&disk, 2), Err(StoreError::Locked(_))));
    drop(opened);
    open(&disk, 3).unwrap();
}

#[test]
fn a_failed_sync_is_final() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    opened.store.append(&Written::message(0).record());
    opened.store.seal();
    opened.writer.write().unwrap();
    disk.fail_at(disk.calls() + 1, crate::Fault::Io);
    assert!(matches!(opened.writer.sync(), Err(StoreError::Failed(_))));
    assert!(matches!(opened.writer.sync(), Err(StoreError::Failed(_))));
    opened.store.append(&Written::message(1).record());
    opened.store.seal();
    assert!(matches!(opened.writer.write(), Err(StoreError::Failed(_))));
    assert!(opened.store.failure().is_some());
}

#[test]
fn a_disk_thread_drains_what_the_owner_seals() {
    const COUNT: u64 = 2_000;
    let disk = FaultDisk::new();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(&disk, 1).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let mut durable = Lsn::default();
            while writer.wait() {
                writer.write().unwrap();
                let synced = writer.sync().unwrap();
                assert!(synced >= durable);
                durable = synced;
            }
            durable
        });
        for at in 0..COUNT {
            store.append(&Written::message(at).record());
            if at % 7 == 0 {
                store.seal();
            }
        }
        store.stop();
        assert_eq!(thread.join().unwrap(), store.end());
    });
    drop(store);
    let found = replayed(open(&disk.crash(3), 2).unwrap().replay);
    assert_eq!(found.len() as u64, COUNT);
}

#[test]
fn a_writer_whose_owner_is_gone_does_not_wait() {
    let Opened { store, writer, .. } = open(&FaultDisk::new(), 1).unwrap();
    drop(store);
    assert!(!writer.wait());
}

#[test]
fn the_directory_itself_survives_a_crash() {
    let disk = FaultDisk::new();
    let mut opened = open(&disk, 1).unwrap();
    opened.store.append(&Written::message(0).record());
    write_and_sync(&mut opened.store, &mut opened.writer);
    drop(opened);
    for seed in 0..4 {
        let opened = open(&disk.crash(seed), 2).unwrap();
        assert_eq!(replayed(opened.replay).len(), 1);
    }
}
