//! Cuts the power of a server's disk again and again under load and checks that every promise held.
//!
//! `cargo run -p jetwake-tests --bin powercut -- [options] [-- server arguments]`. The store lies on
//! a FUSE file system that forgets what was not synced (`src/layer`), so the program needs root on
//! Linux; without it ends with status 77. README.md beside this file says what is checked.

// A program: it reports on standard output.
#![allow(clippy::print_stdout)]

#[cfg(target_os = "linux")]
mod rig;

use std::process::ExitCode;

const USAGE: &str = "usage: powercut [--rounds N] [--load-ms MS] [--seed N] [--torn] [--journaled] \
    [--dir DIR] [-- SERVER ARGS]";

/// The exit status of a test that cannot run here.
const SKIPPED: u8 = 77;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("skipped: the layer is a Linux FUSE file system\n{USAGE}");
    ExitCode::from(SKIPPED)
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let options = match rig::Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let report = match rig::run(&options, |line| println!("{line}")) {
        Ok(rig::Outcome::Skipped(why)) => {
            println!("skipped: {why}");
            return ExitCode::from(SKIPPED);
        }
        Ok(rig::Outcome::Ran(report)) => report,
        Err(error) => {
            eprintln!(
                "the rig cannot go on: {error}\nrepeat: {}",
                options.repeat()
            );
            return ExitCode::FAILURE;
        }
    };
    println!(
        "{} cuts; {} messages acknowledged, {} consumer acks confirmed: {}",
        report.cuts, report.acknowledged, report.confirmed, report.findings
    );
    if report.findings.is_empty() {
        return ExitCode::SUCCESS;
    }
    for text in report.findings.texts() {
        println!("  {text}");
    }
    println!("repeat: {}", options.repeat());
    ExitCode::FAILURE
}
