//! The body of a group's checkpoint section.

use crate::format::{put_varint, take_varint};
use crate::messages::MessagesState;

/// Encodes the state of a group's messages, then the blob.
pub(super) fn encode(state: &MessagesState, blob: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + blob.len());
    put_varint(&mut out, state.first_seq);
    put_varint(&mut out, state.last_seq);
    out.extend_from_slice(&state.last_ts.to_le_bytes());
    put_varint(&mut out, state.copied_through);
    put_varint(&mut out, state.segments.len() as u64);
    for (number, dead) in &state.segments {
        put_varint(&mut out, u64::from(*number));
        put_varint(&mut out, dead.len() as u64);
        let mut last = 0;
        for seq in dead {
            put_varint(&mut out, seq - last);
            last = *seq;
        }
    }
    put_varint(&mut out, state.runs.len() as u64);
    let mut end = 0;
    for (first, len) in &state.runs {
        put_varint(&mut out, first - end);
        put_varint(&mut out, *len);
        end = first + len;
    }
    out.extend_from_slice(blob);
    out
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
    state.copied_through = take_varint(bytes)?;
    for _ in 0..take_varint(bytes)? {
        let number = u32::try_from(take_varint(bytes)?).ok()?;
        let mut dead = Vec::new();
        let mut last = 0_u64;
        for _ in 0..take_varint(bytes)? {
            last = last.checked_add(take_varint(bytes)?)?;
            dead.push(last);
        }
        state.segments.push((number, dead));
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
