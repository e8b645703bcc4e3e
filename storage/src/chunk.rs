//! Records that are compressed together.
//!
//! A chunk holds records of one group as they would lie in a segment, one after the other. It
//! proves itself as a whole, and damage to it costs all of them. All its records are found at the
//! chunk's offset, by their sequence. A chunk that does not get smaller is kept as it is; in an
//! encrypted file it is encrypted as a whole, compressed first.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use snap::raw::{Decoder, Encoder, decompress_len};

use crate::crypt::{FileKey, TAG};
use crate::format::{CHUNK_HEADER, ChunkHeader, RecordHeader, Seed, padded};

/// A chunk is closed when the next record would make it longer than this.
pub(crate) const CHUNK: usize = 32 << 10;
/// Nothing is compressed to less than one of so many bytes: three name 64.
pub(crate) const RATIO_MAX: u32 = 32;

/// An opened chunk.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The records.
    pub(crate) bytes: Bytes,
    /// Sequence and place of each, ascending.
    records: Vec<(u64, u32)>,
}

/// Appends a chunk of records that will lie at `offset` of the file.
pub(crate) fn pack(
    out: &mut Vec<u8>,
    seed: Seed,
    key: Option<&FileKey>,
    offset: u32,
    records: &[u8],
) {
    let packed = Encoder::new().compress_vec(records).ok();
    let packed = packed.filter(|packed| packed.len() < records.len());
    let start = out.len();
    let body = start + CHUNK_HEADER;
    out.resize(body, 0);
    out.extend_from_slice(packed.as_deref().unwrap_or(records));
    let tag = if key.is_some() { TAG } else { 0 };
    let mut header = ChunkHeader {
        stored: (out.len() - body + tag) as u32,
        plain: records.len() as u32,
        sum: 0,
        compressed: packed.is_some(),
    };
    if let Some(key) = key {
        key.seal(offset, &header.bound(), out, body);
    }
    header.sum = crc32c::crc32c(&out[body..]);
    out[start..body].copy_from_slice(&header.encode(seed, offset));
    let len = padded(out.len() - start);
    out.resize(start + len, 0);
}

/// The records of a chunk, from the bytes behind its header.
fn inflate(header: &ChunkHeader, stored: &[u8]) -> Option<Vec<u8>> {
    let plain = header.plain as usize;
    if !header.compressed {
        return (stored.len() == plain).then(|| stored.to_vec());
    }
    let possible = header.plain / RATIO_MAX <= header.stored;
    if !possible || decompress_len(stored).ok()? != plain {
        return None;
    }
    Decoder::new().decompress_vec(stored).ok()
}

impl Chunk {
    /// Opens the chunk at the start of `bytes`, which lie at `offset`, if it proves itself; also
    /// says how long it is there.
    pub(crate) fn open(
        bytes: &[u8],
        seed: Seed,
        key: Option<&FileKey>,
        offset: u32,
    ) -> Option<(Self, usize)> {
        let header = ChunkHeader::decode(bytes, seed, offset)?;
        let end = CHUNK_HEADER + header.stored as usize;
        let stored = bytes.get(CHUNK_HEADER..end)?;
        if crc32c::crc32c(stored) != header.sum {
            return None;
        }
        let plain = match key {
            None => inflate(&header, stored)?,
            Some(key) => {
                let mut opened = stored.to_vec();
                inflate(&header, key.open(offset, &header.bound(), &mut opened)?)?
            }
        };
        let mut records = Vec::new();
        let mut at = 0;
        while let Some(rest) = plain.get(at..).filter(|rest| !rest.is_empty()) {
            let header = RecordHeader::decode(rest, seed, offset.wrapping_add(at as u32)).ok()?;
            header.body(rest)?;
            records.push((header.seq, at as u32));
            at += header.size();
        }
        let bytes = Bytes::from(plain);
        Some((Self { bytes, records }, padded(end)))
    }

    /// The record of a sequence, and where it is.
    pub(crate) fn find(&self, seq: u64) -> Option<(RecordHeader, usize)> {
        let found = self.records.binary_search_by_key(&seq, |(seq, _)| *seq);
        let (_, at) = self.records[found.ok()?];
        let header = RecordHeader::again(self.bytes.get(at as usize..)?)?;
        Some((header, at as usize))
    }

    /// All records.
    pub(crate) fn records(&self) -> impl Iterator<Item = (RecordHeader, &[u8])> {
        self.records.iter().filter_map(|(_, at)| {
            let bytes = self.bytes.get(*at as usize..)?;
            Some((RecordHeader::again(bytes)?, bytes))
        })
    }
}

