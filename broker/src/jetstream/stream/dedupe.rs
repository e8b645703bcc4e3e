//! The window of message ids that a stream has seen.
//!
//! Ids lie in chunks in the form in which a checkpoint holds them, in the order of their arrival, which is also the
//! order in which they leave: a checkpoint copies chunks, and the end of the window frees them. The table holds
//! positions only. An id stays for the whole window, also when its message is gone and over a restart.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::jetstream::env::Env;
use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::Stream;

/// The stream's timer for the end of the window.
pub(crate) const TIMER: u32 = u32::MAX - 2;
/// Least time between two looks at an idle stream's window, in nanoseconds.
const LOOK: i64 = 1_000_000_000;
/// A chunk takes no more records from this size on.
const CHUNK: usize = 1 << 16;
/// What the last record of a chunk usually needs beyond that.
const SLACK: usize = 128;
/// A table of this size is not made smaller.
const TABLE: usize = 1 << 10;

/// A record, as it lies in a chunk: sequence, time, length of the id, id.
#[derive(Debug)]
struct Seen<'a> {
    seq: u64,
    timestamp: Timestamp,
    id: &'a [u8],
    /// Where the next record starts.
    end: usize,
}

/// Number of the chunk above, offset below.
type Position = u64;

/// The records in order.
#[derive(Debug, Default)]
struct Records {
    /// Full ones, which a snapshot shares.
    full: VecDeque<Bytes>,
    /// The newest.
    open: Vec<u8>,
    /// Number of the first chunk.
    first: u32,
    /// Offset of the first record in the first chunk.
    start: usize,
    count: u64,
}

impl Records {
    fn chunk(&self, at: usize) -> &[u8] {
        match self.full.get(at) {
            Some(chunk) => chunk,
            None if at == self.full.len() => &self.open,
            None => &[],
        }
    }

    fn get(&self, position: Position) -> Option<Seen<'_>> {
        let number = ((position >> 32) as u32).wrapping_sub(self.first);
        let chunk = self.chunk(number as usize);
        let offset = (position & u64::from(u32::MAX)) as usize;
        let mut from = Reader {
            rest: chunk.get(offset..)?,
        };
        let (seq, timestamp) = (from.u64().ok()?, from.i64().ok()?);
        let id = from.bytes().ok()?;
        let end = chunk.len() - from.rest.len();
        Some(Seen {
            seq,
            timestamp,
            id,
            end,
        })
    }

    fn oldest(&self) -> Option<(Position, Seen<'_>)> {
        let position = u64::from(self.first) << 32 | self.start as u64;
        Some((position, self.get(position)?))
    }

    fn push(&mut self, id: &[u8], seq: u64, timestamp: Timestamp) -> Position {
        if self.open.len() >= CHUNK {
            let full = std::mem::replace(&mut self.open, Vec::with_capacity(CHUNK + SLACK));
            self.full.push_back(full.into());
        }
        let number = self.first.wrapping_add(self.full.len() as u32);
        let offset = self.open.len();
        put_u64(&mut self.open, seq);
        put_i64(&mut self.open, timestamp);
        put_bytes(&mut self.open, id);
        self.count += 1;
        u64::from(number) << 32 | offset as u64
    }

    /// Forgets the first record, which ends at `end`.
    fn pop(&mut self, end: usize) {
        self.count -= 1;
        self.start = end;
        if end < self.chunk(0).len() {
            return;
        }
        if self.full.pop_front().is_none() {
            self.open = Vec::new();
        }
        self.first = self.first.wrapping_add(1);
        self.start = 0;
    }
}

fn hash(id: &[u8]) -> u64 {
    FixedState::default().hash_one(id)
}

/// Ids seen within the window.
#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    /// Nanoseconds; 0 switches deduplication off.
    window: i64,
    records: Records,
    table: HashTable<Position>,
    /// Whether the timer for the end of the window is set.
    armed: bool,
    /// The highest sequence of all ids ever put in.
    newest: Option<u64>,
}

impl Dedupe {
    /// An empty window of `window` nanoseconds.
    pub(crate) fn new(window: i64) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// Changes the window; it applies to the ids already seen.
    pub(crate) fn set_window(&mut self, window: i64) {
        self.window = window;
    }

