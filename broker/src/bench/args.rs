//! The command line of `jetwake bench`.
//!
//! Pure: arguments in, [`Args`] or a text out. What they mean together is decided in
//! [`super::choice`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use super::plan::{Storage, Suite};
use super::scenario::Scenario;

/// Measure a NATS server: throughput, latency, processor time and memory; each run is checked for
/// lost messages
///
/// Without arguments it compares file storage that syncs before each acknowledgement with memory
/// storage, on a server of its own, in under a minute.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "jetwake bench",
    after_help = "Examples:
  jetwake bench                                         durable files against memory
  jetwake bench publish-async --size 1k --clients 4     one scenario
  jetwake bench consume-pull --acks none --url nats://127.0.0.1:4222
  jetwake bench --compare ./jetwake ./nats-server       the README's table, with ratios
  jetwake bench publish-sync --compare ./a ./b --storage durable --html report.html

Exit code: 0, 1 when a run failed or a message is missing, 2 for wrong arguments.
docs/BENCH.md explains each scenario and how to read the numbers."
)]
pub(super) struct Args {
    /// What to measure; several are several rows. A suite when absent
    #[arg(value_enum, value_name = "SCENARIO")]
    pub scenarios: Vec<Scenario>,

    /// A ready-made list of rows [default: short, with --compare readme]
    #[arg(long, value_enum, conflicts_with = "scenarios")]
    pub suite: Option<Suite>,

    /// What an acknowledgement of streams means; several are several rows
    /// [default: durable, with --url file]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "KIND",
        help_heading = "Load"
    )]
    pub storage: Vec<Storage>,

    /// The same for the second server of --compare, when it differs
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        requires = "compare",
        help_heading = "Load"
    )]
    pub storage_b: Option<Storage>,

    /// Payload bytes of a message, with k or m for 1,024 or 1,048,576 [default: 128]
    #[arg(long, value_name = "BYTES", value_parser = parse_size, help_heading = "Load")]
    pub size: Option<usize>,

    /// Most messages of a run, with k or m for thousands or millions; without --duration a run
    /// may then take ten minutes [default: 5m, consume-* 1m, core 1000m]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub messages: Option<u64>,

    /// Longest time of a run (500ms, 3s, 1m); not for consume-*
    /// [default: 3s, in suites 1s, short 500ms]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Load")]
    pub duration: Option<Duration>,

    /// Time that does not count before a run [default: 500ms, in suites 300ms, short 150ms]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Load")]
    pub warmup: Option<Duration>,

    /// Runs of each row; medians are shown [default: 5, short 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000), help_heading = "Load")]
    pub runs: Option<u32>,

    /// Connections that do the work [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub clients: Option<u64>,

    /// Streams that are written in turn (publish-*) [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub streams: Option<u64>,

    /// Subjects that are written in turn, of each stream; keys of a bucket, of each client
    /// [default: 1, keys 1000]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub subjects: Option<u64>,

    /// Unanswered messages (publish-batch: batches) of each client
    /// [default: 1, publish-async and mixed 1000, publish-batch 10, kv-watch 100]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub in_flight: Option<u64>,

    /// Messages of a batch (publish-batch) or of a pull request (consume-pull, mixed)
    /// [default: 100, pull 1000]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub batch: Option<u64>,

    /// Subscribers of each publisher (core) or watchers of the bucket (kv-watch) [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Load")]
    pub subscribers: Option<u64>,

    /// Acknowledgements by consumers (consume-pull, consume-push, mixed) [default: explicit]
    #[arg(long, value_enum, help_heading = "Load")]
    pub acks: Option<Acks>,

    /// A program to start for each run: nats-server or jetwake [default: this program]
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["url", "compare"], help_heading = "Server")]
    pub server: Option<PathBuf>,

    /// Two programs to start in turn, or one against itself; rows get ratios
    #[arg(long, value_name = "PROGRAM", num_args = 1..=2, conflicts_with = "url", help_heading = "Server")]
    pub compare: Vec<PathBuf>,

    /// Where started servers store: a directory on the disk to be measured [default: the system's
    /// directory for temporary files]
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "url",
        help_heading = "Server"
    )]
    pub dir: Option<PathBuf>,

    /// Kill the server with SIGKILL after each run and start it again before the check
    #[arg(long, conflicts_with = "url", help_heading = "Server")]
    pub verify_restart: bool,

    /// A running server, nats://user:password@host:port or nats://token@host; port and secrets may
    /// be left out
    #[arg(long, help_heading = "Server")]
    pub url: Option<String>,

    /// User name for --url
    #[arg(long, requires = "url", help_heading = "Server")]
    pub user: Option<String>,

    /// Password for --url
    #[arg(long, requires = "user", help_heading = "Server")]
    pub password: Option<String>,

    /// Token for --url
    #[arg(
        long,
        requires = "url",
        conflicts_with = "user",
        help_heading = "Server"
    )]
    pub token: Option<String>,

    /// Monitoring of the server at --url, http://host:port: processor time, memory, sync policy
    #[arg(long, value_name = "URL", requires = "url", help_heading = "Server")]
    pub monitor: Option<String>,

    /// Write the report as JSON
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,

    /// Write the report as one HTML page with plots
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
}

