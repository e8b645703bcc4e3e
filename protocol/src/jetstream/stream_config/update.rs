//! What may change in a stream that exists.

use super::{Checked, refuse};
use crate::jetstream::consumer::ConsumerConfig;
use crate::jetstream::error::ApiError;
use crate::jetstream::stream::{DiscardPolicy, RetentionPolicy, StreamConfig};

/// Judges a normalised configuration against the one it replaces, and adjusts it where sealing
/// demands so.
pub fn check_update(
    current: &StreamConfig,
    mut next: StreamConfig,
) -> Result<StreamConfig, ApiError> {
    if next.name != current.name {
        refuse("stream configuration name must match original")?;
    }
    if next.storage != current.storage {
        refuse("stream configuration update can not change storage type")?;
    }
    check_retention(current, &next)?;
    check_one_way(current, &next)?;
    if next.mirror.is_some() && next.mirror != current.mirror {
        return Err(ApiError::stream_mirror_not_updatable());
    }
    check_features(current, &next)?;
    if next.sealed {
        next.max_age = 0;
        next.discard = DiscardPolicy::New;
        next.deny_delete = true;
        next.deny_purge = true;
        next.allow_rollup_hdrs = false;
    }
    Ok(next)
}

fn check_retention(current: &StreamConfig, next: &StreamConfig) -> Checked {
    let is_queue = |config: &StreamConfig| config.retention == RetentionPolicy::WorkQueue;
    if is_queue(current) != is_queue(next) {
        return refuse(
            "stream configuration update can not change retention policy to/from workqueue",
        );
    }
    Ok(())
}

fn check_one_way(current: &StreamConfig, next: &StreamConfig) -> Checked {
    if current.sealed && !next.sealed {
        return refuse("stream configuration update can not unseal a sealed stream");
    }
    if current.deny_delete && !next.deny_delete {
        return refuse("stream configuration update can not cancel deny message deletes");
    }
    if current.deny_purge && !next.deny_purge {
        return refuse("stream configuration update can not cancel deny purge");
    }
    Ok(())
}

fn check_features(current: &StreamConfig, next: &StreamConfig) -> Checked {
    if current.allow_msg_ttl && !next.allow_msg_ttl {
        return refuse("message TTL status can not be disabled");
    }
    if current.allow_msg_counter != next.allow_msg_counter {
        return refuse("stream configuration update can not change message counter setting");
    }
    if current.allow_msg_schedules && !next.allow_msg_schedules {
        return refuse("message schedules can not be disabled");
    }
    if current.persist_mode != next.persist_mode {
        return refuse("stream configuration update can not change persist mode");
    }
    Ok(())
}

/// Refuses consumer limits that a consumer of the stream exceeds already.
pub fn check_consumers<'a>(
    next: &StreamConfig,
    consumers: impl IntoIterator<Item = (&'a str, &'a ConsumerConfig)>,
) -> Checked {
    let exceeds = |value: i64, limit: i64| limit > 0 && value > limit;
    let limits = &next.consumer_limits;
    let mut violators: Vec<&str> = consumers
        .into_iter()
        .filter(|(_, consumer)| {
            exceeds(consumer.max_ack_pending, limits.max_ack_pending)
                || exceeds(consumer.inactive_threshold, limits.inactive_threshold)
        })
        .map(|(name, _)| name)
        .collect();
    if violators.is_empty() {
        return Ok(());
    }
    violators.sort_unstable();
    let names = violators.join(", ");
    Err(ApiError::stream_update(format_args!(
        "change to limits violates consumers: {names}"
    )))
}
