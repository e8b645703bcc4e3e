//! Running a checked transform over a subject.

use super::Part;
use super::function::{Cut, Function};
use crate::subject::tokens;
use crate::wire::encode::number;

/// Appends the destination for a subject that the source matches.
pub(super) fn append(parts: &[Part], subject: &[u8], random: u64, out: &mut Vec<u8>) {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Rest { from } => {
                join(out, tokens(subject).skip(*from));
            }
            Part::Function(function) => call(function, subject, random, out),
        }
    }
}

fn call(function: &Function, subject: &[u8], random: u64, out: &mut Vec<u8>) {
    match function {
        Function::Wildcard(at) => out.extend_from_slice(nth(subject, *at)),
        Function::Partition { buckets, tokens } => {
            number(out, u64::from(partition(subject, tokens, *buckets as u32)));
        }
        Function::Random { buckets } => {
            let buckets = u64::try_from(*buckets).unwrap_or(0);
            number(out, random.checked_rem(buckets).unwrap_or(0));
        }
        Function::Split { token, delimiter } => {
            split(out, nth(subject, *token), delimiter.as_bytes());
        }
        Function::Cut { cut, token, len } => {
            let token = nth(subject, *token);
            match usize::try_from(*len) {
                Ok(len) if len > 0 && len < token.len() => cut_token(out, *cut, token, len),
                _ => out.extend_from_slice(token),
            }
        }
    }
}

/// Cuts a token that is longer than `len`, which is at least one.
fn cut_token(out: &mut Vec<u8>, cut: Cut, token: &[u8], len: usize) {
    let from_right = token.len() - len;
    match cut {
        Cut::SplitFromLeft => join(out, [&token[..len], &token[len..]].into_iter()),
        Cut::SplitFromRight => join(
            out,
            [&token[..from_right], &token[from_right..]].into_iter(),
        ),
        Cut::SliceFromLeft => join(out, token.chunks(len)),
        Cut::SliceFromRight => {
            let (head, rest) = token.split_at(token.len() % len);
            let head = Some(head).filter(|head| !head.is_empty());
            join(out, head.into_iter().chain(rest.chunks(len)));
        }
        Cut::Left => out.extend_from_slice(&token[..len]),
        Cut::Right => out.extend_from_slice(&token[from_right..]),
    }
}

/// The non-empty pieces of a token as tokens; an empty delimiter splits between characters.
fn split(out: &mut Vec<u8>, token: &[u8], delimiter: &[u8]) {
    if delimiter.is_empty() {
        return join(
            out,
            token.utf8_chunks().flat_map(|chunk| {
                let characters = chunk
                    .valid()
                    .split_inclusive(|_: char| true)
                    .map(str::as_bytes);
                characters.chain(chunk.invalid().chunks(1))
            }),
        );
    }
    let mut rest = token;
    let pieces = std::iter::from_fn(|| {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memmem::find(rest, delimiter).unwrap_or(rest.len());
        let piece = &rest[..end];
        rest = rest.get(end + delimiter.len()..).unwrap_or_default();
        Some(piece)
    });
    join(out, pieces.filter(|piece| !piece.is_empty()));
}

fn nth(subject: &[u8], at: i64) -> &[u8] {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    tokens(subject).nth(at).unwrap_or_default()
}

fn join<'s>(out: &mut Vec<u8>, parts: impl Iterator<Item = &'s [u8]>) {
    for (at, part) in parts.enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(part);
    }
}

/// FNV-1a, 32 bits, over the listed tokens without separators.
fn partition(subject: &[u8], positions: &[i64], buckets: u32) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = |hash: u32, bytes: &[u8]| {
        bytes.iter().fold(hash, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(PRIME)
        })
    };
    let sum = if positions.is_empty() {
        hash(OFFSET, subject)
    } else {
        positions
            .iter()
            .fold(OFFSET, |sum, &at| hash(sum, nth(subject, at)))
    };
    sum.checked_rem(buckets).unwrap_or(0)
}
