//! Push and ordered consumers.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::super::client::{Client, command};
use super::super::clock;
use super::super::message::Message;
use super::super::phase::{Stop, Tally, Worker, crew, run};
use super::super::ring::Ident;
use super::stored::{SILENCE, Stored, list};
use super::{
    Budget, Evidence, Names, Params, Sample, Scenario, Target, api, measure_phase, stream,
};

const FLOW_CONTROL: u16 = 100;
const STALLED: &[u8] = b"Nats-Consumer-Stalled";
const ACK: &[u8] = b"+ACK";
const HEARTBEAT: Duration = Duration::from_secs(5);
const ACK_WAIT: Duration = Duration::from_secs(60);
/// Deliveries that may wait for their acks.
pub(super) const MAX_ACK_PENDING: u64 = 10_000;

/// Where a reader begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At the first message.
    All,
    /// With what comes from now on.
    New,
}

/// A delivered message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivered<'a> {
    /// Its sequence in the stream.
    pub sequence: u64,
    /// Its body.
    pub payload: &'a [u8],
    /// When the read returned that brought it.
    pub now: u64,
}

/// A connection with a push consumer of its own.
#[derive(Debug)]
pub(super) struct Reader {
    client: Client,
    acks: bool,
    /// The consumer's name.
    pub consumer: String,
}

impl Reader {
    /// Creates the consumer and subscribes: an ephemeral one without acks, as ordered readers use
    /// it, or a durable one with acks.
    pub(super) fn open(
        target: &Target,
        stream: &str,
        start: Start,
        acks: bool,
    ) -> io::Result<Self> {
        let inbox = format!("_INBOX.push{:x}", clock::nanos());
        let mut config = json!({
            "deliver_subject": inbox,
            "deliver_policy": if start == Start::All { "all" } else { "new" },
            "replay_policy": "instant",
            "flow_control": true,
            "idle_heartbeat": clock::as_nanos(HEARTBEAT),
            "ack_wait": clock::as_nanos(ACK_WAIT),
            "num_replicas": 1,
        });
        if acks {
            config["durable_name"] = json!(format!("push{:x}", clock::nanos()));
            config["ack_policy"] = json!("explicit");
            config["max_ack_pending"] = json!(MAX_ACK_PENDING);
        } else {
            config["ack_policy"] = json!("none");
            config["max_deliver"] = json!(1);
            config["mem_storage"] = json!(true);
        }
        let mut client = target.connect()?;
        // The consumer waits for interest; its subscription follows the answer, so that no message
        // comes before it.
        let consumer = api::create_consumer(&mut client, stream, &config)?;
        client.subscribe(&inbox);
        client.flush()?;
        Ok(Reader {
            client,
            acks,
            consumer,
        })
    }

    /// Reads once, if anything comes in time, and hands out the stored messages; returns how many.
    pub(super) fn poll(
        &mut self,
        patience: Duration,
        each: impl FnMut(Delivered<'_>) -> Result<(), String>,
    ) -> io::Result<usize> {
        self.client.set_patience(Some(patience))?;
        if !self.client.poll()? {
            return Ok(0);
        }
        self.take(each)
    }

    /// Waits for something to read and hands out the stored messages.
    fn read(&mut self, each: impl FnMut(Delivered<'_>) -> Result<(), String>) -> io::Result<usize> {
        self.client.fill()?;
        self.take(each)
    }

    fn take(
        &mut self,
        mut each: impl FnMut(Delivered<'_>) -> Result<(), String>,
    ) -> io::Result<usize> {
        let now = clock::nanos();
        let mut count = 0;
        let acks = self.acks;
        while let Some((message, output)) = self.client.next()? {
            if message.status().is_some() {
                answer_status(&message, output);
                continue;
            }
            let sequence = message.stream_sequence().ok_or_else(|| {
                let line = String::from_utf8_lossy(message.line);
                io::Error::other(format!("a delivery without a sequence: {line}"))
            })?;
            each(Delivered {
                sequence,
                payload: message.payload,
                now,
            })
            .map_err(io::Error::other)?;
            count += 1;
            if acks {
                command(output, message.reply(), b"", ACK);
            }
        }
        Ok(count)
    }

    /// Sends what is left to send and waits until the server has it.
    fn finish(&mut self) -> io::Result<()> {
        self.client.flush()
    }
}

/// Flow control asks for a sign of life, in one of two ways.
fn answer_status(message: &Message<'_>, output: &mut Vec<u8>) {
    let reply = message.reply();
    if message.status() == Some(FLOW_CONTROL) && !reply.is_empty() {
        command(output, reply, b"", b"");
    } else if let Some(subject) = message.header(STALLED) {
        command(output, subject, b"", b"");
    }
}

/// A client that reads a whole stream.
struct Follower<'a> {
    reader: Reader,
    stored: &'a Stored,
    expected: &'a [Option<Ident>],
    next: usize,
}

impl Worker for Follower<'_> {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        let Follower {
            reader,
            stored,
            expected,
            next,
        } = self;
        let mut heard = clock::nanos();
        while *next < expected.len() && clock::nanos() < stop.deadline {
            if clock::nanos() - heard > SILENCE {
                return Err(io::Error::other(format!(
                    "{} of {} messages were delivered, then none for 10 s",
                    *next - 1,
                    expected.len() - 1
                )));
            }
            reader.read(|delivered| {
                heard = delivered.now;
                stored.check_message(&delivered, expected)?;
                let sequence = delivered.sequence as usize;
                if sequence != *next {
                    return Err(format!("sequence {sequence} came where {next} was due"));
                }
                *next += 1;
                tally.done(delivered.now, delivered.payload.len());
                Ok(())
            })?;
        }
        reader.finish()
    }
}

