//! A publish from its arrival to its acknowledgement.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::puback::{self, PubAck};
use jetwake_storage::{Insert, Purpose};

use crate::jetstream::arena::Span;
use crate::jetstream::commit::{Publish, What};
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::{Inbound, Timestamp};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::apply::Rollup;
use crate::jetstream::stream::fast;
use crate::jetstream::stream::headers::{PublishHeaders, status_len};
use crate::jetstream::stream::publish_checks::{Ahead, Attempt, Refusal};

impl Stream {
    /// Takes a message that was published on one of the stream's subjects.
    pub(crate) fn publish(&mut self, message: &Inbound<'_>, env: &mut Env<'_>) {
        let Some(transform) = &self.rewrite.incoming else {
            return self.publish_on(message, env);
        };
        let mut subject = std::mem::take(&mut self.rewrite.buffer);
        subject.clear();
        if !transform.apply(message.subject, env.out.random(), &mut subject) {
            subject.extend_from_slice(message.subject);
        }
        let transformed = Inbound {
            subject: &subject,
            ..*message
        };
        self.publish_on(&transformed, env);
        self.rewrite.buffer = subject;
    }

    /// Takes a message with the subject that it is stored under.
    fn publish_on(&mut self, message: &Inbound<'_>, env: &mut Env<'_>) {
        let without_status;
        let mut block = message.headers;
        let status = if block.is_empty() {
            0
        } else {
            status_len(block)
        };
        if status > 0 {
            let (version, rest) = block.split_at(b"NATS/1.0".len());
            without_status = [version, rest.get(status..).unwrap_or(&[])].concat();
            block = &without_status;
        }
        let headers = if block.is_empty() {
            PublishHeaders::default()
        } else {
            PublishHeaders::scan(block)
        };
        if message.reply.ends_with(fast::SUFFIX) && !self.config.sealed {
            return self.publish_fast(message, block, &headers, env);
        }
        if !headers.batch_id.is_empty() && !self.config.sealed {
            return self.publish_part(message, block, &headers, env);
        }
        let room = self.has_room(message, block, env);
        let attempt = Attempt {
            subject: message.subject,
            block,
            headers,
            payload: message.payload,
            room,
            now: env.now,
            arena: &env.log.commits.bytes,
            settings: env.settings,
            account: env.account,
            ahead: Ahead::default(),
        };
        match self.judge(&attempt) {
            Ok(()) if self.config.allow_msg_counter => {
                self.publish_counter(message, block, &headers, env);
            }
            Ok(()) => self.store(message, block, headers.msg_id, Purpose::Add, env),
            Err(Refusal::NoInterest) => self.skip(message, &headers, env),
            Err(Refusal::Duplicate(seq)) => self.duplicate(seq, message.reply, env),
            Err(Refusal::Error(error)) => self.refuse(&error, message.reply, env),
        }
    }

    /// Whether the disk has room for a message.
    pub(super) fn has_room(&self, message: &Inbound<'_>, block: &[u8], env: &mut Env<'_>) -> bool {
        let bytes = message.subject.len() + block.len() + message.payload.len();
        self.group.is_none() || env.log.takes(bytes, Purpose::Add)
    }

    pub(super) fn store(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        msg_id: &[u8],
        purpose: Purpose,
        env: &mut Env<'_>,
    ) {
        let raised = self.with_raised_ttl(block);
        let block = raised.as_deref().unwrap_or(block);
        let seq = self.staged.last_seq + 1;
        let timestamp = env.now.max(self.messages.state().last_ts);
        let insert = Insert {
            seq,
            timestamp,
            key: message.subject,
            headers: block,
            payload: message.payload,
            location: None,
        };
        let Some(group) = self.group else {
            self.remember(msg_id, seq, timestamp);
            self.staged.last_seq = seq;
            self.republish(&insert, env.out);
            self.apply_publish(&insert);
            self.notify(env);
            self.acknowledge(seq, false, message.reply, env);
            self.arm_expiry(env);
            return;
        };
        let Some(appended) = env.log.publish(group, &insert, purpose) else {
            return self.refuse(&ApiError::insufficient_resources(), message.reply, env);
        };
        self.remember(msg_id, seq, timestamp);
        let bytes = &mut env.log.commits.bytes;
        let key = bytes.push(message.subject);
        let size = self.size_of(message.subject, block, message.payload);
        let item = Publish {
            seq,
            timestamp,
            location: appended.location,
            key,
            headers: bytes.push(block),
            payload: bytes.push(message.payload),
            reply: bytes.push(message.reply),
        };
        self.staged.push(
            seq,
            key,
            message.subject,
            u32::try_from(size).unwrap_or(u32::MAX),
        );
        env.log
            .commits
            .push(appended.end, self.id, What::Publish(item));
    }

