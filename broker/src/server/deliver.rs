//! Routing of messages into the outbound queues of connections, in batches.
//!
//! A [`Deliverer`] belongs to one producer: a connection's reader or the JetStream thread. It
//! gathers what is meant for each target and hands it over in [`Deliverer::flush`], once per read
//! buffer; a target that takes much gets it earlier. What a producer sends to one target keeps its
//! order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_protocol::peer::message;
use jetwake_protocol::wire::encode::{self, CRLF, Digits};

use super::connection::Connection;
use super::counters::{self, Volume};
use super::forward::Forward;
use super::inbox::InboundBatch;
use super::outbound::Accepted;
use super::shared::Shared;
use super::subscription::{Claim, Subscription};
use super::{Account, Cache, Listener, Matches, announce, trace};
use crate::jetstream::tag::{AccountId, Inbound, Tag};
use crate::routing::{Announce, Changed, Group, PeerId};

/// A target that has gathered this much gets it at once.
const SEND_AT: usize = 64 << 10;
/// Up to this many targets are found by a scan.
const SCAN: usize = 8;
/// Buffers kept for the next round, and the largest one worth keeping.
const POOL: usize = 8;
const POOLED_MAX: usize = 128 << 10;

/// See the module.
#[derive(Debug)]
pub struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) cache: Cache,
    pub(super) header_size: LastSize,
    pub(super) total_size: LastSize,
    pub(super) output: Output,
}

/// The text of a size. Messages in a row often have the same.
#[derive(Debug)]
pub(super) struct LastSize {
    size: usize,
    digits: Digits,
}

impl LastSize {
    fn new() -> Self {
        Self {
            size: 0,
            digits: Digits::of(0),
        }
    }

    #[inline]
    pub(super) fn of(&mut self, size: usize) -> &[u8] {
        if self.size != size {
            *self = Self {
                size,
                digits: Digits::of(size as u64),
            };
        }
        self.digits.as_bytes()
    }
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// The subject that subscribers see.
    pub(super) subject: &'a [u8],
    pub(super) reply: &'a [u8],
    pub(super) headers: &'a [u8],
    pub(super) payload: &'a [u8],
    /// The sizes as the publisher wrote them.
    pub(super) header_digits: &'a [u8],
    pub(super) size_digits: &'a [u8],
}

/// Who sends a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The connection's number, 0 for the server itself.
    pub(super) client: u64,
    /// Whether its own subscriptions count.
    pub(super) echo: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Routed {
    /// Somebody took it.
    pub(super) taken: bool,
    /// It asks the server for `$SYS.REQ.USER.INFO`.
    pub(super) user_info: bool,
}

#[derive(Debug)]
pub(super) struct Output {
    targets: Vec<Target>,
    by_id: HashMap<u64, usize, FixedState>,
    last: usize,
    pool: Vec<Vec<u8>>,
    pub(super) batch: InboundBatch,
    /// For other nodes.
    forward: Forward,
    /// Subscriptions that reached their maximum.
    ended: Vec<Arc<Subscription>>,
    /// A target that is nearly full.
    stalled: Option<Arc<Connection>>,
    random: u64,
    traces: bool,
}

#[derive(Debug)]
struct Target {
    connection: Arc<Connection>,
    bytes: Vec<u8>,
    volume: Volume,
}

