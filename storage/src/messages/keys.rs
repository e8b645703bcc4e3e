//! The keys of one store: names in one arena, a hash table of 32-bit ids, and what is known of each
//! key: the sequences of its messages in the tail, and how many it has in sealed sections.
//!
//! An id whose last message went stays readable until the next insertion, so that the caller can
//! still ask which key a removed message had; then the id and its name are reclaimed.

use std::cell::Cell;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::KeyId;
use super::postings::Postings;

/// The arena is rebuilt when more than half of it, and at least this much, belongs to dead names.
const ARENA_SLACK: usize = 64 * 1024;
/// Names are at most this long; longer ones cannot come from a record.
const LENGTH_BITS: u32 = 16;

#[derive(Debug)]
struct Key {
    /// Offset in the arena above, length in the low 16 bits.
    name: u64,
    /// Messages in the tail.
    postings: Postings,
}

/// The messages of a key in sealed sections: how many, and where they are at most. Sixteen bytes: a
/// store may have many millions of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct SealedKey {
    /// At or below the first sequence.
    first: Cell<u64>,
    /// The number above, and the distance to the bound of the last sequence in the low bits.
    count_and_span: Cell<u64>,
}

/// A distance of all ones says that nothing is known of the last sequence.
const SPAN_BITS: u32 = 28;
const FAR: u64 = (1 << SPAN_BITS) - 1;

impl SealedKey {
    pub(super) fn count(&self) -> u64 {
        self.count_and_span.get() >> SPAN_BITS
    }

    /// At or below the first sequence.
    pub(super) fn first(&self) -> u64 {
        self.first.get()
    }

    /// At or above the last sequence.
    pub(super) fn last(&self) -> u64 {
        match self.count_and_span.get() & FAR {
            FAR => u64::MAX,
            span => self.first.get().saturating_add(span),
        }
    }

    fn set(&self, count: u64, first: u64, last: u64) {
        let span = last.saturating_sub(first).min(FAR);
        self.first.set(first);
        self.count_and_span.set(count << SPAN_BITS | span);
    }

    /// The first sequence is known to be at or above this.
    pub(super) fn raise_first(&self, first: u64) {
        self.set(self.count(), first, self.last());
    }

    /// The last sequence is known to be at or below this.
    pub(super) fn lower_last(&self, last: u64) {
        self.set(self.count(), self.first(), last);
    }
}

#[derive(Debug)]
pub(super) struct KeyTable {
    names: Vec<u8>,
    dead_bytes: usize,
    keys: Vec<Key>,
    /// By id, as far as there are keys with sealed messages.
    sealed: Vec<SealedKey>,
    table: HashTable<u32>,
    free: Vec<u32>,
    /// Ids whose last message went since the last insertion.
    emptied: Vec<u32>,
    /// Keys with at least one message.
    live: usize,
    hasher: FixedState,
}

fn span(name: u64) -> std::ops::Range<usize> {
    let start = (name >> LENGTH_BITS) as usize;
    start..start + (name & ((1 << LENGTH_BITS) - 1)) as usize
}

/// Makes room for one more without doubling: a table of millions of keys is not to take twice its
/// size.
fn grow<T>(items: &mut Vec<T>, more: usize) {
    if items.capacity() - items.len() < more {
        items.reserve_exact(more.max(items.len() / 4).max(4));
    }
}

impl KeyTable {
    pub(super) fn new() -> Self {
        Self {
            names: Vec::new(),
            dead_bytes: 0,
            keys: Vec::new(),
            sealed: Vec::new(),
            table: HashTable::new(),
            free: Vec::new(),
            emptied: Vec::new(),
            live: 0,
            hasher: FixedState::with_seed(0x6a65_7477),
        }
    }

