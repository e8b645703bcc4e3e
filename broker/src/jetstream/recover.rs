//! Bringing streams back from the store: checkpoints first, then the records after them, through `apply`.

use std::collections::BTreeMap;

use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::jetstream::json::{Rules, from_json};
use jetwake_protocol::jetstream::stream::StreamConfig;
use jetwake_storage::{Insert, Kind, Location, Purpose, RecoveredGroup, Replay, ReplayRecord};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::jetstream::checkpoint::{self, Head};
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Entry, Malformed};
use crate::jetstream::io::{AccountId, Level, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;
use crate::jetstream::replica::member::Member;
use crate::jetstream::replica::recover::{Rebirth, Reborn, has_stream, voters_of};
use crate::jetstream::shadow::Shadow;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::deadlines::Deadlines;
use crate::jetstream::stream::headers;

/// The streams by their number on disk.
type Groups = HashMap<GroupId, u32, FixedState>;

impl Core {
    /// Applies the records of the journal, then lets streams and consumers listen.
    pub(crate) fn recover(
        &mut self,
        checkpoints: Vec<RecoveredGroup>,
        replay: Replay,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let mut groups = Groups::default();
        let mut rebirth = Rebirth::default();
        for group in checkpoints {
            let number = group.id;
            self.log.last_group = self.log.last_group.max(number);
            if number == META {
                match self.recover_meta(&group.blob) {
                    Ok(reborn) => rebirth.extend(reborn.map(|reborn| (META, reborn))),
                    Err(Malformed) => {
                        out.log(Level::Error, "JetStream recovery: damaged cluster state");
                        self.log.store.hold_group(META);
                    }
                }
                continue;
            }
            match self.recover_group(group, now, out) {
                Ok((id, replicated)) => {
                    groups.insert(number, id);
                    if let Some((member, shadow)) = replicated {
                        rebirth.insert(number, Reborn::new(Some(id), member, shadow));
                    }
                }
                Err(Malformed) => {
                    let text = format!("JetStream recovery: damaged checkpoint of stream {number}");
                    out.log(Level::Error, &text);
                }
            }
        }
        let ran = replay.run(&mut |record| {
            self.replay(record, &mut groups, &mut rebirth, now, out);
        });
        if let Err(error) = ran {
            self.log.failed = true;
            out.log(Level::Error, &format!("JetStream recovery failed: {error}"));
        }
        self.hold_what_is_unknown(&groups, &rebirth, out);
        self.name_node();
        self.start_members(rebirth, out);
        let in_cluster = self.in_cluster();
        for id in self.streams.ids() {
            if !in_cluster
                && self
                    .streams
                    .get(id)
                    .is_some_and(|one| one.replicated.is_some())
            {
                self.streams.forget_name(id);
                continue;
            }
            let group = self.streams.get(id).and_then(|one| one.group);
            if group.is_some_and(|group| self.cluster.meta.by_group(group).is_some()) {
                // One from before the cluster may have the same name.
                self.streams.claim_name(id);
            }
            self.streams.index(id);
            let group = self.streams.get(id).and_then(|one| one.group);
            let replica = group.and_then(|group| self.log.replicas.get(group));
            let fetching = replica.is_some_and(|one| one.fetching);
            self.with_stream(id, now, out, |stream, env| {
                stream.changes.clear();
                if stream.replicated.is_some() {
                    stream.staged.last_seq = stream.messages.state().last_seq;
                    stream.account_for(env);
                    env.account
                        .reserved(stream.in_memory(), 0, stream.config.max_bytes);
                    if fetching {
                        return;
                    }
                    return stream.listen(env.settings, env.out);
                }
                if let (Some(_), Some(group)) = (stream.partial.take(), stream.group) {
                    // What is published from now on is not the rest of it.
                    env.log
                        .control(group, &Entry::Batch { count: 0 }, Purpose::Free);
                }
                stream.staged.last_seq = stream.messages.state().last_seq;
                stream.account_for(env);
                env.account
                    .reserved(stream.in_memory(), 0, stream.config.max_bytes);
                stream.open_all(env);
                stream.release_rechecked(env);
            });
        }
    }

    /// Tells the streams, by their numbers on disk, which of their messages are lost.
    pub(crate) fn note_lost(&mut self, lost: &[(u64, u64)], now: Timestamp, out: &mut dyn Outbox) {
        let mut by_group: BTreeMap<GroupId, Vec<u64>> = BTreeMap::new();
        for (group, seq) in lost {
            by_group.entry(*group).or_default().push(*seq);
        }
        if by_group.is_empty() {
            return;
        }
        for id in self.streams.ids() {
            let stream = self.streams.get(id).filter(|one| one.replicated.is_some());
            if let Some(group) = stream.and_then(|one| one.group) {
                // Others may have them.
                let seqs = by_group.get(&group).into_iter().flatten().copied();
                self.fetches.note_damaged(group, seqs);
                continue;
            }
            self.with_stream(id, now, out, |stream, env| {
                let seqs = stream.group.and_then(|group| by_group.get(&group));
                stream.note_lost(seqs.map_or(&[], Vec::as_slice), env);
            });
        }
    }

    /// Records of streams that could not be brought back stay where they are, for somebody to look at.
    fn hold_what_is_unknown(&mut self, groups: &Groups, rebirth: &Rebirth, out: &mut dyn Outbox) {
        let known = self.log.store.groups();
        let mut unknown: Vec<GroupId> = known
            .filter(|id| has_stream(*id))
            .filter(|id| !groups.contains_key(id) && !rebirth.contains_key(id))
            .collect();
        unknown.sort_unstable();
        for number in unknown {
            self.log.store.hold_group(number);
            let text = format!(
                "JetStream recovery: stream {number} is lost; its files are kept, and the journal grows"
            );
            out.log(Level::Error, &text);
        }
    }

    /// Brings a stream back as its checkpoint describes it.
    fn recover_group(
        &mut self,
        group: RecoveredGroup,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Result<(u32, Option<(Member, Shadow)>), Malformed> {
        let (
            Head {
                account,
                created,
                config,
            },
            mut rest,
        ) = checkpoint::read(&group.blob)?;
        let id = self.streams.next_id();
        let messages = Box::new(group.messages);
        self.streams.add(Stream::new(
            id,
            Some(group.id),
            account,
            config,
            created,
            messages,
        ));
        let restored = self.with_stream(id, now, out, |stream, env| {
            let messages = &*stream.messages;
            let exists = |seq| messages.meta(seq).is_some();
            stream.deadlines = Deadlines::read(&mut rest, now, exists)?;
            stream.restore_decided(&mut rest, env)
        });
        restored
            .unwrap_or(Err(Malformed))
            .map(|replicated| (id, replicated))
    }

    fn replay(
        &mut self,
        item: &ReplayRecord<'_>,
        groups: &mut Groups,
        rebirth: &mut Rebirth,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let record = &item.record;
        self.log.last_group = self.log.last_group.max(record.group);
        let id = groups.get(&record.group).copied();
        let dropped = record.index == 0 && matches!(Entry::decode(record.payload), Ok(Entry::Drop));
        if record.group == META
            && let Ok(Entry::State { state }) = Entry::decode(record.payload)
        {
            if self.replay_state(state, rebirth.get_mut(&META)).is_err() {
                out.log(Level::Error, "JetStream recovery: damaged cluster state");
            }
            return;
        }
        if self.replay_fetch(item, rebirth, now, out) {
            return;
        }
        if let Some(reborn) = rebirth.get_mut(&record.group).filter(|_| !dropped) {
            if reborn.replay(item).is_err() {
                let text = format!(
                    "JetStream recovery: damaged entry of group {}",
                    record.group
                );
                out.log(Level::Error, &text);
            }
            return;
        }
        if record.kind == Kind::Message {
            let Some(stream) = id.and_then(|id| self.streams.get_mut(id)) else {
                return;
            };
            let insert = Insert {
                seq: record.seq,
                timestamp: record.timestamp,
                key: record.key,
                headers: record.headers,
                payload: record.payload,
                location: Some(item.location),
            };
            replay_message(stream, &insert, item.damaged);
            return stream.changes.clear();
        }
        let Ok(entry) = Entry::decode(record.payload) else {
            let text = format!(
                "JetStream recovery: damaged entry of stream {}",
                record.group
            );
            return out.log(Level::Error, &text);
        };
        match (entry, id) {
            (Entry::Node { id }, _) => self.node = id,
            (
                Entry::Config {
                    account,
                    created,
                    config,
                },
                None,
            ) => {
                self.replay_creation(record.group, (account, created, config), groups);
            }
            (
                Entry::Replica {
                    account,
                    created,
                    config,
                    voters,
                    index,
                },
                id,
            ) => {
                let id = match id {
                    None if has_stream(record.group) => {
                        let entry = (account, created, config);
                        match self.replay_creation(record.group, entry, groups) {
                            Some(id) => Some(id),
                            None => return,
                        }
                    }
                    id => id,
                };
                let member = Member::begin(voters_of(voters), index);
                let shadow = self.shadow_of(id);
                rebirth.insert(record.group, Reborn::new(id, member, shadow));
            }
            (Entry::Drop, Some(id)) => {
                self.streams.forget_name(id);
                self.streams.remove(id);
                groups.remove(&record.group);
                rebirth.remove(&record.group);
                self.log.store.drop_group(record.group);
            }
            (entry, Some(id)) => {
                self.with_stream(id, now, out, |stream, env| {
                    if !stream.replay_control(&entry, env) {
                        let text = format!("stream {}: damaged entry", stream.config.name);
                        env.out.log(Level::Error, &text);
                    }
                    stream.changes.clear();
                });
            }
            // Its other records are gone or damaged; now these do not matter any more.
            (Entry::Drop, None) => self.log.store.drop_group(record.group),
            (_, None) => {}
        }
    }
}

impl Core {
    /// A stream begins, as its first record says.
    fn replay_creation(
        &mut self,
        group: GroupId,
        (account, created, config): (AccountId, Timestamp, &[u8]),
        groups: &mut Groups,
    ) -> Option<u32> {
        let parsed = from_json(config, "server.StreamConfig", Rules::Lenient);
        let config: StreamConfig = parsed.ok()?;
        let id = self.streams.next_id();
        let messages = Box::new(self.log.store.create_group(group, config.first_seq));
        self.streams.add(Stream::new(
            id,
            Some(group),
            account,
            config,
            created,
            messages,
        ));
        groups.insert(group, id);
        Some(id)
    }

    /// A local stream becomes a replica: its consumers as they are recorded.
    fn shadow_of(&mut self, id: Option<u32>) -> Shadow {
        let Some(stream) = id.and_then(|id| self.streams.get_mut(id)) else {
            return Shadow::default();
        };
        let shadow = stream.record_consumers();
        for id in stream.consumers.ids() {
            stream.consumers.remove(id);
        }
        shadow
    }
}

/// A message of a batch that may turn out to be incomplete.
#[derive(Debug)]
struct Part {
    seq: u64,
    timestamp: Timestamp,
    key: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
    location: Option<Location>,
    damaged: bool,
}

/// A batch of which not everything was read yet.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Its last sequence.
    last: u64,
    parts: Vec<Part>,
}

/// A message that is committed, of an earlier life or from the leader of the group.
pub(crate) fn replay_message(stream: &mut Stream, message: &Insert<'_>, damaged: bool) {
    let within = stream
        .partial
        .as_ref()
        .is_some_and(|one| message.seq <= one.last);
    let Some(partial) = stream.partial.as_mut().filter(|_| within) else {
        // Nothing follows a batch that was cut off but the entry that says so; this one was only damaged.
        stream.replay_partial();
        return stream.replay_insert(message, damaged);
    };
    partial.parts.push(Part {
        seq: message.seq,
        timestamp: message.timestamp,
        key: message.key.to_vec(),
        headers: message.headers.to_vec(),
        payload: message.payload.to_vec(),
        location: message.location,
        damaged,
    });
    if message.seq == partial.last {
        stream.replay_partial();
    }
}

impl Part {
    fn insert(&self) -> Insert<'_> {
        Insert {
            seq: self.seq,
            timestamp: self.timestamp,
            key: &self.key,
            headers: &self.headers,
            payload: &self.payload,
            location: self.location,
        }
    }
}

