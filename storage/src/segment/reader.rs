//! Opening a segment: who it is, and what it holds of each group.

use std::sync::Arc;

use bytes::Bytes;

use super::tables::{Places, SectionTables};
use super::walk::{self, Found, Source};
use crate::chunk::RATIO_MAX;
use crate::crypt::{Unlocked, unlock};
use crate::disk::{DiskFile, Map};
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, SEGMENT, file_name};
use crate::format::{
    BodyRef, DIRECTORY_ENTRY, DirectoryEntry, HeadError, KEY_BLOCK, KEY_BLOCK_AT, KEY_ENTRY,
    RECORD_HEADER, ROW, SEGMENT_HEADER, SegmentHeader, Trailer, key_block_behind, padded,
};

/// An open segment whose identity was found.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    files: Arc<Files>,
    number: u32,
    pub(crate) generation: u64,
    pub(crate) key: Unlocked,
    /// The records are in chunks.
    pub(crate) packed: bool,
    /// Length of the file that holds the records.
    size: u64,
    /// The journal file that holds the records, unless they are in this file.
    pub(crate) body: Option<BodyRef>,
    /// The file from `origin` on: all of it, or the part with the tables.
    bytes: Bytes,
    origin: u64,
    /// The mapping that the bytes are from, if they are.
    map: Option<Map>,
    /// The directory's entries, ascending by group and base, unless they are damaged.
    directory: Option<Bytes>,
    /// The records, once they had to be walked.
    walked: Option<Vec<Found>>,
    /// What was found wrong.
    pub(crate) report: Vec<String>,
}

/// A failure to use a segment at all.
#[derive(Debug)]
pub(crate) enum SegmentError {
    /// It cannot be understood; the text says why.
    Unusable(String),
    /// The disk refused, or the file is of an earlier version.
    Store(StoreError),
}

/// The header or the trailer, if it is this segment's.
fn identity<T>(
    name: &str,
    number: u32,
    decoded: Result<T, HeadError>,
    number_of: impl Fn(&T) -> u32,
) -> Result<Option<T>, SegmentError> {
    match decoded {
        Err(HeadError::Old) => Err(SegmentError::Store(StoreError::Old(name.to_owned()))),
        Err(HeadError::Unknown) => Err(SegmentError::Unusable(format!(
            "{name}: written by a later version"
        ))),
        other => Ok(other.ok().filter(|found| number_of(found) == number)),
    }
}

/// The key of a segment, if it has one.
fn key_of(
    files: &Files,
    number: u32,
    file: &dyn DiskFile,
    size: u64,
) -> Result<Unlocked, SegmentError> {
    let mut blocks = [[0; KEY_BLOCK]; 2];
    let places = [KEY_BLOCK_AT as u64, key_block_behind(size)];
    for (at, block) in places.into_iter().zip(&mut blocks) {
        if at + KEY_BLOCK as u64 <= size {
            file.read_at(at, block).map_err(|error| {
                SegmentError::Store(StoreError::io("read", file_name(SEGMENT, number), error))
            })?;
        }
    }
    unlock(files.encryption(), number, [&blocks[0], &blocks[1]])
        .map_err(|error| SegmentError::Store(error.into()))
}