impl Deliverer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let output = Output {
            targets: Vec::new(),
            by_id: HashMap::default(),
            last: 0,
            pool: Vec::new(),
            batch: InboundBatch::default(),
            forward: Forward::default(),
            ended: Vec::new(),
            stalled: None,
            random: shared.random() | 1,
            traces: shared.logger.traces(),
        };
        Self {
            shared,
            cache: Cache::default(),
            header_size: LastSize::new(),
            total_size: LastSize::new(),
            output,
        }
    }

    /// Routes a message of the server itself. `route` is looked up, `subject` is what subscribers
    /// see. Returns whether anybody took it. Nothing is sent before [`Deliverer::flush`].
    pub fn publish(
        &mut self,
        account: u32,
        route: &[u8],
        (subject, reply): (&[u8], &[u8]),
        (headers, payload): (&[u8], &[u8]),
    ) -> bool {
        let Some(account) = self.shared.accounts.get(account) else {
            return false;
        };
        let header_digits = self.header_size.of(headers.len());
        let size_digits = self.total_size.of(headers.len() + payload.len());
        let message = Message {
            subject,
            reply,
            headers,
            payload,
            header_digits,
            size_digits,
        };
        let origin = Origin {
            client: 0,
            echo: true,
        };
        let matches = account.lookup(&mut self.cache, route);
        let output = &mut self.output;
        output
            .hand_out(&self.shared, account.id, route, matches, &message, origin)
            .taken
    }

    /// Routes a message to everybody that `route` reaches.
    pub(super) fn route(
        &mut self,
        account: &Account,
        route: &[u8],
        message: &Message<'_>,
        origin: Origin,
    ) -> Routed {
        let matches = account.lookup(&mut self.cache, route);
        let output = &mut self.output;
        output.hand_out(&self.shared, account.id, route, matches, message, origin)
    }

    /// Gives a message to one subscription, past the routing table and without counting it.
    pub(super) fn answer(&mut self, sub: &Subscription, message: &Message<'_>) {
        let at = self.output.target(&sub.connection);
        self.output.targets[at].append(sub, message);
        if self.output.traces {
            trace::delivered(&self.shared, sub, message);
        }
    }

    /// The bytes gathered for a connection, to append a line to.
    pub(super) fn bytes_for(&mut self, connection: &Arc<Connection>) -> &mut Vec<u8> {
        let at = self.output.target(connection);
        &mut self.output.targets[at].bytes
    }

    /// Adds a listener: messages that match `pattern` come to the inbox with `tag`.
    pub fn listen(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.change_listener(account, pattern, tag, Account::listen);
    }

    /// Removes one listener.
    pub fn unlisten(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.change_listener(account, pattern, tag, Account::unlisten);
    }

    fn change_listener(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        tag: Tag,
        change: impl FnOnce(&Account, &[u8], Listener, Announce) -> Changed<Listener>,
    ) {
        let shared = Arc::clone(&self.shared);
        let Some(account) = shared.accounts.get(account) else {
            return;
        };
        let listener = Listener::JetStream(tag);
        let announce = announce(listener);
        let changed = change(account, pattern, listener, announce);
        self.note(account, (pattern, announce.queue()), &changed);
    }

    /// Tells whoever has to know of a change: JetStream now, other nodes before anything else that is sent to them.
    pub(super) fn note(
        &mut self,
        account: &Account,
        what: (&[u8], Option<&[u8]>),
        changed: &Changed<Listener>,
    ) {
        self.shared.report(account, &changed.watches);
        self.output
            .forward
            .note(&self.shared, account, what, changed);
    }

    /// Takes a subscription out of all tables, unless that was done before.
    pub(super) fn end(&mut self, sub: &Arc<Subscription>) {
        let forward = &mut self.output.forward;
        self.shared.end_subscription(sub, forward);
    }

    /// Tells other nodes now to what this one listens, before anything that reaches them past this deliverer.
    pub fn tell(&mut self) {
        self.output.forward.tell(&self.shared);
    }

    /// Hands everything over: to other nodes, batches to their connections, messages to JetStream.
    pub fn flush(&mut self) {
        // Subscriptions that were used up are known when the batches are sent, and other nodes are told then.
        self.output.end_used_up(&self.shared);
        self.output.forward.flush(&self.shared);
        for at in 0..self.output.targets.len() {
            self.output.send(&self.shared, at);
        }
        self.output.recycle();
        if !self.output.batch.is_empty()
            && let Some(inbox) = &self.shared.inbox
        {
            inbox.submit(&mut self.output.batch);
        }
    }

    /// Hands over what was gathered for anybody but this connection, for JetStream too: whoever is told now that it is
    /// done finds it done.
    pub(super) fn settle(&mut self, own: u64) {
        let output = &self.output;
        let others = output
            .targets
            .iter()
            .any(|target| target.connection.id != own && !target.bytes.is_empty());
        if others || !output.batch.is_empty() || !output.forward.is_empty() {
            self.flush();
        }
    }

    /// A connection that was nearly full at the last flush.
    pub(super) fn take_stalled(&mut self) -> Option<Arc<Connection>> {
        self.output.stalled.take()
    }

    /// Whether the link to another node was nearly full at the last flush.
    pub(super) fn take_stalled_link(&mut self) -> bool {
        self.output.forward.take_stalled()
    }

    /// Forgets remembered lookups.
    pub(super) fn forget(&mut self) {
        self.cache.clear();
    }
}

