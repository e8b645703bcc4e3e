//! A server as a whole: the client side, the JetStream thread, the disk thread and monitoring, put together,
//! started in order and stopped in order.
//!
//! A shell module: threads are started here.

// Threads and tasks of a server are started here and nowhere else.
#![allow(clippy::disallowed_methods)]

mod banner;
mod builder;
mod cluster;
mod desk;
mod disk;
mod inbox;
mod limits;
mod outbox;
mod peers;
mod random;
mod report;
mod routes;
mod shard;
mod store_dir;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jetwake_protocol::peer::NodeId;
use jetwake_storage::{RealDisk, StoreError};

use crate::clock::Clock;
use crate::jetstream::{ClusterSettings, Settings};
use crate::log::Logger;
use crate::mesh::{self, BoundMesh, MeshEvents, RunningMesh};
use crate::monitor::Monitor;
use crate::options::{
    JetStreamOptions, Options, RouteUrl, address_fault, join_host_port, reachable,
};
use crate::server::{self, Bound, Running};

pub use builder::Builder;
pub use cluster::Cluster;

use inbox::Inbox;
use limits::Limits;
use peers::CoreMesh;
use report::Reporter;
use routes::RouteMesh;
use shard::Shard;
use store_dir::TemporaryDir;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options contradict each other.
    #[error("{0}")]
    Options(String),
    /// The client port.
    #[error("{0}")]
    Listen(#[from] server::StartError),
    /// An address to advertise that is none.
    #[error("Error setting {what} value of {address}, err={fault}")]
    Advertise {
        /// For whom.
        what: &'static str,
        /// As configured.
        address: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The cluster port.
    #[error(
        "Error listening on router port: {port} - {}",
        server::listen_text(&join_host_port(host, *port), error)
    )]
    Route {
        /// The host as configured.
        host: String,
        /// The port as configured.
        port: u16,
        /// What the system says.
        error: io::Error,
    },
    /// The monitoring port.
    #[error(
        "Can't start monitoring: can't listen to the monitor port: {}",
        server::listen_text(address, error)
    )]
    Monitor {
        /// The address as configured.
        address: String,
        /// What the system says.
        error: io::Error,
    },
    /// The store directory.
    #[error("Can't start JetStream: {0}")]
    Store(StoreError),
    /// The keys of new files.
    #[error("Can't start JetStream: the system has no random bytes for keys")]
    Randomness,
    /// JetStream in a cluster that it cannot find.
    #[error(
        "Can't start JetStream: JetStream cluster requires configured routes or solicited leafnode \
         for the system account"
    )]
    NoRoutes,
    /// The store directory's name belongs to something else.
    #[error("Can't start JetStream: storage directory is not a directory")]
    StoreNotADirectory,
    /// The log file.
    #[error("error opening log file: {0}")]
    Log(io::Error),
    /// The temporary store directory.
    #[error("can't make a temporary store directory: {0}")]
    TemporaryDir(io::Error),
    /// A thread.
    #[error("can't start a thread: {0}")]
    Thread(io::Error),
    /// The nodes of a [`Cluster`] did not find together.
    #[error("the nodes did not form a cluster")]
    NoCluster,
    /// The JetStream thread ended before it was ready.
    #[error("the JetStream thread died at its start")]
    Died,
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    // In the order of their end: the JetStream thread answers waiting requests while clients are still there.
    shard: Option<Shard>,
    monitor: Option<Monitor>,
    mesh: Option<RunningMesh>,
    running: Arc<Running>,
    data_dir: Option<PathBuf>,
    clock: Clock,
    _temporary: Option<TemporaryDir>,
}

/// What an embedded server has beyond its options.
#[derive(Debug, Default)]
struct Extras {
    clock: Clock,
    temporary: Option<TemporaryDir>,
    config_file: Option<String>,
}

impl Server {
    /// A server to embed, see [`Builder`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server of a process; `config_file` is its configuration file as the log names it.
    pub(crate) async fn start_announced(
        options: Options,
        logger: Logger,
        config_file: Option<String>,
    ) -> Result<Self, StartError> {
        check(&options)?;
        let cluster = &options.cluster;
        // An embedded server may get its routes later.
        if options.jetstream.is_some() && cluster.port.is_some() && cluster.routes.is_empty() {
            return Err(StartError::NoRoutes);
        }
        let extras = Extras {
            config_file,
            ..Extras::default()
        };
        Self::start(options, logger, extras).await
    }

