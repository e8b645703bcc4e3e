//! Core NATS: publish, fan-out, request and reply.

use std::io;
use std::time::Duration;

use super::super::caller::{Caller, Echo, Progress, Reporting};
use super::super::client::{Client, command};
use super::super::clock;
use super::super::phase::{Stop, Tally, Worker, crew};
use super::super::ring::{Ident, Ring, Spread, sent_at, subject};
use super::{Crew, Evidence, Names, Params, Sample, Target, warm_and_measure};

/// Bytes written at once, as a client library's buffer.
const WRITE: usize = 64 << 10;
/// Of the deliveries of a flood, every so many-th is timed.
const TIMED: u64 = 8;
/// How often a responder looks whether anybody still asks.
const PATIENCE: Duration = Duration::from_millis(20);

/// A client that publishes as fast as it can.
struct Flood {
    client: Client,
    ring: Ring,
    crew: Crew,
    size: usize,
    sent: u64,
    /// What ends a stretch for the subscribers: a message that is longer than the others.
    end: Option<Vec<u8>>,
}

impl Flood {
    fn connect(params: &Params, target: &Target, names: &Names, number: usize) -> io::Result<Self> {
        let spread = Spread::Own {
            client: number as u64,
            subjects: params.subjects,
        };
        let prefix = names.prefix();
        let slots = (WRITE / (params.size + 40)).max(1);
        let ring = Ring::new(&prefix, None, slots, params.size, number, spread);
        let end = (params.subscribers > 0).then(|| {
            let mut end = Vec::new();
            let subject = subject(&prefix, number as u64, 0);
            command(
                &mut end,
                subject.as_bytes(),
                b"",
                &vec![b'e'; params.size + 1],
            );
            end
        });
        Ok(Flood {
            client: target.connect()?,
            ring,
            crew: Crew {
                number,
                size: params.clients,
            },
            size: params.size,
            sent: 0,
            end,
        })
    }
}

impl Worker for Flood {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        let share = stop.share(self.crew.number, self.crew.size);
        let begin = self.sent;
        let quota = begin.saturating_add(share);
        while self.sent < quota {
            let now = clock::nanos();
            if now >= stop.deadline {
                break;
            }
            let count = (quota - self.sent).min(self.ring.slots() as u64);
            for slot in 0..count {
                self.ring.prepare(slot as usize, self.sent + slot, now);
            }
            self.client.send(self.ring.commands(0..count as usize))?;
            self.sent += count;
        }
        if let Some(end) = &self.end {
            return self.client.send(end);
        }
        self.client.round_trip()?;
        let sent = self.sent - begin;
        tally.add(sent, sent * self.size as u64, clock::nanos());
        Ok(())
    }
}

/// A subscriber of one [`Flood`].
struct Listener {
    client: Client,
    size: usize,
    publisher: usize,
    next: u64,
}

impl Listener {
    fn connect(params: &Params, target: &Target, names: &Names, number: usize) -> io::Result<Self> {
        let publisher = number % params.clients;
        let first = subject(&names.prefix(), publisher as u64, 0);
        let filter = if params.subjects == 1 {
            first
        } else {
            first.trim_end_matches('0').to_owned() + "*"
        };
        let mut client = target.connect()?;
        client.subscribe(&filter);
        client.round_trip()?;
        Ok(Listener {
            client,
            size: params.size,
            publisher,
            next: 0,
        })
    }

    fn lost(&self, ident: Option<Ident>) -> io::Error {
        io::Error::other(format!(
            "a subscriber got {ident:?} where message {} of publisher {} was due",
            self.next, self.publisher
        ))
    }
}

impl Worker for Listener {
    fn run(&mut self, _: Stop, tally: &mut Tally) -> io::Result<()> {
        loop {
            self.client.fill()?;
            let now = clock::nanos();
            let begin = self.next;
            let mut ended = false;
            let mut wrong = None;
            while let Some((message, _)) = self.client.next()? {
                if message.payload.len() != self.size {
                    ended = message.payload.len() == self.size + 1;
                    wrong = (!ended).then_some(None);
                    break;
                }
                let ident = Ident::of(message.payload);
                let due = Ident::new(self.publisher, self.next);
                if ident.is_some_and(|ident| ident != due) {
                    wrong = Some(ident);
                    break;
                }
                if self.next.is_multiple_of(TIMED)
                    && let Some(sent) = sent_at(message.payload)
                {
                    tally.took(now.saturating_sub(sent));
                }
                self.next += 1;
            }
            if let Some(ident) = wrong {
                return Err(self.lost(ident));
            }
            let count = self.next - begin;
            if count > 0 {
                tally.add(count, count * self.size as u64, now);
            }
            if ended {
                return Ok(());
            }
        }
    }
}

