//! Members that lack state fetch it from another member, and give theirs to those who ask: the exchange of
//! [`cluster::sync`](crate::jetstream::cluster::sync) on this node's streams, journal and links.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::peer::sync::{Answer, Ask, Message, State, is_ask};
use jetwake_storage::{Insert, Location, Lsn, MemoryMessages, MessageStore};

use super::member::Member;
use super::{META, Replica};
use crate::jetstream::checkpoint;
use crate::jetstream::cluster::sync::follower::{Follower, Local, Progress};
use crate::jetstream::cluster::sync::server::{Server, Source};
use crate::jetstream::core::Core;
use crate::jetstream::entry::{Entry, Malformed};
use crate::jetstream::env::Env;
use crate::jetstream::io::{Lane, Level, NodeId, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::shadow::Shadow;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::deadlines::Deadlines;
use crate::jetstream::stream::dedupe::Dedupe;

/// A message that is in the journal and not durable yet.
#[derive(Debug)]
struct Arrived {
    end: Lsn,
    again: bool,
    message: Owned,
}

/// A message with its bytes.
#[derive(Debug)]
struct Owned {
    seq: u64,
    timestamp: Timestamp,
    key: Vec<u8>,
    headers: Vec<u8>,
    payload: Vec<u8>,
    location: Location,
}

impl Owned {
    fn insert(&self) -> Insert<'_> {
        Insert {
            seq: self.seq,
            timestamp: self.timestamp,
            key: &self.key,
            headers: &self.headers,
            payload: &self.payload,
            location: Some(self.location),
        }
    }
}

/// One exchange in which this node asks.
#[derive(Debug)]
struct Fetch {
    follower: Follower,
    arrived: VecDeque<Arrived>,
    /// What was appended for it ends here, if that is not durable yet.
    end: Option<Lsn>,
    /// A state before this index does not help.
    least: u64,
}

/// All exchanges.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    server: Server,
    active: BTreeMap<GroupId, Fetch>,
    /// Damaged messages that are to be asked for.
    pub(super) damaged: BTreeMap<GroupId, BTreeSet<u64>>,
}

impl Fetches {
    /// When something is to be done without an event.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let active = self.active.values().map(|one| one.follower.due());
        active.chain(self.server.due()).min()
    }

    /// A node cannot be reached any more.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.server.forget(node);
    }

    /// Whether this group asks for anything.
    pub(super) fn is_active(&self, group: GroupId) -> bool {
        self.active.contains_key(&group)
    }

    pub(super) fn begin(&mut self, group: GroupId, follower: Follower, least: u64) {
        let fetch = Fetch {
            follower,
            arrived: VecDeque::new(),
            end: None,
            least,
        };
        self.active.insert(group, fetch);
    }
}

/// A replica that gives its state.
struct Given<'a> {
    stream: &'a Stream,
    replica: &'a Replica,
}

impl Source for Given<'_> {
    fn messages(&self) -> &dyn MessageStore {
        &*self.stream.messages
    }

    fn applied(&self) -> (u64, u64) {
        self.replica.settled()
    }

    fn note(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.stream.checkpoint_head());
        for part in self.stream.deadlines.parts() {
            into.extend_from_slice(part);
        }
        for part in self.stream.note_replica(self.replica).parts() {
            into.extend_from_slice(part);
        }
    }
}

/// This node's hand in an exchange in which it asks.
pub(super) struct Hand<'a> {
    core: &'a mut Core,
    out: &'a mut dyn Outbox,
    now: Timestamp,
    group: GroupId,
    stream: u32,
    least: u64,
    arrived: &'a mut VecDeque<Arrived>,
    end: &'a mut Option<Lsn>,
    nothing: MemoryMessages,
}

impl Hand<'_> {
    fn replica(&mut self) -> Option<&mut Replica> {
        self.core.log.replicas.get_mut(self.group)
    }
}

