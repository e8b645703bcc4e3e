//! Server processes: found, started, timed, killed, restarted.
//!
//! The program is `JETWAKE_TEST_SERVER` when set (any nats-server compatible binary), else this
//! workspace's `jetwake` binary, which is built when needed. Readiness is an INFO line on the
//! client port, never a sleep of guessed length. A dropped handle kills its process.

// This is a shell: it starts processes, touches files and measures wall time.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PORTS: Range<u16> = 12_000..30_000;
const START_LIMIT: Duration = Duration::from_secs(60);
/// Short enough to measure start times of a millisecond.
const CONNECT_RETRY: Duration = Duration::from_micros(100);

/// Settings of our own server under which its files turn over often.
pub const SMALL_FILES: &str = "jetwake { journal_file_max: 1MB }\n";

/// The program under test.
///
/// # Errors
/// When the workspace's own binary does not build.
pub fn server_program() -> io::Result<PathBuf> {
    if let Some(program) = std::env::var_os("JETWAKE_TEST_SERVER") {
        return Ok(PathBuf::from(program));
    }
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(build_own_program)
        .clone()
        .map_err(io::Error::other)
}

/// Builds the binary in the profile of this very test program, and returns where it lies.
fn build_own_program() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args([
        "build",
        "--quiet",
        "--package",
        "jetwake",
        "--bin",
        "jetwake",
    ]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build
        .current_dir(workspace())
        .status()
        .map_err(|e| e.to_string())?;
    if !status.success() {
        return Err(format!("building the jetwake binary failed: {status}"));
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    // Test programs lie in <profile>/deps, binaries in <profile>.
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join("jetwake"))
        .find(|program| program.exists())
        .ok_or_else(|| format!("no jetwake binary near {}", own.display()))
}

/// The workspace's root directory.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
}

/// A port of the loopback interface that was free a moment ago.
///
/// It lies below the range from which the system takes the ports of outgoing connections: a client
/// that waits for its server by connecting again and again would connect to itself one day.
///
/// # Errors
/// When none is free.
pub fn free_port() -> io::Result<u16> {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let size = u32::from(PORTS.end - PORTS.start);
    // Rigs that run at the same time start at different places.
    let origin = std::process::id().wrapping_mul(97);
    for _ in 0..size {
        let offset = origin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % size;
        let port = PORTS.start + u16::try_from(offset).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// A directory that is removed on drop, unless the thread is panicking.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Creates an empty directory under `parent`.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn new(parent: &Path, name: &str) -> io::Result<Self> {
        let nanos = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap_or_default()
            .as_nanos();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{name}-{}-{nanos}-{count}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            // What cannot be removed stays for the operating system's own clean-up.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// How a server is started; restarts use the same values.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Arguments besides the address.
    pub args: Vec<String>,
    /// The client port.
    pub port: u16,
    /// Where its log goes; appended to.
    pub log: PathBuf,
}

impl Launch {
    /// A server with JetStream whose store and log lie in `directory`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn jetstream(program: &Path, directory: &Path) -> io::Result<Self> {
        let store = directory.join("store").display().to_string();
        Ok(Launch {
            program: program.to_owned(),
            args: vec!["-js".to_owned(), "-sd".to_owned(), store],
            port: free_port()?,
            log: directory.join("server.log"),
        })
    }

    /// Lets our own server turn its files over often, by a configuration file in `directory`;
    /// other servers start as they are.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn with_small_files(mut self, directory: &Path) -> io::Result<Self> {
        let name = self.program.file_name().unwrap_or_default();
        if name.to_string_lossy().starts_with("jetwake") {
            let file = directory.join("small.conf");
            fs::write(&file, SMALL_FILES)?;
            self.args.push("-c".to_owned());
            self.args.push(file.display().to_string());
        }
        Ok(self)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts the program and waits for its first INFO line.
    ///
    /// # Errors
    /// When it ends or stays silent; the error holds its log.
    pub fn start(&self) -> io::Result<ServerProcess> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let begin = Instant::now();
        let child = Command::new(&self.program)
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string()])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|e| io::Error::other(format!("{}: {e}", self.program.display())))?;
        let mut server = ServerProcess {
            child,
            address: self.address(),
            ready_after: Duration::ZERO,
        };
        while server.read_info().is_err() {
            if server.child.try_wait()?.is_some() || begin.elapsed() > START_LIMIT {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                return Err(io::Error::other(format!("{self:?} did not start:\n{log}")));
            }
            thread::sleep(CONNECT_RETRY);
        }
        server.ready_after = begin.elapsed();
        Ok(server)
    }
}

/// A running server process.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    ready_after: Duration,
}

impl ServerProcess {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the call that started the process to its first INFO line.
    #[must_use]
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process without warning (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Waits for the end of the process, which somebody asked for.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn wait(&mut self) -> io::Result<()> {
        self.child.wait().map(drop)
    }

    fn read_info(&self) -> io::Result<()> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(START_LIMIT))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        if line.starts_with("INFO ") {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Already ended is as good as killed.
        let _ = self.kill();
    }
}
