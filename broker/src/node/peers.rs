//! The JetStream core's way to the other nodes and back: frames in, in the order of their link, and frames out.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jetwake_protocol::peer::{Kind, Link};

use super::inbox::{Inbox, Mail};
use crate::jetstream::io::{Lane, NodeId, Peer};
use crate::mesh::{self, Frames, MeshEvents, Peers, Receiver, Room};
use crate::server::JetStreamInbox as _;

/// Hands to the JetStream thread what comes from other nodes.
pub(super) struct CoreMesh {
    inbox: Arc<Inbox>,
}

impl fmt::Debug for CoreMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreMesh")
    }
}

impl CoreMesh {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox }
    }
}

impl MeshEvents for CoreMesh {
    fn takes(&self, kind: Kind) -> bool {
        kind == Kind::JETSTREAM || kind == Kind::BULK
    }

    fn peer_up(&self, peer: &Arc<mesh::Peer>) {
        let info = &peer.info;
        self.inbox.post(Mail::PeerUp(Peer {
            id: info.node.0,
            name: info.server_name.clone(),
            jetstream: info.jetstream,
            tags: info.tags.clone(),
            domain: info.domain.clone(),
        }));
    }

    fn peer_down(&self, peer: &Arc<mesh::Peer>) {
        self.inbox.post(Mail::PeerDown(peer.info.node.0));
    }

    fn receiver(&self, peer: &Arc<mesh::Peer>, _link: Link) -> Box<dyn Receiver> {
        Box::new(Ear {
            inbox: Arc::clone(&self.inbox),
            from: peer.info.node.0,
            frames: Vec::new(),
        })
    }
}

/// Gets the frames of one link.
struct Ear {
    inbox: Arc<Inbox>,
    from: NodeId,
    frames: Vec<Bytes>,
}

impl Receiver for Ear {
    fn frame(&mut self, _kind: Kind, body: Bytes) {
        self.frames.push(body);
    }

    fn flush(&mut self) {
        if !self.frames.is_empty() {
            self.inbox.hear(self.from, &mut self.frames);
        }
    }

    fn room(&mut self) -> Option<Room<'_>> {
        if self.inbox.is_full() {
            Some(self.inbox.has_room())
        } else {
            None
        }
    }
}

/// Gathers what the core says to other nodes.
#[derive(Debug, Default)]
pub(super) struct Voice {
    peers: Arc<OnceLock<Peers>>,
    main: Vec<(NodeId, Frames)>,
}

impl Voice {
    /// A voice that is heard once the mesh is there.
    pub(super) fn new(peers: Arc<OnceLock<Peers>>) -> Self {
        Self {
            peers,
            main: Vec::new(),
        }
    }

    /// Keeps a frame, or sends it where order does not matter.
    pub(super) fn say(&mut self, to: NodeId, lane: Lane, frame: &[u8]) {
        let node = jetwake_protocol::peer::NodeId(to);
        match lane {
            Lane::Bulk => {
                if let Some(peers) = self.peers.get() {
                    // One that finds no room is lost; who waits for it asks again.
                    peers.send(node, Kind::BULK, frame);
                }
            }
            Lane::Main => {
                let at = self.main.iter().position(|(known, _)| *known == to);
                let at = at.unwrap_or_else(|| {
                    self.main.push((to, Frames::default()));
                    self.main.len() - 1
                });
                // One that is too long for the protocol, 256 MiB, is left out; the core makes none.
                self.main[at].1.push(Kind::JETSTREAM, frame);
            }
        }
    }

    /// Sends what was kept.
    pub(super) fn flush(&mut self) {
        let Some(peers) = self.peers.get() else {
            return self.main.clear();
        };
        for (to, frames) in &mut self.main {
            if !frames.is_empty() {
                peers.send_frames(jetwake_protocol::peer::NodeId(*to), Kind::JETSTREAM, frames);
            }
        }
    }
}
