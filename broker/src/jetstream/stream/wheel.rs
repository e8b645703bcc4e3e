//! Sequences by the second in which their time is over: a wheel of wheels.
//!
//! Each level has 64 slots, each 64 times as long as those of the level below. A sequence lies in the level of the
//! highest six bits in which its second differs from the present one, and moves down when the present reaches its
//! slot. The wheel does not know whether a message still exists: it asks when a slot comes up, and when a slot holds
//! too many that are gone.

use crate::jetstream::io::Timestamp;

const SECOND: i64 = 1_000_000_000;
/// Bits of the second per level.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// Enough for every time that a [`Timestamp`] can tell.
const LEVELS: usize = 6;
/// Below this size a slot is not searched for what is gone.
const SLACK: usize = 64;

#[derive(Debug)]
struct Slot {
    seqs: Vec<u64>,
    /// How many of them may be gone.
    stale: usize,
    /// No deadline in here is earlier.
    earliest: Timestamp,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            seqs: Vec::new(),
            stale: 0,
            earliest: Timestamp::MAX,
        }
    }
}

/// The wheel.
#[derive(Debug, Default)]
pub(super) struct Wheel {
    /// The present second.
    base: i64,
    /// The slots of each level, made with the first sequence there.
    levels: [Vec<Slot>; LEVELS],
    /// A bit for each slot that holds anything.
    occupied: [u64; LEVELS],
    /// What is over and was not taken yet.
    ready: Vec<u64>,
    /// Whether `ready` is descending.
    sorted: bool,
    len: usize,
}

/// Deadlines of the messages that exist.
pub(super) trait Alive {
    /// The deadline of a message; `None` if it is gone.
    fn deadline(&self, seq: u64) -> Option<Timestamp>;
}

fn second(time: Timestamp) -> i64 {
    time.div_euclid(SECOND)
}

impl Wheel {
    /// Adds a sequence at the time `now`.
    pub(super) fn add(&mut self, seq: u64, deadline: Timestamp, now: Timestamp) {
        if self.len == 0 {
            self.base = self.base.max(second(now));
        }
        self.len += 1;
        self.put(seq, deadline);
    }

    fn put(&mut self, seq: u64, deadline: Timestamp) {
        let (level, at) = self.place(deadline);
        self.occupied[level] |= 1 << at;
        let slots = &mut self.levels[level];
        if slots.is_empty() {
            slots.resize_with(SLOTS, Slot::default);
        }
        let slot = &mut slots[at];
        slot.seqs.push(seq);
        slot.earliest = slot.earliest.min(deadline);
    }

    /// Level and slot of a deadline; what is over already belongs to the present second.
    fn place(&self, deadline: Timestamp) -> (usize, usize) {
        let second = second(deadline).max(self.base);
        let differ = (second ^ self.base).unsigned_abs();
        let level = (u64::BITS - differ.leading_zeros()).saturating_sub(1) / BITS;
        let at = (second >> (level * BITS)) as usize & (SLOTS - 1);
        (level as usize, at)
    }

    /// A sequence with this deadline is gone.
    pub(super) fn forget(&mut self, deadline: Timestamp, alive: &impl Alive) {
        let (level, at) = self.place(deadline);
        let Some(slot) = self.levels[level].get_mut(at) else {
            return;
        };
        slot.stale += 1;
        if slot.seqs.len() < SLACK || slot.stale * 2 < slot.seqs.len() {
            return;
        }
        let before = slot.seqs.len();
        slot.seqs.retain(|seq| alive.deadline(*seq).is_some());
        slot.stale = 0;
        self.len -= before - slot.seqs.len();
        if slot.seqs.is_empty() {
            self.empty(level, at);
        }
    }

    fn empty(&mut self, level: usize, at: usize) -> Vec<u64> {
        self.occupied[level] &= !(1 << at);
        let slot = self.levels[level].get_mut(at);
        slot.map_or(Vec::new(), |slot| std::mem::take(slot).seqs)
    }

    /// No deadline is earlier than this; `None` if there is none.
    pub(super) fn first(&self) -> Option<Timestamp> {
        if !self.ready.is_empty() {
            return Some(Timestamp::MIN);
        }
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let at = self.occupied[level].trailing_zeros() as usize;
        Some(self.levels[level].get(at)?.earliest)
    }

