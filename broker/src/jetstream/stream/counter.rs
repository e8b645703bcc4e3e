//! Counter streams: every message adds to the total of its subject, and the total is what is stored.
//!
//! Totals are decimal texts of any length.

use std::cmp::Ordering;

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::puback::PubAck;
use jetwake_storage::Purpose;

use crate::jetstream::env::Env;
use crate::jetstream::io::Inbound;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers::{self, PublishHeaders};

const SOURCES: &[u8] = b"Nats-Counter-Sources";

/// A number of any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Total {
    negative: bool,
    /// Decimal digits, the least one first, without zeros at the end.
    digits: Vec<u8>,
}

impl Total {
    /// Reads an optional sign and digits.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let negative = text.first() == Some(&b'-');
        let digits = match text {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let digits = digits.iter().rev().map(|digit| digit - b'0').collect();
        Some(Self { negative, digits }.trimmed())
    }

    /// Nothing yet.
    pub(crate) fn zero() -> Self {
        Self {
            negative: false,
            digits: Vec::new(),
        }
    }

    fn trimmed(mut self) -> Self {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        self.negative &= !self.digits.is_empty();
        self
    }

    fn compare_size(&self, other: &Self) -> Ordering {
        let lengths = self.digits.len().cmp(&other.digits.len());
        lengths.then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()))
    }

    /// The sum.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let (large, small) = match self.compare_size(other) {
            Ordering::Less => (other, self),
            _ => (self, other),
        };
        let mut digits = Vec::with_capacity(large.digits.len() + 1);
        let subtract = large.negative != small.negative;
        let mut carry = 0;
        for (at, digit) in large.digits.iter().enumerate() {
            let term = small.digits.get(at).copied().unwrap_or(0) + carry;
            let digit = if subtract {
                carry = u8::from(*digit < term);
                digit + 10 * carry - term
            } else {
                carry = u8::from(digit + term >= 10);
                digit + term - 10 * carry
            };
            digits.push(digit);
        }
        digits.push(if subtract { 0 } else { carry });
        Self {
            negative: large.negative,
            digits,
        }
        .trimmed()
    }

    /// The number as text.
    pub(crate) fn text(&self) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = self.negative.then_some('-').into_iter();
        let digits = self.digits.iter().rev();
        sign.chain(digits.map(|digit| char::from(digit + b'0')))
            .collect()
    }
}

/// The newest state of a counter.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    /// Its total.
    pub(crate) total: Total,
    /// What it got from where, empty if unknown; every later message carries it on.
    pub(crate) sources: Vec<u8>,
}

impl Counter {
    /// What a stored message says; `None` if its payload is no total.
    fn read(block: &[u8], payload: &[u8]) -> Option<Self> {
        let text = payload
            .strip_prefix(br#"{"val":""#)?
            .strip_suffix(br#""}"#)?;
        Some(Self {
            total: Total::parse(text)?,
            sources: headers::value(block, SOURCES).to_vec(),
        })
    }

    /// Adds an increment: the payload and the header block that are stored.
    pub(crate) fn add(&mut self, incr: &[u8], block: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        self.total = self.total.plus(&Total::parse(incr)?);
        let payload = format!(r#"{{"val":"{}"}}"#, self.total.text()).into_bytes();
        if self.sources.is_empty() {
            self.sources = headers::value(block, SOURCES).to_vec();
            return Some((payload, block.to_vec()));
        }
        let sources = String::from_utf8_lossy(&self.sources);
        let block = headers::without(block, SOURCES);
        let line = format!("Nats-Counter-Sources: {sources}");
        Some((payload, headers::appended(&block, &line)))
    }
}

impl Stream {
    /// The counter of a subject, with what is in flight.
    pub(crate) fn counter(&self, subject: &[u8], env: &Env<'_>) -> Result<Counter, ApiError> {
        let commits = &env.log.commits;
        let (_, in_flight) = self.staged.of_key(&commits.bytes, subject);
        let mut found = None;
        if let Some(item) = in_flight.and_then(|seq| commits.publish_of(self.id, seq)) {
            let (block, payload) = (item.headers, item.payload);
            found = Some(Counter::read(
                commits.bytes.get(block),
                commits.bytes.get(payload),
            ));
        } else if let Some(meta) = self.messages.last_of_key(subject, u64::MAX) {
            let mut counter = None;
            // What cannot be read is as bad as what makes no sense.
            let _ = self.messages.read(meta.seq, &mut |message| {
                counter = Counter::read(message.headers, message.payload);
            });
            found = Some(counter);
        }
        match found {
            Some(counter) => counter.ok_or_else(ApiError::message_counter_broken),
            None => Ok(Counter {
                total: Total::zero(),
                sources: Vec::new(),
            }),
        }
    }

    /// Stores what an accepted increment makes of its counter. Returns the new total.
    pub(crate) fn store_counter(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) -> Result<String, ApiError> {
        let mut counter = self.counter(message.subject, env)?;
        let (payload, block) = counter
            .add(headers.incr, block)
            .ok_or_else(ApiError::message_incr_invalid)?;
        self.check_size(&block, &payload)?;
        let before = self.staged.last_seq;
        let stored = Inbound {
            reply: &[],
            payload: &payload,
            ..*message
        };
        self.store(&stored, &block, headers.msg_id, Purpose::Add, env);
        if self.staged.last_seq == before {
            return Err(ApiError::insufficient_resources());
        }
        Ok(counter.total.text())
    }

    /// Counts, and acknowledges with the new total.
    pub(crate) fn publish_counter(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) {
        let total = match self.store_counter(message, block, headers, env) {
            Ok(total) => total,
            Err(error) => return self.refuse(&error, message.reply, env),
        };
        let mut body = Vec::new();
        let ack = PubAck {
            stream: &self.config.name,
            seq: self.staged.last_seq,
            domain: env.settings.domain.as_deref().unwrap_or_default(),
            value: Some(&total),
            ..PubAck::default()
        };
        ack.write(&mut body);
        self.answer_when_durable(body, message.reply, env);
    }
}

#[cfg(test)]
mod tests {
    use super::Total;

    #[track_caller]
    fn check(left: &str, right: &str, sum: &str) {
        let number = |text: &str| Total::parse(text.as_bytes()).unwrap();
        assert_eq!(number(left).plus(&number(right)).text(), sum);
        assert_eq!(number(right).plus(&number(left)).text(), sum);
    }

    #[test]
    fn adds_numbers_of_any_length() {
        check("1", "+5", "6");
        check("6", "-10", "-4");
        check("-4", "007", "3");
        check(
            "3",
            "99999999999999999999999999",
            "100000000000000000000000002",
        );
        check(
            "100000000000000000000000002",
            "-99999999999999999999999999",
            "3",
        );
        check("999", "1", "1000");
        check("-999", "-1", "-1000");
        check("1000", "-1", "999");
        check("5", "-5", "0");
        check("-0", "0", "0");
        for low in -25..25 {
            for high in -25..25 {
                check(
                    &low.to_string(),
                    &high.to_string(),
                    &(low + high).to_string(),
                );
            }
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in [
            "", "+", "-", "--5", "0x10", "1_000", "1.5", "5 ", " 5", "abc",
        ] {
            assert_eq!(Total::parse(text.as_bytes()), None, "{text}");
        }
    }
}
