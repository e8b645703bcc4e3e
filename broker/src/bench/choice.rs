//! What the arguments mean together: which servers do which rows, or what is wrong with the
//! combination.

#[cfg(test)]
mod tests;
mod url;

use std::path::{Path, PathBuf};

use super::args::{Acks, Args};
use super::plan::{self, Row, Scale, Side, Storage, Suite};
use super::ring::{MAX_LOWER, MAX_SLOTS, MAX_UPPER};
use super::runner::Ground;
use super::scenario::{Params, Scenario, Target};
use super::usage::is_memory_file_system;

/// Most messages of an atomic batch on any server.
const MAX_BATCH: u64 = 1000;
/// Most bytes of prepared commands.
const MAX_PREPARED: u64 = 1 << 30;
/// Most messages of a run whose every sequence is remembered.
const MAX_MESSAGES: u64 = 50_000_000;

/// Everything that is needed to measure.
#[derive(Debug)]
pub(super) struct Choice {
    /// The rows.
    pub rows: Vec<Row>,
    /// The names of the sides.
    pub names: Vec<String>,
    /// Where servers come from.
    pub ground: Ground,
    /// Rounds.
    pub runs: u32,
}

/// Decides; an error is a text for the user.
pub(super) fn choose(args: &Args) -> Result<Choice, String> {
    let external = args.url.as_deref().map(|text| url::target(args, text));
    let external = external.transpose()?;
    let programs = programs(args)?;
    let storages = storages(args, external.as_ref())?;
    let suite = suite(args);
    let (rows, names) = match suite {
        Some(suite) => suite_rows(args, suite, &programs, &storages)?,
        None => scenario_rows(args, &programs, &storages)?,
    };
    let stores = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    if external.is_none() {
        refuse_memory_disk(&rows, &stores)?;
    }
    let runs = if suite == Some(Suite::Short) { 3 } else { 5 };
    Ok(Choice {
        rows,
        names,
        ground: Ground {
            external,
            stores,
            verify_restart: args.verify_restart,
        },
        runs: args.runs.unwrap_or(runs),
    })
}

/// The suite, when no scenario is named.
fn suite(args: &Args) -> Option<Suite> {
    let usual = if args.compare.is_empty() {
        Suite::Short
    } else {
        Suite::Readme
    };
    args.scenarios
        .is_empty()
        .then(|| args.suite.unwrap_or(usual))
}

/// The programs of the sides; `None` is the server at `--url`.
fn programs(args: &Args) -> Result<Vec<Option<PathBuf>>, String> {
    if args.url.is_some() {
        return Ok(vec![None]);
    }
    let programs = match (&args.compare[..], &args.server) {
        ([], None) => {
            let own = std::env::current_exe();
            vec![own.map_err(|error| format!("this program cannot be found: {error}"))?]
        }
        ([], Some(server)) => vec![server.clone()],
        ([one], _) => vec![one.clone(), one.clone()],
        (two, _) => two.to_vec(),
    };
    for program in &programs {
        if !program.is_file() {
            let name = program.display();
            return Err(format!(
                "{name}: no such program (a path is needed; with --compare, name scenarios first)"
            ));
        }
    }
    Ok(programs.into_iter().map(Some).collect())
}

fn storages(args: &Args, external: Option<&Target>) -> Result<Vec<Storage>, String> {
    let usual = if external.is_some() {
        Storage::File
    } else {
        Storage::Durable
    };
    let mut storages = args.storage.clone();
    if storages.is_empty() {
        storages.push(usual);
    }
    for storage in storages.iter_mut().chain(&mut args.storage_b.clone()) {
        match (external, *storage) {
            (None, Storage::File) => {
                return Err(
                    "--storage file goes with --url; a started server is lazy or durable"
                        .to_owned(),
                );
            }
            (Some(target), Storage::File) => *storage = confirmed(target)?.unwrap_or(Storage::File),
            (Some(target), Storage::Lazy | Storage::Durable) => {
                let found = confirmed(target)?;
                if found != Some(*storage) {
                    let found = found.map_or("unknown without --monitor", Storage::words);
                    return Err(format!(
                        "the server at --url cannot be said to be {}: it is {found}",
                        storage.words()
                    ));
                }
            }
            (_, Storage::Memory) | (None, _) => {}
        }
    }
    Ok(storages)
}

