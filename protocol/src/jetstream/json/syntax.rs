//! From text to an ordered tree, with Go's complaints about text that is not JSON.
//!
//! Strings without escapes and all raw spans borrow from the text. Repeated keys are kept: the
//! decoder applies them in order, so that the last one wins.

use std::borrow::Cow;

/// How deep arrays and objects may nest. No request needs more than five levels.
const DEPTH_MAX: usize = 256;

/// One JSON value and the bytes it was written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What it is.
    pub kind: Kind<'a>,
    /// The text of the value, without surrounding blanks.
    pub raw: &'a [u8],
}

/// The kinds of JSON values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; its digits are the raw text.
    Number,
    /// A string with its escapes resolved and bad UTF-8 replaced.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Value<'a>>),
    /// An object, with its keys in the order written and repetitions kept.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

impl Kind<'_> {
    /// Go's word for the kind in a type error.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool(_) => "bool",
            Kind::Number => "number",
            Kind::String(_) => "string",
            Kind::Array(_) => "array",
            Kind::Object(_) => "object",
        }
    }
}

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyntaxError {
    /// The text ends inside a value.
    Truncated,
    /// An unexpected character; `offset` is the position behind it.
    Invalid { text: String, offset: usize },
}

/// Reads values from a text, one after the other.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Parser {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Skips blanks and tells whether the text is used up.
    pub(super) fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at == self.text.len()
    }

    /// The complaint about whatever stands at the current position.
    pub(super) fn unexpected<T>(&self, context: &str) -> Parsed<T> {
        let Some((character, width)) = self.character() else {
            return Err(SyntaxError::Truncated);
        };
        let text = format!("invalid character {character} {context}");
        Err(SyntaxError::Invalid {
            text,
            offset: self.at + width,
        })
    }

    /// Reads one value.
    pub(super) fn value(&mut self) -> Parsed<Value<'a>> {
        self.skip_blanks();
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object()?,
            Some(b'[') => self.array()?,
            Some(b'"') => Kind::String(self.string()?),
            Some(b't') => self.literal("true", Kind::Bool(true))?,
            Some(b'f') => self.literal("false", Kind::Bool(false))?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return self.unexpected("looking for beginning of value"),
        };
        Ok(Value {
            kind,
            raw: &self.text[start..self.at],
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn enter(&mut self) -> Parsed<()> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let text = "exceeded max depth".to_owned();
            return Err(SyntaxError::Invalid {
                text,
                offset: self.at,
            });
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    fn object(&mut self) -> Parsed<Kind<'a>> {
        self.enter()?;
        let mut members = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.leave();
            return Ok(Kind::Object(members));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return self.unexpected("looking for beginning of object key string");
            }
            let key = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return self.unexpected("after object key");
            }
            self.at += 1;
            let value = self.value()?;
            members.push((key, value));
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.leave();
                    return Ok(Kind::Object(members));
                }
                _ => return self.unexpected("after object key:value pair"),
            }
        }
    }

    fn array(&mut self) -> Parsed<Kind<'a>> {
        self.enter()?;
        let mut elements = Vec::new();
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.leave();
            return Ok(Kind::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.leave();
                    return Ok(Kind::Array(elements));
                }
                _ => return self.unexpected("after array element"),
            }
        }
    }

    fn literal(&mut self, word: &str, kind: Kind<'a>) -> Parsed<Kind<'a>> {
        for expected in word.chars() {
            if self.peek() != Some(expected as u8) {
                return self.unexpected(&format!(
                    "in literal {word} (expecting {})",
                    quote(expected)
                ));
            }
            self.at += 1;
        }
        Ok(kind)
    }

    fn number(&mut self) -> Parsed<Kind<'a>> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Parsed<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.unexpected("in numeric literal");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Parsed<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                None => return Err(SyntaxError::Truncated),
                Some(b'"') => {
                    let text = String::from_utf8_lossy(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => break,
                Some(0..0x20) => return self.unexpected("in string"),
                Some(_) => self.at += 1,
            }
        }
        self.escaped_string(start).map(Cow::Owned)
    }

    /// The slow way for a string whose first escape stands at the current position.
    fn escaped_string(&mut self, start: usize) -> Parsed<String> {
        let mut bytes = self.text[start..self.at].to_vec();
        loop {
            match self.peek() {
                None => return Err(SyntaxError::Truncated),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&bytes).into_owned());
                }
                Some(b'\\') => {
                    let character = self.escape()?;
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(0..0x20) => return self.unexpected("in string"),
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Parsed<char> {
        let Some(&letter) = self.text.get(self.at + 1) else {
            return Err(SyntaxError::Truncated);
        };
        let character = match letter {
            b'"' | b'\\' | b'/' => letter as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.bad_escape(2)),
        };
        self.at += 2;
        Ok(character)
    }

    /// `\uXXXX`, where two surrogates make one character and a lone one is replaced.
    fn unicode_escape(&mut self) -> Parsed<char> {
        let first = self.hex_unit()?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if first < 0xdc00 && self.text[self.at..].starts_with(b"\\u") {
            let before = self.at;
            let second = self.hex_unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let combined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(combined).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex_unit(&mut self) -> Parsed<u32> {
        let Some(digits) = self.text.get(self.at + 2..self.at + 6) else {
            return Err(SyntaxError::Truncated);
        };
        let mut unit = 0;
        for &digit in digits {
            let Some(nibble) = (digit as char).to_digit(16) else {
                return Err(self.bad_escape(6));
            };
            unit = unit * 16 + nibble;
        }
        self.at += 6;
        Ok(unit)
    }

    fn bad_escape(&self, length: usize) -> SyntaxError {
        let end = (self.at + length).min(self.text.len());
        let sequence = String::from_utf8_lossy(&self.text[self.at..end]);
        let text = format!("invalid escape sequence `{sequence}` in string");
        SyntaxError::Invalid { text, offset: end }
    }

    /// The character at the current position as Go quotes it, and its width in bytes.
    fn character(&self) -> Option<(String, usize)> {
        let rest = &self.text[self.at..];
        let first = *rest.first()?;
        let head = &rest[..rest.len().min(4)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
        };
        match text.chars().next() {
            Some(character) => Some((quote(character), character.len_utf8())),
            None => Some((format!("'\\x{first:02x}'"), 1)),
        }
    }
}

/// A character in single quotes, as Go writes it in its complaints.
fn quote(character: char) -> String {
    match character {
        '\'' => "'\\''".to_owned(),
        '\\' => "'\\\\'".to_owned(),
        '\t' => "'\\t'".to_owned(),
        '\n' => "'\\n'".to_owned(),
        '\r' => "'\\r'".to_owned(),
        '\u{7}' => "'\\a'".to_owned(),
        '\u{8}' => "'\\b'".to_owned(),
        '\u{b}' => "'\\v'".to_owned(),
        '\u{c}' => "'\\f'".to_owned(),
        '\0'..' ' | '\u{7f}' => format!("'\\x{:02x}'", character as u32),
        _ => format!("'{character}'"),
    }
}
