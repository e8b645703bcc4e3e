//! Placeholders (`{id}`, `{repeat:x:9}`, captured names) and escapes (`\r`, `\x41`) of script text.
//!
//! Braces that name nothing known stay as they are, so that JSON needs no quoting.

use std::collections::HashMap;

/// What placeholders stand for while a script runs.
pub(crate) type Names = HashMap<String, Vec<u8>>;

/// Replaces the placeholders of `text` and leaves its escapes alone.
pub(crate) fn substitute(text: &str, names: &Names) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..open]);
        rest = &rest[open..];
        match placeholder(rest, names) {
            Some((value, used)) => {
                out.extend_from_slice(&value);
                rest = &rest[used..];
            }
            None => {
                out.push(b'{');
                rest = &rest[1..];
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The value of the placeholder that `text` starts with, and how many bytes it takes.
fn placeholder(text: &str, names: &Names) -> Option<(Vec<u8>, usize)> {
    let close = text.find('}')?;
    let name = &text[1..close];
    if let Some(spec) = name.strip_prefix("repeat:") {
        let (what, times) = spec.rsplit_once(':')?;
        return Some((what.as_bytes().repeat(times.parse().ok()?), close + 1));
    }
    Some((names.get(name)?.clone(), close + 1))
}

/// Resolves escapes. `\|` marks a point where the bytes must be cut; its positions are returned.
pub(crate) fn unescape(text: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let mut out = Vec::with_capacity(text.len());
    let mut cuts = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let next = text.get(at + 1).copied().unwrap_or(0);
        let (byte, used) = match (text[at], next) {
            (b'\\', b'r') => (b'\r', 2),
            (b'\\', b'n') => (b'\n', 2),
            (b'\\', b't') => (b'\t', 2),
            (b'\\', b's') => (b' ', 2),
            (b'\\', b'\\') => (b'\\', 2),
            (b'\\', b'x') => match hex(&text[at + 2..]) {
                Some(byte) => (byte, 4),
                None => (b'\\', 1),
            },
            (b'\\', b'|') => {
                cuts.push(out.len());
                at += 2;
                continue;
            }
            (byte, _) => (byte, 1),
        };
        out.push(byte);
        at += used;
    }
    (out, cuts)
}

fn hex(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

/// Bytes made readable for a failure report; long ones are cut in the middle.
pub(crate) fn show(bytes: &[u8]) -> String {
    const EDGE: usize = 600;
    if bytes.len() > 2 * EDGE + 40 {
        let (head, tail) = (&bytes[..EDGE], &bytes[bytes.len() - EDGE..]);
        let left = bytes.len() - 2 * EDGE;
        return format!(
            "{} …{left} bytes… {}",
            head.escape_ascii(),
            tail.escape_ascii()
        );
    }
    bytes
        .escape_ascii()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_braces_are_placeholders() {
        let names = Names::from([("id".to_owned(), b"x1".to_vec())]);
        assert_eq!(
            substitute(r#"{"a":{id}} {nope}"#, &names),
            br#"{"a":x1} {nope}"#
        );
        assert_eq!(substitute("{repeat:ab:3}", &names), b"ababab");
    }

    #[test]
    fn escapes_and_cuts() {
        let (bytes, cuts) = unescape(br"a\r\|\n\x41\s\u003c\\");
        assert_eq!(bytes, b"a\r\nA \\u003c\\");
        assert_eq!(cuts, [2]);
    }
}
