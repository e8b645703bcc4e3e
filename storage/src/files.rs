//! The files of one store directory: their names, and the table through which messages are read.
//!
//! A file is opened and mapped when it is first read; afterwards the mapping serves every read, and
//! every record is checked before its bytes are handed out. A mapping needs no open file. At most
//! [`OPEN_MAX`] files are open or mapped at a time: the one that was not read for long makes room
//! for the next, and is opened again when somebody asks. Of a file with compressed records one chunk
//! is opened at a time, and the last two are kept. Bytes that were handed out own their mapping and
//! outlive all of this. The table is shared by the owner thread, the disk thread and the stores of
//! the groups.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::chunk::{Chunk, ChunkCache};
use crate::crypt::{Encryption, Unlocked, scratch};
use crate::disk::{Disk, DiskFile, DiskLock, Map};
use crate::error::StoreError;
use crate::format::{CHUNK_HEADER, ChunkHeader, RECORD_HEADER, RecordHeader, Seed};
use crate::messages::{Location, ReadError, Stored, StoredRef};

/// Most files that are open or mapped for reading. A process may often open no more than 1024.
const OPEN_MAX: usize = 256;

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const SPARE: &str = "spare";
pub(crate) const SEGMENT: &str = "segment";
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Space that is given up when maintenance needs it on a full disk.
pub(crate) const RESERVE: &str = "reserve";

/// The name of a file.
pub(crate) fn file_name(kind: &str, number: u32) -> String {
    format!("{kind}-{number:010}")
}

/// The number in a file's name, if it is a name of this kind.
pub(crate) fn file_number(kind: &str, name: &str) -> Option<u32> {
    let digits = name.strip_prefix(kind)?.strip_prefix('-')?;
    let number = digits.parse().ok()?;
    (number > 0 && file_name(kind, number) == name).then_some(number)
}

/// One file that holds records, open or not.
#[derive(Debug)]
pub(crate) struct RecordFile {
    pub(crate) name: String,
    pub(crate) generation: u64,
    seed: Seed,
    key: Unlocked,
    /// Its records are in chunks.
    packed: bool,
    /// Every mapping of the file holds a clone.
    lease: Arc<()>,
    /// Damage was found: the file is set aside instead of being recycled.
    damaged: AtomicBool,
}

impl RecordFile {
    pub(crate) fn new(name: String, generation: u64, key: Unlocked) -> Self {
        Self {
            name,
            generation,
            seed: Seed::new(generation),
            key,
            packed: false,
            lease: Arc::new(()),
            damaged: AtomicBool::new(false),
        }
    }

    /// A file whose records are in chunks, or not.
    pub(crate) fn packed(self, packed: bool) -> Self {
        Self { packed, ..self }
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.packed
    }

    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Whether a mapping of it is in use. The table's own counts, so the file is to be
    /// [closed](Files::close) or taken out before.
    pub(crate) fn is_lent(&self) -> bool {
        Arc::strong_count(&self.lease) > 1
    }

    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// Opens the file, also for writing.
    pub(crate) fn open(&self, files: &Files) -> io::Result<Arc<dyn DiskFile>> {
        files.disk.open(&files.path(&self.name))
    }

    fn io_error(&self, error: &io::Error) -> ReadError {
        ReadError::Io {
            file: self.name.clone(),
            reason: error.to_string(),
        }
    }

    fn damage(&self, seq: u64, offset: u32) -> ReadError {
        self.mark_damaged();
        self.gone(seq, offset)
    }

    /// There is no such message at this place, and that is no damage of the file.
    fn gone(&self, seq: u64, offset: u32) -> ReadError {
        ReadError::Damaged {
            seq,
            file: self.name.clone(),
            offset: u64::from(offset),
        }
    }

    /// What a failed call says about a record.
    fn failure(&self, seq: u64, offset: u32, error: &io::Error) -> ReadError {
        match error.kind() {
            // The file is gone, or ends too early.
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => self.damage(seq, offset),
            _ => self.io_error(error),
        }
    }

