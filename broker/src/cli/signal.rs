//! `--signal <command>[=<pid or pid file>]`: sends a signal to a running server.
//!
//! A shell module: it reads pid files, looks for processes and signals them.

// Reading the pid file that the operator names is the point of this module.
#![allow(clippy::disallowed_methods)]

use rustix::process::{Pid, Signal, kill_process};

/// Sends what the operator asked for.
///
/// # Errors
/// With the text to print behind the program's name.
pub fn send(argument: &str) -> Result<(), String> {
    let (command, target) = match argument.split_once('=') {
        Some((command, target)) => (command, Some(target)),
        None => (argument, None),
    };
    let signal = by_name(command).ok_or_else(|| format!("unknown signal {command:?}"))?;
    let pid = match target {
        Some(target) => named(target)?,
        None => only_running()?,
    };
    let process = Pid::from_raw(pid).ok_or_else(|| no_such_process(command, pid))?;
    kill_process(process, signal).map_err(|error| match error {
        rustix::io::Errno::SRCH => no_such_process(command, pid),
        other => format!("signal {command:?} {pid}: {other}"),
    })
}

fn by_name(command: &str) -> Option<Signal> {
    Some(match command {
        "stop" => Signal::KILL,
        "quit" => Signal::INT,
        "term" => Signal::TERM,
        "reopen" => Signal::USR1,
        "ldm" => Signal::USR2,
        "reload" => Signal::HUP,
        _ => return None,
    })
}

/// A process id, or a file that holds one.
fn named(target: &str) -> Result<i32, String> {
    if let Ok(pid) = target.parse() {
        return Ok(pid);
    }
    let text = std::fs::read_to_string(target).map_err(|_| format!("invalid pid: {target}"))?;
    text.trim()
        .parse()
        .map_err(|_| format!("{target}: no process id in it"))
}

/// The one running server with this program's name.
fn only_running() -> Result<i32, String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    let name = exe
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let found = std::process::Command::new("pgrep")
        .args(["-x", &name])
        .output()
        .map_err(|e| format!("unable to resolve pid, try providing one: {e}"))?;
    let me = std::process::id();
    let pids: Vec<i32> = String::from_utf8_lossy(&found.stdout)
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .filter(|pid| u32::try_from(*pid) != Ok(me))
        .collect();
    match pids.as_slice() {
        [] => Err(format!("no {name} processes running")),
        [pid] => Ok(*pid),
        many => {
            let list: Vec<String> = many.iter().map(i32::to_string).collect();
            Err(format!(
                "multiple {name} processes running:\n{}",
                list.join("\n")
            ))
        }
    }
}

fn no_such_process(command: &str, pid: i32) -> String {
    format!("\nsignal {command:?} {pid}: no such process")
}
