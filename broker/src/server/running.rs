//! Starting and stopping the server's client side.

// The listener's task belongs to this shell.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::auth::SingleUser;
use super::inbox::JetStreamInbox;
use super::lame_duck;
use super::listener::{self, Phase};
use super::router::RouterHandle;
use super::shared::{Parts, Shared};
use crate::log::Logger;
use crate::options::Options;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The client port cannot be listened on.
    #[error(
        "Error listening on port: {address}, \"{}\"",
        listen_text(address, error)
    )]
    Listen {
        /// The address as configured.
        address: String,
        /// What the system says.
        error: io::Error,
    },
}

/// The error in the words of nats-server's runtime.
pub(crate) fn listen_text(address: &str, error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ if error.raw_os_error().is_none() => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            return format!("listen tcp: lookup {host}: no such host");
        }
        _ => error.to_string(),
    };
    format!("listen tcp {address}: bind: {text}")
}

/// A server whose client port is bound and that does not accept yet: the time to set up listeners.
#[derive(Debug)]
pub struct Bound {
    shared: Arc<Shared>,
    listener: TcpListener,
}

/// A server that accepts clients. Dropping it closes all connections.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    /// Ends with the listening socket.
    accepting: watch::Receiver<()>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Bound {
    /// Binds the client port. `inbox` takes the messages for JetStream, if that is on.
    ///
    /// # Errors
    /// When the port cannot be listened on.
    pub async fn bind(
        options: Options,
        logger: Logger,
        inbox: Option<Arc<dyn JetStreamInbox>>,
    ) -> Result<Self, StartError> {
        let (host, port) = (options.host.clone(), options.port);
        let failed = |error| StartError::Listen {
            address: options.listen_addr(port),
            error,
        };
        let listener = listener::bind(&host, port).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let authenticator = Box::new(SingleUser {
            auth: options.auth.clone(),
        });
        let parts = Parts {
            options,
            logger,
            authenticator,
            inbox,
        };
        Ok(Self {
            shared: Arc::new(Shared::new(parts, address)),
            listener,
        })
    }

    /// The real address of the client port.
    pub fn client_addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// The router, for the JetStream thread.
    pub fn router(&self) -> RouterHandle {
        RouterHandle::new(Arc::clone(&self.shared))
    }

    /// Begins to accept clients.
    pub fn serve(self) -> Running {
        let shared = self.shared;
        let address = shared.options.listen_addr(shared.address.port());
        shared.logger.info(format_args!(
            "Listening for client connections on {address}"
        ));
        let (phase, follow) = watch::channel(Phase::Serving);
        let (open, accepting) = watch::channel(());
        let run = listener::run(Arc::clone(&shared), self.listener, open, follow);
        let task = tokio::spawn(run);
        Running {
            shared,
            phase,
            accepting,
            task: Mutex::new(Some(task)),
        }
    }
}

impl Running {
    /// The real address of the client port.
    pub fn client_addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// What the whole server shares: identity, accounts, connections, counters.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Lame duck mode is about to begin: no client is sent here any more.
    pub fn prepare_lame_duck(&self) {
        lame_duck::enter(&self.shared);
    }

    /// Enters lame duck mode: no new clients, word to those who are there, then one after the other
    /// is closed. Completes when all are; the caller shuts down then.
    pub async fn lame_duck(&self) {
        self.shared.logger.info(format_args!(
            "Entering lame duck mode, stop accepting new clients"
        ));
        self.move_to(Phase::Leaving);
        // Nobody who is told to leave may come back. Nothing is ever sent here: this waits for the end.
        while self.accepting.clone().changed().await.is_ok() {}
        lame_duck::run(&self.shared).await;
    }

    /// Closes all connections and completes when all work has ended.
    pub async fn shutdown(&self) {
        self.move_to(Phase::Stopping);
        let task = self.task.lock().take();
        if let Some(task) = task {
            // It ends by itself; a panic inside was reported where it happened.
            let _ = task.await;
        }
    }

    fn move_to(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = *now < phase;
            *now = phase.max(*now);
            later
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.move_to(Phase::Stopping);
    }
}
