//! What is measured: servers, and rows of work that one or two of them do.
//!
//! Pure: options in, a list of rows out.

use std::path::PathBuf;
use std::time::Duration;

use super::footprint::Footprint;
use super::scenario::{Budget, Params, Scenario};
use super::server::Setting;

/// What an ack of JetStream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(super) enum Storage {
    /// Streams in memory, gone with the process
    Memory,
    /// Files, acknowledged before they are synced (nats-server's default, every 2 min)
    Lazy,
    /// Files, synced before the acknowledgement (Jetwake's default)
    Durable,
    /// Files, whatever the server at --url does
    File,
}

impl Storage {
    /// What stands in every row, so that no number is without it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Storage::Memory => "memory (lost with the process)",
            Storage::Lazy => "file lazy (acks before sync)",
            Storage::Durable => "file durable (sync before ack)",
            Storage::File => "file (sync unknown)",
        }
    }

    /// Whether an acknowledged message survives a power cut for all that is known.
    pub(super) fn is_safe(self) -> bool {
        self == Storage::Durable
    }

    /// How a server is started for it.
    pub(super) fn setting(self) -> Setting {
        if self == Storage::Lazy {
            Setting::Lazy
        } else {
            Setting::Durable
        }
    }
}

/// A ready-made list of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Suite {
    /// File durable against memory storage on one server, in under a minute (the default)
    Short,
    /// The table of the README: publish, consume, core, start, restart and memory
    Readme,
    /// Start, restart and memory only
    Footprint,
    /// Every scenario once
    All,
}

/// A program that is started for each run, or a server that runs already.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side {
    /// Its program; `None` for the server at `--url`.
    pub program: Option<PathBuf>,
    /// What acks of streams mean there.
    pub storage: Storage,
}

/// What is done in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    /// A load; `memory` follows the side.
    Load(Params),
    /// What a program costs besides.
    Footprint(Footprint),
}

/// A row of the table: the same work on one or two sides.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Its name.
    pub name: String,
    /// The work.
    pub work: Work,
    /// Who does it.
    pub sides: Vec<Side>,
}

impl Work {
    /// Whether it depends on what acks of streams mean.
    pub(super) fn uses_streams(&self) -> bool {
        match self {
            Work::Load(params) => params.scenario.uses_streams(),
            Work::Footprint(footprint) => footprint.setting() != Setting::Core,
        }
    }
}

/// Sizes of a suite's runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// Longest time of a run.
    pub time: Duration,
    /// Time before it counts.
    pub warmup: Duration,
    /// Most messages of a run that publishes.
    pub messages: u64,
    /// Messages of a run that consumes.
    pub consumed: u64,
}

impl Scale {
    /// For the short suite.
    pub(super) const SHORT: Scale = Scale {
        time: Duration::from_millis(500),
        warmup: Duration::from_millis(150),
        messages: 1_000_000,
        consumed: 200_000,
    };
    /// For the other suites.
    pub(super) const SUITE: Scale = Scale {
        time: Duration::from_secs(1),
        warmup: Duration::from_millis(300),
        messages: 1_000_000,
        consumed: 500_000,
    };
    /// For single scenarios.
    pub(super) const SINGLE: Scale = Scale {
        time: Duration::from_secs(3),
        warmup: Duration::from_millis(500),
        messages: 5_000_000,
        consumed: 1_000_000,
    };
}

/// Consuming ends with the last message; this is for a server that has none to give.
pub(super) const CONSUME_LIMIT: Duration = Duration::from_secs(600);
/// Core messages are not kept, so that time alone limits them.
const CORE_MESSAGES: u64 = 1_000_000_000;

/// The usual parameters of a scenario.
pub(super) fn params(scenario: Scenario, scale: Scale) -> Params {
    let budget = if scenario.is_consume() {
        Budget {
            messages: scale.consumed,
            time: CONSUME_LIMIT,
        }
    } else {
        let kept = scenario.uses_streams() && scenario != Scenario::KvGet;
        Budget {
            messages: if kept { scale.messages } else { CORE_MESSAGES },
            time: scale.time,
        }
    };
    let is_kv = matches!(
        scenario,
        Scenario::KvPut | Scenario::KvGet | Scenario::KvWatch
    );
    let in_flight = match scenario {
        Scenario::PublishAsync | Scenario::Mixed => 1000,
        Scenario::PublishBatch => 10,
        Scenario::KvWatch => 100,
        _ => 1,
    };
    Params {
        scenario,
        size: 128,
        budget,
        warmup: scale.warmup,
        clients: 1,
        streams: 1,
        subjects: if is_kv { 1000 } else { 1 },
        in_flight,
        batch: if scenario == Scenario::PublishBatch {
            100
        } else {
            1000
        },
        subscribers: 1,
        acks: true,
        memory: false,
    }
}

