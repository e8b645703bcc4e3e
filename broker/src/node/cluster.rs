//! A cluster in one process, for tests: real servers on loopback, that can be stopped, killed, paused and cut off.
//!
//! A shell module: it reserves ports, and waits.

// Ports are reserved and time passes here.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use jetwake_protocol::peer::NodeId;

use super::inbox::Mail;
use super::store_dir::TemporaryDir;
use super::{Builder, Server, StartError, random};
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::{Depth, JetStream};

/// How often a cluster that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// How long it is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Several servers that form a cluster. Dropping it stops them all and removes their data.
///
/// ```no_run
/// # async fn example() -> Result<(), jetwake::StartError> {
/// let mut cluster = jetwake::Cluster::start(3).await?;
/// let url = cluster.client_urls().join(",");
/// // ... connect to `url`, create a stream with three replicas, publish ...
/// cluster.kill(0);
/// // ... the other two go on ...
/// cluster.restart(0).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    change: Change,
    _data: TemporaryDir,
}

/// What every node's settings go through.
struct Change(Box<dyn Fn(Builder) -> Builder + Send + Sync>);

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Change")
    }
}

/// One place in the cluster.
#[derive(Debug)]
struct Node {
    name: String,
    store_dir: PathBuf,
    /// Client and cluster port, the same after a restart.
    ports: (u16, u16),
    server: Option<Server>,
    /// Ends its pause when dropped.
    paused: Option<mpsc::Sender<()>>,
}

impl Node {
    fn builder<'a>(&self, others: impl IntoIterator<Item = &'a SocketAddr>) -> Builder {
        let (client, cluster) = self.ports;
        let mut builder = Server::builder()
            .name(&self.name)
            .store_dir(&self.store_dir)
            .port(client)
            .cluster("jetwake")
            .options(|options| options.cluster.port = Some(cluster));
        for address in others {
            builder = builder.route(*address);
        }
        builder
    }
}

impl Cluster {
    /// Starts a cluster of `count` nodes, `n1` and so on, and completes when it has a leader and all nodes belong to
    /// it. JetStream is on and does not wait for the disk.
    ///
    /// # Errors
    /// When a node does not start, or the cluster is not complete after 20 seconds.
    pub async fn start(count: usize) -> Result<Self, StartError> {
        Self::start_with(count, |builder| builder).await
    }

