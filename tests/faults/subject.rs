//! A server that faults are tried on.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jetwake_tests::process::{
    Launch, SMALL_FILES, Scratch, ServerProcess, free_port, server_program,
};

/// What a scenario saw.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What happened, for the table.
    pub(crate) text: String,
    /// What should not have happened.
    pub(crate) broken: Vec<String>,
}

impl Verdict {
    /// Notes what is wrong when `kept` is false.
    pub(crate) fn demand(&mut self, kept: bool, problem: impl FnOnce() -> String) {
        if !kept {
            self.broken.push(problem());
        }
    }
}

/// A program to be tried.
#[derive(Debug)]
pub(crate) struct Subject {
    program: PathBuf,
    ours: bool,
}

/// Where a server of a scenario lives.
#[derive(Debug)]
pub(crate) struct Home {
    launch: Launch,
    monitor: SocketAddr,
    scratch: Scratch,
}

impl Subject {
    /// The program that the other rigs test as well.
    pub(crate) fn own() -> io::Result<Self> {
        Ok(Subject {
            program: server_program()?,
            ours: true,
        })
    }

    pub(crate) fn peer(program: &Path) -> Self {
        Subject {
            program: program.to_owned(),
            ours: false,
        }
    }

    pub(crate) fn name(&self) -> String {
        let name = self.program.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.ours
    }

    /// A server with JetStream and monitoring; its store lies at `store` or in its own directory.
    #[allow(clippy::disallowed_methods)] // The rig writes a configuration file.
    pub(crate) fn home(&self, store: Option<&Path>) -> io::Result<Home> {
        let scratch = Scratch::new(&std::env::temp_dir(), "faults")?;
        let own = scratch.path().join("store");
        let store = store.unwrap_or(&own).display().to_string();
        let monitor = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let file = scratch.path().join("server.conf");
        // The limits must not be reached before the disk is full.
        let text = format!(
            "http: \"{monitor}\"\njetstream {{ store_dir: \"{store}\", max_file_store: 1TB }}\n"
        );
        let own = if self.ours { SMALL_FILES } else { "" };
        fs::write(&file, format!("{text}{own}"))?;
        let args = vec!["-c".to_owned(), file.display().to_string()];
        let mut launch = Launch::jetstream(&self.program, scratch.path())?;
        launch.args = args;
        Ok(Home {
            launch,
            monitor,
            scratch,
        })
    }
}

impl Home {
    pub(crate) fn start(&self) -> io::Result<ServerProcess> {
        self.launch.start()
    }

    /// A second server on the same store.
    pub(crate) fn second(&self) -> io::Result<Launch> {
        let mut launch = self.launch.clone();
        launch.port = free_port()?;
        launch.log = self.scratch.path().join("second.log");
        // Only one of them can have the monitoring port.
        launch.args = vec![
            "-js".to_owned(),
            "-sd".to_owned(),
            self.store().display().to_string(),
        ];
        Ok(launch)
    }

    pub(crate) fn monitor(&self) -> SocketAddr {
        self.monitor
    }

    /// The store, when it is in the server's own directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.scratch.path().join("store")
    }

    /// Everything that was logged so far; the next call starts behind it.
    #[allow(clippy::disallowed_methods)] // The rig reads a log file.
    pub(crate) fn take_log(&self) -> String {
        let text = fs::read_to_string(&self.launch.log).unwrap_or_default();
        // The server appends, so an empty file is as good as a new one.
        let _ = fs::write(&self.launch.log, "");
        text
    }
}
