//! The disk thread's half of the journal.
//!
//! Everything that gathered goes out in one write per file; one sync makes all of it durable. A
//! failed call is final: what it left behind is unknown, so nothing is retried and the store takes
//! no more.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{BUFFERS_KEPT, Batch, Journal, Opening, Resume, Shared, Sizes};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, RecordFile, file_name};
use crate::format::{
    BATCH_HEADER, BATCHES_START, BatchHeader, FILE_HEADER, HEADER_COPIES, KEY_BLOCK, WATERMARK_AT,
    encode_watermark,
};
use crate::position::Lsn;

/// What one write put into the system's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Everything below this position was written.
    pub end: Lsn,
    /// Bytes written.
    pub bytes: u64,
}

#[derive(Debug)]
struct Current {
    number: u32,
    generation: u64,
    file: Arc<dyn DiskFile>,
}

/// Writes and syncs what the owner sealed. To be driven by one thread:
/// wait, write, sync, report, and again.
#[derive(Debug)]
pub struct JournalWriter {
    files: Arc<Files>,
    shared: Arc<Shared>,
    current: Option<Current>,
    /// Files with writes that were not synced.
    dirty: Vec<(u32, Arc<dyn DiskFile>)>,
    /// The directory has names that were not synced.
    names_dirty: bool,
    written: Lsn,
    synced: Lsn,
    /// The watermark that a reader of the file would find.
    recorded: Lsn,
    chain: u32,
    taken: Vec<Batch>,
    /// Of the current file: bytes written, and syncs.
    used: (u64, u64),
}

/// Makes both halves.
pub(crate) fn pair(
    files: Arc<Files>,
    seed: u64,
    sizes: Sizes,
    resume: Resume,
) -> (Journal, JournalWriter) {
    let shared = Arc::new(Shared::default());
    let writer = JournalWriter {
        files: Arc::clone(&files),
        shared: Arc::clone(&shared),
        current: None,
        dirty: Vec::new(),
        names_dirty: false,
        written: resume.end,
        synced: resume.end,
        recorded: resume.end,
        chain: resume.chain,
        taken: Vec::new(),
        used: (0, 0),
    };
    (Journal::new(shared, files, seed, sizes, resume), writer)
}

impl JournalWriter {
    /// Whether a sealed batch waits.
    #[must_use]
    pub fn pending(&self) -> bool {
        !self.shared.queue.lock().batches.is_empty()
    }

    /// Blocks until a batch waits; false once the store was stopped and nothing is left.
    #[must_use]
    pub fn wait(&self) -> bool {
        let mut queue = self.shared.queue.lock();
        while queue.batches.is_empty() && !queue.stop {
            self.shared.ready.wait(&mut queue);
        }
        !queue.batches.is_empty()
    }

    /// As [`wait`](Self::wait), but also returns after `timeout`, with `Some(false)`; `None` means
    /// stopped.
    #[must_use]
    pub fn wait_for(&self, timeout: std::time::Duration) -> Option<bool> {
        let mut queue = self.shared.queue.lock();
        if queue.batches.is_empty() && !queue.stop {
            let _ = self.shared.ready.wait_for(&mut queue, timeout);
        }
        if queue.batches.is_empty() && queue.stop {
            None
        } else {
            Some(!queue.batches.is_empty())
        }
    }

