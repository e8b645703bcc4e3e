//! Atomic batches: messages that are stored together or not at all.
//!
//! They are staged in memory until the last one commits them; then all of them are judged, logged behind one entry
//! that says how many follow, and applied together. Recovery applies a batch only if all of it is there.

use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::advisory::BatchAbandoned;
use jetwake_protocol::jetstream::puback::PubAck;
use jetwake_protocol::jetstream::stream::RetentionPolicy;
use jetwake_storage::{Insert, Location, Purpose};

use crate::jetstream::advisory::advise;
use crate::jetstream::api::level_too_high;
use crate::jetstream::commit::{Publish, What};
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::{Inbound, Timestamp};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::counter::Counter;
use crate::jetstream::stream::headers::{self, PublishHeaders, number};
use crate::jetstream::stream::publish_checks::{Ahead, Attempt, Refusal};

/// Longest batch id.
const MAX_ID: usize = 64;
/// Most messages of a batch.
const MAX_MESSAGES: u64 = 1000;
/// Most batches that one stream has open.
const MAX_OPEN: usize = 50;
/// Most batches that are open on this server.
const MAX_OPEN_TOTAL: usize = 1000;
/// Nanoseconds without a message after which a batch is dropped.
const TIMEOUT: i64 = 10_000_000_000;
/// What a record has beyond subject, headers and payload, at most.
const RECORD: usize = 256;
/// What a stream's batches are called among its timers, where its consumers count up from 1.
pub(crate) const TIMER: u32 = u32::MAX;

/// A message that is staged.
#[derive(Debug)]
struct Part {
    subject: Vec<u8>,
    block: Vec<u8>,
    payload: Vec<u8>,
}

impl Part {
    /// About what it takes up in the log, with what is added to it.
    fn size(&self) -> usize {
        self.subject.len() + self.block.len() + self.payload.len() + RECORD
    }
}

/// A batch that is open.
#[derive(Debug)]
struct Batch {
    parts: Vec<Part>,
    last: u64,
    deadline: Timestamp,
}

/// The open batches of a stream.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    open: BTreeMap<Vec<u8>, Batch>,
}

/// Payload and header block of counters, in the order of a batch.
type Counted = VecDeque<(Vec<u8>, Vec<u8>)>;

/// How a message ends its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Not at all.
    Open,
    /// It is the last one.
    Commit,
    /// The one before was the last.
    Before,
}

impl Stream {
    /// Takes a message of a batch.
    pub(crate) fn publish_part(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) {
        match self.stage(message, block, headers, env) {
            Ok(End::Open) => {
                if !message.reply.is_empty() && !self.config.no_ack {
                    env.send(self.account, message.reply, &[]);
                }
            }
            Ok(_) => {
                let batch = self.close_batch(headers.batch_id, env);
                let committed = batch.map(|batch| self.commit_batch(&batch, message, env));
                if let Some(Err(error)) = committed {
                    self.refuse(&error, message.reply, env);
                }
            }
            Err(error) => self.refuse(&error, message.reply, env),
        }
    }

    fn stage(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) -> Result<End, ApiError> {
        self.check_size(block, message.payload)?;
        if !self.config.allow_atomic {
            return Err(ApiError::atomic_publish_disabled());
        }
        let id = headers.batch_id;
        if id.len() > MAX_ID {
            return Err(ApiError::atomic_publish_invalid_batch_id());
        }
        let seq = number(headers.batch_sequence);
        if seq == u64::MAX {
            return Err(ApiError::atomic_publish_missing_seq());
        }
        if !self.batches.open.contains_key(id) {
            self.open_batch(id, seq, env)?;
        }
        let end = match headers.batch_commit {
            b"" => End::Open,
            b"1" => End::Commit,
            b"eob" => End::Before,
            _ => {
                self.close_batch(id, env);
                return Err(ApiError::atomic_publish_invalid_batch_commit());
            }
        };
        if level_too_high(block) {
            self.abandon(id, "unsupported", env);
            return Err(ApiError::required_api_level());
        }
        let last = self.batches.open.get(id).map_or(0, |batch| batch.last);
        if seq != last + 1 || (end == End::Before && seq == 1) {
            self.abandon(id, "incomplete", env);
            return Err(ApiError::atomic_publish_incomplete_batch());
        }
        if seq > MAX_MESSAGES + u64::from(end == End::Before) {
            self.abandon(id, "large", env);
            return Err(ApiError::atomic_publish_too_large_batch(MAX_MESSAGES));
        }
        if let Some(batch) = self.batches.open.get_mut(id) {
            batch.last = seq;
            batch.deadline = env.now.saturating_add(TIMEOUT);
            match (end, batch.parts.last_mut()) {
                (End::Before, Some(part)) => {
                    part.block = headers::appended(&part.block, "Nats-Batch-Commit: 1");
                }
                _ => batch.parts.push(Part {
                    subject: message.subject.to_vec(),
                    block: headers::without(block, b"Nats-Required-Api-Level"),
                    payload: message.payload.to_vec(),
                }),
            }
        }
        self.arm_batches(env);
        Ok(end)
    }

