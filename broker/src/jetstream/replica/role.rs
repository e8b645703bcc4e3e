//! A member begins to lead, or ends. A leader decides only when everything of earlier terms is applied; then it makes
//! live consumers of the recorded ones and listens. Whoever leads no longer forgets all that and what it had decided.

use super::META;
use crate::consensus::{Role, RoleChange};
use crate::jetstream::core::Core;
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::Standing;
use crate::jetstream::stream::{batch, dedupe, fast};

impl Core {
    /// Somebody else leads, or nobody, or this member begins to.
    pub(crate) fn change_role(
        &mut self,
        group: GroupId,
        change: &RoleChange,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Some(replica) = self.log.replica(group) else {
            return;
        };
        let before = replica.standing;
        let leads = change.role == Role::Leader;
        let serving = before.serving && leads && before.term == change.term;
        replica.standing = Standing {
            leader: change.leader,
            term: change.term,
            since: if before.leader == change.leader {
                before.since
            } else {
                now
            },
            serving,
        };
        let stream = replica.stream;
        if before.serving && !serving {
            let begun = replica.open_batch.take();
            replica.abandon();
            match stream {
                Some(stream) => {
                    self.stop_serving(stream, now, out);
                    let entries = begun.map_or(Vec::new(), |one| one.entries);
                    for (data, location) in entries {
                        self.apply_data(group, stream, &data, location, now, out);
                    }
                }
                None => self.meta_deposed(now, out),
            }
        }
        if before.leader != change.leader {
            self.leader_changed(group, now, out);
        }
        if leads && self.cluster.leaving.is_some_and(|left| left > 0) {
            // Nobody else would, at that moment; somebody may by now.
            self.hand_everything_over();
        }
    }

    /// A leader that has applied an entry of its own term knows everything that was committed before.
    pub(crate) fn perhaps_serve(&mut self, group: GroupId, now: Timestamp, out: &mut dyn Outbox) {
        let node = self.node;
        let Some(replica) = self.log.replica(group) else {
            return;
        };
        let standing = &mut replica.standing;
        let leads = standing.leader == Some(node);
        if standing.serving || !leads || replica.applied.1 != standing.term {
            return;
        }
        standing.serving = true;
        let stream = replica.stream;
        match stream {
            Some(stream) => self.start_serving(group, stream, now, out),
            None if group == META => self.meta_elected(now, out),
            None => {}
        }
    }

    /// The stream is this node's to decide on.
    fn start_serving(&mut self, group: GroupId, id: u32, now: Timestamp, out: &mut dyn Outbox) {
        let shadow = self.log.replica(group).map(|one| one.shadow.clone());
        self.with_stream(id, now, out, |stream, env| {
            stream.replicated = Some(true);
            stream.changes.clear();
            stream.begin_to_lead(&shadow.unwrap_or_default(), env);
        });
        self.stream_led(group, id, now, out);
    }

    /// The stream is somebody else's to decide on.
    pub(crate) fn stop_serving(&mut self, id: u32, now: Timestamp, out: &mut dyn Outbox) {
        self.with_stream(id, now, out, |stream, env| {
            stream.replicated = Some(false);
            for consumer in stream.consumers.ids() {
                stream.depose_consumer(consumer, env);
            }
            stream.listen(env.settings, env.out);
            stream.drop_batches(env);
            stream.drop_fast(env);
            for timer in [0, batch::TIMER, dedupe::TIMER, fast::TIMER] {
                env.agenda.timers.set(stream.id, timer, None);
            }
            stream.forget_decided();
        });
    }
}
