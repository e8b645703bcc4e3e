//! Blocking work of the store, to be run on another thread.

/// A piece of blocking work.
#[derive(Debug)]
pub enum Job {}

/// What came of it.
#[derive(Debug)]
pub enum JobDone {}

impl Job {
    /// Does the work; blocks on the disk.
    pub fn run(self) -> JobDone {
        match self {}
    }
}
