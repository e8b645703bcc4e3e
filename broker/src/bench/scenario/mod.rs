//! The workloads: what clients do, and what must be true afterwards.
//!
//! A scenario knows a server's address and nothing else about it. It sets up, warms up, measures one
//! run, and returns a [`Sample`] with the [`Evidence`] of what the server acknowledged.

mod api;
mod batch;
mod core;
mod kv;
mod mixed;
mod pull;
mod push;
mod stored;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::client::{Client, Credentials};
use super::phase::{self, Phase, Worker};
use super::plan;
use super::usage::{self, Monitor};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Scenario {
    /// JetStream publish, one message at a time per client
    PublishSync,
    /// JetStream publish with --in-flight unacknowledged messages per client
    PublishAsync,
    /// JetStream atomic batches of --batch messages, --in-flight batches per client
    PublishBatch,
    /// Durable pull consumer that all clients share
    ConsumePull,
    /// Durable push consumer per client
    ConsumePush,
    /// Ordered (ephemeral push) consumer per client
    ConsumeOrdered,
    /// Core publishers, each with --subscribers subscribers
    Core,
    /// Core publishers that nobody listens to
    CorePublish,
    /// Requests to one responder
    RequestReply,
    /// Puts into a KV bucket
    KvPut,
    /// Gets of a KV bucket's values
    KvGet,
    /// Puts into a KV bucket that --subscribers watchers follow
    KvWatch,
    /// JetStream publish and consumption by pull at the same time
    Mixed,
}

impl Scenario {
    /// Whether it needs JetStream.
    pub(super) fn uses_streams(self) -> bool {
        !matches!(
            self,
            Scenario::Core | Scenario::CorePublish | Scenario::RequestReply
        )
    }

    /// Whether it reads a stream that is filled before.
    pub(super) fn is_consume(self) -> bool {
        matches!(
            self,
            Scenario::ConsumePull | Scenario::ConsumePush | Scenario::ConsumeOrdered
        )
    }

    /// What its rate counts.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Scenario::Core => "deliveries/s",
            Scenario::RequestReply => "requests/s",
            Scenario::KvPut => "puts/s",
            Scenario::KvGet => "gets/s",
            Scenario::KvWatch => "updates/s",
            _ => "msgs/s",
        }
    }
}

/// How long a run goes on: whichever is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    /// Most messages.
    pub messages: u64,
    /// Longest time.
    pub time: Duration,
}

/// Everything that shapes a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Params {
    /// What is done.
    pub scenario: Scenario,
    /// Payload bytes.
    pub size: usize,
    /// How long.
    pub budget: Budget,
    /// How long before it counts.
    pub warmup: Duration,
    /// Connections that do the work.
    pub clients: usize,
    /// Streams that are written in turn.
    pub streams: u64,
    /// Subjects of each stream (keys of a bucket) that are written in turn.
    pub subjects: u64,
    /// Unanswered messages (batches) of each client.
    pub in_flight: usize,
    /// Messages of an atomic batch, or of a pull request.
    pub batch: u64,
    /// Subscribers of each core publisher; watchers of a bucket.
    pub subscribers: usize,
    /// Whether consumers acknowledge every message.
    pub acks: bool,
    /// Streams in memory instead of files.
    pub memory: bool,
}

/// The server under load.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Who they are.
    pub credentials: Credentials,
    /// Its process, when it is known.
    pub pid: Option<u32>,
    /// Its monitoring, when it is known.
    pub monitor: Option<Monitor>,
}

impl Target {
    /// A new connection.
    pub(super) fn connect(&self) -> io::Result<Client> {
        Client::connect(self.address, &self.credentials)
    }
}

/// One of several workers of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    /// Which one, from 0.
    pub number: usize,
    /// How many there are.
    pub size: usize,
}

/// What one run measured.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Messages that count.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Time they took.
    pub elapsed: Duration,
    /// Nanoseconds of each; empty where that has no meaning.
    pub latency: Histogram<u64>,
    /// Processor time of the server.
    pub server_cpu: Option<Duration>,
    /// Resident bytes of the server at the end.
    pub server_memory: Option<u64>,
    /// Processor time of the load generator.
    pub generator_cpu: Duration,
    /// Processor time of its busiest thread.
    pub busiest: Duration,
}

/// What the server acknowledged, and how to find out whether it is there.
pub(super) trait Evidence {
    /// Waits for what is under way without a confirmation, such as plain acks of consumers: it need not
    /// survive a kill.
    fn settle(&self, _: &Target) -> io::Result<()> {
        Ok(())
    }

    /// Looks for it; the text says what was looked at. An error says what is missing.
    fn check(&self, target: &Target) -> io::Result<String>;

    /// The streams that were made for the run.
    fn streams(&self) -> &[String];
}

