//! Core NATS: publish, fan-out, request and reply.

use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use jetwake_tests::wire::{Client, pub_command};

use super::{Meter, PAYLOAD, Sample, Target};

const SUBJECT: &[u8] = b"bench.core";
/// Commands written at once: about 64 KiB, as a client library's buffer.
const BATCH: u64 = 400;

pub(super) fn publish_only(target: Target, count: u64) -> io::Result<Sample> {
    let mut client = Client::connect(target.address)?;
    let meter = Meter::start(target)?;
    write_messages(&client, count)?;
    client.round_trip()?;
    meter.stop(count)
}

pub(super) fn fan_out(target: Target, count: u64, subscribers: usize) -> io::Result<Sample> {
    let publisher = Client::connect(target.address)?;
    let mut readers = Vec::new();
    for _ in 0..subscribers {
        let mut reader = Client::connect(target.address)?;
        reader.subscribe(str::from_utf8(SUBJECT).unwrap_or_default(), "");
        reader.round_trip()?;
        readers.push(reader);
    }
    let meter = Meter::start(target)?;
    thread::scope(|scope| {
        let reading: Vec<_> = readers
            .iter_mut()
            .map(|reader| scope.spawn(move || receive(reader, count)))
            .collect();
        write_messages(&publisher, count)?;
        for thread in reading {
            thread
                .join()
                .map_err(|_| io::Error::other("a subscriber panicked"))??;
        }
        meter.stop(count * subscribers as u64)
    })
}

pub(super) fn request_reply(target: Target, count: u64) -> io::Result<Sample> {
    let mut responder = Client::connect(target.address)?;
    responder.subscribe("bench.service", "");
    responder.round_trip()?;
    let mut requester = Client::connect(target.address)?;
    requester.subscribe("_INBOX.bench.*", "");
    requester.round_trip()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            // Ends when the requester below has its answers and the connection is shut.
            for _ in 0..count {
                let answered = responder.drain(|message, output| {
                    pub_command(output, message.reply, b"", message.payload);
                });
                if answered.is_err() {
                    break;
                }
            }
        });
        let meter = Meter::start(target)?;
        let mut latencies = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
        for number in 0..count {
            let reply = format!("_INBOX.bench.{number}");
            let begin = Instant::now();
            requester.publish(b"bench.service", reply.as_bytes(), &PAYLOAD);
            let answer = requester.next_message()?;
            latencies.push(begin.elapsed());
            if answer.subject != reply.as_bytes() || answer.payload != PAYLOAD {
                return Err(io::Error::other(format!("a wrong answer: {answer:?}")));
            }
        }
        let sample = meter.stop(count)?;
        latencies.sort_unstable();
        Ok(Sample {
            latencies,
            ..sample
        })
    })
}

fn receive(reader: &mut Client, count: u64) -> io::Result<()> {
    let (mut seen, mut wrong) = (0, 0);
    while seen < count {
        seen += reader.drain(|message, _| {
            wrong += u64::from(message.payload.len() != PAYLOAD.len());
        })? as u64;
    }
    if seen == count && wrong == 0 {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{seen} of {count} messages seen, {wrong} of them wrong"
        )))
    }
}

fn write_messages(client: &Client, count: u64) -> io::Result<()> {
    let mut command = Vec::new();
    pub_command(&mut command, SUBJECT, b"", &PAYLOAD);
    let batch = command.repeat(BATCH as usize);
    let mut writer = client.writer()?;
    for _ in 0..count / BATCH {
        writer.write_all(&batch)?;
    }
    writer.write_all(&command.repeat((count % BATCH) as usize))
}
