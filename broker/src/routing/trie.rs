//! The subject trie: one level per token, with a place apart for `*` and for a final `>`.
//!
//! Inserting and removing cost as many steps as the filter has tokens; a lookup follows the literal
//! token and `*` at each level. Filters may be as long as an API request: nothing recurses along
//! them but a lookup, whose depth the published subject bounds. Filters are valid subjects (the caller has checked); published
//! subjects are any bytes.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::matches::Matches;
use super::members::Members;
use super::remote::{PeerId, Remote};
use super::shown::{Announce, Show, Shown};

/// Names a subscription for its removal. Unique within an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubId(pub u64);

/// The subscriptions and listeners of one account.
#[derive(Debug)]
pub struct Trie<S, L> {
    root: Level<S, L>,
    subscriptions: usize,
}

#[derive(Debug)]
struct Level<S, L> {
    literal: HashMap<Box<[u8]>, Node<S, L>, FixedState>,
    star: Option<Box<Node<S, L>>>,
    rest: Option<Box<Leaf<S, L>>>,
}

#[derive(Debug)]
struct Node<S, L> {
    next: Option<Box<Level<S, L>>>,
    leaf: Option<Box<Leaf<S, L>>>,
}

/// Where a way ends: the token at this offset goes, or everything below it.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    at: usize,
    below: bool,
}

/// One token of a walk over everything.
struct Way<'a, S, L> {
    after: usize,
    token: &'a [u8],
    leaf: Option<&'a Leaf<S, L>>,
    next: Option<&'a Level<S, L>>,
}

/// Everything on one filter.
#[derive(Debug)]
struct Leaf<S, L> {
    plain: Members<S>,
    queues: Vec<(Arc<[u8]>, Members<S>)>,
    listeners: Vec<L>,
    shown: Shown,
    remote: Option<Box<Remote>>,
}

impl<S, L> Leaf<S, L> {
    /// Whether a member of the queue group is here or, without one, a plain subscription or a listener.
    fn interests(&self, queue: Option<&[u8]>) -> bool {
        let local = match queue {
            None => !self.plain.is_empty() || !self.listeners.is_empty(),
            Some(queue) => self.queues.iter().any(|(name, _)| **name == *queue),
        };
        local
            || self
                .remote
                .as_ref()
                .is_some_and(|remote| remote.interests(queue))
    }
}

impl<S, L> Default for Trie<S, L> {
    fn default() -> Self {
        Self {
            root: Level::default(),
            subscriptions: 0,
        }
    }
}

impl<S, L> Default for Level<S, L> {
    fn default() -> Self {
        Self {
            literal: HashMap::default(),
            star: None,
            rest: None,
        }
    }
}

impl<S, L> Default for Node<S, L> {
    fn default() -> Self {
        Self {
            next: None,
            leaf: None,
        }
    }
}

impl<S, L> Default for Leaf<S, L> {
    fn default() -> Self {
        Self {
            plain: Members::default(),
            queues: Vec::new(),
            listeners: Vec::new(),
            shown: Shown::default(),
            remote: None,
        }
    }
}

impl<S: Clone, L: Copy + Eq> Trie<S, L> {
    /// Number of subscriptions, listeners not counted.
    pub fn len(&self) -> usize {
        self.subscriptions
    }

    /// Whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Adds a subscription on `filter`, to the queue group if one is named. Returns by how much what other nodes
    /// are told has grown.
    pub fn insert(&mut self, filter: &[u8], queue: Option<&[u8]>, id: SubId, sub: S) -> i32 {
        self.subscriptions += 1;
        let leaf = self.root.leaf_mut(filter);
        match queue {
            None => {
                leaf.plain.insert(id, sub);
                leaf.shown.add(1)
            }
            Some(name) => {
                leaf.queue_mut(name).insert(id, sub);
                1
            }
        }
    }

    /// Removes a subscription; filter and queue are the ones that it was added with. Returns it, and how what other
    /// nodes are told has changed.
    pub fn remove(&mut self, filter: &[u8], queue: Option<&[u8]>, id: SubId) -> Option<(S, i32)> {
        let removed = self.root.edit(filter, |leaf| match queue {
            None => {
                let removed = leaf.plain.remove(id)?;
                Some((removed, leaf.shown.add(-1)))
            }
            Some(name) => Some((leaf.remove_from_queue(name, id)?, -1)),
        });
        self.subscriptions -= usize::from(removed.is_some());
        removed
    }

