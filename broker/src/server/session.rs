//! The reading side of a connection: parses what the client sends and acts on it.
//!
//! All operations of one read buffer are handled before anything is flushed. Answers to the client
//! and messages to its own subscriptions go through the same batch, which keeps them in order.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::wire::encode::{self, OK, PONG};
use jetwake_protocol::wire::{
    ClientOp, ClientParser, ConnectOptions, Limits, ParseError, WireError,
};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::auth::Permissions;
use super::connection::Connection;
use super::counters::{self, Volume};
use super::deliver::Deliverer;
use super::info::{self, Occasion};
use super::read_buffer::ReadBuffer;
use super::reason::CloseReason;
use super::shared::Shared;
use super::{Account, trace};

/// Bytes of input that a log line about a protocol error shows.
const SHOWN: usize = 32;
/// How long one read buffer may hold its producer back for consumers that are nearly full.
const STALL_STEP: Duration = Duration::from_millis(5);
const STALL_MAX: Duration = Duration::from_millis(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: Arc<Connection>,
    pub(super) deliverer: Deliverer,
    pub(super) parser: ClientParser,
    pub(super) options: ConnectOptions,
    pub(super) account: Arc<Account>,
    pub(super) permissions: Option<Arc<dyn Permissions>>,
    /// A CONNECT was accepted.
    pub(super) connected: bool,
    /// No login is needed, or it succeeded.
    pub(super) authenticated: bool,
    first_pong_sent: bool,
    /// What this read buffer brought.
    pub(super) received: Volume,
    /// Subscriptions changed or messages came: the client is active.
    pub(super) active: bool,
    pub(super) traces: bool,
}

/// Ends a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) reason: CloseReason,
    /// The last line, if there is one to send.
    pub(super) line: Option<WireError<'static>>,
}

impl End {
    pub(super) fn with_line(reason: CloseReason, line: WireError<'static>) -> Self {
        Self {
            reason,
            line: Some(line),
        }
    }