impl Output {
    /// Gives a message to everybody that was found.
    #[inline]
    fn hand_out(
        &mut self,
        shared: &Shared,
        account: u32,
        route: &[u8],
        matches: &Matches,
        message: &Message<'_>,
        origin: Origin,
    ) -> Routed {
        let mut routed = Routed::default();
        let mut picked = false;
        for sub in &matches.plain {
            routed.taken |= self.offer(shared, sub, message, origin);
        }
        for (at, group) in matches.queues.iter().enumerate() {
            if group.remote.is_empty() {
                routed.taken |= self.offer_to_one(shared, &group.members, message, origin);
            } else if let Some(node) = self.choose(shared, group, matches, message, origin) {
                self.forward.pick(node, at);
                picked = true;
            } else {
                routed.taken = true;
            }
        }
        let mut in_batch = false;
        for listener in &matches.listeners {
            routed.taken = true;
            match *listener {
                Listener::UserInfo => routed.user_info = true,
                Listener::JetStream(tag) if in_batch => self.batch.push_again(tag),
                Listener::JetStream(tag) => {
                    in_batch = true;
                    self.batch.push(Inbound {
                        tag,
                        account,
                        subject: route,
                        reply: message.reply,
                        headers: message.headers,
                        payload: message.payload,
                        client: origin.client,
                    });
                }
            }
        }
        if !matches.peers.is_empty() || picked {
            let message = message::Message {
                route,
                subject: message.subject,
                reply: message.reply,
                headers: message.headers,
                payload: message.payload,
            };
            let to = (&matches.peers[..], &matches.queues[..]);
            routed.taken |= self.forward.message(shared, account, &message, to);
        }
        routed
    }

    /// Gives a copy to a member of a group that has members on other nodes. The answer is the node that has the
    /// member, `None` if it was here.
    fn choose(
        &mut self,
        shared: &Shared,
        group: &Group<Arc<Subscription>>,
        matches: &Matches,
        message: &Message<'_>,
        origin: Origin,
    ) -> Option<PeerId> {
        // What each node has is done here, where it is here.
        let mut listeners = matches.listeners.iter();
        let own = |listener: &Listener| announce(*listener).queue() == Some(&*group.name);
        if listeners.any(own) {
            return None;
        }
        let weights = group.remote.iter().map(|(_, weight)| *weight as usize);
        let remote: usize = weights.sum();
        let chosen = self.pick(group.members.len() + remote);
        if chosen < group.members.len()
            && self.offer_to_one(shared, &group.members, message, origin)
        {
            return None;
        }
        let mut chosen = self.pick(remote);
        for (node, weight) in &group.remote {
            match chosen.checked_sub(*weight as usize) {
                Some(rest) => chosen = rest,
                None => return Some(*node),
            }
        }
        None
    }

    /// Gives a copy to one of these, at random; whether any of them took it.
    #[inline]
    pub(super) fn offer_to_one(
        &mut self,
        shared: &Shared,
        members: &[Arc<Subscription>],
        message: &Message<'_>,
        origin: Origin,
    ) -> bool {
        let start = self.pick(members.len());
        let (after, before) = (&members[start..], &members[..start]);
        after
            .iter()
            .chain(before)
            .any(|sub| self.offer(shared, sub, message, origin))
    }

    /// Gives a copy to a subscription; false if it does not take it.
    #[inline]
    pub(super) fn offer(
        &mut self,
        shared: &Shared,
        sub: &Arc<Subscription>,
        message: &Message<'_>,
        origin: Origin,
    ) -> bool {
        let connection = &sub.connection;
        if !origin.echo && connection.id == origin.client {
            return false;
        }
        if shared.options.no_fast_producer_stall && connection.outbound.is_nearly_full() {
            return false;
        }
        match sub.claim() {
            Claim::Ended => return false,
            Claim::Taken => {}
            Claim::Last => self.ended.push(Arc::clone(sub)),
        }
        let at = self.target(connection);
        let target = &mut self.targets[at];
        let size = target.append(sub, message);
        target.volume.add(size);
        if self.traces {
            trace::delivered(shared, sub, message);
        }
        if target.bytes.len() >= SEND_AT {
            self.send(shared, at);
        }
        true
    }

    fn target(&mut self, connection: &Arc<Connection>) -> usize {
        if let Some(last) = self.targets.get(self.last)
            && last.connection.id == connection.id
        {
            return self.last;
        }
        self.last = self.find(connection);
        self.last
    }