/// What monitoring says about file storage.
fn confirmed(target: &Target) -> Result<Option<Storage>, String> {
    let Some(monitor) = &target.monitor else {
        return Ok(None);
    };
    let varz = monitor
        .varz()
        .map_err(|error| format!("--monitor: {error}"))?;
    Ok(varz.sync_always.map(|always| match always {
        true => Storage::Durable,
        false => Storage::Lazy,
    }))
}

// --- rows ------------------------------------------------------------------------------------

fn suite_rows(
    args: &Args,
    suite: Suite,
    programs: &[Option<PathBuf>],
    storages: &[Storage],
) -> Result<(Vec<Row>, Vec<String>), String> {
    refuse_load_options(args)?;
    let mut scale = match suite {
        Suite::Short => Scale::SHORT,
        _ => Scale::SUITE,
    };
    scale.time = args.duration.unwrap_or(scale.time);
    scale.warmup = args.warmup.unwrap_or(scale.warmup);
    let first = storages.first().copied().unwrap_or(Storage::Durable);
    let compared = [first, args.storage_b.unwrap_or(first)];
    let sides = sides(programs, compared);
    let named = |rows| Ok((rows, names(programs)));
    if programs == [None] && matches!(suite, Suite::Readme | Suite::Footprint) {
        return Err("a suite that starts servers does not go with --url".to_owned());
    }
    match suite {
        Suite::Short if programs.len() == 1 => {
            let rows = plan::short_suite(scale, &sides[0]);
            let words = [first, Storage::Memory].map(|storage| storage.words().to_owned());
            Ok((rows, words.into()))
        }
        Suite::Short => {
            let mut rows = plan::short_suite(scale, &sides[0]);
            rows.iter_mut().for_each(|row| row.sides = sides.clone());
            named(rows)
        }
        Suite::Readme if !args.storage.is_empty() || args.storage_b.is_some() => {
            Err("the suite readme has its own storage kinds".to_owned())
        }
        Suite::Readme => named(plan::readme_suite(scale, programs)),
        Suite::Footprint => named(plan::footprint_suite(&sides)),
        Suite::All => named(plan::all_suite(scale, &sides)),
    }
}

fn scenario_rows(
    args: &Args,
    programs: &[Option<PathBuf>],
    storages: &[Storage],
) -> Result<(Vec<Row>, Vec<String>), String> {
    let mut rows = Vec::new();
    for scenario in &args.scenarios {
        let params = params(args, *scenario)?;
        for storage in storages {
            let second = args.storage_b.unwrap_or(*storage);
            rows.push(plan::row(
                params.clone(),
                sides(programs, [*storage, second]),
            ));
            if !scenario.uses_streams() {
                break;
            }
        }
    }
    Ok((rows, names(programs)))
}

fn sides(programs: &[Option<PathBuf>], storages: [Storage; 2]) -> Vec<Side> {
    let side = |(program, storage): (&Option<PathBuf>, Storage)| Side {
        program: program.clone(),
        storage,
    };
    programs.iter().zip(storages).map(side).collect()
}

/// The programs' file names; told apart when they are the same.
fn names(programs: &[Option<PathBuf>]) -> Vec<String> {
    let name = |program: &Option<PathBuf>| match program {
        Some(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str());
            name.to_string_lossy().into_owned()
        }
        None => "server at --url".to_owned(),
    };
    let names: Vec<String> = programs.iter().map(name).collect();
    match &names[..] {
        [a, b] if a == b => vec![format!("A: {a}"), format!("B: {b}")],
        _ => names,
    }
}

/// A scenario's parameters: the usual ones, changed by what was asked for.
fn params(args: &Args, scenario: Scenario) -> Result<Params, String> {
    refuse_meaningless(args, scenario)?;
    let mut params = plan::params(scenario, Scale::SINGLE);
    params.size = args.size.unwrap_or(params.size);
    params.warmup = args.warmup.unwrap_or(params.warmup);
    params.budget.time = args.duration.unwrap_or(params.budget.time);
    if let Some(messages) = args.messages {
        params.budget.messages = messages;
        if args.duration.is_none() && !scenario.is_consume() {
            params.budget.time = plan::CONSUME_LIMIT;
        }
    }
    params.clients = args.clients.map_or(params.clients, |n| n as usize);
    params.streams = args.streams.unwrap_or(params.streams);
    params.subjects = args.subjects.unwrap_or(params.subjects);
    params.in_flight = args.in_flight.map_or(params.in_flight, |n| n as usize);
    params.batch = args.batch.unwrap_or(params.batch);
    params.subscribers = args.subscribers.map_or(params.subscribers, |n| n as usize);
    params.acks = args.acks != Some(Acks::None);
    refuse_excess(&params)?;
    Ok(params)
}

