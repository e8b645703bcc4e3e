//! The JetStream API: which request is for whom, and the way every answer goes.
//!
//! Handlers return an [`Outcome`]. An answer that reports a change waits until the change is durable; errors and
//! reads are answered at once.

mod account;
pub(crate) mod answer;
mod consumer_control;
mod consumers;
mod messages;
pub(crate) mod router;
mod rules;
mod stream_info;
pub(crate) mod streams;
mod subject_page;

use std::cell::Cell;

use jetwake_protocol::jetstream::responses::{ApiResponse, encode};
use jetwake_protocol::jetstream::{API_LEVEL, ApiError};
use jetwake_storage::Purpose;

use crate::jetstream::Core;
use crate::jetstream::api::answer::Request;
use crate::jetstream::cluster::asked::Asked;
use crate::jetstream::commit::What;
use crate::jetstream::io::{AccountId, Outbox, Timestamp};
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers;

pub(crate) use router::patterns;

/// What a handler came to.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// An answer that needs nothing.
    Now(T),
    /// An answer that goes out when everything decided so far is durable.
    Durable(T),
    /// The request waits in the queue for its entry.
    Queued,
}

/// One request on its way through a handler.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// All state.
    pub(crate) core: &'a mut Core,
    /// Now.
    pub(crate) now: Timestamp,
    /// The way out.
    pub(crate) out: &'a mut dyn Outbox,
    /// The account it came from.
    pub(crate) account: AccountId,
    /// The header block.
    pub(crate) headers: &'a [u8],
    /// The body.
    pub(crate) body: &'a [u8],
    /// Who asked; taken by a handler that queues it.
    pub(crate) request: Option<Box<Request>>,
    /// The stream that was looked up last: what its group must have committed before an answer leaves.
    pub(crate) about: Cell<u32>,
    /// In a cluster: a configuration that the stream's leader found good.
    pub(crate) approved: Vec<u8>,
}

impl<'a> Call<'a> {
    /// A request that came by way of the cluster.
    pub(crate) fn of(
        core: &'a mut Core,
        asked: &'a Asked,
        now: Timestamp,
        out: &'a mut dyn Outbox,
    ) -> Self {
        Self {
            core,
            now,
            out,
            account: asked.account,
            headers: &asked.headers,
            body: &asked.body,
            request: Some(Box::new(asked.request())),
            about: Cell::default(),
            approved: Vec::new(),
        }
    }
}

impl Call<'_> {
    /// The id of the stream called `name`.
    pub(crate) fn stream_id(&self, name: &str) -> Result<u32, ApiError> {
        let id = self.core.streams.id(self.account, name);
        self.about.set(id.unwrap_or_default());
        id.ok_or_else(ApiError::stream_not_found)
    }

    /// The stream called `name`.
    pub(crate) fn stream(&self, name: &str) -> Result<&Stream, ApiError> {
        let id = self.stream_id(name)?;
        self.core
            .streams
            .get(id)
            .ok_or_else(ApiError::stream_not_found)
    }

    /// What frees space is refused only when nothing fits any more.
    pub(crate) fn check_room(&mut self, stream: u32) -> Result<(), ApiError> {
        let stream = self.core.streams.get(stream);
        let logged = stream.is_some_and(|stream| stream.group.is_some());
        if logged && !self.core.log.takes(self.body.len(), Purpose::Free) {
            return Err(ApiError::insufficient_resources());
        }
        Ok(())
    }

    /// Sends what the handler came to.
    pub(crate) fn finish<T: ApiResponse>(mut self, result: Result<Outcome<T>, ApiError>) {
        self.core.account(self.account).api_total += 1;
        self.send(result);
    }

    /// The same for a call that counts only if it fails.
    pub(crate) fn finish_uncounted<T: ApiResponse>(self, result: Result<Outcome<T>, ApiError>) {
        if result.is_ok() {
            self.finish_unaudited(result)
        } else {
            self.finish(result)
        }
    }

    /// The same for a call that neither counts nor is audited.
    pub(crate) fn finish_unaudited<T: ApiResponse>(mut self, result: Result<Outcome<T>, ApiError>) {
        if let Some(request) = &mut self.request {
            request.audited = false;
        }
        self.send(result);
    }

    fn send<T: ApiResponse>(&mut self, result: Result<Outcome<T>, ApiError>) {
        let Some(mut request) = self.request.take() else {
            return;
        };
        let mut body = Vec::new();
        let durable = match result {
            Ok(Outcome::Queued) => return,
            Ok(Outcome::Now(response)) => {
                encode(&Ok(response), &mut body);
                false
            }
            Ok(Outcome::Durable(response)) => {
                encode(&Ok(response), &mut body);
                true
            }
            Err(error) => {
                // Only who got what they asked for is told of the stream's identity.
                request.headers.clear();
                if request.audited {
                    self.core.account(self.account).api_errors += 1;
                }
                encode::<T>(&Err(error), &mut body);
                false
            }
        };
        let log = &mut self.core.log;
        let stream = self.core.streams.get(self.about.get());
        let entered = log.enter(stream.and_then(|stream| stream.group));
        match log.waits() {
            Some(lsn) if durable => log.commits.push(lsn, 0, What::Answer { request, body }),
            _ => request.answer(
                &body,
                self.now,
                &self.core.settings,
                self.core.node,
                self.out,
            ),
        }
        if entered {
            log.leave();
        }
    }
}

/// Whether a request needs a higher API level than this server has.
pub(crate) fn level_too_high(block: &[u8]) -> bool {
    if block.is_empty() {
        return false;
    }
    let value = headers::value(block, b"Nats-Required-Api-Level");
    let level = std::str::from_utf8(value).map(str::parse::<i64>);
    !value.is_empty() && !matches!(level, Ok(Ok(level)) if level <= i64::from(API_LEVEL))
}

/// The text for what cannot be done yet.
pub(crate) fn unsupported(what: &str) -> String {
    format!("{what} is not supported yet by this server")
}

/// The part of a sorted list that one response shows.
pub(crate) fn page(offset: i64, total: usize, limit: usize) -> std::ops::Range<usize> {
    let start = usize::try_from(offset).unwrap_or(0).min(total);
    start..total.min(start + limit)
}
