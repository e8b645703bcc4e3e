//! What the rest of the server gets from the mesh, and how frames are gathered to be sent.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use jetwake_protocol::peer::{Kind, Link, NodeId, frame};

use super::peer::Peer;

/// One who wants to know about other nodes.
///
/// For each node the calls come in this order, never two at a time: `peer_up`, frames of its main
/// link in the order in which they were sent, `peer_down`. A node that comes back is up again only
/// after it was down. Frames of the bulk link come between the two, beside those of the main link.
/// Everything is called on a task of the mesh and must not block.
pub trait MeshEvents: Debug + Send + Sync {
    /// Whether frames of this kind are for this consumer. Exactly one consumer should take a kind.
    fn takes(&self, kind: Kind) -> bool;

    /// A node can be talked to.
    fn peer_up(&self, peer: &Arc<Peer>);

    /// A node cannot be talked to any more; what it had sent has been handed over.
    fn peer_down(&self, peer: &Arc<Peer>);

    /// Makes the one who gets the frames of one link, for as long as it is open.
    fn receiver(&self, peer: &Arc<Peer>, link: Link) -> Box<dyn Receiver>;

    /// The bulk link to this node takes frames again after it had refused one.
    fn bulk_room(&self, node: NodeId) {
        let _ = node;
    }

    /// Number of this node's subscriptions that the consumer knows of, for monitoring.
    fn subscriptions(&self, node: NodeId) -> usize {
        let _ = node;
        0
    }
}

/// Until there is room.
pub type Room<'r> = Pin<Box<dyn Future<Output = ()> + Send + 'r>>;

/// Gets the frames of one link.
pub trait Receiver: Send {
    /// One frame. The body shares the link's read buffer: what is kept for long should be copied.
    fn frame(&mut self, kind: Kind, body: Bytes);

    /// All frames of one read have been handed over: the time to flush what they caused.
    fn flush(&mut self) {}

    /// Asked after each flush: while this waits, nothing is read from the link.
    fn room(&mut self) -> Option<Room<'_>> {
        None
    }
}

/// Frames that are sent together, in this order.
#[derive(Debug, Default)]
pub struct Frames {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u64,
}

impl Frames {
    /// Appends a frame. One with a body beyond the protocol's limit is left out, and the answer is false.
    pub fn push(&mut self, kind: Kind, body: &[u8]) -> bool {
        let appended = frame::append(&mut self.bytes, kind, body);
        self.count += u64::from(appended);
        appended
    }

    /// Appends a frame whose body `write` appends, see [`Frames::push`].
    pub fn push_with(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let appended = frame::append_with(&mut self.bytes, kind, write);
        self.count += u64::from(appended);
        appended
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes, for links that are none.
    #[cfg(test)]
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        self.count = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that wait here.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What became of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Written or queued.
    Yes,
    /// Queued, and more than three quarters of what may be queued are: slow down.
    NearlyFull,
    /// Not taken: the bulk link has enough to do. [`MeshEvents::bulk_room`] says when to go on.
    Full,
    /// Not taken: there is no such link.
    Down,
}