    /// Adds a listener. The same one may listen on several filters, and several times on one. Returns by how much
    /// what other nodes are told has grown.
    pub fn listen(&mut self, filter: &[u8], listener: L, announce: Announce) -> i32 {
        let leaf = self.root.leaf_mut(filter);
        leaf.listeners.push(listener);
        leaf.shown.listen(announce, 1)
    }

    /// Removes one listener, which was added like this, and returns how what other nodes are told has changed;
    /// `None` if it was not there.
    pub fn unlisten(&mut self, filter: &[u8], listener: L, announce: Announce) -> Option<i32> {
        self.root.edit(filter, |leaf| {
            let at = leaf.listeners.iter().position(|known| *known == listener)?;
            leaf.listeners.swap_remove(at);
            Some(leaf.shown.listen(announce, -1))
        })
    }

    /// Says how much another node listens to `filter`: its members of a queue group, or anything above 0 for plain
    /// subscriptions. 0 is not at all.
    pub fn set_remote(&mut self, filter: &[u8], queue: Option<&[u8]>, peer: PeerId, weight: u32) {
        if weight > 0 {
            let leaf = self.root.leaf_mut(filter);
            let remote = leaf.remote.get_or_insert_default();
            return remote.set(peer, queue, weight);
        }
        self.root.edit(filter, |leaf| {
            let remote = leaf.remote.as_mut()?;
            remote.set(peer, queue, 0);
            if remote.is_empty() {
                leaf.remote = None;
            }
            Some(())
        });
    }

    /// Calls `show` with everything that other nodes are told: filter, queue group, and how much.
    pub fn show(&self, show: &mut Show<'_>) {
        let mut path = Vec::new();
        let mut ways = Vec::new();
        self.root.ways(0, &mut ways);
        while let Some(way) = ways.pop() {
            path.truncate(way.after);
            if way.after > 0 {
                path.push(b'.');
            }
            path.extend_from_slice(way.token);
            if let Some(leaf) = way.leaf {
                leaf.show(&path, show);
            }
            if let Some(next) = way.next {
                next.ways(path.len(), &mut ways);
            }
        }
    }

    /// Adds everybody that `subject` reaches to `matches`.
    pub fn lookup(&self, subject: &[u8], matches: &mut Matches<S, L>) {
        self.visit(subject, &mut |leaf| {
            matches.plain.extend(leaf.plain.iter().cloned());
            for (name, members) in &leaf.queues {
                matches.group(name).members.extend(members.iter().cloned());
            }
            matches.listeners.extend_from_slice(&leaf.listeners);
            if let Some(remote) = &leaf.remote {
                remote.add_to(matches);
            }
        });
    }

    /// Whether `subject` reaches a member of the queue group or, without one, a plain subscription
    /// or a listener.
    pub fn has_interest(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        let mut found = false;
        self.visit(subject, &mut |leaf| found |= leaf.interests(queue));
        found
    }

    /// Whether somebody subscribed to just this subject: like [`Trie::has_interest`], but wildcards that cover it
    /// do not count.
    pub fn has_literal_interest(&self, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.root
            .literal_leaf(subject)
            .is_some_and(|leaf| leaf.interests(queue))
    }

    /// Whether `subject` reaches anybody at all.
    pub fn has_any_interest(&self, subject: &[u8]) -> bool {
        let mut found = false;
        self.visit(subject, &mut |_| found = true);
        found
    }

    /// Calls `found` for every filter that matches. A subject with an empty token matches nothing.
    fn visit<'a>(&'a self, subject: &[u8], found: &mut dyn FnMut(&'a Leaf<S, L>)) {
        if !subject.split(is_dot).any(<[u8]>::is_empty) {
            self.root.visit(subject, found);
        }
    }
}

