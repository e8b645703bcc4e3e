//! When single messages end, by sequence.
//!
//! Deadlines are part of the applied state: they follow from the messages alone and are written to checkpoints, so
//! that neither a sweep nor a recovery looks at all messages. They lie in chunks in the form in which a checkpoint
//! holds them: writing a million of them is a copy. A row whose message went stays until most of its chunk is dead;
//! who reads a checkpoint asks the messages which rows still count.

use std::collections::VecDeque;

use crate::jetstream::entry::{Malformed, Reader};
use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::wheel::{Alive, Wheel};

const SECOND: i64 = 1_000_000_000;
/// The deadline of a message that neither its own TTL nor the stream's `max_age` ends.
pub(super) const NEVER: Timestamp = Timestamp::MAX;
/// Sequence and deadline.
const ROW: usize = 16;
/// Most rows of a chunk.
const ROWS: usize = 1024;

#[derive(Debug)]
struct Chunk {
    rows: Vec<u8>,
    /// A bit for each row whose message is gone.
    dead: [u64; ROWS / 64],
    live: usize,
}

impl Chunk {
    fn new() -> Self {
        Self {
            rows: Vec::new(),
            dead: [0; ROWS / 64],
            live: 0,
        }
    }

    fn len(&self) -> usize {
        self.rows.len() / ROW
    }

    fn row(&self, at: usize) -> (u64, Timestamp) {
        let number = |from: usize| {
            let bytes = self.rows.get(from..from + 8);
            bytes.map_or([0; 8], |bytes| bytes.try_into().unwrap_or_default())
        };
        let start = at * ROW;
        (
            u64::from_le_bytes(number(start)),
            i64::from_le_bytes(number(start + 8)),
        )
    }

    fn first(&self) -> u64 {
        self.row(0).0
    }

    fn push(&mut self, seq: u64, deadline: Timestamp) {
        self.rows.extend_from_slice(&seq.to_le_bytes());
        self.rows.extend_from_slice(&deadline.to_le_bytes());
        self.live += 1;
    }

    fn is_dead(&self, at: usize) -> bool {
        self.dead[at / 64] >> (at % 64) & 1 == 1
    }

    fn find(&self, seq: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.row(middle).0 < seq {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (low < self.len() && self.row(low).0 == seq && !self.is_dead(low)).then_some(low)
    }

    fn live_rows(&self) -> impl Iterator<Item = (u64, Timestamp)> {
        (0..self.len())
            .filter(|at| !self.is_dead(*at))
            .map(|at| self.row(at))
    }

    /// The same without dead rows.
    fn compacted(&self) -> Self {
        let mut chunk = Self::new();
        chunk.rows.reserve_exact(self.live * ROW);
        for (seq, deadline) in self.live_rows() {
            chunk.push(seq, deadline);
        }
        chunk
    }
}

/// The rows.
#[derive(Debug, Default)]
struct Rows {
    /// Ascending; none is empty.
    chunks: VecDeque<Chunk>,
    live: usize,
}

impl Alive for Rows {
    fn deadline(&self, seq: u64) -> Option<Timestamp> {
        let chunk = self.chunks.get(self.chunk_of(seq)?)?;
        Some(chunk.row(chunk.find(seq)?).1)
    }
}

impl Rows {
    fn chunk_of(&self, seq: u64) -> Option<usize> {
        let behind = self.chunks.partition_point(|chunk| chunk.first() <= seq);
        behind.checked_sub(1)
    }

    fn push(&mut self, seq: u64, deadline: Timestamp) {
        self.live += 1;
        if self.chunks.back().is_none_or(|last| last.len() == ROWS) {
            self.chunks.push_back(Chunk::new());
        }
        if let Some(last) = self.chunks.back_mut() {
            last.push(seq, deadline);
        }
    }

    fn remove(&mut self, seq: u64) -> Option<Timestamp> {
        let number = self.chunk_of(seq)?;
        let chunk = self.chunks.get_mut(number)?;
        let at = chunk.find(seq)?;
        let deadline = chunk.row(at).1;
        chunk.dead[at / 64] |= 1 << (at % 64);
        chunk.live -= 1;
        self.live -= 1;
        if chunk.live == 0 {
            self.chunks.remove(number);
        } else if chunk.len() > ROWS / 16 && chunk.live * 4 <= chunk.len() {
            *chunk = chunk.compacted();
            self.join(number);
        }
        Some(deadline)
    }

    /// Joins a chunk to the one before it if both together are small.
    fn join(&mut self, number: usize) {
        let Some(before) = number.checked_sub(1) else {
            return;
        };
        let fits = |chunks: &VecDeque<Chunk>| {
            Some(chunks.get(before)?.live + chunks.get(number)?.live <= ROWS / 2)
        };
        if fits(&self.chunks) != Some(true) {
            return;
        }
        let Some(chunk) = self.chunks.remove(number) else {
            return;
        };
        if let Some(into) = self.chunks.get_mut(before) {
            *into = into.compacted();
            chunk.live_rows().for_each(|(seq, at)| into.push(seq, at));
        }
    }

    /// The first row that counts.
    fn first(&self) -> Option<u64> {
        let first = self.chunks.front()?.live_rows().next()?;
        Some(first.0)
    }
}

/// The deadlines of a stream's messages.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    rows: Rows,
    wheel: Wheel,
    /// How many of them never end.
    immortal: usize,
}

