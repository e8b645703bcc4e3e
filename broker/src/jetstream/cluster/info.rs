//! What clients and operators are shown of the cluster.

use jetwake_protocol::ack::account_hash;
use jetwake_protocol::jetstream::Time;
use jetwake_protocol::jetstream::consumer::ConsumerInfo;
use jetwake_protocol::jetstream::stream::{ClusterInfo, PeerInfo, RetentionPolicy, StorageType};

use crate::consensus::{Role, Status};
use crate::jetstream::core::Core;
use crate::jetstream::io::{NodeId, Timestamp};
use crate::jetstream::log::GroupId;
use crate::jetstream::replica::META;
use crate::jetstream::report::MetaCluster;
use crate::jetstream::stream::Stream;

/// Nanoseconds in which a new node may be without a cluster.
const MOMENT: i64 = 10_000_000_000;
/// Entries that a replica may be behind and count as current.
const BEHIND: u64 = 1000;

/// The eight characters that stand for a server.
pub(crate) fn peer_id(name: &str) -> String {
    String::from_utf8_lossy(&account_hash(name.as_bytes())).into_owned()
}

impl Core {
    /// The name of a node.
    pub(crate) fn node_name(&self, node: NodeId) -> String {
        if node == self.node {
            return self.settings.server_name.clone();
        }
        if let Some(near) = self.cluster.near.get(&node) {
            return near.peer.name.clone();
        }
        let known = self.cluster.meta.name_of(node);
        known.map_or_else(String::new, str::to_owned)
    }

    fn cluster_name(&self) -> String {
        let cluster = self.settings.cluster.as_ref();
        cluster.map_or_else(String::new, |one| one.name.clone())
    }

    /// How a node stands in a group.
    fn peer_info(&self, node: NodeId, lag: Option<u64>, now: Timestamp) -> PeerInfo {
        let name = self.node_name(node);
        let near = node == self.node || self.cluster.near.contains_key(&node);
        let seen = self.cluster.seen.get(&node);
        PeerInfo {
            current: near && lag.is_some_and(|lag| lag == 0),
            offline: !near,
            active: if near {
                // The links say hello twice a second.
                lag.map_or(0, |_| 1)
            } else {
                seen.map_or(0, |seen| now.saturating_sub(*seen))
            },
            lag: lag.unwrap_or(0),
            peer: peer_id(&name),
            name,
        }
    }

    /// The `cluster` object of a consumer of one of this node's streams. Its members are the stream's, at most as many
    /// as it has replicas.
    pub(crate) fn consumer_cluster(
        &self,
        stream: u32,
        consumer: &ConsumerInfo,
        now: Timestamp,
    ) -> Option<ClusterInfo> {
        if !self.in_cluster() {
            return None;
        }
        let stream = self.streams.get(stream)?;
        let alone = Stream::leader(&self.settings);
        let config = consumer.config.as_ref()?;
        let inherits =
            !config.durable.is_empty() || stream.config.retention != RetentionPolicy::Limits;
        let replicas = match config.replicas {
            0 if inherits => stream.config.num_replicas,
            given => given,
        };
        let group = stream.group.filter(|_| replicas > 1);
        let info = group.and_then(|group| self.cluster_info(group, now));
        let Some(mut info) = info.filter(|info| !info.raft_group.is_empty()) else {
            return Some(alone);
        };
        let storage = match stream.config.storage {
            StorageType::File if !config.memory_storage => 'F',
            _ => 'M',
        };
        let seed = format!("{group:?} {} {}", consumer.name, consumer.created);
        info.raft_group = format!("C-R{replicas}{storage}-{}", peer_id(&seed));
        let others = usize::try_from(replicas).unwrap_or(1).saturating_sub(1);
        if !info.leader.is_empty() {
            info.replicas.truncate(others);
        }
        Some(info)
    }

