//! What a server is told before it starts: the settings of the configuration file and the command line, in one
//! struct with nats-server's defaults. Immutable once the server runs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

mod cluster;

pub use cluster::{ClusterOptions, Credentials, RouteUrl};
pub(crate) use cluster::{address_fault, split_address};
pub use jetwake_storage::Cipher;

/// Settings of one server. `Default` is nats-server's defaults, without JetStream.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen on, as written: it is shown in INFO and in the log.
    pub host: String,
    /// Client port; 0 takes a free one (the configuration's `-1`).
    pub port: u16,
    /// `server_name`; the server's id if `None`.
    pub server_name: Option<String>,
    /// `host[:port]` to advertise in `connect_urls` instead of the listen address.
    pub client_advertise: Option<String>,
    /// Most client connections at a time. Nobody is admitted at 0.
    pub max_connections: usize,
    /// Most subscriptions of one connection, 0 = no limit.
    pub max_subscriptions: usize,
    /// Most tokens of a subscription's subject, 0 = no limit.
    pub max_sub_tokens: usize,
    /// Longest protocol line in bytes, without the operation's name.
    pub max_control_line: usize,
    /// Largest message (headers and payload) in bytes.
    pub max_payload: usize,
    /// Bytes queued for one connection before it counts as a slow consumer.
    pub max_pending: usize,
    /// Time between the server's pings.
    pub ping_interval: Duration,
    /// Pings that may stay unanswered.
    pub ping_max: u32,
    /// Longest time that one flush to a client may take.
    pub write_deadline: Duration,
    /// Who may connect; everybody if `None`.
    pub auth: Option<Auth>,
    /// Time a client has for its CONNECT when authentication is on.
    pub auth_timeout: Duration,
    /// Refuses headers.
    pub no_header_support: bool,
    /// Drops messages for a client that is 75 % full instead of slowing its producers down.
    pub no_fast_producer_stall: bool,
    /// Time over which lame duck mode closes connections.
    pub lame_duck_duration: Duration,
    /// Time that lame duck mode waits before it closes the first.
    pub lame_duck_grace_period: Duration,
    /// Closed connections remembered for monitoring.
    pub max_closed_clients: usize,
    /// Other nodes.
    pub cluster: ClusterOptions,
    /// JetStream, off if `None`.
    pub jetstream: Option<JetStreamOptions>,
    /// Length that journal files grow to, and bytes of complete ones that are kept; 32 MiB if `None`.
    pub journal_file_max: Option<u32>,
    /// Time in which everything that is stored in files is read once, to find rot; zero for never, 30 days if `None`.
    pub scrub_period: Option<Duration>,
    /// The monitoring listener, off if `None`.
    pub monitor: Option<MonitorOptions>,
    /// Free text shown by monitoring.
    pub server_tags: Vec<String>,
    /// Digest of the configuration file, `sha256:...`; empty without one.
    pub config_digest: String,
    /// What goes to the log.
    pub log: LogOptions,
    /// File that receives the process id.
    pub pid_file: Option<PathBuf>,
    /// Directory that receives the ports file.
    pub ports_file_dir: Option<PathBuf>,
}

/// Credentials of a server with a single user or a token.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// One user; the password may be a bcrypt hash.
    User {
        /// User name.
        user: String,
        /// Password or its bcrypt hash.
        password: String,
    },
    /// A token, which may be a bcrypt hash.
    Token(String),
}

impl Auth {
    /// Whether the secret stands in the options in plain text, not as a bcrypt hash.
    pub fn is_plaintext(&self) -> bool {
        let (Self::User {
            password: secret, ..
        }
        | Self::Token(secret)) = self;
        !secret.starts_with("$2")
    }
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User { user, .. } => write!(f, "User({user:?}, [REDACTED])"),
            Self::Token(_) => f.write_str("Token([REDACTED])"),
        }
    }
}

/// Settings of the `jetstream` block.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// Where data goes, see [`JetStreamOptions::data_dir`].
    pub store_dir: PathBuf,
    /// Most bytes of memory streams; `None` = 75 % of the machine's memory.
    pub max_memory: Option<u64>,
    /// Most bytes of file streams; `None` = 75 % of the free disk space.
    pub max_file: Option<u64>,
    /// When an acknowledged message is on disk.
    pub sync: SyncPolicy,
    /// JetStream domain.
    pub domain: Option<String>,
    /// Replicas of a stream go to servers whose tags with this in front differ; empty if that does not matter.
    pub unique_tag: String,
    /// Whether unknown fields of API requests are errors.
    pub strict: bool,
    /// Ceilings for what streams and consumers ask for.
    pub limits: JetStreamLimits,
    /// How files are encrypted, if they are.
    pub encryption: Option<EncryptionOptions>,
}

