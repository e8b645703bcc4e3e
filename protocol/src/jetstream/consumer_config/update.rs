//! What may change in a consumer that exists, and what work queues demand of a new one.

use super::Checked;
use crate::jetstream::consumer::{AckPolicy, ConsumerConfig, DeliverPolicy};
use crate::jetstream::error::ApiError;
use crate::jetstream::time::Time;
use crate::subject::overlap;

/// Judges a normalised configuration against the one it replaces; only PAUSE changes `pause_until`.
///
/// `bound` tells whether somebody listens to the current deliver subject.
pub fn check_update(
    current: &ConsumerConfig,
    mut next: ConsumerConfig,
    bound: bool,
) -> Result<ConsumerConfig, ApiError> {
    let start_time = |config: &ConsumerConfig| config.opt_start_time.map(Time::to_nanos);
    let refused = [
        (
            "deliver policy",
            current.deliver_policy != next.deliver_policy,
        ),
        (
            "storage type",
            current.memory_storage != next.memory_storage,
        ),
        ("direct", current.direct != next.direct),
        ("sourcing", current.sourcing != next.sourcing),
        (
            "start sequence",
            current.opt_start_seq != next.opt_start_seq,
        ),
        ("start time", start_time(current) != start_time(&next)),
        ("ack policy", current.ack_policy != next.ack_policy),
        ("replay policy", current.replay_policy != next.replay_policy),
        ("heart beats", current.heartbeat != next.heartbeat),
        ("flow control", current.flow_control != next.flow_control),
    ];
    if let Some((what, _)) = refused.into_iter().find(|(_, differs)| *differs) {
        return Err(ApiError::consumer_create(format_args!(
            "{what} can not be updated"
        )));
    }
    match (current.is_push(), next.is_push()) {
        (false, true) => {
            let text = "can not update pull consumer to push based";
            return Err(ApiError::consumer_create(text));
        }
        (true, false) => {
            let text = "can not update push consumer to pull based";
            return Err(ApiError::consumer_create(text));
        }
        _ => {}
    }
    if deliver_subject_changed(current, &next) && bound {
        return Err(ApiError::consumer_name_exists());
    }
    if current.max_waiting != next.max_waiting {
        return Err(ApiError::consumer_create("max waiting can not be updated"));
    }
    next.pause_until = current.pause_until;
    Ok(next)
}

/// Whether an update moves deliveries to another subject.
pub fn deliver_subject_changed(current: &ConsumerConfig, next: &ConsumerConfig) -> bool {
    current.deliver_subject != next.deliver_subject
}

/// What a work queue demands of a consumer, given the other consumers of the stream.
pub fn check_work_queue<'a>(
    config: &ConsumerConfig,
    others: impl IntoIterator<Item = &'a ConsumerConfig>,
) -> Checked {
    if config.direct {
        return Ok(());
    }
    if config.ack_policy != AckPolicy::Explicit {
        return Err(ApiError::consumer_workqueue_requires_explicit_ack());
    }
    if config.deliver_policy != DeliverPolicy::All {
        return Err(ApiError::consumer_workqueue_not_deliver_all());
    }
    check_unique(config, others)
}

/// What a work queue demands of a consumer that exists: no message is for two of them.
pub fn check_unique<'a>(
    config: &ConsumerConfig,
    others: impl IntoIterator<Item = &'a ConsumerConfig>,
) -> Checked {
    if config.direct {
        return Ok(());
    }
    for other in others.into_iter().filter(|other| !other.direct) {
        if config.filters().is_empty() {
            return Err(ApiError::consumer_workqueue_multiple_unfiltered());
        }
        if shares_messages(config, other) {
            return Err(ApiError::consumer_workqueue_not_unique());
        }
    }
    Ok(())
}

/// Whether a message could be for both consumers.
fn shares_messages(left: &ConsumerConfig, right: &ConsumerConfig) -> bool {
    let collides = |filter: &String| {
        let mut filters = right.filters().iter();
        filters.any(|other| overlap(filter.as_bytes(), other.as_bytes()))
    };
    right.filters().is_empty() || left.filters().iter().any(collides)
}
