//! The mesh: links to the other nodes of the cluster.
//!
//! - `listener` takes connections on the cluster port, `dialer` makes them; `handshake` turns either
//!   into a link that both sides agree on (`admission` says which of several counts).
//! - A [`Peer`] is a node while it can be talked to: a main link for interest, messages and consensus, in
//!   order, and a bulk link for state, which never delays the first.
//! - `link` serves a link and tells the [`MeshEvents`] who is up, who is down and what came in.
//! - [`Peers`] sends, from any thread and without waiting.
//!
//! Nodes tell each other whom they know, so that one route is enough to join. The bytes are described in
//! `docs/PEER.md`.

// Tasks of the mesh are started here and nowhere else.
#![allow(clippy::disallowed_methods)]

mod admission;
mod dialer;
mod events;
mod greeting;
mod handshake;
mod lane;
mod link;
mod listener;
mod naming;
mod peer;
mod registry;
mod report;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::peer::{Address, Gossip, Hello, Link, NodeId, Update};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use events::{Frames, MeshEvents, Receiver, Room, Sent};
pub use peer::{Peer, PeerInfo};
pub use registry::Peers;
pub use report::LinkReport;

use dialer::Route;
use naming::Meeting;

use crate::options::{ClusterOptions, Credentials, RouteUrl, join_host_port, split_address};
use crate::server::auth::{is_password, same};
use crate::server::{self, CloseReason, ClusterName, Shared};
use crate::version;

/// How often nodes repeat whom they know, so that a lost link is made again.
const GOSSIP: Duration = Duration::from_secs(10);
/// Time for the last words at the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Mesh {
    shared: Arc<Shared>,
    peers: Peers,
    /// `host:port` of nodes that were heard of and are being dialled.
    dialling: Mutex<HashSet<String>>,
    /// Addresses that turned out to be this node's own.
    myself: Mutex<HashSet<SocketAddr>>,
    /// Links that are served.
    links: Mutex<JoinSet<()>>,
    /// Everything else.
    tasks: Mutex<JoinSet<()>>,
}

/// A mesh whose port is bound and that talks to nobody yet.
#[derive(Debug)]
pub struct BoundMesh {
    mesh: Arc<Mesh>,
    listener: TcpListener,
}

/// A mesh at work. Dropping it closes all links.
#[derive(Debug)]
pub struct RunningMesh {
    mesh: Arc<Mesh>,
}

impl BoundMesh {
    /// Binds the cluster port; `None` if the options name none. `node` is this incarnation's number.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn bind(shared: Arc<Shared>, node: NodeId) -> io::Result<Option<Self>> {
        let options = &shared.options.cluster;
        let Some(port) = options.port else {
            return Ok(None);
        };
        let listener = server::bind(&options.host, port).await?;
        let address = listener.local_addr()?;
        let mesh = Mesh {
            peers: Peers::new(node, address),
            dialling: Mutex::default(),
            myself: Mutex::default(),
            links: Mutex::default(),
            tasks: Mutex::default(),
            shared,
        };
        let mesh = Arc::new(mesh);
        Ok(Some(Self { mesh, listener }))
    }

    /// The handle to send with.
    pub fn peers(&self) -> Peers {
        self.mesh.peers.clone()
    }

    /// Begins to accept and to dial. Each of `consumers` hears of every node.
    pub fn start(self, consumers: Vec<Arc<dyn MeshEvents>>) -> RunningMesh {
        let mesh = self.mesh;
        mesh.peers.set_consumers(consumers);
        let logger = &mesh.shared.logger;
        let name = mesh.cluster_name();
        logger.info(format_args!("Cluster name is {}", name.text));
        if name.dynamic {
            logger.warn(format_args!(
                "Cluster name was dynamically generated, consider setting one"
            ));
        }
        let address = join_host_port(&mesh.options().host, mesh.peers.address().port());
        logger.info(format_args!("Listening for route connections on {address}"));
        mesh.spawn(listener::run(Arc::clone(&mesh), self.listener));
        mesh.spawn(repeat_gossip(Arc::clone(&mesh)));
        for url in &mesh.options().routes {
            mesh.dial(url.clone());
        }
        RunningMesh { mesh }
    }
}

impl RunningMesh {
    /// Where other nodes connect.
    pub fn addr(&self) -> SocketAddr {
        self.mesh.peers.address()
    }

    /// The nodes.
    pub fn peers(&self) -> &Peers {
        &self.mesh.peers
    }

    /// Dials one more node for ever, as if the operator had named it.
    pub fn dial(&self, url: RouteUrl) {
        self.mesh.dial(url);
    }

    /// Tells the other nodes that clients should go there.
    pub fn leave(&self) {
        let update = Update {
            leaving: true,
            client_urls: Vec::new(),
        };
        for peer in self.mesh.peers.all() {
            let mut bytes = Vec::new();
            update.append(&mut bytes);
            peer.main.say(&mut bytes);
        }
    }

