//! What the scan learns about each group: whether a file lists it, and what later records replace.
//!
//! A group's log is cut when a record comes with an index that was there before, when a truncation
//! says so, or when a reset ends everything. Of the cuts only those count that reach further back
//! than every later one, so they are kept as a stack with ascending positions and ascending
//! indexes: one look-up decides whether a record was replaced, however often a log was cut.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::format::{Kind, RecordHeader};
use crate::position::Lsn;

/// Records before `by` with this index or a higher one are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    from: u64,
    by: Lsn,
}

#[derive(Debug, Default)]
struct Group {
    last_index: u64,
    /// The newest file that lists it.
    listed: u32,
    cuts: Vec<Cut>,
}

impl Group {
    fn cut(&mut self, from: u64, by: Lsn) {
        while self.cuts.pop_if(|cut| cut.from >= from).is_some() {}
        self.cuts.push(Cut { from, by });
    }
}

/// All groups with records in the journal.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    numbers: HashMap<u64, u32, FixedState>,
    groups: Vec<Group>,
    /// The group that was looked up last, and its place: records of a group come in runs.
    last: Option<(u64, u32)>,
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

    /// Notes a good header at `at`; true when it is the first of its group in that file.
    pub(super) fn note(&mut self, header: &RecordHeader, at: Lsn) -> bool {
        let group = self.place(header.group);
        let index = header.index;
        match header.kind {
            Kind::Reset => {
                group.cut(0, at);
                group.last_index = index;
            }
            Kind::Truncate => {
                group.cut(index.max(1), at);
                group.last_index = group.last_index.min(index.saturating_sub(1));
            }
            Kind::Message | Kind::Control(_) if index == 0 => {}
            Kind::Message | Kind::Control(_) => {
                if index <= group.last_index {
                    group.cut(index, at);
                }
                group.last_index = index;
            }
        }
        std::mem::replace(&mut group.listed, at.file()) != at.file()
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
                _ if record.index == 0 => false,
                _ => later && record.index <= last && this.index > 0 && this.index >= record.index,
            };
            if hit {
                return true;
            }
            last = match record.kind {
                Kind::Reset => record.index,
                Kind::Truncate => last.min(record.index - 1),
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
                    let (kind, index) = match choose(12) {
                        0 => (Kind::Reset, choose(20)),
                        1 => (Kind::Truncate, index),
                        2 => (Kind::Control(0), 0),
                        3 => (Kind::Control(3), index),
                        _ => (Kind::Message, *last + 1),
                    };
                    *last = match kind {
                        Kind::Truncate => (*last).min(index - 1),
                        Kind::Control(0) => *last,
                        _ => index,
                    };
                    header(kind, group, index)
                })
                .collect();
            let mut groups = Groups::default();
            for (at, record) in records.iter().enumerate() {
                groups.note(record, Lsn::new(1, at as u32));
            }
            for (at, record) in records.iter().enumerate() {
                let found = groups.is_replaced(record, Lsn::new(1, at as u32));
                assert_eq!(found, slowly(&records, at), "seed {seed}, record {at}");
            }
        }
    }
}
