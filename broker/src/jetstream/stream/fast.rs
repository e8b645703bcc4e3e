//! Fast ingest: publishes whose reply subjects carry the control of a stream of messages.
//!
//! `<prefix>.<id>.<flow>.<ok|fail>.<batch sequence>.<operation>.$FI`. Messages are stored one by one as any others,
//! and acknowledged now and then; the answers tell how many messages may follow.

use std::collections::BTreeMap;

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::puback::PubAck;
use jetwake_storage::Purpose;

use crate::jetstream::api::level_too_high;
use crate::jetstream::commit::What;
use crate::jetstream::env::Env;
use crate::jetstream::io::{Inbound, Timestamp};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers::{PublishHeaders, number};
use crate::jetstream::stream::publish_checks::{Ahead, Attempt, Refusal};

/// How such a reply subject ends.
pub(crate) const SUFFIX: &[u8] = b".$FI";
/// Longest id.
const MAX_ID: usize = 64;
/// Most batches that one stream has open.
const MAX_OPEN: usize = 1000;
/// Most batches that are open on this server.
const MAX_OPEN_TOTAL: usize = 50_000;
/// Messages between two answers, over all batches of a stream.
const MAX_FLOW: u64 = 500;
/// The same where the client says nothing useful.
const DEFAULT_FLOW: u64 = 10;
/// Nanoseconds without a message after which a batch is dropped.
const TIMEOUT: i64 = 10_000_000_000;
/// What a stream's fast batches are called among its timers.
pub(crate) const TIMER: u32 = u32::MAX - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Start,
    Append,
    Commit,
    End,
    Ping,
}

/// What a reply subject says.
#[derive(Debug)]
struct Pattern<'a> {
    id: &'a [u8],
    flow: u64,
    /// Whether the first gap or error ends the batch.
    fail: bool,
    seq: u64,
    operation: Operation,
}

impl<'a> Pattern<'a> {
    fn parse(reply: &'a [u8]) -> Option<Self> {
        let mut tokens = reply.strip_suffix(SUFFIX)?.rsplit(|byte| *byte == b'.');
        let operation = match tokens.next()? {
            b"0" => Operation::Start,
            b"1" => Operation::Append,
            b"2" => Operation::Commit,
            b"3" => Operation::End,
            b"4" => Operation::Ping,
            _ => return None,
        };
        let seq = number(tokens.next()?);
        let fail = match tokens.next()? {
            b"ok" => false,
            b"fail" => true,
            _ => return None,
        };
        let flow = match std::str::from_utf8(tokens.next()?)
            .ok()?
            .parse::<i64>()
            .ok()?
        {
            flow if flow > 0 => flow.unsigned_abs(),
            _ => DEFAULT_FLOW,
        };
        let id = tokens.next()?;
        let wrong = match operation {
            Operation::Start => seq != 1,
            Operation::End => seq == 1,
            _ => false,
        };
        if wrong || seq == u64::MAX || (seq == 0 && operation != Operation::Ping) {
            return None;
        }
        tokens.next()?;
        Some(Self {
            id,
            flow,
            fail,
            seq,
            operation,
        })
    }
}

/// A fast batch that is open.
#[derive(Debug)]
struct Fast {
    /// The last batch sequence that was seen.
    last: u64,
    /// Messages between two answers, now.
    every: u64,
    /// Messages since the last answer.
    since: u64,
    /// The stream's sequence of the last message that was stored.
    stored: u64,
    deadline: Timestamp,
}

/// The fast batches of a stream.
#[derive(Debug, Default)]
pub(crate) struct FastBatches {
    open: BTreeMap<Vec<u8>, Fast>,
}

impl Stream {
    /// Takes a message of a fast batch.
    pub(crate) fn publish_fast(
        &mut self,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) {
        let pattern = match self.fast_pattern(message.reply, block, env) {
            Ok(pattern) => pattern,
            Err(error) => return self.refuse(&error, message.reply, env),
        };
        let Some(mut fast) = self.fast.open.remove(pattern.id) else {
            return;
        };
        env.agenda.fast_batches = env.agenda.fast_batches.saturating_sub(1);
        fast.deadline = env.now.saturating_add(TIMEOUT);
        if self.advance(&mut fast, &pattern, message, (block, headers), env) {
            self.fast.open.insert(pattern.id.to_vec(), fast);
            env.agenda.fast_batches += 1;
        }
        self.arm_fast(env);
    }

