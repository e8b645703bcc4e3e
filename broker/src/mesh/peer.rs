//! Another node while it can be talked to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jetwake_protocol::peer::{Hello, Kind, Link, NodeId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::events::{Frames, Sent};
use super::lane::Lane;

/// What a node says about itself, for as long as the link is open.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct PeerInfo {
    pub node: NodeId,
    pub server_id: String,
    pub server_name: String,
    pub version: String,
    /// Whether JetStream is on there.
    pub jetstream: bool,
    /// JetStream's domain, empty without one.
    pub domain: String,
    /// `server_tags`.
    pub tags: Vec<String>,
    /// Where it can be dialled: `host:port`, empty if nowhere.
    pub cluster_url: String,
    /// Where its clients connected when the link was opened.
    pub client_urls: Vec<String>,
}

impl From<&Hello> for PeerInfo {
    fn from(hello: &Hello) -> Self {
        Self {
            node: hello.node,
            server_id: hello.server_id.clone(),
            server_name: hello.server_name.clone(),
            version: hello.version.clone(),
            jetstream: hello.jetstream,
            domain: hello.domain.clone(),
            tags: hello.tags.clone(),
            cluster_url: hello.cluster_url.clone(),
            client_urls: hello.client_urls.clone(),
        }
    }
}

/// A node from the moment its main link is agreed on to the moment the link ends. A node that comes
/// back is another `Peer`.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub info: PeerInfo,
    pub(super) main: Arc<Lane>,
    pub(super) bulk: Mutex<Option<Arc<Lane>>>,
    /// Whether the operator named it in `routes`.
    pub(super) configured: AtomicBool,
    /// Whether it is leaving: its clients go elsewhere.
    pub(super) leaving: AtomicBool,
    /// Whether `peer_up` was told.
    pub(super) up: AtomicBool,
    ended: watch::Sender<bool>,
}

impl Peer {
    pub(super) fn new(hello: &Hello, main: Lane, configured: bool) -> Self {
        Self {
            info: PeerInfo::from(hello),
            main: Arc::new(main),
            bulk: Mutex::new(None),
            configured: AtomicBool::new(configured),
            leaving: AtomicBool::new(hello.leaving),
            up: AtomicBool::new(false),
            ended: watch::channel(false).0,
        }
    }

    /// Its number.
    pub fn node(&self) -> NodeId {
        self.info.node
    }

    /// Whether it is about to leave: its clients go elsewhere.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Sends one frame, from any thread and without waiting.
    pub fn send(&self, kind: Kind, body: &[u8]) -> Sent {
        let mut frames = Frames::default();
        if !frames.push(kind, body) {
            return Sent::Full;
        }
        self.send_frames(kind.link(), &mut frames)
    }

    /// Sends frames that were gathered for one link, in one write if the socket takes them. The buffer is
    /// empty afterwards, whatever the answer.
    pub fn send_frames(&self, link: Link, frames: &mut Frames) -> Sent {
        match link {
            Link::Main => self.main.send(frames),
            Link::Bulk => match self.bulk() {
                Some(lane) => lane.send(frames),
                None => {
                    *frames = Frames::default();
                    Sent::Down
                }
            },
        }
    }

    pub(super) fn bulk(&self) -> Option<Arc<Lane>> {
        self.bulk.lock().clone()
    }

    /// Its connections: the main link, and the bulk link if it is open.
    pub(super) fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes = vec![Arc::clone(&self.main)];
        lanes.extend(self.bulk());
        lanes
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Everything about this link is over.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Completes when everything about this link is over.
    pub(super) async fn ended(&self) {
        // The sender is in self: it cannot be gone.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}
