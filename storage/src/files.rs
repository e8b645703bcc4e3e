//! The files of one store directory: their names, and the table through which messages are read.
//!
//! A file is opened and mapped when it is first read; afterwards the mapping serves every read, and
//! every record is checked before its bytes are handed out. The table is shared by the owner
//! thread, the disk thread and the stores of the groups.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::disk::{Disk, DiskFile, DiskLock};
use crate::error::StoreError;
use crate::format::{RECORD_HEADER, RecordHeader, Seed};
use crate::messages::{Location, ReadError, Stored, StoredRef};

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const SPARE: &str = "spare";
pub(crate) const SEGMENT: &str = "segment";
pub(crate) const CHECKPOINT: &str = "checkpoint";

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

/// One file that holds records.
#[derive(Debug)]
pub(crate) struct RecordFile {
    pub(crate) name: String,
    seed: Seed,
    file: OnceLock<Arc<dyn DiskFile>>,
    map: OnceLock<Option<Bytes>>,
    /// Damage was found: the file is set aside instead of being recycled.
    damaged: AtomicBool,
}

impl RecordFile {
    pub(crate) fn new(name: String, generation: u64) -> Self {
        Self {
            name,
            seed: Seed::new(generation),
            file: OnceLock::new(),
            map: OnceLock::new(),
            damaged: AtomicBool::new(false),
        }
    }

    pub(crate) fn with_file(name: String, generation: u64, file: Arc<dyn DiskFile>) -> Self {
        let this = Self::new(name, generation);
        let _ = this.file.set(file);
        this
    }

    pub(crate) fn mark_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Whether bytes of the mapping may still be in use outside.
    pub(crate) fn is_lent(&self) -> bool {
        matches!(self.map.get(), Some(Some(map)) if !map.is_unique())
    }

    fn io_error(&self, error: &io::Error) -> ReadError {
        ReadError::Io {
            file: self.name.clone(),
            reason: error.to_string(),
        }
    }

    pub(crate) fn seed(&self) -> Seed {
        self.seed
    }

    /// The open file.
    pub(crate) fn open(&self, files: &Files) -> io::Result<&Arc<dyn DiskFile>> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let opened = files.disk.open(&files.path(&self.name))?;
        Ok(self.file.get_or_init(|| opened))
    }

    fn file(&self, files: &Files) -> Result<&Arc<dyn DiskFile>, ReadError> {
        self.open(files).map_err(|error| self.io_error(&error))
    }

    fn map(&self, files: &Files) -> Result<&Option<Bytes>, ReadError> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        let mapped = self
            .file(files)?
            .map()
            .map_err(|error| self.io_error(&error))?;
        Ok(self.map.get_or_init(|| mapped))
    }

    /// The checked record at `offset`: its header, the bytes that hold its body, and where.
    fn load(&self, files: &Files, seq: u64, offset: u32) -> Result<Loaded<'_>, ReadError> {
        let damaged = || {
            self.mark_damaged();
            ReadError::Damaged {
                seq,
                file: self.name.clone(),
                offset: u64::from(offset),
            }
        };
        let at = offset as usize;
        if let Some(map) = self.map(files)? {
            let bytes = map.get(at..).ok_or_else(damaged)?;
            let header = RecordHeader::decode(bytes, self.seed, offset).map_err(|_| damaged())?;
            header
                .body(bytes)
                .filter(|_| header.seq == seq)
                .ok_or_else(damaged)?;
            return Ok(Loaded {
                header,
                at: at + RECORD_HEADER,
                bytes: Body::Mapped(map),
            });
        }
        let file = self.file(files)?;
        let read = |from: u64, into: &mut [u8]| match file.read_at(from, into) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(damaged()),
            Err(error) => Err(self.io_error(&error)),
            Ok(()) => Ok(()),
        };
        let mut record = vec![0; RECORD_HEADER];
        read(u64::from(offset), &mut record)?;
        let header = RecordHeader::decode(&record, self.seed, offset).map_err(|_| damaged())?;
        let size = file.size().map_err(|error| self.io_error(&error))?;
        if !header.fits(offset, size) {
            return Err(damaged());
        }
        record.resize(RECORD_HEADER + header.body_len(), 0);
        let body_at = u64::from(offset) + RECORD_HEADER as u64;
        read(body_at, &mut record[RECORD_HEADER..])?;
        header
            .body(&record)
            .filter(|_| header.seq == seq)
            .ok_or_else(damaged)?;
        Ok(Loaded {
            header,
            at: RECORD_HEADER,
            bytes: Body::Copied(Bytes::from(record)),
        })
    }
}

