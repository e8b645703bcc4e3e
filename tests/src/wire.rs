//! A blocking client, small enough to trust and cheap enough to measure with.
//!
//! It speaks the plain protocol over one socket from one thread. Commands are collected and sent by
//! [`Client::flush`], or before a read that has to wait. It answers PING by itself and hands out
//! messages in the order of the socket. It must not reconnect, retry or hide an error: a rig has to
//! see what the server did.

// This is a shell: it owns a socket.
#![allow(clippy::disallowed_methods)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::time::Duration;

const READ_BUFFER: usize = 1 << 20;
/// Only failing tests wait for it.
const LIMIT: Duration = Duration::from_secs(60);
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true,\
    \"protocol\":1,\"headers\":true,\"no_responders\":true,\"lang\":\"rust\",\
    \"version\":\"0\",\"name\":\"rig\"}\r\n";

/// A message, as ranges of the client's read buffer.
#[derive(Debug)]
struct Frame {
    subject: Range<usize>,
    sid: u32,
    reply: Range<usize>,
    headers: Range<usize>,
    payload: Range<usize>,
}

/// A message, borrowed from the client until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subject it was sent to.
    pub subject: &'a [u8],
    /// The number of the subscription that matched.
    pub sid: u32,
    /// Where to answer; empty for none.
    pub reply: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The body.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The number in the first header line (`NATS/1.0 503`), when there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let rest = self.headers.strip_prefix(b"NATS/1.0 ")?;
        std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    output: Vec<u8>,
    next_sid: u32,
    next_inbox: u32,
    inbox: Option<(u32, String)>,
}

