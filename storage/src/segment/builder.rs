//! Writing a segment: records first, group by group, one by one or gathered into chunks that are
//! compressed, then the tables. The records may also lie in a journal file that is complete; then
//! the tables are all there is, after a list of the sequences of each section, by which the rows can
//! be made again from that file.

use std::io::IoSlice;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::draft::Draft;
use crate::chunk::{CHUNK, pack};
use crate::crypt::Unlocked;
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files::{Files, SEGMENT, file_name};
use crate::format::{
    BodyRef, DirectoryEntry, RECORD_HEADER, RecordHeader, Row, Seed, SegmentHeader, Trailer,
    encode_picks, encode_record, padded, restamp,
};
use crate::messages::KeyId;

/// Written out whenever this much has gathered.
const FLUSH_BYTES: usize = 1 << 20;

/// The rows and keys of one group.
#[derive(Debug)]
struct SectionBuilder {
    group: u64,
    draft: Draft,
    keys: HashMap<KeyId, u32, FixedState>,
    records: (u32, u32),
}

/// A message to be added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) seq: u64,
    pub(crate) timestamp: i64,
    pub(crate) size: u32,
    /// The store's name for the key; the same for all messages of the key.
    pub(crate) key: KeyId,
    pub(crate) name: &'a [u8],
}

/// A section that was written.
#[derive(Debug)]
pub(crate) struct BuiltSection {
    pub(crate) group: u64,
    pub(crate) base: u64,
    /// The store's names for its keys.
    pub(crate) ids: Box<[KeyId]>,
}

/// A segment in the making, under a temporary name.
#[derive(Debug)]
pub(crate) struct SegmentBuilder {
    number: u32,
    generation: u64,
    /// Where the records are.
    body: BodyRef,
    seed: Seed,
    key: Unlocked,
    /// The encoded key block, if there is one.
    block: Vec<u8>,
    /// Records are gathered into chunks.
    packed: bool,
    /// The records of the next chunk.
    chunk: Vec<u8>,
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
    /// Begins a segment; with a `body` other than the default its records lie there. Records of a
    /// `packed` one are compressed.
    pub(crate) fn create(
        files: &Files,
        number: u32,
        generation: u64,
        body: BodyRef,
        packed: bool,
    ) -> Result<Self, StoreError> {
        let name = temporary(number);
        let created = files.disk.create(&files.path(&name));
        let file = created.map_err(|error| StoreError::io("create", name, error))?;
        let created = files
            .encryption()
            .map(|encryption| encryption.create(number, generation));
        let (key, block) = created.unzip();
        let block = block.map_or_else(Vec::new, |block| block.encode().to_vec());
        let header = SegmentHeader {
            number,
            generation,
            body,
            encrypted: key.is_some(),
            packed,
        };
        let mut buffer = header.encode().to_vec();
        buffer.extend_from_slice(&block);
        Ok(Self {
            number,
            generation,
            body,
            seed: Seed::new(generation),
            key: key.map(Arc::new),
            block,
            packed,
            chunk: Vec::new(),
            file,
            buffer,
            flushed: 0,
            records_sum: 0,
            sections: Vec::new(),
        })
    }