    fn open_batch(&mut self, id: &[u8], seq: u64, env: &mut Env<'_>) -> Result<(), ApiError> {
        if seq != 1 {
            return Err(if seq > MAX_MESSAGES {
                ApiError::atomic_publish_too_large_batch(MAX_MESSAGES)
            } else {
                ApiError::atomic_publish_incomplete_batch()
            });
        }
        if self.batches.open.len() >= MAX_OPEN || env.agenda.open_batches >= MAX_OPEN_TOTAL {
            return Err(ApiError::atomic_publish_too_many_inflight());
        }
        let batch = Batch {
            parts: Vec::new(),
            last: 0,
            deadline: Timestamp::MAX,
        };
        self.batches.open.insert(id.to_vec(), batch);
        env.agenda.open_batches += 1;
        Ok(())
    }

    fn close_batch(&mut self, id: &[u8], env: &mut Env<'_>) -> Option<Batch> {
        let batch = self.batches.open.remove(id)?;
        env.agenda.open_batches = env.agenda.open_batches.saturating_sub(1);
        Some(batch)
    }

    fn abandon(&mut self, id: &[u8], reason: &str, env: &mut Env<'_>) {
        self.close_batch(id, env);
        let batch = String::from_utf8_lossy(id);
        let stream = &self.config.name;
        let event = BatchAbandoned {
            account: "",
            stream,
            batch: &batch,
            reason,
        };
        advise(&event, self.account, env.now, env.settings, env.out);
    }

    fn arm_batches(&self, env: &mut Env<'_>) {
        let first = self.batches.open.values().map(|batch| batch.deadline).min();
        env.agenda.timers.set(self.id, TIMER, first);
    }

    /// Drops the batches that nobody went on with.
    pub(crate) fn expire_batches(&mut self, env: &mut Env<'_>) {
        let over =
            |(id, batch): (&Vec<u8>, &Batch)| (batch.deadline <= env.now).then(|| id.clone());
        let over: Vec<Vec<u8>> = self.batches.open.iter().filter_map(over).collect();
        for id in over {
            self.abandon(&id, "timeout", env);
        }
        self.arm_batches(env);
    }

    /// Drops all open batches, without a word.
    pub(crate) fn drop_batches(&mut self, env: &mut Env<'_>) {
        let open = std::mem::take(&mut self.batches.open);
        env.agenda.open_batches = env.agenda.open_batches.saturating_sub(open.len());
        env.agenda.timers.set(self.id, TIMER, None);
    }

    fn commit_batch(
        &mut self,
        batch: &Batch,
        message: &Inbound<'_>,
        env: &mut Env<'_>,
    ) -> Result<(), ApiError> {
        let records = batch.parts.iter().map(Part::size).sum();
        let room = self.group.is_none() || env.log.takes(records, Purpose::Add);
        self.judge_batch(batch, room, env)?;
        let mut counted = if self.config.allow_msg_counter {
            Some(self.count_batch(batch, env)?)
        } else {
            None
        };
        let count = batch.parts.len() as u64;
        let first = self.staged.last_seq + 1;
        let timestamp = env.now.max(self.messages.state().last_ts);
        if let Some(group) = self.group {
            let begun = env
                .log
                .control(group, &Entry::Batch { count }, Purpose::Add);
            begun.ok_or_else(ApiError::insufficient_resources)?;
        }
        let (mut logged, mut end) = (Vec::new(), None);
        for (seq, part) in (first..).zip(&batch.parts) {
            let raised = self.with_raised_ttl(&part.block);
            let counted = counted.as_mut().and_then(VecDeque::pop_front);
            let (block, payload) = match (&counted, &raised) {
                (Some((payload, block)), _) => (block, payload),
                (None, Some(block)) => (block, &part.payload),
                (None, None) => (&part.block, &part.payload),
            };
            let insert = Insert {
                seq,
                timestamp,
                key: &part.subject,
                headers: block,
                payload,
                location: None,
            };
            let msg_id = headers::value(&part.block, b"Nats-Msg-Id");
            self.remember(msg_id, seq, timestamp);
            let Some(group) = self.group else {
                self.apply_part(&insert, env);
                continue;
            };
            // All of it was found to fit before it was begun.
            let appended = env.log.publish(group, &insert, Purpose::Free);
            let appended = appended.ok_or_else(ApiError::insufficient_resources)?;
            logged.push(self.stage_part(&insert, appended.location, env));
            end = Some(appended.end);
        }
        if let Some(end) = end {
            // All of them wait for the last one: readers see the whole batch or nothing, as recovery does.
            for item in logged {
                env.log.commits.push(end, self.id, What::Publish(item));
            }
        }
        let seq = first + count - 1;
        let id = String::from_utf8_lossy(headers::value(message.headers, b"Nats-Batch-Id"));
        let mut body = Vec::new();
        let domain = env.settings.domain.as_deref().unwrap_or_default();
        let stream = &self.config.name;
        let batch = Some((&*id, count));
        PubAck {
            stream,
            seq,
            domain,
            batch,
            ..PubAck::default()
        }
        .write(&mut body);
        self.answer_when_durable(body, message.reply, env);
        Ok(())
    }

