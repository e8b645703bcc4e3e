//! Whether a publish is accepted: an ordered list of small checks. The order is part of the protocol, because it
//! decides which error a client sees; it is that of an unreplicated stream.
//!
//! Checks read the committed state and what is in flight. They change nothing.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::stream::{DiscardPolicy, RetentionPolicy};
use jetwake_protocol::subject;

use crate::jetstream::account::Account;
use crate::jetstream::arena::Arena;
use crate::jetstream::filter::SubjectFilter;
use crate::jetstream::io::Timestamp;
use crate::jetstream::settings::Settings;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::apply::Rollup;
use crate::jetstream::stream::counter::Total;
use crate::jetstream::stream::headers::{PublishHeaders, number};
use crate::jetstream::stream::ttl::ttl_seconds;

/// Largest record of a file stream.
const MAX_RECORD: usize = 32 << 20;
/// Longest subject: a record has 16 bits for its length.
const MAX_SUBJECT: usize = 65_535;
/// Largest header block.
const MAX_HEADERS: usize = 65_535;

/// A message that somebody wants to store.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    /// Its subject.
    pub(crate) subject: &'a [u8],
    /// Its header block, as it would be stored.
    pub(crate) block: &'a [u8],
    /// What the server reads from the block.
    pub(crate) headers: PublishHeaders<'a>,
    /// Its payload.
    pub(crate) payload: &'a [u8],
    /// Whether it fits on the disk.
    pub(crate) room: bool,
    /// Now.
    pub(crate) now: Timestamp,
    /// The bytes of what is in flight.
    pub(crate) arena: &'a Arena,
    /// What the server was told.
    pub(crate) settings: &'a Settings,
    /// What the account uses.
    pub(crate) account: &'a Account,
    /// What its own batch puts in front of it.
    pub(crate) ahead: Ahead,
}

/// Messages that are judged together with a message and stored before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// How many.
    pub(crate) messages: u64,
    /// Their size.
    pub(crate) bytes: u64,
    /// How many of them are on the same subject.
    pub(crate) on_subject: u64,
    /// Whether one of them is on the subject whose last sequence is expected.
    pub(crate) on_expected: bool,
}

/// Why a message is not stored.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is wrong.
    Error(ApiError),
    /// It is stored already, with this sequence.
    Duplicate(u64),
    /// Nobody wants it: it is acknowledged and dropped.
    NoInterest,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Error(error)
    }
}

