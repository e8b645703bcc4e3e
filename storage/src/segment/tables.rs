//! The tables of one section, read where they lie in the mapped file.
//!
//! The key part was checked when the section was opened; rows are checked when they are first
//! needed, and made again from the records when they are damaged. When a page of the mapping cannot be
//! read, the tables are read from the file into memory. Nothing that a table says is trusted to be in
//! range: a reader that leaves it sees zeros.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::walk::{self, Source};
use crate::crypt::Unlocked;
use crate::disk::Map;
use crate::files::{Files, SEGMENT, file_name};
use crate::format::{DirectoryEntry, Fields, KEY_ENTRY, KeyEntry, ROW, Row};
use crate::messages::Location;

/// Where a section's tables are from.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) files: Arc<Files>,
    /// The segment, and the file that holds its records.
    pub(super) source: Source,
    pub(super) key: Unlocked,
    /// The mapping that they lie in, unless they are in memory.
    pub(super) map: Option<Map>,
}

/// A section's keys and rows.
#[derive(Debug)]
pub(crate) struct SectionTables {
    places: Places,
    pub(crate) entry: DirectoryEntry,
    /// Entries and names, checked when the section was opened.
    keys: Bytes,
    /// Rows as found in the file, not checked.
    found: Bytes,
    /// Checked rows.
    rows: OnceLock<Bytes>,
    /// Keys and rows in memory, once the mapping broke.
    keys_copy: OnceLock<Bytes>,
    rows_copy: OnceLock<Bytes>,
}

impl SectionTables {
    /// Tables whose key part was checked.
    pub(super) fn new(places: Places, entry: DirectoryEntry, keys: Bytes, found: Bytes) -> Self {
        Self {
            places,
            entry,
            keys,
            found,
            rows: OnceLock::new(),
            keys_copy: OnceLock::new(),
            rows_copy: OnceLock::new(),
        }
    }

    /// Number of the segment.
    pub(crate) fn number(&self) -> u32 {
        self.places.source.number
    }

    /// How many keys.
    pub(crate) fn keys(&self) -> u32 {
        self.entry.keys
    }

    /// How many rows, dead ones included.
    pub(crate) fn len(&self) -> u32 {
        self.entry.rows
    }

    /// Whether no sequence is left out, so that a row is found by arithmetic.
    fn is_dense(&self) -> bool {
        u64::from(self.entry.rows).checked_sub(1) == Some(self.entry.last - self.entry.base)
    }

    fn is_broken(&self) -> bool {
        self.places.map.as_ref().is_some_and(Map::is_broken)
    }

    fn keys_now(&self) -> &[u8] {
        // What was encrypted is in memory.
        if self.places.key.is_none() && self.is_broken() {
            return self.keys_copy.get_or_init(|| self.keys_again());
        }
        &self.keys
    }

    /// Reads rows, again if a page of them went missing meanwhile.
    fn read<T>(&self, read: impl Fn(&[u8]) -> T) -> T {
        if !self.is_broken() {
            let value = read(self.checked());
            if !self.is_broken() {
                return value;
            }
        }
        read(self.rows_copy.get_or_init(|| self.rows_again()))
    }

    fn key_entry(&self, key: u32) -> KeyEntry {
        let at = key as usize * KEY_ENTRY;
        KeyEntry::decode(self.keys_now().get(at..at + KEY_ENTRY).unwrap_or(&[]))
    }

    /// The name of a key.
    pub(crate) fn name(&self, key: u32) -> &[u8] {
        let names = (self.entry.keys as usize + 1) * KEY_ENTRY;
        let (start, end) = (self.key_entry(key).name, self.key_entry(key + 1).name);
        let name = self
            .keys_now()
            .get(names + start as usize..names + end as usize);
        name.unwrap_or(&[])
    }

    /// First and last sequence of a key, dead ones included.
    pub(crate) fn span(&self, key: u32) -> (u64, u64) {
        let (entry, base) = (self.key_entry(key), self.entry.base);
        (
            base.saturating_add(u64::from(entry.first)),
            base.saturating_add(u64::from(entry.last)),
        )
    }

    /// The key of this name.
    pub(crate) fn find_key(&self, name: &[u8]) -> Option<u32> {
        let was_broken = self.is_broken();
        let found = self.search_key(name);
        if was_broken != self.is_broken() {
            return self.search_key(name);
        }
        found
    }

    fn search_key(&self, name: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.entry.keys);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.name(middle).cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The rows of a key, as positions for [`row_of_key`](Self::row_of_key).
    pub(crate) fn rows_of(&self, key: u32) -> (u32, u32) {
        let (start, end) = (self.key_entry(key).start, self.key_entry(key + 1).start);
        (start.min(end), end.min(self.entry.rows))
    }

