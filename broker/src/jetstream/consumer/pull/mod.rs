//! The side of a pull consumer that faces its clients: requests, how messages are dealt out, statuses.

mod next;
mod priority;
mod queue;

use jetwake_protocol::jetstream::consumer::PriorityPolicy;

pub(super) use priority::PinId;
pub(super) use queue::{PullQueue, Request};

use priority::Turn;

use super::courier::{Outcome, Parcel};
use super::ctx::Ctx;
use super::deliver::{Choice, Given};
use super::events;
use super::status::{self, Left};
use super::{Close, Consumer, Mode};
use crate::jetstream::io::{AccountId, Outbox, Outgoing};

pub(super) const NO_MESSAGES: &str = "404 No Messages";
pub(super) const REQUEST_TIMEOUT: &str = "408 Request Timeout";
const TOO_LARGE: &str = "409 Message Size Exceeds MaxBytes";
const BATCH_COMPLETED: &str = "409 Batch Completed";
const WRONG_PIN: &str = "423 Nats-Wrong-Pin-Id";
const DELETED: &str = "409 Consumer Deleted";
const SHUTDOWN: &str = "409 Server Shutdown";
const DEPOSED: &str = "409 Leadership Change";

/// Publishes a status.
pub(super) fn send_status(
    out: &mut dyn Outbox,
    account: AccountId,
    reply: &[u8],
    block: &[u8],
) -> bool {
    out.publish(Outgoing {
        account,
        route: reply,
        subject: reply,
        reply: &[],
        headers: block,
        payload: &[],
    })
}

/// Ends the request at the head and says why.
fn end_head(queue: &mut PullQueue, block: &mut Vec<u8>, ctx: &mut Ctx<'_>, why: &str) {
    if let Some(request) = queue.head() {
        status::with_left(block, why, request.left());
        send_status(ctx.out, ctx.account, &request.reply, block);
    }
    queue.drop_head();
}

/// The head got a message: it moves to the tail, or is done.
fn charge_head(queue: &mut PullQueue, block: &mut Vec<u8>, ctx: &mut Ctx<'_>, size: i64) {
    let Some(request) = queue.head() else {
        return;
    };
    if request.charge(size, ctx.now).is_none() {
        queue.rotate();
    } else if request.limit().is_some_and(|bytes| bytes > 0) {
        end_head(queue, block, ctx, BATCH_COMPLETED);
    } else {
        queue.drop_head();
    }
}

impl Consumer {
    /// Gives a message to the request whose turn it is.
    pub(super) fn give_to_request(&mut self, ctx: &mut Ctx<'_>, choice: &Choice) -> Given {
        let policy = self.settings.priority;
        let load = self.load(choice);
        let Mode::Pull(queue) = &mut self.mode else {
            return Given::NoTaker;
        };
        // Nobody is asked twice.
        for _ in 0..queue.len() {
            if queue.head().is_some_and(|head| head.expired(ctx.now)) {
                end_head(queue, &mut self.block, ctx, REQUEST_TIMEOUT);
                continue;
            }
            if policy != PriorityPolicy::None {
                match queue.turn(policy, load) {
                    Turn::Serve => {}
                    Turn::Wait => {
                        queue.rotate();
                        continue;
                    }
                    Turn::Stale => {
                        end_head(queue, &mut self.block, ctx, WRONG_PIN);
                        continue;
                    }
                }
            }
            let pin = queue.pin_of_head(policy, ctx.out);
            let Some(request) = queue.head() else {
                break;
            };
            let parcel = Parcel {
                account: ctx.account,
                route: &request.reply,
                seq: choice.seq,
                deliveries: choice.deliveries,
                consumer_seq: self.state.delivered.consumer + 1,
                pending: self.num_pending.after(choice),
                limit: request.limit(),
                pin: pin.as_ref(),
            };
            match self.courier.carry(ctx.messages, ctx.out, &parcel) {
                Outcome::Taken(size) => {
                    let size = size.total();
                    if let Some(id) = pin.filter(|_| queue.pin.is_none()) {
                        let expires = ctx.now.saturating_add(self.config.pinned_ttl);
                        if let Some(group) = queue.pin_head(id, ctx.now, expires) {
                            events::pinned(ctx, &self.name, group, &id);
                        }
                    }
                    charge_head(queue, &mut self.block, ctx, size);
                    return Given::Taken(size);
                }
                Outcome::TooLarge => end_head(queue, &mut self.block, ctx, TOO_LARGE),
                Outcome::NoOne => queue.drop_head(),
                Outcome::Missing => return Given::Missing,
                Outcome::Unreadable(error) => return Given::Unreadable(error),
            }
        }
        Given::NoTaker
    }

    /// Ends the requests that do not wait, at the end of the stream.
    pub(super) fn end_no_wait(&mut self, ctx: &mut Ctx<'_>) {
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        if !queue.has_no_wait() {
            return;
        }
        status::plain(&mut self.block, NO_MESSAGES);
        let block = &self.block;
        queue.retain(|request| {
            let ends = request.ends_without_messages();
            if ends {
                send_status(ctx.out, ctx.account, &request.reply, block);
            }
            !ends
        });
    }

    /// Answers requests whose time is over, sends due heartbeats, drops requests that nobody waits for.
    pub(super) fn tend_requests(&mut self, ctx: &mut Ctx<'_>) {
        let last = self.last_given();
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        let block = &mut self.block;
        queue.retain(|request| {
            if request.expired(ctx.now) {
                status::with_left(block, REQUEST_TIMEOUT, request.left());
                send_status(ctx.out, ctx.account, &request.reply, block);
                return false;
            }
            if request.beat(ctx.now) {
                status::heartbeat(block, last, None);
                return send_status(ctx.out, ctx.account, &request.reply, block);
            }
            true
        });
        queue.reckon();
    }

    /// Drops the requests that nobody waits for.
    pub(super) fn sweep_requests(&mut self, ctx: &mut Ctx<'_>) {
        self.tend_requests(ctx);
        if let Mode::Pull(queue) = &mut self.mode {
            queue.retain(|request| ctx.out.has_any_interest(ctx.account, &request.reply));
            queue.swept_at = ctx.now;
        }
    }

    /// Tells everybody who waits why this consumer does not serve them any more.
    pub(super) fn end_requests(&mut self, ctx: &mut Ctx<'_>, why: Close) {
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        let block = &mut self.block;
        queue.retain(|request| {
            match why {
                Close::Deleted => status::plain(block, DELETED),
                Close::Shutdown => status::with_left(block, SHUTDOWN, request.left()),
                Close::Deposed => status::plain(block, DEPOSED),
            }
            send_status(ctx.out, ctx.account, &request.reply, block);
            false
        });
    }
}

impl Request {
    pub(super) fn left(&self) -> Left {
        Left {
            messages: self.wanted,
            bytes: self.bytes,
        }
    }
}