    /// The group of all nodes, for `/jsz`.
    pub(crate) fn meta_cluster(&self, now: Timestamp) -> Option<MetaCluster> {
        let replica = self.log.replicas.get(META)?;
        let status = replica.consensus.status();
        let leader = replica.standing.leader;
        let name = leader.map_or_else(String::new, |leader| self.node_name(leader));
        let members = &replica.membership;
        let everybody = members.voters.iter().chain(&members.learners).copied();
        let mut replicas: Vec<PeerInfo> = everybody
            .filter(|node| *node != self.node)
            .map(|node| self.row(node, &status, leader, now))
            .collect();
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        Some(MetaCluster {
            name: self.cluster_name(),
            peer: leader.map_or_else(String::new, |_| peer_id(&name)),
            leader: name,
            replicas,
            cluster_size: members.voters.len() + members.learners.len(),
            quorum_needed: members.voters.len() / 2 + 1,
            ..MetaCluster::default()
        })
    }

    /// Why this node is not healthy.
    pub(crate) fn ailing(&self, now: Timestamp) -> Option<String> {
        if !self.in_cluster() {
            return self.not_alone();
        }
        let meta = self.log.replicas.get(META);
        let led = meta.and_then(|one| one.standing.leader);
        let reached = led.filter(|leader| self.cluster.reaches(self.node, *leader));
        if reached.is_none() {
            // A new node has a moment to find the others.
            let new = meta.is_none() && now.saturating_sub(self.cluster.since) < MOMENT;
            let text = "JetStream has not established contact with a meta leader";
            return (!new).then(|| text.to_owned());
        }
        for one in self.cluster.meta.all() {
            if !one.peers.contains(&self.node) || one.peers.len() < 2 {
                continue;
            }
            let replica = self.log.replicas.get(one.group);
            let current = replica.is_some_and(|replica| {
                let commit = replica.consensus.status().commit;
                replica.standing.leader.is_some()
                    && !replica.fetching
                    && replica.applied.0 + BEHIND >= commit
            });
            if !current {
                let name = &one.config.name;
                let text = format!("JetStream stream '$G > {name}' is not current");
                return Some(text);
            }
        }
        None
    }

    /// A stream with replicas on a server that belongs to no cluster.
    fn not_alone(&self) -> Option<String> {
        let ids = self.streams.ids().into_iter();
        let streams = ids.filter_map(|id| self.streams.get(id));
        let mut names = streams.filter(|one| one.replicated.is_some());
        let name = &names.next()?.config.name;
        Some(format!(
            "JetStream stream '$G > {name}' could not be recovered"
        ))
    }

    /// One row of `replicas`.
    fn row(
        &self,
        node: NodeId,
        status: &Status,
        leader: Option<NodeId>,
        now: Timestamp,
    ) -> PeerInfo {
        let known = status.peers.iter().find(|peer| peer.node == node);
        let lag = known.map(|peer| status.last.saturating_sub(peer.matched));
        // Who follows knows the leader only.
        let lag = lag.or_else(|| (leader == Some(node)).then_some(0));
        self.peer_info(node, lag, now)
    }

    /// The `cluster` object of a stream's group.
    pub(crate) fn cluster_info(&self, group: GroupId, now: Timestamp) -> Option<ClusterInfo> {
        let (_, one) = self.cluster.meta.by_group(group)?;
        let mut info = ClusterInfo {
            name: self.cluster_name(),
            ..ClusterInfo::default()
        };
        let replica = self.log.replicas.get(group);
        let Some(replica) = replica else {
            let owner = one.peers.first().copied().unwrap_or_default();
            info.leader = self.node_name(owner);
            return Some(info);
        };
        if one.peers.len() == 1 && replica.membership.voters.len() == 1 {
            // It is what is left of several.
            info.leader = self.node_name(one.peers[0]);
            return Some(info);
        }
        info.raft_group.clone_from(&one.raft_name);
        info.system_account = true;
        info.traffic_account = "$SYS".to_owned();
        let status = replica.consensus.status();
        let leader = replica
            .standing
            .leader
            .filter(|_| status.role != Role::Candidate);
        if let Some(leader) = leader {
            info.leader = self.node_name(leader);
            let leads = replica.standing.serving;
            info.leader_since = leads.then(|| Time::from_nanos(replica.standing.since));
        }
        let others = one.peers.iter().copied();
        let mut replicas: Vec<PeerInfo> = others
            .filter(|node| *node != self.node || leader.is_none())
            .map(|node| self.row(node, &status, leader, now))
            .collect();
        replicas.sort_by(|a, b| a.name.cmp(&b.name));
        info.replicas = replicas;
        Some(info)
    }
}
