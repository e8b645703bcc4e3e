//! Tells consumers what applying did: those who want the subject, found by the index, and nobody else.

use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::subject;

use crate::jetstream::consumer::ctx::Ctx;
use crate::jetstream::consumer::{Consumer, Removal};
use crate::jetstream::env::Env;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::apply::{Change, Why};

/// Calls that are gathered before they are made: what bounds the list after a large removal.
const PAIRS: usize = 1 << 16;
/// Up to here asking every consumer is cheaper than asking the index.
const FEW: usize = 2;

/// Lists that are reused from one time to the next.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    ids: Vec<u32>,
    /// Consumer and number of the change.
    pairs: Vec<(u32, usize)>,
}

impl Stream {
    /// Tells the consumers what applying did, and the account what it cost.
    pub(crate) fn notify(&mut self, env: &mut Env<'_>) {
        self.account_for(env);
        let consumers = self.consumers.len();
        if consumers == 0 || self.changes.is_empty() {
            return self.changes.clear();
        }
        let changes = std::mem::take(&mut self.changes);
        if consumers <= FEW {
            for at in 0..consumers {
                let Some(id) = self.consumers.id_at(at) else {
                    break;
                };
                self.with_consumer(id, env, |consumer, ctx| {
                    changes.iter().for_each(|one| tell(consumer, ctx, one));
                });
            }
        } else {
            self.tell_interested(&changes, env);
        }
        self.changes = changes;
        self.changes.clear();
    }

    fn tell_interested(&mut self, changes: &[Change], env: &mut Env<'_>) {
        let mut audience = std::mem::take(&mut self.audience);
        for (number, change) in changes.iter().enumerate() {
            self.find_audience(change, &mut audience.ids);
            let ids = audience.ids.iter();
            audience.pairs.extend(ids.map(|id| (*id, number)));
            if audience.pairs.len() > PAIRS {
                self.tell_pairs(&mut audience.pairs, changes, env);
            }
        }
        self.tell_pairs(&mut audience.pairs, changes, env);
        self.audience = audience;
    }

    /// Tells each consumer all its changes in one call.
    fn tell_pairs(&mut self, pairs: &mut Vec<(u32, usize)>, changes: &[Change], env: &mut Env<'_>) {
        if changes.len() > 1 {
            pairs.sort_unstable();
        }
        for group in pairs.chunk_by(|a, b| a.0 == b.0) {
            let Some((id, _)) = group.first() else {
                continue;
            };
            self.with_consumer(*id, env, |consumer, ctx| {
                for (_, number) in group {
                    if let Some(change) = changes.get(*number) {
                        tell(consumer, ctx, change);
                    }
                }
            });
        }
        pairs.clear();
    }

    fn find_audience(&mut self, change: &Change, found: &mut Vec<u32>) {
        let interest = &mut self.consumers.interest;
        match change {
            Change::Stored { key, .. } => interest.find(self.messages.key(*key), found),
            Change::Removed { key, .. } => interest.find_holders(self.messages.key(*key), found),
            Change::Purged {
                filter: Some(filter),
                ..
            } if !subject::has_wildcards(filter) => interest.find_holders(filter, found),
            Change::Purged { .. } => {
                found.clear();
                found.extend_from_slice(self.consumers.all_ids());
            }
        }
    }

    /// A consumer got a new configuration: what it was found by may have changed.
    pub(super) fn index_again(&mut self, id: u32, before: &ConsumerConfig) {
        let Some(consumer) = self.consumers.get(id) else {
            return;
        };
        if consumer.config().filters() == before.filters() {
            return;
        }
        let config = consumer.config().clone();
        self.consumers.interest.remove(id, before);
        self.consumers.interest.add(id, &config);
        self.look_for_strays(id);
    }

    /// Finds out whether a consumer holds messages that its filters do not let through.
    pub(crate) fn look_for_strays(&mut self, id: u32) {
        let messages = &*self.messages;
        let holds = |one: &Consumer| one.holds_strays(messages);
        if self.consumers.get(id).is_some_and(holds) {
            self.consumers.interest.set_stray(id);
        }
    }
}

fn tell(consumer: &mut Consumer, ctx: &mut Ctx<'_>, change: &Change) {
    match change {
        Change::Stored { seq, key } => consumer.on_stored(ctx, *seq, *key),
        Change::Removed { seq, key, why } => {
            let removal = match why {
                Why::Deleted => Removal::Deleted,
                Why::Limit => Removal::Limit,
                Why::Released => Removal::Released,
            };
            consumer.on_removed(ctx, *seq, *key, removal);
        }
        Change::Purged {
            filter: Some(filter),
            next,
            gone: Some(gone),
            ..
        } => consumer.on_purged_few(ctx, filter, gone, *next),
        Change::Purged {
            filter, upto, next, ..
        } => consumer.on_purged(ctx, filter.as_deref(), *upto, *next),
    }
}
