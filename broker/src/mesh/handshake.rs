//! From a fresh connection to a link that both sides agree on, seen from either side.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jetwake_protocol::peer::{Hello, Kind, Link, frame};
use jetwake_protocol::wire::{WireError, encode};

use super::Mesh;
use super::admission;
use super::greeting::{Greeting, NoFrame};
use super::lane::{Lane, Start};
use super::link::Inlet;
use super::peer::Peer;
use crate::server::{CloseReason, ClusterName};

/// A link that both sides agree on.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) peer: Arc<Peer>,
    pub(super) inlet: Inlet,
    /// The link that this one replaces.
    pub(super) before: Option<Arc<Peer>>,
}

/// Why a connection became no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("Route Error: {0}")]
    Io(#[from] io::Error),
    /// This is the node itself.
    #[error("a route to this server itself")]
    Myself,
    /// There is a link already.
    #[error("duplicate route")]
    Duplicate(Option<Arc<Peer>>),
    /// This side does not want it; it was logged.
    #[error("refused")]
    Unwanted(CloseReason),
    /// The other side does not want it, for this reason.
    #[error("Route Error '{0}'")]
    Refused(String),
    /// The other side is something else: its first line.
    #[error("Route Error: the other side is no Jetwake server: it said {0:?}")]
    Foreign(String),
    /// The other side is a nats-server.
    #[error(
        "Route Error: the other side is nats-server {0}, whose route protocol this server does not speak: all \
         servers of a cluster must be of one kind"
    )]
    NatsServer(String),
    #[error("Route Error: {0}")]
    Broken(String),
}

impl From<NoFrame> for Failure {
    fn from(error: NoFrame) -> Self {
        match error {
            NoFrame::Io(error) => Self::Io(error),
            NoFrame::Closed => Self::Io(io::ErrorKind::UnexpectedEof.into()),
            NoFrame::Frame(error) => Self::Broken(error.to_string()),
            NoFrame::Foreign(line) => foreign(line),
        }
    }
}

fn foreign(line: String) -> Failure {
    let info: Option<serde_json::Value> = line
        .strip_prefix("INFO ")
        .and_then(|json| serde_json::from_str(json).ok());
    let version = info.as_ref().and_then(|info| info["version"].as_str());
    match version {
        Some(version) => Failure::NatsServer(version.to_owned()),
        None => Failure::Foreign(line),
    }
}

/// A connection with its place in the log.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) greeting: Greeting,
    pub(super) rid: u64,
    pub(super) remote: SocketAddr,
}

impl Connection {
    fn lane(self, mesh: &Mesh, link: Link, solicited: bool) -> (Lane, Inlet) {
        let Greeting {
            reader,
            writer,
            buffer,
        } = self.greeting;
        let start = Start {
            link,
            rid: self.rid,
            remote: self.remote,
            solicited,
            socket: writer,
        };
        (Lane::new(&mesh.shared, start), Inlet { reader, buffer })
    }

    fn log_error(&self, mesh: &Mesh, text: std::fmt::Arguments<'_>) {
        let label = super::lane::label(self.remote, self.rid);
        mesh.shared.logger.error(format_args!("{label} - {text}"));
    }
}

/// The dialing side of a main link.
pub(super) async fn dial(
    mesh: &Mesh,
    mut connection: Connection,
    ours: Hello,
) -> Result<Agreed, Failure> {
    connection.greeting.hello(&ours).await?;
    let theirs = expect_hello(&mut connection.greeting).await?;
    if theirs.server_id == ours.server_id {
        return Err(Failure::Myself);
    }
    if mesh.peers.is_muted(theirs.node) {
        return Err(Failure::Io(io::ErrorKind::TimedOut.into()));
    }
    check_names(mesh, &connection, &theirs)?;
    if admission::decides(ours.node, theirs.node) {
        let (lane, inlet) = connection.lane(mesh, Link::Main, true);
        return decide(mesh, Peer::new(&theirs, lane, true), inlet, Vec::new());
    }
    match connection.greeting.frame().await? {
        (Kind::OPEN, _) => {}
        (Kind::REFUSED, _) => return Err(Failure::Duplicate(mesh.peers.link(theirs.node))),
        (kind, _) => return Err(unexpected(kind)),
    }
    let (lane, inlet) = connection.lane(mesh, Link::Main, true);
    Ok(follow(mesh, Peer::new(&theirs, lane, true), inlet))
}

