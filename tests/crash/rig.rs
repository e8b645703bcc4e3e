//! The rounds: load, kill -9, restart, check.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jetwake_tests::choices::Choices;
use jetwake_tests::load::{Findings, Site, all_plans, wait_for_jetstream};
use jetwake_tests::process::{Launch, Scratch, server_program, workspace};

/// What a run does.
#[derive(Debug)]
pub(crate) struct Options {
    /// How often the server is killed.
    pub(crate) rounds: u32,
    /// The longest time under load before a kill.
    pub(crate) load: Duration,
    /// Decides the times of the kills.
    pub(crate) seed: u64,
    /// Further arguments of the server.
    pub(crate) server_args: Vec<String>,
    /// Where the store lies; a temporary directory in `target` when absent.
    pub(crate) directory: Option<PathBuf>,
}

/// What a run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) acknowledged: usize,
    pub(crate) confirmed_acks: usize,
    pub(crate) first_info: Vec<Duration>,
    pub(crate) first_answer: Vec<Duration>,
    /// Broken promises.
    pub(crate) findings: Findings,
}

/// Runs all rounds; `progress` is called with a line a round.
pub(crate) fn run(options: &Options, mut progress: impl FnMut(String)) -> io::Result<Report> {
    let target = || workspace().join("target");
    let parent = options.directory.clone().unwrap_or_else(target);
    let scratch = Scratch::new(&parent, "crash")?;
    let launch = Launch::jetstream(&server_program()?, scratch.path())?;
    let mut launch = launch.with_small_files(scratch.path())?;
    launch.args.extend(options.server_args.iter().cloned());
    let mut server = launch.start()?;
    let mut site = Site::new(&all_plans(), options.seed);
    site.create(server.address())?;
    let mut choices = Choices::new(options.seed);
    let mut report = Report::default();
    for round in 1..=options.rounds {
        let load = options.load.mul_f64(choices.between(0.3, 1.0));
        let address = server.address();
        let mut found = site.load(address, load, || server.kill())?;
        server = launch.start()?;
        let info = server.ready_after();
        let answer = info + wait_for_jetstream(address)?;
        report.first_info.push(info);
        report.first_answer.push(answer);
        found.merge(site.check(address)?);
        progress(format!(
            "round {round}: killed after {load:.0?}, {} messages and {} consumer acks confirmed so \
             far; first INFO after {info:.1?}, first JetStream answer after {answer:.1?}; {found}",
            site.acknowledged(),
            site.confirmed(),
        ));
        report.findings.merge(found);
    }
    report.findings.merge(site.finish(server.address())?);
    report.acknowledged = site.acknowledged();
    report.confirmed_acks = site.confirmed();
    Ok(report)
}
