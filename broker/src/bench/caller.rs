//! A worker that sends commands which are answered one by one: publishes with acks, requests, gets.
//! At most as many as its ring has slots are unanswered at a time.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::client::Client;
use super::clock;
use super::message::{Message, ack_sequence, decimal};
use super::phase::{Stop, Tally, Worker};
use super::ring::{Ident, Ring, SLOT};
use super::scenario::{Crew, Target};

/// Prepared commands, one or several messages each.
pub(super) trait Commands: Send {
    /// How many there are.
    fn slots(&self) -> usize;
    /// Messages of a command.
    fn messages(&self) -> u64;
    /// Makes a slot the `index`-th command.
    fn prepare(&mut self, slot: usize, index: u64, now: u64);
    /// The bytes of these slots.
    fn bytes(&self, slots: Range<usize>) -> &[u8];
}

impl Commands for Ring {
    #[inline]
    fn slots(&self) -> usize {
        self.slots()
    }

    #[inline]
    fn messages(&self) -> u64 {
        1
    }

    #[inline]
    fn prepare(&mut self, slot: usize, index: u64, now: u64) {
        self.prepare(slot, index, now);
    }

    #[inline]
    fn bytes(&self, slots: Range<usize>) -> &[u8] {
        self.commands(slots)
    }
}

/// What an answer has to be.
pub(super) trait Answers: Send {
    /// Checks the answer to the `index`-th command.
    fn check(&mut self, index: u64, answer: &Message<'_>) -> Result<(), String>;

    /// How many messages were stored, and the last one's sequence.
    fn stored(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// The worker.
#[derive(Debug)]
pub(super) struct Caller<A, C = Ring> {
    client: Client,
    ring: C,
    crew: Crew,
    /// Payload bytes of a message.
    size: usize,
    /// The reply subject up to the slot's digits.
    reply_len: usize,
    /// The next command's number.
    sent: u64,
    /// Of each slot: which command waits in it, and since when.
    waiting: Vec<Option<(u64, u64)>>,
    unanswered: usize,
    /// What the answers were.
    pub answers: A,
}

impl<A: Answers, C: Commands> Caller<A, C> {
    /// Connects; `reply` is the reply prefix that `ring` was made with.
    pub(super) fn connect(
        target: &Target,
        ring: C,
        reply: &str,
        crew: Crew,
        size: usize,
        answers: A,
    ) -> io::Result<Self> {
        let mut client = target.connect()?;
        client.subscribe(&format!("{reply}*"));
        client.round_trip()?;
        Ok(Caller {
            client,
            waiting: vec![None; ring.slots()],
            ring,
            crew,
            size,
            reply_len: reply.len(),
            sent: 0,
            unanswered: 0,
            answers,
        })
    }

    fn send(&mut self, quota: u64, now: u64) -> io::Result<()> {
        let slots = self.ring.slots();
        loop {
            let first = (self.sent % slots as u64) as usize;
            let mut slot = first;
            while slot < slots && self.sent < quota && self.waiting[slot].is_none() {
                self.ring.prepare(slot, self.sent, now);
                self.waiting[slot] = Some((self.sent, now));
                self.sent += 1;
                slot += 1;
            }
            if slot == first {
                return Ok(());
            }
            self.unanswered += slot - first;
            self.client.send(self.ring.bytes(first..slot))?;
        }
    }

    fn receive(&mut self, tally: &mut Tally) -> io::Result<()> {
        self.client.fill()?;
        let now = clock::nanos();
        while let Some((message, _)) = self.client.next()? {
            let slot = slot_of(message.line, self.reply_len);
            let waiting = slot.and_then(|slot| self.waiting.get_mut(slot)?.take());
            let Some((index, since)) = waiting else {
                let line = String::from_utf8_lossy(message.line);
                return Err(io::Error::other(format!("an answer to nothing: {line}")));
            };
            self.answers
                .check(index, &message)
                .map_err(|problem| io::Error::other(format!("message {index}: {problem}")))?;
            self.unanswered -= 1;
            tally.took(now - since);
            let messages = self.ring.messages();
            tally.add(messages, messages * self.size as u64, now);
        }
        Ok(())
    }
}

impl<A: Answers, C: Commands> Worker for Caller<A, C> {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        let share = stop.share(self.crew.number, self.crew.size);
        let quota = self
            .sent
            .saturating_add(share.div_ceil(self.ring.messages()));
        loop {
            let now = clock::nanos();
            if now < stop.deadline {
                self.send(quota, now)?;
            }
            if self.unanswered == 0 {
                return Ok(());
            }
            self.receive(tally)?;
        }
    }
}

/// The slot's number in the subject of an answer: behind `MSG ` or `HMSG ` and the prefix.
#[inline]
fn slot_of(line: &[u8], reply_len: usize) -> Option<usize> {
    let verb = if line.first() == Some(&b'H') { 5 } else { 4 };
    decimal(line.get(verb + reply_len..verb + reply_len + SLOT)?)
}

/// How far the callers of a run are, for workers of another kind that wait for their end.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Stretches that callers have ended.
    ended: AtomicUsize,
    /// Messages that were stored.
    stored: AtomicU64,
    /// The highest sequence that was acknowledged.
    last: AtomicU64,
}

impl Progress {
    /// Once so many stretches have ended: how many messages were stored, and the last sequence.
    pub(super) fn after(&self, stretches: usize) -> Option<(u64, u64)> {
        if self.ended.load(Ordering::Acquire) < stretches {
            return None;
        }
        let stored = self.stored.load(Ordering::Relaxed);
        Some((stored, self.last.load(Ordering::Relaxed)))
    }
}

/// A caller that reports its progress.
#[derive(Debug)]
pub(super) struct Reporting<'a, A> {
    /// The caller.
    pub caller: Caller<A>,
    /// Where it reports to.
    pub progress: &'a Progress,
    /// Whether its messages count; otherwise only those of the workers that wait for it do.
    pub counts: bool,
}