    /// Keys with at least one message.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn name(&self, id: KeyId) -> &[u8] {
        self.keys
            .get(id.0 as usize)
            .map_or(&[], |key| &self.names[span(key.name)])
    }

    fn lookup(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        let same = |id: &u32| &self.names[span(self.keys[*id as usize].name)] == name;
        self.table.find(hash, same).copied()
    }

    /// The id of a key that has messages.
    pub(super) fn find(&self, name: &[u8]) -> Option<KeyId> {
        let id = KeyId(self.lookup(name)?);
        (self.count(id) > 0).then_some(id)
    }

    /// The id of a key, which is created when it is new and has no messages yet.
    pub(super) fn id_of(&mut self, name: &[u8]) -> KeyId {
        if !self.emptied.is_empty() {
            self.reclaim();
        }
        let name = &name[..name.len().min((1 << LENGTH_BITS) - 1)];
        let hash = self.hasher.hash_one(name);
        let (names, keys, hasher) = (&self.names, &self.keys, &self.hasher);
        let same = |id: &u32| &names[span(keys[*id as usize].name)] == name;
        let rehash = |id: &u32| hasher.hash_one(&names[span(keys[*id as usize].name)]);
        let place = match self.table.entry(hash, same, rehash) {
            Entry::Occupied(found) => return KeyId(*found.get()),
            Entry::Vacant(place) => place,
        };
        let id = self.free.pop().unwrap_or(self.keys.len() as u32);
        place.insert(id);
        let key = Key {
            name: ((self.names.len() as u64) << LENGTH_BITS) | name.len() as u64,
            postings: Postings::None,
        };
        grow(&mut self.names, name.len());
        self.names.extend_from_slice(name);
        match self.keys.get_mut(id as usize) {
            Some(free) => *free = key,
            None => {
                grow(&mut self.keys, 1);
                self.keys.push(key);
            }
        }
        KeyId(id)
    }

    /// Makes room for so many more keys.
    pub(super) fn reserve(&mut self, keys: usize) {
        self.keys.reserve_exact(keys);
        self.sealed.reserve_exact(keys);
        let (names, all, hasher) = (&self.names, &self.keys, &self.hasher);
        let rehash = |id: &u32| hasher.hash_one(&names[span(all[*id as usize].name)]);
        self.table.reserve(keys, rehash);
    }

    /// Adds a sequence of the tail to a key, which is created when it is new.
    pub(super) fn insert(&mut self, name: &[u8], seq: u64) -> KeyId {
        let id = self.id_of(name);
        let count = self.count(id);
        if let Some(key) = self.keys.get_mut(id.0 as usize) {
            self.live += usize::from(count == 0);
            key.postings.insert(seq);
        }
        id
    }

    /// Adds messages of a sealed section to a key that exists.
    pub(super) fn add_sealed(&mut self, id: KeyId, count: u64, first: u64, last: u64) {
        let at = id.0 as usize;
        if count == 0 || at >= self.keys.len() {
            return;
        }
        self.live += usize::from(self.count(id) == 0);
        if self.sealed.len() <= at {
            let more = at + 1 - self.sealed.len();
            grow(&mut self.sealed, more);
            self.sealed.resize(at + 1, SealedKey::default());
        }
        let sealed = &self.sealed[at];
        match sealed.count() {
            0 => sealed.set(count, first, last),
            before => sealed.set(
                before + count,
                first.min(sealed.first()),
                last.max(sealed.last()),
            ),
        }
    }

    /// Moves the sequences up to `through` from a key's tail to a section, in which the key's
    /// messages, dead ones included, lie between `first` and `last`.
    pub(super) fn seal_tail(&mut self, id: KeyId, through: u64, (first, last): (u64, u64)) {
        let Some(key) = self.keys.get_mut(id.0 as usize) else {
            return;
        };
        let before = key.postings.len();
        key.postings.drop_through(through);
        let moved = before - key.postings.len();
        if moved > 0 {
            // The key had messages and keeps them.
            let live = self.live;
            self.add_sealed(id, moved as u64, first, last);
            self.live = live;
        }
    }

    /// Takes a sequence of the tail from a key.
    pub(super) fn remove(&mut self, id: KeyId, seq: u64) {
        if let Some(key) = self.keys.get_mut(id.0 as usize) {
            key.postings.remove(seq);
            self.lost_one(id);
        }
    }

    /// Takes a sequence of a sealed section from a key.
    pub(super) fn remove_sealed(&mut self, id: KeyId, seq: u64) {
        let Some(sealed) = self.sealed(id) else {
            return;
        };
        let (mut first, mut last) = (sealed.first(), sealed.last());
        if seq == first {
            first = first.saturating_add(1);
        } else if seq == last {
            last -= 1;
        }
        sealed.set(sealed.count() - 1, first, last);
        self.lost_one(id);
    }

    fn lost_one(&mut self, id: KeyId) {
        if self.count(id) == 0 {
            self.live -= 1;
            self.emptied.push(id.0);
        }
    }

    /// The messages of a key in the tail.
    pub(super) fn postings(&self, id: KeyId) -> &Postings {
        self.keys
            .get(id.0 as usize)
            .map_or(&Postings::None, |key| &key.postings)
    }

    /// The messages of a key in sealed sections, if it has any.
    pub(super) fn sealed(&self, id: KeyId) -> Option<&SealedKey> {
        self.sealed
            .get(id.0 as usize)
            .filter(|sealed| sealed.count() > 0)
    }

    /// How many messages a key has.
    pub(super) fn count(&self, id: KeyId) -> u64 {
        let sealed = self.sealed.get(id.0 as usize);
        self.postings(id).len() as u64 + sealed.map_or(0, SealedKey::count)
    }

    /// Every key with messages.
    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyId, &[u8])> {
        let ids = (0..self.keys.len() as u32).map(KeyId);
        ids.filter(|id| self.count(*id) > 0)
            .map(|id| (id, self.name(id)))
    }

    fn reclaim(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            let name = span(self.keys[id as usize].name);
            // The key may have come back, and an id that emptied twice is listed twice.
            if self.count(KeyId(id)) > 0 || name.is_empty() {
                continue;
            }
            let hash = self.hasher.hash_one(&self.names[name.clone()]);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == id) {
                entry.remove();
                self.dead_bytes += name.len();
                self.keys[id as usize].name = 0;
                self.free.push(id);
            }
        }
        if self.dead_bytes > ARENA_SLACK && self.dead_bytes * 2 > self.names.len() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        let mut names = Vec::with_capacity(self.names.len() - self.dead_bytes);
        for key in &mut self.keys {
            let name = span(key.name);
            let packed = ((names.len() as u64) << LENGTH_BITS) | name.len() as u64;
            names.extend_from_slice(&self.names[name]);
            key.name = packed;
        }
        self.names = names;
        self.dead_bytes = 0;
    }
}
