//! Meshes in one process, over loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jetwake_protocol::peer::{Kind, Link, NodeId, frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;
use crate::log::Logger;
use crate::options::Options;
use crate::server::Bound;

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Up(u64),
    Down(u64),
    Room(u64),
    Frame(u64, Kind, Vec<u8>),
}

#[derive(Debug)]
struct Recorder(mpsc::UnboundedSender<Seen>);

struct Reader {
    node: u64,
    out: mpsc::UnboundedSender<Seen>,
}

impl MeshEvents for Recorder {
    fn takes(&self, kind: Kind) -> bool {
        matches!(kind, Kind::JETSTREAM | Kind::BULK)
    }

    fn peer_up(&self, peer: &Arc<Peer>) {
        self.0.send(Seen::Up(peer.node().0)).unwrap();
    }

    fn peer_down(&self, peer: &Arc<Peer>) {
        self.0.send(Seen::Down(peer.node().0)).unwrap();
    }

    fn bulk_room(&self, node: NodeId) {
        self.0.send(Seen::Room(node.0)).unwrap();
    }

    fn receiver(&self, peer: &Arc<Peer>, _link: Link) -> Box<dyn Receiver> {
        let (node, out) = (peer.node().0, self.0.clone());
        Box::new(Reader { node, out })
    }
}

impl Receiver for Reader {
    fn frame(&mut self, kind: Kind, body: Bytes) {
        let seen = Seen::Frame(self.node, kind, body.to_vec());
        self.out.send(seen).unwrap();
    }
}

struct Node {
    mesh: RunningMesh,
    seen: mpsc::UnboundedReceiver<Seen>,
    _bound: Bound,
}

impl Node {
    async fn start(node: u64, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            host: "127.0.0.1".to_owned(),
            port: 0,
            server_name: Some(format!("n{node}")),
            ..Options::default()
        };
        options.cluster.host = "127.0.0.1".to_owned();
        options.cluster.port = Some(0);
        options.cluster.name = Some("C".to_owned());
        change(&mut options);
        let bound = Bound::bind(options, Logger::silent(), None).await.unwrap();
        let shared = Arc::clone(bound.router().shared());
        let mesh = BoundMesh::bind(shared, NodeId(node))
            .await
            .unwrap()
            .unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        Self {
            mesh: mesh.start(vec![Arc::new(Recorder(sender))]),
            seen,
            _bound: bound,
        }
    }

    fn route(&self) -> RouteUrl {
        RouteUrl::of_address(&self.mesh.addr().to_string(), None).unwrap()
    }

    async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(LIMIT, self.seen.recv()).await;
        next.expect("nothing is seen").unwrap()
    }

    async fn sees(&mut self, expected: Seen) {
        assert_eq!(self.next().await, expected);
    }

    async fn bulk(&self, to: u64, body: &[u8]) {
        let send = async {
            while self.mesh.peers().send(NodeId(to), Kind::BULK, body) == Sent::Down {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LIMIT, send).await.unwrap();
    }
}

/// Sends some frames from one node to another.
async fn talks(from: &Node, from_node: u64, to: &mut Node, to_node: u64) {
    let mut frames = Frames::default();
    frames.push(Kind::JETSTREAM, b"one");
    frames.push(Kind(40), b"nobody takes this");
    frames.push(Kind::JETSTREAM, &[7; 200_000]);
    let peers = from.mesh.peers();
    let sent = peers.send_frames(NodeId(to_node), Kind::JETSTREAM, &mut frames);
    assert_eq!(sent, Sent::Yes);
    assert!(frames.is_empty());
    for body in [b"one".to_vec(), vec![7; 200_000]] {
        to.sees(Seen::Frame(from_node, Kind::JETSTREAM, body)).await;
    }
}

