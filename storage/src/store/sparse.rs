//! Segments that groups share, judged as whole files.
//!
//! A group judges its own sections. A file goes when none of its sections has anything alive, so one
//! message of one group may keep what all the others have left. When less than half of a file is
//! alive, the groups that are left are copied out of it.

use std::collections::BTreeMap;

use super::{Retire, Store};
use crate::messages::FileMessages;

/// What is alive in segments, of all groups together.
#[derive(Debug, Default)]
pub struct Shares(BTreeMap<u32, Share>);

#[derive(Debug, Default)]
struct Share {
    /// Bytes of records that are alive, rather more than less.
    live: u64,
    /// Bytes of records, alive or not.
    all: u64,
}

impl Shares {
    /// Counts a group.
    pub fn add(&mut self, messages: &FileMessages) {
        for (number, live, all) in messages.shares() {
            let share = self.0.entry(number).or_default();
            share.live += live;
            share.all = share.all.max(all);
        }
    }
}

impl Store {
    /// The groups to be copied out of files that are mostly dead, at most about `most` bytes, if
    /// there are any. All groups have to be counted in `shares`.
    pub fn plan_renewal(&mut self, shares: &Shares, mut most: u64) -> Option<Retire> {
        self.renewing.clear();
        let mut groups = Vec::new();
        for (number, share) in &shares.0 {
            let Some(left) = self.segments.get(number) else {
                continue;
            };
            // What an adopted file has besides is counted by each of its sections.
            let whole = !self.bodies.contains_key(number);
            let left = || left.iter().filter(|group| self.groups.contains_key(*group));
            let free = !left().any(|group| self.held.contains(group));
            if whole && free && share.live * 2 < share.all && share.live <= most {
                most -= share.live;
                groups.extend(left());
                self.renewing.insert(*number);
            }
        }
        groups.sort_unstable();
        groups.dedup();
        (!groups.is_empty()).then_some(Retire { through: 0, groups })
    }
}
