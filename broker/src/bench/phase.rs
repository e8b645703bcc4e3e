//! One stretch of work: workers run at the same time, one thread each, and what they did is added up.

use std::io;
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::clock;
use super::usage::thread_cpu_time;

/// Three digits from a nanosecond to a minute.
const HIGHEST: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// When a stretch ends: at this time or after this many messages, whichever is first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// By [`clock::nanos`].
    pub deadline: u64,
    /// Messages of all workers of a kind together.
    pub messages: u64,
}

impl Stop {
    /// The part of the messages that is this worker's.
    pub(super) fn share(self, number: usize, workers: usize) -> u64 {
        let (number, workers) = (number as u64, workers as u64);
        self.messages / workers + u64::from(number < self.messages % workers)
    }
}

/// What one worker did.
#[derive(Debug)]
pub(super) struct Tally {
    /// Messages that count.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// When the last of them was done.
    pub ended: u64,
    /// Nanoseconds each took, where that has a meaning.
    pub latency: Histogram<u64>,
    cpu: Duration,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Tally {
            messages: 0,
            bytes: 0,
            ended: 0,
            latency: histogram()?,
            cpu: Duration::ZERO,
        })
    }

    /// A message of this size is done.
    #[inline]
    pub(super) fn done(&mut self, now: u64, bytes: usize) {
        self.add(1, bytes as u64, now);
    }

    /// So many messages are done, the last of them at `ended`.
    pub(super) fn add(&mut self, messages: u64, bytes: u64, ended: u64) {
        self.messages += messages;
        self.bytes += bytes;
        self.ended = self.ended.max(ended);
    }

    /// It took this long.
    #[inline]
    pub(super) fn took(&mut self, nanos: u64) {
        self.latency.saturating_record(nanos);
    }
}

/// Somebody who does a part of the work.
pub(super) trait Worker: Send {
    /// Works until `stop`, and until everything it began is done.
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()>;
}

impl<W: Worker + ?Sized> Worker for &mut W {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        (**self).run(stop, tally)
    }
}

/// Workers as [`run`] takes them; who made them keeps them.
pub(super) fn crew<W: Worker>(workers: &mut [W]) -> Vec<Box<dyn Worker + '_>> {
    let boxed = |worker| Box::new(worker) as Box<dyn Worker + '_>;
    workers.iter_mut().map(boxed).collect()
}

/// What all workers did.
#[derive(Debug)]
pub(super) struct Phase {
    /// Messages that count.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// From the start to the last of them.
    pub elapsed: Duration,
    /// Latencies of all workers.
    pub latency: Histogram<u64>,
    /// Processor time of all workers.
    pub cpu: Duration,
    /// Processor time of the worker that used most.
    pub busiest: Duration,
}

/// Runs the workers until `budget` is used up.
pub(super) fn run(
    workers: &mut [Box<dyn Worker + '_>],
    budget: super::scenario::Budget,
) -> io::Result<Phase> {
    let begin = clock::nanos();
    let stop = Stop {
        deadline: begin.saturating_add(clock::as_nanos(budget.time)),
        messages: budget.messages,
    };
    let tallies = thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                scope.spawn(move || {
                    let mut tally = Tally::new()?;
                    worker.run(stop, &mut tally)?;
                    tally.cpu = thread_cpu_time();
                    Ok(tally)
                })
            })
            .collect();
        let ended: Vec<io::Result<Tally>> = running
            .into_iter()
            .map(|thread| {
                let panicked = |_| Err(io::Error::other("a worker panicked"));
                thread.join().unwrap_or_else(panicked)
            })
            .collect();
        ended.into_iter().collect::<io::Result<Vec<Tally>>>()
    })?;
    add_up(begin, &tallies)
}

fn add_up(begin: u64, tallies: &[Tally]) -> io::Result<Phase> {
    let ended = tallies.iter().map(|tally| tally.ended).max();
    let mut latency = histogram()?;
    for tally in tallies {
        latency.add(&tally.latency).map_err(io::Error::other)?;
    }
    Ok(Phase {
        messages: tallies.iter().map(|tally| tally.messages).sum(),
        bytes: tallies.iter().map(|tally| tally.bytes).sum(),
        elapsed: Duration::from_nanos(ended.unwrap_or(begin).saturating_sub(begin)),
        latency,
        cpu: tallies.iter().map(|tally| tally.cpu).sum(),
        busiest: tallies.iter().map(|t| t.cpu).max().unwrap_or_default(),
    })
}

/// An empty histogram of latencies.
pub(super) fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, HIGHEST, DIGITS).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let stop = Stop {
            deadline: 0,
            messages: 10,
        };
        let shares: Vec<u64> = (0..4).map(|number| stop.share(number, 4)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
    }
}
