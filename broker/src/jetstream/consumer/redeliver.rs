//! Messages whose time to be acknowledged has run out, and messages that had all their attempts.

use super::Consumer;
use super::ctx::Ctx;
use super::events;
use super::state::{GivenUp, Op};

impl Consumer {
    /// Queues what is due for redelivery. What has no attempt left is given up now, not when somebody asks.
    pub(super) fn expire(&mut self, ctx: &mut Ctx<'_>) {
        if self.state.next_due().is_none_or(|due| due > ctx.now) {
            return;
        }
        let mut given_up = Vec::new();
        self.state.expire(ctx.now, &mut given_up);
        self.log.push(&Op::Expire, ctx.now);
        self.activity.held(ctx.now, self.state.rules.wait(1));
        for gone in given_up {
            self.tell_given_up(ctx, gone);
        }
        self.dirty = true;
    }

    /// Makes no further attempt with one message.
    pub(super) fn give_up(&mut self, ctx: &mut Ctx<'_>, seq: u64) {
        if let Some(gone) = self.state.give_up(seq) {
            self.log.push(&Op::GiveUp { seq }, ctx.now);
            self.tell_given_up(ctx, gone);
        }
    }

    fn tell_given_up(&mut self, ctx: &mut Ctx<'_>, gone: GivenUp) {
        events::max_deliveries(ctx, &self.name, gone);
    }
}
