//! How many matching messages are not delivered yet.
//!
//! A running number that is taken from the index at every point where it could be doubted, and that knows up to
//! which sequence it has counted, so that a message is never counted twice.

use super::deliver::Choice;

/// The number of matching messages that were never delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NumPending {
    count: u64,
    counted: u64,
}

impl NumPending {
    /// The number.
    pub(super) fn get(self) -> u64 {
        self.count
    }

    /// The number after a delivery.
    pub(super) fn after(self, choice: &Choice) -> u64 {
        let taken = choice.is_first() && choice.seq <= self.counted;
        self.count.saturating_sub(u64::from(taken))
    }

    /// The exact number, with everything up to `counted` taken into account.
    pub(super) fn set(&mut self, count: u64, counted: u64) {
        *self = Self {
            count,
            counted: self.counted.max(counted),
        };
    }

    /// A matching message came.
    pub(super) fn add(&mut self, seq: u64) {
        self.count += u64::from(seq > self.counted);
    }

    /// Everything up to here was looked at.
    pub(super) fn looked_at(&mut self, seq: u64) {
        self.counted = self.counted.max(seq);
    }

    /// A message was delivered for the first time, or left the stream undelivered.
    pub(super) fn take(&mut self, seq: u64) {
        self.count = self.count.saturating_sub(u64::from(seq <= self.counted));
    }
}
