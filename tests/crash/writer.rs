//! A publisher that remembers exactly what the server promised.
//!
//! Message `n` of a writer has contents that follow from the writer's number and `n`, so nothing
//! has to be kept to recognise or repeat it. After a crash the writer repeats what was not
//! acknowledged, in order and with the same message ids: a stream that keeps its promises then
//! holds every message exactly once and in order.

use std::io;
use std::net::SocketAddr;

use jetwake_tests::jetstream::number;
use jetwake_tests::wire::Client;

/// Messages in flight on one connection.
const WINDOW: usize = 256;
/// Every so many messages go to the subject that the consumer watches.
const SAMPLE: u64 = 16;

/// One publisher; lives through all rounds.
#[derive(Debug)]
pub(crate) struct Writer {
    stream: usize,
    id: usize,
    /// Sequence by message number; zero while unacknowledged.
    acked: Vec<u64>,
    /// All messages below this number are acknowledged.
    unacked_from: usize,
}

impl Writer {
    pub(crate) fn new(stream: usize, id: usize) -> Self {
        Writer {
            stream,
            id,
            acked: Vec::new(),
            unacked_from: 0,
        }
    }

    pub(crate) fn stream(&self) -> usize {
        self.stream
    }

    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// The acknowledged sequence of a message, if it was acknowledged.
    pub(crate) fn acked_sequence(&self, n: u64) -> Option<u64> {
        let index = usize::try_from(n).ok()?;
        self.acked
            .get(index)
            .copied()
            .filter(|sequence| *sequence > 0)
    }

    /// How many messages were sent at least once.
    pub(crate) fn sent(&self) -> u64 {
        self.acked.len() as u64
    }

    /// How many messages were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acked.iter().filter(|sequence| **sequence > 0).count()
    }

    /// Publishes until the connection breaks, which is how every round ends. What is returned is an
    /// error of another kind: an answer that breaks a promise.
    pub(crate) fn run(&mut self, address: SocketAddr) -> Vec<String> {
        let mut violations = Vec::new();
        let Ok(mut client) = Client::connect(address) else {
            return violations;
        };
        client.subscribe(&format!("{}.*", self.inbox()), "");
        let mut next = self.unacked_from;
        let mut in_flight = 0;
        // Ends with the error of the killed server's socket.
        while self
            .step(&mut client, &mut next, &mut in_flight, &mut violations)
            .is_ok()
        {}
        violations
    }

    /// Repeats what is unacknowledged until everything sent is acknowledged.
    pub(crate) fn settle(&mut self, address: SocketAddr) -> io::Result<Vec<String>> {
        let mut violations = Vec::new();
        let mut client = Client::connect(address)?;
        client.subscribe(&format!("{}.*", self.inbox()), "");
        while self.unacked_from < self.acked.len() {
            self.send(&mut client, self.unacked_from);
            let wanted = self.unacked_from;
            while self.unacked_from == wanted {
                self.take_ack(&mut client, true, &mut violations)?;
            }
        }
        Ok(violations)
    }

    fn step(
        &mut self,
        client: &mut Client,
        next: &mut usize,
        in_flight: &mut usize,
        violations: &mut Vec<String>,
    ) -> io::Result<()> {
        while *in_flight < WINDOW {
            self.send(client, *next);
            *next += 1;
            *in_flight += 1;
        }
        self.take_ack(client, true, violations)?;
        *in_flight -= 1;
        while self.take_ack(client, false, violations)? {
            *in_flight -= 1;
        }
        Ok(())
    }

    fn send(&mut self, client: &mut Client, n: usize) {
        if self.acked.len() == n {
            self.acked.push(0);
        }
        let kind = if (n as u64).is_multiple_of(SAMPLE) {
            "sample"
        } else {
            "bulk"
        };
        let subject = format!("crash.{}.{}.{kind}", self.stream, self.id);
        let reply = format!("{}.{n}", self.inbox());
        let id = format!("w{}-{n}", self.id);
        let body = contents(self.id, n as u64);
        client.publish_with_headers(&subject, &reply, &[("Nats-Msg-Id", &id)], &body);
    }

    fn take_ack(
        &mut self,
        client: &mut Client,
        wait: bool,
        violations: &mut Vec<String>,
    ) -> io::Result<bool> {
        let message = if wait {
            Some(client.next_message()?)
        } else {
            client.buffered_message()?
        };
        let Some(message) = message else {
            return Ok(false);
        };
        let token = message
            .subject
            .rsplit(|byte| *byte == b'.')
            .next()
            .unwrap_or_default();
        let n: Option<usize> = std::str::from_utf8(token)
            .ok()
            .and_then(|text| text.parse().ok());
        let answer = String::from_utf8_lossy(message.payload).into_owned();
        match (n, number(message.payload, "seq")) {
            (Some(n), Some(sequence)) if n < self.acked.len() && sequence > 0 => {
                if self.acked[n] != 0 && self.acked[n] != sequence {
                    let before = self.acked[n];
                    let text = format!("writer {} message {n}: acknowledged as {before}", self.id);
                    violations.push(format!("{text} and again as {answer}"));
                }
                self.acked[n] = sequence;
                while self
                    .acked
                    .get(self.unacked_from)
                    .is_some_and(|sequence| *sequence > 0)
                {
                    self.unacked_from += 1;
                }
            }
            _ => violations.push(format!(
                "writer {}: refused or broken ack: {answer}",
                self.id
            )),
        }
        Ok(true)
    }

    fn inbox(&self) -> String {
        format!("_INBOX.writer{}", self.id)
    }
}

/// The contents of a message: `<writer> <n> <filler>`, 40 to 400 bytes that no other message has.
pub(crate) fn contents(writer: usize, n: u64) -> Vec<u8> {
    let mut body = format!("{writer} {n} ").into_bytes();
    let mut state = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (writer as u64) << 56;
    let filler = 32 + state % 360;
    for _ in 0..filler {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.push(state.to_le_bytes()[3]);
    }
    body
}

/// The writer and number that a body claims.
pub(crate) fn claim(body: &[u8]) -> Option<(usize, u64)> {
    let mut words = body
        .splitn(3, |byte| *byte == b' ')
        .map(std::str::from_utf8);
    let writer = words.next()?.ok()?.parse().ok()?;
    let n = words.next()?.ok()?.parse().ok()?;
    Some((writer, n))
}
