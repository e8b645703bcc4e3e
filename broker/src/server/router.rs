//! The routing tables as the JetStream thread uses them.

use std::sync::Arc;

use super::deliver::Deliverer;
use super::shared::Shared;
use super::{Account, Listener};
use crate::jetstream::tag::{AccountId, Tag};

/// A handle on the router; clones are cheap and may go to any thread.
#[derive(Clone, Debug)]
pub struct RouterHandle {
    shared: Arc<Shared>,
}

impl RouterHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the whole server shares.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A sender of messages for one thread.
    pub fn deliverer(&self) -> Deliverer {
        Deliverer::new(Arc::clone(&self.shared))
    }

    /// Watches interest in a literal subject. Returns whether there is interest now; the inbox is
    /// told when that changes.
    pub fn watch(
        &self,
        account: AccountId,
        subject: &[u8],
        queue: Option<&[u8]>,
        tag: Tag,
    ) -> bool {
        self.account(account)
            .is_some_and(|account| account.watch(subject, queue, Listener::JetStream(tag)))
    }

    /// Ends a watch.
    pub fn unwatch(&self, account: AccountId, tag: Tag) {
        if let Some(account) = self.account(account) {
            account.unwatch(Listener::JetStream(tag));
        }
    }

    /// What a watch sees now; `None` if it has ended.
    pub fn watched(&self, account: AccountId, tag: Tag) -> Option<bool> {
        self.account(account)?.watched(Listener::JetStream(tag))
    }

    /// Whether a message on `subject` reaches a member of `queue` or, without one, a plain
    /// subscription or a listener.
    pub fn has_interest(&self, account: AccountId, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.account(account)
            .is_some_and(|account| account.has_interest(subject, queue))
    }

    /// Whether a message on `subject` reaches anybody.
    pub fn has_any_interest(&self, account: AccountId, subject: &[u8]) -> bool {
        self.account(account)
            .is_some_and(|account| account.has_any_interest(subject))
    }

    fn account(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.shared.accounts.get(id)
    }
}
