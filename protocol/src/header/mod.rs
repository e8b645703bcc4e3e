//! Header blocks on plain bytes: `NATS/1.0[ code[ text]]`, then `Key: Value` lines, then a blank line.
//!
//! A block is never trusted to be well formed: readers skip what they cannot understand.

pub mod edit;
pub mod status;

pub use edit::{Headers, remove, remove_prefixed};
pub use status::{Status, no_responders};

/// The version line's text; every block starts with it.
pub const VERSION: &[u8] = b"NATS/1.0";
/// The smallest legal block.
pub const EMPTY: &[u8] = b"NATS/1.0\r\n\r\n";

/// The value of the first header with exactly this name: blanks before it are stripped, blanks after
/// it are kept. `None` if there is none or its line has no end.
#[must_use]
pub fn get<'b>(block: &'b [u8], name: &[u8]) -> Option<&'b [u8]> {
    let at = position(block, name)?;
    let value = &block[at + name.len() + 1..];
    let start = value.iter().position(|&byte| byte != b' ')?;
    let len = memchr::memmem::find(&value[start..], b"\r\n")?;
    Some(&value[start..start + len])
}

/// Where the line of the first header with this name starts.
fn position(block: &[u8], name: &[u8]) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let finder = memchr::memmem::Finder::new(name);
    let mut from = 0;
    while let Some(found) = finder.find(&block[from..]) {
        let at = from + found;
        let starts_line = at >= 2 && &block[at - 2..at] == b"\r\n";
        if starts_line && block.get(at + name.len()) == Some(&b':') {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The headers of a block in order: names as written, values without blanks around them.
pub fn iter(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(block).skip(1).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// The lines of a block without their ends; the blank line ends it.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let len = memchr::memmem::find(rest, b"\r\n")?;
        let line = &rest[..len];
        rest = &rest[len + 2..];
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests;
