//! What the arguments mean together: which servers do which rows, or what is wrong with the
//! combination.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::args::{Acks, Args};
use super::client::Credentials;
use super::plan::{self, Row, Scale, Side, Storage, Suite};
use super::ring::{MAX_LOWER, MAX_SLOTS, MAX_UPPER};
use super::runner::Ground;
use super::scenario::{Params, Scenario, Target};
use super::usage::{Monitor, is_memory_file_system};

/// Most messages of an atomic batch on any server.
const MAX_BATCH: u64 = 1000;
/// Most bytes of prepared commands.
const MAX_PREPARED: u64 = 1 << 30;
/// Most messages of a run whose every sequence is remembered.
const MAX_MESSAGES: u64 = 50_000_000;
const DEFAULT_PORT: u16 = 4222;

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
    let external = args.url.as_deref().map(|url| target(args, url));
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

// --- the server at --url ---------------------------------------------------------------------

fn target(args: &Args, url: &str) -> Result<Target, String> {
    let (mut credentials, address) = parse_url(url)?;
    if args.user.is_some() || args.token.is_some() {
        credentials = Credentials {
            user: args.user.clone(),
            password: args.password.clone(),
            token: args.token.clone(),
        };
    }
    let address = resolve(&address).map_err(|error| format!("{url}: {error}"))?;
    let monitor = args.monitor.as_deref().map(|url| {
        let host = url.strip_prefix("http://").unwrap_or(url);
        Monitor(host.trim_end_matches('/').to_owned())
    });
    Ok(Target {
        address,
        credentials,
        pid: None,
        monitor,
    })
}

/// Credentials and `host:port` of a URL.
fn parse_url(url: &str) -> Result<(Credentials, String), String> {
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{url}: {scheme}:// is not supported")),
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    let (secret, host) = match rest.rsplit_once('@') {
        Some((secret, host)) => (Some(secret), host),
        None => (None, rest),
    };
    let mut credentials = Credentials::default();
    match secret.map(|secret| secret.split_once(':').ok_or(secret)) {
        Some(Ok((user, password))) => {
            credentials.user = Some(user.to_owned());
            credentials.password = Some(password.to_owned());
        }
        Some(Err(token)) => credentials.token = Some(token.to_owned()),
        None => {}
    }
    if host.is_empty() {
        return Err(format!("{url}: no host"));
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    let address = if has_port {
        host.to_owned()
    } else {
        format!("{host}:{DEFAULT_PORT}")
    };
    Ok((credentials, address))
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let first = address.to_socket_addrs()?.next();
    first.ok_or_else(|| io::Error::other("no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Result<Choice, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let args = Args::read(&words).unwrap();
        choose(&Args {
            // A disk, wherever the tests run.
            dir: args
                .url
                .is_none()
                .then(|| env!("CARGO_MANIFEST_DIR").into()),
            ..args
        })
    }

    fn own() -> String {
        std::env::current_exe().unwrap().display().to_string()
    }

    #[test]
    fn without_arguments_durable_meets_memory() {
        let choice = chosen("").unwrap();
        assert_eq!(choice.runs, 3);
        assert!(choice.names[0].contains("durable") && choice.names[1].contains("memory"));
        let first: Vec<Storage> = choice.rows[0].sides.iter().map(|s| s.storage).collect();
        assert_eq!(first, [Storage::Durable, Storage::Memory]);
    }

    #[test]
    fn the_readme_compares_defaults_and_equals() {
        let choice = chosen(&format!("--compare {0} {0}", own())).unwrap();
        assert!(choice.names[0].starts_with("A: ") && choice.names[1].starts_with("B: "));
        let storages = |row: &Row| (row.sides[0].storage, row.sides[1].storage);
        assert_eq!(storages(&choice.rows[0]), (Storage::Durable, Storage::Lazy));
        assert_eq!(
            storages(&choice.rows[1]),
            (Storage::Durable, Storage::Durable)
        );
        assert_eq!(storages(&choice.rows[2]), (Storage::Lazy, Storage::Lazy));
        assert!(choice.rows.iter().any(|row| row.name.contains("kill -9")));
    }

    #[test]
    fn each_storage_is_a_row_and_core_has_one() {
        let choice =
            chosen("publish-sync core --storage memory,lazy --size 1k --clients 3").unwrap();
        let names: Vec<&str> = choice.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "publish, one at a time, 3 clients, 1024 bytes",
                "publish, one at a time, 3 clients, 1024 bytes",
                "core 1:1, 3 clients, 1024 bytes"
            ]
        );
    }

    #[test]
    fn combinations_without_meaning_are_refused() {
        for (line, expected) in [
            (
                "publish-sync --in-flight 5",
                "--in-flight has no meaning for PublishSync",
            ),
            ("consume-pull --duration 1s", "--duration has no meaning"),
            ("core --acks none", "--acks has no meaning"),
            ("--clients 3", "goes with a scenario"),
            ("--storage file", "goes with --url"),
            ("publish-sync --server /nonexistent/x", "no such program"),
            ("publish-batch --batch 1001", "--batch: at most 1000"),
            ("publish-async --in-flight 100001", "--in-flight: at most"),
            (
                "publish-async --in-flight 100k --size 1m",
                "bytes in flight",
            ),
            ("core --url tls://x", "tls:// is not supported"),
            ("core --url nats://", "no host"),
            (
                "publish-sync --url 127.0.0.1 --storage durable",
                "unknown without --monitor",
            ),
            ("--url 127.0.0.1 --suite readme", "does not go with --url"),
            ("--suite readme --storage lazy", "its own storage kinds"),
        ] {
            let text = chosen(line).map(|_| ()).unwrap_err();
            assert!(text.contains(expected), "{line}: {text}");
        }
    }

    #[test]
    fn urls_hold_credentials() {
        let parsed = |url: &str| parse_url(url).unwrap();
        let (credentials, address) = parsed("nats://u:p:q@h:1");
        assert_eq!(credentials.user.as_deref(), Some("u"));
        assert_eq!(credentials.password.as_deref(), Some("p:q"));
        assert_eq!(address, "h:1");
        assert_eq!(parsed("t@h").0.token.as_deref(), Some("t"));
        assert_eq!(parsed("h").1, "h:4222");
        assert_eq!(parsed("[::1]").1, "[::1]:4222");
    }
}
