//! Tables made again from the records of a segment, when those in the file are damaged.
//!
//! A table keeps its number of rows even when records are damaged as well: the row of a lost record
//! stays, refers to nothing, and reading it reports the damage. So row numbers, which a checkpoint
//! uses, stay right.

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::draft::{Draft, encode_rows};
use super::tables::SectionTables;
use crate::chunk::Chunk;
use crate::crypt::{FileKey, TAG};
use crate::files::{Files, JOURNAL, SEGMENT, file_name};
use crate::format::{
    BATCHES_START, BodyRef, DirectoryEntry, HeaderError, Picks, RECORD_HEADER, RecordHeader, Row,
    SEGMENT_HEADER, Seed,
};

/// A record that was found.
#[derive(Debug)]
pub(super) struct Found {
    group: u64,
    row: Row,
    end: u32,
    /// Its key, unless its body is damaged.
    name: Option<Box<[u8]>>,
}

/// A segment, and where its records are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) number: u32,
    pub(super) generation: u64,
    /// A journal file instead of the segment itself.
    pub(super) body: Option<BodyRef>,
    /// The records are in chunks.
    pub(super) packed: bool,
}

fn read(files: &Files, name: &str) -> Option<Vec<u8>> {
    let bytes = files.disk.open(&files.path(name)).and_then(|file| {
        let mut bytes = vec![0; usize::try_from(file.size()?).unwrap_or(0)];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    });
    if bytes.is_err() {
        files.note_damage(format!("{name}: cannot be read"));
    }
    bytes.ok()
}

/// Every message record of a segment whose header proves itself.
pub(super) fn records(files: &Files, source: &Source, key: Option<&FileKey>) -> Vec<Found> {
    let name = file_name(SEGMENT, source.number);
    let Some(body) = source.body else {
        let of = (source.generation, key);
        return if source.packed {
            in_chunks(files, &name, of)
        } else {
            in_file(files, &name, of, SEGMENT_HEADER)
        };
    };
    let journal = file_name(JOURNAL, body.file);
    // What is encrypted is not adopted.
    let mut found = in_file(
        files,
        &journal,
        (body.generation, None),
        BATCHES_START as usize,
    );
    let picks = read(files, &name).map(|bytes| picks(&bytes, source.generation));
    let picks = picks.unwrap_or_default();
    found.retain(|found| {
        let seq = found.row.seq;
        let mut lists = picks.get(&found.group).into_iter().flatten();
        // Where the list is lost as well, all that is there must do.
        let mine = lists.find(|list| {
            let (first, last) = list.range();
            (first..=last).contains(&seq)
        });
        mine.is_none_or(|list| list.contains(seq))
    });
    found
}

/// By group.
type Lists = HashMap<u64, Vec<Picks>, FixedState>;

/// The lists of an adopted segment, behind its header.
fn picks(bytes: &[u8], generation: u64) -> Lists {
    let seed = Seed::new(generation);
    let mut lists = Lists::default();
    let mut at = SEGMENT_HEADER;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match Picks::decode(rest, seed, at as u32) {
            Some((list, len)) => {
                lists.entry(list.group).or_default().push(list);
                at += len;
            }
            None => at += 8,
        }
    }
    lists
}

fn in_file(
    files: &Files,
    name: &str,
    (generation, key): (u64, Option<&FileKey>),
    start: usize,
) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(bytes) = read(files, name) else {
        return found;
    };
    let seed = Seed::new(generation);
    let mut at = start;
    let mut opened = Vec::new();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match RecordHeader::decode(rest, seed, at as u32) {
            Ok(header) => {
                if header.kind.is_message() {
                    let size = header.size();
                    let (mut plain, mut body) = (header, header.body(rest));
                    if let Some(key) = key {
                        plain.payload_len = header.payload_len.saturating_sub(TAG);
                        let whole = body
                            .and_then(|_| key.open_record(header, rest, at as u32, &mut opened));
                        body = whole.map(|_| &opened[RECORD_HEADER..]);
                    }
                    found.push(Found::new(&plain, at as u32, size, body));
                }
                at += header.size();
            }
            Err(HeaderError::Unknown(size)) => at += size,
            Err(HeaderError::Damaged) => at += 8,
        }
    }
    found
}

/// The records of all chunks that prove themselves.
fn in_chunks(files: &Files, name: &str, (generation, key): (u64, Option<&FileKey>)) -> Vec<Found> {
    let mut found = Vec::new();
    let bytes = read(files, name).unwrap_or_default();
    let seed = Seed::new(generation);
    let mut at = SEGMENT_HEADER;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((chunk, len)) = Chunk::open(rest, seed, key, at as u32) else {
            at += 8;
            continue;
        };
        for (header, bytes) in chunk.records() {
            let body = header.body(bytes);
            found.push(Found::new(&header, at as u32, len, body));
        }
        at += len;
    }
    found
}

impl Found {
    fn new(header: &RecordHeader, offset: u32, size: usize, body: Option<&[u8]>) -> Self {
        Self {
            group: header.group,
            row: Row {
                seq: header.seq,
                offset,
                timestamp: header.timestamp,
                key: 0,
                size: crate::messages::size_of(
                    header.key_len,
                    header.headers_len,
                    header.payload_len,
                ),
            },
            end: offset.saturating_add(size as u32),
            name: body.map(|body| header.split(body).0.into()),
        }
    }
}

