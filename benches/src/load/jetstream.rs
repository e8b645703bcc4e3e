//! JetStream: publishing, pulling, ordered reading.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jetwake_tests::jetstream::{Push, api, classify, number, push_all, stream_state};
use jetwake_tests::wire::{Client, pub_command};

use super::{Meter, PAYLOAD, Sample, Target};

const SUBJECT: &[u8] = b"bench.stream";
const STREAM: &str = "BENCH";
const CONSUMER: &str = "reader";
const PULL_BATCH: u64 = 1000;
/// Loading for the consumer workloads.
const LOAD_WINDOW: usize = 1000;
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

pub(super) fn store(target: Target, count: u64, window: usize, memory: bool) -> io::Result<Sample> {
    let mut client = Client::connect(target.address)?;
    create_stream(&mut client, memory)?;
    let meter = Meter::start(target)?;
    let mut latencies = publish(target, count, window)?;
    let sample = meter.stop(count)?;
    expect_stored(&mut client, count)?;
    latencies.sort_unstable();
    Ok(Sample {
        latencies,
        ..sample
    })
}

pub(super) fn pull(target: Target, count: u64, acks: bool) -> io::Result<Sample> {
    let mut client = Client::connect(target.address)?;
    load(&mut client, target, count)?;
    let policy = if acks { "explicit" } else { "none" };
    let config = format!(
        "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",\
         \"ack_policy\":\"{policy}\",\"deliver_policy\":\"all\",\"max_ack_pending\":10000}}}}"
    );
    api(
        &mut client,
        &format!("CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}"),
        &config,
    )?;
    let mut worker = Client::connect(target.address)?;
    worker.subscribe("_INBOX.pull", "");
    worker.round_trip()?;
    let meter = Meter::start(target)?;
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}");
    let request = format!("{{\"batch\":{PULL_BATCH},\"expires\":30000000000}}");
    let (mut asked, mut seen, mut unexpected) = (0, 0, None);
    while seen < count {
        // A second request waits at the server while the first is being delivered.
        while asked < count && asked - seen <= PULL_BATCH {
            worker.publish(next.as_bytes(), b"_INBOX.pull", request.as_bytes());
            asked += PULL_BATCH;
        }
        worker.drain(|message, output| {
            if message.payload.len() != PAYLOAD.len() {
                unexpected = Some(format!("{message:?}"));
                return;
            }
            seen += 1;
            if acks {
                pub_command(output, message.reply, b"", b"+ACK");
            }
        })?;
        if let Some(text) = unexpected {
            return Err(io::Error::other(format!("after {seen} messages: {text}")));
        }
    }
    worker.round_trip()?;
    let sample = meter.stop(count)?;
    if acks {
        expect_acknowledged(&mut client, count)?;
    }
    Ok(sample)
}

pub(super) fn push(target: Target, count: u64) -> io::Result<Sample> {
    let mut client = Client::connect(target.address)?;
    load(&mut client, target, count)?;
    let mut reader = Client::connect(target.address)?;
    reader.round_trip()?;
    let meter = Meter::start(target)?;
    push_all(&mut reader, STREAM, "_INBOX.push")?;
    let (mut seen, mut wrong) = (0, 0);
    while seen < count {
        reader.drain(|message, output| match classify(message) {
            Push::Data => {
                seen += 1;
                wrong += u64::from(message.payload.len() != PAYLOAD.len());
            }
            Push::FlowControl(subject) => pub_command(output, &subject, b"", b""),
            Push::Status => {}
        })?;
    }
    let sample = meter.stop(count)?;
    if seen == count && wrong == 0 {
        Ok(sample)
    } else {
        Err(io::Error::other(format!(
            "{seen} of {count} messages seen, {wrong} of them wrong"
        )))
    }
}

