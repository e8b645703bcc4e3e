//! Streams with known contents.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jetwake_tests::choices::Choices;
use jetwake_tests::jetstream::{api, number};
use jetwake_tests::load::{read_stream, wait_for_jetstream};
use jetwake_tests::wire::Client;

/// Publishes in flight.
const WINDOW: usize = 64;
/// A damaged server may not answer at all.
const PATIENCE: Duration = Duration::from_secs(5);
const CONSUMER: &str = "worker";

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Data {
    streams: Vec<(String, HashMap<u64, Vec<u8>>)>,
    /// Acks confirmed to the consumer of the first stream.
    acked: u64,
}

/// What is wrong with a store.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub(crate) streams_lost: usize,
    pub(crate) lost: usize,
    pub(crate) altered: usize,
    pub(crate) acks_forgotten: u64,
    /// Whether a stream's state says what it lost.
    pub(crate) stated: bool,
    /// A stream could not be read.
    pub(crate) unreadable: Vec<String>,
}

impl Damage {
    pub(crate) fn is_none(&self) -> bool {
        self.streams_lost == 0
            && self.lost == 0
            && self.altered == 0
            && self.acks_forgotten == 0
            && self.unreadable.is_empty()
    }
}

impl Data {
    /// Creates streams and fills them in turn.
    pub(crate) fn fill(
        address: SocketAddr,
        streams: usize,
        messages: usize,
        size: usize,
    ) -> io::Result<Self> {
        wait_for_jetstream(address)?;
        let mut data = Data::default();
        let mut client = Client::connect(address)?;
        for index in 0..streams {
            create(&mut client, &format!("F{index}"))?;
            data.streams.push((format!("F{index}"), HashMap::new()));
        }
        for index in 0..streams {
            let seed = index as u64 * 1_000_000;
            let bodies: Vec<_> = (0..messages as u64).map(|n| body(seed + n, size)).collect();
            data.publish(address, index, bodies)?;
        }
        Ok(data)
    }

    /// Publishes to a stream; every message must be acknowledged.
    pub(crate) fn publish(
        &mut self,
        address: SocketAddr,
        stream: usize,
        bodies: Vec<Vec<u8>>,
    ) -> io::Result<()> {
        let mut client = Client::connect(address)?;
        let inbox = format!("_INBOX.fill{}", client.local_port()?);
        client.subscribe(&format!("{inbox}.*"), "");
        let (name, acked) = &mut self.streams[stream];
        let subject = format!("{name}.data");
        let mut next = 0;
        for done in 0..bodies.len() {
            while next < bodies.len() && next < done + WINDOW {
                let reply = format!("{inbox}.{next}");
                client.publish(subject.as_bytes(), reply.as_bytes(), &bodies[next]);
                next += 1;
            }
            let message = client.next_message()?;
            let text = String::from_utf8_lossy(message.payload).into_owned();
            let which = message.subject.rsplit(|b| *b == b'.').next();
            let which = which.and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
            match (which, number(message.payload, "seq")) {
                (Some(which), Some(sequence)) => {
                    acked.insert(sequence, bodies[which].clone());
                }
                _ => return Err(io::Error::other(format!("no ack: {text}"))),
            }
        }
        Ok(())
    }

    /// Forgets the messages of a stream.
    pub(crate) fn forget(&mut self, stream: usize) {
        self.streams[stream].1.clear();
    }

    /// Notes a message that was acknowledged elsewhere.
    pub(crate) fn note(&mut self, stream: usize, sequence: u64, body: Vec<u8>) {
        self.streams[stream].1.insert(sequence, body);
    }

    /// Confirms acks of the first messages of the first stream with a durable consumer.
    pub(crate) fn consume(&mut self, address: SocketAddr, count: u64) -> io::Result<()> {
        let mut client = Client::connect(address)?;
        let name = &self.streams[0].0;
        let config = format!(
            "{{\"stream_name\":\"{name}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",\
             \"ack_policy\":\"explicit\",\"max_ack_pending\":10}}}}"
        );
        let create = format!("CONSUMER.DURABLE.CREATE.{name}.{CONSUMER}");
        api(&mut client, &create, &config)?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{name}.{CONSUMER}");
        client.subscribe("_INBOX.consume.*", "");
        for _ in 0..count {
            client.publish(next.as_bytes(), b"_INBOX.consume.next", b"1");
            let reply = client.next_message()?.reply.to_vec();
            client.publish(&reply, b"_INBOX.consume.ack", b"+ACK");
            client.next_message()?;
            self.acked += 1;
        }
        Ok(())
    }

    /// Takes so many acks as never confirmed.
    pub(crate) fn forgive_acks(&mut self, count: u64) {
        self.acked = self.acked.saturating_sub(count);
    }

    /// Compares.
    pub(crate) fn check(&self, address: SocketAddr) -> io::Result<Damage> {
        wait_for_jetstream(address)?;
        let mut damage = Damage::default();
        for (name, acked) in &self.streams {
            let mut client = Client::connect(address)?;
            client.set_limit(PATIENCE)?;
            let info = format!("STREAM.INFO.{name}");
            if let Err(error) = api(&mut client, &info, "") {
                damage.streams_lost += 1;
                damage.unreadable.push(error.to_string());
                continue;
            }
            let holding = match read_stream(&mut client, name) {
                Ok(holding) => holding,
                Err(error) => {
                    damage.unreadable.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let mut missing = acked.len();
            for found in &holding.messages {
                match acked.get(&found.sequence) {
                    Some(body) if *body == found.body => missing -= 1,
                    Some(_) => damage.altered += 1,
                    // More than was acknowledged is no damage.
                    None => {}
                }
            }
            damage.lost += missing;
            // A message that nobody reads is not known to be damaged.
            let info = api(&mut client, &info, "{\"deleted_details\":true}")?;
            damage.stated |= info.contains("\"lost\":{");
        }
        if self.acked > 0 {
            damage.acks_forgotten = self.forgotten(address)?;
        }
        Ok(damage)
    }

    /// How many confirmed acks the consumer does not know.
    fn forgotten(&self, address: SocketAddr) -> io::Result<u64> {
        let mut client = Client::connect(address)?;
        client.set_limit(PATIENCE)?;
        let name = format!("CONSUMER.INFO.{}.{CONSUMER}", self.streams[0].0);
        let Ok(info) = api(&mut client, &name, "") else {
            return Ok(self.acked);
        };
        // Everything that was delivered was acknowledged.
        let delivered = info
            .split_once("\"delivered\":")
            .map_or("", |(_, rest)| rest);
        let delivered = number(delivered.as_bytes(), "stream_seq").unwrap_or_default();
        let pending = number(info.as_bytes(), "num_ack_pending").unwrap_or_default();
        Ok(self.acked.saturating_sub(delivered) + pending)
    }
}

/// Creates a stream that keeps everything.
pub(crate) fn create(client: &mut Client, name: &str) -> io::Result<()> {
    let config = format!(
        "{{\"name\":\"{name}\",\"subjects\":[\"{name}.>\"],\"storage\":\"file\",\
         \"allow_direct\":true}}"
    );
    api(client, &format!("STREAM.CREATE.{name}"), &config).map(drop)
}

/// Bytes that follow from a number and never are zero at the end.
pub(crate) fn body(n: u64, size: usize) -> Vec<u8> {
    let mut choices = Choices::new(n);
    let mut body = format!("{n} ").into_bytes();
    while body.len() < size {
        body.extend_from_slice(&choices.number().to_le_bytes()[..6]);
    }
    body.truncate(size);
    body.push(b'.');
    body
}
