//! Routers without a mesh, and their clients.

// Threads of a test.
#![allow(clippy::disallowed_methods)]

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::pin::Pin;

use jetwake_protocol::peer::{Kind, frame};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::*;
use crate::jetstream::tag::AccountId;
use crate::log::Logger;
use crate::options::Options;
use crate::server::auth::SingleUser;
use crate::server::connection::Connection;
use crate::server::inbox::{InboundBatch, JetStreamInbox};
use crate::server::session::Session;
use crate::server::shared::Parts;
use crate::server::{Deliverer, RouterHandle};

/// Xorshift: the same seed gives the same program.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % most
    }
}

/// What a client was sent.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) subject: String,
    pub(super) sid: u64,
    pub(super) reply: Option<String>,
    pub(super) headers: String,
    pub(super) payload: String,
    /// It says that nobody is there.
    pub(super) status: Option<()>,
}

/// Frames on their way.
#[derive(Debug, Default)]
struct Wire(Mutex<Vec<u8>>);

impl NodeLink for Wire {
    fn send(&self, frames: &mut Frames) -> Sent {
        self.0.lock().extend_from_slice(&frames.take_bytes());
        Sent::Yes
    }
}

/// Keeps what JetStream would get.
#[derive(Debug, Default)]
struct Mailbox {
    heard: Mutex<Vec<Vec<u8>>>,
    turned: Mutex<usize>,
}

impl JetStreamInbox for Mailbox {
    fn submit(&self, batch: &mut InboundBatch) {
        let mut heard = self.heard.lock();
        heard.extend(batch.iter().map(|message| message.subject.to_vec()));
        batch.clear();
    }

    fn interest_changed(&self, _account: AccountId, _tag: Tag) {
        *self.turned.lock() += 1;
    }

    fn is_full(&self) -> bool {
        false
    }

    fn has_room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

struct Router {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    deliverer: Deliverer,
}

struct Client {
    session: Session,
    socket: std::net::TcpStream,
    /// Keeps the connection open.
    _reader: OwnedReadHalf,
    unread: Vec<u8>,
}

/// See the module. Client n is at router n modulo 3.
pub(super) struct Cluster {
    routers: Vec<Router>,
    clients: Vec<Client>,
    /// By sender and receiver.
    wires: HashMap<(usize, usize), Arc<Wire>, FixedState>,
}

fn router() -> Router {
    let mailbox = Arc::new(Mailbox::default());
    let options = Options::default();
    let parts = Parts {
        authenticator: Box::new(SingleUser {
            auth: options.auth.clone(),
        }),
        options,
        logger: Logger::silent(),
        inbox: Some(Arc::clone(&mailbox) as Arc<dyn JetStreamInbox>),
    };
    let shared = Arc::new(Shared::new(parts, ([127, 0, 0, 1], 4222).into()));
    Router {
        deliverer: Deliverer::new(Arc::clone(&shared)),
        shared,
        mailbox,
    }
}

async fn client(shared: &Arc<Shared>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    let (reader, writer) = stream.into_split();
    let now = std::time::SystemTime::UNIX_EPOCH;
    let id = shared.next_connection_id();
    let connection = Arc::new(Connection::new(id, address, now, writer, 1 << 20));
    shared
        .connections
        .lock()
        .insert(id, Arc::clone(&connection));
    Client {
        session: Session::new(Arc::clone(shared), connection),
        socket,
        _reader: reader,
        unread: Vec::new(),
    }
}

impl Cluster {
    pub(super) async fn new(clients: usize) -> Self {
        let mut cluster = Self {
            routers: (0..3).map(|_| router()).collect(),
            clients: Vec::new(),
            wires: HashMap::default(),
        };
        for at in 0..clients {
            let client = client(&cluster.routers[at % 3].shared).await;
            cluster.clients.push(client);
            let connect = r#"{"headers":true,"no_responders":true,"verbose":false}"#;
            cluster.says(at, &format!("CONNECT {connect}\r\n"));
        }
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            cluster.join(a, b);
        }
        cluster
    }