    pub(super) fn silent(reason: CloseReason) -> Self {
        Self { reason, line: None }
    }
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> Self {
        let reason = match error {
            ParseError::UnknownOperation
            | ParseError::ProtocolViolation
            | ParseError::HeadersNotSupported => CloseReason::ProtocolViolation,
            ParseError::MaxControlLine => CloseReason::MaxControlLineExceeded,
            ParseError::MaxPayload => CloseReason::MaxPayloadExceeded,
        };
        Self {
            reason,
            line: error.answer(),
        }
    }
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, connection: Arc<Connection>) -> Self {
        let limits = Limits {
            max_control_line: shared.options.max_control_line,
            max_payload: shared.options.max_payload,
        };
        Self {
            deliverer: Deliverer::new(Arc::clone(&shared)),
            parser: ClientParser::new(limits),
            options: ConnectOptions::default(),
            account: Arc::clone(shared.accounts.global()),
            permissions: None,
            connected: false,
            authenticated: !shared.authenticator.is_required(),
            first_pong_sent: false,
            received: Volume::default(),
            active: false,
            traces: shared.logger.traces(),
            shared,
            connection,
        }
    }

    /// Reads until the connection ends, and says why it did.
    pub(super) async fn run(mut self, mut socket: OwnedReadHalf) {
        let mut buffer = ReadBuffer::new();
        let end = loop {
            let end = match socket.read_buf(&mut buffer.bytes).await {
                Ok(0) => Some(End::silent(CloseReason::ClientClosed)),
                Ok(_) => {
                    buffer.note_read();
                    self.take(&mut buffer.bytes)
                }
                Err(_) => Some(End::silent(CloseReason::ReadError)),
            };
            self.deliverer.flush();
            if let Some(end) = end {
                break end;
            }
            buffer.prepare(self.parser.needed());
            self.hold_back().await;
        };
        self.finish(end);
    }

    /// Handles everything in the buffer and leaves an unfinished operation at its front.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) -> Option<End> {
        let now = self.shared.uptime_nanos();
        self.connection
            .pulse
            .last_read
            .store(now, Ordering::Relaxed);
        let mut at = 0;
        let end = loop {
            match self.step(&buffer[at..]) {
                Ok(0) => break None,
                Ok(consumed) => at += consumed,
                Err(end) => break Some(end),
            }
        };
        buffer.drain(..at);
        self.account_for(now);
        if let Some(line) = end.and_then(|end| end.line) {
            self.send_err(line);
        }
        end
    }

    /// Handles one operation and returns its length, 0 if it is not complete.
    fn step(&mut self, input: &[u8]) -> Result<usize, End> {
        if !self.authenticated
            && let Some(first) = input.first()
            && !first.eq_ignore_ascii_case(&b'C')
        {
            return Err(self.refuse());
        }
        let parsed = match self.parser.next(input) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => return Ok(0),
            Err(error) => {
                self.log_parse_error(error, input);
                return Err(error.into());
            }
        };
        if self.traces {
            trace::received(&self.shared, &self.connection, &parsed.op);
        }
        match parsed.op {
            ClientOp::Publish(message) => self.publish(&message),
            ClientOp::Subscribe {
                subject,
                queue,
                sid,
            } => self.subscribe(subject, queue, sid),
            ClientOp::Unsubscribe { sid, max } => self.unsubscribe(sid, max),
            ClientOp::Ping => self.ping(),
            ClientOp::Pong => self.pong(),
            ClientOp::Connect(json) => self.connect(json)?,
            ClientOp::Ok => {}
            ClientOp::Info(json) => {
                if serde_json::from_slice::<serde::de::IgnoredAny>(json).is_err() {
                    return Err(End::silent(CloseReason::ProtocolViolation));
                }
            }
            ClientOp::Err(text) => {
                let text = String::from_utf8_lossy(text);
                let label = self.connection.label();
                self.shared
                    .logger
                    .error(format_args!("{label} - Client Error {text}"));
                return Err(End::silent(CloseReason::ParseError));
            }
        }
        Ok(parsed.consumed)
    }

    fn log_parse_error(&self, error: ParseError, input: &[u8]) {
        let start = &input[..input.len().min(SHOWN)];
        match error {
            ParseError::UnknownOperation => self.log_error(format_args!(
                "Client parser ERROR: proto='\"{}\"...'",
                start.escape_ascii()
            )),
            ParseError::ProtocolViolation => {
                self.log_error(format_args!("{error}: \"{}\"", start.escape_ascii()));
            }
            _ => self.log_error(format_args!("{error}")),
        }
    }

    /// An `[ERR]` line about this connection.
    pub(super) fn log_error(&self, text: std::fmt::Arguments<'_>) {
        self.shared
            .logger
            .error(format_args!("{} - {text}", self.connection.label()));
    }

    fn ping(&mut self) {
        let now = self.shared.uptime_nanos();
        self.connection
            .pulse
            .last_ping
            .store(now, Ordering::Relaxed);
        // A PONG says that everything before it has reached whom it concerns.
        self.deliverer.settle(self.connection.id);
        self.say(PONG);
        if !self.connected || std::mem::replace(&mut self.first_pong_sent, true) {
            return;
        }
        if self.options.protocol >= 1 {
            self.connection.wants_info.store(true, Ordering::Relaxed);
            let occasion = Occasion::Connected {
                account: &self.account.name,
                system: self.account.id == super::Accounts::SYSTEM,
            };
            let out = self.deliverer.bytes_for(&self.connection);
            info::append(out, &self.shared, &self.connection, occasion);
        }
    }

    fn pong(&mut self) {
        let pulse = &self.connection.pulse;
        pulse.unanswered.store(0, Ordering::Relaxed);
        let sent = pulse.ping_sent.load(Ordering::Relaxed);
        let rtt = self.shared.uptime_nanos().saturating_sub(sent).max(1);
        pulse.rtt.store(rtt, Ordering::Relaxed);
    }

    /// Adds up what the read buffer brought.
    fn account_for(&mut self, now: u64) {
        let received = std::mem::take(&mut self.received);
        if received.msgs > 0 {
            self.connection.traffic.received(received);
            self.shared.traffic.received(received);
        }
        if received.msgs > 0 || std::mem::take(&mut self.active) {
            self.connection
                .pulse
                .last_activity
                .store(now, Ordering::Relaxed);
        }
    }

    /// Appends `+OK` for a verbose client.
    pub(super) fn send_ok(&mut self) {
        if self.options.verbose {
            self.say(OK);
        }
    }

    /// Appends an `-ERR` line.
    pub(super) fn send_err(&mut self, error: WireError<'_>) {
        if self.traces {
            trace::sent_err(&self.shared, &self.connection, error);
        }
        encode::err(self.deliverer.bytes_for(&self.connection), error);
    }

    /// Appends a line to what the client gets.
    pub(super) fn say(&mut self, line: &[u8]) {
        if self.traces {
            trace::sent(&self.shared, &self.connection, line);
        }
        self.deliverer
            .bytes_for(&self.connection)
            .extend_from_slice(line);
    }

    /// Slows this producer down where its messages pile up: for a moment while a consumer's queue
    /// or the link to another node is nearly full, and for as long as the JetStream inbox is full (its socket then fills, which
    /// the client sees).
    async fn hold_back(&mut self) {
        if let Some(consumer) = self.deliverer.take_stalled()
            && consumer.id != self.connection.id
        {
            self.stall(&consumer).await;
        }
        if self.deliverer.take_stalled_link() {
            counters::count(&self.shared.incidents.stalled_clients);
            // Nothing ends this sooner: links say only when they are full.
            let _ = tokio::time::timeout(STALL_STEP, std::future::pending::<()>()).await;
        }
        if let Some(inbox) = self.shared.inbox.clone()
            && inbox.is_full()
        {
            inbox.has_room().await;
        }
    }

    async fn stall(&self, consumer: &Connection) {
        counters::count(&self.shared.incidents.stalled_clients);
        let mut waited = Duration::ZERO;
        while waited < STALL_MAX && consumer.outbound.is_nearly_full() {
            let relieved = consumer.outbound.relieved.notified();
            if tokio::time::timeout(STALL_STEP, relieved).await.is_ok() {
                return;
            }
            waited += STALL_STEP;
        }
    }

    /// Takes the connection's subscriptions out and closes it. A client that sees the end finds nothing left of it but
    /// what monitoring remembers.
    fn finish(mut self, end: End) {
        self.connection.set_reason(end.reason);
        let subscriptions = self.drop_subscriptions();
        self.deliverer.forget();
        // In this order monitoring never misses it.
        self.shared.remember(&self.connection, &subscriptions);
        self.shared.connections.lock().remove(&self.connection.id);
        self.connection.close_after_flush(end.reason);
        let reason = self
            .connection
            .closed()
            .map_or(end.reason, |(reason, _)| reason);
        if self.shared.logger.debugs() {
            let label = self.connection.label();
            let text = reason.text();
            self.shared
                .logger
                .debug(format_args!("{label} - Client connection closed: {text}"));
        }
    }
}
