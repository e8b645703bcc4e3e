//! One server process with its files.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const START_LIMIT: Duration = Duration::from_secs(20);
const LOG_POLL: Duration = Duration::from_millis(5);
const LISTENING: &str = "client connections on ";

/// Makes directory names unique within one test process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A running server; killed without warning and its files removed on drop.
#[derive(Debug)]
pub struct Server {
    args: Vec<String>,
    dir: PathBuf,
    child: Child,
    listen: String,
}

impl Server {
    pub(crate) fn spawn(args: Vec<String>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("nats-suite-{}-{id}", process::id()));
        fs::create_dir_all(&dir).expect("create the server's directory");
        let child = start(&args, &dir);
        Server {
            args,
            dir,
            child,
            listen: String::new(),
        }
    }

    pub(crate) fn wait_ready(&mut self) {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if let Some(listen) = listen_address(&log) {
                self.listen = listen;
                return;
            }
            let ended = self.child.try_wait().expect("query the server process");
            if ended.is_some() || Instant::now() > deadline {
                panic!(
                    "server did not start ({ended:?}), args {:?}, log:\n{log}",
                    self.args
                );
            }
            thread::sleep(LOG_POLL);
        }
    }

    /// Kills the server without warning and starts it again with the same arguments and files.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn restart(&mut self) {
        self.kill();
        // A stale log would name the old listener before the new one is bound.
        let _ = fs::remove_file(self.dir.join("log"));
        self.child = start(&self.args, &self.dir);
        self.wait_ready();
    }

    /// `nats://host:port`, or `tls://` when the server's INFO asks for TLS.
    ///
    /// # Panics
    /// When the server cannot be reached.
    #[must_use]
    pub fn client_url(&self) -> String {
        let scheme = if self.info().contains("\"tls_required\":true") {
            "tls"
        } else {
            "nats"
        };
        format!("{scheme}://{}", self.listen)
    }

    /// The client port.
    ///
    /// # Panics
    /// When the log line held no port.
    #[must_use]
    pub fn client_port(&self) -> u16 {
        let (_, port) = self.listen.rsplit_once(':').expect("host:port");
        port.parse().expect("a numeric port")
    }

    /// The process id that the server wrote to its pid file.
    ///
    /// # Panics
    /// When the file is missing or holds anything but the number.
    #[must_use]
    pub fn client_pid(&self) -> usize {
        let text = fs::read_to_string(self.dir.join("pid")).expect("read the pid file");
        text.parse()
            .expect("the pid file holds a number and nothing else")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new(program())
            .arg("--signal")
            .arg(format!("{name}={}", self.client_pid()))
            .status()
            .expect("run the signalling program");
        assert!(status.success(), "--signal {name} failed: {status}");
    }

    fn info(&self) -> String {
        let stream = TcpStream::connect(&self.listen).expect("connect to the server");
        let mut line = String::new();
        BufReader::new(stream)
            .read_line(&mut line)
            .expect("read INFO");
        line
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("server files kept in {}", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn program() -> OsString {
    std::env::var_os("JETWAKE_TEST_SERVER").unwrap_or_else(|| OsString::from("nats-server"))
}

fn start(args: &[String], dir: &std::path::Path) -> Child {
    Command::new(program())
        .arg("--store_dir")
        .arg(dir.join("store"))
        .arg("-l")
        .arg(dir.join("log"))
        .arg("-P")
        .arg(dir.join("pid"))
        .args(args)
        .stdin(Stdio::null())
        .spawn()
        .expect("start the server program")
}

/// The `host:port` of the client listener named in a log, reachable from this machine. The log is
/// written while it is read, so only complete lines count.
fn listen_address(log: &str) -> Option<String> {
    let (complete, _) = log.rsplit_once('\n')?;
    let line = complete.lines().find(|line| line.contains(LISTENING))?;
    let (_, address) = line.split_once(LISTENING)?;
    Some(address.trim().replace("0.0.0.0", "localhost"))
}
