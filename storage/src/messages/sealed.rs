//! One sealed section of a store: tables in a file, and in memory only which of its rows are dead.
//!
//! Rows below `front` went from the front; later dead rows have a bit. The row at `front` is alive
//! as long as any is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::index::Entry;
use super::{KeyId, Location, size_of};
use crate::crypt::TAG;
use crate::format::record_size;
use crate::segment::{SectionTables, partition};

/// Most bytes of a record besides key, headers and payload.
const RECORD_MOST: u64 = record_size(0, 0, TAG + 7) as u64;

/// Dead rows, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeadRows(pub(crate) Vec<u64>);

impl DeadRows {
    pub(crate) fn contains(&self, row: u32) -> bool {
        let word = self.0.get(row as usize / 64);
        word.is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, row: u32) {
        let word = row as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (row % 64);
    }

    /// These rows without those below `from`.
    pub(super) fn from(&self, from: u32) -> Self {
        let first = from as usize / 64;
        let mut rows = self.clone();
        for word in rows.0.iter_mut().take(first) {
            *word = 0;
        }
        if let Some(word) = rows.0.get_mut(first) {
            *word &= u64::MAX << (from % 64);
        }
        rows
    }

    /// Adds all rows from `from` to before `to`.
    pub(crate) fn fill(&mut self, from: u32, to: u32) {
        let mut row = from;
        while row < to {
            let end = to.min((row | 63) + 1);
            self.insert(end - 1);
            self.0[row as usize / 64] |= u64::MAX >> (64 - (end - row)) << (row % 64);
            row = end;
        }
    }

    /// How many runs of neighbours there are.
    pub(crate) fn runs(&self) -> u64 {
        let mut before = 0;
        let starts = self.0.iter().map(|word| {
            let starts = word & !(word << 1 | before);
            before = word >> 63;
            u64::from(starts.count_ones())
        });
        starts.sum()
    }

    /// How many rows of a range are dead.
    fn count(&self, from: u32, to: u32) -> u32 {
        let (first, last) = (from as usize / 64, to as usize / 64);
        let mut count = 0;
        for (at, word) in self.0.iter().enumerate().take(last + 1).skip(first) {
            let mut word = *word;
            if at == first {
                word &= u64::MAX << (from % 64);
            }
            if at == last {
                word &= !(u64::MAX << (to % 64));
            }
            count += word.count_ones();
        }
        count
    }

    /// The first row from `row` on that is not dead.
    fn skip_up(&self, row: u32) -> u32 {
        let mut at = row as usize / 64;
        let mut alive = u64::MAX << (row % 64);
        while let Some(word) = self.0.get(at) {
            alive &= !word;
            if alive != 0 {
                return at as u32 * 64 + alive.trailing_zeros();
            }
            at += 1;
            alive = u64::MAX;
        }
        row.max(at as u32 * 64)
    }

    /// The last row down from `row` that is not dead.
    fn skip_down(&self, row: u32) -> Option<u32> {
        let mut at = row as usize / 64;
        let mut mask = u64::MAX >> (63 - row % 64);
        loop {
            let alive = mask & !self.0.get(at).copied().unwrap_or(0);
            if alive != 0 {
                return Some(at as u32 * 64 + (63 - alive.leading_zeros()));
            }
            at = at.checked_sub(1)?;
            mask = u64::MAX;
        }
    }

    /// The dead rows from `from` on, ascending.
    pub(crate) fn iter(&self, from: u32) -> impl Iterator<Item = u32> + '_ {
        let first = from as usize / 64;
        let words = self.0.iter().enumerate().skip(first);
        words.flat_map(move |(at, word)| {
            let mut word = *word;
            if at == first {
                word &= u64::MAX << (from % 64);
            }
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }
}

/// A sealed section; see the module's head.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    pub(super) tables: Arc<SectionTables>,
    /// The store's name of each key; wrong for keys of which nothing is alive here.
    ids: Box<[KeyId]>,
    front: u32,
    live: u32,
    bytes: u64,
    dead: DeadRows,
    /// Live rows of each key, once one died; not kept where every key has one row.
    key_live: Vec<u32>,
    /// Live rows whose bytes were found damaged, and the places of good ones.
    repaired: BTreeMap<u32, u64>,
}

