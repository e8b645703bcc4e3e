//! Which consumers want a subject: the index from the subject of a change to those who have to hear of it.
//!
//! A literal filter is found by its hash, wildcard filters by a trie, so that a publish costs what the consumers
//! cost that want it, however many others the stream has. Ids come out ascending and once each: the order in which
//! consumers hear of something is part of the core's behaviour.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::subject;

use crate::routing::{Announce, Matches, Trie};

/// The filters of one stream's consumers.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    /// Consumers without a filter.
    all: BTreeSet<u32>,
    literal: HashMap<Box<[u8]>, Vec<u32>, FixedState>,
    wild: Trie<(), u32>,
    /// How many filters `wild` holds.
    wilds: usize,
    /// Consumers that may still hold messages that their filters no longer let through.
    strays: BTreeSet<u32>,
    matches: Matches<(), u32>,
}

fn has_all(config: &ConsumerConfig) -> bool {
    let filters = config.filters();
    filters.is_empty() || filters.iter().any(|filter| filter == ">")
}

impl Interest {
    /// A consumer has come, or has new filters.
    pub(crate) fn add(&mut self, id: u32, config: &ConsumerConfig) {
        if has_all(config) {
            self.all.insert(id);
            return;
        }
        for filter in config.filters() {
            let filter = filter.as_bytes();
            if subject::has_wildcards(filter) {
                self.wild.listen(filter, id, Announce::No);
                self.wilds += 1;
            } else {
                self.literal.entry(filter.into()).or_default().push(id);
            }
        }
    }

    /// A consumer goes, or gets new filters; `config` is the one that it was added with.
    pub(crate) fn remove(&mut self, id: u32, config: &ConsumerConfig) {
        self.strays.remove(&id);
        if has_all(config) {
            self.all.remove(&id);
            return;
        }
        for filter in config.filters() {
            let filter = filter.as_bytes();
            if subject::has_wildcards(filter) {
                self.wilds -= usize::from(self.wild.unlisten(filter, id, Announce::No).is_some());
            } else if let Some(ids) = self.literal.get_mut(filter) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.literal.remove(filter);
                }
            }
        }
    }

    /// A consumer may hold messages that its filters do not let through: it hears of every removal.
    pub(crate) fn set_stray(&mut self, id: u32) {
        self.strays.insert(id);
    }

    /// Whether anybody wants `subject`.
    pub(crate) fn any(&self, subject: &[u8]) -> bool {
        !self.all.is_empty()
            || self.literal.contains_key(subject)
            || (self.wilds > 0 && self.wild.has_interest(subject, None))
    }

    /// Replaces `found` by those who want `subject`.
    pub(crate) fn find(&mut self, subject: &[u8], found: &mut Vec<u32>) {
        found.clear();
        if let Some(ids) = self.literal.get(subject) {
            found.extend_from_slice(ids);
        }
        if self.wilds > 0 {
            self.matches.clear();
            self.wild.lookup(subject, &mut self.matches);
            found.extend_from_slice(&self.matches.listeners);
        }
        found.extend(&self.all);
        sort(found);
    }

    /// The same and those who may hold a message of that subject all the same.
    pub(crate) fn find_holders(&mut self, subject: &[u8], found: &mut Vec<u32>) {
        self.find(subject, found);
        if !self.strays.is_empty() {
            found.extend(&self.strays);
            sort(found);
        }
    }
}

fn sort(ids: &mut Vec<u32>) {
    if !ids.is_sorted_by(|a, b| a < b) {
        ids.sort_unstable();
        ids.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(filters: &[&str]) -> ConsumerConfig {
        ConsumerConfig {
            filter_subjects: filters.iter().map(|one| (*one).to_owned()).collect(),
            ..ConsumerConfig::default()
        }
    }

    /// What asking every consumer would find.
    fn slow(all: &[(u32, ConsumerConfig)], key: &[u8]) -> Vec<u32> {
        let wants = |config: &ConsumerConfig| {
            let filters = config.filters();
            filters.is_empty()
                || filters
                    .iter()
                    .any(|one| subject::matches(one.as_bytes(), key))
        };
        let wanting = all.iter().filter(|(_, config)| wants(config));
        wanting.map(|(id, _)| *id).collect()
    }

    #[test]
    fn finds_whom_asking_everybody_would_find() {
        const FILTERS: [&str; 10] = [
            "a", "a.b", "a.*", "a.>", "*.b", ">", "a.b.c", "a.*.c", "*", "b.>",
        ];
        const KEYS: [&str; 8] = ["a", "b", "a.b", "b.b", "a.c", "a.b.c", "b.x.y", "c.c"];
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut interest = Interest::default();
        let mut all: Vec<(u32, ConsumerConfig)> = Vec::new();
        let mut found = Vec::new();
        for id in 1..500 {
            if all.len() > 20 || (next(3) == 0 && !all.is_empty()) {
                let (id, config) = all.remove(next(all.len()));
                interest.remove(id, &config);
            } else {
                let start = next(FILTERS.len());
                let end = start + next(FILTERS.len() - start + 1).min(3);
                let config = config(&FILTERS[start..end]);
                interest.add(id, &config);
                all.push((id, config));
            }
            for key in KEYS {
                interest.find(key.as_bytes(), &mut found);
                assert_eq!(found, slow(&all, key.as_bytes()), "{key}");
                assert_eq!(interest.any(key.as_bytes()), !found.is_empty(), "{key}");
            }
        }
    }

    #[test]
    fn strays_hear_of_removals_only() {
        let (mut interest, mut found) = (Interest::default(), Vec::new());
        let (old, new) = (config(&["a"]), config(&["b"]));
        interest.add(1, &old);
        interest.remove(1, &old);
        interest.add(1, &new);
        interest.set_stray(1);
        interest.find(b"a", &mut found);
        assert!(found.is_empty());
        interest.find_holders(b"a", &mut found);
        assert_eq!(found, [1]);
        interest.remove(1, &new);
        interest.find_holders(b"a", &mut found);
        assert!(found.is_empty());
    }
}
