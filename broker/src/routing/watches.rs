//! Watches on literal subjects: who wants to know when interest appears or goes away.
//!
//! A change of a literal filter concerns one subject; a change of a wildcard filter concerns the
//! subjects that share its literal prefix, which are found as a range, not by trying all.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Bound;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Interest in a watched subject appeared or disappeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<L> {
    /// The watch.
    pub watch: L,
    /// Whether there is interest now.
    pub present: bool,
}

#[derive(Debug)]
pub(super) struct Watches<L> {
    by_subject: BTreeMap<Box<[u8]>, Vec<Watch<L>>>,
    subjects: HashMap<L, Box<[u8]>, FixedState>,
}

#[derive(Debug)]
struct Watch<L> {
    watch: L,
    queue: Option<Box<[u8]>>,
    present: bool,
}

impl<L> Default for Watches<L> {
    fn default() -> Self {
        Self {
            by_subject: BTreeMap::new(),
            subjects: HashMap::default(),
        }
    }
}

impl<L: Copy + Eq + Hash> Watches<L> {
    pub(super) fn insert(&mut self, subject: &[u8], queue: Option<&[u8]>, watch: L, present: bool) {
        self.remove(watch);
        self.subjects.insert(watch, subject.into());
        let entry = Watch {
            watch,
            queue: queue.map(Into::into),
            present,
        };
        self.by_subject
            .entry(subject.into())
            .or_default()
            .push(entry);
    }

    pub(super) fn remove(&mut self, watch: L) {
        let Some(subject) = self.subjects.remove(&watch) else {
            return;
        };
        if let Some(watches) = self.by_subject.get_mut(&subject) {
            watches.retain(|known| known.watch != watch);
            if watches.is_empty() {
                self.by_subject.remove(&subject);
            }
        }
    }

    pub(super) fn present(&self, watch: L) -> Option<bool> {
        let watches = self.by_subject.get(self.subjects.get(&watch)?)?;
        watches
            .iter()
            .find(|known| known.watch == watch)
            .map(|known| known.present)
    }

    /// Tries again the watches that a change of `filter` may concern, and reports those that
    /// turned.
    pub(super) fn update(
        &mut self,
        filter: &[u8],
        has_interest: impl Fn(&[u8], Option<&[u8]>) -> bool,
        changes: &mut Vec<Change<L>>,
    ) {
        if self.by_subject.is_empty() {
            return;
        }
        let prefix = literal_prefix(filter);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let range = self.by_subject.range_mut::<[u8], _>(from);
        for (subject, watches) in range.take_while(|(subject, _)| subject.starts_with(prefix)) {
            for known in watches {
                let present = has_interest(subject, known.queue.as_deref());
                if present != known.present {
                    known.present = present;
                    changes.push(Change {
                        watch: known.watch,
                        present,
                    });
                }
            }
            if prefix.len() == filter.len() {
                return;
            }
        }
    }
}

/// The part of a filter in front of its first wildcard token: all of it if there is none.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    let mut start = 0;
    for token in filter.split(|byte| *byte == b'.') {
        if token == b"*" || token == b">" {
            return &filter[..start];
        }
        start += token.len() + 1;
    }
    filter
}
