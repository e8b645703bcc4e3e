//! The shared tail: the owner thread encodes records into batches, a disk thread writes and syncs
//! them.
//!
//! The owner decides where every byte will lie before it is written, so that a location is known at
//! once; the writer follows. Batches that gather while a write or sync runs go out together: an
//! idle store writes at once, a busy one batches by itself. Records are never moved and files never
//! cut.

mod filescan;
mod groups;
mod heads;
mod scan;
mod walk;
mod window;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::crypt::{FileKey, TAG, Unlocked};
use crate::files::Files;
use crate::format::{
    BATCH_HEADER, BATCHES_START, FileHeader, KeyBlock, Record, Seed, encode_record, record_size,
};
use crate::messages::Location;
use crate::position::Lsn;

pub(crate) use groups::Groups;
pub(crate) use scan::{Scan, ScannedFile, scan};
pub(crate) use walk::Walked;
pub(crate) use writer::pair;
pub use writer::{JournalWriter, Written};

/// A batch is handed over no later than at this size, so that the disk gets to work early.
const BATCH_BYTES: usize = 1 << 20;
/// Buffers kept for reuse; each is at most a batch long.
const BUFFERS_KEPT: usize = 8;
/// With fewer bytes a sync than this, spare files are filled with zeros.
const FILL_BELOW: u64 = 64 << 10;
/// Files end at a multiple of this.
const FILE_ALIGN: usize = 4096;
/// One part in so many of the last allocated file is kept for what must be written on a full disk.
const KEPT_PART: usize = 4;

/// An allocated file that may become the next journal file.
#[derive(Clone, Debug)]
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) size: u32,
}

/// How the writer begins a file.
#[derive(Clone, Debug)]
struct Opening {
    number: u32,
    generation: u64,
    size: u32,
    /// Where the previous file ended.
    previous: Lsn,
    spare: Option<Spare>,
    /// In an encrypted store: the file's key, and the block that keeps it.
    key: Option<(Arc<FileKey>, KeyBlock)>,
}

/// Records on their way to the disk; the first bytes are room for the batch header.
#[derive(Debug)]
struct Batch {
    file: u32,
    offset: u32,
    generation: u64,
    count: u32,
    data: Vec<u8>,
    opening: Option<Opening>,
}

#[derive(Debug, Default)]
struct Queue {
    batches: Vec<Batch>,
    buffers: Vec<Vec<u8>>,
    stop: bool,
    failed: Option<String>,
}

/// What the owner and the writer share.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Of the last complete file.
    bytes_per_sync: AtomicU64,
}

/// Where an appended record will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position behind the record: it is durable once the journal is durable up to here.
    pub end: Lsn,
    /// The record itself.
    pub location: Location,
}

impl Appended {
    /// The position of the record.
    #[must_use]
    pub fn start(&self) -> Lsn {
        let (Location::Journal { file, offset } | Location::Segment { file, offset }) =
            self.location;
        Lsn::new(file, offset)
    }
}

/// Sizes of journal files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) first: u32,
    pub(crate) max: u32,
}

/// Where the journal goes on after opening.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resume {
    /// Highest file number ever seen.
    pub(crate) last_file: u32,
    /// Where the good records end.
    pub(crate) end: Lsn,
    /// Checksum of the last good batch header.
    pub(crate) chain: u32,
}

/// The owner's half.
#[derive(Debug)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    files: Arc<Files>,
    seed: u64,
    sizes: Sizes,
    next_size: u32,
    file: u32,
    offset: u32,
    size: u32,
    generation: u64,
    place_seed: Seed,
    key: Unlocked,
    /// Where the last file ended.
    end: Lsn,
    batch: Option<Batch>,
    /// Allocated files to come.
    spares: Vec<Spare>,
}

/// Mixes a number into an even spread of bits.
pub(crate) fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The generation of a file: different for every file and every life of the store.
pub(crate) fn generation(seed: u64, kind: u64, number: u32) -> u64 {
    mix(seed ^ mix(kind << 32 | u64::from(number)))
}

const JOURNAL_FILES: u64 = 1;

impl Journal {
    fn new(
        shared: Arc<Shared>,
        files: Arc<Files>,
        seed: u64,
        sizes: Sizes,
        resume: Resume,
    ) -> Self {
        Self {
            shared,
            files,
            seed,
            sizes,
            next_size: sizes.first,
            file: resume.last_file,
            // No room: the first append begins a file.
            offset: 0,
            size: 0,
            generation: 0,
            place_seed: Seed::new(0),
            key: None,
            end: resume.end,
            batch: None,
            spares: Vec::new(),
        }
    }

    /// The position behind the last record.
    pub(crate) fn end(&self) -> Lsn {
        self.end
    }

