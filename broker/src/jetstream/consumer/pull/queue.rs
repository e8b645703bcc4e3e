//! The pull requests that wait, in the order in which they are served.
//!
//! The head gets the next message and then goes to the tail if it wants more, so messages are dealt one by one.
//! Requests with a priority stay ordered by it: their tail is the last of their priority.

use std::collections::VecDeque;

use super::priority::{Pin, Terms};
use crate::jetstream::consumer::status::Left;
use crate::jetstream::io::Timestamp;

/// Reply buffers that are kept for reuse.
const SPARE: usize = 32;

/// One pull request.
#[derive(Debug)]
pub(in crate::jetstream::consumer) struct Request {
    /// Where messages and statuses go.
    pub(in crate::jetstream::consumer) reply: Vec<u8>,
    /// Messages wanted; may be asked for as less than one, and one is given.
    pub(in crate::jetstream::consumer) wanted: i64,
    /// Bytes left of the budget.
    pub(in crate::jetstream::consumer) bytes: i64,
    /// Whether there is a budget.
    pub(in crate::jetstream::consumer) budgeted: bool,
    /// Messages given.
    pub(in crate::jetstream::consumer) given: u64,
    /// Ends at the end of the stream.
    pub(in crate::jetstream::consumer) no_wait: bool,
    /// When it ends.
    pub(in crate::jetstream::consumer) expires: Option<Timestamp>,
    /// The interval of heartbeats, 0 for none.
    pub(in crate::jetstream::consumer) heartbeat: i64,
    /// When the next heartbeat is due.
    pub(in crate::jetstream::consumer) next_beat: Timestamp,
    /// What it says about its turn, if the consumer has priority groups.
    pub(super) terms: Option<Box<Terms>>,
}

impl Request {
    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn limit(&self) -> Option<i64> {
        self.budgeted.then_some(self.bytes)
    }

    /// Counts a message. What is left, if that ended the request.
    pub(super) fn charge(&mut self, size: i64, now: Timestamp) -> Option<Left> {
        self.given += 1;
        self.wanted -= 1;
        if self.budgeted {
            self.bytes -= size;
            if self.bytes == 0 {
                self.wanted = 0;
            }
        }
        self.next_beat = now.saturating_add(self.heartbeat);
        (self.wanted <= 0).then(|| self.left())
    }

    /// Whether a heartbeat is due; the next one is then an interval later.
    pub(super) fn beat(&mut self, now: Timestamp) -> bool {
        if self.heartbeat == 0 || self.next_beat > now {
            return false;
        }
        self.next_beat = now.saturating_add(self.heartbeat);
        true
    }

    /// Whether it ends when there is nothing more to give: it does not wait, and it either got something or has
    /// no time in which something could come.
    pub(super) fn ends_without_messages(&self) -> bool {
        self.no_wait && (self.given > 0 || self.expires.is_none())
    }

    fn priority(&self) -> u8 {
        match self.terms.as_deref() {
            Some(Terms::Prioritized(priority)) => *priority,
            _ => 0,
        }
    }

    fn deadline(&self) -> Option<Timestamp> {
        let beat = (self.heartbeat > 0).then_some(self.next_beat);
        self.expires.into_iter().chain(beat).min()
    }
}

/// All waiting requests of one consumer.
#[derive(Debug, Default)]
pub(in crate::jetstream::consumer) struct PullQueue {
    requests: VecDeque<Request>,
    no_wait: usize,
    /// No request has anything due before this; heartbeats may have moved later meanwhile.
    deadline: Option<Timestamp>,
    /// The client that is served alone.
    pub(super) pin: Option<Pin>,
    /// When uninteresting requests were last looked for.
    pub(super) swept_at: Timestamp,
    spare: Vec<Vec<u8>>,
}

impl PullQueue {
    /// How many requests wait.
    pub(in crate::jetstream::consumer) fn len(&self) -> usize {
        self.requests.len()
    }

    /// How many messages they want.
    pub(super) fn wanted(&self) -> i64 {
        self.requests
            .iter()
            .fold(0, |sum: i64, request| sum.saturating_add(request.wanted))
    }

    pub(super) fn has_no_wait(&self) -> bool {
        self.no_wait > 0
    }

    /// A buffer for a reply subject.
    pub(super) fn buffer(&mut self, reply: &[u8]) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(reply);
        buffer
    }

    /// Adds a request at its tail.
    pub(super) fn push(&mut self, request: Request) {
        self.no_wait += usize::from(request.no_wait);
        self.deadline = self.deadline.into_iter().chain(request.deadline()).min();
        self.place(request);
    }

    fn place(&mut self, request: Request) {
        let priority = request.priority();
        let last = self.requests.back().map_or(0, Request::priority);
        if last <= priority {
            self.requests.push_back(request);
        } else {
            let before = |other: &Request| other.priority() <= priority;
            let at = self.requests.partition_point(before);
            self.requests.insert(at, request);
        }
    }

    /// The request whose turn it is.
    pub(super) fn head(&mut self) -> Option<&mut Request> {
        self.requests.front_mut()
    }

    /// The terms of the head.
    pub(super) fn head_terms(&self) -> Option<&Terms> {
        self.requests.front()?.terms.as_deref()
    }

    /// The terms of the head, to change.
    pub(super) fn head_terms_mut(&mut self) -> Option<&mut Terms> {
        self.requests.front_mut()?.terms.as_deref_mut()
    }

    /// Moves the head to its tail.
    pub(super) fn rotate(&mut self) {
        if self.requests.len() > 1
            && let Some(head) = self.requests.pop_front()
        {
            self.place(head);
        }
    }

    /// Removes the head.
    pub(super) fn drop_head(&mut self) {
        if let Some(request) = self.requests.pop_front() {
            self.no_wait -= usize::from(request.no_wait);
            if self.spare.len() < SPARE {
                self.spare.push(request.reply);
            }
        }
        if self.requests.is_empty() {
            self.deadline = None;
        }
    }

    /// Keeps the requests that `keep` wants.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Request) -> bool) {
        self.requests.retain_mut(keep);
        self.no_wait = self
            .requests
            .iter()
            .filter(|request| request.no_wait)
            .count();
        if self.requests.is_empty() {
            self.deadline = None;
        }
    }

    /// When the queue wants to be tended.
    pub(in crate::jetstream::consumer) fn deadline(&self) -> Option<Timestamp> {
        let pin = self.pin.as_ref().map(|pin| pin.expires);
        self.deadline.into_iter().chain(pin).min()
    }

    /// Looks up when the queue wants to be tended next.
    pub(super) fn reckon(&mut self) {
        self.deadline = self.requests.iter().filter_map(Request::deadline).min();
    }
}
