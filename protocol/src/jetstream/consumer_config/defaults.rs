//! What an absent field of a consumer configuration means, and what pedantic mode says to
//! adjustments.

use super::{Checked, ConsumerFacts};
use crate::jetstream::consumer::{AckPolicy, ConsumerConfig, PriorityPolicy};
use crate::jetstream::error::ApiError;

const SECOND: i64 = 1_000_000_000;
const MAX_WAITING: i64 = 512;
const ACK_WAIT: i64 = 30 * SECOND;
const MAX_ACK_PENDING: i64 = 1000;
const PINNED_TTL: i64 = 120 * SECOND;
const EPHEMERAL_INACTIVE_THRESHOLD: i64 = 5 * SECOND;
const FLOW_CONTROL_HEARTBEAT: i64 = SECOND;

pub(super) fn fill(
    config: &mut ConsumerConfig,
    pedantic: bool,
    facts: &ConsumerFacts<'_>,
) -> Checked {
    raise_negatives(config, pedantic)?;
    if !config.is_push() && config.max_waiting == 0 {
        config.max_waiting = MAX_WAITING;
    }
    fill_ack_wait(config, pedantic)?;
    fill_from_stream(config, pedantic, facts)?;
    if config.max_ack_pending == 0 && config.ack_policy != AckPolicy::None {
        let ceilings = [facts.server_max_ack_pending, facts.account_max_ack_pending];
        let lowest = ceilings.into_iter().filter(|ceiling| *ceiling > 0).min();
        config.max_ack_pending = lowest.map_or(MAX_ACK_PENDING, |it| it.min(MAX_ACK_PENDING));
    }
    if !config.is_push() && config.max_request_batch == 0 && facts.max_request_batch > 0 {
        if pedantic {
            let text = "max_request_batch must be set if it's JetStream limits are set";
            return Err(ApiError::pedantic(text));
        }
        config.max_request_batch = facts.max_request_batch;
    }
    if config.priority_policy == PriorityPolicy::PinnedClient && config.pinned_ttl == 0 {
        config.pinned_ttl = PINNED_TTL;
    }
    if config.ack_policy == AckPolicy::FlowControl && !pedantic && config.is_push() {
        config.flow_control = true;
        config.heartbeat = FLOW_CONTROL_HEARTBEAT;
    }
    if !config.is_durable() && config.inactive_threshold == 0 {
        config.inactive_threshold = EPHEMERAL_INACTIVE_THRESHOLD;
    }
    Ok(())
}

fn raise_negatives(config: &mut ConsumerConfig, pedantic: bool) -> Checked {
    if config.max_deliver == 0 || config.max_deliver < -1 {
        if pedantic && config.max_deliver < -1 {
            return Err(ApiError::pedantic("max_deliver must be set to -1"));
        }
        config.max_deliver = -1;
    }
    raise("max_waiting", &mut config.max_waiting, pedantic)?;
    if config.max_ack_pending < -1 {
        if pedantic {
            return Err(ApiError::pedantic("max_ack_pending must be set to -1"));
        }
        config.max_ack_pending = -1;
    }
    raise("max_batch", &mut config.max_request_batch, pedantic)?;
    raise("max_expires", &mut config.max_request_expires, pedantic)?;
    raise("max_bytes", &mut config.max_request_max_bytes, pedantic)?;
    raise("idle_heartbeat", &mut config.heartbeat, pedantic)?;
    raise(
        "inactive_threshold",
        &mut config.inactive_threshold,
        pedantic,
    )?;
    raise("priority_timeout", &mut config.pinned_ttl, pedantic)
}

/// Turns a negative number into 0.
fn raise(name: &str, value: &mut i64, pedantic: bool) -> Checked {
    if *value >= 0 {
        return Ok(());
    }
    if pedantic {
        return Err(ApiError::pedantic(format_args!(
            "{name} must not be negative"
        )));
    }
    *value = 0;
    Ok(())
}

fn fill_ack_wait(config: &mut ConsumerConfig, pedantic: bool) -> Checked {
    let waits = matches!(config.ack_policy, AckPolicy::All | AckPolicy::Explicit);
    if config.ack_wait == 0 && waits {
        config.ack_wait = ACK_WAIT;
    }
    if let Some(&first) = config.backoff.first() {
        if pedantic && config.ack_wait != first {
            return Err(ApiError::pedantic(
                "first backoff value has to equal batch AckWait",
            ));
        }
        config.ack_wait = first;
    }
    Ok(())
}

fn fill_from_stream(
    config: &mut ConsumerConfig,
    pedantic: bool,
    facts: &ConsumerFacts<'_>,
) -> Checked {
    let limits = &facts.stream.consumer_limits;
    for (name, value, limit) in [
        (
            "max_ack_pending",
            &mut config.max_ack_pending,
            limits.max_ack_pending,
        ),
        (
            "inactive_threshold",
            &mut config.inactive_threshold,
            limits.inactive_threshold,
        ),
    ] {
        if *value != 0 || limit <= 0 {
            continue;
        }
        if pedantic {
            let text = format_args!("{name} must be set if it's configured in stream limits");
            return Err(ApiError::pedantic(text));
        }
        *value = limit;
    }
    Ok(())
}
