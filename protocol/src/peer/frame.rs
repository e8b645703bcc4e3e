//! The envelope: 16 bytes in front of every body.
//!
//! The header carries its own checksum, so that its length is only believed when it is what the
//! sender wrote. A byte that no text protocol begins with comes first: whoever speaks something
//! else is recognised by it.

use std::ops::Range;

use super::Kind;

/// The version of the envelope and of the rules of the handshake.
pub const VERSION: u8 = 1;
/// The first byte of every frame.
pub const MARK: u8 = 0xA7;
/// Bytes in front of a body.
pub const HEADER: usize = 16;
/// Largest body before both sides know each other.
pub const MAX_GREETING: usize = 64 << 10;
/// Largest body ever.
pub const MAX_BODY: usize = 256 << 20;

/// Why a stream of frames cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte of a frame is another one: this is not our protocol.
    #[error("not a frame")]
    NotAFrame,
    /// The header does not match its checksum.
    #[error("damaged header")]
    DamagedHeader,
    /// The body does not match its checksum.
    #[error("damaged body")]
    DamagedBody,
    /// The sender speaks another version.
    #[error("version {0} is not spoken here, {VERSION} is")]
    Version(u8),
    /// The body is larger than allowed.
    #[error("a body of {0} bytes is too large")]
    TooLarge(usize),
}

/// A header that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is about.
    pub kind: Kind,
    /// Bytes of the body.
    pub length: usize,
    checksum: u32,
}

impl Header {
    /// Reads the header at the front of `input`; `None` if it is not complete. Bodies up to `max`
    /// are allowed.
    ///
    /// # Errors
    /// When it is none, or one that cannot be accepted.
    pub fn read(input: &[u8], max: usize) -> Result<Option<Self>, FrameError> {
        match input.first() {
            None => return Ok(None),
            Some(&MARK) => {}
            Some(_) => return Err(FrameError::NotAFrame),
        }
        let Some(bytes) = input.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [_, version, kind, _, fields @ ..] = *bytes;
        let [l0, l1, l2, l3, b0, b1, b2, b3, h0, h1, h2, h3] = fields;
        if crc32c::crc32c(&bytes[..HEADER - 4]) != u32::from_le_bytes([h0, h1, h2, h3]) {
            return Err(FrameError::DamagedHeader);
        }
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > max {
            return Err(FrameError::TooLarge(length));
        }
        Ok(Some(Self {
            kind: Kind(kind),
            length,
            checksum: u32::from_le_bytes([b0, b1, b2, b3]),
        }))
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub const fn frame(&self) -> usize {
        HEADER + self.length
    }

    /// Checks the body that follows.
    ///
    /// # Errors
    /// When it is not what the sender wrote.
    pub fn check(&self, body: &[u8]) -> Result<(), FrameError> {
        if body.len() == self.length && crc32c::crc32c(body) == self.checksum {
            Ok(())
        } else {
            Err(FrameError::DamagedBody)
        }
    }
}

/// A whole frame at the front of some input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is about.
    pub kind: Kind,
    /// Where its body is; the frame ends with it.
    pub body: Range<usize>,
}

/// The frame at the front of `input`, checked; `None` if it is not complete.
///
/// # Errors
/// When the input is no frame that can be accepted; nothing behind it can be read then.
pub fn next(input: &[u8], max: usize) -> Result<Option<Found>, FrameError> {
    let Some(header) = Header::read(input, max)? else {
        return Ok(None);
    };
    let range = HEADER..header.frame();
    let Some(body) = input.get(range.clone()) else {
        return Ok(None);
    };
    header.check(body)?;
    Ok(Some(Found {
        kind: header.kind,
        body: range,
    }))
}

/// Appends a frame whose body `write` appends. If that is too large for a frame, nothing is appended
/// and the answer is false.
pub fn append_with(out: &mut Vec<u8>, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let body = &out[start + HEADER..];
    if body.len() > MAX_BODY {
        out.truncate(start);
        return false;
    }
    let header = encode(kind, body);
    out[start..start + HEADER].copy_from_slice(&header);
    true
}

/// Appends a frame with this body, see [`append_with`].
pub fn append(out: &mut Vec<u8>, kind: Kind, body: &[u8]) -> bool {
    out.reserve(HEADER + body.len());
    append_with(out, kind, |out| out.extend_from_slice(body))
}

/// The header of a frame with this body.
fn encode(kind: Kind, body: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&[MARK, VERSION, kind.0, 0]);
    // A body is at most MAX_BODY bytes long.
    header[4..8].copy_from_slice(&(body.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..HEADER - 4]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}
