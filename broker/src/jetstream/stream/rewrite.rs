//! What a stream does to subjects: the transform of what comes in, and the republishing of what was stored.

use std::io::Write;

use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::stream::StreamConfig;
use jetwake_protocol::subject;
use jetwake_protocol::subject::transform::{Strictness, Transform};
use jetwake_storage::Insert;

use crate::jetstream::io::{Outbox, Outgoing};
use crate::jetstream::stream::Stream;

/// The rules of a configuration, built once.
#[derive(Debug, Default)]
pub(crate) struct Rewrite {
    /// Changes subjects before anything looks at them.
    pub(crate) incoming: Option<Transform>,
    republish: Option<Republish>,
    /// Buffer for a transformed subject.
    pub(crate) buffer: Vec<u8>,
}

#[derive(Debug)]
struct Republish {
    transform: Transform,
    headers_only: bool,
    subject: Vec<u8>,
    block: Vec<u8>,
}

impl Rewrite {
    /// The rules of a valid configuration. One without a destination is no rule.
    pub(crate) fn new(config: &StreamConfig) -> Self {
        let build = |source: &str, destination: &str| {
            let given = Some(destination).filter(|destination| !destination.is_empty());
            Transform::new(source, given?, Strictness::Lenient).ok()
        };
        let incoming = config.subject_transform.as_ref();
        let republish = config.republish.as_ref();
        Self {
            incoming: incoming.and_then(|rule| build(&rule.src, &rule.dest)),
            republish: republish.and_then(|rule| {
                Some(Republish {
                    transform: build(&rule.src, &rule.dest)?,
                    headers_only: rule.headers_only,
                    subject: Vec::new(),
                    block: Vec::new(),
                })
            }),
            buffer: Vec::new(),
        }
    }
}

impl Stream {
    /// Sends a durable message on, if the stream republishes its subject. Comes before the message is applied, when
    /// the newest message of the subject is still the one before it.
    pub(crate) fn republish(&mut self, message: &Insert<'_>, out: &mut dyn Outbox) {
        let Some(rule) = &mut self.rewrite.republish else {
            return;
        };
        rule.subject.clear();
        let random = out.random();
        if !rule.transform.apply(message.key, random, &mut rule.subject)
            || !subject::is_valid_publish(&rule.subject)
        {
            return;
        }
        let last = self.messages.last_of_key(message.key, u64::MAX);
        let last = last.map_or(0, |last| last.seq);
        let block = &mut rule.block;
        block.clear();
        block.extend_from_slice(match message.headers {
            [] => b"NATS/1.0\r\n",
            stored => stored.strip_suffix(b"\r\n").unwrap_or(stored),
        });
        for part in [
            b"Nats-Stream: ",
            self.config.name.as_bytes(),
            b"\r\nNats-Subject: ",
            message.key,
        ] {
            block.extend_from_slice(part);
        }
        let (seq, time) = (message.seq, Time::from_nanos(message.timestamp));
        // Writing into a vector cannot fail.
        let _ = write!(
            block,
            "\r\nNats-Sequence: {seq}\r\nNats-Time-Stamp: {time}\r\nNats-Last-Sequence: {last}\r\n"
        );
        let mut payload = message.payload;
        if rule.headers_only {
            let _ = write!(block, "Nats-Msg-Size: {}\r\n", payload.len());
            payload = &[];
        }
        block.extend_from_slice(b"\r\n");
        out.publish(Outgoing {
            account: self.account,
            route: &rule.subject,
            subject: &rule.subject,
            reply: &[],
            headers: &rule.block,
            payload,
        });
    }
}
