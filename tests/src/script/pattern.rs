//! Expected bytes with holes, and the exact match against what came back.
//!
//! Everything outside a hole is compared byte for byte. A hole is `<kind>` or `<kind:name>`; the
//! second form also remembers what it matched. `<` that opens no known kind is an ordinary byte.

use serde_json::{Value, de::StrRead};

use super::text::{self, Names};

/// What a hole accepts.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    /// Any bytes within a line, as few as possible.
    Any,
    /// One or more bytes other than blanks and line ends.
    Token,
    /// Decimal digits.
    Int,
    /// 22 base-62 characters.
    Nuid,
    /// An RFC 3339 time in UTC.
    Time,
    /// A 56-character nkey.
    Nkey,
    /// A JSON value that contains this one.
    Json(Value),
}

#[derive(Debug)]
enum Part {
    Literal(Vec<u8>),
    Hole(Kind, Option<String>),
}

/// A compiled expectation.
#[derive(Debug)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    /// Compiles `text`, whose placeholders are already replaced.
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut at = 0;
        while at < text.len() {
            match hole(&text[at..]) {
                Some((kind, name, used)) => {
                    push_literal(&mut parts, &mut literal);
                    parts.push(Part::Hole(kind, name));
                    at += used;
                }
                None => {
                    literal.push(text[at]);
                    at += 1;
                }
            }
        }
        push_literal(&mut parts, &mut literal);
        Self { parts }
    }

    /// Whether all of `bytes` matches; what named holes matched goes into `names` then.
    pub(crate) fn matches(&self, bytes: &[u8], names: &mut Names) -> bool {
        let mut found = Vec::new();
        if !match_parts(&self.parts, bytes, &mut found) {
            return false;
        }
        names.extend(found);
        true
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &mut Vec<u8>) {
    if !literal.is_empty() {
        let (bytes, _) = text::unescape(&std::mem::take(literal));
        parts.push(Part::Literal(bytes));
    }
}

/// The hole that `text` starts with, its capture name, and its length.
fn hole(text: &[u8]) -> Option<(Kind, Option<String>, usize)> {
    if let Some(body) = text.strip_prefix(b"<json ") {
        let (value, used) = json_prefix(body)?;
        return (body.get(used) == Some(&b'>')).then(|| (Kind::Json(value), None, used + 7));
    }
    let close = text
        .strip_prefix(b"<")?
        .iter()
        .position(|&byte| byte == b'>')?
        + 1;
    let inner = std::str::from_utf8(&text[1..close]).ok()?;
    let (kind, name) = match inner.split_once(':') {
        Some((kind, name)) => (kind, Some(name.to_owned())),
        None => (inner, None),
    };
    Some((simple_kind(kind)?, name, close + 1))
}

fn simple_kind(name: &str) -> Option<Kind> {
    Some(match name {
        "any" => Kind::Any,
        "token" => Kind::Token,
        "int" | "len" | "hlen" => Kind::Int,
        "nuid" => Kind::Nuid,
        "time" => Kind::Time,
        "nkey" => Kind::Nkey,
        _ => return None,
    })
}

/// The JSON value at the start of `bytes` and its length.
fn json_prefix(bytes: &[u8]) -> Option<(Value, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut values = serde_json::StreamDeserializer::<_, Value>::new(StrRead::new(text));
    let value = values.next()?.ok()?;
    Some((value, values.byte_offset()))
}

type Found = Vec<(String, Vec<u8>)>;

fn match_parts(parts: &[Part], bytes: &[u8], found: &mut Found) -> bool {
    match parts.split_first() {
        None => bytes.is_empty(),
        Some((Part::Literal(literal), rest)) => bytes
            .strip_prefix(literal.as_slice())
            .is_some_and(|bytes| match_parts(rest, bytes, found)),
        Some((Part::Hole(kind, name), rest)) => {
            for length in lengths(kind, bytes) {
                let kept = found.len();
                if let Some(name) = name {
                    found.push((name.clone(), bytes[..length].to_vec()));
                }
                if match_parts(rest, &bytes[length..], found) {
                    return true;
                }
                found.truncate(kept);
            }
            false
        }
    }
}