    async fn start(options: Options, logger: Logger, extras: Extras) -> Result<Self, StartError> {
        check(&options)?;
        let inbox = options
            .jetstream
            .is_some()
            .then(|| Arc::new(Inbox::default()));
        let mailbox = inbox
            .clone()
            .map(|inbox| inbox as Arc<dyn server::JetStreamInbox>);
        let bound = Bound::bind(options.clone(), logger.clone(), mailbox).await?;
        let router = bound.router();
        let identity = &router.shared().identity;
        let cluster = router.shared().neighbours.name().text;
        banner::identity(&logger, &identity.name, &identity.id, &cluster, &options);
        if let Some(file) = extras.config_file {
            logger.info(format_args!("Using configuration file: {file}"));
        }
        let limits = options.jetstream.as_ref().map(Limits::of);
        let peers = Arc::new(OnceLock::new());
        let shared = Arc::clone(router.shared());
        let reporter = Reporter::new(shared, inbox.clone(), limits, Arc::clone(&peers));
        let monitor = start_monitor(&options, reporter, &logger).await?;
        let mut node = NodeId(random::number());
        let routes = RouteMesh::new(router.clone());
        let mut consumers: Vec<Arc<dyn MeshEvents>> = vec![Arc::new(routes)];
        let mut shard = None;
        if let (Some(jetstream), Some(inbox), Some(limits)) = (&options.jetstream, inbox, limits) {
            let settings = settings(&options, jetstream, &identity.name, limits);
            let parts = shard::Parts {
                settings,
                router: router.clone(),
                inbox: Arc::clone(&inbox),
                clock: extras.clock.clone(),
                options: jetstream.clone(),
                journal_file_max: options.journal_file_max,
                disk: Arc::new(RealDisk),
                peers: Arc::clone(&peers),
            };
            let (started, number) = start_jetstream(parts, &limits, &logger).await?;
            shard = Some(started);
            if options.cluster.port.is_some() {
                node = NodeId(number);
                consumers.push(Arc::new(CoreMesh::new(inbox)));
            }
        }
        let mesh = BoundMesh::bind(Arc::clone(router.shared()), node)
            .await
            .map_err(|error| StartError::Route {
                host: options.cluster.host.clone(),
                port: options.cluster.port.unwrap_or(0),
                error,
            })?;
        if let Some(mesh) = &mesh {
            // Set once: this is the only place.
            let _ = peers.set(mesh.peers());
        }
        let running = Arc::new(bound.serve());
        logger.info(format_args!("Server is ready"));
        let mesh = mesh.map(|mesh| mesh.start(consumers));
        Ok(Self {
            shard,
            monitor,
            mesh,
            running,
            data_dir: options.jetstream.as_ref().map(JetStreamOptions::data_dir),
            clock: extras.clock,
            _temporary: extras.temporary,
        })
    }

    /// Where clients connect.
    pub fn client_addr(&self) -> SocketAddr {
        self.running.client_addr()
    }

    /// The URL to give to a client.
    pub fn client_url(&self) -> String {
        let addr = self.client_addr();
        format!(
            "nats://{}",
            SocketAddr::new(reachable(addr.ip()), addr.port())
        )
    }

    /// Where other nodes connect, if there is a cluster.
    pub fn cluster_addr(&self) -> Option<SocketAddr> {
        self.mesh.as_ref().map(RunningMesh::addr)
    }

    /// Connects to one more node of the cluster, for ever, see [`Builder::route`].
    pub fn add_route(&self, address: SocketAddr) {
        if let Some(mesh) = &self.mesh {
            mesh.dial(RouteUrl::from(address));
        }
    }

    /// The other nodes, if there is a cluster.
    pub fn peers(&self) -> Option<&mesh::Peers> {
        self.mesh.as_ref().map(RunningMesh::peers)
    }

    /// Where monitoring listens, if it is on.
    pub fn monitor_addr(&self) -> Option<SocketAddr> {
        self.monitor.as_ref().map(Monitor::addr)
    }

    /// The directory that holds JetStream's data, if it is on.
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    /// The clock that JetStream runs on.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tells clients to leave and closes them one by one; completes when all are gone.
    pub async fn lame_duck(&self) {
        if let Some(mesh) = &self.mesh {
            self.running.prepare_lame_duck();
            mesh.leave();
        }
        if let Some(shard) = &self.shard {
            shard.leave();
        }
        self.running.lame_duck().await;
    }

    /// Stops the server and completes when every task and thread has ended.
    pub async fn shutdown(mut self) {
        if let Some(shard) = self.shard.take() {
            // Joining a thread blocks; the runtime's own threads must not.
            let stopped = tokio::task::spawn_blocking(move || drop(shard)).await;
            debug_assert!(stopped.is_ok(), "stopping does not panic");
        }
        if let Some(mesh) = self.mesh.take() {
            mesh.shutdown().await;
        }
        self.running.shutdown().await;
    }
}

