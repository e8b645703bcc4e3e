//! Incremental parser of the byte stream that a client sends.
//!
//! Invariants: it borrows everything from the caller's buffer and allocates nothing; what was
//! scanned once is not scanned again; the result does not depend on where the input was cut.
//! The caller keeps unconsumed bytes at the front of the buffer between calls.
//!
//! It knows grammar and size limits only. Authorization, `verbose` answers and the validity of
//! subjects are the caller's business.

use super::blank::Arguments;

/// Sizes above which a client is refused; both may change while a connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument part of a control line, without the operation's name.
    pub max_control_line: usize,
    /// Largest message, headers included. `usize::MAX` means no limit.
    pub max_payload: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_control_line: 4096,
            max_payload: 1024 * 1024,
        }
    }
}

/// Why a connection must be closed, named after the answer that precedes the close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// `-ERR 'Unknown Protocol Operation'`.
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// Malformed arguments: the connection is closed without a line.
    #[error("protocol violation")]
    ProtocolViolation,
    /// HPUB on a connection without headers: closed without a line.
    #[error("message headers not supported")]
    HeadersNotSupported,
    /// `-ERR 'maximum control line exceeded'`.
    #[error("maximum control line exceeded")]
    MaxControlLine,
    /// `-ERR 'Maximum Payload Violation'`.
    #[error("maximum payload exceeded")]
    MaxPayload,
}

impl ParseError {
    /// The line to send before closing, if any.
    #[must_use]
    pub const fn answer(self) -> Option<super::WireError<'static>> {
        match self {
            Self::UnknownOperation => Some(super::WireError::UnknownProtocolOperation),
            Self::ProtocolViolation | Self::HeadersNotSupported => None,
            Self::MaxControlLine => Some(super::WireError::MaximumControlLineExceeded),
            Self::MaxPayload => Some(super::WireError::MaximumPayloadViolation),
        }
    }
}

/// A PUB or HPUB with its complete payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'b> {
    /// Subject as written; not checked.
    pub subject: &'b [u8],
    /// Reply subject.
    pub reply: Option<&'b [u8]>,
    /// Header block; empty for PUB.
    pub headers: &'b [u8],
    /// Payload without the header block.
    pub payload: &'b [u8],
    /// Header block and payload as they stand in the buffer, side by side.
    pub body: &'b [u8],
    /// The header size as written (leading zeros are echoed to receivers); empty for PUB.
    pub header_digits: &'b [u8],
    /// The total size as written.
    pub size_digits: &'b [u8],
}

