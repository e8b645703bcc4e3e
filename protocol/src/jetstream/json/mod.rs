//! JSON as the JetStream API speaks it: Go's decoding rules and Go's escaping, texts included.
//!
//! Reading goes in two steps. `syntax` checks the whole text and builds an ordered tree that
//! borrows from it; `decode` fills a request type from the tree through a table of field names.
//! Clients see the texts of both steps inside error 10025, so they are part of the protocol.
//! `encode` writes responses.
//!
//! Must not panic or recurse without a bound, whatever the text.

mod decode;
mod encode;
mod syntax;

pub use decode::{Decode, DecodeError, JsonError, Rules, from_json};
pub(crate) use decode::{decode_object, decode_step, go_quote, object, wire_enum};
pub use encode::to_json;
pub use syntax::{Kind, Value};

#[cfg(test)]
mod tests;
