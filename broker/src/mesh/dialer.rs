//! Dialing other nodes: those that the operator named for ever, those that were only heard of as
//! often as `connect_retries` says.

// Pauses between attempts belong to this shell.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::peer::Link;
use tokio::net::TcpStream;

use super::Mesh;
use super::greeting::Greeting;
use super::handshake::{self, Agreed, Connection, Failure};
use super::peer::Peer;
use crate::options::{Credentials, RouteUrl};
use crate::server::CloseReason;

/// Longest time for a connection to come about.
const DIAL: Duration = Duration::from_secs(1);
/// Pause between attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest pause with `connect_backoff`.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Up to so much longer is the pause after a link was lost.
const JITTER: Duration = Duration::from_millis(100);
/// Failures are logged this seldom while a node has never been there.
const REPORT_EVERY: u64 = 3600;
/// Pause before the bulk link is dialled again.
const BULK_PAUSE: Duration = Duration::from_millis(100);

/// One node to dial.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) url: RouteUrl,
    /// The operator named it.
    pub(super) configured: bool,
}

/// What one attempt led to.
enum Outcome {
    /// A link, or one that was there.
    Linked(Arc<Peer>),
    /// Try again.
    Failed,
    /// Nobody to dial here.
    Over,
}

/// Dials a node until there is no more reason to.
pub(super) async fn run(mesh: Arc<Mesh>, route: Route) {
    let mut attempt = 0;
    let mut reconnecting = false;
    let mut pause = PAUSE;
    loop {
        attempt += 1;
        match try_once(&mesh, &route, attempt, reconnecting).await {
            Outcome::Linked(peer) => {
                peer.ended().await;
                if !route.configured && mesh.peers.link(peer.node()).is_some() {
                    return;
                }
                mesh.shared.logger.debug(format_args!(
                    "Attempting reconnect for solicited route \"{}\"",
                    route.url
                ));
                (attempt, reconnecting, pause) = (0, true, PAUSE);
            }
            Outcome::Failed => {
                let retries = u64::from(mesh.options().connect_retries);
                if !route.configured && attempt > retries {
                    return;
                }
            }
            Outcome::Over => return,
        }
        let jitter = match reconnecting && attempt == 0 {
            true => JITTER * (mesh.shared.random() % 1000) as u32 / 1000,
            false => Duration::ZERO,
        };
        tokio::time::sleep(pause + jitter).await;
        if mesh.options().connect_backoff && attempt > 0 {
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

async fn try_once(mesh: &Arc<Mesh>, route: &Route, attempt: u64, reconnecting: bool) -> Outcome {
    let report = |text: std::fmt::Arguments<'_>| {
        if reconnecting || attempt == 1 || attempt.is_multiple_of(REPORT_EVERY) {
            mesh.shared.logger.error(text);
        } else {
            mesh.shared.logger.debug(text);
        }
    };
    let (stream, remote) = match connect(mesh, &route.url).await {
        Ok(connected) => connected,
        Err(error) => {
            report(format_args!(
                "Error trying to connect to route (attempt {attempt}): {error}"
            ));
            return Outcome::Failed;
        }
    };
    let rid = mesh.next_rid();
    mesh.log_created(remote, rid);
    let connection = Connection {
        greeting: Greeting::new(stream),
        rid,
        remote,
    };
    let hello = mesh.hello(Link::Main, route.url.credentials.as_ref());
    let dialled = mesh.in_time(handshake::dial(mesh, connection, hello)).await;
    let failure = match dialled {
        Some(Ok(agreed)) => return Outcome::Linked(begin(mesh, route, agreed)),
        Some(Err(failure)) => failure,
        None => Failure::Io(io::ErrorKind::TimedOut.into()),
    };
    let (reason, name) = match &failure {
        Failure::Duplicate(peer) => {
            let name = peer.as_ref().map(|peer| peer.info.server_name.as_str());
            (CloseReason::DuplicateRoute, name)
        }
        Failure::Myself => (CloseReason::DuplicateRoute, None),
        Failure::Unwanted(reason) => (*reason, None),
        Failure::Refused(text) if text.contains("cluster name") => {
            (CloseReason::ClusterNameConflict, None)
        }
        Failure::Refused(_) => (CloseReason::ParseError, None),
        _ => (CloseReason::ClientClosed, None),
    };
    mesh.log_ended(remote, rid, reason, name);
    match failure {
        Failure::Duplicate(Some(peer)) => {
            peer.configured
                .fetch_or(route.configured, Ordering::Relaxed);
            Outcome::Linked(peer)
        }
        Failure::Myself => {
            mesh.shared.logger.debug(format_args!(
                "Detected route to self, ignoring \"{}\"",
                route.url
            ));
            if mesh.note_myself(remote, &route.url).await {
                Outcome::Over
            } else {
                Outcome::Failed
            }
        }
        Failure::Duplicate(None) | Failure::Unwanted(_) => Outcome::Failed,
        refused @ Failure::Refused(_) => {
            let logger = &mesh.shared.logger;
            logger.error(format_args!("{remote} - rid:{rid} - {refused}"));
            Outcome::Failed
        }
        failure => {
            report(format_args!("{remote} - rid:{rid} - {failure}"));
            Outcome::Failed
        }
    }
}

/// The link is agreed on: it is served, and the bulk link goes the same way.
fn begin(mesh: &Arc<Mesh>, route: &Route, agreed: Agreed) -> Arc<Peer> {
    let peer = Arc::clone(&agreed.peer);
    peer.configured.store(route.configured, Ordering::Relaxed);
    mesh.serve(agreed);
    let credentials = route.url.credentials.clone();
    mesh.spawn(keep_bulk(Arc::clone(mesh), Arc::clone(&peer), credentials));
    peer
}

/// Keeps the bulk link open for as long as the main link is.
async fn keep_bulk(mesh: Arc<Mesh>, peer: Arc<Peer>, credentials: Option<Credentials>) {
    let keep = async {
        loop {
            // The main link may be waiting for the end of the one that it replaces.
            let pause = match peer.is_up() {
                true => dial_bulk(&mesh, &peer, credentials.as_ref()).await,
                false => BULK_PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = keep => {}
        () = peer.ended() => {}
    }
}

/// Dials the bulk link and serves it until it ends; how long to wait before the next time.
async fn dial_bulk(
    mesh: &Arc<Mesh>,
    peer: &Arc<Peer>,
    credentials: Option<&Credentials>,
) -> Duration {
    let remote = peer.main.remote;
    let Ok(Ok(stream)) = tokio::time::timeout(DIAL, TcpStream::connect(remote)).await else {
        return PAUSE;
    };
    let rid = mesh.next_rid();
    let connection = Connection {
        greeting: Greeting::new(stream),
        rid,
        remote,
    };
    let hello = mesh.hello(Link::Bulk, credentials);
    let dialled = handshake::dial_bulk(mesh, connection, hello, peer);
    match mesh.in_time(dialled).await {
        Some(Ok((lane, inlet))) => {
            mesh.log_created(remote, rid);
            mesh.serve_bulk(Arc::clone(peer), lane, inlet).await;
            BULK_PAUSE
        }
        Some(Err(Failure::Refused(_))) => BULK_PAUSE,
        Some(Err(error)) => {
            let logger = &mesh.shared.logger;
            logger.debug(format_args!("{remote} - rid:{rid} - bulk link: {error}"));
            PAUSE
        }
        None => PAUSE,
    }
}

/// Connects to the first address of a node that answers.
async fn connect(mesh: &Mesh, url: &RouteUrl) -> Result<(TcpStream, SocketAddr), String> {
    let Some(port) = url.port else {
        return Err(format!("address {}: missing port in address", url.host));
    };
    let lookup = tokio::net::lookup_host((url.host.as_str(), port)).await;
    let addresses: Vec<_> = lookup
        .map_err(|_| format!("lookup for host {:?}: no such host", url.host))?
        .filter(|address| !mesh.is_myself(*address))
        .collect();
    let mut last = format!("lookup for host {:?}: no address", url.host);
    for address in addresses {
        mesh.shared.logger.debug(format_args!(
            "Trying to connect to route on {} ({address})",
            url.address()
        ));
        match tokio::time::timeout(DIAL, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = dial_text(address, &error),
            Err(_) => last = format!("dial tcp {address}: i/o timeout"),
        }
    }
    Err(last)
}

/// The error in the words of nats-server's runtime.
fn dial_text(address: SocketAddr, error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: connect: {text}")
}
