//! How many bytes reach the disk for each byte of messages, for a few kinds of load.
//!
//! Counts what is written in blocks of 4096 bytes, as a file system does; a block that is written
//! in part counts whole. Maintenance runs as in the broker, between batches.
//!
//! `cargo run --release -p jetwake-storage --example amplification [directory [megabytes]]`
// A measurement needs files, and prints.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jetwake_storage::disk::{DiskLock, Map};
use jetwake_storage::{
    Disk, DiskFile, FileMessages, Insert, JournalWriter, Kind, Location, MessageStore, Opened,
    Options, RealDisk, Record, Retire, Store,
};

const BLOCK: u64 = 4096;
const PAYLOAD: [u8; 128] = [42; 128];
const BATCH: u64 = 1_000;
const KEEP: u64 = 32 << 20;

/// Blocks written to files of each kind.
#[derive(Debug, Default)]
struct Counts {
    journal: AtomicU64,
    spare: AtomicU64,
    segment: AtomicU64,
    checkpoint: AtomicU64,
}

#[derive(Debug)]
struct Counting {
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn DiskFile>,
    name: String,
    counts: Arc<Counts>,
}

impl Counting {
    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let counts = Arc::clone(&self.counts);
        Arc::new(CountingFile { file, name, counts })
    }
}

impl Disk for Counting {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir(dir)
    }
    fn lock(&self, dir: &Path) -> io::Result<Box<dyn DiskLock>> {
        RealDisk.lock(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, RealDisk.open(path)?))
    }
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.wrap(path, RealDisk.create(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
}

impl DiskFile for CountingFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let len: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let blocks = (offset + len).div_ceil(BLOCK) - offset / BLOCK;
        let counts = &self.counts;
        let count = match self.name.split('-').next() {
            Some("journal") => &counts.journal,
            Some("spare") => &counts.spare,
            Some("segment") => &counts.segment,
            _ => &counts.checkpoint,
        };
        count.fetch_add(blocks * BLOCK, Ordering::Relaxed);
        self.file.write_at(offset, slices)
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }
    fn sync_data(&self) -> io::Result<()> {
        // The medium's time does not matter here.
        Ok(())
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn map(&self) -> io::Result<Option<Map>> {
        self.file.map()
    }
}

/// A store with some streams.
struct Rig {
    store: Store,
    writer: JournalWriter,
    groups: Vec<FileMessages>,
    next: Vec<u64>,
    waiting: Vec<(usize, u64, Vec<u8>, Location)>,
    counts: Arc<Counts>,
    messages: u64,
    bytes: u64,
}

impl Rig {
    fn new(dir: &Path, groups: usize) -> Self {
        let counts = Arc::new(Counts::default());
        let disk = Counting {
            counts: Arc::clone(&counts),
        };
        let opened = Store::open(Arc::new(disk), dir, Options::new(1)).unwrap();
        let Opened {
            mut store, writer, ..
        } = opened;
        Self {
            groups: (0..groups)
                .map(|id| store.create_group(id as u64 + 1, 0))
                .collect(),
            store,
            writer,
            next: vec![1; groups],
            waiting: Vec::new(),
            counts,
            messages: 0,
            bytes: 0,
        }
    }

    fn append(&mut self, group: usize, key: &[u8]) {
        let seq = self.next[group];
        self.next[group] += 1;
        let appended = self.store.append(&Record {
            group: group as u64 + 1,
            kind: Kind::Message,
            index: 0,
            term: 0,
            seq,
            timestamp: seq as i64,
            key,
            headers: &[],
            payload: &PAYLOAD,
        });
        self.messages += 1;
        self.bytes += appended.end.0 - appended.start().0;
        self.waiting
            .push((group, seq, key.to_vec(), appended.location));
    }

    /// A control record, as an acknowledgement makes it.
    fn note(&mut self, group: usize) {
        self.store.append(&Record {
            group: group as u64 + 1,
            kind: Kind::Control(1),
            index: 0,
            term: 0,
            seq: 0,
            timestamp: 0,
            key: &[],
            headers: &[],
            payload: &[7; 24],
        });
    }

    /// Makes the batch durable and applies it.
    fn commit(&mut self) {
        self.store.seal();
        self.writer.write().unwrap();
        self.writer.sync().unwrap();
        for (group, seq, key, location) in self.waiting.drain(..) {
            let message = Insert {
                seq,
                timestamp: seq as i64,
                key: &key,
                headers: &[],
                payload: &PAYLOAD,
                location: Some(location),
            };
            self.groups[group].insert(&message).unwrap();
        }
    }

    fn spare(&mut self) {
        if let Some(job) = self.store.plan_spare(false) {
            let done = job.run().unwrap();
            self.store.finish_spare(done);
        }
    }

