//! Writing a segment: records first, group by group, then the tables.

use std::io::IoSlice;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, SEGMENT, file_name};
use crate::format::{DirectoryEntry, Row, Seed, Trailer, encode_segment_header, padded, restamp};

/// Written out whenever this much has gathered.
const FLUSH_BYTES: usize = 1 << 20;

/// The rows and keys of one group.
#[derive(Debug)]
struct SectionBuilder {
    group: u64,
    rows: Vec<Row>,
    key_block: Vec<u8>,
    keys: HashMap<Box<[u8]>, u32, FixedState>,
}

/// A segment in the making, under a temporary name.
#[derive(Debug)]
pub(crate) struct SegmentBuilder {
    number: u32,
    generation: u64,
    seed: Seed,
    file: Arc<dyn DiskFile>,
    /// Bytes not written yet, and where they belong.
    buffer: Vec<u8>,
    flushed: u64,
    records_sum: u32,
    sections: Vec<SectionBuilder>,
}

fn temporary(number: u32) -> String {
    format!("{}.tmp", file_name(SEGMENT, number))
}

impl SegmentBuilder {
    pub(crate) fn create(files: &Files, number: u32, generation: u64) -> Result<Self, StoreError> {
        let name = temporary(number);
        let created = files.disk.create(&files.path(&name));
        let file = created.map_err(|error| StoreError::io("create", name, error))?;
        Ok(Self {
            number,
            generation,
            seed: Seed::new(generation),
            file,
            buffer: encode_segment_header(number, generation).to_vec(),
            flushed: 0,
            records_sum: 0,
            sections: Vec::new(),
        })
    }

    /// Length so far, without the tables.
    pub(crate) fn len(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Begins a group. Messages of a group come in ascending order.
    pub(crate) fn begin(&mut self, group: u64) {
        let (rows, key_block, keys) = (Vec::new(), Vec::new(), HashMap::default());
        self.sections.push(SectionBuilder {
            group,
            rows,
            key_block,
            keys,
        });
    }

    /// Whether the current group's table can take this sequence.
    pub(crate) fn accepts(&self, seq: u64) -> bool {
        let first = self
            .sections
            .last()
            .and_then(|section| section.rows.first());
        first.is_none_or(|row| seq - row.seq <= u64::from(u32::MAX))
    }

    /// Adds a message; `record` appends its bytes and says how long its key is. Returns its offset.
    pub(crate) fn add(
        &mut self,
        seq: u64,
        timestamp: i64,
        size: u32,
        record: &[u8],
        key: &[u8],
    ) -> Result<u32, StoreError> {
        let offset = self.len() as u32;
        let start = self.buffer.len();
        self.buffer.extend_from_slice(record);
        self.buffer.resize(start + padded(record.len()), 0);
        restamp(&mut self.buffer[start..], self.seed, offset);
        self.records_sum = crc32c::crc32c_append(self.records_sum, &self.buffer[start..]);
        if let Some(section) = self.sections.last_mut() {
            let key = section.key(key);
            section.rows.push(Row {
                seq,
                offset,
                timestamp,
                key,
                size,
            });
        }
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(offset)
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let wrote = self
            .file
            .write_at(self.flushed, &mut [IoSlice::new(&self.buffer)]);
        wrote.map_err(|error| StoreError::io("write", temporary(self.number), error))?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the tables and gives the file its name; the directory is not synced yet.
    pub(crate) fn seal(mut self, files: &Files) -> Result<(), StoreError> {
        let mut directory = Vec::new();
        let sections = std::mem::take(&mut self.sections);
        for section in &sections {
            let entry = self.write_tables(section)?;
            directory.extend_from_slice(&entry.encode());
        }
        let trailer = Trailer {
            number: self.number,
            generation: self.generation,
            directory: self.len(),
            sections: sections.len() as u32,
            directory_sum: crc32c::crc32c(&directory),
            records_sum: self.records_sum,
        };
        self.buffer.extend_from_slice(&directory);
        self.buffer.extend_from_slice(&trailer.encode());
        self.flush()?;
        let name = temporary(self.number);
        self.file
            .sync_data()
            .map_err(|error| StoreError::io("sync", name.clone(), error))?;
        let to = files.path(&file_name(SEGMENT, self.number));
        let renamed = files.disk.rename(&files.path(&name), &to);
        renamed.map_err(|error| StoreError::io("rename", name, error))
    }

    fn write_tables(&mut self, section: &SectionBuilder) -> Result<DirectoryEntry, StoreError> {
        let base_seq = section.rows.first().map_or(0, |row| row.seq);
        let mut entry = DirectoryEntry {
            group: section.group,
            base_seq,
            last_seq: section.rows.last().map_or(0, |row| row.seq),
            keys_at: self.len(),
            keys: section.keys.len() as u32,
            rows: section.rows.len() as u32,
            bytes: section.rows.iter().map(|row| u64::from(row.size)).sum(),
            ..DirectoryEntry::default()
        };
        let mut tables = section.key_block.clone();
        tables.resize(padded(tables.len()), 0);
        entry.rows_at = entry.keys_at + tables.len() as u64;
        for row in &section.rows {
            tables.extend_from_slice(&row.encode(base_seq));
        }
        entry.sum = crc32c::crc32c(&tables);
        self.buffer.extend_from_slice(&tables);
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(entry)
    }

    /// The groups in it.
    pub(crate) fn groups(&self) -> Vec<u64> {
        self.sections.iter().map(|section| section.group).collect()
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl SectionBuilder {
    fn key(&mut self, name: &[u8]) -> u32 {
        if let Some(key) = self.keys.get(name) {
            return *key;
        }
        let key = self.keys.len() as u32;
        self.key_block
            .extend_from_slice(&(name.len() as u16).to_le_bytes());
        self.key_block.extend_from_slice(name);
        self.keys.insert(name.into(), key);
        key
    }
}
