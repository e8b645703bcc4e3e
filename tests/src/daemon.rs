//! A server as the process that a test harness sees: its output, its files, its signals, its end.
//!
//! Unlike [`crate::process`], which only wants a server to talk to, this keeps every line that the
//! program prints. Waiting is for a line, for a file or for the end, never for a guessed time.

// This is a shell: it starts processes, reads their output and measures wall time.
#![allow(clippy::disallowed_methods)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::server_program;

/// Only failing tests wait for it.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);

/// Whether the program under test is another one than this workspace's.
#[must_use]
pub fn is_reference() -> bool {
    std::env::var_os("JETWAKE_TEST_SERVER").is_some()
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed on the other channel.
    pub stderr: String,
}

/// Runs the server in `directory` until it ends by itself.
///
/// # Errors
/// When it does not start, or does not end.
pub fn run(directory: &Path, args: &[&str]) -> io::Result<Finished> {
    let mut child = Command::new(server_program()?)
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let status = wait_for_end(&mut child)?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
        // The usage is smaller than a pipe, so that the program never waited for us.
        out.read_to_string(&mut stdout)?;
        err.read_to_string(&mut stderr)?;
    }
    let code = status.code();
    Ok(Finished {
        code,
        stdout,
        stderr,
    })
}

fn wait_for_end(child: &mut Child) -> io::Result<ExitStatus> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not end"));
        }
        thread::sleep(POLL);
    }
}

/// Waits until `what` is there.
///
/// # Errors
/// When it does not come.
pub fn eventually<T>(mut what: impl FnMut() -> Option<T>) -> io::Result<T> {
    let begin = Instant::now();
    while begin.elapsed() < LIMIT {
        if let Some(found) = what() {
            return Ok(found);
        }
        thread::sleep(POLL);
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "it did not come"))
}

/// A running server whose stderr is read line by line. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    started: Instant,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Daemon {
    /// Starts the server in `directory`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(directory: &Path, args: &[&str]) -> io::Result<Self> {
        Self::spawn(&server_program()?, directory, args)
    }

    /// Starts this program in `directory`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(program: &Path, directory: &Path, args: &[&str]) -> io::Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(program)
            .args(args)
            .current_dir(directory)
            .env("JETWAKE_CONTRACT_PORT", "-1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                let Ok(line) = line else { return };
                // Nobody listens any more when the test is over.
                let _ = sender.send(line);
            }
        });
        Ok(Self {
            child,
            started,
            lines,
            seen: Vec::new(),
        })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Since the program was started.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// How long its threads have stood ready and waited for a processor, all added up: what a busy machine adds to
    /// the program's times. Zero where the system does not tell.
    #[must_use]
    pub fn held_up(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid()));
        let waited = tasks.into_iter().flatten().filter_map(|task| {
            // Time on a processor, time waiting for one, slices.
            let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        Duration::from_nanos(waited.sum())
    }

    /// The first line, from the start on, that contains `text`.
    ///
    /// # Errors
    /// When the log ends without it.
    pub fn line(&mut self, text: &str) -> io::Result<String> {
        self.line_from(0, text)
    }

    /// The first line that contains `text` among those that the test has not waited for yet.
    ///
    /// # Errors
    /// When the log ends without it.
    pub fn next_line(&mut self, text: &str) -> io::Result<String> {
        self.line_from(self.seen.len(), text)
    }

    fn line_from(&mut self, from: usize, text: &str) -> io::Result<String> {
        if let Some(line) = self.seen[from..].iter().find(|line| line.contains(text)) {
            return Ok(line.clone());
        }
        while let Ok(line) = self.lines.recv_timeout(LIMIT) {
            self.seen.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
        let log = self.seen.join("\n");
        Err(io::Error::other(format!("no {text:?} in the log:\n{log}")))
    }

    /// Waits until the server is ready, and says where clients connect.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn ready(&mut self) -> io::Result<SocketAddr> {
        self.line("Server is ready")?;
        self.address("Listening for client connections on ")
    }

    /// Where monitoring listens.
    ///
    /// # Errors
    /// When it is off.
    pub fn monitor(&mut self) -> io::Result<SocketAddr> {
        self.address("Starting http monitor on ")
    }

    fn address(&mut self, text: &str) -> io::Result<SocketAddr> {
        let line = self.line(text)?;
        let address = line.rsplit(' ').next().unwrap_or_default();
        address
            .replace("0.0.0.0", "127.0.0.1")
            .replace("localhost", "127.0.0.1")
            .parse()
            .map_err(|_| io::Error::other(line))
    }

    /// Sends a signal by its name without `SIG`.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        let command = format!("kill -{name} {}", self.pid());
        let status = Command::new("sh").args(["-c", &command]).status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(command))
    }

    /// Whether it is still there.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end: the exit code, and all it has logged.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> io::Result<(Option<i32>, String)> {
        let status = wait_for_end(&mut self.child)?;
        self.seen.extend(self.lines.iter());
        Ok((status.code(), self.seen.join("\n")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of the monitoring listener.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Asks the monitoring listener.
///
/// # Errors
/// When it does not answer.
pub fn get(address: SocketAddr, path: &str) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || io::Error::other(answer.clone());
    let (headers, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = headers.get(9..12).and_then(|code| code.parse().ok());
    Ok(Reply {
        status: status.ok_or_else(broken)?,
        headers: headers.to_owned(),
        body: body.to_owned(),
    })
}

/// A connection that shows every line of the protocol.
#[derive(Debug)]
pub struct Lines(BufReader<TcpStream>);

impl Lines {
    /// Connects and reads nothing yet.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends this.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        self.0.get_mut().write_all(text.as_bytes())
    }

    /// Reads up to a line that begins like this.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn expect(&mut self, start: &str) -> io::Result<String> {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!("no {start:?} behind {before:?}")));
            }
            if line.starts_with(start) {
                return Ok(line);
            }
            before.push_str(&line);
        }
    }

    /// Reads to the end of the connection.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(&mut self) -> io::Result<String> {
        let mut rest = String::new();
        match self.0.read_to_string(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(rest),
        }
    }
}
