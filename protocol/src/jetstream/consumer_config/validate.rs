//! The checks of a consumer configuration with its defaults filled in, in order.

use super::{Checked, ConsumerFacts, policy};
use crate::jetstream::consumer::{AckPolicy, ConsumerConfig};
use crate::jetstream::error::ApiError;
use crate::jetstream::stream::RetentionPolicy;
use crate::jetstream::stream_config::{is_valid_name, metadata};
use crate::subject::{has_wildcards, is_subset_of, is_valid, matches};
use crate::time::format_duration;

const DESCRIPTION_LENGTH_MAX: usize = 4096;
const METADATA_SIZE_MAX: usize = 128 * 1024;
const NAME_LENGTH_MAX: usize = 255;
const HEARTBEAT_MIN: i64 = 100_000_000;
const EXPIRES_MIN: i64 = 1_000_000;
const FLOW_CONTROL_HEARTBEAT: i64 = 1_000_000_000;

pub(super) fn check(config: &ConsumerConfig, facts: &ConsumerFacts<'_>) -> Checked {
    check_names(config)?;
    check_replicas(config, facts)?;
    check_waits(config)?;
    check_ack_flow_control(config)?;
    let backoffs = config.backoff.len() as i64;
    if backoffs > 0 && config.max_deliver != -1 && backoffs > config.max_deliver {
        return Err(ApiError::consumer_max_deliver_backoff());
    }
    if config.description.len() > DESCRIPTION_LENGTH_MAX {
        return Err(ApiError::consumer_description_too_long(
            DESCRIPTION_LENGTH_MAX,
        ));
    }
    if config.is_push() {
        check_push(config, facts)?;
    } else {
        check_pull(config, facts)?;
    }
    check_ceilings(config, facts)?;
    check_direct(config)?;
    check_filters(config)?;
    policy::check_start(config)?;
    policy::parse_sample_frequency(&config.sample_frequency)?;
    if config.flow_control && config.heartbeat == 0 {
        return Err(ApiError::consumer_with_flow_control_needs_heartbeats());
    }
    if config.is_durable() && !config.name.is_empty() && config.name != config.durable {
        return Err(ApiError::consumer_create_durable_and_name_mismatch());
    }
    if metadata::size(&config.metadata) > METADATA_SIZE_MAX {
        return Err(ApiError::consumer_metadata_length("128KB"));
    }
    policy::check_priority(config)?;
    check_name_lengths(config)
}

fn check_names(config: &ConsumerConfig) -> Checked {
    for (what, name) in [("name", &config.name), ("durable name", &config.durable)] {
        if !name.is_empty() && !is_valid_name(name) {
            let text = format!(r"consumer {what} can not contain '.', '*', '>', '\', '/'");
            return Err(ApiError::stream_invalid_config(text));
        }
    }
    Ok(())
}

fn check_name_lengths(config: &ConsumerConfig) -> Checked {
    if config.durable.len() > NAME_LENGTH_MAX {
        return Err(ApiError::consumer_name_too_long(NAME_LENGTH_MAX));
    }
    if config.name.len() > NAME_LENGTH_MAX {
        return Err(ApiError::consumer_create(
            "error creating store for consumer",
        ));
    }
    Ok(())
}

fn check_replicas(config: &ConsumerConfig, facts: &ConsumerFacts<'_>) -> Checked {
    let stream = facts.stream;
    if config.replicas > stream.num_replicas {
        return Err(ApiError::consumer_replicas_exceed_stream());
    }
    if config.replicas < 0 {
        return Err(ApiError::replicas_count_cannot_be_negative());
    }
    let inherits = config.replicas == 0 || config.replicas == stream.num_replicas;
    if stream.retention != RetentionPolicy::Limits && !inherits {
        return Err(ApiError::consumer_replicas_should_match_stream());
    }
    Ok(())
}

fn check_waits(config: &ConsumerConfig) -> Checked {
    if config.backoff.iter().any(|wait| *wait < 0) {
        return Err(ApiError::consumer_backoff_negative());
    }
    if config.ack_wait < 0 {
        return Err(ApiError::consumer_ack_wait_negative());
    }
    Ok(())
}