    fn find(&mut self, connection: &Arc<Connection>) -> usize {
        let count = self.targets.len();
        let known = if count <= SCAN {
            self.targets
                .iter()
                .position(|target| target.connection.id == connection.id)
        } else {
            self.by_id.get(&connection.id).copied()
        };
        if let Some(at) = known {
            return at;
        }
        if count == SCAN {
            let ids = self
                .targets
                .iter()
                .enumerate()
                .map(|(at, t)| (t.connection.id, at));
            self.by_id.extend(ids);
        }
        if count >= SCAN {
            self.by_id.insert(connection.id, count);
        }
        self.targets.push(Target {
            connection: Arc::clone(connection),
            bytes: self.pool.pop().unwrap_or_default(),
            volume: Volume::default(),
        });
        count
    }

    /// Sends what one target has gathered. Everything that the bytes brought about is true before: who has read them
    /// finds them in monitoring, and does not find the subscription that they used up.
    fn send(&mut self, shared: &Shared, at: usize) {
        self.end_used_up(shared);
        let target = &mut self.targets[at];
        if target.bytes.is_empty() {
            return;
        }
        let volume = std::mem::take(&mut target.volume);
        if volume.msgs > 0 {
            target.connection.traffic.sent(volume);
            shared.traffic.sent(volume);
            let activity = &target.connection.pulse.last_activity;
            activity.store(shared.uptime_nanos(), Ordering::Relaxed);
        }
        match target.connection.send(&mut target.bytes) {
            Accepted::Yes | Accepted::Closed | Accepted::Broken => {}
            Accepted::NearlyFull => self.stalled = Some(Arc::clone(&target.connection)),
            Accepted::Overflow => shared.cut_for_pending_bytes(&target.connection),
        }
    }

    fn end_used_up(&mut self, shared: &Shared) {
        while let Some(sub) = self.ended.pop() {
            shared.end_subscription(&sub, &mut self.forward);
        }
    }

    fn recycle(&mut self) {
        for target in self.targets.drain(..) {
            let capacity = target.bytes.capacity();
            if self.pool.len() < POOL && capacity > 0 && capacity <= POOLED_MAX {
                self.pool.push(target.bytes);
            }
        }
        self.by_id.clear();
        self.last = 0;
    }

    /// A random member: xorshift is good enough to spread load.
    fn pick(&mut self, members: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as usize % members.max(1)
    }
}

impl Target {
    /// Appends MSG or HMSG and returns the size of what the client gets.
    #[inline]
    fn append(&mut self, sub: &Subscription, message: &Message<'_>) -> usize {
        let reply = Some(message.reply).filter(|reply| !reply.is_empty());
        let (subject, sid) = (message.subject, &*sub.sid);
        let size = message.headers.len() + message.payload.len();
        let out = &mut self.bytes;
        out.reserve(subject.len() + sid.len() + message.reply.len() + size + 40);
        if message.headers.is_empty() {
            encode::msg_line(out, subject, sid, reply, message.size_digits);
        } else if self.connection.headers.load(Ordering::Relaxed) {
            let (headers, total) = (message.header_digits, message.size_digits);
            encode::hmsg_line(out, subject, sid, reply, headers, total);
            out.extend_from_slice(message.headers);
        } else {
            let digits = Digits::of(message.payload.len() as u64);
            encode::msg_line(out, subject, sid, reply, digits.as_bytes());
        }
        out.extend_from_slice(message.payload);
        out.extend_from_slice(CRLF);
        size
    }
}

impl Shared {
    /// Takes a subscription that reached its maximum out of all tables.
    fn end_subscription(&self, sub: &Arc<Subscription>, forward: &mut Forward) {
        if !sub.end() {
            return;
        }
        if self.logger.traces() {
            trace::ended(self, sub);
        }
        let mut subscriptions = sub.connection.subscriptions.lock();
        if subscriptions
            .get(&sub.sid)
            .is_some_and(|known| Arc::ptr_eq(known, sub))
        {
            subscriptions.remove(&sub.sid);
        }
        drop(subscriptions);
        let queue = sub.queue.as_deref();
        let changed = sub.account.unsubscribe(&sub.filter, queue, sub.id);
        self.report(&sub.account, &changed.watches);
        forward.note(self, &sub.account, (&sub.filter, queue), &changed);
    }

    fn cut_for_pending_bytes(&self, connection: &Connection) {
        if connection.closed().is_none() {
            counters::count(&self.incidents.slow_consumers);
            let max = self.options.max_pending;
            self.logger.info(format_args!(
                "{} - Slow Consumer Detected: MaxPending of {max} Exceeded",
                connection.label()
            ));
        }
        connection.close(super::CloseReason::SlowConsumerPendingBytes);
    }
}
