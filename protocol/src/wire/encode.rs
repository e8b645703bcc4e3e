//! Appending what a server sends to an output buffer.
//!
//! No formatting machinery and no allocation beyond the buffer's own growth; the caller decides
//! when bytes reach a socket.

use super::WireError;

/// A growing output buffer.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
    /// Makes room for `additional` more bytes.
    fn make_room(&mut self, additional: usize);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn make_room(&mut self, additional: usize) {
        self.reserve(additional);
    }
}

impl Sink for bytes::BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn make_room(&mut self, additional: usize) {
        self.reserve(additional);
    }
}

/// Line end of every control line and payload.
pub const CRLF: &[u8] = b"\r\n";
/// Answer to an operation of a verbose client.
pub const OK: &[u8] = b"+OK\r\n";
/// Keep-alive probe.
pub const PING: &[u8] = b"PING\r\n";
/// Answer to PING.
pub const PONG: &[u8] = b"PONG\r\n";

const PAIRS: &[u8; 200] = b"\
    0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
    5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// The decimal digits of a number, kept on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; 20],
    start: u8,
}

impl Digits {
    /// Formats `number`.
    #[inline]
    #[must_use]
    pub fn of(number: u64) -> Self {
        let mut bytes = [0; 20];
        let start = fill(&mut bytes, number) as u8;
        Self { bytes, start }
    }

    /// The digits.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// Writes the digits of a number to the end of `bytes` and returns where they start. Four digits a division: the
/// divisions depend on each other, the rest does not.
#[inline]
fn fill(bytes: &mut [u8; 20], mut number: u64) -> usize {
    let mut at = bytes.len();
    while number >= 10_000 {
        let four = (number % 10_000) as usize;
        number /= 10_000;
        at -= 4;
        bytes[at..at + 2].copy_from_slice(pair(four / 100));
        bytes[at + 2..at + 4].copy_from_slice(pair(four % 100));
    }
    let mut rest = number as usize;
    if rest >= 100 {
        at -= 2;
        bytes[at..at + 2].copy_from_slice(pair(rest % 100));
        rest /= 100;
    }
    if rest >= 10 {
        at -= 2;
        bytes[at..at + 2].copy_from_slice(pair(rest));
    } else {
        at -= 1;
        bytes[at] = b'0' + rest as u8;
    }
    at
}

/// The two digits of a number below a hundred.
#[inline]
fn pair(number: usize) -> &'static [u8] {
    &PAIRS[number * 2..number * 2 + 2]
}

/// Appends a number in decimal.
pub fn number<S: Sink + ?Sized>(out: &mut S, value: u64) {
    out.put(Digits::of(value).as_bytes());
}

/// Appends a signed number in decimal.
pub fn signed<S: Sink + ?Sized>(out: &mut S, value: i64) {
    if value < 0 {
        out.put(b"-");
    }
    number(out, value.unsigned_abs());
}

/// Appends the control line of MSG: `size` is written as the publisher wrote it.
pub fn msg_line<S: Sink + ?Sized>(
    out: &mut S,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    size: &[u8],
) {
    out.put(b"MSG ");
    routing(out, subject, sid, reply);
    out.put(size);
    out.put(CRLF);
}

/// Appends the control line of HMSG.
pub fn hmsg_line<S: Sink + ?Sized>(
    out: &mut S,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    header_size: &[u8],
    size: &[u8],
) {
    out.put(b"HMSG ");
    routing(out, subject, sid, reply);
    out.put(header_size);
    out.put(b" ");
    out.put(size);
    out.put(CRLF);
}

fn routing<S: Sink + ?Sized>(out: &mut S, subject: &[u8], sid: &[u8], reply: Option<&[u8]>) {
    out.put(subject);
    out.put(b" ");
    out.put(sid);
    out.put(b" ");
    if let Some(reply) = reply {
        out.put(reply);
        out.put(b" ");
    }
}

/// Appends a whole MSG with a computed size.
pub fn msg<S: Sink + ?Sized>(
    out: &mut S,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    payload: &[u8],
) {
    let size = Digits::of(payload.len() as u64);
    let reply_len = reply.map_or(0, |reply| reply.len() + 1);
    out.make_room(subject.len() + sid.len() + reply_len + payload.len() + 32);
    msg_line(out, subject, sid, reply, size.as_bytes());
    out.put(payload);
    out.put(CRLF);
}

/// Appends a whole HMSG with computed sizes.
pub fn hmsg<S: Sink + ?Sized>(
    out: &mut S,
    subject: &[u8],
    sid: &[u8],
    reply: Option<&[u8]>,
    headers: &[u8],
    payload: &[u8],
) {
    let header_size = Digits::of(headers.len() as u64);
    let size = Digits::of((headers.len() + payload.len()) as u64);
    let reply_len = reply.map_or(0, |reply| reply.len() + 1);
    out.make_room(subject.len() + sid.len() + reply_len + headers.len() + payload.len() + 48);
    hmsg_line(
        out,
        subject,
        sid,
        reply,
        header_size.as_bytes(),
        size.as_bytes(),
    );
    out.put(headers);
    out.put(payload);
    out.put(CRLF);
}

/// Appends `-ERR '<text>'`.
pub fn err<S: Sink + ?Sized>(out: &mut S, error: WireError<'_>) {
    out.put(b"-ERR '");
    error.write_text(out);
    out.put(b"'\r\n");
}

/// Appends INFO around its JSON; a blank stands before the line end.
pub fn info<S: Sink + ?Sized>(out: &mut S, json: &[u8]) {
    out.make_room(json.len() + 8);
    out.put(b"INFO ");
    out.put(json);
    out.put(b" \r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let mut out = Vec::new();
        msg(&mut out, b"a.b", b"7", None, b"hi");
        msg(&mut out, b"a.b", b"7", Some(b"r"), b"");
        msg_line(&mut out, b"a", b"1", None, b"0002");
        hmsg(&mut out, b"a", b"1", Some(b"r"), b"NATS/1.0\r\n\r\n", b"hi");
        let expected = "MSG a.b 7 2\r\nhi\r\nMSG a.b 7 r 0\r\n\r\nMSG a 1 0002\r\n\
            HMSG a 1 r 12 14\r\nNATS/1.0\r\n\r\nhi\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn lines() {
        let mut out = bytes::BytesMut::new();
        info(&mut out, b"{}");
        err(&mut out, WireError::InvalidSubject);
        assert_eq!(&out[..], b"INFO {} \r\n-ERR 'Invalid Subject'\r\n");
    }

    #[test]
    fn numbers() {
        for value in [
            0,
            9,
            10,
            99,
            100,
            101,
            999,
            1000,
            1234,
            9_999,
            10_000,
            10_001,
            65_535,
            1_000_000,
            99_999_999,
            100_000_000,
            u64::MAX - 1,
            u64::MAX,
        ] {
            assert_eq!(Digits::of(value).as_bytes(), value.to_string().as_bytes());
        }
        let mut out = Vec::new();
        signed(&mut out, i64::MIN);
        assert_eq!(out, i64::MIN.to_string().into_bytes());
    }
}