fn check_ack_flow_control(config: &ConsumerConfig) -> Checked {
    if config.ack_policy != AckPolicy::FlowControl {
        return Ok(());
    }
    if !config.is_push() {
        return Err(ApiError::consumer_ack_fc_requires_push());
    }
    if !config.flow_control {
        return Err(ApiError::consumer_ack_fc_requires_fc());
    }
    if config.heartbeat != FLOW_CONTROL_HEARTBEAT {
        let text = "flow control ack policy heartbeat needs to be 1s";
        return Err(ApiError::stream_invalid_config(text));
    }
    if config.max_ack_pending <= 0 {
        return Err(ApiError::consumer_ack_fc_requires_max_ack_pending());
    }
    if config.ack_wait != 0 || !config.backoff.is_empty() {
        return Err(ApiError::consumer_ack_fc_requires_no_ack_wait());
    }
    if config.max_deliver > 0 {
        return Err(ApiError::consumer_ack_fc_requires_no_max_deliver());
    }
    Ok(())
}

fn check_push(config: &ConsumerConfig, facts: &ConsumerFacts<'_>) -> Checked {
    let deliver = config.deliver_subject.as_bytes();
    if has_wildcards(deliver) {
        return Err(ApiError::consumer_deliver_to_wildcards());
    }
    if !is_valid(deliver) {
        return Err(ApiError::consumer_invalid_deliver_subject());
    }
    let mut subjects = facts.stream.subjects.iter();
    if subjects.any(|subject| matches(subject.as_bytes(), deliver)) {
        return Err(ApiError::consumer_deliver_cycle());
    }
    if config.max_waiting != 0 {
        return Err(ApiError::consumer_push_max_waiting());
    }
    if config.max_ack_pending > 0 && config.ack_policy == AckPolicy::None {
        return Err(ApiError::consumer_max_pending_ack_policy_required());
    }
    if config.heartbeat > 0 && config.heartbeat < HEARTBEAT_MIN {
        return Err(ApiError::consumer_small_heartbeat());
    }
    Ok(())
}

fn check_pull(config: &ConsumerConfig, facts: &ConsumerFacts<'_>) -> Checked {
    let queue = facts.stream.retention == RetentionPolicy::WorkQueue;
    if queue && config.ack_policy == AckPolicy::None {
        return Err(ApiError::consumer_pull_requires_ack());
    }
    if config.rate_limit > 0 {
        return Err(ApiError::consumer_pull_with_rate_limit());
    }
    if config.heartbeat > 0 {
        return Err(ApiError::consumer_heartbeat_requires_push());
    }
    if config.flow_control {
        return Err(ApiError::consumer_flow_control_requires_push());
    }
    if config.max_request_expires > 0 && config.max_request_expires < EXPIRES_MIN {
        return Err(ApiError::consumer_max_request_expires_too_small());
    }
    let limit = facts.max_request_batch;
    if limit > 0 && config.max_request_batch > limit {
        return Err(ApiError::consumer_max_request_batch_exceeded(limit));
    }
    Ok(())
}

fn check_ceilings(config: &ConsumerConfig, facts: &ConsumerFacts<'_>) -> Checked {
    let limits = &facts.stream.consumer_limits;
    for limit in [
        facts.server_max_ack_pending,
        facts.account_max_ack_pending,
        limits.max_ack_pending,
    ] {
        if limit > 0 && config.max_ack_pending > limit {
            return Err(ApiError::consumer_max_pending_ack_excess(limit));
        }
    }
    let limit = limits.inactive_threshold;
    if limit > 0 && config.inactive_threshold > limit {
        return Err(ApiError::consumer_inactive_threshold_excess(
            format_duration(limit),
        ));
    }
    Ok(())
}

fn check_direct(config: &ConsumerConfig) -> Checked {
    if config.direct && !config.is_push() {
        return Err(ApiError::consumer_direct_requires_push());
    }
    if config.direct && config.is_durable() {
        return Err(ApiError::consumer_direct_requires_ephemeral());
    }
    Ok(())
}

fn check_filters(config: &ConsumerConfig) -> Checked {
    if !config.filter_subject.is_empty() && !config.filter_subjects.is_empty() {
        return Err(ApiError::consumer_duplicate_filter_subjects());
    }
    let filters = config.filters();
    if filters
        .iter()
        .any(|filter| !filter.is_empty() && !is_valid(filter.as_bytes()))
    {
        return Err(ApiError::stream_invalid_config("invalid subject"));
    }
    if filters.iter().any(String::is_empty) {
        return Err(ApiError::consumer_empty_filter());
    }
    for (index, filter) in filters.iter().enumerate() {
        let within = |left: &str, right: &str| is_subset_of(left.as_bytes(), right.as_bytes());
        let mut earlier = filters[..index].iter();
        if earlier.any(|other| within(filter, other) || within(other, filter)) {
            return Err(ApiError::consumer_overlapping_subject_filters());
        }
    }
    Ok(())
}
