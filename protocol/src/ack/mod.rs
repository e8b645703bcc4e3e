//! The reply subjects of delivered messages, what is sent to them, and flow control subjects.

pub mod kind;
mod subject;

pub use kind::{AckKind, NextRequest};
pub use subject::{AckPrefix, AckSubject, Stamp, account_hash};

/// First two tokens of every ack subject, with the dot.
pub const ACK_PREFIX: &[u8] = b"$JS.ACK.";
/// First two tokens of every flow control reply subject, with the dot.
pub const FC_PREFIX: &[u8] = b"$JS.FC.";

/// Appends `$JS.FC.<stream>.<consumer>.<token>`, the reply subject of a flow control request.
pub fn write_flow_control(out: &mut Vec<u8>, stream: &[u8], consumer: &[u8], token: &[u8]) {
    out.extend_from_slice(FC_PREFIX);
    out.extend_from_slice(stream);
    out.push(b'.');
    out.extend_from_slice(consumer);
    out.push(b'.');
    out.extend_from_slice(token);
}

/// Stream and consumer of a flow control subject.
#[must_use]
pub fn parse_flow_control(subject: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut tokens = subject.strip_prefix(FC_PREFIX)?.split(|&byte| byte == b'.');
    let (stream, consumer) = (tokens.next()?, tokens.next()?);
    tokens.next()?;
    (!stream.is_empty() && !consumer.is_empty()).then_some((stream, consumer))
}
