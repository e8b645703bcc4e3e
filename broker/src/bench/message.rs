//! A received message and the few fields that a measurement takes out of it, in place.

use memchr::{memchr, memchr_iter, memrchr};

/// A message, borrowed from the client's read buffer. Its line is read only as far as it is asked
/// for: most measurements need the payload alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `MSG subject sid [reply] size`, or HMSG's, without its line feed.
    pub line: &'a [u8],
    /// The header block; empty for none.
    pub headers: &'a [u8],
    /// The body.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The subject it was sent to.
    pub(super) fn subject(&self) -> &'a [u8] {
        self.fields().nth(1).unwrap_or_default()
    }

    /// Where to answer; empty for none.
    #[inline]
    pub(super) fn reply(&self) -> &'a [u8] {
        const SPACES: usize = 3;
        let head = self.head();
        match memrchr(b' ', head) {
            Some(at) if memchr_iter(b' ', head).count() == SPACES => &head[at + 1..],
            _ => &[],
        }
    }

    /// The stream sequence in the ack subject of a delivery.
    #[inline]
    pub(super) fn stream_sequence(&self) -> Option<u64> {
        stream_sequence(self.head())
    }

    /// The line without its sizes: the reply subject stands at its end.
    #[inline]
    fn head(&self) -> &'a [u8] {
        let sizes = if self.line.first() == Some(&b'H') {
            2
        } else {
            1
        };
        let mut head = self.line;
        for _ in 0..sizes {
            head = &head[..memrchr(b' ', head).unwrap_or_default()];
        }
        head
    }

    /// The number in the first header line (`NATS/1.0 503`), when there is one.
    pub(super) fn status(&self) -> Option<u16> {
        let rest = self.headers.strip_prefix(b"NATS/1.0 ")?;
        std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
    }

    /// The value of a header, with the name as the server writes it.
    pub(super) fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.headers.split(|byte| *byte == b'\n').find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(b":")?;
            Some(value.trim_ascii())
        })
    }

    fn fields(&self) -> impl Iterator<Item = &'a [u8]> {
        self.line
            .split(|byte| *byte == b' ' || *byte == b'\r')
            .filter(|field| !field.is_empty())
    }
}

/// Sizes of the header block and of all, from the end of a MSG or HMSG line.
#[inline]
pub(super) fn sizes(line: &[u8]) -> Option<(usize, usize)> {
    let line = line.strip_suffix(b"\r")?;
    let at = memrchr(b' ', line)?;
    let total = decimal(&line[at + 1..])?;
    if line[0] == b'M' {
        return Some((0, total));
    }
    let rest = &line[..at];
    let header = decimal(&rest[memrchr(b' ', rest)? + 1..])?;
    (header <= total).then_some((header, total))
}

/// The number that these digits are.
#[inline]
pub(super) fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Appends a number.
pub(super) fn push_decimal(output: &mut Vec<u8>, value: usize) {
    let mut digits = [0; 20];
    let mut rest = value;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    output.extend_from_slice(&digits[at..]);
}

/// Writes a number with leading zeros over the whole of `place`.
#[inline]
pub(super) fn write_padded(place: &mut [u8], value: u64) {
    let mut rest = value;
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// The stream sequence in an ack subject, whose last tokens are `<delivered>.<stream sequence>.
/// <consumer sequence>.<time>.<pending>` in both of its versions. (The second version may end in
/// one more token; servers send it on request only, and this program does not ask.)
#[inline]
fn stream_sequence(ack_subject: &[u8]) -> Option<u64> {
    let mut rest = ack_subject;
    for _ in 0..3 {
        rest = &rest[..memrchr(b'.', rest)?];
    }
    let token = &rest[memrchr(b'.', rest)? + 1..];
    decimal(token).map(|value| value as u64)
}

/// The sequence in a PubAck. Servers write it as `{"stream":"S","seq":3...`; any other JSON is read
/// slowly.
#[inline]
pub(super) fn ack_sequence(payload: &[u8]) -> Option<u64> {
    let usual = || {
        let rest = payload.strip_prefix(b"{\"stream\":\"")?;
        let rest = &rest[memchr(b'"', rest)?..];
        let rest = rest.strip_prefix(b"\",\"seq\":")?;
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        decimal(&rest[..len]).map(|value| value as u64)
    };
    usual().or_else(|| {
        let json: serde_json::Value = serde_json::from_slice(payload).ok()?;
        json.get("error").is_none().then(|| json["seq"].as_u64())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(line: &'a [u8], headers: &'a [u8]) -> Message<'a> {
        Message {
            line,
            headers,
            payload: b"",
        }
    }

    #[test]
    fn sizes_stand_at_the_end() {
        assert_eq!(sizes(b"MSG a.b 7 5\r"), Some((0, 5)));
        assert_eq!(sizes(b"HMSG a.b 7 reply.to 12 17\r"), Some((12, 17)));
        assert_eq!(sizes(b"HMSG a 1 5\r"), Some((1, 5)));
        for line in [
            &b"MSG\r"[..],
            b"MSG a 1 x\r",
            b"MSG a 1 5",
            b"HMSG a 1 9 5\r",
        ] {
            assert_eq!(sizes(line), None);
        }
    }

    #[test]
    fn fields_are_found_with_and_without_reply() {
        assert_eq!(message(b"MSG a.b 7 5\r", b"").reply(), b"");
        assert_eq!(message(b"MSG a.b 7 to 5\r", b"").reply(), b"to");
        assert_eq!(message(b"HMSG a.b 7 1 5\r", b"x").reply(), b"");
        let full = message(
            b"HMSG a.b 7 to 12 17\r",
            b"NATS/1.0 408 X\r\nA-B: c d\r\n\r\n",
        );
        assert_eq!((full.subject(), full.reply()), (&b"a.b"[..], &b"to"[..]));
        assert_eq!(full.status(), Some(408));
        assert_eq!(full.header(b"A-B"), Some(&b"c d"[..]));
        assert_eq!(full.header(b"A"), None);
    }

    #[test]
    fn sequences_are_found() {
        assert_eq!(
            stream_sequence(b"$JS.ACK.S.C.1.42.7.1700000000000000000.0"),
            Some(42)
        );
        assert_eq!(stream_sequence(b"reply"), None);
        let line = b"MSG a.b 1 $JS.ACK.S.C.1.42.7.1700000000000000000.0 128\r";
        assert_eq!(message(line, b"").stream_sequence(), Some(42));
        assert_eq!(ack_sequence(b"{\"stream\":\"S\",\"seq\":3}"), Some(3));
        assert_eq!(
            ack_sequence(b"{\"stream\":\"S\", \"seq\": 12,\"batch\":\"b\",\"count\":3}"),
            Some(12)
        );
        assert_eq!(
            ack_sequence(b"{\"error\":{\"code\":503},\"stream\":\"S\",\"seq\":0}"),
            None
        );
        assert_eq!(ack_sequence(b""), None);
    }

    #[test]
    fn numbers_are_written() {
        let mut output = Vec::new();
        push_decimal(&mut output, 0);
        push_decimal(&mut output, 1_204);
        assert_eq!(output, b"01204");
        let mut place = *b"xxxx";
        write_padded(&mut place, 37);
        assert_eq!(&place, b"0037");
    }
}
