//! The workloads: what a client does and what is true afterwards.
//!
//! Every workload checks its result (all messages seen, everything acknowledged is stored), and an
//! answer that is not what it should be is an error, not a slower number. Payloads are 128 bytes.

mod core;
mod jetstream;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::side::Running;
use crate::usage;

/// Bytes of every payload.
pub const PAYLOAD: [u8; 128] = [b'x'; 128];

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Core: one publisher, nobody listens.
    Publish,
    /// Core: one publisher and this many subscribers of the same subject.
    FanOut(usize),
    /// Core: one request at a time.
    RequestReply,
    /// JetStream publish on one connection with this many messages in flight.
    Store {
        /// Unacknowledged messages.
        window: usize,
        /// Memory instead of file storage.
        memory: bool,
    },
    /// A durable pull consumer, 1,000 messages a request.
    Pull {
        /// Every message is acknowledged.
        acks: bool,
    },
    /// An ordered push consumer.
    Push,
}

/// What one run measured.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Messages handled: delivered, stored or answered.
    pub messages: u64,
    /// Time they took.
    pub elapsed: Duration,
    /// Processor time of the server meanwhile.
    pub server_cpu: Duration,
    /// Time of each message, where they go one at a time; sorted.
    pub latencies: Vec<Duration>,
}

impl Sample {
    /// Messages a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// Server processor time a message, in microseconds.
    #[must_use]
    pub fn cpu_micros(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.messages as f64
    }

    /// The latency that this share of the messages did not exceed, in microseconds.
    #[must_use]
    pub fn latency_micros(&self, share: f64) -> f64 {
        let index = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies
            .get(index.min(last))
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// Does the work once, with this many published messages.
///
/// # Errors
/// When the server answers wrongly or not at all.
pub fn run(work: Work, running: &Running, count: u64) -> io::Result<Sample> {
    let target = Target {
        address: running.server.address(),
        pid: running.server.pid(),
    };
    match work {
        Work::Publish => core::publish_only(target, count),
        Work::FanOut(subscribers) => core::fan_out(target, count, subscribers),
        Work::RequestReply => core::request_reply(target, count),
        Work::Store { window, memory } => jetstream::store(target, count, window, memory),
        Work::Pull { acks } => jetstream::pull(target, count, acks),
        Work::Push => jetstream::push(target, count),
    }
}

/// Stores messages of one stream, spread over this many subjects.
///
/// # Errors
/// When they are not stored.
pub fn store_subjects(running: &Running, messages: u64, subjects: u64) -> io::Result<()> {
    jetstream::store_subjects(running.server.address(), messages, subjects)
}

/// Creates durable pull consumers on the stream of [`store_subjects`].
///
/// # Errors
/// When the server refuses.
pub fn create_consumers(running: &Running, count: u64) -> io::Result<()> {
    jetstream::create_consumers(running.server.address(), count)
}

/// The server under load.
#[derive(Clone, Copy, Debug)]
struct Target {
    address: SocketAddr,
    pid: u32,
}

/// Clock and processor time from its creation.
struct Meter {
    pid: u32,
    begin: Instant,
    cpu: Duration,
}

impl Meter {
    fn start(target: Target) -> io::Result<Self> {
        let cpu = usage::cpu_time(target.pid)?;
        Ok(Meter {
            pid: target.pid,
            begin: Instant::now(),
            cpu,
        })
    }

    fn stop(&self, messages: u64) -> io::Result<Sample> {
        let elapsed = self.begin.elapsed();
        let server_cpu = usage::cpu_time(self.pid)?.saturating_sub(self.cpu);
        Ok(Sample {
            messages,
            elapsed,
            server_cpu,
            latencies: Vec::new(),
        })
    }
}
