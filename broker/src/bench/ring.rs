//! Commands prepared once and sent again and again: each message changes a few bytes in place.
//!
//! A payload begins with who sent it and as which of its messages (8 bytes), and when (8 bytes), as
//! far as it is long enough; a checker knows a message by them.

use super::message::write_padded;

/// Digits of the two counters at the end of a subject, `<prefix>.<4>.<7>`.
const UPPER: usize = 4;
const LOWER: usize = 7;
/// Digits at the end of a reply subject.
pub(super) const SLOT: usize = 5;
/// Most slots of a ring.
pub(super) const MAX_SLOTS: usize = 10_usize.pow(SLOT as u32);
/// Most upper parts of a subject: streams, or clients.
pub(super) const MAX_UPPER: u64 = 10_u64.pow(UPPER as u32);
/// Most lower parts of a subject.
pub(super) const MAX_LOWER: u64 = 10_u64.pow(LOWER as u32);
const WORD: usize = 8;
const INDEX_BITS: u32 = 48;

/// A sender and the number of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ident(u64);

impl Ident {
    /// The `index`-th message (from 0) of a client.
    #[inline]
    pub(super) fn new(client: usize, index: u64) -> Self {
        Ident((client as u64) << INDEX_BITS | index)
    }

    /// The client's number.
    pub(super) fn client(self) -> usize {
        (self.0 >> INDEX_BITS) as usize
    }

    /// Which of its messages.
    pub(super) fn index(self) -> u64 {
        self.0 & ((1 << INDEX_BITS) - 1)
    }

    /// From a payload, when it is long enough to hold one.
    #[inline]
    pub(super) fn of(payload: &[u8]) -> Option<Self> {
        word(payload, 0).map(Ident)
    }
}

/// When a payload was sent, by the sender's clock, when it is long enough to say so.
#[inline]
pub(super) fn sent_at(payload: &[u8]) -> Option<u64> {
    word(payload, WORD)
}

/// Writes as much as there is room for.
#[inline]
pub(super) fn mark(payload: &mut [u8], ident: Ident, now: u64) {
    if let Some(place) = payload.get_mut(..WORD) {
        place.copy_from_slice(&ident.0.to_le_bytes());
    }
    if let Some(place) = payload.get_mut(WORD..2 * WORD) {
        place.copy_from_slice(&now.to_le_bytes());
    }
}

#[inline]
fn word(payload: &[u8], at: usize) -> Option<u64> {
    let bytes = payload.get(at..at + WORD)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// How the messages of a client are spread over subjects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Spread {
    /// Streams in turn (the upper part), and the subjects of each in turn. So many messages in
    /// sequence go to the same one.
    Streams {
        streams: u64,
        subjects: u64,
        together: u64,
    },
    /// The upper part is this client's own number.
    Own { client: u64, subjects: u64 },
}

impl Spread {
    /// Upper and lower part of a message's subject.
    #[inline]
    pub(super) fn place(self, index: u64) -> (u64, u64) {
        match self {
            Spread::Streams {
                streams,
                subjects,
                together,
            } => {
                let turn = index / together;
                (turn % streams, turn / streams % subjects)
            }
            Spread::Own { client, subjects } => (client, index % subjects),
        }
    }

    /// Writes the digits of a message's subject.
    #[inline]
    pub(super) fn write(self, subject: &mut [u8], index: u64) {
        if self.is_constant() {
            return;
        }
        let (upper, lower) = self.place(index);
        let end = subject.len();
        write_padded(&mut subject[end - LOWER..], lower);
        write_padded(
            &mut subject[end - LOWER - 1 - UPPER..end - LOWER - 1],
            upper,
        );
    }

    fn is_constant(self) -> bool {
        matches!(
            self,
            Spread::Streams {
                streams: 1,
                subjects: 1,
                ..
            } | Spread::Own { subjects: 1, .. }
        )
    }
}

/// The first subject of a spread; the others differ in digits only.
pub(super) fn subject(prefix: &str, upper: u64, lower: u64) -> String {
    format!("{prefix}.{upper:0UPPER$}.{lower:0LOWER$}")
}

/// The prepared commands of one client.
#[derive(Debug)]
pub(super) struct Ring {
    bytes: Vec<u8>,
    slot_len: usize,
    slots: usize,
    subject_end: usize,
    payload: std::ops::Range<usize>,
    client: usize,
    spread: Spread,
}

impl Ring {
    /// So many commands that publish `size` bytes under `prefix`; a reply prefix gets the number of
    /// the slot.
    pub(super) fn new(
        prefix: &str,
        reply: Option<&str>,
        slots: usize,
        size: usize,
        client: usize,
        spread: Spread,
    ) -> Self {
        let (upper, lower) = spread.place(0);
        let head = format!("PUB {}", subject(prefix, upper, lower));
        let mut bytes = Vec::new();
        let mut payload = 0..0;
        for slot in 0..slots {
            let begin = bytes.len();
            bytes.extend_from_slice(head.as_bytes());
            if let Some(reply) = reply {
                bytes.extend_from_slice(format!(" {reply}{slot:0SLOT$}").as_bytes());
            }
            bytes.extend_from_slice(format!(" {size}\r\n").as_bytes());
            let at = bytes.len() - begin;
            payload = at..at + size;
            bytes.resize(bytes.len() + size, b'x');
            bytes.extend_from_slice(b"\r\n");
        }
        Ring {
            slot_len: bytes.len() / slots.max(1),
            bytes,
            slots,
            subject_end: head.len(),
            payload,
            client,
            spread,
        }
    }

    /// How many commands there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// Makes a slot the `index`-th message.
    #[inline]
    pub(super) fn prepare(&mut self, slot: usize, index: u64, now: u64) {
        let begin = slot * self.slot_len;
        let command = &mut self.bytes[begin..begin + self.slot_len];
        self.spread.write(&mut command[..self.subject_end], index);
        let payload = &mut command[self.payload.clone()];
        mark(payload, Ident::new(self.client, index), now);
    }

    /// The commands of these slots.
    pub(super) fn commands(&self, slots: std::ops::Range<usize>) -> &[u8] {
        &self.bytes[slots.start * self.slot_len..slots.end * self.slot_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_becomes_any_message_of_its_client() {
        let spread = Spread::Streams {
            streams: 3,
            subjects: 2,
            together: 1,
        };
        let mut ring = Ring::new("p", Some("_R."), 2, 20, 5, spread);
        ring.prepare(1, 10, 77);
        let command = ring.commands(1..2).to_vec();
        let text = b"PUB p.0001.0000001 _R.00001 20\r\n";
        assert!(command.starts_with(text), "{}", command.escape_ascii());
        let payload = &command[text.len()..command.len() - 2];
        let ident = Ident::of(payload).unwrap();
        assert_eq!((ident.client(), ident.index()), (5, 10));
        assert_eq!(sent_at(payload), Some(77));
        assert!(
            ring.commands(0..1)
                .starts_with(b"PUB p.0000.0000000 _R.00000 20")
        );
    }

    #[test]
    fn short_payloads_hold_what_they_can() {
        let spread = Spread::Own {
            client: 0,
            subjects: 1,
        };
        for (size, ident, stamp) in [(7, None, None), (8, Some(3), None), (16, Some(3), Some(9))] {
            let mut ring = Ring::new("p", None, 1, size, 0, spread);
            ring.prepare(0, 3, 9);
            let command = ring.commands(0..1);
            let payload = &command[command.len() - size - 2..command.len() - 2];
            assert_eq!(Ident::of(payload).map(Ident::index), ident);
            assert_eq!(sent_at(payload), stamp);
        }
    }
}
