//! The life of the `jetwake` process: command line, configuration, start, signals, pid and ports files, exit code.
//!
//! A shell module: everything that belongs to a process and not to a server inside a test lives here.

// The process writes its pid and ports files and prints what its command line asks for.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod files;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{self, Command, CommandLine};
use crate::config;
use crate::log::Logger;
use crate::node::{Server, StartError};
use crate::options::Options;
use crate::version;

use files::PortsFile;

/// Runs the program with the arguments behind its name.
pub fn run(args: &[String]) -> ExitCode {
    match cli::parse(args) {
        Ok(Command::Serve(line)) => serve(&line),
        Ok(Command::Check(path)) => check(&path),
        Ok(Command::Signal(argument)) => match cli::signal::send(&argument) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => fail(&text),
        },
        #[cfg(feature = "bench")]
        Ok(Command::Bench(args)) => crate::bench::run(&args),
        Ok(Command::Version) => {
            println!("nats-server: v{}", version::CLAIMED);
            ExitCode::SUCCESS
        }
        Ok(Command::Help) => {
            print!("{}", cli::USAGE);
            ExitCode::SUCCESS
        }
        Err(refused) if refused.usage => {
            eprintln!("{}", refused.text);
            print!("{}", cli::USAGE);
            ExitCode::SUCCESS
        }
        Err(refused) => fail(&refused.text),
    }
}

fn fail(text: &str) -> ExitCode {
    eprintln!("nats-server: {text}");
    ExitCode::FAILURE
}

/// `-t`: the file's grammar and types, without a start.
fn check(path: &std::path::Path) -> ExitCode {
    let mut options = Options::default();
    match config::load(path, &mut options) {
        Ok(loaded) if loaded.warnings.is_empty() => {
            let (file, digest) = (path.display(), loaded.digest);
            eprintln!("nats-server: configuration file {file} is valid ({digest})");
            ExitCode::SUCCESS
        }
        Ok(loaded) => fail(&loaded.warnings.join("\n")),
        Err(error) => fail(&error.to_string()),
    }
}

fn serve(line: &CommandLine) -> ExitCode {
    let mut options = Options::default();
    // Flags are laid under the file too, so that a relative default they set is known to it.
    if let Err(refused) = line.apply(&mut options) {
        return fail(&refused.text);
    }
    let mut loaded = None;
    if let Some(path) = &line.config {
        match config::load(path, &mut options) {
            Ok(found) => {
                for warning in &found.warnings {
                    eprintln!("{warning}");
                }
                loaded = Some((path.clone(), found.digest));
            }
            Err(error) => return fail(&error.to_string()),
        }
        if let Err(refused) = line.apply(&mut options) {
            return fail(&refused.text);
        }
    }
    let logger = match Logger::open(&options.log) {
        Ok(logger) => logger,
        Err(error) => {
            let path = options.log.file.unwrap_or_default();
            let reason = config::open_error(&path.to_string_lossy(), &error);
            return fail(&format!("error opening file: {reason}"));
        }
    };
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}")),
    };
    let config_file = loaded.map(|(path, digest)| format!("{} ({digest})", path.display()));
    let code = runtime.block_on(live(options, &logger, config_file));
    runtime.shutdown_background();
    code
}

/// As many open files as the system grants: each connection is one. The limit for programs that ask for nothing is
/// meant for others.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // Where that is refused, the old limit goes on.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// From the start to the end of the one server of this process.
async fn live(options: Options, logger: &Logger, config_file: Option<String>) -> ExitCode {
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot take signals: {error}")),
    };
    let has_config = config_file.is_some();
    let ports_dir = options.ports_file_dir.clone();
    if let Some(path) = &options.pid_file
        && let Err(error) = files::write_pid(path)
    {
        let reason = config::open_error(&path.to_string_lossy(), &error);
        logger.fatal(format_args!("Could not write pidfile: {reason}"));
        return ExitCode::FAILURE;
    }
    let server = match Server::start_announced(options, logger.clone(), config_file).await {
        Ok(server) => server,
        // What the options alone show to be wrong is said like an error in their file.
        Err(StartError::Options(text)) => return fail(&text),
        Err(error) => {
            logger.fatal(format_args!("{error}"));
            return ExitCode::FAILURE;
        }
    };
    let ports = ports_dir.and_then(|dir| {
        let written = PortsFile::write(&dir, &server);
        written
            .map_err(|error| logger.error(format_args!("Error writing ports file {error}")))
            .ok()
    });
    until_end(&server, &mut signals, logger, has_config).await;
    logger.info(format_args!("Initiating Shutdown..."));
    server.shutdown().await;
    drop(ports);
    logger.info(format_args!("Server Exiting.."));
    ExitCode::SUCCESS
}

/// Serves signals until one of them, or the end of lame duck mode, ends the server.
async fn until_end(server: &Server, signals: &mut Signals, logger: &Logger, has_config: bool) {
    let mut leaving: Option<Pin<Box<dyn Future<Output = ()> + '_>>> = None;
    loop {
        let lame_duck = leaving.is_some();
        let gone = async {
            match &mut leaving {
                Some(leaving) => leaving.await,
                None => std::future::pending().await,
            }
        };
        let trapped = tokio::select! {
            trapped = signals.next() => trapped,
            () = gone => return,
        };
        logger.info(format_args!("Trapped {:?} signal", trapped.name()));
        match trapped {
            Trapped::Interrupt | Trapped::Quit => return,
            Trapped::Terminate if lame_duck => {}
            Trapped::Terminate => return,
            Trapped::Reopen => match logger.reopen() {
                Ok(()) => logger.info(format_args!("File log re-opened")),
                Err(error) => logger.error(format_args!("Could not re-open the log: {error}")),
            },
            Trapped::LameDuck if lame_duck => {}
            Trapped::LameDuck => leaving = Some(Box::pin(server.lame_duck())),
            Trapped::Reload if !has_config => logger.error(format_args!(
                "Failed to reload server configuration: can only reload config when a file is \
                 provided using -c or --config"
            )),
            Trapped::Reload => logger.error(format_args!(
                "Failed to reload server configuration: reload is not supported yet by this server"
            )),
        }
    }
}

/// The signals that mean something to a server.
#[derive(Debug, Clone, Copy)]
enum Trapped {
    Interrupt,
    Quit,
    Terminate,
    Reopen,
    LameDuck,
    Reload,
}

impl Trapped {
    /// The signal as nats-server's log names it.
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Quit => "quit",
            Self::Terminate => "terminated",
            Self::Reopen => "user defined signal 1",
            Self::LameDuck => "user defined signal 2",
            Self::Reload => "hangup",
        }
    }
}

struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    usr1: Signal,
    usr2: Signal,
    hangup: Signal,
}

impl Signals {
    fn install() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Trapped {
        tokio::select! {
            _ = self.interrupt.recv() => Trapped::Interrupt,
            _ = self.quit.recv() => Trapped::Quit,
            _ = self.terminate.recv() => Trapped::Terminate,
            _ = self.usr1.recv() => Trapped::Reopen,
            _ = self.usr2.recv() => Trapped::LameDuck,
            _ = self.hangup.recv() => Trapped::Reload,
        }
    }
}
