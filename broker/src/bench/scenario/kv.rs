//! Key-value buckets, as the clients make and use them: a stream that keeps the last message of each
//! subject, and direct gets.

use std::io;
use std::time::Duration;

use serde_json::json;

use super::super::caller::{Answers, Caller, Progress, PubAcks, Reporting, refusal};
use super::super::clock;
use super::super::message::Message;
use super::super::phase::{self, Stop, Tally, Worker, crew};
use super::super::ring::{Ident, Ring, Spread, sent_at};
use super::push::{Reader, Start};
use super::stored::{SILENCE, Stored};
use super::{Budget, Crew, Evidence, Names, Params, Sample, Target, api, stream, warm_and_measure};

/// Puts under way while a bucket is filled.
const FILL_WINDOW: usize = 1000;
/// How often a watcher looks whether the putters are done.
const PATIENCE: Duration = Duration::from_millis(20);

/// Creates the bucket; returns its stream and what its subjects begin with.
fn create(params: &Params, target: &Target, names: &Names) -> io::Result<(String, String)> {
    let bucket = names.stream(0);
    let stream = format!("KV_{bucket}");
    let config = json!({
        "name": stream, "subjects": [format!("$KV.{bucket}.>")],
        "storage": stream::storage(params), "retention": "limits", "discard": "new",
        "max_msgs_per_subject": 1, "allow_rollup_hdrs": true, "deny_delete": true,
        "allow_direct": true,
    });
    api::create_stream(&mut target.connect()?, &config)?;
    Ok((stream, format!("$KV.{bucket}")))
}

/// Each client has keys of its own, so that it knows their last values.
fn putter(
    params: &Params,
    target: &Target,
    names: &Names,
    prefix: &str,
    number: usize,
) -> io::Result<Caller<PubAcks>> {
    let spread = Spread::Own {
        client: number as u64,
        subjects: params.subjects,
    };
    let reply = names.reply("p", number);
    let (slots, size) = (params.in_flight, params.size);
    let ring = Ring::new(prefix, Some(&reply), slots, size, number, spread);
    let crew = Crew {
        number,
        size: params.clients,
    };
    Caller::connect(target, ring, &reply, crew, size, PubAcks::default())
}

fn stored(params: &Params, stream: String, acks: Vec<Vec<u64>>) -> Stored {
    Stored {
        streams: vec![stream],
        together: 1,
        acks,
        newest: Some(params.subjects),
        size: params.size,
    }
}

/// Puts.
pub(super) fn put(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let (stream, prefix) = create(params, target, names)?;
    let mut putters: Vec<Caller<PubAcks>> = (0..params.clients)
        .map(|number| putter(params, target, names, &prefix, number))
        .collect::<io::Result<_>>()?;
    let sample = warm_and_measure(params, target, &mut crew(&mut putters))?;
    let acks = putters.into_iter().map(|putter| putter.answers.0).collect();
    Ok((sample, Box::new(stored(params, stream, acks))))
}

/// The value of the key that was asked for.
struct Value {
    size: usize,
    keys: u64,
}

impl Answers for Value {
    fn check(&mut self, index: u64, answer: &Message<'_>) -> Result<(), String> {
        let due = Ident::new(0, index % self.keys);
        let right = answer.payload.len() == self.size
            && Ident::of(answer.payload).is_none_or(|ident| ident == due);
        if right { Ok(()) } else { Err(refusal(answer)) }
    }
}

/// Gets of keys in turn, each put once before.
pub(super) fn get(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let (stream, prefix) = create(params, target, names)?;
    let filling = Params {
        clients: 1,
        in_flight: FILL_WINDOW,
        ..params.clone()
    };
    let mut fill = [putter(&filling, target, names, &prefix, 0)?];
    let budget = Budget {
        messages: params.subjects,
        time: Duration::MAX,
    };
    phase::run(&mut crew(&mut fill), budget)?;
    let getter = |number| {
        let spread = Spread::Own {
            client: 0,
            subjects: params.subjects,
        };
        let reply = names.reply("g", number);
        let get = format!("$JS.API.DIRECT.GET.{stream}.{prefix}");
        let ring = Ring::new(&get, Some(&reply), params.in_flight, 0, number, spread);
        let crew = Crew {
            number,
            size: params.clients,
        };
        let answers = Value {
            size: params.size,
            keys: params.subjects,
        };
        Caller::connect(target, ring, &reply, crew, params.size, answers)
    };
    let mut getters: Vec<Caller<Value>> =
        (0..params.clients).map(getter).collect::<io::Result<_>>()?;
    let sample = warm_and_measure(params, target, &mut crew(&mut getters))?;
    let acks = fill.map(|putter| putter.answers.0).into();
    Ok((sample, Box::new(stored(params, stream, acks))))
}

