//! A server for one test, and a raw connection that says what it expects.

use std::time::Duration;

use jetwake::log::Logger;
use jetwake::options::Options;
use jetwake::server::{Bound, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for a slow machine; only failing tests wait for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A quiet connection.
pub(crate) const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
/// A connection as modern clients make it.
pub(crate) const MODERN: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\
     \"no_responders\":true,\"protocol\":1}\r\n";

pub(crate) async fn start(change: impl FnOnce(&mut Options)) -> Running {
    let mut options = Options {
        host: "127.0.0.1".to_owned(),
        port: 0,
        ..Options::default()
    };
    change(&mut options);
    Bound::bind(options, Logger::silent(), None)
        .await
        .unwrap()
        .serve()
}

#[derive(Debug)]
pub(crate) struct Raw {
    socket: TcpStream,
    seen: Vec<u8>,
}

impl Raw {
    /// Connects and reads INFO.
    pub(crate) async fn connect(server: &Running) -> Self {
        Self::connect_with_info(server).await.0
    }

    pub(crate) async fn connect_with_info(server: &Running) -> (Self, serde_json::Value) {
        let socket = TcpStream::connect(server.client_addr()).await.unwrap();
        let mut raw = Self {
            socket,
            seen: Vec::new(),
        };
        let line = raw.line().await;
        let json = line
            .strip_prefix("INFO ")
            .unwrap()
            .strip_suffix(" \r\n")
            .unwrap();
        (raw, serde_json::from_str(json).unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next line with its end.
    pub(crate) async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.seen.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.seen.drain(..=end).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(
                self.fill().await,
                "end of stream after {}",
                self.seen.escape_ascii()
            );
        }
    }

    /// Expects exactly these bytes next.
    pub(crate) async fn expect(&mut self, expected: &str) {
        while self.seen.len() < expected.len() && self.fill().await {}
        let length = expected.len().min(self.seen.len());
        let found: Vec<u8> = self.seen.drain(..length).collect();
        assert_eq!(
            found.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
    }

    /// Sends PING and expects these bytes in front of its PONG.
    pub(crate) async fn expect_before_pong(&mut self, expected: &str) {
        self.send("PING\r\n").await;
        self.expect(&format!("{expected}PONG\r\n")).await;
    }

    /// Expects these bytes and then the end of the stream.
    pub(crate) async fn expect_end(&mut self, expected: &str) {
        while self.fill().await {}
        assert_eq!(
            self.seen.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string()
        );
    }

    /// Reads on; false at the end of the stream.
    async fn fill(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.seen)).await;
        match read {
            Ok(Ok(count)) => count > 0,
            // A reset is an end too: the server closed with input unread.
            Ok(Err(_)) => false,
            Err(_) => panic!("nothing comes after {}", self.seen.escape_ascii()),
        }
    }
}
