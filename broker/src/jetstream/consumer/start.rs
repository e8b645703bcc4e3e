//! Where a new consumer starts.

use std::collections::VecDeque;

use jetwake_protocol::jetstream::consumer::{ConsumerConfig, DeliverPolicy};
use jetwake_protocol::jetstream::time::Time;
use jetwake_storage::{KeyFilter, MessageStore};

/// Where a consumer starts, and what of the past it delivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The lowest sequence to look at.
    pub(super) next: u64,
    /// With last-per-subject: the end of the stream at creation.
    pub(super) bound: Option<u64>,
    /// With last-per-subject: what to deliver of the past.
    pub(super) members: VecDeque<u64>,
}

/// Chooses by the consumer's deliver policy; `single` says that the stream keeps one message a subject.
pub(super) fn choose(
    config: &ConsumerConfig,
    filter: &dyn KeyFilter,
    messages: &dyn MessageStore,
    single: bool,
) -> Start {
    let state = messages.state();
    let first = state.first_seq.max(1);
    let after_last = state.last_seq.saturating_add(1);
    let next = match config.deliver_policy {
        DeliverPolicy::All => first,
        // Every message is the last of its subject.
        DeliverPolicy::LastPerSubject if single => first,
        DeliverPolicy::New => after_last,
        // The last sequence counts even if its message is gone.
        DeliverPolicy::Last if config.filters().is_empty() => state.last_seq.max(first),
        // Without a match it delivers the first one to come.
        DeliverPolicy::Last => messages
            .last_matching(state.last_seq, filter)
            .map_or(first, |meta| meta.seq),
        DeliverPolicy::ByStartSequence => config.opt_start_seq.max(first),
        DeliverPolicy::ByStartTime => {
            let time = config.opt_start_time.map_or(i64::MIN, Time::to_nanos);
            messages.seq_at(time).max(first)
        }
        DeliverPolicy::LastPerSubject => {
            let members = members(first, state.last_seq, filter, messages);
            // Without a match it looks at the newest message once more.
            let next = members
                .front()
                .copied()
                .unwrap_or(state.last_seq.max(first));
            return Start {
                next,
                bound: Some(state.last_seq),
                members,
            };
        }
    };
    Start {
        next,
        bound: None,
        members: VecDeque::new(),
    }
}

/// The last message of each subject up to `bound`, as far as it is not below `next`.
pub(super) fn members(
    next: u64,
    bound: u64,
    filter: &dyn KeyFilter,
    messages: &dyn MessageStore,
) -> VecDeque<u64> {
    if next > bound {
        return VecDeque::new();
    }
    let metas = messages.last_per_key(next, bound, filter, usize::MAX);
    metas.into_iter().map(|meta| meta.seq).collect()
}
