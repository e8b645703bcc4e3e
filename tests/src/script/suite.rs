//! Runs all scripts of an area and reports every failure with the command that repeats it.

// This is a shell: it reads script files and starts threads.
#![allow(clippy::disallowed_methods)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::parse::Script;
use super::run::{Mode, run};
use super::server::Pool;

/// Most scripts wait for a server, not for the processor.
const WORKERS: usize = 4;
/// Runs one script only: its path below `scripts`.
const ONLY: &str = "JETWAKE_SCRIPT";

/// Where the scripts are.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// Runs the scripts of `area` in both modes; the error is a report of all failures.
///
/// # Errors
/// When a script fails, cannot be read or its server does not start.
pub fn run_area(area: &str) -> Result<usize, String> {
    let files = scripts_of(area)?;
    let jobs: Vec<(&PathBuf, Mode)> = [Mode::Whole, Mode::EveryByte]
        .into_iter()
        .flat_map(|mode| files.iter().map(move |file| (file, mode)))
        .collect();
    let (pool, next) = (Pool::default(), AtomicUsize::new(0));
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(jobs.len()) {
            scope.spawn(|| {
                while let Some((file, mode)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(report) = run_file(file, *mode, &pool) {
                        reports
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(report);
                    }
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    if reports.is_empty() {
        return Ok(jobs.len());
    }
    let failed = reports.len();
    reports.sort();
    // Scripts that share a server share the report of its failure to start.
    reports.dedup();
    Err(format!(
        "{failed} of {} runs failed\n\n{}",
        jobs.len(),
        reports.join("\n")
    ))
}

/// The files of an area, or the one of them that is asked for.
fn scripts_of(area: &str) -> Result<Vec<PathBuf>, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory().join(area))
        .map_err(|error| format!("{area}: {error}"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "nats")
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{area}: no scripts"));
    }
    if let Some(only) = std::env::var_os(ONLY) {
        if !directory().join(&only).is_file() {
            return Err(format!("{ONLY}: there is no script {only:?}"));
        }
        files.retain(|file| *file == directory().join(&only));
    }
    Ok(files)
}

fn run_file(file: &Path, mode: Mode, pool: &Pool) -> Result<(), String> {
    let name = file
        .strip_prefix(directory())
        .unwrap_or(file)
        .display()
        .to_string();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}\n"))?;
    let script = Script::parse(&text).map_err(|error| format!("{name}: {error}\n"))?;
    if mode == Mode::EveryByte && !script.cuttable {
        return Ok(());
    }
    let id = unique_id();
    let outcome = pool
        .with_server(&script.setup, |address| run(&script, address, &id, mode))
        .map_err(|error| format!("no server with {:?}: {error}\n", script.setup))?;
    outcome.map_err(|failure| {
        let mut report = format!("scripts/{name}:{} ({mode:?})\n", failure.line);
        let source = text
            .lines()
            .nth(failure.line.saturating_sub(1))
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            report,
            "  line:     {source}\n{failure}  repeat:   {}",
            repeat(&name)
        );
        report
    })
}

fn repeat(name: &str) -> String {
    let server = std::env::var("JETWAKE_TEST_SERVER")
        .map(|server| format!("JETWAKE_TEST_SERVER={server} "))
        .unwrap_or_default();
    format!("{server}{ONLY}={name} cargo test -p jetwake-tests --test protocol_scripts")
}

/// Six bytes, so that scripts can count sizes; unique in this process and so on each of its
/// servers.
fn unique_id() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("x{:05}", COUNTER.fetch_add(1, Ordering::Relaxed) % 100_000)
}