#[tokio::test]
async fn frames_go_both_ways_and_an_end_is_seen() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut a = Node::start(first, |_| {}).await;
        let route = a.route();
        let mut b = Node::start(second, |o| o.cluster.routes = vec![route]).await;
        a.sees(Seen::Up(second)).await;
        b.sees(Seen::Up(first)).await;
        talks(&a, first, &mut b, second).await;
        talks(&b, second, &mut a, first).await;
        a.bulk(second, b"state").await;
        b.sees(Seen::Frame(first, Kind::BULK, b"state".to_vec()))
            .await;
        b.mesh.shutdown().await;
        a.sees(Seen::Down(second)).await;
        assert_eq!(
            a.mesh.peers().send(NodeId(second), Kind::JETSTREAM, b""),
            Sent::Down
        );
    }
}

#[tokio::test]
async fn when_both_dial_one_link_remains() {
    for _ in 0..20 {
        let mut a = Node::start(1, |_| {}).await;
        let route = a.route();
        let mut b = Node::start(2, |o| o.cluster.routes = vec![route]).await;
        // The other direction at the same time.
        let route = Route {
            url: b.route(),
            configured: true,
        };
        let mesh = Arc::clone(&a.mesh.mesh);
        mesh.spawn(dialer::run(Arc::clone(&mesh), route));
        a.sees(Seen::Up(2)).await;
        b.sees(Seen::Up(1)).await;
        talks(&a, 1, &mut b, 2).await;
        talks(&b, 2, &mut a, 1).await;
        // The bulk link comes last: nothing else is under way then.
        a.bulk(2, b"y").await;
        b.sees(Seen::Frame(1, Kind::BULK, b"y".to_vec())).await;
    }
}

#[tokio::test]
async fn one_route_is_enough_to_join() {
    let mut a = Node::start(1, |_| {}).await;
    let route = a.route();
    let mut b = Node::start(2, |o| o.cluster.routes = vec![route.clone()]).await;
    b.sees(Seen::Up(1)).await;
    a.sees(Seen::Up(2)).await;
    let mut c = Node::start(3, |o| o.cluster.routes = vec![route]).await;
    a.sees(Seen::Up(3)).await;
    c.sees(Seen::Up(1)).await;
    b.sees(Seen::Up(3)).await;
    c.sees(Seen::Up(2)).await;
}

