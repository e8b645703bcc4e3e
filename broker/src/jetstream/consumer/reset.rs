//! Moves a consumer to another place of its stream.

use jetwake_protocol::jetstream::consumer::DeliverPolicy;
use jetwake_protocol::jetstream::time::Time;

use super::Consumer;
use super::ctx::Ctx;
use super::state::Op;

/// A place where the deliver policy does not let a consumer go. The text is what clients see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetError {
    /// Only by-start-sequence: below its start.
    #[error("below start seq")]
    BelowStartSequence,
    /// Only by-start-time: below its start.
    #[error("below start time")]
    BelowStartTime,
    /// Not with this deliver policy.
    #[error("not allowed")]
    NotAllowed,
}

impl Consumer {
    /// Forgets what was delivered and starts at stream sequence `seq`; 0 stands for the message after the ack
    /// floor. Returns the sequence. Requests stay.
    ///
    /// # Errors
    /// The deliver policy does not allow this place.
    pub fn reset(&mut self, ctx: &mut Ctx<'_>, seq: u64) -> Result<u64, ResetError> {
        let next = if seq == 0 {
            self.state.floor.stream.saturating_add(1)
        } else {
            seq
        };
        if seq != 0 {
            self.check_reset(ctx, seq)?;
        }
        // On interest streams the stream asks again who needs what was pending.
        let pending = self
            .state
            .pending
            .iter()
            .map(|entry| entry.seq)
            .filter(|seq| *seq < next);
        ctx.released.extend(pending);
        ctx.released
            .extend(self.state.given_up.range(..next).map(|(seq, _)| *seq));
        self.record(&Op::Reset { next }, ctx.now);
        self.members.clear();
        self.count_again(ctx.messages);
        self.activity.restart(ctx.now);
        self.flush(ctx);
        self.dirty = true;
        Ok(next)
    }

    fn check_reset(&self, ctx: &Ctx<'_>, seq: u64) -> Result<(), ResetError> {
        let start_time = self.config.opt_start_time.map_or(0, Time::to_nanos);
        match self.config.deliver_policy {
            DeliverPolicy::All => Ok(()),
            DeliverPolicy::ByStartSequence if seq < self.config.opt_start_seq => {
                Err(ResetError::BelowStartSequence)
            }
            DeliverPolicy::ByStartTime if seq < ctx.messages.seq_at(start_time) => {
                Err(ResetError::BelowStartTime)
            }
            DeliverPolicy::ByStartSequence | DeliverPolicy::ByStartTime => Ok(()),
            _ => Err(ResetError::NotAllowed),
        }
    }
}
