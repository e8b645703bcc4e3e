//! The client listener: accepts connections and keeps the tasks that serve them.

// Tasks and the pause after a failed accept belong to this shell.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jetwake_protocol::wire::{WireError, encode};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::counters;
use super::info::{self, Occasion};
use super::reason::CloseReason;
use super::session::Session;
use super::shared::{self, Shared};
use super::writer::Writer;

/// Connections that the kernel may hold for us.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept: descriptors may run out for a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the listener is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Accept and serve.
    Serving,
    /// Serve those who are there.
    Leaving,
    /// Close everything.
    Stopping,
}

/// Opens a listening socket. A restart on the same port works at once, whatever the last run left
/// behind. A wildcard of either kind takes clients of both kinds, as for nats-server.
pub(crate) async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    // A name with several addresses means the IPv4 one, as for nats-server.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let address = addresses
        .first()
        .copied()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    if address.ip().is_unspecified() {
        match listen((Ipv6Addr::UNSPECIFIED, address.port()).into()) {
            Err(error) if is_final(&error) => return Err(error),
            // This machine has no IPv6.
            Err(_) => {}
            listener => return listener,
        }
    }
    listen(address)
}

/// Whether another kind of address would be refused as well.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until told to stop, and returns when all tasks have ended. `open` is dropped with the listening socket.
pub(super) async fn run(
    shared: Arc<Shared>,
    listener: TcpListener,
    open: watch::Sender<()>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut tasks = JoinSet::new();
    while *phase.borrow_and_update() == Phase::Serving {
        tokio::select! {
            biased;
            changed = phase.changed() => if changed.is_err() { break },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => admit(&shared, stream, address, &mut tasks),
                Err(error) => {
                    shared.logger.error(format_args!("Temporary Client Accept Error ({error})"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    drop(open);
    while *phase.borrow_and_update() != Phase::Stopping {
        tokio::select! {
            changed = phase.changed() => if changed.is_err() { break },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
    for connection in shared.connections() {
        connection.close(CloseReason::ServerShutdown);
    }
    while tasks.join_next().await.is_some() {}
}

/// Greets a new connection, or turns it away.
fn admit(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr, tasks: &mut JoinSet<()>) {
    counters::count(&shared.incidents.total_connections);
    // Only a latency setting, and a connection that is broken already shows on the first read.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let id = shared.next_connection_id();
    // An IPv4 client of a listener for both kinds is shown as one.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let started = shared::wall_clock();
    let max_pending = shared.options.max_pending;
    let connection = Arc::new(Connection::new(id, address, started, writer, max_pending));
    let mut greeting = Vec::new();
    info::append(&mut greeting, shared, &connection, Occasion::Accepted);
    let mut connections = shared.connections.lock();
    let full = connections.len() >= shared.options.max_connections;
    if !full {
        connections.insert(id, Arc::clone(&connection));
    }
    drop(connections);
    if full {
        encode::err(&mut greeting, WireError::MaximumConnectionsExceeded);
        let label = connection.label();
        shared
            .logger
            .error(format_args!("{label} - maximum connections exceeded"));
        connection.set_reason(CloseReason::MaxConnectionsExceeded);
        shared.remember(&connection, &Default::default());
    }
    connection.send(&mut greeting);
    let login = shared.authenticator.is_required();
    connection
        .pulse
        .authenticated
        .store(!login, Ordering::Relaxed);
    let writer = Writer::new(Arc::clone(shared), Arc::clone(&connection));
    if full {
        connection.close_after_flush(CloseReason::MaxConnectionsExceeded);
        tasks.spawn(writer.run());
        return;
    }
    if shared.logger.debugs() {
        let label = connection.label();
        shared
            .logger
            .debug(format_args!("{label} - Client connection created"));
    }
    let session = Session::new(Arc::clone(shared), connection);
    tasks.spawn(async move {
        tokio::join!(session.run(reader), writer.run());
    });
}