    /// The same; `change` sees every node's settings, also when it is started again.
    ///
    /// # Errors
    /// When a node does not start.
    pub async fn start_with(
        count: usize,
        change: impl Fn(Builder) -> Builder + Send + Sync + 'static,
    ) -> Result<Self, StartError> {
        let data = TemporaryDir::make(random::number()).map_err(StartError::TemporaryDir)?;
        // Every node is told of all others before the first one is there.
        let reserved: Result<Vec<TcpListener>, _> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect();
        let reserved = reserved.map_err(|error| StartError::Route {
            host: "127.0.0.1".to_owned(),
            port: 0,
            error,
        })?;
        let addresses: Vec<SocketAddr> = reserved
            .iter()
            .filter_map(|one| one.local_addr().ok())
            .collect();
        drop(reserved);
        let mut nodes: Vec<Node> = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            let name = format!("n{}", at + 1);
            let store_dir = data.path().join(&name);
            let mut node = Node {
                name,
                store_dir,
                ports: (0, address.port()),
                server: None,
                paused: None,
            };
            let others = addresses.iter().filter(|other| *other != address);
            let server = change(node.builder(others)).start().await?;
            node.ports.0 = server.client_addr().port();
            node.server = Some(server);
            nodes.push(node);
        }
        let cluster = Self {
            nodes,
            change: Change(Box::new(change)),
            _data: data,
        };
        cluster.wait(count).await?;
        Ok(cluster)
    }

    /// Completes when all running nodes belong to a cluster of at least `members` and know its leader.
    async fn wait(&self, members: usize) -> Result<(), StartError> {
        let all = async {
            for node in &self.nodes {
                let Some(server) = &node.server else { continue };
                while server.cluster_size().is_none_or(|size| size < members) {
                    tokio::time::sleep(LOOK).await;
                }
            }
        };
        let complete = tokio::time::timeout(PATIENCE, all).await;
        complete.map_err(|_| StartError::NoCluster)
    }

    /// How many nodes there are, running or not.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A running node, counted from 0.
    pub fn server(&self, node: usize) -> Option<&Server> {
        self.nodes.get(node)?.server.as_ref()
    }

    /// Where clients connect, for each running node.
    pub fn client_urls(&self) -> Vec<String> {
        let running = self.nodes.iter().filter_map(|node| node.server.as_ref());
        running.map(Server::client_url).collect()
    }

    /// Stops a node as a signal would: it hands over first what it leads.
    pub async fn stop(&mut self, node: usize) {
        if let Some(server) = self.nodes.get_mut(node).and_then(|node| node.server.take()) {
            server.shutdown().await;
        }
    }

    /// Ends a node without a word: the others only see that it is gone.
    pub fn kill(&mut self, node: usize) {
        if let Some(server) = self.nodes.get_mut(node).and_then(|node| node.server.take()) {
            server.kill();
        }
    }

    /// Starts a node again, with its data and on its ports.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self, node: usize) -> Result<(), StartError> {
        let all = self.nodes.iter().enumerate();
        let others: Vec<SocketAddr> = all
            .filter(|(at, _)| *at != node)
            .map(|(_, other)| SocketAddr::from(([127, 0, 0, 1], other.ports.1)))
            .collect();
        let Some(node) = self
            .nodes
            .get_mut(node)
            .filter(|node| node.server.is_none())
        else {
            return Ok(());
        };
        let builder = node.builder(&others);
        node.server = Some((self.change.0)(builder).start().await?);
        Ok(())
    }

    /// Stops a node's JetStream for as long as the pause lasts; its connections stay.
    pub fn pause(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node)
            && let Some(server) = &node.server
        {
            node.paused = server.pause();
        }
    }

    /// Ends a pause.
    pub fn resume(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.paused = None;
        }
    }

    /// Cuts these nodes off from all others; among themselves they still hear each other.
    pub fn partition(&self, nodes: &[usize]) {
        let ids = |inside: bool| -> BTreeSet<NodeId> {
            let all = self.nodes.iter().enumerate();
            let side = all.filter(|(at, _)| nodes.contains(at) == inside);
            side.filter_map(|(_, node)| node.server.as_ref()?.node_id())
                .collect()
        };
        let (these, those) = (ids(true), ids(false));
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(server) = &node.server {
                server.cut_off(if nodes.contains(&at) { &those } else { &these });
            }
        }
    }

    /// Ends all partitions.
    pub fn heal(&self) {
        for node in &self.nodes {
            if let Some(server) = &node.server {
                server.cut_off(&BTreeSet::new());
            }
        }
    }

    /// Which node leads a stream of the account `$G`, counted from 0.
    pub fn leader(&self, stream: &str) -> Option<usize> {
        self.nodes.iter().position(|node| {
            let server = node.server.as_ref().filter(|_| node.paused.is_none());
            server.is_some_and(|server| server.leads(stream))
        })
    }

    /// Has another node lead a stream. False if that cannot be: nobody leads now, or that node has no replica.
    pub fn move_leader(&self, stream: &str, to: usize) -> bool {
        let leader = self.leader(stream).and_then(|at| self.server(at));
        let heir = self.server(to).and_then(Server::node_id);
        match (leader, heir) {
            (Some(leader), Some(heir)) => leader.hand_over(stream, heir),
            _ => false,
        }
    }
}

impl Server {
    /// Asks the JetStream thread; `None` when JetStream is off or gone.
    fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut JetStream, Timestamp, &mut dyn Outbox) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = mpsc::channel();
        self.shard.as_ref()?.post(Mail::Look(Box::new(
            move |jetstream: &mut JetStream, now, out: &mut dyn Outbox| {
                // Whoever asked waits for it.
                let _ = answer.send(question(jetstream, now, out));
            },
        )));
        answered.recv().ok()
    }

    /// How many nodes its cluster has, once it belongs to one that is led.
    fn cluster_size(&self) -> Option<usize> {
        let report =
            self.ask(|jetstream, now, out| jetstream.report(Depth::default(), now, out))?;
        let cluster = report.cluster.filter(|one| !one.leader.is_empty())?;
        report.ailing.is_none().then_some(cluster.cluster_size)
    }

    /// Its number in its cluster.
    fn node_id(&self) -> Option<NodeId> {
        self.mesh.as_ref().map(|mesh| mesh.peers().me())
    }

    /// Holds its JetStream until the answer is dropped.
    fn pause(&self) -> Option<mpsc::Sender<()>> {
        let (end, ended) = mpsc::channel();
        self.shard.as_ref()?.post(Mail::Look(Box::new(
            move |_: &mut JetStream, _, _: &mut dyn Outbox| {
                // Nothing is ever sent: this is an error when the pause ends.
                let _ = ended.recv();
            },
        )));
        Some(end)
    }

    fn cut_off(&self, nodes: &BTreeSet<NodeId>) {
        if let Some(mesh) = &self.mesh {
            mesh.peers().cut_off(nodes);
        }
    }

    fn leads(&self, stream: &str) -> bool {
        let stream = stream.to_owned();
        self.ask(move |jetstream, _, _| jetstream.leads(&stream))
            .unwrap_or(false)
    }

    fn hand_over(&self, stream: &str, heir: NodeId) -> bool {
        let stream = stream.to_owned();
        self.ask(move |jetstream, now, out| jetstream.hand_over(&stream, heir.0, now, out))
            .unwrap_or(false)
    }

    /// Ends it without a word to other nodes.
    fn kill(mut self) {
        // With its links gone there is nobody to hand over to.
        self.mesh.take();
    }
}
