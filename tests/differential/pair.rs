//! Runs a program on two servers in lockstep and finds the first step after which they differ.

// This is a shell: it measures wall time and sleeps while servers come to rest.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::lane::{Event, Lane};
use crate::program::{Op, Program};

/// How long two servers may take to say the same.
const REST_LIMIT: Duration = Duration::from_millis(800);
/// How long an answer is waited for when neither server gives one.
const SILENCE: Duration = Duration::from_millis(60);
const PAUSE: Duration = Duration::from_millis(2);

/// Where two servers part.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) step: usize,
    pub(crate) ours: Vec<String>,
    pub(crate) theirs: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "after step {}:", self.step + 1)?;
        let (ours, theirs) = (sorted(&self.ours), sorted(&self.theirs));
        if ours == theirs {
            writeln!(f, "  in another order")?;
            return write!(f, "  ours: {:#?}\n  theirs: {:#?}", self.ours, self.theirs);
        }
        let (ours, theirs) = (without(&ours, &theirs), without(&theirs, &ours));
        for (at, line) in ours.iter().enumerate() {
            writeln!(f, "  ours:   {}", excerpt(line, theirs.get(at)))?;
        }
        for (at, line) in theirs.iter().enumerate() {
            writeln!(f, "  theirs: {}", excerpt(line, ours.get(at)))?;
        }
        Ok(())
    }
}

fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort_unstable();
    lines
}

/// The lines that are not among the others, as often as they are not.
fn without(lines: &[String], others: &[String]) -> Vec<String> {
    let mut others = others.to_vec();
    let mut kept = Vec::new();
    for line in lines {
        match others.iter().position(|other| other == line) {
            Some(at) => drop(others.swap_remove(at)),
            None => kept.push(line.clone()),
        }
    }
    kept
}

/// Where a long line differs from the other one.
fn excerpt(line: &str, other: Option<&String>) -> String {
    const BEFORE: usize = 60;
    const LENGTH: usize = 260;
    let chars: Vec<char> = line.chars().collect();
    let common = other.map_or(0, |other| {
        let pairs = chars.iter().zip(other.chars());
        pairs.take_while(|(a, b)| **a == *b).count()
    });
    let begin: String = chars.iter().take_while(|c| **c != '|').take(50).collect();
    if common < BEFORE + begin.len() {
        return chars.iter().take(LENGTH).collect();
    }
    let rest: String = chars[common - BEFORE..].iter().take(LENGTH).collect();
    format!("{begin} … {rest}")
}

/// Two servers to compare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair {
    pub(crate) ours: SocketAddr,
    pub(crate) theirs: SocketAddr,
}

/// The two servers in the middle of a program.
struct Run {
    lanes: [Lane; 2],
    requests: u32,
}

impl Pair {
    /// Runs a program from a clean state.
    ///
    /// # Errors
    /// When a server cannot be reached at all, which is for a caller to report.
    pub(crate) fn run(&self, program: &Program) -> io::Result<Option<Difference>> {
        let lanes = [
            Lane::new(self.ours, &program.connect)?,
            Lane::new(self.theirs, &program.connect)?,
        ];
        let mut run = Run { lanes, requests: 0 };
        run.clean()?;
        for (step, op) in program.ops.iter().enumerate() {
            if let Some(difference) = run.step(step, op, program)? {
                return Ok(Some(difference));
            }
        }
        Ok(None)
    }
}

impl Run {
    /// Removes the streams of the program before.
    fn clean(&mut self) -> io::Result<()> {
        for lane in &mut self.lanes {
            for name in ["S0", "S1", "S2"] {
                let line = format!("PUB $JS.API.STREAM.DELETE.{name} _IN.clean.{name} 0\r\n\r\n");
                lane.send(0, line.as_bytes())?;
            }
            let begin = Instant::now();
            let answers = |lane: &Lane| {
                let channels = lane.events.iter().map(|e| &e.channel);
                channels.filter(|c| c.starts_with("_IN.clean.")).count()
            };
            while answers(lane) < 3 && begin.elapsed() < REST_LIMIT {
                lane.settle();
            }
            lane.events.clear();
        }
        Ok(())
    }

    fn step(&mut self, step: usize, op: &Op, program: &Program) -> io::Result<Option<Difference>> {
        for lane in &mut self.lanes {
            execute(lane, op, self.requests)?;
        }
        self.requests += 1;
        let answered = matches!(op, Op::Request { .. } | Op::Ack { confirm: true, .. });
        if let Some(difference) = self.rest(step, answered) {
            return Ok(Some(difference));
        }
        self.check(step, program)
    }