    /// A message that waited is durable.
    pub(crate) fn commit_publish(&mut self, item: &Publish, env: &mut Env<'_>) {
        let bytes = &env.log.commits.bytes;
        self.staged.pop(item.seq);
        let insert = Insert {
            seq: item.seq,
            timestamp: item.timestamp,
            key: bytes.get(item.key),
            headers: bytes.get(item.headers),
            payload: bytes.get(item.payload),
            location: item.location,
        };
        self.republish(&insert, env.out);
        self.apply_publish(&insert);
        self.notify(env);
        self.release_unwanted(item, env);
        self.acknowledge_span(item.seq, false, item.reply, env);
        self.arm_expiry(env);
    }

    /// Acknowledges a message that nobody is interested in; it uses up a sequence all the same.
    pub(super) fn skip(
        &mut self,
        message: &Inbound<'_>,
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) {
        let seq = self.staged.last_seq + 1;
        let entry = Entry::Skip {
            seq,
            timestamp: env.now,
            msg_id: headers.msg_id,
        };
        let Some(group) = self.group else {
            self.remember(headers.msg_id, seq, env.now);
            self.staged.last_seq = seq;
            self.apply_skip(seq, env.now);
            self.roll_up(message.subject, headers, env);
            return self.acknowledge(seq, false, message.reply, env);
        };
        let Some(lsn) = env.log.control(group, &entry, Purpose::Add) else {
            return self.refuse(&ApiError::insufficient_resources(), message.reply, env);
        };
        self.remember(headers.msg_id, seq, env.now);
        self.staged.last_seq = seq;
        let reply = env.log.commits.bytes.push(message.reply);
        env.log.commits.push(
            lsn,
            self.id,
            What::Skip {
                seq,
                timestamp: env.now,
                reply,
            },
        );
        self.roll_up(message.subject, headers, env);
    }

    /// A rollup that nobody is interested in still removes what came before it.
    fn roll_up(&mut self, subject: &[u8], headers: &PublishHeaders<'_>, env: &mut Env<'_>) {
        let filter = match Rollup::parse(headers.rollup) {
            Some(Rollup::Subject) => subject,
            Some(Rollup::All) => &[],
            _ => return,
        };
        let entry = Entry::Purge {
            filter,
            seq: 0,
            keep: 0,
        };
        self.submit(&entry, None, env);
    }

    /// Remembers the id of a message that takes the next sequence.
    pub(crate) fn remember(&mut self, msg_id: &[u8], seq: u64, timestamp: Timestamp) {
        if !msg_id.is_empty() {
            self.dedupe.expire(timestamp);
            self.dedupe.insert(msg_id, seq, timestamp);
        }
        self.last_msg_id.clear();
        self.last_msg_id.extend_from_slice(msg_id);
    }

    fn duplicate(&mut self, seq: u64, reply: &[u8], env: &mut Env<'_>) {
        match env.log.waits() {
            // It would wait for ever.
            Some(_) if self.group.is_some() && env.log.failed => {
                self.refuse(&ApiError::insufficient_resources(), reply, env);
            }
            // The first copy may still be in flight.
            Some(lsn) if self.group.is_some() => {
                let reply = env.log.commits.bytes.push(reply);
                env.log
                    .commits
                    .push(lsn, self.id, What::Duplicate { seq, reply });
            }
            _ => self.acknowledge(seq, true, reply, env),
        }
    }

    /// Acknowledges a message, or once more one that was stored before.
    pub(crate) fn acknowledge(&self, seq: u64, duplicate: bool, reply: &[u8], env: &mut Env<'_>) {
        if reply.is_empty() || self.config.no_ack {
            return;
        }
        let mut buffer = std::mem::take(&mut env.agenda.buffer);
        buffer.clear();
        let domain = env.settings.domain.as_deref().unwrap_or_default();
        let ack = PubAck {
            stream: &self.config.name,
            seq,
            domain,
            duplicate,
            ..PubAck::default()
        };
        ack.write(&mut buffer);
        env.send(self.account, reply, &buffer);
        env.agenda.buffer = buffer;
    }

    /// The same, with the reply subject in the queue's bytes.
    pub(crate) fn acknowledge_span(
        &self,
        seq: u64,
        duplicate: bool,
        reply: Span,
        env: &mut Env<'_>,
    ) {
        let mut subject = std::mem::take(&mut env.agenda.reply);
        subject.clear();
        subject.extend_from_slice(env.log.commits.bytes.get(reply));
        self.acknowledge(seq, duplicate, &subject, env);
        env.agenda.reply = subject;
    }

    pub(crate) fn refuse(&self, error: &ApiError, reply: &[u8], env: &mut Env<'_>) {
        if reply.is_empty() || self.config.no_ack {
            return;
        }
        let mut body = Vec::new();
        puback::write_error(&self.config.name, error, &mut body);
        env.send(self.account, reply, &body);
    }
}
