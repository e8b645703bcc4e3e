//! What a check found.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

/// Texts that are kept; the rest is counted.
const TEXTS: usize = 40;

/// The ways to break a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A stream is gone.
    StreamLost,
    /// A consumer is gone.
    ConsumerLost,
    /// An acknowledged message is gone.
    Lost,
    /// A message has other contents than were sent.
    Altered,
    /// A message is there twice.
    Doubled,
    /// A message stands before one that was sent earlier.
    Reordered,
    /// A sequence that one message had was given to another, or sequences went back.
    Reused,
    /// A confirmed ack was forgotten: the message came again.
    AckForgotten,
    /// A confirmed delete or purge was forgotten, or an expired message came back.
    RemovalForgotten,
    /// More messages than the stream's limits allow, or a state that does not fit the messages.
    Excess,
    /// An answer that is no acknowledgement.
    Refused,
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::StreamLost => "streams lost",
            Kind::ConsumerLost => "consumers lost",
            Kind::Lost => "messages lost",
            Kind::Altered => "messages altered",
            Kind::Doubled => "messages doubled",
            Kind::Reordered => "messages reordered",
            Kind::Reused => "sequences given out again",
            Kind::AckForgotten => "acks forgotten",
            Kind::RemovalForgotten => "removals forgotten",
            Kind::Excess => "wrong states",
            Kind::Refused => "answers refused",
        })
    }
}

/// Broken promises, counted by kind, with the first texts.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    counts: BTreeMap<Kind, u64>,
    texts: Vec<String>,
}

impl Findings {
    /// Notes one.
    pub fn note(&mut self, kind: Kind, text: impl FnOnce() -> String) {
        self.note_many(kind, 1, text);
    }

    /// Notes several of a kind with one text.
    pub fn note_many(&mut self, kind: Kind, count: u64, text: impl FnOnce() -> String) {
        *self.counts.entry(kind).or_default() += count;
        if self.texts.len() < TEXTS {
            self.texts.push(text());
        }
    }

    /// Takes over what another check found.
    pub fn merge(&mut self, other: Findings) {
        for (kind, count) in other.counts {
            *self.counts.entry(kind).or_default() += count;
        }
        let room = TEXTS - self.texts.len();
        self.texts.extend(other.texts.into_iter().take(room));
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// The first of them, in words.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

impl Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing broken");
        }
        for (index, (kind, count)) in self.counts.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {kind}")?;
        }
        Ok(())
    }
}
