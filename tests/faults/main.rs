//! One fault after the other: what a real server does, in a line each.
//!
//! `cargo run -p jetwake-tests --bin faults -- [--only NAME] [--seed N] [--peer PATH]`. The lines of
//! a peer are printed for comparison; only ours decide the exit status. README.md beside this file
//! says what each scenario demands.

// A program: it reports on standard output.
#![allow(clippy::print_stdout)]

#[cfg(target_os = "linux")]
mod data;
#[cfg(target_os = "linux")]
mod flips;
#[cfg(target_os = "linux")]
mod full;
#[cfg(target_os = "linux")]
mod medium;
#[cfg(target_os = "linux")]
mod plain;
#[cfg(target_os = "linux")]
mod subject;

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("skipped: the layer is a Linux FUSE file system");
    ExitCode::from(77)
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\nusage: faults [--only NAME] [--seed N] [--peer PATH]");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the rig cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Problems of one scenario that are printed.
const SHOWN: usize = 6;

#[cfg(target_os = "linux")]
type Scenario = fn(&subject::Subject, u64) -> std::io::Result<subject::Verdict>;

#[cfg(target_os = "linux")]
const SCENARIOS: &[(&str, Scenario)] = &[
    ("torn-tail", plain::torn_tail),
    ("cut-tail", plain::cut_tail),
    ("second-process", plain::second_process),
    ("bit-flips-stopped", flips::after_stop),
    ("bit-flips-killed", flips::after_kill),
    ("disk-full", full::purged),
    ("disk-full-enlarged", full::enlarged),
    ("failed-sync", medium::failed_sync),
    ("failed-read", medium::failed_read),
];

#[cfg(target_os = "linux")]
struct Options {
    only: Option<String>,
    seed: u64,
    peer: Option<std::path::PathBuf>,
}

#[cfg(target_os = "linux")]
impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            only: None,
            seed: 1,
            peer: None,
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--only" => options.only = Some(value),
                "--seed" => {
                    options.seed = value
                        .parse()
                        .map_err(|_| format!("not a number: {value}"))?;
                }
                "--peer" => options.peer = Some(value.into()),
                _ => return Err(format!("unknown option {flag}")),
            }
        }
        Ok(options)
    }
}

/// Plays the scenarios; whether ours kept every promise.
#[cfg(target_os = "linux")]
fn run(options: &Options) -> std::io::Result<bool> {
    let mut subjects = vec![subject::Subject::own()?];
    subjects.extend(options.peer.as_deref().map(subject::Subject::peer));
    let mut kept = true;
    for (name, scenario) in SCENARIOS {
        let wanted = options
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()));
        for subject in subjects.iter().filter(|_| wanted) {
            let verdict = match scenario(subject, options.seed) {
                Err(error) if error.to_string().starts_with("no FUSE mount") => {
                    println!("{name:<20} skipped: {error}");
                    continue;
                }
                other => other?,
            };
            let mark = if verdict.broken.is_empty() {
                "ok    "
            } else {
                "BROKEN"
            };
            println!("{name:<20} {:<12} {mark} {}", subject.name(), verdict.text);
            for broken in verdict.broken.iter().take(SHOWN) {
                println!("{:<40}- {broken}", "");
            }
            if verdict.broken.len() > SHOWN {
                println!("{:<40}- and {} more", "", verdict.broken.len() - SHOWN);
            }
            if !verdict.broken.is_empty() && subject.is_ours() {
                kept = false;
                let seed = options.seed;
                println!(
                    "repeat: cargo run -p jetwake-tests --bin faults -- --only {name} --seed {seed}"
                );
            }
        }
    }
    Ok(kept)
}
