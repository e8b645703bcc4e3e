//! The first frames of a connection, before it is a link.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jetwake_protocol::peer::{FrameError, Hello, Kind, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Longest time to wait for the other side to take note of the last words.
const GOODBYE: Duration = Duration::from_secs(1);
/// Longest line of another protocol that is looked at.
const LINE_MAX: usize = 4096;

/// A connection whose other side is not known yet.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) reader: OwnedReadHalf,
    pub(super) writer: OwnedWriteHalf,
    pub(super) buffer: BytesMut,
}

/// Why there was no frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoFrame {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the other side closed the connection")]
    Closed,
    #[error("{0}")]
    Frame(FrameError),
    /// The line of some other protocol.
    #[error("the other side speaks another protocol")]
    Foreign(String),
}

impl Greeting {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Only a latency setting, and a connection that is broken already shows on the first read.
        let _ = stream.set_nodelay(true);
        let (reader, writer) = stream.into_split();
        Self {
            reader,
            writer,
            buffer: BytesMut::new(),
        }
    }

    pub(super) async fn hello(&mut self, hello: &Hello) -> io::Result<()> {
        let mut bytes = Vec::new();
        hello.append(&mut bytes);
        self.writer.write_all(&bytes).await
    }

    /// The next frame.
    pub(super) async fn frame(&mut self) -> Result<(Kind, Bytes), NoFrame> {
        loop {
            match frame::next(&self.buffer, frame::MAX_GREETING) {
                Ok(Some(found)) => {
                    let frame = self.buffer.split_to(found.body.end).freeze();
                    return Ok((found.kind, frame.slice(found.body)));
                }
                Ok(None) => {}
                Err(FrameError::NotAFrame) => return Err(self.foreign().await),
                Err(error) => return Err(NoFrame::Frame(error)),
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Err(NoFrame::Closed);
            }
        }
    }

    async fn foreign(&mut self) -> NoFrame {
        while !self.buffer.contains(&b'\n') && self.buffer.len() < LINE_MAX {
            match self.reader.read_buf(&mut self.buffer).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return NoFrame::Io(error),
            }
        }
        let line = self.buffer[..].split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default().trim_ascii_end();
        NoFrame::Foreign(String::from_utf8_lossy(line).into_owned())
    }

    /// Says why not, in a frame, and closes when that was read.
    pub(super) async fn refuse(self, reason: &str) {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, Kind::REFUSED, reason.as_bytes());
        self.part(&bytes).await;
    }

    /// Sends the last words and closes when the other side has read them: an end with something
    /// unread would take them back.
    pub(super) async fn part(mut self, words: &[u8]) {
        let farewell = async {
            self.writer.write_all(words).await?;
            self.writer.shutdown().await?;
            while self.reader.read_buf(&mut self.buffer).await? > 0 {
                self.buffer.clear();
            }
            io::Result::Ok(())
        };
        // Whoever does not wait for the words does not get them.
        let _ = tokio::time::timeout(GOODBYE, farewell).await;
    }
}
