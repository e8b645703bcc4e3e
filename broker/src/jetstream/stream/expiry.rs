//! `max_age`: messages leave when they are too old, in sweeps that never run more often than every 250 ms.
//!
//! The decision which sequences go depends on the time, so it is logged.

use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::Stream;

/// Shortest time between two sweeps, in nanoseconds.
const SWEEP: i64 = 250_000_000;

impl Stream {
    /// Sets the time of the next sweep, if none is set.
    pub(crate) fn arm_expiry(&mut self, env: &mut Env<'_>) {
        if self.config.max_age <= 0 || env.agenda.timers.get(self.id, 0).is_some() {
            return;
        }
        let state = self.messages.state();
        if state.messages > 0 {
            let due = state.first_ts.saturating_add(self.config.max_age);
            env.agenda
                .timers
                .set(self.id, 0, Some(due.max(env.now.saturating_add(SWEEP))));
        }
    }

    /// The time of a sweep has come.
    pub(crate) fn sweep(&mut self, env: &mut Env<'_>) {
        if self.config.max_age <= 0 || self.deleting {
            return;
        }
        let first_seq = self.first_fresh(env.now);
        if first_seq > self.messages.state().first_seq {
            self.submit(&Entry::Expire { first_seq }, None, env);
        }
        self.arm_expiry(env);
    }

    /// The first sequence that is not too old.
    pub(crate) fn first_fresh(&self, now: Timestamp) -> u64 {
        self.messages
            .seq_at(now.saturating_sub(self.config.max_age).saturating_add(1))
    }
}
