//! Starts both servers, runs programs seed by seed, and reports each kind of difference once.

// This is a shell: it measures wall time.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jetwake_tests::process::{Launch, Scratch, ServerProcess, server_program};

use crate::exceptions;
use crate::generate;
use crate::pair::{Difference, Pair};
use crate::program::{Area, Program};
use crate::shrink::shrink;

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) reference: PathBuf,
    pub(crate) areas: Vec<Area>,
    pub(crate) seed: u64,
    pub(crate) programs: u64,
    pub(crate) limit: Duration,
    /// Ends after so many kinds of differences.
    pub(crate) stop_after: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            reference: PathBuf::new(),
            areas: Area::ALL.to_vec(),
            seed: 1,
            programs: u64::MAX,
            limit: Duration::from_secs(60),
            stop_after: 20,
        }
    }
}

/// What was run and found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) programs: u64,
    pub(crate) operations: u64,
    pub(crate) differences: u64,
    pub(crate) excused: BTreeMap<&'static str, u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} programs, {} operations, {} kinds of differences, excused: {:?}",
            self.programs, self.operations, self.differences, self.excused
        )
    }
}

/// Runs programs until the limits of `options`.
///
/// # Errors
/// When a server does not start.
pub(crate) fn run(options: &Options, mut say: impl FnMut(&str)) -> io::Result<Report> {
    let scratch = Scratch::new(&std::env::temp_dir(), "differential")?;
    let mut ours = Server::start(server_program()?, scratch.path().join("ours"))?;
    let theirs = Server::start(options.reference.clone(), scratch.path().join("theirs"))?;
    let mut report = Report::default();
    let mut seen = HashSet::new();
    let begin = Instant::now();
    let end = options.seed.saturating_add(options.programs);
    for seed in options.seed..end {
        let area = options.areas[usize::try_from(seed).unwrap_or(0) % options.areas.len()];
        if begin.elapsed() > options.limit || report.differences >= options.stop_after {
            break;
        }
        let program = generate::program(area, seed);
        let pair = Pair {
            ours: ours.launch.address(),
            theirs: theirs.launch.address(),
        };
        report.programs += 1;
        let found = pair.run(&program);
        let Ok(Some(difference)) = found else {
            report.operations += u64::try_from(program.ops.len()).unwrap_or(0);
            if let Err(error) = found {
                report.differences += 1;
                say(&format!("seed {seed} of {}: {error}", area.name()));
                ours = ours.again()?;
            }
            continue;
        };
        report.operations += u64::try_from(difference.step + 1).unwrap_or(0);
        if let Some(exception) = exceptions::explain(&program, &difference) {
            let times = report.excused.entry(exception.name).or_default();
            *times += 1;
            if *times == 1 {
                say(&format!(
                    "{} is meant: {}",
                    exception.name, exception.reason
                ));
            }
            continue;
        }
        // What does not come again was a matter of timing, on a machine that was busy.
        let again = pair.run(&program);
        if !seen.insert(kind(&difference)) || !matches!(again, Ok(Some(_))) {
            continue;
        }
        report.differences += 1;
        let text = describe(&pair, area, seed, program, difference);
        say(&text);
        if ours.ended() {
            say(&format!("our server ended:\n{}", ours.log_tail()));
            ours = ours.again()?;
        }
    }
    Ok(report)
}

fn describe(
    pair: &Pair,
    area: Area,
    seed: u64,
    program: Program,
    difference: Difference,
) -> String {
    let first = difference.clone();
    let wanted = kind(&difference);
    let same = |found: &Difference| kind(found) == wanted;
    let shrunk = shrink(pair, program.clone(), difference, same);
    let (program, difference) = shrunk.unwrap_or((program, first));
    let mut text = format!("--- seed {seed} of {}\n", area.name());
    for (number, op) in program.ops.iter().enumerate() {
        text.push_str(&format!("  {:3} {op:?}\n", number + 1));
    }
    text.push_str(&format!("{difference}"));
    text
}

/// What makes two differences the same for a reader: their texts without numbers.
fn kind(difference: &Difference) -> String {
    let only = |lines: &[String], others: &[String]| {
        let mut kept: Vec<String> = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if others.contains(line) {
                continue;
            }
            let line = match others.get(at) {
                Some(other) => distinct(line, other),
                None => line.clone(),
            };
            kept.push(line.chars().filter(|c| !c.is_ascii_digit()).collect());
        }
        kept.truncate(1);
        kept.join("\n")
    };
    let ours = only(&difference.ours, &difference.theirs);
    let theirs = only(&difference.theirs, &difference.ours);
    format!("{ours}\n{theirs}")
}

/// What follows the common beginning of two lines, back to a field's name.
fn distinct(line: &str, other: &str) -> String {
    let common = line
        .bytes()
        .zip(other.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let begin = line[..common].rfind(['{', ',', ' ']).map_or(0, |at| at + 1);
    line[begin..].chars().take(24).collect()
}

#[derive(Debug)]
struct Server {
    launch: Launch,
    process: ServerProcess,
}

impl Server {
    fn start(program: PathBuf, directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let mut launch = Launch::jetstream(&program, &directory)?;
        launch.args.extend(["-n".to_owned(), "differ".to_owned()]);
        let process = launch.start()?;
        Ok(Server { launch, process })
    }

    fn ended(&mut self) -> bool {
        std::net::TcpStream::connect(self.launch.address()).is_err()
    }

    fn again(mut self) -> io::Result<Self> {
        // It may have ended by itself.
        let _ = self.process.kill();
        let process = self.launch.start()?;
        Ok(Server {
            launch: self.launch.clone(),
            process,
        })
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.launch.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
