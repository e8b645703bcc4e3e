//! `jetwake bench`: measures a NATS server, this one or another, and checks after every run that what
//! was acknowledged is there.
//!
//! [`args`] and [`choice`] turn the command line into rows; [`runner`] does them round by round, on
//! servers that it starts ([`server`]) or on one that runs; [`scenario`] holds the workloads, which
//! know nothing of the servers; [`stats`] and [`report`] turn runs into numbers and text.
//!
//! It is a client: it shares no code with the broker it measures, and nothing of the broker may use
//! it. Only the command line leads here.

// A measuring program: it runs processes, threads, sockets and files against the wall clock, and
// prints what it finds.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod args;
mod caller;
mod choice;
mod cleanup;
mod client;
mod clock;
mod footprint;
mod format;
mod message;
mod phase;
mod plan;
mod progress;
mod report;
mod ring;
mod runner;
mod scenario;
mod scratch;
mod server;
mod stats;
#[cfg(test)]
mod tests;
mod usage;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use args::Args;
use choice::Choice;
use progress::Progress;
use report::Report;

/// Runs the benchmark with the arguments behind `bench`.
pub(crate) fn run(args: &[String]) -> ExitCode {
    let parsed = match Args::read(args) {
        Ok(parsed) => parsed,
        Err(refused) if refused.code == 0 => {
            print!("{}", refused.text);
            return ExitCode::SUCCESS;
        }
        Err(refused) => {
            eprint!("{}", refused.text);
            return ExitCode::from(refused.code);
        }
    };
    let choice = match choice::choose(&parsed) {
        Ok(choice) => choice,
        Err(text) => {
            eprintln!("error: {text}\n\nFor more information, try '--help'.");
            return ExitCode::from(2);
        }
    };
    if let Err(error) = cleanup::on_interrupt() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let report = measure(&choice, args);
    print!("{}", report::text(&report));
    let mut good = !report.has_failures();
    for (file, text) in [
        (&parsed.json, report.json()),
        (&parsed.html, report::page(&report)),
    ] {
        if let Some(file) = file {
            good &= write(file, &text);
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn measure(choice: &Choice, args: &[String]) -> Report {
    let cells = runner::run(
        &choice.rows,
        choice.runs,
        &choice.ground,
        &mut Progress::new(),
    );
    let rows = choice.rows.iter().zip(&cells);
    let is_own = choice.ground.external.is_none();
    let unix_time = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Report {
        jetwake_bench: env!("CARGO_PKG_VERSION").to_owned(),
        command: format!("jetwake bench {}", without_secrets(args).join(" ")),
        unix_time: unix_time.as_secs(),
        machine: usage::machine(),
        servers: choice.names.clone(),
        shares_machine: is_own,
        bare_sync_seconds: is_own
            .then(|| usage::sync_latency(&choice.ground.stores).ok())
            .flatten()
            .map(|time| time.as_secs_f64()),
        runs: choice.runs,
        rows: rows
            .map(|(row, cells)| report::row(row, cells, &choice.names))
            .collect(),
    }
}

/// The arguments as a report may show them.
fn without_secrets(args: &[String]) -> Vec<String> {
    const HIDDEN: &str = "***";
    let is_secret = |word: &str| word == "--password" || word == "--token";
    let mut shown: Vec<String> = Vec::new();
    for (number, arg) in args.iter().enumerate() {
        let before = number.checked_sub(1).and_then(|number| args.get(number));
        let (name, value) = arg.split_once('=').unwrap_or((arg, ""));
        shown.push(if before.is_some_and(|word| is_secret(word)) {
            HIDDEN.to_owned()
        } else if is_secret(name) && !value.is_empty() {
            format!("{name}={HIDDEN}")
        } else if let Some((_, host)) = arg.rsplit_once('@') {
            format!("{HIDDEN}@{host}")
        } else {
            arg.clone()
        });
    }
    shown
}

fn write(file: &Path, text: &str) -> bool {
    let written = fs::write(file, text);
    if let Err(error) = &written {
        eprintln!("{}: {error}", file.display());
    }
    written.is_ok()
}
