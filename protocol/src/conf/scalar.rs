//! Values that are no maps and no arrays: the grammar of strings, numbers, dates and variables.

use super::ConfError;
use super::cursor::{Cursor, END, is_blank, is_line_end};
use super::value::Value;
use crate::time::parse_time;

/// What a scalar's text turns out to be.
#[derive(Debug)]
pub(super) enum Scalar {
    Value(Value),
    /// A reference by name, and the line it stands on.
    Variable(String, u32),
}

/// Reads a scalar at the cursor. In an array a number may stand directly before `]`.
pub(super) fn read(cursor: &mut Cursor<'_>, in_array: bool) -> Result<Scalar, ConfError> {
    match cursor.peek() {
        '\'' => raw_string(cursor).map(text),
        '"' => {
            cursor.bump();
            let start = cursor.at();
            quoted_string(cursor, start).map(text)
        }
        '(' => block(cursor).map(text),
        '-' => negative_number(cursor, in_array),
        c if c.is_ascii_digit() => number(cursor, in_array),
        '.' => {
            cursor.bump();
            Err(cursor.error("Floats must start with a digit"))
        }
        c if is_line_end(c) => {
            cursor.bump();
            Err(cursor.error("Expected value but found new line"))
        }
        _ => bare_string(cursor, cursor.at()),
    }
}

fn text(text: String) -> Scalar {
    Scalar::Value(Value::Text(text))
}

fn raw_string(cursor: &mut Cursor<'_>) -> Result<String, ConfError> {
    cursor.bump();
    let start = cursor.at();
    cursor.skip_while(|c| c != '\'' && c != END);
    if cursor.peek() != '\'' {
        return Err(cursor.error("Unexpected EOF."));
    }
    let text = cursor.since(start).to_owned();
    cursor.bump();
    Ok(text)
}

fn quoted_string(cursor: &mut Cursor<'_>, mut start: usize) -> Result<String, ConfError> {
    let mut bytes = Vec::new();
    loop {
        match cursor.peek() {
            '"' => {
                bytes.extend_from_slice(cursor.since(start).as_bytes());
                cursor.bump();
                return Ok(from_bytes(bytes));
            }
            '\\' => {
                bytes.extend_from_slice(cursor.since(start).as_bytes());
                bytes.push(escape(cursor)?);
                start = cursor.at();
            }
            END => return Err(cursor.error("Unexpected EOF.")),
            _ => {
                cursor.bump();
            }
        }
    }
}

/// Text built from `\xHH` escapes need not be UTF-8; then it is repaired.
fn from_bytes(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Reads an escape from its backslash on.
fn escape(cursor: &mut Cursor<'_>) -> Result<u8, ConfError> {
    cursor.bump();
    match cursor.peek() {
        'x' => hex_escape(cursor),
        't' => Ok(accept(cursor, b'\t')),
        'n' => Ok(accept(cursor, b'\n')),
        'r' => Ok(accept(cursor, b'\r')),
        '"' => Ok(accept(cursor, b'"')),
        '\\' => Ok(accept(cursor, b'\\')),
        _ => Err(cursor.unexpected(
            "Invalid escape character ",
            ". Only the following escape characters are allowed: \\xXX, \\t, \\n, \\r, \\\", \\\\.",
        )),
    }
}

fn accept(cursor: &mut Cursor<'_>, byte: u8) -> u8 {
    cursor.bump();
    byte
}

fn hex_escape(cursor: &mut Cursor<'_>) -> Result<u8, ConfError> {
    const EXPECTED: &str = "Expected two hexadecimal digits after '\\x', but";
    cursor.bump();
    for _ in 0..2 {
        if is_line_end(cursor.bump()) {
            return Err(cursor.error(format_args!("{EXPECTED} hit end of line")));
        }
    }
    // Two bytes, also where the text ended or holds longer characters.
    let digits = cursor.last_bytes(2);
    let value = |digit: u8| char::from(digit).to_digit(16);
    match digits {
        [high, low] => value(*high)
            .zip(value(*low))
            .map(|(high, low)| (high << 4 | low) as u8),
        _ => None,
    }
    .ok_or_else(|| {
        let digits = String::from_utf8_lossy(digits);
        cursor.error(format_args!("{EXPECTED} got '{digits}'"))
    })
}

/// Everything between parentheses; the closing one stands alone on its line.
fn block(cursor: &mut Cursor<'_>) -> Result<String, ConfError> {
    cursor.bump();
    let start = cursor.at();
    loop {
        let text = cursor.since(start);
        match cursor.peek() {
            ')' => {
                let alone = text.ends_with('\n');
                cursor.bump();
                if alone && matches!(cursor.peek(), '\n' | END) {
                    return Ok(text.to_owned());
                }
            }
            END => return Err(cursor.error("Unexpected EOF processing block.")),
            _ => {
                cursor.bump();
            }
        }
    }
}

const fn ends_bare_string(c: char) -> bool {
    is_line_end(c) || is_blank(c) || matches!(c, END | ';' | ',' | ']' | '}' | '\'')
}

/// A string without quotes that began at `start` (before the cursor if it looked like a number).
fn bare_string(cursor: &mut Cursor<'_>, mut start: usize) -> Result<Scalar, ConfError> {
    let mut bytes = Vec::new();
    let mut escaped = false;
    while !ends_bare_string(cursor.peek()) {
        if cursor.peek() == '\\' {
            bytes.extend_from_slice(cursor.since(start).as_bytes());
            bytes.push(escape(cursor)?);
            start = cursor.at();
            escaped = true;
        } else {
            cursor.bump();
        }
    }
    bytes.extend_from_slice(cursor.since(start).as_bytes());
    let found = from_bytes(bytes);
    let line = cursor.line();
    if cursor.peek() == '\'' {
        cursor.bump();
        return Ok(text(found));
    }
    if escaped {
        return Ok(text(found));
    }
    if let Some(flag) = flag(&found) {
        return Ok(Scalar::Value(Value::Bool(flag)));
    }
    Ok(match found.strip_prefix('$') {
        Some(name) => Scalar::Variable(name.to_owned(), line),
        None => text(found),
    })
}

fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

const fn ends_number(c: char, in_array: bool) -> bool {
    is_line_end(c) || is_blank(c) || matches!(c, END | ';' | ',' | '}') || (in_array && c == ']')
}

const fn is_unit(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'k' | 'm' | 'g' | 't' | 'p' | 'e')
}

