//! Bytes in the order they were put, freed in the same order: one buffer instead of an allocation a message.
//!
//! Positions are absolute and never reused, so that a holder may keep them while the buffer moves underneath.

/// Bytes that may be dead in front of the buffer before it is moved down.
const SLACK: usize = 64 << 10;

/// A first-in, first-out buffer of byte strings.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    buffer: Vec<u8>,
    /// Dead bytes at the start of `buffer`.
    dead: usize,
    /// Absolute position of `buffer[0]`.
    base: u64,
}

/// Where a byte string of an [`Arena`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    at: u64,
    len: u32,
}

impl Span {
    /// Position behind the last byte.
    pub(crate) fn end(self) -> u64 {
        self.at + u64::from(self.len)
    }
}

impl Arena {
    /// Copies `bytes` to the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Span {
        let at = self.base + self.buffer.len() as u64;
        self.buffer.extend_from_slice(bytes);
        Span {
            at,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }

    /// The bytes of a span; empty once it was freed.
    pub(crate) fn get(&self, span: Span) -> &[u8] {
        let Some(start) = span.at.checked_sub(self.base) else {
            return &[];
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        self.buffer
            .get(start..start.saturating_add(span.len as usize))
            .unwrap_or(&[])
    }

    /// Frees everything before the absolute position `upto`.
    pub(crate) fn free(&mut self, upto: u64) {
        let dead = usize::try_from(upto.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.dead = self.dead.max(dead.min(self.buffer.len()));
        if self.dead == self.buffer.len() {
            self.base += self.dead as u64;
            self.buffer.clear();
            self.dead = 0;
        } else if self.dead > SLACK && self.dead > self.buffer.len() / 2 {
            self.base += self.dead as u64;
            self.buffer.drain(..self.dead);
            self.dead = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;

    #[test]
    fn keeps_positions_while_the_buffer_moves() {
        let mut arena = Arena::default();
        let spans: Vec<_> = (0..100_000u32)
            .map(|n| (n, arena.push(n.to_string().as_bytes())))
            .collect();
        for (n, span) in &spans {
            assert_eq!(arena.get(*span), n.to_string().as_bytes());
            arena.free(span.end());
        }
        assert!(arena.get(spans[0].1).is_empty());
        let last = arena.push(b"more");
        assert_eq!(arena.get(last), b"more");
    }
}
