//! The border to the JetStream thread: messages that matched a listener of the core, gathered per
//! read buffer.

use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use crate::jetstream::tag::{AccountId, Inbound, Tag};

/// Takes what connections have for the JetStream core.
pub trait JetStreamInbox: Debug + Send + Sync {
    /// Takes what is in a batch and leaves it empty. Never blocks and never refuses: backpressure is
    /// [`JetStreamInbox::has_room`].
    fn submit(&self, batch: &mut InboundBatch);

    /// The watch `tag` turned. Notices of concurrent changes may overtake each other: what holds
    /// now is what
    /// [`super::RouterHandle::watched`] says.
    fn interest_changed(&self, account: AccountId, tag: Tag);

    /// Whether readers should wait before they read on.
    fn is_full(&self) -> bool;

    /// Completes when the inbox is no longer full.
    fn has_room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Messages in one contiguous buffer. A message that matched several listeners lies in it once.
#[derive(Debug, Default)]
pub struct InboundBatch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    tag: Tag,
    account: AccountId,
    client: u64,
    /// Where the message starts in `bytes`: subject, reply, headers and payload follow each other.
    start: usize,
    subject: u32,
    reply: u32,
    headers: u32,
    payload: u32,
}

impl InboundBatch {
    /// Number of messages, each counted once per listener.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the batch holds.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that it has room for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The messages in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = Inbound<'_>> {
        self.entries.iter().map(|entry| self.inbound(entry))
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Adds a message for one listener.
    pub(super) fn push(&mut self, message: Inbound<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(message.subject);
        self.bytes.extend_from_slice(message.reply);
        self.bytes.extend_from_slice(message.headers);
        self.bytes.extend_from_slice(message.payload);
        self.entries.push(Entry {
            tag: message.tag,
            account: message.account,
            client: message.client,
            start,
            subject: length(message.subject),
            reply: length(message.reply),
            headers: length(message.headers),
            payload: length(message.payload),
        });
    }

    /// Adds the last message once more, for another listener.
    pub(super) fn push_again(&mut self, tag: Tag) {
        if let Some(last) = self.entries.last() {
            self.entries.push(Entry { tag, ..*last });
        }
    }

    fn inbound(&self, entry: &Entry) -> Inbound<'_> {
        let mut at = entry.start;
        let mut cut = |length: u32| {
            let range: Range<usize> = at..at + length as usize;
            at = range.end;
            &self.bytes[range]
        };
        Inbound {
            tag: entry.tag,
            account: entry.account,
            subject: cut(entry.subject),
            reply: cut(entry.reply),
            headers: cut(entry.headers),
            payload: cut(entry.payload),
            client: entry.client,
        }
    }
}

/// Lengths fit: a message's size has at most nine digits.
fn length(bytes: &[u8]) -> u32 {
    bytes.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::tag::TagKind;

    #[test]
    fn messages_come_out_as_they_went_in() {
        let tag = |stream| Tag {
            kind: TagKind::Publish,
            stream,
            consumer: 0,
        };
        let message = |tag, subject: &'static [u8], payload: &'static [u8]| Inbound {
            tag,
            account: 0,
            subject,
            reply: b"r",
            headers: b"",
            payload,
            client: 9,
        };
        let mut batch = InboundBatch::default();
        batch.push(message(tag(1), b"a", b"one"));
        batch.push_again(tag(2));
        batch.push(message(tag(1), b"b.c", b""));
        let seen: Vec<_> = batch
            .iter()
            .map(|m| (m.tag.stream, m.subject, m.payload))
            .collect();
        let expected: [(u32, &[u8], &[u8]); 3] =
            [(1, b"a", b"one"), (2, b"a", b"one"), (1, b"b.c", b"")];
        assert_eq!(seen, expected);
        assert!(batch.iter().all(|m| m.reply == b"r" && m.client == 9));
    }
}