    /// Reads the record at `offset` from the file itself.
    fn read(&self, file: &dyn DiskFile, seq: u64, offset: u32) -> Result<Loaded, ReadError> {
        let failed = |error| self.failure(seq, offset, &error);
        let mut record = vec![0; RECORD_HEADER];
        file.read_at(u64::from(offset), &mut record)
            .map_err(failed)?;
        let damaged = || self.damage(seq, offset);
        let header = RecordHeader::decode(&record, self.seed, offset)
            .map_err(|_| self.damage(seq, offset))?;
        if !header.fits(offset, file.size().map_err(failed)?) {
            return Err(damaged());
        }
        record.resize(RECORD_HEADER + header.body_len(), 0);
        let body_at = u64::from(offset) + RECORD_HEADER as u64;
        file.read_at(body_at, &mut record[RECORD_HEADER..])
            .map_err(failed)?;
        let good = header.seq == seq && header.body(&record).is_some();
        let loaded = if self.is_encrypted() {
            let opened = good.then(|| self.decrypt(header, &record, offset));
            let erased = || good && record[RECORD_HEADER..].iter().all(|byte| *byte == 0);
            if opened.as_ref().is_some_and(Option::is_none) && erased() {
                return Err(self.gone(seq, offset));
            }
            opened.flatten()
        } else {
            good.then_some(Loaded {
                header,
                at: RECORD_HEADER,
                bytes: Body::Copied(record),
            })
        };
        loaded.ok_or_else(damaged)
    }

    fn open_chunk(&self, bytes: &[u8], offset: u32) -> Option<Chunk> {
        let opened = Chunk::open(bytes, self.seed, self.key.as_deref(), offset);
        opened.map(|(chunk, _)| chunk)
    }

    /// Reads the chunk at `offset` from the file itself.
    fn read_chunk(&self, file: &dyn DiskFile, seq: u64, offset: u32) -> Result<Chunk, ReadError> {
        let failed = |error| self.failure(seq, offset, &error);
        let mut bytes = vec![0; CHUNK_HEADER];
        file.read_at(u64::from(offset), &mut bytes)
            .map_err(failed)?;
        let damaged = || self.damage(seq, offset);
        let header = ChunkHeader::decode(&bytes, self.seed, offset).ok_or_else(damaged)?;
        let len = CHUNK_HEADER + header.stored as usize;
        if u64::from(offset) + len as u64 > file.size().map_err(failed)? {
            return Err(damaged());
        }
        bytes.resize(len, 0);
        file.read_at(u64::from(offset), &mut bytes)
            .map_err(failed)?;
        self.open_chunk(&bytes, offset).ok_or_else(damaged)
    }

    /// Decrypts the record at the start of `bytes`, which was found unaltered.
    fn decrypt(&self, header: RecordHeader, bytes: &[u8], offset: u32) -> Option<Loaded> {
        let mut record = scratch::take();
        let key = self.key.as_ref()?;
        let header = key.open_record(header, bytes, offset, &mut record)?;
        Some(Loaded {
            header,
            at: RECORD_HEADER,
            bytes: Body::Copied(record),
        })
    }
}

/// A file that is open for reading.
#[derive(Debug)]
struct OpenFile {
    record: Arc<RecordFile>,
    content: Content,
    chunks: ChunkCache,
    /// It was read since somebody looked for one to close.
    used: AtomicBool,
}

#[derive(Debug)]
enum Content {
    Mapped(Map),
    Plain(Arc<dyn DiskFile>),
}

impl OpenFile {
    fn open(record: Arc<RecordFile>, files: &Files) -> io::Result<Self> {
        let file = record.open(files)?;
        let content = match file.map()? {
            Some(map) => Content::Mapped(map.with_guard(Arc::clone(&record.lease))),
            None => Content::Plain(file),
        };
        Ok(Self {
            record,
            content,
            chunks: ChunkCache::default(),
            used: AtomicBool::new(false),
        })
    }

