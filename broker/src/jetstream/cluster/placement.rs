//! Where a stream goes.

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::stream::StreamConfig;

use crate::jetstream::cluster::Cluster;
use crate::jetstream::io::NodeId;

/// What placement knows of this node, which is not among its own peers.
#[derive(Clone, Debug)]
pub(crate) struct Host<'a> {
    /// Its number.
    pub(crate) node: NodeId,
    /// Its tags.
    pub(crate) tags: &'a [String],
    /// The name of the cluster.
    pub(crate) cluster: &'a str,
}

/// A node that could take a replica.
struct Candidate {
    node: NodeId,
    groups: usize,
    streams: usize,
}

impl Cluster {
    /// The nodes for a stream's replicas, those in `keep` first; `random` decides among equals.
    pub(crate) fn place(
        &self,
        config: &StreamConfig,
        keep: &[NodeId],
        me: &Host<'_>,
        random: u64,
    ) -> Result<Vec<NodeId>, ApiError> {
        let wanted = usize::try_from(config.num_replicas).unwrap_or(1).max(1);
        let placement = config.placement.as_ref();
        let tags: &[String] = placement.map_or(&[], |one| &one.tags);
        let asked = placement.map_or("", |one| &*one.cluster);
        if !asked.is_empty() && asked != me.cluster {
            return Err(no_peers(""));
        }
        let near = self.near.values().filter(|one| one.peer.jetstream);
        let near = near.map(|one| (one.peer.id, &*one.peer.tags));
        let (mut misses, mut excluded) = (Vec::new(), Vec::new());
        let mut candidates = Vec::new();
        for (node, own) in near.chain([(me.node, me.tags)]) {
            if !self.meta.nodes.contains_key(&node) {
                continue;
            }
            if own.iter().any(|tag| tag.eq_ignore_ascii_case("!jetstream")) {
                continue;
            }
            let has = |tag: &str| own.iter().any(|one| one.eq_ignore_ascii_case(tag));
            let missing = tags.iter().find(|tag| !tag.starts_with('!') && !has(tag));
            let banned = tags
                .iter()
                .filter_map(|tag| tag.strip_prefix('!'))
                .find(|tag| has(tag));
            match (missing, banned) {
                (Some(tag), _) => misses.push(tag.clone()),
                (None, Some(tag)) => excluded.push(tag.to_owned()),
                (None, None) => candidates.push(Candidate {
                    node,
                    groups: self.load(node, 2),
                    streams: self.load(node, 1),
                }),
            }
        }
        if candidates.len() < wanted {
            return Err(no_peers(&reasons(misses, excluded)));
        }
        let mixed = |node: NodeId| (node ^ random).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        candidates.sort_by_key(|one| {
            let kept = keep.iter().position(|node| *node == one.node);
            let load = if wanted > 1 { one.groups } else { one.streams };
            (kept.unwrap_or(usize::MAX), load, mixed(one.node))
        });
        Ok(candidates.iter().take(wanted).map(|one| one.node).collect())
    }

    /// How many streams with at least so many replicas a node has.
    fn load(&self, node: NodeId, replicas: usize) -> usize {
        let streams = self.meta.all().filter(|one| one.peers.len() >= replicas);
        streams.filter(|one| one.peers.contains(&node)).count()
    }
}

fn no_peers(why: &str) -> ApiError {
    ApiError::cluster_no_peers(format!("no suitable peers for placement{why}"))
}

fn reasons(mut misses: Vec<String>, mut excluded: Vec<String>) -> String {
    let list = |tags: &mut Vec<String>| {
        tags.sort();
        tags.dedup();
        let quoted: Vec<String> = tags.iter().map(|tag| format!("'{tag}'")).collect();
        quoted.join(", ")
    };
    let mut text = String::new();
    if !misses.is_empty() {
        text.push_str(&format!(", tags not matched [{}]", list(&mut misses)));
    }
    if !excluded.is_empty() {
        text.push_str(&format!(", tags excluded [{}]", list(&mut excluded)));
    }
    text
}