impl SegmentReader {
    pub(crate) fn open(files: &Arc<Files>, number: u32) -> Result<Self, SegmentError> {
        let name = file_name(SEGMENT, number);
        let failed = |error| SegmentError::Store(StoreError::io("read", name.clone(), error));
        let file = match files.disk.open(&files.path(&name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(SegmentError::Unusable(format!("{name} is missing")));
            }
            other => other.map_err(failed)?,
        };
        let size = file.size().map_err(failed)?;
        let ends = SEGMENT_HEADER as u64;
        if size < ends * 2 {
            return Err(SegmentError::Unusable(format!(
                "{name}: cut to {size} bytes"
            )));
        }
        let mut head = [0; SEGMENT_HEADER];
        file.read_at(0, &mut head).map_err(failed)?;
        let mut tail = [0; SEGMENT_HEADER];
        file.read_at(size - ends, &mut tail).map_err(failed)?;
        let header = identity(&name, number, SegmentHeader::decode(&head), |head| {
            head.number
        })?;
        let trailer = identity(&name, number, Trailer::decode(&tail), |tail| tail.number)?;
        let generation = match (&header, &trailer) {
            (Some(header), _) => header.generation,
            (None, Some(trailer)) => trailer.generation,
            (None, None) => {
                let why = format!("{name}: header and trailer are damaged");
                return Err(SegmentError::Unusable(why));
            }
        };
        let key = key_of(files, number, &*file, size)?;
        let encrypted = match (&header, &trailer) {
            (Some(header), _) => header.encrypted,
            (None, trailer) => trailer.as_ref().is_some_and(|trailer| trailer.encrypted),
        };
        let packed = match (&header, &trailer) {
            (Some(header), _) => header.packed,
            (None, trailer) => trailer.as_ref().is_some_and(|trailer| trailer.packed),
        };
        if encrypted && key.is_none() {
            let why = format!("{name}: its key is damaged");
            return Err(SegmentError::Unusable(why));
        }
        let block = if encrypted { KEY_BLOCK as u64 } else { 0 };
        let body = match (&header, &trailer) {
            (Some(header), _) => header.body,
            (None, trailer) => trailer.map(|trailer| trailer.body).unwrap_or_default(),
        };
        let body = Some(body).filter(|body| body.file > 0);
        let holder = body.map(|body| files.path(&file_name(JOURNAL, body.file)));
        let held = holder.and_then(|path| files.disk.open(&path).and_then(|file| file.size()).ok());
        let mut reader = Self {
            files: Arc::clone(files),
            number,
            generation,
            key,
            packed,
            size: held.unwrap_or(size),
            body,
            bytes: Bytes::new(),
            origin: 0,
            map: None,
            directory: None,
            walked: None,
            report: Vec::new(),
        };
        if header.is_none() {
            reader.report.push(format!("{name}: the header is damaged"));
        }
        let end = (size - ends).saturating_sub(block);
        let found = trailer.and_then(|trailer| {
            let len = end.checked_sub(trailer.directory)?;
            let mut directory = vec![0; usize::try_from(len).ok()?];
            file.read_at(trailer.directory, &mut directory).ok()?;
            let good = u64::from(trailer.sections) * DIRECTORY_ENTRY as u64 == len
                && crc32c::crc32c(&directory) == trailer.directory_sum;
            good.then_some(Bytes::from(directory))
        });
        let Some(directory) = found else {
            reader
                .report
                .push(format!("{name}: the tables' directory is damaged"));
            return Ok(reader);
        };
        if let Some(map) = file.map().map_err(failed)? {
            reader.bytes = map.bytes().clone();
            reader.map = Some(map);
        } else {
            let entries = directory.chunks_exact(DIRECTORY_ENTRY);
            let starts = entries.map(|entry| DirectoryEntry::decode(entry).keys_at);
            reader.origin = starts.min().unwrap_or(end).min(end);
            let mut bytes = vec![0; usize::try_from(end - reader.origin).unwrap_or(0)];
            file.read_at(reader.origin, &mut bytes).map_err(failed)?;
            reader.bytes = Bytes::from(bytes);
        }
        reader.directory = Some(directory);
        Ok(reader)
    }

    /// The section of a group that begins with the sequence `base`.
    fn entry(&self, directory: &[u8], group: u64, base: u64) -> Option<DirectoryEntry> {
        let entry = |at: usize| {
            let at = at * DIRECTORY_ENTRY;
            let bytes = directory.get(at..at + DIRECTORY_ENTRY)?;
            Some(DirectoryEntry::decode(bytes))
        };
        let before = |at: u32| {
            entry(at as usize).is_some_and(|entry| (entry.group, entry.base) < (group, base))
        };
        let count = (directory.len() / DIRECTORY_ENTRY) as u32;
        let at = super::tables::partition(0, count, before);
        entry(at as usize).filter(|entry| (entry.group, entry.base) == (group, base))
    }

