//! What the layer does wrong on order.

use std::time::Duration;

/// Why a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errno {
    /// There is no such file.
    NoEntry,
    /// There is one already.
    Exists,
    /// A file where a directory is needed.
    NotDirectory,
    /// A directory where a file is needed.
    IsDirectory,
    /// The directory is not empty.
    NotEmpty,
    /// No space is left.
    NoSpace,
    /// The medium fails.
    Io,
}

/// The faults in force; none at first.
#[derive(Debug, Default)]
pub struct Orders {
    dead: bool,
    sync_time: Duration,
    capacity: Option<u64>,
    failing_syncs: bool,
    failing_writes: bool,
    failing_reads: Option<String>,
    failed: u64,
}

impl Orders {
    /// Limits the bytes of all files together.
    pub fn limit(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
    }

    /// Lets every sync of a file take at least this long.
    pub fn slow_syncs(&mut self, time: Duration) {
        self.sync_time = time;
    }

    /// The power is gone: nothing changes any more, whoever tries. The next cut ends this.
    pub fn power_off(&mut self) {
        self.dead = true;
    }

    /// Makes every sync fail, or none.
    pub fn fail_syncs(&mut self, fail: bool) {
        self.failing_syncs = fail;
    }

    /// Makes every write fail, or none.
    pub fn fail_writes(&mut self, fail: bool) {
        self.failing_writes = fail;
    }

    /// Makes reads fail of files whose names begin like this.
    pub fn fail_reads(&mut self, prefix: Option<&str>) {
        self.failing_reads = prefix.map(str::to_owned);
    }

    /// How many calls failed on order.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity.unwrap_or(u64::MAX)
    }

    pub(super) fn sync_time(&self) -> Duration {
        self.sync_time
    }

    /// Whether names may change.
    pub(super) fn name(&mut self) -> Result<(), Errno> {
        let fails = self.dead;
        self.fail_if(fails)
    }

    pub(super) fn write(&mut self) -> Result<(), Errno> {
        let fails = self.dead || self.failing_writes;
        self.fail_if(fails)
    }

    pub(super) fn sync(&mut self) -> Result<(), Errno> {
        let fails = self.dead || self.failing_syncs;
        self.fail_if(fails)
    }

    pub(super) fn concern_reads(&self) -> bool {
        self.failing_reads.is_some()
    }

    pub(super) fn read(&mut self, name: Option<&str>) -> Result<(), Errno> {
        let fails = match (&self.failing_reads, name) {
            (Some(prefix), Some(name)) => name.starts_with(prefix.as_str()),
            _ => false,
        };
        self.fail_if(fails)
    }

    /// The medium works again; its size and its pace stay.
    pub(super) fn after_restart(&mut self) {
        *self = Orders {
            capacity: self.capacity,
            sync_time: self.sync_time,
            ..Orders::default()
        };
    }

    fn fail_if(&mut self, fails: bool) -> Result<(), Errno> {
        if fails {
            self.failed += 1;
            return Err(Errno::Io);
        }
        Ok(())
    }
}
