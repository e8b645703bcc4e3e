//! Ack subjects: everything about a delivery, in tokens.
//!
//! Version 1: `$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<dseq>.<ts>.<pending>`, nine tokens.
//! Version 2: `$JS.ACK.<domain or _>.<account hash>.<stream>.<consumer>...`, eleven tokens or more.

use sha2::{Digest, Sha256};

use super::ACK_PREFIX;
use crate::wire::encode::{number, signed};

/// The eight characters that stand for an account in version 2.
#[must_use]
pub fn account_hash(account: &[u8]) -> [u8; 8] {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = Sha256::digest(account);
    let mut hash = [0; 8];
    for (slot, byte) in hash.iter_mut().zip(digest) {
        *slot = ALPHABET[usize::from(byte % 62)];
    }
    hash
}

/// The part of a consumer's ack subjects that never changes, ready to be appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckPrefix(Vec<u8>);

impl AckPrefix {
    /// Version 1.
    #[must_use]
    pub fn v1(stream: &[u8], consumer: &[u8]) -> Self {
        let mut prefix = ACK_PREFIX.to_vec();
        push_token(&mut prefix, stream);
        push_token(&mut prefix, consumer);
        Self(prefix)
    }

    /// Version 2; an empty domain is written `_`.
    #[must_use]
    pub fn v2(domain: &[u8], account: &[u8], stream: &[u8], consumer: &[u8]) -> Self {
        let mut prefix = ACK_PREFIX.to_vec();
        push_token(&mut prefix, if domain.is_empty() { b"_" } else { domain });
        push_token(&mut prefix, &account_hash(account));
        push_token(&mut prefix, stream);
        push_token(&mut prefix, consumer);
        Self(prefix)
    }

    /// The prefix with its final dot.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends the ack subject of one delivery.
    #[inline]
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        delivered: u64,
        stream_seq: u64,
        consumer_seq: u64,
        stamp: &Stamp,
        pending: u64,
    ) {
        out.reserve(self.0.len() + 104);
        out.extend_from_slice(&self.0);
        number(out, delivered);
        out.push(b'.');
        number(out, stream_seq);
        out.push(b'.');
        number(out, consumer_seq);
        out.push(b'.');
        out.extend_from_slice(&stamp.text);
        out.push(b'.');
        number(out, pending);
    }
}

/// A timestamp with its text. Messages that are stored together have the same one, so that it is rarely written anew.
#[derive(Debug, Clone)]
pub struct Stamp {
    time: i64,
    text: Vec<u8>,
}

impl Stamp {
    /// The stamp of a time.
    #[must_use]
    pub fn new(time: i64) -> Self {
        let mut text = Vec::with_capacity(20);
        signed(&mut text, time);
        Self { time, text }
    }

    /// Turns to another time.
    #[inline]
    pub fn set(&mut self, time: i64) {
        if self.time != time {
            self.time = time;
            self.text.clear();
            signed(&mut self.text, time);
        }
    }
}

impl Default for Stamp {
    fn default() -> Self {
        Self::new(0)
    }
}

fn push_token(out: &mut Vec<u8>, token: &[u8]) {
    out.extend_from_slice(token);
    out.push(b'.');
}

/// A parsed ack subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckSubject<'s> {
    /// Version 2 only: domain (`_` for none) and account hash.
    pub origin: Option<(&'s [u8], &'s [u8])>,
    /// Stream name.
    pub stream: &'s [u8],
    /// Consumer name.
    pub consumer: &'s [u8],
    /// How often the message was delivered.
    pub delivered: u64,
    /// Sequence in the stream.
    pub stream_seq: u64,
    /// Sequence of the delivery.
    pub consumer_seq: u64,
    /// When the message was stored.
    pub timestamp: i64,
    /// Messages left for the consumer after this one.
    pub pending: u64,
}

