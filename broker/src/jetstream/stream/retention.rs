//! Interest and work-queue retention: a message leaves when its consumers are done with it.
//!
//! Consumers say which sequences they let go; the stream asks the others and logs what goes.

use jetwake_protocol::jetstream::stream::RetentionPolicy;
use jetwake_storage::Meta;

use crate::jetstream::commit::Publish;
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::stream::Stream;

const MAX: u64 = u64::MAX;
/// Most sequences of one log entry.
const BATCH: usize = 8192;

/// Sequences, both ends included.
#[derive(Clone, Copy, Debug)]
struct Range {
    from: u64,
    upto: u64,
}

/// During recovery: what has to be looked at again at its end. A removal is decided right after the operation of the
/// consumer that caused it, so only what the replayed operations were about can be in the stream in error.
#[derive(Debug)]
pub(crate) struct Recheck {
    /// Between floor and end of consumers with operations in the tail.
    settled: Range,
    /// From here on everything: it was not applied yet when the checkpoint was noted.
    tail: u64,
}

impl Default for Recheck {
    fn default() -> Self {
        Self {
            settled: Range { from: MAX, upto: 0 },
            tail: 0,
        }
    }
}

impl Recheck {
    /// Everything up to this sequence was looked at.
    pub(crate) fn set_tail(&mut self, judged: u64) {
        self.tail = judged.saturating_add(1);
    }

    /// Messages in this range may have been let go.
    pub(crate) fn add(&mut self, from: u64, upto: u64) {
        self.settled.from = self.settled.from.min(from);
        self.settled.upto = self.settled.upto.max(upto);
    }
}

impl Stream {
    /// Whether any consumer wants messages on `subject`.
    pub(crate) fn wanted(&self, key: &[u8]) -> bool {
        self.consumers.interest.any(key)
    }

    /// Removes what consumers released and nobody else needs.
    pub(crate) fn let_go(&mut self, env: &mut Env<'_>) {
        if self.released.is_empty() {
            return;
        }
        let mut released = std::mem::take(&mut self.released);
        if self.config.retention != RetentionPolicy::Limits {
            let mut holders = Vec::new();
            released.retain(|seq| {
                let meta = self.messages.meta(*seq);
                meta.is_some_and(|meta| !self.needed(&meta, &mut holders))
            });
            self.release(&released, env);
        }
    }

    /// Lets a message go that nobody wants any more by the time it is stored.
    pub(crate) fn release_unwanted(&mut self, item: &Publish, env: &Env<'_>) {
        if self.config.retention == RetentionPolicy::Interest
            && !self.wanted(env.log.commits.bytes.get(item.key))
        {
            self.released.push(item.seq);
        }
    }

    /// After a consumer of an interest stream wants less, or is gone: removes what only it was holding, which can
    /// only be from `from` on.
    pub(crate) fn release_unneeded(&mut self, from: u64, env: &mut Env<'_>) {
        if self.config.retention == RetentionPolicy::Interest {
            self.release_range(Range { from, upto: MAX }, env);
        }
    }

    /// After a recovery: removes what consumers had settled when the records of the removal were lost with the end of
    /// the journal. Looks at what the end of the journal was about, not at all messages.
    pub(crate) fn release_rechecked(&mut self, env: &mut Env<'_>) {
        let Recheck { settled, tail } = std::mem::take(&mut self.recheck);
        if self.config.retention == RetentionPolicy::Limits {
            return;
        }
        self.release_range(settled, env);
        let from = match settled.upto.checked_add(1) {
            Some(after) if settled.from <= settled.upto => tail.max(after),
            Some(_) => tail,
            None => return,
        };
        self.release_range(Range { from, upto: MAX }, env);
    }

    /// Removes what nobody needs any more, wherever it is: some of that found no room in the log.
    pub(crate) fn release_again(&mut self, env: &mut Env<'_>) {
        if self.config.retention != RetentionPolicy::Limits {
            self.release_range(Range { from: 0, upto: MAX }, env);
        }
    }

    fn release_range(&mut self, range: Range, env: &mut Env<'_>) {
        let (mut gone, mut holders) = (Vec::new(), Vec::new());
        let mut next = self.messages.next(range.from);
        while let Some(meta) = next.filter(|meta| meta.seq <= range.upto) {
            let over = match self.config.retention {
                RetentionPolicy::WorkQueue => self.is_settled(&meta, &mut holders),
                _ => !self.needed(&meta, &mut holders),
            };
            if over {
                gone.push(meta.seq);
            }
            next = self.messages.next(meta.seq + 1);
        }
        self.release(&gone, env);
    }

    /// Whether a consumer of a work queue is done with a message.
    fn is_settled(&mut self, meta: &Meta, holders: &mut Vec<u32>) -> bool {
        let subject = self.messages.key(meta.key);
        self.consumers.interest.find(subject, holders);
        let mut takers = holders.iter().filter_map(|id| self.consumers.get(*id));
        takers.any(|consumer| consumer.is_done_with(meta.seq, meta.key, &*self.messages))
    }

    /// Whether a consumer still has to see a message. Only those can that want its subject.
    fn needed(&mut self, meta: &Meta, holders: &mut Vec<u32>) -> bool {
        let subject = self.messages.key(meta.key);
        self.consumers.interest.find(subject, holders);
        let mut held = holders.iter().filter_map(|id| self.consumers.get(*id));
        held.any(|consumer| consumer.needs(meta.seq, meta.key, &*self.messages))
    }

    fn release(&mut self, seqs: &[u64], env: &mut Env<'_>) {
        for batch in seqs.chunks(BATCH) {
            let bytes: Vec<u8> = batch.iter().flat_map(|seq| seq.to_le_bytes()).collect();
            self.submit(&Entry::Release { seqs: &bytes }, None, env);
        }
    }
}

#[cfg(test)]
impl Stream {
    /// What is in the stream in error: everything that a look at all messages would let go.
    pub(crate) fn let_go_late(&mut self) -> Vec<u64> {
        let (mut late, mut holders) = (Vec::new(), Vec::new());
        let mut next = self.messages.next(0);
        while let Some(meta) = next {
            let over = match self.config.retention {
                RetentionPolicy::Limits => false,
                RetentionPolicy::WorkQueue => self.is_settled(&meta, &mut holders),
                RetentionPolicy::Interest => !self.needed(&meta, &mut holders),
            };
            late.extend(over.then_some(meta.seq));
            next = self.messages.next(meta.seq + 1);
        }
        late
    }
}
