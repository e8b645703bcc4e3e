//! One consumer of a stream: a deterministic state machine that decides what is delivered to whom and when.
//!
//! Changes of the recorded state (`state`) take effect at once and are gathered as operations for the log; one
//! record leaves at the end of each [`Consumer::pump`]. Recovery is the last snapshot plus the records after it.
//! What depends on subscribers (requests, flow control, heartbeats) is never recorded.
//!
//! The stream drives a consumer with a [`Ctx`] and afterwards takes up what the consumer released, its deadline,
//! and whether it is [`dirty`](Consumer::dirty): a dirty consumer wants to be pumped when the batch ends.

mod ack;
mod activity;
mod courier;
pub mod ctx;
mod deliver;
mod events;
mod filter;
mod info;
mod lifecycle;
mod listen;
mod num_pending;
mod pace;
mod pull;
mod push;
mod recorded;
mod redeliver;
mod removal;
mod reset;
mod settings;
mod start;
mod state;
mod status;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_storage::Lsn;

use ack::Answers;
use activity::Activity;
use courier::Courier;
use ctx::Ctx;
use filter::Filter;
use num_pending::NumPending;
use pace::Pace;
use pull::PullQueue;
use push::Push;
use settings::Settings;
use state::{Op, OpBuffer, Position, State};

pub use lifecycle::{Close, NewConsumer};
pub use recorded::Recorded;
pub use removal::Removal;
pub use reset::ResetError;
pub use state::Corrupt;

use crate::jetstream::io::Timestamp;

/// How messages leave.
#[derive(Debug)]
enum Mode {
    /// On request.
    Pull(PullQueue),
    /// To a subject, as long as somebody listens.
    Push(Push),
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    id: u32,
    name: Box<str>,
    created: Timestamp,
    config: ConsumerConfig,
    settings: Settings,
    filter: Filter,
    state: State,
    /// With last-per-subject: what is still to deliver of the past.
    members: VecDeque<u64>,
    num_pending: NumPending,
    mode: Mode,
    activity: Activity,
    pace: Pace,
    courier: Courier,
    /// For status blocks.
    block: Vec<u8>,
    log: OpBuffer,
    /// The last record of this consumer.
    lsn: Option<Lsn>,
    answers: Answers,
    /// The deadline that the stream knows.
    announced: Option<Timestamp>,
    dirty: bool,
}

impl Consumer {
    /// The number in its tags.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Its effective configuration.
    #[must_use]
    pub fn config(&self) -> &ConsumerConfig {
        &self.config
    }

    /// The lowest stream sequence that it has not looked at yet.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.state.next
    }

    /// The lowest stream sequence that it may hold: all messages below are settled, or were never for it.
    #[must_use]
    pub fn first_held(&self) -> u64 {
        let given_up = self.state.given_up.keys().next().copied();
        let floor = self.state.floor.stream.saturating_add(1);
        given_up.map_or(floor, |seq| seq.min(floor))
    }

    /// Whether it may have something to deliver or to write: pump it.
    #[must_use]
    pub fn dirty(&self) -> bool {
        self.dirty
    }

    /// Whether it was unused for too long. The stream deletes it.
    #[must_use]
    pub fn wants_deletion(&self) -> bool {
        self.activity.is_over()
    }

    /// When [`on_tick`](Self::on_tick) wants to be called. It may be called in vain: a deadline that moved later is
    /// not taken back, so that a busy consumer does not move its timer with every message.
    pub fn deadline(&mut self) -> Option<Timestamp> {
        let mode = match &self.mode {
            Mode::Pull(queue) => queue.deadline(),
            Mode::Push(push) => push.deadline(),
        };
        let due = self.state.next_due();
        let others = [
            due,
            self.activity.deadline(),
            self.pace.resume_at,
            self.announced,
        ];
        self.announced = mode.into_iter().chain(others.into_iter().flatten()).min();
        self.announced
    }

    /// What [`deadline`](Self::deadline) said last; `None` again once it has passed.
    pub fn announced(&self) -> Option<Timestamp> {
        self.announced
    }

    /// A deadline has passed.
    pub fn on_tick(&mut self, ctx: &mut Ctx<'_>) {
        self.announced = None;
        self.resume(ctx);
        self.expire(ctx);
        self.expire_pin(ctx);
        self.tend_requests(ctx);
        self.beat(ctx);
        self.look_at_activity(ctx);
    }

    /// Performs an operation and gathers it for the log.
    fn record(&mut self, op: &Op, now: Timestamp) {
        self.state.apply(op, now);
        self.log.push(op, now);
    }

    /// Whether there is anything to [`flush`](Self::flush).
    #[must_use]
    pub fn has_gathered(&self) -> bool {
        !self.log.is_empty()
    }

    /// Writes what was gathered for the log; the answers that wait for it follow when it is durable. After it a
    /// [`snapshot`](Self::snapshot) covers exactly what is in the log.
    pub fn flush(&mut self, ctx: &mut Ctx<'_>) {
        if !self.log.is_empty() {
            let name = &self.name;
            let lsn = self.log.take(|record| ctx.log.append(name, record));
            self.lsn = lsn.or(self.lsn);
        }
        if !self.answers.is_empty() {
            self.answers.send(ctx, self.lsn);
        }
    }

    /// The last consumer sequence given out, and the last stream sequence looked at.
    fn last_given(&self) -> Position {
        Position {
            consumer: self.state.delivered.consumer,
            stream: self.state.next - 1,
        }
    }
}
