//! Server processes and directories of a benchmark that is interrupted: none of them may outlive it.
//!
//! What is alive is listed here; an interrupt kills and removes it and ends the program.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a shell for a program that an interrupt has ended.
const INTERRUPTED: i32 = 130;

struct Alive {
    processes: Vec<u32>,
    directories: Vec<PathBuf>,
}

static ALIVE: Mutex<Alive> = Mutex::new(Alive {
    processes: Vec::new(),
    directories: Vec::new(),
});

/// Starts a process that an interrupt will kill.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    // An interrupt waits until the process is listed.
    let mut alive = ALIVE.lock();
    let child = command.spawn()?;
    alive.processes.push(child.id());
    Ok(child)
}

/// Kills a process and waits for its end.
pub(super) fn kill(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait()?;
    ALIVE.lock().processes.retain(|known| *known != child.id());
    Ok(())
}

/// Creates a directory that an interrupt will remove.
pub(super) fn create_directory(path: &Path) -> io::Result<()> {
    let mut alive = ALIVE.lock();
    fs::create_dir_all(path)?;
    alive.directories.push(path.to_owned());
    Ok(())
}

/// Removes a directory with all that is in it.
pub(super) fn remove_directory(path: &Path) {
    // What cannot be removed stays for the operating system's own clean-up.
    let _ = fs::remove_dir_all(path);
    ALIVE.lock().directories.retain(|known| known != path);
}

/// From now on, SIGINT and SIGTERM clean up before they end the program.
pub(super) fn on_interrupt() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let signals = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            );
            let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
                // The system does not say when it interrupts; it then just ends the program.
                return;
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let alive = ALIVE.lock();
            for process in &alive.processes {
                let pid = i32::try_from(*process).ok().and_then(Pid::from_raw);
                // One that has ended already is as good as killed.
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
            for directory in &alive.directories {
                let _ = fs::remove_dir_all(directory);
            }
            eprintln!("interrupted");
            std::process::exit(INTERRUPTED);
        });
    });
    Ok(())
}
