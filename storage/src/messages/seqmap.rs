//! An ordered map from ascending sequences to small values, made for logs.
//!
//! Entries are appended at the end and removed anywhere. They live in chunks of at most [`CHUNK`]
//! entries, as distances to the chunk's base, so that a dense log finds an entry by arithmetic and
//! a sparse one (a few live keys among millions of overwritten ones) costs what is live.
//! Neighbouring chunks that are nearly empty are merged, so look-ups stay logarithmic in the number
//! of live entries.

use std::collections::VecDeque;

/// Most entries of a chunk: large enough to make the chunk's head negligible, small enough that a
/// removal from the middle moves little.
const CHUNK: usize = 256;
/// Two neighbours are merged when together they hold no more than this.
const MERGE: usize = CHUNK / 2;
/// Capacities below this are not worth shrinking.
const SMALL: usize = 16;

#[derive(Clone, Debug)]
struct Chunk<V> {
    base: u64,
    /// Entries before this position were removed from the front.
    start: usize,
    /// Highest mark of this chunk and all earlier ones, including removed entries.
    mark: i64,
    deltas: Vec<u32>,
    values: Vec<V>,
}

impl<V: Copy> Chunk<V> {
    fn new(base: u64) -> Self {
        Self {
            base,
            start: 0,
            mark: i64::MIN,
            deltas: Vec::new(),
            values: Vec::new(),
        }
    }

    fn live(&self) -> usize {
        self.deltas.len() - self.start
    }

    fn seq(&self, at: usize) -> u64 {
        self.base + u64::from(self.deltas[at])
    }

    fn item(&self, at: usize) -> (u64, V) {
        (self.seq(at), self.values[at])
    }

    fn accepts(&self, seq: u64) -> bool {
        self.deltas.len() < CHUNK && seq - self.base <= u64::from(u32::MAX)
    }

    /// Position of the first entry at or after `seq` (which is not below the base).
    fn lower_bound(&self, seq: u64) -> usize {
        let Ok(delta) = u32::try_from(seq - self.base) else {
            return self.deltas.len();
        };
        let guess = delta as usize;
        if self.deltas.get(guess) == Some(&delta) {
            return guess.max(self.start);
        }
        self.start + self.deltas[self.start..].partition_point(|d| *d < delta)
    }

    fn find(&self, seq: u64) -> Option<usize> {
        let at = self.lower_bound(seq);
        (at < self.deltas.len() && self.seq(at) == seq).then_some(at)
    }

    /// Whether a sequence that is not below the base can be an entry.
    fn spans(&self, seq: u64) -> bool {
        seq - self.base <= u64::from(u32::MAX)
    }

    /// Adds an entry that [spans](Self::spans) said yes to and that is not there.
    fn put_in(&mut self, seq: u64, value: V) {
        // What was removed from the front must not be above what comes to be there.
        self.deltas.drain(..self.start);
        self.values.drain(..self.start);
        self.start = 0;
        let at = self.lower_bound(seq);
        self.deltas.insert(at, (seq - self.base) as u32);
        self.values.insert(at, value);
    }

    /// Takes one entry out, moving the shorter side.
    fn take(&mut self, at: usize) -> V {
        let value = self.values[at];
        if at - self.start < self.deltas.len() - at {
            self.deltas.copy_within(self.start..at, self.start + 1);
            self.values.copy_within(self.start..at, self.start + 1);
            self.start += 1;
        } else {
            self.deltas.remove(at);
            self.values.remove(at);
        }
        value
    }

    /// Gives memory back once less than half of it is used; the halving makes this constant per
    /// removal.
    fn shrink(&mut self) {
        if self.deltas.capacity() >= SMALL && self.live() * 2 < self.deltas.capacity() {
            self.deltas.drain(..self.start);
            self.values.drain(..self.start);
            self.start = 0;
            self.deltas.shrink_to_fit();
            self.values.shrink_to_fit();
        }
    }

    /// Appends the entries of the next chunk, if the distances still fit.
    fn absorb(&mut self, next: &Self) -> bool {
        if next.live() > 0 && next.seq(next.deltas.len() - 1) - self.base > u64::from(u32::MAX) {
            return false;
        }
        self.deltas.drain(..self.start);
        self.values.drain(..self.start);
        self.start = 0;
        for at in next.start..next.deltas.len() {
            let delta = next.seq(at) - self.base;
            // Checked above for the largest.
            self.deltas.push(u32::try_from(delta).unwrap_or(u32::MAX));
            self.values.push(next.values[at]);
        }
        self.mark = self.mark.max(next.mark);
        true
    }
}

/// The map; see the module's head.
#[derive(Debug)]
pub(super) struct SeqMap<V> {
    chunks: VecDeque<Chunk<V>>,
    len: usize,
}

