//! What all tasks of a server share.

// The shell reads the clock here, for itself and for the cores.
#![allow(clippy::disallowed_methods)]

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_protocol::nuid::Nuid;
use parking_lot::Mutex;

use super::auth::Authenticator;
use super::closed::{ClosedConnection, ClosedConnections};
use super::connection::{Connection, Subscriptions};
use super::counters::{Incidents, Traffic};
use super::identity::Identity;
use super::inbox::JetStreamInbox;
use super::info::{self, Occasion};
use super::neighbours::{self, Neighbours};
use super::nodes::Nodes;
use super::{Account, Accounts, Listener};
use crate::log::Logger;
use crate::options::Options;
use crate::routing::{Change, SubId};

/// See the module.
#[derive(Debug)]
pub struct Shared {
    /// The settings.
    pub options: Options,
    /// The log.
    pub logger: Logger,
    /// Who this server is.
    pub identity: Identity,
    /// The cluster, as clients see it.
    pub neighbours: Neighbours,
    /// Where clients connect.
    pub address: SocketAddr,
    /// The accounts with their routing tables.
    pub accounts: Accounts,
    /// The other nodes.
    pub(super) nodes: Nodes,
    /// All messages and bytes of clients.
    pub traffic: Traffic,
    /// What went wrong how often.
    pub incidents: Incidents,
    /// When the server started.
    pub started: SystemTime,
    pub(super) authenticator: Box<dyn Authenticator>,
    pub(super) inbox: Option<Arc<dyn JetStreamInbox>>,
    pub(super) connections: Mutex<HashMap<u64, Arc<Connection>, FixedState>>,
    closed: ClosedConnections,
    pub(super) lame_duck: AtomicBool,
    /// Changes that clients have not heard of yet.
    announcing: AtomicU64,
    epoch: Instant,
    next_connection: AtomicU64,
    next_subscription: AtomicU64,
    next_event: AtomicU64,
    random: AtomicU64,
}

/// What a server is made of besides its address.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) logger: Logger,
    pub(super) authenticator: Box<dyn Authenticator>,
    pub(super) inbox: Option<Arc<dyn JetStreamInbox>>,
}

impl Shared {
    pub(super) fn new(parts: Parts, address: SocketAddr) -> Self {
        let accounts = Accounts::default();
        for account in accounts.iter() {
            let listener = Listener::UserInfo;
            account.listen(
                super::user_info::SUBJECT,
                listener,
                super::announce(listener),
            );
        }
        let hasher = RandomState::new();
        let random = [1, 2, 3].map(|number| hasher.hash_one(number));
        let made_up = String::from_utf8_lossy(&Nuid::new(random).next_name()).into_owned();
        let interfaces = neighbours::interfaces();
        Self {
            identity: Identity::new(parts.options.server_name.as_deref()),
            neighbours: Neighbours::new(&parts.options, address.port(), made_up, &interfaces),
            closed: ClosedConnections::new(parts.options.max_closed_clients),
            options: parts.options,
            logger: parts.logger,
            address,
            accounts,
            nodes: Nodes::default(),
            traffic: Traffic::default(),
            incidents: Incidents::default(),
            started: wall_clock(),
            authenticator: parts.authenticator,
            inbox: parts.inbox,
            connections: Mutex::default(),
            lame_duck: AtomicBool::new(false),
            announcing: AtomicU64::new(0),
            epoch: Instant::now(),
            next_connection: AtomicU64::new(1),
            next_subscription: AtomicU64::new(1),
            next_event: AtomicU64::new(1),
            random: AtomicU64::new(hasher.hash_one(0)),
        }
    }

    /// Nanoseconds since the server started, at least 1.
    pub fn uptime_nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    /// A random number, not for secrets.
    pub fn random(&self) -> u64 {
        // SplitMix64: a counter behind a mixer, so that threads need one atomic step.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut mixed = self
            .random
            .fetch_add(STEP, Ordering::Relaxed)
            .wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The open connections.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().map(Arc::clone).collect()
    }

    /// Connections that have ended, the oldest first, as many as are remembered.
    pub fn closed_connections(&self) -> Vec<Arc<ClosedConnection>> {
        self.closed.all()
    }

    /// Remembers a connection that has ended.
    pub(super) fn remember(&self, connection: &Connection, subscriptions: &Subscriptions) {
        self.closed.push(connection, subscriptions);
    }

    /// The open connection with this number.
    pub fn connection(&self, id: u64) -> Option<Arc<Connection>> {
        self.connections.lock().get(&id).map(Arc::clone)
    }

    /// Number of open connections.
    pub fn connection_count(&self) -> usize {
        self.connections.lock().len()
    }

    /// Number of subscriptions.
    pub fn subscription_count(&self) -> usize {
        self.accounts
            .iter()
            .map(|account| account.subscriptions())
            .sum()
    }

    /// Number of subscriptions there ever were.
    pub fn subscriptions_made(&self) -> u64 {
        self.next_subscription.load(Ordering::Relaxed) - 1
    }

    /// Whether the server is leaving: no new connections.
    pub fn is_lame_duck(&self) -> bool {
        self.lame_duck.load(Ordering::Relaxed)
    }

    /// Tells clients that where they can connect has changed.
    pub(crate) fn announce(&self) {
        // One at a time, and again if something changed meanwhile: the last INFO is the newest.
        if self.announcing.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let mut changes = 1;
        while changes > 0 {
            self.tell(Occasion::Changed);
            let done =
                self.announcing
                    .compare_exchange(changes, 0, Ordering::AcqRel, Ordering::Acquire);
            changes = done.err().unwrap_or(0);
        }
    }

    /// Sends INFO to every client that wants to know of changes.
    pub(super) fn tell(&self, occasion: Occasion<'_>) {
        for connection in self.connections() {
            if connection.wants_info.load(Ordering::Relaxed) {
                let mut line = Vec::new();
                info::append(&mut line, self, &connection, occasion);
                connection.send(&mut line);
            }
        }
    }

    pub(crate) fn next_connection_id(&self) -> u64 {
        self.next_connection.fetch_add(1, Ordering::Relaxed)
    }

    /// Numbers what the server itself publishes.
    pub(super) fn next_event_number(&self) -> u64 {
        self.next_event.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_subscription_id(&self) -> SubId {
        SubId(self.next_subscription.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the JetStream thread about watches that turned.
    pub(super) fn report(&self, account: &Account, changes: &[Change<Listener>]) {
        let Some(inbox) = &self.inbox else { return };
        for change in changes {
            if let Listener::JetStream(tag) = change.watch {
                inbox.interest_changed(account.id, tag);
            }
        }
    }
}

/// The time of day.
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
