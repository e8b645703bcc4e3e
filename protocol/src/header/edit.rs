//! Building header blocks and copying them without some of their lines.

use crate::wire::Sink;
use crate::wire::encode::{CRLF, number};

/// Appends a header block to a buffer: the version line, headers, and the blank line at [`Self::end`].
#[derive(Debug)]
pub struct Headers<'o, S: Sink + ?Sized> {
    out: &'o mut S,
}

impl<'o, S: Sink + ?Sized> Headers<'o, S> {
    /// Starts a block without a status.
    pub fn start(out: &'o mut S) -> Self {
        out.put(super::VERSION);
        out.put(CRLF);
        Self { out }
    }

    /// Starts a block with a status.
    pub fn with_status(out: &'o mut S, code: u16, description: &[u8]) -> Self {
        out.put(super::VERSION);
        out.put(b" ");
        number(out, code.into());
        if !description.is_empty() {
            out.put(b" ");
            out.put(description);
        }
        out.put(CRLF);
        Self { out }
    }

    /// Starts from another block: its lines are copied, its end is left open.
    pub fn copied(out: &'o mut S, block: &[u8]) -> Self {
        if block.is_empty() {
            return Self::start(out);
        }
        out.put(block.strip_suffix(CRLF).unwrap_or(block));
        Self { out }
    }

    /// Appends `Name: value`.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        self.out.put(name);
        self.out.put(b": ");
        self.out.put(value);
        self.out.put(CRLF);
        self
    }

    /// Appends `Name: number`.
    pub fn add_number(&mut self, name: &[u8], value: u64) -> &mut Self {
        self.out.put(name);
        self.out.put(b": ");
        number(self.out, value);
        self.out.put(CRLF);
        self
    }

    /// Appends the blank line.
    pub fn end(&mut self) {
        self.out.put(CRLF);
    }
}

/// Appends a block without the headers of this exact name. Nothing is appended if no header is left
/// and the block has no status: the message then goes without headers.
pub fn remove<S: Sink + ?Sized>(out: &mut S, block: &[u8], name: &[u8]) {
    retain(out, block, |key| key != name);
}

/// Like [`remove`] for all headers whose name starts with `prefix`.
pub fn remove_prefixed<S: Sink + ?Sized>(out: &mut S, block: &[u8], prefix: &[u8]) {
    retain(out, block, |key| !key.starts_with(prefix));
}

fn retain<S: Sink + ?Sized>(out: &mut S, block: &[u8], keep: impl Fn(&[u8]) -> bool) {
    let name_of = |line: &[u8]| {
        let len = memchr::memchr(b':', line).unwrap_or(line.len());
        keep(&line[..len])
    };
    let first = super::lines(block).next().unwrap_or_default();
    if first == super::VERSION && !super::lines(block).skip(1).any(name_of) {
        return;
    }
    for (at, line) in super::lines(block).enumerate() {
        if at == 0 || name_of(line) {
            out.put(line);
            out.put(CRLF);
        }
    }
    out.put(CRLF);
}
