//! The keys of one store: names in one arena, a hash table of 32-bit ids, and each key's sequences.
//!
//! An id whose last message went stays readable until the next insertion, so that the caller can
//! still ask which key a removed message had; then the id and its name are reclaimed.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

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
    postings: Postings,
}

#[derive(Debug)]
pub(super) struct KeyTable {
    names: Vec<u8>,
    dead_bytes: usize,
    keys: Vec<Key>,
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

impl KeyTable {
    pub(super) fn new() -> Self {
        Self {
            names: Vec::new(),
            dead_bytes: 0,
            keys: Vec::new(),
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
        let id = self.lookup(name)?;
        (self.keys[id as usize].postings.len() > 0).then_some(KeyId(id))
    }

    /// Adds a sequence to a key, which is created when it is new.
    pub(super) fn insert(&mut self, name: &[u8], seq: u64) -> KeyId {
        if !self.emptied.is_empty() {
            self.reclaim();
        }
        let id = KeyId(self.lookup(name).unwrap_or_else(|| self.create(name)));
        self.insert_known(id, seq);
        id
    }

    /// Adds a sequence to a key that exists.
    pub(super) fn insert_known(&mut self, id: KeyId, seq: u64) {
        if let Some(key) = self.keys.get_mut(id.0 as usize) {
            self.live += usize::from(key.postings.len() == 0);
            key.postings.push(seq);
        }
    }

    fn create(&mut self, name: &[u8]) -> u32 {
        let name = &name[..name.len().min((1 << LENGTH_BITS) - 1)];
        let packed = ((self.names.len() as u64) << LENGTH_BITS) | name.len() as u64;
        self.names.extend_from_slice(name);
        let key = Key {
            name: packed,
            postings: Postings::None,
        };
        let id = if let Some(id) = self.free.pop() {
            self.keys[id as usize] = key;
            id
        } else {
            self.keys.push(key);
            (self.keys.len() - 1) as u32
        };
        let (names, keys, hasher) = (&self.names, &self.keys, &self.hasher);
        let rehash = |id: &u32| hasher.hash_one(&names[span(keys[*id as usize].name)]);
        self.table.insert_unique(hasher.hash_one(name), id, rehash);
        id
    }

    /// Takes a sequence from a key.
    pub(super) fn remove(&mut self, id: KeyId, seq: u64) {
        let Some(key) = self.keys.get_mut(id.0 as usize) else {
            return;
        };
        let before = key.postings.len();
        key.postings.remove(seq);
        if before > 0 && key.postings.len() == 0 {
            self.live -= 1;
            self.emptied.push(id.0);
        }
    }

    pub(super) fn postings(&self, id: KeyId) -> &Postings {
        self.keys
            .get(id.0 as usize)
            .map_or(&Postings::None, |key| &key.postings)
    }

    /// Every key with messages.
    pub(super) fn iter(&self) -> impl Iterator<Item = (KeyId, &[u8], &Postings)> {
        self.keys
            .iter()
            .enumerate()
            .filter(|(_, key)| key.postings.len() > 0)
            .map(|(id, key)| (KeyId(id as u32), &self.names[span(key.name)], &key.postings))
    }

    fn reclaim(&mut self) {
        for id in std::mem::take(&mut self.emptied) {
            let key = &mut self.keys[id as usize];
            let name = span(key.name);
            // The key may have come back, and an id that emptied twice is listed twice.
            if key.postings.len() > 0 || name.is_empty() {
                continue;
            }
            let hash = self.hasher.hash_one(&self.names[name.clone()]);
            if let Ok(entry) = self.table.find_entry(hash, |other| *other == id) {
                entry.remove();
                self.dead_bytes += name.len();
                key.name = 0;
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
