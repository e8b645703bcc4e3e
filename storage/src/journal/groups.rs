//! What the scan learns about each group: whether a file lists it, and what later records replace.
//!
//! A group's log is cut when a record comes with an index that was there before, when a truncation
//! says so, or when a reset ends everything. Of the cuts only those count that reach further back
//! than every later one, so they are kept as a stack with ascending positions and ascending
//! indexes: one look-up decides whether a record was replaced, however often a log was cut.

use std::collections::BTreeSet;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::format::{Kind, Record, RecordHeader};
use crate::position::Lsn;

/// Records before `by` with this index or a higher one are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    from: u64,
    by: Lsn,
}

/// A file that lists a group, and the lowest index of the group there that is not a copy's.
#[derive(Clone, Copy, Debug)]
struct Listed {
    file: u32,
    first: u64,
}

#[derive(Clone, Debug, Default)]
struct Group {
    last_index: u64,
    /// The files that list it, oldest first.
    files: Vec<Listed>,
    cuts: Vec<Cut>,
}

/// What a record says about its group's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) group: u64,
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    pub(crate) seq: u64,
}

impl From<&RecordHeader> for Entry {
    fn from(header: &RecordHeader) -> Self {
        Self {
            group: header.group,
            kind: header.kind,
            index: header.index,
            seq: header.seq,
        }
    }
}

impl From<&Record<'_>> for Entry {
    fn from(record: &Record<'_>) -> Self {
        Self {
            group: record.group,
            kind: record.kind,
            index: record.index,
            seq: record.seq,
        }
    }
}

impl Group {
    fn cut(&mut self, from: u64, by: Lsn) {
        while self.cuts.pop_if(|cut| cut.from >= from).is_some() {}
        self.cuts.push(Cut { from, by });
    }

    /// The files that may hold something with this index or a higher one.
    fn files_from(&self, index: u64) -> impl Iterator<Item = u32> + '_ {
        // A file that begins below was written when everything from there on was replaced.
        let mut done = false;
        let newest_first = self.files.iter().rev();
        newest_first
            .take_while(move |listed| !std::mem::replace(&mut done, listed.first < index))
            .map(|listed| listed.file)
    }
}

/// All groups with records in the journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    numbers: HashMap<u64, u32, FixedState>,
    groups: Vec<Group>,
    /// The group that was looked up last, and its place: records of a group come in runs.
    last: Option<(u64, u32)>,
    /// Files in which a sequence of a group may be there twice, because a record was replaced or is
    /// a copy.
    ambiguous: BTreeSet<u32>,
    /// A group keeps a log.
    any_log: bool,
}

impl Groups {
    fn place(&mut self, group: u64) -> &mut Group {
        let place = match self.last {
            Some((last, place)) if last == group => place,
            _ => {
                let next = self.groups.len() as u32;
                let place = *self.numbers.entry(group).or_insert(next);
                if place == next {
                    self.groups.push(Group::default());
                }
                self.last = Some((group, place));
                place
            }
        };
        &mut self.groups[place as usize]
    }

    /// Notes a record at `at`; true when it is the first of its group in that file.
    pub(crate) fn note(&mut self, entry: Entry, at: Lsn) -> bool {
        let mut ambiguous = std::mem::take(&mut self.ambiguous);
        let group = self.place(entry.group);
        let index = entry.index;
        let new = group.files.last().is_none_or(|last| last.file != at.file());
        if new {
            let (file, first) = (at.file(), u64::MAX);
            group.files.push(Listed { file, first });
        }
        let mut replace = |group: &mut Group, from: u64| {
            ambiguous.extend(group.files_from(from));
            group.cut(from, at);
        };
        match entry.kind {
            Kind::Reset => {
                replace(group, 0);
                group.last_index = index;
            }
            Kind::Truncate => {
                replace(group, index.max(1));
                group.last_index = group.last_index.min(index.saturating_sub(1));
            }
            Kind::Install => {
                let from = entry.seq.max(1);
                if from <= group.last_index {
                    replace(group, from);
                    group.last_index = from - 1;
                }
                group.last_index = group.last_index.max(index);
            }
            Kind::MessageAgain => {
                ambiguous.insert(at.file());
                group.last_index = group.last_index.max(index);
            }
            Kind::ControlAgain(_) => group.last_index = group.last_index.max(index),
            Kind::Control(_) if index == 0 => {}
            Kind::Message if index == 0 => {
                // The log may hold the same sequence, and not be committed.
                if group.last_index > 0 {
                    ambiguous.insert(at.file());
                }
            }
            Kind::Message | Kind::Control(_) => {
                if index <= group.last_index {
                    replace(group, index);
                }
                group.last_index = index;
                if let Some(listed) = group.files.last_mut() {
                    listed.first = listed.first.min(index);
                }
            }
        }
        let keeps_log = group.last_index > 0;
        self.ambiguous = ambiguous;
        self.any_log |= keeps_log;
        new
    }

    /// Whether no group keeps a log.
    pub(crate) fn is_without_logs(&self) -> bool {
        !self.any_log
    }

    /// Whether a file may hold a sequence of a group twice.
    pub(crate) fn is_ambiguous(&self, file: u32) -> bool {
        self.ambiguous.contains(&file)
    }