/// The records of a section, as many as it has rows: gaps are filled with rows that refer to
/// nothing.
fn complete(found: &[Found], entry: &DirectoryEntry) -> Vec<(Row, Option<Box<[u8]>>)> {
    let mine = |found: &&Found| {
        found.group == entry.group && (entry.base..=entry.last).contains(&found.row.seq)
    };
    let mut mine: Vec<&Found> = found.iter().filter(mine).collect();
    mine.dedup_by(|later, earlier| later.row.seq <= earlier.row.seq);
    mine.truncate(entry.rows as usize);
    let gaps = fill(&mine, entry);
    let known: u64 = mine.iter().map(|found| u64::from(found.row.size)).sum();
    let missing = u64::from(entry.rows) - mine.len() as u64;
    let mut bytes = entry.bytes.saturating_sub(known);
    let mut left = missing;
    let mut rows = Vec::with_capacity(entry.rows as usize);
    let mut timestamp = 0;
    for (at, gap) in gaps.into_iter().enumerate() {
        for seq in gap {
            let size = bytes / left.max(1);
            bytes -= size;
            left = left.saturating_sub(1);
            let row = Row {
                seq,
                offset: 0,
                timestamp,
                key: 0,
                size: u32::try_from(size).unwrap_or(u32::MAX),
            };
            rows.push((row, None));
        }
        if let Some(found) = mine.get(at) {
            timestamp = found.row.timestamp;
            rows.push((found.row, found.name.clone()));
        }
    }
    rows
}

/// Sequences for the missing rows, for each place before, between and behind those found: where
/// bytes are missing as well first, one each, then anywhere.
fn fill(mine: &[&Found], entry: &DirectoryEntry) -> Vec<std::ops::Range<u64>> {
    let mut missing = u64::from(entry.rows) - mine.len() as u64;
    let mut before = (entry.records.0, entry.base);
    let mut gaps = Vec::with_capacity(mine.len() + 1);
    for found in mine {
        let (offset, seq) = (found.row.offset, found.row.seq);
        gaps.push((before.1, seq - before.1, offset > before.0, 0));
        before = (found.end, seq.saturating_add(1));
    }
    let room = entry.last.saturating_add(1).saturating_sub(before.1);
    gaps.push((before.1, room, entry.records.1 > before.0, 0));
    for (only_bytes, most) in [(true, 1), (true, u64::MAX), (false, u64::MAX)] {
        for (_, room, bytes, taken) in &mut gaps {
            if *bytes || !only_bytes {
                let more = missing.min(*room - *taken).min(most);
                *taken += more;
                missing -= more;
            }
        }
    }
    let last = gaps.len() - 1;
    let place = |(at, (first, room, _, taken)): (usize, (u64, u64, bool, u64))| {
        // The last sequence of a section is known to be its last row.
        let skip = if at == last { room - taken } else { 0 };
        first + skip..first + skip + taken
    };
    gaps.into_iter().enumerate().map(place).collect()
}

/// The row part of a section whose keys are known.
pub(super) fn rows_again(tables: &SectionTables, found: Vec<Found>) -> Bytes {
    let rows = complete(&found, &tables.entry);
    let counts = (0..tables.keys()).map(|key| {
        let (start, end) = tables.rows_of(key);
        end - start
    });
    let mut left: Vec<u32> = counts.collect();
    let mut keys: Vec<Option<u32>> = Vec::with_capacity(rows.len());
    for (_, name) in &rows {
        let key = name.as_ref().and_then(|name| tables.find_key(name));
        if let Some(left) = key.and_then(|key| left.get_mut(key as usize)) {
            *left = left.saturating_sub(1);
        }
        keys.push(key);
    }
    // Rows without a name belong to the keys that have too few.
    let spare = left.iter().enumerate();
    let mut spare = spare.flat_map(|(key, left)| (0..*left).map(move |_| key as u32));
    let rows: Vec<Row> = rows
        .into_iter()
        .zip(&keys)
        .map(|((row, _), key)| Row {
            key: key.or_else(|| spare.next()).unwrap_or(0),
            ..row
        })
        .collect();
    let mut next: Vec<u32> = (0..tables.keys())
        .map(|key| tables.rows_of(key).0)
        .collect();
    let mut keyed = vec![0; rows.len()];
    for (at, row) in rows.iter().enumerate() {
        if let Some(place) = next.get_mut(row.key as usize) {
            if let Some(slot) = keyed.get_mut(*place as usize) {
                *slot = at as u32;
            }
            *place += 1;
        }
    }
    Bytes::from(encode_rows(&rows, tables.entry.base, &keyed))
}

/// All tables of a section of which only `entry`'s group, ends, number of rows and bytes are known;
/// and the rows that are lost.
pub(super) fn tables_again(found: &[Found], entry: &DirectoryEntry) -> (Draft, Vec<u32>) {
    let mut draft = Draft::default();
    let mut lost = Vec::new();
    let mut keys: HashMap<Box<[u8]>, u32, FixedState> = HashMap::default();
    for (row, name) in complete(found, entry) {
        if name.is_none() {
            lost.push(draft.rows.len() as u32);
        }
        let name = name.unwrap_or_default();
        let key = *keys.entry(name).or_insert_with_key(|name| {
            draft.names.push(name.clone());
            draft.names.len() as u32 - 1
        });
        draft.rows.push(Row { key, ..row });
    }
    (draft, lost)
}