impl<S, L> Level<S, L> {
    fn leaf_mut(&mut self, filter: &[u8]) -> &mut Leaf<S, L> {
        let mut level = self;
        let mut rest = filter;
        loop {
            let (token, tail) = first_token(rest);
            if token == b">" && tail.is_none() {
                return level.rest.get_or_insert_default();
            }
            let node = match token {
                b"*" => &mut **level.star.get_or_insert_default(),
                _ => level.literal.entry(token.into()).or_default(),
            };
            let Some(tail) = tail else {
                return node.leaf.get_or_insert_default();
            };
            level = node.next.get_or_insert_default();
            rest = tail;
        }
    }

    /// The leaf behind literal tokens only.
    fn literal_leaf(&self, subject: &[u8]) -> Option<&Leaf<S, L>> {
        let mut level = self;
        let mut rest = subject;
        loop {
            let (token, tail) = first_token(rest);
            let node = level.literal.get(token)?;
            let Some(tail) = tail else {
                return node.leaf.as_deref();
            };
            level = node.next.as_deref()?;
            rest = tail;
        }
    }

    /// Runs `edit` on the leaf of `filter`, if there is one, and prunes what it leaves empty.
    fn edit<R>(
        &mut self,
        filter: &[u8],
        edit: impl FnOnce(&mut Leaf<S, L>) -> Option<R>,
    ) -> Option<R> {
        let place = self.place(filter)?;
        let leaf = place.as_deref_mut()?;
        let out = edit(leaf);
        if leaf.is_empty() {
            *place = None;
            self.prune(filter);
        }
        out
    }

    /// Where the leaf of `filter` is, if the way to it exists.
    fn place(&mut self, filter: &[u8]) -> Option<&mut Option<Box<Leaf<S, L>>>> {
        let mut level = self;
        let mut rest = filter;
        loop {
            let (token, tail) = first_token(rest);
            if token == b">" && tail.is_none() {
                return Some(&mut level.rest);
            }
            let node = level.node_mut(token)?;
            let Some(tail) = tail else {
                return Some(&mut node.leaf);
            };
            level = node.next.as_deref_mut()?;
            rest = tail;
        }
    }

    /// Cuts off the longest end of the way to `filter` that leads nowhere any more.
    fn prune(&mut self, filter: &[u8]) {
        let Some(cut) = self.dead_end(filter) else {
            return;
        };
        let mut level = self;
        let mut rest = filter;
        loop {
            let (token, tail) = first_token(rest);
            let at = filter.len() - rest.len();
            if at == cut.at && !cut.below {
                return level.forget(token);
            }
            let Some(node) = level.node_mut(token) else {
                return;
            };
            if at == cut.at {
                node.next = None;
                return;
            }
            let (Some(tail), Some(next)) = (tail, node.next.as_deref_mut()) else {
                return;
            };
            level = next;
            rest = tail;
        }
    }

    /// Where to cut so that nothing empty stays; `None` if all of the way is still in use.
    fn dead_end(&self, filter: &[u8]) -> Option<Cut> {
        let mut level = self;
        let mut rest = filter;
        let mut cut = Cut::default();
        loop {
            let (token, tail) = first_token(rest);
            let at = filter.len() - rest.len();
            if token == b">" && tail.is_none() {
                return (level.width() == 0 && at > 0).then_some(cut);
            }
            if level.width() > 1 {
                cut = Cut { at, below: false };
            }
            let node = level.node(token)?;
            let (Some(tail), Some(next)) = (tail, node.next.as_deref()) else {
                return node.is_empty().then_some(cut);
            };
            if node.leaf.is_some() {
                cut = Cut { at, below: true };
            }
            level = next;
            rest = tail;
        }
    }

    fn node(&self, token: &[u8]) -> Option<&Node<S, L>> {
        match token {
            b"*" => self.star.as_deref(),
            _ => self.literal.get(token),
        }
    }

    fn node_mut(&mut self, token: &[u8]) -> Option<&mut Node<S, L>> {
        match token {
            b"*" => self.star.as_deref_mut(),
            _ => self.literal.get_mut(token),
        }
    }

    fn forget(&mut self, token: &[u8]) {
        match token {
            b"*" => self.star = None,
            _ => drop(self.literal.remove(token)),
        }
    }