    fn source(&self) -> Source {
        Source {
            number: self.number,
            generation: self.generation,
            body: self.body,
            packed: self.packed,
        }
    }

    fn slice(&self, from: u64, len: u64) -> Option<Bytes> {
        let start = usize::try_from(from.checked_sub(self.origin)?).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }

    /// The tables of an entry, if its key part is sound.
    fn sound(&self, entry: DirectoryEntry) -> Option<SectionTables> {
        let span = entry.last.checked_sub(entry.base)?;
        if entry.rows == 0 || span < u64::from(entry.rows) - 1 {
            return None;
        }
        let keys = self.slice(entry.keys_at, entry.rows_at.checked_sub(entry.keys_at)?)?;
        if keys.len() < (entry.keys as usize + 1) * KEY_ENTRY
            || crc32c::crc32c(&keys) != entry.keys_sum
        {
            return None;
        }
        let keys = match &self.key {
            None => keys,
            Some(key) => {
                let mut opened = keys.to_vec();
                let len = key
                    .open(entry.keys_at as u32, &entry.bound(), &mut opened)?
                    .len();
                opened.truncate(len);
                Bytes::from(opened)
            }
        };
        let rows = padded(entry.rows as usize * (ROW + 4)) as u64;
        let rows = self.slice(entry.rows_at, rows)?;
        let places = Places {
            files: Arc::clone(&self.files),
            source: self.source(),
            key: self.key.clone(),
            map: self.map.clone(),
        };
        Some(SectionTables::new(places, entry, keys, rows))
    }

    /// The section that a checkpoint describes by group, ends, number of rows and bytes, and the
    /// rows of it that are lost.
    pub(crate) fn section(&mut self, expected: &DirectoryEntry) -> (SectionTables, Vec<u32>) {
        let found = self
            .directory
            .as_ref()
            .and_then(|directory| self.entry(directory, expected.group, expected.base));
        let same =
            |entry: &DirectoryEntry| (entry.last, entry.rows) == (expected.last, expected.rows);
        if let Some(tables) = found.filter(same).and_then(|entry| self.sound(entry)) {
            return (tables, Vec::new());
        }
        if self.directory.is_some() {
            let name = file_name(SEGMENT, self.number);
            let group = expected.group;
            self.report
                .push(format!("{name}: the tables of group {group} are damaged"));
        }
        let mut known = *expected;
        // Not believed when it is more than the file can hold.
        let plain = if self.packed { RATIO_MAX } else { 1 };
        let most = self.size * u64::from(plain) / RECORD_HEADER as u64;
        known.rows = known.rows.min(u32::try_from(most).unwrap_or(u32::MAX));
        if let Some(entry) = found.filter(same) {
            known.records = entry.records;
        }
        let (files, source) = (&self.files, self.source());
        let walked = self
            .walked
            .get_or_insert_with(|| walk::records(files, &source, self.key.as_deref()));
        let (mut draft, lost) = walk::tables_again(walked, &known);
        let encoded = draft.encode();
        let entry = DirectoryEntry {
            group: expected.group,
            records: known.records,
            ..encoded.entry
        };
        let (keys, rows) = (Bytes::from(encoded.keys), Bytes::from(encoded.rows));
        let places = Places {
            files: Arc::clone(files),
            source,
            key: self.key.clone(),
            map: None,
        };
        (SectionTables::new(places, entry, keys, rows), lost)
    }

    /// The section that was just written.
    pub(crate) fn built(&self, group: u64, base: u64) -> Option<SectionTables> {
        let entry = self.entry(self.directory.as_ref()?, group, base)?;
        self.sound(entry)
    }
}
