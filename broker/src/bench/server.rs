//! A server that the benchmark starts itself: nats-server or this program, which take the same flags
//! and the same configuration file.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cleanup;
use super::scratch::Scratch;

/// Below the range from which the system takes the ports of outgoing connections: a client that
/// waits for its server by connecting again and again would connect to itself one day.
const PORTS: Range<u16> = 12_000..30_000;
const START_LIMIT: Duration = Duration::from_secs(60);
/// Short enough to measure start times of a millisecond.
const CONNECT_RETRY: Duration = Duration::from_micros(100);

/// What a server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    /// Without JetStream.
    Core,
    /// With JetStream that answers before it syncs (nats-server's default: every two minutes).
    Lazy,
    /// With JetStream that syncs before it answers.
    Durable,
}

/// A server process in a directory of its own; both go with a dropped handle.
#[derive(Debug)]
pub(super) struct Server {
    process: Process,
    launch: Launch,
    ready_after: Duration,
    _scratch: Scratch,
}

#[derive(Clone, Debug)]
struct Launch {
    program: PathBuf,
    port: u16,
    config: PathBuf,
    log: PathBuf,
}

/// Killed on drop.
#[derive(Debug)]
struct Process(Child);

impl Server {
    /// Starts a program with an empty store in a fresh directory under `stores`.
    pub(super) fn start(program: &Path, setting: Setting, stores: &Path) -> io::Result<Self> {
        let scratch = Scratch::new(stores)?;
        let launch = Launch {
            program: program.to_owned(),
            port: free_port()?,
            config: scratch.path().join("server.conf"),
            log: scratch.path().join("server.log"),
        };
        fs::write(&launch.config, configuration(setting, scratch.path()))?;
        let (process, ready_after) = launch.start()?;
        Ok(Server {
            process,
            launch,
            ready_after,
            _scratch: scratch,
        })
    }

    /// Ends the process without warning (SIGKILL) and waits for its end.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        self.process.kill()
    }

    /// Starts the program again on the same store.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        (self.process, self.ready_after) = self.launch.start()?;
        Ok(())
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.launch.address()
    }

    /// The process id.
    pub(super) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// From the call that started the process to its first INFO line.
    pub(super) fn ready_after(&self) -> Duration {
        self.ready_after
    }
}

impl Launch {
    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn start(&self) -> io::Result<(Process, Duration)> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let begin = Instant::now();
        let mut command = Command::new(&self.program);
        command
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-c"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = cleanup::spawn(&mut command)
            .map_err(|error| io::Error::other(format!("{}: {error}", self.program.display())))?;
        let mut process = Process(child);
        while !says_info(self.address())? {
            if process.0.try_wait()?.is_some() || begin.elapsed() > START_LIMIT {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let program = self.program.display();
                return Err(io::Error::other(format!("{program} did not start:\n{log}")));
            }
            thread::sleep(CONNECT_RETRY);
        }
        Ok((process, begin.elapsed()))
    }
}

impl Process {
    fn kill(&mut self) -> io::Result<()> {
        cleanup::kill(&mut self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.kill();
    }
}

/// Whether a server is there; `false` while nobody listens.
fn says_info(address: SocketAddr) -> io::Result<bool> {
    let Ok(stream) = TcpStream::connect(address) else {
        return Ok(false);
    };
    stream.set_read_timeout(Some(START_LIMIT))?;
    let mut line = String::new();
    // A server that ends while it starts is found out by its process.
    let read = BufReader::new(stream).read_line(&mut line);
    Ok(read.is_ok() && line.starts_with("INFO "))
}

fn configuration(setting: Setting, directory: &Path) -> String {
    let interval = match setting {
        Setting::Core => return String::new(),
        Setting::Lazy => "\"2m\"",
        Setting::Durable => "always",
    };
    let store = directory.join("store").display().to_string();
    format!("jetstream {{\n  store_dir: {store:?}\n  sync_interval: {interval}\n}}\n")
}

fn free_port() -> io::Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(PORTS.end - PORTS.start);
    // Programs that run at the same time start at different places.
    let origin = std::process::id().wrapping_mul(97);
    for _ in 0..size {
        let offset = origin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % size;
        let port = PORTS.start + u16::try_from(offset).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_means_synced_before_the_ack_on_both_servers() {
        let text = |setting| configuration(setting, Path::new("/d"));
        assert_eq!(text(Setting::Core), "");
        assert!(text(Setting::Durable).contains("sync_interval: always\n"));
        assert!(text(Setting::Lazy).contains("sync_interval: \"2m\"\n"));
        assert!(text(Setting::Lazy).contains("store_dir: \"/d/store\"\n"));
    }
}