impl<A: Answers> Worker for Reporting<'_, A> {
    fn run(&mut self, stop: Stop, tally: &mut Tally) -> io::Result<()> {
        let (before, _) = self.caller.answers.stored();
        let result = if self.counts {
            self.caller.run(stop, tally)
        } else {
            self.caller.run(stop, &mut Tally::new()?)
        };
        let (stored, last) = self.caller.answers.stored();
        let progress = self.progress;
        progress
            .stored
            .fetch_add(stored - before, Ordering::Relaxed);
        progress.last.fetch_max(last, Ordering::Relaxed);
        // After an error too: nobody may wait for a caller that is gone.
        progress.ended.fetch_add(1, Ordering::Release);
        result
    }
}

/// PubAcks, by number of the message: the sequence, 0 while not acknowledged.
#[derive(Debug, Default)]
pub(super) struct PubAcks(pub Vec<u64>);

impl Answers for PubAcks {
    #[inline]
    fn check(&mut self, index: u64, answer: &Message<'_>) -> Result<(), String> {
        let sequence = ack_sequence(answer.payload).ok_or_else(|| refusal(answer))?;
        let index = index as usize;
        if index >= self.0.len() {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = sequence;
        Ok(())
    }

    fn stored(&self) -> (u64, u64) {
        (self.0.len() as u64, self.0.last().copied().unwrap_or(0))
    }
}

/// The payload comes back as it was sent.
#[derive(Debug)]
pub(super) struct Echo {
    /// Who sent it.
    pub client: usize,
    /// Its length.
    pub size: usize,
}

impl Answers for Echo {
    #[inline]
    fn check(&mut self, index: u64, answer: &Message<'_>) -> Result<(), String> {
        let expected = Ident::new(self.client, index);
        let right = answer.payload.len() == self.size
            && Ident::of(answer.payload).is_none_or(|ident| ident == expected);
        if right { Ok(()) } else { Err(refusal(answer)) }
    }
}

/// What is wrong with an answer, in the server's words where it has some.
pub(super) fn refusal(answer: &Message<'_>) -> String {
    let text = if answer.payload.is_empty() {
        answer.headers
    } else {
        answer.payload
    };
    let text = &text[..text.len().min(200)];
    format!("refused or wrong: {}", String::from_utf8_lossy(text).trim())
}