    fn touch(&self) {
        // Most of the time it is set already, and looking disturbs no other thread.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }
}

/// Finds the record at `offset` in a mapping, if it proves itself there.
fn find_mapped(map: &Map, seed: Seed, seq: u64, offset: u32) -> Option<RecordHeader> {
    let bytes = map.bytes().get(offset as usize..)?;
    let header = RecordHeader::decode(bytes, seed, offset).ok()?;
    header.body(bytes).filter(|_| header.seq == seq)?;
    // A page that went missing meanwhile may have been what was checked, or not any more.
    (!map.is_broken()).then_some(header)
}

enum Body {
    Mapped(Arc<OpenFile>),
    Copied(Vec<u8>),
    Unpacked(Arc<Chunk>),
}

/// A record that proved itself.
struct Loaded {
    header: RecordHeader,
    /// Where the body starts in the bytes.
    at: usize,
    bytes: Body,
}

impl Loaded {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Body::Mapped(open) => match &open.content {
                Content::Mapped(map) => map.bytes(),
                Content::Plain(_) => &[],
            },
            Body::Copied(bytes) => bytes,
            Body::Unpacked(chunk) => &chunk.bytes,
        }
    }

    /// Leaves the buffer of what had to be copied for the next one.
    fn done(self) {
        if let Body::Copied(bytes) = self.bytes {
            scratch::give(bytes);
        }
    }

    fn stored(self) -> Stored {
        let header = self.header;
        let mut at = self.at;
        let bytes = match self.bytes {
            Body::Mapped(open) => match &open.content {
                Content::Mapped(map) => map.bytes().clone(),
                Content::Plain(_) => Bytes::new(),
            },
            Body::Copied(bytes) => Bytes::from(bytes),
            // A message that waits for a slow client must not keep its whole chunk in memory.
            Body::Unpacked(chunk) => {
                let body = at..at + header.body_len();
                at = 0;
                Bytes::copy_from_slice(&chunk.bytes[body])
            }
        };
        let key_end = at + header.key_len;
        let headers_end = key_end + header.headers_len;
        Stored {
            seq: header.seq,
            timestamp: header.timestamp,
            key: bytes.slice(at..key_end),
            headers: bytes.slice(key_end..headers_end),
            payload: bytes.slice(headers_end..headers_end + header.payload_len),
        }
    }

    /// Header and body as they lie in the file, or would if it were not encrypted.
    fn record(&self) -> &[u8] {
        &self.bytes()[self.at - RECORD_HEADER..self.at + self.header.body_len()]
    }

    fn lend(&self, use_it: &mut dyn FnMut(StoredRef<'_>)) {
        let body = &self.bytes()[self.at..self.at + self.header.body_len()];
        let (key, headers, payload) = self.header.split(body);
        use_it(StoredRef {
            seq: self.header.seq,
            timestamp: self.header.timestamp,
            key,
            headers,
            payload,
        });
    }
}

/// A file of the table.
#[derive(Debug)]
struct Slot {
    record: Arc<RecordFile>,
    open: Option<Arc<OpenFile>>,
}

type Slots = HashMap<u32, Slot, foldhash::fast::FixedState>;

#[derive(Debug)]
struct Table {
    journal: Slots,
    segments: Slots,
    /// Segments whose records lie in a journal file, and which.
    adopted: HashMap<u32, u32, foldhash::fast::FixedState>,
    /// The open files, longest open first.
    open: VecDeque<Location>,
    open_max: usize,
}

impl Table {
    /// The file that holds the record of a location.
    fn body(&self, location: Location) -> Location {
        match location {
            Location::Segment { file, offset } if !self.adopted.is_empty() => {
                match self.adopted.get(&file) {
                    Some(journal) => Location::Journal {
                        file: *journal,
                        offset,
                    },
                    None => location,
                }
            }
            _ => location,
        }
    }

    fn get(&self, location: Location) -> Option<&Slot> {
        match self.body(location) {
            Location::Journal { file, .. } => self.journal.get(&file),
            Location::Segment { file, .. } => self.segments.get(&file),
        }
    }

    fn get_mut(&mut self, location: Location) -> Option<&mut Slot> {
        match self.body(location) {
            Location::Journal { file, .. } => self.journal.get_mut(&file),
            Location::Segment { file, .. } => self.segments.get_mut(&file),
        }
    }

    /// Takes over an open file, unless somebody else was faster, and closes those that are too
    /// many. Returns the file and what was closed, to be dropped outside the lock.
    fn put(&mut self, location: Location, opened: OpenFile) -> (Arc<OpenFile>, Vec<Arc<OpenFile>>) {
        let Some(slot) = self.get_mut(location) else {
            // Taken out meanwhile: good for this one read.
            return (Arc::new(opened), Vec::new());
        };
        if let Some(open) = &slot.open {
            return (Arc::clone(open), Vec::new());
        }
        let open = Arc::new(opened);
        slot.open = Some(Arc::clone(&open));
        let mut closed = Vec::new();
        while self.open.len() >= self.open_max {
            let Some(oldest) = self.open.pop_front() else {
                break;
            };
            match self.get_mut(oldest) {
                Some(slot) if slot.was_used() => self.open.push_back(oldest),
                Some(slot) => closed.extend(slot.open.take()),
                None => {}
            }
        }
        self.open.push_back(at_start(self.body(location)));
        (open, closed)
    }

    fn close(&mut self, location: Location) -> Option<Arc<OpenFile>> {
        let file = at_start(self.body(location));
        self.open.retain(|open| *open != file);
        self.get_mut(location)?.open.take()
    }
}

impl Slot {
    fn new(record: RecordFile) -> Self {
        Self {
            record: Arc::new(record),
            open: None,
        }
    }

    /// Whether it was read since this was asked last.
    fn was_used(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.used.swap(false, Ordering::Relaxed))
    }
}

