//! The writing side of a connection: sends what producers could not send themselves, and runs the
//! connection's timers (authentication, pings).

// Timers of a connection follow the machine's clock, as its peer's do.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::wire::WireError;
use jetwake_protocol::wire::encode::{self, PING};
use tokio::time::{Instant, Sleep};

use super::connection::Connection;
use super::counters;
use super::outbound::Drained;
use super::reason::CloseReason;
use super::shared::Shared;

/// A round trip time older than this is measured again even if the client is active.
const RTT_TOO_OLD: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Arc<Connection>,
    next_ping: Instant,
    login_until: Option<Instant>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, connection: Arc<Connection>) -> Self {
        let now = Instant::now();
        let login = shared.authenticator.is_required();
        let login_until = login.then(|| now + shared.options.auth_timeout);
        let next_ping = now + shared.options.ping_interval;
        Self {
            shared,
            connection,
            next_ping,
            login_until,
        }
    }

    /// Runs until the connection is closed and everything that was to be sent before is sent.
    pub(super) async fn run(mut self) {
        let mut timer = Box::pin(tokio::time::sleep_until(self.deadline()));
        loop {
            let connection = Arc::clone(&self.connection);
            tokio::select! {
                biased;
                () = connection.outbound.wake.notified() => {}
                () = &mut timer => self.tick(),
            }
            self.drain().await;
            if self.connection.outbound.is_finished() {
                self.connection.close(CloseReason::ClientClosed);
                return;
            }
            self.rearm(&mut timer);
        }
    }

    fn deadline(&self) -> Instant {
        self.login_until
            .map_or(self.next_ping, |login| login.min(self.next_ping))
    }

    fn rearm(&mut self, timer: &mut std::pin::Pin<Box<Sleep>>) {
        let pulse = &self.connection.pulse;
        if pulse.authenticated.load(Ordering::Relaxed) {
            self.login_until = None;
        }
        let first_ping = pulse.first_ping.swap(0, Ordering::Relaxed);
        if first_ping > 0 {
            let delay = first_ping.saturating_sub(self.shared.uptime_nanos());
            self.next_ping = Instant::now() + Duration::from_nanos(delay);
        }
        if timer.deadline() != self.deadline() {
            timer.as_mut().reset(self.deadline());
        }
    }

    /// A timer has run out.
    fn tick(&mut self) {
        let now = Instant::now();
        let authenticated = self.connection.pulse.authenticated.load(Ordering::Relaxed);
        if !authenticated && self.login_until.is_some_and(|until| until <= now) {
            self.login_until = None;
            let label = self.connection.label();
            self.shared
                .logger
                .debug(format_args!("{label} - Authentication Timeout"));
            self.end(
                CloseReason::AuthenticationTimeout,
                WireError::AuthenticationTimeout,
            );
        } else if self.next_ping <= now {
            self.next_ping = now + self.shared.options.ping_interval;
            self.ping();
        }
    }

    /// Sends a ping unless the client has shown itself alive; gives it up if too many went
    /// unanswered.
    fn ping(&self) {
        let pulse = &self.connection.pulse;
        let now = self.shared.uptime_nanos();
        let within = |stamp: u64, limit: Duration| {
            stamp > 0 && u128::from(now.saturating_sub(stamp)) < limit.as_nanos()
        };
        let interval = self.shared.options.ping_interval;
        let rtt_known = pulse.rtt.load(Ordering::Relaxed) > 0
            && within(pulse.ping_sent.load(Ordering::Relaxed), RTT_TOO_OLD);
        let alive = within(pulse.last_read.load(Ordering::Relaxed), interval)
            || within(pulse.last_ping.load(Ordering::Relaxed), interval);
        if rtt_known && alive {
            return;
        }
        if pulse.unanswered.load(Ordering::Relaxed) + 1 > self.shared.options.ping_max {
            let label = self.connection.label();
            let logger = &self.shared.logger;
            logger.debug(format_args!("{label} - Stale Client Connection - Closing"));
            counters::count(&self.shared.incidents.stale_connections);
            return self.end(CloseReason::StaleConnection, WireError::StaleConnection);
        }
        pulse.ping_sent.store(now, Ordering::Relaxed);
        pulse.unanswered.fetch_add(1, Ordering::Relaxed);
        self.connection.send(&mut PING.to_vec());
    }

    fn end(&self, reason: CloseReason, error: WireError<'_>) {
        let mut line = Vec::new();
        encode::err(&mut line, error);
        self.connection.send(&mut line);
        self.connection.close_after_flush(reason);
    }

    /// Sends all that waits.
    async fn drain(&self) {
        let limit = self.shared.options.write_deadline;
        match self.connection.outbound.drain(limit).await {
            Drained::All => {}
            Drained::Broken => self.connection.close(CloseReason::WriteError),
            Drained::Late { count, total } => self.cut_for_deadline(count, total),
        }
    }

    fn cut_for_deadline(&self, chunks: usize, total: usize) {
        counters::count(&self.shared.incidents.slow_consumers);
        let limit = self.shared.options.write_deadline;
        self.shared.logger.info(format_args!(
            "{} - Slow Consumer Detected: WriteDeadline of {limit:?} exceeded with {chunks} chunks \
             of {total} total bytes.",
            self.connection.label()
        ));
        self.connection
            .close(CloseReason::SlowConsumerWriteDeadline);
    }
}
