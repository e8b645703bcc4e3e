//! Looking for messages in an index, by sequence, time and key.

use super::index::{Entry, Index};
use super::sealed::Sealed;
use super::{KeyFilter, KeyId, Meta};

/// Messages examined one by one before a wildcard search turns to the key table, beyond twice the
/// number of keys.
const SCAN_MIN: usize = 64;

fn meta((seq, entry): (u64, Entry)) -> Meta {
    entry.meta(seq)
}

impl Index {
    /// Whether everything from `from` on is in the tail.
    fn is_tail(&self, from: u64) -> bool {
        let last = self.sections.list.back();
        last.is_none_or(|section| section.last() < from)
    }

    pub(super) fn entries_from(&self, from: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let sealed = self.sections.iter_from(from);
        sealed.chain(self.tail.iter_from(from))
    }

    fn entries_down(&self, upto: u64) -> impl Iterator<Item = (u64, Entry)> + '_ {
        let tail = self.tail.iter_down(upto);
        tail.chain(self.sections.iter_down(upto))
    }

    /// First and last sequence of every run of messages, ascending.
    pub(super) fn present(&self, visit: &mut dyn FnMut(u64, u64)) {
        let mut run: Option<(u64, u64)> = None;
        for (seq, _) in self.entries_from(0) {
            match &mut run {
                Some((_, last)) if *last + 1 == seq => *last = seq,
                _ => {
                    if let Some((first, last)) = run.replace((seq, seq)) {
                        visit(first, last);
                    }
                }
            }
        }
        if let Some((first, last)) = run {
            visit(first, last);
        }
    }

    pub(super) fn next(&self, from: u64) -> Option<Meta> {
        if self.is_tail(from) {
            return self.tail.at_or_after(from).map(meta);
        }
        self.entries_from(from).next().map(meta)
    }

    pub(super) fn prev(&self, upto: u64) -> Option<Meta> {
        self.entries_down(upto).next().map(meta)
    }

    pub(super) fn next_matching(&self, from: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        if filter.is_everything() {
            return self.next(from);
        }
        if let Some(key) = filter.literal() {
            return self.next_of_id(self.keys.find(key)?, from);
        }
        match self.scan(self.entries_from(from), filter) {
            Scan::Found(found) => Some(found),
            Scan::End => None,
            Scan::TooLong => self.next_by_key(from, filter),
        }
    }

    /// The first message at or after `from` of one of the keys that match.
    fn next_by_key(&self, from: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        let matching = self.matching(filter);
        for section in self.sections.list.range(self.sections.at(from)..) {
            let row = section.tables.lower_bound(from);
            let keys = matching.keys_in(section);
            if let Some(row) = keys
                .filter_map(|key| section.key_up(key, row, &mut 0))
                .min()
            {
                return Some(meta(section.entry(row)));
            }
        }
        let lists = matching.iter().map(|id| self.keys.postings(id));
        let seq = lists.filter_map(|list| list.at_or_after(from)).min()?;
        self.meta(seq)
    }

    pub(super) fn last_matching(&self, upto: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        if filter.is_everything() {
            return self.prev(upto);
        }
        if let Some(key) = filter.literal() {
            return self.last_of_id(self.keys.find(key)?, upto);
        }
        match self.scan(self.entries_down(upto), filter) {
            Scan::Found(found) => Some(found),
            Scan::End => None,
            Scan::TooLong => self.last_by_key(upto, filter),
        }
    }

    /// The last message at or before `upto` of one of the keys that match.
    fn last_by_key(&self, upto: u64, filter: &dyn KeyFilter) -> Option<Meta> {
        let matching = self.matching(filter);
        let lists = matching.iter().map(|id| self.keys.postings(id));
        if let Some(seq) = lists.filter_map(|list| list.at_or_before(upto)).max() {
            return self.meta(seq);
        }
        for section in self.sections.list.iter().rev() {
            let Some(row) = section.down_from(upto) else {
                continue;
            };
            let keys = matching.keys_in(section);
            if let Some(row) = keys.filter_map(|key| section.key_down(key, row)).max() {
                return Some(meta(section.entry(row)));
            }
        }
        None
    }

    /// Walks messages until one matches, mostly asking the filter once per key; gives up when walking the
    /// keys would have been cheaper.
    fn scan(&self, entries: impl Iterator<Item = (u64, Entry)>, filter: &dyn KeyFilter) -> Scan {
        let budget = SCAN_MIN + 2 * self.keys.live();
        let mut refused = Refused::new();
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

    fn matching(&self, filter: &dyn KeyFilter) -> Ids {
        let mut ids = Ids::default();
        for (id, name) in self.keys.iter() {
            if filter.matches(name) {
                ids.add(id);
            }
        }
        ids
    }

    /// The first message of a key at or after `from`.
    fn next_of_id(&self, id: KeyId, from: u64) -> Option<Meta> {
        let sealed = self.keys.sealed(id).and_then(|sealed| {
            let key = (id, self.keys.name(id));
            self.sections.next_of(key, sealed, from)
        });
        if let Some(found) = sealed {
            return Some(meta(found));
        }
        let seq = self.keys.postings(id).at_or_after(from)?;
        Some(self.tail.get(seq)?.meta(seq))
    }

    pub(super) fn last_of_id(&self, id: KeyId, upto: u64) -> Option<Meta> {
        if let Some(seq) = self.keys.postings(id).at_or_before(upto) {
            return Some(self.tail.get(seq)?.meta(seq));
        }
        let sealed = self.keys.sealed(id)?;
        let key = (id, self.keys.name(id));
        self.sections.last_of(key, sealed, upto).map(meta)
    }

    pub(super) fn first_of_id(&self, id: KeyId) -> Option<Meta> {
        self.next_of_id(id, 0)
    }

    pub(super) fn count_of_id(&self, id: KeyId) -> u64 {
        self.keys.count(id)
    }

    /// How many messages of a key are at or after `from`.
    fn count_of_from(&self, id: KeyId, from: u64) -> u64 {
        let tail = self.keys.postings(id).count_from(from) as u64;
        let sealed = self.keys.sealed(id).map_or(0, |sealed| {
            self.sections
                .count_of_from(self.keys.name(id), sealed, from)
        });
        tail + sealed
    }

    pub(super) fn count_matching(&self, from: u64, filter: &dyn KeyFilter) -> u64 {
        if filter.is_everything() {
            return self.sections.count_from(from) + self.tail.count_from(from) as u64;
        }
        if let Some(key) = filter.literal() {
            let id = self.keys.find(key);
            return id.map_or(0, |id| self.count_of_from(id, from));
        }
        let matches = self.keys.iter().filter(|(_, name)| filter.matches(name));
        if self.first().is_none_or(|(first, _)| from <= first) {
            return matches.map(|(id, _)| self.keys.count(id)).sum();
        }
        if self.is_tail(from) {
            let tail = |id| self.keys.postings(id).count_from(from) as u64;
            return matches.map(|(id, _)| tail(id)).sum();
        }
        let matching = self.matching(filter);
        let tail: usize = matching.iter().map(|id| self.keys.postings(id).len()).sum();
        let mut count = tail as u64;
        let edge = self.sections.at(from);
        for section in self.sections.list.range(edge + 1..) {
            let keys = matching.keys_in(section);
            count += keys
                .map(|key| u64::from(section.key_count(key)))
                .sum::<u64>();
        }
        if let Some(edge) = self.sections.list.get(edge) {
            let row = edge.tables.lower_bound(from);
            let keys = matching.keys_in(edge);
            let inside = keys.map(|key| u64::from(edge.key_count_from(key, row)));
            count += inside.sum::<u64>();
        }
        count
    }

    pub(super) fn last_per_key(
        &self,
        from: u64,
        upto: u64,
        filter: &dyn KeyFilter,
        limit: usize,
    ) -> Vec<Meta> {
        let mut found: Vec<Meta> = if let Some(key) = filter.literal() {
            let id = self.keys.find(key);
            id.and_then(|id| self.last_of_id(id, upto))
                .into_iter()
                .collect()
        } else if upto >= self.last_seq {
            let all = filter.is_everything();
            let matches = self
                .keys
                .iter()
                .filter(|(_, name)| all || filter.matches(name));
            matches
                .filter_map(|(id, _)| self.last_of_id(id, upto))
                .collect()
        } else {
            self.last_of_each(from, upto, filter)
        };
        found.retain(|meta| meta.seq >= from);
        found.sort_unstable_by_key(|meta| meta.seq);
        found.truncate(limit);
        found
    }

    /// The last messages of matching keys in a part of the store: section by section downwards, so
    /// that no key is looked up.
    fn last_of_each(&self, from: u64, upto: u64, filter: &dyn KeyFilter) -> Vec<Meta> {
        let mut open = self.matching(filter);
        let mut found = Vec::new();
        for id in self.matching(filter).iter() {
            if let Some(seq) = self.keys.postings(id).at_or_before(upto) {
                found.extend(self.meta(seq));
                open.remove(id);
            }
        }
        for section in self.sections.list.iter().rev() {
            if section.last() < from {
                break;
            }
            let Some(row) = section.down_from(upto) else {
                continue;
            };
            let keys: Vec<u32> = open.keys_in(section).collect();
            for key in keys {
                if let Some(row) = section.key_down(key, row) {
                    found.push(meta(section.entry(row)));
                    open.remove(section.id(key));
                }
            }
        }
        found
    }

    pub(super) fn keys_matching(&self, filter: &dyn KeyFilter, visit: &mut dyn FnMut(&[u8], u64)) {
        if let Some(key) = filter.literal() {
            if let Some(id) = self.keys.find(key) {
                visit(key, self.keys.count(id));
            }
            return;
        }
        let all = filter.is_everything();
        for (id, name) in self.keys.iter() {
            if all || filter.matches(name) {
                visit(name, self.keys.count(id));
            }
        }
    }

    pub(super) fn seq_at(&self, timestamp: i64) -> u64 {
        let sealed = self.sections.first_at(timestamp);
        let found = sealed.or_else(|| {
            self.tail
                .first_marked(timestamp, |entry| entry.timestamp >= timestamp)
        });
        found.map_or(self.last_seq.saturating_add(1), |(seq, _)| seq)
    }

    pub(super) fn deleted(&self, visit: &mut dyn FnMut(u64)) {
        let Some((mut expected, _)) = self.first() else {
            return;
        };
        let mut upto = |next: u64, behind: u64| {
            for gap in expected..next {
                visit(gap);
            }
            expected = behind;
        };
        for section in &self.sections.list {
            if section.is_whole() {
                upto(section.base(), section.last().saturating_add(1));
                continue;
            }
            for (seq, _) in section.live_rows() {
                upto(seq, seq.saturating_add(1));
            }
        }
        for (seq, _) in self.tail.iter_from(0) {
            upto(seq, seq.saturating_add(1));
        }
        upto(self.last_seq.saturating_add(1), u64::MAX);
    }

    pub(super) fn deleted_count(&self) -> u64 {
        let Some((first, _)) = self.first() else {
            return 0;
        };
        let messages = self.sections.messages + self.tail.len() as u64;
        (self.last_seq - first).saturating_sub(messages - 1)
    }
}

