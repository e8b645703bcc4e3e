//! All streams of this server, by number and by name.

use std::collections::BTreeMap;

use crate::jetstream::io::AccountId;
use crate::jetstream::stream::Stream;

/// The streams of this server. Numbers are never reused within one run.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Box<Stream>>>,
    names: BTreeMap<(AccountId, String), u32>,
}

impl Streams {
    /// The number that the next stream gets; 0 is none's.
    pub(crate) fn next_id(&self) -> u32 {
        u32::try_from(self.slots.len() + 1).unwrap_or(u32::MAX)
    }

    /// Adds a stream under its number, which must be the next one.
    pub(crate) fn add(&mut self, stream: Stream) {
        debug_assert_eq!(stream.id, self.next_id());
        self.names
            .insert((stream.account, stream.config.name.clone()), stream.id);
        self.slots.push(Some(Box::new(stream)));
    }

    /// A stream.
    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        self.slots.get((id as usize).checked_sub(1)?)?.as_deref()
    }

    /// A stream to change.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.slots
            .get_mut((id as usize).checked_sub(1)?)?
            .as_deref_mut()
    }

    /// The number behind a name.
    pub(crate) fn id(&self, account: AccountId, name: &str) -> Option<u32> {
        self.names.get(&(account, name.to_owned())).copied()
    }

    /// Frees the name of a stream that is about to go.
    pub(crate) fn forget_name(&mut self, id: u32) {
        self.names.retain(|_, other| *other != id);
    }

    /// Takes a stream out.
    pub(crate) fn remove(&mut self, id: u32) -> Option<Box<Stream>> {
        self.slots.get_mut((id as usize).checked_sub(1)?)?.take()
    }

    /// The streams of an account by name.
    pub(crate) fn of(&self, account: AccountId) -> impl Iterator<Item = &Stream> {
        let first = (account, String::new());
        self.names
            .range(first..)
            .take_while(move |((owner, _), _)| *owner == account)
            .filter_map(|(_, id)| self.get(*id))
    }

    /// All numbers in use.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.slots
            .iter()
            .flatten()
            .map(|stream| stream.id)
            .collect()
    }
}