    /// What the increments of a batch make of their counters: payload and header block of each message.
    fn count_batch(&self, batch: &Batch, env: &Env<'_>) -> Result<Counted, ApiError> {
        let mut counters: BTreeMap<&[u8], Counter> = BTreeMap::new();
        let mut counted = Counted::new();
        for part in &batch.parts {
            let counter = match counters.entry(&part.subject) {
                btree_map::Entry::Occupied(known) => known.into_mut(),
                btree_map::Entry::Vacant(new) => new.insert(self.counter(&part.subject, env)?),
            };
            let incr = headers::value(&part.block, b"Nats-Incr");
            let (payload, block) = counter
                .add(incr, &part.block)
                .ok_or_else(ApiError::message_incr_invalid)?;
            self.check_size(&block, &payload)?;
            counted.push_back((payload, block));
        }
        Ok(counted)
    }

    /// Stores a message of a batch in memory.
    fn apply_part(&mut self, insert: &Insert<'_>, env: &mut Env<'_>) {
        self.staged.last_seq = insert.seq;
        self.republish(insert, env.out);
        self.apply_publish(insert);
        self.notify(env);
        if self.config.retention == RetentionPolicy::Interest && !self.wanted(insert.key) {
            self.released.push(insert.seq);
        }
        self.arm_expiry(env);
    }

    /// Counts a message of a batch that is logged as one in flight.
    fn stage_part(
        &mut self,
        insert: &Insert<'_>,
        location: Option<Location>,
        env: &mut Env<'_>,
    ) -> Publish {
        let bytes = &mut env.log.commits.bytes;
        let key = bytes.push(insert.key);
        let item = Publish {
            seq: insert.seq,
            timestamp: insert.timestamp,
            location,
            key,
            headers: bytes.push(insert.headers),
            payload: bytes.push(insert.payload),
            reply: bytes.push(&[]),
        };
        let size = self.size_of(insert.key, insert.headers, insert.payload);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.staged.push(insert.seq, key, insert.key, size);
        item
    }

    /// Judges all messages of a batch; the first that fails is the answer.
    fn judge_batch(&self, batch: &Batch, room: bool, env: &Env<'_>) -> Result<(), ApiError> {
        let mut ids = BTreeSet::new();
        let mut subjects: BTreeMap<&[u8], u64> = BTreeMap::new();
        let mut ahead = Ahead::default();
        for part in &batch.parts {
            let headers = PublishHeaders::scan(&part.block);
            if !headers.expected_msg_id.is_empty() {
                let name = "Nats-Expected-Last-Msg-Id";
                return Err(ApiError::atomic_publish_unsupported_header(name));
            }
            if !headers.msg_id.is_empty() && !ids.insert(headers.msg_id) {
                return Err(ApiError::atomic_publish_contains_duplicate_message());
            }
            ahead.on_subject = subjects.get(&part.subject[..]).copied().unwrap_or(0);
            ahead.on_expected = subjects.contains_key(headers.expectation_on(&part.subject));
            let attempt = Attempt {
                subject: &part.subject,
                block: &part.block,
                headers,
                payload: &part.payload,
                room,
                now: env.now,
                arena: &env.log.commits.bytes,
                settings: env.settings,
                account: env.account,
                ahead,
            };
            match self.judge_in_batch(&attempt) {
                Ok(()) | Err(Refusal::NoInterest) => {}
                Err(Refusal::Duplicate(_)) => {
                    return Err(ApiError::atomic_publish_contains_duplicate_message());
                }
                Err(Refusal::Error(error)) => return Err(error),
            }
            ahead.messages += 1;
            ahead.bytes += self.size_of(&part.subject, &part.block, &part.payload);
            *subjects.entry(&part.subject).or_default() += 1;
        }
        Ok(())
    }
}