/// Options that a scenario would ignore.
fn refuse_meaningless(args: &Args, scenario: Scenario) -> Result<(), String> {
    use Scenario::{
        ConsumePull, ConsumePush, Core, KvGet, KvPut, KvWatch, Mixed, PublishAsync, PublishBatch,
        PublishSync, RequestReply,
    };
    let is = |list: &[Scenario]| list.contains(&scenario);
    let in_flight = is(&[
        PublishAsync,
        PublishBatch,
        RequestReply,
        KvPut,
        KvGet,
        KvWatch,
        Mixed,
    ]);
    let streams = is(&[PublishSync, PublishAsync, PublishBatch]);
    let given = [
        (
            "--duration",
            args.duration.is_some(),
            !scenario.is_consume(),
        ),
        ("--streams", args.streams.is_some(), streams),
        ("--in-flight", args.in_flight.is_some(), in_flight),
        (
            "--batch",
            args.batch.is_some(),
            is(&[PublishBatch, ConsumePull, Mixed]),
        ),
        (
            "--subscribers",
            args.subscribers.is_some(),
            is(&[Core, KvWatch]),
        ),
        (
            "--acks",
            args.acks.is_some(),
            is(&[ConsumePull, ConsumePush, Mixed]),
        ),
    ];
    match given
        .iter()
        .find(|(_, given, has_meaning)| *given && !has_meaning)
    {
        Some((option, ..)) => Err(format!("{option} has no meaning for {scenario:?}")),
        None => Ok(()),
    }
}

/// Options that shape a scenario, which suites do themselves.
fn refuse_load_options(args: &Args) -> Result<(), String> {
    let given = [
        ("--size", args.size.is_some()),
        ("--messages", args.messages.is_some()),
        ("--clients", args.clients.is_some()),
        ("--streams", args.streams.is_some()),
        ("--subjects", args.subjects.is_some()),
        ("--in-flight", args.in_flight.is_some()),
        ("--batch", args.batch.is_some()),
        ("--subscribers", args.subscribers.is_some()),
        ("--acks", args.acks.is_some()),
        ("several --storage", args.storage.len() > 1),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(format!("{option} goes with a scenario, not with a suite")),
        None => Ok(()),
    }
}

fn refuse_excess(params: &Params) -> Result<(), String> {
    let is_batch = params.scenario == Scenario::PublishBatch;
    let together = if is_batch { params.batch } else { 1 };
    let prepared = (params.size as u64 + 100)
        .saturating_mul(params.in_flight as u64)
        .saturating_mul(together);
    let kept = params.scenario.uses_streams();
    let most = |what: &str, most: u64| Err(format!("{what}: at most {most}"));
    if params.clients as u64 > MAX_UPPER {
        return most("--clients", MAX_UPPER);
    }
    if params.subscribers as u64 > MAX_UPPER {
        return most("--subscribers", MAX_UPPER);
    }
    if params.streams > MAX_UPPER {
        return most("--streams", MAX_UPPER);
    }
    if params.subjects > MAX_LOWER {
        return most("--subjects", MAX_LOWER);
    }
    if params.in_flight > MAX_SLOTS {
        return most("--in-flight", MAX_SLOTS as u64);
    }
    if is_batch && params.batch > MAX_BATCH {
        return most("--batch", MAX_BATCH);
    }
    if kept && params.scenario != Scenario::KvGet && params.budget.messages > MAX_MESSAGES {
        return most("--messages", MAX_MESSAGES);
    }
    if prepared > MAX_PREPARED {
        return most("bytes in flight", MAX_PREPARED);
    }
    Ok(())
}

/// A sync into memory says nothing about a disk.
fn refuse_memory_disk(rows: &[Row], stores: &Path) -> Result<(), String> {
    let durable = rows.iter().any(|row| {
        let mut sides = row.sides.iter();
        row.work.uses_streams() && sides.any(|side| side.storage == Storage::Durable)
    });
    if durable && is_memory_file_system(stores) {
        return Err(format!(
            "{} is in memory, where durable means nothing: choose a disk with --dir",
            stores.display()
        ));
    }
    Ok(())
}
