//! Status lines: the code and text on the version line of a header block.

use super::edit::Headers;
use crate::wire::Sink;

/// The status of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status<'b> {
    /// Three digits, for example 404.
    pub code: u16,
    /// Text after the code; may be empty.
    pub description: &'b [u8],
}

impl<'b> Status<'b> {
    /// Reads the status of a block; `None` if its first line has none.
    #[must_use]
    pub fn parse(block: &'b [u8]) -> Option<Self> {
        let line = super::lines(block).next()?;
        let text = line.strip_prefix(super::VERSION)?.trim_ascii();
        let (digits, description) = text.split_first_chunk::<3>()?;
        let code = digits.iter().try_fold(0u16, |code, byte| {
            byte.is_ascii_digit()
                .then(|| code * 10 + u16::from(byte - b'0'))
        })?;
        if code < 100 || description.first().is_some_and(|&byte| byte != b' ') {
            return None;
        }
        Some(Self {
            code,
            description: description.trim_ascii(),
        })
    }

    /// Appends a block of this status and no headers.
    pub fn write<S: Sink + ?Sized>(self, out: &mut S) {
        Headers::with_status(out, self.code, self.description).end();
    }
}

/// The block without the status on its version line, for storing it as plain headers.
/// The second part is what follows the version text.
#[must_use]
pub fn strip(block: &[u8]) -> (&'static [u8], &[u8]) {
    if !block.starts_with(super::VERSION) {
        return (b"", block);
    }
    let end = memchr::memmem::find(block, b"\r\n").unwrap_or(block.len());
    (super::VERSION, &block[end..])
}

/// Appends the block that tells a requester that nobody listens on `subject`.
pub fn no_responders<S: Sink + ?Sized>(out: &mut S, subject: &[u8]) {
    Headers::with_status(out, 503, b"")
        .add(b"Nats-Subject", subject)
        .end();
}