/// Somebody who follows all keys.
struct Watcher<'a> {
    reader: Reader,
    progress: &'a Progress,
    putters: usize,
    stretch: usize,
    keys: u64,
    size: usize,
    /// The last revision.
    last: u64,
    /// Of each putter's keys the last revision, as far as payloads tell.
    newest: Vec<u64>,
}

impl Watcher<'_> {
    fn is_done(&self) -> bool {
        let due = self.progress.after(self.stretch * self.putters);
        due.is_some_and(|(_, last)| self.last >= last)
    }
}

impl Worker for Watcher<'_> {
    fn run(&mut self, _: Stop, tally: &mut Tally) -> io::Result<()> {
        self.stretch += 1;
        let mut heard = clock::nanos();
        while !self.is_done() {
            if clock::nanos() - heard > SILENCE {
                let last = self.last;
                let text = format!("a watcher heard nothing after revision {last} for 10 s");
                return Err(io::Error::other(text));
            }
            let (keys, size) = (self.keys, self.size);
            let (last, newest) = (&mut self.last, &mut self.newest);
            self.reader.poll(PATIENCE, |delivered| {
                heard = delivered.now;
                let revision = delivered.sequence;
                if revision <= *last || delivered.payload.len() != size {
                    return Err(format!("a watcher got revision {revision} after {last}"));
                }
                *last = revision;
                if let Some(ident) = Ident::of(delivered.payload) {
                    let key = ident.client() as u64 * keys + ident.index() % keys;
                    let place = newest.get_mut(key as usize);
                    *place.ok_or_else(|| format!("revision {revision} is nobody's"))? = revision;
                }
                if let Some(sent) = sent_at(delivered.payload) {
                    tally.took(delivered.now.saturating_sub(sent));
                }
                tally.done(delivered.now, size);
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Puts that watchers follow; what counts is what they see.
pub(super) fn watch(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let (stream, prefix) = create(params, target, names)?;
    let progress = Progress::default();
    let watcher = |_| {
        Ok(Watcher {
            reader: Reader::open(target, &stream, Start::New, false)?,
            progress: &progress,
            putters: params.clients,
            stretch: 0,
            keys: params.subjects,
            size: params.size,
            last: 0,
            newest: vec![0; params.clients * params.subjects as usize],
        })
    };
    let mut watchers: Vec<Watcher<'_>> = (0..params.subscribers)
        .map(watcher)
        .collect::<io::Result<_>>()?;
    let putter = |number| {
        Ok(Reporting {
            caller: putter(params, target, names, &prefix, number)?,
            progress: &progress,
            counts: false,
        })
    };
    let mut putters: Vec<Reporting<'_, PubAcks>> =
        (0..params.clients).map(putter).collect::<io::Result<_>>()?;
    let mut workers = crew(&mut watchers);
    workers.extend(crew(&mut putters));
    let sample = warm_and_measure(params, target, &mut workers)?;
    drop(workers);
    let acks = putters.into_iter().map(|putter| putter.caller.answers.0);
    let stored = stored(params, stream.clone(), acks.collect());
    expect_last_values(&stored, &watchers)?;
    Ok((sample, Box::new(stored)))
}

/// A watcher may miss values that were overwritten before it came to them, but no last one.
fn expect_last_values(stored: &Stored, watchers: &[Watcher<'_>]) -> io::Result<()> {
    for (revision, ident) in (0..).zip(stored.expected(0)?) {
        let Some(ident) = ident else { continue };
        for watcher in watchers {
            let key = ident.client() as u64 * watcher.keys + ident.index() % watcher.keys;
            let seen = watcher.newest[key as usize];
            if seen != revision && stored.size >= size_of::<Ident>() {
                return Err(io::Error::other(format!(
                    "the last value of a key is revision {revision}, a watcher saw {seen}"
                )));
            }
        }
    }
    Ok(())
}