type Check = fn(&Stream, &Attempt<'_>) -> Result<(), Refusal>;

const CHECKS: &[Check] = &[
    sealed,
    message_size,
    record_size,
    header_size,
    increments,
    expected_stream,
    ttl_allowed,
    expected_subject_sequence,
    expected_last_sequence,
    schedules,
    stream_source,
    duplicate,
    expected_last_msg_id,
    rollup,
    increment_present,
    server_storage,
    interest,
    ttl_syntax,
    discard_new,
];

/// The checks of a message in an atomic batch, which are those of a replicated stream in their order.
const BATCH_CHECKS: &[Check] = &[
    message_size,
    record_size,
    header_size,
    increments,
    expected_stream,
    ttl_allowed_in_batch,
    ttl_syntax,
    duplicate,
    stream_source,
    increment_present,
    expected_last_sequence,
    expected_subject_sequence,
    schedules,
    rollup,
    server_storage,
    discard_new,
];

impl Stream {
    /// Whether the stream takes the message.
    pub(crate) fn judge(&self, attempt: &Attempt<'_>) -> Result<(), Refusal> {
        CHECKS.iter().try_for_each(|check| check(self, attempt))
    }

    /// Whether the stream takes the message as part of an atomic batch.
    pub(crate) fn judge_in_batch(&self, attempt: &Attempt<'_>) -> Result<(), Refusal> {
        let checks = BATCH_CHECKS.iter();
        checks.copied().try_for_each(|check| check(self, attempt))
    }

    /// Whether a message is as small as the configuration demands.
    pub(crate) fn check_size(&self, block: &[u8], payload: &[u8]) -> Result<(), ApiError> {
        let size = (block.len() + payload.len()) as u64;
        match u64::try_from(self.config.max_msg_size) {
            Ok(most) if size > most => Err(ApiError::message_exceeds_maximum()),
            _ => Ok(()),
        }
    }

    /// What a message counts for in the stream's bytes.
    pub(crate) fn size_of(&self, subject: &[u8], block: &[u8], payload: &[u8]) -> u64 {
        let bytes = (subject.len() + block.len() + payload.len()) as u64;
        match (self.in_memory(), block.is_empty()) {
            (true, _) => 16 + bytes,
            (false, true) => 30 + bytes,
            (false, false) => 34 + bytes,
        }
    }
}

fn record_size(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let size = attempt.subject.len() + attempt.block.len() + attempt.payload.len();
    let too_large = !stream.in_memory() && size > MAX_RECORD;
    if too_large || attempt.subject.len() > MAX_SUBJECT {
        return Err(ApiError::stream_store_failed("message too large").into());
    }
    Ok(())
}

fn sealed(stream: &Stream, _: &Attempt<'_>) -> Result<(), Refusal> {
    if stream.config.sealed {
        return Err(ApiError::stream_sealed().into());
    }
    Ok(())
}

fn increments(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let headers = &attempt.headers;
    if headers.incr.is_empty() {
        return Ok(());
    }
    let invalid = || Err(ApiError::message_incr_invalid().into());
    if Total::parse(headers.incr).is_none() {
        return invalid();
    }
    if !stream.config.allow_msg_counter {
        return Err(ApiError::message_incr_disabled().into());
    }
    if !attempt.payload.is_empty() {
        return Err(ApiError::message_incr_payload().into());
    }
    let contradicts = [
        headers.rollup,
        headers.expected_stream,
        headers.expected_last_seq,
        headers.expected_subject_seq,
        headers.expected_subject,
        headers.expected_msg_id,
    ];
    if contradicts.iter().any(|value| !value.is_empty()) {
        return invalid();
    }
    Ok(())
}

fn increment_present(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if stream.config.allow_msg_counter && attempt.headers.incr.is_empty() {
        return Err(ApiError::message_incr_missing().into());
    }
    Ok(())
}

fn expected_stream(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let expected = attempt.headers.expected_stream;
    if !expected.is_empty() && expected != stream.config.name.as_bytes() {
        return Err(ApiError::stream_not_match().into());
    }
    Ok(())
}

fn ttl_allowed(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let ttl = attempt.headers.ttl;
    if !ttl.is_empty() && !stream.config.allow_msg_ttl && ttl_seconds(ttl).is_some() {
        return Err(ApiError::message_ttl_disabled().into());
    }
    Ok(())
}

fn ttl_allowed_in_batch(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if !attempt.headers.ttl.is_empty() && !stream.config.allow_msg_ttl {
        return Err(ApiError::message_ttl_disabled().into());
    }
    Ok(())
}

fn expected_subject_sequence(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let (wanted, other) = (
        attempt.headers.expected_subject_seq,
        attempt.headers.expected_subject,
    );
    if wanted.is_empty() {
        if other.is_empty() {
            return Ok(());
        }
        return Err(ApiError::stream_expected_last_seq_per_subject_invalid().into());
    }
    if attempt.ahead.on_expected {
        return Err(ApiError::stream_wrong_last_sequence_constant().into());
    }
    let checked = attempt.headers.expectation_on(attempt.subject);
    let actual = stream.last_on(checked, attempt.arena);
    if number(wanted) != actual {
        return Err(ApiError::wrong_last_sequence(actual).into());
    }
    Ok(())
}

impl Stream {
    /// The newest sequence on `pattern`, in flight or committed; 0 if there is none.
    fn last_on(&self, pattern: &[u8], arena: &Arena) -> u64 {
        if subject::has_wildcards(pattern) {
            let filter = SubjectFilter::new(pattern);
            let staged = self
                .staged
                .last(arena, |key| subject::matches(pattern, key));
            return staged.unwrap_or_else(|| {
                self.messages
                    .last_matching(u64::MAX, &filter)
                    .map_or(0, |meta| meta.seq)
            });
        }
        let (_, staged) = self.staged.of_key(arena, pattern);
        staged.unwrap_or_else(|| {
            self.messages
                .last_of_key(pattern, u64::MAX)
                .map_or(0, |meta| meta.seq)
        })
    }
}

fn expected_last_sequence(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let expected = attempt.headers.expected_last_seq;
    let last_seq = stream.staged.last_seq + attempt.ahead.messages;
    if !expected.is_empty() && number(expected) != last_seq {
        return Err(ApiError::wrong_last_sequence(last_seq).into());
    }
    if !expected.is_empty() && attempt.ahead.messages > 0 {
        return Err(ApiError::stream_wrong_last_sequence_constant().into());
    }
    Ok(())
}

/// Schedules cannot be switched on yet.
fn schedules(_: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if !attempt.headers.schedule.is_empty() {
        return Err(ApiError::message_schedules_disabled().into());
    }
    Ok(())
}

fn stream_source(_: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if !attempt.headers.stream_source.is_empty() {
        return Err(ApiError::message_stream_source_invalid().into());
    }
    Ok(())
}

fn duplicate(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if attempt.headers.msg_id.is_empty() {
        return Ok(());
    }
    match stream.dedupe.find(attempt.headers.msg_id, attempt.now) {
        Some(seq) => Err(Refusal::Duplicate(seq)),
        None => Ok(()),
    }
}

fn expected_last_msg_id(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let expected = attempt.headers.expected_msg_id;
    if !expected.is_empty() && expected != stream.last_msg_id {
        let actual = String::from_utf8_lossy(&stream.last_msg_id);
        return Err(ApiError::wrong_last_msg_id(actual).into());
    }
    Ok(())
}

fn rollup(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let value = attempt.headers.rollup;
    if value.is_empty() {
        return Ok(());
    }
    if !stream.config.allow_rollup_hdrs || stream.config.deny_purge {
        return Err(ApiError::stream_rollup_failed("rollup not permitted").into());
    }
    match Rollup::parse(value) {
        None => {
            let value = String::from_utf8_lossy(value).to_lowercase();
            let text = format!("rollup value invalid: {value:?}");
            Err(ApiError::stream_rollup_failed(text).into())
        }
        Some(Rollup::Subject) if attempt.ahead.on_subject > 0 => {
            Err(ApiError::stream_rollup_failed("batch rollup sub invalid").into())
        }
        Some(Rollup::All) if attempt.ahead.messages > 0 => {
            Err(ApiError::stream_rollup_failed("batch rollup all invalid").into())
        }
        Some(_) => Ok(()),
    }
}

fn message_size(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    Ok(stream.check_size(attempt.block, attempt.payload)?)
}

fn header_size(_: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if attempt.block.len() > MAX_HEADERS {
        return Err(ApiError::header_exceeds_maximum().into());
    }
    Ok(())
}

fn server_storage(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if !attempt.room {
        return Err(ApiError::insufficient_resources().into());
    }
    let (used, most) = if stream.in_memory() {
        (attempt.account.memory, attempt.settings.max_memory)
    } else {
        (attempt.account.storage, attempt.settings.max_file)
    };
    if most == u64::MAX {
        return Ok(());
    }
    let size = stream.size_of(attempt.subject, attempt.block, attempt.payload);
    if used + stream.staged.bytes + attempt.ahead.bytes + size > most {
        return Err(ApiError::insufficient_resources().into());
    }
    Ok(())
}

fn interest(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    if stream.config.retention == RetentionPolicy::Interest && !stream.wanted(attempt.subject) {
        return Err(Refusal::NoInterest);
    }
    Ok(())
}

fn ttl_syntax(_: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let ttl = attempt.headers.ttl;
    if !ttl.is_empty() && ttl_seconds(ttl).is_none() {
        return Err(ApiError::message_ttl_invalid().into());
    }
    Ok(())
}

fn discard_new(stream: &Stream, attempt: &Attempt<'_>) -> Result<(), Refusal> {
    let config = &stream.config;
    if config.discard != DiscardPolicy::New {
        return Ok(());
    }
    let refuse = |text| Err(ApiError::stream_store_failed(text).into());
    let limit = |value: i64| u64::try_from(value).ok().filter(|most| *most > 0);
    // Whether the subject is full, so that storing this message drops its oldest.
    let subject_full = || {
        limit(config.max_msgs_per_subject).is_some_and(|most| {
            let (in_flight, _) = stream.staged.of_key(attempt.arena, attempt.subject);
            let ahead = in_flight + attempt.ahead.on_subject;
            stream.messages.count_of_key(attempt.subject) + ahead >= most
        })
    };
    if config.discard_new_per_subject && attempt.headers.rollup.is_empty() && subject_full() {
        return refuse("maximum messages per subject exceeded");
    }
    let state = stream.messages.state();
    if let Some(most) = limit(config.max_msgs)
        && state.messages + stream.staged.len() + attempt.ahead.messages >= most
        && !subject_full()
    {
        return refuse("maximum messages exceeded");
    }
    if let Some(most) = limit(config.max_bytes) {
        let size = stream.size_of(attempt.subject, attempt.block, attempt.payload);
        let oldest = || stream.messages.first_of_key(attempt.subject);
        let makes_room =
            || subject_full() && oldest().is_some_and(|oldest| u64::from(oldest.size) >= size);
        if state.bytes + stream.staged.bytes + attempt.ahead.bytes + size > most && !makes_room() {
            return refuse("maximum bytes exceeded");
        }
    }
    Ok(())
}
