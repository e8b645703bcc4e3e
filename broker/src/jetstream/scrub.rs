//! A slow walk over everything that is stored in files, so that rot is found before a reader meets it.
//!
//! One piece after the other, stream by stream, at the pace that goes round once in the configured period. After a
//! restart the walk begins anew.

use crate::jetstream::core::Core;
use crate::jetstream::io::{Job, Outbox, Timestamp};

/// Bytes of one piece.
const PIECE: u64 = 1 << 20;
/// Shortest and longest time between two pieces, in nanoseconds.
const PAUSE: (i64, i64) = (20_000_000, 3_600_000_000_000);

/// Where the walk is.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// Stream and sequence that come next.
    at: (u32, u64),
    /// When the next piece is due.
    due: Option<Timestamp>,
    running: bool,
}

impl Scrub {
    /// When the next piece is due.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        self.due.filter(|_| !self.running)
    }
}

impl Core {
    /// Starts a piece when its time has come.
    pub(crate) fn scrub(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        if self.scrub.running || self.settings.scrub_period <= 0 {
            return;
        }
        match self.scrub.due {
            Some(due) if due <= now => {}
            Some(_) => return,
            None => {
                self.scrub.due = self.pause().map(|pause| now.saturating_add(pause));
                return;
            }
        }
        // Set again when the piece is done.
        self.scrub.due = None;
        let mut job = self.log.store.begin_scrub(PIECE);
        let (first, mut seq) = self.scrub.at;
        let mut next = (0, 0);
        for id in self.streams.ids().into_iter().filter(|id| *id >= first) {
            if job.is_full() {
                next = (id, 0);
                break;
            }
            let from = if id == first { seq } else { 0 };
            seq = 0;
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            if let (Some(group), Some(messages)) = (stream.group, stream.messages.as_file())
                && let Some(rest) = job.add(group, messages, from)
            {
                next = (id, rest);
                break;
            }
        }
        self.scrub.at = next;
        self.scrub.running = true;
        out.run(Job::Scrub(job));
    }

    /// A piece was read. What could not be read is read again by the stream, which knows what is still there.
    pub(crate) fn scrubbed(
        &mut self,
        suspects: &[(u64, u64)],
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        self.scrub.running = false;
        if suspects.is_empty() {
            return;
        }
        for id in self.streams.ids() {
            self.with_stream(id, now, out, |stream, env| {
                let mine = suspects
                    .iter()
                    .filter(|(group, _)| Some(*group) == stream.group);
                for (_, seq) in mine {
                    if let Err(error) = stream.messages.read(*seq, &mut |_| {}) {
                        env.agenda.unreadable.push((*seq, error));
                    }
                }
            });
        }
    }

    /// Time between two pieces; `None` while nothing is stored.
    fn pause(&self) -> Option<i64> {
        let bytes: u64 = self.accounts().map(|account| account.storage).sum();
        if bytes == 0 {
            return None;
        }
        let pieces = i64::try_from(bytes.div_ceil(PIECE)).unwrap_or(i64::MAX);
        Some((self.settings.scrub_period / pieces).clamp(PAUSE.0, PAUSE.1))
    }
}
