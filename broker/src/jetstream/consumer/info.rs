//! What the API shows of a consumer.

use jetwake_protocol::jetstream::consumer::{ConsumerInfo, SequenceInfo};
use jetwake_protocol::jetstream::time::Time;

use super::ctx::Ctx;
use super::state::Position;
use super::{Consumer, Mode};
use crate::jetstream::io::Timestamp;

impl Consumer {
    /// Everything about the consumer at this moment. Requests that nobody waits for are dropped first.
    pub fn info(&mut self, ctx: &mut Ctx<'_>) -> ConsumerInfo {
        self.sweep_requests(ctx);
        let state = &self.state;
        let given_up = if state.rules.max_deliver == 1 {
            0
        } else {
            state.given_up.len()
        };
        ConsumerInfo {
            stream_name: ctx.stream_name.to_owned(),
            name: self.name.to_string(),
            created: Time::from_nanos(self.created),
            config: Some(self.config.clone()),
            delivered: sequence_info(state.delivered, self.activity.last_delivery),
            ack_floor: sequence_info(state.floor, self.activity.last_ack),
            num_ack_pending: state.pending.len() as u64,
            num_redelivered: (state.pending.repeated() + given_up) as u64,
            num_waiting: self.waiting() as u64,
            num_pending: self.num_pending.get(),
            push_bound: matches!(&self.mode, Mode::Push(push) if push.active),
            paused: self.pace.paused_until.is_some_and(|until| until > ctx.now),
            pause_remaining: self
                .pace
                .paused_until
                .map_or(0, |until| (until - ctx.now).max(0)),
            ts: Time::from_nanos(ctx.now),
            priority_groups: self.priority_groups(),
            ..ConsumerInfo::default()
        }
    }
}

fn sequence_info(position: Position, last_active: Option<Timestamp>) -> SequenceInfo {
    SequenceInfo {
        consumer_seq: position.consumer,
        stream_seq: position.stream,
        last_active: last_active.map(Time::from_nanos),
    }
}
