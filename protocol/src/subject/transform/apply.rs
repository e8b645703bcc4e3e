//! Running a checked transform over a subject.

use super::{Function, Part};
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
            number(out, u64::from(partition(subject, tokens, *buckets)));
        }
        Function::Random { buckets } => {
            number(out, random.checked_rem((*buckets).into()).unwrap_or(0))
        }
        Function::Split { token, delimiter } => {
            let token = nth(subject, *token);
            let mut rest = token;
            let mut first = true;
            while !rest.is_empty() {
                let end = memchr::memmem::find(rest, delimiter.as_bytes()).unwrap_or(rest.len());
                if end > 0 {
                    if !first {
                        out.push(b'.');
                    }
                    first = false;
                    out.extend_from_slice(&rest[..end]);
                }
                rest = rest.get(end + delimiter.len()..).unwrap_or_default();
            }
        }
        Function::SplitFromLeft { token, at } => split_at(out, nth(subject, *token), *at),
        Function::SplitFromRight { token, at } => {
            let token = nth(subject, *token);
            split_at(out, token, token.len().saturating_sub(*at));
        }
        Function::SliceFromLeft { token, size } => slice(out, nth(subject, *token), *size, 0),
        Function::SliceFromRight { token, size } => {
            let token = nth(subject, *token);
            slice(
                out,
                token,
                *size,
                token.len().checked_rem(*size).unwrap_or(0),
            );
        }
        Function::Left { token, len } => {
            let token = nth(subject, *token);
            out.extend_from_slice(&token[..token.len().min(*len)]);
        }
        Function::Right { token, len } => {
            let token = nth(subject, *token);
            out.extend_from_slice(&token[token.len().saturating_sub(*len)..]);
        }
    }
}

fn nth(subject: &[u8], at: usize) -> &[u8] {
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

/// Two tokens, or the token unchanged if one of them would be empty.
fn split_at(out: &mut Vec<u8>, token: &[u8], at: usize) {
    if at == 0 || at >= token.len() {
        out.extend_from_slice(token);
        return;
    }
    join(out, [&token[..at], &token[at..]].into_iter());
}

/// Chunks of `size` after a first one of `head` bytes.
fn slice(out: &mut Vec<u8>, token: &[u8], size: usize, head: usize) {
    if size == 0 || size >= token.len() {
        out.extend_from_slice(token);
        return;
    }
    let (head, rest) = token.split_at(head);
    join(
        out,
        Some(head)
            .filter(|head| !head.is_empty())
            .into_iter()
            .chain(rest.chunks(size)),
    );
}

/// FNV-1a, 32 bits, over the listed tokens without separators.
fn partition(subject: &[u8], positions: &[usize], buckets: u32) -> u32 {
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
