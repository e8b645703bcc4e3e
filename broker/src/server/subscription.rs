//! A subscription of a connection, as the routing tables hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Account;
use super::closed::SubscriptionSummary;
use super::connection::Connection;
use crate::routing::SubId;

/// See the module. Shared by the routing table, the connection and lookups that publishers
/// remember.
#[derive(Debug)]
pub struct Subscription {
    pub(super) connection: Arc<Connection>,
    pub(super) account: Arc<Account>,
    pub(super) id: SubId,
    pub(super) filter: Box<[u8]>,
    pub(super) queue: Option<Box<[u8]>>,
    pub(super) sid: Box<[u8]>,
    /// Messages since SUB.
    delivered: AtomicU64,
    /// Messages since SUB after which it ends, 0 = never.
    max: AtomicU64,
    closed: AtomicBool,
}

/// Whether a subscription takes one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// No: it has ended.
    Ended,
    /// Yes.
    Taken,
    /// Yes, and it was the last one: the taker removes the subscription.
    Last,
}

impl Subscription {
    pub(super) fn new(
        connection: Arc<Connection>,
        account: Arc<Account>,
        id: SubId,
        (filter, queue, sid): (&[u8], Option<&[u8]>, &[u8]),
    ) -> Self {
        Self {
            connection,
            account,
            id,
            filter: filter.into(),
            queue: queue.map(Into::into),
            sid: sid.into(),
            delivered: AtomicU64::new(0),
            max: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Counts one message in.
    #[inline]
    pub(super) fn claim(&self) -> Claim {
        if self.closed.load(Ordering::Relaxed) {
            return Claim::Ended;
        }
        let number = self.delivered.fetch_add(1, Ordering::Relaxed) + 1;
        match self.max.load(Ordering::Relaxed) {
            0 => Claim::Taken,
            max if number < max => Claim::Taken,
            max if number == max => Claim::Last,
            _ => Claim::Ended,
        }
    }

    /// Ends the subscription after `max` messages since SUB; true if that many were delivered
    /// already.
    pub(super) fn limit(&self, max: u64) -> bool {
        self.max.store(max, Ordering::Relaxed);
        self.delivered.load(Ordering::Relaxed) >= max
    }

    /// Marks it as ended; true for the first caller, who takes it out of the tables.
    pub(super) fn end(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed)
    }

    /// Whether its maximum was reached.
    pub(super) fn is_used_up(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        max > 0 && self.delivered.load(Ordering::Relaxed) >= max
    }

    /// What monitoring shows of it.
    pub(super) fn summary(&self) -> SubscriptionSummary {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        SubscriptionSummary {
            account: self.account.name.to_string(),
            subject: text(&self.filter),
            queue: self.queue.as_deref().map(text).unwrap_or_default(),
            sid: text(&self.sid),
            delivered: self.delivered(),
            max: self.max(),
        }
    }

    /// Messages since SUB.
    pub(super) fn delivered(&self) -> u64 {
        let delivered = self.delivered.load(Ordering::Relaxed);
        match self.max.load(Ordering::Relaxed) {
            0 => delivered,
            max => delivered.min(max),
        }
    }

    /// Messages after which it ends, 0 = never.
    pub(super) fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }
}