    /// Closes all links and completes when all work has ended.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.mesh.tasks.lock());
        tasks.shutdown().await;
        for peer in self.mesh.peers.links() {
            for lane in peer.lanes() {
                lane.close_after_flush(CloseReason::ServerShutdown);
            }
        }
        let mut links = std::mem::take(&mut *self.mesh.links.lock());
        let all = async { while links.join_next().await.is_some() {} };
        // Whoever does not take the last words in time does not get them.
        let _ = tokio::time::timeout(GOODBYE, all).await;
        links.shutdown().await;
        self.mesh.peers.close(CloseReason::ServerShutdown);
    }
}

impl Drop for RunningMesh {
    fn drop(&mut self) {
        self.mesh.tasks.lock().abort_all();
        self.mesh.links.lock().abort_all();
        self.mesh.peers.close(CloseReason::ServerShutdown);
    }
}

impl Mesh {
    fn options(&self) -> &ClusterOptions {
        &self.shared.options.cluster
    }

    fn consumers(&self) -> &[Arc<dyn MeshEvents>] {
        self.peers.consumers()
    }

    fn next_rid(&self) -> u64 {
        self.shared.next_connection_id()
    }

    fn auth_timeout(&self) -> Duration {
        self.options().auth_timeout
    }

    /// Gives the other side of a handshake its time.
    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.auth_timeout(), work).await.ok()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_on(&self.tasks, task);
    }

    fn spawn_link(&self, task: impl Future<Output = ()> + Send + 'static) {
        spawn_on(&self.links, task);
    }

    fn cluster_name(&self) -> ClusterName {
        self.shared.neighbours.name()
    }

    /// What this node says of itself.
    fn hello(&self, link: Link, credentials: Option<&Credentials>) -> Hello {
        let (options, name) = (&self.shared.options, self.cluster_name());
        let identity = &self.shared.identity;
        let Credentials { user, password } = credentials.cloned().unwrap_or_default();
        let jetstream = options.jetstream.as_ref();
        Hello {
            revision: Hello::REVISION,
            features: 0,
            link,
            node: self.peers.me(),
            server_id: identity.id.clone(),
            server_name: identity.name.clone(),
            cluster: name.text,
            dynamic: name.dynamic,
            version: version::CLAIMED.to_owned(),
            jetstream: jetstream.is_some(),
            domain: jetstream
                .and_then(|js| js.domain.clone())
                .unwrap_or_default(),
            leaving: self.shared.is_lame_duck(),
            tags: options.server_tags.clone(),
            client_urls: self.shared.neighbours.own_urls(),
            cluster_url: self.cluster_url(),
            user,
            password,
        }
    }

    /// Where other nodes can dial this one.
    fn cluster_url(&self) -> String {
        let port = self.peers.address().port();
        match self.options().advertise.as_deref().and_then(split_address) {
            Some((host, advertised)) => join_host_port(&host, advertised.unwrap_or(port)),
            None => join_host_port(&self.options().host, port),
        }
    }

    /// Whether a node has said what it takes to be let in. A bcrypt hash is slow to check, on purpose: that is
    /// not done on a thread that serves connections.
    async fn admits(&self, hello: &Hello) -> bool {
        let Some(wanted) = self.options().credentials.clone() else {
            return true;
        };
        let (user, password) = (hello.user.clone(), hello.password.clone());
        let check = move || {
            let known = same(wanted.user.as_bytes(), user.as_bytes());
            let proven = is_password(&wanted.password, &password);
            known && proven
        };
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }

    /// Whether the name of the server that says hello belongs to another one.
    fn is_name_taken(&self, hello: &Hello) -> bool {
        hello.server_name == self.shared.identity.name || self.peers.namesake(hello).is_some()
    }

    /// Compares the cluster's names. Ours may become theirs; false if they cannot agree.
    fn meet(&self, theirs: &ClusterName) -> bool {
        let mut meeting = Meeting::Keep;
        let renamed = self.shared.neighbours.rename(|ours| {
            meeting = naming::meet(ours, theirs);
            if meeting == Meeting::Adopt {
                ours.clone_from(theirs);
            }
            meeting == Meeting::Adopt
        });
        if !renamed {
            return meeting == Meeting::Keep;
        }
        let logger = &self.shared.logger;
        logger.info(format_args!("Cluster name updated to {}", theirs.text));
        // They know this node by its old name.
        for peer in self.peers.links() {
            peer.main.close(CloseReason::ClusterNameConflict);
        }
        true
    }

    /// What a node is told that is turned away.
    fn refusal(&self, reason: CloseReason, theirs: &Hello) -> String {
        match reason {
            CloseReason::ClusterNameConflict => format!(
                "Rejecting connection, cluster name {:?} does not match {:?}",
                theirs.cluster,
                self.cluster_name().text
            ),
            reason => reason.text().to_owned(),
        }
    }

    fn dial(self: &Arc<Self>, url: RouteUrl) {
        let route = Route {
            url,
            configured: true,
        };
        self.spawn(dialer::run(Arc::clone(self), route));
    }

    /// A node is up: it hears of the others, and they hear of it.
    fn introduce(&self, newcomer: &Arc<Peer>) {
        self.tell_of_others(newcomer);
        let known = self.peers.all();
        for other in known.iter().filter(|other| other.node() != newcomer.node()) {
            say_addresses(other, address_of(newcomer).into_iter().collect());
        }
    }

    /// A node hears where all others are.
    fn tell_of_others(&self, peer: &Peer) {
        let known = self.peers.all();
        let others = known.iter().filter(|other| other.node() != peer.node());
        say_addresses(peer, others.filter_map(|other| address_of(other)).collect());
    }

    /// A node told where others are.
    fn heard(self: &Arc<Self>, gossip: Gossip) {
        for address in gossip.0 {
            if address.node == self.peers.me() || self.peers.link(address.node).is_some() {
                continue;
            }
            let credentials = self.options().credentials.clone();
            let Some(url) = RouteUrl::of_address(&address.url, credentials) else {
                continue;
            };
            let configured = self.options().routes.iter();
            if configured
                .clone()
                .any(|route| route.address() == url.address())
            {
                continue;
            }
            let key = url.address();
            if !self.dialling.lock().insert(key.clone()) {
                continue;
            }
            let mesh = Arc::clone(self);
            self.spawn(async move {
                let route = Route {
                    url,
                    configured: false,
                };
                dialer::run(Arc::clone(&mesh), route).await;
                mesh.dialling.lock().remove(&key);
            });
        }
    }

    /// A node has changed.
    fn updated(&self, peer: &Peer, update: &Update) {
        peer.leaving.store(update.leaving, Ordering::Relaxed);
        self.note_urls(peer, &update.client_urls);
    }

    /// Clients hear where else they can connect.
    fn note_urls(&self, peer: &Peer, urls: &[String]) {
        if self.shared.neighbours.set(&peer.info.server_id, urls) {
            self.shared.announce();
        }
    }

    fn is_myself(&self, address: SocketAddr) -> bool {
        self.myself.lock().contains(&address)
    }

    /// This address is our own. Whether the URL has no other one.
    async fn note_myself(&self, address: SocketAddr, url: &RouteUrl) -> bool {
        self.myself.lock().insert(address);
        match tokio::net::lookup_host(url.address()).await {
            Ok(mut addresses) => addresses.all(|address| self.is_myself(address)),
            Err(_) => false,
        }
    }

    fn serve(self: &Arc<Self>, agreed: handshake::Agreed) {
        let run = link::run(Arc::clone(self), agreed.peer, agreed.inlet, agreed.before);
        self.spawn_link(run);
    }

    /// Serves a bulk link until it ends.
    async fn serve_bulk(
        self: &Arc<Self>,
        peer: Arc<Peer>,
        lane: Arc<lane::Lane>,
        inlet: link::Inlet,
    ) {
        let old = peer.bulk.lock().replace(Arc::clone(&lane));
        if let Some(old) = old {
            old.close(CloseReason::DuplicateRoute);
        }
        if !peer.is_up() {
            // It went while this link was made.
            lane.close(CloseReason::ClientClosed);
        }
        link::run_bulk(Arc::clone(self), peer, lane, inlet).await;
    }

    fn log_created(&self, remote: SocketAddr, rid: u64) {
        let label = lane::label(remote, rid);
        let logger = &self.shared.logger;
        logger.info(format_args!("{label} - Route connection created"));
    }

    fn log_closed(&self, lane: &lane::Lane, name: Option<&str>) {
        self.log_ended(lane.remote, lane.rid, lane.reason(), name);
    }

    fn log_ended(&self, remote: SocketAddr, rid: u64, reason: CloseReason, name: Option<&str>) {
        let (label, reason) = (lane::label(remote, rid), reason.text());
        let remote = name
            .map(|name| format!(" - Remote: {name}"))
            .unwrap_or_default();
        let logger = &self.shared.logger;
        logger.info(format_args!(
            "{label} - Router connection closed: {reason}{remote}"
        ));
    }
}

