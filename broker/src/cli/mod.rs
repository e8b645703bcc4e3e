//! The command line: what to do and with which options. nats-server's flags are ours; a flag that is not built
//! yet stops the start and names itself.
//!
//! Pure but for [`signal`], which sends one.

mod cluster;
mod flags;
pub mod signal;

use std::path::PathBuf;
use std::time::Duration;

use crate::options::{Auth, JetStreamOptions, MonitorOptions, Options, SyncPolicy};

use flags::{Flag, FlagError, Given};

/// What `-h` prints.
pub const USAGE: &str = include_str!("usage.txt");

/// What `--sync lazy` means: nats-server's default interval.
pub const LAZY_SYNC_INTERVAL: Duration = Duration::from_secs(120);

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Run a server.
    Serve(Box<CommandLine>),
    /// Check the configuration file and exit.
    Check(PathBuf),
    /// Send a signal to a running server: `<command>[=<pid or pid file>]`.
    Signal(String),
    /// `bench`, with its arguments.
    #[cfg(feature = "bench")]
    Bench(Vec<String>),
    /// Print the version.
    Version,
    /// Print the usage.
    Help,
}

/// The flags of a server to run; they win over its configuration file.
#[derive(Debug)]
pub struct CommandLine {
    /// `-c`.
    pub config: Option<PathBuf>,
    given: Vec<Given>,
}

/// Why the command line was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason, without the program's name.
    pub text: String,
    /// nats-server prints its usage and exits with 0 for what its flag parser refuses.
    pub usage: bool,
}

impl From<FlagError> for Refused {
    fn from(error: FlagError) -> Self {
        let usage = !matches!(error, FlagError::NotBuilt(_) | FlagError::Command(_));
        Self {
            text: error.to_string(),
            usage,
        }
    }
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// When a flag is unknown, lacks its value, has a bad value or is not built yet.
pub fn parse(args: &[String]) -> Result<Command, Refused> {
    #[cfg(feature = "bench")]
    if let Some(("bench", rest)) = args.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return Ok(Command::Bench(rest.to_vec()));
    }
    let given = flags::parse(args)?;
    let last = |flag: Flag| given.iter().rev().find(|g| g.flag == flag);
    let is_set = |flag: Flag| last(flag).is_some_and(|g| g.value == "true");
    if is_set(Flag::Version) {
        return Ok(Command::Version);
    }
    if is_set(Flag::Help) {
        return Ok(Command::Help);
    }
    if let Some(signal) = last(Flag::Signal) {
        return Ok(Command::Signal(signal.value.clone()));
    }
    let config = last(Flag::Config).map(|g| PathBuf::from(&g.value));
    if is_set(Flag::Check) {
        return config.map(Command::Check).ok_or_else(|| Refused {
            text: "must specify [-c, --config] option to check configuration file syntax"
                .to_owned(),
            usage: false,
        });
    }
    let line = CommandLine { config, given };
    line.apply(&mut Options::default())?;
    Ok(Command::Serve(Box::new(line)))
}

impl CommandLine {
    /// Lays the flags over `options`.
    ///
    /// # Errors
    /// When a value is malformed.
    pub fn apply(&self, options: &mut Options) -> Result<(), Refused> {
        for given in &self.given {
            apply(given, options)?;
        }
        if let (Some(_), Some(monitor)) = (self.text(Flag::HttpPort), &mut options.monitor) {
            monitor.host = options.host.clone();
        }
        self.apply_credentials(options)?;
        self.apply_jetstream(options)
    }

