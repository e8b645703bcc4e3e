//! A blocking client that costs little: one socket, one thread, no allocation per message.
//!
//! Commands are collected in [`Client::output`] and leave with [`Client::flush`]; received messages
//! are borrowed from the read buffer. It answers PING by itself. It must not reconnect, retry or
//! hide an error: a measurement has to see what the server did.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use memchr::memchr;
use serde_json::json;

use super::message::{self, Message};

const READ_BUFFER: usize = 1 << 20;
const SMALL_BUFFER: usize = 1 << 12;
/// Silence that is an error.
const LIMIT: Duration = Duration::from_secs(30);

/// Who the client says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<String>,
    /// Token.
    pub token: Option<String>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Commands that leave with the next flush.
    pub output: Vec<u8>,
    pongs: u64,
    next_sid: u32,
    next_reply: u32,
    inbox: Option<String>,
}

impl Client {
    /// Connects and completes the handshake.
    pub(super) fn connect(address: SocketAddr, credentials: &Credentials) -> io::Result<Self> {
        Self::with_buffer(address, credentials, READ_BUFFER)
    }

    /// Connects with a small read buffer, for connections in great numbers that only wait.
    pub(super) fn connect_idle(address: SocketAddr) -> io::Result<Self> {
        Self::with_buffer(address, &Credentials::default(), SMALL_BUFFER)
    }

    fn with_buffer(
        address: SocketAddr,
        credentials: &Credentials,
        buffer: usize,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut client = Client {
            stream,
            input: vec![0; buffer],
            start: 0,
            end: 0,
            output: Vec::new(),
            pongs: 0,
            next_sid: 1,
            next_reply: 0,
            inbox: None,
        };
        let hello = json!({
            "verbose": false, "pedantic": false, "echo": true, "protocol": 1, "headers": true,
            "no_responders": true, "lang": "jetwake-bench", "version": "1", "name": "bench",
            "user": credentials.user, "pass": credentials.password,
            "auth_token": credentials.token,
        });
        client.output = format!("CONNECT {hello}\r\n").into_bytes();
        client.round_trip()?;
        Ok(client)
    }

    /// Subscribes and returns the subscription's number.
    pub(super) fn subscribe(&mut self, subject: &str) -> u32 {
        let sid = self.next_sid;
        self.next_sid += 1;
        self.output
            .extend_from_slice(format!("SUB {subject} {sid}\r\n").as_bytes());
        sid
    }

    /// Sends what is queued, then these bytes, without a copy.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.stream.write_all(bytes)
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output)?;
            self.output.clear();
        }
        Ok(())
    }

    /// Limits how long [`Client::fill`] waits; `None` is the usual limit, after which it fails.
    pub(super) fn set_patience(&mut self, patience: Option<Duration>) -> io::Result<()> {
        self.stream
            .set_read_timeout(Some(patience.unwrap_or(LIMIT)))
    }

    /// Sends what is queued and reads once; `false` when nothing came in time.
    pub(super) fn poll(&mut self) -> io::Result<bool> {
        match self.fill() {
            Ok(()) => Ok(true),
            Err(error) if is_timeout(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends what is queued and reads once.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        let read = self.stream.read(&mut self.input[self.end..])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            ));
        }
        self.end += read;
        Ok(())
    }

    /// The next message of which all is in the read buffer, and the buffer for commands.
    #[inline]
    pub(super) fn next(&mut self) -> io::Result<Option<(Message<'_>, &mut Vec<u8>)>> {
        loop {
            let pending = &self.input[self.start..self.end];
            let Some(line_end) = memchr(b'\n', pending) else {
                return Ok(None);
            };
            let line = &pending[..line_end];
            if !matches!(line.first(), Some(b'M' | b'H')) {
                self.control(line_end)?;
                continue;
            }
            let Some((header, total)) = message::sizes(line) else {
                return Err(bad_line(line));
            };
            let body = self.start + line_end + 1;
            if body + total + 2 > self.end {
                return Ok(None);
            }
            let line = self.start..self.start + line_end;
            self.start = body + total + 2;
            let message = Message {
                line: &self.input[line],
                headers: &self.input[body..body + header],
                payload: &self.input[body + header..body + total],
            };
            return Ok(Some((message, &mut self.output)));
        }
    }

    /// Handles a line that is no message.
    fn control(&mut self, line_end: usize) -> io::Result<()> {
        let line = &self.input[self.start..self.start + line_end];
        if line.starts_with(b"PING") {
            self.output.extend_from_slice(b"PONG\r\n");
        } else if line.starts_with(b"PONG") {
            self.pongs += 1;
        } else if line.starts_with(b"-ERR") {
            let text = String::from_utf8_lossy(line).trim().to_owned();
            return Err(io::Error::other(format!("the server says {text}")));
        }
        self.start += line_end + 1;
        Ok(())
    }

    /// Sends what is queued and waits until the server has processed it.
    pub(super) fn round_trip(&mut self) -> io::Result<()> {
        let before = self.pongs;
        self.output.extend_from_slice(b"PING\r\n");
        loop {
            if self.next()?.is_some() {
                return Err(io::Error::other("a message before the PONG"));
            }
            if self.pongs > before {
                return Ok(());
            }
            self.fill()?;
        }
    }

    /// Sends a request and returns the body of its answer; a status without a body is an error.
    pub(super) fn request(&mut self, subject: &str, payload: &[u8]) -> io::Result<Vec<u8>> {
        let prefix = self.inbox()?;
        let reply = format!("{prefix}.{}", self.next_reply);
        self.next_reply += 1;
        command(
            &mut self.output,
            subject.as_bytes(),
            reply.as_bytes(),
            payload,
        );
        loop {
            while let Some((message, _)) = self.next()? {
                if message.subject() != reply.as_bytes() {
                    // An answer to an earlier request that was given up.
                    continue;
                }
                return match message.status() {
                    Some(code) if message.payload.is_empty() => {
                        Err(io::Error::other(format!("{subject}: status {code}")))
                    }
                    _ => Ok(message.payload.to_vec()),
                };
            }
            self.fill()?;
        }
    }

    fn inbox(&mut self) -> io::Result<String> {
        if self.inbox.is_none() {
            let local = self.stream.local_addr()?.port();
            let prefix = format!("_INBOX.bench{}x{local}", std::process::id());
            self.subscribe(&format!("{prefix}.*"));
            self.inbox = Some(prefix);
        }
        Ok(self.inbox.clone().unwrap_or_default())
    }
}

/// Appends a PUB command with its payload; `reply` may be empty.
pub(super) fn command(output: &mut Vec<u8>, subject: &[u8], reply: &[u8], payload: &[u8]) {
    output.extend_from_slice(b"PUB ");
    output.extend_from_slice(subject);
    output.push(b' ');
    if !reply.is_empty() {
        output.extend_from_slice(reply);
        output.push(b' ');
    }
    message::push_decimal(output, payload.len());
    output.extend_from_slice(b"\r\n");
    output.extend_from_slice(payload);
    output.extend_from_slice(b"\r\n");
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn bad_line(line: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(line).into_owned();
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("not understood: {text}"),
    )
}
