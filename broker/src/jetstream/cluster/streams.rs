//! STREAM.CREATE, UPDATE, DELETE and NAMES in a cluster: judged by its leader, then committed by all.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::requests::{StreamNamesRequest, expect_empty, parse_optional};
use jetwake_protocol::jetstream::responses::{
    StreamCreateResponse, StreamDeleteResponse, StreamNamesResponse, StreamUpdateResponse, encode,
};
use jetwake_protocol::jetstream::stream::{StorageType, StreamConfig};
use jetwake_protocol::jetstream::stream_config;

use super::Proposed;
use super::asked::Asked;
use super::meta::Entry;
use super::placement::{Host, Wish};
use crate::jetstream::advisory::random_name;
use crate::jetstream::api::answer::Request;
use crate::jetstream::api::streams::SEQ_MAX;
use crate::jetstream::api::{Call, Outcome, page};
use crate::jetstream::core::Core;
use crate::jetstream::io::{NodeId, Outbox, Timestamp};
use crate::jetstream::log::GroupId;

/// Names in one response.
const NAMES: usize = 1024;

impl Call<'_> {
    /// STREAM.CREATE, at the leader of all nodes.
    pub(crate) fn create_in_cluster(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamCreateResponse>, ApiError> {
        let request = self.config_request(name)?;
        stream_config::check_create(&request.config)?;
        let config = self.normalized(request)?;
        let key = (self.account, name.to_owned());
        if self.core.cluster.proposed.contains_key(&key) {
            return self.try_later();
        }
        self.check_in_cluster(&config)?;
        let peers = self.place(&config, &[], None)?;
        let last = self.core.cluster.meta.last_group;
        let newest = self.core.cluster.proposed.values();
        let newest = newest.map(|one| one.group).max();
        let group = last
            .max(newest.unwrap_or(0))
            .saturating_add(1)
            .max(u64::try_from(self.now).unwrap_or(0));
        let mut json = Vec::new();
        to_json(&config, &mut json);
        let proposed = Proposed {
            group,
            subjects: config.subjects.clone(),
        };
        let entry = Entry::Create {
            account: self.account,
            group,
            created: self.now,
            config: json,
            raft_name: self.raft_name(&config),
            peers,
            asked: self.take_asked(),
        };
        self.propose(&entry)?;
        self.core.cluster.proposed.insert(key, proposed);
        Ok(Outcome::Queued)
    }

    /// STREAM.UPDATE at the stream's leader: what it found good goes to the leader of all nodes.
    pub(crate) fn pass_update_on(
        &mut self,
        config: &StreamConfig,
    ) -> Result<Outcome<StreamUpdateResponse>, ApiError> {
        let mut json = Vec::new();
        to_json(config, &mut json);
        let asked = self.take_asked();
        self.core.dispatch(asked, 0, json, self.now, self.out);
        Ok(Outcome::Queued)
    }

    /// STREAM.UPDATE at the leader of all nodes, found good by the stream's.
    pub(crate) fn update_in_cluster(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamUpdateResponse>, ApiError> {
        let json = std::mem::take(&mut self.approved);
        let config: StreamConfig = jetwake_protocol::jetstream::json::from_json(
            &json,
            "server.StreamConfig",
            jetwake_protocol::jetstream::json::Rules::Lenient,
        )
        .map_err(|_| ApiError::bad_request())?;
        let meta = &self.core.cluster.meta;
        let one = meta
            .get(self.account, name)
            .ok_or_else(ApiError::stream_not_found)?;
        let (group, peers, raft_name) = (one.group, one.peers.clone(), one.raft_name.clone());
        let moved = one.config.placement != config.placement;
        let scaled = usize::try_from(config.num_replicas).unwrap_or(1) != peers.len();
        if moved && scaled {
            return Err(ApiError::stream_move_and_scale());
        }
        self.check_in_cluster(&config)?;
        let (peers, raft_name) = if moved || scaled {
            let raft_name = if raft_name.is_empty() {
                self.raft_name(&config)
            } else {
                raft_name
            };
            (
                self.place(&config, &self.leader_first(group, &peers), None)?,
                raft_name,
            )
        } else {
            (peers, raft_name)
        };
        let entry = Entry::Update {
            group,
            config: json,
            raft_name,
            peers,
            asked: self.take_asked(),
        };
        self.propose(&entry)?;
        Ok(Outcome::Queued)
    }

    /// STREAM.DELETE, at the leader of all nodes.
    pub(crate) fn delete_in_cluster(
        &mut self,
        name: &str,
    ) -> Result<Outcome<StreamDeleteResponse>, ApiError> {
        expect_empty(self.body)?;
        let one = self.core.cluster.meta.get(self.account, name);
        let group = one.ok_or_else(ApiError::stream_not_found)?.group;
        let entry = Entry::Delete {
            group,
            asked: self.take_asked(),
        };
        self.propose(&entry)?;
        Ok(Outcome::Queued)
    }

    /// STREAM.NAMES, at the leader of all nodes.
    pub(crate) fn names_in_cluster(&mut self) -> Result<Outcome<StreamNamesResponse>, ApiError> {
        let request: StreamNamesRequest = parse_optional(self.body, self.core.settings.strict)?;
        let wanted = &request.subject;
        let streams = self.core.cluster.meta.of(self.account);
        let matching = streams
            .filter(|one| wanted.is_empty() || stream_config::overlaps_any(&one.config, wanted));
        let names: Vec<&str> = matching.map(|one| one.config.name.as_str()).collect();
        let range = page(request.offset, names.len(), NAMES);
        let shown = names.get(range.clone()).unwrap_or(&[]);
        let shown: Vec<String> = shown.iter().map(|name| (*name).to_owned()).collect();
        Ok(Outcome::Now(StreamNamesResponse {
            total: names.len() as u64,
            offset: range.start as u64,
            limit: NAMES as u64,
            streams: (!shown.is_empty()).then_some(shown),
        }))
    }

    /// What can be said only when everything that the cluster has is known.
    fn check_in_cluster(&self, config: &StreamConfig) -> Result<(), ApiError> {
        if config.first_seq > SEQ_MAX {
            return Err(ApiError::stream_invalid_config(
                "first sequence is too large",
            ));
        }
        stream_config::check_filters(config)?;
        let cluster = &self.core.cluster;
        stream_config::check_ownership(config, |subject| {
            cluster.meta.is_owned(self.account, subject, &config.name)
                || cluster.is_promised(self.account, subject, &config.name)
        })?;
        stream_config::unsupported(config).map_or(Ok(()), Err)
    }

    /// Nodes with a stream, its leader before the others: it stays if others have to go.
    fn leader_first(&self, group: GroupId, peers: &[NodeId]) -> Vec<NodeId> {
        let leader = self.core.cluster.leaders.get(&group);
        let leader = leader.map(|(leader, _)| *leader);
        let mut peers = peers.to_vec();
        peers.sort_by_key(|peer| Some(*peer) != leader);
        peers
    }

    pub(super) fn place(
        &mut self,
        config: &StreamConfig,
        keep: &[NodeId],
        without: Option<NodeId>,
    ) -> Result<Vec<NodeId>, ApiError> {
        let random = self.out.random();
        let core = &*self.core;
        let cluster = core.settings.cluster.as_ref();
        let host = Host {
            node: core.node,
            tags: cluster.map_or(&[], |one| &one.tags),
            cluster: cluster.map_or("", |one| &one.name),
            unique_tag: cluster.map_or("", |one| &one.unique_tag),
            room: core.room(),
        };
        let wish = Wish {
            config,
            keep,
            without,
        };
        core.cluster.place(wish, &host, self.now, random)
    }

    fn raft_name(&mut self, config: &StreamConfig) -> String {
        if config.num_replicas <= 1 {
            return String::new();
        }
        let storage = match config.storage {
            StorageType::File => 'F',
            StorageType::Memory => 'M',
        };
        let name = random_name(8, self.out);
        format!("S-R{}{storage}-{name}", config.num_replicas)
    }

    pub(super) fn take_asked(&mut self) -> Asked {
        let request = self.request.take();
        request.map_or_else(Asked::default, |request| {
            Asked::of(&request, self.headers, self.core.node, self.out)
        })
    }

    pub(super) fn propose(&mut self, entry: &Entry) -> Result<(), ApiError> {
        if self.core.propose_meta(entry) {
            return Ok(());
        }
        // It went into the entry and comes back with the answer.
        if let Entry::Create { asked, .. }
        | Entry::Update { asked, .. }
        | Entry::Delete { asked, .. } = entry
        {
            self.request = Some(Box::new(asked.request()));
        }
        Err(ApiError::cluster_not_available())
    }

    /// The same name is being created: the request waits for what comes of it.
    fn try_later<T>(&mut self) -> Result<Outcome<T>, ApiError> {
        let asked = self.take_asked();
        self.core
            .cluster
            .waiting
            .push(asked, 0, Vec::new(), self.now);
        Ok(Outcome::Queued)
    }
}

impl Core {
    /// Says that a stream is gone.
    pub(crate) fn answer_deleted(
        &mut self,
        request: &Request,
        now: Timestamp,
        out: &mut dyn Outbox,
    ) {
        let mut body = Vec::new();
        encode(&Ok(StreamDeleteResponse { success: true }), &mut body);
        request.answer(&body, now, &self.settings, self.node, out);
    }
}