impl<'s> AckSubject<'s> {
    /// Reads an ack subject of either version; tokens past the eleventh are ignored. `None` if the
    /// number of tokens is wrong or a number cannot be read.
    #[must_use]
    pub fn parse(subject: &'s [u8]) -> Option<Self> {
        let rest = subject.strip_prefix(ACK_PREFIX)?;
        let mut found: [&[u8]; 9] = [b""; 9];
        let (mut count, mut start) = (0, 0);
        for (at, &byte) in rest.iter().enumerate() {
            if byte == b'.' {
                if let Some(slot) = found.get_mut(count) {
                    *slot = &rest[start..at];
                }
                count += 1;
                start = at + 1;
            }
        }
        if let Some(slot) = found.get_mut(count) {
            *slot = &rest[start..];
        }
        count += 1;
        let (origin, tokens) = match count {
            7 => (None, &found[..7]),
            9.. => (Some((found[0], found[1])), &found[2..]),
            _ => return None,
        };
        Some(Self {
            origin,
            stream: tokens[0],
            consumer: tokens[1],
            delivered: parse_number(tokens[2])?,
            stream_seq: parse_number(tokens[3])?,
            consumer_seq: parse_number(tokens[4])?,
            timestamp: i64::try_from(parse_number(tokens[5])?).ok()?,
            pending: parse_number(tokens[6])?,
        })
    }
}

/// Digits of a number that cannot overflow.
const SAFE_DIGITS: usize = 19;

fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let (safe, rest) = digits.split_at(digits.len().min(SAFE_DIGITS));
    let mut value = 0;
    for byte in safe {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    rest.iter().try_fold(value, |value: u64, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn account_hashes_as_observed() {
        assert_eq!(&account_hash(b"$G"), b"szMpdrwD");
        assert_eq!(&account_hash(b"A"), b"NUmM6cRx");
    }

    #[test]
    fn both_versions() {
        let mut out = Vec::new();
        AckPrefix::v1(b"S", b"C").write(
            &mut out,
            1,
            22,
            3,
            &Stamp::new(1_700_000_000_000_000_000),
            5,
        );
        assert_eq!(out, b"$JS.ACK.S.C.1.22.3.1700000000000000000.5");
        let ack = AckSubject::parse(&out).unwrap();
        assert_eq!(
            (ack.origin, ack.stream, ack.consumer),
            (None, &b"S"[..], &b"C"[..])
        );

        out.clear();
        AckPrefix::v2(b"", b"$G", b"S", b"C").write(&mut out, 1, 22, 3, &Stamp::new(4), 5);
        assert_eq!(out, b"$JS.ACK._.szMpdrwD.S.C.1.22.3.4.5");
        out.extend_from_slice(b".more.tokens");
        let ack = AckSubject::parse(&out).unwrap();
        assert_eq!(ack.origin, Some((&b"_"[..], &b"szMpdrwD"[..])));
        assert_eq!((ack.stream_seq, ack.pending), (22, 5));
    }

    #[test]
    fn malformed_subjects() {
        for bad in [
            &b"$JS.ACK.S.C.1.2.3.4"[..],
            b"$JS.ACK.S.C.1.2.3.4.5.6",
            b"$JS.ACK.S.C.x.2.3.4.5",
            b"$JS.ACK.S.C.1..3.4.5",
            b"$JS.ACK.S.C.1.99999999999999999999.3.4.5",
            b"$JS.API.S.C.1.2.3.4.5",
        ] {
            assert_eq!(AckSubject::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            delivered: u64, stream_seq: u64, consumer_seq: u64, pending: u64, newer: bool,
            timestamp in 0..i64::MAX,
        ) {
            let prefix =
                if newer { AckPrefix::v2(b"d", b"A", b"S", b"C") } else { AckPrefix::v1(b"S", b"C") };
            let mut out = Vec::new();
            let mut stamp = Stamp::default();
            stamp.set(timestamp);
            prefix.write(&mut out, delivered, stream_seq, consumer_seq, &stamp, pending);
            let ack = AckSubject::parse(&out).unwrap();
            prop_assert_eq!(ack.origin.is_some(), newer);
            prop_assert_eq!(
                (ack.delivered, ack.stream_seq, ack.consumer_seq, ack.timestamp, ack.pending),
                (delivered, stream_seq, consumer_seq, timestamp, pending)
            );
        }
    }
}
