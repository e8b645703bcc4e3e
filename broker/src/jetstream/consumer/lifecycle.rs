//! How a consumer comes, changes, is recovered, and goes.

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, PriorityPolicy};
use jetwake_protocol::jetstream::consumer_config;

use super::ack::Answers;
use super::activity::{self, Activity};
use super::courier::Courier;
use super::ctx::Ctx;
use super::events;
use super::num_pending::NumPending;
use super::pace::Pace;
use super::pull::PullQueue;
use super::push::{FlowControl, Push};
use super::settings::{self, Settings};
use super::start::{self, Start};
use super::state::{Corrupt, Op, OpBuffer, State};
use super::{Consumer, Mode};
use crate::jetstream::io::Timestamp;

/// A consumer to create, or to bring back.
#[derive(Clone, Debug)]
pub struct NewConsumer<'a> {
    /// The number in its tags, never reused within one run.
    pub id: u32,
    /// Its name.
    pub name: &'a str,
    /// Its effective configuration: validated, with defaults.
    pub config: ConsumerConfig,
    /// When it was created.
    pub created: Timestamp,
    /// Whether the stream keeps one message a subject.
    pub single: bool,
}

/// Why a consumer stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// It, or its stream, was deleted.
    Deleted,
    /// The server stops.
    Shutdown,
    /// Another node leads the stream: nothing is recorded here any more.
    Deposed,
}

impl Consumer {
    /// A new consumer; picks the start. Its [`snapshot`](Self::snapshot) belongs into the log with the
    /// configuration.
    pub fn new(ctx: &mut Ctx<'_>, new: NewConsumer<'_>) -> Self {
        let name = new.name;
        let filter = settings::filter(&new.config);
        let Start {
            next,
            bound,
            members,
        } = start::choose(&new.config, &filter, ctx.messages, new.single);
        let state = State::new(settings::rules(&new.config), next, bound);
        let mut consumer = Self::build(ctx, new, state);
        consumer.members = members;
        consumer.count_again(ctx.messages);
        consumer
            .pace
            .keep_tempo(&consumer.config, ctx.messages.state().last_seq);
        if let Some(until) = consumer.pace.paused_until {
            events::paused(ctx, name, Some(until));
        }
        consumer
    }

    /// A consumer as its snapshot describes it. Records after the snapshot follow with [`replay`](Self::replay),
    /// and when the messages are complete [`recover`](Self::recover) and [`open`](Self::open).
    ///
    /// # Errors
    /// The snapshot is damaged.
    pub fn restore(
        ctx: &mut Ctx<'_>,
        new: NewConsumer<'_>,
        snapshot: &[u8],
    ) -> Result<Self, Corrupt> {
        let state = State::load(snapshot)?;
        Ok(Self::build(ctx, new, state))
    }

    fn build(ctx: &mut Ctx<'_>, new: NewConsumer<'_>, state: State) -> Self {
        let NewConsumer {
            id,
            name,
            config,
            created,
            ..
        } = new;
        let mut activity = Activity::default();
        let threshold = activity::threshold(
            config.inactive_threshold,
            !config.is_push(),
            ctx.out.random(),
        );
        activity.set_threshold(ctx.now, threshold);
        Self {
            id,
            name: name.into(),
            created,
            settings: Settings::new(&config),
            filter: settings::filter(&config),
            state,
            members: Default::default(),
            num_pending: NumPending::default(),
            mode: mode(&config),
            activity,
            pace: Pace::new(&config, ctx.now),
            courier: Courier::new(ctx.stream_name, name, config.headers_only),
            block: Vec::new(),
            log: OpBuffer::default(),
            lsn: None,
            answers: Answers::default(),
            announced: None,
            dirty: false,
            config,
        }
    }

