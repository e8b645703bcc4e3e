//! The result of a lookup: plain subscriptions, queue groups merged by name, and listeners inside
//! the server.

use std::sync::Arc;

use super::remote::PeerId;

/// Everybody that a subject reaches. Reused from lookup to lookup so that its lists keep their
/// memory.
#[derive(Debug)]
pub struct Matches<S, L> {
    /// Each of these gets a copy.
    pub plain: Vec<S>,
    /// One member of each of these gets a copy.
    pub queues: Vec<Group<S>>,
    /// Each of these gets a copy; a listener on several matching filters appears several times.
    pub listeners: Vec<L>,
    /// Each of these nodes gets one copy, however many subscriptions it has.
    pub peers: Vec<PeerId>,
}

/// The members of one queue group, over all filters that match.
#[derive(Debug)]
pub struct Group<S> {
    /// The queue's name.
    pub name: Arc<[u8]>,
    /// Its members here.
    pub members: Vec<S>,
    /// Its members on other nodes, as many as each has. A node on several filters appears several times.
    pub remote: Vec<(PeerId, u32)>,
}

impl<S, L> Default for Matches<S, L> {
    fn default() -> Self {
        Self {
            plain: Vec::new(),
            queues: Vec::new(),
            listeners: Vec::new(),
            peers: Vec::new(),
        }
    }
}

impl<S, L> Matches<S, L> {
    /// Forgets the result and keeps the memory.
    pub fn clear(&mut self) {
        self.plain.clear();
        self.queues.clear();
        self.listeners.clear();
        self.peers.clear();
    }

    /// Whether nobody is reached.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
            && self.queues.is_empty()
            && self.listeners.is_empty()
            && self.peers.is_empty()
    }

    /// The group called `name`, made if it is new. Groups are few: a scan is the fastest way.
    pub(super) fn group(&mut self, name: &Arc<[u8]>) -> &mut Group<S> {
        let at = match self.queues.iter().position(|group| group.name == *name) {
            Some(at) => at,
            None => {
                self.queues.push(Group {
                    name: Arc::clone(name),
                    members: Vec::new(),
                    remote: Vec::new(),
                });
                self.queues.len() - 1
            }
        };
        &mut self.queues[at]
    }
}
