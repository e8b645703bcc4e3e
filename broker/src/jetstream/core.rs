//! Events to streams and consumers: the top of the state machine.

use std::collections::BTreeMap;

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::advisory::{Action, StreamAction};
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::responses::{StreamDeleteResponse, encode};
use jetwake_protocol::jetstream::stream::{StorageType, StreamConfig};
use jetwake_storage::{
    JournalWriter, Lsn, MemoryMessages, Opened, Purpose, RecoveredGroup, Replay, Store,
};

use crate::jetstream::account::Account;
use crate::jetstream::advisory::advise;
use crate::jetstream::api::answer::Request;
use crate::jetstream::api::patterns;
use crate::jetstream::cluster::Cluster;
use crate::jetstream::cluster::sync::SYNC;
use crate::jetstream::cluster::wire::Say;
use crate::jetstream::commit::{Commit, What};
use crate::jetstream::consumer::Close;
use crate::jetstream::entry::Entry;
use crate::jetstream::env::{Agenda, Env};
use crate::jetstream::io::{
    AccountId, Event, Inbound, Level, NodeId, Outbox, Tag, TagKind, Timestamp,
};
use crate::jetstream::log::{GroupId, Log};
use crate::jetstream::maintenance::Maintenance;
use crate::jetstream::replica::driver::CONSENSUS;
use crate::jetstream::replica::fetch::Fetches;
use crate::jetstream::scrub::Scrub;
use crate::jetstream::settings::Settings;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::{batch, dedupe, fast};
use crate::jetstream::streams::Streams;

/// Most messages that leave before the inbox is looked at again.
const PUMP_BUDGET: usize = 4096;
/// Up to this many consumers are told of a message in a short time.
const FEW_CONSUMERS: usize = 64;

/// The parts of an [`Opened`] store that the core takes; the rest is the shell's.
#[derive(Debug)]
pub struct JetStreamStore {
    /// The owner's handle.
    pub store: Store,
    /// The groups with a checkpoint.
    pub groups: Vec<RecoveredGroup>,
    /// The records after the checkpoints.
    pub replay: Replay,
    /// Messages that cannot be read: group and sequence.
    pub lost: Vec<(u64, u64)>,
}

impl JetStreamStore {
    /// Takes an opened store apart: the core's half, and the disk thread's.
    pub fn split(opened: Opened) -> (Self, JournalWriter) {
        let Opened {
            store,
            writer,
            groups,
            replay,
            report,
        } = opened;
        (
            Self {
                store,
                groups,
                replay,
                lost: report.lost,
            },
            writer,
        )
    }
}

/// JetStream on this server.
#[derive(Debug)]
pub struct JetStream {
    core: Core,
}

/// All state.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) streams: Streams,
    pub(crate) log: Log,
    pub(crate) agenda: Agenda,
    accounts: BTreeMap<AccountId, Account>,
    /// Consumers that had more to deliver than the budget allowed.
    unfinished: Vec<(u32, u32)>,
    pub(crate) maintenance: Maintenance,
    pub(crate) scrub: Scrub,
    /// This node, among others.
    pub(crate) node: NodeId,
    /// The others, and what they agree on.
    pub(crate) cluster: Cluster,
    /// State that goes from one replica to another.
    pub(crate) fetches: Fetches,
}

