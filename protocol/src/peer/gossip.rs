//! What nodes tell each other after the handshake.

use super::fields::{self, BodyError, Reader};
use super::{Kind, NodeId, frame};

/// Most nodes that one [`Gossip`] names.
pub const MAX_ADDRESSES: usize = 1024;

/// Where a node can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The node.
    pub node: NodeId,
    /// `host:port`.
    pub url: String,
}

/// Nodes that the sender is connected to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gossip(pub Vec<Address>);

impl Gossip {
    /// Appends the frame.
    pub fn append(&self, out: &mut Vec<u8>) {
        frame::append_with(out, Kind::PEERS, |out| {
            let count = self.0.len().min(MAX_ADDRESSES);
            out.extend_from_slice(&(count as u16).to_le_bytes());
            for address in &self.0[..count] {
                out.extend_from_slice(&address.node.0.to_le_bytes());
                fields::text(out, &address.url);
            }
        });
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When the body is no list of nodes.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader(body);
        let count = usize::from(reader.u16()?);
        if count > MAX_ADDRESSES {
            return Err(BodyError::Unknown);
        }
        let mut address = || {
            let node = NodeId(reader.u64()?);
            let url = reader.text()?;
            Ok(Address { node, url })
        };
        (0..count)
            .map(|_| address())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// What of a [`super::Hello`] may change while a link is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// The server is about to leave: its clients should go elsewhere.
    pub leaving: bool,
    /// Where its clients connect.
    pub client_urls: Vec<String>,
}

impl Update {
    /// Appends the frame.
    pub fn append(&self, out: &mut Vec<u8>) {
        frame::append_with(out, Kind::UPDATE, |out| {
            out.push(u8::from(self.leaving));
            fields::texts(out, &self.client_urls);
        });
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When the body is no update.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader(body);
        Ok(Self {
            leaving: reader.u8()? != 0,
            client_urls: reader.texts()?,
        })
    }
}

/// The body of PING and PONG: the sender's time, which only the sender understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse(pub u64);

impl Pulse {
    /// Appends a frame of this kind.
    pub fn append(self, out: &mut Vec<u8>, kind: Kind) {
        frame::append(out, kind, &self.0.to_le_bytes());
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When the body is too short.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        Reader(body).u64().map(Self)
    }
}