/// Whether consumers acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Acks {
    /// Every message
    Explicit,
    /// None
    None,
}

/// What to print instead of measuring, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The help, or what is wrong.
    pub text: String,
    /// The exit code: 0 for help.
    pub code: u8,
}

impl Args {
    /// Reads the arguments behind `bench`.
    pub(super) fn read(args: &[String]) -> Result<Self, Refused> {
        let name = std::iter::once("jetwake bench");
        let all = name.chain(args.iter().map(String::as_str));
        Args::try_parse_from(all).map_err(|error| Refused {
            code: u8::try_from(error.exit_code()).unwrap_or(2),
            text: error.to_string(),
        })
    }
}

/// A count, `k` for thousands and `m` for millions.
fn parse_count(text: &str) -> Result<u64, String> {
    let count = with_suffix(text, 1_000)?;
    if count == 0 {
        return Err("at least 1 is needed".to_owned());
    }
    Ok(count)
}

/// A size, `k` and `m` as in memory.
fn parse_size(text: &str) -> Result<usize, String> {
    const MOST: u64 = 64 << 20;
    let size = with_suffix(text, 1 << 10)?;
    if size > MOST {
        return Err("at most 64m is possible".to_owned());
    }
    Ok(size as usize)
}

fn with_suffix(text: &str, kilo: u64) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match (lower.strip_suffix('k'), lower.strip_suffix('m')) {
        (Some(digits), _) => (digits, kilo),
        (_, Some(digits)) => (digits, kilo * kilo),
        _ => (lower.as_str(), 1),
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| "not a number such as 100, 10k or 2m".to_owned())
}

/// A time: `500ms`, `2s`, `1m30s`.
fn parse_time(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let nanos = jetwake_protocol::time::parse_duration(text);
    let time = nanos.and_then(|nanos| u64::try_from(nanos).ok());
    let time = time.map(Duration::from_nanos);
    let time = time.ok_or_else(|| "not a time such as 500ms, 2s or 1m".to_owned())?;
    if time > LONGEST {
        return Err("at most one hour is possible".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, Refused> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Args::read(&words)
    }

    #[test]
    fn the_definition_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn everything_is_read() {
        let args = read(
            "publish-sync core --storage memory,lazy --size 1k --messages 2m --duration 1.5s \
             --warmup 0s --runs 7 --clients 2 --in-flight 3 --acks none --json a --html b",
        )
        .unwrap();
        assert_eq!(args.scenarios, [Scenario::PublishSync, Scenario::Core]);
        assert_eq!(args.storage, [Storage::Memory, Storage::Lazy]);
        assert_eq!((args.size, args.messages), (Some(1024), Some(2_000_000)));
        assert_eq!(args.duration, Some(Duration::from_millis(1500)));
        assert_eq!(args.warmup, Some(Duration::ZERO));
        assert_eq!((args.runs, args.clients), (Some(7), Some(2)));
        assert_eq!(args.acks, Some(Acks::None));
    }

    #[test]
    fn one_or_two_programs_are_compared() {
        let compared = |line: &str| read(line).unwrap().compare.len();
        assert_eq!(compared("--compare a b"), 2);
        assert_eq!(compared("--compare a --suite short"), 1);
        assert_eq!(compared("--compare a b publish-sync"), 2);
    }

    #[test]
    fn help_names_every_option_and_ends_well() {
        let help = read("--help").unwrap_err();
        assert_eq!(help.code, 0);
        for word in [
            "publish-sync",
            "kv-watch",
            "--storage-b",
            "--verify-restart",
            "--monitor",
            "--html",
            "acknowledged before they are synced",
            "Exit code",
        ] {
            assert!(help.text.contains(word), "{word} is not in\n{}", help.text);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("--bogus", "unexpected argument '--bogus'"),
            ("publish", "invalid value 'publish'"),
            ("--size x", "not a number such as"),
            ("--size 65m", "at most 64m"),
            ("--clients 0", "at least 1"),
            ("--duration 5", "not a time such as"),
            ("--duration 2h", "at most one hour"),
            ("--runs 0", "1..=1000"),
            ("--user u", "--url"),
            ("--url a --server b", "cannot be used with"),
            ("core --suite short", "cannot be used with"),
            ("--compare a b --server c", "cannot be used with"),
            ("--storage-b lazy", "--compare"),
        ] {
            let refused = read(line).unwrap_err();
            assert_eq!(refused.code, 2, "{line}");
            assert!(refused.text.contains(expected), "{line}: {}", refused.text);
        }
    }
}