/// A digit is next: a number, a date, an address, or a string after all.
fn number(cursor: &mut Cursor<'_>, in_array: bool) -> Result<Scalar, ConfError> {
    let start = cursor.at();
    cursor.skip_while(|c| c.is_ascii_digit());
    match cursor.peek() {
        '-' => {
            cursor.bump();
            if cursor.at() - start != 5 {
                return Err(cursor.error("All ISO8601 dates must be in full Zulu form."));
            }
            date(cursor, start).map(Scalar::Value)
        }
        '.' => float_or_address(cursor, start),
        c if is_unit(c) => unit(cursor, start, in_array),
        c if ends_number(c, in_array) => integer(cursor.since(start)).map(Scalar::Value),
        _ => {
            cursor.bump();
            bare_string(cursor, start)
        }
    }
}

fn unit(cursor: &mut Cursor<'_>, start: usize, in_array: bool) -> Result<Scalar, ConfError> {
    cursor.bump();
    cursor.skip_while(|c| matches!(c, 'b' | 'B' | 'i' | 'I'));
    if ends_number(cursor.peek(), in_array) {
        return integer(cursor.since(start)).map(Scalar::Value);
    }
    bare_string(cursor, start)
}

fn negative_number(cursor: &mut Cursor<'_>, in_array: bool) -> Result<Scalar, ConfError> {
    let start = cursor.at();
    cursor.bump();
    match cursor.peek() {
        c if c.is_ascii_digit() => {}
        '.' => {
            cursor.bump();
            return Err(cursor.error("Floats must start with a digit, not '.'."));
        }
        _ => return Err(cursor.unexpected("Expected a digit but got ", ".")),
    }
    cursor.skip_while(|c| c.is_ascii_digit());
    match cursor.peek() {
        '.' => float_or_address(cursor, start),
        c if is_unit(c) => unit(cursor, start, in_array),
        _ => integer(cursor.since(start)).map(Scalar::Value),
    }
}

/// The dot after the first digits is next.
fn float_or_address(cursor: &mut Cursor<'_>, start: usize) -> Result<Scalar, ConfError> {
    cursor.bump();
    if !cursor.peek().is_ascii_digit() {
        return Err(cursor.unexpected(
            "Floats must have a digit after the '.', but got ",
            " instead.",
        ));
    }
    cursor.skip_while(|c| c.is_ascii_digit());
    if cursor.peek() == '.' {
        cursor.skip_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-'));
        return Ok(text(cursor.since(start).to_owned()));
    }
    let digits = cursor.since(start);
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Scalar::Value(Value::Float(value))),
        Ok(_) => Err(ConfError(format!("float '{digits}' is out of the range"))),
        Err(_) => Err(ConfError(format!("expected float, but got '{digits}'"))),
    }
}

/// The year and its dash are read.
fn date(cursor: &mut Cursor<'_>, start: usize) -> Result<Value, ConfError> {
    for wanted in "00-00T00:00:00Z".chars() {
        let found = cursor.peek();
        if wanted == '0' && !found.is_ascii_digit() {
            let before = "Expected digit in ISO8601 datetime, but found ";
            return Err(cursor.unexpected(before, " instead."));
        }
        if wanted != '0' && wanted != found {
            let before = format!("Expected '{wanted}' in ISO8601 datetime, but found ");
            return Err(cursor.unexpected(&before, " instead."));
        }
        cursor.bump();
    }
    let date = cursor.since(start);
    let nanos = parse_time(date);
    let nanos = nanos.ok_or_else(|| {
        ConfError(format!(
            "expected Zulu formatted DateTime, but got '{date}'"
        ))
    })?;
    Ok(Value::Date(nanos))
}

/// Digits with an optional sign and unit.
fn integer(text: &str) -> Result<Value, ConfError> {
    let len = text
        .find(|c: char| !c.is_ascii_digit() && c != '-')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(len);
    let number: i64 = digits
        .parse()
        .map_err(|_| ConfError(format!("integer '{text}' is out of the range")))?;
    let factor = unit_factor(&unit.to_ascii_lowercase())
        .ok_or_else(|| ConfError(format!("expected integer, but got '{text}'")))?;
    Ok(Value::Int(number.wrapping_mul(factor)))
}

fn unit_factor(unit: &str) -> Option<i64> {
    let mut letters = unit.chars();
    let Some(prefix) = letters.next() else {
        return Some(1);
    };
    let power = "kmgtpe".find(prefix)? as u32 + 1;
    match letters.as_str() {
        "" => Some(1000i64.pow(power)),
        "b" | "i" | "ib" => Some(1024i64.pow(power)),
        _ => None,
    }
}