impl Deadlines {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.live == 0
    }

    /// Whether messages are exempt from `max_age`.
    pub(crate) fn any_immortal(&self) -> bool {
        self.immortal > 0
    }

    /// Whether the message with this sequence is exempt from `max_age`.
    pub(crate) fn is_immortal(&self, seq: u64) -> bool {
        self.immortal > 0 && self.rows.deadline(seq) == Some(NEVER)
    }

    /// No deadline is earlier than this.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.wheel.first()
    }

    /// Takes at most `most` messages whose deadline has come off the clock, in stream order. They count until they
    /// are removed; a life that ends before that finds them again.
    pub(crate) fn take_due(&mut self, now: Timestamp, most: usize) -> Vec<u64> {
        self.wheel.take(now, most, &self.rows)
    }

    /// Whether more is due than was taken.
    pub(crate) fn has_more_due(&self) -> bool {
        self.wheel.has_ready()
    }

    /// A message is stored that lives so many seconds, -1 for ever. Sequences ascend.
    pub(super) fn add(&mut self, seq: u64, timestamp: Timestamp, seconds: i64) {
        let life = seconds.saturating_mul(SECOND);
        let deadline = match seconds {
            ..0 => NEVER,
            _ => timestamp.saturating_add(life).min(NEVER - 1),
        };
        self.set(seq, deadline, timestamp);
    }

    fn set(&mut self, seq: u64, deadline: Timestamp, now: Timestamp) {
        self.rows.push(seq, deadline);
        if deadline == NEVER {
            self.immortal += 1;
        } else {
            self.wheel.add(seq, deadline, now);
        }
    }

    /// A message is gone.
    pub(crate) fn remove(&mut self, seq: u64) {
        if self.is_empty() {
            return;
        }
        match self.rows.remove(seq) {
            Some(NEVER) => self.immortal -= 1,
            // The last one takes the wheel along, and with it what it still knows of others.
            Some(_) if self.rows.live == self.immortal => self.wheel = Wheel::default(),
            Some(deadline) => self.wheel.forget(deadline, &self.rows),
            None => {}
        }
    }

    /// Everything below `first_seq` is gone.
    pub(crate) fn remove_below(&mut self, first_seq: u64) {
        while let Some(seq) = self.rows.first().filter(|seq| *seq < first_seq) {
            self.remove(seq);
        }
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many rows [`parts`](Self::parts) holds.
    pub(crate) fn rows(&self) -> u64 {
        let rows: usize = self.rows.chunks.iter().map(Chunk::len).sum();
        rows as u64
    }

    /// All of them for a checkpoint, behind their number.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.chunks.iter().map(|chunk| &*chunk.rows)
    }

    /// Reads them back; of them counts what `exists`.
    pub(crate) fn read(
        from: &mut Reader<'_>,
        now: Timestamp,
        exists: impl Fn(u64) -> bool,
    ) -> Result<Self, Malformed> {
        let mut deadlines = Self::default();
        let mut last = None;
        for _ in 0..from.u64()? {
            let (seq, deadline) = (from.u64()?, from.i64()?);
            if last.replace(seq).is_some_and(|last| last >= seq) {
                return Err(Malformed);
            }
            if exists(seq) {
                deadlines.set(seq, deadline, now);
            }
        }
        Ok(deadlines)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn keeps_deadlines_over_checkpoints() {
        let mut deadlines = Deadlines::default();
        deadlines.add(1, 0, 9);
        deadlines.add(2, 0, 3);
        deadlines.add(3, 0, -1);
        deadlines.add(4, 0, i64::MAX);
        deadlines.add(5, 0, 1);
        deadlines.remove(5);
        let mut bytes = deadlines.rows().to_le_bytes().to_vec();
        bytes.extend(deadlines.parts().flatten());
        let read = Deadlines::read(&mut Reader { rest: &bytes }, 0, |seq| seq != 5);
        let mut deadlines = read.unwrap();
        assert_eq!(deadlines.first(), Some(3 * SECOND));
        assert_eq!(deadlines.take_due(9 * SECOND, 9), [1, 2]);
        assert!(deadlines.is_immortal(3) && !deadlines.is_immortal(4));
        assert_eq!(deadlines.take_due(NEVER - 1, 9), [4]);
        deadlines.remove_below(4);
        assert!(!deadlines.any_immortal());
        deadlines.remove(4);
        assert!(deadlines.is_empty() && deadlines.first().is_none());
    }

    #[test]
    fn chunks_shrink_with_what_is_left() {
        let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
        for seq in 1..=50_000 {
            deadlines.add(seq, 0, seq as i64 % 1000 + 1);
            model.insert(seq, (seq as i64 % 1000 + 1) * SECOND);
        }
        for seq in (1..=50_000).filter(|seq| seq % 61 != 0) {
            deadlines.remove(seq * 7919 % 50_000 + 1);
            model.remove(&(seq * 7919 % 50_000 + 1));
        }
        assert_eq!(deadlines.rows.live, model.len());
        for seq in 1..=50_000 {
            assert_eq!(deadlines.rows.deadline(seq), model.get(&seq).copied());
        }
        let rows: usize = deadlines.rows.chunks.iter().map(Chunk::len).sum();
        assert!(rows <= model.len() * 4 + ROWS, "{rows} for {}", model.len());
        assert!(deadlines.rows.chunks.len() < 20);
        deadlines.remove_below(25_000);
        model.retain(|seq, _| *seq >= 25_000);
        assert_eq!(deadlines.take_due(NEVER - 1, usize::MAX).len(), model.len());
    }
}