    /// Takes at most `most` sequences whose deadline has come, the lowest first.
    pub(super) fn take(&mut self, now: Timestamp, most: usize, alive: &impl Alive) -> Vec<u64> {
        if self.len == 0 {
            return Vec::new();
        }
        self.turn(second(now), alive);
        self.split_present(now, alive);
        if !self.sorted {
            self.ready.sort_unstable_by(|a, b| b.cmp(a));
            self.ready.dedup();
            self.sorted = true;
        }
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(seq) = self.ready.pop() else {
                break;
            };
            self.len -= 1;
            if alive.deadline(seq).is_some() {
                taken.push(seq);
            }
        }
        taken
    }

    /// Whether more is over than was taken.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Turns on to the second `to`: what lies before it is over.
    fn turn(&mut self, to: i64, alive: &impl Alive) {
        while self.base < to {
            let at = self.base as usize & (SLOTS - 1);
            let over = self.empty(0, at);
            self.sorted &= over.is_empty();
            self.ready.extend(over);
            let Some((level, at, start)) = self.next_slot().filter(|next| next.2 <= to) else {
                break;
            };
            self.base = start;
            if level > 0 {
                for seq in self.empty(level, at) {
                    match alive.deadline(seq) {
                        Some(deadline) => self.put(seq, deadline),
                        None => self.len -= 1,
                    }
                }
            }
        }
        self.base = self.base.max(to);
    }

    /// The next slot that holds anything, as level, place and first second.
    fn next_slot(&self) -> Option<(usize, usize, i64)> {
        for (level, bits) in self.occupied.iter().enumerate() {
            let shift = level as u32 * BITS;
            let present = (self.base >> shift) as u32 & (SLOTS as u32 - 1);
            let later = bits & u64::MAX.checked_shl(present + 1).unwrap_or(0);
            if later != 0 {
                let at = later.trailing_zeros();
                let above = self.base >> (shift + BITS) << (shift + BITS);
                return Some((level, at as usize, above | i64::from(at) << shift));
            }
        }
        None
    }

    /// Moves what is over in the present second to what is ready.
    fn split_present(&mut self, now: Timestamp, alive: &impl Alive) {
        let at = self.base as usize & (SLOTS - 1);
        let present = self.levels[0].get(at);
        if present.is_none_or(|slot| slot.earliest > now) {
            return;
        }
        for seq in self.empty(0, at) {
            match alive.deadline(seq) {
                Some(deadline) if deadline > now => self.put(seq, deadline),
                Some(_) => {
                    self.ready.push(seq);
                    self.sorted = false;
                }
                None => self.len -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, Default)]
    struct Model(BTreeMap<u64, Timestamp>);

    impl Alive for Model {
        fn deadline(&self, seq: u64) -> Option<Timestamp> {
            self.0.get(&seq).copied()
        }
    }

    #[test]
    fn everything_comes_when_it_is_over_and_not_before() {
        let mut random = 1_u64;
        let mut below = |end: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 20) % end
        };
        for round in 0..20 {
            let (mut wheel, mut model) = (Wheel::default(), Model::default());
            let mut now = 1_700_000_000 * SECOND + round;
            let mut seq = 0;
            for _ in 0..2000 {
                match below(10) {
                    0..6 => {
                        seq += 1;
                        let longest = [2, 100, 10_000, 100_000_000][below(4) as usize];
                        let life = 1 + below(longest) as i64 * SECOND / 2;
                        model.0.insert(seq, now + life);
                        wheel.add(seq, now + life, now);
                    }
                    6 if seq > 0 => {
                        let gone = 1 + below(seq);
                        if let Some(deadline) = model.0.remove(&gone) {
                            wheel.forget(deadline, &model);
                        }
                    }
                    _ => {
                        let most = [5, usize::MAX][below(2) as usize];
                        let longest = [2, 100, 5000, 50_000_000][below(4) as usize];
                        now += below(longest) as i64 * SECOND / 3;
                        if let Some(first) = model.0.values().min() {
                            assert!(wheel.first().is_some_and(|known| known <= *first));
                        }
                        let taken = wheel.take(now, most, &model);
                        assert!(taken.is_sorted() && taken.len() <= most);
                        for seq in &taken {
                            assert!(model.0.remove(seq).is_some_and(|one| one <= now));
                        }
                        let left = model.0.values().filter(|one| **one <= now).count();
                        assert_eq!(left > 0, taken.len() == most && left > 0);
                        assert!(left == 0 || wheel.has_ready());
                    }
                }
            }
            assert_eq!(
                wheel.take(i64::MAX - 1, usize::MAX, &model).len(),
                model.0.len()
            );
        }
    }

    #[test]
    fn a_clock_that_jumps_loses_nothing() {
        let mut model = Model(BTreeMap::from([(1, 5 * SECOND), (2, 500 * SECOND), (3, 1)]));
        let mut wheel = Wheel::default();
        for (seq, deadline) in model.0.clone() {
            wheel.add(seq, deadline, 100 * SECOND);
        }
        // The first clock was ahead; this one is not.
        assert_eq!(wheel.take(2 * SECOND, 9, &model), [3]);
        model.0.remove(&3);
        assert_eq!(wheel.take(6 * SECOND, 9, &model), [1]);
        model.0.remove(&1);
        wheel.add(4, 7 * SECOND, 6 * SECOND);
        model.0.insert(4, 7 * SECOND);
        assert_eq!(wheel.first(), Some(7 * SECOND));
        assert_eq!(wheel.take(i64::MAX - 1, 9, &model), [2, 4]);
    }

    #[test]
    fn a_slot_does_not_keep_what_is_gone() {
        let (mut wheel, mut model) = (Wheel::default(), Model::default());
        for seq in 0..100_000 {
            model.0.insert(seq, 3600 * SECOND);
            wheel.add(seq, 3600 * SECOND, 0);
            if seq >= 100 {
                let deadline = model.0.remove(&(seq - 100));
                wheel.forget(deadline.unwrap(), &model);
            }
        }
        assert!(wheel.len < 1000, "{}", wheel.len);
    }
}
