//! Clients' messages between nodes: the mesh on one side, routing on the other.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jetwake_protocol::peer::{BodyError, Kind, Link, NodeId};

use crate::mesh::{MeshEvents, Peer, Receiver};
use crate::server::{self, Deliverer, RouterHandle};

/// Tells routing about other nodes.
pub(super) struct RouteMesh {
    router: RouterHandle,
}

impl fmt::Debug for RouteMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteMesh")
    }
}

impl RouteMesh {
    pub(super) fn new(router: RouterHandle) -> Self {
        Self { router }
    }
}

impl MeshEvents for RouteMesh {
    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::INTEREST || kind == Kind::MESSAGE
    }

    fn peer_up(&self, peer: &Arc<Peer>) {
        let link = Arc::clone(peer) as Arc<dyn server::NodeLink>;
        self.router.shared().node_up(peer.node().0, link);
    }

    fn peer_down(&self, peer: &Arc<Peer>) {
        self.router.shared().node_down(peer.node().0);
    }

    fn receiver(&self, peer: &Arc<Peer>, _link: Link) -> Box<dyn Receiver> {
        Box::new(Ear {
            node: self.router.shared().node(peer.node().0),
            deliverer: self.router.deliverer(),
            router: self.router.clone(),
            name: peer.info.server_name.clone(),
        })
    }

    fn subscriptions(&self, node: NodeId) -> usize {
        self.router.shared().node_subscriptions(node.0)
    }
}

/// Gets the frames of one link.
struct Ear {
    /// `None` if the node is not up any more: nothing comes then.
    node: Option<Arc<server::Node>>,
    deliverer: Deliverer,
    router: RouterHandle,
    name: String,
}

impl Ear {
    fn take(&mut self, kind: Kind, body: &[u8]) -> Result<(), BodyError> {
        if kind == Kind::MESSAGE {
            return self.deliverer.take_routed(body);
        }
        match &self.node {
            Some(node) => self.router.shared().node_listens(node, body),
            None => Ok(()),
        }
    }
}

impl Receiver for Ear {
    fn frame(&mut self, kind: Kind, body: Bytes) {
        if let Err(error) = self.take(kind, &body) {
            let (name, logger) = (&self.name, &self.router.shared().logger);
            logger.error(format_args!("Route parse error: {error} - Remote: {name}"));
        }
    }

    fn flush(&mut self) {
        self.deliverer.flush();
    }
}
