//! What the owner thread pays per message (in CPU time, so that a busy machine matters less), what
//! a key costs in memory, and how long opening and syncing take (wall time).
//!
//! `cargo run --release -p jetwake-storage --example costs [directory [one of the measurements
//! [aes or chacha]]]`; `all` is every measurement.
// A measurement needs a clock, threads and files, and prints.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jetwake_storage::{
    Appended, Cipher, Encryption, FileMessages, Insert, JournalWriter, Kind, MemoryMessages,
    MessageStore, Opened, Options, RealDisk, Record, Store,
};

const MESSAGES: u64 = 1_000_000;
const BATCH: u64 = 1_000;
const REOPENED: usize = 11;
const PAYLOAD: [u8; 128] = [42; 128];

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("jetwake-costs-{}", std::process::id()));
    let only = args.next();
    let measure = |what: &str, run: &dyn Fn(&Path)| {
        if only
            .as_deref()
            .is_none_or(|only| only == what || only == "all")
        {
            run(&dir.join(what));
        }
    };
    measure("owner", &owner);
    measure("durable", &durable);
    measure("keys", &|_| keys());
    measure("packed", &packed);
    measure("memory", &|_| memory());
    measure("reopen", &reopen);
    measure("groups", &groups);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn open(dir: &Path, seed: u64) -> Opened {
    let mut options = Options::new(seed);
    let cipher = match std::env::args().nth(3).as_deref() {
        Some("aes") => Some(Cipher::Aes),
        Some("chacha") => Some(Cipher::ChaCha),
        _ => None,
    };
    let encryption = |cipher| Encryption::new(cipher, b"key", None, &[seed as u8; 32]);
    options.encryption = cipher.map(encryption);
    Store::open(Arc::new(RealDisk), dir, options).unwrap()
}

/// CPU time of this thread, as far as the system has counted it.
#[derive(Clone, Copy)]
struct Cpu(u64);

impl Cpu {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Self(stat.split(' ').next().unwrap().parse().unwrap())
    }

    fn nanos(self) -> u64 {
        Self::now().0 - self.0
    }
}

fn per(what: &str, started: Cpu, count: u64) {
    let each = started.nanos() as f64 / count as f64;
    println!("{what:<58}{each:>10.1} ns each");
}

fn record<'a>(seq: u64, key: &'a [u8]) -> Record<'a> {
    Record {
        group: 1,
        kind: Kind::Message,
        index: seq,
        term: 1,
        seq,
        timestamp: seq as i64,
        key,
        headers: &[],
        payload: &PAYLOAD,
    }
}

fn insert(seq: u64, key: &[u8], appended: Option<&Appended>) -> Insert<'static> {
    // The key outlives the call; every key in here is static or leaked.
    let key: &'static [u8] = Box::leak(key.to_vec().into_boxed_slice());
    Insert {
        seq,
        timestamp: seq as i64,
        key,
        headers: &[],
        payload: &PAYLOAD,
        location: appended.map(|appended| appended.location),
    }
}

/// Appends in batches of a thousand; the disk's part is done in between, off the clock.
fn append_all(
    store: &mut Store,
    writer: &mut JournalWriter,
    count: u64,
    from: u64,
) -> (Vec<Appended>, u128) {
    let mut all = Vec::with_capacity(count as usize);
    let mut nanos = 0;
    for batch in 0..count / BATCH {
        let started = Cpu::now();
        for at in 0..BATCH {
            all.push(store.append(&record(from + batch * BATCH + at, b"orders.eu.new")));
        }
        store.seal();
        nanos += u128::from(started.nanos());
        writer.write().unwrap();
    }
    writer.sync().unwrap();
    (all, nanos)
}