/// The dialing side of a bulk link.
pub(super) async fn dial_bulk(
    mesh: &Mesh,
    mut connection: Connection,
    ours: Hello,
    peer: &Peer,
) -> Result<(Arc<Lane>, Inlet), Failure> {
    connection.greeting.hello(&ours).await?;
    let theirs = expect_hello(&mut connection.greeting).await?;
    if theirs.server_id != peer.info.server_id {
        return Err(Failure::Broken(
            "another server answers there now".to_owned(),
        ));
    }
    match connection.greeting.frame().await? {
        (Kind::OPEN, _) => {}
        (kind, _) => return Err(unexpected(kind)),
    }
    let (lane, inlet) = connection.lane(mesh, Link::Bulk, true);
    Ok((Arc::new(lane), inlet))
}

/// The answer of the side that was dialled.
#[derive(Debug)]
pub(super) enum Answer {
    /// A main link.
    Main(Agreed),
    /// The bulk link of a peer.
    Bulk(Arc<Peer>, Arc<Lane>, Inlet),
}

/// The side that was dialled, from the other's first frame on.
pub(super) async fn answer(
    mesh: &Mesh,
    mut connection: Connection,
    theirs: Hello,
) -> Result<Answer, CloseReason> {
    let mut ours = mesh.hello(theirs.link, None);
    if theirs.server_id == ours.server_id {
        // The dialing side sees that it is itself.
        let mut words = Vec::new();
        ours.append(&mut words);
        connection.greeting.part(&words).await;
        return Err(CloseReason::DuplicateRoute);
    }
    if mesh.peers.is_muted(theirs.node) {
        return Err(CloseReason::ClientClosed);
    }
    if !mesh.admits(&theirs).await {
        match theirs.user.as_str() {
            "" => connection.log_error(mesh, format_args!("authentication error")),
            user => {
                connection.log_error(mesh, format_args!("authentication error - User {user:?}"))
            }
        }
        connection.greeting.refuse("Authorization Violation").await;
        return Err(CloseReason::AuthenticationViolation);
    }
    if let Err(failure) = check_names(mesh, &connection, &theirs) {
        let Failure::Unwanted(reason) = failure else {
            return Err(CloseReason::ProtocolViolation);
        };
        let text = mesh.refusal(reason, &theirs);
        if reason == CloseReason::ClusterNameConflict {
            connection.log_error(
                mesh,
                format_args!("cluster name from remote server conflicts"),
            );
        }
        connection.greeting.refuse(&text).await;
        return Err(reason);
    }
    // The name may have become theirs.
    let name = mesh.cluster_name();
    (ours.cluster, ours.dynamic) = (name.text, name.dynamic);
    let mut words = Vec::new();
    ours.append(&mut words);
    if theirs.link == Link::Bulk {
        return answer_bulk(mesh, connection, &theirs, words).await;
    }
    if admission::decides(ours.node, theirs.node) {
        let (lane, inlet) = connection.lane(mesh, Link::Main, false);
        let peer = Peer::new(&theirs, lane, false);
        return decide(mesh, peer, inlet, words)
            .map(Answer::Main)
            .map_err(|_| CloseReason::DuplicateRoute);
    }
    let greeting = &mut connection.greeting;
    let opened = async {
        greeting.hello(&ours).await?;
        greeting.frame().await
    };
    match mesh.in_time(opened).await {
        Some(Ok((Kind::OPEN, _))) => {}
        Some(Ok((Kind::REFUSED, _))) | None => return Err(CloseReason::DuplicateRoute),
        Some(Err(NoFrame::Closed | NoFrame::Io(_))) => return Err(CloseReason::ClientClosed),
        Some(_) => return Err(CloseReason::ProtocolViolation),
    }
    let (lane, inlet) = connection.lane(mesh, Link::Main, false);
    Ok(Answer::Main(follow(
        mesh,
        Peer::new(&theirs, lane, false),
        inlet,
    )))
}