/// Sets up, warms up and measures once.
pub(super) fn measure(params: &Params, target: &Target) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let names = Names::new();
    match params.scenario {
        Scenario::PublishSync | Scenario::PublishAsync => stream::publish(params, target, &names),
        Scenario::PublishBatch => batch::publish(params, target, &names),
        Scenario::ConsumePull => pull::consume(params, target, &names),
        Scenario::ConsumePush | Scenario::ConsumeOrdered => push::consume(params, target, &names),
        Scenario::Core => core::fan_out(params, target, &names),
        Scenario::CorePublish => core::publish_only(params, target, &names),
        Scenario::RequestReply => core::request_reply(params, target, &names),
        Scenario::KvPut => kv::put(params, target, &names),
        Scenario::KvGet => kv::get(params, target, &names),
        Scenario::KvWatch => kv::watch(params, target, &names),
        Scenario::Mixed => mixed::run(params, target, &names),
    }
}

/// Stores messages of one file stream, spread over this many subjects; returns the stream.
pub(super) fn store(target: &Target, messages: u64, subjects: u64) -> io::Result<String> {
    let params = Params {
        budget: Budget {
            messages,
            time: Duration::MAX,
        },
        subjects,
        ..plan::params(Scenario::ConsumePull, plan::Scale::SINGLE)
    };
    let stored = stream::fill(&params, target, &Names::new(), Duration::MAX)?;
    stored
        .streams
        .into_iter()
        .next()
        .ok_or_else(|| io::Error::other("no stream"))
}

/// Waits until JetStream answers.
pub(super) fn wait_for_streams(target: &Target) -> io::Result<()> {
    api::wait(&mut target.connect()?)
}

/// Removes what a run has left on a server that goes on.
pub(super) fn delete_streams(target: &Target, streams: &[String]) -> io::Result<()> {
    let mut client = target.connect()?;
    for stream in streams {
        api::call(
            &mut client,
            &format!("STREAM.DELETE.{stream}"),
            &serde_json::Value::Null,
        )?;
    }
    Ok(())
}

/// How many messages a stream holds.
pub(super) fn stored_messages(target: &Target, stream: &str) -> io::Result<u64> {
    api::stream_state(&mut target.connect()?, stream).map(|(messages, _)| messages)
}

/// Creates durable pull consumers.
pub(super) fn create_consumers(target: &Target, stream: &str, count: u32) -> io::Result<()> {
    let mut client = target.connect()?;
    for number in 0..count {
        pull::create_consumer(&mut client, stream, &format!("c{number}"), true)?;
    }
    Ok(())
}

/// Names of one run that no other run on the same server uses.
#[derive(Clone, Debug)]
struct Names {
    tag: String,
}

impl Names {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Names {
            tag: format!("{:x}x{number}", std::process::id()),
        }
    }

    /// What the subjects of the run begin with.
    fn prefix(&self) -> String {
        format!("bench.{}", self.tag)
    }

    fn stream(&self, number: u64) -> String {
        format!("BENCH_{}_{number}", self.tag)
    }

    /// A client's reply subjects but for the slot's digits. `role` tells clients of one run apart
    /// that do different things.
    fn reply(&self, role: &str, client: usize) -> String {
        format!("_INBOX.{}.{role}{client}.", self.tag)
    }
}

/// Warms up, then measures the same workers.
fn warm_and_measure(
    params: &Params,
    target: &Target,
    workers: &mut [Box<dyn Worker + '_>],
) -> io::Result<Sample> {
    if !params.warmup.is_zero() {
        let budget = Budget {
            time: params.warmup,
            ..params.budget
        };
        phase::run(workers, budget)?;
    }
    measure_phase(params, target, workers)
}

/// Measures workers that need no warm-up.
fn measure_phase(
    params: &Params,
    target: &Target,
    workers: &mut [Box<dyn Worker + '_>],
) -> io::Result<Sample> {
    // A system without /proc has no such number.
    let cpu = target.pid.and_then(|pid| usage::cpu_time(pid).ok());
    let phase = phase::run(workers, params.budget)?;
    sample(target, phase, cpu)
}

fn sample(target: &Target, phase: Phase, cpu_before: Option<Duration>) -> io::Result<Sample> {
    if phase.messages == 0 || phase.elapsed.is_zero() {
        return Err(io::Error::other("not one message was done in time"));
    }
    let (mut server_cpu, mut server_memory) = (None, None);
    if let (Some(pid), Some(before)) = (target.pid, cpu_before) {
        let cpu = usage::cpu_time(pid).ok();
        server_cpu = cpu.map(|cpu| cpu.saturating_sub(before));
        server_memory = usage::resident_bytes(pid).ok();
    } else if let Some(monitor) = &target.monitor {
        let varz = monitor.varz()?;
        server_cpu = Some(phase.elapsed.mul_f64((varz.cpu_percent / 100.0).max(0.0)));
        server_memory = Some(varz.memory);
    }
    Ok(Sample {
        messages: phase.messages,
        bytes: phase.bytes,
        elapsed: phase.elapsed,
        latency: phase.latency,
        server_cpu,
        server_memory,
        generator_cpu: phase.cpu,
        busiest: phase.busiest,
    })
}
