//! Purges: part of applying, so the committed state and the request alone decide what goes.
//!
//! A purge of some subjects costs their messages and one look at the names of all, never a look at the messages of
//! others.

use jetwake_storage::{KeyFilter, Meta};

use crate::jetstream::filter::SubjectFilter;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::apply::Change;

/// Up to so many purged messages consumers take note of each; beyond, they count again.
const FEW: usize = 1024;

impl Stream {
    /// Purges by request: how many messages went.
    pub(crate) fn apply_purge(&mut self, filter: &[u8], seq: u64, keep: u64) -> u64 {
        let everything = filter.is_empty() || filter == b">";
        let state = self.messages.state();
        match (everything, seq, keep) {
            (true, 0, 0) => self.purge_front(state.last_seq + 1),
            // The first sequence of a stream that never held anything stays 0.
            _ if state.last_seq == 0 && seq <= 1 => 0,
            (true, 0, keep) if state.messages <= keep => self.purge_front(state.first_seq),
            (true, 0, keep) => self.purge_front(self.nth_from_end(keep)),
            (true, seq, _) => self.purge_front(seq),
            (false, 0, keep) => self.purge_matching(filter, state.last_seq + 1, keep),
            (false, seq, _) => self.purge_matching(filter, seq, 0),
        }
    }

    /// Purges everything below `first_seq`; past the end, the sequence moves up.
    pub(super) fn purge_front(&mut self, first_seq: u64) -> u64 {
        let mut purged = 0;
        self.deadlines.remove_below(first_seq);
        self.messages
            .remove_front(first_seq, &mut |_, _| purged += 1);
        self.staged.last_seq = self.staged.last_seq.max(self.messages.state().last_seq);
        self.changes.push(Change::Purged {
            filter: None,
            upto: first_seq.saturating_sub(1),
            next: self.messages.state().first_seq,
            gone: None,
        });
        purged
    }

    /// Purges what matches below `below`, except the newest `keep`. Consumers of these subjects go on behind, also if
    /// there was nothing.
    pub(super) fn purge_matching(&mut self, filter: &[u8], below: u64, keep: u64) -> u64 {
        let mut gone = self.matching_below(filter, below);
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        gone.truncate(gone.len().saturating_sub(keep));
        for meta in &gone {
            self.messages.remove(meta.seq, false);
            self.deadlines.remove(meta.seq);
        }
        let left = self.messages.next_matching(0, &SubjectFilter::new(filter));
        let end = self.messages.state().last_seq.saturating_add(1);
        let few = || gone.iter().map(|meta| (meta.seq, meta.key)).collect();
        self.changes.push(Change::Purged {
            filter: Some(filter.to_vec()),
            upto: gone.last().map_or(0, |meta| meta.seq),
            next: left.map_or(end, |meta| meta.seq),
            gone: (gone.len() <= FEW).then(few),
        });
        gone.len() as u64
    }

    /// The messages below `below` on matching subjects, ascending.
    fn matching_below(&self, filter: &[u8], below: u64) -> Vec<Meta> {
        let mut found = Vec::new();
        let mut collect = |subject: &SubjectFilter| {
            let mut next = self.messages.next_matching(0, subject);
            while let Some(meta) = next.filter(|meta| meta.seq < below) {
                found.push(meta);
                next = self.messages.next_matching(meta.seq + 1, subject);
            }
        };
        let filter = SubjectFilter::new(filter);
        if filter.literal().is_some() {
            collect(&filter);
            return found;
        }
        self.messages.keys_matching(&filter, &mut |subject, _| {
            collect(&SubjectFilter::literal_of(subject));
        });
        found.sort_unstable_by_key(|meta| meta.seq);
        found
    }

    /// The sequence of the `keep`th newest message.
    fn nth_from_end(&self, keep: u64) -> u64 {
        let mut seq = self.messages.state().last_seq + 1;
        if self.messages.deleted_count() == 0 {
            return seq.saturating_sub(keep);
        }
        for _ in 0..keep {
            match self.messages.prev(seq.saturating_sub(1)) {
                Some(meta) => seq = meta.seq,
                None => break,
            }
        }
        seq
    }
}
