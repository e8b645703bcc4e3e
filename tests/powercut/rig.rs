//! The rounds: load, kill and cut, restart, check.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jetwake_tests::choices::Choices;
use jetwake_tests::layer::{Cut, Layer, Names};
use jetwake_tests::load::{Findings, Site, all_plans};
use jetwake_tests::process::{Launch, Scratch, ServerProcess, server_program};

/// A sync takes some time on a real disk too; the power often goes within one.
const SYNC_TIME: Duration = Duration::from_micros(500);

/// What a run does.
#[derive(Debug)]
pub(crate) struct Options {
    rounds: u32,
    load: Duration,
    seed: u64,
    /// Whether some of what was not synced survives.
    torn: bool,
    names: Names,
    directory: PathBuf,
    server_args: Vec<String>,
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) cuts: u32,
    pub(crate) acknowledged: usize,
    pub(crate) confirmed: usize,
    pub(crate) findings: Findings,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// This machine has no FUSE for us.
    Skipped(io::Error),
    /// All rounds were played.
    Ran(Report),
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options {
            rounds: 20,
            load: Duration::from_millis(1500),
            seed: 1,
            torn: false,
            names: Names::Strict,
            directory: std::env::temp_dir(),
            server_args: Vec::new(),
        };
        while let Some(flag) = args.next() {
            match flag.as_str() {
                "--" => {
                    options.server_args.extend(args);
                    break;
                }
                "--torn" => options.torn = true,
                "--journaled" => options.names = Names::Journaled,
                _ => {
                    let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
                    options.set(&flag, &value)?;
                }
            }
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        let number = || {
            let bad = |_| format!("{flag}: not a number: {value}");
            value.parse::<u32>().map_err(bad)
        };
        match flag {
            "--rounds" => self.rounds = number()?,
            "--load-ms" => self.load = Duration::from_millis(number()?.into()),
            "--seed" => self.seed = number()?.into(),
            "--dir" => self.directory = value.into(),
            _ => return Err(format!("unknown option {flag}")),
        }
        Ok(())
    }

    /// The command that does the same again.
    pub(crate) fn repeat(&self) -> String {
        let mut command = format!(
            "cargo run -p jetwake-tests --bin powercut -- --rounds {} --load-ms {} --seed {}",
            self.rounds,
            self.load.as_millis(),
            self.seed
        );
        if self.torn {
            command.push_str(" --torn");
        }
        if self.names == Names::Journaled {
            command.push_str(" --journaled");
        }
        if !self.server_args.is_empty() {
            command.push_str(" -- ");
            command.push_str(&self.server_args.join(" "));
        }
        command
    }
}

/// Runs all rounds; `progress` is called with a line a round.
pub(crate) fn run(options: &Options, mut progress: impl FnMut(String)) -> io::Result<Outcome> {
    let program = server_program()?;
    let scratch = Scratch::new(&options.directory, "powercut")?;
    // A scratch directory is removed whole, so the mount has a directory of its own beside it.
    let place = Scratch::new(&options.directory, "powercut-disk")?;
    let mut layer = match Layer::mount(place.path(), options.names) {
        Ok(layer) => layer,
        Err(error) => return Ok(Outcome::Skipped(error)),
    };
    layer.image().orders().slow_syncs(SYNC_TIME);
    let mut launch = Launch::jetstream(&program, scratch.path())?;
    launch.args = vec![
        "-js".into(),
        "-sd".into(),
        layer.path().display().to_string(),
    ];
    let mut launch = launch.with_small_files(scratch.path())?;
    launch.args.extend(options.server_args.iter().cloned());
    let mut server = launch.start()?;
    let mut site = Site::new(&all_plans(), options.seed);
    site.create(server.address())?;
    let mut choices = Choices::new(options.seed);
    let mut report = Report::default();
    for round in 1..=options.rounds {
        let load = options.load.mul_f64(choices.between(0.1, 1.0));
        let cut = match options.torn {
            true => Cut::Torn(choices.number()),
            false => Cut::Clean,
        };
        let mut found = site.load(server.address(), load, || {
            layer.image().orders().power_off();
            server.kill()
        })?;
        let loss = layer.cut(cut)?;
        server = restart(&launch, &mut layer, cut, &mut choices)?;
        found.merge(site.check(server.address())?);
        progress(format!(
            "round {round}: cut after {load:.0?} with {} pages and {} names unsynced, up after \
             {:.0?}; {} messages and {} acks confirmed so far: {found}",
            loss.pages,
            loss.names,
            server.ready_after(),
            site.acknowledged(),
            site.confirmed(),
        ));
        report.cuts += 1;
        report.findings.merge(found);
    }
    report.findings.merge(site.finish(server.address())?);
    report.acknowledged = site.acknowledged();
    report.confirmed = site.confirmed();
    drop(server);
    Ok(Outcome::Ran(report))
}

/// Starts the server; in some rounds the power goes once more as soon as it is up, so that what
/// recovery itself wrote is lost.
fn restart(
    launch: &Launch,
    layer: &mut Layer,
    cut: Cut,
    choices: &mut Choices,
) -> io::Result<ServerProcess> {
    let mut server = launch.start()?;
    if choices.below(3) == 0 {
        server.kill()?;
        layer.cut(match cut {
            Cut::Torn(_) => Cut::Torn(choices.number()),
            Cut::Clean => Cut::Clean,
        })?;
        server = launch.start()?;
    }
    Ok(server)
}
