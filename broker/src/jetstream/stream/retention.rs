//! Interest and work-queue retention: a message leaves when its consumers are done with it.
//!
//! Consumers say which sequences they let go; the stream asks the others and logs what goes.

use jetwake_protocol::jetstream::stream::RetentionPolicy;
use jetwake_storage::Meta;

use crate::jetstream::commit::Publish;
use crate::jetstream::consumer::Consumer;
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::stream::Stream;

/// Most sequences of one log entry.
const BATCH: usize = 8192;

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

    /// After a consumer is gone from an interest stream: removes what only it was holding.
    pub(crate) fn release_unneeded(&mut self, env: &mut Env<'_>) {
        if self.config.retention != RetentionPolicy::Interest {
            return;
        }
        let (mut unneeded, mut holders) = (Vec::new(), Vec::new());
        let mut next = self.messages.next(0);
        while let Some(meta) = next {
            if !self.needed(&meta, &mut holders) {
                unneeded.push(meta.seq);
            }
            next = self.messages.next(meta.seq + 1);
        }
        self.release(&unneeded, env);
    }

    /// After a recovery: removes from a work queue what its consumers had settled when the records of the removal
    /// were lost with the end of the journal.
    pub(crate) fn release_settled(&mut self, env: &mut Env<'_>) {
        if self.config.retention != RetentionPolicy::WorkQueue {
            return;
        }
        // Beyond what was delivered nothing can be settled.
        let end = self
            .consumers
            .iter()
            .map(Consumer::next_seq)
            .max()
            .unwrap_or(0);
        let mut settled = Vec::new();
        let mut next = self.messages.next(0);
        while let Some(meta) = next.filter(|meta| meta.seq < end) {
            let done =
                |consumer: &Consumer| consumer.is_done_with(meta.seq, meta.key, &*self.messages);
            if self.consumers.iter().any(done) {
                settled.push(meta.seq);
            }
            next = self.messages.next(meta.seq + 1);
        }
        self.release(&settled, env);
    }

    /// Whether a consumer still has to see a message. Only those can that want its subject, or did once.
    fn needed(&mut self, meta: &Meta, holders: &mut Vec<u32>) -> bool {
        let subject = self.messages.key(meta.key);
        self.consumers.interest.find_holders(subject, holders);
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
