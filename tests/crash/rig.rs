//! The rounds: load, kill -9, restart, check.

// This rig runs real processes and threads against the wall clock.
#![allow(clippy::disallowed_methods)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use jetwake_tests::jetstream::api;
use jetwake_tests::process::{Launch, Scratch, ServerProcess, server_program, workspace};
use jetwake_tests::wire::Client;

use crate::acker::Acker;
use crate::check;
use crate::writer::Writer;

const STREAMS: usize = 3;
const WRITERS_PER_STREAM: usize = 2;
const RECOVERY_LIMIT: Duration = Duration::from_secs(120);

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
    /// Messages lost, altered, doubled or out of order.
    pub(crate) violations: Vec<String>,
    /// Messages delivered again although their double ack was answered.
    pub(crate) forgotten_acks: Vec<String>,
}

/// Runs all rounds; `progress` is called with a line a round.
pub(crate) fn run(options: &Options, mut progress: impl FnMut(String)) -> io::Result<Report> {
    let parent = options
        .directory
        .clone()
        .unwrap_or_else(|| workspace().join("target"));
    let scratch = Scratch::new(&parent, "crash")?;
    let mut launch = Launch::jetstream(&server_program()?, scratch.path())?;
    launch.args.extend(options.server_args.iter().cloned());
    let mut rig = Rig::start(launch)?;
    let mut seed = options.seed;
    for round in 1..=options.rounds {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let load = options
            .load
            .mul_f64(0.3 + 0.7 * (seed >> 33) as f64 / f64::from(1_u32 << 31));
        rig.load_and_kill(load)?;
        rig.restart()?;
        rig.check_streams(false)?;
        progress(format!(
            "round {round}: killed after {load:.0?}, {}",
            rig.progress()
        ));
    }
    rig.finish()
}

struct Rig {
    launch: Launch,
    server: ServerProcess,
    writers: Vec<Writer>,
    acker: Acker,
    report: Report,
}

impl Rig {
    fn start(launch: Launch) -> io::Result<Self> {
        let writers = (0..STREAMS * WRITERS_PER_STREAM).map(|id| Writer::new(id % STREAMS, id));
        let (acker, server) = (Acker::new(&stream_name(0)), launch.start()?);
        create_assets(server.address(), &acker)?;
        Ok(Rig {
            launch,
            server,
            writers: writers.collect(),
            acker,
            report: Report::default(),
        })
    }

    fn load_and_kill(&mut self, load: Duration) -> io::Result<()> {
        let Rig {
            server,
            writers,
            acker,
            report,
            ..
        } = self;
        let address = server.address();
        thread::scope(|scope| {
            let writing: Vec<_> = writers
                .iter_mut()
                .map(|writer| scope.spawn(move || writer.run(address)))
                .collect();
            let acking = scope.spawn(move || acker.run(address));
            thread::sleep(load);
            server.kill()?;
            let gone = |_| io::Error::other("a client panicked");
            for thread in writing {
                report.violations.extend(thread.join().map_err(gone)?);
            }
            report.forgotten_acks.extend(acking.join().map_err(gone)?);
            Ok(())
        })
    }

    fn restart(&mut self) -> io::Result<()> {
        let begin = Instant::now();
        self.server = self.launch.start()?;
        self.report.first_info.push(self.server.ready_after());
        self.report
            .first_answer
            .push(wait_for_jetstream(self.server.address(), begin)?);
        Ok(())
    }

    fn check_streams(&mut self, settled: bool) -> io::Result<()> {
        for index in 0..STREAMS {
            let own: Vec<&Writer> = self
                .writers
                .iter()
                .filter(|w| w.stream() == index)
                .collect();
            let found = check::stream(self.server.address(), &stream_name(index), &own, settled)?;
            self.report.violations.extend(found);
        }
        self.report.acknowledged = self.writers.iter().map(Writer::acknowledged).sum();
        self.report.confirmed_acks = self.acker.confirmed();
        Ok(())
    }

    fn progress(&self) -> String {
        let report = &self.report;
        let last = |times: &[Duration]| times.last().copied().unwrap_or_default();
        format!(
            "{} messages and {} consumer acks confirmed so far; first INFO after {:.1?}, first \
             JetStream answer after {:.1?}; {} violations, {} forgotten acks",
            report.acknowledged,
            report.confirmed_acks,
            last(&report.first_info),
            last(&report.first_answer),
            report.violations.len(),
            report.forgotten_acks.len(),
        )
    }

    /// Completes all work without further crashes and checks the end state.
    fn finish(mut self) -> io::Result<Report> {
        let address = self.server.address();
        for writer in &mut self.writers {
            self.report.violations.extend(writer.settle(address)?);
        }
        self.report
            .forgotten_acks
            .extend(self.acker.finish(address)?);
        self.check_streams(true)?;
        Ok(self.report)
    }
}

fn stream_name(index: usize) -> String {
    format!("CRASH{index}")
}

fn create_assets(address: SocketAddr, acker: &Acker) -> io::Result<()> {
    wait_for_jetstream(address, Instant::now())?;
    let mut client = Client::connect(address)?;
    for index in 0..STREAMS {
        let name = stream_name(index);
        let config = format!(
            "{{\"name\":\"{name}\",\"subjects\":[\"crash.{index}.>\"],\"storage\":\"file\",\
             \"retention\":\"limits\",\"allow_direct\":true,\"duplicate_window\":120000000000}}"
        );
        api(&mut client, &format!("STREAM.CREATE.{name}"), &config)?;
    }
    acker.create(&mut client)
}

/// The time from `begin` to the first answer of the JetStream API.
fn wait_for_jetstream(address: SocketAddr, begin: Instant) -> io::Result<Duration> {
    let mut client = Client::connect(address)?;
    loop {
        match api(&mut client, "INFO", "") {
            Ok(_) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > RECOVERY_LIMIT => return Err(error),
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
}