fn owner(dir: &Path) {
    let started = Instant::now();
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(dir, 1);
    println!(
        "{:<58}{:>10.1} us",
        "open a fresh store",
        started.elapsed().as_nanos() as f64 / 1e3
    );
    let (appended, nanos) = append_all(&mut store, &mut writer, MESSAGES, 1);
    let each = nanos as f64 / MESSAGES as f64;
    println!(
        "{:<58}{each:>10.1} ns each",
        "append a 128-byte message (encode, checksum)"
    );
    let mut messages = store.create_group(1, 0);
    let started = Cpu::now();
    for (at, appended) in appended.iter().enumerate() {
        let mut message = insert_static(at as u64 + 1);
        message.location = Some(appended.location);
        messages.insert(&message).unwrap();
    }
    per("insert, one key", started, MESSAGES);
    get_all("get from the journal, in order", &messages, 1);
    get_all("get from the journal, scattered", &messages, 7_919);
    read_all("read (lent) from the journal, in order", &messages);
    copy_and_get(&mut store, &mut writer, &mut messages);
    let started = Cpu::now();
    messages.remove_front(MESSAGES + 1, &mut |_, _| {});
    per("remove from the front", started, MESSAGES);
}

fn insert_static(seq: u64) -> Insert<'static> {
    Insert {
        seq,
        timestamp: seq as i64,
        key: b"orders.eu.new",
        headers: &[],
        payload: &PAYLOAD,
        location: None,
    }
}

fn get_all(what: &str, messages: &dyn MessageStore, stride: u64) {
    for round in ["first touch", "again"] {
        let started = Cpu::now();
        for at in 0..MESSAGES {
            black_box(messages.get(at * stride % MESSAGES + 1).unwrap().unwrap());
        }
        per(&format!("{what}, {round}"), started, MESSAGES);
    }
}

fn read_all(what: &str, messages: &dyn MessageStore) {
    let started = Cpu::now();
    for at in 0..MESSAGES {
        messages
            .read(at + 1, &mut |stored| {
                black_box(stored.payload);
            })
            .unwrap();
    }
    per(what, started, MESSAGES);
}

fn copy_and_get(store: &mut Store, writer: &mut JournalWriter, messages: &mut FileMessages) {
    // One more record, so that the file before it is complete.
    let retire = store.plan_retire(writer.durable(), 0).unwrap();
    let started = Instant::now();
    let mut job = store.begin_copy(retire.through);
    job.add(1, messages);
    let planned = started.elapsed();
    let copied = job.run().unwrap();
    let ran = started.elapsed();
    store.finish_copy(&copied);
    copied.relocate(1, messages);
    println!(
        "copy: plan {:?} on the owner, run {:?} elsewhere, relocate {:?} on the owner",
        planned,
        ran - planned,
        started.elapsed() - ran
    );
    get_all("get from segments, in order", messages, 1);
}

