//! Messages for subscriptions on another node, in one account.
//!
//! The receiver gives each message to all its plain subscriptions that match, to exactly one of its members of
//! each queue group that is named, and never to other nodes.

use super::fields::{self, BodyError, Reader};

/// Subscriptions are looked up with another subject than the one they see.
const ROUTE: u8 = 1;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'b> {
    /// The subject that subscriptions are looked up with.
    pub route: &'b [u8],
    /// The subject that they see.
    pub subject: &'b [u8],
    /// The reply subject, empty if none.
    pub reply: &'b [u8],
    /// The whole header block, empty if none.
    pub headers: &'b [u8],
    /// The payload.
    pub payload: &'b [u8],
}

/// The queue groups that a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues<'b> {
    count: u32,
    names: &'b [u8],
}

/// A body that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Messages<'b> {
    /// The account's name.
    pub account: &'b [u8],
    rest: &'b [u8],
}

impl<'b> Messages<'b> {
    /// Begins a body.
    pub fn begin(out: &mut Vec<u8>, account: &[u8]) {
        fields::bytes(out, account);
    }

    /// Appends a message for `queues` to a body that was begun.
    pub fn append<'q>(
        out: &mut Vec<u8>,
        message: &Message<'_>,
        queues: impl Iterator<Item = &'q [u8]>,
    ) {
        let same = message.route == message.subject;
        out.push(if same { 0 } else { ROUTE });
        fields::bytes(out, message.subject);
        if !same {
            fields::bytes(out, message.route);
        }
        fields::bytes(out, message.reply);
        fields::bytes(out, message.headers);
        fields::bytes(out, message.payload);
        let at = out.len();
        out.extend_from_slice(&0_u32.to_le_bytes());
        let mut count = 0_u32;
        for queue in queues {
            fields::bytes(out, queue);
            count += 1;
        }
        out[at..at + 4].copy_from_slice(&count.to_le_bytes());
    }

    /// Reads a body up to its messages.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(body: &'b [u8]) -> Result<Self, BodyError> {
        let mut reader = Reader(body);
        let account = reader.bytes()?;
        Ok(Self {
            account,
            rest: reader.0,
        })
    }

    /// The messages in their order; the last one may be an error.
    pub fn messages(
        &self,
    ) -> impl Iterator<Item = Result<(Message<'b>, Queues<'b>), BodyError>> + use<'b> {
        let mut reader = Reader(self.rest);
        std::iter::from_fn(move || {
            if reader.0.is_empty() {
                return None;
            }
            let message = message(&mut reader);
            if message.is_err() {
                reader.0 = &[];
            }
            Some(message)
        })
    }
}

impl<'b> Queues<'b> {
    /// Their names.
    pub fn iter(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let mut reader = Reader(self.names);
        // They were counted when the message was read.
        (0..self.count).map_while(move |_| reader.bytes().ok())
    }
}

fn message<'b>(reader: &mut Reader<'b>) -> Result<(Message<'b>, Queues<'b>), BodyError> {
    let flags = reader.u8()?;
    if flags & !ROUTE != 0 {
        return Err(BodyError::Unknown);
    }
    let subject = reader.bytes()?;
    let route = if flags & ROUTE != 0 {
        reader.bytes()?
    } else {
        subject
    };
    let message = Message {
        route,
        subject,
        reply: reader.bytes()?,
        headers: reader.bytes()?,
        payload: reader.bytes()?,
    };
    let count = reader.u32()?;
    let names = reader.0;
    for _ in 0..count {
        // Each needs at least its length: a lie about the count ends early.
        reader.bytes()?;
    }
    let names = &names[..names.len() - reader.0.len()];
    Ok((message, Queues { count, names }))
}
