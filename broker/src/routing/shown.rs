//! What other nodes are told about one filter, besides the queue groups of clients.

/// Plain interest is told up to this count. Not only once: of two connections that subscribe to the same at the same
/// time, each tells it before it sends anything, whichever was first. So many do not do that at once.
const PLAIN_MAX: u32 = 64;

/// Gets what other nodes are told: filter, queue group, and how much.
pub type Show<'s> = dyn FnMut(&[u8], Option<&[u8]>, i32) + 's;

/// What other nodes are told about a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// Nothing: each node has its own.
    No,
    /// Each node with such a listener gets a copy.
    Each,
    /// One node gets a copy, as if the listener were in a queue group of this name.
    One(&'static [u8]),
}

impl Announce {
    /// The queue group.
    pub fn queue(self) -> Option<&'static [u8]> {
        match self {
            Self::One(name) => Some(name),
            Self::No | Self::Each => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Shown {
    /// Plain subscriptions, and listeners that get a copy on each node.
    plain: u32,
    /// Listeners of which one gets a copy.
    services: Vec<(&'static [u8], u32)>,
}

impl Shown {
    /// Counts plain interest; returns by how much what is told has grown.
    pub(super) fn add(&mut self, count: i32) -> i32 {
        let before = self.plain.min(PLAIN_MAX);
        self.plain = self.plain.saturating_add_signed(count);
        let after = self.plain.min(PLAIN_MAX);
        // Both are small.
        after as i32 - before as i32
    }

    /// Counts listeners; returns by how much what is told has grown.
    pub(super) fn listen(&mut self, announce: Announce, count: i32) -> i32 {
        let name = match announce {
            Announce::No => return 0,
            Announce::Each => return self.add(count),
            Announce::One(name) => name,
        };
        let at = self.services.iter().position(|(known, _)| *known == name);
        let at = at.unwrap_or_else(|| {
            self.services.push((name, 0));
            self.services.len() - 1
        });
        let known = &mut self.services[at].1;
        *known = known.saturating_add_signed(count);
        if *known == 0 {
            self.services.swap_remove(at);
        }
        count
    }

    pub(super) fn show(&self, filter: &[u8], show: &mut Show<'_>) {
        if self.plain > 0 {
            show(filter, None, self.plain.min(PLAIN_MAX) as i32);
        }
        for (name, count) in &self.services {
            show(
                filter,
                Some(name),
                i32::try_from(*count).unwrap_or(i32::MAX),
            );
        }
    }
}