/// Every client reads the whole stream with a consumer of its own.
pub(super) fn consume(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let stored = stream::fill(params, target, names, stream::FILL_LIMIT)?;
    let expected = stored.expected(0)?;
    let acks = params.acks && params.scenario == Scenario::ConsumePush;
    let open = || -> io::Result<Vec<Follower<'_>>> {
        let open = |_| {
            Ok(Follower {
                reader: Reader::open(target, &stored.streams[0], Start::All, acks)?,
                stored: &stored,
                expected: &expected,
                next: 1,
            })
        };
        (0..params.clients).map(open).collect()
    };
    if !params.warmup.is_zero() {
        let budget = Budget {
            time: params.warmup,
            ..params.budget
        };
        let mut followers = open()?;
        run(&mut crew(&mut followers), budget)?;
        let mut client = target.connect()?;
        for follower in &followers {
            let (stream, consumer) = (&stored.streams[0], &follower.reader.consumer);
            let name = format!("CONSUMER.DELETE.{stream}.{consumer}");
            api::call(&mut client, &name, &serde_json::Value::Null)?;
        }
    }
    let mut followers = open()?;
    let sample = measure_phase(params, target, &mut crew(&mut followers))?;
    let consumers = followers
        .into_iter()
        .map(|follower| follower.reader.consumer);
    let consumers = consumers.collect();
    let last = (expected.len() as u64).saturating_sub(1);
    let evidence = Consumed {
        stored,
        acknowledged: if acks { consumers } else { Vec::new() },
        last,
    };
    Ok((sample, Box::new(evidence)))
}

/// The evidence of consuming: workers have checked each delivery, so what is left to ask for are the
/// stream and the acks.
#[derive(Debug)]
pub(super) struct Consumed {
    /// The stream.
    pub stored: Stored,
    /// Consumers that acknowledged everything.
    pub acknowledged: Vec<String>,
    /// The stream's last sequence.
    pub last: u64,
}

impl Evidence for Consumed {
    fn settle(&self, target: &Target) -> io::Result<()> {
        let mut client = target.connect()?;
        for consumer in &self.acknowledged {
            let stream = &self.stored.streams[0];
            api::expect_acknowledged(&mut client, stream, consumer, self.last)?;
        }
        Ok(())
    }

    fn check(&self, target: &Target) -> io::Result<String> {
        let text = self.stored.check(target)?;
        let acks = match self.acknowledged.len() {
            0 => String::new(),
            count => format!(", the acks of {count} consumer(s) have arrived"),
        };
        Ok(format!("{text}, each delivery checked{acks}"))
    }

    fn streams(&self) -> &[String] {
        self.stored.streams()
    }
}

/// The sequences that a bitmap of deliveries lacks, as an error.
pub(super) fn missing(sequences: &[u64], of: u64) -> io::Error {
    io::Error::other(format!(
        "{} of {of} messages were not delivered: sequence {}",
        sequences.len(),
        list(sequences)
    ))
}