/// One operation of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOp<'b> {
    /// CONNECT with its (unchecked) JSON.
    Connect(&'b [u8]),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// `+OK`, to be ignored.
    Ok,
    /// INFO with its JSON, to be ignored if it is valid.
    Info(&'b [u8]),
    /// `-ERR`: log and close silently.
    Err(&'b [u8]),
    /// PUB or HPUB.
    Publish(Publish<'b>),
    /// SUB.
    Subscribe {
        /// Subject, wildcards allowed; not checked.
        subject: &'b [u8],
        /// Queue group.
        queue: Option<&'b [u8]>,
        /// Subscription id: an opaque token.
        sid: &'b [u8],
    },
    /// UNSUB.
    Unsubscribe {
        /// Subscription id.
        sid: &'b [u8],
        /// Deliveries since SUB after which to remove it. `None` (also for a size of zero or one
        /// that is no number): at once.
        max: Option<u64>,
    },
}

/// An operation and the number of bytes it took from the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsed<'b> {
    /// The operation.
    pub op: ClientOp<'b>,
    /// Bytes to drop from the front of the buffer.
    pub consumed: usize,
}

/// Bytes of a line that may be of no meaning (blanks, anything after PING): the grammar does not
/// limit them, but they have to be buffered.
const MAX_IGNORED: usize = 64 * 1024;

type Range = (usize, usize);

/// The control line of a message whose payload is not complete; ranges count from the buffer's front.
#[derive(Debug, Clone, Copy)]
struct PendingPublish {
    subject: Range,
    reply: Option<Range>,
    header_digits: Range,
    size_digits: Range,
    header_len: usize,
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Connect,
    Ping,
    Pong,
    Ok,
    Info,
    Err,
    Pub,
    Hpub,
    Sub,
    Unsub,
}

/// Parser state of one connection.
#[derive(Debug, Clone)]
pub struct ClientParser {
    limits: Limits,
    headers_allowed: bool,
    /// Bytes at the buffer's front known to hold no line end.
    scanned: usize,
    pending: Option<PendingPublish>,
}

impl ClientParser {
    /// A parser for a fresh connection; HPUB is refused until [`Self::set_headers_allowed`].
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            headers_allowed: false,
            scanned: 0,
            pending: None,
        }
    }

    /// Changes the limits; a message whose control line was accepted is not checked again.
    pub const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Allows HPUB: true once server and client agreed on headers.
    pub const fn set_headers_allowed(&mut self, allowed: bool) {
        self.headers_allowed = allowed;
    }

    /// Bytes the buffer must hold before [`Self::next`] can return more than `Ok(None)`: exact while
    /// a payload is awaited, else one more than was seen.
    #[must_use]
    pub const fn needed(&self) -> usize {
        match &self.pending {
            Some(pending) => pending.end + 2,
            None => self.scanned + 1,
        }
    }

    /// Parses the operation at the front of `buf`; `Ok(None)` asks for more bytes.
    ///
    /// # Errors
    /// The connection must be closed; [`ParseError::answer`] is the line to send before.
    pub fn next<'b>(&mut self, buf: &'b [u8]) -> Result<Option<Parsed<'b>>, ParseError> {
        if let Some(pending) = &self.pending {
            let parsed = pending.finish(buf)?;
            if parsed.is_some() {
                self.pending = None;
            }
            return Ok(parsed);
        }
        let from = self.scanned.min(buf.len());
        let Some(line_end) = memchr::memchr(b'\n', &buf[from..]).map(|at| from + at) else {
            return self.check_partial(buf);
        };
        self.scanned = 0;
        let line = &buf[..line_end];
        let (verb, name_len) = verb_of(line)?;
        let args = self.arguments(line, verb, name_len)?;
        let op = match verb {
            Verb::Pub => {
                let publish = self.read_pub(line, args)?;
                return self.start_publish(publish, buf);
            }
            Verb::Hpub => {
                let publish = self.read_hpub(line, args)?;
                return self.start_publish(publish, buf);
            }
            Verb::Sub => read_subscribe(line, args)?,
            Verb::Unsub => read_unsubscribe(line, args)?,
            Verb::Connect => ClientOp::Connect(&line[args.0..args.1]),
            Verb::Info => ClientOp::Info(&line[args.0..args.1]),
            Verb::Ping => ClientOp::Ping,
            Verb::Pong => ClientOp::Pong,
            Verb::Ok => ClientOp::Ok,
            Verb::Err => ClientOp::Err(&line[args.0..args.1]),
        };
        Ok(Some(Parsed {
            op,
            consumed: line_end + 1,
        }))
    }
    /// No line end yet: refuse what can no longer become an operation.
    fn check_partial(&mut self, buf: &[u8]) -> Result<Option<Parsed<'static>>, ParseError> {
        self.scanned = buf.len();
        if let Some((verb, name_len)) = partial_verb_of(buf)? {
            self.arguments(buf, verb, name_len)?;
        }
        Ok(None)
    }

    /// The range of the arguments: blanks after the name and a CR at the end are left out.
    #[inline]
    fn arguments(&self, line: &[u8], verb: Verb, name_len: usize) -> Result<Range, ParseError> {
        let mut start = name_len;
        while matches!(line.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        let mut end = line.len();
        if end > start && line[end - 1] == b'\r' {
            end -= 1;
        }
        let limit = self.limits.max_control_line;
        if (verb.takes_arguments() && end - start > limit)
            || line.len() > limit.saturating_add(MAX_IGNORED)
        {
            return Err(ParseError::MaxControlLine);
        }
        Ok((start, end))
    }

    #[inline]
    fn read_pub(&self, line: &[u8], args: Range) -> Result<PendingPublish, ParseError> {
        let (at, count) = Arguments::<false>::new(&line[..args.1], args.0).collect::<3>();
        let (reply, size_digits) = match count {
            2 => (None, at[1]),
            3 => (Some(at[1]), at[2]),
            _ => return Err(ParseError::ProtocolViolation),
        };
        let size = self.payload_size(&line[size_digits.0..size_digits.1])?;
        let start = line.len() + 1;
        Ok(PendingPublish {
            subject: at[0],
            reply,
            header_digits: (0, 0),
            size_digits,
            header_len: 0,
            start,
            end: start + size,
        })
    }

    fn read_hpub(&self, line: &[u8], args: Range) -> Result<PendingPublish, ParseError> {
        if !self.headers_allowed {
            return Err(ParseError::HeadersNotSupported);
        }
        let (at, count) = Arguments::<false>::new(&line[..args.1], args.0).collect::<4>();
        let (reply, header_digits, size_digits) = match count {
            3 => (None, at[1], at[2]),
            4 => (Some(at[1]), at[2], at[3]),
            _ => return Err(ParseError::ProtocolViolation),
        };
        let header_len = parse_size(&line[header_digits.0..header_digits.1]);
        let header_len = header_len.ok_or(ParseError::ProtocolViolation)?;
        let size = parse_size(&line[size_digits.0..size_digits.1]);
        if size.is_none_or(|size| header_len > size) {
            return Err(ParseError::ProtocolViolation);
        }
        let size = self.payload_size(&line[size_digits.0..size_digits.1])?;
        let start = line.len() + 1;
        let end = start + size;
        Ok(PendingPublish {
            subject: at[0],
            reply,
            header_digits,
            size_digits,
            header_len,
            start,
            end,
        })
    }

    #[inline]
    fn payload_size(&self, digits: &[u8]) -> Result<usize, ParseError> {
        let size = parse_size(digits).ok_or(ParseError::ProtocolViolation)?;
        if size > self.limits.max_payload {
            return Err(ParseError::MaxPayload);
        }
        Ok(size)
    }

    /// The payload is usually there already; only if it is not, the control line is kept.
    #[inline]
    fn start_publish<'b>(
        &mut self,
        publish: PendingPublish,
        buf: &'b [u8],
    ) -> Result<Option<Parsed<'b>>, ParseError> {
        let parsed = publish.finish(buf)?;
        if parsed.is_none() {
            self.pending = Some(publish);
        }
        Ok(parsed)
    }
}

