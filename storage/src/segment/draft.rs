//! Rows and keys of a section before they are written, and the tables made of them.

use crate::format::{DirectoryEntry, KeyEntry, ROW, Row, padded};

/// What a section is to hold. A row's key is a position in `names` until the tables are made.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Ascending.
    pub(super) rows: Vec<Row>,
    pub(super) names: Vec<Box<[u8]>>,
}

/// The tables of a section.
#[derive(Debug)]
pub(super) struct Encoded {
    /// Without group and offsets.
    pub(super) entry: DirectoryEntry,
    pub(super) keys: Vec<u8>,
    pub(super) rows: Vec<u8>,
    /// For each key by name, its position in the draft.
    pub(super) order: Vec<u32>,
}

impl Draft {
    /// Makes the tables; keys get their numbers by name.
    pub(super) fn encode(&mut self) -> Encoded {
        let mut order: Vec<u32> = (0..self.names.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.names[*a as usize].cmp(&self.names[*b as usize]));
        let mut rank = vec![0_u32; order.len()];
        for (local, at) in order.iter().enumerate() {
            rank[*at as usize] = local as u32;
        }
        for row in &mut self.rows {
            row.key = rank[row.key as usize];
        }
        let base = self.rows.first().map_or(0, |row| row.seq);
        let (entries, keyed) = self.group_by_key(base, &order);
        let mut keys = Vec::new();
        for entry in &entries {
            keys.extend_from_slice(&entry.encode());
        }
        for at in &order {
            keys.extend_from_slice(&self.names[*at as usize]);
        }
        keys.resize(padded(keys.len()), 0);
        let rows = encode_rows(&self.rows, base, &keyed);
        let entry = DirectoryEntry {
            base,
            last: self.rows.last().map_or(0, |row| row.seq),
            max_time: self
                .rows
                .iter()
                .map(|row| row.timestamp)
                .max()
                .unwrap_or(i64::MIN),
            bytes: self.rows.iter().map(|row| u64::from(row.size)).sum(),
            keys: order.len() as u32,
            rows: self.rows.len() as u32,
            keys_sum: crc32c::crc32c(&keys),
            rows_sum: crc32c::crc32c(&rows),
            ascending: self.rows.is_sorted_by_key(|row| row.timestamp),
            ..DirectoryEntry::default()
        };
        Encoded {
            entry,
            keys,
            rows,
            order,
        }
    }

    /// The keys' entries, with the closing one, and the rows of each key in a row.
    fn group_by_key(&self, base: u64, order: &[u32]) -> (Vec<KeyEntry>, Vec<u32>) {
        let mut entries = vec![KeyEntry::default(); order.len() + 1];
        let mut name = 0;
        for (local, at) in order.iter().enumerate() {
            name += self.names[*at as usize].len() as u32;
            entries[local + 1].name = name;
        }
        for row in &self.rows {
            entries[row.key as usize + 1].start += 1;
        }
        for local in 1..entries.len() {
            entries[local].start += entries[local - 1].start;
        }
        let mut next: Vec<u32> = entries.iter().map(|entry| entry.start).collect();
        let mut keyed = vec![0; self.rows.len()];
        for (at, row) in self.rows.iter().enumerate() {
            let entry = &mut entries[row.key as usize];
            let place = &mut next[row.key as usize];
            let distance = (row.seq - base) as u32;
            if *place == entry.start {
                entry.first = distance;
            }
            entry.last = distance;
            keyed[*place as usize] = at as u32;
            *place += 1;
        }
        (entries, keyed)
    }
}

/// The row part of a section: rows, then the rows of each key.
pub(super) fn encode_rows(rows: &[Row], base: u64, keyed: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(padded(rows.len() * (ROW + 4)));
    for row in rows {
        bytes.extend_from_slice(&row.encode(base));
    }
    for at in keyed {
        bytes.extend_from_slice(&at.to_le_bytes());
    }
    bytes.resize(padded(bytes.len()), 0);
    bytes
}
