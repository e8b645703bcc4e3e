//! Watches on literal subjects: who wants to know when interest appears or goes away.
//!
//! Only a subscription to the very subject counts. A wildcard that covers it gets the messages once
//! somebody else is there, but is nobody's reason to send them: as on nats-server.

use std::hash::Hash;

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
    by_subject: HashMap<Box<[u8]>, Vec<Watch<L>>, FixedState>,
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
            by_subject: HashMap::default(),
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
        let Some(watches) = self.by_subject.get_mut(filter) else {
            return;
        };
        for known in watches {
            let present = has_interest(filter, known.queue.as_deref());
            if present != known.present {
                known.present = present;
                changes.push(Change {
                    watch: known.watch,
                    present,
                });
            }
        }
    }
}
