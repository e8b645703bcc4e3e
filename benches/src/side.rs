//! One of the two programs, started in a given setting with a fresh store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jetwake_tests::process::{Launch, Scratch, ServerProcess, workspace};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// This workspace's.
    Jetwake,
    /// nats-server.
    Peer,
}

/// What an acknowledgement of file storage means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The program's own default: synced before the ack for Jetwake, every two minutes for
    /// nats-server.
    Default,
    /// `sync_interval: always`.
    Always,
    /// `sync_interval: "2m"`.
    Lazy,
}

/// What a server is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Without JetStream.
    Core,
    /// With JetStream.
    JetStream(Sync),
}

/// Where the two programs and their stores are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// This workspace's program.
    pub ours: PathBuf,
    /// nats-server.
    pub peer: PathBuf,
    /// The directory for the stores; decides which disk is measured.
    pub stores: PathBuf,
}

/// A running server with the directory it lives in.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub server: ServerProcess,
    /// Starts it again on the same store.
    pub launch: Launch,
    _scratch: Scratch,
}

impl Programs {
    /// The default directory for stores: on the disk that holds the workspace.
    #[must_use]
    pub fn default_stores() -> PathBuf {
        workspace().join("target")
    }

    /// Starts a program with an empty store.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&self, who: Who, setting: Setting) -> io::Result<Running> {
        let scratch = Scratch::new(&self.stores, "bench")?;
        let program = match who {
            Who::Jetwake => &self.ours,
            Who::Peer => &self.peer,
        };
        let launch = launch(program, scratch.path(), setting)?;
        let server = launch.start()?;
        Ok(Running {
            server,
            launch,
            _scratch: scratch,
        })
    }
}

fn launch(program: &Path, directory: &Path, setting: Setting) -> io::Result<Launch> {
    let Setting::JetStream(sync) = setting else {
        return Launch::with_args(program, directory, Vec::new());
    };
    let mut launch = Launch::jetstream(program, directory)?;
    let interval = match sync {
        Sync::Default => return Ok(launch),
        Sync::Always => "always",
        Sync::Lazy => "\"2m\"",
    };
    let config = directory.join("server.conf");
    fs::write(
        &config,
        format!("jetstream {{ sync_interval: {interval} }}\n"),
    )?;
    launch
        .args
        .extend(["-c".to_owned(), config.display().to_string()]);
    Ok(launch)
}

/// What an ack promises, for the table.
#[must_use]
pub fn durability(who: Who, setting: Setting) -> &'static str {
    match (who, setting) {
        (_, Setting::Core) => "none",
        (Who::Jetwake, Setting::JetStream(Sync::Default)) => "synced before the ack",
        (_, Setting::JetStream(Sync::Always)) => "synced before the ack (`always`)",
        (Who::Peer, Setting::JetStream(Sync::Default)) | (_, Setting::JetStream(Sync::Lazy)) => {
            "synced every 2 min"
        }
    }
}
