//! The only place that changes what readers of a stream see: applies durable entries in log order.
//!
//! Runs for live traffic and for recovery alike, so it decides from the committed state and the entry alone: no
//! time, no consumer, nothing in flight. What it did is noted in `changes` for the consumers.

use jetwake_storage::{Insert, KeyId};

use crate::jetstream::filter::SubjectFilter;
use crate::jetstream::io::Timestamp;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers::PublishHeaders;

/// Something that consumers must hear of.
#[derive(Debug)]
pub(crate) enum Change {
    /// A message was stored.
    Stored {
        /// Its sequence.
        seq: u64,
        /// Its subject.
        key: KeyId,
    },
    /// A message was removed.
    Removed {
        /// Its sequence.
        seq: u64,
        /// Its subject.
        key: KeyId,
        /// Why.
        why: Why,
    },
    /// Messages were purged.
    Purged {
        /// Of these subjects only.
        filter: Option<Vec<u8>>,
        /// Up to this sequence.
        upto: u64,
        /// Where consumers of nothing else go on: the first that is left of these subjects, or behind the end.
        next: u64,
        /// Those that went, if they are few.
        gone: Option<Vec<(u64, KeyId)>>,
    },
}

/// Why a message was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// By request.
    Deleted,
    /// By a limit of the stream.
    Limit,
    /// Its consumers are done with it.
    Released,
}

/// What a message asks to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rollup {
    /// Nothing.
    None,
    /// Everything older on its subject.
    Subject,
    /// Everything older.
    All,
}

impl Rollup {
    /// Reads the value of `Nats-Rollup`.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"" => Some(Self::None),
            _ if value.eq_ignore_ascii_case(b"sub") => Some(Self::Subject),
            _ if value.eq_ignore_ascii_case(b"all") => Some(Self::All),
            _ => None,
        }
    }
}

impl Stream {
    /// Stores a message, enforces the limits, and rolls up if it asks for that.
    pub(crate) fn apply_publish(&mut self, message: &Insert<'_>) {
        let Ok(meta) = self.messages.insert(message) else {
            return;
        };
        self.changes.push(Change::Stored {
            seq: meta.seq,
            key: meta.key,
        });
        let config = &self.config;
        let headers = if config.allow_msg_ttl || config.allow_rollup_hdrs {
            PublishHeaders::scan(message.headers)
        } else {
            PublishHeaders::default()
        };
        if self.config.allow_msg_ttl && !headers.ttl.is_empty() {
            self.note_ttl(meta.seq, meta.timestamp, headers.ttl);
        }
        self.limit_subject(meta.key);
        self.limit_all();
        if self.config.allow_rollup_hdrs {
            match Rollup::parse(headers.rollup) {
                Some(Rollup::Subject) => self.purge_matching(message.key, meta.seq, 0),
                Some(Rollup::All) => self.purge_front(meta.seq),
                _ => 0,
            };
        }
    }

    /// Uses up a sequence without storing anything.
    pub(crate) fn apply_skip(&mut self, seq: u64, timestamp: Timestamp) {
        // A sequence that is already used is no news.
        let _ = self.messages.skip(seq, timestamp);
    }

    /// Removes messages that their consumers are done with.
    pub(crate) fn apply_release(&mut self, seqs: &[u8]) {
        for seq in seqs.chunks_exact(8) {
            if let Ok(seq) = seq.try_into() {
                self.remove(u64::from_le_bytes(seq), false, Why::Released);
            }
        }
    }

    /// Removes one message by request; whether there was one.
    pub(crate) fn apply_delete(&mut self, seq: u64, erase: bool) -> bool {
        self.remove(seq, erase, Why::Deleted)
    }

    /// Removes messages whose own time is over.
    pub(crate) fn apply_expire_each(&mut self, seqs: &[u8]) {
        for seq in seqs.chunks_exact(8) {
            if let Ok(seq) = seq.try_into() {
                self.remove(u64::from_le_bytes(seq), false, Why::Limit);
            }
        }
    }

    /// Removes everything below `first_seq` for its age.
    pub(crate) fn apply_expire(&mut self, first_seq: u64) {
        if self.deadlines.any_immortal() {
            let mut next = self.messages.next(self.first_mortal);
            while let Some(meta) = next.filter(|meta| meta.seq < first_seq) {
                if !self.deadlines.is_immortal(meta.seq) {
                    self.remove(meta.seq, false, Why::Limit);
                }
                next = self.messages.next(meta.seq + 1);
            }
            return;
        }
        self.deadlines.remove_below(first_seq);
        let changes = &mut self.changes;
        self.messages.remove_front(first_seq, &mut |meta, _| {
            changes.push(Change::Removed {
                seq: meta.seq,
                key: meta.key,
                why: Why::Limit,
            });
        });
    }

    /// Enforces all limits, after a change of the configuration.
    pub(crate) fn enforce_limits(&mut self) {
        if self.config.max_msgs_per_subject > 0 {
            let mut over = Vec::new();
            let most = self.config.max_msgs_per_subject.unsigned_abs();
            self.messages
                .keys_matching(&SubjectFilter::everything(), &mut |key, count| {
                    if count > most {
                        over.push(key.to_vec());
                    }
                });
            over.sort_unstable();
            for key in over {
                if let Some(id) = self.messages.key_id(&key) {
                    self.limit_subject(id);
                }
            }
        }
        self.limit_all();
    }

    fn limit_subject(&mut self, key: KeyId) {
        let Ok(most) = u64::try_from(self.config.max_msgs_per_subject) else {
            return;
        };
        if most == 0 {
            return;
        }
        while self.messages.count_of_id(key) > most {
            let Some(oldest) = self.messages.first_of_id(key) else {
                return;
            };
            self.remove(oldest.seq, false, Why::Limit);
        }
    }

    fn limit_all(&mut self) {
        let limit = |value: i64| {
            if value > 0 {
                value.unsigned_abs()
            } else {
                u64::MAX
            }
        };
        let (messages, bytes) = (limit(self.config.max_msgs), limit(self.config.max_bytes));
        if messages == u64::MAX && bytes == u64::MAX {
            return;
        }
        loop {
            let state = self.messages.state();
            if state.messages == 0 || (state.messages <= messages && state.bytes <= bytes) {
                return;
            }
            if !self.remove(state.first_seq, false, Why::Limit) {
                return;
            }
        }
    }

    fn remove(&mut self, seq: u64, erase: bool, why: Why) -> bool {
        let Some(meta) = self.messages.remove(seq, erase) else {
            return false;
        };
        self.deadlines.remove(seq);
        self.changes.push(Change::Removed {
            seq,
            key: meta.key,
            why,
        });
        true
    }
}
