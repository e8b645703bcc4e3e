//! Takes pull requests: an ordered list of checks, each with its status.

use jetwake_protocol::header;
use jetwake_protocol::jetstream::API_LEVEL;
use jetwake_protocol::jetstream::pull::PullRequest;
use jetwake_protocol::time::format_duration;

use super::priority::Terms;
use super::{NO_MESSAGES, Request, send_status};
use crate::jetstream::consumer::ctx::Ctx;
use crate::jetstream::consumer::settings::Settings;
use crate::jetstream::consumer::{Consumer, Mode, status};
use crate::jetstream::io::Inbound;

const REQUIRED_LEVEL: &[u8] = b"Nats-Required-Api-Level";
/// A full queue is searched for requests that nobody waits for at most this often.
const SWEEP_INTERVAL: i64 = 50_000_000;

/// Why a request is not taken: the status, or silence.
enum Refusal {
    Status(String),
    Silence,
}

fn status(text: &str) -> Refusal {
    Refusal::Status(text.to_owned())
}

impl Consumer {
    /// A pull request. One without a reply subject has nowhere to go.
    pub fn on_next(&mut self, ctx: &mut Ctx<'_>, message: &Inbound<'_>) {
        if message.reply.is_empty() {
            return;
        }
        if let Err(Refusal::Status(text)) = self.admit(ctx, message) {
            status::plain(&mut self.block, &text);
            send_status(ctx.out, ctx.account, message.reply, &self.block);
        }
    }

    fn admit(&mut self, ctx: &mut Ctx<'_>, message: &Inbound<'_>) -> Result<(), Refusal> {
        if !self.is_pull() {
            return Err(status("409 Consumer is push based"));
        }
        check_level(message.headers)?;
        let wish = PullRequest::parse(message.payload)
            .map_err(|error| Refusal::Status(format!("400 Bad Request - {error}")))?;
        check_limits(&wish, &self.settings)?;
        let terms = match message.payload.trim_ascii().first() {
            Some(b'{') => self.take_terms(ctx.now, &wish).map_err(status)?,
            // Only JSON can name a group, so nothing else has to.
            _ => None,
        };
        if self.waiting() >= self.settings.max_waiting && self.may_sweep(ctx.now) {
            self.sweep_requests(ctx);
        }
        self.check_no_wait(ctx, &wish)?;
        if self.waiting() >= self.settings.max_waiting {
            // A client with heartbeats would ask again at once, and again.
            return Err(match wish.heartbeat {
                0 => status("409 Exceeded MaxWaiting"),
                _ => Refusal::Silence,
            });
        }
        self.accept(ctx, message.reply, &wish, terms);
        Ok(())
    }

    fn may_sweep(&self, now: i64) -> bool {
        match &self.mode {
            Mode::Pull(queue) => now.saturating_sub(queue.swept_at) >= SWEEP_INTERVAL,
            Mode::Push(_) => false,
        }
    }

    /// How many requests wait.
    pub(in crate::jetstream::consumer) fn waiting(&self) -> usize {
        match &self.mode {
            Mode::Pull(queue) => queue.len(),
            Mode::Push(_) => 0,
        }
    }

    /// A request that does not wait is refused when nothing is there, or when others want all of it.
    fn check_no_wait(&mut self, ctx: &mut Ctx<'_>, wish: &PullRequest) -> Result<(), Refusal> {
        if !wish.no_wait {
            return Ok(());
        }
        let available = self.num_pending.get() + self.state.pending.queued() as u64;
        let paused = self.pace.paused_until.is_some_and(|until| until > ctx.now);
        if available == 0 {
            return match wish.expires {
                0 => Err(status(NO_MESSAGES)),
                _ => Ok(()),
            };
        }
        self.tend_requests(ctx);
        let Mode::Pull(queue) = &self.mode else {
            return Ok(());
        };
        // The peer counts a negative sum as a very large one.
        if queue.wanted().cast_unsigned() > available {
            return Err(status("408 Requests Pending"));
        }
        if paused && wish.expires == 0 {
            return Err(status(NO_MESSAGES));
        }
        Ok(())
    }

    fn accept(
        &mut self,
        ctx: &mut Ctx<'_>,
        reply: &[u8],
        wish: &PullRequest,
        terms: Option<Box<Terms>>,
    ) {
        let Mode::Pull(queue) = &mut self.mode else {
            return;
        };
        let reply = queue.buffer(reply);
        let now = ctx.now;
        queue.push(Request {
            reply,
            wanted: wish.batch,
            bytes: wish.max_bytes.max(0),
            budgeted: wish.max_bytes > 0,
            given: 0,
            no_wait: wish.no_wait,
            expires: (wish.expires != 0).then(|| now.saturating_add(wish.expires)),
            heartbeat: wish.heartbeat.max(0),
            next_beat: now.saturating_add(wish.heartbeat.max(0)),
            terms,
        });
        self.activity.touch(now);
        self.dirty = true;
    }
}

fn check_level(headers: &[u8]) -> Result<(), Refusal> {
    let Some(value) = header::get(headers, REQUIRED_LEVEL) else {
        return Ok(());
    };
    let level = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    match level {
        Some(level) if level <= API_LEVEL => Ok(()),
        _ => Err(status("412 Required Api Level")),
    }
}

fn check_limits(wish: &PullRequest, settings: &Settings) -> Result<(), Refusal> {
    let over = |value: i64, limit: Option<i64>| limit.filter(|limit| value > *limit);
    if let Some(limit) = over(wish.batch, settings.max_batch) {
        return Err(Refusal::Status(format!(
            "409 Exceeded MaxRequestBatch of {limit}"
        )));
    }
    if let Some(limit) = over(wish.expires, settings.max_expires) {
        let limit = format_duration(limit);
        return Err(Refusal::Status(format!(
            "409 Exceeded MaxRequestExpires of {limit}"
        )));
    }
    if let Some(limit) = over(wish.max_bytes, settings.max_bytes) {
        return Err(Refusal::Status(format!(
            "409 Exceeded MaxRequestMaxBytes of {limit}"
        )));
    }
    Ok(())
}