/// The chunks of a file that were opened last, by their offsets, the latest first. Two, so that a
/// reader at the end does not disturb one that catches up.
#[derive(Debug, Default)]
pub(crate) struct ChunkCache(Mutex<[Kept; 2]>);

type Kept = Option<(u32, Arc<Chunk>)>;

impl ChunkCache {
    pub(crate) fn find(&self, offset: u32) -> Option<Arc<Chunk>> {
        let mut kept = self.0.lock();
        let is = |(at, _): &(u32, Arc<Chunk>)| *at == offset;
        if !kept[0].as_ref().is_some_and(is) {
            if !kept[1].as_ref().is_some_and(is) {
                return None;
            }
            kept.swap(0, 1);
        }
        kept[0].as_ref().map(|(_, chunk)| Arc::clone(chunk))
    }

    pub(crate) fn put(&self, offset: u32, chunk: &Arc<Chunk>) {
        let mut kept = self.0.lock();
        kept[1] = kept[0].take();
        kept[0] = Some((offset, Arc::clone(chunk)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Kind, Record, encode_record};

    const OFFSET: u32 = 144;

    fn records(seed: Seed) -> Vec<u8> {
        let mut records = Vec::new();
        for seq in 1..20 {
            let payload = vec![seq as u8; 100];
            let record = Record {
                group: 7,
                kind: Kind::Message,
                index: seq,
                term: 0,
                seq: seq * 3,
                timestamp: 5,
                key: b"key",
                headers: b"",
                payload: &payload,
            };
            let place = OFFSET + records.len() as u32;
            encode_record(&mut records, seed, place, &record);
        }
        records
    }

    #[test]
    fn a_chunk_gives_its_records_back() {
        let seed = Seed::new(1);
        let plain = records(seed);
        let mut out = Vec::new();
        pack(&mut out, seed, None, OFFSET, &plain);
        assert!(out.len() * 4 < plain.len());
        let (chunk, len) = Chunk::open(&out, seed, None, OFFSET).unwrap();
        assert_eq!((len, &chunk.bytes[..]), (out.len(), &plain[..]));
        let seqs: Vec<u64> = chunk.records().map(|(header, _)| header.seq).collect();
        assert_eq!(seqs, (1..20).map(|seq| seq * 3).collect::<Vec<_>>());
        let (header, at) = chunk.find(9).unwrap();
        assert_eq!(header.body(&plain[at..]).unwrap()[3..], [3; 100]);
        assert!(chunk.find(10).is_none());
        assert!(Chunk::open(&out, seed, None, OFFSET + 8).is_none());
        assert!(Chunk::open(&out, Seed::new(2), None, OFFSET).is_none());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let seed = Seed::new(1);
        let mut out = Vec::new();
        pack(&mut out, seed, None, OFFSET, &records(seed));
        let header = ChunkHeader::decode(&out, seed, OFFSET).unwrap();
        for at in 0..CHUNK_HEADER + header.stored as usize {
            let mut hurt = out.clone();
            hurt[at] ^= 1 << (at % 8);
            assert!(Chunk::open(&hurt, seed, None, OFFSET).is_none(), "{at}");
        }
        for len in 0..CHUNK_HEADER + header.stored as usize {
            assert!(Chunk::open(&out[..len], seed, None, OFFSET).is_none());
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_anything_is_allocated() {
        let (seed, stored) = (Seed::new(1), b"\xff\xff\xff\xff\x0f\x00");
        for plain in [u32::MAX, 5, 0] {
            let header = ChunkHeader {
                stored: stored.len() as u32,
                plain,
                sum: crc32c::crc32c(stored),
                compressed: true,
            };
            let bytes = [&header.encode(seed, 64)[..], stored].concat();
            assert!(Chunk::open(&bytes, seed, None, 64).is_none());
        }
    }

    #[test]
    fn the_two_latest_chunks_are_kept() {
        let cache = ChunkCache::default();
        let chunk = Arc::new(Chunk {
            bytes: Bytes::new(),
            records: Vec::new(),
        });
        cache.put(1, &chunk);
        cache.put(2, &chunk);
        assert!(cache.find(1).is_some());
        cache.put(3, &chunk);
        assert!(cache.find(2).is_none());
        assert!(cache.find(1).is_some() && cache.find(3).is_some());
    }
}