impl Stream {
    /// Applies what was read of a batch.
    fn replay_partial(&mut self) {
        for part in self.partial.take().map_or(Vec::new(), |one| one.parts) {
            self.replay_insert(&part.insert(), part.damaged);
        }
    }

    fn replay_insert(&mut self, message: &Insert<'_>, damaged: bool) {
        if damaged {
            // Its sequence was used, and nobody else may get it.
            return self.apply_skip(message.seq, message.timestamp);
        }
        let msg_id = headers::value(message.headers, b"Nats-Msg-Id");
        self.remember(msg_id, message.seq, message.timestamp);
        self.apply_publish(message);
    }

    /// Applies a control entry of an earlier life. False if it is damaged.
    pub(crate) fn replay_control(
        &mut self,
        entry: &Entry<'_>,
        env: &mut crate::jetstream::env::Env<'_>,
    ) -> bool {
        if *entry == (Entry::Batch { count: 0 }) {
            self.partial = None;
        }
        self.replay_partial();
        match *entry {
            Entry::Batch { count } if count > 0 => {
                self.partial = Some(Partial {
                    last: self.messages.state().last_seq + count,
                    parts: Vec::new(),
                });
            }
            Entry::Batch { .. } => {}
            Entry::Config { config, .. } => return self.apply_config(config),
            Entry::Skip {
                seq,
                timestamp,
                msg_id,
            } => {
                self.remember(msg_id, seq, timestamp);
                self.apply_skip(seq, timestamp);
            }
            Entry::Release { seqs } => self.apply_release(seqs),
            Entry::Delete { seq, erase } => {
                self.apply_delete(seq, erase);
            }
            Entry::Purge { filter, seq, keep } => {
                self.apply_purge(filter, seq, keep);
            }
            Entry::Expire { first_seq } => self.apply_expire(first_seq),
            Entry::ExpireEach { seqs } => self.apply_expire_each(seqs),
            Entry::Consumer {
                name,
                created,
                config,
                snapshot,
            } => {
                let parsed = from_json(config, "server.ConsumerConfig", Rules::Lenient);
                let (Ok(config), Ok(name)): (Result<ConsumerConfig, _>, _) =
                    (parsed, std::str::from_utf8(name))
                else {
                    return false;
                };
                if let Some(old) = self
                    .consumers
                    .id(name)
                    .and_then(|id| self.consumers.get(id))
                {
                    self.recheck.add(old.first_held(), u64::MAX);
                }
                return self.restore_consumer(name, created, config, snapshot, env);
            }
            Entry::ConsumerOp { name, op } => {
                let Ok(name) = std::str::from_utf8(name) else {
                    return false;
                };
                let Some(id) = self.consumers.id(name) else {
                    return true;
                };
                let Some(consumer) = self.consumers.get_mut(id) else {
                    return true;
                };
                let before = (consumer.first_held(), consumer.next_seq());
                let good = consumer.replay(op).is_ok();
                self.recheck
                    .add(before.0, before.1.max(consumer.next_seq()));
                return good;
            }
            Entry::ConsumerDelete { name } => {
                let id = std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| self.consumers.id(name));
                if let Some(gone) = id.and_then(|id| self.consumers.remove(id)) {
                    self.recheck.add(gone.first_held(), u64::MAX);
                }
            }
            // Of other groups, or of members.
            Entry::Drop
            | Entry::Replica { .. }
            | Entry::Hard { .. }
            | Entry::Noop
            | Entry::Change { .. }
            | Entry::Node { .. }
            | Entry::State { .. }
            | Entry::Fetch { .. }
            | Entry::Meta { .. } => {}
        }
        true
    }
}