/// The lengths that a hole may take at the start of `bytes`, in the order to try.
fn lengths(kind: &Kind, bytes: &[u8]) -> Vec<usize> {
    let run = |accept: fn(u8) -> bool| bytes.iter().take_while(|&&byte| accept(byte)).count();
    let exactly = |count: usize, right: bool| if right { vec![count] } else { Vec::new() };
    match kind {
        Kind::Any => (0..=run(|byte| byte != b'\r' && byte != b'\n')).collect(),
        Kind::Token => (1..=run(|byte| !byte.is_ascii_whitespace()))
            .rev()
            .collect(),
        Kind::Int => (1..=run(|byte| byte.is_ascii_digit())).rev().collect(),
        Kind::Nuid => exactly(22, run(|byte| byte.is_ascii_alphanumeric()) >= 22),
        Kind::Nkey => exactly(56, run(|byte| byte.is_ascii_alphanumeric()) >= 56),
        Kind::Time => {
            let length = run(|byte| byte.is_ascii_digit() || b"-T:.Z".contains(&byte));
            exactly(length, is_time(&bytes[..length]))
        }
        Kind::Json(wanted) => match json_prefix(bytes) {
            Some((got, used)) => exactly(used, contains(&got, wanted)),
            None => Vec::new(),
        },
    }
}

fn is_time(bytes: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    bytes.len() > SHAPE.len()
        && bytes.ends_with(b"Z")
        && SHAPE.iter().zip(bytes).all(|(&shape, &byte)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

/// Whether `got` has everything `wanted` asks for: objects may have more keys, everything else is
/// equal. A wanted string may itself hold holes; `"<absent>"` asks for a missing key, `<number>`
/// for any number.
fn contains(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (Value::Object(got), Value::Object(wanted)) => {
            wanted
                .iter()
                .all(|(key, value)| match (got.get(key), value.as_str()) {
                    (found, Some("<absent>")) => found.is_none(),
                    (Some(found), _) => contains(found, value),
                    (None, _) => false,
                })
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(g, w)| contains(g, w))
        }
        (Value::Number(_), Value::String(text)) => text == "<number>",
        (Value::String(got), Value::String(wanted)) => {
            got == wanted
                || Pattern::new(wanted.as_bytes()).matches(got.as_bytes(), &mut Names::new())
        }
        _ => got == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, bytes: &str) -> Option<Names> {
        let mut names = Names::new();
        Pattern::new(pattern.as_bytes())
            .matches(bytes.as_bytes(), &mut names)
            .then_some(names)
    }

    #[test]
    fn literals_match_exactly() {
        assert!(check("PONG", "PONG").is_some());
        assert!(check("PONG", "PONG ").is_none());
        assert!(check("a < b <what>", "a < b <what>").is_some());
    }

    #[test]
    fn holes_backtrack_and_capture() {
        let names = check("MSG a 1 <any:reply> <int>", "MSG a 1 $JS.ACK.1 12").unwrap();
        assert_eq!(names["reply"], b"$JS.ACK.1");
        assert!(check("n <int>5", "n 125").is_some());
        assert!(check("n <int>5", "n 126").is_none());
        assert!(check("<time>", "2026-11-24T21:57:00.123Z").is_some());
        assert!(check("<time>", "2026-11-24T21:57:00").is_none());
    }

    #[test]
    fn json_is_a_subset() {
        let got = r#"{"a":1,"b":{"c":"x","d":2},"t":"2026-11-24T21:57:00Z"} "#;
        assert!(
            check(
                r#"<json {"b":{"c":"x"},"t":"<time>","a":"<number>"}> "#,
                got
            )
            .is_some()
        );
        assert!(check(r#"<json {"b":{"c":"y"}}> "#, got).is_none());
        assert!(check(r#"<json {"z":"<absent>"}> "#, got).is_some());
        assert!(check(r#"<json {"a":"<absent>"}> "#, got).is_none());
    }
}
