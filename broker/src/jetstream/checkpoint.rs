//! The bytes of a stream's checkpoint besides its messages.
//!
//! ```text
//! version u8, account u64, created i64, config JSON,
//! deadlines of messages: count, then sequence, time each (also of messages that are gone),
//! last sequence that was applied when this was noted, first one that a consumer in memory may hold,
//! last message id, ids: count, then sequence, time, id each,
//! whether it is replicated u8 (0 no, 1 yes),
//! consumers: count, then name, created, config JSON, snapshot each,
//! if it is replicated what `replica/member.rs` describes
//! ```
//!
//! Consumers of a replicated stream are the recorded ones. The blob of the group of all nodes: version u8, the member,
//! and its own state.

use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::jetstream::json::{Rules, from_json, to_json};
use jetwake_protocol::jetstream::stream::StreamConfig;

use crate::jetstream::consumer::Consumer;
use crate::jetstream::entry::{Malformed, Reader, put_bytes, put_i64, put_u64};
use crate::jetstream::env::Env;
use crate::jetstream::io::{AccountId, Timestamp};
use crate::jetstream::replica::Replica;
use crate::jetstream::replica::member::Member;
use crate::jetstream::shadow::Shadow;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::dedupe::Snapshot;

const VERSION: u8 = 4;

/// What was decided at a position of the log. Message ids are shared with the stream, not copied.
#[derive(Debug)]
pub(crate) struct Decided {
    head: Vec<u8>,
    ids: Snapshot,
    consumers: Vec<u8>,
}

impl Decided {
    /// Its bytes, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let head = std::iter::once(&*self.head);
        head.chain(self.ids.parts())
            .chain(std::iter::once(&*self.consumers))
    }
}

impl Stream {
    /// Writes to the log what consumers gathered for it.
    pub(crate) fn flush_consumers(&mut self, env: &mut Env<'_>) {
        for id in self.consumers.ids() {
            if self.consumers.get(id).is_some_and(Consumer::has_gathered) {
                self.with_consumer(id, env, |one, ctx| one.flush(ctx));
            }
        }
    }

    /// Of a replicated stream: what is recorded of its consumers, and the ids of what is committed.
    pub(crate) fn note_replica(&self, replica: &Replica) -> Decided {
        let last_seq = self.messages.state().last_seq;
        let mut head = Vec::new();
        put_u64(&mut head, last_seq);
        put_u64(&mut head, u64::MAX);
        put_bytes(&mut head, &self.committed_msg_id());
        let mut consumers = vec![1];
        replica.shadow.write(&mut consumers);
        replica.member().write(&mut consumers);
        Decided {
            head,
            ids: self.dedupe.snapshot_upto(last_seq),
            consumers,
        }
    }

    /// What decisions change at once: message ids and consumers.
    pub(crate) fn note_decided(&self) -> Decided {
        let mut head = Vec::new();
        put_u64(&mut head, self.messages.state().last_seq);
        let volatile = self.consumers.iter();
        let volatile = volatile.filter(|one| one.config().memory_storage);
        let held = volatile.map(Consumer::first_held).min();
        put_u64(&mut head, held.unwrap_or(u64::MAX));
        put_bytes(&mut head, &self.last_msg_id);
        let mut consumers = vec![0];
        self.note_consumers(&mut consumers);
        Decided {
            head,
            ids: self.dedupe.snapshot(),
            consumers,
        }
    }

    fn note_consumers(&self, into: &mut Vec<u8>) {
        let kept = || {
            self.consumers
                .iter()
                .filter(|one| !one.config().memory_storage)
        };
        put_u64(into, kept().count() as u64);
        let (mut config, mut snapshot) = (Vec::new(), Vec::new());
        for consumer in kept() {
            config.clear();
            snapshot.clear();
            to_json(consumer.config(), &mut config);
            consumer.snapshot(&mut snapshot);
            put_bytes(into, consumer.name().as_bytes());
            put_i64(into, consumer.created());
            put_bytes(into, &config);
            put_bytes(into, &snapshot);
        }
    }

    /// The blob up to the deadlines; these and what was noted follow.
    pub(crate) fn checkpoint_head(&self) -> Vec<u8> {
        let mut head = vec![VERSION];
        put_u64(&mut head, self.account.into());
        put_i64(&mut head, self.created);
        let mut config = Vec::new();
        to_json(&self.config, &mut config);
        put_bytes(&mut head, &config);
        put_u64(&mut head, self.deadlines.rows());
        head
    }

    /// Reads the part that [`note_decided`](Self::note_decided) or [`note_replica`](Self::note_replica) wrote. What it
    /// says of a member is for the caller.
    pub(crate) fn restore_decided(
        &mut self,
        from: &mut Reader<'_>,
        env: &mut Env<'_>,
    ) -> Result<Option<(Member, Shadow)>, Malformed> {
        self.recheck.set_tail(from.u64()?);
        let held = from.u64()?;
        if held < u64::MAX {
            self.recheck.add(held, u64::MAX);
        }
        self.last_msg_id = from.bytes()?.to_vec();
        self.dedupe.read(from)?;
        if from.u8()? == 1 {
            let shadow = Shadow::read(from)?;
            return Ok(Some((Member::read(from)?, shadow)));
        }
        for _ in 0..from.u64()? {
            let name = std::str::from_utf8(from.bytes()?).map_err(|_| Malformed)?;
            let created = from.i64()?;
            let config = from_json(from.bytes()?, "server.ConsumerConfig", Rules::Lenient);
            let config: ConsumerConfig = config.map_err(|_| Malformed)?;
            if !self.restore_consumer(name, created, config, from.bytes()?, env) {
                return Err(Malformed);
            }
        }
        Ok(None)
    }
}

/// What the head of a blob says.
#[derive(Debug)]
pub(crate) struct Head {
    /// The account that owns the stream.
    pub(crate) account: AccountId,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// Its configuration.
    pub(crate) config: StreamConfig,
}

/// Reads the head of a blob; the rest is left in the reader.
pub(crate) fn read(blob: &[u8]) -> Result<(Head, Reader<'_>), Malformed> {
    let mut from = Reader { rest: blob };
    if from.u8()? != VERSION {
        return Err(Malformed);
    }
    let account = u32::try_from(from.u64()?).map_err(|_| Malformed)?;
    let created = from.i64()?;
    let config = from_json(from.bytes()?, "server.StreamConfig", Rules::Lenient);
    let config = config.map_err(|_| Malformed)?;
    Ok((
        Head {
            account,
            created,
            config,
        },
        from,
    ))
}