impl PendingPublish {
    #[inline]
    fn finish<'b>(&self, buf: &'b [u8]) -> Result<Option<Parsed<'b>>, ParseError> {
        match buf.get(self.end..) {
            Some([b'\r', b'\n', ..]) => {}
            None | Some([] | [b'\r']) => return Ok(None),
            Some(_) => return Err(ParseError::UnknownOperation),
        }
        let cut = |range: Range| &buf[range.0..range.1];
        let body_at = self.start + self.header_len;
        let op = ClientOp::Publish(Publish {
            subject: cut(self.subject),
            reply: self.reply.map(cut),
            headers: cut((self.start, body_at)),
            payload: cut((body_at, self.end)),
            body: cut((self.start, self.end)),
            header_digits: cut(self.header_digits),
            size_digits: cut(self.size_digits),
        });
        Ok(Some(Parsed {
            op,
            consumed: self.end + 2,
        }))
    }
}

/// A size of at most nine digits.
#[inline]
fn parse_size(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut size = 0usize;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        size = size * 10 + usize::from(digit);
    }
    Some(size)
}

fn read_subscribe(line: &[u8], args: Range) -> Result<ClientOp<'_>, ParseError> {
    let (at, count) = Arguments::<true>::new(&line[..args.1], args.0).collect::<3>();
    let cut = |range: Range| &line[range.0..range.1];
    match count {
        2 => Ok(ClientOp::Subscribe {
            subject: cut(at[0]),
            queue: None,
            sid: cut(at[1]),
        }),
        3 => {
            let queue = Some(cut(at[1]));
            Ok(ClientOp::Subscribe {
                subject: cut(at[0]),
                queue,
                sid: cut(at[2]),
            })
        }
        _ => Err(ParseError::ProtocolViolation),
    }
}

