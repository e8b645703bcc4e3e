//! Who a node is.

use super::fields::{self, BodyError, Reader};
use super::{Kind, NodeId, frame};

/// What a connection between two nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// Interest, messages and consensus, in order.
    Main,
    /// State of streams, which must not delay the rest.
    Bulk,
}

/// The first frame of each side.
#[derive(Clone, PartialEq, Eq)]
pub struct Hello {
    /// Revision of the bodies, for later versions to tell.
    pub revision: u16,
    /// What the sender can beyond this revision.
    pub features: u64,
    /// What the connection is for.
    pub link: Link,
    /// The sender.
    pub node: NodeId,
    /// The server's key, another one at each start.
    pub server_id: String,
    /// The server's name.
    pub server_name: String,
    /// The cluster's name.
    pub cluster: String,
    /// Whether that name was made up and yields to a configured one.
    pub dynamic: bool,
    /// The version that the server claims.
    pub version: String,
    /// Whether JetStream is on.
    pub jetstream: bool,
    /// JetStream's domain.
    pub domain: String,
    /// Whether the server is about to leave.
    pub leaving: bool,
    /// `server_tags`.
    pub tags: Vec<String>,
    /// Where the sender's clients connect: `host:port`.
    pub client_urls: Vec<String>,
    /// Where other nodes can dial the sender: `host:port`, empty if nowhere.
    pub cluster_url: String,
    /// Who the dialing side says it is.
    pub user: String,
    /// Its password.
    pub password: String,
}

const JETSTREAM: u8 = 1;
const DYNAMIC: u8 = 1 << 1;
const LEAVING: u8 = 1 << 2;

impl Hello {
    /// The revision of bodies that this code writes.
    pub const REVISION: u16 = 1;

    /// Appends the frame.
    pub fn append(&self, out: &mut Vec<u8>) {
        frame::append_with(out, Kind::HELLO, |out| self.write(out));
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.push(match self.link {
            Link::Main => 0,
            Link::Bulk => 1,
        });
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(
            flag(self.jetstream, JETSTREAM)
                | flag(self.dynamic, DYNAMIC)
                | flag(self.leaving, LEAVING),
        );
        out.extend_from_slice(&self.node.0.to_le_bytes());
        for text in [
            &self.server_id,
            &self.server_name,
            &self.cluster,
            &self.version,
            &self.domain,
            &self.cluster_url,
            &self.user,
            &self.password,
        ] {
            fields::text(out, text);
        }
        fields::texts(out, &self.tags);
        fields::texts(out, &self.client_urls);
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When the body is no hello.
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader(body);
        let revision = reader.u16()?;
        let features = reader.u64()?;
        let link = match reader.u8()? {
            0 => Link::Main,
            1 => Link::Bulk,
            _ => return Err(BodyError::Unknown),
        };
        let flags = reader.u8()?;
        Ok(Self {
            revision,
            features,
            link,
            jetstream: flags & JETSTREAM != 0,
            dynamic: flags & DYNAMIC != 0,
            leaving: flags & LEAVING != 0,
            node: NodeId(reader.u64()?),
            server_id: reader.text()?,
            server_name: reader.text()?,
            cluster: reader.text()?,
            version: reader.text()?,
            domain: reader.text()?,
            cluster_url: reader.text()?,
            user: reader.text()?,
            password: reader.text()?,
            tags: reader.texts()?,
            client_urls: reader.texts()?,
        })
    }
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("link", &self.link)
            .field("node", &self.node)
            .field("server_name", &self.server_name)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}
