//! Server processes for scripts: one for all scripts of a pool that ask for the same set-up.
//!
//! Servers listen on a port the system picks; the address and the readiness are read from the log
//! lines that every nats-server compatible program prints. A dropped server is killed.

// This is a shell: it starts processes and reads their logs.
#![allow(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::parse::Setup;
use crate::process::{Scratch, server_program};

const START_LIMIT: Duration = Duration::from_secs(60);
const LISTENING: &str = "Listening for client connections on ";
const READY: &str = "Server is ready";

/// A running server.
#[derive(Debug)]
pub struct ScriptServer {
    child: Child,
    address: SocketAddr,
    _scratch: Scratch,
}

impl ScriptServer {
    /// Starts a server as `setup` says and waits until it is ready.
    ///
    /// # Errors
    /// With the log, when the server ends or does not get ready.
    pub fn start(setup: &Setup) -> io::Result<Self> {
        let scratch = Scratch::new(&std::env::temp_dir(), "protocol-script")?;
        let mut command = Command::new(server_program()?);
        command
            .args(["-a", "127.0.0.1", "-p", "-1"])
            .args(&setup.flags);
        if setup.jetstream {
            command.arg("-js").arg("-sd").arg(scratch.path());
        }
        if !setup.config.is_empty() {
            let file = scratch.path().join("server.conf");
            std::fs::write(&file, &setup.config)?;
            command.arg("-c").arg(file);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let log = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        match wait_until_ready(log) {
            Ok(address) => Ok(Self {
                child,
                address,
                _scratch: scratch,
            }),
            Err(error) => {
                end(&mut child);
                Err(io::Error::other(format!("{command:?}: {error}")))
            }
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ScriptServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Ended already is as good as killed.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads the log until both lines came. A thread goes on reading so that the server never blocks.
fn wait_until_ready(log: ChildStderr) -> io::Result<SocketAddr> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines() {
            let Ok(line) = line else { return };
            // Nobody listens any more once the server is ready.
            let _ = sender.send(line);
        }
    });
    let mut address = None;
    let mut seen = String::new();
    while let Ok(line) = lines.recv_timeout(START_LIMIT) {
        if let Some((_, listener)) = line.split_once(LISTENING) {
            address = listener.trim().parse().ok();
        }
        if line.contains(READY)
            && let Some(address) = address
        {
            return Ok(address);
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    Err(io::Error::other(format!(
        "the server did not get ready; its log:\n{seen}"
    )))
}

/// Started once; why it did not start is remembered as well.
type Slot = Arc<OnceLock<Result<ScriptServer, String>>>;

/// The servers of one test, by set-up.
#[derive(Debug, Default)]
pub struct Pool {
    slots: Mutex<HashMap<Setup, Slot>>,
}

impl Pool {
    /// Calls `work` with the address of the server for `setup`, which is started if need be.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn with_server<T>(
        &self,
        setup: &Setup,
        work: impl FnOnce(SocketAddr) -> T,
    ) -> Result<T, String> {
        let slot = if setup.isolated {
            Slot::default()
        } else {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(setup.clone()).or_default())
        };
        let start = || ScriptServer::start(setup).map_err(|error| error.to_string());
        match slot.get_or_init(start) {
            Ok(server) => Ok(work(server.address())),
            Err(error) => Err(error.clone()),
        }
    }
}
