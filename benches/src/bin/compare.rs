//! Prints a table that compares Jetwake with nats-server on this machine, in one run.
//!
//! `cargo run --release -p jetwake-benches --bin compare -- --peer /path/to/nats-server`; README.md
//! of this package lists the options.

// A program: it reports on standard output.
#![allow(clippy::print_stdout)]
// It waits for a server to come to rest before it looks at its memory.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use jetwake_benches::load::{self, Work};
use jetwake_benches::report::{self, Cell, Value};
use jetwake_benches::side::{Programs, Running, Setting, Sync, Who, durability};
use jetwake_benches::usage;
use jetwake_tests::jetstream::api;
use jetwake_tests::process::server_program;
use jetwake_tests::wire::Client;

const USAGE: &str = "usage: compare --peer NATS_SERVER [--ours PROGRAM] [--quick] [--rounds N] \
    [--only TEXT] [--dir DIR]";
const FILE: Setting = Setting::JetStream(Sync::Default);
const LAZY: Setting = Setting::JetStream(Sync::Lazy);
const ALWAYS: Setting = Setting::JetStream(Sync::Always);
const WINDOWED: Work = Work::Store {
    window: 1000,
    memory: false,
};
const ONE_BY_ONE: Work = Work::Store {
    window: 1,
    memory: false,
};
const IN_MEMORY: Work = Work::Store {
    window: 1000,
    memory: true,
};
const REST: Duration = Duration::from_millis(500);
const IDLE_CONNECTIONS: usize = 1000;

/// A line of the table.
struct Row {
    name: &'static str,
    work: Work,
    value: Value,
    ours: Setting,
    peer: Setting,
}