    /// Encodes a record into the gathering batch.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Appended {
        // All files of one life are encrypted, or none.
        let tag = self.files.encryption().map_or(0, |_| TAG);
        let payload = record.payload.len() + tag;
        let size = record_size(record.key.len(), record.headers.len(), payload);
        if self
            .batch
            .as_ref()
            .is_some_and(|batch| batch.data.len() >= BATCH_BYTES)
        {
            self.seal();
        }
        let head = if self.batch.is_some() {
            0
        } else {
            BATCH_HEADER
        };
        let mut opening = None;
        if self.offset as usize + head + size > self.size as usize {
            self.seal();
            opening = Some(self.roll(BATCH_HEADER + size));
        }
        if self.batch.is_none() {
            self.begin(opening);
        }
        let offset = self.offset;
        if let Some(batch) = &mut self.batch {
            let (out, seed) = (&mut batch.data, self.place_seed);
            match &self.key {
                None => encode_record(out, seed, offset, record),
                Some(key) => key.encode_record(out, seed, offset, record),
            }
            batch.count += 1;
        }
        self.offset += size as u32;
        self.end = Lsn::new(self.file, self.offset);
        Appended {
            end: self.end,
            location: Location::Journal {
                file: self.file,
                offset,
            },
        }
    }

    /// Hands the gathering batch to the writer.
    pub(crate) fn seal(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.shared.queue.lock().batches.push(batch);
            self.shared.ready.notify_one();
        }
    }

    fn begin(&mut self, opening: Option<Opening>) {
        let buffer = self.shared.queue.lock().buffers.pop();
        let mut data = buffer.unwrap_or_default();
        data.resize(BATCH_HEADER, 0);
        self.batch = Some(Batch {
            file: self.file,
            offset: self.offset,
            generation: self.generation,
            count: 0,
            data,
            opening,
        });
        self.offset += BATCH_HEADER as u32;
    }

    /// Turns to a new file with room for at least `need` bytes.
    fn roll(&mut self, need: usize) -> Opening {
        let need = whole_file(need);
        let wanted = self.next_size.max(need);
        let spare = self.fitting(need).map(|at| self.spares.swap_remove(at));
        let previous = self.end;
        self.size = spare.as_ref().map_or(wanted, |spare| spare.size);
        self.next_size = self.next_size.saturating_mul(2).min(self.sizes.max);
        self.file += 1;
        self.offset = BATCHES_START;
        self.generation = generation(self.seed, JOURNAL_FILES, self.file);
        self.place_seed = Seed::new(self.generation);
        let created = self
            .files
            .encryption()
            .map(|encryption| encryption.create(self.file, self.generation));
        let key = created.map(|(key, block)| (Arc::new(key), block));
        self.key = key.as_ref().map(|(key, _)| Arc::clone(key));
        Opening {
            number: self.file,
            generation: self.generation,
            size: self.size,
            previous,
            spare,
            key,
        }
    }

    /// The spare that a turn of file with this need takes.
    fn fitting(&self, need: u32) -> Option<usize> {
        self.spares.iter().position(|spare| spare.size >= need)
    }

    /// Whether records of `bytes` in all fit into space that is allocated. With `keep`, a spare
    /// file or a good part of the last file has to be left behind them, for what must be written on
    /// a full disk.
    pub(crate) fn has_room(&self, bytes: usize, keep: bool) -> bool {
        let need = bytes.saturating_add(BATCH_HEADER * (2 + bytes / BATCH_BYTES));
        let left = (self.size - self.offset) as usize;
        let enough = |left: usize, size: u32| left >= size as usize / KEPT_PART;
        if need <= left {
            return !keep || !self.spares.is_empty() || enough(left - need, self.size);
        }
        self.fitting(whole_file(need)).is_some_and(|at| {
            let size = self.spares[at].size;
            let left = size as usize - BATCHES_START as usize - need;
            !keep || self.spares.len() > 1 || enough(left, size)
        })
    }

    /// The least size of a file that takes records of `bytes` in all and leaves enough behind them,
    /// and the size that it should have.
    pub(crate) fn spare_for(&self, bytes: usize) -> (u32, u32) {
        let need = whole_file(bytes) as usize;
        let least = whole_file(need + need / 2);
        (least, self.next_size.max(least))
    }

    /// The size of the file that would come next, when no spare is at hand.
    pub(crate) fn wants_spare(&self) -> Option<u32> {
        let unused = self.size == 0;
        (!unused && self.spares.is_empty()).then_some(self.next_size)
    }

    /// Whether a new file should be written all over before it is used: later writes and syncs
    /// are then faster by the allocation, which counts where a sync carries little, and everything
    /// is written twice, which counts where it carries much.
    pub(crate) fn fills_spares(&self) -> bool {
        self.shared.bytes_per_sync.load(Ordering::Relaxed) < FILL_BELOW
    }

    /// Offers a file for reuse.
    pub(crate) fn offer_spare(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// Length of the current file.
    pub(crate) fn file_size(&self) -> u32 {
        self.size
    }

    /// Why the writer gave up, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.shared.queue.lock().failed.clone()
    }

    /// Lets the writer finish what was sealed and return from its wait.
    pub(crate) fn stop(&self) {
        self.shared.queue.lock().stop = true;
        self.shared.ready.notify_all();
    }
}

impl Drop for Journal {
    /// Without an owner the writer has nothing to wait for.
    fn drop(&mut self) {
        self.stop();
    }
}

/// The length of a file with this many bytes of batches.
fn whole_file(batches: usize) -> u32 {
    let len = (BATCHES_START as usize).saturating_add(batches);
    let len = len.checked_next_multiple_of(FILE_ALIGN);
    len.and_then(|len| u32::try_from(len).ok())
        .unwrap_or(u32::MAX)
}

impl Opening {
    fn header(&self, chain: u32, watermark: Lsn) -> FileHeader {
        FileHeader {
            number: self.number,
            generation: self.generation,
            size: self.size,
            previous: self.previous,
            chain,
            watermark,
            encrypted: self.key.is_some(),
        }
    }
}