async fn repeat_gossip(mesh: Arc<Mesh>) {
    loop {
        tokio::time::sleep(GOSSIP).await;
        for peer in mesh.peers.all() {
            mesh.tell_of_others(&peer);
        }
    }
}

fn say_addresses(peer: &Peer, addresses: Vec<Address>) {
    if !addresses.is_empty() {
        let mut bytes = Vec::new();
        Gossip(addresses).append(&mut bytes);
        peer.main.say(&mut bytes);
    }
}

/// Where a node can be dialled, as others should hear it. One that listens everywhere is where it was
/// seen.
fn address_of(peer: &Peer) -> Option<Address> {
    let (host, port) = split_address(&peer.info.cluster_url)?;
    let everywhere = host
        .parse()
        .is_ok_and(|ip: std::net::IpAddr| ip.is_unspecified());
    let host = if everywhere {
        peer.main.remote.ip().to_string()
    } else {
        host
    };
    let url = join_host_port(&host, port?);
    let node = peer.node();
    Some(Address { node, url })
}

fn spawn_on(tasks: &Mutex<JoinSet<()>>, task: impl Future<Output = ()> + Send + 'static) {
    let mut tasks = tasks.lock();
    while tasks.try_join_next().is_some() {}
    tasks.spawn(task);
}