/// Settings of the `jetstream { limits }` block; 0 = no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JetStreamLimits {
    /// Largest `max_ack_pending` of a consumer, and its default up to 1000.
    pub max_ack_pending: i64,
    /// Largest `max_batch` of a pull consumer, and its default.
    pub max_request_batch: i64,
    /// Largest `duplicate_window` of a stream, and its default up to two minutes.
    pub duplicate_window: Duration,
    /// Most consumers of a stream that sets no `max_consumers`.
    pub default_max_consumers: usize,
}

impl Default for JetStreamLimits {
    fn default() -> Self {
        Self {
            max_ack_pending: 0,
            max_request_batch: 0,
            duplicate_window: Duration::ZERO,
            default_max_consumers: 1000,
        }
    }
}

impl JetStreamOptions {
    /// The directory that holds the data: `<store_dir>/jetstream`, unless `store_dir` ends like that already.
    pub fn data_dir(&self) -> PathBuf {
        if self.store_dir.ends_with("jetstream") {
            self.store_dir.clone()
        } else {
            self.store_dir.join("jetstream")
        }
    }
}

impl Default for JetStreamOptions {
    fn default() -> Self {
        Self {
            store_dir: std::env::temp_dir().join("nats"),
            max_memory: None,
            max_file: None,
            sync: SyncPolicy::Always,
            domain: None,
            unique_tag: String::new(),
            strict: true,
            limits: JetStreamLimits::default(),
            encryption: None,
        }
    }
}

/// Encryption at rest.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionOptions {
    /// The key of what is written.
    pub key: String,
    /// The key of what was written before a change of keys.
    pub previous: Option<String>,
    /// The cipher of new files.
    pub cipher: Cipher,
}

impl std::fmt::Debug for EncryptionOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EncryptionOptions({:?}, [REDACTED])", self.cipher)
    }
}

/// When file storage counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After `fdatasync`: an acknowledged message survives a power cut. The default.
    Always,
    /// After the write: an acknowledged message survives the death of the process, not of the machine. The disk
    /// is synced this often.
    Lazy(Duration),
}

/// Settings of the monitoring listener.
#[derive(Clone, Debug)]
pub struct MonitorOptions {
    /// Address to listen on.
    pub host: String,
    /// Port, 0 takes a free one.
    pub port: u16,
    /// Prefix of every path, empty or starting with `/`.
    pub base_path: String,
}

/// What goes to the log, and where.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// `[DBG]` lines.
    pub debug: bool,
    /// `[TRC]` lines: every protocol operation.
    pub trace: bool,
    /// The time in front of each line.
    pub time: bool,
    /// Time in UTC.
    pub utc: bool,
    /// Log file; stderr if `None`.
    pub file: Option<PathBuf>,
    /// Longest payload shown by a trace, 0 = all of it.
    pub max_traced_msg_len: usize,
    /// Nothing is logged at all: the embedded broker's default.
    pub silent: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            debug: false,
            trace: false,
            time: true,
            utc: false,
            file: None,
            max_traced_msg_len: 0,
            silent: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            host: "0.0.0.0".to_owned(),
            port: 4222,
            server_name: None,
            client_advertise: None,
            max_connections: 65_536,
            max_subscriptions: 0,
            max_sub_tokens: 0,
            max_control_line: 4096,
            max_payload: 1 << 20,
            max_pending: 64 << 20,
            ping_interval: Duration::from_secs(120),
            ping_max: 2,
            write_deadline: Duration::from_secs(10),
            auth: None,
            auth_timeout: Duration::from_secs(2),
            no_header_support: false,
            no_fast_producer_stall: false,
            lame_duck_duration: Duration::from_secs(120),
            lame_duck_grace_period: Duration::from_secs(10),
            max_closed_clients: 10_000,
            cluster: ClusterOptions::default(),
            jetstream: None,
            journal_file_max: None,
            scrub_period: None,
            monitor: None,
            server_tags: Vec::new(),
            config_digest: String::new(),
            log: LogOptions::default(),
            pid_file: None,
            ports_file_dir: None,
        }
    }
}

impl Options {
    /// The listen address as clients and operators see it: IPv6 addresses in brackets.
    pub fn listen_addr(&self, port: u16) -> String {
        join_host_port(&self.host, port)
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn join_host_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The address to connect to for a listen address: loopback for a wildcard.
pub fn reachable(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    } else {
        ip
    }
}
