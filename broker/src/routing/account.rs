//! The accounts of a server, each with its routing table, made shareable between publishers.
//!
//! The table's lock is taken for one lookup or one change and released before anything else
//! happens: nobody writes to a socket, waits, or takes another lock under it.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use super::cache::LookupCache;
use super::matches::Matches;
use super::remote::PeerId;
use super::shown::Announce;
use super::table::Table;
use super::trie::SubId;
use super::watches::Change;

/// One account.
#[derive(Debug)]
pub struct Account<S, L> {
    /// Its number, the index in [`Accounts`].
    pub id: u32,
    /// Its name.
    pub name: Box<str>,
    table: RwLock<Table<S, L>>,
    /// Raised by every change while the table's lock is held. Starts at 1.
    generation: AtomicU64,
}

/// What a change of subscriptions or listeners brought about.
#[derive(Debug)]
pub struct Changed<L> {
    /// Watches that turned.
    pub watches: Vec<Change<L>>,
    /// By how much what other nodes are told has grown.
    pub shown: i32,
    /// The account's generation from this change on.
    pub generation: u64,
}

/// How much another node listens to a filter.
#[derive(Clone, Copy, Debug)]
pub struct Listens<'a> {
    /// The filter.
    pub filter: &'a [u8],
    /// The queue group; plain subscriptions without one.
    pub queue: Option<&'a [u8]>,
    /// Members of the group, or anything above 0 for plain subscriptions. 0 is not at all.
    pub weight: u32,
}

impl<S: Clone, L: Copy + Eq + Hash> Account<S, L> {
    fn new(id: u32, name: &str) -> Self {
        let table = RwLock::new(Table::default());
        Self {
            id,
            name: name.into(),
            table,
            generation: AtomicU64::new(1),
        }
    }

    /// Adds a subscription.
    pub fn subscribe(&self, filter: &[u8], queue: Option<&[u8]>, id: SubId, sub: S) -> Changed<L> {
        self.change(|table, changes| table.subscribe(filter, queue, id, sub, changes))
    }

    /// Removes a subscription.
    pub fn unsubscribe(&self, filter: &[u8], queue: Option<&[u8]>, id: SubId) -> Changed<L> {
        let mut removed = None;
        let changed = self.change(|table, changes| {
            removed = table.unsubscribe(filter, queue, id, changes);
            removed.as_ref().map_or(0, |(_, shown)| *shown)
        });
        // Not under the lock: the last handle of a subscription may be the last one of its connection.
        drop(removed);
        changed
    }

    /// Adds a listener.
    pub fn listen(&self, filter: &[u8], listener: L, announce: Announce) -> Changed<L> {
        self.change(|table, changes| table.listen(filter, listener, announce, changes))
    }

    /// Removes a listener, which was added like this.
    pub fn unlisten(&self, filter: &[u8], listener: L, announce: Announce) -> Changed<L> {
        self.change(|table, changes| table.unlisten(filter, listener, announce, changes))
    }

    /// Says to what another node listens, and returns the watches that turned.
    pub fn set_remote<'a>(
        &self,
        peer: PeerId,
        listens: impl Iterator<Item = Listens<'a>>,
    ) -> Vec<Change<L>> {
        let changed = self.change(|table, changes| {
            for one in listens {
                table.set_remote(one.filter, one.queue, peer, one.weight, changes);
            }
            0
        });
        changed.watches
    }

    /// Calls `show` with everything that other nodes are told, see [`super::Trie::show`], and returns the generation
    /// that it belongs to: what changes later has a greater one.
    pub fn show(&self, mut show: impl FnMut(&[u8], Option<&[u8]>, i32)) -> u64 {
        let table = self.table.read();
        table.trie().show(&mut show);
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a watch and returns whether there is interest now, see [`Table::watch`].
    pub fn watch(&self, subject: &[u8], queue: Option<&[u8]>, watch: L) -> bool {
        self.table.write().watch(subject, queue, watch)
    }

    /// Ends a watch.
    pub fn unwatch(&self, watch: L) {
        self.table.write().unwatch(watch);
    }

    /// What a watch sees now; `None` if it has ended.
    pub fn watched(&self, watch: L) -> Option<bool> {
        self.table.read().watched(watch)
    }

    /// See [`super::Trie::has_interest`].
    pub fn has_interest(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.table.read().trie().has_interest(subject, queue)
    }

    /// See [`super::Trie::has_any_interest`].
    pub fn has_any_interest(&self, subject: &[u8]) -> bool {
        self.table.read().trie().has_any_interest(subject)
    }

    /// Number of subscriptions.
    pub fn subscriptions(&self) -> usize {
        self.table.read().trie().len()
    }

    /// Whom `subject` reaches, from the publisher's cache where it is still valid.
    pub fn lookup<'c>(
        &self,
        cache: &'c mut LookupCache<S, L>,
        subject: &[u8],
    ) -> &'c Matches<S, L> {
        let generation = self.generation.load(Ordering::Acquire);
        cache.lookup(self.id, generation, subject, |matches| {
            let table = self.table.read();
            table.lookup(subject, matches);
            self.generation.load(Ordering::Acquire)
        })
    }

    /// Whom `subject` reaches, for publishers without a cache.
    pub fn lookup_uncached(&self, subject: &[u8]) -> Matches<S, L> {
        let mut matches = Matches::default();
        self.table.read().lookup(subject, &mut matches);
        matches
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Table<S, L>, &mut Vec<Change<L>>) -> i32,
    ) -> Changed<L> {
        let mut watches = Vec::new();
        let mut table = self.table.write();
        let shown = change(&mut table, &mut watches);
        let generation = self.generation.fetch_add(1, Ordering::Release) + 1;
        Changed {
            watches,
            shown,
            generation,
        }
    }
}

/// The accounts of a server. Their number is fixed at the start.
#[derive(Debug)]
pub struct Accounts<S, L> {
    accounts: Vec<Arc<Account<S, L>>>,
}

impl<S: Clone, L: Copy + Eq + Hash> Default for Accounts<S, L> {
    fn default() -> Self {
        let names = ["$G", "$SYS"];
        let accounts = names
            .iter()
            .zip(0..)
            .map(|(name, id)| Arc::new(Account::new(id, name)));
        Self {
            accounts: accounts.collect(),
        }
    }
}

impl<S, L> Accounts<S, L> {
    /// Number of the account that connections without another one use.
    pub const GLOBAL: u32 = 0;
    /// Number of the system account.
    pub const SYSTEM: u32 = 1;

    /// The account with this number.
    pub fn get(&self, id: u32) -> Option<&Arc<Account<S, L>>> {
        self.accounts.get(id as usize)
    }

    /// The account with this name.
    pub fn named(&self, name: &[u8]) -> Option<&Arc<Account<S, L>>> {
        self.iter().find(|account| account.name.as_bytes() == name)
    }

    /// All accounts.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account<S, L>>> {
        self.accounts.iter()
    }

    /// The account that connections without another one use.
    pub fn global(&self) -> &Arc<Account<S, L>> {
        &self.accounts[Self::GLOBAL as usize]
    }
}
