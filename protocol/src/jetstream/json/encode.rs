//! Writing JSON with Go's escaping: `<`, `>`, `&` and the two Unicode line ends leave as `\u....`.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Compact JSON, except that strings are escaped for HTML as Go does.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut written = 0;
        for (at, character) in fragment.char_indices() {
            let escape = match character {
                '<' => "\\u003c",
                '>' => "\\u003e",
                '&' => "\\u0026",
                '\u{2028}' => "\\u2028",
                '\u{2029}' => "\\u2029",
                _ => continue,
            };
            writer.write_all(&fragment.as_bytes()[written..at])?;
            writer.write_all(escape.as_bytes())?;
            written = at + character.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[written..])
    }
}

/// Appends `value` as JSON to `out`.
///
/// The types of this crate cannot fail to serialise (no map with keys that are not strings, no
/// failing implementation); should a foreign one fail, `out` is left as it was.
pub fn to_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    let before = out.len();
    let mut serializer = Serializer::with_formatter(&mut *out, GoFormatter);
    if value.serialize(&mut serializer).is_err() {
        out.truncate(before);
    }
}
