//! Runs random programs on this broker and on the reference server, and reports where they differ.
//!
//! `cargo run -p jetwake-tests --bin differential -- --reference /path/to/nats-server`; README.md
//! beside this file lists the options.

// A program: it reports on standard output, and measures wall time.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

mod exceptions;
mod generate;
mod lane;
mod normal;
mod pair;
mod program;
mod random;
mod rig;
mod shrink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use program::Area;
use rig::Options;

const USAGE: &str = "usage: differential --reference NATS-SERVER [--seed N] [--programs N] \
    [--seconds N] [--area NAME]... [--stop-after N]";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match rig::run(&options, |text| println!("{text}")) {
        Ok(report) => {
            println!("{report}");
            if report.differences == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            eprintln!("the rig cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut areas = Vec::new();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|e| format!("{flag} {value}: {e}"))
        };
        match flag.as_str() {
            "--reference" => options.reference = PathBuf::from(&value),
            "--seed" => options.seed = number()?,
            "--programs" => options.programs = number()?,
            "--seconds" => options.limit = Duration::from_secs(number()?),
            "--stop-after" => options.stop_after = number()?,
            "--area" => {
                let area = Area::ALL.into_iter().find(|area| area.name() == value);
                let area = area.ok_or_else(|| format!("no area {value}"))?;
                areas.push(area);
            }
            _ => return Err(format!("unknown option {flag}")),
        }
    }
    if !areas.is_empty() {
        options.areas = areas;
    }
    if options.reference.as_os_str().is_empty() {
        return Err("--reference is missing".to_owned());
    }
    Ok(options)
}
