//! One client connection of a script: writes with chosen cuts, reads one protocol item at a time.
//!
//! An item is a control line, for MSG and HMSG together with its payload and line end, as the
//! server sent it. Sizes are checked here: a payload that does not end where its size says is an
//! error.

// This is a shell: it owns a socket and its deadline.
#![allow(clippy::disallowed_methods)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// Control line and payload, without the final CR LF.
    Bytes(Vec<u8>),
    /// The server closed the connection; what came without a line end before it.
    End(Vec<u8>),
    /// Nothing complete within the deadline; what came so far.
    Nothing(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

/// Cutting every byte of a huge payload proves nothing more than cutting its edges.
const CUT_EDGE: usize = 2048;
/// How long one send may stand back for the server between its cuts, all together: on a busy machine each time may take
/// as long as everybody else wants, and the server's own timers go on meanwhile.
const STAND_BACK: Duration = Duration::from_millis(20);

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: Vec::new(),
        })
    }

    /// Writes `bytes` cut at `cuts`. A connection that the server has closed takes everything in
    /// silence: the script sees the end when it reads.
    pub(crate) fn send(&mut self, bytes: &[u8], cuts: &[usize]) {
        let (mut start, mut stood_back) = (0, Duration::ZERO);
        for &cut in cuts.iter().chain([&bytes.len()]) {
            if cut > start && self.stream.write_all(&bytes[start..cut]).is_err() {
                return;
            }
            start = cut;
            if stood_back < STAND_BACK {
                let begin = Instant::now();
                std::thread::yield_now();
                stood_back += begin.elapsed();
            }
        }
    }

    /// Where `bytes` is cut when every byte comes alone.
    pub(crate) fn every_byte(bytes: &[u8]) -> Vec<usize> {
        (1..bytes.len())
            .filter(|&at| at < CUT_EDGE || at + CUT_EDGE > bytes.len())
            .collect()
    }

    pub(crate) fn close(&mut self) {
        // Closed already is as good.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// The next item, waiting for it at most `limit`.
    pub(crate) fn item(&mut self, limit: Duration) -> Result<Item, String> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(length) = complete(&self.input)? {
                let mut bytes: Vec<u8> = self.input.drain(..length).collect();
                bytes.truncate(length - 2);
                return Ok(Item::Bytes(bytes));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Item::Nothing(self.input.clone()));
            }
            if !self.fill(left)? {
                return Ok(Item::End(std::mem::take(&mut self.input)));
            }
        }
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self, limit: Duration) -> Result<bool, String> {
        self.stream
            .set_read_timeout(Some(limit))
            .map_err(|e| e.to_string())?;
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(read) => {
                self.input.extend_from_slice(&buffer[..read]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(false),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(true),
                _ => Err(format!("read failed: {error}")),
            },
        }
    }
}

/// The length of the first item with its line end, if all of it is there.
fn complete(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(newline) = input.iter().position(|&byte| byte == b'\n') else {
        return Ok(None);
    };
    let line = input[..newline]
        .strip_suffix(b"\r")
        .ok_or_else(|| format!("a line without CR: {}", input[..newline].escape_ascii()))?;
    if !line.starts_with(b"MSG ") && !line.starts_with(b"HMSG ") {
        return Ok(Some(newline + 1));
    }
    let size: usize = line
        .rsplit(|&byte| byte == b' ')
        .next()
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok())
        .ok_or_else(|| format!("no size in {}", line.escape_ascii()))?;
    let end = newline + 1 + size + 2;
    match input.get(end - 2..end) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some(end)),
        Some(_) => Err(format!(
            "the payload's size is wrong: {}",
            input[..end].escape_ascii()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_cut_by_their_size() {
        assert_eq!(complete(b"PON"), Ok(None));
        assert_eq!(complete(b"PONG\r\nPING"), Ok(Some(6)));
        assert_eq!(complete(b"MSG a 1 2\r\nhi"), Ok(None));
        assert_eq!(complete(b"MSG a 1 2\r\nhi\r\nPONG\r\n"), Ok(Some(15)));
        assert!(complete(b"MSG a 1 2\r\nhi!\r\n").is_err());
        assert!(complete(b"PONG\n").is_err());
    }
}
