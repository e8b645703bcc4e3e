//! Three nodes as client suites start them: what their clients hear of each other, what monitoring shows, and
//! who is not let in.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use jetwake_tests::daemon::{Daemon, Lines, eventually, get, is_reference, run};
use jetwake_tests::process::{Scratch, free_port};
use serde_json::Value;

use crate::scratch;

/// Nodes find each other at once or with the next attempt, a second later. The machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// A node with a client that listens to what it is told.
struct Node {
    server: Daemon,
    clients: SocketAddr,
    lines: Lines,
    info: Value,
}

impl Node {
    fn start(dir: &Path, args: &[String]) -> Self {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Self::watch(Daemon::start(dir, &args).unwrap())
    }

    fn watch(mut server: Daemon) -> Self {
        let clients = server.ready().unwrap();
        let mut lines = Lines::connect(clients).unwrap();
        lines
            .send("CONNECT {\"protocol\":1,\"verbose\":false}\r\nPING\r\n")
            .unwrap();
        let mut node = Self {
            server,
            clients,
            lines,
            info: Value::Null,
        };
        node.read_info();
        node
    }

    fn read_info(&mut self) {
        let line = self.lines.expect("INFO ").unwrap();
        self.info = serde_json::from_str(&line["INFO ".len()..]).unwrap();
    }

    /// Reads until the client was told that it can connect to these.
    fn told(&mut self, expected: &[SocketAddr]) {
        let mut expected: Vec<_> = expected.iter().map(SocketAddr::to_string).collect();
        expected.sort();
        while connect_urls(&self.info) != expected {
            self.read_info();
        }
    }
}

fn connect_urls(info: &Value) -> Vec<String> {
    let list = info["connect_urls"].as_array().cloned().unwrap_or_default();
    let mut urls: Vec<_> = list
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    urls.sort();
    urls
}

/// Ways to start the node with this number (from 0) of those whose cluster ports are given.
pub(crate) type Form = fn(&Path, usize, &[u16]) -> Vec<String>;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn urls(scheme: &str, ports: impl Iterator<Item = u16>) -> String {
    let urls: Vec<_> = ports
        .map(|port| format!("{scheme}://127.0.0.1:{port}"))
        .collect();
    urls.join(",")
}

fn others(at: usize, ports: &[u16]) -> impl Iterator<Item = u16> {
    let own = ports[at];
    ports.iter().copied().filter(move |port| *port != own)
}

pub(crate) fn flags_with_the_others(_: &Path, at: usize, ports: &[u16]) -> Vec<String> {
    let (own, routes) = (ports[at], urls("nats", others(at, ports)));
    words(&format!(
        "-a 127.0.0.1 -p -1 --routes {routes} --cluster nats://127.0.0.1:{own} --cluster_name C -n n{at}"
    ))
}

fn single_dashes_with_all(_: &Path, at: usize, ports: &[u16]) -> Vec<String> {
    let (own, routes) = (ports[at], urls("nats", ports.iter().copied()));
    words(&format!(
        "-a 127.0.0.1 -p -1 -cluster_name C -server_name n{at} -cluster nats://127.0.0.1:{own} -routes {routes}"
    ))
}

fn listen_flag_with_the_first(_: &Path, at: usize, ports: &[u16]) -> Vec<String> {
    let (own, first) = (ports[at], ports[0]);
    words(&format!(
        "--addr 127.0.0.1 --port -1 --cluster_listen nats://127.0.0.1:{own} --routes nats://127.0.0.1:{first} \
         --cluster_name C --server_name n{at}"
    ))
}

fn configuration_file(dir: &Path, at: usize, ports: &[u16]) -> Vec<String> {
    let routes = urls("nats-route", ports.iter().copied());
    let text = format!(
        "listen: \"127.0.0.1:-1\"\nserver_name: n{at}\nhttp: \"127.0.0.1:-1\"\nports_file_dir: \".\"\n\
         lame_duck_grace_period: \"60s\"\n\
         cluster {{ name: C, listen: \"127.0.0.1:{}\", routes: [ {routes} ] }}\n",
        ports[at]
    );
    std::fs::write(dir.join(format!("n{at}.conf")), text).unwrap();
    words(&format!("-c n{at}.conf"))
}

pub(crate) struct Cluster {
    form: Form,
    ports: Vec<u16>,
    nodes: Vec<Node>,
    dir: Scratch,
}

impl Cluster {
    /// Starts one node after the other.
    pub(crate) fn start(form: Form) -> Self {
        let dir = scratch("cluster");
        let ports: Vec<_> = (0..3).map(|_| free_port().unwrap()).collect();
        let nodes = (0..3).map(|at| Node::start(dir.path(), &form(dir.path(), at, &ports)));
        Self {
            form,
            nodes: nodes.collect(),
            ports,
            dir,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.clients).collect()
    }

