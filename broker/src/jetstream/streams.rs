//! All streams of this server, by number and by name.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::jetstream::io::AccountId;
use crate::jetstream::stream::Stream;
use crate::jetstream::subjects::Subjects;

/// The streams of this server. Numbers are never reused within one run.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Option<Box<Stream>>>,
    names: BTreeMap<(AccountId, String), u32>,
    /// Who owns what, by account.
    subjects: BTreeMap<AccountId, Subjects>,
    /// The subjects under which a stream is in there.
    indexed: HashMap<u32, Vec<String>, FixedState>,
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
        let id = stream.id;
        self.slots.push(Some(Box::new(stream)));
        self.index(id);
    }

    /// Gives a stream its name, whichever had it.
    pub(crate) fn claim_name(&mut self, id: u32) {
        if let Some(stream) = self.get(id) {
            let key = (stream.account, stream.config.name.clone());
            self.names.insert(key, id);
        }
    }

    /// Takes note of the subjects of a stream, which may have changed.
    pub(crate) fn index(&mut self, id: u32) {
        let slot = (id as usize).checked_sub(1);
        let stream = slot.and_then(|at| self.slots.get(at)?.as_deref());
        let Some(stream) = stream.filter(|stream| !stream.deleting) else {
            return;
        };
        let wanted = &stream.config.subjects;
        let known = self.indexed.entry(id).or_default();
        if known == wanted {
            return;
        }
        let subjects = self.subjects.entry(stream.account).or_default();
        for subject in known.iter() {
            subjects.remove(subject.as_bytes(), id);
        }
        for subject in wanted {
            subjects.add(subject.as_bytes(), id);
        }
        known.clone_from(wanted);
    }

    /// Whether a stream of the account other than `except` owns what `filter` matches.
    pub(crate) fn is_owned(&self, account: AccountId, filter: &str, except: u32) -> bool {
        let subjects = self.subjects.get(&account);
        subjects.is_some_and(|one| one.overlaps(filter.as_bytes(), except))
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

    /// Frees the name and the subjects of a stream that is about to go.
    pub(crate) fn forget_name(&mut self, id: u32) {
        let Some(stream) = self.get(id) else {
            return;
        };
        let (account, name) = (stream.account, stream.config.name.clone());
        if self.id(account, &name) == Some(id) {
            self.names.remove(&(account, name));
        }
        let subjects = self.subjects.entry(account).or_default();
        for subject in self.indexed.remove(&id).unwrap_or_default() {
            subjects.remove(subject.as_bytes(), id);
        }
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
