//! One durable pull consumer that all clients share.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::client::{Client, command};
use super::super::clock;
use super::super::message::Message;
use super::super::phase::{Stop, Tally, Worker, crew, run};
use super::super::ring::Ident;
use super::push::{Consumed, Delivered, MAX_ACK_PENDING, missing};
use super::stored::{SILENCE, Stored};
use super::{Budget, Evidence, Names, Params, Sample, Target, api, measure_phase, stream};

const ACK: &[u8] = b"+ACK";
const EXPIRES: Duration = Duration::from_secs(30);
/// How often a client looks whether the others have taken the last message.
const PATIENCE: Duration = Duration::from_millis(20);

/// Which sequences were delivered, by all clients together.
#[derive(Debug)]
pub(super) struct Seen {
    bits: Vec<AtomicU64>,
    count: AtomicU64,
    total: u64,
}

impl Seen {
    /// Sequences 1 to `total`.
    pub(super) fn new(total: u64) -> Self {
        Seen {
            bits: (0..total / 64 + 1).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            total,
        }
    }

    /// Notes a delivery; one that was there before, or that does not exist, is an error.
    #[inline]
    pub(super) fn note(&self, sequence: u64) -> Result<(), String> {
        let bit = 1 << (sequence % 64);
        let word = self.bits.get((sequence / 64) as usize);
        let word = word.ok_or_else(|| format!("sequence {sequence} was never stored"))?;
        if word.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
            return Err(format!("sequence {sequence} was delivered twice"));
        }
        Ok(())
    }

    /// So many were noted.
    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    /// How many were.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether all were.
    pub(super) fn is_complete(&self) -> bool {
        self.count() >= self.total
    }

    /// What of the first `total` was not.
    pub(super) fn missing(&self, total: u64) -> Vec<u64> {
        let is_missing = |sequence: &u64| {
            let word = self.bits[(*sequence / 64) as usize].load(Ordering::Relaxed);
            word & 1 << (*sequence % 64) == 0
        };
        (1..=total).filter(is_missing).collect()
    }
}

/// A connection that asks a consumer for messages.
#[derive(Debug)]
pub(super) struct Puller {
    client: Client,
    next: String,
    inbox: String,
    request: String,
    batch: u64,
    /// Requests under way: when they were sent, and how many messages they still get.
    requests: VecDeque<(u64, u64)>,
    /// How many there are at a time: a second one waits at the server while the first is served.
    most: usize,
    acks: bool,
}

impl Puller {
    /// Connects.
    pub(super) fn connect(
        target: &Target,
        stream: &str,
        consumer: &str,
        batch: u64,
        acks: bool,
    ) -> io::Result<Self> {
        let inbox = format!("_INBOX.pull{:x}", clock::nanos());
        let mut client = target.connect()?;
        client.subscribe(&inbox);
        client.round_trip()?;
        client.set_patience(Some(PATIENCE))?;
        let body = json!({ "batch": batch, "expires": clock::as_nanos(EXPIRES) });
        Ok(Puller {
            client,
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            request: body.to_string(),
            batch,
            requests: VecDeque::with_capacity(2),
            most: if batch > 1 { 2 } else { 1 },
            acks,
        })
    }

    /// Keeps requests under way, reads once if anything comes in time, acknowledges what came;
    /// returns how many messages that were.
    pub(super) fn pull(
        &mut self,
        tally: &mut Tally,
        mut each: impl FnMut(Delivered<'_>) -> Result<(), String>,
    ) -> io::Result<u64> {
        while self.requests.len() < self.most {
            let (subject, reply) = (self.next.as_bytes(), self.inbox.as_bytes());
            command(
                &mut self.client.output,
                subject,
                reply,
                self.request.as_bytes(),
            );
            self.requests.push_back((clock::nanos(), self.batch));
        }
        if !self.client.poll()? {
            return Ok(0);
        }
        let now = clock::nanos();
        let mut count = 0;
        let acks = self.acks;
        while let Some((message, output)) = self.client.next()? {
            let Some(sequence) = message.stream_sequence() else {
                return Err(io::Error::other(unexpected(&message)));
            };
            each(Delivered {
                sequence,
                payload: message.payload,
                now,
            })
            .map_err(io::Error::other)?;
            if acks {
                command(output, message.reply(), b"", ACK);
            }
            count += 1;
            if let Some((since, left)) = self.requests.front_mut() {
                *left -= 1;
                if *left == 0 {
                    tally.took(now - *since);
                    self.requests.pop_front();
                }
            }
        }
        Ok(count)
    }

    /// Sends the last acks.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.client.flush()
    }
}

