//! What an entry of a stream's group says, as bytes: a message, or a control entry. The same content as the journal's
//! record, in the form that travels.
//!
//! ```text
//! message: 1, seq u64, time i64, subject u32 + bytes, headers u32 + bytes, payload (the rest)
//! control: 2, the entry's bytes (the rest)
//! ```

use bytes::Bytes;
use jetwake_storage::Insert;

use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_i64, put_u64};

const MESSAGE: u8 = 1;
const CONTROL: u8 = 2;

/// An entry, borrowed from its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Payload<'a> {
    /// A message, without a place on disk.
    Message(Insert<'a>),
    /// The bytes of an [`Entry`](crate::jetstream::entry::Entry).
    Control(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut into = Vec::with_capacity(self.size());
        match self {
            Self::Message(message) => {
                into.push(MESSAGE);
                put_u64(&mut into, message.seq);
                put_i64(&mut into, message.timestamp);
                put_bytes(&mut into, message.key);
                put_bytes(&mut into, message.headers);
                into.extend_from_slice(message.payload);
            }
            Self::Control(entry) => {
                into.push(CONTROL);
                into.extend_from_slice(entry);
            }
        }
        into.into()
    }

    fn size(&self) -> usize {
        match self {
            Self::Message(message) => {
                25 + message.key.len() + message.headers.len() + message.payload.len()
            }
            Self::Control(entry) => 1 + entry.len(),
        }
    }

    /// Reads an entry.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Reader { rest: bytes };
        Ok(match from.u8()? {
            MESSAGE => Self::Message(Insert {
                seq: from.u64()?,
                timestamp: from.i64()?,
                key: from.bytes()?,
                headers: from.bytes()?,
                payload: from.rest,
                location: None,
            }),
            CONTROL => Self::Control(from.rest),
            _ => return Err(Malformed),
        })
    }
}