    /// How many ways lead on from here.
    fn width(&self) -> usize {
        self.literal.len() + usize::from(self.star.is_some()) + usize::from(self.rest.is_some())
    }

    /// The ways on from here, behind a filter's first `after` bytes.
    fn ways<'a>(&'a self, after: usize, ways: &mut Vec<Way<'a, S, L>>) {
        let literal = self.literal.iter().map(|(token, node)| (&**token, node));
        let star = self.star.as_deref().map(|node| (&b"*"[..], node));
        ways.extend(literal.chain(star).map(|(token, node)| Way {
            after,
            token,
            leaf: node.leaf.as_deref(),
            next: node.next.as_deref(),
        }));
        ways.extend(self.rest.as_deref().map(|leaf| Way {
            after,
            token: b">",
            leaf: Some(leaf),
            next: None,
        }));
    }

    /// Moves the levels below to `levels`.
    fn empty_into(&mut self, levels: &mut Vec<Self>) {
        let literal = self.literal.values_mut();
        let nodes = literal.chain(self.star.as_deref_mut());
        levels.extend(nodes.filter_map(|node| Some(*node.next.take()?)));
    }

    /// Follows the literal branch in a loop and the wildcard branches by recursion, so that the
    /// depth is the number of `*` in a filter that somebody subscribed to.
    fn visit<'a>(&'a self, subject: &[u8], found: &mut dyn FnMut(&'a Leaf<S, L>)) {
        let mut level = self;
        let mut rest = subject;
        loop {
            if let Some(leaf) = &level.rest {
                found(leaf);
            }
            let (token, tail) = first_token(rest);
            let star = level.star.as_deref();
            let literal = level.literal.get(token);
            let Some(tail) = tail else {
                [star, literal]
                    .into_iter()
                    .flatten()
                    .filter_map(|n| n.leaf.as_deref())
                    .for_each(found);
                return;
            };
            if let Some(next) = star.and_then(|node| node.next.as_deref()) {
                next.visit(tail, found);
            }
            let Some(next) = literal.and_then(|node| node.next.as_deref()) else {
                return;
            };
            level = next;
            rest = tail;
        }
    }
}

impl<S, L> Node<S, L> {
    fn is_empty(&self) -> bool {
        self.next.is_none() && self.leaf.is_none()
    }
}

impl<S, L> Drop for Level<S, L> {
    /// One level at a time: a stream may have a subject of hundreds of thousands of tokens.
    fn drop(&mut self) {
        let mut levels = Vec::new();
        self.empty_into(&mut levels);
        while let Some(mut level) = levels.pop() {
            level.empty_into(&mut levels);
        }
    }
}

impl<S, L> Leaf<S, L> {
    fn is_empty(&self) -> bool {
        self.plain.is_empty()
            && self.queues.is_empty()
            && self.listeners.is_empty()
            && self.remote.is_none()
    }

    fn show(&self, filter: &[u8], show: &mut Show<'_>) {
        self.shown.show(filter, show);
        for (name, members) in &self.queues {
            let weight = i32::try_from(members.len()).unwrap_or(i32::MAX);
            show(filter, Some(name), weight);
        }
    }

    fn queue_mut(&mut self, name: &[u8]) -> &mut Members<S> {
        let at = match self.queues.iter().position(|(known, _)| **known == *name) {
            Some(at) => at,
            None => {
                self.queues.push((name.into(), Members::default()));
                self.queues.len() - 1
            }
        };
        &mut self.queues[at].1
    }

    fn remove_from_queue(&mut self, name: &[u8], id: SubId) -> Option<S> {
        let at = self.queues.iter().position(|(known, _)| **known == *name)?;
        let members = &mut self.queues[at].1;
        let removed = members.remove(id);
        if members.is_empty() {
            self.queues.swap_remove(at);
        }
        removed
    }
}

/// The first token, and what follows its dot.
fn first_token(subject: &[u8]) -> (&[u8], Option<&[u8]>) {
    match subject.iter().position(is_dot) {
        Some(at) => (&subject[..at], Some(&subject[at + 1..])),
        None => (subject, None),
    }
}

fn is_dot(byte: &u8) -> bool {
    *byte == b'.'
}

#[cfg(test)]
mod tests;
