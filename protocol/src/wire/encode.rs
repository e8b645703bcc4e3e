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
    /// Appends the first `len` of eight bytes. Eight bytes from a register are one store, and what is too much of
    /// them is overwritten next.
    fn put_word(&mut self, word: [u8; 8], len: usize);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn make_room(&mut self, additional: usize) {
        self.reserve(additional);
    }

    #[inline]
    fn put_word(&mut self, word: [u8; 8], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(&word);
        self.truncate(end);
    }
}

impl Sink for bytes::BytesMut {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn make_room(&mut self, additional: usize) {
        self.reserve(additional);
    }

    #[inline]
    fn put_word(&mut self, word: [u8; 8], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(&word);
        self.truncate(end);
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

/// The decimal digits of a number, kept on the stack.
#[derive(Debug, Clone, Copy)]
pub struct Digits {
    bytes: [u8; 24],
    len: u8,
}

impl Digits {
    /// Formats `number`.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let mut digits = Self {
            bytes: [0; 24],
            len: 0,
        };
        self::number(&mut digits, number);
        digits
    }

    /// The digits.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A number has at most twenty digits, which leaves room for the last word.
impl Sink for Digits {
    fn put(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn make_room(&mut self, _: usize) {}

    fn put_word(&mut self, word: [u8; 8], len: usize) {
        self.put(&word[..len]);
    }
}

const EIGHT_DIGITS: u64 = 100_000_000;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Appends a number in decimal.
#[inline]
pub fn number<S: Sink + ?Sized>(out: &mut S, value: u64) {
    if value < EIGHT_DIGITS {
        return put_first(out, value);
    }
    let (high, low) = (value / EIGHT_DIGITS, value % EIGHT_DIGITS);
    if high < EIGHT_DIGITS {
        put_first(out, high);
    } else {
        put_first(out, high / EIGHT_DIGITS);
        out.put_word((eight_digits(high % EIGHT_DIGITS) | ZEROS).to_le_bytes(), 8);
    }
    out.put_word((eight_digits(low) | ZEROS).to_le_bytes(), 8);
}

/// Appends at most eight digits, without zeros in front.
#[inline]
fn put_first<S: Sink + ?Sized>(out: &mut S, value: u64) {
    let digits = eight_digits(value);
    let zeros = digits.trailing_zeros().min(56) / 8;
    let word = (digits | ZEROS) >> (zeros * 8);
    out.put_word(word.to_le_bytes(), 8 - zeros as usize);
}

/// The eight digits of a number below 10^8 as the bytes of a word, the first in the lowest. All of them are computed
/// side by side: divided by 10,000, then both halves by 100, then all four quarters by 10.
#[inline]
fn eight_digits(value: u64) -> u64 {
    let halves = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let quarters = ((halves - 100 * hundreds) << 16) | hundreds;
    let tens = ((quarters * 103) >> 10) & 0x000f_000f_000f_000f;
    ((quarters - 10 * tens) << 8) | tens
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
        for power in (0..20).map(|exponent| 10_u64.pow(exponent)) {
            for value in [
                power - 1,
                power,
                power + 1,
                power / 7,
                power.saturating_mul(3),
            ] {
                assert_eq!(Digits::of(value).as_bytes(), value.to_string().as_bytes());
            }
        }
        let mut out = Vec::new();
        signed(&mut out, i64::MIN);
        assert_eq!(out, i64::MIN.to_string().into_bytes());
    }
}
