//! What sealed messages and keys cost: time to move them, and, in a process of its own, time to open
//! the store, memory a message and a key, and time to ask and to change.
//!
//! `cargo run --release -p jetwake-storage --example sealed build <messages> <keys> <directory>`,
//! then `... sealed open <messages> <keys> <directory>`; a third argument of `0` keys means a new key
//! for every message.
// A measurement needs a clock and files, and prints.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jetwake_storage::{
    FileMessages, Insert, KeyFilter, Kind, Lsn, MessageStore, Opened, Options, RealDisk, Record,
    Store,
};

const BATCH: u64 = 10_000;
/// Journal files are sealed and freed whenever this many messages came.
const ROUND: u64 = 500_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, count, keys, dir] = &args[..] else {
        println!("build|open <messages> <keys> <directory>");
        return;
    };
    let (count, keys): (u64, u64) = (count.parse().unwrap(), keys.parse().unwrap());
    let keys = if keys == 0 { u64::MAX } else { keys };
    match what.as_str() {
        "build" => build(Path::new(dir), count, keys),
        _ => reopen(Path::new(dir), count, keys),
    }
}

fn open(dir: &Path, seed: u64) -> Opened {
    Store::open(Arc::new(RealDisk), dir, Options::new(seed)).unwrap()
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<u64>().unwrap() * 1024
}

fn name(seq: u64, keys: u64) -> Vec<u8> {
    let key = seq % keys;
    format!("k.tenant{:03}.device.{key:09}", key % 1000).into_bytes()
}

/// Moves everything into segments and lets the journal go.
fn seal(store: &mut Store, durable: Lsn, messages: &mut FileMessages) {
    let retire = store.plan_retire(durable, 0);
    let started = Instant::now();
    let mut job = store.begin_copy(u32::MAX);
    job.add(1, messages);
    let planned = started.elapsed();
    let copied = job.run().unwrap();
    let ran = started.elapsed();
    store.finish_copy(&copied);
    copied.relocate(1, messages);
    drop(copied);
    println!(
        "    plan {planned:?}, copy {:?}, relocate {:?}",
        ran - planned,
        started.elapsed() - ran
    );
    let mut checkpoint = store.begin_checkpoint(retire.as_ref());
    checkpoint.add(1, durable, b"", Some(messages));
    let done = store.seal_checkpoint(checkpoint).run().unwrap();
    let cleaned = store.finish_checkpoint(done).run();
    store.finish_cleanup(cleaned);
}

/// A set of keys by their first bytes.
struct Prefix(&'static [u8]);

impl KeyFilter for Prefix {
    fn matches(&self, key: &[u8]) -> bool {
        key.starts_with(self.0)
    }

    fn literal(&self) -> Option<&[u8]> {
        None
    }

    fn is_everything(&self) -> bool {
        false
    }
}

struct Literal(Vec<u8>);

impl KeyFilter for Literal {
    fn matches(&self, key: &[u8]) -> bool {
        key == self.0
    }

    fn literal(&self) -> Option<&[u8]> {
        Some(&self.0)
    }

    fn is_everything(&self) -> bool {
        false
    }
}

fn build(dir: &Path, count: u64, keys: u64) {
    println!("{count} messages, {} keys", keys.min(count));
    let Opened {
        mut store,
        mut writer,
        ..
    } = open(dir, 1);
    let mut messages = store.create_group(1, 0);
    for from in (1..=count).step_by(BATCH as usize) {
        let batch: Vec<(u64, Vec<u8>)> = (from..(from + BATCH).min(count + 1))
            .map(|seq| (seq, name(seq, keys)))
            .collect();
        let mut placed = Vec::new();
        for (seq, key) in &batch {
            let appended = store.append(&Record {
                group: 1,
                kind: Kind::Message,
                index: *seq,
                term: 1,
                seq: *seq,
                timestamp: *seq as i64,
                key,
                headers: &[],
                payload: b"twenty bytes of body",
            });
            placed.push(appended.location);
        }
        store.seal();
        writer.write().unwrap();
        for ((seq, key), location) in batch.iter().zip(placed) {
            let message = Insert {
                seq: *seq,
                timestamp: *seq as i64,
                key,
                headers: &[],
                payload: b"twenty bytes of body",
                location: Some(location),
            };
            messages.insert(&message).unwrap();
        }
        if (from + BATCH - 1).is_multiple_of(ROUND) {
            writer.sync().unwrap();
            seal(&mut store, writer.durable(), &mut messages);
        }
    }
    writer.sync().unwrap();
    seal(&mut store, writer.durable(), &mut messages);
}

fn reopen(dir: &Path, count: u64, keys: u64) {
    let before = resident();
    let (started, cpu) = (Instant::now(), Cpu::now());
    let opened = open(dir, 2);
    println!("  open {:?}", started.elapsed());
    each("open, CPU", cpu, 1);
    let used = resident() - before;
    println!(
        "  memory {used} bytes, {:.2} a message, {:.1} a key",
        used as f64 / count as f64,
        used as f64 / keys.min(count) as f64
    );
    let mut group = opened.groups.into_iter().next().unwrap();
    let messages = &mut group.messages;
    let state = messages.state();
    assert_eq!((state.messages, state.keys), (count, keys.min(count)));
    if std::env::var_os("ONLY_OPEN").is_none() {
        ask(messages, count, keys);
        change(messages, count, keys);
    }
}

/// CPU time of this thread, as far as the system has counted it.
#[derive(Clone, Copy)]
struct Cpu(u64);

impl Cpu {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Self(stat.split(' ').next().unwrap().parse().unwrap())
    }
}

