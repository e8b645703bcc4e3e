//! Checks of where a consumer starts, what it samples and whom it serves first.

use super::Checked;
use crate::jetstream::consumer::{ConsumerConfig, DeliverPolicy, PriorityPolicy};
use crate::jetstream::error::ApiError;
use crate::jetstream::json::go_quote;

const GROUP_LENGTH_MAX: usize = 16;

pub(super) fn check_start(config: &ConsumerConfig) -> Checked {
    let also_set = |policy: &str, field: &str| {
        Err(ApiError::consumer_invalid_policy(format_args!(
            "consumer delivery policy is deliver {policy}, but optional start {field} is also set"
        )))
    };
    let not_set = |policy: &str, field: &str| {
        Err(ApiError::consumer_invalid_policy(format_args!(
            "consumer delivery policy is deliver {policy}, but optional {field} is not set"
        )))
    };
    let has_seq = config.opt_start_seq > 0;
    let has_time = config.opt_start_time.is_some();
    let policy = match config.deliver_policy {
        DeliverPolicy::ByStartSequence if !has_seq => {
            return not_set("by start sequence", "start sequence");
        }
        DeliverPolicy::ByStartSequence if has_time => {
            return also_set("by start sequence", "time");
        }
        DeliverPolicy::ByStartTime if !has_time => return not_set("by start time", "start time"),
        // The doubled word is the reference's.
        DeliverPolicy::ByStartTime if has_seq => {
            return also_set("by start time", "start sequence");
        }
        DeliverPolicy::ByStartSequence | DeliverPolicy::ByStartTime => return Ok(()),
        DeliverPolicy::All => "all",
        DeliverPolicy::Last => "last",
        DeliverPolicy::New => "new",
        DeliverPolicy::LastPerSubject => "last per subject",
    };
    if has_seq {
        return also_set(policy, "sequence");
    }
    if has_time {
        return also_set(policy, "time");
    }
    if config.deliver_policy == DeliverPolicy::LastPerSubject && config.filters().is_empty() {
        return not_set(policy, "filter subject");
    }
    Ok(())
}

/// Reads `sample_freq`: a percentage with or without its sign, 0 if absent.
pub fn parse_sample_frequency(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_suffix('%').unwrap_or(text);
    match digits.parse::<i64>() {
        Ok(number) => {
            u64::try_from(number).map_err(|_| ApiError::consumer_invalid_sampling("<nil>"))
        }
        Err(error) => {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let reason = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let digits = go_quote(digits);
            Err(ApiError::consumer_invalid_sampling(format_args!(
                "strconv.Atoi: parsing {digits}: {reason}"
            )))
        }
    }
}

pub(super) fn check_priority(config: &ConsumerConfig) -> Checked {
    if config.priority_policy == PriorityPolicy::None {
        if !config.priority_groups.is_empty() {
            return Err(ApiError::consumer_priority_group_with_policy_none());
        }
        if config.pinned_ttl != 0 {
            return Err(ApiError::consumer_pinned_ttl_without_priority_policy());
        }
        return Ok(());
    }
    if config.is_push() {
        return Err(ApiError::consumer_push_with_priority_group());
    }
    if config.priority_groups.is_empty() {
        return Err(ApiError::consumer_priority_policy_without_group());
    }
    for group in &config.priority_groups {
        check_group_name(group)?;
    }
    Ok(())
}

/// Whether this may be the name of a priority group.
pub fn check_group_name(group: &str) -> Result<(), ApiError> {
    if group.is_empty() {
        return Err(ApiError::consumer_empty_group_name());
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_=-".contains(&byte);
    if group.len() > GROUP_LENGTH_MAX || !group.bytes().all(is_allowed) {
        return Err(ApiError::consumer_invalid_group_name());
    }
    Ok(())
}
