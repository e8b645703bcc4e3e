//! What nodes of a cluster say to each other: frames and the bodies of those that the mesh itself
//! needs. The bytes are described in `docs/PEER.md`.
//!
//! Every link carries [frames](frame) in both directions. The dialing side begins with a [`Hello`],
//! the other side answers with its own or with a reason why not. [Interest](interest) and
//! [messages](message) have their bodies here too. Those of consensus belong to those who send them; here they are
//! only reserved [kinds](Kind).

mod fields;
pub mod frame;
mod gossip;
mod hello;
pub mod interest;
pub mod message;
pub mod sync;
#[cfg(test)]
mod tests;

use std::fmt;

pub use fields::BodyError;
pub use frame::{FrameError, Header, VERSION};
pub use gossip::{Address, Gossip, MAX_ADDRESSES, Pulse, Update};
pub use hello::{Hello, Link};

/// One incarnation of a node: the name may come back with another number, which is then another
/// node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a frame is about. Kinds that a reader does not know are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Who the sender is: the first frame in each direction.
    pub const HELLO: Self = Self(1);
    /// The link counts from here on; sent where the dialing side decides.
    pub const OPEN: Self = Self(2);
    /// Why the link is closed: a text.
    pub const REFUSED: Self = Self(3);
    /// Asks for a [`Kind::PONG`] with the same body.
    pub const PING: Self = Self(4);
    /// The answer to a [`Kind::PING`].
    pub const PONG: Self = Self(5);
    /// Where other nodes can be reached.
    pub const PEERS: Self = Self(6);
    /// The sender's [`Hello`] has changed in these points.
    pub const UPDATE: Self = Self(7);
    /// Who listens to what: 16 to 31 belong to routing.
    pub const INTEREST: Self = Self(16);
    /// Messages of clients.
    pub const MESSAGE: Self = Self(17);
    /// Consensus and requests: 32 to 47 belong to JetStream.
    pub const JETSTREAM: Self = Self(32);
    /// State of streams: 48 to 63 belong to JetStream and travel on the bulk link.
    pub const BULK: Self = Self(48);

    /// The link that frames of this kind travel on.
    #[must_use]
    pub const fn link(self) -> Link {
        match self.0 {
            48..=63 => Link::Bulk,
            _ => Link::Main,
        }
    }
}
