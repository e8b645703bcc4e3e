//! What a stream tells about itself.

use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::stream::{ClusterInfo, StreamInfo, StreamState};

use crate::jetstream::advisory::base62;
use crate::jetstream::io::Timestamp;
use crate::jetstream::settings::Settings;
use crate::jetstream::stream::Stream;

impl Stream {
    /// The counters, without details.
    pub(crate) fn state(&self) -> StreamState {
        let state = self.messages.state();
        let time = |nanos: i64| {
            if nanos == 0 {
                Time::ZERO
            } else {
                Time::from_nanos(nanos)
            }
        };
        let span = (state.last_seq + 1).saturating_sub(state.first_seq);
        StreamState {
            messages: state.messages,
            bytes: state.bytes,
            first_seq: state.first_seq,
            first_ts: time(state.first_ts),
            last_seq: state.last_seq,
            last_ts: time(state.last_ts),
            num_subjects: state.keys,
            num_deleted: if state.last_seq == 0 {
                0
            } else {
                span.saturating_sub(state.messages)
            },
            consumer_count: self.consumers.visible() as u64,
            ..StreamState::default()
        }
    }

    /// The counters with every deleted sequence.
    pub(crate) fn state_with_deleted(&self) -> StreamState {
        let mut state = self.state();
        if state.first_seq == 0 && !self.in_memory() {
            // The peer counts sequence 0 of a file that never held anything.
            state.num_deleted = 1;
            state.deleted = vec![0];
        } else {
            self.messages.deleted(&mut |seq| state.deleted.push(seq));
        }
        state.lost = self.damage.data();
        state
    }

    /// Everything about the stream, as in a list.
    pub(crate) fn info(&self, now: Timestamp) -> StreamInfo {
        StreamInfo {
            config: self.config.clone(),
            created: Time::from_nanos(self.created),
            state: self.state(),
            ts: Time::from_nanos(now),
            ..StreamInfo::default()
        }
    }

    /// Eight characters that tell this stream from another of the same name.
    pub(crate) fn identity(&self) -> String {
        let mut mixed = self.created.unsigned_abs();
        for _ in 0..2 {
            mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
        }
        base62(mixed, 8)
    }

    /// Who leads a stream of a single server.
    pub(crate) fn leader(settings: &Settings) -> ClusterInfo {
        let cluster = settings.cluster.as_ref();
        ClusterInfo {
            name: cluster.map_or_else(String::new, |one| one.name.clone()),
            leader: settings.server_name.clone(),
            ..ClusterInfo::default()
        }
    }
}