    fn join(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let wire = Arc::new(Wire::default());
            self.wires.insert((from, to), Arc::clone(&wire));
            self.routers[from].shared.node_up(to as u64, wire);
        }
    }

    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.wires.remove(&(from, to));
            self.routers[from].shared.node_down(to as u64);
        }
    }

    pub(super) fn break_and_join(&mut self, a: usize, b: usize) {
        if a != b {
            self.break_link(a, b);
            self.join(a, b);
        }
    }

    /// A client sends this, and its router takes it as one read.
    pub(super) fn says(&mut self, client: usize, text: &str) {
        let session = &mut self.clients[client].session;
        let mut buffer = text.as_bytes().to_vec();
        assert!(session.take(&mut buffer).is_none());
        assert!(buffer.is_empty());
        session.deliverer.flush();
    }

    pub(super) fn connect_without_headers(&mut self, client: usize) {
        self.says(
            client,
            "CONNECT {\"headers\":false,\"no_responders\":false}\r\n",
        );
    }

    /// The next frame on a wire arrives; whether there was one.
    fn deliver_one(&mut self, from: usize, to: usize) -> bool {
        let Some(wire) = self.wires.get(&(from, to)) else {
            return false;
        };
        let mut bytes = wire.0.lock();
        let Some(found) = frame::next(&bytes, frame::MAX_BODY).unwrap() else {
            return false;
        };
        let body = bytes[found.body.clone()].to_vec();
        bytes.drain(..found.body.end);
        drop(bytes);
        let router = &mut self.routers[to];
        if found.kind == Kind::MESSAGE {
            router.deliverer.take_routed(&body).unwrap();
        } else {
            let node = router.shared.node(from as u64).unwrap();
            router.shared.node_listens(&node, &body).unwrap();
        }
        router.deliverer.flush();
        true
    }

    /// Everything on one wire arrives.
    pub(super) fn deliver(&mut self, from: usize, to: usize) {
        while self.deliver_one(from, to) {}
    }

    pub(super) fn deliver_some(&mut self, random: &mut Random) {
        for _ in 0..random.below(5) {
            self.deliver_one(random.below(3), random.below(3));
        }
    }

    /// Everything arrives.
    pub(super) fn settle(&mut self) {
        let wires: Vec<_> = self.wires.keys().copied().collect();
        while wires
            .iter()
            .fold(false, |any, (from, to)| self.deliver_one(*from, *to) | any)
        {}
    }

    /// What a client has been sent since the last time.
    pub(super) fn read(&mut self, client: usize) -> Vec<Got> {
        let client = &mut self.clients[client];
        let mut part = [0; 4096];
        loop {
            match client.socket.read(&mut part) {
                Ok(read) => client.unread.extend_from_slice(&part[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let text = String::from_utf8(std::mem::take(&mut client.unread)).unwrap();
        let mut rest = &*text;
        let mut all = Vec::new();
        while let Some((line, after)) = rest.split_once("\r\n") {
            let words: Vec<_> = line.split(' ').collect();
            let (headers, args) = match words[0] {
                "MSG" => (0, &words[1..words.len() - 1]),
                "HMSG" => (
                    words[words.len() - 2].parse().unwrap(),
                    &words[1..words.len() - 2],
                ),
                other => panic!("{other}"),
            };
            let total: usize = words[words.len() - 1].parse().unwrap();
            all.push(Got {
                subject: args[0].to_owned(),
                sid: args[1].parse().unwrap(),
                reply: args.get(2).map(|&reply| reply.to_owned()),
                headers: after[..headers].to_owned(),
                payload: after[headers..total].to_owned(),
                status: after[..headers].starts_with("NATS/1.0 503").then_some(()),
            });
            rest = &after[total + 2..];
        }
        all
    }

    pub(super) fn deliverer(&self, router: usize) -> Deliverer {
        self.router(router).deliverer()
    }

    pub(super) fn router(&self, router: usize) -> RouterHandle {
        RouterHandle::new(Arc::clone(&self.routers[router].shared))
    }

    /// Messages and bytes that a router counted, in and out.
    pub(super) fn traffic(&self, router: usize) -> [(u64, u64); 2] {
        let traffic = &self.routers[router].shared.traffic;
        [traffic.inbound(), traffic.outbound()].map(|volume| (volume.msgs, volume.bytes))
    }

    /// What JetStream got since the last time.
    pub(super) fn heard(&self, router: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.routers[router].mailbox.heard.lock())
    }

    /// Watches that turned since the last time.
    pub(super) fn turned(&self, router: usize) -> usize {
        std::mem::take(&mut *self.routers[router].mailbox.turned.lock())
    }

    /// To how much a router knows another one to listen.
    pub(super) fn listens(&self, router: usize, other: usize) -> usize {
        self.routers[router].shared.node_subscriptions(other as u64)
    }
}

/// Interest changes from several threads while nodes join.
pub(super) fn race() {
    const FILTERS: usize = 8;
    let from = router();
    let account = Arc::clone(from.shared.accounts.global());
    let wires: Vec<_> = (0..20).map(|_| Arc::new(Wire::default())).collect();
    std::thread::scope(|scope| {
        for thread in 0..2_u64 {
            let shared = Arc::clone(&from.shared);
            scope.spawn(move || {
                let mut deliverer = Deliverer::new(shared);
                let mut random = Random(thread + 1);
                for step in 0..20_000 {
                    let filter = format!("f.{}", random.below(FILTERS));
                    let tag = Tag {
                        kind: TagKind::Publish,
                        stream: thread as u32,
                        consumer: 0,
                    };
                    if step % 2 == 0 {
                        deliverer.listen(0, filter.as_bytes(), tag);
                    } else {
                        deliverer.unlisten(0, filter.as_bytes(), tag);
                    }
                    if random.below(3) == 0 {
                        deliverer.flush();
                    }
                }
                deliverer.flush();
            });
        }
        for (id, wire) in (0..).zip(&wires) {
            from.shared
                .node_up(id, Arc::clone(wire) as Arc<dyn NodeLink>);
        }
    });
    let mut truth = BTreeMap::new();
    account.show(|filter, _, count| {
        truth.insert(filter.to_vec(), i64::from(count));
    });
    for wire in wires {
        let mut sums = BTreeMap::new();
        let bytes = wire.0.lock();
        let mut at = 0;
        while let Some(found) = frame::next(&bytes[at..], frame::MAX_BODY).unwrap() {
            let body = &bytes[at..][found.body.clone()];
            for entry in Interest::read(body).unwrap().entries() {
                let entry = entry.unwrap();
                *sums.entry(entry.filter.to_vec()).or_insert(0) += i64::from(entry.delta);
            }
            at += found.body.end;
        }
        sums.retain(|_, sum| *sum != 0);
        assert_eq!(sums, truth);
    }
}
