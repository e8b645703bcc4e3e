//! Priority groups: requests that are not simply served in turn.
//!
//! - *overflow*: a request may say how far behind the others must be before it is served;
//! - *pinned client*: one client is served alone, as long as it asks often enough; the others
//!   stand by;
//! - *prioritized*: the queue is ordered by the number in the request.
//!
//! A consumer has one queue and one pin, however many groups it names. The pin is never recorded:
//! a recovered consumer has none, and clients that hold an old one are told so.

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, PriorityGroupState, PriorityPolicy};
use jetwake_protocol::jetstream::pull::PullRequest;
use jetwake_protocol::jetstream::time::Time;
use jetwake_protocol::nuid::{self, Nuid};

use super::queue::PullQueue;
use crate::jetstream::consumer::ctx::Ctx;
use crate::jetstream::consumer::deliver::Choice;
use crate::jetstream::consumer::events;
use crate::jetstream::consumer::{Consumer, Mode};
use crate::jetstream::io::{Outbox, Timestamp};

/// The name of a pin, which messages carry and requests repeat.
pub(in crate::jetstream::consumer) type PinId = [u8; nuid::LEN];

/// A pin that nobody ever has.
const NOBODY: PinId = [0; nuid::LEN];

/// What a request to a consumer with priority groups says about its turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Terms {
    /// Served when one of these is reached; 0 is none, and without any it is always served.
    Overflow {
        min_pending: u64,
        min_ack_pending: u64,
    },
    /// Served alone with the pin that is valid, standing by without one.
    Pinned { group: Box<str>, pin: Option<PinId> },
    /// Served before greater numbers.
    Prioritized(u8),
}

/// The client that is served alone.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) id: PinId,
    group: Box<str>,
    since: Timestamp,
    /// When it ends, unless its client asks before.
    pub(super) expires: Timestamp,
}

/// Whether a request may have the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Serve,
    Wait,
    /// Its pin is not valid any more.
    Stale,
}

/// How busy the consumer is, with the next message not delivered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pending: u64,
    ack_pending: u64,
}

impl Terms {
    /// Whether it is served at this load.
    fn overflows(&self, load: Load) -> bool {
        let Self::Overflow {
            min_pending,
            min_ack_pending,
        } = *self
        else {
            return true;
        };
        let reached = |limit: u64, value: u64| limit > 0 && value >= limit;
        (min_pending == 0 && min_ack_pending == 0)
            || reached(min_pending, load.pending)
            || reached(min_ack_pending, load.ack_pending)
    }
}

/// Reads the terms of a request. The error is the status that refuses it.
pub(super) fn terms(
    wish: &PullRequest,
    config: &ConsumerConfig,
    pin: Option<&Pin>,
) -> Result<Option<Box<Terms>>, &'static str> {
    let policy = config.priority_policy;
    if (wish.min_pending != 0 || wish.min_ack_pending != 0) && policy != PriorityPolicy::Overflow {
        return Err("400 Bad Request - Not a Overflow Priority consumer");
    }
    if !wish.id.is_empty() && policy != PriorityPolicy::PinnedClient {
        return Err("400 Bad Request - Not a Pinned Client Priority consumer");
    }
    let priority = match u8::try_from(wish.priority) {
        Ok(priority @ 0..=9) => priority,
        _ => return Err("400 Bad Request - Priority must be between 0 and 9"),
    };
    if policy == PriorityPolicy::None {
        return Ok(None);
    }
    if wish.group.is_empty() {
        return Err("400 Bad Request - Priority Group missing");
    }
    if !config.priority_groups.contains(&wish.group) {
        return Err("400 Bad Request - Invalid Priority Group");
    }
    let limit = |number: i64| u64::try_from(number).unwrap_or(0);
    let terms = match policy {
        PriorityPolicy::None => return Ok(None),
        PriorityPolicy::Overflow => Terms::Overflow {
            min_pending: limit(wish.min_pending),
            min_ack_pending: limit(wish.min_ack_pending),
        },
        PriorityPolicy::PinnedClient => Terms::Pinned {
            group: wish.group.as_str().into(),
            pin: match wish.id.as_bytes() {
                [] => None,
                id if pin.is_some_and(|pin| pin.id != id) => {
                    return Err("423 Nats-Pin-Id mismatch");
                }
                // While nobody is pinned, who holds an old pin learns it with the next message.
                id => Some(id.try_into().unwrap_or(NOBODY)),
            },
        },
        PriorityPolicy::Prioritized => Terms::Prioritized(priority),
    };
    Ok(Some(Box::new(terms)))
}

