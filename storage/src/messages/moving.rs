//! How the messages of a file store move into sealed sections.
//!
//! The owner takes a plan: a snapshot of what is alive in sections that are mostly dead, and of the
//! tail's messages. A job copies them, and the owner puts the new sections in the place of what they
//! hold, in time proportional to sections and keys. Single messages that went while the job ran are
//! noted; what went from the front is known by the first sequence.

use std::collections::BTreeSet;

use super::file::{FileMessages, is_early, pack, unpack};
use super::index::Entry;
use super::sealed::Sealed;
use super::seqmap::SeqMap;
use super::{KeyId, Location};

/// So many neighbours below one of these sizes become one section, so that every message is copied
/// a few times only, and a store has a few sections of each size.
const MERGED: usize = 8;
const TIERS: [u64; 4] = [4 << 10, 32 << 10, 256 << 10, 2 << 20];

/// A message to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyItem {
    pub(crate) seq: u64,
    pub(crate) timestamp: i64,
    pub(crate) location: Location,
    pub(crate) key: KeyId,
    pub(crate) size: u32,
}

/// Adjacent messages of a store that are to become a section of their own: those of some old
/// sections, then, if this is the last part, those of the tail.
#[derive(Debug)]
pub(crate) struct PlannedPart {
    old: Vec<Sealed>,
    tail: SeqMap<Entry>,
}

/// What of a store is to be copied.
#[derive(Debug)]
pub(crate) struct CopyPlan {
    number: u64,
    /// Everything of the tail up to this sequence is in the plan.
    pub(crate) through: u64,
    /// Ascending.
    pub(crate) parts: Vec<PlannedPart>,
    /// How much of it is in sections already.
    pub(crate) rewritten: u64,
    /// It goes into chunks, in segments of its own.
    pub(crate) packed: bool,
}

/// The sections that replace a part.
#[derive(Debug, Default)]
pub(crate) struct MovedPart {
    /// The sequences that its sections may have.
    pub(crate) range: (u64, u64),
    /// First and last sequence of the old sections.
    old: Option<(u64, u64)>,
    pub(crate) sections: Vec<Sealed>,
}

/// Where a copy job put a group's messages.
#[derive(Debug)]
pub(crate) struct MovedGroup {
    pub(crate) group: u64,
    plan: u64,
    through: u64,
    pub(crate) parts: Vec<MovedPart>,
    /// Messages that could not be read.
    pub(crate) lost: Vec<u64>,
}

/// What went while a plan was carried out.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Number of the plan; 0 before the first.
    plan: u64,
    /// The plan is being carried out.
    open: bool,
    /// Highest sequence in it.
    last: u64,
    /// Messages removed singly, and whether they are to be erased.
    single: Vec<(u64, bool)>,
}

impl Removals {
    /// What a job that is at work brings is not taken over any more.
    pub(super) fn close(&mut self) {
        self.open = false;
    }

    pub(super) fn note(&mut self, seq: u64, erase: bool) {
        if self.open && seq <= self.last {
            self.single.push((seq, erase));
        }
    }
}

fn item((seq, entry): (u64, Entry)) -> CopyItem {
    CopyItem {
        seq,
        timestamp: entry.timestamp,
        location: unpack(entry.place),
        key: entry.key,
        size: entry.size,
    }
}

impl PlannedPart {
    /// The messages to copy, ascending.
    pub(crate) fn items(&self) -> impl Iterator<Item = CopyItem> + '_ {
        let old = self.old.iter().flat_map(|section| section.live_rows());
        old.chain(self.tail.iter_from(0)).map(item)
    }

    fn is_empty(&self) -> bool {
        self.old.is_empty() && self.tail.len() == 0
    }

    /// The sequences that its sections may have.
    fn range(&self) -> (u64, u64) {
        let (old, tail) = (&self.old, &self.tail);
        let first = old.first().map(Sealed::base);
        let last = old.last().map(Sealed::last);
        (
            first.or(tail.first().map(|(seq, _)| seq)).unwrap_or(0),
            tail.last().map(|(seq, _)| seq).or(last).unwrap_or(0),
        )
    }
}

impl CopyPlan {
    /// What the messages that are not in certain journal files count for.
    pub(crate) fn bytes_outside(&self, inside: impl Fn(u32) -> bool) -> u64 {
        let copied = |item: &CopyItem| match item.location {
            Location::Journal { file, .. } => !inside(file),
            Location::Segment { .. } => true,
        };
        let items = self.items().filter(copied);
        items.map(|item| u64::from(item.size)).sum()
    }

    /// All messages, ascending.
    pub(crate) fn items(&self) -> impl Iterator<Item = CopyItem> + '_ {
        self.parts.iter().flat_map(PlannedPart::items)
    }

    /// The answer to the plan, without sections yet.
    pub(crate) fn begin(&self, group: u64) -> MovedGroup {
        let part = |part: &PlannedPart| MovedPart {
            range: part.range(),
            old: part
                .old
                .first()
                .zip(part.old.last())
                .map(|(first, last)| (first.base(), last.last())),
            sections: Vec::new(),
        };
        MovedGroup {
            group,
            plan: self.number,
            through: self.through,
            parts: self.parts.iter().map(part).collect(),
            lost: Vec::new(),
        }
    }
}

