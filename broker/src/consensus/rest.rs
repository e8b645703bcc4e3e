//! When a group rests, and when a member calls an election because its leader's node is gone.
//!
//! A leader to whom nothing happens, and whose members all have everything, says so and stops ticking; members that
//! agree stop as well. Whatever happens next wakes them.

/// Ticks without anything to do after which a leader rests.
const IDLE: u32 = 30;
/// Ticks that a member gives each one before it in rank to be elected first.
const HEAD_START: u32 = 2;
/// How often the first leader of a new group calls an election, a tick apart: the others may not have it yet.
const EAGER: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rest {
    idle: u32,
    asleep: bool,
    /// Ticks until this member calls an election.
    campaign: Option<u32>,
    /// How often it calls one more if nobody leads.
    again: u32,
}

impl Rest {
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// Something happened.
    pub(super) fn wake(&mut self) {
        self.asleep = false;
        self.idle = 0;
    }

    pub(super) fn sleep(&mut self) {
        self.asleep = true;
        self.campaign = None;
    }

    /// A tick has passed; whether there was nothing to do for so long that a leader may rest.
    pub(super) fn tick(&mut self) -> bool {
        self.idle += 1;
        self.idle >= IDLE
    }

    /// An election is to be called by the member with this rank. Whether at once.
    pub(super) fn campaign(&mut self, rank: u32) -> bool {
        self.wake();
        self.campaign = (rank > 0).then_some(rank * HEAD_START);
        rank == 0
    }

    /// The member is to lead a new group.
    pub(super) fn begin(&mut self) {
        self.wake();
        self.campaign = Some(1);
        self.again = EAGER;
    }

    /// A leader was heard of.
    pub(super) fn led(&mut self) {
        self.campaign = None;
        self.again = 0;
    }

    /// Whether the time for an election has come.
    pub(super) fn is_due(&mut self) -> bool {
        let Some(left) = &mut self.campaign else {
            return false;
        };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        self.campaign = (self.again > 0).then_some(1);
        self.again = self.again.saturating_sub(1);
        true
    }
}