    /// Ends a node at once.
    pub(crate) fn kill(&mut self, at: usize) {
        let mut gone = self.nodes.remove(at);
        gone.server.signal("KILL").unwrap();
        gone.server.end().unwrap();
    }

    pub(crate) fn all_told(&mut self) {
        let all = self.addresses();
        for node in &mut self.nodes {
            node.told(&all);
        }
    }
}

#[test]
fn clients_hear_of_all_nodes_however_they_are_started() {
    let forms: [Form; 4] = [
        flags_with_the_others,
        single_dashes_with_all,
        listen_flag_with_the_first,
        configuration_file,
    ];
    for form in forms {
        let mut cluster = Cluster::start(form);
        let begin = Instant::now();
        cluster.all_told();
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        for node in &cluster.nodes {
            assert_eq!(node.info["cluster"], "C");
            let first = node.info["connect_urls"][0].as_str().unwrap();
            assert_eq!(
                first,
                node.clients.to_string(),
                "the own address comes first"
            );
        }
    }
}

#[test]
fn a_node_that_goes_is_forgotten_and_one_that_comes_back_is_told() {
    let mut cluster = Cluster::start(flags_with_the_others);
    cluster.all_told();
    for signal in ["TERM", "KILL"] {
        let mut gone = cluster.nodes.pop().unwrap();
        gone.server.signal(signal).unwrap();
        gone.server.end().unwrap();
        let left = cluster.addresses();
        for node in &mut cluster.nodes {
            node.told(&left);
        }
        let args = (cluster.form)(cluster.dir.path(), 2, &cluster.ports);
        cluster.nodes.push(Node::start(cluster.dir.path(), &args));
        cluster.all_told();
    }
}

#[test]
fn nobody_is_sent_to_a_node_in_lame_duck_mode() {
    let mut cluster = Cluster::start(configuration_file);
    cluster.all_told();
    let mut leaving = cluster.nodes.pop().unwrap();
    leaving.server.signal("USR2").unwrap();
    let left = cluster.addresses();
    for node in &mut cluster.nodes {
        node.told(&left);
    }
    while leaving.info["ldm"] != true {
        leaving.read_info();
    }
    leaving.told(&left);
}

#[test]
fn monitoring_shows_the_nodes() {
    let mut cluster = Cluster::start(configuration_file);
    cluster.all_told();
    let urls: Vec<_> = cluster
        .ports
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let node = &mut cluster.nodes[0];
    let monitor = node.server.monitor().unwrap();
    let varz = eventually(|| {
        let varz = get(monitor, "/varz").unwrap().json();
        let routez = get(monitor, "/routez").unwrap().json();
        // Connections come and go until one of each pair's is left.
        let settled = varz["routes"] == routez["num_routes"] && varz["remotes"] == 2;
        (settled && varz["routes"].as_u64()? >= 4).then_some(varz)
    })
    .unwrap();
    assert_eq!(connect_urls(&varz), connect_urls(&node.info));
    let expected = serde_json::json!({
        "name": "C", "addr": "127.0.0.1", "cluster_port": cluster.ports[0], "urls": urls, "pool_size": 3,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&varz["cluster"][key], value, "{key}");
    }
    assert_eq!(varz["cluster"]["auth_timeout"].as_f64(), Some(2.0));
    assert_eq!(varz["cluster"]["tls_timeout"].as_f64(), Some(2.0));
    let routez = eventually(|| {
        let routez = get(monitor, "/routez").unwrap().json();
        let all = routez["routes"].as_array()?;
        // The round trip time comes with the first answer to a ping.
        let measured = all.iter().any(|route| route["rtt"].is_string());
        // An attempt that finds a link marks that as configured.
        let configured = all.iter().all(|route| route["is_configured"] == true);
        (measured && configured).then(|| routez.clone())
    })
    .unwrap();
    for route in routez["routes"].as_array().unwrap() {
        let keys: Vec<_> = route
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        for key in FIELDS {
            assert!(keys.contains(key), "{key} of {route}");
        }
        for key in keys {
            assert!(
                FIELDS.contains(&key) || ["rtt", "account"].contains(&key),
                "{key}"
            );
        }
        let name = route["remote_name"].as_str().unwrap();
        assert!(["n1", "n2"].contains(&name), "{name}");
    }
    assert_eq!(get(monitor, "/healthz").unwrap().status, 200);
    let ports = format!("{}.ports", cluster.nodes[0].server.pid());
    let file = std::fs::read_dir(cluster.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with(&ports))
        .unwrap();
    let ports: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(ports["cluster"][0], format!("nats://{}", urls[0]));
}