fn each(what: &str, started: Cpu, count: u64) {
    let nanos = (Cpu::now().0 - started.0) as f64 / count as f64;
    println!("  {what:<50}{nanos:>12.1} ns each");
}

fn ask(messages: &FileMessages, count: u64, keys: u64) {
    const ROUNDS: u64 = 200_000;
    let started = Cpu::now();
    for at in 0..ROUNDS {
        black_box(messages.meta(at * 7_919 % count + 1).unwrap());
    }
    each("meta, scattered", started, ROUNDS);
    let started = Cpu::now();
    for seq in 1..=ROUNDS {
        black_box(messages.next(seq).unwrap());
    }
    each("next, in order", started, ROUNDS);
    let started = Cpu::now();
    for at in 0..ROUNDS {
        let key = name(at * 7_919 % count + 1, keys);
        black_box(messages.last_of_key(&key, u64::MAX).unwrap());
    }
    each("last of a key (and making its name)", started, ROUNDS);
    let filter = Literal(name(42, keys));
    let started = Cpu::now();
    let mut from = 0;
    let mut found = 0;
    while let Some(meta) = messages.next_matching(from, &filter) {
        from = meta.seq + 1;
        found += 1;
    }
    each("next of one key, in order", started, found);
    let started = Cpu::now();
    black_box(messages.count_matching(count / 2, &filter));
    each("count of one key from the middle", started, 1);
    let prefix = Prefix(b"k.tenant00");
    let started = Cpu::now();
    black_box(messages.count_matching(0, &prefix));
    each("count of a hundredth of the keys", started, 1);
    let started = Cpu::now();
    black_box(messages.count_matching(count / 2 + 7, &prefix));
    each(
        "count of a hundredth of the keys from the middle",
        started,
        1,
    );
    let started = Cpu::now();
    black_box(messages.last_per_key(0, u64::MAX, &prefix, usize::MAX));
    each("last messages of a hundredth of the keys", started, 1);
    let started = Cpu::now();
    black_box(messages.last_per_key(0, count / 2, &prefix, usize::MAX));
    each("the same up to the middle", started, 1);
    let started = Cpu::now();
    let mut from = 0;
    for _ in 0..1000 {
        from = messages
            .next_matching(from, &prefix)
            .map_or(0, |meta| meta.seq + 1);
    }
    each("next of a hundredth of the keys", started, 1000);
}

fn change(messages: &mut FileMessages, count: u64, keys: u64) {
    let rounds = count / 4;
    let started = Cpu::now();
    for at in 0..rounds {
        let seq = count + at + 1;
        let key = name(at * 7_919 % count + 1, keys);
        let old = messages.last_of_key(&key, u64::MAX).unwrap();
        let message = Insert {
            seq,
            timestamp: seq as i64,
            key: &key,
            headers: &[],
            payload: b"twenty bytes of body",
            location: None,
        };
        messages.insert(&message).unwrap();
        black_box(messages.remove(old.seq, false));
    }
    each("overwrite a key", started, rounds);
    let before = resident();
    let started = Cpu::now();
    let mut removed = 0_u64;
    messages.remove_front(count / 2, &mut |_, _| removed += 1);
    each("remove from the front", started, removed);
    println!("  {before} bytes before, {} after", resident());
}