pub(super) fn store_subjects(address: SocketAddr, messages: u64, subjects: u64) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    create_stream(&mut client, false)?;
    let mut publisher = Client::connect(address)?;
    publisher.subscribe("_INBOX.ack", "");
    publisher.round_trip()?;
    let (mut sent, mut acked) = (0, 0);
    while acked < messages {
        while sent < messages && sent - acked < LOAD_WINDOW as u64 {
            let subject = format!("bench.stream.device.{}", sent % subjects);
            publisher.publish(subject.as_bytes(), b"_INBOX.ack", &PAYLOAD);
            sent += 1;
        }
        acked += publisher.drain(|_, _| ())? as u64;
    }
    expect_stored(&mut client, messages)
}

pub(super) fn create_consumers(address: SocketAddr, count: u64) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for number in 0..count {
        let config = format!(
            "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"durable_name\":\"c{number}\",\
             \"ack_policy\":\"explicit\",\"deliver_policy\":\"all\"}}}}"
        );
        api(
            &mut client,
            &format!("CONSUMER.DURABLE.CREATE.{STREAM}.c{number}"),
            &config,
        )?;
    }
    Ok(())
}

fn create_stream(client: &mut Client, memory: bool) -> io::Result<()> {
    wait_for_jetstream(client)?;
    let storage = if memory { "memory" } else { "file" };
    let config = format!(
        "{{\"name\":\"{STREAM}\",\"subjects\":[\"bench.stream\",\"bench.stream.>\"],\
         \"storage\":\"{storage}\",\
         \"retention\":\"limits\"}}"
    );
    api(client, &format!("STREAM.CREATE.{STREAM}"), &config).map(drop)
}

/// INFO is sent before JetStream answers.
fn wait_for_jetstream(client: &mut Client) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match api(client, "INFO", "") {
            Ok(_) => return Ok(()),
            Err(error) if begin.elapsed() > SETTLE_LIMIT => return Err(error),
            Err(_) => {}
        }
    }
}

fn load(client: &mut Client, target: Target, count: u64) -> io::Result<()> {
    create_stream(client, false)?;
    publish(target, count, LOAD_WINDOW)?;
    expect_stored(client, count)
}

/// Publishes on a new connection and returns the time of each message when one is in flight.
fn publish(target: Target, count: u64, window: usize) -> io::Result<Vec<Duration>> {
    let mut client = Client::connect(target.address)?;
    client.subscribe("_INBOX.ack", "");
    client.round_trip()?;
    let mut command = Vec::new();
    pub_command(&mut command, SUBJECT, b"_INBOX.ack", &PAYLOAD);
    let prepared = command.repeat(window);
    let mut latencies = Vec::new();
    let (mut sent, mut acked, mut refused) = (0, 0, None);
    while acked < count {
        let room = (window as u64 - (sent - acked)).min(count - sent);
        client.raw(&prepared[..command.len() * room as usize]);
        sent += room;
        let begin = Instant::now();
        acked += client.drain(|message, _| {
            if !message.payload.starts_with(b"{\"stream\":") {
                refused = Some(String::from_utf8_lossy(message.payload).into_owned());
            }
        })? as u64;
        if window == 1 {
            latencies.push(begin.elapsed());
        }
        if let Some(answer) = refused {
            return Err(io::Error::other(format!(
                "refused after {acked} acks: {answer}"
            )));
        }
    }
    Ok(latencies)
}

fn expect_stored(client: &mut Client, count: u64) -> io::Result<()> {
    let state = stream_state(client, STREAM)?;
    if state == (count, count) {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{count} acknowledged, stored (messages, last): {state:?}"
        )))
    }
}

/// Acks are processed behind the messages; the last one must arrive.
fn expect_acknowledged(client: &mut Client, count: u64) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let info = api(client, &format!("CONSUMER.INFO.{STREAM}.{CONSUMER}"), "")?;
        let floor = info
            .split_once("\"ack_floor\":")
            .map_or("", |(_, floor)| floor);
        if number(floor.as_bytes(), "stream_seq") == Some(count) {
            return Ok(());
        }
        if begin.elapsed() > SETTLE_LIMIT {
            return Err(io::Error::other(format!("not all acks arrived: {info}")));
        }
    }
}
