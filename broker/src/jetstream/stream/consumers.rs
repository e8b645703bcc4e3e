//! The consumers of a stream, and how the stream drives them.
//!
//! After every call into a consumer the stream takes up what the consumer left behind: sequences it released,
//! a new deadline, work for the end of the batch.

use std::collections::BTreeMap;

use jetwake_protocol::jetstream::advisory::{Action, ConsumerAction};
use jetwake_protocol::jetstream::consumer::{ConsumerConfig, ConsumerInfo};
use jetwake_protocol::jetstream::json::to_json;
use jetwake_storage::{Lsn, Purpose};

use crate::jetstream::advisory::advise;
use crate::jetstream::consumer::ctx::{Ctx, OpLog};
use crate::jetstream::consumer::{Close, Consumer, NewConsumer, ResetError};
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::{AccountId, Timestamp};
use crate::jetstream::log::{GroupId, Log};
use crate::jetstream::replica::held::Holding;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::interest::Interest;

/// The consumers of one stream.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    /// Ascending; apart from the consumers, so that finding one touches little memory.
    ids: Vec<u32>,
    /// The consumers with these ids. Boxed: taking one of ten thousand out moves pointers only.
    #[allow(clippy::vec_box)]
    list: Vec<Box<Consumer>>,
    names: BTreeMap<String, u32>,
    last_id: u32,
    /// How many copy to other streams.
    direct: usize,
    /// Who wants what.
    pub(super) interest: Interest,
}

impl Consumers {
    /// The id behind a name.
    pub(crate) fn id(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// A consumer.
    pub(crate) fn get(&self, id: u32) -> Option<&Consumer> {
        let at = self.ids.binary_search(&id).ok()?;
        self.list.get(at).map(|one| &**one)
    }

    /// A consumer to change.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Consumer> {
        let at = self.ids.binary_search(&id).ok()?;
        self.list.get_mut(at).map(|one| &mut **one)
    }

    /// The id of the next consumer; 0 is none's.
    fn next_id(&self) -> u32 {
        self.last_id + 1
    }

    /// Adds a consumer; its id is greater than all before.
    pub(crate) fn add(&mut self, consumer: Consumer) {
        let id = consumer.id();
        self.last_id = id;
        self.names.insert(consumer.name().to_owned(), id);
        self.direct += usize::from(consumer.config().direct);
        self.interest.add(id, consumer.config());
        self.ids.push(id);
        self.list.push(Box::new(consumer));
    }

    /// Takes a consumer out.
    pub(crate) fn remove(&mut self, id: u32) -> Option<Box<Consumer>> {
        let at = self.ids.binary_search(&id).ok()?;
        self.ids.remove(at);
        let consumer = self.list.remove(at);
        self.names.remove(consumer.name());
        self.direct -= usize::from(consumer.config().direct);
        self.interest.remove(id, consumer.config());
        Some(consumer)
    }

    /// All consumers by name.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|id| self.get(*id))
    }

    /// All consumers in the order of their creation.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.list.iter().map(|one| &**one)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The id at a place in the order of their creation.
    pub(super) fn id_at(&self, at: usize) -> Option<u32> {
        self.ids.get(at).copied()
    }

    /// All ids, ascending.
    pub(super) fn all_ids(&self) -> &[u32] {
        &self.ids
    }

    /// All ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.ids.clone()
    }

    /// How many count: those that copy to other streams do not.
    pub(crate) fn visible(&self) -> usize {
        self.list.len() - self.direct
    }
}

/// Records the operations of one stream's consumers.
#[derive(Debug)]
pub(crate) struct ConsumerLog<'a> {
    stream: u32,
    group: Option<GroupId>,
    log: &'a mut Log,
    /// An operation found no room: nothing may be confirmed.
    lost: bool,
    /// Where the last one went.
    end: Option<Lsn>,
}

impl OpLog for ConsumerLog<'_> {
    fn append(&mut self, consumer: &str, op: &[u8]) -> Option<Lsn> {
        let entry = Entry::ConsumerOp {
            name: consumer.as_bytes(),
            op,
        };
        let lsn = self.log.control(self.group?, &entry, Purpose::Free);
        if lsn.is_none() {
            self.lost = true;
            self.log.gaps.insert((self.stream, consumer.to_owned()));
        }
        self.end = lsn.or(self.end);
        lsn
    }

    fn answer_when_durable(&mut self, lsn: Option<Lsn>, account: AccountId, reply: &[u8]) {
        if !self.lost {
            self.log.answer_empty(self.stream, lsn, account, reply);
        }
    }
}