impl FileMessages {
    /// Plans to copy what lies in journal files up to `through` and was not copied yet, and up to
    /// about `most` bytes of sections that are mostly dead, very small, or in a segment to `renew`.
    /// Replaces an earlier plan.
    pub(crate) fn plan_copy(&mut self, through: u32, most: u64, renew: &BTreeSet<u32>) -> CopyPlan {
        let (tail, through) = self.uncopied(through);
        let mut parts = self.worn(most, renew);
        let old = parts.iter().flat_map(|part| &part.old);
        let rewritten = old.map(Sealed::bytes).sum();
        let last = self.index.sections.list.back().map(Sealed::base);
        let joins = |part: &PlannedPart| part.old.last().map(Sealed::base) == last;
        match parts.last_mut() {
            Some(part) if joins(part) => part.tail = tail,
            _ => parts.push(PlannedPart {
                old: Vec::new(),
                tail,
            }),
        }
        parts.retain(|part| !part.is_empty());
        let removals = &mut self.bodies.removals;
        removals.plan += 1;
        removals.open = true;
        removals.last = through.max(parts.last().map_or(0, |part| part.range().1));
        removals.single = Vec::new();
        CopyPlan {
            number: removals.plan,
            through,
            parts,
            rewritten,
            packed: false,
        }
    }

    /// The live messages in journal files up to `through` that are not in a section, and the
    /// sequence up to which that is all of them.
    fn uncopied(&self, through: u32) -> (SeqMap<Entry>, u64) {
        let early = |entry: &Entry| is_early(entry, through);
        let disordered = self.bodies.disordered;
        let tail = if disordered == 0 {
            // Later messages have later sequences, and lie in later files.
            self.index.tail.clone_while(early)
        } else {
            let entries = self.index.tail.iter_from(0);
            // What lies in later files between them is copied a little early.
            let last = entries.filter(|(_, entry)| early(entry)).last();
            let last = last.map_or(0, |(seq, _)| seq);
            self.index.tail.clone_through(last)
        };
        let next = match tail.last() {
            Some((seq, _)) => self
                .index
                .tail
                .at_or_after(seq.saturating_add(1))
                .filter(|(next, _)| *next > seq),
            None => self.index.tail.first(),
        };
        // Sequences of which nothing is left are dealt with as well.
        (tail, next.map_or(self.index.last_seq, |(seq, _)| seq - 1))
    }

    /// Runs of adjacent sections that are worth a rewrite or in a segment to `renew`, up to
    /// about `most` bytes.
    fn worn(&self, most: u64, renew: &BTreeSet<u32>) -> Vec<PlannedPart> {
        let mut parts: Vec<PlannedPart> = Vec::new();
        let mut bytes = 0;
        let mut adjacent = false;
        for (section, worn) in self.index.sections.list.iter().zip(self.which_are_worn()) {
            let number = section.number();
            let wanted = worn || renew.contains(&number) || self.bodies.spoilt.contains(&number);
            if !wanted || bytes >= most {
                adjacent = false;
                continue;
            }
            bytes += section.bytes();
            if !adjacent {
                parts.push(PlannedPart {
                    old: Vec::new(),
                    tail: SeqMap::new(),
                });
            }
            adjacent = true;
            if let Some(part) = parts.last_mut() {
                part.old.push(section.clone());
            }
        }
        parts
    }

    /// For each section, whether it is mostly dead, or one of many small neighbours: a store that
    /// gets little at a time would otherwise end with a section for each pass.
    fn which_are_worn(&self) -> Vec<bool> {
        let list = &self.index.sections.list;
        let mut worn: Vec<bool> = list.iter().map(Sealed::is_worn).collect();
        if list.len() < MERGED {
            return worn;
        }
        for limit in TIERS {
            let small = |at: usize| list.get(at).is_some_and(|section| section.bytes() < limit);
            let mut from = 0;
            for at in 0..=list.len() {
                if small(at) {
                    continue;
                }
                if at - from >= MERGED {
                    worn[from..at].fill(true);
                }
                from = at + 1;
            }
        }
        worn
    }

    /// Takes over what a copy job did. An answer to a plan that was replaced changes nothing.
    pub(crate) fn relocate(&mut self, moved: &MovedGroup) {
        let removals = std::mem::take(&mut self.bodies.removals);
        self.bodies.removals.plan = removals.plan;
        if !removals.open || removals.plan != moved.plan {
            self.bodies.removals = removals;
            return;
        }
        for seq in &moved.lost {
            self.index.remove(*seq);
        }
        let first_seq = self.index.state().first_seq;
        for part in &moved.parts {
            if let Some((first, last)) = part.old {
                self.index.sections.take_range(first, last);
            }
            for section in &part.sections {
                self.take_over(section.clone(), first_seq, &removals.single);
            }
        }
        let list = &self.index.sections.list;
        let named = |number: &u32| list.iter().any(|section| section.number() == *number);
        self.bodies.spoilt.retain(named);
        self.index.tail.drop_through(moved.through);
        if self.bodies.disordered <= moved.through {
            self.bodies.disordered = 0;
        }
        self.bodies.copied_through = self.bodies.copied_through.max(moved.through);
    }

    /// Puts a new section in the place of what it holds.
    fn take_over(&mut self, mut section: Sealed, first_seq: u64, removed: &[(u64, bool)]) {
        let through = section.last();
        for key in 0..section.tables.keys() {
            let span = section.tables.span(key);
            self.index.keys.seal_tail(section.id(key), through, span);
        }
        // What went since the plan was made was taken from the keys then.
        while section.live() > 0 && section.tables.seq(section.front()) < first_seq {
            section.kill(section.front());
        }
        let range = section.base()..=section.last();
        for (seq, erase) in removed.iter().filter(|(seq, _)| range.contains(seq)) {
            let Some(row) = section.tables.find(*seq) else {
                continue;
            };
            if section.is_alive(row) {
                section.kill(row);
            }
            if *erase {
                let offset = section.tables.row(row).offset;
                let file = section.number();
                let place = pack(Location::Segment { file, offset });
                self.bodies.erase(place);
            }
        }
        self.index.sections.insert(section);
    }
}
