//! Space on the disk: nothing is appended that might not fit, and on a full disk what frees space
//! still works.
//!
//! Journal files are allocated before anything is promised on them, and one more is always kept
//! ready. What adds ([`Purpose::Add`]) is admitted while a spare, or a good part of the last
//! allocated file, is left behind it; what is left is for what frees ([`Purpose::Free`]): deletes,
//! purges, acknowledgements.
//!
//! Freeing space needs space too: survivors of the journal are copied, a checkpoint is written. The
//! file `reserve` is as long as all journal files and two checkpoints. It is removed when such a job
//! finds the disk full, or when a delete finds no room in the journal, after a restart on a full
//! disk. Once everything alive was copied, journal files come and go without further copying, so
//! that acknowledgements go on for ever.
//!
//! When one of these files cannot be allocated the store is *full*: adding is refused at once, until
//! there are both a spare and the reserve again.

use std::sync::Arc;

use super::spare::LEAST;
use super::{FileUse, Retire, Store};
use crate::error::StoreError;
use crate::files::{Files, RESERVE};
use crate::position::Lsn;

/// The reserve is a multiple of this.
const STEP: u64 = 64 << 10;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It adds something: refused when the disk is full.
    Add,
    /// It lets something go: taken as long as anything fits.
    Free,
}

/// What the owner knows of the disk's space.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// No further journal file could be allocated.
    pub(super) full: bool,
    /// Length of the last checkpoint.
    pub(super) checkpoint: u64,
    /// Length of the reserve, 0 when there is none.
    reserve: u64,
}

/// The reserve is to be made or to grow; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct ReserveJob {
    files: Arc<Files>,
    size: u64,
    /// There is one already, which stays when the disk refuses.
    grows: bool,
}

/// A reserve that is there.
#[derive(Debug)]
pub struct ReserveDone {
    size: u64,
}

impl Space {
    /// What an earlier life left.
    pub(super) fn found(files: &Files, names: &[String]) -> Result<Self, StoreError> {
        let mut space = Self::default();
        if names.iter().any(|name| name == RESERVE) {
            let file = files.disk.open(&files.path(RESERVE));
            let size = file.and_then(|file| file.size());
            space.reserve = size.map_err(|error| StoreError::io("open", RESERVE, error))?;
        }
        Ok(space)
    }
}

impl Store {
    /// Whether records of `bytes` in all ([`Record::size`](crate::Record::size)) may be appended:
    /// there is allocated space for them, or more can be allocated at once (which blocks for a
    /// moment).
    pub fn admit(&mut self, bytes: usize, purpose: Purpose) -> bool {
        let keep = purpose == Purpose::Add;
        // Once full, only jobs find out whether that is over: asking each time would be slow.
        if keep && self.space.full {
            return false;
        }
        if self.journal.has_room(bytes, keep) {
            return true;
        }
        let allocated = (!self.space.full && self.allocate(bytes, LEAST))
            // What frees may use the reserve up.
            || (!keep && self.release_reserve() && self.allocate(bytes, 0));
        allocated && self.journal.has_room(bytes, keep)
    }

    /// Allocates a journal file for `bytes` of records at once; a small one, down to `least`, if it
    /// has to be.
    fn allocate(&mut self, bytes: usize, least: u32) -> bool {
        let (need, size) = self.journal.spare_for(bytes);
        let made = self.spare_job(size, least.clamp(need, size), false).run();
        self.space.full |= made.is_err();
        made.is_ok_and(|done| {
            self.journal.offer_spare(done.spare);
            true
        })
    }

    /// Whether what adds is refused, because no more space could be allocated.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.space.full
    }

    /// A job failed: whether that was because the disk is full.
    pub fn job_failed(&mut self, error: &StoreError) -> bool {
        self.space.full |= error.is_full();
        error.is_full()
    }

    /// A full disk is full no more once there is a spare file and the whole reserve.
    pub(super) fn look_for_space(&mut self) {
        self.space.full &= self.journal.wants_spare().is_some() || self.plan_reserve().is_some();
    }

    /// The reserve that is missing or too small, once the store is in use.
    #[must_use]
    pub fn plan_reserve(&self) -> Option<ReserveJob> {
        if self.uses.is_empty() || self.journal.wants_spare().is_some() {
            return None;
        }
        let mut size = STEP;
        // The first file is not retired before there is a second one.
        if self.uses.len() > 1 {
            let journal: u64 = self.uses.iter().map(|file| u64::from(file.size)).sum();
            size = journal + 2 * self.space.checkpoint;
        }
        let size = size.next_multiple_of(STEP);
        (self.space.reserve < size).then(|| ReserveJob {
            files: Arc::clone(&self.files),
            size,
            grows: self.space.reserve > 0,
        })
    }

    /// Takes over a reserve.
    pub fn finish_reserve(&mut self, done: &ReserveDone) {
        self.space.reserve = done.size;
        self.look_for_space();
    }

    /// Gives the reserve up, so that a job that met a full disk can be tried again; false when
    /// there is none.
    pub fn release_reserve(&mut self) -> bool {
        let held = std::mem::take(&mut self.space.reserve) > 0;
        held && self.files.disk.remove(&self.files.path(RESERVE)).is_ok()
    }

    /// The oldest journal file alone, to be retired on a full disk.
    #[must_use]
    pub fn plan_relief(&self, applied: Lsn) -> Option<Retire> {
        let kept = |group: &u64| self.held.contains(group);
        let complete = |file: &&FileUse| file.number < applied.file();
        let oldest = self.uses.front().filter(complete)?;
        if oldest.groups.iter().any(kept) {
            return None;
        }
        let alive = |group: &&u64| self.groups.contains_key(*group);
        let mut groups: Vec<u64> = oldest.groups.iter().filter(alive).copied().collect();
        groups.sort_unstable();
        Some(Retire {
            through: oldest.number,
            groups,
        })
    }

    /// Whether a checkpoint would free space without any copying: groups were dropped.
    #[must_use]
    pub fn has_dropped_groups(&self) -> bool {
        !self.dropped.is_empty()
    }
}

impl ReserveJob {
    /// Allocates; blocks on the disk.
    ///
    /// # Errors
    /// The disk refused; the reserve is what it was.
    pub fn run(self) -> Result<ReserveDone, StoreError> {
        let (disk, path) = (&self.files.disk, self.files.path(RESERVE));
        let file = if self.grows {
            disk.open(&path)
        } else {
            disk.create(&path)
        };
        let made = file.and_then(|file| {
            file.allocate(self.size)?;
            file.sync_data()
        });
        if let Err(error) = made {
            if !self.grows {
                let _ = disk.remove(&path);
            }
            return Err(StoreError::io("allocate", RESERVE, error));
        }
        Ok(ReserveDone { size: self.size })
    }
}
