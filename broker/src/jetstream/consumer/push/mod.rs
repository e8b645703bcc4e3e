//! The side of a push consumer that faces its subscribers: interest, heartbeats, flow control.

mod flow_control;

pub(super) use flow_control::FlowControl;

use super::courier::{Outcome, Parcel};
use super::ctx::Ctx;
use super::deliver::{Choice, Given};
use super::pull::send_status;
use super::{Consumer, Mode, status};
use crate::jetstream::io::{Inbound, Outgoing, Timestamp};

/// Delivery to one subject.
#[derive(Debug)]
pub(super) struct Push {
    /// Where messages go.
    pub(super) subject: Box<[u8]>,
    /// The queue group whose members count as interest; without one only plain subscriptions count.
    pub(super) group: Option<Box<[u8]>>,
    /// Whether somebody listens.
    pub(super) active: bool,
    /// The window, if flow control is on.
    pub(super) flow: Option<FlowControl>,
    /// The interval of heartbeats, 0 for none.
    pub(super) heartbeat: i64,
    /// When the next heartbeat is due.
    pub(super) next_beat: Timestamp,
}

impl Push {
    /// Whether a message may be sent now.
    pub(super) fn can_take(&self) -> bool {
        self.active && self.flow.as_ref().is_none_or(|flow| !flow.is_stalled())
    }

    /// When a heartbeat is due.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        (self.active && self.heartbeat > 0).then_some(self.next_beat)
    }

    fn restart_beat(&mut self, now: Timestamp) {
        self.next_beat = now.saturating_add(self.heartbeat);
    }
}

impl Consumer {
    /// Interest in the deliver subject appeared or vanished.
    pub fn on_interest(&mut self, ctx: &mut Ctx<'_>, present: bool) {
        let Mode::Push(push) = &mut self.mode else {
            return;
        };
        if present && !push.active {
            push.restart_beat(ctx.now);
            // What is on its way to nobody will never be answered for.
            push.flow = push.flow.as_ref().map(|_| FlowControl::new());
        }
        push.active = present;
        self.activity.watched(ctx.now, present);
        self.dirty = true;
    }

    /// A client answered a flow control request.
    pub fn on_flow_control(&mut self, _ctx: &mut Ctx<'_>, message: &Inbound<'_>) {
        if let Mode::Push(Push {
            flow: Some(flow), ..
        }) = &mut self.mode
            && flow.answered(message.subject)
        {
            self.dirty = true;
        }
    }

    /// Sends a message to the deliver subject.
    pub(super) fn give_to_subscriber(&mut self, ctx: &mut Ctx<'_>, choice: &Choice) -> Given {
        let Mode::Push(push) = &mut self.mode else {
            return Given::NoTaker;
        };
        let parcel = Parcel {
            account: ctx.account,
            route: &push.subject,
            seq: choice.seq,
            deliveries: choice.deliveries,
            consumer_seq: self.state.delivered.consumer + 1,
            pending: self.num_pending.after(choice),
            limit: None,
            pin: None,
        };
        match self.courier.carry(ctx.messages, ctx.out, &parcel) {
            // The window counts the deliver subject, not the one that the message is stored under.
            Outcome::Taken(size) => {
                Given::Taken(size.rest.saturating_add(push.subject.len() as i64))
            }
            Outcome::NoOne | Outcome::TooLarge => {
                push.active = false;
                self.activity.watched(ctx.now, false);
                Given::NoTaker
            }
            Outcome::Missing => Given::Missing,
            Outcome::Unreadable(error) => Given::Unreadable(error),
        }
    }

    /// Accounts for a message that went out; asks the client for a sign of life when half a window is out.
    pub(super) fn pushed(&mut self, ctx: &mut Ctx<'_>, bytes: i64) {
        let Mode::Push(push) = &mut self.mode else {
            return;
        };
        push.restart_beat(ctx.now);
        let Some(flow) = &mut push.flow else {
            return;
        };
        if flow.sent(bytes) {
            let reply = flow.request(ctx.stream_name, &self.name, ctx.out.random());
            status::flow_control(&mut self.block);
            ctx.out.publish(Outgoing {
                account: ctx.account,
                route: &push.subject,
                subject: &push.subject,
                reply,
                headers: &self.block,
                payload: &[],
            });
        }
    }

    /// Sends a heartbeat if one is due.
    pub(super) fn beat(&mut self, ctx: &mut Ctx<'_>) {
        let last = self.last_given();
        let Mode::Push(push) = &mut self.mode else {
            return;
        };
        if push.deadline().is_none_or(|due| due > ctx.now) {
            return;
        }
        push.restart_beat(ctx.now);
        let stalled = push.flow.as_ref().and_then(FlowControl::outstanding);
        status::heartbeat(&mut self.block, last, stalled);
        send_status(ctx.out, ctx.account, &push.subject, &self.block);
        // The next one tells how far the consumer has looked by then.
        self.dirty = true;
    }
}