/// The name of a location's file in the list of open ones.
fn at_start(location: Location) -> Location {
    match location {
        Location::Journal { file, .. } => Location::Journal { file, offset: 0 },
        Location::Segment { file, .. } => Location::Segment { file, offset: 0 },
    }
}

/// The directory and its open files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    table: RwLock<Table>,
    /// Whether the names of the directories above are durable.
    anchored: AtomicBool,
    /// What was found damaged while the store was in use, one line each.
    damage: Mutex<Vec<String>>,
    encryption: Option<Encryption>,
    /// Held as long as anybody can reach the files.
    _lock: Box<dyn DiskLock>,
}

impl Files {
    /// Takes the directory, which is made when it is not there.
    pub(crate) fn lock(
        disk: Arc<dyn Disk>,
        dir: &Path,
        encryption: Option<Encryption>,
    ) -> Result<Self, StoreError> {
        let name = || dir.display().to_string();
        disk.create_dir(dir)
            .map_err(|error| StoreError::io("create", name(), error))?;
        let lock = disk.lock(dir).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked(dir.to_owned()),
            _ => StoreError::io("lock", name(), error),
        })?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            table: RwLock::new(Table {
                journal: Slots::default(),
                segments: Slots::default(),
                adopted: HashMap::default(),
                open: VecDeque::new(),
                open_max: OPEN_MAX,
            }),
            anchored: AtomicBool::new(false),
            damage: Mutex::default(),
            encryption,
            _lock: lock,
        })
    }

    /// Makes the names of all files durable. The first time the names of the directory itself and
    /// of those above it as well: they may have been made for this store, now or by a process that
    /// ended before it came here.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        if !self.anchored.load(Ordering::Acquire) {
            for (level, above) in self.dir.ancestors().skip(1).enumerate() {
                let here = above.as_os_str().is_empty();
                let above = if here { Path::new(".") } else { above };
                let synced = self.disk.sync_dir(above);
                // Higher ones may be closed to us; those were there before us.
                if level == 0 {
                    synced?;
                }
            }
            self.anchored.store(true, Ordering::Release);
        }
        self.disk.sync_dir(&self.dir)
    }

    /// The keys, when files are encrypted.
    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_ref()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn add_journal(&self, number: u32, file: RecordFile) {
        self.table.write().journal.insert(number, Slot::new(file));
    }

    pub(crate) fn take_journal(&self, number: u32) -> Option<Arc<RecordFile>> {
        let mut table = self.table.write();
        let _closed = table.close(Location::Journal {
            file: number,
            offset: 0,
        });
        Some(table.journal.remove(&number)?.record)
    }

    pub(crate) fn add_segment(&self, number: u32, file: RecordFile) {
        self.table.write().segments.insert(number, Slot::new(file));
    }

    /// From now on the records of a segment are those of a journal file.
    pub(crate) fn adopt(&self, number: u32, journal: u32) {
        self.table.write().adopted.insert(number, journal);
    }

    /// A segment is gone and the journal file that holds its records is not.
    pub(crate) fn release(&self, number: u32) {
        self.table.write().adopted.remove(&number);
    }

    /// Takes out the file that holds a segment's records.
    pub(crate) fn take_segment(&self, number: u32) -> Option<Arc<RecordFile>> {
        let mut table = self.table.write();
        if let Some(journal) = table.adopted.get(&number).copied() {
            drop(table);
            let record = self.take_journal(journal);
            self.table.write().adopted.remove(&number);
            return record;
        }
        let _closed = table.close(Location::Segment {
            file: number,
            offset: 0,
        });
        Some(table.segments.remove(&number)?.record)
    }

    /// Lets go of the table's own mapping of a file.
    pub(crate) fn close(&self, location: Location) {
        let closed = self.table.write().close(location);
        drop(closed);
    }

    fn open(&self, seq: u64, location: Location) -> Result<Arc<OpenFile>, ReadError> {
        let record = {
            let table = self.table.read();
            let slot = table.get(location).ok_or_else(|| missing(seq, location))?;
            if let Some(open) = &slot.open {
                open.touch();
                return Ok(Arc::clone(open));
            }
            Arc::clone(&slot.record)
        };
        let opened = OpenFile::open(Arc::clone(&record), self)
            .map_err(|error| record.failure(seq, location.offset(), &error))?;
        let (open, _closed) = self.table.write().put(location, opened);
        Ok(open)
    }

    /// The checked record at a location. Not under the lock: what is done with it may take time.
    fn load(&self, seq: u64, location: Location) -> Result<Loaded, ReadError> {
        let open = self.open(seq, location)?;
        let (record, offset) = (&open.record, location.offset());
        if record.packed {
            let chunk = self.chunk(&open, seq, location)?;
            let (header, at) = chunk.find(seq).ok_or_else(|| record.damage(seq, offset))?;
            return Ok(Loaded {
                header,
                at: at + RECORD_HEADER,
                bytes: Body::Unpacked(chunk),
            });
        }
        match &open.content {
            Content::Plain(file) => record.read(&**file, seq, offset),
            Content::Mapped(map) => {
                let found = find_mapped(map, record.seed, seq, offset);
                if record.is_encrypted() {
                    let bytes = map.bytes().get(offset as usize..).unwrap_or(&[]);
                    if let Some(loaded) = found.and_then(|h| record.decrypt(h, bytes, offset)) {
                        return Ok(loaded);
                    }
                } else if let Some(header) = found {
                    return Ok(Loaded {
                        header,
                        at: offset as usize + RECORD_HEADER,
                        bytes: Body::Mapped(open),
                    });
                }
                // The file itself knows whether it is damaged, cannot be read, or is in order: a
                // mapping with a page that was missing for a moment is not.
                self.close(location);
                let file = record
                    .open(self)
                    .map_err(|error| record.failure(seq, offset, &error))?;
                record.read(&*file, seq, offset)
            }
        }
    }

    /// The chunk at a location.
    fn chunk(
        &self,
        open: &OpenFile,
        seq: u64,
        location: Location,
    ) -> Result<Arc<Chunk>, ReadError> {
        let (record, offset) = (&open.record, location.offset());
        if let Some(chunk) = open.chunks.find(offset) {
            return Ok(chunk);
        }
        let chunk = match &open.content {
            Content::Plain(file) => record.read_chunk(&**file, seq, offset)?,
            Content::Mapped(map) => {
                let bytes = map.bytes().get(offset as usize..).unwrap_or(&[]);
                let found = record.open_chunk(bytes, offset);
                match found.filter(|_| !map.is_broken()) {
                    Some(chunk) => chunk,
                    None => {
                        // As with a record that is not found in a mapping.
                        self.close(location);
                        let file = record
                            .open(self)
                            .map_err(|error| record.failure(seq, offset, &error))?;
                        record.read_chunk(&*file, seq, offset)?
                    }
                }
            }
        };
        let chunk = Arc::new(chunk);
        open.chunks.put(offset, &chunk);
        Ok(chunk)
    }

    /// Whether the records of a location's file are in chunks.
    pub(crate) fn is_packed(&self, location: Location) -> bool {
        let table = self.table.read();
        table
            .get(location)
            .is_some_and(|slot| slot.record.is_packed())
    }

    pub(crate) fn note_damage(&self, line: String) {
        self.damage.lock().push(line);
    }

    pub(crate) fn take_damage(&self) -> Vec<String> {
        std::mem::take(&mut *self.damage.lock())
    }

    /// Reads a message with bytes that outlive the table.
    pub(crate) fn get(&self, seq: u64, location: Location) -> Result<Stored, ReadError> {
        Ok(self.load(seq, location)?.stored())
    }

    /// Lends a message.
    pub(crate) fn lend(
        &self,
        seq: u64,
        location: Location,
        use_it: &mut dyn FnMut(StoredRef<'_>),
    ) -> Result<(), ReadError> {
        let loaded = self.load(seq, location)?;
        loaded.lend(use_it);
        loaded.done();
        Ok(())
    }

    /// Lends a checked record with its header, and its key; of an encrypted one the checksums are
    /// not those of what is lent.
    pub(crate) fn lend_record<T>(
        &self,
        seq: u64,
        location: Location,
        use_it: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> Result<T, ReadError> {
        let loaded = self.load(seq, location)?;
        let record = loaded.record();
        let key = &record[RECORD_HEADER..RECORD_HEADER + loaded.header.key_len];
        let used = use_it(record, key);
        loaded.done();
        Ok(used)
    }

    /// The file of a location, and the offset.
    pub(crate) fn find(&self, location: Location) -> Option<(Arc<RecordFile>, u32)> {
        let table = self.table.read();
        let record = Arc::clone(&table.get(location)?.record);
        Some((record, location.offset()))
    }
}

fn missing(seq: u64, location: Location) -> ReadError {
    let (kind, file, offset) = match location {
        Location::Journal { file, offset } => (JOURNAL, file, offset),
        Location::Segment { file, offset } => (SEGMENT, file, offset),
    };
    ReadError::Damaged {
        seq,
        file: file_name(kind, file),
        offset: u64::from(offset),
    }
}

#[cfg(test)]
mod tests;
