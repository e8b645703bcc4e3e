//! Three servers in one cluster with JetStream.

use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use crate::process::Server;

/// Tests create replicated streams at once, so a meta leader must exist when `run_cluster` returns.
const META_ELECTION: Duration = Duration::from_secs(2);

/// Three running nodes; all are killed on drop.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in start order.
    pub servers: Vec<Server>,
}

impl Cluster {
    /// The URL of the first node.
    #[must_use]
    pub fn client_url(&self) -> String {
        self.servers[0].client_url()
    }
}

/// Starts three nodes that share a configuration file and know each other's routes.
///
/// # Panics
/// When a node does not come up; the message holds its log.
#[must_use]
pub fn run_cluster(config: &str) -> Cluster {
    let ports = free_ports();
    let mut servers: Vec<Server> = (0..ports.len())
        .map(|node| Server::spawn(node_args(config, &ports, node)))
        .collect();
    for server in &mut servers {
        server.wait_ready();
    }
    thread::sleep(META_ELECTION);
    Cluster { servers }
}

fn node_args(config: &str, ports: &[u16], node: usize) -> Vec<String> {
    let routes: Vec<String> = ports
        .iter()
        .enumerate()
        .filter(|(other, _)| *other != node)
        .map(|(_, port)| format!("nats://127.0.0.1:{port}"))
        .collect();
    let own = format!("nats://127.0.0.1:{}", ports[node]);
    let name = format!("node{}", node + 1);
    let routes = routes.join(",");
    let mut args = vec![
        "-p",
        "-1",
        "--cluster",
        &own,
        "--cluster_name",
        "cluster",
        "-n",
        &name,
    ];
    args.extend(["--routes", &routes]);
    if !config.is_empty() {
        args.extend(["-c", config]);
    }
    args.into_iter().map(str::to_owned).collect()
}

/// Three ports that were free together a moment ago.
fn free_ports() -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("bind a free port"))
        .collect();
    listeners
        .iter()
        .map(|l| l.local_addr().expect("local address").port())
        .collect()
}
