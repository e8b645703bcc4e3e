//! Publishing into a stream and consuming it at the same time.

use std::io;

use serde_json::json;

use super::super::caller::{Progress, PubAcks, Reporting};
use super::super::clock;
use super::super::phase::{Stop, Tally, Worker, crew};
use super::super::ring::sent_at;
use super::pull::{Puller, Seen, create_consumer};
use super::push::{Consumed, missing};
use super::stored::{SILENCE, Stored};
use super::{Evidence, Names, Params, Sample, Target, stream, warm_and_measure};

const CONSUMER: &str = "mixed";
/// Most sequences that deliveries are checked for.
const MOST: u64 = 100_000_000;

/// A client of the shared consumer.
struct Follower<'a> {
    puller: Puller,
    seen: &'a Seen,
    progress: &'a Progress,
    publishers: usize,
    stretch: usize,
    size: usize,
}

impl Follower<'_> {
    fn is_done(&self) -> bool {
        let due = self.progress.after(self.stretch * self.publishers);
        due.is_some_and(|(stored, _)| self.seen.count() >= stored)
    }
}

impl Worker for Follower<'_> {
    fn run(&mut self, _: Stop, tally: &mut Tally) -> io::Result<()> {
        self.stretch += 1;
        let mut heard = clock::nanos();
        // Pull requests are timed by the puller; what counts here is the time from the publisher.
        let mut requests = Tally::new()?;
        while !self.is_done() && clock::nanos() - heard < SILENCE {
            let (seen, size) = (self.seen, self.size);
            let count = self.puller.pull(&mut requests, |delivered| {
                heard = delivered.now;
                seen.note(delivered.sequence)?;
                if delivered.payload.len() != size {
                    let sequence = delivered.sequence;
                    return Err(format!(
                        "sequence {sequence} was delivered with another payload"
                    ));
                }
                if let Some(sent) = sent_at(delivered.payload) {
                    tally.took(delivered.now.saturating_sub(sent));
                }
                Ok(())
            })?;
            seen.add(count);
            tally.add(count, count * size as u64, heard);
        }
        self.puller.finish()
    }
}

/// As many publishers as consumers; what counts is what was published, stored, delivered and
/// acknowledged.
pub(super) fn run(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let streams = stream::create(params, target, names, &json!({}))?;
    create_consumer(&mut target.connect()?, &streams[0], CONSUMER, params.acks)?;
    let progress = Progress::default();
    let seen = Seen::new(params.budget.messages.saturating_mul(2).min(MOST));
    let connect = |_| {
        let (stream, batch, acks) = (&streams[0], params.batch, params.acks);
        Ok(Follower {
            puller: Puller::connect(target, stream, CONSUMER, batch, acks)?,
            seen: &seen,
            progress: &progress,
            publishers: params.clients,
            stretch: 0,
            size: params.size,
        })
    };
    let mut followers: Vec<Follower<'_>> = (0..params.clients)
        .map(connect)
        .collect::<io::Result<_>>()?;
    let mut publishers: Vec<Reporting<'_, PubAcks>> = stream::publishers(params, target, names)?
        .into_iter()
        .map(|caller| Reporting {
            caller,
            progress: &progress,
            counts: false,
        })
        .collect();
    let mut workers = crew(&mut followers);
    workers.extend(crew(&mut publishers));
    let sample = warm_and_measure(params, target, &mut workers)?;
    drop(workers);
    let acks = publishers
        .into_iter()
        .map(|publisher| publisher.caller.answers.0);
    let stored = Stored {
        streams,
        together: 1,
        acks: acks.collect(),
        newest: None,
        size: params.size,
    };
    let last = (stored.expected(0)?.len() as u64).saturating_sub(1);
    let lacking = seen.missing(last);
    if !lacking.is_empty() {
        return Err(missing(&lacking, last));
    }
    let acknowledged = params.acks.then(|| CONSUMER.to_owned());
    let evidence = Consumed {
        stored,
        acknowledged: acknowledged.into_iter().collect(),
        last,
    };
    Ok((sample, Box::new(evidence)))
}
