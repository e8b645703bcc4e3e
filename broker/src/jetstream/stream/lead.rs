//! A replicated stream comes into this node's hands, or leaves them.

use jetwake_protocol::jetstream::consumer::ConsumerConfig;
use jetwake_protocol::jetstream::json::{Rules, from_json, to_json};
use jetwake_storage::Purpose;

use crate::jetstream::consumer::Close;
use crate::jetstream::entry::Entry;
use crate::jetstream::env::Env;
use crate::jetstream::io::Level;
use crate::jetstream::shadow::Shadow;
use crate::jetstream::stream::Stream;
use crate::jetstream::stream::headers;
use crate::jetstream::stream::staged::Staged;

impl Stream {
    /// Whether this node decides on the stream.
    pub(crate) fn decides(&self) -> bool {
        self.replicated != Some(false)
    }

    /// Everything that was committed is applied: makes consumers of what is recorded, listens, and goes on with what
    /// time has brought.
    pub(crate) fn begin_to_lead(&mut self, shadow: &Shadow, env: &mut Env<'_>) {
        if let (Some(_), Some(group)) = (self.partial.take(), self.group) {
            // What is published from now on is not the rest of it.
            env.log
                .control(group, &Entry::Batch { count: 0 }, Purpose::Free);
        }
        self.forget_decided();
        let mut snapshot = Vec::new();
        for (name, one) in shadow.iter() {
            snapshot.clear();
            one.state.save(&mut snapshot);
            let config = from_json(&one.config, "server.ConsumerConfig", Rules::Lenient);
            let restored = config.is_ok_and(|config: ConsumerConfig| {
                self.restore_consumer(name, one.created, config, &snapshot, env)
            });
            if !restored {
                let text = format!(
                    "consumer {name} of stream {}: damaged state",
                    self.config.name
                );
                env.out.log(Level::Error, &text);
            }
        }
        self.open_all(env);
        self.release_again(env);
    }

    /// Listens, with all consumers.
    pub(crate) fn open_all(&mut self, env: &mut Env<'_>) {
        self.listen(env.settings, env.out);
        self.sweep(env);
        for consumer in self.consumers.ids() {
            self.with_consumer(consumer, env, |one, ctx| {
                one.recover(ctx);
                one.open(ctx);
            });
            self.look_for_strays(consumer);
        }
    }

    /// Ends a consumer that another node goes on with.
    pub(crate) fn depose_consumer(&mut self, id: u32, env: &mut Env<'_>) {
        self.with_consumer(id, env, |consumer, ctx| consumer.close(ctx, Close::Deposed));
        self.consumers.remove(id);
        env.agenda.timers.set(self.id, id, None);
    }

    /// The consumers as they are recorded; those kept in memory, too.
    pub(crate) fn record_consumers(&self) -> Shadow {
        let mut shadow = Shadow::default();
        for consumer in self.consumers.iter() {
            let (mut config, mut snapshot) = (Vec::new(), Vec::new());
            to_json(consumer.config(), &mut config);
            consumer.snapshot(&mut snapshot);
            let entry = Entry::Consumer {
                name: consumer.name().as_bytes(),
                created: consumer.created(),
                config: &config,
                snapshot: &snapshot,
            };
            // Of a consumer that is live every byte is right.
            let _ = shadow.apply(&entry);
        }
        shadow
    }

    /// Only what is committed counts.
    pub(crate) fn forget_decided(&mut self) {
        let last_seq = self.messages.state().last_seq;
        self.staged = Staged::new(last_seq);
        self.dedupe.forget_above(last_seq);
        self.released.clear();
        self.changes.clear();
        self.last_msg_id = self.committed_msg_id();
    }

    /// The id of the newest message that is committed; empty if it had none.
    pub(crate) fn committed_msg_id(&self) -> Vec<u8> {
        let mut id = Vec::new();
        let last_seq = self.messages.state().last_seq;
        let last = self.messages.prev(u64::MAX);
        if let Some(last) = last.filter(|one| one.seq == last_seq) {
            // One that cannot be read has no id that anybody could ask for.
            let _ = self.messages.read(last.seq, &mut |message| {
                id.extend_from_slice(headers::value(message.headers, b"Nats-Msg-Id"));
            });
        }
        id
    }
}
