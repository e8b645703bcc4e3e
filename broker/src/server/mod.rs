//! The server's shell: sockets and tasks around the routing core.
//!
//! - `listener` accepts connections; each gets a reader task with a `session` and a `writer`
//!   task.
//! - A session parses a whole read buffer, routes what is published through its [`Deliverer`], and
//!   flushes every touched target once.
//! - `outbound` queues are bounded; who produces tries to write to the target's socket itself.
//! - Messages for JetStream leave through the [`JetStreamInbox`]; its thread answers through a
//!   [`RouterHandle`].
//!
//! Locks (routing table, outbound queue, subscriptions of a connection, registry) are leaves: none
//! is taken while another is held, and none is held during a system call or across an await.

pub(crate) mod auth;
mod closed;
mod connection;
pub(crate) mod counters;
mod deliver;
mod identity;
mod inbox;
mod info;
mod lame_duck;
mod listener;
mod login;
mod neighbours;
pub(crate) mod outbound;
mod publish;
mod read_buffer;
mod reason;
mod router;
mod running;
mod session;
mod shared;
mod subscribe;
mod subscription;
mod trace;
mod user_info;
mod writer;

use std::sync::Arc;

pub use auth::{Authenticator, Login, Permissions};
pub use closed::{ClosedConnection, SubscriptionSummary};
pub use connection::{ClientDetails, Connection};
pub use counters::{Incidents, Traffic, Volume};
pub use deliver::Deliverer;
pub use identity::Identity;
pub use inbox::{InboundBatch, JetStreamInbox};
pub(crate) use listener::bind;
pub use neighbours::{ClusterName, Neighbours};
pub use reason::CloseReason;
pub use router::RouterHandle;
pub(crate) use running::listen_text;
pub use running::{Bound, Running, StartError};
pub use shared::Shared;
pub(crate) use shared::wall_clock;
pub use subscription::Subscription;

use crate::jetstream::tag::Tag;
use crate::routing;

/// Who listens to a subject inside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// The JetStream core.
    JetStream(Tag),
    /// The answer to `$SYS.REQ.USER.INFO`.
    UserInfo,
}

/// An account of the server.
pub type Account = routing::Account<Arc<Subscription>, Listener>;
/// All accounts of the server.
pub type Accounts = routing::Accounts<Arc<Subscription>, Listener>;
type Cache = routing::LookupCache<Arc<Subscription>, Listener>;
type Matches = routing::Matches<Arc<Subscription>, Listener>;
