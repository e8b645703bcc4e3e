//! The log as the engine reads it: what was handed out to be written, from a bounded distance behind what is applied.

use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// Bytes of applied entries that are kept for members that are a little behind.
const KEPT: usize = 1 << 20;
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

    /// Everything up to `index` is applied: what is far behind may go.
    pub(super) fn applied(&mut self, index: u64, members: Option<&ConfState>) {
        self.applied = index;
        if let Some(members) = members {
            self.members = members.clone();
        }
        while self.bytes > KEPT
            && let Some(first) = self.entries.pop_front_if(|first| first.index <= index)
        {
            self.bytes -= size(&first);
            self.base = (first.index, first.term);
        }
    }

    /// The state up to `index` was installed.
    pub(super) fn restore(&mut self, index: u64, term: u64, members: &ConfState) {
        self.base = (index, term);
        self.entries.clear();
        self.bytes = 0;
        self.applied = index;
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