    fn text(&self, flag: Flag) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|g| g.flag == flag)
            .map(|g| g.value.as_str())
    }

    fn apply_credentials(&self, options: &mut Options) -> Result<(), Refused> {
        if let Some(token) = self.text(Flag::Token) {
            options.auth = Some(Auth::Token(token.to_owned()));
        }
        match (self.text(Flag::User), self.text(Flag::Password)) {
            (Some(user), password) => {
                let password = password.unwrap_or_default().to_owned();
                options.auth = Some(Auth::User {
                    user: user.to_owned(),
                    password,
                });
                Ok(())
            }
            (None, Some(_)) => Err(refused("--pass needs --user")),
            (None, None) => Ok(()),
        }
    }

    fn apply_jetstream(&self, options: &mut Options) -> Result<(), Refused> {
        if self.text(Flag::JetStream) == Some("true") && options.jetstream.is_none() {
            options.jetstream = Some(JetStreamOptions::default());
        }
        let Some(jetstream) = &mut options.jetstream else {
            return Ok(());
        };
        if let Some(dir) = self.text(Flag::StoreDir) {
            jetstream.store_dir = PathBuf::from(dir);
        }
        if let Some(sync) = self.text(Flag::Sync) {
            jetstream.sync = sync_policy(sync).ok_or_else(|| {
                refused(&format!("--sync {sync:?}: not always, lazy or a duration"))
            })?;
        }
        Ok(())
    }
}

/// Flags that set one option each.
fn apply(given: &Given, options: &mut Options) -> Result<(), Refused> {
    let text = || given.value.clone();
    let yes = given.value == "true";
    match given.flag {
        Flag::Port => options.port = port(given, Options::default().port)?,
        Flag::Host => options.host = text(),
        Flag::ServerName => {
            if given.value.contains(char::is_whitespace) {
                return Err(refused("server name cannot contain spaces"));
            }
            options.server_name = Some(text());
        }
        Flag::ClientAdvertise => options.client_advertise = Some(text()),
        Flag::PidFile => options.pid_file = Some(given.value.clone().into()),
        Flag::PortsFileDir => options.ports_file_dir = Some(given.value.clone().into()),
        Flag::HttpPort => {
            let port = port(given, 0)?;
            let host = options.host.clone();
            options.monitor = Some(MonitorOptions {
                host,
                port,
                base_path: String::new(),
            });
        }
        Flag::LogFile => options.log.file = Some(given.value.clone().into()),
        Flag::LogTime => options.log.time = yes,
        Flag::LogTimeUtc => options.log.utc = yes,
        Flag::Debug => options.log.debug = yes,
        Flag::Trace => options.log.trace = yes,
        Flag::DebugTrace => {
            options.log.debug = yes;
            options.log.trace = yes;
        }
        Flag::Cluster
        | Flag::ClusterName
        | Flag::Routes
        | Flag::ClusterAdvertise
        | Flag::NoAdvertise
        | Flag::ConnectRetries => cluster::apply(given, &mut options.cluster)?,
        Flag::MaxTracedMsgLen => options.log.max_traced_msg_len = number(given)?,
        Flag::Config
        | Flag::Check
        | Flag::User
        | Flag::Password
        | Flag::Token
        | Flag::JetStream
        | Flag::StoreDir
        | Flag::Sync
        | Flag::Signal
        | Flag::Version
        | Flag::Help
        | Flag::NotBuilt => {}
    }
    Ok(())
}

/// `-1` takes a free port (0 in [`Options`]), 0 is the default.
fn port(given: &Given, default: u16) -> Result<u16, Refused> {
    match given.value.parse::<i64>() {
        Ok(-1) => Ok(0),
        Ok(0) => Ok(default),
        Ok(n) => {
            u16::try_from(n).map_err(|_| refused(&format!("-{}: invalid port {n}", given.name)))
        }
        Err(_) => Err(bad_value(given)),
    }
}

fn number(given: &Given) -> Result<usize, Refused> {
    given.value.parse().map_err(|_| bad_value(given))
}

fn bad_value(given: &Given) -> Refused {
    let text = format!(
        "invalid value {:?} for flag -{}: parse error",
        given.value, given.name
    );
    Refused { text, usage: true }
}

fn refused(text: &str) -> Refused {
    Refused {
        text: text.to_owned(),
        usage: false,
    }
}

/// `always`, `lazy` or a duration.
pub fn sync_policy(text: &str) -> Option<SyncPolicy> {
    match text {
        "always" => Some(SyncPolicy::Always),
        "lazy" => Some(SyncPolicy::Lazy(LAZY_SYNC_INTERVAL)),
        text => {
            let nanos = jetwake_protocol::time::parse_duration(text)?;
            u64::try_from(nanos)
                .ok()
                .filter(|n| *n > 0)
                .map(|n| SyncPolicy::Lazy(Duration::from_nanos(n)))
        }
    }
}

#[cfg(test)]
mod tests;