/// The monitoring listener, if it is asked for.
async fn start_monitor(
    options: &Options,
    reporter: Reporter,
    logger: &Logger,
) -> Result<Option<Monitor>, StartError> {
    let Some(monitor) = &options.monitor else {
        return Ok(None);
    };
    let failed = |error| StartError::Monitor {
        address: join_host_port(&monitor.host, monitor.port),
        error,
    };
    let running = Monitor::start(monitor, Arc::new(reporter))
        .await
        .map_err(failed)?;
    let address = join_host_port(&monitor.host, running.addr().port());
    logger.info(format_args!("Starting http monitor on {address}"));
    Ok(Some(running))
}

/// The JetStream thread, with the lines that a log shows around its start.
async fn start_jetstream(
    parts: shard::Parts,
    limits: &Limits,
    logger: &Logger,
) -> Result<(Shard, u64), StartError> {
    if store_dir::is_blocked(&parts.options.data_dir()) {
        return Err(StartError::StoreNotADirectory);
    }
    banner::jetstream(logger, &parts.options, limits);
    let clock = parts.clock.clone();
    let began = clock.now();
    let shard = Shard::start(parts).await?;
    let took = std::time::Duration::from_nanos(clock.now().abs_diff(began));
    logger.info(format_args!("Took {took:?} to start JetStream"));
    Ok(shard)
}

/// Checks that concern several options.
fn check(options: &Options) -> Result<(), StartError> {
    let (payload, pending) = (options.max_payload, options.max_pending);
    if payload > pending {
        let text = format!("max_payload ({payload}) cannot be higher than max_pending ({pending})");
        return Err(StartError::Options(text));
    }
    let cluster = &options.cluster;
    check_address(
        "server INFO with ClientAdvertise",
        options.client_advertise.as_deref(),
    )?;
    if cluster.port.is_some() {
        check_address(
            "route INFO with Cluster.Advertise",
            cluster.advertise.as_deref(),
        )?;
    }
    if cluster.port.is_none() && !cluster.routes.is_empty() {
        let text = "solicited routes require cluster capabilities, e.g. --cluster";
        return Err(StartError::Options(text.to_owned()));
    }
    if cluster.port.is_some() && options.jetstream.is_some() {
        let missing = |key| format!("jetstream cluster requires `{key}` to be set");
        if options.server_name.is_none() {
            return Err(StartError::Options(missing("server_name")));
        }
        if cluster.name.is_none() {
            return Err(StartError::Options(missing("cluster.name")));
        }
    }
    Ok(())
}

/// Checks what others are to be told.
fn check_address(what: &'static str, address: Option<&str>) -> Result<(), StartError> {
    let Some(address) = address.filter(|address| !address.is_empty()) else {
        return Ok(());
    };
    match address_fault(address) {
        None => Ok(()),
        Some(fault) => Err(StartError::Advertise {
            what,
            address: address.to_owned(),
            fault,
        }),
    }
}

fn settings(
    options: &Options,
    jetstream: &JetStreamOptions,
    name: &str,
    limits: Limits,
) -> Settings {
    let defaults = Settings::default();
    Settings {
        keep: options.journal_file_max.map_or(defaults.keep, u64::from),
        server_name: name.to_owned(),
        domain: jetstream.domain.clone(),
        strict: jetstream.strict,
        max_memory: limits.max_memory,
        max_file: limits.max_file,
        max_pending: options.max_pending as u64,
        scrub_period: options
            .scrub_period
            .map_or(defaults.scrub_period, |period| {
                i64::try_from(period.as_nanos()).unwrap_or(i64::MAX)
            }),
        max_ack_pending: jetstream.limits.max_ack_pending,
        max_request_batch: jetstream.limits.max_request_batch,
        max_duplicate_window: i64::try_from(jetstream.limits.duplicate_window.as_nanos())
            .unwrap_or(i64::MAX),
        default_max_consumers: jetstream.limits.default_max_consumers,
        max_payload: options.max_payload as u64,
        cluster: options.cluster.port.map(|_| ClusterSettings {
            name: options.cluster.name.clone().unwrap_or_default(),
            // 0 stands for none.
            node: random::number().max(1),
            routes: options.cluster.others(),
            tags: options.server_tags.clone(),
            unique_tag: jetstream.unique_tag.clone(),
        }),
        ..defaults
    }
}