fn unexpected(message: &Message<'_>) -> String {
    let text = String::from_utf8_lossy(if message.headers.is_empty() {
        message.line
    } else {
        message.headers
    })
    .into_owned();
    format!("a pull request was answered with: {}", text.trim())
}

/// Creates the consumer that clients share.
pub(super) fn create_consumer(
    client: &mut Client,
    stream: &str,
    name: &str,
    acks: bool,
) -> io::Result<()> {
    let config = json!({
        "durable_name": name,
        "ack_policy": if acks { "explicit" } else { "none" },
        "deliver_policy": "all",
        "max_ack_pending": MAX_ACK_PENDING,
    });
    api::create_consumer(client, stream, &config).map(drop)
}

/// A client of the shared consumer.
struct Consumer<'a> {
    puller: Puller,
    seen: &'a Seen,
    stored: &'a Stored,
    expected: &'a [Option<Ident>],
}

impl Worker for Consumer<'_> {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        let (seen, stored, expected) = (self.seen, self.stored, self.expected);
        let mut heard = clock::nanos();
        while !seen.is_complete() && clock::nanos() < stop.deadline.min(heard + SILENCE) {
            let mut bytes = 0;
            let count = self.puller.pull(tally, |delivered| {
                stored.check_message(&delivered, expected)?;
                seen.note(delivered.sequence)?;
                heard = delivered.now;
                bytes += delivered.payload.len() as u64;
                Ok(())
            })?;
            seen.add(count);
            tally.add(count, bytes, heard);
        }
        self.puller.finish()
    }
}

/// All clients together read the stream once.
pub(super) fn consume(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let stored = stream::fill(params, target, names, stream::FILL_LIMIT)?;
    let expected = stored.expected(0)?;
    let stream = &stored.streams[0];
    let total = (expected.len() as u64).saturating_sub(1);
    let mut client = target.connect()?;
    let mut consumers = |name: &str, seen| -> io::Result<Vec<Consumer<'_>>> {
        create_consumer(&mut client, stream, name, params.acks)?;
        let connect = |_| {
            Ok(Consumer {
                puller: Puller::connect(target, stream, name, params.batch, params.acks)?,
                seen,
                stored: &stored,
                expected: &expected,
            })
        };
        (0..params.clients).map(connect).collect()
    };
    let (warm, seen) = (Seen::new(total), Seen::new(total));
    if !params.warmup.is_zero() {
        let budget = Budget {
            time: params.warmup,
            ..params.budget
        };
        run(&mut crew(&mut consumers("warm", &warm)?), budget)?;
        let delete = format!("CONSUMER.DELETE.{stream}.warm");
        api::call(&mut target.connect()?, &delete, &Value::Null)?;
    }
    let mut measured = consumers("shared", &seen)?;
    let sample = measure_phase(params, target, &mut crew(&mut measured))?;
    drop(measured);
    if !seen.is_complete() {
        return Err(missing(&seen.missing(total), total));
    }
    let acknowledged = params.acks.then(|| "shared".to_owned());
    let evidence = Consumed {
        acknowledged: acknowledged.into_iter().collect(),
        last: total,
        stored,
    };
    Ok((sample, Box::new(evidence)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_counted_once() {
        let seen = Seen::new(130);
        for sequence in (1..=130).filter(|sequence| *sequence != 64) {
            seen.note(sequence).unwrap();
            seen.add(1);
        }
        assert!(!seen.is_complete());
        assert_eq!(seen.missing(130), [64]);
        assert!(seen.note(1).unwrap_err().contains("twice"));
        assert!(seen.note(1_000).unwrap_err().contains("never stored"));
    }
}