impl Local for Hand<'_> {
    fn messages(&self) -> &dyn MessageStore {
        // `with_fetch` has looked that it is there.
        match self.core.streams.get(self.stream) {
            Some(stream) => &*stream.messages,
            None => &self.nothing,
        }
    }

    fn applied(&self) -> u64 {
        let replica = self.core.log.replicas.get(self.group);
        let least = self.least.saturating_sub(1);
        replica.map_or(least, |one| {
            let passed_over = one.passed_over.saturating_sub(1);
            one.settled().0.max(passed_over).max(least)
        })
    }

    fn begin(&mut self, fresh: bool) -> bool {
        let Some(replica) = self.replica() else {
            return false;
        };
        replica.fetching = true;
        replica.abandon();
        // What was read of a batch comes with the state.
        replica.passed_over = replica.passed_over.max(replica.applied.0);
        replica.applied = replica.settled();
        replica.whole = None;
        let mut member = Vec::new();
        replica.member().write(&mut member);
        let entry = Entry::Fetch {
            fresh,
            member: &member,
        };
        if self.core.log.note(self.group, &entry).is_none() {
            return false;
        }
        self.core
            .begin_to_fetch(self.group, self.stream, fresh, self.now, self.out);
        true
    }

    fn append(&mut self, message: &Message<'_>, again: bool) -> bool {
        let insert = Insert {
            seq: message.seq,
            timestamp: message.timestamp,
            key: message.key,
            headers: message.headers,
            payload: message.payload,
            location: None,
        };
        let appended = self.core.log.append_fetched(self.group, &insert, again);
        let Some(appended) = appended else {
            return false;
        };
        let message = Owned {
            seq: message.seq,
            timestamp: message.timestamp,
            key: message.key.to_vec(),
            headers: message.headers.to_vec(),
            payload: message.payload.to_vec(),
            location: appended.location,
        };
        *self.end = Some(appended.end);
        self.arrived.push_back(Arrived {
            end: appended.end,
            again,
            message,
        });
        true
    }

    fn install(&mut self, state: &State<'_>, bytes: &[u8]) -> bool {
        let Some(replica) = self.replica() else {
            return false;
        };
        let same = replica.consensus.knows(state.index, state.term);
        // A log that agrees with the state keeps what it has behind it.
        let from = if same {
            u64::MAX
        } else {
            replica.settled().0 + 1
        };
        let to = (state.index, state.term);
        let end = self.core.log.append_install(self.group, from, to, bytes);
        *self.end = end;
        end.is_some()
    }

    fn installed(&mut self, state: &State<'_>) {
        let installed = self
            .core
            .install_state(self.group, self.stream, state, self.now, self.out);
        if installed.is_err() {
            let text = format!("JetStream group {}: malformed state", self.group);
            self.out.log(Level::Error, &text);
        }
    }

    fn send(&mut self, to: NodeId, frame: Vec<u8>) {
        self.out.send(to, Lane::Bulk, &frame);
    }

    fn log(&mut self, level: Level, text: &str) {
        self.out.log(level, text);
    }
}

impl Core {
    /// A member lacks state: it fetches that of `least` or a later one.
    pub(crate) fn begin_fetch(
        &mut self,
        group: GroupId,
        least: u64,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        if let Some(active) = self.fetches.active.get_mut(&group)
            && !active.follower.is_mend()
        {
            active.least = active.least.max(least);
            return;
        }
        let servers = self.servers_of(group);
        let Some(label) = self.label_of(group, out) else {
            return;
        };
        let Some(replica) = self.log.replicas.get_mut(group) else {
            return;
        };
        let marked = replica.fetching;
        replica.fetching = true;
        let of = (out.random(), marked);
        let follower = Follower::fetch(group, label, servers, of, now);
        self.fetches.begin(group, follower, least);
        self.with_fetch(group, now, out, |one, hand| one.tick(now, hand));
    }

    /// Begins what a restart or a lost link left undone.
    pub(crate) fn begin_fetches(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        for group in self.log.replicas.numbers() {
            let lacks = |one: &Replica| group != META && one.lacks_state();
            let whole = self.fetches.active.get(&group);
            let whole = whole.is_some_and(|one| !one.follower.is_mend());
            if !whole
                && self.log.replicas.get(group).is_some_and(lacks)
                && !self.servers_of(group).is_empty()
            {
                self.begin_fetch(group, 0, now, out);
            }
        }
        let groups: Vec<GroupId> = self.fetches.active.keys().copied().collect();
        for group in groups {
            let servers = self.servers_of(group);
            if let Some(active) = self.fetches.active.get_mut(&group) {
                active.follower.set_servers(servers);
            }
        }
    }

