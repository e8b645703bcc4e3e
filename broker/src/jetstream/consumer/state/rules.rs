//! The part of a consumer's configuration that its recorded state depends on.

use crate::jetstream::io::Timestamp;

/// How delivered messages are accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::jetstream::consumer) enum Acks {
    /// Delivered is done.
    None,
    /// An ack covers everything up to its message.
    All,
    /// An ack covers its message.
    Explicit,
}

/// When a message is delivered again, and how often at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::jetstream::consumer) struct Rules {
    /// How delivered messages are accounted for.
    pub(in crate::jetstream::consumer) acks: Acks,
    /// The constant wait, in nanoseconds.
    pub(in crate::jetstream::consumer) ack_wait: i64,
    /// The waits of the first, second, ... attempt; the last one repeats. Replaces `ack_wait` unless empty.
    pub(in crate::jetstream::consumer) backoff: Vec<i64>,
    /// Attempts allowed, 0 for any number.
    pub(in crate::jetstream::consumer) max_deliver: u32,
}

impl Rules {
    /// How long attempt number `deliveries` may take.
    pub(in crate::jetstream::consumer) fn wait(&self, deliveries: u32) -> i64 {
        let attempt = (deliveries as usize).clamp(1, self.backoff.len().max(1)) - 1;
        self.backoff.get(attempt).copied().unwrap_or(self.ack_wait)
    }

    /// When an attempt made at `at` runs out.
    pub(in crate::jetstream::consumer) fn due(&self, at: Timestamp, deliveries: u32) -> Timestamp {
        at.saturating_add(self.wait(deliveries))
    }

    /// Whether no further attempt is allowed after this many.
    pub(in crate::jetstream::consumer) fn exhausted(&self, deliveries: u32) -> bool {
        self.max_deliver > 0 && deliveries >= self.max_deliver
    }
}
