//! Journal files made ready in the background, so that a turn of file costs the writer a rename.

use std::io::IoSlice;
use std::sync::Arc;

use super::Store;
use crate::error::StoreError;
use crate::files::{Files, SPARE, file_name};
use crate::journal::Spare;

/// Zeros are written in steps of this size.
const STEP: usize = 1 << 20;
/// When a disk is nearly full, spares become smaller, but not smaller than this.
pub(super) const LEAST: u32 = 1 << 20;

/// A spare file to be made; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct SpareJob {
    files: Arc<Files>,
    number: u32,
    size: u32,
    /// On a full disk a smaller one will do, down to this size.
    least: u32,
    /// Zeros are written all over it.
    fill: bool,
}

/// A spare file that is ready.
#[derive(Debug)]
pub struct SpareDone {
    pub(super) spare: Spare,
}

impl Store {
    /// The next journal file to be made ready, once the store is in use and has none. While a round
    /// runs that may leave an old one to be used again (`recycling`), only one that costs nothing
    /// is made.
    #[must_use]
    pub fn plan_spare(&mut self, recycling: bool) -> Option<SpareJob> {
        let size = self.journal.wants_spare()?;
        let fill = self.journal.fills_spares();
        if fill && recycling {
            return None;
        }
        Some(self.spare_job(size, size.min(LEAST), fill))
    }

    pub(super) fn spare_job(&mut self, size: u32, least: u32, fill: bool) -> SpareJob {
        self.last_spare += 1;
        SpareJob {
            files: Arc::clone(&self.files),
            number: self.last_spare,
            size,
            least,
            fill,
        }
    }

    /// Puts a spare file at the writer's disposal.
    pub fn finish_spare(&mut self, done: SpareDone) {
        self.journal.offer_spare(done.spare);
        self.look_for_space();
    }
}

impl SpareJob {
    /// Allocates the file and, if that is worth it, writes zeros all over it, so that later writes
    /// need no allocation.
    ///
    /// # Errors
    /// The disk refused: a full disk shows here first.
    pub fn run(self) -> Result<SpareDone, StoreError> {
        let mut size = self.size;
        loop {
            match self.make(size) {
                Err(error) if error.is_full() && size / 2 >= self.least => size /= 2,
                made => return made,
            }
        }
    }

    fn make(&self, size: u32) -> Result<SpareDone, StoreError> {
        let name = file_name(SPARE, self.number);
        let failed = |what| {
            let name = name.clone();
            move |error| StoreError::io(what, name, error)
        };
        let path = self.files.path(&name);
        let file = self.files.disk.create(&path).map_err(failed("create"))?;
        let fill = || {
            file.allocate(u64::from(size)).map_err(failed("allocate"))?;
            if !self.fill {
                return Ok(());
            }
            let zeros = vec![0; STEP];
            for at in (0..size as usize).step_by(STEP) {
                let zeros = &zeros[..STEP.min(size as usize - at)];
                let wrote = file.write_at(at as u64, &mut [IoSlice::new(zeros)]);
                wrote.map_err(failed("write"))?;
            }
            file.sync_data().map_err(failed("sync"))
        };
        if let Err(error) = fill() {
            let _ = self.files.disk.remove(&path);
            return Err(error);
        }
        let spare = Spare { name, size };
        Ok(SpareDone { spare })
    }
}