/// Publishers, and subscribers of each.
pub(super) fn fan_out(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let listen = |number| Listener::connect(params, target, names, number);
    let mut listeners: Vec<Listener> = (0..params.clients * params.subscribers)
        .map(listen)
        .collect::<io::Result<_>>()?;
    let mut floods = floods(params, target, names)?;
    let mut workers = crew(&mut listeners);
    workers.extend(crew(&mut floods));
    let sample = warm_and_measure(params, target, &mut workers)?;
    drop(workers);
    for listener in &listeners {
        let sent = floods[listener.publisher].sent;
        // Payloads too short for a number are counted only.
        if listener.next != sent {
            return Err(io::Error::other(format!(
                "{sent} messages were published, a subscriber got {}",
                listener.next
            )));
        }
    }
    let text = "each subscriber got every message once and in order";
    Ok((sample, Box::new(Settled(text))))
}

/// Publishers that nobody listens to.
pub(super) fn publish_only(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let params = Params {
        subscribers: 0,
        ..params.clone()
    };
    let mut floods = floods(&params, target, names)?;
    let sample = warm_and_measure(&params, target, &mut crew(&mut floods))?;
    let text = "nothing is acknowledged; a PONG followed the last message";
    Ok((sample, Box::new(Settled(text))))
}

fn floods(params: &Params, target: &Target, names: &Names) -> io::Result<Vec<Flood>> {
    (0..params.clients)
        .map(|number| Flood::connect(params, target, names, number))
        .collect()
}

/// Answers requests with what they hold.
struct Responder<'a> {
    client: Client,
    progress: &'a Progress,
    /// Callers, and the stretches that each of them has ended or is in.
    callers: usize,
    stretch: usize,
}

impl Worker for Responder<'_> {
    fn run(&mut self, _: Stop, _: &mut Tally) -> io::Result<()> {
        self.stretch += 1;
        while self.progress.after(self.stretch * self.callers).is_none() {
            if self.client.poll()? {
                while let Some((message, output)) = self.client.next()? {
                    command(output, message.reply(), b"", message.payload);
                }
            }
        }
        Ok(())
    }
}

/// Requests, and one connection that answers them.
pub(super) fn request_reply(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let progress = Progress::default();
    let mut client = target.connect()?;
    client.subscribe(&format!("{}.>", names.prefix()));
    client.round_trip()?;
    client.set_patience(Some(PATIENCE))?;
    let responder = Responder {
        client,
        progress: &progress,
        callers: params.clients,
        stretch: 0,
    };
    let mut workers: Vec<Box<dyn Worker + '_>> = vec![Box::new(responder)];
    for number in 0..params.clients {
        workers.push(Box::new(Reporting {
            caller: requester(params, target, names, number)?,
            progress: &progress,
            counts: true,
        }));
    }
    let sample = warm_and_measure(params, target, &mut workers)?;
    let text = "each request got its own payload back";
    Ok((sample, Box::new(Settled(text))))
}

fn requester(
    params: &Params,
    target: &Target,
    names: &Names,
    number: usize,
) -> io::Result<Caller<Echo>> {
    let spread = Spread::Own {
        client: number as u64,
        subjects: params.subjects,
    };
    let reply = names.reply("q", number);
    let (prefix, slots) = (names.prefix(), params.in_flight);
    let ring = Ring::new(&prefix, Some(&reply), slots, params.size, number, spread);
    let crew = Crew {
        number,
        size: params.clients,
    };
    let answers = Echo {
        client: number,
        size: params.size,
    };
    Caller::connect(target, ring, &reply, crew, params.size, answers)
}

/// What workers have checked themselves.
struct Settled(&'static str);

impl Evidence for Settled {
    fn check(&self, _: &Target) -> io::Result<String> {
        Ok(self.0.to_owned())
    }

    fn streams(&self) -> &[String] {
        &[]
    }
}
