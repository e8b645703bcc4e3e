//! The routing table of one account: its subscriptions, its listeners and the watches on them.

use std::hash::Hash;

use super::matches::Matches;
use super::remote::PeerId;
use super::shown::Announce;
use super::trie::{SubId, Trie};
use super::watches::{Change, Watches};

/// See the module. Deterministic; the owner supplies the lock.
#[derive(Debug)]
pub struct Table<S, L> {
    trie: Trie<S, L>,
    watches: Watches<L>,
}

impl<S, L> Default for Table<S, L> {
    fn default() -> Self {
        Self {
            trie: Trie::default(),
            watches: Watches::default(),
        }
    }
}

impl<S: Clone, L: Copy + Eq + Hash> Table<S, L> {
    /// The subscriptions.
    pub fn trie(&self) -> &Trie<S, L> {
        &self.trie
    }

    /// Adds a subscription; watches that see their first interest are added to `changes`. Returns by how much what
    /// other nodes are told has grown.
    pub fn subscribe(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        id: SubId,
        sub: S,
        changes: &mut Vec<Change<L>>,
    ) -> i32 {
        let shown = self.trie.insert(filter, queue, id, sub);
        self.update(filter, changes);
        shown
    }

    /// Removes a subscription; watches that lose their last interest are added to `changes`. Returns it, and how what
    /// other nodes are told has changed.
    pub fn unsubscribe(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        id: SubId,
        changes: &mut Vec<Change<L>>,
    ) -> Option<(S, i32)> {
        let removed = self.trie.remove(filter, queue, id);
        if removed.is_some() {
            self.update(filter, changes);
        }
        removed
    }

    /// Adds a listener, which counts as plain interest. Returns by how much what other nodes are told has grown.
    pub fn listen(
        &mut self,
        filter: &[u8],
        listener: L,
        announce: Announce,
        changes: &mut Vec<Change<L>>,
    ) -> i32 {
        let shown = self.trie.listen(filter, listener, announce);
        self.update(filter, changes);
        shown
    }

    /// Removes a listener, which was added like this. Returns how what other nodes are told has changed.
    pub fn unlisten(
        &mut self,
        filter: &[u8],
        listener: L,
        announce: Announce,
        changes: &mut Vec<Change<L>>,
    ) -> i32 {
        let Some(shown) = self.trie.unlisten(filter, listener, announce) else {
            return 0;
        };
        self.update(filter, changes);
        shown
    }

    /// Says how much another node listens to `filter`, see [`Trie::set_remote`].
    pub fn set_remote(
        &mut self,
        filter: &[u8],
        queue: Option<&[u8]>,
        peer: PeerId,
        weight: u32,
        changes: &mut Vec<Change<L>>,
    ) {
        self.trie.set_remote(filter, queue, peer, weight);
        self.update(filter, changes);
    }

    /// Watches interest in a literal subject, see [`Trie::has_literal_interest`]; replaces an older watch
    /// of this name. Returns whether there is interest now.
    pub fn watch(&mut self, subject: &[u8], queue: Option<&[u8]>, watch: L) -> bool {
        let present = self.trie.has_literal_interest(subject, queue);
        self.watches.insert(subject, queue, watch, present);
        present
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, watch: L) {
        self.watches.remove(watch);
    }

    /// What a watch sees now; `None` if it has ended.
    pub fn watched(&self, watch: L) -> Option<bool> {
        self.watches.present(watch)
    }

    /// Adds everybody that `subject` reaches to `matches`.
    pub fn lookup(&self, subject: &[u8], matches: &mut Matches<S, L>) {
        self.trie.lookup(subject, matches);
    }

    fn update(&mut self, filter: &[u8], changes: &mut Vec<Change<L>>) {
        let trie = &self.trie;
        self.watches.update(
            filter,
            |subject, queue| trie.has_literal_interest(subject, queue),
            changes,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Strings = Table<&'static str, u32>;

    #[test]
    fn a_watch_turns_with_the_first_and_the_last_subscription() {
        let mut table = Strings::default();
        let mut changes = Vec::new();
        assert!(!table.watch(b"deliver.x", None, 7));
        table.subscribe(b"other.>", None, SubId(1), "a", &mut changes);
        table.subscribe(b"deliver.x", Some(b"q"), SubId(2), "b", &mut changes);
        table.subscribe(b"deliver.*", None, SubId(3), "c", &mut changes);
        assert!(
            changes.is_empty(),
            "neither others, nor queues, nor wildcards count"
        );
        table.subscribe(b"deliver.x", None, SubId(4), "d", &mut changes);
        assert_eq!(
            changes,
            [Change {
                watch: 7,
                present: true
            }]
        );
        changes.clear();
        table.unsubscribe(b"deliver.*", None, SubId(3), &mut changes);
        assert!(changes.is_empty());
        table.unsubscribe(b"deliver.x", None, SubId(4), &mut changes);
        assert_eq!(
            changes,
            [Change {
                watch: 7,
                present: false
            }]
        );
        assert_eq!(table.watched(7), Some(false));
    }

    #[test]
    fn a_queue_watch_sees_its_own_group_only() {
        let mut table = Strings::default();
        let mut changes = Vec::new();
        table.watch(b"d.x", Some(b"q"), 1);
        table.subscribe(b">", None, SubId(1), "a", &mut changes);
        table.subscribe(b"d.*", Some(b"r"), SubId(2), "b", &mut changes);
        assert!(changes.is_empty());
        table.subscribe(b"d.x", Some(b"q"), SubId(3), "c", &mut changes);
        assert_eq!(
            changes,
            [Change {
                watch: 1,
                present: true
            }]
        );
    }

    #[test]
    fn an_ended_watch_is_silent() {
        let mut table = Strings::default();
        let mut changes = Vec::new();
        table.watch(b"d", None, 1);
        table.watch(b"d", None, 2);
        table.unwatch(1);
        table.subscribe(b"d", None, SubId(1), "a", &mut changes);
        assert_eq!(
            changes,
            [Change {
                watch: 2,
                present: true
            }]
        );
        assert_eq!(table.watched(1), None);
    }
}
