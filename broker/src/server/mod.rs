//! The server's shell: sockets and tasks around the routing core.
//!
//! - `listener` accepts connections; each gets a reader task with a `session` and a `writer`
//!   task.
//! - A session parses a whole read buffer, routes what is published through its [`Deliverer`], and
//!   flushes every touched target once.
//! - `outbound` queues are bounded; who produces tries to write to the target's socket itself.
//! - `nodes` knows what other nodes listen to; what is for them is gathered by `forward`, what they send is delivered
//!   by `routed`.
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
mod deltas;
mod forward;
mod identity;
mod inbox;
mod info;
mod lame_duck;
mod listener;
mod login;
mod neighbours;
mod nodes;
pub(crate) mod outbound;
mod publish;
mod read_buffer;
mod reason;
mod routed;
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
pub use nodes::{Node, NodeLink};
pub use reason::CloseReason;
pub use router::RouterHandle;
pub(crate) use running::listen_text;
pub use running::{Bound, Running, StartError};
pub use shared::Shared;
pub(crate) use shared::wall_clock;
pub use subscription::Subscription;

use crate::jetstream::tag::{Tag, TagKind};
use crate::routing::{self, Announce};

/// Who listens to a subject inside the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listener {
    /// The JetStream core.
    JetStream(Tag),
    /// The answer to `$SYS.REQ.USER.INFO`.
    UserInfo,
}

/// What other nodes are told about a listener. The names cannot be those of clients' queue groups: one is reserved, the
/// other has a blank.
fn announce(listener: Listener) -> Announce {
    let Listener::JetStream(tag) = listener else {
        return Announce::No;
    };
    match tag.kind {
        // Any node with JetStream answers, this one if it has it.
        TagKind::Api => Announce::One(b"_sys_ api"),
        // Any replica answers, the one here if there is one.
        TagKind::DirectGet => Announce::One(b"_sys_"),
        // The stream's leader listens.
        TagKind::Publish | TagKind::Next | TagKind::Ack | TagKind::FlowControl => Announce::Each,
        TagKind::Deliver => Announce::No,
    }
}

/// An account of the server.
pub type Account = routing::Account<Arc<Subscription>, Listener>;
/// All accounts of the server.
pub type Accounts = routing::Accounts<Arc<Subscription>, Listener>;
type Cache = routing::LookupCache<Arc<Subscription>, Listener>;
type Matches = routing::Matches<Arc<Subscription>, Listener>;
