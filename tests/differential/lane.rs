//! One server under comparison: connections to it, and what came from them.
//!
//! Unlike the client of the other rigs it takes nothing as an error: `-ERR`, the end of a connection
//! and silence are observations like any other.

// This is a shell: it owns sockets and measures wall time.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::normal;

/// Long enough for a busy machine; only programs that break the protocol wait that long.
const PONG_LIMIT: Duration = Duration::from_millis(200);
const MAIN: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
    \"no_responders\":true,\"protocol\":1}\r\nSUB _IN.> 1\r\n";

/// Something that a server sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// What has an order of its own: a subscription, an inbox, a connection's protocol lines.
    pub(crate) channel: String,
    pub(crate) text: String,
    /// The reply subject as it came.
    pub(crate) raw_reply: String,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    pongs: usize,
    open: bool,
}

#[derive(Debug)]
pub(crate) struct Lane {
    address: SocketAddr,
    year: String,
    connect: String,
    connections: HashMap<usize, Connection>,
    /// What came since it was last taken.
    pub(crate) events: Vec<Event>,
    /// The reply subjects of deliveries, for acks.
    pub(crate) held: Vec<String>,
    /// Queue groups by connection and subscription.
    queues: HashMap<(usize, String), String>,
}

impl Lane {
    pub(crate) fn new(address: SocketAddr, connect: &str) -> io::Result<Self> {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default();
        let year = 1970 + now.as_secs() / 31_556_952;
        let mut lane = Lane {
            address,
            year: year.to_string(),
            connect: connect.to_owned(),
            connections: HashMap::new(),
            events: Vec::new(),
            held: Vec::new(),
            queues: HashMap::new(),
        };
        lane.send(0, b"")?;
        Ok(lane)
    }

    /// Remembers the queue groups of SUB commands, whose deliveries are compared as one.
    fn note_queues(&mut self, connection: usize, bytes: &[u8]) {
        for line in String::from_utf8_lossy(bytes).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [verb, _, queue, sid] = words[..]
                && verb.eq_ignore_ascii_case("SUB")
            {
                let group = format!("queue {queue}");
                self.queues.insert((connection, sid.to_owned()), group);
            }
        }
    }

    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.note_queues(number, bytes);
        let usable = self.connections.get(&number).is_some_and(|c| c.open);
        if !usable {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_millis(1)))?;
            let hello = if number == 0 { MAIN } else { &self.connect };
            stream.write_all(hello.as_bytes())?;
            let connection = Connection {
                stream,
                input: Vec::new(),
                pongs: 0,
                open: true,
            };
            self.connections.insert(number, connection);
        }
        if let Some(connection) = self.connections.get_mut(&number) {
            // A connection that the server closed meanwhile reports that by its end.
            let _ = connection.stream.write_all(bytes);
        }
        Ok(())
    }

    /// Waits until each connection answered a PING, or did not for too long and was given up.
    pub(crate) fn settle(&mut self) {
        let mut numbers: Vec<usize> = self.connections.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            self.settle_one(number);
        }
    }

    fn settle_one(&mut self, number: usize) {
        let Some(mut connection) = self.connections.remove(&number) else {
            return;
        };
        if connection.open {
            let _ = connection.stream.write_all(b"PING\r\n");
            let goal = connection.pongs + 1;
            let begin = Instant::now();
            while connection.open && connection.pongs < goal {
                self.pump(number, &mut connection);
                if begin.elapsed() > PONG_LIMIT {
                    self.line(number, "no PONG");
                    return;
                }
            }
        }
        self.connections.insert(number, connection);
    }

    fn line(&mut self, number: usize, text: &str) {
        self.events.push(Event {
            channel: format!("C{number} lines"),
            text: text.to_owned(),
            raw_reply: String::new(),
        });
    }

    fn pump(&mut self, number: usize, connection: &mut Connection) {
        let mut chunk = [0; 1 << 16];
        match connection.stream.read(&mut chunk) {
            Ok(0) => connection.open = false,
            Ok(count) => connection.input.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => connection.open = false,
        }
        let mut at = 0;
        while let Some(used) = self.take_one(number, &connection.input[at..], &mut connection.pongs)
        {
            at += used;
        }
        connection.input.drain(..at);
        if !connection.open {
            self.line(number, "closed");
        }
    }

    /// Takes one command off the front, and returns its length if all of it is there.
    fn take_one(&mut self, number: usize, input: &[u8], pongs: &mut usize) -> Option<usize> {
        let line_end = input.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&input[..line_end]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        let after = line_end + 2;
        match words[0] {
            "PONG" => *pongs += 1,
            "MSG" | "HMSG" => {
                let size: usize = words.last()?.parse().ok()?;
                let end = after + size;
                if input.len() < end + 2 {
                    return None;
                }
                self.message(number, &words, &input[after..end]);
                return Some(end + 2);
            }
            // Which of several questions a server has, and when it asks, is its own business.
            "PING" => {}
            "INFO" => self.line(number, "INFO"),
            _ => self.line(number, &line),
        }
        Some(after)
    }

    fn message(&mut self, number: usize, words: &[&str], body: &[u8]) {
        let with_headers = words[0] == "HMSG";
        let sizes = if with_headers { 2 } else { 1 };
        let subject = words.get(1).copied().unwrap_or_default();
        let sid = words.get(2).copied().unwrap_or_default();
        let raw_reply = if words.len() == 4 + sizes {
            words[3]
        } else {
            ""
        };
        let queue = self.queues.get(&(number, sid.to_owned()));
        let channel = match queue {
            // The reference picks any of the subscriptions that match.
            _ if body.starts_with(b"NATS/1.0 503\r\nNats-Subject") && number > 0 => {
                format!("C{number} no responders")
            }
            Some(queue) => queue.clone(),
            None if subject.starts_with("_IN.") => subject.to_owned(),
            None => format!("C{number} sid {sid}"),
        };
        // Times in it vary in length, so the sizes are seen only as the place of the cut.
        let cut = if with_headers {
            words[words.len() - 2].parse().unwrap_or(0).min(body.len())
        } else {
            0
        };
        let text = format!(
            "{} {subject} [{}] {}|{}",
            words[0],
            normal::reply(raw_reply),
            normal::normalise(&body[..cut], &self.year),
            normal::normalise(&body[cut..], &self.year),
        );
        let raw_reply = raw_reply.to_owned();
        self.events.push(Event {
            channel,
            text,
            raw_reply,
        });
    }
}