    fn maintain(&mut self, look: bool) {
        let retire = self.store.plan_retire(self.writer.durable(), KEEP);
        let wasteful = || {
            let groups = self.groups.iter().enumerate();
            let groups = groups.filter(|(_, messages)| look && messages.is_wasteful());
            let groups: Vec<u64> = groups.map(|(id, _)| id as u64 + 1).collect();
            (!groups.is_empty()).then_some(Retire { through: 0, groups })
        };
        let Some(retire) = retire.or_else(wasteful) else {
            return;
        };
        let mut job = self.store.begin_copy(retire.through);
        for id in &retire.groups {
            job.add(*id, &mut self.groups[*id as usize - 1]);
        }
        let copied = job.run().unwrap();
        self.store.finish_copy(&copied);
        for id in &retire.groups {
            copied.relocate(*id, &mut self.groups[*id as usize - 1]);
        }
        let mut checkpoint = self.store.begin_checkpoint(Some(&retire));
        for id in &retire.groups {
            let messages = &mut self.groups[*id as usize - 1];
            checkpoint.add(*id, self.store.end(), &[7; 300], Some(messages));
        }
        let done = self.store.seal_checkpoint(checkpoint).run().unwrap();
        let cleaned = self.store.finish_checkpoint(done).run();
        self.store.finish_cleanup(cleaned);
    }

    fn report(&self, what: &str, dir: &Path) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / self.bytes as f64;
        let counts = &self.counts;
        let parts = [
            of(&counts.journal),
            of(&counts.spare),
            of(&counts.segment),
            of(&counts.checkpoint),
        ];
        let used: u64 = std::fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        println!(
            "{what:<44}{:>8.2}{:>10.2}{:>8.2}{:>10.2}{:>12.2}{:>8} MB on disk",
            parts.iter().sum::<f64>(),
            parts[0],
            parts[1],
            parts[2],
            parts[3],
            used >> 20
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join(format!("jetwake-amplification-{}", std::process::id()));
    let megabytes: u64 = args.next().map_or(256, |arg| arg.parse().unwrap());
    println!("written per byte of records: all, journal, spares, segments, checkpoints");
    let run = |what: &str, groups: usize, batch: &mut dyn FnMut(&mut Rig, u64)| {
        let dir = dir.join(what.replace(' ', "-"));
        let mut rig = Rig::new(&dir, groups);
        let mut round = 0;
        while rig.bytes < megabytes << 20 {
            batch(&mut rig, round);
            round += 1;
            rig.maintain(round % 50 == 0);
            rig.spare();
        }
        rig.report(what, &dir);
        drop(rig);
        std::fs::remove_dir_all(&dir).unwrap();
    };
    run("one stream, 1000 a sync", 1, &mut |rig, _| {
        (0..BATCH).for_each(|_| rig.append(0, b"orders.eu.new"));
        rig.commit();
    });
    run("one stream, 10 a sync", 1, &mut |rig, _| {
        for _ in 0..BATCH / 10 {
            (0..10).for_each(|_| rig.append(0, b"orders.eu.new"));
            rig.commit();
        }
    });
    run("8 streams", 8, &mut |rig, _| {
        (0..BATCH).for_each(|at| rig.append(at as usize % 8, b"orders.eu.new"));
        rig.commit();
    });
    run("1000 streams in turn", 1000, &mut |rig, _| {
        (0..BATCH).for_each(|at| rig.append(at as usize, b"orders.eu.new"));
        rig.commit();
    });
    run("consumed and kept", 1, &mut |rig, _| {
        for _ in 0..BATCH {
            rig.append(0, b"orders.eu.new");
            rig.note(0);
        }
        rig.commit();
    });
    run("work queue, acknowledged at once", 1, &mut |rig, _| {
        (0..BATCH).for_each(|_| rig.append(0, b"orders.eu.new"));
        rig.note(0);
        rig.commit();
        let last = rig.next[0];
        rig.groups[0].remove_front(last, &mut |_, _| {});
    });
    run("100,000 keys overwritten", 1, &mut |rig, round| {
        let name = |at: u64| format!("kv.{}", at * 7919 % 100_000).into_bytes();
        let keys: Vec<Vec<u8>> = (0..BATCH).map(|at| name(round * BATCH + at)).collect();
        keys.iter().for_each(|key| rig.append(0, key));
        rig.commit();
        for key in &keys {
            let first = rig.groups[0].first_of_key(key).unwrap().seq;
            let last = rig.groups[0].last_of_key(key, u64::MAX).unwrap().seq;
            if first < last {
                rig.groups[0].remove(first, false);
            }
        }
    });
    let _ = std::fs::remove_dir_all(&dir);
}
