//! Reads a whole stream.

use std::io;
use std::time::Instant;

use crate::jetstream::{api, number};
use crate::wire::{Client, Message};

const BATCH: u64 = 500;
const NOT_FOUND: u16 = 404;
const END_OF_BATCH: u16 = 204;

/// A stored message.
#[derive(Debug)]
pub struct Found {
    /// Where.
    pub sequence: u64,
    /// On which subject.
    pub subject: Vec<u8>,
    /// With which body.
    pub body: Vec<u8>,
}

/// What a stream holds.
#[derive(Debug)]
pub struct Holding {
    /// First sequence, as the stream says.
    pub first: u64,
    /// Last sequence, as the stream says.
    pub last: u64,
    /// Number of messages, as the stream says.
    pub count: u64,
    /// What was read.
    pub messages: Vec<Found>,
    /// When the reading began.
    pub read_from: Instant,
    /// When it ended.
    pub read_until: Instant,
}

/// The value of a header.
pub(super) fn header<'a>(headers: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b": ")?;
        value.strip_suffix(b"\r")
    })
}

fn text_number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads everything by direct gets.
///
/// # Errors
/// When the server does not answer as it should.
#[allow(clippy::disallowed_methods)] // The load runs against the wall clock.
pub fn stream(client: &mut Client, name: &str) -> io::Result<Holding> {
    let read_from = Instant::now();
    let answer = api(client, &format!("STREAM.INFO.{name}"), "")?;
    let state = answer
        .split_once("\"state\":")
        .map_or("", |(_, state)| state);
    let value = |field| number(state.as_bytes(), field);
    let unknown = || io::Error::other(format!("unexpected stream info: {answer}"));
    let mut holding = Holding {
        first: value("first_seq").ok_or_else(unknown)?,
        last: value("last_seq").ok_or_else(unknown)?,
        count: value("messages").ok_or_else(unknown)?,
        messages: Vec::new(),
        read_from,
        read_until: read_from,
    };
    let inbox = format!("_INBOX.read{}", client.local_port()?);
    client.subscribe(&inbox, "");
    let mut from = 1;
    while page(client, name, &inbox, from, &mut holding.messages)? {
        from = holding.messages.last().map_or(from, |found| found.sequence) + 1;
    }
    holding.read_until = Instant::now();
    Ok(holding)
}

/// Reads one page; false at the end of the stream.
fn page(
    client: &mut Client,
    name: &str,
    inbox: &str,
    from: u64,
    into: &mut Vec<Found>,
) -> io::Result<bool> {
    let subject = format!("$JS.API.DIRECT.GET.{name}");
    let body = format!("{{\"seq\":{from},\"next_by_subj\":\">\",\"batch\":{BATCH}}}");
    client.publish(subject.as_bytes(), inbox.as_bytes(), body.as_bytes());
    let mut some = false;
    loop {
        let message = client.next_message()?;
        match message.status().filter(|_| message.payload.is_empty()) {
            Some(NOT_FOUND) => return Ok(false),
            Some(END_OF_BATCH) => return Ok(some),
            Some(status) => return Err(io::Error::other(format!("direct get: {status}"))),
            None => into.push(found(&message)?),
        }
        some = true;
    }
}

fn found(message: &Message<'_>) -> io::Result<Found> {
    let sequence = header(message.headers, "Nats-Sequence").and_then(text_number);
    let subject = header(message.headers, "Nats-Subject");
    let (Some(sequence), Some(subject)) = (sequence, subject) else {
        let headers = String::from_utf8_lossy(message.headers).into_owned();
        return Err(io::Error::other(format!("a direct get with {headers:?}")));
    };
    Ok(Found {
        sequence,
        subject: subject.to_vec(),
        body: message.payload.to_vec(),
    })
}
