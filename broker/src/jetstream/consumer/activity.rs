//! When a consumer was last used, and when that is too long ago.

use crate::jetstream::io::Timestamp;

/// Added to the threshold by chance, so that many consumers do not go in the same moment.
const JITTER_MIN: i64 = 100_000_000;
const JITTER_SPAN: u64 = 900_000_000;
/// The threshold that consumers get when they ask for none.
pub(super) const DEFAULT_THRESHOLD: i64 = 5_000_000_000;

/// The use of one consumer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    /// When something was last delivered, in this run.
    pub(super) last_delivery: Option<Timestamp>,
    /// When something was last acknowledged, in this run.
    pub(super) last_ack: Option<Timestamp>,
    /// How long it may be unused, `None` for ever.
    threshold: Option<i64>,
    used: Timestamp,
    held_until: Timestamp,
    watching: bool,
    over: bool,
}

/// How long a consumer may be unused, with the chance part.
pub(super) fn threshold(configured: i64, pull: bool, random: u64) -> Option<i64> {
    let jitter = JITTER_MIN.saturating_add((random % JITTER_SPAN) as i64);
    match configured {
        0 => None,
        exact if !pull && exact != DEFAULT_THRESHOLD => Some(exact),
        about => Some(about.saturating_add(jitter)),
    }
}

impl Activity {
    /// Sets how long it may be unused, counted from now.
    pub(super) fn set_threshold(&mut self, now: Timestamp, threshold: Option<i64>) {
        self.threshold = threshold;
        self.used = now;
    }

    /// A request or an ack.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.used = self.used.max(now);
    }

    /// It begins anew: nothing was delivered or acknowledged yet.
    pub(super) fn restart(&mut self, now: Timestamp) {
        (self.last_delivery, self.last_ack) = (None, None);
        self.touch(now);
    }

    /// Something was acknowledged.
    pub(super) fn acked(&mut self, now: Timestamp) {
        self.last_ack = Some(now);
        self.touch(now);
    }

    /// What was pending left the stream: the floor moves as by an ack, but nobody used the consumer.
    pub(super) fn settled(&mut self, now: Timestamp) {
        self.last_ack = Some(now);
    }

    /// Something was delivered that may be acknowledged within `wait`.
    pub(super) fn delivered(&mut self, now: Timestamp, wait: i64) {
        self.last_delivery = Some(now);
        self.touch(now);
        self.held(now, wait);
    }

    /// Messages are pending for `wait` from now.
    pub(super) fn held(&mut self, now: Timestamp, wait: i64) {
        self.held_until = self.held_until.max(now.saturating_add(wait));
    }

    /// Somebody listens to a push consumer: it is in use until told otherwise.
    pub(super) fn watched(&mut self, now: Timestamp, present: bool) {
        self.watching = present;
        self.touch(now);
    }

    /// When it may have been unused for too long.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let threshold = self.threshold.filter(|_| !self.watching && !self.over)?;
        Some(self.used.saturating_add(threshold))
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The verdict when it is time: unused for too long, unless pending messages hold it.
    pub(super) fn conclude(&mut self, now: Timestamp, pending: bool) {
        if pending && self.held_until > self.used {
            self.used = self.held_until;
        }
        self.over = self.is_due(now);
    }

    /// Whether it was unused for too long.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    #[test]
    fn chance_is_added_for_pull_and_for_the_default() {
        assert_eq!(threshold(0, true, 5), None);
        assert_eq!(threshold(S / 2, false, 5), Some(S / 2));
        assert_eq!(threshold(5 * S, false, 0), Some(5 * S + JITTER_MIN));
        assert_eq!(threshold(S, true, 7), Some(S + JITTER_MIN + 7));
    }

    #[test]
    fn pending_messages_hold_it() {
        let mut activity = Activity::default();
        activity.set_threshold(0, Some(S));
        activity.delivered(0, 3 * S);
        assert_eq!(activity.deadline(), Some(S));
        activity.conclude(S, true);
        assert!(!activity.is_over());
        assert_eq!(activity.deadline(), Some(4 * S));
        activity.conclude(4 * S, true);
        assert!(activity.is_over());
    }

    #[test]
    fn interest_holds_it_and_its_end_starts_the_clock() {
        let mut activity = Activity::default();
        activity.set_threshold(0, Some(S));
        activity.watched(0, true);
        assert_eq!(activity.deadline(), None);
        activity.watched(5 * S, false);
        assert_eq!(activity.deadline(), Some(6 * S));
    }
}
