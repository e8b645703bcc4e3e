//! What the nodes have agreed on takes effect here: replicas are created, changed and dropped.

use jetwake_protocol::jetstream::advisory::{Action, StreamAction};
use jetwake_protocol::jetstream::stream::StorageType;

use super::asked::Asked;
use super::meta::{Assignment, Change, Entry as MetaEntry};
use super::wire::Say;
use crate::consensus;
use crate::jetstream::advisory::advise;
use crate::jetstream::api::{Call, Outcome};
use crate::jetstream::core::Core;
use crate::jetstream::entry::Entry;
use crate::jetstream::io::{AccountId, Lane, Level, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::create::NewReplica;

impl Core {
    /// The group of all nodes committed something.
    pub(crate) fn apply_meta(
        &mut self,
        entry: &consensus::Entry,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Ok(entry) = MetaEntry::decode(&entry.data) else {
            let text = format!("JetStream cluster: malformed entry {}", entry.index);
            return out.log(Level::Error, &text);
        };
        match self.cluster.meta.apply(entry) {
            Change::None => {}
            Change::Nodes => {
                self.introduce_to_all(out);
                self.take_assigned(now, out);
            }
            Change::Created(group, asked) => {
                if let Some((account, one)) = self.cluster.meta.by_group(group) {
                    let key = (account, one.config.name.clone());
                    self.cluster.proposed.remove(&key);
                }
                self.create_assigned(group, Some(asked), now, out);
            }
            Change::Taken(asked) => {
                self.cluster.proposed.clear();
                if self.leads_cluster() {
                    // It is there by now, so that whoever leads it says so.
                    self.cluster.waiting.push(asked, 0, Vec::new(), now);
                }
            }
            Change::Updated(group, asked) => self.update_assigned(group, asked, now, out),
            Change::Deleted(account, old, asked) => {
                self.drop_assigned(account, &old, &asked, now, out);
            }
        }
        self.cluster.look = Some(now);
    }

    /// Creates what is assigned to this node and not there.
    pub(crate) fn take_assigned(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let mine = self.cluster.meta.all();
        let mine = mine.filter(|one| one.peers.contains(&self.node));
        let groups: Vec<GroupId> = mine.map(|one| one.group).collect();
        for group in groups {
            self.create_assigned(group, None, now, out);
        }
    }

    fn create_assigned(
        &mut self,
        group: GroupId,
        asked: Option<Asked>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let me = self.node;
        let Some((account, one)) = self.cluster.meta.by_group(group) else {
            return;
        };
        let known = self.streams.id(account, &one.config.name);
        if !one.peers.contains(&me) || known.is_some() {
            return;
        }
        let (config, created, peers) = (one.config.clone(), one.created, one.peers.clone());
        if peers.len() == 1 {
            // A stream on disk that is not there any more is lost: an empty one would be a lie.
            let may = asked.is_some() || config.storage == StorageType::Memory;
            if may {
                self.create_alone(group, account, config, created, asked, now, out);
            }
            return;
        }
        let first = peers[0] == me;
        // Who comes later is told everything by the leader.
        let voters = if asked.is_some() { peers } else { Vec::new() };
        let new = NewReplica {
            group,
            account,
            config,
            created,
            voters,
        };
        if self.create_replica(new, now, out).is_none() {
            return;
        }
        if let Some(asked) = asked {
            self.cluster.creating.insert(group, asked);
            if first && let Some(replica) = self.log.replica(group) {
                replica.consensus.begin();
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all of it is one stream")]
    fn create_alone(
        &mut self,
        group: GroupId,
        account: AccountId,
        config: jetwake_protocol::jetstream::stream::StreamConfig,
        created: Timestamp,
        asked: Option<Asked>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let name = config.name.clone();
        let made = self.create_stream_as(Some(group), account, config, created);
        self.with_name(account, &name, now, out);
        let Some(asked) = asked else { return };
        let call = Call::of(self, &asked, now, out);
        call.finish_created(&name, made);
    }

    fn with_name(&mut self, account: AccountId, name: &str, now: Timestamp, out: &mut dyn Outbox) {
        if let Some(id) = self.streams.id(account, name) {
            self.with_stream(id, now, out, |stream, env| {
                stream.listen(env.settings, env.out);
            });
        }
    }

    /// This node leads a stream's group.
    pub(crate) fn stream_led(
        &mut self,
        group: GroupId,
        id: u32,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let term = self.log.replica(group).map_or(0, |one| one.standing.term);
        self.cluster.leaders.insert(group, (self.node, term));
        let frame = Say::Leads(vec![(group, term)]).encode();
        for node in self.cluster.near.keys() {
            out.send(*node, Lane::Main, &frame);
        }
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (account, name) = (stream.account, stream.config.name.clone());
        let owner = out.account_name(account).unwrap_or_default();
        let text = format!("JetStream cluster new stream leader for '{owner} > {name}'");
        out.log(Level::Info, &text);
        if let Some(asked) = self.cluster.creating.remove(&group) {
            let call = Call::of(self, &asked, now, out);
            call.finish_created(&name, Ok(()));
        }
        self.bring_in_line(group, None, now, out);
        self.cluster.look = Some(now);
    }

    fn update_assigned(
        &mut self,
        group: GroupId,
        asked: Asked,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        self.create_assigned(group, None, now, out);
        self.bring_in_line(group, Some(asked), now, out);
    }

    /// The stream's own log takes over the configuration that is assigned, if this node decides on it.
    fn bring_in_line(
        &mut self,
        group: GroupId,
        asked: Option<Asked>,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let Some((account, one)) = self.cluster.meta.by_group(group) else {
            return;
        };
        let (json, created) = (one.json.clone(), one.created);
        let config = one.config.clone();
        let Some(id) = self.streams.id(account, &config.name) else {
            return;
        };
        let Some(stream) = self.streams.get(id).filter(|one| one.decides()) else {
            return;
        };
        if asked.is_none() && stream.config == config {
            return;
        }
        let entry = Entry::Config {
            account,
            created,
            config: &json,
        };
        let request = asked.map(|asked| Box::new(asked.request()));
        self.with_stream(id, now, out, |stream, env| {
            stream.submit(&entry, request, env);
        });
        self.streams.index(id);
    }

    fn drop_assigned(
        &mut self,
        account: AccountId,
        old: &Assignment,
        asked: &Asked,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let me = self.node;
        self.cluster.creating.remove(&old.group);
        let leader = self
            .cluster
            .leaders
            .remove(&old.group)
            .map(|(node, _)| node);
        let leader = if old.peers.len() == 1 {
            old.peers.first().copied()
        } else {
            leader
        };
        // Whoever led it answers; if nobody does, the leader of all.
        let answers = match leader {
            Some(leader) if self.cluster.reaches(me, leader) => leader == me,
            _ => self.leads_cluster(),
        };
        let request = answers.then(|| asked.request());
        let id = self.streams.id(account, &old.config.name);
        let Some(id) = id else {
            if let Some(request) = request {
                self.answer_deleted(&request, now, out);
            }
            return;
        };
        let led = self.streams.get(id).is_some_and(|one| one.decides());
        self.forget_stream(id, now, out);
        if led {
            let event = StreamAction {
                stream: &old.config.name,
                action: Action::Delete,
            };
            advise(&event, account, now, &self.settings, out);
        }
        if let Some(request) = request {
            self.answer_deleted(&request, now, out);
        }
    }

    /// This node has no part in a stream any more, as the leader of its group says.
    pub(crate) fn hear_gone(&mut self, group: GroupId, now: Timestamp, out: &mut dyn Outbox) {
        let assigned = self.cluster.meta.by_group(group);
        let id = self.log.replicas.get(group).and_then(|one| one.stream);
        if let (Some((_, one)), Some(id)) = (assigned, id)
            && !one.peers.contains(&self.node)
        {
            self.forget_stream(id, now, out);
        }
    }

    /// Streams of this node that are local and should not be, or are not assigned to it any more.
    pub(crate) fn tend_local(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        for id in self.streams.ids() {
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            let Some(group) = stream.group else { continue };
            let Some((_, one)) = self.cluster.meta.by_group(group) else {
                if self.cluster.meta.is_dropped(group) {
                    self.forget_stream(id, now, out);
                }
                continue;
            };
            if stream.replicated.is_none() && one.peers.len() > 1 && one.peers.contains(&self.node)
            {
                // What still waits for the disk is tried again.
                self.make_replica(id, now, out);
                if let Some(replica) = self.log.replica(group) {
                    replica.consensus.begin();
                }
            }
        }
    }
}

impl Call<'_> {
    /// Answers the creation of a stream that this node has.
    fn finish_created(self, name: &str, made: Result<(), jetwake_protocol::jetstream::ApiError>) {
        let result = made.and_then(|()| {
            let event = StreamAction {
                stream: name,
                action: Action::Create,
            };
            advise(
                &event,
                self.account,
                self.now,
                &self.core.settings,
                self.out,
            );
            self.created(name).map(Outcome::Durable)
        });
        self.finish(result);
    }
}
