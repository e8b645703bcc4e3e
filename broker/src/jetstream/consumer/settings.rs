//! A consumer's configuration in the form that the hot path wants it in.

use jetwake_protocol::jetstream::consumer::{AckPolicy, ConsumerConfig, PriorityPolicy};

use super::filter::Filter;
use super::state::{Acks, Rules};

/// What a consumer looks up all the time. Limits are `None` where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Pending messages at which no new one is delivered.
    pub(super) max_ack_pending: Option<usize>,
    /// Requests that may wait.
    pub(super) max_waiting: usize,
    /// The largest batch of a request.
    pub(super) max_batch: Option<i64>,
    /// The longest life of a request.
    pub(super) max_expires: Option<i64>,
    /// The largest byte budget of a request.
    pub(super) max_bytes: Option<i64>,
    /// Who is served first.
    pub(super) priority: PriorityPolicy,
    /// Percentage of acks that are measured.
    pub(super) sample: u64,
}

fn positive(number: i64) -> Option<i64> {
    (number > 0).then_some(number)
}

impl Settings {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        let count = |number: i64| usize::try_from(number).ok();
        let sample = config.sample_frequency.trim_end_matches('%').trim();
        Self {
            max_ack_pending: positive(config.max_ack_pending).and_then(count),
            max_waiting: count(config.max_waiting).unwrap_or_default(),
            max_batch: positive(config.max_request_batch),
            max_expires: positive(config.max_request_expires),
            max_bytes: positive(config.max_request_max_bytes),
            priority: config.priority_policy,
            sample: sample.parse().unwrap_or_default(),
        }
    }
}

/// The part that the recorded state depends on.
pub(super) fn rules(config: &ConsumerConfig) -> Rules {
    Rules {
        acks: match config.ack_policy {
            AckPolicy::None => Acks::None,
            AckPolicy::All | AckPolicy::FlowControl => Acks::All,
            AckPolicy::Explicit => Acks::Explicit,
        },
        ack_wait: config.ack_wait,
        backoff: config.backoff.clone(),
        max_deliver: u32::try_from(config.max_deliver).unwrap_or_default(),
    }
}

/// The filters.
pub(super) fn filter(config: &ConsumerConfig) -> Filter {
    Filter::new(config.filters().iter().map(String::as_bytes))
}
