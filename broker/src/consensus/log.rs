//! The log as the engine reads it: what was handed out to be written, from a bounded distance behind what is applied.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// Bytes of entries from which on applied ones go that every member in touch has.
const KEPT: usize = 1 << 20;
/// Bytes from which on applied ones go all the same: a member that needs them will fetch the state.
const MOST: usize = 64 << 20;
/// What an entry costs beside its data.
const OVERHEAD: usize = 96;

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    hard: HardState,
    members: ConfState,
    /// Index and term of the entry before the first.
    base: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Everything up to here is applied.
    applied: u64,
    /// Everything up to here may be forgotten.
    settled: u64,
}

impl Log {
    pub(super) fn new(
        hard: HardState,
        members: ConfState,
        base: (u64, u64),
        entries: Vec<Entry>,
    ) -> Self {
        let bytes = entries.iter().map(size).sum();
        Self {
            hard,
            members,
            base,
            entries: entries.into(),
            bytes,
            applied: base.0,
            settled: base.0,
        }
    }

    /// Adds entries; those from the first one's index on are replaced.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        while let Some(last) = self.entries.pop_back_if(|last| last.index >= first.index) {
            self.bytes -= size(&last);
        }
        self.bytes += entries.iter().map(size).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// The members have changed.
    pub(super) fn changed(&mut self, index: u64, members: &ConfState) {
        self.applied = self.applied.max(index);
        self.members = members.clone();
    }

    /// Everything up to `index` is applied: what is far behind may go, if it is settled, and `slowest` has it.
    pub(super) fn applied(&mut self, index: u64, settled: u64, slowest: u64) {
        self.applied = index;
        self.settled = settled.min(index);
        while self.bytes > KEPT && self.base.0 < self.settled {
            if self.base.0 >= slowest && self.bytes <= MOST {
                return;
            }
            self.forget_first();
        }
    }

    /// Nobody needs what is applied.
    pub(super) fn forget(&mut self) {
        while self.base.0 < self.settled {
            self.forget_first();
        }
        self.entries.shrink_to_fit();
    }

    fn forget_first(&mut self) {
        let Some(first) = self.entries.pop_front() else {
            self.settled = self.base.0;
            return;
        };
        self.bytes -= size(&first);
        self.base = (first.index, first.term);
    }

    /// The state up to `index` was installed.
    pub(super) fn restore(&mut self, index: u64, term: u64, members: &ConfState) {
        self.base = (index, term);
        self.entries.clear();
        self.bytes = 0;
        (self.applied, self.settled) = (index, index);
        self.members = members.clone();
    }

    /// The entries behind `index`.
    pub(super) fn after(&self, index: u64) -> impl Iterator<Item = &Entry> {
        let skip = usize::try_from(index.saturating_sub(self.base.0)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip)
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.base.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }
}

fn size(entry: &Entry) -> usize {
    entry.data.len() + OVERHEAD
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard.clone(), self.members.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let most = max_size.into().unwrap_or(u64::MAX);
        let mut bytes: u64 = 0;
        let wanted = usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX);
        let fitting = self.after(low - 1).take(wanted).take_while(|entry| {
            let first = bytes == 0;
            bytes += size(entry) as u64;
            first || bytes <= most
        });
        let found: Vec<Entry> = fitting.cloned().collect();
        if found.is_empty() {
            return Err(StorageError::Unavailable.into());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index < self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let entry = self.at(index).ok_or(StorageError::Unavailable)?;
        Ok(entry.term)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + self.entries.len() as u64)
    }

    /// Tells only of which index a state would be: the state itself is fetched by other means.
    fn snapshot(&self, request_index: u64, _: u64) -> raft::Result<Snapshot> {
        if self.applied < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        meta.index = self.applied;
        meta.term = self.term(self.applied)?;
        meta.set_conf_state(self.members.clone());
        Ok(snapshot)
    }
}
