//! From the tree to a request type, driven by tables of field names.
//!
//! [`object!`] declares the table of a struct: JSON name, field, and the Go type that a complaint
//! names. [`wire_enum!`] declares an enumeration with its words. The first thing wrong ends the
//! decoding.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::syntax::{Kind, Parser, SyntaxError, Value};

/// How lenient a request is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// A stream of values applied one after the other; unknown fields are refused.
    Strict,
    /// The same with unknown fields ignored.
    Lenient,
    /// Exactly one value, unknown fields ignored; complaints carry no offset.
    Single,
}

/// Why a body was not understood. Displays as Go's text, without the `invalid JSON: ` of error
/// 10025.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(String);

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

/// Why a value does not fit its place.
#[derive(Debug)]
pub enum DecodeError {
    /// A complaint of the type itself.
    Text(String),
    /// A value of the wrong type.
    Type {
        /// What stands there.
        found: String,
        /// What belongs there, as Go calls it.
        expected: String,
        /// Where, innermost step first.
        path: Vec<Step>,
    },
}

/// One step on the way to a value.
#[derive(Debug)]
pub enum Step {
    /// Into a field of an object.
    Field(Cow<'static, str>),
    /// Into an element of an array.
    Element(usize),
}

impl DecodeError {
    pub(crate) fn mismatch(value: &Value<'_>, expected: &str) -> Self {
        DecodeError::Type {
            found: value.kind.name().to_owned(),
            expected: expected.to_owned(),
            path: Vec::new(),
        }
    }

    pub(crate) fn inside(mut self, step: Step) -> Self {
        if let DecodeError::Type { path, .. } = &mut self {
            path.push(step);
        }
        self
    }

