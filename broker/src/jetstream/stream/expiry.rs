//! Messages leave when they are too old for the stream (`max_age`) or for themselves (`Nats-TTL`), in sweeps that
//! never run more often than every 250 ms.
//!
//! The decision which sequences go depends on the time, so it is logged. Where the last message of a subject goes
//! and the stream wants delete markers, a marker is stored first; it takes the place of the message by rolling the
//! subject up, so that no crash can leave the subject without both.

use jetwake_protocol::jetstream::stream::RetentionPolicy;
use jetwake_protocol::time::format_duration;
use jetwake_storage::{Meta, Purpose};

use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::{Inbound, Tag, TagKind, Timestamp};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers;

/// Shortest time between two sweeps, in nanoseconds.
const SWEEP: i64 = 250_000_000;
/// The same when a sweep left something for the next.
const MORE: i64 = 10_000_000;
/// Most markers of one sweep: each looks through what is in flight, the markers before it included.
const MARKERS: usize = 2048;
/// Most messages of one sweep, so that no sweep holds everything else up.
const MOST: usize = 1 << 16;
/// Room for the longest log entry.
const ENTRY: usize = 8 * BATCH;
/// Most sequences of one log entry.
const BATCH: usize = 8192;

impl Stream {
    /// Sets the time of the next sweep, if none is set that comes early enough, and that of the window of ids.
    pub(crate) fn arm_expiry(&mut self, env: &mut Env<'_>) {
        self.arm_dedupe(env);
        if self.config.max_age <= 0 && self.deadlines.is_empty() {
            return;
        }
        let set = env.agenda.timers.get(self.id, 0);
        if set.is_some() && self.deadlines.is_empty() {
            return;
        }
        let due = [self.first_overage(), self.deadlines.first()];
        let Some(due) = due.into_iter().flatten().min() else {
            return;
        };
        let at = due.max(env.now.saturating_add(SWEEP));
        if set.is_none_or(|set| at < set) {
            env.agenda.timers.set(self.id, 0, Some(at));
        }
    }

    /// When the first message is too old for the stream.
    fn first_overage(&mut self) -> Option<Timestamp> {
        if self.config.max_age <= 0 {
            return None;
        }
        let oldest = self.oldest_mortal()?;
        Some(oldest.timestamp.saturating_add(self.config.max_age))
    }

    /// The first message that `max_age` can end.
    fn oldest_mortal(&mut self) -> Option<Meta> {
        if !self.deadlines.any_immortal() {
            return self.messages.next(0);
        }
        loop {
            let meta = self.messages.next(self.first_mortal)?;
            if !self.deadlines.is_immortal(meta.seq) {
                return Some(meta);
            }
            self.first_mortal = meta.seq + 1;
        }
    }

    /// The time of a sweep has come.
    pub(crate) fn sweep(&mut self, env: &mut Env<'_>) {
        if self.deleting {
            return;
        }
        let mut markers = MARKERS;
        let mut more = self.config.max_age > 0 && self.sweep_age(&mut markers, env);
        if !self.deadlines.is_empty() {
            self.sweep_deadlines(&mut markers, env);
            more |= self.deadlines.has_more_due();
        }
        if markers == 0 || more {
            let at = env.now.saturating_add(MORE);
            env.agenda.timers.set(self.id, 0, Some(at));
        }
        self.arm_expiry(env);
    }

    /// Ends what is too old for the stream. Whether there is more of it than one sweep takes.
    fn sweep_age(&mut self, markers: &mut usize, env: &mut Env<'_>) -> bool {
        let fresh = self.first_fresh(env.now);
        let Some(oldest) = self.oldest_mortal().filter(|meta| meta.seq < fresh) else {
            return false;
        };
        let mut first_seq = fresh.min(oldest.seq.saturating_add(MOST as u64));
        if self.config.subject_delete_marker_ttl > 0 {
            let mut next = Some(oldest);
            while let Some(meta) = next.filter(|meta| meta.seq < first_seq) {
                if !self.deadlines.is_immortal(meta.seq) && !self.mark(&meta, markers, env) {
                    first_seq = meta.seq;
                    break;
                }
                if *markers == 0 {
                    first_seq = meta.seq + 1;
                }
                next = self.messages.next(meta.seq + 1);
            }
        }
        self.submit(&Entry::Expire { first_seq }, None, env);
        first_seq < fresh
    }

    fn sweep_deadlines(&mut self, markers: &mut usize, env: &mut Env<'_>) {
        let with_markers = self.config.subject_delete_marker_ttl > 0;
        // What is taken off the clock must find room in the log.
        if self.group.is_some()
            && (!env.log.takes(ENTRY, Purpose::Free) || (with_markers && env.log.store.is_full()))
        {
            return;
        }
        let most = match self.config.subject_delete_marker_ttl {
            0 => MOST,
            _ => MOST.min(*markers),
        };
        let due = self.deadlines.take_due(env.now, most);
        if self.config.subject_delete_marker_ttl > 0 {
            for meta in due
                .iter()
                .filter_map(|seq| self.messages.meta(*seq))
                .collect::<Vec<_>>()
            {
                self.mark(&meta, markers, env);
            }
        }
        for batch in due.chunks(BATCH) {
            let bytes: Vec<u8> = batch.iter().flat_map(|seq| seq.to_le_bytes()).collect();
            self.submit(&Entry::ExpireEach { seqs: &bytes }, None, env);
        }
    }

    /// Stores a marker if this message is the last of its subject and no marker itself. False if the marker found no
    /// room on a full disk: then the message has to stay.
    fn mark(&mut self, meta: &Meta, markers: &mut usize, env: &mut Env<'_>) -> bool {
        let last = self.messages.last_of_id(meta.key, u64::MAX);
        if last.is_none_or(|last| last.seq != meta.seq) {
            return true;
        }
        let subject = self.messages.key(meta.key).to_vec();
        if self.config.retention == RetentionPolicy::Interest && !self.wanted(&subject) {
            return true;
        }
        let (in_flight, _) = self.staged.of_key(&env.log.commits.bytes, &subject);
        let mut is_marker = in_flight > 0;
        // A message that cannot be read is replaced like any other.
        let _ = self.messages.read(meta.seq, &mut |message| {
            is_marker |= !headers::value(message.headers, b"Nats-Marker-Reason").is_empty()
                || headers::value(message.headers, b"KV-Operation") == b"PURGE";
        });
        if is_marker {
            return true;
        }
        *markers = markers.saturating_sub(1);
        let ttl = format_duration(self.config.subject_delete_marker_ttl);
        let block = format!(
            "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: {ttl}\r\nNats-Rollup: sub\r\n\r\n"
        );
        let marker = Inbound {
            tag: Tag {
                kind: TagKind::Publish,
                stream: self.id,
                consumer: 0,
            },
            account: self.account,
            subject: &subject,
            reply: &[],
            headers: block.as_bytes(),
            payload: &[],
            client: 0,
        };
        let before = self.staged.last_seq;
        self.store(&marker, block.as_bytes(), &[], Purpose::Free, env);
        self.staged.last_seq != before
    }

    /// The first sequence that is not too old.
    pub(crate) fn first_fresh(&self, now: Timestamp) -> u64 {
        self.messages
            .seq_at(now.saturating_sub(self.config.max_age).saturating_add(1))
    }
}