    /// The other members that can be reached, the leader first.
    pub(super) fn servers_of(&self, group: GroupId) -> Vec<NodeId> {
        let Some(replica) = self.log.replicas.get(group) else {
            return Vec::new();
        };
        let members = &replica.membership;
        let others = members.voters.iter().chain(&members.learners).copied();
        let mut servers: Vec<NodeId> = replica.standing.leader.into_iter().collect();
        servers.extend(others.filter(|node| replica.standing.leader != Some(*node)));
        servers.retain(|node| *node != self.node && self.cluster.near.contains_key(node));
        servers
    }

    /// Account and stream, as the log names them.
    pub(super) fn label_of(&self, group: GroupId, out: &mut dyn Outbox) -> Option<String> {
        let stream = self.streams.get(self.log.replicas.get(group)?.stream?)?;
        let account = out.account_name(stream.account).unwrap_or_default();
        Some(format!("{account} > {}", stream.config.name))
    }

    /// Calls the exchange of a group, and ends it when it is done.
    pub(super) fn with_fetch(
        &mut self,
        group: GroupId,
        now: Timestamp,
        out: &mut dyn Outbox,
        call: impl FnOnce(&mut Follower, &mut Hand<'_>) -> Progress,
    ) {
        let Some(mut fetch) = self.fetches.active.remove(&group) else {
            return;
        };
        let stream = self.log.replicas.get(group).and_then(|one| one.stream);
        let Some(stream) = stream.filter(|id| self.streams.get(*id).is_some()) else {
            // It was deleted.
            return;
        };
        let mut hand = Hand {
            core: self,
            out,
            now,
            group,
            stream,
            least: fetch.least,
            arrived: &mut fetch.arrived,
            end: &mut fetch.end,
            nothing: MemoryMessages::new(),
        };
        let progress = call(&mut fetch.follower, &mut hand);
        self.log.seal();
        match progress {
            Progress::Going => {
                self.fetches.active.insert(group, fetch);
            }
            Progress::Done(lost) => self.end_fetch(group, stream, &lost, now, out),
        }
    }

    fn end_fetch(
        &mut self,
        group: GroupId,
        stream: u32,
        lost: &[(u64, u64)],
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        self.look_again_at_damaged(group, stream);
        let seqs: Vec<u64> = lost
            .iter()
            .flat_map(|(first, last)| *first..=*last)
            .collect();
        self.with_stream(stream, now, out, |stream, env| {
            stream.note_lost(&seqs, env);
        });
    }

    /// A frame of an exchange came.
    pub(crate) fn hear_sync(
        &mut self,
        from: NodeId,
        frame: &Bytes,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let body = frame.get(1..).unwrap_or(&[]);
        if !is_ask(body) {
            if let Ok((exchange, answer)) = Answer::read(body) {
                self.with_fetch(exchange.group, now, out, |one, hand| {
                    one.answered(now, from, (exchange, &answer), hand)
                });
            }
            return;
        }
        let Ok((exchange, ask)) = Ask::read(body) else {
            return;
        };
        let replica = self.log.replicas.get(exchange.group);
        let replica = replica.filter(|one| !one.lacks_state());
        let given = replica.and_then(|replica| {
            let stream = self.streams.get(replica.stream?)?;
            Some(Given { stream, replica })
        });
        let source = given.as_ref().map(|one| one as &dyn Source);
        let answer = self
            .fetches
            .server
            .answer(now, from, (exchange, &ask), source);
        if let Some(frame) = answer {
            out.send(from, Lane::Bulk, &frame);
        }
    }

    /// Puts into the streams what is durable up to here.
    pub(crate) fn take_in_fetched(&mut self, lsn: Lsn) {
        for (group, fetch) in &mut self.fetches.active {
            let stream = self.log.replicas.get(*group).and_then(|one| one.stream);
            let mut stream = stream.and_then(|id| self.streams.get_mut(id));
            while let Some(arrived) = fetch.arrived.pop_front_if(|one| one.end <= lsn) {
                if let Some(stream) = &mut stream {
                    stream.take_in(&arrived.message.insert(), arrived.again);
                }
            }
        }
    }

    /// The journal is durable up to here.
    pub(crate) fn fetches_durable(&mut self, lsn: Lsn, now: Timestamp, out: &mut dyn Outbox) {
        self.take_in_fetched(lsn);
        let active = self.fetches.active.iter_mut();
        let settled = active.filter(|(_, one)| one.end.is_some_and(|end| end <= lsn));
        let settled: Vec<GroupId> = settled
            .map(|(group, one)| {
                one.end = None;
                *group
            })
            .collect();
        for group in settled {
            self.with_fetch(group, now, out, |one, hand| one.settled(now, hand));
        }
    }

    /// Time has passed.
    pub(crate) fn tick_fetches(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        self.fetches.server.tick(now);
        let active = self.fetches.active.iter();
        let due = active.filter(|(_, one)| one.follower.due() <= now);
        let due: Vec<GroupId> = due.map(|(group, _)| *group).collect();
        for group in due {
            self.with_fetch(group, now, out, |one, hand| one.tick(now, hand));
        }
    }

    /// From now on the replica applies and serves nothing.
    pub(crate) fn begin_to_fetch(
        &mut self,
        group: GroupId,
        stream: u32,
        fresh: bool,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let messages = fresh.then(|| self.log.store.create_group(group, 0));
        self.with_stream(stream, now, out, |stream, env| {
            stream.unlisten(env.out);
            stream.partial = None;
            if let Some(messages) = messages {
                stream.messages = Box::new(messages);
                stream.account_for(env);
            }
        });
    }

    /// Goes on from a state that another member gave.
    pub(crate) fn install_state(
        &mut self,
        group: GroupId,
        stream: u32,
        state: &State<'_>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) -> Result<(), Malformed> {
        let taken = self.with_stream(stream, now, out, |stream, env| {
            let taken = stream.take_over(state, env);
            stream.listen(env.settings, env.out);
            stream.account_for(env);
            taken
        });
        let (member, shadow) = taken.unwrap_or(Err(Malformed))?;
        self.streams.index(stream);
        let Some(replica) = self.log.replicas.get_mut(group) else {
            return Ok(());
        };
        let index = state.index;
        replica.applied = (index, state.term);
        replica.whole = None;
        replica.shadow = shadow;
        replica.membership = member.membership;
        replica.placed.retain(|one| one.index > index);
        replica.located.clear();
        (replica.fetching, replica.passed_over) = (false, 0);
        if replica.damaged_to <= index {
            replica.damaged_to = 0;
        }
        let members = replica.membership.clone();
        replica.consensus.restored(index, state.term, &members);
        self.log.replicas.touch(group);
        Ok(())
    }
}

impl Stream {
    /// A message that another member gave is durable.
    pub(crate) fn take_in(&mut self, message: &Insert<'_>, again: bool) {
        // What is there already is given a good place.
        if again || self.messages.insert(message).is_err() {
            let _ = self.messages.repair(message);
        }
    }

    /// Takes over a state: what the core knows of it, and which of the messages are there. What it says of the member
    /// and its consumers is for the caller.
    pub(crate) fn take_over(
        &mut self,
        state: &State<'_>,
        env: &mut Env<'_>,
    ) -> Result<(Member, Shadow), Malformed> {
        let (head, mut rest) = checkpoint::read(state.blob)?;
        self.messages.retain(&state.runs, &mut |_, _| {});
        self.messages
            .set_ends(state.first_seq, state.last_seq, state.last_ts);
        self.partial = None;
        self.dedupe = Dedupe::new(head.config.duplicates);
        self.recheck = Default::default();
        let mut config = Vec::new();
        to_json(&head.config, &mut config);
        // Before the deadlines are read: those of the state count.
        self.apply_config(&config);
        self.created = head.created;
        let messages = &*self.messages;
        let exists = |seq| messages.meta(seq).is_some();
        self.deadlines = Deadlines::read(&mut rest, env.now, exists)?;
        let replicated = self.restore_decided(&mut rest, env)?;
        self.changes.clear();
        self.forget_decided();
        replicated.ok_or(Malformed)
    }
}