fn read_unsubscribe(line: &[u8], args: Range) -> Result<ClientOp<'_>, ParseError> {
    let (at, count) = Arguments::<true>::new(&line[..args.1], args.0).collect::<2>();
    let cut = |range: Range| &line[range.0..range.1];
    let max = match count {
        1 => None,
        2 => parse_size(cut(at[1]))
            .filter(|&max| max > 0)
            .map(|max| max as u64),
        _ => return Err(ParseError::ProtocolViolation),
    };
    Ok(ClientOp::Unsubscribe {
        sid: cut(at[0]),
        max,
    })
}

/// The operations that a client may send. The hottest come first.
const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"SUB", Verb::Sub),
    (b"UNSUB", Verb::Unsub),
    (b"CONNECT", Verb::Connect),
    (b"+OK", Verb::Ok),
    (b"INFO", Verb::Info),
    (b"-ERR", Verb::Err),
];

impl Verb {
    const fn takes_arguments(self) -> bool {
        !matches!(self, Self::Ping | Self::Pong | Self::Ok)
    }

    /// Whether a byte may follow the name directly. CONNECT and INFO take their JSON without a
    /// blank, and whatever follows an operation without arguments is ignored.
    const fn may_follow(self, byte: u8) -> bool {
        match self {
            Self::Connect | Self::Info | Self::Ping | Self::Pong | Self::Ok => true,
            Self::Pub | Self::Hpub | Self::Sub | Self::Unsub | Self::Err => {
                matches!(byte, b' ' | b'\t')
            }
        }
    }
}

/// The operation of a whole line and the length of its name.
#[inline]
fn verb_of(line: &[u8]) -> Result<(Verb, usize), ParseError> {
    if let Some(found) = hot_verb_of(line) {
        return Ok(found);
    }
    match partial_verb_of(line)? {
        Some((verb, len)) if len < line.len() || verb.may_follow(b'\n') => Ok((verb, len)),
        _ => Err(ParseError::UnknownOperation),
    }
}

/// The operations of steady traffic in their usual spelling.
#[inline]
fn hot_verb_of(line: &[u8]) -> Option<(Verb, usize)> {
    const fn word(text: [u8; 4]) -> u32 {
        u32::from_le_bytes(text)
    }
    const PUB: u32 = word(*b"pub ");
    const HPUB: u32 = word(*b"hpub");
    const SUB: u32 = word(*b"sub ");
    const PING: u32 = word(*b"ping");
    const PONG: u32 = word(*b"pong");
    let head = line.first_chunk::<4>()?;
    // Setting this bit folds letters only; that the blank is one is checked below.
    match u32::from_le_bytes(*head) | 0x2020_2020 {
        PUB if head[3] == b' ' => Some((Verb::Pub, 3)),
        HPUB if line.get(4) == Some(&b' ') => Some((Verb::Hpub, 4)),
        SUB if head[3] == b' ' => Some((Verb::Sub, 3)),
        PING => Some((Verb::Ping, 4)),
        PONG => Some((Verb::Pong, 4)),
        _ => None,
    }
}

/// The operation at the start of an unfinished line, or `None` while it may still become one.
fn partial_verb_of(line: &[u8]) -> Result<Option<(Verb, usize)>, ParseError> {
    for (name, verb) in VERBS {
        let known = line.len().min(name.len());
        if !line[..known].eq_ignore_ascii_case(&name[..known]) {
            continue;
        }
        return match line.get(name.len()) {
            Some(&byte) if !verb.may_follow(byte) => Err(ParseError::UnknownOperation),
            _ if known < name.len() => Ok(None),
            _ => Ok(Some((verb, name.len()))),
        };
    }
    Err(ParseError::UnknownOperation)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod splits;
