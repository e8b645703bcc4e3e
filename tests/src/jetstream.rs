//! JetStream calls of the rigs, on the blocking client.
//!
//! Requests are written as JSON text and answers are searched for the few numbers the rigs need, so
//! that neither side depends on how the broker under test models the API.

use std::io;

use crate::wire::{Client, Message};

const FLOW_CONTROL: u16 = 100;
const STALLED: &[u8] = b"Nats-Consumer-Stalled: ";

/// Calls `$JS.API.<name>`; an answer with an error is an error.
///
/// # Errors
/// When nobody answers, or the answer is an error (which then holds its text).
pub fn api(client: &mut Client, name: &str, body: &str) -> io::Result<String> {
    let answer = client.request(&format!("$JS.API.{name}"), body.as_bytes())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.contains("\"error\":{") {
        return Err(io::Error::other(format!("{name}: {answer}")));
    }
    Ok(answer)
}

/// The first `"<field>":<number>` in a JSON text.
#[must_use]
pub fn number(json: &[u8], field: &str) -> Option<u64> {
    let key = format!("\"{field}\":");
    let at = json
        .windows(key.len())
        .position(|window| window == key.as_bytes())?
        + key.len();
    let digits = json[at..].iter().skip_while(|byte| **byte == b' ');
    let digits: Vec<u8> = digits
        .take_while(|byte| byte.is_ascii_digit())
        .copied()
        .collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// How many messages a stream holds, and its last sequence.
///
/// # Errors
/// When the stream does not exist or the answer is not understood.
pub fn stream_state(client: &mut Client, stream: &str) -> io::Result<(u64, u64)> {
    let answer = api(client, &format!("STREAM.INFO.{stream}"), "")?;
    // The configuration before it has fields of the same names.
    let state = answer
        .split_once("\"state\":")
        .map_or("", |(_, state)| state)
        .as_bytes();
    let unknown = || io::Error::other(format!("unexpected stream info: {answer}"));
    let messages = number(state, "messages").ok_or_else(unknown)?;
    let last = number(state, "last_seq").ok_or_else(unknown)?;
    Ok((messages, last))
}

/// The stream sequence in an ack subject
/// (`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`).
#[must_use]
pub fn stream_sequence(ack_subject: &[u8]) -> Option<u64> {
    let token = ack_subject.rsplit(|byte| *byte == b'.').nth(3)?;
    std::str::from_utf8(token).ok()?.parse().ok()
}

/// Creates an ephemeral push consumer without acks, as ordered readers use it, that delivers the
/// whole stream to a new subscription.
///
/// # Errors
/// When the server refuses.
pub fn push_all(client: &mut Client, stream: &str, inbox: &str) -> io::Result<u32> {
    // The consumer starts before its creation is answered; its subscription follows the answer, so
    // that no message comes before it.
    let config = format!(
        "{{\"stream_name\":\"{stream}\",\"config\":{{\"deliver_subject\":\"{inbox}\",\
         \"ack_policy\":\"none\",\"deliver_policy\":\"all\",\"max_deliver\":1,\"mem_storage\":true,\
         \"num_replicas\":1,\"flow_control\":true,\"idle_heartbeat\":5000000000,\
         \"ack_wait\":79200000000000,\"replay_policy\":\"instant\"}}}}"
    );
    api(client, &format!("CONSUMER.CREATE.{stream}"), &config)?;
    let sid = client.subscribe(inbox, "");
    client.flush()?;
    Ok(sid)
}

/// What a push delivery is for its reader.
#[derive(Debug)]
pub enum Push {
    /// A stored message.
    Data,
    /// A request for a sign of life on this subject.
    FlowControl(Vec<u8>),
    /// A heartbeat or another status.
    Status,
}

/// Tells stored messages from the consumer's own.
#[must_use]
pub fn classify(message: &Message<'_>) -> Push {
    match message.status() {
        None => Push::Data,
        Some(FLOW_CONTROL) if !message.reply.is_empty() => {
            Push::FlowControl(message.reply.to_vec())
        }
        Some(_) => stalled_subject(message.headers).map_or(Push::Status, Push::FlowControl),
    }
}

fn stalled_subject(headers: &[u8]) -> Option<Vec<u8>> {
    let at = headers
        .windows(STALLED.len())
        .position(|window| window == STALLED)?;
    let value = headers[at + STALLED.len()..]
        .iter()
        .take_while(|byte| **byte != b'\r');
    Some(value.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        assert_eq!(number(b"{\"seq\":12,\"a\":3}", "seq"), Some(12));
        assert_eq!(number(b"{\"last_seq\": 7}", "last_seq"), Some(7));
        assert_eq!(number(b"{\"seq\":\"x\"}", "seq"), None);
    }

    #[test]
    fn ack_subjects_hold_the_stream_sequence() {
        assert_eq!(
            stream_sequence(b"$JS.ACK.S.C.1.42.7.1700000000000000000.0"),
            Some(42)
        );
        assert_eq!(stream_sequence(b"reply"), None);
    }
}
