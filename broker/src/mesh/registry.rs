//! The nodes that this one is linked to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};
use jetwake_protocol::peer::{Hello, Kind, NodeId};
use parking_lot::Mutex;

use super::admission::{self, Existing, QUIET, Verdict};
use super::events::{Frames, MeshEvents, Sent};
use super::peer::Peer;
use crate::server::CloseReason;

/// The nodes that this one is linked to; clones of the handle see the same ones.
#[derive(Clone, Debug)]
pub struct Peers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    me: NodeId,
    /// Where other nodes connect.
    address: SocketAddr,
    /// Who hears of nodes; set once, when the mesh starts.
    consumers: OnceLock<Vec<Arc<dyn MeshEvents>>>,
    /// Nodes that cannot be reached, because a test says so.
    muted: Mutex<HashSet<NodeId, FixedState>>,
    /// By node: the link that counts, from the moment that this is decided.
    links: Mutex<HashMap<NodeId, Arc<Peer>, FixedState>>,
    /// Nodes that a test has cut off from this one.
    cut_off: Mutex<BTreeSet<NodeId>>,
}

impl Peers {
    pub(super) fn new(me: NodeId, address: SocketAddr) -> Self {
        Self {
            inner: Arc::new(Inner {
                me,
                address,
                consumers: OnceLock::new(),
                muted: Mutex::default(),
                links: Mutex::default(),
                cut_off: Mutex::default(),
            }),
        }
    }

    /// Ends the links to these nodes and has none with them from here on; others are let in again.
    pub(crate) fn cut_off(&self, nodes: &BTreeSet<NodeId>) {
        self.inner.cut_off.lock().clone_from(nodes);
        for peer in self.links() {
            if nodes.contains(&peer.node()) {
                for lane in peer.lanes() {
                    lane.close(CloseReason::RouteRemoved);
                }
            }
        }
    }

    /// Whether there may be no link with a node.
    pub(super) fn is_cut_off(&self, node: NodeId) -> bool {
        self.inner.cut_off.lock().contains(&node)
    }

    /// Where other nodes connect to this one.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Names those who hear of nodes. A mesh starts once: what comes later changes nothing.
    pub(super) fn set_consumers(&self, consumers: Vec<Arc<dyn MeshEvents>>) {
        let _ = self.inner.consumers.set(consumers);
    }

    pub(super) fn consumers(&self) -> &[Arc<dyn MeshEvents>] {
        self.inner.consumers.get().map_or(&[], Vec::as_slice)
    }

    /// This node.
    pub fn me(&self) -> NodeId {
        self.inner.me
    }

    /// A node that is up.
    pub fn get(&self, node: NodeId) -> Option<Arc<Peer>> {
        let links = self.inner.links.lock();
        links.get(&node).filter(|peer| peer.is_up()).map(Arc::clone)
    }

    /// All nodes that are up.
    pub fn all(&self) -> Vec<Arc<Peer>> {
        let links = self.inner.links.lock();
        links
            .values()
            .filter(|peer| peer.is_up())
            .map(Arc::clone)
            .collect()
    }

    /// Sends one frame to a node, from any thread and without waiting.
    pub fn send(&self, node: NodeId, kind: Kind, body: &[u8]) -> Sent {
        self.get(node)
            .map_or(Sent::Down, |peer| peer.send(kind, body))
    }

    /// Sends frames of the link of `kind` to a node, see [`Peer::send_frames`].
    pub fn send_frames(&self, node: NodeId, kind: Kind, frames: &mut Frames) -> Sent {
        match self.get(node) {
            Some(peer) => peer.send_frames(kind.link(), frames),
            None => {
                *frames = Frames::default();
                Sent::Down
            }
        }
    }

    /// For tests: from here on nothing gets through to this node or from it, as if the network between the
    /// two was gone. Connections stay open and silent until somebody gives them up.
    pub fn mute(&self, node: NodeId) {
        self.inner.muted.lock().insert(node);
        for lane in self.link(node).iter().flat_map(|peer| peer.lanes()) {
            lane.mute();
        }
    }

    /// For tests: the node can be reached again, over new connections.
    pub fn unmute(&self, node: NodeId) {
        self.inner.muted.lock().remove(&node);
        for lane in self.link(node).iter().flat_map(|peer| peer.lanes()) {
            lane.close(CloseReason::StaleConnection);
        }
    }

    pub(super) fn is_muted(&self, node: NodeId) -> bool {
        self.inner.muted.lock().contains(&node)
    }

    /// Every link, also those that are not up yet or no longer.
    pub(super) fn links(&self) -> Vec<Arc<Peer>> {
        self.inner.links.lock().values().map(Arc::clone).collect()
    }

    /// The link to a node, whatever its state.
    pub(super) fn link(&self, node: NodeId) -> Option<Arc<Peer>> {
        self.inner.links.lock().get(&node).map(Arc::clone)
    }

    /// Decides about a connection with a node whose number is higher. The link becomes the one that
    /// counts; the answer is its dead predecessor, whose end has to be waited for.
    ///
    /// # Errors
    /// When there is a link: that one.
    pub(super) fn open(&self, peer: &Arc<Peer>) -> Result<Option<Arc<Peer>>, Arc<Peer>> {
        let mut links = self.inner.links.lock();
        let old = links.get(&peer.node());
        let existing = old.map(|old| Existing {
            server_id: &old.info.server_id,
            silence: old.main.silence(),
            closed: old.main.is_closed(),
        });
        let verdict = admission::verdict(existing, &peer.info.server_id);
        match (verdict, old) {
            (Verdict::Duplicate, Some(old)) => Err(Arc::clone(old)),
            _ => Ok(links.insert(peer.node(), Arc::clone(peer))),
        }
    }

    /// The other node has decided that this link counts.
    pub(super) fn follow(&self, peer: &Arc<Peer>) -> Option<Arc<Peer>> {
        let mut links = self.inner.links.lock();
        links.insert(peer.node(), Arc::clone(peer))
    }

    /// A link has ended.
    pub(super) fn remove(&self, peer: &Arc<Peer>) {
        let mut links = self.inner.links.lock();
        if links
            .get(&peer.node())
            .is_some_and(|link| Arc::ptr_eq(link, peer))
        {
            links.remove(&peer.node());
        }
    }

    /// Another node that uses the name of the one that says hello, and is alive. A dead one, which may
    /// have been the same server before its restart, is closed.
    pub(super) fn namesake(&self, hello: &Hello) -> Option<Arc<Peer>> {
        let links = self.links();
        let namesake = links
            .into_iter()
            .find(|peer| peer.node() != hello.node && peer.info.server_name == hello.server_name)?;
        if namesake.main.is_closed() || namesake.main.silence() >= QUIET {
            namesake.main.close(CloseReason::StaleConnection);
            return None;
        }
        Some(namesake)
    }

    /// Closes every link.
    pub(super) fn close(&self, reason: CloseReason) {
        for peer in self.links() {
            peer.up.store(false, Ordering::Release);
            for lane in peer.lanes() {
                lane.close(reason);
            }
        }
    }
}
