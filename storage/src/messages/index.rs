//! Sequence, key and time index of one store, with the accounting; shared by all kinds of store.
//!
//! The index knows where a message lies only as an opaque `place`, which the owner of the bytes
//! reads.

use super::keys::KeyTable;
use super::seqmap::SeqMap;
use super::{KeyFilter, KeyId, Meta, OutOfOrder, State};

/// Messages examined one by one before a wildcard search turns to the key table, beyond twice the
/// number of keys.
const SCAN_MIN: usize = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) timestamp: i64,
    pub(super) place: u64,
    pub(super) key: KeyId,
    pub(super) size: u32,
}

impl Entry {
    pub(super) fn meta(&self, seq: u64) -> Meta {
        Meta {
            seq,
            timestamp: self.timestamp,
            key: self.key,
            size: self.size,
        }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    entries: SeqMap<Entry>,
    keys: KeyTable,
    /// First sequence while empty: last + 1, or 0 when fresh.
    empty_first: u64,
    last_seq: u64,
    last_ts: i64,
    bytes: u64,
}

fn meta((seq, entry): (u64, Entry)) -> Meta {
    entry.meta(seq)
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            entries: SeqMap::new(),
            keys: KeyTable::new(),
            empty_first: 0,
            last_seq: 0,
            last_ts: 0,
            bytes: 0,
        }
    }

    pub(super) fn state(&self) -> State {
        let first = self.entries.first();
        State {
            messages: self.entries.len() as u64,
            bytes: self.bytes,
            first_seq: first.map_or(self.empty_first, |(seq, _)| seq),
            first_ts: first.map_or(0, |(_, entry)| entry.timestamp),
            last_seq: self.last_seq,
            last_ts: self.last_ts,
            keys: self.keys.live() as u64,
        }
    }

    /// Whether `seq` may be the next sequence.
    pub(super) fn check_next(&self, seq: u64) -> Result<(), OutOfOrder> {
        if seq > self.last_seq {
            return Ok(());
        }
        Err(OutOfOrder {
            seq,
            last: self.last_seq,
        })
    }

    /// Adds a message whose sequence was checked by [`check_next`](Self::check_next).
    pub(super) fn insert(
        &mut self,
        seq: u64,
        timestamp: i64,
        key: &[u8],
        size: u32,
        place: u64,
    ) -> Meta {
        let key = self.keys.insert(key, seq);
        self.push(seq, timestamp, key, size, place)
    }

    /// As [`insert`](Self::insert) with a key whose name is in use.
    pub(super) fn insert_known(
        &mut self,
        seq: u64,
        timestamp: i64,
        key: KeyId,
        size: u32,
        place: u64,
    ) -> Meta {
        self.keys.insert_known(key, seq);
        self.push(seq, timestamp, key, size, place)
    }

    fn push(&mut self, seq: u64, timestamp: i64, key: KeyId, size: u32, place: u64) -> Meta {
        let entry = Entry {
            timestamp,
            place,
            key,
            size,
        };
        self.entries.push(seq, entry, timestamp);
        self.last_seq = seq;
        self.last_ts = timestamp;
        self.bytes += u64::from(size);
        entry.meta(seq)
    }

    pub(super) fn set_first_seq(&mut self, first_seq: u64) -> Result<(), OutOfOrder> {
        if self.entries.len() > 0 || first_seq <= self.last_seq {
            return Err(OutOfOrder {
                seq: first_seq,
                last: self.last_seq,
            });
        }
        self.last_seq = first_seq - 1;
        self.empty_first = first_seq;
        Ok(())
    }

    pub(super) fn skip(&mut self, last_seq: u64, timestamp: i64) -> Result<(), OutOfOrder> {
        if last_seq < self.last_seq {
            return Err(OutOfOrder {
                seq: last_seq,
                last: self.last_seq,
            });
        }
        if last_seq > self.last_seq {
            self.last_seq = last_seq;
            self.last_ts = self.last_ts.max(timestamp);
            self.empty_first = last_seq.saturating_add(1);
        }
        Ok(())
    }

    /// Restores the ends of a store read back from a checkpoint.
    pub(super) fn restore_ends(&mut self, empty_first: u64, last_seq: u64, last_ts: i64) {
        self.empty_first = empty_first;
        self.last_seq = last_seq.max(self.last_seq);
        self.last_ts = last_ts;
    }

    pub(super) fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries.get_mut(seq)
    }

    pub(super) fn entries_from(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        self.entries.iter_from(from)
    }

    pub(super) fn entry(&self, seq: u64) -> Option<Entry> {
        self.entries.get(seq)
    }

    pub(super) fn meta(&self, seq: u64) -> Option<Meta> {
        Some(self.entries.get(seq)?.meta(seq))
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(seq)?;
        self.removed(seq, &entry);
        Some(entry)
    }

    /// Removes the first message if it is below `first_seq`.
    pub(super) fn pop_below(&mut self, first_seq: u64) -> Option<(u64, Entry)> {
        if self.entries.first()?.0 >= first_seq {
            return None;
        }
        let (seq, entry) = self.entries.pop_first()?;
        self.removed(seq, &entry);
        Some((seq, entry))
    }

    /// Notes that everything below `first_seq` is gone; past the end this consumes sequences.
    pub(super) fn raise_first(&mut self, first_seq: u64) {
        if self.entries.len() == 0 && first_seq > self.last_seq {
            self.last_seq = first_seq - 1;
            self.empty_first = first_seq;
        }
    }

    fn removed(&mut self, seq: u64, entry: &Entry) {
        self.bytes -= u64::from(entry.size);
        self.keys.remove(entry.key, seq);
        if self.entries.len() == 0 {
            self.empty_first = self.last_seq.saturating_add(1);
        }
    }

    pub(super) fn next(&self, from: u64) -> Option<Meta> {
        self.entries.at_or_after(from).map(meta)
    }

    pub(super) fn prev(&self, upto: u64) -> Option<Meta> {
        self.entries.at_or_before(upto).map(meta)
    }

    pub(super) fn next_matching(&self, from: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        if filter.is_everything() {
            return self.next(from);
        }
        if let Some(key) = filter.literal() {
            let seq = self.keys.postings(self.keys.find(key)?).at_or_after(from)?;
            return self.meta(seq);
        }
        match self.scan(self.entries.iter_from(from), filter) {
            Scan::Found(found) => Some(found),
            Scan::End => None,
            Scan::TooLong => {
                let matching = self.keys.iter().filter(|(_, name, _)| filter.matches(name));
                let seq = matching
                    .filter_map(|(_, _, list)| list.at_or_after(from))
                    .min()?;
                self.meta(seq)
            }
        }
    }

    pub(super) fn last_matching(&self, upto: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        if filter.is_everything() {
            return self.prev(upto);
        }
        if let Some(key) = filter.literal() {
            return self.last_of_id(self.keys.find(key)?, upto);
        }
        match self.scan(self.entries.iter_down(upto), filter) {
            Scan::Found(found) => Some(found),
            Scan::End => None,
            Scan::TooLong => {
                let matching = self.keys.iter().filter(|(_, name, _)| filter.matches(name));
                let seq = matching
                    .filter_map(|(_, _, list)| list.at_or_before(upto))
                    .max()?;
                self.meta(seq)
            }
        }
    }

    /// Walks messages until one matches, asking the filter once per key; gives up when walking the
    /// keys would have been cheaper.
    fn scan(&self, entries: impl Iterator<Item = (u64, Entry)>, filter: &dyn KeyFilter) -> Scan {
        let budget = SCAN_MIN + 2 * self.keys.live();
        let mut refused = Refused::default();
        for (examined, (seq, entry)) in entries.enumerate() {
            if examined >= budget {
                return Scan::TooLong;
            }
            if refused.contains(entry.key) {
                continue;
            }
            if filter.matches(self.keys.name(entry.key)) {
                return Scan::Found(entry.meta(seq));
            }
            refused.add(entry.key);
        }
        Scan::End
    }

    pub(super) fn last_of_id(&self, key: KeyId, upto: u64) -> Option<Meta> {
        self.meta(self.keys.postings(key).at_or_before(upto)?)
    }

    pub(super) fn first_of_id(&self, key: KeyId) -> Option<Meta> {
        self.meta(self.keys.postings(key).first()?)
    }

    pub(super) fn count_of_id(&self, key: KeyId) -> u64 {
        self.keys.postings(key).len() as u64
    }

    pub(super) fn count_matching(&self, from: u64, filter: &dyn KeyFilter) -> u64 {
        if filter.is_everything() {
            return self.entries.count_from(from) as u64;
        }
        if let Some(key) = filter.literal() {
            let id = self.keys.find(key);
            return id.map_or(0, |id| self.keys.postings(id).count_from(from)) as u64;
        }
        let matching = self.keys.iter().filter(|(_, name, _)| filter.matches(name));
        matching
            .map(|(_, _, list)| list.count_from(from) as u64)
            .sum()
    }

    pub(super) fn last_per_key(
        &self,
        from: u64,
        upto: u64,
        filter: &dyn KeyFilter,
        limit: usize,
    ) -> Vec<Meta> {
        let literal = filter.literal();
        let mut seqs: Vec<u64> = if let Some(key) = literal {
            let id = self.keys.find(key);
            id.and_then(|id| self.keys.postings(id).at_or_before(upto))
                .into_iter()
                .collect()
        } else {
            let all = filter.is_everything();
            let matching = self
                .keys
                .iter()
                .filter(|(_, name, _)| all || filter.matches(name));
            matching
                .filter_map(|(_, _, list)| list.at_or_before(upto))
                .collect()
        };
        seqs.retain(|seq| *seq >= from);
        seqs.sort_unstable();
        seqs.truncate(limit);
        seqs.into_iter().filter_map(|seq| self.meta(seq)).collect()
    }

    pub(super) fn keys_matching(&self, filter: &dyn KeyFilter, visit: &mut dyn FnMut(&[u8], u64)) {
        if let Some(key) = filter.literal() {
            if let Some(id) = self.keys.find(key) {
                visit(key, self.count_of_id(id));
            }
            return;
        }
        let all = filter.is_everything();
        for (_, name, list) in self.keys.iter() {
            if all || filter.matches(name) {
                visit(name, list.len() as u64);
            }
        }
    }

    pub(super) fn seq_at(&self, timestamp: i64) -> u64 {
        let found = self
            .entries
            .first_marked(timestamp, |entry| entry.timestamp >= timestamp);
        found.map_or(self.last_seq.saturating_add(1), |(seq, _)| seq)
    }

    pub(super) fn deleted(&self, visit: &mut dyn FnMut(u64)) {
        let Some((mut expected, _)) = self.entries.first() else {
            return;
        };
        for (seq, _) in self.entries.iter_from(expected) {
            for gap in expected..seq {
                visit(gap);
            }
            let Some(next) = seq.checked_add(1) else {
                return;
            };
            expected = next;
        }
        for gap in expected..=self.last_seq {
            visit(gap);
        }
    }

    pub(super) fn deleted_count(&self) -> u64 {
        let Some((first, _)) = self.entries.first() else {
            return 0;
        };
        (self.last_seq - first).saturating_sub(self.entries.len() as u64 - 1)
    }

    pub(super) fn key(&self, id: KeyId) -> &[u8] {
        self.keys.name(id)
    }

    pub(super) fn key_id(&self, key: &[u8]) -> Option<KeyId> {
        self.keys.find(key)
    }
}

enum Scan {
    Found(Meta),
    End,
    TooLong,
}

/// Keys that a filter has refused during one scan: a short list first, a bit a key once that grows.
#[derive(Default)]
struct Refused {
    last: Option<KeyId>,
    bits: Vec<u64>,
}

impl Refused {
    fn contains(&self, key: KeyId) -> bool {
        let word = self.bits.get(key.0 as usize / 64);
        self.last == Some(key) || word.is_some_and(|word| word >> (key.0 % 64) & 1 == 1)
    }

    fn add(&mut self, key: KeyId) {
        if let Some(last) = self.last.replace(key) {
            let word = last.0 as usize / 64;
            if self.bits.len() <= word {
                self.bits.resize(word + 1, 0);
            }
            self.bits[word] |= 1 << (last.0 % 64);
        }
    }
}
