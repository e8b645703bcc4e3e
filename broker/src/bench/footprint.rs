//! What a program costs besides its work: start, restart, memory.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Credentials};
use super::format::thousands;
use super::scenario::{self, Target};
use super::server::{Server, Setting};
use super::stats::Range;
use super::usage;

/// Memory is looked at this often, until it changes no more, but not longer than the limit.
const REST: Duration = Duration::from_millis(500);
const REST_LIMIT: Duration = Duration::from_secs(10);
/// A change below this share is none.
const STILL: f64 = 0.002;
const RESTART_LIMIT: Duration = Duration::from_secs(60);
/// Starts of one run, whose median counts.
const STARTS: usize = 5;
const STORED: u64 = 1_000_000;
const SUBJECTS: u64 = 500_000;
const CONNECTIONS: u32 = 1000;
const CONSUMERS: u32 = 900;

/// One such cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Footprint {
    /// Process start to the first INFO line, without JetStream.
    StartCore,
    /// The same with JetStream.
    StartJetStream,
    /// Process start after kill -9, with messages stored, to the first stream info.
    Reopen,
    /// Resident memory of a server that has nothing to do, without JetStream.
    RestCore,
    /// The same with JetStream.
    RestJetStream,
    /// Resident memory of each idle connection.
    PerConnection,
    /// Resident memory of each subject of a stream, above that of as many messages of one subject.
    PerSubject,
    /// Resident memory of each durable pull consumer.
    PerConsumer,
}

impl Footprint {
    /// All of them.
    pub(super) const ALL: [Footprint; 8] = [
        Footprint::StartCore,
        Footprint::StartJetStream,
        Footprint::Reopen,
        Footprint::RestCore,
        Footprint::RestJetStream,
        Footprint::PerConnection,
        Footprint::PerSubject,
        Footprint::PerConsumer,
    ];

    /// Its name in the table.
    pub(super) fn name(self) -> String {
        match self {
            Footprint::StartCore => "start to first INFO, core".to_owned(),
            Footprint::StartJetStream => "start to first INFO, JetStream".to_owned(),
            Footprint::Reopen => {
                let stored = thousands(STORED as f64);
                format!("kill -9 to first stream info, {stored} messages stored")
            }
            Footprint::RestCore => "memory at rest, core".to_owned(),
            Footprint::RestJetStream => "memory at rest, JetStream".to_owned(),
            Footprint::PerConnection => "memory per idle connection".to_owned(),
            Footprint::PerSubject => "memory per subject of a stream".to_owned(),
            Footprint::PerConsumer => "memory per durable consumer".to_owned(),
        }
    }

    /// Whether it is a time in seconds; otherwise it is bytes.
    pub(super) fn is_time(self) -> bool {
        matches!(
            self,
            Footprint::StartCore | Footprint::StartJetStream | Footprint::Reopen
        )
    }

    /// How the server is started, when that does not depend on the storage.
    pub(super) fn setting(self) -> Setting {
        match self {
            Footprint::StartCore | Footprint::RestCore | Footprint::PerConnection => Setting::Core,
            _ => Setting::Durable,
        }
    }

    /// Measures once; `start` gives a server with an empty store.
    pub(super) fn measure(self, start: &dyn Fn() -> io::Result<Server>) -> io::Result<f64> {
        match self {
            Footprint::StartCore | Footprint::StartJetStream => start_time(start),
            Footprint::Reopen => reopen(start()?),
            Footprint::RestCore | Footprint::RestJetStream => resident(&start()?),
            Footprint::PerConnection => per_connection(&start()?),
            Footprint::PerSubject => per_subject(start),
            Footprint::PerConsumer => per_consumer(&start()?),
        }
    }
}

fn start_time(start: &dyn Fn() -> io::Result<Server>) -> io::Result<f64> {
    let times: Vec<f64> = (0..STARTS)
        .map(|_| Ok(start()?.ready_after().as_secs_f64()))
        .collect::<io::Result<_>>()?;
    Range::of(times)
        .map(|range| range.median)
        .ok_or_else(|| io::Error::other("no start"))
}

fn reopen(mut server: Server) -> io::Result<f64> {
    let stream = scenario::store(&target(&server), STORED, 1)?;
    server.kill()?;
    let begin = Instant::now();
    server.restart()?;
    loop {
        match scenario::stored_messages(&target(&server), &stream) {
            Ok(STORED) => return Ok(begin.elapsed().as_secs_f64()),
            Ok(messages) => {
                let text = format!("{STORED} messages were acknowledged, {messages} came back");
                return Err(io::Error::other(text));
            }
            Err(error) if begin.elapsed() > RESTART_LIMIT => return Err(error),
            Err(_) => {}
        }
    }
}

fn per_connection(server: &Server) -> io::Result<f64> {
    let before = resident(server)?;
    let connect = |_| Client::connect_idle(server.address());
    let idle: Vec<Client> = (0..CONNECTIONS).map(connect).collect::<io::Result<_>>()?;
    let with = resident(server)?;
    drop(idle);
    Ok((with - before) / f64::from(CONNECTIONS))
}

fn per_subject(start: &dyn Fn() -> io::Result<Server>) -> io::Result<f64> {
    let plain = start()?;
    scenario::store(&target(&plain), SUBJECTS, 1)?;
    let base = resident(&plain)?;
    drop(plain);
    let server = start()?;
    scenario::store(&target(&server), SUBJECTS, SUBJECTS)?;
    Ok((resident(&server)? - base) / SUBJECTS as f64)
}

fn per_consumer(server: &Server) -> io::Result<f64> {
    let target = target(server);
    let stream = scenario::store(&target, 1, 1)?;
    let before = resident(server)?;
    scenario::create_consumers(&target, &stream, CONSUMERS)?;
    Ok((resident(server)? - before) / f64::from(CONSUMERS))
}

/// Resident bytes once the server has come to rest.
fn resident(server: &Server) -> io::Result<f64> {
    let begin = Instant::now();
    let mut last = 0.0;
    loop {
        thread::sleep(REST);
        let now = usage::resident_bytes(server.pid())? as f64;
        if (now - last).abs() <= STILL * now || begin.elapsed() > REST_LIMIT {
            return Ok(now);
        }
        last = now;
    }
}

fn target(server: &Server) -> Target {
    Target {
        address: server.address(),
        credentials: Credentials::default(),
        pid: Some(server.pid()),
        monitor: None,
    }
}
