//! The header blocks of status messages, exactly as clients match them.

use std::io::Write;

use super::state::Position;

/// What is left of a pull request, for the headers that clients subtract from their counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Messages.
    pub(super) messages: i64,
    /// Bytes, 0 without a byte limit.
    pub(super) bytes: i64,
}

/// Writes a status without headers.
pub(super) fn plain(into: &mut Vec<u8>, code_and_text: &str) {
    into.clear();
    into.extend_from_slice(b"NATS/1.0 ");
    into.extend_from_slice(code_and_text.as_bytes());
    into.extend_from_slice(b"\r\n\r\n");
}

/// Writes a status that ends a pull request, with what was left of it.
pub(super) fn with_left(into: &mut Vec<u8>, code_and_text: &str, left: Left) {
    into.clear();
    // Writing to memory does not fail.
    let _ = write!(
        into,
        "NATS/1.0 {code_and_text}\r\nNats-Pending-Messages: {}\r\nNats-Pending-Bytes: {}\r\n\r\n",
        left.messages, left.bytes
    );
}

/// Writes a heartbeat: the last consumer sequence given out and the last stream sequence looked at.
pub(super) fn heartbeat(into: &mut Vec<u8>, last: Position, stalled: Option<&[u8]>) {
    into.clear();
    let _ = write!(
        into,
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: {}\r\nNats-Last-Stream: {}\r\n",
        last.consumer, last.stream
    );
    if let Some(subject) = stalled {
        into.extend_from_slice(b"Nats-Consumer-Stalled: ");
        into.extend_from_slice(subject);
        into.extend_from_slice(b"\r\n");
    }
    into.extend_from_slice(b"\r\n");
}

/// Writes the request of flow control.
pub(super) fn flow_control(into: &mut Vec<u8>) {
    plain(into, "100 FlowControl Request");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut block = b"rest of an earlier use".to_vec();
        write(&mut block);
        String::from_utf8(block).unwrap()
    }

    #[test]
    fn blocks_are_exact() {
        assert_eq!(
            text(|b| plain(b, "404 No Messages")),
            "NATS/1.0 404 No Messages\r\n\r\n"
        );
        assert_eq!(
            text(|b| with_left(
                b,
                "408 Request Timeout",
                Left {
                    messages: -1,
                    bytes: 44
                }
            )),
            "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: -1\r\nNats-Pending-Bytes: 44\r\n\r\n"
        );
        let last = Position {
            consumer: 32,
            stream: 33,
        };
        assert_eq!(
            text(|b| heartbeat(b, last, Some(b"$JS.FC.Q.p.uyZp"))),
            "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 32\r\nNats-Last-Stream: 33\r\n\
             Nats-Consumer-Stalled: $JS.FC.Q.p.uyZp\r\n\r\n"
        );
    }
}