    /// The row at a position among the rows of all keys.
    pub(crate) fn row_of_key(&self, at: u32) -> u32 {
        let at = self.entry.rows as usize * ROW + at as usize * 4;
        self.read(|rows| Fields(rows).u32(at))
    }

    /// A row; `at` is below [`len`](Self::len).
    pub(crate) fn row(&self, at: u32) -> Row {
        let start = at as usize * ROW;
        self.read(|rows| {
            let row = rows.get(start..start + ROW);
            Row::decode(row.unwrap_or(&[]), self.entry.base)
        })
    }

    /// The sequence of a row.
    pub(crate) fn seq(&self, at: u32) -> u64 {
        if self.is_dense() {
            return self.entry.base.saturating_add(u64::from(at));
        }
        let distance = self.read(|rows| Fields(rows).u32(at as usize * ROW));
        self.entry.base.saturating_add(u64::from(distance))
    }

    /// The key of a row.
    pub(crate) fn key_of(&self, at: u32) -> u32 {
        self.read(|rows| Fields(rows).u32(at as usize * ROW + 16))
    }

    fn timestamp(&self, at: u32) -> i64 {
        self.read(|rows| Fields(rows).i64(at as usize * ROW + 8))
    }

    /// The first row at or after a sequence.
    pub(crate) fn lower_bound(&self, seq: u64) -> u32 {
        if seq <= self.entry.base {
            return 0;
        }
        if seq > self.entry.last {
            return self.entry.rows;
        }
        let distance = seq - self.entry.base;
        if self.is_dense() {
            return distance as u32;
        }
        partition(0, self.entry.rows, |at| self.seq(at) < seq)
    }

    /// The row of a sequence.
    pub(crate) fn find(&self, seq: u64) -> Option<u32> {
        let at = self.lower_bound(seq);
        (at < self.entry.rows && self.seq(at) == seq).then_some(at)
    }

    /// The first row from `from` on whose time is at or after `timestamp`, dead ones included.
    pub(crate) fn first_at(&self, timestamp: i64, from: u32) -> Option<u32> {
        let found = if self.entry.ascending {
            partition(from, self.entry.rows, |at| self.timestamp(at) < timestamp)
        } else {
            (from..self.entry.rows)
                .find(|at| self.timestamp(*at) >= timestamp)
                .unwrap_or(self.entry.rows)
        };
        (found < self.entry.rows).then_some(found)
    }

    /// The rows, checked now if they were not.
    fn checked(&self) -> &[u8] {
        self.rows.get_or_init(|| {
            if crc32c::crc32c(&self.found) == self.entry.rows_sum {
                return self.found.clone();
            }
            self.rows_again()
        })
    }

    /// The keys from the file itself, or made again from the records. Names that are lost for good are
    /// not found any more; their messages are.
    fn keys_again(&self) -> Bytes {
        let len = self.keys.len() as u64;
        if let Some(keys) = self.read_part(self.entry.keys_at, len, self.entry.keys_sum) {
            return keys;
        }
        let (files, number) = (&self.places.files, self.places.source.number);
        let name = file_name(SEGMENT, number);
        let group = self.entry.group;
        files.note_damage(format!("{name}: the keys of group {group} are damaged"));
        let found = walk::records(files, &self.places.source, self.places.key.as_deref());
        let (mut draft, lost) = walk::tables_again(&found, &self.entry);
        if lost.is_empty() {
            return Bytes::from(draft.encode().keys);
        }
        self.keys.clone()
    }

    /// A part of the tables, read from the file itself.
    fn read_part(&self, at: u64, len: u64, sum: u32) -> Option<Bytes> {
        let files = &self.places.files;
        let name = file_name(SEGMENT, self.places.source.number);
        let file = files.disk.open(&files.path(&name)).ok()?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        file.read_at(at, &mut bytes).ok()?;
        (crc32c::crc32c(&bytes) == sum).then(|| Bytes::from(bytes))
    }

    /// The rows from the file itself, or made again from the records.
    fn rows_again(&self) -> Bytes {
        let len = self.found.len() as u64;
        if let Some(rows) = self.read_part(self.entry.rows_at, len, self.entry.rows_sum) {
            return rows;
        }
        let (files, number) = (&self.places.files, self.places.source.number);
        let name = file_name(SEGMENT, number);
        let group = self.entry.group;
        files.note_damage(format!("{name}: the rows of group {group} are damaged"));
        let location = Location::Segment {
            file: number,
            offset: 0,
        };
        if let Some((file, _)) = files.find(location) {
            file.mark_damaged();
        }
        let found = walk::records(files, &self.places.source, self.places.key.as_deref());
        walk::rows_again(self, found)
    }

    /// Checks the rows before anybody waits for them.
    pub(crate) fn check(&self) {
        self.checked();
    }
}

/// The first position in a range where `before` does not hold any more.
pub(crate) fn partition(from: u32, to: u32, before: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (from, to);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
