//! One client connection as the rest of the server sees it: what to send to it, its subscriptions,
//! its counters.
//!
//! Reading and deciding is the [session](super::session)'s business; this part is shared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::SystemTime;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;

use super::closed::SubscriptionSummary;
use super::counters::Traffic;
use super::outbound::{Accepted, Outbound};
use super::reason::CloseReason;
use super::subscription::Subscription;

pub(super) type Subscriptions = HashMap<Box<[u8]>, Arc<Subscription>, FixedState>;

/// See the module.
#[derive(Debug)]
pub struct Connection {
    /// Its number: unique, growing, never 0.
    pub id: u64,
    /// The client's address.
    pub address: SocketAddr,
    /// When it was accepted.
    pub started: SystemTime,
    /// Its messages and bytes.
    pub traffic: Traffic,
    pub(super) outbound: Outbound,
    /// Whether it takes headers.
    pub(super) headers: AtomicBool,
    /// Whether it gets INFO when something changes: it asked for that and has sent its first PING.
    pub(super) wants_info: AtomicBool,
    pub(super) subscriptions: Mutex<Subscriptions>,
    pub(super) pulse: Pulse,
    client: Mutex<ClientDetails>,
    reason: OnceLock<(CloseReason, SystemTime)>,
}

/// What the client said about itself in CONNECT.
#[derive(Clone, Debug, Default)]
pub struct ClientDetails {
    /// Its name.
    pub name: String,
    /// Its library's language.
    pub lang: String,
    /// Its library's version.
    pub version: String,
    /// The user it logged in as, empty if there is no authentication.
    pub user: String,
    /// The name of its account; empty until it has logged in.
    pub account: String,
}

/// Signs of life, in nanoseconds since the server's start; 0 = never.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Last bytes from the client.
    pub(super) last_read: AtomicU64,
    /// Last PING from the client.
    pub(super) last_ping: AtomicU64,
    /// Last message or subscription in either direction.
    pub(super) last_activity: AtomicU64,
    /// When the PING whose PONG measures the round trip was sent.
    pub(super) ping_sent: AtomicU64,
    /// Round trip time.
    pub(super) rtt: AtomicU64,
    /// Pings without an answer.
    pub(super) unanswered: AtomicU32,
    /// When to send the first ping, set at CONNECT and taken by the writer task.
    pub(super) first_ping: AtomicU64,
    /// The authentication timer no longer runs.
    pub(super) authenticated: AtomicBool,
}

impl Connection {
    pub(super) fn new(
        id: u64,
        address: SocketAddr,
        started: SystemTime,
        socket: OwnedWriteHalf,
        max_pending: usize,
    ) -> Self {
        Self {
            id,
            address,
            started,
            traffic: Traffic::default(),
            outbound: Outbound::new(socket, max_pending),
            headers: AtomicBool::new(false),
            wants_info: AtomicBool::new(false),
            subscriptions: Mutex::default(),
            pulse: Pulse::default(),
            client: Mutex::default(),
            reason: OnceLock::new(),
        }
    }

    /// What the client said about itself.
    pub fn client(&self) -> ClientDetails {
        self.client.lock().clone()
    }

    pub(super) fn set_client(&self, details: ClientDetails) {
        *self.client.lock() = details;
    }

    /// Bytes that wait to be sent.
    pub fn pending(&self) -> usize {
        self.outbound.pending()
    }

    /// Number of subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.lock().len()
    }

    /// Its subscriptions.
    pub fn subscriptions(&self) -> Vec<SubscriptionSummary> {
        let subscriptions = self.subscriptions.lock();
        subscriptions.values().map(|sub| sub.summary()).collect()
    }

    /// Round trip time in nanoseconds, 0 if unknown.
    pub fn rtt(&self) -> u64 {
        self.pulse.rtt.load(Ordering::Relaxed)
    }

    /// The first estimate of the round trip time: from the greeting to CONNECT.
    pub(super) fn measure_rtt(&self) {
        let rtt = super::shared::wall_clock()
            .duration_since(self.started)
            .unwrap_or_default();
        let nanos = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX).max(1);
        // What a ping measured is better.
        let _ = self
            .pulse
            .rtt
            .compare_exchange(0, nanos, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Last activity in nanoseconds since the server's start, 0 if there was none.
    pub fn last_activity(&self) -> u64 {
        self.pulse.last_activity.load(Ordering::Relaxed)
    }

    /// Why and when the connection was closed; `None` while it is open.
    pub fn closed(&self) -> Option<(CloseReason, SystemTime)> {
        self.reason.get().copied()
    }

    /// Sends a batch from anywhere. What does not fit cuts the connection.
    pub(super) fn send(&self, batch: &mut Vec<u8>) -> Accepted {
        let accepted = self.outbound.send(batch);
        if accepted == Accepted::Broken {
            self.close(CloseReason::WriteError);
        }
        accepted
    }

    /// Sends what waits and closes then.
    pub(super) fn close_after_flush(&self, reason: CloseReason) {
        self.set_reason(reason);
        if self.outbound.finish() {
            self.close(reason);
        }
    }

    /// Closes at once. The reader sees the end of the stream and cleans up.
    pub(super) fn close(&self, reason: CloseReason) {
        self.set_reason(reason);
        if let Some(socket) = self.outbound.close() {
            // Fails only if the peer has closed already.
            let _ = SockRef::from(AsRef::<tokio::net::TcpStream>::as_ref(&*socket))
                .shutdown(std::net::Shutdown::Both);
        }
    }

    /// Says why the connection ends, before it does.
    pub(super) fn set_reason(&self, reason: CloseReason) {
        // The first reason is the true one.
        let _ = self.reason.set((reason, super::shared::wall_clock()));
    }

    /// The front of a log line about this connection.
    pub(super) fn label(&self) -> String {
        let client = self.client.lock();
        let mut label = format!("{} - cid:{}", self.address, self.id);
        if client.account.is_empty() {
            return label;
        }
        if !client.version.is_empty() || !client.lang.is_empty() || !client.name.is_empty() {
            label.push_str(&format!(" - \"{}\"", client.tag()));
        }
        if !client.user.is_empty() {
            label.push_str(&format!(" - \"{}/user:{}\"", client.account, client.user));
        }
        label
    }
}

impl ClientDetails {
    /// `v1.2:go:name`, without what is not known.
    fn tag(&self) -> String {
        let version = match self.version.as_str() {
            "" => String::new(),
            version => format!("v{version}"),
        };
        let parts = [version.as_str(), &self.lang, &self.name];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(":")
    }
}
