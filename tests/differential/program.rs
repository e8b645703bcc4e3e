//! Programs: operations on a server, chosen by a seed and independent of what servers answer.

use std::fmt;

/// The kinds of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Core,
    Api,
    Publish,
    Consume,
    ConsumerApi,
    Read,
    Push,
}

impl Area {
    pub(crate) const ALL: [Area; 7] = [
        Area::Core,
        Area::Api,
        Area::Publish,
        Area::Consume,
        Area::ConsumerApi,
        Area::Read,
        Area::Push,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Area::Core => "core",
            Area::Api => "api",
            Area::Publish => "publish",
            Area::Consume => "consume",
            Area::ConsumerApi => "consumer_api",
            Area::Read => "read",
            Area::Push => "push",
        }
    }
}

/// One step of a program.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// Bytes on a connection, which is opened if need be.
    Raw { connection: usize, bytes: Vec<u8> },
    /// A message with a reply subject of its own, whose answers are collected.
    Request {
        subject: String,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// The answer to a delivery: the `pick`-th that came, counted round.
    Ack {
        pick: usize,
        body: String,
        confirm: bool,
    },
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Raw { connection, bytes } => {
                write!(f, "C{connection}> {}", bytes.escape_ascii())
            }
            Op::Request {
                subject,
                headers,
                body,
            } => {
                write!(f, "? {subject} ")?;
                for (name, value) in headers {
                    write!(f, "[{name}: {value}] ")?;
                }
                if body.len() > 2000 {
                    return write!(f, "({} bytes)", body.len());
                }
                write!(f, "{}", String::from_utf8_lossy(body))
            }
            Op::Ack {
                pick,
                body,
                confirm,
            } => {
                let how = if *confirm { " with reply" } else { "" };
                write!(f, "ack{how} #{pick} {body}")
            }
        }
    }
}

impl Op {
    pub(crate) fn request(subject: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Op::Request {
            subject: subject.into(),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn api(name: impl fmt::Display, body: impl Into<Vec<u8>>) -> Self {
        Op::request(format!("$JS.API.{name}"), body)
    }

    pub(crate) fn raw(connection: usize, bytes: impl Into<Vec<u8>>) -> Self {
        Op::Raw {
            connection,
            bytes: bytes.into(),
        }
    }
}

/// What runs against both servers.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) ops: Vec<Op>,
    /// The CONNECT options of connections besides the first.
    pub(crate) connect: String,
    /// Requests whose answers must agree after every step, once servers came to rest.
    pub(crate) checks: Vec<(String, String)>,
}