/// What is measured once a round: rows may share it.
type Key = (&'static str, String);

struct Options {
    programs: Programs,
    quick: bool,
    rounds: u32,
    only: String,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let rows: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.name.contains(&options.only))
        .collect();
    print_head(&options);
    let cells = measure(&options, &rows);
    print_rows(&rows, &cells);
    match usage::sync_latency(&options.programs.stores) {
        Ok(time) => {
            println!("\nA bare 4 KiB write and fdatasync on this disk: {time:.0?} (median)")
        }
        Err(error) => eprintln!("the disk cannot be measured: {error}"),
    }
    print_process_table(&options);
    if cells.values().all(Result::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn rows() -> Vec<Row> {
    let core = |name, work, value| Row {
        name,
        work,
        value,
        ours: Setting::Core,
        peer: Setting::Core,
    };
    let stream = |name, work, ours, peer| Row {
        name,
        work,
        value: Value::Rate,
        ours,
        peer,
    };
    vec![
        core("core publish only", Work::Publish, Value::Rate),
        core("core 1:1", Work::FanOut(1), Value::Rate),
        core("core 1:10 (deliveries)", Work::FanOut(10), Value::Rate),
        core("request-reply p50", Work::RequestReply, Value::LatencyP50),
        core("request-reply p99", Work::RequestReply, Value::LatencyP99),
        stream("file publish, 1,000 in flight", WINDOWED, FILE, FILE),
        stream("file publish, 1,000 in flight", WINDOWED, FILE, ALWAYS),
        stream("file publish, 1,000 in flight", WINDOWED, LAZY, LAZY),
        stream("file publish, one at a time", ONE_BY_ONE, FILE, FILE),
        stream("file publish, one at a time", ONE_BY_ONE, FILE, ALWAYS),
        stream("file publish, one at a time", ONE_BY_ONE, LAZY, LAZY),
        stream("memory publish, 1,000 in flight", IN_MEMORY, FILE, FILE),
        stream("pull, explicit acks", Work::Pull { acks: true }, FILE, FILE),
        stream("pull, no acks", Work::Pull { acks: false }, FILE, FILE),
        stream("ordered push", Work::Push, FILE, FILE),
    ]
}

/// How many messages a run publishes; long enough for a second or so on the peer.
fn count(who: Who, setting: Setting, work: Work, quick: bool) -> u64 {
    let synced = setting == ALWAYS || (who == Who::Jetwake && setting == FILE);
    let full = match work {
        Work::Publish => 4_000_000,
        Work::FanOut(subscribers) => 2_000_000 / subscribers as u64,
        Work::RequestReply => 40_000,
        ONE_BY_ONE if synced => 5_000,
        ONE_BY_ONE => 20_000,
        WINDOWED if synced && who == Who::Peer => 4_000,
        Work::Store { .. } => 300_000,
        Work::Pull { .. } | Work::Push => 300_000,
    };
    if quick { full / 5 } else { full }
}

// --- the main table --------------------------------------------------------------------------

fn measure(options: &Options, rows: &[Row]) -> BTreeMap<Key, Cell> {
    let mut cells: BTreeMap<Key, Cell> = BTreeMap::new();
    for round in 1..=options.rounds {
        let mut done: Vec<Key> = Vec::new();
        for row in rows {
            for (who, setting) in [(Who::Jetwake, row.ours), (Who::Peer, row.peer)] {
                let key = key(who, setting, row.work);
                // A failure is not repeated in every round.
                if done.contains(&key) || cells.get(&key).is_some_and(Result::is_err) {
                    continue;
                }
                eprintln!("round {round}/{}: {} {:?}", options.rounds, key.0, row.work);
                match run_once(options, who, setting, row.work) {
                    Ok(sample) => {
                        if let Ok(samples) = cells.entry(key.clone()).or_insert(Ok(Vec::new())) {
                            samples.push(sample);
                        }
                    }
                    Err(error) => {
                        cells.insert(key.clone(), Err(one_line(&error)));
                    }
                }
                done.push(key);
            }
        }
    }
    cells
}

fn key(who: Who, setting: Setting, work: Work) -> Key {
    // The peer's default is the lazy setting; it need not run twice.
    let setting = if who == Who::Peer && setting == LAZY {
        FILE
    } else {
        setting
    };
    let name = if who == Who::Jetwake {
        "jetwake"
    } else {
        "nats-server"
    };
    (name, format!("{setting:?} {work:?}"))
}

fn run_once(options: &Options, who: Who, setting: Setting, work: Work) -> io::Result<load::Sample> {
    let running = options.programs.start(who, setting)?;
    load::run(work, &running, count(who, setting, work, options.quick))
}

fn print_rows(rows: &[Row], cells: &BTreeMap<Key, Cell>) {
    println!(
        "| work | jetwake | nats-server | ratio | server CPU us/msg: jetwake | nats-server \
         | an ack means: jetwake | nats-server |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let missing: Cell = Ok(Vec::new());
    for row in rows {
        let sides = [(Who::Jetwake, row.ours), (Who::Peer, row.peer)].map(|(who, setting)| {
            let cell = cells.get(&key(who, setting, row.work)).unwrap_or(&missing);
            let memory = matches!(row.work, Work::Store { memory: true, .. });
            (
                cell,
                if memory {
                    "in memory"
                } else {
                    durability(who, setting)
                },
            )
        });
        println!("{}", report::row(row.name, row.value, sides));
    }
}

// --- start, memory, restart ------------------------------------------------------------------

fn print_process_table(options: &Options) {
    println!("\n| process | jetwake | nats-server | ratio |");
    println!("|---|---|---|---|");
    let rounds = if options.quick { 5 } else { 15 };
    let both = |measure: &dyn Fn(Who) -> io::Result<f64>, rounds: u32| {
        [Who::Jetwake, Who::Peer].map(|who| {
            let values: io::Result<Vec<f64>> = (0..rounds).map(|_| measure(who)).collect();
            match values {
                Ok(values) => report::median(values),
                Err(error) => {
                    eprintln!("{who:?}: {}", one_line(&error));
                    None
                }
            }
        })
    };
    for (name, setting) in [("core", Setting::Core), ("JetStream", FILE)] {
        let start = |who| {
            Ok(report::seconds(
                start(options, who, setting)?.server.ready_after(),
            ))
        };
        let [ours, theirs] = both(&start, rounds);
        let name_of_row = format!("start to first INFO, {name}");
        println!(
            "{}",
            report::plain_row(&name_of_row, ours, theirs, report::millis)
        );
    }
    for (name, setting) in [("core", Setting::Core), ("JetStream", FILE)] {
        let [ours, theirs] = both(&|who| memory_at_rest(options, who, setting), 3);
        let name_of_row = format!("memory at rest, {name}");
        println!(
            "{}",
            report::plain_row(&name_of_row, ours, theirs, report::mebibytes)
        );
    }
    let [ours, theirs] = both(&|who| memory_per_connection(options, who), 3);
    println!(
        "{}",
        report::plain_row(
            "memory per idle connection",
            ours,
            theirs,
            report::kibibytes
        )
    );
    let messages = if options.quick { 200_000 } else { 1_000_000 };
    let [ours, theirs] = both(&|who| restart_after_kill(options, who, messages), 3);
    let name = format!("kill -9 to first JetStream answer, {messages} messages stored");
    println!("{}", report::plain_row(&name, ours, theirs, report::millis));
}

fn start(options: &Options, who: Who, setting: Setting) -> io::Result<Running> {
    options.programs.start(who, setting)
}

fn memory_at_rest(options: &Options, who: Who, setting: Setting) -> io::Result<f64> {
    let running = start(options, who, setting)?;
    thread::sleep(REST);
    Ok(usage::resident_bytes(running.server.pid())? as f64)
}

fn memory_per_connection(options: &Options, who: Who) -> io::Result<f64> {
    let running = start(options, who, Setting::Core)?;
    thread::sleep(REST);
    let before = usage::resident_bytes(running.server.pid())?;
    let mut idle = Vec::new();
    for _ in 0..IDLE_CONNECTIONS {
        idle.push(Client::connect(running.server.address())?);
    }
    thread::sleep(REST);
    let after = usage::resident_bytes(running.server.pid())?;
    Ok(after.saturating_sub(before) as f64 / idle.len() as f64)
}

fn restart_after_kill(options: &Options, who: Who, messages: u64) -> io::Result<f64> {
    let mut running = start(options, who, FILE)?;
    load::run(WINDOWED, &running, messages)?;
    running.server.kill()?;
    let begin = Instant::now();
    running.server = running.launch.start()?;
    let mut client = Client::connect(running.server.address())?;
    while api(&mut client, "STREAM.INFO.BENCH", "").is_err() {
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(io::Error::other("the stream did not come back"));
        }
    }
    Ok(report::seconds(begin.elapsed()))
}

// --- options ---------------------------------------------------------------------------------

fn print_head(options: &Options) {
    let version = |program: &PathBuf| {
        let output = Command::new(program).arg("-v").output();
        output.map_or("?".to_owned(), |out| {
            String::from_utf8_lossy(&out.stdout).trim().to_owned()
        })
    };
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!(
        "{cores} cores, clients on the same machine, 128-byte messages, one connection a client, \
         medians of {} alternating rounds; jetwake: {}, nats-server: {}. A ratio above 1 means \
         that jetwake is better.\n",
        options.rounds,
        version(&options.programs.ours),
        version(&options.programs.peer),
    );
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut peer, mut ours, mut rounds) = (None, None, None);
    let mut stores = Programs::default_stores();
    let (mut quick, mut only) = (false, String::new());
    while let Some(flag) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--quick" => quick = true,
            "--peer" => peer = Some(PathBuf::from(value()?)),
            "--ours" => ours = Some(PathBuf::from(value()?)),
            "--dir" => stores = PathBuf::from(value()?),
            "--only" => only = value()?,
            "--rounds" => rounds = Some(value()?.parse().map_err(|_| "--rounds: not a number")?),
            _ => return Err(format!("unknown option {flag}")),
        }
    }
    let ours = match ours {
        Some(ours) => ours,
        None => server_program().map_err(|error| error.to_string())?,
    };
    let peer = peer.ok_or("--peer is needed")?;
    let rounds = rounds.unwrap_or(if quick { 3 } else { 5 });
    Ok(Options {
        programs: Programs { ours, peer, stores },
        quick,
        rounds,
        only,
    })
}

fn one_line(error: &io::Error) -> String {
    error
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "/")
}