impl JetStream {
    /// Brings back what the store holds, and listens.
    pub fn new(
        settings: Settings,
        opened: JetStreamStore,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Self {
        let mut core = Core {
            accounts: settings
                .accounts
                .iter()
                .map(|id| (*id, Account::default()))
                .collect(),
            settings,
            streams: Streams::default(),
            log: Log::new(opened.store),
            agenda: Agenda::default(),
            unfinished: Vec::new(),
            maintenance: Maintenance::default(),
            scrub: Scrub::default(),
            node: 0,
            cluster: Cluster::default(),
            fetches: Fetches::default(),
        };
        core.cluster.look = core.in_cluster().then_some(now);
        core.cluster.since = now;
        core.recover(opened.groups, opened.replay, now, out);
        core.note_lost(&opened.lost, now, out);
        core.listen(out);
        Self { core }
    }

    /// Takes one event.
    pub fn handle(&mut self, now: Timestamp, event: Event<'_>, out: &mut dyn Outbox) {
        let core = &mut self.core;
        match event {
            Event::Message(message) => core.message(&message, now, out),
            Event::Durable(lsn) => core.durable(lsn, now, out),
            Event::Tick => core.tick(now, out),
            Event::Interest { tag, present } => {
                core.with_stream(tag.stream, now, out, |stream, env| {
                    stream.with_consumer(tag.consumer, env, |consumer, ctx| {
                        consumer.on_interest(ctx, present);
                    });
                });
            }
            Event::Job(done) => core.job_done(done, now, out),
            Event::StoreFailed(reason) => {
                core.log.failed = true;
                out.log(Level::Error, &format!("JetStream storage failed: {reason}"));
            }
            Event::BatchEnd => core.end_batch(now, out),
            Event::Seal => {
                core.drive(now, out);
                core.log.seal();
            }
            Event::PeerUp(peer) => {
                core.greet(peer, now, out);
                core.peer_up(peer.id);
            }
            Event::PeerDown(node) => {
                core.part(node, now);
                core.peer_down(node);
                core.fetches.forget(node);
            }
            Event::Peer { from, frame } => {
                if frame.first() == Some(&CONSENSUS) {
                    core.hear(from, frame, now, out);
                } else if frame.first() == Some(&SYNC) {
                    core.hear_sync(from, frame, now, out);
                } else if Say::is_one(frame) {
                    core.hear_say(from, frame, now, out);
                }
            }
            Event::LameDuck => {
                core.hand_everything_over();
                core.drive(now, out);
            }
            Event::Shutdown => core.shut_down(now, out),
        }
    }

    /// Whether this node decides on a stream of the account `$G`.
    pub fn leads(&self, stream: &str) -> bool {
        let core = &self.core;
        let id = core.streams.id(0, stream);
        let stream = id.and_then(|id| core.streams.get(id));
        stream.is_some_and(|stream| stream.decides())
    }

    /// Has another node lead a stream of the account `$G`. False if this one does not lead it with others.
    pub fn hand_over(
        &mut self,
        stream: &str,
        heir: NodeId,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> bool {
        let core = &mut self.core;
        let id = core.streams.id(0, stream);
        let group = id.and_then(|id| core.streams.get(id)?.group);
        let Some(replica) = group.and_then(|group| core.log.replica(group)) else {
            return false;
        };
        if !replica.standing.serving || !replica.membership.voters.contains(&heir) {
            return false;
        }
        replica.consensus.transfer_to(heir);
        let group = replica.group;
        core.log.replicas.touch(group);
        core.drive(now, out);
        true
    }

    /// The number of this node; 0 without a cluster.
    pub fn node(&self) -> NodeId {
        self.core.node
    }

    /// Whether nothing waits for the journal.
    pub fn is_settled(&self) -> bool {
        let core = &self.core;
        core.log.failed || (core.log.waits().is_none() && core.has_left())
    }

    /// Whether there is something to deliver that only [`Event::BatchEnd`] does.
    pub fn wants_batch_end(&self) -> bool {
        let core = &self.core;
        !core.agenda.dirty.is_empty()
            || !core.unfinished.is_empty()
            || core.log.replicas.any_dirty()
    }

    /// Whether a message with this tag takes a short time only and reads no stored message: a publish to a stream
    /// without counters and with few consumers.
    pub fn is_short(&self, tag: Tag) -> bool {
        tag.kind == TagKind::Publish
            && self.core.streams.get(tag.stream).is_none_or(|stream| {
                !stream.config.allow_msg_counter && stream.consumers.len() <= FEW_CONSUMERS
            })
    }

    /// Whether at most this many decisions wait for the journal, all of them cheap to apply.
    pub fn waits_for_few(&self, most: usize) -> bool {
        let core = &self.core;
        core.log.commits.are_few(most)
            && core.checkpoint_at().is_none()
            && core.log.replicas.unsynced.is_empty()
    }

    /// Ends the journal: what was handed over is still written.
    pub fn stop(&mut self) {
        self.core.log.store.stop();
    }

    pub(crate) fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// When [`Event::Tick`] is due; now, if there is more to deliver than the last batch took.
    pub fn deadline(&self) -> Option<Timestamp> {
        if self.core.unfinished.is_empty() {
            let timers = self.core.agenda.timers.first();
            let maintenance = self.core.maintenance_deadline();
            let groups = self.core.log.replicas.next_tick;
            let look = self.core.cluster.look;
            let fetches = self.core.fetches.due();
            let others = maintenance.into_iter().chain(groups).chain(look);
            let others = others.chain(fetches);
            timers.into_iter().chain(others).min()
        } else {
            Some(0)
        }
    }
}

impl Core {
    /// What all accounts use.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.accounts.values()
    }

    /// An account's usage and counters.
    pub(crate) fn account(&mut self, id: AccountId) -> &mut Account {
        self.accounts.entry(id).or_default()
    }

    /// Calls into one stream and takes up what it left behind.
    pub(crate) fn with_stream<R>(
        &mut self,
        id: u32,
        now: Timestamp,
        out: &mut dyn Outbox,
        call: impl FnOnce(&mut Stream, &mut Env<'_>) -> R,
    ) -> Option<R> {
        let stream = self.streams.get_mut(id)?;
        let entered = self.log.enter(stream.group);
        let mut env = Env {
            now,
            out,
            log: &mut self.log,
            account: self.accounts.entry(stream.account).or_default(),
            settings: &self.settings,
            node: self.node,
            agenda: &mut self.agenda,
        };
        let result = call(stream, &mut env);
        stream.settle(&mut env);
        if entered {
            self.log.leave();
        }
        Some(result)
    }

    fn listen(&mut self, out: &mut dyn Outbox) {
        let tag = Tag {
            kind: TagKind::Api,
            stream: 0,
            consumer: 0,
        };
        for account in &self.settings.accounts {
            for prefix in self.settings.api_prefixes() {
                for pattern in patterns() {
                    out.listen(*account, format!("{prefix}.{pattern}").as_bytes(), tag);
                }
            }
            if let Some(domain) = &self.settings.domain {
                for bucket in ["$KV.>", "$O.>"] {
                    out.listen(
                        *account,
                        format!("$JS.{domain}.API.{bucket}").as_bytes(),
                        tag,
                    );
                }
            }
        }
    }

    fn message(&mut self, message: &Inbound<'_>, now: Timestamp, out: &mut dyn Outbox) {
        let tag = message.tag;
        if tag.kind == TagKind::Api {
            return self.api(message, now, out);
        }
        self.with_stream(tag.stream, now, out, |stream, env| match tag.kind {
            // It came too late: another node decides by now.
            kind if kind != TagKind::DirectGet && !stream.decides() => {}
            TagKind::Publish => stream.publish(message, env),
            TagKind::DirectGet => stream.direct_get(message, env),
            TagKind::Next => {
                stream.with_consumer(tag.consumer, env, |one, ctx| one.on_next(ctx, message));
            }
            TagKind::Ack => {
                stream.with_consumer(tag.consumer, env, |one, ctx| one.on_ack(ctx, message));
            }
            TagKind::FlowControl => {
                stream.with_consumer(tag.consumer, env, |one, ctx| {
                    one.on_flow_control(ctx, message);
                });
            }
            TagKind::Api | TagKind::Deliver => {}
        });
    }

    fn durable(&mut self, lsn: Lsn, now: Timestamp, out: &mut dyn Outbox) {
        self.log.became_durable(lsn);
        if let Some(at) = self.checkpoint_at().filter(|at| *at <= lsn) {
            self.apply_upto(at, now, out);
            self.take_in_fetched(at);
            self.checkpoint(now, out);
        }
        self.apply_upto(lsn, now, out);
        self.groups_durable(lsn, now, out);
    }

    pub(crate) fn apply_upto(&mut self, lsn: Lsn, now: Timestamp, out: &mut dyn Outbox) {
        while let Some(Commit { stream, what, .. }) = self.log.commits.pop(lsn) {
            let end = what.end();
            self.commit(stream, what, now, out);
            if let Some(end) = end {
                self.log.commits.bytes.free(end);
            }
        }
    }

    fn commit(&mut self, id: u32, what: What, now: Timestamp, out: &mut dyn Outbox) {
        match what {
            What::Answer { request, body } => {
                request.answer(&body, now, &self.settings, self.node, out);
            }
            What::Drop { request } => self.drop_stream(id, Some(&request), now, out),
            What::Deliver(parcel) => {
                out.publish(parcel.message());
            }
            What::Empty { account, reply } => {
                let reply = self.log.commits.bytes.get(reply);
                send_empty(account, reply, out);
            }
            What::Publish(mut item) => {
                self.with_stream(id, now, out, |stream, env| {
                    if let Some(replica) = env.log.lent() {
                        item.location = replica.locate(item.seq);
                    }
                    stream.commit_publish(&item, env)
                });
            }
            What::Ack { reply, body } => {
                self.with_stream(id, now, out, |stream, env| {
                    let reply = env.log.commits.bytes.get(reply).to_vec();
                    env.send(stream.account, &reply, &body);
                });
            }
            What::Skip {
                seq,
                timestamp,
                reply,
            } => {
                self.with_stream(id, now, out, |stream, env| {
                    stream.apply_skip(seq, timestamp);
                    stream.acknowledge_span(seq, false, reply, env);
                });
            }
            What::Duplicate { seq, reply } => {
                self.with_stream(id, now, out, |stream, env| {
                    stream.acknowledge_span(seq, true, reply, env);
                });
            }
            What::Control { entry, request } => {
                let bytes = self.log.commits.bytes.get(entry).to_vec();
                let Ok(entry) = Entry::decode(&bytes) else {
                    return;
                };
                self.with_stream(id, now, out, |stream, env| {
                    stream.commit_control(&entry, request.as_deref(), env);
                });
                if matches!(entry, Entry::Config { .. }) {
                    self.streams.index(id);
                }
            }
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        if self.tick_groups(now) {
            self.tick_leaving();
        }
        self.tick_fetches(now, out);
        while let Some((id, consumer)) = self.agenda.timers.pop(now) {
            let over = self.with_stream(id, now, out, |stream, env| {
                match consumer {
                    0 => stream.sweep(env),
                    batch::TIMER => stream.expire_batches(env),
                    fast::TIMER => stream.expire_fast(env),
                    dedupe::TIMER => stream.expire_dedupe(env),
                    _ => {}
                }
                let over = stream.with_consumer(consumer, env, |one, ctx| {
                    one.on_tick(ctx);
                    one.wants_deletion()
                });
                over.unwrap_or(false)
            });
            if over == Some(true) {
                self.delete_consumer(id, consumer, now, out);
            }
        }
    }

    fn end_batch(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let mut budget = PUMP_BUDGET;
        let mut work = std::mem::take(&mut self.unfinished);
        work.append(&mut self.agenda.dirty);
        work.sort_unstable();
        work.dedup();
        for (id, consumer) in work.drain(..) {
            let more = self.with_stream(id, now, out, |stream, env| {
                stream.pump(consumer, env, &mut budget)
            });
            if more == Some(true) {
                self.unfinished.push((id, consumer));
            }
        }
        self.agenda.dirty.clear();
        self.tend(now, out);
        self.mend_damaged(now, out);
        self.drive(now, out);
        self.log.seal();
        self.maintain(now, out);
    }

    fn shut_down(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        self.hand_everything_over();
        self.drive(now, out);
        for id in self.streams.ids() {
            self.with_stream(id, now, out, |stream, env| {
                for consumer in stream.consumers.ids() {
                    stream.with_consumer(consumer, env, |one, ctx| one.close(ctx, Close::Shutdown));
                }
            });
        }
        self.log.seal();
    }

    /// Creates a stream. The answer must wait for the log.
    pub(crate) fn create_stream(
        &mut self,
        account: AccountId,
        config: StreamConfig,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Result<(), ApiError> {
        let name = config.name.clone();
        self.create_stream_as(None, account, config, now)?;
        if let Some(id) = self.streams.id(account, &name) {
            self.with_stream(id, now, out, |stream, env| {
                stream.listen(env.settings, env.out)
            });
        }
        Ok(())
    }

    /// Creates a stream, under a number that the cluster gave it; it does not listen yet.
    pub(crate) fn create_stream_as(
        &mut self,
        group: Option<GroupId>,
        account: AccountId,
        config: StreamConfig,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        let id = self.streams.next_id();
        let stream = if config.storage == StorageType::Memory {
            Stream::new(
                id,
                None,
                account,
                config,
                now,
                Box::new(MemoryMessages::new()),
            )
        } else {
            let mut json = Vec::new();
            to_json(&config, &mut json);
            if !self.log.takes(json.len(), Purpose::Add) {
                return Err(ApiError::insufficient_resources());
            }
            let (group, messages) = self.log.create_group(group, config.first_seq, now);
            let entry = Entry::Config {
                account,
                created: now,
                config: &json,
            };
            if self.log.control(group, &entry, Purpose::Add).is_none() {
                return Err(ApiError::insufficient_resources());
            }
            Stream::new(id, Some(group), account, config, now, Box::new(messages))
        };
        let memory = stream.in_memory();
        self.account(account)
            .reserved(memory, 0, stream.config.max_bytes);
        self.streams.add(stream);
        Ok(())
    }

    /// A stream that the cluster has deleted, or moved away: nothing of it stays here.
    pub(crate) fn forget_stream(&mut self, id: u32, now: Timestamp, out: &mut dyn Outbox) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let group = stream.group;
        if stream.replicated.is_some() {
            self.stop_serving(id, now, out);
        }
        self.retire_stream(id, now, out);
        self.end_stream(id, now, out);
        if let Some(group) = group {
            self.log.replicas.take(group);
        }
    }

    /// A stream is to be deleted: nothing new reaches it. Returns what its end must wait for.
    pub(crate) fn retire_stream(
        &mut self,
        id: u32,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Option<Lsn> {
        self.streams.forget_name(id);
        let group = self.with_stream(id, now, out, |stream, env| {
            stream.deleting = true;
            stream.unlisten(env.out);
            stream.group
        });
        self.log
            .control(group.flatten()?, &Entry::Drop, Purpose::Free)
    }

    /// Ends a consumer, by request or because nobody used it.
    pub(crate) fn delete_consumer(
        &mut self,
        id: u32,
        consumer: u32,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        self.with_stream(id, now, out, |stream, env| {
            let Some(one) = stream.consumers.get(consumer) else {
                return;
            };
            let from = one.first_held();
            if let Some(group) = stream.group {
                env.log.control(
                    group,
                    &Entry::ConsumerDelete {
                        name: one.name().as_bytes(),
                    },
                    Purpose::Free,
                );
            }
            stream.close_consumer(consumer, env);
            stream.release_unneeded(from, env);
        });
    }

    /// The end of a stream.
    pub(crate) fn drop_stream(
        &mut self,
        id: u32,
        request: Option<&Request>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let consumers = self.streams.get(id).map(|stream| stream.consumers.ids());
        for consumer in consumers.unwrap_or_default() {
            self.with_stream(id, now, out, |stream, env| {
                stream.close_consumer(consumer, env)
            });
        }
        self.with_stream(id, now, out, |stream, env| {
            let event = StreamAction {
                stream: &stream.config.name,
                action: Action::Delete,
            };
            advise(&event, stream.account, env.now, env.settings, env.out);
        });
        self.end_stream(id, now, out);
        if let Some(request) = request {
            let mut body = Vec::new();
            encode(&Ok(StreamDeleteResponse { success: true }), &mut body);
            request.answer(&body, now, &self.settings, self.node, out);
        }
    }
}

impl Core {
    /// Takes a stream out.
    fn end_stream(&mut self, id: u32, now: Timestamp, out: &mut dyn Outbox) {
        self.with_stream(id, now, out, |stream, env| {
            stream.unaccount(env);
            stream.drop_batches(env);
            stream.drop_fast(env);
            env.agenda.timers.set(id, 0, None);
            env.agenda.timers.set(id, dedupe::TIMER, None);
        });
        let stream = self.streams.remove(id);
        if let Some(group) = stream.and_then(|stream| stream.group) {
            self.log.store.drop_group(group);
        }
    }
}

fn send_empty(account: AccountId, reply: &[u8], out: &mut dyn Outbox) {
    out.publish(crate::jetstream::io::Outgoing {
        account,
        route: reply,
        subject: reply,
        reply: &[],
        headers: &[],
        payload: &[],
    });
}