async fn says(node: &Node, words: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(node.mesh.addr()).await.unwrap();
    stream.write_all(words).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    tokio::time::timeout(LIMIT, read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn who_speaks_something_else_is_told() {
    let node = Node::start(1, |_| {}).await;
    let text = |answer: Vec<u8>| String::from_utf8(answer).unwrap();
    let port = "-ERR 'attempted to connect to route port'\r\n";
    assert_eq!(
        text(says(&node, b"CONNECT {\"lang\":\"go\"}\r\nPING\r\n").await),
        port
    );
    assert_eq!(text(says(&node, b"").await), port);
    let route = text(says(&node, b"CONNECT {\"name\":\"N\",\"cluster\":\"C\"}\r\n").await);
    assert!(
        route.starts_with("-ERR 'the route protocol of nats-server is not spoken here"),
        "{route}"
    );
    let other = text(says(&node, b"GET / HTTP/1.1\r\n\r\n").await);
    assert_eq!(other, "-ERR 'Unknown Protocol Operation'\r\n");
    let answer = says(&node, &{
        let mut bytes = Vec::new();
        frame::append(&mut bytes, Kind::PING, b"");
        bytes
    })
    .await;
    let found = frame::next(&answer, frame::MAX_GREETING).unwrap().unwrap();
    assert_eq!(found.kind, Kind::REFUSED);
    assert_eq!(&answer[found.body], b"the first frame is no hello");
}

#[tokio::test]
async fn made_up_names_of_clusters_agree() {
    let mut a = Node::start(1, |o| o.cluster.name = None).await;
    let route = a.route();
    let mut b = Node::start(2, |o| {
        o.cluster.name = None;
        o.cluster.routes = vec![route.clone()];
    })
    .await;
    a.sees(Seen::Up(2)).await;
    b.sees(Seen::Up(1)).await;
    let name = a.mesh.mesh.cluster_name();
    assert_eq!(name, b.mesh.mesh.cluster_name());
    let c = Node::start(3, |o| o.cluster.routes = vec![route]).await;
    let agree = async {
        while [&a, &b]
            .iter()
            .any(|node| node.mesh.mesh.cluster_name().text != "C")
            || c.mesh.peers().all().len() < 2
            || a.mesh.peers().all().len() < 2
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, agree).await.unwrap();
}

#[tokio::test]
async fn only_who_has_the_password_gets_in() {
    let credentials = |password: &str| Credentials {
        user: "u".to_owned(),
        password: password.to_owned(),
    };
    let guard = |o: &mut Options| o.cluster.credentials = Some(credentials("p"));
    let mut a = Node::start(1, guard).await;
    let mut routes = [a.route(), a.route()];
    routes[0].credentials = Some(credentials("q"));
    routes[1].credentials = Some(credentials("p"));
    let [wrong, right] = routes;
    let refused = Node::start(2, |o| o.cluster.routes = vec![wrong]).await;
    let _let_in = Node::start(3, |o| o.cluster.routes = vec![right]).await;
    a.sees(Seen::Up(3)).await;
    assert!(refused.mesh.peers().all().is_empty());
}

#[tokio::test]
async fn another_cluster_and_a_name_twice_stay_outside() {
    let mut a = Node::start(1, |_| {}).await;
    let route = a.route();
    let other = Node::start(2, |o| {
        o.cluster.name = Some("D".to_owned());
        o.cluster.routes = vec![route.clone()];
    })
    .await;
    let twin = Node::start(3, |o| {
        o.server_name = Some("n1".to_owned());
        o.cluster.routes = vec![route.clone()];
    })
    .await;
    let _welcome = Node::start(4, |o| o.cluster.routes = vec![route]).await;
    a.sees(Seen::Up(4)).await;
    assert!(other.mesh.peers().all().is_empty());
    assert!(twin.mesh.peers().all().is_empty());
}

#[tokio::test]
async fn a_route_to_itself_is_dropped() {
    let node = Node::start(1, |_| {}).await;
    let mesh = &node.mesh.mesh;
    let route = Route {
        url: node.route(),
        configured: true,
    };
    tokio::time::timeout(LIMIT, dialer::run(Arc::clone(mesh), route))
        .await
        .unwrap();
    assert!(node.mesh.peers().all().is_empty());
}

/// A node of which the test is the program: it says what it wants, reads when it wants.
struct ByHand {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl ByHand {
    /// Dials a node, as the one with this number.
    async fn dial(to: &Node, node: u64, link: Link, server_id: &str) -> Self {
        let hello = Hello {
            link,
            node: NodeId(node),
            server_id: server_id.to_owned(),
            server_name: format!("n{node}"),
            cluster: "C".to_owned(),
            ..to.mesh.mesh.hello(link, None)
        };
        let mut bytes = Vec::new();
        hello.append(&mut bytes);
        let mut stream = TcpStream::connect(to.mesh.addr()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let buffer = Vec::new();
        Self { stream, buffer }
    }

    async fn next(&mut self) -> Option<Kind> {
        let next = async {
            loop {
                if let Some(found) = frame::next(&self.buffer, frame::MAX_BODY).unwrap() {
                    self.buffer.drain(..found.body.end);
                    return Some(found.kind);
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap() == 0 {
                    return None;
                }
            }
        };
        tokio::time::timeout(LIMIT, next).await.unwrap()
    }

    async fn is_let_in(&mut self) -> bool {
        assert_eq!(self.next().await, Some(Kind::HELLO));
        match self.next().await {
            Some(Kind::OPEN) => true,
            Some(Kind::REFUSED) => false,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_falls_silent_is_down() {
    let mut a = Node::start(1, |o| {
        o.cluster.ping_interval = Some(Duration::from_millis(50));
        o.cluster.ping_max = Some(1);
    })
    .await;
    let mut silent = ByHand::dial(&a, 2, Link::Main, "N").await;
    assert!(silent.is_let_in().await);
    a.sees(Seen::Up(2)).await;
    a.sees(Seen::Down(2)).await;
    while let Some(kind) = silent.next().await {
        assert_eq!(kind, Kind::PING);
    }
}

#[tokio::test]
async fn what_came_before_a_damaged_frame_counts() {
    let mut a = Node::start(1, |_| {}).await;
    let mut peer = ByHand::dial(&a, 2, Link::Main, "N").await;
    assert!(peer.is_let_in().await);
    let mut bytes = Vec::new();
    frame::append(&mut bytes, Kind::JETSTREAM, b"good");
    frame::append(&mut bytes, Kind::JETSTREAM, b"bad");
    *bytes.last_mut().unwrap() ^= 1;
    peer.stream.write_all(&bytes).await.unwrap();
    a.sees(Seen::Up(2)).await;
    a.sees(Seen::Frame(2, Kind::JETSTREAM, b"good".to_vec()))
        .await;
    a.sees(Seen::Down(2)).await;
}

#[tokio::test]
async fn a_second_connection_is_refused_unless_the_process_is_another() {
    let mut a = Node::start(1, |_| {}).await;
    let mut first = ByHand::dial(&a, 2, Link::Main, "N").await;
    assert!(first.is_let_in().await);
    a.sees(Seen::Up(2)).await;
    let mut second = ByHand::dial(&a, 2, Link::Main, "N").await;
    assert!(!second.is_let_in().await);
    let mut restarted = ByHand::dial(&a, 2, Link::Main, "M").await;
    assert!(restarted.is_let_in().await);
    a.sees(Seen::Down(2)).await;
    a.sees(Seen::Up(2)).await;
    while first.next().await.is_some() {}
}

#[tokio::test]
async fn who_does_not_read_is_cut_on_the_main_link_and_waited_for_on_the_bulk_link() {
    let mut a = Node::start(1, |o| o.max_pending = 1 << 20).await;
    let mut main = ByHand::dial(&a, 2, Link::Main, "N").await;
    assert!(main.is_let_in().await);
    a.sees(Seen::Up(2)).await;
    let mut bulk = ByHand::dial(&a, 2, Link::Bulk, "N").await;
    assert!(bulk.is_let_in().await);
    a.bulk(2, b"").await;
    let peers = a.mesh.peers().clone();
    let body = vec![0; 1 << 20];
    let mut taken = 1;
    while peers.send(NodeId(2), Kind::BULK, &body) != Sent::Full {
        taken += 1;
    }
    assert!(taken > 8, "{taken}");
    for _ in 0..taken {
        assert_eq!(bulk.next().await, Some(Kind::BULK));
    }
    a.sees(Seen::Room(2)).await;
    assert_eq!(peers.send(NodeId(2), Kind::BULK, &body), Sent::Yes);
    while peers.send(NodeId(2), Kind::JETSTREAM, &body) != Sent::Down {}
    a.sees(Seen::Down(2)).await;
    while bulk.next().await.is_some() {}
}

#[tokio::test]
async fn a_severed_link_is_given_up_and_made_again() {
    let fast = |o: &mut Options| {
        o.cluster.ping_interval = Some(Duration::from_millis(50));
        o.cluster.ping_max = Some(1);
    };
    let mut a = Node::start(1, fast).await;
    let route = a.route();
    let mut b = Node::start(2, |o| {
        fast(o);
        o.cluster.routes = vec![route];
    })
    .await;
    a.sees(Seen::Up(2)).await;
    b.sees(Seen::Up(1)).await;
    a.mesh.peers().mute(NodeId(2));
    assert_eq!(
        a.mesh.peers().send(NodeId(2), Kind::JETSTREAM, b"lost"),
        Sent::Yes
    );
    a.sees(Seen::Down(2)).await;
    b.sees(Seen::Down(1)).await;
    a.mesh.peers().unmute(NodeId(2));
    a.sees(Seen::Up(2)).await;
    b.sees(Seen::Up(1)).await;
    talks(&a, 1, &mut b, 2).await;
}