enum Scan {
    Found(Meta),
    End,
    TooLong,
}

/// A set of keys, one bit each.
#[derive(Default)]
struct Ids(Vec<u64>);

impl Ids {
    fn contains(&self, id: KeyId) -> bool {
        let word = self.0.get(id.0 as usize / 64);
        word.is_some_and(|word| word >> (id.0 % 64) & 1 == 1)
    }

    fn add(&mut self, id: KeyId) {
        let word = id.0 as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (id.0 % 64);
    }

    fn remove(&mut self, id: KeyId) {
        if let Some(word) = self.0.get_mut(id.0 as usize / 64) {
            *word &= !(1 << (id.0 % 64));
        }
    }

    fn iter(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.iter().enumerate().flat_map(|(at, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(KeyId(at as u32 * 64 + bit))
            })
        })
    }

    /// The keys of a section that are in the set. The name of a key of which nothing is alive in
    /// the section may have gone to another key; such keys have no live rows there.
    fn keys_in<'a>(&'a self, section: &'a Sealed) -> impl Iterator<Item = u32> + 'a {
        let keys = 0..section.tables.keys();
        keys.filter(|key| self.contains(section.id(*key)))
    }
}

/// Keys that a filter has refused during one scan, as far as they are remembered.
struct Refused([KeyId; REFUSED]);

/// Enough that a handful of keys in turn are asked for once, and little enough to begin with each
/// search.
const REFUSED: usize = 128;

impl Refused {
    fn new() -> Self {
        Self([KeyId(u32::MAX); REFUSED])
    }

    fn contains(&self, key: KeyId) -> bool {
        self.0[key.0 as usize % REFUSED] == key
    }

    fn add(&mut self, key: KeyId) {
        self.0[key.0 as usize % REFUSED] = key;
    }
}
