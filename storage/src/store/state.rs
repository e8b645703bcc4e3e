//! The body of a group's checkpoint section.

use crate::format::{put_varint, take_varint};
use crate::messages::{DeadRows, MessagesState, SectionState};

/// More rows than a section can have; a checkpoint that says so is not believed.
const ROWS_MAX: u32 = 1 << 26;
/// Dead rows as distances between runs.
const RUNS: u8 = 0;
/// Dead rows as words of bits.
const WORDS: u8 = 1;

/// Encodes the state of a group's messages, then the blob.
pub(super) fn encode(state: &MessagesState, blob: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + blob.iter().map(|part| part.len()).sum::<usize>());
    put_varint(&mut out, state.first_seq);
    put_varint(&mut out, state.last_seq);
    out.extend_from_slice(&state.last_ts.to_le_bytes());
    put_varint(&mut out, state.keys);
    put_varint(&mut out, state.copied_through);
    put_varint(&mut out, state.sections.len() as u64);
    for section in &state.sections {
        put_varint(&mut out, u64::from(section.number));
        put_varint(&mut out, section.base);
        put_varint(&mut out, section.last - section.base);
        put_varint(&mut out, u64::from(section.rows));
        put_varint(&mut out, u64::from(section.live));
        put_varint(&mut out, section.bytes);
        put_varint(&mut out, section.total);
        encode_dead(&section.dead, &mut out);
    }
    put_varint(&mut out, state.runs.len() as u64);
    let mut end = 0;
    for (first, len) in &state.runs {
        put_varint(&mut out, first - end);
        put_varint(&mut out, *len);
        end = first + len;
    }
    for part in blob {
        out.extend_from_slice(part);
    }
    out
}

/// Runs where they are few; a run takes two to ten bytes.
fn encode_dead(dead: &DeadRows, out: &mut Vec<u8>) {
    let runs = dead.runs();
    if runs * 4 > dead.0.len() as u64 * 8 {
        out.push(WORDS);
        put_varint(out, dead.0.len() as u64);
        out.extend(dead.0.iter().flat_map(|word| word.to_le_bytes()));
        return;
    }
    out.push(RUNS);
    put_varint(out, runs);
    let mut end = 0;
    let mut rows = dead.iter(0).peekable();
    while let Some(first) = rows.next() {
        let mut next = first + 1;
        while rows.next_if_eq(&next).is_some() {
            next += 1;
        }
        put_varint(out, u64::from(first - end));
        put_varint(out, u64::from(next - first));
        end = next;
    }
}

/// Decodes a body; the second part is the blob.
pub(super) fn decode(body: &[u8]) -> Option<(MessagesState, &[u8])> {
    let mut rest = body;
    let bytes = &mut rest;
    let mut state = MessagesState {
        first_seq: take_varint(bytes)?,
        last_seq: take_varint(bytes)?,
        ..MessagesState::default()
    };
    let (last_ts, after) = bytes.split_first_chunk::<8>()?;
    *bytes = after;
    state.last_ts = i64::from_le_bytes(*last_ts);
    state.keys = take_varint(bytes)?;
    state.copied_through = take_varint(bytes)?;
    for _ in 0..take_varint(bytes)? {
        let number = take_u32(bytes)?;
        let base = take_varint(bytes)?;
        let last = base.checked_add(take_varint(bytes)?)?;
        let rows = take_u32(bytes).filter(|rows| *rows < ROWS_MAX)?;
        state.sections.push(SectionState {
            number,
            base,
            last,
            rows,
            live: take_u32(bytes)?,
            bytes: take_varint(bytes)?,
            total: take_varint(bytes)?,
            dead: decode_dead(bytes, rows)?,
        });
    }
    let mut end = 0_u64;
    for _ in 0..take_varint(bytes)? {
        let first = end.checked_add(take_varint(bytes)?)?;
        let len = take_varint(bytes)?;
        end = first.checked_add(len)?;
        state.runs.push((first, len));
    }
    Some((state, rest))
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(bytes)?).ok()
}

fn decode_dead(bytes: &mut &[u8], rows: u32) -> Option<DeadRows> {
    let mut dead = DeadRows::default();
    let (kind, after) = bytes.split_first()?;
    *bytes = after;
    let count = take_varint(bytes)?;
    if *kind == WORDS {
        let len = usize::try_from(count).ok()?.checked_mul(8)?;
        let (words, after) = bytes.split_at_checked(len)?;
        *bytes = after;
        let (words, _) = words.as_chunks::<8>();
        dead.0 = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        return Some(dead);
    }
    let mut end = 0_u32;
    for _ in 0..count {
        let first = end.checked_add(take_u32(bytes)?)?;
        end = first.checked_add(take_u32(bytes)?)?;
        if end > rows {
            return None;
        }
        dead.fill(first, end);
    }
    Some(dead)
}
