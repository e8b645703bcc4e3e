//! The side of a pull consumer that faces its clients: requests, how messages are dealt out, statuses.

mod next;
mod queue;

pub(super) use queue::{PullQueue, Request};

use super::courier::{Outcome, Parcel};
use super::ctx::Ctx;
use super::deliver::{Choice, Given};
use super::status::{self, Left};
use super::{Consumer, Mode};
use crate::jetstream::io::{AccountId, Outbox, Outgoing};

pub(super) const NO_MESSAGES: &str = "404 No Messages";
pub(super) const REQUEST_TIMEOUT: &str = "408 Request Timeout";
const TOO_LARGE: &str = "409 Message Size Exceeds MaxBytes";
const BATCH_COMPLETED: &str = "409 Batch Completed";
const DELETED: &str = "409 Consumer Deleted";
const SHUTDOWN: &str = "409 Server Shutdown";

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

impl Consumer {
    /// Gives a message to the request whose turn it is.
    pub(super) fn give_to_request(&mut self, ctx: &mut Ctx<'_>, choice: &Choice) -> Given {
        let Mode::Pull(queue) = &mut self.mode else {
            return Given::NoTaker;
        };
        while let Some(request) = queue.head() {
            if request.expired(ctx.now) {
                status::with_left(&mut self.block, REQUEST_TIMEOUT, request.left());
                send_status(ctx.out, ctx.account, &request.reply, &self.block);
                queue.drop_head();
                continue;
            }
            let parcel = Parcel {
                account: ctx.account,
                route: &request.reply,
                seq: choice.seq,
                deliveries: choice.deliveries,
                consumer_seq: self.state.delivered.consumer + 1,
                pending: self.num_pending.after(choice),
                limit: request.limit(),
            };
            match self.courier.carry(ctx.messages, ctx.out, &parcel) {
                Outcome::Taken(size) => {
                    let size = size.total();
                    if let Some(left) = request.charge(size, ctx.now) {
                        let bytes_left = request.limit().is_some_and(|bytes| bytes > 0);
                        if bytes_left {
                            status::with_left(&mut self.block, BATCH_COMPLETED, left);
                            send_status(ctx.out, ctx.account, &request.reply, &self.block);
                        }
                        queue.drop_head();
                    } else {
                        queue.rotate();
                    }
                    return Given::Taken(size);
                }
                Outcome::TooLarge => {
                    status::with_left(&mut self.block, TOO_LARGE, request.left());
                    send_status(ctx.out, ctx.account, &request.reply, &self.block);
                    queue.drop_head();
                }
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

    /// Tells everybody who waits that the consumer is gone, or that the server is about to be.
    pub(super) fn end_requests(&mut self, ctx: &mut Ctx<'_>, deleted: bool) {
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        let block = &mut self.block;
        queue.retain(|request| {
            if deleted {
                status::plain(block, DELETED);
            } else {
                status::with_left(block, SHUTDOWN, request.left());
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
