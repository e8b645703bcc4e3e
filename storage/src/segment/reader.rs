//! Reading a segment's tables back, and walking its records when the tables are damaged.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, SEGMENT, file_name};
use crate::format::{
    DIRECTORY_ENTRY, DirectoryEntry, HeaderError, Kind, ROW, RecordHeader, Row, SEGMENT_HEADER,
    Seed, Trailer, decode_segment_header,
};
use std::sync::Arc;

/// What a segment holds of one group.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) keys: Vec<Box<[u8]>>,
    pub(crate) rows: Vec<Row>,
}

/// An open segment whose identity was found.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    number: u32,
    pub(crate) generation: u64,
    file: Arc<dyn DiskFile>,
    size: u64,
    /// The directory, unless it is damaged.
    directory: Option<Vec<DirectoryEntry>>,
    /// The records by group, once they had to be walked.
    walked: Option<HashMap<u64, Section, FixedState>>,
    /// What was found wrong.
    pub(crate) report: Vec<String>,
}

/// A failure to use a segment at all.
#[derive(Debug)]
pub(crate) enum SegmentError {
    /// It cannot be understood; the text says why.
    Unusable(String),
    /// The disk refused.
    Store(StoreError),
}

impl SegmentReader {
    pub(crate) fn open(files: &Files, number: u32) -> Result<Self, SegmentError> {
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
        let header = decode_segment_header(&head)
            .ok()
            .filter(|(found, _)| *found == number);
        let trailer = Trailer::decode(&tail)
            .ok()
            .filter(|trailer| trailer.number == number);
        let generation = match (&header, &trailer) {
            (Some((_, generation)), _) => *generation,
            (None, Some(trailer)) => trailer.generation,
            (None, None) => {
                let why = format!("{name}: header and trailer are damaged");
                return Err(SegmentError::Unusable(why));
            }
        };
        let mut reader = Self {
            number,
            generation,
            file,
            size,
            directory: None,
            walked: None,
            report: Vec::new(),
        };
        if header.is_none() {
            reader.report.push(format!("{name}: the header is damaged"));
        }
        match trailer.and_then(|trailer| reader.read_directory(&trailer)) {
            Some(directory) => reader.directory = Some(directory),
            None => reader
                .report
                .push(format!("{name}: the tables' directory is damaged")),
        }
        Ok(reader)
    }

    fn read(&self, from: u64, to: u64) -> Option<Vec<u8>> {
        let len = to.checked_sub(from).filter(|_| to <= self.size)?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_at(from, &mut bytes).ok()?;
        Some(bytes)
    }

    fn read_directory(&self, trailer: &Trailer) -> Option<Vec<DirectoryEntry>> {
        let len = u64::from(trailer.sections) * DIRECTORY_ENTRY as u64;
        let bytes = self.read(trailer.directory, trailer.directory.checked_add(len)?)?;
        if crc32c::crc32c(&bytes) != trailer.directory_sum {
            return None;
        }
        Some(
            bytes
                .chunks_exact(DIRECTORY_ENTRY)
                .map(DirectoryEntry::decode)
                .collect(),
        )
    }

    /// The messages of a group, ascending.
    pub(crate) fn section(&mut self, group: u64) -> Section {
        if let Some(directory) = &self.directory {
            let Some(entry) = directory.iter().find(|entry| entry.group == group) else {
                return Section::default();
            };
            if let Some(section) = self.read_section(entry) {
                return section;
            }
            let name = file_name(SEGMENT, self.number);
            self.report
                .push(format!("{name}: the tables of group {group} are damaged"));
        }
        let mut walked = match self.walked.take() {
            Some(walked) => walked,
            None => self.walk(),
        };
        let section = walked.remove(&group).unwrap_or_default();
        self.walked = Some(walked);
        section
    }

    fn read_section(&self, entry: &DirectoryEntry) -> Option<Section> {
        let end = entry
            .rows_at
            .checked_add(u64::from(entry.rows) * ROW as u64)?;
        let bytes = self.read(entry.keys_at, end)?;
        if crc32c::crc32c(&bytes) != entry.sum {
            return None;
        }
        let keys_len = usize::try_from(entry.rows_at.checked_sub(entry.keys_at)?).ok()?;
        let (mut block, rows) = bytes.split_at_checked(keys_len)?;
        let mut keys = Vec::with_capacity(entry.keys as usize);
        for _ in 0..entry.keys {
            let (len, rest) = block.split_first_chunk::<2>()?;
            let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
            keys.push(key.into());
            block = rest;
        }
        let rows = rows
            .chunks_exact(ROW)
            .map(|row| Row::decode(row, entry.base_seq))
            .collect();
        Some(Section { keys, rows })
    }

    /// Finds every record that proves itself, without the tables.
    fn walk(&mut self) -> HashMap<u64, Section, FixedState> {
        let mut found: HashMap<u64, Section, FixedState> = HashMap::default();
        let seed = Seed::new(self.generation);
        let Some(bytes) = self.read(0, self.size) else {
            self.report.push(format!(
                "{}: cannot be read",
                file_name(SEGMENT, self.number)
            ));
            return found;
        };
        let mut at = SEGMENT_HEADER;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match RecordHeader::decode(rest, seed, at as u32) {
                Ok(header) if header.kind == Kind::Message => {
                    if let Some(body) = header.body(rest) {
                        let section = found.entry(header.group).or_default();
                        let key = section.keys.len() as u32;
                        let (name, headers, payload) = header.split(body);
                        section.keys.push(name.into());
                        section.rows.push(Row {
                            seq: header.seq,
                            offset: at as u32,
                            timestamp: header.timestamp,
                            key,
                            size: crate::messages::file_size(name, headers, payload),
                        });
                    }
                    at += header.size();
                }
                Ok(header) => at += header.size(),
                Err(HeaderError::Unknown(size)) => at += size,
                Err(HeaderError::Damaged) => at += 8,
            }
        }
        found
    }
}
