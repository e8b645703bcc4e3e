//! The cluster port: who connects, and whether it is a node.

// Tasks and the pause after a failed accept belong to this shell.
#![allow(clippy::disallowed_methods)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jetwake_protocol::peer::{Hello, Kind};
use tokio::net::{TcpListener, TcpStream};

use super::greeting::{Greeting, NoFrame};
use super::handshake::{self, Answer, Connection};
use super::{Mesh, lane};
use crate::server::CloseReason;

/// Pause after a failed accept: descriptors may run out for a while.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A node speaks first and at once. Who waits for the server to begin is a client.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Accepts until the task is ended.
pub(super) async fn run(mesh: Arc<Mesh>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                let serve = serve(Arc::clone(&mesh), stream, remote);
                mesh.spawn(serve);
            }
            Err(error) => {
                let logger = &mesh.shared.logger;
                logger.error(format_args!("Temporary Route Accept Error ({error})"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(mesh: Arc<Mesh>, stream: TcpStream, remote: SocketAddr) {
    let rid = mesh.next_rid();
    mesh.log_created(remote, rid);
    let greeting = Greeting::new(stream);
    let connection = Connection {
        greeting,
        rid,
        remote,
    };
    if let Err((reason, name)) = greet(&mesh, connection).await {
        mesh.log_ended(remote, rid, reason, name.as_deref());
    }
}

/// Makes a connection a link, or says why it became none and with whom.
async fn greet(
    mesh: &Arc<Mesh>,
    mut connection: Connection,
) -> Result<(), (CloseReason, Option<String>)> {
    let limit = SILENCE_MAX.min(mesh.auth_timeout());
    let first = tokio::time::timeout(limit, connection.greeting.frame()).await;
    let theirs = match first.unwrap_or(Err(NoFrame::Foreign(String::new()))) {
        Ok((Kind::HELLO, body)) => Hello::read(&body).ok(),
        Ok(_) => None,
        Err(NoFrame::Foreign(line)) => {
            return Err((turn_away(mesh, connection, &line).await, None));
        }
        Err(NoFrame::Io(_) | NoFrame::Closed) => return Err((CloseReason::ClientClosed, None)),
        Err(NoFrame::Frame(error)) => {
            log_error(mesh, &connection, &error.to_string());
            connection.greeting.refuse(&error.to_string()).await;
            return Err((CloseReason::ProtocolViolation, None));
        }
    };
    let Some(theirs) = theirs else {
        let text = "the first frame is no hello";
        log_error(mesh, &connection, text);
        connection.greeting.refuse(text).await;
        return Err((CloseReason::ProtocolViolation, None));
    };
    let name = theirs.server_name.clone();
    match handshake::answer(mesh, connection, theirs).await {
        Ok(Answer::Main(agreed)) => mesh.serve(agreed),
        Ok(Answer::Bulk(peer, lane, inlet)) => mesh.serve_bulk(peer, lane, inlet).await,
        Err(reason @ CloseReason::DuplicateRoute) => return Err((reason, Some(name))),
        Err(reason) => return Err((reason, None)),
    }
    Ok(())
}

fn log_error(mesh: &Mesh, connection: &Connection, text: &str) {
    let label = lane::label(connection.remote, connection.rid);
    mesh.shared.logger.error(format_args!("{label} - {text}"));
}

/// Answers one who does not speak our protocol.
async fn turn_away(mesh: &Mesh, connection: Connection, line: &str) -> CloseReason {
    let (words, reason) = handshake::answer_to_text(line);
    let text = String::from_utf8_lossy(&words);
    let text = text
        .trim_start_matches("-ERR '")
        .trim_end()
        .trim_end_matches('\'');
    log_error(mesh, &connection, text);
    connection.greeting.part(&words).await;
    reason
}