impl<V: Copy> SeqMap<V> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: VecDeque::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends an entry above all others. `mark` feeds [`first_marked`](Self::first_marked).
    pub(super) fn push(&mut self, seq: u64, value: V, mark: i64) {
        let mut running = mark;
        match self.chunks.back_mut() {
            Some(chunk) if chunk.accepts(seq) => {}
            last => {
                running = running.max(last.map_or(i64::MIN, |chunk| chunk.mark));
                self.chunks.push_back(Chunk::new(seq));
            }
        }
        if let Some(chunk) = self.chunks.back_mut() {
            // `accepts` checked that the distance fits.
            chunk.deltas.push((seq - chunk.base) as u32);
            chunk.values.push(value);
            chunk.mark = chunk.mark.max(running);
            self.len += 1;
        }
    }

    /// Adds an entry that is not there, wherever it belongs.
    pub(super) fn put_in(&mut self, seq: u64, value: V, mark: i64) {
        if self.last().is_none_or(|(last, _)| seq > last) {
            return self.push(seq, value, mark);
        }
        let at = match self.chunk_of(seq) {
            Some(at) if self.chunks[at].spans(seq) => at,
            Some(at) => {
                self.chunks.insert(at + 1, Chunk::new(seq));
                at + 1
            }
            None => {
                self.chunks.push_front(Chunk::new(seq));
                0
            }
        };
        self.chunks[at].put_in(seq, value);
        self.len += 1;
        // A mark counts for all later chunks.
        let before = at
            .checked_sub(1)
            .map_or(i64::MIN, |at| self.chunks[at].mark);
        let mark = mark.max(before);
        for chunk in self.chunks.range_mut(at..) {
            chunk.mark = chunk.mark.max(mark);
        }
        if self.chunks[at].deltas.len() > 2 * CHUNK {
            self.split(at);
        }
    }

    /// Makes two chunks of one.
    fn split(&mut self, at: usize) {
        let chunk = &mut self.chunks[at];
        let middle = chunk.start + chunk.live() / 2;
        let mut later = Chunk::new(chunk.seq(middle));
        later.mark = chunk.mark;
        let shift = chunk.deltas[middle];
        later.values = chunk.values.split_off(middle);
        let deltas = chunk.deltas.split_off(middle);
        later.deltas = deltas.into_iter().map(|delta| delta - shift).collect();
        self.chunks.insert(at + 1, later);
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut V> {
        let (chunk, at) = self.locate(seq)?;
        self.chunks[chunk].values.get_mut(at)
    }

    /// Index of the last chunk whose base is not above `seq`.
    fn chunk_of(&self, seq: u64) -> Option<usize> {
        let last = self.chunks.len().checked_sub(1)?;
        let base = self.chunks[last].base;
        if seq >= base {
            return Some(last);
        }
        // In a dense log every chunk before the last is full.
        let back = ((base - seq - 1) / CHUNK as u64 + 1) as usize;
        if let Some(guess) = last.checked_sub(back)
            && self.chunks[guess].base <= seq
            && self.chunks[guess + 1].base > seq
        {
            return Some(guess);
        }
        self.chunks
            .partition_point(|chunk| chunk.base <= seq)
            .checked_sub(1)
    }

    fn locate(&self, seq: u64) -> Option<(usize, usize)> {
        let chunk = self.chunk_of(seq)?;
        Some((chunk, self.chunks[chunk].find(seq)?))
    }

    pub(super) fn get(&self, seq: u64) -> Option<V> {
        let (chunk, at) = self.locate(seq)?;
        Some(self.chunks[chunk].values[at])
    }

    pub(super) fn first(&self) -> Option<(u64, V)> {
        let chunk = self.chunks.front()?;
        Some(chunk.item(chunk.start))
    }

    /// The first entry at or after `seq`.
    pub(super) fn at_or_after(&self, seq: u64) -> Option<(u64, V)> {
        self.iter_from(seq).next()
    }

    /// The last entry at or before `seq`.
    pub(super) fn at_or_before(&self, seq: u64) -> Option<(u64, V)> {
        let mut chunk = self.chunk_of(seq)?;
        let holder = &self.chunks[chunk];
        let mut at = holder.lower_bound(seq);
        if at < holder.deltas.len() && holder.seq(at) == seq {
            return Some(holder.item(at));
        }
        if at == holder.start {
            chunk = chunk.checked_sub(1)?;
            at = self.chunks[chunk].deltas.len();
        }
        Some(self.chunks[chunk].item(at - 1))
    }

    pub(super) fn iter_from(&self, seq: u64) -> Iter<'_, V> {
        let chunk = self.chunk_of(seq).unwrap_or(0);
        let at = match self.chunks.get(chunk) {
            Some(holder) if holder.base <= seq => holder.lower_bound(seq),
            Some(holder) => holder.start,
            None => 0,
        };
        Iter {
            map: self,
            chunk,
            at,
        }
    }

    /// Entries from `seq` downwards.
    pub(super) fn iter_down(&self, seq: u64) -> impl Iterator<Item = (u64, V)> + '_ {
        let mut next = self.at_or_before(seq);
        std::iter::from_fn(move || {
            let item = next?;
            next = item
                .0
                .checked_sub(1)
                .and_then(|below| self.at_or_before(below));
            Some(item)
        })
    }

    /// How many entries are at or after `seq`.
    pub(super) fn count_from(&self, seq: u64) -> usize {
        let Some(chunk) = self.chunk_of(seq) else {
            return self.len;
        };
        let holder = &self.chunks[chunk];
        let inside = holder.deltas.len() - holder.lower_bound(seq);
        let later = self.chunks.len() - chunk - 1;
        if later <= chunk {
            return inside
                + self
                    .chunks
                    .iter()
                    .skip(chunk + 1)
                    .map(Chunk::live)
                    .sum::<usize>();
        }
        let earlier: usize = self.chunks.iter().take(chunk).map(Chunk::live).sum();
        self.len - earlier - (holder.live() - inside)
    }

    /// The first entry that satisfies `holds`, which must be false for every entry with a mark
    /// below `mark`.
    pub(super) fn first_marked(&self, mark: i64, holds: impl Fn(&V) -> bool) -> Option<(u64, V)> {
        let chunk = self.chunks.partition_point(|chunk| chunk.mark < mark);
        let at = self.chunks.get(chunk)?.start;
        Iter {
            map: self,
            chunk,
            at,
        }
        .find(|(_, value)| holds(value))
    }

    /// A copy of the entries from the front on for which `holds`; from the first one on for which it
    /// does not, it does not.
    pub(super) fn clone_while(&self, holds: impl Fn(&V) -> bool) -> Self {
        let mut copy = Self::new();
        for chunk in &self.chunks {
            let mut chunk = chunk.clone();
            let end = chunk.start + chunk.values[chunk.start..].partition_point(&holds);
            chunk.values.truncate(end);
            chunk.deltas.truncate(end);
            if end <= chunk.start {
                break;
            }
            copy.len += chunk.live();
            copy.chunks.push_back(chunk);
        }
        copy
    }

    /// A copy of the entries up to a sequence.
    pub(super) fn clone_through(&self, seq: u64) -> Self {
        let mut copy = Self::new();
        let chunks = self.chunks.iter().take_while(|chunk| chunk.base <= seq);
        for chunk in chunks {
            let mut chunk = chunk.clone();
            let end = chunk.lower_bound(seq.saturating_add(1));
            chunk.values.truncate(end);
            chunk.deltas.truncate(end);
            if end <= chunk.start {
                break;
            }
            copy.len += chunk.live();
            copy.chunks.push_back(chunk);
        }
        copy
    }

    pub(super) fn last(&self) -> Option<(u64, V)> {
        let chunk = self.chunks.back()?;
        Some(chunk.item(chunk.deltas.len() - 1))
    }

    /// Drops every entry up to `seq`, whole chunks at a time.
    pub(super) fn drop_through(&mut self, seq: u64) {
        while let Some(chunk) = self.chunks.front() {
            let last = chunk.deltas.len() - 1;
            if chunk.seq(last) > seq {
                break;
            }
            self.len -= chunk.live();
            self.forget(0);
        }
        while self.first().is_some_and(|(first, _)| first <= seq) {
            self.pop_first();
        }
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<V> {
        let (chunk, at) = self.locate(seq)?;
        Some(self.take(chunk, at))
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, V)> {
        let chunk = self.chunks.front()?;
        let (seq, at) = (chunk.seq(chunk.start), chunk.start);
        Some((seq, self.take(0, at)))
    }

    fn take(&mut self, chunk: usize, at: usize) -> V {
        self.len -= 1;
        let value = self.chunks[chunk].take(at);
        let live = self.chunks[chunk].live();
        if live == 0 {
            self.forget(chunk);
        } else if live <= MERGE {
            self.chunks[chunk].shrink();
            self.merge(chunk);
        }
        value
    }

    /// Drops an empty chunk; its mark survives in the chunk before it, or needs not to.
    fn forget(&mut self, chunk: usize) {
        if let Some(gone) = self.chunks.remove(chunk)
            && let Some(next) = self.chunks.get_mut(chunk)
        {
            next.mark = next.mark.max(gone.mark);
        }
    }

    fn merge(&mut self, chunk: usize) {
        let live = self.chunks[chunk].live();
        let with = |other: usize| {
            self.chunks
                .get(other)
                .is_some_and(|neighbour| neighbour.live() + live <= MERGE)
        };
        let left = if with(chunk + 1) {
            chunk
        } else if chunk > 0 && with(chunk - 1) {
            chunk - 1
        } else {
            return;
        };
        if let Some(right) = self.chunks.remove(left + 1)
            && !self.chunks[left].absorb(&right)
        {
            self.chunks.insert(left + 1, right);
        }
    }
}

/// Entries in ascending order.
#[derive(Debug)]
pub(super) struct Iter<'a, V> {
    map: &'a SeqMap<V>,
    chunk: usize,
    at: usize,
}

impl<V: Copy> Iterator for Iter<'_, V> {
    type Item = (u64, V);

    fn next(&mut self) -> Option<Self::Item> {
        let mut holder = self.map.chunks.get(self.chunk)?;
        if self.at >= holder.deltas.len() {
            self.chunk += 1;
            holder = self.map.chunks.get(self.chunk)?;
            self.at = holder.start;
        }
        let item = holder.item(self.at);
        self.at += 1;
        Some(item)
    }
}
