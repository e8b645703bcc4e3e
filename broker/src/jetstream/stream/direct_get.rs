//! DIRECT.GET: stored messages as plain messages, statuses instead of JSON.

use std::io::Write;

use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::requests::MsgGetRequest;
use jetwake_storage::{KeyFilter, StoredRef};

use crate::jetstream::api::level_too_high;
use crate::jetstream::env::Env;
use crate::jetstream::filter::{AnyOf, SubjectFilter};
use crate::jetstream::io::{Inbound, Outgoing};
use crate::jetstream::stream::Stream;

/// Most subjects of one `multi_last` request.
const MAX_SUBJECTS: usize = 1024;

const EMPTY: &str = "408 Empty Request";
const MALFORMED: &str = "408 Malformed Request";
const BAD: &str = "408 Bad Request";
const NOT_FOUND: &str = "404 Message Not Found";

/// What each message of a batch carries besides its origin.
#[derive(Clone, Copy, Debug)]
struct Progress {
    pending: u64,
    last: u64,
}

impl Stream {
    /// Answers a request on `DIRECT.GET.<stream>` or below.
    pub(crate) fn direct_get(&self, message: &Inbound<'_>, env: &mut Env<'_>) {
        if message.reply.is_empty() {
            return;
        }
        if level_too_high(message.headers) {
            return self.status("412 Required Api Level", message.reply, env);
        }
        match self.understand(message, env) {
            Ok(request) if !request.multi_last.is_empty() => {
                self.multi(&request, message.reply, env);
            }
            Ok(request) if request.batch != 0 => self.batch(&request, message.reply, env),
            Ok(request) => self.single(&request, message.reply, env),
            Err(status) => self.status(status, message.reply, env),
        }
    }

    fn understand(
        &self,
        message: &Inbound<'_>,
        env: &Env<'_>,
    ) -> Result<MsgGetRequest, &'static str> {
        let subject = self.asked_subject(message.subject, env);
        let mut request = MsgGetRequest::default();
        if !message.payload.is_empty() {
            request = MsgGetRequest::parse_direct(message.payload).ok_or(MALFORMED)?;
        } else if subject.is_none() {
            return Err(EMPTY);
        }
        let nothing = request.seq == 0
            && request.last_for.is_empty()
            && request.next_for.is_empty()
            && request.multi_last.is_empty()
            && request.start_time.is_none();
        if let Some(subject) = subject {
            if !nothing {
                return Err(BAD);
            }
            request.last_for = String::from_utf8(subject.to_vec()).map_err(|_| BAD)?;
        } else if nothing {
            return Err(EMPTY);
        }
        if conflicting(&request) {
            Err(BAD)
        } else {
            Ok(request)
        }
    }

    /// What follows the stream's name in the request's subject.
    fn asked_subject<'a>(&self, subject: &'a [u8], env: &Env<'_>) -> Option<&'a [u8]> {
        env.settings.api_prefixes().find_map(|prefix| {
            let rest = subject
                .strip_prefix(prefix.as_bytes())?
                .strip_prefix(b".DIRECT.GET.")?;
            rest.strip_prefix(self.config.name.as_bytes())?
                .strip_prefix(b".")
        })
    }

    fn single(&self, request: &MsgGetRequest, reply: &[u8], env: &mut Env<'_>) {
        match self.find(request) {
            Some(seq)
                if self
                    .send_stored(seq, request.no_headers, None, reply, env)
                    .is_some() => {}
            _ => self.status(NOT_FOUND, reply, env),
        }
    }

    /// The sequence that a request for one message means.
    pub(crate) fn find(&self, request: &MsgGetRequest) -> Option<u64> {
        let from = match request.start_time {
            Some(time) => self.messages.seq_at(time.to_nanos()),
            None => request.seq,
        };
        let found = if !request.next_for.is_empty() {
            let filter = SubjectFilter::new(request.next_for.as_bytes());
            self.messages.next_matching(from, &filter)
        } else if !request.last_for.is_empty() {
            let filter = SubjectFilter::new(request.last_for.as_bytes());
            match filter.literal() {
                Some(subject) => self.messages.last_of_key(subject, u64::MAX),
                None => self.messages.last_matching(u64::MAX, &filter),
            }
        } else if request.start_time.is_some() {
            self.messages.next(from)
        } else {
            self.messages.meta(from)
        };
        found.map(|meta| meta.seq)
    }

    fn batch(&self, request: &MsgGetRequest, reply: &[u8], env: &mut Env<'_>) {
        let filter = match request.next_for.as_str() {
            "" => SubjectFilter::everything(),
            subject => SubjectFilter::new(subject.as_bytes()),
        };
        let mut from = match request.start_time {
            Some(time) => self.messages.seq_at(time.to_nanos()),
            None => request.seq,
        };
        let mut progress = Progress {
            pending: self.messages.count_matching(from, &filter),
            last: 0,
        };
        let (mut room, mut taken) = (max_bytes(request, env), 0);
        while taken < request.batch && room > 0 {
            let Some(meta) = self.messages.next_matching(from, &filter) else {
                break;
            };
            let bare = request.no_headers;
            // The peer counts down in the headers that it writes only.
            progress.pending = progress.pending.saturating_sub(u64::from(!bare));
            // What cannot be read is in the log; the messages behind it can.
            let size = self.send_stored(meta.seq, bare, Some(progress), reply, env);
            room = room.saturating_sub(size.unwrap_or_default());
            progress.last = meta.seq;
            from = meta.seq + 1;
            taken += 1;
        }
        // A batch of fewer than none only tells how many there are.
        if taken == 0 && request.batch > 0 {
            return self.status(NOT_FOUND, reply, env);
        }
        self.end_of_batch(progress, None, reply, env);
    }

    fn multi(&self, request: &MsgGetRequest, reply: &[u8], env: &mut Env<'_>) {
        let state = self.messages.state();
        let upto = match request.up_to_time {
            Some(time) => self.messages.seq_at(time.to_nanos()).saturating_sub(1),
            None if request.up_to_seq > 0 => request.up_to_seq,
            None => state.last_seq,
        };
        let filters = request
            .multi_last
            .iter()
            .map(|one| SubjectFilter::new(one.as_bytes()));
        let filter = AnyOf(filters.collect());
        let mut found = self
            .messages
            .last_per_key(0, upto, &filter, MAX_SUBJECTS + 1);
        if found.is_empty() {
            return self.status("404 No Results", reply, env);
        }
        if found.len() > MAX_SUBJECTS {
            return self.status("413 Too Many Results", reply, env);
        }
        // Subjects whose newest message lies before the page still count as found.
        found.retain(|meta| meta.seq >= request.seq);
        let most = usize::try_from(request.batch).ok().filter(|most| *most > 0);
        let mut progress = Progress {
            pending: found.len() as u64,
            last: 0,
        };
        let mut room = max_bytes(request, env);
        for meta in found.iter().take(most.unwrap_or(usize::MAX)) {
            if room == 0 {
                break;
            }
            progress.pending -= 1;
            let size = self.send_stored(meta.seq, false, Some(progress), reply, env);
            room = room.saturating_sub(size.unwrap_or_default());
            progress.last = meta.seq;
        }
        self.end_of_batch(progress, Some(upto), reply, env);
    }

    /// Sends a stored message with the headers that tell where it comes from. Returns the bytes that count for
    /// `max_bytes`.
    fn send_stored(
        &self,
        seq: u64,
        bare: bool,
        progress: Option<Progress>,
        reply: &[u8],
        env: &mut Env<'_>,
    ) -> Option<u64> {
        let mut size = 0;
        let mut block = std::mem::take(&mut env.agenda.buffer);
        let (account, name, out) = (self.account, &self.config.name, &mut *env.out);
        let read = self.messages.read(seq, &mut |stored| {
            size = (stored.key.len() + stored.headers.len() + stored.payload.len()) as u64;
            block.clear();
            if !bare {
                origin_headers(&mut block, name, &stored, progress);
            }
            out.publish(Outgoing {
                account,
                route: reply,
                subject: reply,
                reply: &[],
                headers: &block,
                payload: stored.payload,
            });
        });
        env.agenda.buffer = block;
        match read {
            Ok(found) => found.then_some(size),
            Err(error) => {
                env.agenda.unreadable.push((seq, error));
                None
            }
        }
    }

    fn end_of_batch(&self, at: Progress, upto: Option<u64>, reply: &[u8], env: &mut Env<'_>) {
        let mut status = format!(
            "204 EOB\r\nNats-Num-Pending: {}\r\nNats-Last-Sequence: {}",
            at.pending, at.last
        );
        if let Some(upto) = upto {
            status.push_str(&format!("\r\nNats-UpTo-Sequence: {upto}"));
        }
        self.status(&status, reply, env);
    }

    fn status(&self, status: &str, reply: &[u8], env: &mut Env<'_>) {
        let headers = format!("NATS/1.0 {status}\r\n\r\n");
        env.out.publish(Outgoing {
            account: self.account,
            route: reply,
            subject: reply,
            reply: &[],
            headers: headers.as_bytes(),
            payload: &[],
        });
    }
}

