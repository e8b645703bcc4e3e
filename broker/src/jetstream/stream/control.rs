//! Control entries: into the log, and out of it again when durable.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::advisory::{Action, StreamAction};
use jetwake_protocol::jetstream::json::{Rules, from_json};
use jetwake_protocol::jetstream::responses::{
    ApiResponse, MsgDeleteResponse, StreamPurgeResponse, StreamUpdateResponse, encode,
};
use jetwake_protocol::jetstream::stream::StreamConfig;
use jetwake_protocol::jetstream::stream_config;

use crate::jetstream::advisory::advise;
use crate::jetstream::api::answer::Request;
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::rewrite::Rewrite;

impl Stream {
    /// Logs an entry; it is applied and the request answered when it is durable, at once in memory.
    pub(crate) fn submit(
        &mut self,
        entry: &Entry<'_>,
        request: Option<Box<Request>>,
        env: &mut Env<'_>,
    ) {
        match self.group {
            None => self.commit_control(entry, request.as_deref(), env),
            Some(group) => {
                if let Err(Some(request)) = env.log.submit(self.id, group, entry, request) {
                    refuse(entry, &request, env);
                }
            }
        }
    }

    /// An entry is durable: applies it, tells the consumers, answers.
    pub(crate) fn commit_control(
        &mut self,
        entry: &Entry<'_>,
        request: Option<&Request>,
        env: &mut Env<'_>,
    ) {
        match *entry {
            Entry::Release { seqs } => self.apply_release(seqs),
            Entry::Expire { first_seq } => self.apply_expire(first_seq),
            Entry::ExpireEach { seqs } => self.apply_expire_each(seqs),
            Entry::Delete { seq, erase } => {
                let result = if self.apply_delete(seq, erase) {
                    Ok(MsgDeleteResponse { success: true })
                } else {
                    Err(ApiError::sequence_not_found(seq))
                };
                self.notify(env);
                respond(request, &result, env);
            }
            Entry::Purge { filter, seq, keep } => {
                let purged = self.apply_purge(filter, seq, keep);
                self.notify(env);
                respond(
                    request,
                    &Ok(StreamPurgeResponse {
                        success: true,
                        purged,
                    }),
                    env,
                );
            }
            Entry::Config { config, .. } => self.commit_config(config, request, env),
            // Skips are queued as such; consumers apply their own operations when they log them.
            Entry::Drop
            | Entry::Batch { .. }
            | Entry::Skip { .. }
            | Entry::Consumer { .. }
            | Entry::ConsumerOp { .. }
            | Entry::ConsumerDelete { .. }
            | Entry::Replica { .. }
            | Entry::Hard { .. }
            | Entry::Noop
            | Entry::Change { .. }
            | Entry::Node { .. }
            | Entry::State { .. }
            | Entry::Fetch { .. }
            | Entry::Meta { .. } => {}
        }
        self.notify(env);
        self.arm_expiry(env);
    }

    fn commit_config(&mut self, config: &[u8], request: Option<&Request>, env: &mut Env<'_>) {
        let (before, retention) = (self.config.max_bytes, self.config.retention);
        if !self.apply_config(config) {
            return;
        }
        env.account
            .reserved(self.in_memory(), before, self.config.max_bytes);
        self.dedupe.expire(env.now);
        self.listen(env.settings, env.out);
        if !self.config.allow_batched {
            self.drop_fast(env);
        }
        if !self.config.allow_atomic {
            self.drop_batches(env);
        }
        env.agenda.timers.set(self.id, 0, None);
        self.notify(env);
        self.sweep(env);
        if retention != self.config.retention {
            self.release_unneeded(0, env);
        }
        let event = StreamAction {
            stream: &self.config.name,
            action: Action::Modify,
        };
        advise(&event, self.account, env.now, env.settings, env.out);
        let mut info = self.info(env.now);
        info.config = stream_config::with_dynamic_metadata(&info.config);
        info.domain = env.settings.domain.clone().unwrap_or_default();
        respond(request, &Ok(StreamUpdateResponse { info: Some(info) }), env);
    }

    /// Takes over a configuration from the log and enforces its limits.
    pub(crate) fn apply_config(&mut self, config: &[u8]) -> bool {
        let Ok(config) = from_json::<StreamConfig>(config, "server.StreamConfig", Rules::Lenient)
        else {
            return false;
        };
        self.dedupe.set_window(config.duplicates);
        let with_ttls = config.allow_msg_ttl && !self.config.allow_msg_ttl;
        self.rewrite = Rewrite::new(&config);
        self.config = config;
        if with_ttls {
            self.note_all_ttls();
        }
        self.enforce_limits();
        true
    }
}

/// The disk is full, so that not even this fits, or the log is closed.
fn refuse(entry: &Entry<'_>, request: &Request, env: &mut Env<'_>) {
    let error = ApiError::insufficient_resources();
    match entry {
        Entry::Purge { .. } => respond::<StreamPurgeResponse>(Some(request), &Err(error), env),
        Entry::Config { .. } => respond::<StreamUpdateResponse>(Some(request), &Err(error), env),
        _ => respond::<MsgDeleteResponse>(Some(request), &Err(error), env),
    }
}

fn respond<T: ApiResponse>(
    request: Option<&Request>,
    result: &Result<T, ApiError>,
    env: &mut Env<'_>,
) {
    let Some(request) = request else { return };
    if result.is_err() {
        env.account.api_errors += 1;
    }
    let mut body = Vec::new();
    encode(result, &mut body);
    request.answer(&body, env.now, env.settings, env.node, env.out);
}