    /// Everything below this position is durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.synced
    }

    /// Writes everything that was sealed; `None` when there was nothing.
    ///
    /// # Errors
    /// The store has failed, now or earlier.
    pub fn write(&mut self) -> Result<Option<Written>, StoreError> {
        let mut taken = std::mem::take(&mut self.taken);
        {
            let mut queue = self.shared.queue.lock();
            if let Some(reason) = &queue.failed {
                return Err(StoreError::Failed(reason.clone()));
            }
            std::mem::swap(&mut queue.batches, &mut taken);
        }
        if taken.is_empty() {
            self.taken = taken;
            return Ok(None);
        }
        let bytes = taken.iter().map(|batch| batch.data.len() as u64).sum();
        if let Err(error) = self.write_all(&mut taken) {
            return Err(self.fail(&error));
        }
        let mut queue = self.shared.queue.lock();
        for batch in taken.drain(..) {
            if queue.buffers.len() < BUFFERS_KEPT {
                let mut buffer = batch.data;
                buffer.clear();
                queue.buffers.push(buffer);
            }
        }
        drop(queue);
        self.taken = taken;
        Ok(Some(Written {
            end: self.written,
            bytes,
        }))
    }

    /// Makes everything written durable and says up to where.
    ///
    /// # Errors
    /// The store has failed, now or earlier.
    pub fn sync(&mut self) -> Result<Lsn, StoreError> {
        if let Some(reason) = &self.shared.queue.lock().failed {
            return Err(StoreError::Failed(reason.clone()));
        }
        if let Err(error) = self.sync_all() {
            return Err(self.fail(&error));
        }
        self.synced = self.written;
        Ok(self.synced)
    }

    /// Notes in the file how far it is durable, so that damage to the newest batch is not taken for
    /// a torn write. To be called when nothing waits; needs no sync.
    ///
    /// # Errors
    /// The store has failed, now or earlier.
    pub fn idle(&mut self) -> Result<(), StoreError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        if self.recorded == self.synced {
            return Ok(());
        }
        if let Some(reason) = &self.shared.queue.lock().failed {
            return Err(StoreError::Failed(reason.clone()));
        }
        let slot = encode_watermark(current.generation, self.synced);
        let wrote = current
            .file
            .write_at(u64::from(WATERMARK_AT), &mut [IoSlice::new(&slot)]);
        let name = file_name(JOURNAL, current.number);
        self.recorded = self.synced;
        wrote.map_err(|error| self.fail(&StoreError::io("write", name, error)))
    }

    fn fail(&self, error: &StoreError) -> StoreError {
        let reason = error.to_string();
        self.shared.queue.lock().failed = Some(reason.clone());
        StoreError::Failed(reason)
    }

    fn write_all(&mut self, batches: &mut [Batch]) -> Result<(), StoreError> {
        let mut rest = batches;
        while let Some(first) = rest.first_mut() {
            let number = first.file;
            let opening = first.opening.take();
            let count = rest.iter().take_while(|batch| batch.file == number).count();
            let (run, later) = std::mem::take(&mut rest).split_at_mut(count);
            rest = later;
            self.write_run(opening.as_ref(), run)?;
        }
        Ok(())
    }

    /// Writes consecutive batches of one file, with the file's head in front when it is new.
    fn write_run(
        &mut self,
        opening: Option<&Opening>,
        run: &mut [Batch],
    ) -> Result<(), StoreError> {
        let mut front = Vec::new();
        if let Some(opening) = opening {
            front = self.open(opening)?;
        }
        let (Some(first), Some(current)) = (run.first(), &self.current) else {
            return Ok(());
        };
        let name = || file_name(JOURNAL, current.number);
        let offset = if front.is_empty() {
            u64::from(first.offset)
        } else {
            0
        };
        for batch in run.iter_mut() {
            let header = BatchHeader {
                generation: batch.generation,
                file: batch.file,
                length: (batch.data.len() - BATCH_HEADER) as u32,
                count: batch.count,
                previous: self.chain,
                watermark: self.synced,
            };
            let (bytes, sum) = header.encode(batch.offset);
            batch.data[..BATCH_HEADER].copy_from_slice(&bytes);
            self.chain = sum;
            self.written = Lsn::new(batch.file, batch.offset + batch.data.len() as u32);
            self.used.0 += batch.data.len() as u64;
        }
        self.recorded = self.synced;
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(run.len() + 1);
        slices.extend((!front.is_empty()).then(|| IoSlice::new(&front)));
        slices.extend(run.iter().map(|batch| IoSlice::new(&batch.data)));
        let wrote = current.file.write_at(offset, &mut slices);
        wrote.map_err(|error| StoreError::io("write", name(), error))?;
        if !self
            .dirty
            .iter()
            .any(|(_, file)| Arc::ptr_eq(file, &current.file))
        {
            self.dirty.push((current.number, Arc::clone(&current.file)));
        }
        Ok(())
    }

    /// Begins a file and returns the bytes that come before its first batch.
    fn open(&mut self, opening: &Opening) -> Result<Vec<u8>, StoreError> {
        let name = file_name(JOURNAL, opening.number);
        let path = self.files.path(&name);
        let disk = &self.files.disk;
        let failed =
            |what| move |error| StoreError::io(what, file_name(JOURNAL, opening.number), error);
        let file = match &opening.spare {
            Some(spare) => {
                disk.rename(&self.files.path(&spare.name), &path)
                    .map_err(failed("rename"))?;
                disk.open(&path).map_err(failed("open"))?
            }
            None => {
                let file = disk.create(&path).map_err(failed("create"))?;
                file.allocate(u64::from(opening.size))
                    .map_err(failed("allocate"))?;
                file
            }
        };
        self.names_dirty = true;
        let (bytes, syncs) = std::mem::take(&mut self.used);
        let mean = bytes.checked_div(syncs).unwrap_or(0);
        self.shared.bytes_per_sync.store(mean, Ordering::Relaxed);
        let key = opening.key.as_ref().map(|(key, _)| Arc::clone(key));
        let record_file = RecordFile::new(name, opening.generation, key);
        self.files.add_journal(opening.number, record_file);
        let (number, generation) = (opening.number, opening.generation);
        self.current = Some(Current {
            number,
            generation,
            file,
        });
        let mut front = vec![0; BATCHES_START as usize];
        let header = opening.header(self.chain, self.synced).encode();
        for at in HEADER_COPIES {
            let at = at as usize;
            front[at..at + FILE_HEADER].copy_from_slice(&header);
            if let Some((_, block)) = &opening.key {
                let at = at + FILE_HEADER;
                front[at..at + KEY_BLOCK].copy_from_slice(&block.encode());
            }
        }
        Ok(front)
    }

    fn sync_all(&mut self) -> Result<(), StoreError> {
        for (number, file) in &self.dirty {
            let name = || file_name(JOURNAL, *number);
            file.sync_data()
                .map_err(|error| StoreError::io("sync", name(), error))?;
        }
        self.dirty.clear();
        self.used.1 += 1;
        if self.names_dirty {
            let synced = self.files.sync_names();
            synced.map_err(|error| StoreError::io("sync", "the store directory", error))?;
            self.names_dirty = false;
        }
        Ok(())
    }
}
