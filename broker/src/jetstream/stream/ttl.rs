//! Lifetimes of single messages: `Nats-TTL`.

use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers;

const SECOND: i64 = 1_000_000_000;

impl Stream {
    /// A message with this TTL was stored.
    pub(crate) fn note_ttl(&mut self, seq: u64, timestamp: Timestamp, ttl: &[u8]) {
        if let Some(seconds) = ttl_seconds(ttl) {
            self.deadlines.add(seq, timestamp, seconds);
        }
    }

    /// TTLs were switched on: those of messages that are stored already count from now on.
    pub(crate) fn note_all_ttls(&mut self) {
        self.deadlines.clear();
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
    use super::ttl_seconds;

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
}