    /// Length so far, without the tables.
    pub(crate) fn len(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Begins a section. Groups come in ascending order, and the sections of a group, and the
    /// messages of a section.
    pub(crate) fn begin(&mut self, group: u64) {
        self.close_chunk();
        let at = self.len() as u32;
        self.sections.push(SectionBuilder {
            group,
            draft: Draft::default(),
            keys: HashMap::default(),
            records: (at, at),
        });
    }

    /// Whether the current section's table can take this sequence.
    pub(crate) fn accepts(&self, seq: u64) -> bool {
        let first = self
            .sections
            .last()
            .and_then(|section| section.draft.rows.first());
        first.is_none_or(|row| seq - row.seq <= u64::from(u32::MAX))
    }

    /// Adds a message with the bytes of its record.
    pub(crate) fn add(&mut self, row: &NewRow<'_>, record: &[u8]) -> Result<(), StoreError> {
        if self.packed {
            return self.gather(row, record);
        }
        let offset = self.len() as u32;
        let start = self.buffer.len();
        match &self.key {
            None => {
                self.buffer.extend_from_slice(record);
                self.buffer.resize(start + padded(record.len()), 0);
                restamp(&mut self.buffer[start..], self.seed, offset);
            }
            Some(key) => {
                let body = record.get(RECORD_HEADER..).unwrap_or(&[]);
                if let Some(header) = RecordHeader::again(record) {
                    let record = header.record(body);
                    key.encode_record(&mut self.buffer, self.seed, offset, &record);
                }
            }
        }
        self.records_sum = crc32c::crc32c_append(self.records_sum, &self.buffer[start..]);
        let end = self.len() as u32;
        if let Some(section) = self.sections.last_mut() {
            section.add(row, offset);
            section.records.1 = end;
        }
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds a message to the chunk at hand.
    fn gather(&mut self, row: &NewRow<'_>, record: &[u8]) -> Result<(), StoreError> {
        if self.chunk.len() + padded(record.len()) > CHUNK {
            self.close_chunk();
        }
        // All records of a chunk are found where it begins.
        let offset = self.len() as u32;
        let start = self.chunk.len();
        let place = offset.wrapping_add(start as u32);
        match (&self.key, RecordHeader::again(record)) {
            // What was encrypted has other checksums.
            (Some(_), Some(header)) => {
                let body = record.get(RECORD_HEADER..).unwrap_or(&[]);
                encode_record(&mut self.chunk, self.seed, place, &header.record(body));
            }
            _ => {
                self.chunk.extend_from_slice(record);
                self.chunk.resize(start + padded(record.len()), 0);
                restamp(&mut self.chunk[start..], self.seed, place);
            }
        }
        if let Some(section) = self.sections.last_mut() {
            section.add(row, offset);
        }
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Compresses what was gathered.
    fn close_chunk(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let offset = self.len() as u32;
        let start = self.buffer.len();
        let key = self.key.as_deref();
        pack(&mut self.buffer, self.seed, key, offset, &self.chunk);
        self.chunk.clear();
        self.records_sum = crc32c::crc32c_append(self.records_sum, &self.buffer[start..]);
        let end = self.len() as u32;
        if let Some(section) = self.sections.last_mut() {
            section.records.1 = end;
        }
    }

    /// Adds a message that lies in the body; `name` is asked for when its key is new here.
    pub(crate) fn refer<E>(
        &mut self,
        row: &NewRow<'_>,
        (offset, end): (u32, u32),
        name: impl FnOnce() -> Result<Box<[u8]>, E>,
    ) -> Result<(), E> {
        let Some(section) = self.sections.last_mut() else {
            return Ok(());
        };
        if !section.keys.contains_key(&row.key) {
            let name = name()?;
            section.add(
                &NewRow {
                    name: &name,
                    ..*row
                },
                offset,
            );
        } else {
            section.add(row, offset);
        }
        if section.draft.rows.len() == 1 {
            section.records.0 = offset;
        }
        section.records.1 = end;
        Ok(())
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
    /// `share` is how much of the file's records are rows.
    pub(crate) fn seal(
        mut self,
        files: &Files,
        share: f64,
    ) -> Result<Vec<BuiltSection>, StoreError> {
        self.close_chunk();
        let mut directory = Vec::new();
        let mut built = Vec::new();
        let sections = std::mem::take(&mut self.sections);
        if self.body != BodyRef::default() {
            for section in &sections {
                let rows = section.draft.rows.iter().map(|row| row.seq);
                let at = self.len() as u32;
                encode_picks(&mut self.buffer, self.seed, at, section.group, rows);
            }
        }
        for section in sections
            .into_iter()
            .filter(|section| !section.draft.rows.is_empty())
        {
            let (entry, section) = self.write_tables(section, share)?;
            directory.extend_from_slice(&entry.encode());
            built.push(section);
        }
        let trailer = Trailer {
            number: self.number,
            generation: self.generation,
            directory: self.len(),
            sections: built.len() as u32,
            directory_sum: crc32c::crc32c(&directory),
            records_sum: self.records_sum,
            body: self.body,
            encrypted: self.key.is_some(),
            packed: self.packed,
        };
        self.buffer.extend_from_slice(&directory);
        self.buffer.extend_from_slice(&self.block);
        self.buffer.extend_from_slice(&trailer.encode());
        self.flush()?;
        let name = temporary(self.number);
        self.file
            .sync_data()
            .map_err(|error| StoreError::io("sync", name.clone(), error))?;
        let to = files.path(&file_name(SEGMENT, self.number));
        let renamed = files.disk.rename(&files.path(&name), &to);
        renamed.map_err(|error| StoreError::io("rename", name, error))?;
        Ok(built)
    }

    fn write_tables(
        &mut self,
        mut section: SectionBuilder,
        share: f64,
    ) -> Result<(DirectoryEntry, BuiltSection), StoreError> {
        let mut encoded = section.draft.encode();
        let mut by_draft = vec![KeyId(0); encoded.order.len()];
        for (id, at) in &section.keys {
            by_draft[*at as usize] = *id;
        }
        let ids = encoded.order.iter().map(|at| by_draft[*at as usize]);
        let keys_at = self.len();
        let mut entry = DirectoryEntry {
            group: section.group,
            keys_at,
            records: section.records,
            garbage: (f64::from(encoded.entry.rows) * (1.0 / share - 1.0)) as u32,
            ..encoded.entry
        };
        if let Some(key) = &self.key {
            key.seal(keys_at as u32, &entry.bound(), &mut encoded.keys, 0);
            entry.keys_sum = crc32c::crc32c(&encoded.keys);
        }
        entry.rows_at = keys_at + encoded.keys.len() as u64;
        let built = BuiltSection {
            group: section.group,
            base: entry.base,
            ids: ids.collect(),
        };
        self.buffer.extend_from_slice(&encoded.keys);
        self.buffer.extend_from_slice(&encoded.rows);
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush()?;
        }
        Ok((entry, built))
    }

    pub(crate) fn body(&self) -> BodyRef {
        self.body
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

impl SectionBuilder {
    fn add(&mut self, row: &NewRow<'_>, offset: u32) {
        let key = *self.keys.entry(row.key).or_insert_with(|| {
            self.draft.names.push(row.name.into());
            self.draft.names.len() as u32 - 1
        });
        self.draft.rows.push(Row {
            seq: row.seq,
            offset,
            timestamp: row.timestamp,
            key,
            size: row.size,
        });
    }
}