    /// The sequence that `id` was stored with, if that is inside the window.
    pub(crate) fn find(&self, id: &[u8], now: Timestamp) -> Option<u64> {
        if self.window <= 0 {
            return None;
        }
        let position = self.table.find(hash(id), |position| {
            self.records.get(*position).is_some_and(|seen| {
                seen.timestamp.saturating_add(self.window) > now && seen.id == id
            })
        })?;
        self.records.get(*position).map(|seen| seen.seq)
    }

    /// Remembers `id`. The caller has checked that it is not known.
    pub(crate) fn insert(&mut self, id: &[u8], seq: u64, timestamp: Timestamp) {
        if self.window <= 0 {
            return;
        }
        let position = self.records.push(id, seq, timestamp);
        self.newest = self.newest.max(Some(seq));
        let records = &self.records;
        self.table.insert_unique(hash(id), position, |position| {
            records.get(*position).map_or(0, |seen| hash(seen.id))
        });
    }

    /// Forgets what has left the window.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        while let Some((position, oldest)) = self.records.oldest() {
            if oldest.timestamp.saturating_add(self.window) > now {
                break;
            }
            let (hash, end) = (hash(oldest.id), oldest.end);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == position) {
                entry.remove();
            }
            self.records.pop(end);
        }
        if self.table.capacity() > TABLE && self.table.len() * 8 < self.table.capacity() {
            let records = &self.records;
            self.table.shrink_to(self.table.len() * 2, |position| {
                records.get(*position).map_or(0, |seen| hash(seen.id))
            });
        }
    }

    /// Forgets the ids of messages behind `last`: they were decided and never committed.
    pub(crate) fn forget_above(&mut self, last: u64) {
        let none_above = self.newest.is_none_or(|seq| seq <= last);
        if none_above {
            return;
        }
        let mut kept = Self::new(self.window);
        self.visit(|seen| {
            if seen.seq <= last {
                kept.insert(seen.id, seen.seq, seen.timestamp);
            }
        });
        *self = kept;
    }

    /// The ids of messages up to `last` for a checkpoint.
    pub(crate) fn snapshot_upto(&self, last: u64) -> Snapshot {
        if self.newest.is_none_or(|seq| seq <= last) {
            return self.snapshot();
        }
        let mut kept = Self::new(self.window);
        self.visit(|seen| {
            if seen.seq <= last {
                kept.insert(seen.id, seen.seq, seen.timestamp);
            }
        });
        kept.snapshot()
    }

    fn visit(&self, mut each: impl FnMut(&Seen<'_>)) {
        let (first, start) = (self.records.first, self.records.start);
        for at in 0..=self.records.full.len() {
            let number = first.wrapping_add(at as u32);
            let mut offset = if at == 0 { start } else { 0 };
            while offset < self.records.chunk(at).len() {
                let position = u64::from(number) << 32 | offset as u64;
                let Some(seen) = self.records.get(position) else {
                    break;
                };
                offset = seen.end;
                each(&seen);
            }
        }
    }

    /// When the oldest id leaves the window.
    fn end(&self) -> Option<Timestamp> {
        let (_, oldest) = self.records.oldest()?;
        Some(oldest.timestamp.saturating_add(self.window))
    }

    /// Every id for a checkpoint, oldest first. Costs little: full chunks are shared.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let records = &self.records;
        Snapshot {
            count: records.count.to_le_bytes(),
            start: records.start,
            full: records.full.iter().cloned().collect(),
            open: records.open.clone(),
        }
    }

    /// Reads a snapshot back.
    pub(crate) fn read(&mut self, from: &mut Reader<'_>) -> Result<(), Malformed> {
        for _ in 0..from.u64()? {
            let (seq, timestamp) = (from.u64()?, from.i64()?);
            self.insert(from.bytes()?, seq, timestamp);
        }
        Ok(())
    }
}

/// The ids of one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    count: [u8; 8],
    /// Offset of the first record.
    start: usize,
    full: Vec<Bytes>,
    open: Vec<u8>,
}

impl Snapshot {
    /// Its bytes, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let chunks = self.full.iter().map(|chunk| &**chunk);
        let chunks = chunks.chain(std::iter::once(&*self.open)).enumerate();
        let live = chunks.map(|(at, chunk)| {
            let start = if at == 0 { self.start } else { 0 };
            chunk.get(start..).unwrap_or(&[])
        });
        std::iter::once(&self.count[..]).chain(live)
    }
}

