//! PubAcks, written straight into a buffer: one of them leaves for every published message.

use super::error::ApiError;
use super::json::to_json;
use crate::wire::encode::number;

/// The answer to a message that was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PubAck<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The sequence of the message, or of the first copy.
    pub seq: u64,
    /// The JetStream domain, empty if there is none.
    pub domain: &'a str,
    /// Whether it was stored before under the same id.
    pub duplicate: bool,
    /// The new total of a counter.
    pub value: Option<&'a str>,
    /// Id and size of the batch that it ended.
    pub batch: Option<(&'a str, u64)>,
}

impl PubAck<'_> {
    /// Appends the answer to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"stream":""#);
        // Stream names and domains cannot hold quotes or backslashes.
        out.extend_from_slice(self.stream.as_bytes());
        if !self.domain.is_empty() {
            out.extend_from_slice(br#"","domain":""#);
            out.extend_from_slice(self.domain.as_bytes());
        }
        out.extend_from_slice(br#"","seq":"#);
        number(out, self.seq);
        if self.duplicate {
            out.extend_from_slice(br#","duplicate": true"#);
        }
        if let Some(value) = self.value {
            out.extend_from_slice(br#","val":""#);
            out.extend_from_slice(value.as_bytes());
            out.push(b'"');
        }
        if let Some((batch, count)) = self.batch {
            out.extend_from_slice(br#","batch":"#);
            to_json(batch, out);
            out.extend_from_slice(br#","count":"#);
            number(out, count);
        }
        out.push(b'}');
    }
}

/// Appends the answer to a message that was refused to `out`.
pub fn write_error(stream: &str, error: &ApiError, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"error":"#);
    to_json(error, out);
    out.extend_from_slice(br#","stream":""#);
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(br#"","seq":0}"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ack: PubAck<'_>, expected: &str) {
        let mut out = Vec::new();
        ack.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn acks_are_byte_exact() {
        let ack = PubAck {
            stream: "S",
            seq: 3,
            ..Default::default()
        };
        check(ack, r#"{"stream":"S","seq":3}"#);
        check(
            PubAck { domain: "D", ..ack },
            r#"{"stream":"S","domain":"D","seq":3}"#,
        );
        check(
            PubAck {
                duplicate: true,
                ..ack
            },
            r#"{"stream":"S","seq":3,"duplicate": true}"#,
        );
        check(
            PubAck {
                value: Some("6"),
                ..ack
            },
            r#"{"stream":"S","seq":3,"val":"6"}"#,
        );
        check(
            PubAck {
                batch: Some(("b1", 3)),
                ..ack
            },
            r#"{"stream":"S","seq":3,"batch":"b1","count":3}"#,
        );
        check(
            PubAck {
                seq: u64::MAX,
                ..ack
            },
            r#"{"stream":"S","seq":18446744073709551615}"#,
        );
    }

    #[test]
    fn refusals_name_stream_and_zero() {
        let mut out = Vec::new();
        write_error("S", &ApiError::wrong_last_sequence(3), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"#,
                r#""stream":"S","seq":0}"#
            )
        );
    }
}
