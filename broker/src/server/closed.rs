//! Connections that have ended, remembered for monitoring: the newest of them, in the order of their end.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::connection::{ClientDetails, Connection, Subscriptions};
use super::counters::Volume;
use super::reason::CloseReason;

/// Subscriptions that are remembered of each; their number is remembered whatever it is.
const SUBSCRIPTIONS_KEPT: usize = 256;

/// What is left of a connection.
#[derive(Debug)]
#[allow(
    missing_docs,
    reason = "the fields of a connection under their own names"
)]
pub struct ClosedConnection {
    pub id: u64,
    pub address: SocketAddr,
    pub started: SystemTime,
    /// When it ended.
    pub stopped: SystemTime,
    pub reason: CloseReason,
    /// Nanoseconds since the server's start, 0 if there was none.
    pub last_activity: u64,
    /// Nanoseconds, 0 if unknown.
    pub rtt: u64,
    pub inbound: Volume,
    pub outbound: Volume,
    pub client: ClientDetails,
    /// How many subscriptions it had.
    pub subscription_count: usize,
    /// Some of them.
    pub subscriptions: Vec<SubscriptionSummary>,
}

/// A subscription as monitoring shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionSummary {
    /// The name of its account.
    pub account: String,
    /// What it listens to.
    pub subject: String,
    /// Its queue group, or empty.
    pub queue: String,
    /// Its number.
    pub sid: String,
    /// Messages delivered.
    pub delivered: u64,
    /// Messages after which it ends, 0 = never.
    pub max: u64,
}

/// The ring of them.
#[derive(Debug)]
pub(super) struct ClosedConnections {
    most: usize,
    ring: Mutex<VecDeque<Arc<ClosedConnection>>>,
}

impl ClosedConnections {
    pub(super) fn new(most: usize) -> Self {
        let ring = Mutex::default();
        Self { most, ring }
    }

    /// Remembers a connection that had these subscriptions, and forgets the oldest one if need be.
    pub(super) fn push(&self, connection: &Connection, subscriptions: &Subscriptions) {
        let Some((reason, stopped)) = connection.closed().filter(|_| self.most > 0) else {
            return;
        };
        let kept = subscriptions.values().take(SUBSCRIPTIONS_KEPT);
        let closed = ClosedConnection {
            id: connection.id,
            address: connection.address,
            started: connection.started,
            stopped,
            reason,
            last_activity: connection.last_activity(),
            rtt: connection.rtt(),
            inbound: connection.traffic.inbound(),
            outbound: connection.traffic.outbound(),
            client: connection.client(),
            subscription_count: subscriptions.len(),
            subscriptions: kept.map(|sub| sub.summary()).collect(),
        };
        let mut ring = self.ring.lock();
        while ring.len() >= self.most && ring.pop_front().is_some() {}
        ring.push_back(Arc::new(closed));
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<ClosedConnection>> {
        self.ring.lock().iter().map(Arc::clone).collect()
    }
}
