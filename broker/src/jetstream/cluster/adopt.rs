//! Streams that a node had before it belonged to a cluster. They become streams of the cluster with one replica, there;
//! the leader of all nodes decides. What it refuses, because others have that name or these subjects, is kept on the
//! node's disk and not served.

use jetwake_protocol::jetstream::json::{Rules, from_json, to_json};
use jetwake_protocol::jetstream::stream::StreamConfig;

use super::Proposed;
use super::asked::Asked;
use super::meta::Entry;
use super::wire::{Found, Say};
use crate::jetstream::core::Core;
use crate::jetstream::io::{Lane, Level, NodeId, Outbox, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;

/// Nanoseconds between two attempts.
const PAUSE: i64 = 1_000_000_000;

impl Core {
    /// Offers the streams of this node that the cluster does not know.
    pub(crate) fn adopt(&mut self, now: Timestamp, out: &mut dyn Outbox) {
        let meta = self.log.replicas.get(META);
        let Some(leader) = meta.and_then(|one| one.standing.leader) else {
            return;
        };
        let belongs = self.cluster.meta.nodes.contains_key(&self.node);
        if !belongs || now < self.cluster.next_offer {
            return;
        }
        self.cluster.next_offer = now.saturating_add(PAUSE);
        for found in self.strangers() {
            if leader == self.node {
                self.hear_found(self.node, &found, now, out);
            } else {
                out.send(leader, Lane::Main, &Say::Found(found).encode());
            }
        }
    }

    /// Streams of this node that are nobody's business but its own.
    fn strangers(&self) -> Vec<Found> {
        let meta = &self.cluster.meta;
        let streams = self.streams.ids().into_iter();
        let streams = streams.filter_map(|id| self.streams.get(id));
        let own = streams.filter(|one| one.replicated.is_none() && !one.deleting);
        let unknown = own.filter_map(|one| {
            let group = one.group?;
            let known = meta.by_group(group).is_some() || meta.is_dropped(group);
            (!known).then_some((group, one))
        });
        unknown
            .map(|(group, one)| {
                let mut config = Vec::new();
                to_json(&one.config, &mut config);
                Found {
                    account: one.account,
                    group,
                    created: one.created,
                    config,
                }
            })
            .collect()
    }

    /// A node has a stream that nobody knows. The leader of all nodes takes it in, or says why not.
    pub(crate) fn hear_found(
        &mut self,
        from: NodeId,
        found: &Found,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let cluster = &self.cluster;
        let known =
            |group| cluster.meta.by_group(group).is_some() || cluster.meta.is_dropped(group);
        if !self.leads_cluster() || !cluster.meta.nodes.contains_key(&from) || known(found.group) {
            return;
        }
        let config: Result<StreamConfig, _> =
            from_json(&found.config, "server.StreamConfig", Rules::Lenient);
        let Ok(config) = config else { return };
        let account = found.account;
        let key = (account, config.name.clone());
        if cluster
            .proposed
            .get(&key)
            .is_some_and(|one| one.group == found.group)
        {
            return;
        }
        let is_owned = |subject: &String| {
            cluster.meta.is_owned(account, subject, &config.name)
                || cluster.is_promised(account, subject, &config.name)
        };
        let taken = cluster.meta.get(account, &config.name).is_some()
            || cluster.proposed.contains_key(&key)
            || config.subjects.iter().any(is_owned);
        if taken {
            let group = found.group;
            if from == self.node {
                return self.hear_taken(group, now, out);
            }
            return out.send(from, Lane::Main, &Say::Taken { group }.encode());
        }
        let proposed = Proposed {
            group: found.group,
            subjects: config.subjects,
        };
        let entry = Entry::Create {
            account,
            group: found.group,
            created: found.created,
            config: found.config.clone(),
            raft_name: String::new(),
            peers: vec![from],
            asked: Asked::default(),
        };
        if self.propose_meta(&entry) {
            self.cluster.proposed.insert(key, proposed);
        }
    }

    /// The cluster has another stream of that name, or with these subjects.
    pub(crate) fn hear_taken(&mut self, group: GroupId, now: Timestamp, out: &mut dyn Outbox) {
        let ids = self.streams.ids().into_iter();
        let mut streams = ids.filter_map(|id| self.streams.get(id));
        let Some(stream) = streams.find(|one| one.group == Some(group) && one.replicated.is_none())
        else {
            return;
        };
        let (id, account, name) = (stream.id, stream.account, stream.config.name.clone());
        let owner = out.account_name(account).unwrap_or_default();
        let text = format!(
            "JetStream stream '{owner} > {name}' of this server is not taken over: the cluster has its name or its \
             subjects already. It is kept on disk and not served"
        );
        out.log(Level::Error, &text);
        self.stop_serving(id, now, out);
        self.with_stream(id, now, out, |stream, env| stream.unlisten(env.out));
        self.streams.forget_name(id);
        self.log.store.hold_group(group);
    }
}