    /// Waits until both said the same since the last step.
    fn rest(&mut self, step: usize, answered: bool) -> Option<Difference> {
        let begin = Instant::now();
        loop {
            let mut said = Vec::new();
            for lane in &mut self.lanes {
                lane.settle();
                lane.events.sort_by(|a, b| {
                    let queue = |e: &Event| e.channel.starts_with("queue ");
                    let text = |e: &Event| queue(e).then(|| e.text.clone());
                    (&a.channel, text(a)).cmp(&(&b.channel, text(b)))
                });
                said.push(lane.events.iter().map(line).collect::<Vec<_>>());
            }
            let equal = said[0] == said[1];
            let silent = said[0].is_empty() && answered && begin.elapsed() < SILENCE;
            if equal && !silent {
                self.lanes.iter_mut().for_each(hold);
                return None;
            }
            if begin.elapsed() > REST_LIMIT {
                let theirs = said.pop().unwrap_or_default();
                let ours = said.pop().unwrap_or_default();
                return Some(Difference { step, ours, theirs });
            }
            thread::sleep(PAUSE);
        }
    }

    /// Asks both for their state until it agrees.
    fn check(&mut self, step: usize, program: &Program) -> io::Result<Option<Difference>> {
        if program.checks.is_empty() {
            return Ok(None);
        }
        let begin = Instant::now();
        loop {
            let mut said = Vec::new();
            for lane in &mut self.lanes {
                said.push(ask(lane, &program.checks)?);
            }
            if said[0] == said[1] {
                return Ok(None);
            }
            if begin.elapsed() > REST_LIMIT {
                let theirs = said.pop().unwrap_or_default();
                let ours = said.pop().unwrap_or_default();
                return Ok(Some(Difference { step, ours, theirs }));
            }
            thread::sleep(PAUSE);
        }
    }
}

fn line(event: &Event) -> String {
    format!("{}: {}", event.channel, event.text)
}

/// Keeps the ack subjects of what came; both lanes do so in the same order.
fn hold(lane: &mut Lane) {
    for event in lane.events.drain(..) {
        if event.raw_reply.starts_with("$JS.ACK.") {
            lane.held.push(event.raw_reply);
        }
    }
}

fn execute(lane: &mut Lane, op: &Op, number: u32) -> io::Result<()> {
    match op {
        Op::Raw { connection, bytes } => lane.send(*connection, bytes),
        Op::Request {
            subject,
            headers,
            body,
        } => lane.send(
            0,
            &command(subject, &format!("_IN.{number}"), headers, body),
        ),
        Op::Ack {
            pick,
            body,
            confirm,
        } => {
            if lane.held.is_empty() {
                return Ok(());
            }
            let subject = lane.held[pick % lane.held.len()].clone();
            let reply = if *confirm {
                format!("_IN.{number}")
            } else {
                String::new()
            };
            lane.send(0, &command(&subject, &reply, &[], body.as_bytes()))
        }
    }
}

fn command(subject: &str, reply: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut out;
    if headers.is_empty() {
        out = format!("PUB {subject} {reply} {}\r\n", body.len()).into_bytes();
    } else {
        let lines = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let block = format!("NATS/1.0\r\n{}\r\n", lines.collect::<String>());
        let total = block.len() + body.len();
        out = format!("HPUB {subject} {reply} {} {total}\r\n{block}", block.len()).into_bytes();
    }
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out
}

/// The answers to the checks; what else comes meanwhile stays for the next step.
fn ask(lane: &mut Lane, checks: &[(String, String)]) -> io::Result<Vec<String>> {
    for (at, (subject, body)) in checks.iter().enumerate() {
        let reply = format!("_IN.check.{at}");
        lane.send(0, &command(subject, &reply, &[], body.as_bytes()))?;
    }
    let begin = Instant::now();
    let check = |event: &Event| event.channel.starts_with("_IN.check.");
    while lane.events.iter().filter(|e| check(e)).count() < checks.len()
        && begin.elapsed() < REST_LIMIT
    {
        lane.settle();
    }
    let (mut answers, others): (Vec<_>, Vec<_>) = lane.events.drain(..).partition(check);
    lane.events = others;
    answers.sort();
    Ok(answers.iter().map(line).collect())
}