async fn answer_bulk(
    mesh: &Mesh,
    connection: Connection,
    theirs: &Hello,
    mut words: Vec<u8>,
) -> Result<Answer, CloseReason> {
    let main = mesh.peers.get(theirs.node);
    let Some(peer) = main.filter(|peer| peer.info.server_id == theirs.server_id) else {
        connection.greeting.refuse("no main link").await;
        return Err(CloseReason::DuplicateRoute);
    };
    frame::append(&mut words, Kind::OPEN, b"");
    let (lane, inlet) = connection.lane(mesh, Link::Bulk, false);
    let lane = Arc::new(lane);
    lane.say(&mut words);
    Ok(Answer::Bulk(peer, lane, inlet))
}

/// This side decides, and says so behind `words`.
fn decide(mesh: &Mesh, peer: Peer, inlet: Inlet, mut words: Vec<u8>) -> Result<Agreed, Failure> {
    let peer = Arc::new(peer);
    match mesh.peers.open(&peer) {
        Ok(before) => {
            frame::append(&mut words, Kind::OPEN, b"");
            peer.main.say(&mut words);
            Ok(Agreed {
                peer,
                inlet,
                before,
            })
        }
        Err(existing) => {
            let reason = CloseReason::DuplicateRoute;
            frame::append(&mut words, Kind::REFUSED, reason.text().as_bytes());
            peer.main.say(&mut words);
            peer.main.close_after_flush(reason);
            Err(Failure::Duplicate(Some(existing)))
        }
    }
}

/// The other side has decided.
fn follow(mesh: &Mesh, peer: Peer, inlet: Inlet) -> Agreed {
    let peer = Arc::new(peer);
    let before = mesh.peers.follow(&peer);
    Agreed {
        peer,
        inlet,
        before,
    }
}

async fn expect_hello(greeting: &mut Greeting) -> Result<Hello, Failure> {
    let refused = |body: Bytes| Failure::Refused(String::from_utf8_lossy(&body).into_owned());
    match greeting.frame().await? {
        (Kind::HELLO, body) => {
            Hello::read(&body).map_err(|error| Failure::Broken(error.to_string()))
        }
        (Kind::REFUSED, body) => Err(refused(body)),
        (kind, _) => Err(unexpected(kind)),
    }
}

fn unexpected(kind: Kind) -> Failure {
    Failure::Broken(format!("unexpected frame of kind {}", kind.0))
}

/// Checks the names of server and cluster, and takes the cluster's name over where ours was made up.
fn check_names(mesh: &Mesh, connection: &Connection, theirs: &Hello) -> Result<(), Failure> {
    if mesh.is_name_taken(theirs) {
        connection.log_error(
            mesh,
            format_args!(
                "Remote server has a duplicate name: {:?}",
                theirs.server_name
            ),
        );
        return Err(Failure::Unwanted(CloseReason::DuplicateServerName));
    }
    let name = ClusterName {
        text: theirs.cluster.clone(),
        dynamic: theirs.dynamic,
    };
    if !mesh.meet(&name) {
        connection.log_error(
            mesh,
            format_args!("{}", mesh.refusal(CloseReason::ClusterNameConflict, theirs)),
        );
        return Err(Failure::Unwanted(CloseReason::ClusterNameConflict));
    }
    Ok(())
}

/// The last line for one who does not speak our protocol.
pub(super) fn answer_to_text(line: &str) -> (Vec<u8>, CloseReason) {
    let mut words = Vec::new();
    let connect = line
        .get(..8)
        .filter(|word| word.eq_ignore_ascii_case("CONNECT "));
    let options: Option<serde_json::Value> =
        connect.and_then(|word| serde_json::from_str(&line[word.len()..]).ok());
    let is_client = options.is_some_and(|options| options["lang"].as_str().is_some());
    if is_client || line.is_empty() {
        encode::err(&mut words, WireError::RoutePort);
        return (words, CloseReason::WrongPort);
    }
    if connect.is_some() || line.starts_with("INFO ") {
        words.extend_from_slice(
            b"-ERR 'the route protocol of nats-server is not spoken here: all servers of a cluster \
              must be of one kind'\r\n",
        );
        return (words, CloseReason::WrongPort);
    }
    encode::err(&mut words, WireError::UnknownProtocolOperation);
    (words, CloseReason::ProtocolViolation)
}
