//! One stream with its consumers: decides what is accepted, logs it, and applies it once it is durable.
//!
//! The split is the same everywhere: *decide* against the committed state plus what is in flight ([`staged`]),
//! *log*, and *apply* ([`apply`]) when the log position is durable. Only `apply` changes what readers see, and
//! recovery runs the same code. Streams in memory apply at once.

pub(crate) mod apply;
pub(crate) mod batch;
pub(crate) mod consumers;
pub(crate) mod control;
pub(crate) mod counter;
pub(crate) mod damage;
pub(crate) mod deadlines;
pub(crate) mod dedupe;
pub(crate) mod direct_get;
pub(crate) mod expiry;
pub(crate) mod fast;
pub(crate) mod headers;
pub(crate) mod info;
pub(crate) mod interest;
pub(crate) mod lead;
pub(crate) mod notify;
pub(crate) mod publish;
pub(crate) mod publish_checks;
pub(crate) mod purge;
pub(crate) mod retention;
pub(crate) mod rewrite;
pub(crate) mod staged;
pub(crate) mod ttl;
mod wheel;

use jetwake_protocol::jetstream::stream::{StorageType, StreamConfig};
use jetwake_storage::MessageStore;

use crate::jetstream::env::Env;
use crate::jetstream::io::{AccountId, Outbox, Tag, TagKind, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::recover::Partial;
use crate::jetstream::settings::Settings;
use crate::jetstream::stream::apply::Change;
use crate::jetstream::stream::batch::Batches;
use crate::jetstream::stream::consumers::Consumers;
use crate::jetstream::stream::damage::Damage;
use crate::jetstream::stream::deadlines::Deadlines;
use crate::jetstream::stream::dedupe::Dedupe;
use crate::jetstream::stream::fast::FastBatches;
use crate::jetstream::stream::notify::Audience;
use crate::jetstream::stream::retention::Recheck;
use crate::jetstream::stream::rewrite::Rewrite;
use crate::jetstream::stream::staged::Staged;

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Its number within this run, for tags.
    pub(crate) id: u32,
    /// Its number on disk; `None` for a stream in memory.
    pub(crate) group: Option<GroupId>,
    /// Whether it is replicated, and then whether this node decides.
    pub(crate) replicated: Option<bool>,
    /// The account that owns it.
    pub(crate) account: AccountId,
    /// Its configuration, validated, with defaults filled in.
    pub(crate) config: StreamConfig,
    /// What its configuration does to subjects.
    pub(crate) rewrite: Rewrite,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// What is committed.
    pub(crate) messages: Box<dyn MessageStore>,
    /// When single messages end.
    pub(crate) deadlines: Deadlines,
    /// All messages below this sequence never grow too old.
    first_mortal: u64,
    /// What is decided and not committed.
    pub(crate) staged: Staged,
    /// Message ids seen lately, those in flight included.
    pub(crate) dedupe: Dedupe,
    /// The id of the newest message, those in flight included; empty if it had none.
    pub(crate) last_msg_id: Vec<u8>,
    /// Its consumers.
    pub(crate) consumers: Consumers,
    /// Atomic batches that are open.
    pub(crate) batches: Batches,
    /// Fast batches that are open.
    pub(crate) fast: FastBatches,
    /// During recovery: a batch of which not everything was read yet.
    pub(crate) partial: Option<Partial>,
    /// During recovery: what consumers may have let go.
    pub(crate) recheck: Recheck,
    /// What applying did and consumers have not heard of.
    pub(crate) changes: Vec<Change>,
    /// Lists that telling them takes.
    audience: Audience,
    /// What was lost to damage.
    pub(crate) damage: Damage,
    /// Sequences that a consumer let go.
    pub(crate) released: Vec<u64>,
    /// Deletion is decided and waits for the log; nothing new is accepted.
    pub(crate) deleting: bool,
    /// Patterns that are listened to.
    listening: Vec<(Vec<u8>, Tag)>,
    /// Bytes that the account was told of.
    accounted: u64,
}

impl Stream {
    /// A stream without messages.
    pub(crate) fn new(
        id: u32,
        group: Option<GroupId>,
        account: AccountId,
        config: StreamConfig,
        created: Timestamp,
        mut messages: Box<dyn MessageStore>,
    ) -> Self {
        let state = messages.state();
        if config.first_seq > 1 && state.last_seq == 0 && state.messages == 0 {
            // A fresh store takes any first sequence.
            let _ = messages.set_first_seq(config.first_seq);
        }
        let last_seq = messages.state().last_seq;
        Self {
            id,
            group,
            replicated: None,
            account,
            dedupe: Dedupe::new(config.duplicates),
            rewrite: Rewrite::new(&config),
            config,
            created,
            messages,
            deadlines: Deadlines::default(),
            first_mortal: 0,
            staged: Staged::new(last_seq),
            last_msg_id: Vec::new(),
            consumers: Consumers::default(),
            batches: Batches::default(),
            fast: FastBatches::default(),
            partial: None,
            recheck: Recheck::default(),
            changes: Vec::new(),
            audience: Audience::default(),
            damage: Damage::default(),
            released: Vec::new(),
            deleting: false,
            listening: Vec::new(),
            accounted: 0,
        }
    }

    /// Whether the stream is kept in memory only.
    pub(crate) fn in_memory(&self) -> bool {
        self.config.storage == StorageType::Memory
    }

    /// Brings what is listened to in line with the configuration: subjects, and direct gets if allowed.
    pub(crate) fn listen(&mut self, settings: &Settings, out: &mut dyn Outbox) {
        let mut wanted = Vec::new();
        let tag = |kind| Tag {
            kind,
            stream: self.id,
            consumer: 0,
        };
        let subjects = self.config.subjects.iter().filter(|_| self.decides());
        for subject in subjects {
            wanted.push((subject.clone().into_bytes(), tag(TagKind::Publish)));
        }
        if self.config.allow_direct {
            for prefix in settings.api_prefixes() {
                let subject = format!("{prefix}.DIRECT.GET.{}", self.config.name);
                wanted.push((format!("{subject}.>").into_bytes(), tag(TagKind::DirectGet)));
                wanted.push((subject.into_bytes(), tag(TagKind::DirectGet)));
            }
        }
        for (pattern, tag) in self.listening.iter().filter(|old| !wanted.contains(old)) {
            out.unlisten(self.account, pattern, *tag);
        }
        for (pattern, tag) in wanted.iter().filter(|new| !self.listening.contains(new)) {
            out.listen(self.account, pattern, *tag);
        }
        self.listening = wanted;
    }

    /// Stops listening.
    pub(crate) fn unlisten(&mut self, out: &mut dyn Outbox) {
        for (pattern, tag) in self.listening.drain(..) {
            out.unlisten(self.account, &pattern, tag);
        }
    }

    /// Tells the account how the stream's bytes changed since the last time.
    pub(crate) fn account_for(&mut self, env: &mut Env<'_>) {
        let bytes = self.messages.state().bytes;
        if bytes != self.accounted {
            env.account.changed(self.in_memory(), self.accounted, bytes);
            self.accounted = bytes;
        }
    }

    /// The stream is gone: its bytes count no longer.
    pub(crate) fn unaccount(&mut self, env: &mut Env<'_>) {
        env.account.changed(self.in_memory(), self.accounted, 0);
        self.accounted = 0;
        env.account
            .reserved(self.in_memory(), self.config.max_bytes, 0);
    }
}