impl Client {
    /// Connects and completes the handshake.
    ///
    /// # Errors
    /// When the server does not answer as a NATS server.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut client = Client {
            stream,
            input: vec![0; READ_BUFFER],
            start: 0,
            end: 0,
            output: CONNECT.into(),
            next_sid: 1,
            next_inbox: 1,
            inbox: None,
        };
        client.round_trip()?;
        Ok(client)
    }

    /// Limits how long a read waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_limit(&self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit))
    }

    /// Where the server is.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The port at this end, a number that no other live connection has.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_port(&self) -> io::Result<u16> {
        Ok(self.stream.local_addr()?.port())
    }

    /// Subscribes and returns the subscription's number.
    pub fn subscribe(&mut self, subject: &str, queue: &str) -> u32 {
        let sid = self.next_sid;
        self.next_sid += 1;
        self.output
            .extend_from_slice(format!("SUB {subject} {queue} {sid}\r\n").as_bytes());
        sid
    }

    /// Queues a message.
    pub fn publish(&mut self, subject: &[u8], reply: &[u8], payload: &[u8]) {
        pub_command(&mut self.output, subject, reply, payload);
    }

    /// Queues a message with one header line per pair.
    pub fn publish_with_headers(
        &mut self,
        subject: &str,
        reply: &str,
        headers: &[(&str, &str)],
        payload: &[u8],
    ) {
        let mut block = String::from("NATS/1.0\r\n");
        for (name, value) in headers {
            block.push_str(name);
            block.push_str(": ");
            block.push_str(value);
            block.push_str("\r\n");
        }
        block.push_str("\r\n");
        let total = block.len() + payload.len();
        let line = format!("HPUB {subject} {reply} {} {total}\r\n{block}", block.len());
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(payload);
        self.output.extend_from_slice(b"\r\n");
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    /// Sends what is queued and waits until the server has processed it.
    ///
    /// # Errors
    /// When the connection is gone, or a message arrives meanwhile (it would be lost here).
    pub fn round_trip(&mut self) -> io::Result<()> {
        self.output.extend_from_slice(b"PING\r\n");
        loop {
            match self.advance()? {
                Step::Pong => return Ok(()),
                Step::Message(_) => return Err(io::Error::other("a message before the PONG")),
                Step::Other => {}
            }
        }
    }

    /// The next message; waits for it.
    ///
    /// # Errors
    /// On timeout, end of stream or a server error.
    pub fn next_message(&mut self) -> io::Result<Message<'_>> {
        loop {
            if let Step::Message(frame) = self.advance()? {
                return Ok(message_in(&self.input, &frame));
            }
        }
    }

    /// The next message if all of it is already in the read buffer.
    ///
    /// # Errors
    /// On a server error.
    pub fn buffered_message(&mut self) -> io::Result<Option<Message<'_>>> {
        loop {
            match self.parse()? {
                Some(Step::Message(frame)) => return Ok(Some(message_in(&self.input, &frame))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Sends a request and returns the body of the first answer.
    ///
    /// # Errors
    /// When nobody answers or the connection is gone. Messages of other subscriptions that arrive
    /// before the answer are an error, because they would be lost.
    pub fn request(&mut self, subject: &str, payload: &[u8]) -> io::Result<Vec<u8>> {
        let (sid, prefix) = self.inbox();
        let reply = format!("{prefix}.{}", self.next_inbox);
        self.next_inbox += 1;
        self.publish(subject.as_bytes(), reply.as_bytes(), payload);
        loop {
            let message = self.next_message()?;
            if message.sid != sid {
                return Err(io::Error::other("a message before the answer"));
            }
            // An answer to an earlier request that was given up is not this one's.
            if message.subject != reply.as_bytes() {
                continue;
            }
            return match message.status() {
                Some(code) if message.payload.is_empty() => {
                    Err(io::Error::other(format!("{subject}: status {code}")))
                }
                _ => Ok(message.payload.to_vec()),
            };
        }
    }

    fn inbox(&mut self) -> (u32, String) {
        if self.inbox.is_none() {
            let local = self.stream.local_addr().map_or(0, |address| address.port());
            let prefix = format!("_INBOX.rig{local}");
            let sid = self.subscribe(&format!("{prefix}.*"), "");
            self.inbox = Some((sid, prefix));
        }
        self.inbox.clone().unwrap_or_default()
    }

    /// Takes one command out of the stream, reading and (before that) sending as needed.
    fn advance(&mut self) -> io::Result<Step> {
        loop {
            if let Some(step) = self.parse()? {
                return Ok(step);
            }
            self.flush()?;
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        match self.stream.read(&mut self.input[self.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }

    /// Parses one complete command at the front of the buffer.
    fn parse(&mut self) -> io::Result<Option<Step>> {
        let pending = &self.input[self.start..self.end];
        let Some(line_length) = pending.iter().position(|&byte| byte == b'\n') else {
            return Ok(None);
        };
        let line = &pending[..line_length];
        let body = self.start + line_length + 1;
        let step = match line.first() {
            Some(b'M' | b'H') => {
                let frame = parse_message(line, self.start, body)?;
                if frame.payload.end + 2 > self.end {
                    return Ok(None);
                }
                self.start = frame.payload.end + 2;
                return Ok(Some(Step::Message(frame)));
            }
            Some(b'P') if line.starts_with(b"PONG") => Step::Pong,
            Some(b'P') => {
                self.output.extend_from_slice(b"PONG\r\n");
                Step::Other
            }
            Some(b'-') => {
                return Err(io::Error::other(
                    String::from_utf8_lossy(line).trim().to_owned(),
                ));
            }
            _ => Step::Other,
        };
        self.start = body;
        Ok(Some(step))
    }
}

fn message_in<'a>(input: &'a [u8], frame: &Frame) -> Message<'a> {
    Message {
        subject: &input[frame.subject.clone()],
        sid: frame.sid,
        reply: &input[frame.reply.clone()],
        headers: &input[frame.headers.clone()],
        payload: &input[frame.payload.clone()],
    }
}

#[derive(Debug)]
enum Step {
    Message(Frame),
    Pong,
    Other,
}

/// Appends a PUB command with its payload; `reply` may be empty.
pub fn pub_command(output: &mut Vec<u8>, subject: &[u8], reply: &[u8], payload: &[u8]) {
    output.extend_from_slice(b"PUB ");
    output.extend_from_slice(subject);
    output.push(b' ');
    if !reply.is_empty() {
        output.extend_from_slice(reply);
        output.push(b' ');
    }
    output.extend_from_slice(payload.len().to_string().as_bytes());
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(payload);
    output.extend_from_slice(b"\r\n");
}

/// `MSG subject sid [reply] size` or `HMSG subject sid [reply] header_size size`; `offset` is where
/// the line starts in the buffer, `body` where the bytes after it do.
fn parse_message(line: &[u8], offset: usize, body: usize) -> io::Result<Frame> {
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            String::from_utf8_lossy(line).into_owned(),
        )
    };
    let mut fields = [(0, 0); 6];
    let mut count = 0;
    let mut begin = 0;
    for (at, &byte) in line.iter().enumerate() {
        if byte == b' ' || byte == b'\r' {
            if at > begin {
                *fields.get_mut(count).ok_or_else(bad)? = (begin, at);
                count += 1;
            }
            begin = at + 1;
        }
    }
    let field = |index: usize| offset + fields[index].0..offset + fields[index].1;
    let number = |index: usize| decimal(&line[fields[index].0..fields[index].1]).ok_or_else(bad);
    let with_headers = line[0] == b'H';
    let sizes = if with_headers { 2 } else { 1 };
    if count < 3 + sizes {
        return Err(bad());
    }
    let header_size = if with_headers { number(count - 2)? } else { 0 };
    let total = number(count - 1)?;
    let reply = if count == 4 + sizes { field(3) } else { 0..0 };
    let sid = u32::try_from(number(2)?).map_err(|_| bad())?;
    Ok(Frame {
        subject: field(1),
        sid,
        reply,
        headers: body..body + header_size,
        payload: body + header_size..body + total,
    })
}

fn decimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_and_without_reply_and_headers() {
        let line = b"MSG a.b 7 5\r";
        let frame = parse_message(line, 0, 13).unwrap();
        assert_eq!((frame.sid, frame.reply, frame.payload), (7, 0..0, 13..18));
        let line = b"HMSG a.b 7 reply.to 12 17\r";
        let frame = parse_message(line, 100, 127).unwrap();
        assert_eq!(frame.subject, 105..108);
        assert_eq!(frame.reply, 111..119);
        assert_eq!((frame.headers, frame.payload), (127..139, 139..144));
    }

    #[test]
    fn broken_message_lines_are_errors() {
        for line in [
            "MSG a\r",
            "MSG a 1 x\r",
            "MSG a 1 b 2 3 4 5\r",
            "HMSG a 1 5\r",
        ] {
            assert!(parse_message(line.as_bytes(), 0, 0).is_err(), "{line}");
        }
    }
}
