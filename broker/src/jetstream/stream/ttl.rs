//! Lifetimes of single messages: `Nats-TTL`.
//!
//! Deadlines are part of the applied state: they follow from the messages alone, are kept in order of time, and are
//! written to checkpoints, so that neither a sweep nor a recovery looks at all messages.

use std::collections::{BTreeMap, BTreeSet};

use crate::jetstream::entry::{Malformed, Reader, put_i64, put_u64};
use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers;

const SECOND: i64 = 1_000_000_000;
/// The deadline of a message that neither its own TTL nor the stream's `max_age` ends.
const NEVER: Timestamp = Timestamp::MAX;

/// The deadlines of a stream's messages.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(Timestamp, u64)>,
    of: BTreeMap<u64, Timestamp>,
    /// How many of them never end.
    immortal: usize,
}

impl Deadlines {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Whether messages are exempt from `max_age`.
    pub(crate) fn any_immortal(&self) -> bool {
        self.immortal > 0
    }

    /// Whether the message with this sequence is exempt from `max_age`.
    pub(crate) fn is_immortal(&self, seq: u64) -> bool {
        self.of.get(&seq) == Some(&NEVER)
    }

    /// The next deadline.
    pub(crate) fn first(&self) -> Option<Timestamp> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// The messages whose deadline has come, in its order.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = u64> {
        self.queue.range(..=(now, u64::MAX)).map(|(_, seq)| *seq)
    }

    /// A message is stored that lives so many seconds, -1 for ever.
    fn add(&mut self, seq: u64, timestamp: Timestamp, seconds: i64) {
        let life = seconds.saturating_mul(SECOND);
        let deadline = match seconds {
            ..0 => NEVER,
            _ => timestamp.saturating_add(life).min(NEVER - 1),
        };
        self.set(seq, deadline);
    }

    fn set(&mut self, seq: u64, deadline: Timestamp) {
        self.of.insert(seq, deadline);
        if deadline == NEVER {
            self.immortal += 1;
        } else {
            self.queue.insert((deadline, seq));
        }
    }

    /// A message is gone.
    pub(crate) fn remove(&mut self, seq: u64) {
        if let Some(deadline) = self.of.remove(&seq) {
            self.unset(seq, deadline);
        }
    }

    /// Everything below `first_seq` is gone.
    pub(crate) fn remove_below(&mut self, first_seq: u64) {
        while let Some(entry) = self.of.first_entry().filter(|one| *one.key() < first_seq) {
            let (seq, deadline) = entry.remove_entry();
            self.unset(seq, deadline);
        }
    }

    fn unset(&mut self, seq: u64, deadline: Timestamp) {
        if deadline == NEVER {
            self.immortal -= 1;
        } else {
            self.queue.remove(&(deadline, seq));
        }
    }

    /// Appends all of them for a checkpoint.
    pub(crate) fn write(&self, into: &mut Vec<u8>) {
        put_u64(into, self.of.len() as u64);
        for (seq, deadline) in &self.of {
            put_u64(into, *seq);
            put_i64(into, *deadline);
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let mut deadlines = Self::default();
        for _ in 0..from.u64()? {
            deadlines.set(from.u64()?, from.i64()?);
        }
        Ok(deadlines)
    }
}

impl Stream {
    /// A message with this TTL was stored.
    pub(crate) fn note_ttl(&mut self, seq: u64, timestamp: Timestamp, ttl: &[u8]) {
        if let Some(seconds) = ttl_seconds(ttl) {
            self.deadlines.add(seq, timestamp, seconds);
        }
    }

    /// TTLs were switched on: those of messages that are stored already count from now on.
    pub(crate) fn note_all_ttls(&mut self) {
        let mut next = self.messages.next(0);
        while let Some(meta) = next {
            let mut seconds = None;
            // A message that cannot be read has no TTL that could be known.
            let _ = self.messages.read(meta.seq, &mut |message| {
                seconds = ttl_seconds(headers::value(message.headers, b"Nats-TTL"));
            });
            if let Some(seconds) = seconds {
                self.deadlines.add(meta.seq, meta.timestamp, seconds);
            }
            next = self.messages.next(meta.seq + 1);
        }
    }

    /// The block as it is stored if its TTL is shorter than that of a delete marker, which would outlive it.
    pub(crate) fn with_raised_ttl(&self, block: &[u8]) -> Option<Vec<u8>> {
        let least = self.config.subject_delete_marker_ttl / SECOND;
        if least == 0 || self.config.max_msgs_per_subject == 1 || block.is_empty() {
            return None;
        }
        let seconds = ttl_seconds(headers::value(block, b"Nats-TTL"))?;
        if seconds < 0 || seconds >= least {
            return None;
        }
        let block = headers::without(block, b"Nats-TTL");
        Some(headers::appended(&block, &format!("Nats-TTL: {least}")))
    }
}

/// The value of `Nats-TTL` in seconds, -1 for `never`; `None` if it is not valid.
pub(crate) fn ttl_seconds(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    if text.eq_ignore_ascii_case("never") {
        return Some(-1);
    }
    let seconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too many digits are a long time.
        text.parse::<i64>().unwrap_or(i64::MAX)
    } else {
        jetwake_protocol::time::parse_duration(text)? / SECOND
    };
    (seconds >= 1).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::{Deadlines, NEVER, SECOND, ttl_seconds};
    use crate::jetstream::entry::Reader;

    #[test]
    fn reads_what_the_peer_reads() {
        for (text, seconds) in [
            ("1", Some(1)),
            ("1h30m", Some(5400)),
            ("1500ms", Some(1)),
            ("NEVER", Some(-1)),
            ("99999999999", Some(99_999_999_999)),
        ] {
            assert_eq!(ttl_seconds(text.as_bytes()), seconds, "{text}");
        }
        for text in [
            "", "0", "0s", "500ms", "-1", "+5", "1.5", "1d", "5 ", "never ", "-5s",
        ] {
            assert_eq!(ttl_seconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn keeps_deadlines_in_order_and_over_checkpoints() {
        let mut deadlines = Deadlines::default();
        deadlines.add(1, 0, 9);
        deadlines.add(2, 0, 3);
        deadlines.add(3, 0, -1);
        deadlines.add(4, 0, i64::MAX);
        deadlines.add(5, 0, 1);
        deadlines.remove(5);
        let mut bytes = Vec::new();
        deadlines.write(&mut bytes);
        let mut deadlines = Deadlines::read(&mut Reader { rest: &bytes }).unwrap();
        assert_eq!(deadlines.first(), Some(3 * SECOND));
        assert_eq!(deadlines.due(9 * SECOND).collect::<Vec<_>>(), [2, 1]);
        assert!(deadlines.is_immortal(3) && !deadlines.is_immortal(4));
        assert_eq!(deadlines.due(NEVER - 1).collect::<Vec<_>>(), [2, 1, 4]);
        deadlines.remove_below(4);
        assert!(!deadlines.any_immortal());
        deadlines.remove(4);
        assert!(deadlines.is_empty() && deadlines.first().is_none());
    }
}