/// The words for a scenario and its parameters.
pub(super) fn name(params: &Params) -> String {
    let base = match params.scenario {
        Scenario::PublishSync => "publish, one at a time".to_owned(),
        Scenario::PublishAsync => format!("publish, {} in flight", params.in_flight),
        Scenario::PublishBatch => {
            let Params {
                batch, in_flight, ..
            } = params;
            format!("publish, batches of {batch}, {in_flight} in flight")
        }
        Scenario::ConsumePull => format!("pull, {}", acks(params)),
        Scenario::ConsumePush => format!("push, {}", acks(params)),
        Scenario::ConsumeOrdered => "ordered push".to_owned(),
        Scenario::Core => format!("core 1:{}", params.subscribers),
        Scenario::CorePublish => "core publish only".to_owned(),
        Scenario::RequestReply => "request-reply".to_owned(),
        Scenario::KvPut => "KV put".to_owned(),
        Scenario::KvGet => "KV get".to_owned(),
        Scenario::KvWatch => format!("KV put and {} watching", params.subscribers),
        Scenario::Mixed => "publish and pull at once".to_owned(),
    };
    let usual = self::params(params.scenario, Scale::SINGLE);
    let mut name = base;
    for (count, usual, unit) in [
        (params.clients as u64, usual.clients as u64, "clients"),
        (params.streams, usual.streams, "streams"),
        (params.subjects, usual.subjects, "subjects"),
        (params.size as u64, usual.size as u64, "bytes"),
    ] {
        if count != usual {
            name.push_str(&format!(", {count} {unit}"));
        }
    }
    name
}

fn acks(params: &Params) -> &'static str {
    if params.acks {
        "explicit acks"
    } else {
        "no acks"
    }
}

/// A scenario with its usual parameters, on these sides.
pub(super) fn row(params: Params, sides: Vec<Side>) -> Row {
    Row {
        name: name(&params),
        work: Work::Load(params),
        sides,
    }
}

/// File durable against memory, on one server.
pub(super) fn short_suite(scale: Scale, durable: &Side) -> Vec<Row> {
    let memory = Side {
        storage: Storage::Memory,
        ..durable.clone()
    };
    let scenarios = [
        Scenario::PublishSync,
        Scenario::PublishAsync,
        Scenario::PublishBatch,
        Scenario::ConsumePull,
        Scenario::ConsumeOrdered,
        Scenario::KvPut,
        Scenario::KvGet,
        Scenario::Mixed,
        Scenario::Core,
        Scenario::RequestReply,
    ];
    let sides = |scenario: Scenario| {
        if scenario.uses_streams() {
            vec![durable.clone(), memory.clone()]
        } else {
            vec![durable.clone()]
        }
    };
    scenarios
        .map(|scenario| row(params(scenario, scale), sides(scenario)))
        .into()
}

/// The table of the README. The second side's file streams are lazy, which is nats-server's default,
/// unless the row says that both are durable.
pub(super) fn readme_suite(scale: Scale, programs: &[Option<PathBuf>]) -> Vec<Row> {
    use Storage::{Durable, Lazy, Memory};
    let sides = |storages: [Storage; 2]| -> Vec<Side> {
        let side = |(program, storage): (&Option<PathBuf>, Storage)| Side {
            program: program.clone(),
            storage,
        };
        programs.iter().zip(storages).map(side).collect()
    };
    let of = |scenario| params(scenario, scale);
    let no_acks = Params {
        acks: false,
        ..of(Scenario::ConsumePull)
    };
    let fan_out = Params {
        subscribers: 10,
        ..of(Scenario::Core)
    };
    let mut rows = Vec::new();
    for scenario in [Scenario::PublishAsync, Scenario::PublishSync] {
        for storages in [[Durable, Lazy], [Durable, Durable], [Lazy, Lazy]] {
            rows.push(row(of(scenario), sides(storages)));
        }
    }
    rows.push(row(of(Scenario::PublishAsync), sides([Memory, Memory])));
    for params in [
        of(Scenario::ConsumePull),
        no_acks,
        of(Scenario::ConsumeOrdered),
        of(Scenario::Core),
        fan_out,
        of(Scenario::CorePublish),
        of(Scenario::RequestReply),
    ] {
        rows.push(row(params, sides([Durable, Lazy])));
    }
    // With one program, rows that differ in the second side alone are the same.
    let mut seen = Vec::new();
    rows.retain(|row| {
        let is_new = !seen.contains(row);
        if is_new {
            seen.push(row.clone());
        }
        is_new
    });
    rows.extend(footprint_suite(&sides([Durable, Lazy])));
    rows
}

/// Start, restart and memory.
pub(super) fn footprint_suite(sides: &[Side]) -> Vec<Row> {
    Footprint::ALL
        .iter()
        .map(|footprint| Row {
            name: footprint.name(),
            work: Work::Footprint(*footprint),
            sides: sides.to_vec(),
        })
        .collect()
}

/// Every scenario.
pub(super) fn all_suite(scale: Scale, sides: &[Side]) -> Vec<Row> {
    <Scenario as clap::ValueEnum>::value_variants()
        .iter()
        .map(|scenario| row(params(*scenario, scale), sides.to_vec()))
        .collect()
}
