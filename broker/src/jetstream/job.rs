//! Blocking work of the store, to be run on another thread.

use jetwake_storage::{
    CheckpointDone, CheckpointJob, Cleaned, Cleanup, Copied, CopyJob, ReserveDone, ReserveJob,
    ScrubJob, Scrubbed, SpareDone, SpareJob, StoreError,
};

/// A piece of blocking work.
#[derive(Debug)]
pub enum Job {
    /// Messages move from the journal to a segment.
    Copy(CopyJob),
    /// A checkpoint is written.
    Checkpoint(CheckpointJob),
    /// Files that nothing needs are removed.
    Cleanup(Cleanup),
    /// A journal file is prepared.
    Spare(SpareJob),
    /// Space is set apart for the day when there is none.
    Reserve(ReserveJob),
    /// A piece of what is stored is read.
    Scrub(ScrubJob),
}

/// What came of it.
#[derive(Debug)]
pub enum JobDone {
    /// Of a copy.
    Copy(Result<Copied, StoreError>),
    /// Of a checkpoint.
    Checkpoint(Result<CheckpointDone, StoreError>),
    /// Of a cleanup.
    Cleanup(Cleaned),
    /// Of a spare file.
    Spare(Result<SpareDone, StoreError>),
    /// Of the reading.
    Scrub(Scrubbed),
    /// Of the reserve.
    Reserve(Result<ReserveDone, StoreError>),
}

impl Job {
    /// Does the work; blocks on the disk.
    #[must_use]
    pub fn run(self) -> JobDone {
        match self {
            Self::Copy(job) => JobDone::Copy(job.run()),
            Self::Checkpoint(job) => JobDone::Checkpoint(job.run()),
            Self::Cleanup(job) => JobDone::Cleanup(job.run()),
            Self::Spare(job) => JobDone::Spare(job.run()),
            Self::Scrub(job) => JobDone::Scrub(job.run()),
            Self::Reserve(job) => JobDone::Reserve(job.run()),
        }
    }
}
