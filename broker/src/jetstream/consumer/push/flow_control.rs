//! The window of bytes that may be on their way to a push subscriber.
//!
//! When more than half a window is out, a request goes out behind it; the answer proves that everything before
//! the request was read. Each answer doubles the window. Nothing of this outlives a restart.

use jetwake_protocol::ack::write_flow_control;
use jetwake_protocol::nuid::short_name;

const FIRST_WINDOW: i64 = LARGEST_WINDOW / 16;
const LARGEST_WINDOW: i64 = 32 << 20;

/// The window of one push consumer.
#[derive(Debug)]
pub(in crate::jetstream::consumer) struct FlowControl {
    window: i64,
    /// Bytes sent and not covered by an answer.
    out: i64,
    /// What was out when the request was sent.
    asked: i64,
    /// The subject of the request without an answer, empty if there is none.
    request: Vec<u8>,
}

impl FlowControl {
    pub(in crate::jetstream::consumer) fn new() -> Self {
        Self {
            window: FIRST_WINDOW,
            out: 0,
            asked: 0,
            request: Vec::new(),
        }
    }

    /// Whether the window is full.
    pub(super) fn is_stalled(&self) -> bool {
        self.out > self.window
    }

    /// The subject of the request without an answer.
    pub(super) fn outstanding(&self) -> Option<&[u8]> {
        (!self.request.is_empty()).then_some(&*self.request)
    }

    /// Counts bytes. Whether it is time to ask.
    pub(super) fn sent(&mut self, bytes: i64) -> bool {
        self.out = self.out.saturating_add(bytes);
        self.request.is_empty() && self.out > self.window / 2
    }

    /// Makes a request; returns its subject.
    pub(super) fn request(&mut self, stream: &str, consumer: &str, random: u64) -> &[u8] {
        self.asked = self.out;
        let token: [u8; 4] = short_name(random);
        write_flow_control(
            &mut self.request,
            stream.as_bytes(),
            consumer.as_bytes(),
            &token,
        );
        &self.request
    }

    /// Takes an answer; one to an older request does not count.
    pub(super) fn answered(&mut self, subject: &[u8]) -> bool {
        if self.request.is_empty() || self.request != subject {
            return false;
        }
        self.request.clear();
        self.out = (self.out - self.asked).max(0);
        self.window = (self.window * 2).min(LARGEST_WINDOW);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_fills_and_opens_as_seen_on_the_wire() {
        let mut flow = FlowControl::new();
        let message = (64 << 10) + 60;
        let mut asked_at = Vec::new();
        let mut sent = 0;
        while !flow.is_stalled() {
            sent += 1;
            if flow.sent(message) {
                asked_at.push(sent);
                flow.request("Q", "p", 1);
            }
        }
        assert_eq!((asked_at.as_slice(), sent), (&[16][..], 32));
        let subject = flow.outstanding().map(<[u8]>::to_vec).unwrap();
        assert!(subject.starts_with(b"$JS.FC.Q.p.") && subject.len() == 15);
        assert!(!flow.answered(b"$JS.FC.Q.p.old!"));
        assert!(flow.answered(&subject));
        assert!(!flow.answered(&subject));
        let mut more = 0;
        while !flow.is_stalled() {
            more += 1;
            if flow.sent(message) {
                flow.request("Q", "p", 2);
            }
        }
        assert_eq!(more, 48);
    }

    #[test]
    fn the_window_has_an_end() {
        let mut flow = FlowControl::new();
        for _ in 0..10 {
            flow.sent(flow.window);
            let subject = flow.request("Q", "p", 3).to_vec();
            assert!(flow.answered(&subject));
        }
        assert_eq!(flow.window, LARGEST_WINDOW);
    }
}
