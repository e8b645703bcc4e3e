//! When a group rests, and when a member calls an election because its leader's node is gone.
//!
//! A leader to whom nothing happens, and whose members all have everything, says so and stops ticking; members that
//! agree stop as well. Whatever happens next wakes them.

/// Ticks without anything to do after which a leader rests.
const IDLE: u32 = 30;
/// Ticks that a member gives each one before it in rank to be elected first.
const HEAD_START: u32 = 2;
/// Ticks after which it calls for an election once more: the others may not have known yet that the leader is gone.
const RETRY: u32 = 3;
/// How often it does that before it leaves it to the ordinary timeouts.
const TRIES: u32 = 5;
/// How often the first leader of a new group calls an election, a tick apart: the others may not have it yet.
const EAGER: u32 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rest {
    idle: u32,
    asleep: bool,
    hunt: Option<Hunt>,
}

/// This member looks for a new leader.
#[derive(Debug)]
struct Hunt {
    /// Ticks until it calls an election.
    left: u32,
    /// Ticks between two of them.
    pause: u32,
    tries: u32,
}

impl Rest {
    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// A message came.
    pub(super) fn wake(&mut self) {
        self.asleep = false;
    }

    /// Something happened that is more than a sign of life.
    pub(super) fn stir(&mut self) {
        self.asleep = false;
        self.idle = 0;
    }

    pub(super) fn sleep(&mut self) {
        self.asleep = true;
        self.hunt = None;
    }

    /// A tick has passed; whether there was nothing to do for so long that a leader may rest.
    pub(super) fn tick(&mut self) -> bool {
        self.idle = self.idle.saturating_add(1);
        self.idle >= IDLE
    }

    /// An election is to be called by the member with this rank. Whether at once.
    pub(super) fn campaign(&mut self, rank: u32) -> bool {
        self.stir();
        let left = if rank == 0 {
            RETRY
        } else {
            rank.saturating_mul(HEAD_START)
        };
        self.hunt = Some(Hunt {
            left,
            pause: RETRY,
            tries: TRIES,
        });
        rank == 0
    }

    /// The member is to lead a new group.
    pub(super) fn begin(&mut self) {
        self.stir();
        self.hunt = Some(Hunt {
            left: 1,
            pause: 1,
            tries: EAGER,
        });
    }

    /// Somebody else is about to be elected.
    pub(super) fn give_way(&mut self) {
        if let Some(hunt) = &mut self.hunt {
            hunt.left = hunt.left.max(RETRY);
        }
    }

    /// Whether a new leader is looked for.
    pub(super) fn hunts(&self) -> bool {
        self.hunt.is_some()
    }

    /// A leader was heard of.
    pub(super) fn led(&mut self) {
        self.hunt = None;
    }

    /// Whether the time for an election has come.
    pub(super) fn is_due(&mut self) -> bool {
        let Some(hunt) = &mut self.hunt else {
            return false;
        };
        hunt.left = hunt.left.saturating_sub(1);
        if hunt.left > 0 {
            return false;
        }
        (hunt.left, hunt.tries) = (hunt.pause, hunt.tries - 1);
        if hunt.tries == 0 {
            self.hunt = None;
        }
        true
    }
}
