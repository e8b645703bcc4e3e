//! Defaults, validation and update rules of consumer configurations.
//!
//! [`normalize`] fills in defaults, then runs the checks in the order in which clients see them
//! fail. Facts about the stream and the limits are handed in.

mod defaults;
mod policy;
mod update;
mod validate;

use super::consumer::{AckPolicy, ConsumerConfig, PriorityPolicy};
use super::error::ApiError;
use super::stream::StreamConfig;
use super::stream_config::metadata;

pub use policy::{check_group_name, parse_sample_frequency};
pub use update::{check_unique, check_update, check_work_queue, deliver_subject_changed};

/// What a consumer configuration is judged against. A limit that is not positive is none.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerFacts<'a> {
    /// The configuration of the stream.
    pub stream: &'a StreamConfig,
    /// The server's ceiling for `max_ack_pending`.
    pub server_max_ack_pending: i64,
    /// The account's ceiling for `max_ack_pending`.
    pub account_max_ack_pending: i64,
    /// The server's ceiling for `max_batch`.
    pub max_request_batch: i64,
}

type Checked = Result<(), ApiError>;

/// Fills in defaults and validates. In pedantic mode nothing is adjusted silently.
pub fn normalize(
    mut config: ConsumerConfig,
    pedantic: bool,
    facts: &ConsumerFacts<'_>,
) -> Result<ConsumerConfig, ApiError> {
    stamp_level(&mut config);
    defaults::fill(&mut config, pedantic, facts)?;
    validate::check(&config, facts)?;
    Ok(config)
}

/// Notes the API level that the configuration needs, which pausing changes.
pub fn stamp_level(config: &mut ConsumerConfig) {
    let level = required_level(config);
    metadata::stamp_level(&mut config.metadata, level);
}

/// The smallest API level that knows everything the configuration uses.
fn required_level(config: &ConsumerConfig) -> u32 {
    if config.ack_policy == AckPolicy::FlowControl {
        return 4;
    }
    let pauses = config.pause_until.is_some_and(|until| !until.is_zero());
    let prioritises = config.priority_policy != PriorityPolicy::None
        || !config.priority_groups.is_empty()
        || config.pinned_ttl != 0;
    u32::from(pauses || prioritises)
}

/// The configuration as CREATE and INFO of a consumer show it.
pub fn with_dynamic_metadata(config: &ConsumerConfig) -> ConsumerConfig {
    let mut shown = config.clone();
    metadata::add_dynamic(&mut shown.metadata);
    shown
}

/// Whether two normalised configurations are the same but for the server's metadata.
pub fn same(left: &ConsumerConfig, right: &ConsumerConfig) -> bool {
    if !metadata::same_metadata(&left.metadata, &right.metadata) {
        return false;
    }
    let mut right = right.clone();
    right.metadata.clone_from(&left.metadata);
    *left == right
}

/// The error for the first feature that this server does not have yet. Runs after every other
/// check.
pub fn unsupported(config: &ConsumerConfig) -> Option<ApiError> {
    (config.ack_policy == AckPolicy::FlowControl).then(|| {
        ApiError::consumer_create("ack_policy flow_control is not supported yet by this server")
    })
}

#[cfg(test)]
mod tests;
