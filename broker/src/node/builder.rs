//! How an embedded server is put together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::LAZY_SYNC_INTERVAL;
use crate::clock::Clock;
use crate::log::Logger;
use crate::options::{Auth, JetStreamOptions, LogOptions, Options, RouteUrl, SyncPolicy};

use super::store_dir::TemporaryDir;
use super::{Extras, Server, StartError};

/// Settings of an embedded server, see [`Server::builder`].
///
/// The defaults are a test's: loopback, a free port, no log, no JetStream. JetStream, once asked for, keeps its
/// data in a temporary directory that is removed with the server (kept when the test panics) and does not wait
/// for the disk (`SyncPolicy::Lazy`); [`Builder::sync`] and [`Builder::store_dir`] change that.
#[derive(Debug)]
pub struct Builder {
    options: Options,
    store_dir: Option<PathBuf>,
    clock: Clock,
}

impl Default for Builder {
    fn default() -> Self {
        let options = Options {
            host: "127.0.0.1".to_owned(),
            port: 0,
            log: LogOptions {
                silent: true,
                ..LogOptions::default()
            },
            ..Options::default()
        };
        Self {
            options,
            store_dir: None,
            clock: Clock::system(),
        }
    }
}

impl Builder {
    /// Turns JetStream on.
    #[must_use]
    pub fn jetstream(mut self) -> Self {
        let sync = SyncPolicy::Lazy(LAZY_SYNC_INTERVAL);
        self.options
            .jetstream
            .get_or_insert_with(|| JetStreamOptions {
                sync,
                ..JetStreamOptions::default()
            });
        self
    }

    /// Turns JetStream on with its data in `dir`, which stays when the server ends.
    #[must_use]
    pub fn store_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(dir.into());
        self.jetstream()
    }

    /// Turns JetStream on and says when an acknowledged message is on disk.
    #[must_use]
    pub fn sync(mut self, sync: SyncPolicy) -> Self {
        self = self.jetstream();
        if let Some(jetstream) = &mut self.options.jetstream {
            jetstream.sync = sync;
        }
        self
    }

    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.options.port = port;
        self
    }

    /// The server's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.server_name = Some(name.into());
        self
    }

    /// Admits only this user.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options.auth = Some(Auth::User {
            user: user.into(),
            password: password.into(),
        });
        self
    }

    /// Admits only holders of this token.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.auth = Some(Auth::Token(token.into()));
        self
    }

    /// Joins the cluster of this name, and listens for its other nodes on a free port of the host.
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        let cluster = &mut self.options.cluster;
        cluster.name = Some(name.into());
        self.options.host.clone_into(&mut cluster.host);
        cluster.port.get_or_insert(0);
        self
    }

    /// Connects to another node of the cluster: `host:port`, see [`Server::cluster_addr`]. One is enough, the
    /// others are heard of there.
    #[must_use]
    pub fn route(mut self, address: SocketAddr) -> Self {
        self.options.cluster.routes.push(RouteUrl::from(address));
        self
    }

    /// JetStream runs on this clock: `Clock::manual()` lets a test move time.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Time between the server's pings.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.options.ping_interval = interval;
        self
    }

    /// Everything else: changes the options directly.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts the server. When this returns, it serves: the first JetStream request will be answered.
    ///
    /// # Errors
    /// When the port is taken, the store directory is in use or damaged beyond use, or the log cannot be opened.
    pub async fn start(self) -> Result<Server, StartError> {
        let Self {
            mut options,
            store_dir,
            clock,
        } = self;
        let logger = Logger::open(&options.log).map_err(StartError::Log)?;
        let mut temporary = None;
        if let Some(jetstream) = &mut options.jetstream {
            jetstream.store_dir = match store_dir {
                Some(dir) => dir,
                None => {
                    let dir = TemporaryDir::make(super::random::number())
                        .map_err(StartError::TemporaryDir)?;
                    temporary.insert(dir).path().to_owned()
                }
            };
        }
        Server::start(
            options,
            logger,
            Extras {
                clock,
                temporary,
                config_file: None,
            },
        )
        .await
    }
}
