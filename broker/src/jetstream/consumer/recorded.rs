//! The recorded state of a consumer without the consumer: what a replica keeps of it.

use super::state::{Corrupt, State};

/// What was delivered, what is pending, what is due again; changed by the records of the log only.
#[derive(Clone, Debug)]
pub struct Recorded(State);

impl Recorded {
    /// Reads a snapshot.
    ///
    /// # Errors
    /// The snapshot is damaged.
    pub fn load(snapshot: &[u8]) -> Result<Self, Corrupt> {
        State::load(snapshot).map(Self)
    }

    /// Appends a snapshot.
    pub fn save(&self, into: &mut Vec<u8>) {
        self.0.save(into);
    }

    /// Performs the operations of one log record.
    ///
    /// # Errors
    /// The record is damaged; the operations before the damage have been performed.
    pub fn replay(&mut self, record: &[u8]) -> Result<(), Corrupt> {
        self.0.replay(record)
    }
}
