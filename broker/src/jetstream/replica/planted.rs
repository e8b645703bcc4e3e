//! Bugs that the simulator's own tests plant, to see it find them.

use std::cell::Cell;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Followers answer before what they have is durable.
    AnswersBeforeSync,
    /// Terms and votes are not written.
    ForgetsVotes,
    /// A restart loses the last entry.
    LosesTail,
    /// Deliveries leave before they are committed.
    DeliversEarly,
}

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in this thread, or none.
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted.
pub(crate) fn has(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
