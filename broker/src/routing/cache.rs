//! A publisher's memory of lookups, valid for as long as its account's generation stands still.
//!
//! Direct mapped: a subject has one slot. A subject gets the slot only when it comes a second time,
//! so that subjects that are used once (reply inboxes) neither throw out the useful ones nor cost
//! an allocation. The number of slots grows with use from none to [`SLOTS_MAX`], because most
//! connections publish to few subjects.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use super::matches::Matches;

const SLOTS_MIN: usize = 8;
const SLOTS_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct LookupCache<S, L> {
    slots: Vec<Slot<S, L>>,
    /// Live entries thrown out since the cache last grew.
    conflicts: usize,
    /// The result for a subject that has no slot.
    scratch: Matches<S, L>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Slot<S, L> {
    account: u32,
    generation: u64,
    subject: Vec<u8>,
    /// Hash of the last subject that missed here.
    candidate: u64,
    matches: Matches<S, L>,
}

impl<S, L> Default for Slot<S, L> {
    fn default() -> Self {
        Self {
            account: 0,
            generation: 0,
            subject: Vec::new(),
            candidate: 0,
            matches: Matches::default(),
        }
    }
}

impl<S, L> Default for LookupCache<S, L> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            conflicts: 0,
            scratch: Matches::default(),
            hasher: FixedState::default(),
        }
    }
}

impl<S, L> LookupCache<S, L> {
    /// Whom `subject` reaches in `account`. `generation` is the account's now, never 0; `fill` does
    /// a real lookup and returns the generation that its result belongs to.
    pub fn lookup(
        &mut self,
        account: u32,
        generation: u64,
        subject: &[u8],
        fill: impl FnOnce(&mut Matches<S, L>) -> u64,
    ) -> &Matches<S, L> {
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS_MIN, Slot::default);
        }
        let hash = self.hasher.hash_one((account, subject));
        let at = slot_of(hash, self.slots.len());
        let slot = &mut self.slots[at];
        let same = slot.account == account && slot.subject == subject && slot.generation != 0;
        if same && slot.generation == generation {
            return &self.slots[at].matches;
        }
        if !same && slot.candidate != hash {
            slot.candidate = hash;
            self.scratch.clear();
            fill(&mut self.scratch);
            return &self.scratch;
        }
        if !same {
            self.conflicts += usize::from(slot.generation == generation);
            slot.account = account;
            slot.subject.clear();
            slot.subject.extend_from_slice(subject);
        }
        slot.matches.clear();
        slot.generation = fill(&mut slot.matches);
        if self.conflicts > self.slots.len() && self.slots.len() < SLOTS_MAX {
            return self.grow_and_find(hash);
        }
        &self.slots[at].matches
    }

    /// Forgets everything, and with it the subscriptions that results hold on to.
    pub fn clear(&mut self) {
        self.slots = Vec::new();
        self.scratch = Matches::default();
    }

    fn grow_and_find(&mut self, hash: u64) -> &Matches<S, L> {
        self.conflicts = 0;
        let size = (self.slots.len() * 4).min(SLOTS_MAX);
        let mut slots = Vec::new();
        slots.resize_with(size, Slot::default);
        for slot in self.slots.drain(..).filter(|slot| slot.generation != 0) {
            let hash = self.hasher.hash_one((slot.account, &slot.subject[..]));
            slots[slot_of(hash, size)] = slot;
        }
        self.slots = slots;
        &self.slots[slot_of(hash, size)].matches
    }
}

/// The upper bits: the multiplication behind the hash mixes them best.
fn slot_of(hash: u64, slots: usize) -> usize {
    (hash >> 48) as usize % slots
}

#[cfg(test)]
mod tests {
    use super::*;

    type Numbers = LookupCache<u64, u8>;

    fn ask(cache: &mut Numbers, generation: u64, subject: &str, answer: u64) -> (u64, bool) {
        let mut filled = false;
        let found = cache.lookup(0, generation, subject.as_bytes(), |matches| {
            filled = true;
            matches.plain.push(answer);
            generation
        });
        (found.plain[0], filled)
    }

    #[test]
    fn the_third_lookup_of_a_subject_is_remembered_until_the_generation_moves() {
        let mut cache = Numbers::default();
        assert_eq!(ask(&mut cache, 1, "a", 1), (1, true));
        assert_eq!(ask(&mut cache, 1, "a", 2), (2, true));
        assert_eq!(ask(&mut cache, 1, "a", 3), (2, false));
        assert_eq!(ask(&mut cache, 2, "a", 4), (4, true));
        assert_eq!(ask(&mut cache, 2, "a", 5), (4, false));
    }

    #[test]
    fn accounts_do_not_share_results() {
        let mut cache = Numbers::default();
        for (account, answer) in [(0, 1), (1, 2), (0, 1), (1, 2), (0, 1), (1, 2)] {
            let found = cache.lookup(account, 1, b"a", |matches| {
                matches.plain.push(answer);
                1
            });
            assert_eq!(found.plain, [answer]);
        }
    }

    #[test]
    fn every_answer_is_right_while_the_cache_grows_and_it_stays_bounded() {
        let mut cache = Numbers::default();
        for round in 0..5 {
            for n in 0..3000_u64 {
                for _ in 0..3 {
                    let (found, filled) = ask(&mut cache, 1, &format!("s.{n}"), n);
                    assert_eq!(found, n);
                    assert!(filled || round > 0 || cache.slots.len() <= SLOTS_MAX);
                }
            }
        }
        assert_eq!(cache.slots.len(), SLOTS_MAX);
    }

    #[test]
    fn subjects_used_once_do_not_throw_out_the_useful_one() {
        let mut cache = Numbers::default();
        ask(&mut cache, 1, "hot", 1);
        ask(&mut cache, 1, "hot", 1);
        for n in 0..1000 {
            ask(&mut cache, 1, &format!("_INBOX.{n}"), n);
            assert_eq!(ask(&mut cache, 1, "hot", 2), (1, false));
        }
    }
}
