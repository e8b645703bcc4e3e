//! What the router and the JetStream core share: the names of the core's listeners, and the
//! messages that reach them.

/// An account of this server. `$G` is 0.
pub type AccountId = u32;

/// Names one listener of the core inside an account's routing table.
///
/// The core mints tags in `Outbox::listen`; the shell hands them back with every message that
/// matched. Ids are never reused within one run, so a message that was in flight when its stream
/// went away finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// What the listener is for.
    pub kind: TagKind,
    /// The stream's id, 0 for [`TagKind::Api`].
    pub stream: u32,
    /// The consumer's id within this run, 0 where there is none.
    pub consumer: u32,
}

/// What a listener of the core is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TagKind {
    /// `$JS.API.>` of an account, except the subjects below.
    Api,
    /// A subject of a stream's configuration: publishes to store.
    Publish,
    /// `$JS.API.DIRECT.GET.<stream>` and below.
    DirectGet,
    /// `$JS.API.CONSUMER.MSG.NEXT.<stream>.<consumer>`.
    Next,
    /// `$JS.ACK.<stream>.<consumer>.>` and its v2 form.
    Ack,
    /// `$JS.FC.<stream>.<consumer>.>`.
    FlowControl,
    /// Not a listener: a watch on the deliver subject of a push consumer, see `Outbox::watch`.
    Deliver,
}

/// One message that matched a listener of the core.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'a> {
    /// The listener that it matched.
    pub tag: Tag,
    /// The account it was published in.
    pub account: AccountId,
    /// The subject as published.
    pub subject: &'a [u8],
    /// The reply subject, empty if none.
    pub reply: &'a [u8],
    /// The whole header block with its final blank line, empty if none.
    pub headers: &'a [u8],
    /// The payload without headers.
    pub payload: &'a [u8],
    /// Who published it, for audit advisories. The same connection always gives the same number.
    pub client: u64,
}