    /// Performs the operations of one log record again.
    ///
    /// # Errors
    /// The record is damaged; the operations before the damage have been performed.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        self.state.replay(record)
    }

    /// Ends a recovery: fits the state to the stream's messages, of which some may be gone, and counts.
    pub fn recover(&mut self, ctx: &mut Ctx<'_>) {
        let stream = ctx.messages.state();
        let gone: Vec<u64> = self
            .state
            .pending
            .iter()
            .map(|entry| entry.seq)
            .chain(self.state.given_up.keys().copied())
            .filter(|seq| ctx.messages.meta(*seq).is_none())
            .collect();
        for seq in gone {
            self.record(&Op::Ack { seq, len: 1 }, ctx.now);
        }
        self.state.next = self.state.next.max(stream.first_seq);
        if let Some(bound) = self.state.bound {
            self.members = start::members(self.state.next, bound, &self.filter, ctx.messages);
        }
        self.count_again(ctx.messages);
        self.pace.keep_tempo(&self.config, stream.last_seq);
    }

    /// Appends the recorded state, as [`restore`](Self::restore) reads it. Call [`flush`](Self::flush) before: what
    /// is gathered and not yet in the log would otherwise be performed twice by a recovery.
    pub fn snapshot(&self, into: &mut Vec<u8>) {
        self.state.save(into);
    }

    /// Takes over a new configuration, validated and with defaults. Nothing is taken back from clients and nothing
    /// starts over. A pause is not changed by this.
    pub fn update(&mut self, ctx: &mut Ctx<'_>, mut config: ConsumerConfig) {
        config.pause_until = self.config.pause_until;
        consumer_config::stamp_level(&mut config);
        let rules = settings::rules(&config);
        if rules != self.state.rules {
            self.record(&Op::Rules(rules), ctx.now);
        }
        let subject_changed = config.deliver_subject != self.config.deliver_subject;
        let group_changed = config.deliver_group != self.config.deliver_group;
        if subject_changed || group_changed {
            self.move_to(ctx, &config);
        }
        if subject_changed {
            self.record(&Op::RequeueAll, ctx.now);
        }
        if config.inactive_threshold != self.config.inactive_threshold {
            let random = ctx.out.random();
            let threshold =
                activity::threshold(config.inactive_threshold, !config.is_push(), random);
            self.activity.set_threshold(ctx.now, threshold);
        }
        self.pace.set_rate(&config);
        self.courier.set_headers_only(config.headers_only);
        self.settings = Settings::new(&config);
        if config.priority_policy != PriorityPolicy::PinnedClient {
            self.drop_pin();
        }
        let filter = settings::filter(&config);
        self.config = config;
        if filter != self.filter {
            self.filter = filter;
            let filter = &self.filter;
            self.members.retain(|seq| {
                let key = ctx
                    .messages
                    .meta(*seq)
                    .map(|meta| ctx.messages.key(meta.key));
                key.is_some_and(|key| jetwake_storage::KeyFilter::matches(filter, key))
            });
            self.count_again(ctx.messages);
        }
        self.flush(ctx);
        self.dirty = true;
    }

    fn move_to(&mut self, ctx: &mut Ctx<'_>, config: &ConsumerConfig) {
        self.unwatch(ctx);
        self.mode = mode(config);
        self.activity.watched(ctx.now, false);
        self.watch(ctx);
    }

    /// Deletes a consumer that nobody used for too long, unless requests or pending messages hold it.
    pub(super) fn look_at_activity(&mut self, ctx: &mut Ctx<'_>) {
        if !self.activity.is_due(ctx.now) {
            return;
        }
        self.sweep_requests(ctx);
        if self.waiting() > 0 {
            self.activity.touch(ctx.now);
        } else {
            let pending = self.is_pull() && self.state.pending.len() > 0;
            self.activity.conclude(ctx.now, pending);
        }
    }

    /// Stops: tells who waits, and hands the last state to the log.
    pub fn close(&mut self, ctx: &mut Ctx<'_>, why: Close) {
        self.end_requests(ctx, why);
        if why != Close::Shutdown {
            // Nothing of it will be recovered; who waits for an answer still gets one if it was deleted.
            self.log = OpBuffer::default();
        }
        if why == Close::Deposed {
            self.answers = Answers::default();
        }
        self.flush(ctx);
        self.shut(ctx);
        self.dirty = false;
    }
}

fn mode(config: &ConsumerConfig) -> Mode {
    if !config.is_push() {
        return Mode::Pull(PullQueue::default());
    }
    let group = config.deliver_group.as_bytes();
    Mode::Push(Push {
        subject: config.deliver_subject.as_bytes().into(),
        group: (!group.is_empty()).then(|| group.into()),
        active: false,
        flow: config.flow_control.then(FlowControl::new),
        heartbeat: config.heartbeat,
        next_beat: 0,
    })
}