impl PullQueue {
    /// Whether the head may have the next message.
    pub(super) fn turn(&self, policy: PriorityPolicy, load: Load) -> Turn {
        let terms = self.head_terms();
        match policy {
            PriorityPolicy::Overflow if terms.is_some_and(|terms| !terms.overflows(load)) => {
                Turn::Wait
            }
            PriorityPolicy::PinnedClient => {
                let held = match terms {
                    Some(Terms::Pinned { pin, .. }) => pin.as_ref(),
                    _ => None,
                };
                match (self.pin.as_ref().map(|pin| &pin.id), held) {
                    (None, None) => Turn::Serve,
                    (Some(_), None) => Turn::Wait,
                    (current, held) if current == held => Turn::Serve,
                    _ => Turn::Stale,
                }
            }
            _ => Turn::Serve,
        }
    }

    /// The pin that the next message to the head carries; a new one if nobody is pinned. Requests
    /// that name no group are served without.
    pub(super) fn pin_of_head(
        &self,
        policy: PriorityPolicy,
        out: &mut dyn Outbox,
    ) -> Option<PinId> {
        if policy != PriorityPolicy::PinnedClient || self.head_terms().is_none() {
            return None;
        }
        Some(match &self.pin {
            Some(pin) => pin.id,
            None => Nuid::new([out.random(), out.random(), out.random()]).next_name(),
        })
    }

    /// Pins the client of the head until `expires`. Returns its group.
    pub(super) fn pin_head(
        &mut self,
        id: PinId,
        now: Timestamp,
        expires: Timestamp,
    ) -> Option<&str> {
        let Some(Terms::Pinned { group, pin }) = self.head_terms_mut() else {
            return None;
        };
        *pin = Some(id);
        let group = group.clone();
        let pin = self.pin.insert(Pin {
            id,
            group,
            since: now,
            expires,
        });
        Some(&pin.group)
    }
}

impl Consumer {
    /// What requests with limits are measured with when this message is next.
    pub(super) fn load(&self, choice: &Choice) -> Load {
        Load {
            pending: self.num_pending.after(choice).saturating_add(1),
            ack_pending: self.state.pending.len() as u64,
        }
    }

    /// Checks a request against the groups. One with the right pin keeps its client pinned.
    pub(super) fn take_terms(
        &mut self,
        now: Timestamp,
        wish: &PullRequest,
    ) -> Result<Option<Box<Terms>>, &'static str> {
        let Mode::Pull(queue) = &mut self.mode else {
            return Ok(None);
        };
        let terms = terms(wish, &self.config, queue.pin.as_ref())?;
        if let Some(Terms::Pinned { pin: Some(_), .. }) = terms.as_deref()
            && let Some(pin) = &mut queue.pin
        {
            pin.expires = now.saturating_add(self.config.pinned_ttl);
        }
        Ok(terms)
    }

    /// Ends the pin of a client that did not ask for too long.
    pub(in crate::jetstream::consumer) fn expire_pin(&mut self, ctx: &mut Ctx<'_>) {
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        if let Some(pin) = queue.pin.take_if(|pin| pin.expires <= ctx.now) {
            events::unpinned(ctx, &self.name, &pin.group, "timeout");
            self.dirty = true;
        }
    }

    /// Ends the pin because somebody said so. Whether there is such a group.
    pub fn unpin(&mut self, ctx: &mut Ctx<'_>, group: &str) -> bool {
        if !self.config.priority_groups.iter().any(|one| one == group) {
            return false;
        }
        self.drop_pin();
        events::unpinned(ctx, &self.name, group, "admin");
        self.dirty = true;
        true
    }

    /// Forgets the pin.
    pub(in crate::jetstream::consumer) fn drop_pin(&mut self) {
        if let Mode::Pull(queue) = &mut self.mode {
            queue.pin = None;
        }
    }

    /// The groups as the API shows them: only the first.
    pub(in crate::jetstream::consumer) fn priority_groups(&self) -> Vec<PriorityGroupState> {
        let pin = match &self.mode {
            Mode::Pull(queue) => queue.pin.as_ref(),
            Mode::Push(_) => None,
        };
        let first = self.config.priority_groups.first();
        let state = first.map(|group| PriorityGroupState {
            group: group.clone(),
            pinned_client_id: pin
                .map(|pin| String::from_utf8_lossy(&pin.id).into_owned())
                .unwrap_or_default(),
            pinned_ts: pin.map_or(Time::ZERO, |pin| Time::from_nanos(pin.since)),
        });
        state.into_iter().collect()
    }
}