impl Sealed {
    /// A section of which everything is alive.
    pub(crate) fn new(tables: Arc<SectionTables>, ids: Box<[KeyId]>) -> Self {
        Self {
            ids,
            front: 0,
            live: tables.len(),
            bytes: tables.entry.bytes,
            dead: DeadRows::default(),
            key_live: Vec::new(),
            repaired: BTreeMap::new(),
            tables,
        }
    }

    pub(super) fn base(&self) -> u64 {
        self.tables.entry.base
    }

    pub(super) fn last(&self) -> u64 {
        self.tables.entry.last
    }

    pub(super) fn number(&self) -> u32 {
        self.tables.number()
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About what the records of live rows take up, rather more than less.
    pub(super) fn records_len(&self) -> u64 {
        let parts = self
            .bytes
            .saturating_sub(u64::from(self.live) * u64::from(size_of(0, 0, 0)));
        parts + u64::from(self.live) * RECORD_MOST
    }

    /// Dead rows that did not go from the front.
    pub(super) fn dead(&self) -> (&DeadRows, u32) {
        (&self.dead, self.front)
    }

    /// Whether every sequence between first and last is alive.
    pub(super) fn is_whole(&self) -> bool {
        u64::from(self.live).checked_sub(1) == Some(self.last() - self.base())
    }

    /// Whether copying what is alive would free more than it costs.
    pub(super) fn is_sparse(&self) -> bool {
        let entry = &self.tables.entry;
        u64::from(self.live) * 2 < u64::from(entry.rows) + u64::from(entry.garbage)
    }

    /// Whether it is to be written anew.
    pub(super) fn is_worn(&self) -> bool {
        self.is_sparse() || !self.repaired.is_empty()
    }

    /// Gives a live row another place.
    pub(super) fn repair(&mut self, row: u32, place: u64) {
        self.repaired.insert(row, place);
    }

    /// The messages with places of their own, ascending.
    pub(super) fn repaired(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.repaired.keys().map(|row| self.entry(*row))
    }

    pub(super) fn id(&self, key: u32) -> KeyId {
        let id = self.ids.get(key as usize);
        id.copied().unwrap_or(KeyId(u32::MAX))
    }

    pub(super) fn set_ids(&mut self, ids: Box<[KeyId]>) {
        self.ids = ids;
    }

    pub(super) fn is_alive(&self, row: u32) -> bool {
        row >= self.front && !self.dead.contains(row)
    }

    pub(super) fn entry(&self, row: u32) -> (u64, Entry) {
        let found = self.tables.row(row);
        let location = Location::Segment {
            file: self.tables.number(),
            offset: found.offset,
        };
        let repaired = self.repaired.get(&row).copied();
        let entry = Entry {
            timestamp: found.timestamp,
            place: repaired.unwrap_or_else(|| super::file::pack(location)),
            key: self.id(found.key),
            size: found.size,
        };
        (found.seq, entry)
    }

    /// The live row of a sequence.
    pub(super) fn find(&self, seq: u64) -> Option<u32> {
        self.tables.find(seq).filter(|row| self.is_alive(*row))
    }

    /// The first live row from `row` on.
    pub(super) fn up(&self, row: u32) -> Option<u32> {
        let row = self.dead.skip_up(row.max(self.front));
        (row < self.tables.len()).then_some(row)
    }

    /// The first live row at or after a sequence.
    pub(super) fn up_from(&self, seq: u64) -> Option<u32> {
        if seq <= self.base() {
            return self.up(0);
        }
        self.up(self.tables.lower_bound(seq))
    }

    /// The last live row down from `row`.
    pub(super) fn down(&self, row: u32) -> Option<u32> {
        let row = row.min(self.tables.len().checked_sub(1)?);
        self.dead.skip_down(row).filter(|row| *row >= self.front)
    }

    /// The last live row at or before a sequence.
    pub(super) fn down_from(&self, seq: u64) -> Option<u32> {
        let behind = self.tables.lower_bound(seq.saturating_add(1));
        self.down(behind.checked_sub(1)?)
    }

    /// How many live rows are at or after a row.
    pub(super) fn count_from(&self, row: u32) -> u32 {
        let row = row.max(self.front);
        let rows = self.tables.len();
        rows.saturating_sub(row) - self.dead.count(row, rows)
    }

    /// How many live rows a key has.
    pub(super) fn key_count(&self, key: u32) -> u32 {
        if let Some(live) = self.key_live.get(key as usize) {
            return *live;
        }
        let (start, end) = self.tables.rows_of(key);
        if self.live == self.tables.len() {
            return end - start;
        }
        // Every key has one row.
        u32::from(start < end && self.is_alive(self.tables.row_of_key(start)))
    }

    /// The first live row of a key from `row` on; `guess` is a position to try first, and becomes
    /// that of the answer.
    pub(super) fn key_up(&self, key: u32, row: u32, guess: &mut u32) -> Option<u32> {
        let (start, end) = self.tables.rows_of(key);
        let row = row.max(self.front);
        let at_row = |at: u32| self.tables.row_of_key(at);
        let fits = |at: u32| {
            (start..end).contains(&at) && at_row(at) >= row && (at == start || at_row(at - 1) < row)
        };
        let mut at = if fits(*guess) {
            *guess
        } else if fits(*guess + 1) {
            *guess + 1
        } else {
            partition(start, end, |at| at_row(at) < row)
        };
        while at < end {
            let found = at_row(at);
            if self.is_alive(found) {
                *guess = at;
                return Some(found);
            }
            at += 1;
        }
        None
    }

    /// The last live row of a key down from `row`.
    pub(super) fn key_down(&self, key: u32, row: u32) -> Option<u32> {
        let (start, end) = self.tables.rows_of(key);
        let mut at = partition(start, end, |at| self.tables.row_of_key(at) <= row);
        while at > start {
            at -= 1;
            let found = self.tables.row_of_key(at);
            if self.is_alive(found) {
                return Some(found);
            }
        }
        None
    }

    /// How many live rows of a key are at or after a row.
    pub(super) fn key_count_from(&self, key: u32, row: u32) -> u32 {
        let (start, end) = self.tables.rows_of(key);
        let row = row.max(self.front);
        let at = partition(start, end, |at| self.tables.row_of_key(at) < row);
        if self.dead.0.is_empty() {
            return end - at;
        }
        let alive = |at: &u32| self.is_alive(self.tables.row_of_key(*at));
        (at..end).filter(alive).count() as u32
    }

    /// Marks a live row as dead; says which message that was.
    pub(super) fn kill(&mut self, row: u32) -> (u64, Entry) {
        let (seq, entry) = self.entry(row);
        self.repaired.remove(&row);
        let tables = &self.tables;
        let key = tables.key_of(row) as usize;
        if self.key_live.is_empty() && tables.keys() < tables.len() {
            let count = |key| {
                let (start, end) = tables.rows_of(key);
                end - start
            };
            self.key_live = (0..tables.keys()).map(count).collect();
        }
        if let Some(live) = self.key_live.get_mut(key) {
            *live = live.saturating_sub(1);
        }
        self.live -= 1;
        self.bytes = self.bytes.saturating_sub(u64::from(entry.size));
        if row == self.front {
            self.front = self.dead.skip_up(row + 1);
        } else {
            self.dead.insert(row);
        }
        (seq, entry)
    }

    /// The first row that is alive; there is one.
    pub(super) fn front(&self) -> u32 {
        self.front
    }

    /// A snapshot for a job that copies what is alive.
    pub(super) fn live_rows(&self) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let mut next = self.up(0);
        std::iter::from_fn(move || {
            let row = next?;
            next = self.up(row + 1);
            Some(self.entry(row))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dead_rows_agree_with_a_list(
            rows in prop::collection::btree_set(0..400_u32, 0..60),
            fills in prop::collection::vec((0..400_u32, 0..150_u32), 0..3),
            from in 0..420_u32,
        ) {
            let mut dead = DeadRows::default();
            let mut list = vec![false; 640];
            for row in rows {
                dead.insert(row);
                list[row as usize] = true;
            }
            for (first, len) in fills {
                dead.fill(first, first + len);
                list[first as usize..(first + len) as usize].fill(true);
            }
            let is = |row: u32| list[row as usize];
            let all: Vec<u32> = (from..600).filter(|row| is(*row)).collect();
            prop_assert_eq!(dead.iter(from).collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(dead.from(from).iter(0).collect::<Vec<_>>(), all.clone());
            prop_assert_eq!(dead.count(from, 600) as usize, all.len());
            let up = (from..640).find(|row| !is(*row)).unwrap();
            prop_assert_eq!(dead.skip_up(from), up);
            let down = (0..=from).rev().find(|row| !is(*row));
            prop_assert_eq!(dead.skip_down(from), down);
            let runs = (0..600).filter(|row| is(*row) && (*row == 0 || !is(row - 1)));
            prop_assert_eq!(dead.runs(), runs.count() as u64);
        }
    }
}