fn conflicting(request: &MsgGetRequest) -> bool {
    let seq = request.seq > 0;
    let time = request.start_time.is_some();
    let last = !request.last_for.is_empty();
    let next = !request.next_for.is_empty();
    let multi = !request.multi_last.is_empty();
    (seq && (last || time))
        || (time && last)
        || (last && (next || request.batch > 0 || multi))
        || (next && multi)
        || (request.up_to_seq > 0 && request.up_to_time.is_some())
}

fn max_bytes(request: &MsgGetRequest, env: &Env<'_>) -> u64 {
    u64::try_from(request.max_bytes)
        .ok()
        .filter(|most| *most > 0)
        .unwrap_or(env.settings.max_pending)
}

/// The stored header block, followed by where the message comes from.
fn origin_headers(
    into: &mut Vec<u8>,
    stream: &str,
    stored: &StoredRef<'_>,
    progress: Option<Progress>,
) {
    into.extend_from_slice(match stored.headers {
        [] => b"NATS/1.0\r\n",
        block => block.strip_suffix(b"\r\n").unwrap_or(block),
    });
    for (name, value) in [
        (&b"Nats-Stream: "[..], stream.as_bytes()),
        (b"Nats-Subject: ", stored.key),
    ] {
        into.extend_from_slice(name);
        into.extend_from_slice(value);
        into.extend_from_slice(b"\r\n");
    }
    let time = Time::from_nanos(stored.timestamp);
    // Writing into a vector cannot fail.
    let _ = write!(
        into,
        "Nats-Sequence: {}\r\nNats-Time-Stamp: {time}\r\n",
        stored.seq
    );
    if let Some(Progress { pending, last }) = progress {
        let _ = write!(
            into,
            "Nats-Num-Pending: {pending}\r\nNats-Last-Sequence: {last}\r\n"
        );
    }
    into.extend_from_slice(b"\r\n");
}