fn durable(dir: &Path) {
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(dir, 2);
    let mut times: Vec<u128> = (1..=300)
        .map(|seq| {
            let started = Instant::now();
            store.append(&record(seq, b"orders.eu.new"));
            store.seal();
            writer.write().unwrap();
            writer.sync().unwrap();
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!(
        "{:<58}{:>10.1} us median, {:.1} us p99",
        "one durable append (write + fdatasync)",
        times[150] as f64 / 1e3,
        times[297] as f64 / 1e3
    );
    let started = Cpu::now();
    let mut seq = 300;
    for _ in 0..400 {
        for _ in 0..BATCH {
            seq += 1;
            store.append(&record(seq, b"orders.eu.new"));
        }
        store.seal();
        writer.write().unwrap();
        writer.sync().unwrap();
    }
    per(
        "durable append, a thousand a sync, both halves' CPU",
        started,
        400 * BATCH,
    );
}

/// What compression costs and gains with messages like those of many applications.
fn packed(dir: &Path) {
    const COUNT: u64 = 200_000;
    for compressed in [false, true] {
        let dir = dir.join(compressed.to_string());
        let Opened {
            mut store,
            mut writer,
            ..
        } = open(&dir, 5);
        let mut messages = store.create_group(1, 0);
        for seq in 1..=COUNT {
            let (customer, sku) = (seq * 7919 % 1000, seq * 104_729 % 1000);
            let payload = format!(
                r#"{{"order":{seq},"customer":"c-{customer}","status":"accepted","total":{},"items":[{{"sku":"sku-{sku}","quantity":2}}]}}"#,
                customer * sku
            );
            let key = format!("orders.{}", seq % 10);
            let record = Record {
                payload: payload.as_bytes(),
                ..record(seq, key.as_bytes())
            };
            let appended = store.append(&record);
            let entry = Insert {
                payload: record.payload,
                ..insert(seq, key.as_bytes(), Some(&appended))
            };
            messages.insert(&entry).unwrap();
            if seq % BATCH == 0 {
                store.seal();
                writer.write().unwrap();
            }
        }
        writer.sync().unwrap();
        let started = Cpu::now();
        // Nothing is adopted, so that both are copied.
        let mut job = store.begin_copy(u32::MAX).without_rewriting();
        if compressed {
            job.add_compressed(1, &mut messages);
        } else {
            job.add(1, &mut messages);
        }
        let copied = job.run().unwrap();
        store.finish_copy(&copied);
        copied.relocate(1, &mut messages);
        let what = if compressed { "compressed" } else { "plain" };
        per(&format!("copy, {what}"), started, COUNT);
        let segments: u64 = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("segment"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        println!(
            "segments, {what}: {:.1} bytes a message of {:.1} accounted, tables included",
            segments as f64 / COUNT as f64,
            messages.state().bytes as f64 / COUNT as f64
        );
        for (order, stride) in [("in order", 1), ("anywhere", 7919)] {
            let started = Cpu::now();
            let count = if stride == 1 { COUNT } else { COUNT / 10 };
            for at in 0..count {
                black_box(messages.get(at * stride % COUNT + 1).unwrap().unwrap());
            }
            per(&format!("get {order}, {what}"), started, count);
        }
    }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn keys() {
    let names: Vec<Vec<u8>> = (0..MESSAGES)
        .map(|at| format!("k.tenant{:03}.device.{at:09}", at % 1000).into_bytes())
        .collect();
    let dir = std::env::temp_dir().join(format!("jetwake-keys-{}", std::process::id()));
    let Opened { mut store, .. } = open(&dir, 3);
    let before = resident();
    let mut messages = store.create_group(1, 0);
    let started = Cpu::now();
    for (at, name) in names.iter().enumerate() {
        let message = Insert {
            key: name,
            ..insert_static(at as u64 + 1)
        };
        messages.insert(&message).unwrap();
    }
    per("insert, a new 27-byte key each", started, MESSAGES);
    let each = (resident() - before) as f64 / MESSAGES as f64;
    println!(
        "{:<58}{each:>10.1} bytes each",
        "memory, one message per key, with the name"
    );
    let started = Cpu::now();
    for (at, name) in names.iter().enumerate() {
        let seq = MESSAGES + at as u64 + 1;
        messages
            .insert(&Insert {
                key: name,
                ..insert_static(seq)
            })
            .unwrap();
        let old = messages.first_of_key(name).unwrap();
        messages.remove(old.seq, false);
    }
    per(
        "overwrite a key (insert, find the old, remove it)",
        started,
        MESSAGES,
    );
    let started = Cpu::now();
    for name in &names {
        black_box(messages.last_of_key(name, u64::MAX).unwrap());
    }
    per("last of a key", started, MESSAGES);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn memory() {
    let mut messages = MemoryMessages::new();
    let started = Cpu::now();
    for seq in 1..=MESSAGES {
        messages.insert(&insert_static(seq)).unwrap();
    }
    per("memory store: insert", started, MESSAGES);
    get_all("memory store: get, in order", &messages, 1);
    read_all("memory store: read (lent), in order", &messages);
}

/// Opens and applies everything; the first time is that of the scan.
fn reopen_once(dir: &Path) -> (Duration, Duration, Store, JournalWriter, FileMessages) {
    let started = Instant::now();
    let Opened {
        mut store,
        writer,
        replay,
        ..
    } = open(dir, 5);
    let scanned = started.elapsed();
    let mut messages = store.create_group(1, 0);
    replay
        .run(&mut |item| {
            let record = &item.record;
            let message = Insert {
                seq: record.seq,
                timestamp: record.timestamp,
                key: record.key,
                headers: record.headers,
                payload: record.payload,
                location: Some(item.location),
            };
            messages.insert(&message).unwrap();
        })
        .unwrap();
    (started.elapsed(), scanned, store, writer, messages)
}

fn reopen(dir: &Path) {
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(dir, 4);
    let mut messages = store.create_group(1, 0);
    let (appended, _) = append_all(&mut store, &mut writer, MESSAGES, 1);
    for (at, appended) in appended.iter().enumerate() {
        messages
            .insert(&insert(at as u64 + 1, b"orders.eu.new", Some(appended)))
            .unwrap();
    }
    drop((store, writer, messages));
    let mut times = [(); REOPENED].map(|()| {
        let (whole, scanned, ..) = reopen_once(dir);
        (whole, scanned)
    });
    times.sort_unstable();
    let (whole, scanned) = times[REOPENED / 2];
    println!(
        "{:<58}{:>10.1} ms, {:.1} of it the scan",
        "reopen 1 M messages, all in the journal",
        whole.as_secs_f64() * 1e3,
        scanned.as_secs_f64() * 1e3
    );
    let (_, _, mut store, mut writer, mut messages) = reopen_once(dir);
    let (_, _) = append_all(&mut store, &mut writer, BATCH, MESSAGES + 1);
    let retire = store.plan_retire(writer.durable(), 0).unwrap();
    let mut job = store.begin_copy(retire.through);
    job.add(1, &mut messages);
    let copied = job.run().unwrap();
    store.finish_copy(&copied);
    copied.relocate(1, &mut messages);
    drop(copied);
    let mut checkpoint = store.begin_checkpoint(Some(&retire));
    checkpoint.add(1, writer.durable(), b"", Some(&mut messages));
    let done = store.seal_checkpoint(checkpoint).run().unwrap();
    let cleaned = store.finish_checkpoint(done).run();
    store.finish_cleanup(cleaned);
    drop((store, writer, messages));
    let started = Instant::now();
    let opened = open(dir, 6);
    println!(
        "{:<58}{:>10.1} ms",
        "reopen 1 M messages, all in segments",
        started.elapsed().as_secs_f64() * 1e3
    );
    assert_eq!(opened.groups[0].messages.state().messages, MESSAGES);
}

fn used(dir: &Path) -> (usize, u64) {
    let files = std::fs::read_dir(dir).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    (sizes.len(), sizes.iter().sum())
}

/// Ten thousand groups with a few messages each.
fn groups(dir: &Path) {
    const GROUPS: u64 = 10_000;
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(dir, 7);
    let mut all: Vec<FileMessages> = (0..GROUPS)
        .map(|id| store.create_group(id + 1, 0))
        .collect();
    for seq in 1..=8 {
        let mut appended = Vec::new();
        for id in 0..GROUPS {
            let mut record = record(seq, b"orders.eu.new");
            record.group = id + 1;
            appended.push(store.append(&record));
        }
        store.seal();
        writer.write().unwrap();
        writer.sync().unwrap();
        for (messages, appended) in all.iter_mut().zip(&appended) {
            messages
                .insert(&insert(seq, b"orders.eu.new", Some(appended)))
                .unwrap();
        }
    }
    let retire = store.plan_retire(writer.durable(), 0).unwrap();
    let mut job = store.begin_copy(retire.through);
    for (at, messages) in all.iter_mut().enumerate() {
        job.add(at as u64 + 1, messages);
    }
    let copied = job.run().unwrap();
    store.finish_copy(&copied);
    let started = Instant::now();
    for (at, messages) in all.iter_mut().enumerate() {
        copied.relocate(at as u64 + 1, messages);
    }
    println!("relocate 10,000 groups: {:?}", started.elapsed());
    drop(copied);
    let mut checkpoint = store.begin_checkpoint(Some(&retire));
    let started = Instant::now();
    for (at, messages) in all.iter_mut().enumerate() {
        checkpoint.add(at as u64 + 1, writer.durable(), &[7; 200], Some(messages));
    }
    let job = store.seal_checkpoint(checkpoint);
    println!(
        "plan a checkpoint of 10,000 groups: {:?}",
        started.elapsed()
    );
    let done = job.run().unwrap();
    let started = Instant::now();
    let cleanup = store.finish_checkpoint(done);
    println!("finish it: {:?}", started.elapsed());
    store.finish_cleanup(cleanup.run());
    drop((store, writer, all));
    println!("10,000 groups on disk: {:?} (files, bytes)", used(dir));
    let started = Instant::now();
    let opened = open(dir, 8);
    assert_eq!(opened.groups.len() as u64, GROUPS);
    println!(
        "{:<58}{:>10.1} ms",
        "reopen 10,000 groups",
        started.elapsed().as_secs_f64() * 1e3
    );
}