/// What every route of nats-server has.
const FIELDS: &[&str] = &[
    "rid",
    "remote_id",
    "remote_name",
    "did_solicit",
    "is_configured",
    "ip",
    "port",
    "start",
    "last_activity",
    "uptime",
    "idle",
    "pending_size",
    "in_msgs",
    "out_msgs",
    "in_bytes",
    "out_bytes",
    "subscriptions",
    "compression",
];

/// One node with a cluster port, and how to reach that.
fn seed(dir: &Path, more: &str) -> (Daemon, u16) {
    let port = free_port().unwrap();
    let text = format!(
        "listen: \"127.0.0.1:-1\"\nserver_name: n0\n\
         cluster {{ name: C, listen: \"127.0.0.1:{port}\", {more} }}\n"
    );
    std::fs::write(dir.join("seed.conf"), text).unwrap();
    let mut server = Daemon::start(dir, &["-c", "seed.conf"]).unwrap();
    server.line("Listening for route connections on ").unwrap();
    (server, port)
}

fn dial(dir: &Path, name: &str, cluster: &str, route: &str) -> Daemon {
    let args = format!(
        "-a 127.0.0.1 -p -1 -n {name} --cluster nats://127.0.0.1:-1 --cluster_name {cluster} --routes {route}"
    );
    let args: Vec<_> = args.split_whitespace().collect();
    Daemon::start(dir, &args).unwrap()
}

#[test]
fn the_log_says_who_the_cluster_is_and_who_comes_and_goes() {
    let dir = scratch("cluster-log");
    let (mut server, port) = seed(dir.path(), "");
    let order = [
        "[INF]   Cluster:  C",
        "[INF]   Name:     n0",
        "[INF] Server is ready",
        "[INF] Cluster name is C",
        &format!("[INF] Listening for route connections on 127.0.0.1:{port}"),
    ];
    for text in order {
        server.line(text).unwrap();
    }
    let mut first = Node::watch(server);
    let mut other = dial(dir.path(), "n1", "C", &format!("nats://127.0.0.1:{port}"));
    first.told(&[first.clients, other.ready().unwrap()]);
    first.server.line(" - Route connection created").unwrap();
    other
        .line(&format!("[INF] 127.0.0.1:{port} - rid:"))
        .unwrap();
    other.line(" - Route connection created").unwrap();
    other.signal("KILL").unwrap();
    // The end of a killed process is a closed connection or a reset one, as its last bytes were read or not.
    let closed = first.server.next_line(" - Remote: n1").unwrap();
    assert!(closed.contains("- Router connection closed: "), "{closed}");
    let refused = free_port().unwrap();
    let mut alone = dial(
        dir.path(),
        "n2",
        "C",
        &format!("nats://127.0.0.1:{refused}"),
    );
    let text = format!(
        "[ERR] Error trying to connect to route (attempt 1): dial tcp 127.0.0.1:{refused}: connect: connection refused"
    );
    alone.line(&text).unwrap();
    let args = [
        "-a",
        "127.0.0.1",
        "-p",
        "-1",
        "--cluster",
        "nats://127.0.0.1:-1",
    ];
    let mut unnamed = Daemon::start(dir.path(), &args).unwrap();
    unnamed
        .line("[WRN] Cluster name was dynamically generated, consider setting one")
        .unwrap();
}

#[test]
fn another_cluster_and_a_name_twice_are_refused_by_both_logs() {
    let dir = scratch("cluster-names");
    let (mut server, port) = seed(dir.path(), "");
    let route = format!("nats://127.0.0.1:{port}");
    let mut other = dial(dir.path(), "n1", "D", &route);
    let text = "Rejecting connection, cluster name \"D\" does not match \"C\"";
    server.next_line(text).unwrap();
    server
        .next_line("- Router connection closed: Cluster Name Conflict")
        .unwrap();
    other.line(&format!(" - Route Error '{text}'")).unwrap();
    other.signal("KILL").unwrap();
    let _twin = dial(dir.path(), "n0", "C", &route);
    server
        .next_line("Remote server has a duplicate name: \"n0\"")
        .unwrap();
    server
        .next_line("- Router connection closed: Duplicate Server Name")
        .unwrap();
}

