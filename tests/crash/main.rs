//! Kills a server again and again under load and checks that it kept every promise.
//!
//! `cargo run -p jetwake-tests --bin crash -- [--rounds N] [--load-ms MS] [--seed N] [--dir DIR]
//! [-- server arguments]`; see README.md beside this file.

// A program: it reports on standard output.
#![allow(clippy::print_stdout)]

mod rig;

use std::process::ExitCode;
use std::time::Duration;

use rig::Options;

const USAGE: &str =
    "usage: crash [--rounds N] [--load-ms MS] [--seed N] [--dir DIR] [-- SERVER ARGS]";

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    let report = match rig::run(&options, |line| println!("{line}")) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("the rig cannot go on: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "{} messages acknowledged, {} consumer acks confirmed",
        report.acknowledged, report.confirmed_acks
    );
    println!(
        "restart, median: first INFO {:.1?}, first JetStream answer {:.1?}",
        median(report.first_info),
        median(report.first_answer)
    );
    println!("{}", report.findings);
    for text in report.findings.texts() {
        println!("  {text}");
    }
    if report.findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        println!("repeat: {}", repeat(&options));
        ExitCode::FAILURE
    }
}

fn repeat(options: &Options) -> String {
    format!(
        "cargo run -p jetwake-tests --bin crash -- --rounds {} --load-ms {} --seed {}",
        options.rounds,
        options.load.as_millis(),
        options.seed
    )
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        rounds: 20,
        load: Duration::from_millis(1500),
        seed: 1,
        server_args: Vec::new(),
        directory: None,
    };
    while let Some(flag) = args.next() {
        if flag == "--" {
            options.server_args.extend(args);
            break;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let bad = |_| format!("{flag}: not a number: {value}");
        match flag.as_str() {
            "--rounds" => options.rounds = value.parse().map_err(bad)?,
            "--load-ms" => options.load = Duration::from_millis(value.parse().map_err(bad)?),
            "--seed" => options.seed = value.parse().map_err(bad)?,
            "--dir" => options.directory = Some(value.into()),
            _ => return Err(format!("unknown option {flag}")),
        }
    }
    Ok(options)
}
