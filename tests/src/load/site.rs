//! All streams with everybody who works on them.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::jetstream::api;
use crate::wire::Client;

use super::findings::{Findings, Kind};
use super::ledger::Ledger;
use super::plan::Plan;
use super::read;
use super::remover::{Removed, Remover};
use super::worker::Worker;
use super::writer::Writer;

const RECOVERY_LIMIT: Duration = Duration::from_secs(120);

/// One stream.
#[derive(Debug)]
struct Place {
    plan: Plan,
    ledger: Ledger,
    writers: Vec<Writer>,
    worker: Option<Worker>,
    remover: Option<Remover>,
}

/// All streams.
#[derive(Debug)]
pub struct Site {
    places: Vec<Place>,
}

impl Place {
    fn new(plan: Plan, first_writer: usize, seed: u64) -> Self {
        let writers = first_writer..first_writer + plan.writers;
        Place {
            plan,
            ledger: Ledger::default(),
            writers: writers.map(|id| Writer::new(plan, id)).collect(),
            worker: plan.worker.map(|filter| Worker::new(plan.name, filter)),
            remover: plan.remover.then(|| Remover::new(plan.name, seed)),
        }
    }

    fn create(&self, client: &mut Client) -> io::Result<()> {
        let name = format!("STREAM.CREATE.{}", self.plan.name);
        api(client, &name, &self.plan.stream_config())?;
        self.worker
            .as_ref()
            .map_or(Ok(()), |worker| worker.create(client))
    }

    /// Notes a missing stream or consumer and creates it again, so that the rounds can go on.
    fn restore(&mut self, client: &mut Client, findings: &mut Findings) -> io::Result<()> {
        let name = self.plan.name;
        match api(client, &format!("STREAM.INFO.{name}"), "") {
            Ok(_) => {}
            Err(error) if error.to_string().contains("10059") => {
                findings.note(Kind::StreamLost, || format!("{name} is gone"));
                self.with_ledger(|ledger| {
                    let lost = ledger.write_off();
                    findings.note_many(Kind::Lost, lost, || format!("{lost} messages with {name}"));
                });
                return self.create(client);
            }
            Err(error) => return Err(error),
        }
        if let Some(worker) = self.worker.as_ref().filter(|worker| !worker.exists(client)) {
            findings.note(Kind::ConsumerLost, || {
                format!("{name}: the consumer is gone")
            });
            worker.create(client)?;
        }
        Ok(())
    }

    /// Lends the writers' memory to the ledger.
    fn with_ledger<T>(&mut self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        for writer in &mut self.writers {
            let sent = std::mem::take(&mut writer.sent);
            self.ledger.sent.insert(writer.id(), sent);
        }
        let result = work(&mut self.ledger);
        for writer in &mut self.writers {
            writer.sent = self.ledger.sent.remove(&writer.id()).unwrap_or_default();
        }
        result
    }

    fn check(&mut self, address: SocketAddr) -> io::Result<Findings> {
        let mut client = Client::connect(address)?;
        let holding = read::stream(&mut client, self.plan.name)?;
        if let Some(remover) = &mut self.remover {
            remover.learn(&holding);
        }
        let worker = self.worker.take();
        let remover = self.remover.take();
        let removed = Removed {
            // Only where an ack removes the message is its presence a broken promise.
            worker: worker.as_ref().filter(|_| self.plan.removes_acked()),
            remover: remover.as_ref(),
        };
        let plan = self.plan;
        let findings = self.with_ledger(|ledger| ledger.compare(&plan, &holding, &removed));
        self.worker = worker;
        self.remover = remover;
        Ok(findings)
    }
}

impl Site {
    /// Streams as planned; nothing is created yet.
    #[must_use]
    pub fn new(plans: &[Plan], seed: u64) -> Self {
        let mut writers = 0;
        let mut places = Vec::new();
        for plan in plans {
            places.push(Place::new(*plan, writers, seed));
            writers += plan.writers;
        }
        Site { places }
    }

    /// Creates the streams and consumers.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&self, address: SocketAddr) -> io::Result<()> {
        wait_for_jetstream(address)?;
        let mut client = Client::connect(address)?;
        self.places
            .iter()
            .try_for_each(|place| place.create(&mut client))
    }

    /// Works on all streams for this long, then calls `end`, which must end the server.
    ///
    /// # Errors
    /// When `end` fails.
    pub fn load(
        &mut self,
        address: SocketAddr,
        time: Duration,
        end: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Findings> {
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for place in &mut self.places {
                for writer in &mut place.writers {
                    threads.push(scope.spawn(move || writer.run(address)));
                }
                if let Some(worker) = &mut place.worker {
                    threads.push(scope.spawn(move || worker.run(address)));
                }
                if let Some(remover) = &mut place.remover {
                    threads.push(scope.spawn(move || {
                        remover.run(address);
                        Findings::default()
                    }));
                }
            }
            // The load runs against the wall clock.
            #[allow(clippy::disallowed_methods)]
            thread::sleep(time);
            let ended = end();
            let mut findings = Findings::default();
            for thread in threads {
                let gone = |_| io::Error::other("a client panicked");
                findings.merge(thread.join().map_err(gone)?);
            }
            ended.map(|()| findings)
        })
    }

    /// Compares all streams with what is remembered, after a restart.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn check(&mut self, address: SocketAddr) -> io::Result<Findings> {
        wait_for_jetstream(address)?;
        let mut client = Client::connect(address)?;
        let mut findings = Findings::default();
        for place in &mut self.places {
            place.restore(&mut client, &mut findings)?;
            findings.merge(place.check(address)?);
        }
        Ok(findings)
    }

    /// Completes all work without further crashes and checks the end state.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn finish(&mut self, address: SocketAddr) -> io::Result<Findings> {
        let mut findings = Findings::default();
        for place in &mut self.places {
            for writer in &mut place.writers {
                findings.merge(writer.settle(address)?);
            }
            if let Some(worker) = &mut place.worker {
                findings.merge(worker.finish(address)?);
            }
        }
        findings.merge(self.check(address)?);
        Ok(findings)
    }

    /// How many messages were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        let writers = self.places.iter().flat_map(|place| &place.writers);
        writers.map(Writer::acknowledged).sum()
    }

    /// How many double acks were confirmed so far.
    #[must_use]
    pub fn confirmed(&self) -> usize {
        let workers = self.places.iter().filter_map(|place| place.worker.as_ref());
        workers.map(Worker::confirmed).sum()
    }
}

/// Waits for the first answer of the JetStream API and returns how long that took.
///
/// # Errors
/// When none comes.
#[allow(clippy::disallowed_methods)] // The load runs against the wall clock.
pub fn wait_for_jetstream(address: SocketAddr) -> io::Result<Duration> {
    let begin = Instant::now();
    let mut client = Client::connect(address)?;
    loop {
        match api(&mut client, "INFO", "") {
            Ok(_) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > RECOVERY_LIMIT => return Err(error),
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
}