enum Body<'a> {
    Mapped(&'a Bytes),
    Copied(Bytes),
}

/// A record that proved itself.
struct Loaded<'a> {
    header: RecordHeader,
    /// Where the body starts in the bytes.
    at: usize,
    bytes: Body<'a>,
}

impl Loaded<'_> {
    fn bytes(&self) -> &Bytes {
        match &self.bytes {
            Body::Mapped(map) => map,
            Body::Copied(bytes) => bytes,
        }
    }

    fn stored(&self) -> Stored {
        let header = &self.header;
        let bytes = self.bytes();
        let key_end = self.at + header.key_len;
        let headers_end = key_end + header.headers_len;
        Stored {
            seq: header.seq,
            timestamp: header.timestamp,
            key: bytes.slice(self.at..key_end),
            headers: bytes.slice(key_end..headers_end),
            payload: bytes.slice(headers_end..headers_end + header.payload_len),
        }
    }

    /// Header and body as they lie in the file.
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

#[derive(Debug, Default)]
struct Table {
    journal: HashMap<u32, Arc<RecordFile>, foldhash::fast::FixedState>,
    segments: HashMap<u32, Arc<RecordFile>, foldhash::fast::FixedState>,
}

impl Table {
    fn get(&self, location: Location) -> (Option<&Arc<RecordFile>>, u32) {
        match location {
            Location::Journal { file, offset } => (self.journal.get(&file), offset),
            Location::Segment { file, offset } => (self.segments.get(&file), offset),
        }
    }
}

/// The directory and its open files.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    table: RwLock<Table>,
    /// Held as long as anybody can reach the files.
    _lock: Box<dyn DiskLock>,
}

impl Files {
    /// Takes the directory, which is made when it is not there.
    pub(crate) fn lock(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
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
            table: RwLock::default(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn add_journal(&self, number: u32, file: RecordFile) {
        self.table.write().journal.insert(number, Arc::new(file));
    }

    pub(crate) fn take_journal(&self, number: u32) -> Option<Arc<RecordFile>> {
        self.table.write().journal.remove(&number)
    }

    pub(crate) fn add_segment(&self, number: u32, file: RecordFile) {
        self.table.write().segments.insert(number, Arc::new(file));
    }

    pub(crate) fn take_segment(&self, number: u32) -> Option<Arc<RecordFile>> {
        self.table.write().segments.remove(&number)
    }

    /// Reads a message with bytes that outlive the table.
    pub(crate) fn get(&self, seq: u64, location: Location) -> Result<Stored, ReadError> {
        let table = self.table.read();
        let (file, offset) = table.get(location);
        let file = file.ok_or_else(|| missing(seq, location))?;
        Ok(file.load(self, seq, offset)?.stored())
    }

    /// Lends a message.
    pub(crate) fn lend(
        &self,
        seq: u64,
        location: Location,
        use_it: &mut dyn FnMut(StoredRef<'_>),
    ) -> Result<(), ReadError> {
        // Not under the lock: the caller's code runs here.
        let (file, offset) = self.file_of(seq, location)?;
        file.load(self, seq, offset)?.lend(use_it);
        Ok(())
    }

    /// Lends a checked record with its header, and its key.
    pub(crate) fn lend_record<T>(
        &self,
        seq: u64,
        location: Location,
        use_it: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> Result<T, ReadError> {
        let (file, offset) = self.file_of(seq, location)?;
        let loaded = file.load(self, seq, offset)?;
        let record = loaded.record();
        let key = &record[RECORD_HEADER..RECORD_HEADER + loaded.header.key_len];
        Ok(use_it(record, key))
    }

    /// The file of a location, and the offset.
    pub(crate) fn find(&self, location: Location) -> Option<(Arc<RecordFile>, u32)> {
        let table = self.table.read();
        let (file, offset) = table.get(location);
        Some((Arc::clone(file?), offset))
    }

    fn file_of(&self, seq: u64, location: Location) -> Result<(Arc<RecordFile>, u32), ReadError> {
        self.find(location).ok_or_else(|| missing(seq, location))
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