impl Stream {
    /// Sets the time at which the oldest id leaves the window: an idle stream does not keep what is over.
    pub(super) fn arm_dedupe(&mut self, env: &mut Env<'_>) {
        if self.dedupe.armed {
            return;
        }
        if let Some(end) = self.dedupe.end() {
            let at = end.max(env.now.saturating_add(LOOK));
            env.agenda.timers.set(self.id, TIMER, Some(at));
            self.dedupe.armed = true;
        }
    }

    /// The time has come.
    pub(crate) fn expire_dedupe(&mut self, env: &mut Env<'_>) {
        self.dedupe.armed = false;
        self.dedupe.expire(env.now);
        self.arm_dedupe(env);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn remembers_for_the_window_and_no_longer() {
        let mut dedupe = Dedupe::new(100);
        for n in 0..1000u64 {
            let id = format!("id-{n}");
            assert_eq!(dedupe.find(id.as_bytes(), n as i64), None);
            dedupe.insert(id.as_bytes(), n + 1, n as i64);
            assert_eq!(dedupe.find(id.as_bytes(), n as i64), Some(n + 1));
        }
        assert_eq!(dedupe.find(b"id-900", 999), Some(901));
        assert_eq!(dedupe.find(b"id-900", 1000), None);
        dedupe.expire(1000);
        assert_eq!(dedupe.records.count, 99);
        assert_eq!(dedupe.table.len(), 99);
    }

    #[test]
    fn forgets_what_was_not_committed() {
        let mut dedupe = Dedupe::new(1 << 40);
        for n in 1..=5000u64 {
            dedupe.insert(format!("a longer id, number {n}").as_bytes(), n, n as i64);
        }
        dedupe.expire((1 << 40) + 100);
        let bytes: Vec<u8> = dedupe
            .snapshot_upto(4000)
            .parts()
            .flatten()
            .copied()
            .collect();
        let mut read = Dedupe::new(1 << 40);
        read.read(&mut Reader { rest: &bytes }).unwrap();
        dedupe.forget_above(4000);
        for one in [&dedupe, &read] {
            let find = |n: u64| one.find(format!("a longer id, number {n}").as_bytes(), 5000);
            assert_eq!(one.records.count, 3900);
            assert_eq!(find(101), Some(101));
            assert_eq!(find(4000), Some(4000));
            assert_eq!(find(4001), None);
        }
    }

    #[test]
    fn is_off_without_a_window() {
        let mut dedupe = Dedupe::new(0);
        dedupe.insert(b"a", 1, 0);
        assert_eq!(dedupe.find(b"a", 0), None);
    }

    #[test]
    fn is_what_a_map_would_be_over_checkpoints_and_new_windows() {
        let mut random = 1_u64;
        let mut below = |end: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % end
        };
        let mut dedupe = Dedupe::new(5000);
        let mut model: BTreeMap<Vec<u8>, (u64, i64)> = BTreeMap::new();
        for now in 0..60_000 {
            let id = vec![b'a' + (now % 7) as u8; 1 + below(400) as usize];
            let window = dedupe.window;
            let known = model.get(&id).filter(|(_, at)| at + window > now);
            assert_eq!(dedupe.find(&id, now), known.map(|(seq, _)| *seq));
            if known.is_none() {
                dedupe.expire(now);
                dedupe.insert(&id, now as u64, now);
                model.insert(id, (now as u64, now));
            }
            if now % 10_000 == 9999 {
                let snapshot = dedupe.snapshot();
                let bytes: Vec<u8> = snapshot.parts().flatten().copied().collect();
                let mut read = Dedupe::new(5000 + now / 10);
                let mut from = Reader { rest: &bytes };
                read.read(&mut from).unwrap();
                assert!(from.rest.is_empty());
                // What the old window had let go stays gone.
                dedupe.expire(now);
                model.retain(|_, (_, at)| *at + dedupe.window > now);
                read.expire(now);
                model.retain(|_, (_, at)| *at + read.window > now);
                dedupe = read;
            }
        }
        let held: usize = dedupe.snapshot().parts().map(<[u8]>::len).sum();
        assert!(held < 2 * CHUNK + 420 * dedupe.records.count as usize);
    }
}
