//! What slows deliveries down: a rate limit, the original tempo, a pause, a disk that refuses a message for now.

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, ReplayPolicy};
use jetwake_protocol::jetstream::consumer_config;
use jetwake_storage::Meta;

use super::Consumer;
use super::ctx::Ctx;
use super::events;
use crate::jetstream::io::Timestamp;

const SECOND: i128 = 1_000_000_000;
/// Bytes that may go at once under a rate limit: the default of the largest payload.
const BURST: i128 = 1 << 20;
/// Shorter gaps between messages are not worth a timer.
const SMALLEST_GAP: i64 = 1_000_000;
/// A message that the disk refused is read again after this time, if nothing else happens before.
const READ_AGAIN: i64 = 1_000_000_000;

/// How fast one consumer may deliver.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second, 0 for no limit.
    rate: i128,
    /// When the bucket would be full again.
    full_at: Timestamp,
    /// Messages up to here keep the time between them.
    original_until: u64,
    /// When the last one was stored and when it was delivered.
    original: Option<(Timestamp, Timestamp)>,
    /// Nothing is delivered before.
    pub(super) paused_until: Option<Timestamp>,
    /// When deliveries that stopped for one of these reasons go on.
    pub(super) resume_at: Option<Timestamp>,
}

impl Pace {
    pub(super) fn new(config: &ConsumerConfig, now: Timestamp) -> Self {
        let until = config.pause_until.map(|until| until.to_nanos());
        let mut pace = Self {
            paused_until: until.filter(|until| *until > now),
            resume_at: until.filter(|until| *until > now),
            ..Self::default()
        };
        pace.set_rate(config);
        pace
    }

    /// Takes over the rate of a configuration.
    pub(super) fn set_rate(&mut self, config: &ConsumerConfig) {
        self.rate = i128::from(config.rate_limit / 8);
    }

    /// Keeps the tempo of what the stream holds now.
    pub(super) fn keep_tempo(&mut self, config: &ConsumerConfig, last_seq: u64) {
        if config.replay_policy == ReplayPolicy::Original {
            self.original_until = last_seq;
        }
    }

    /// Whether deliveries pause or are over the rate.
    pub(super) fn is_held(&mut self, now: Timestamp) -> bool {
        let burst = (BURST * SECOND).checked_div(self.rate).unwrap_or(0);
        let rate = self
            .full_at
            .saturating_sub(i64::try_from(burst).unwrap_or(i64::MAX));
        let until = self
            .paused_until
            .unwrap_or(0)
            .max(if self.rate > 0 { rate } else { 0 });
        let held = until > now;
        if held {
            self.resume_at = Some(until);
        }
        held
    }

    /// Whether the time for this message has not come.
    pub(super) fn is_early(&mut self, now: Timestamp, meta: &Meta) -> bool {
        let Some((stored, delivered)) = self.original.filter(|_| meta.seq <= self.original_until)
        else {
            return false;
        };
        let gap = meta.timestamp.saturating_sub(stored);
        let due = delivered.saturating_add(gap);
        let early = gap > SMALLEST_GAP && due > now;
        if early {
            self.resume_at = Some(due);
        }
        early
    }

    /// The disk refused the next message.
    pub(super) fn read_again(&mut self, now: Timestamp) {
        self.resume_at = Some(now.saturating_add(READ_AGAIN));
    }

    /// A message that was never delivered before went out.
    pub(super) fn keep_time(
        &mut self,
        now: Timestamp,
        seq: u64,
        stored: impl FnOnce() -> Timestamp,
    ) {
        if seq <= self.original_until {
            self.original = Some((stored(), now));
        }
    }

    /// Bytes went out.
    pub(super) fn spend(&mut self, now: Timestamp, bytes: i64) {
        if let Some(cost) = (i128::from(bytes) * SECOND).checked_div(self.rate) {
            let cost = i64::try_from(cost).unwrap_or(i64::MAX);
            self.full_at = self.full_at.max(now).saturating_add(cost);
        }
    }
}

impl Consumer {
    /// Until when deliveries pause, if they do.
    #[must_use]
    pub fn paused_until(&self) -> Option<Timestamp> {
        self.pace.paused_until
    }

    /// Pauses deliveries until then; a time that is not in the future, or none, ends the pause. The configuration
    /// shows what was asked for.
    pub fn pause(&mut self, ctx: &mut Ctx<'_>, until: Option<Timestamp>) {
        let asked = until.map(jetwake_protocol::jetstream::time::Time::from_nanos);
        let until = until.filter(|until| *until > ctx.now);
        let was_paused = self.pace.paused_until.is_some();
        self.pace.paused_until = until;
        self.pace.resume_at = until;
        self.config.pause_until = asked;
        consumer_config::stamp_level(&mut self.config);
        if until.is_some() || was_paused {
            events::paused(ctx, &self.name, until);
        }
        self.flush(ctx);
        self.dirty = true;
    }

    /// Goes on with deliveries that waited for a time.
    pub(super) fn resume(&mut self, ctx: &mut Ctx<'_>) {
        if self.pace.resume_at.is_some_and(|at| at <= ctx.now) {
            self.pace.resume_at = None;
            self.dirty = true;
        }
        if let Some(until) = self.pace.paused_until.filter(|until| *until <= ctx.now) {
            self.pace.paused_until = None;
            events::resumed(ctx, &self.name, until);
        }
    }
}
