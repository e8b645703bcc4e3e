//! What operators do: hand leadership over, take a node out of a stream.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::json::to_json;
use jetwake_protocol::jetstream::requests::{
    LeaderStepDownRequest, PeerRequest, parse, parse_optional,
};
use jetwake_protocol::jetstream::responses::{
    ConsumerStepDownResponse, StreamRemovePeerResponse, StreamStepDownResponse,
};

use super::info::peer_id;
use super::meta::Entry;
use crate::jetstream::api::{Call, Outcome};
use crate::jetstream::io::NodeId;
use crate::jetstream::log::GroupId;

impl Call<'_> {
    /// STREAM.LEADER.STEPDOWN, at the stream's leader.
    pub(crate) fn step_down(
        &mut self,
        stream: &str,
    ) -> Result<Outcome<StreamStepDownResponse>, ApiError> {
        self.hand_over(stream)?;
        Ok(Outcome::Now(StreamStepDownResponse { success: true }))
    }

    /// CONSUMER.LEADER.STEPDOWN: a consumer is led where its stream is.
    pub(crate) fn step_consumer_down(
        &mut self,
        stream: &str,
        consumer: &str,
    ) -> Result<Outcome<ConsumerStepDownResponse>, ApiError> {
        self.consumer_id(stream, consumer)?;
        self.hand_over(stream)?;
        Ok(Outcome::Now(ConsumerStepDownResponse { success: true }))
    }

    fn hand_over(&mut self, stream: &str) -> Result<(), ApiError> {
        let request: LeaderStepDownRequest = parse_optional(self.body, self.core.settings.strict)?;
        let group = self.stream(stream)?.group;
        let Some(group) = group.filter(|group| self.core.log.replicas.get(*group).is_some()) else {
            // The only one that there is stays.
            return Ok(());
        };
        let preferred = request.placement.map(|one| one.preferred);
        let heir = self.heir(group, preferred.as_deref().unwrap_or_default())?;
        if let Some(replica) = self.core.log.replica(group) {
            replica.consensus.transfer_to(heir);
        }
        self.core.log.replicas.touch(group);
        Ok(())
    }

    /// Who leads a group next.
    fn heir(&self, group: GroupId, preferred: &str) -> Result<NodeId, ApiError> {
        let no_one = |why: &str| {
            ApiError::cluster_no_peers(format!("no suitable peers for placement, {why}"))
        };
        let core = &*self.core;
        let replica = core.log.replicas.get(group);
        let status = replica.map(|one| one.consensus.status());
        let peers = status.map_or_else(Vec::new, |status| status.peers);
        if !preferred.is_empty() {
            if preferred == core.settings.server_name {
                let text = format!("preferred server \"{preferred}\" is already leader");
                return Err(no_one(&text));
            }
            let known = peers
                .iter()
                .find(|one| core.node_name(one.node) == preferred);
            let known = known
                .ok_or_else(|| no_one(&format!("preferred server \"{preferred}\" not known")))?;
            return Ok(known.node);
        }
        let able = peers
            .iter()
            .filter(|one| !one.learner && core.cluster.near.contains_key(&one.node));
        let best = able.max_by_key(|one| one.matched);
        best.map(|one| one.node)
            .ok_or_else(|| no_one("no replacement peer connected"))
    }

    /// STREAM.PEER.REMOVE, at the leader of all nodes: another node takes the place.
    pub(crate) fn remove_peer(
        &mut self,
        stream: &str,
    ) -> Result<Outcome<StreamRemovePeerResponse>, ApiError> {
        let request: PeerRequest = parse(self.body, self.core.settings.strict)?;
        if request.peer.is_empty() {
            return Err(ApiError::bad_request());
        }
        let meta = &self.core.cluster.meta;
        let one = meta
            .get(self.account, stream)
            .ok_or_else(ApiError::stream_not_found)?;
        let named = |node: &&NodeId| {
            let name = self.core.node_name(**node);
            name == request.peer || peer_id(&name) == request.peer
        };
        let gone = one.peers.iter().find(named).copied();
        let gone = gone.ok_or_else(ApiError::cluster_peer_not_member)?;
        let (group, config) = (one.group, one.config.clone());
        let raft_name = one.raft_name.clone();
        let keep: Vec<NodeId> = one
            .peers
            .iter()
            .copied()
            .filter(|one| *one != gone)
            .collect();
        let peers = self.place(&config, &keep, Some(gone));
        let peers = peers.map_err(|_| ApiError::peer_remap())?;
        let mut json = Vec::new();
        to_json(&config, &mut json);
        let entry = Entry::Update {
            group,
            config: json,
            raft_name,
            peers,
            asked: Default::default(),
        };
        self.propose(&entry)?;
        Ok(Outcome::Now(StreamRemovePeerResponse { success: true }))
    }
}