/// Lends a stream's surroundings to one of its consumers.
macro_rules! lend {
    ($stream:ident, $env:ident, $durable:expr, $ctx:ident => $call:expr) => {{
        let mut log = ConsumerLog {
            stream: $stream.id,
            group: $stream.group.filter(|_| $durable),
            log: $env.log,
            lost: false,
            end: None,
        };
        lend!($stream, $env, log, $env.out, $ctx => $call)
    }};
    ($stream:ident, $env:ident, $log:ident, $out:expr, $ctx:ident => $call:expr) => {{
        let mut $ctx = Ctx {
            now: $env.now,
            account: $stream.account,
            stream_id: $stream.id,
            stream_name: &$stream.config.name,
            domain: $env.settings.domain.as_deref(),
            messages: &*$stream.messages,
            log: &mut $log,
            out: $out,
            released: &mut $stream.released,
            unreadable: &mut $env.agenda.unreadable,
            lost: $stream.replicated.map(|_| &$stream.damage),
        };
        $call
    }};
}

impl Stream {
    /// Calls into one consumer and takes up what it left behind.
    pub(crate) fn with_consumer<R>(
        &mut self,
        id: u32,
        env: &mut Env<'_>,
        call: impl FnOnce(&mut Consumer, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let consumer = self.consumers.get_mut(id)?;
        let result = if self.replicated.is_some() && consumer.takes_acks() {
            let mut log = ConsumerLog {
                stream: self.id,
                group: self.group,
                log: env.log,
                lost: false,
                end: None,
            };
            let mut holding = Holding {
                out: env.out,
                held: Vec::new(),
            };
            let result = lend!(self, env, log, &mut holding, ctx => call(consumer, &mut ctx));
            let (held, end) = (holding.held, log.end);
            env.log.hold(self.id, held, end, env.out);
            result
        } else {
            let durable = self.replicated.is_some() || !consumer.config().memory_storage;
            lend!(self, env, durable, ctx => call(consumer, &mut ctx))
        };
        if consumer.dirty() {
            env.agenda.dirty.push((self.id, id));
        }
        let known = consumer.announced();
        let deadline = consumer.deadline();
        if deadline != known {
            env.agenda.timers.set(self.id, id, deadline);
        }
        Some(result)
    }

    /// Creates a consumer: logs it, then lets it listen. `None` if the log is closed.
    pub(crate) fn add_consumer(
        &mut self,
        name: &str,
        config: ConsumerConfig,
        env: &mut Env<'_>,
    ) -> Option<u32> {
        let id = self.consumers.next_id();
        let new = NewConsumer {
            id,
            name,
            config,
            created: env.now,
            single: self.config.max_msgs_per_subject == 1,
        };
        let durable = self.replicated.is_some() || !new.config.memory_storage;
        let consumer = lend!(self, env, durable, ctx => Consumer::new(&mut ctx, new));
        self.log_consumer(&consumer, Purpose::Add, env)?;
        self.consumers.add(consumer);
        self.with_consumer(id, env, |consumer, ctx| consumer.open(ctx));
        Some(id)
    }

    /// Brings a consumer back from the log. False if its record is damaged.
    pub(crate) fn restore_consumer(
        &mut self,
        name: &str,
        created: Timestamp,
        config: ConsumerConfig,
        snapshot: &[u8],
        env: &mut Env<'_>,
    ) -> bool {
        if let Some(old) = self.consumers.id(name) {
            self.consumers.remove(old);
        }
        let id = self.consumers.next_id();
        let new = NewConsumer {
            id,
            name,
            config,
            created,
            single: self.config.max_msgs_per_subject == 1,
        };
        let consumer = lend!(self, env, true, ctx => Consumer::restore(&mut ctx, new, snapshot));
        match consumer {
            Ok(consumer) => {
                self.consumers.add(consumer);
                true
            }
            Err(_) => false,
        }
    }

    /// Gives a consumer a new configuration. `None` if the log is closed.
    pub(crate) fn update_consumer(
        &mut self,
        id: u32,
        config: ConsumerConfig,
        env: &mut Env<'_>,
    ) -> Option<()> {
        let old = self.consumers.get(id)?;
        let (before, from) = (old.config().clone(), old.first_held());
        self.with_consumer(id, env, |consumer, ctx| consumer.update(ctx, config))?;
        self.index_again(id, &before);
        let consumer = self.consumers.get(id)?;
        self.log_consumer(consumer, Purpose::Free, env)?;
        self.release_unneeded(from, env);
        Some(())
    }

    /// Logs the whole state of a consumer whose operations found no room. False if there is none yet.
    pub(crate) fn log_again(&mut self, name: &str, env: &mut Env<'_>) -> bool {
        let id = self.consumers.id(name);
        let Some(consumer) = id.and_then(|id| self.consumers.get(id)) else {
            return true;
        };
        let logged = self.log_consumer(consumer, Purpose::Free, env).is_some();
        if logged {
            self.release_again(env);
        }
        logged
    }

    /// Pauses a consumer, or ends its pause. Until when it pauses; `None` if the log is closed.
    pub(crate) fn pause_consumer(
        &mut self,
        id: u32,
        until: Option<Timestamp>,
        env: &mut Env<'_>,
    ) -> Option<Option<Timestamp>> {
        self.with_consumer(id, env, |consumer, ctx| consumer.pause(ctx, until))?;
        let consumer = self.consumers.get(id)?;
        self.log_consumer(consumer, Purpose::Free, env)?;
        Some(consumer.paused_until())
    }

    /// Moves a consumer to another sequence, which is returned.
    pub(crate) fn reset_consumer(
        &mut self,
        id: u32,
        seq: u64,
        env: &mut Env<'_>,
    ) -> Option<Result<u64, ResetError>> {
        let from = self.consumers.get(id)?.first_held();
        let moved = self.with_consumer(id, env, |consumer, ctx| consumer.reset(ctx, seq))?;
        if moved.is_ok() {
            self.release_unneeded(from, env);
        }
        Some(moved)
    }

    fn log_consumer(&self, consumer: &Consumer, purpose: Purpose, env: &mut Env<'_>) -> Option<()> {
        let logged = self.replicated.is_some() || !consumer.config().memory_storage;
        let Some(group) = self.group.filter(|_| logged) else {
            return Some(());
        };
        let (mut config, mut snapshot) = (Vec::new(), Vec::new());
        to_json(consumer.config(), &mut config);
        consumer.snapshot(&mut snapshot);
        let (name, created) = (consumer.name().as_bytes(), consumer.created());
        let entry = Entry::Consumer {
            name,
            created,
            config: &config,
            snapshot: &snapshot,
        };
        env.log.control(group, &entry, purpose).map(|_| ())
    }

    /// What a consumer tells about itself.
    pub(crate) fn consumer_info(&mut self, id: u32, env: &mut Env<'_>) -> Option<ConsumerInfo> {
        self.with_consumer(id, env, |consumer, ctx| consumer.info(ctx))
    }

    /// Ends a consumer and lets go what only it was holding.
    pub(crate) fn close_consumer(&mut self, id: u32, env: &mut Env<'_>) {
        self.with_consumer(id, env, |consumer, ctx| consumer.close(ctx, Close::Deleted));
        let Some(consumer) = self.consumers.remove(id) else {
            return;
        };
        env.agenda.timers.set(self.id, id, None);
        let event = ConsumerAction {
            stream: &self.config.name,
            consumer: consumer.name(),
            action: Action::Delete,
        };
        advise(&event, self.account, env.now, env.settings, env.out);
    }

    /// Delivers what a dirty consumer has. Whether there is more.
    pub(crate) fn pump(&mut self, id: u32, env: &mut Env<'_>, budget: &mut usize) -> bool {
        self.with_consumer(id, env, |consumer, ctx| consumer.pump(ctx, budget))
            .unwrap_or(false)
    }

    /// Sends the answers that had nothing to wait for, and lets released messages go.
    pub(crate) fn settle(&mut self, env: &mut Env<'_>) {
        env.log.send_ready(env.out);
        self.let_go(env);
        self.note_unreadable(env);
    }
}
