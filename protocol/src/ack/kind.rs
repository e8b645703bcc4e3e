//! What a client says about a delivery: the payload of a message to an ack subject.

use serde::Deserialize;

use crate::time::parse_duration;

/// The meaning of an ack's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind<'p> {
    /// Done.
    Ack,
    /// Deliver again, after a delay in nanoseconds if one is given.
    Nak {
        /// `None`: at once.
        delay: Option<i64>,
    },
    /// Still working: the ack wait starts again.
    InProgress,
    /// Never deliver again.
    Term {
        /// Text for the advisory; may be empty.
        reason: &'p [u8],
    },
    /// Done, and the next messages go to the reply subject.
    Next(NextRequest<'p>),
    /// Ignored, but answered.
    Unknown,
}

/// What `+NXT` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextRequest<'p> {
    /// This many messages.
    Batch(u64),
    /// A pull request in JSON.
    Json(&'p [u8]),
    /// Something unreadable.
    Malformed(&'p [u8]),
}

impl<'p> AckKind<'p> {
    /// Reads a payload.
    #[must_use]
    pub fn parse(payload: &'p [u8]) -> Self {
        match payload {
            b"" | b"+ACK" | b"+OK" => Self::Ack,
            b"+WPI" => Self::InProgress,
            _ => {
                if let Some(rest) = payload.strip_prefix(b"-NAK") {
                    Self::Nak {
                        delay: parse_delay(rest),
                    }
                } else if let Some(rest) = payload.strip_prefix(b"+TERM") {
                    Self::Term {
                        reason: rest.trim_ascii(),
                    }
                } else if let Some(rest) = payload.strip_prefix(b"+NXT") {
                    Self::Next(parse_next(rest.trim_ascii()))
                } else {
                    Self::Unknown
                }
            }
        }
    }
}

/// A Go duration or `{"delay": nanoseconds}`; anything else means no delay.
fn parse_delay(text: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Options {
        #[serde(default)]
        delay: i64,
    }
    let text = text.trim_ascii();
    if text.first() == Some(&b'{') {
        return serde_json::from_slice(text)
            .ok()
            .map(|options: Options| options.delay);
    }
    parse_duration(std::str::from_utf8(text).ok()?)
}

fn parse_next(body: &[u8]) -> NextRequest<'_> {
    if body.is_empty() {
        return NextRequest::Batch(1);
    }
    if body.first() == Some(&b'{') {
        return NextRequest::Json(body);
    }
    let number = std::str::from_utf8(body)
        .ok()
        .and_then(|text| text.parse().ok());
    number.map_or(NextRequest::Malformed(body), NextRequest::Batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table() {
        let nak = |delay| AckKind::Nak { delay };
        for (payload, kind) in [
            (&b""[..], AckKind::Ack),
            (b"+ACK", AckKind::Ack),
            (b"+OK", AckKind::Ack),
            (b"-NAK", nak(None)),
            (b"-NAK 100ms", nak(Some(100_000_000))),
            (b"-NAK {\"delay\": 5}", nak(Some(5))),
            (b"-NAK soon", nak(None)),
            (b"-NAK {", nak(None)),
            (b"+WPI", AckKind::InProgress),
            (b"+WPI ", AckKind::Unknown),
            (b"+TERM", AckKind::Term { reason: b"" }),
            (
                b"+TERM  bad input ",
                AckKind::Term {
                    reason: b"bad input",
                },
            ),
            (b"+TERMfoo", AckKind::Term { reason: b"foo" }),
            (b"+NXT", AckKind::Next(NextRequest::Batch(1))),
            (b"+NXT 5", AckKind::Next(NextRequest::Batch(5))),
            (b"+NXT5", AckKind::Next(NextRequest::Batch(5))),
            (
                b"+NXT {\"batch\":2}",
                AckKind::Next(NextRequest::Json(b"{\"batch\":2}")),
            ),
            (b"+NXT x", AckKind::Next(NextRequest::Malformed(b"x"))),
            (b"hello", AckKind::Unknown),
            (b"+ACK ", AckKind::Unknown),
        ] {
            assert_eq!(AckKind::parse(payload), kind, "{}", payload.escape_ascii());
        }
    }
}
