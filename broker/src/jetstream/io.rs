//! The border of the JetStream core: what comes in ([`Event`]) and what goes out ([`Outbox`]).
//!
//! The core is one deterministic state machine, `JetStream::handle(now, event, outbox)`. The server, the embedded
//! broker and the simulator run the same code behind this border. Nothing here knows a socket, a thread, a clock
//! or a source of randomness: time comes as an argument, everything else through the outbox.

use std::fmt::Debug;

use bytes::Bytes;
use jetwake_storage::Lsn;

pub use crate::consensus::NodeId;

pub use super::job::{Job, JobDone};
pub use super::tag::{AccountId, Inbound, Tag, TagKind};

/// Nanoseconds since 1970-01-01 UTC, as handed in by the shell. Never goes back within one run.
pub type Timestamp = i64;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A message matched one of the listeners.
    Message(Inbound<'a>),
    /// Everything the journal took before this position is durable (or written, where the operator relaxed it).
    Durable(Lsn),
    /// A deadline reported by [`crate::jetstream::JetStream::deadline`] has passed.
    Tick,
    /// Somebody subscribed to a watched subject, or the last one left.
    Interest {
        /// The watch.
        tag: Tag,
        /// Whether anybody listens now.
        present: bool,
    },
    /// A background job of the store is done.
    Job(JobDone),
    /// The store is poisoned (a write or sync failed): JetStream stops on this node, core NATS goes on.
    StoreFailed(&'a str),
    /// The inbox is empty for now: hand gathered journal batches over, deliver what became deliverable.
    BatchEnd,
    /// Hand gathered journal batches over, but deliver nothing yet: a [`Event::BatchEnd`] follows.
    Seal,
    /// Another node can be reached.
    PeerUp(&'a Peer),
    /// Another node cannot be reached any more.
    PeerDown(NodeId),
    /// Another node's core says something.
    Peer {
        /// Which node.
        from: NodeId,
        /// What [`Outbox::send`] took there.
        frame: &'a Bytes,
    },
    /// The server will stop before long: others should lead what it leads.
    LameDuck,
    /// The server is about to stop: answer waiting pull requests, hand the last state to the journal.
    Shutdown,
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number: an incarnation of the node.
    pub id: NodeId,
    /// Its server name.
    pub name: String,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its JetStream domain, empty if none.
    pub domain: String,
}

/// Which way a frame takes to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// In order with everything else, at once.
    Main,
    /// In order among its own, never in the way of the other.
    Bulk,
}

/// A message that leaves the core.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The account to route in.
    pub account: AccountId,
    /// The subject that subscriptions are looked up with (an inbox, a deliver subject).
    pub route: &'a [u8],
    /// The subject that the subscriber sees: the stored subject for deliveries, otherwise the same as `route`.
    pub subject: &'a [u8],
    /// The reply subject, empty if none.
    pub reply: &'a [u8],
    /// The whole header block, empty if none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For developers.
    Debug,
    /// Normal operation.
    Info,
    /// Something an operator should look at.
    Warn,
    /// Something is lost or refused.
    Error,
}

/// The sink for effects. The shell's implementation routes at once and never blocks.
pub trait Outbox: Debug {
    /// Routes a message inside its account, to client subscriptions and to the core's own listeners alike (those
    /// come back as events). Returns whether any subscription took it.
    fn publish(&mut self, message: Outgoing<'_>) -> bool;

    /// Whether anybody would take a message for `subject`: with `queue` only members of that queue group count,
    /// without it only plain subscriptions.
    fn has_interest(&mut self, account: AccountId, subject: &[u8], queue: Option<&[u8]>) -> bool;

    /// Whether anybody at all, plain or queue, listens to `subject`.
    fn has_any_interest(&mut self, account: AccountId, subject: &[u8]) -> bool;

    /// Adds a listener: messages that match `pattern` come back as [`Event::Message`] with `tag`. Counts as
    /// interest (no 503). A message that matches several listeners comes once for each.
    fn listen(&mut self, account: AccountId, pattern: &[u8], tag: Tag);

    /// Removes one listener.
    fn unlisten(&mut self, account: AccountId, pattern: &[u8], tag: Tag);

    /// Asks for [`Event::Interest`] whenever interest in the literal `subject` appears or disappears (see
    /// [`Outbox::has_interest`] for `queue`; wildcards do not count). Returns whether there is interest now.
    fn watch(&mut self, account: AccountId, subject: &[u8], queue: Option<&[u8]>, tag: Tag)
    -> bool;

    /// Ends a watch.
    fn unwatch(&mut self, account: AccountId, tag: Tag);

    /// Hands a background job of the store (copying to segments, a checkpoint) to another thread. It comes back
    /// as [`Event::Job`].
    fn run(&mut self, job: Job);

    /// The `client` object of advisories for a connection number, as JSON; `None` if it is gone.
    fn client_info(&mut self, client: u64) -> Option<String>;

    /// The name of an account, for advisories; `None` if there is none.
    fn account_name(&mut self, account: AccountId) -> Option<String>;

    /// A random number.
    fn random(&mut self) -> u64;

    /// Sends a frame to another node's core. Lost if the node cannot be reached.
    fn send(&mut self, to: NodeId, lane: Lane, frame: &[u8]);

    /// Writes a line to the server's log.
    fn log(&mut self, level: Level, text: &str);
}