    /// Reads the reply subject, and opens the batch if it is the first message.
    fn fast_pattern<'a>(
        &mut self,
        reply: &'a [u8],
        block: &[u8],
        env: &mut Env<'_>,
    ) -> Result<Pattern<'a>, ApiError> {
        if !self.config.allow_batched {
            return Err(ApiError::batch_publish_disabled());
        }
        let pattern = Pattern::parse(reply).ok_or_else(ApiError::batch_publish_invalid_pattern)?;
        if pattern.id.len() > MAX_ID {
            return Err(ApiError::batch_publish_invalid_batch_id());
        }
        if level_too_high(block) {
            return Err(ApiError::required_api_level());
        }
        if self.fast.open.contains_key(pattern.id) {
            return Ok(pattern);
        }
        if pattern.operation != Operation::Start {
            return Err(ApiError::batch_publish_unknown_batch_id());
        }
        if self.fast.open.len() >= MAX_OPEN || env.agenda.fast_batches >= MAX_OPEN_TOTAL {
            return Err(ApiError::batch_publish_too_many_inflight());
        }
        let every = if self.fast.open.is_empty() {
            pattern.flow.min(MAX_FLOW)
        } else {
            1
        };
        let fast = Fast {
            last: 0,
            every,
            since: 0,
            stored: 0,
            deadline: Timestamp::MAX,
        };
        self.fast.open.insert(pattern.id.to_vec(), fast);
        env.agenda.fast_batches += 1;
        flow_ack(self.account, 0, every, reply, env);
        Ok(pattern)
    }

    /// Does what one message asks for. Whether the batch goes on.
    fn advance(
        &mut self,
        fast: &mut Fast,
        pattern: &Pattern<'_>,
        message: &Inbound<'_>,
        (block, headers): (&[u8], &PublishHeaders<'_>),
        env: &mut Env<'_>,
    ) -> bool {
        let ping = pattern.operation == Operation::Ping;
        let expected = if ping { fast.last } else { fast.last + 1 };
        if pattern.seq > expected {
            let (last, seq) = (expected, pattern.seq);
            let gap = format!(r#"{{"type":"gap","last_seq":{last},"seq":{seq}}}"#);
            env.send(self.account, message.reply, gap.as_bytes());
            if pattern.fail {
                self.end_fast(fast, pattern.id, message.reply, env);
                return false;
            }
            fast.last = pattern.seq - u64::from(!ping);
        }
        if ping {
            self.answer_when_durable(flow_body(fast.last, fast.every), message.reply, env);
            return true;
        }
        fast.last = fast.last.max(pattern.seq);
        if pattern.operation != Operation::End
            && let Err(error) = self.store_fast(fast, message, block, headers, env)
        {
            if pattern.fail && pattern.seq == 1 {
                self.refuse(&error, message.reply, env);
                return false;
            }
            let mut body = format!(r#"{{"type":"err","seq":{},"error":"#, pattern.seq).into_bytes();
            to_json(&error, &mut body);
            body.push(b'}');
            env.send(self.account, message.reply, &body);
            if pattern.fail {
                self.end_fast(fast, pattern.id, message.reply, env);
                return false;
            }
        }
        if matches!(pattern.operation, Operation::Commit | Operation::End) {
            self.end_fast(fast, pattern.id, message.reply, env);
            return false;
        }
        fast.since += 1;
        if fast.since >= fast.every {
            let share = MAX_FLOW / (self.fast.open.len() as u64 + 1);
            let most = pattern.flow.min(share).max(1);
            fast.every = if fast.every < most {
                (fast.every * 2).min(most)
            } else {
                (fast.every / 2).max(most)
            };
            fast.since = 0;
            self.answer_when_durable(flow_body(fast.last, fast.every), message.reply, env);
        }
        true
    }

    fn store_fast(
        &mut self,
        fast: &mut Fast,
        message: &Inbound<'_>,
        block: &[u8],
        headers: &PublishHeaders<'_>,
        env: &mut Env<'_>,
    ) -> Result<(), ApiError> {
        let silent = Inbound {
            reply: &[],
            ..*message
        };
        let room = self.has_room(message, block, env);
        let attempt = Attempt {
            subject: message.subject,
            block,
            headers: *headers,
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
                self.store_counter(&silent, block, headers, env)?;
            }
            Ok(()) => self.store(&silent, block, headers.msg_id, Purpose::Add, env),
            Err(Refusal::NoInterest) => self.skip(&silent, headers, env),
            Err(Refusal::Duplicate(_)) => return Ok(()),
            Err(Refusal::Error(error)) => return Err(error),
        }
        fast.stored = self.staged.last_seq;
        Ok(())
    }

    fn end_fast(&self, fast: &Fast, id: &[u8], reply: &[u8], env: &mut Env<'_>) {
        let id = String::from_utf8_lossy(id);
        let mut body = Vec::new();
        let ack = PubAck {
            stream: &self.config.name,
            seq: fast.stored,
            domain: env.settings.domain.as_deref().unwrap_or_default(),
            batch: Some((&*id, fast.last)),
            ..PubAck::default()
        };
        ack.write(&mut body);
        self.answer_when_durable(body, reply, env);
    }

    /// Sends an answer behind everything that was stored so far.
    pub(crate) fn answer_when_durable(&self, body: Vec<u8>, reply: &[u8], env: &mut Env<'_>) {
        if self.config.no_ack || reply.is_empty() {
            return;
        }
        match env.log.waits() {
            Some(lsn) if self.group.is_some() => {
                let reply = env.log.commits.bytes.push(reply);
                env.log
                    .commits
                    .push(lsn, self.id, What::Ack { reply, body });
            }
            _ => env.send(self.account, reply, &body),
        }
    }

    fn arm_fast(&self, env: &mut Env<'_>) {
        if env.agenda.timers.get(self.id, TIMER).is_some() {
            return;
        }
        let first = self.fast.open.values().map(|fast| fast.deadline).min();
        env.agenda.timers.set(self.id, TIMER, first);
    }

    /// Drops the batches that nobody went on with.
    pub(crate) fn expire_fast(&mut self, env: &mut Env<'_>) {
        let before = self.fast.open.len();
        self.fast.open.retain(|_, fast| fast.deadline > env.now);
        let gone = before - self.fast.open.len();
        env.agenda.fast_batches = env.agenda.fast_batches.saturating_sub(gone);
        self.arm_fast(env);
    }

    /// Drops all fast batches.
    pub(crate) fn drop_fast(&mut self, env: &mut Env<'_>) {
        let open = std::mem::take(&mut self.fast.open);
        env.agenda.fast_batches = env.agenda.fast_batches.saturating_sub(open.len());
        env.agenda.timers.set(self.id, TIMER, None);
    }
}

fn flow_body(seq: u64, every: u64) -> Vec<u8> {
    format!(r#"{{"type":"ack","seq":{seq},"msgs":{every}}}"#).into_bytes()
}

fn flow_ack(account: u32, seq: u64, every: u64, reply: &[u8], env: &mut Env<'_>) {
    env.send(account, reply, &flow_body(seq, every));
}