    /// Notes that a file may hold a sequence twice.
    pub(crate) fn set_ambiguous(&mut self, file: u32) {
        self.ambiguous.insert(file);
    }

    /// What is left of the groups without the files up to `retired`.
    pub(crate) fn without(mut self, retired: u32) -> Self {
        let mut left = Self {
            ambiguous: self.ambiguous.split_off(&(retired + 1)),
            ..Self::default()
        };
        if !self.any_log {
            return left;
        }
        for (id, place) in self.numbers {
            let group = &mut self.groups[place as usize];
            group.files.retain(|listed| listed.file > retired);
            group.cuts.retain(|cut| cut.by.file() > retired);
            if !group.files.is_empty() {
                left.numbers.insert(id, left.groups.len() as u32);
                left.any_log |= group.last_index > 0;
                left.groups.push(std::mem::take(group));
            }
        }
        left
    }

    fn find(&self, group: u64) -> Option<&Group> {
        self.groups.get(*self.numbers.get(&group)? as usize)
    }

    /// Whether any log was cut.
    pub(super) fn any_cut(&self) -> bool {
        self.groups.iter().any(|group| !group.cuts.is_empty())
    }

    /// Whether a later record replaced this one.
    pub(super) fn is_replaced(&self, header: &RecordHeader, at: Lsn) -> bool {
        let Some(group) = self.find(header.group) else {
            return false;
        };
        let later = group.cuts.partition_point(|cut| cut.by <= at);
        let cut = group.cuts.get(later);
        // What has no index is not part of the log: only a reset ends it.
        cut.is_some_and(|cut| cut.from <= header.index && (header.index > 0 || cut.from == 0))
    }

    /// Where the group was last reset.
    pub(crate) fn reset(&self, group: u64) -> Option<Lsn> {
        let cut = self.find(group)?.cuts.first()?;
        (cut.from == 0).then_some(cut.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, group: u64, index: u64) -> RecordHeader {
        RecordHeader {
            body_sum: 0,
            group,
            index,
            seq: 0,
            timestamp: 0,
            term: 0,
            headers_len: 0,
            payload_len: 0,
            key_len: 0,
            kind,
        }
    }

    /// Every record against every later one, as the format describes it.
    fn slowly(records: &[RecordHeader], at: usize) -> bool {
        let this = &records[at];
        let mut last: u64 = 0;
        for (place, record) in records.iter().enumerate() {
            if record.group != this.group {
                continue;
            }
            let later = place > at;
            let hit = match record.kind {
                Kind::Reset => later,
                Kind::Truncate => later && this.index > 0 && this.index >= record.index,
                Kind::Install => {
                    later && this.index > 0 && this.index >= record.seq && record.seq <= last
                }
                Kind::MessageAgain | Kind::ControlAgain(_) => false,
                _ if record.index == 0 => false,
                _ => later && record.index <= last && this.index > 0 && this.index >= record.index,
            };
            if hit {
                return true;
            }
            last = match record.kind {
                Kind::Reset => record.index,
                Kind::Install => last.min(record.seq - 1).max(record.index),
                Kind::Truncate => last.min(record.index - 1),
                Kind::MessageAgain | Kind::ControlAgain(_) => last.max(record.index),
                _ if record.index == 0 => last,
                _ => record.index,
            };
        }
        false
    }

    #[test]
    fn replaced_records_are_those_that_the_format_names() {
        for seed in 0..300_u64 {
            let mut state = seed;
            let mut choose = |below: u64| {
                state = crate::journal::mix(state);
                state % below
            };
            let mut last = [0_u64; 2];
            let records: Vec<RecordHeader> = (0..60)
                .map(|_| {
                    let group = choose(2);
                    let last = &mut last[group as usize];
                    let index = 1 + choose(*last + 2);
                    let mut seq = 0;
                    let (kind, index) = match choose(15) {
                        12 => (Kind::MessageAgain, index.min(*last)),
                        13 => (Kind::ControlAgain(3), index.min(*last)),
                        14 => {
                            seq = 1 + choose(*last + 4);
                            (Kind::Install, choose(*last + 9))
                        }
                        0 => (Kind::Reset, choose(20)),
                        1 => (Kind::Truncate, index),
                        2 => (Kind::Control(0), 0),
                        3 => (Kind::Control(3), index),
                        _ => (Kind::Message, *last + 1),
                    };
                    *last = match kind {
                        Kind::Install => (*last).min(seq - 1).max(index),
                        Kind::Truncate => (*last).min(index - 1),
                        Kind::Control(0) | Kind::MessageAgain | Kind::ControlAgain(_) => *last,
                        _ => index,
                    };
                    RecordHeader {
                        seq,
                        ..header(kind, group, index)
                    }
                })
                .collect();
            let mut groups = Groups::default();
            for (at, record) in records.iter().enumerate() {
                groups.note(record.into(), Lsn::new(1 + at as u32 / 10, at as u32));
            }
            for (at, record) in records.iter().enumerate() {
                let file = 1 + at as u32 / 10;
                let found = groups.is_replaced(record, Lsn::new(file, at as u32));
                assert_eq!(found, slowly(&records, at), "seed {seed}, record {at}");
                let twice = found || record.kind == Kind::MessageAgain;
                assert!(
                    !twice || groups.is_ambiguous(file),
                    "seed {seed}, record {at}"
                );
            }
        }
    }
}