    fn explain(self, root: &str) -> JsonError {
        let (found, expected, path) = match self {
            DecodeError::Text(text) => return JsonError(text),
            DecodeError::Type {
                found,
                expected,
                path,
            } => (found, expected, path),
        };
        let place = match path.first() {
            None => "Go value".to_owned(),
            Some(last) => {
                let mut place = match last {
                    Step::Field(_) => format!("Go struct field {root}"),
                    Step::Element(_) => root.to_owned(),
                };
                for step in path.iter().rev() {
                    match step {
                        Step::Field(name) => place.push_str(&format!(".{name}")),
                        Step::Element(index) => place.push_str(&format!(".{index}")),
                    }
                }
                place
            }
        };
        JsonError(format!(
            "json: cannot unmarshal {found} into {place} of type {expected}"
        ))
    }
}

/// A place that a JSON value can be put into.
pub trait Decode {
    /// Puts `value` here. `go_type` is what a complaint calls this place; `rules` holds for what is
    /// inside.
    fn decode(&mut self, value: &Value<'_>, go_type: &str, rules: Rules)
    -> Result<(), DecodeError>;
}

/// Reads a request of the Go type `go_type` (`server.Name`, or empty for a nameless one).
pub fn from_json<T: Decode + Default>(
    text: &[u8],
    go_type: &str,
    rules: Rules,
) -> Result<T, JsonError> {
    let root = go_type.strip_prefix("server.").unwrap_or(go_type);
    let mut target = T::default();
    let mut parser = Parser::new(text);
    if rules == Rules::Single {
        let value = parser.value().map_err(explain_single)?;
        if !parser.at_end() {
            parser
                .unexpected::<()>("after top-level value")
                .map_err(explain_single)?;
        }
        target
            .decode(&value, go_type, rules)
            .map_err(|error| error.explain(root))?;
        return Ok(target);
    }
    while !parser.at_end() {
        let value = parser.value().map_err(explain_stream)?;
        target
            .decode(&value, go_type, rules)
            .map_err(|error| error.explain(root))?;
    }
    Ok(target)
}

fn explain_single(error: SyntaxError) -> JsonError {
    match error {
        SyntaxError::Truncated => JsonError("unexpected end of JSON input".to_owned()),
        SyntaxError::Invalid { text, .. } => JsonError(text),
    }
}

fn explain_stream(error: SyntaxError) -> JsonError {
    match error {
        SyntaxError::Truncated => JsonError("unexpected EOF".to_owned()),
        SyntaxError::Invalid { text, offset } => JsonError(format!("{text} at offset {offset}")),
    }
}

/// Decodes the members of an object; `put` is the table of the type.
pub(crate) fn decode_object(
    value: &Value<'_>,
    go_type: &str,
    rules: Rules,
    mut put: impl FnMut(&str, &Value<'_>) -> Option<Result<(), DecodeError>>,
) -> Result<(), DecodeError> {
    let members = match &value.kind {
        Kind::Null => return Ok(()),
        Kind::Object(members) => members,
        _ => return Err(DecodeError::mismatch(value, go_type)),
    };
    for (key, member) in members {
        match put(key, member) {
            Some(result) => result?,
            None if rules == Rules::Strict => {
                return Err(DecodeError::Text(format!(
                    "json: unknown field {}",
                    go_quote(key)
                )));
            }
            None => {}
        }
    }
    Ok(())
}

impl Decode for String {
    fn decode(&mut self, value: &Value<'_>, go_type: &str, _: Rules) -> Result<(), DecodeError> {
        match &value.kind {
            Kind::Null => {}
            Kind::String(text) => {
                self.clear();
                self.push_str(text);
            }
            _ => return Err(DecodeError::mismatch(value, go_type)),
        }
        Ok(())
    }
}

impl Decode for bool {
    fn decode(&mut self, value: &Value<'_>, go_type: &str, _: Rules) -> Result<(), DecodeError> {
        match value.kind {
            Kind::Null => {}
            Kind::Bool(flag) => *self = flag,
            _ => return Err(DecodeError::mismatch(value, go_type)),
        }
        Ok(())
    }
}

macro_rules! decode_integer {
    ($($integer:ty),*) => {$(
        impl Decode for $integer {
            fn decode(
                &mut self,
                value: &Value<'_>,
                go_type: &str,
                _: Rules,
            ) -> Result<(), DecodeError> {
                match value.kind {
                    Kind::Null => return Ok(()),
                    Kind::Number => {}
                    _ => return Err(DecodeError::mismatch(value, go_type)),
                }
                let digits = String::from_utf8_lossy(value.raw);
                match digits.parse() {
                    Ok(number) => *self = number,
                    Err(_) => {
                        return Err(DecodeError::Type {
                            found: format!("number {digits}"),
                            expected: go_type.to_owned(),
                            path: Vec::new(),
                        });
                    }
                }
                Ok(())
            }
        }
    )*};
}

decode_integer!(i32, i64, u64);

impl<T: Decode + Default> Decode for Option<T> {
    fn decode(
        &mut self,
        value: &Value<'_>,
        go_type: &str,
        rules: Rules,
    ) -> Result<(), DecodeError> {
        if value.kind == Kind::Null {
            *self = None;
            return Ok(());
        }
        self.get_or_insert_default().decode(value, go_type, rules)
    }
}

impl<T: Decode + Default> Decode for Vec<T> {
    fn decode(
        &mut self,
        value: &Value<'_>,
        go_type: &str,
        rules: Rules,
    ) -> Result<(), DecodeError> {
        self.clear();
        let elements = match &value.kind {
            Kind::Null => return Ok(()),
            Kind::Array(elements) => elements,
            _ => return Err(DecodeError::mismatch(value, go_type)),
        };
        let element_type = go_type.trim_start_matches("[]").trim_start_matches('*');
        for (index, element) in elements.iter().enumerate() {
            let mut slot = T::default();
            slot.decode(element, element_type, rules)
                .map_err(|error| error.inside(Step::Element(index)))?;
            self.push(slot);
        }
        Ok(())
    }
}

impl Decode for BTreeMap<String, u64> {
    fn decode(
        &mut self,
        value: &Value<'_>,
        go_type: &str,
        rules: Rules,
    ) -> Result<(), DecodeError> {
        decode_map(self, value, go_type, "uint64", rules)
    }
}

impl Decode for BTreeMap<String, String> {
    fn decode(
        &mut self,
        value: &Value<'_>,
        go_type: &str,
        rules: Rules,
    ) -> Result<(), DecodeError> {
        decode_map(self, value, go_type, "string", rules)
    }
}

fn decode_map<T: Decode + Default>(
    map: &mut BTreeMap<String, T>,
    value: &Value<'_>,
    go_type: &str,
    element_type: &str,
    rules: Rules,
) -> Result<(), DecodeError> {
    let members = match &value.kind {
        Kind::Null => {
            map.clear();
            return Ok(());
        }
        Kind::Object(members) => members,
        _ => return Err(DecodeError::mismatch(value, go_type)),
    };
    for (key, member) in members {
        let mut slot = T::default();
        slot.decode(member, element_type, rules)
            .map_err(|error| error.inside(Step::Field(Cow::Owned(key.to_string()))))?;
        map.insert(key.to_string(), slot);
    }
    Ok(())
}

/// A text in double quotes, as Go's `%q` writes it.
pub(crate) fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\0'..' ' | '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", character as u32)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Declares how a struct is decoded: `"json_name" => field: "go type"`, optionally `..inner` for
/// the fields of an embedded struct.
macro_rules! object {
    ($type:ty {
        $($name:literal => $field:ident: $go:literal),* $(,)?
        $(; ..$inner:ident)?
    }) => {
        impl $type {
            /// Decodes the field called `key`, if there is one.
            pub(crate) fn put(
                &mut self,
                key: &str,
                value: &$crate::jetstream::json::Value<'_>,
                rules: $crate::jetstream::json::Rules,
            ) -> Option<Result<(), $crate::jetstream::json::DecodeError>> {
                $(if key.eq_ignore_ascii_case($name) {
                    let result = $crate::jetstream::json::Decode::decode(
                        &mut self.$field, value, $go, rules,
                    );
                    return Some(result.map_err(|error| {
                        error.inside($crate::jetstream::json::decode_step($name))
                    }));
                })*
                $(if let Some(result) = self.$inner.put(key, value, rules) {
                    return Some(result);
                })?
                None
            }
        }

        impl $crate::jetstream::json::Decode for $type {
            fn decode(
                &mut self,
                value: &$crate::jetstream::json::Value<'_>,
                go_type: &str,
                rules: $crate::jetstream::json::Rules,
            ) -> Result<(), $crate::jetstream::json::DecodeError> {
                $crate::jetstream::json::decode_object(value, go_type, rules, |key, member| {
                    self.put(key, member, rules)
                })
            }
        }
    };
}

/// Declares an enumeration with its words; the first variant is the default. The complaint about
/// any other value is made by the function after `else`, from the raw text of the value.
macro_rules! wire_enum {
    (
        $(#[$meta:meta])*
        pub enum $type:ident {
            $(#[$first_meta:meta])* $first:ident = $first_word:literal $(| $first_other:literal)*,
            $($(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $other:literal)*),* $(,)?
        }
        else $complain:path
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $(#[$first_meta])* $first,
            $($(#[$variant_meta])* $variant),*
        }

        impl Default for $type {
            fn default() -> Self {
                $type::$first
            }
        }

        impl $type {
            /// The word in JSON.
            pub fn as_str(self) -> &'static str {
                match self {
                    $type::$first => $first_word,
                    $($type::$variant => $word),*
                }
            }

            /// Whether this is the default.
            pub fn is_default(&self) -> bool {
                *self == $type::default()
            }

            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word {
                    $first_word $(| $first_other)* => Some($type::$first),
                    $($word $(| $other)* => Some($type::$variant),)*
                    _ => None,
                }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::jetstream::json::Decode for $type {
            fn decode(
                &mut self,
                value: &$crate::jetstream::json::Value<'_>,
                _: &str,
                _: $crate::jetstream::json::Rules,
            ) -> Result<(), $crate::jetstream::json::DecodeError> {
                // Words are compared as written: an escaped letter does not match.
                let raw = String::from_utf8_lossy(value.raw);
                let word = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                match word.and_then(Self::from_word) {
                    Some(variant) => {
                        *self = variant;
                        Ok(())
                    }
                    None => Err($crate::jetstream::json::DecodeError::Text($complain(&raw))),
                }
            }
        }
    };
}

pub(crate) use {object, wire_enum};

/// A step into a field, for the tables of [`object!`].
pub(crate) fn decode_step(name: &'static str) -> Step {
    Step::Field(Cow::Borrowed(name))
}
