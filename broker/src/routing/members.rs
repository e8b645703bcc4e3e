//! The subscriptions that share a subject filter (and a queue name): a dense list that is cheap to
//! copy from, with removal in constant time however long it is.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::trie::SubId;

/// Below this many members a scan beats an index, and saves its memory.
const INDEX_FROM: usize = 32;

#[derive(Debug)]
pub(super) struct Members<S> {
    items: Vec<(SubId, S)>,
    /// Position of each id in `items`, kept from [`INDEX_FROM`] members on.
    index: Option<Box<HashMap<SubId, usize, FixedState>>>,
}

impl<S> Default for Members<S> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            index: None,
        }
    }
}

impl<S> Members<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &S> {
        self.items.iter().map(|(_, sub)| sub)
    }

    pub(super) fn insert(&mut self, id: SubId, sub: S) {
        let at = self.items.len();
        self.items.push((id, sub));
        if let Some(index) = &mut self.index {
            index.insert(id, at);
        } else if self.items.len() >= INDEX_FROM {
            let ids = self.items.iter().enumerate().map(|(at, (id, _))| (*id, at));
            self.index = Some(Box::new(ids.collect()));
        }
    }

    pub(super) fn remove(&mut self, id: SubId) -> Option<S> {
        let at = match &mut self.index {
            Some(index) => index.remove(&id)?,
            None => self.items.iter().position(|(known, _)| *known == id)?,
        };
        let (_, sub) = self.items.swap_remove(at);
        if let (Some(index), Some((moved, _))) = (&mut self.index, self.items.get(at)) {
            index.insert(*moved, at);
        }
        if self.items.len() < INDEX_FROM / 2 {
            self.index = None;
        }
        Some(sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_finds_every_member_with_and_without_the_index() {
        let mut members = Members::default();
        for id in 0..100 {
            members.insert(SubId(id), id);
        }
        for id in (0..100)
            .rev()
            .filter(|id| id % 3 == 0)
            .chain((0..100).filter(|id| id % 3 != 0))
        {
            assert_eq!(members.remove(SubId(id)), Some(id));
            assert_eq!(members.remove(SubId(id)), None);
        }
        assert!(members.is_empty());
    }
}