#[test]
fn only_who_has_the_password_gets_in() {
    let dir = scratch("cluster-password");
    let (mut server, port) = seed(dir.path(), "authorization { user: u, password: p }");
    let mut nobody = dial(dir.path(), "n1", "C", &format!("nats://127.0.0.1:{port}"));
    server.next_line("- authentication error").unwrap();
    server
        .next_line("- Router connection closed: Authentication Failure")
        .unwrap();
    nobody
        .line(" - Route Error 'Authorization Violation'")
        .unwrap();
    nobody.signal("KILL").unwrap();
    let wrong = dial(
        dir.path(),
        "n1",
        "C",
        &format!("nats-route://u:x@127.0.0.1:{port}"),
    );
    server
        .next_line("- authentication error - User \"u\"")
        .unwrap();
    wrong.signal("KILL").unwrap();
    let mut right = Node::start(
        dir.path(),
        &words(&format!(
            "-a 127.0.0.1 -p -1 -n n1 --cluster nats://u:p@127.0.0.1:-1 --cluster_name C \
             --routes nats-route://u:p@127.0.0.1:{port}"
        )),
    );
    let all = [server.ready().unwrap(), right.clients];
    right.told(&all);
}

#[test]
fn a_client_on_the_cluster_port_is_told_so() {
    let dir = scratch("cluster-port");
    let (mut server, port) = seed(dir.path(), "");
    let mut lines = Lines::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    lines.send("CONNECT {\"lang\":\"go\"}\r\n").unwrap();
    let answer = lines.expect("-ERR ").unwrap();
    assert_eq!(answer, "-ERR 'attempted to connect to route port'\r\n");
    assert_eq!(lines.end().unwrap(), "");
    server.line("- attempted to connect to route port").unwrap();
    server
        .line("- Router connection closed: Incorrect Port")
        .unwrap();
}

#[test]
fn a_cluster_that_cannot_be_is_refused_at_the_start() {
    let dir = scratch("cluster-refusals");
    let cases = [
        (
            "--cluster nats://127.0.0.1:-1 -js -sd store",
            "jetstream cluster requires `server_name` to be set",
        ),
        (
            "--cluster nats://127.0.0.1:-1 -js -sd store -n n1",
            "jetstream cluster requires `cluster.name` to be set",
        ),
        (
            "--cluster nats://127.0.0.1:-1 -js -sd store -n n1 --cluster_name C",
            "Can't start JetStream: JetStream cluster requires configured routes or solicited leafnode for the \
             system account",
        ),
        (
            "--routes nats://127.0.0.1:1",
            "solicited routes require cluster capabilities, e.g. --cluster",
        ),
        (
            "--cluster nats://127.0.0.1:-1 --cluster_advertise a:b",
            "[FTL] Error setting route INFO with Cluster.Advertise value of a:b, err=strconv.Atoi: parsing \"b\": \
             invalid syntax",
        ),
        (
            "--client_advertise ::1",
            "[FTL] Error setting server INFO with ClientAdvertise value of ::1, err=address ::1: too many colons in \
             address",
        ),
        (
            "--cluster nats://127.0.0.1",
            "address 127.0.0.1: missing port in address",
        ),
    ];
    for (args, text) in cases {
        let args = format!("-a 127.0.0.1 -p -1 {args}");
        let args: Vec<_> = args.split_whitespace().collect();
        let end = run(dir.path(), &args).unwrap();
        assert_eq!(end.code, Some(1), "{args:?}");
        assert!(end.stderr.contains(text), "{args:?}: {}", end.stderr);
    }
    let (_server, port) = seed(dir.path(), "");
    let cluster = format!("nats://127.0.0.1:{port}");
    let end = run(
        dir.path(),
        &["-a", "127.0.0.1", "-p", "-1", "--cluster", &cluster],
    )
    .unwrap();
    let text = format!(
        "[FTL] Error listening on router port: {port} - listen tcp 127.0.0.1:{port}: bind: address already in use"
    );
    assert!(end.stderr.contains(&text), "{}", end.stderr);
    assert_eq!(end.code, Some(1));
}

/// The two do not understand each other's protocol, and each is told so where we can tell it.
#[test]
fn ours_says_that_a_nats_server_is_no_node() {
    if is_reference() {
        return;
    }
    let dir = scratch("cluster-foreign");
    let foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = foreign.local_addr().unwrap().port();
    let mut ours = dial(dir.path(), "n1", "C", &format!("nats://127.0.0.1:{port}"));
    let (mut stream, _) = foreign.accept().unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"INFO {\"version\":\"2.15.1\",\"nonce\":\"x\"} \r\n",
    )
    .unwrap();
    ours.line(
        " - Route Error: the other side is nats-server 2.15.1, whose route protocol this server does not speak: all \
         servers of a cluster must be of one kind",
    )
    .unwrap();
}
