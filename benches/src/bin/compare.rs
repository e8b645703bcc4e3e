//! Prints a table that compares Jetwake with nats-server on this machine, in one run.
//!
//! `cargo run --release -p jetwake-benches --bin compare -- --peer /path/to/nats-server`; README.md
//! of this package lists the options.

// A program: it reports on standard output.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;

use jetwake_benches::footprint::{
    memory_at_rest, memory_per_connection, memory_per_consumer, memory_per_subject,
    restart_after_kill, start_time,
};
use jetwake_benches::load::{self, Work};
use jetwake_benches::report::{self, Cell, Value, bytes, mebibytes, median, millis};
use jetwake_benches::side::{Programs, Setting, Sync, Who, durability};
use jetwake_benches::usage;
use jetwake_tests::process::server_program;

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

/// Measures one number of one program.
type Measure<'a> = &'a dyn Fn(&Programs, Who) -> io::Result<f64>;
type Text = fn(f64) -> String;

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
    let quick = options.quick;
    let starts = if quick { 5 } else { 15 };
    let stored = if quick { 200_000 } else { 1_000_000 };
    let subjects = if quick { 50_000 } else { 500_000 };
    let restart_name = format!("kill -9 to first stream info, {stored} messages stored");
    let measures: [(&str, u32, Measure<'_>, Text); 8] = [
        (
            "start to first INFO, core",
            starts,
            &|p, w| start_time(p, w, Setting::Core),
            millis,
        ),
        (
            "start to first INFO, JetStream",
            starts,
            &|p, w| start_time(p, w, FILE),
            millis,
        ),
        (
            &restart_name,
            3,
            &|p, w| restart_after_kill(p, w, stored),
            millis,
        ),
        (
            "memory at rest, core",
            3,
            &|p, w| memory_at_rest(p, w, Setting::Core),
            mebibytes,
        ),
        (
            "memory at rest, JetStream",
            3,
            &|p, w| memory_at_rest(p, w, FILE),
            mebibytes,
        ),
        (
            "memory per idle connection",
            3,
            &|p, w| memory_per_connection(p, w, 1000),
            bytes,
        ),
        (
            "memory per subject of a stream",
            3,
            &|p, w| memory_per_subject(p, w, subjects),
            bytes,
        ),
        (
            "memory per durable consumer",
            3,
            &|p, w| memory_per_consumer(p, w, 900),
            bytes,
        ),
    ];
    for (name, rounds, measure, text) in measures {
        if !name.contains(&options.only) {
            continue;
        }
        let [ours, theirs] = [Who::Jetwake, Who::Peer].map(|who| {
            eprintln!("{who:?} {name}");
            let values: io::Result<Vec<f64>> = (0..rounds)
                .map(|_| measure(&options.programs, who))
                .collect();
            values
                .inspect_err(|error| eprintln!("{name}: {}", one_line(error)))
                .ok()
                .and_then(median)
        });
        println!("{}", report::plain_row(name, ours, theirs, text));
    }
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
