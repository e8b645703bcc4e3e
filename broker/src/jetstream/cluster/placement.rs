//! Where a stream goes.

use std::collections::BTreeSet;

use jetwake_protocol::jetstream::ApiError;
use jetwake_protocol::jetstream::stream::{StorageType, StreamConfig};

use crate::jetstream::cluster::Cluster;
use crate::jetstream::cluster::wire::Room;
use crate::jetstream::io::{NodeId, Timestamp};

/// Nanoseconds after which a node that nobody hears gets no replicas any more.
const AWAY: i64 = 90_000_000_000;

/// What placement knows of this node, which is not among its own peers.
#[derive(Clone, Debug)]
pub(crate) struct Host<'a> {
    /// Its number.
    pub(crate) node: NodeId,
    /// Its tags.
    pub(crate) tags: &'a [String],
    /// The name of the cluster.
    pub(crate) cluster: &'a str,
    /// Replicas go to nodes whose tags with this in front differ; empty if that does not matter.
    pub(crate) unique_tag: &'a str,
    /// What fits there.
    pub(crate) room: Room,
}

/// What there is to choose by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    /// The stream.
    pub(crate) config: &'a StreamConfig,
    /// Nodes that come first, the first of them before all others.
    pub(crate) keep: &'a [NodeId],
    /// A node that is not to be taken.
    pub(crate) without: Option<NodeId>,
}

/// A node that could take a replica.
struct Candidate {
    node: NodeId,
    online: bool,
    groups: usize,
    streams: usize,
    free: u64,
    /// Its tag of those that have to differ.
    unique: Option<String>,
}

/// Why nodes could not be taken.
#[derive(Debug, Default)]
struct Reasons {
    offline: bool,
    exclude_tag: bool,
    storage: bool,
    unique_tag: bool,
    missing: BTreeSet<String>,
    excluded: BTreeSet<String>,
}

impl Cluster {
    /// The nodes for a stream's replicas; `random` decides among equals.
    pub(crate) fn place(
        &self,
        wish: Wish<'_>,
        me: &Host<'_>,
        now: Timestamp,
        random: u64,
    ) -> Result<Vec<NodeId>, ApiError> {
        let wanted = usize::try_from(wish.config.num_replicas).unwrap_or(1);
        let wanted = wanted.max(1);
        let mut reasons = Reasons::default();
        let placement = wish.config.placement.as_ref();
        let asked = placement.map_or("", |one| &*one.cluster);
        if !asked.is_empty() && asked != me.cluster {
            return Err(reasons.error());
        }
        let nodes = self.meta.nodes.keys().copied();
        let nodes = nodes.filter(|node| Some(*node) != wish.without);
        let mut candidates: Vec<Candidate> = nodes
            .filter_map(|node| self.candidate(node, wish.config, me, now, &mut reasons))
            .collect();
        let mixed = |node: NodeId| (node ^ random).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        candidates.sort_by_key(|one| {
            let kept = wish.keep.iter().position(|node| *node == one.node);
            let (groups, streams) = match wanted {
                1 => (0, one.streams),
                _ => (one.groups, 0),
            };
            let free = u64::MAX - one.free;
            let kept = kept.unwrap_or(usize::MAX);
            (!one.online, kept, groups, free, streams, mixed(one.node))
        });
        let mut taken: Vec<Candidate> = Vec::new();
        for one in candidates {
            let again = |other: &Candidate| other.unique == one.unique;
            if one.unique.is_some() && taken.iter().any(again) {
                reasons.unique_tag = true;
            } else if taken.len() < wanted {
                taken.push(one);
            }
        }
        let online = taken.iter().filter(|one| one.online).count();
        if taken.len() < wanted || online < wanted / 2 + 1 {
            reasons.offline |= online < taken.len();
            return Err(reasons.error());
        }
        Ok(taken.iter().map(|one| one.node).collect())
    }

    /// A node, if it may have a replica of the stream.
    fn candidate(
        &self,
        node: NodeId,
        config: &StreamConfig,
        me: &Host<'_>,
        now: Timestamp,
        reasons: &mut Reasons,
    ) -> Option<Candidate> {
        let near = self.near.get(&node);
        let online = node == me.node || near.is_some();
        let (tags, room) = if node == me.node {
            (me.tags, me.room)
        } else if let Some(near) = near.filter(|one| one.peer.jetstream) {
            let state = near.state.as_ref();
            (
                &*near.peer.tags,
                state.map_or_else(Room::default, |one| one.room),
            )
        } else {
            // One that was there a moment ago will be back, unless something about it has to be known.
            let seen = self.seen.get(&node).copied();
            let lately = seen.is_some_and(|seen| now.saturating_sub(seen) < AWAY);
            let choosy = config
                .placement
                .as_ref()
                .is_some_and(|one| !one.tags.is_empty());
            if near.is_some() || !lately || choosy || !me.unique_tag.is_empty() {
                reasons.offline = true;
                return None;
            }
            (&[][..], Room::UNLIMITED)
        };
        if tags
            .iter()
            .any(|tag| tag.eq_ignore_ascii_case("!jetstream"))
        {
            reasons.exclude_tag = true;
            return None;
        }
        let wanted = config.placement.as_ref().map_or(&[][..], |one| &one.tags);
        if !fits(tags, wanted, reasons) {
            return None;
        }
        let free = self.free(node, room, config);
        if u64::try_from(config.max_bytes).is_ok_and(|bytes| bytes > free) {
            reasons.storage = true;
            return None;
        }
        let unique = unique(tags, me.unique_tag);
        if unique.is_none() && !me.unique_tag.is_empty() {
            reasons.unique_tag = true;
            return None;
        }
        Some(Candidate {
            node,
            online,
            groups: self.load(node, 2),
            streams: self.load(node, 1),
            free,
            unique,
        })
    }

    /// How many streams with at least so many replicas a node has.
    fn load(&self, node: NodeId, replicas: usize) -> usize {
        let streams = self.meta.all().filter(|one| one.peers.len() >= replicas);
        streams.filter(|one| one.peers.contains(&node)).count()
    }

    /// The bytes that are free at a node and promised to nobody, but to the stream itself.
    fn free(&self, node: NodeId, room: Room, config: &StreamConfig) -> u64 {
        let others = self.meta.all().filter(|one| {
            one.config.storage == config.storage
                && one.config.name != config.name
                && one.peers.contains(&node)
        });
        let promised: u64 = others
            .map(|one| u64::try_from(one.config.max_bytes).unwrap_or(0))
            .fold(0, u64::saturating_add);
        let (most, used) = match config.storage {
            StorageType::File => (room.max_file, room.file),
            StorageType::Memory => (room.max_memory, room.memory),
        };
        most.saturating_sub(used.max(promised))
    }
}

/// Whether a node has all tags that are wanted and none that is unwanted.
fn fits(own: &[String], wanted: &[String], reasons: &mut Reasons) -> bool {
    let has = |tag: &str| own.iter().any(|one| one.eq_ignore_ascii_case(tag));
    for tag in wanted {
        match tag.strip_prefix('!') {
            None if !has(tag) => {
                reasons.missing.insert(tag.clone());
                return false;
            }
            Some(banned) if has(banned) => {
                reasons.excluded.insert(banned.to_owned());
                return false;
            }
            _ => {}
        }
    }
    true
}

/// The tag of a node that has to be another one for each replica.
fn unique(tags: &[String], prefix: &str) -> Option<String> {
    let tags = tags.iter().map(|tag| tag.to_ascii_lowercase());
    let prefix = prefix.to_ascii_lowercase();
    let mut found = tags.filter(|tag| !prefix.is_empty() && tag.starts_with(&prefix));
    found.next()
}

impl Reasons {
    fn error(&self) -> ApiError {
        let mut text = "no suitable peers for placement".to_owned();
        for (is_one, why) in [
            (self.offline, "peer offline"),
            (self.exclude_tag, "exclude tag set"),
            (self.storage, "insufficient storage"),
            (self.unique_tag, "server tag not unique"),
        ] {
            if is_one {
                text.push_str(", ");
                text.push_str(why);
            }
        }
        for (tags, what) in [(&self.missing, "not matched"), (&self.excluded, "excluded")] {
            if !tags.is_empty() {
                let quoted: Vec<String> = tags.iter().map(|tag| format!("'{tag}'")).collect();
                text.push_str(&format!(", tags {what} [{}]", quoted.join(", ")));
            }
        }
        ApiError::cluster_no_peers(text)
    }
}

#[cfg(test)]
mod tests {
    use jetwake_protocol::jetstream::json::{Rules, from_json};

    use super::*;
    use crate::jetstream::cluster::Near;
    use crate::jetstream::cluster::meta::Entry;
    use crate::jetstream::cluster::wire::NodeState;
    use crate::jetstream::io::Peer;

    /// Nodes 1 to n with these tags, all there; asked is node 1.
    fn cluster(tags: &[&str]) -> Cluster {
        let mut cluster = Cluster::default();
        for (id, tags) in (1..).zip(tags) {
            let name = format!("n{id}");
            cluster.meta.apply(Entry::Node {
                id,
                name: name.clone(),
            });
            let peer = Peer {
                id,
                name,
                jetstream: true,
                tags: tags.split_whitespace().map(str::to_owned).collect(),
                domain: String::new(),
            };
            let room = Room {
                max_memory: 100,
                max_file: 1000,
                ..Room::default()
            };
            let state = Some(NodeState {
                room,
                ..NodeState::default()
            });
            cluster.near.insert(id, Near { peer, state });
        }
        cluster
    }

    fn config(json: &str) -> StreamConfig {
        from_json(json.as_bytes(), "server.StreamConfig", Rules::Lenient).unwrap()
    }

    fn place(cluster: &mut Cluster, json: &str, unique_tag: &str) -> Result<Vec<NodeId>, String> {
        let own = cluster.near.remove(&1).unwrap();
        let host = Host {
            node: 1,
            tags: &own.peer.tags,
            cluster: "C",
            unique_tag,
            room: own.state.as_ref().unwrap().room,
        };
        let config = config(json);
        let wish = Wish {
            config: &config,
            keep: &[],
            without: None,
        };
        let placed = cluster.place(wish, &host, 0, 7);
        cluster.near.insert(1, own);
        placed
            .map(|mut nodes| {
                nodes.sort_unstable();
                nodes
            })
            .map_err(|error| error.description.to_string())
    }

    fn why(cluster: &mut Cluster, json: &str, unique_tag: &str) -> String {
        let text = place(cluster, json, unique_tag).unwrap_err();
        text.strip_prefix("no suitable peers for placement")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn tags_say_where() {
        let mut nodes = cluster(&["az:a ssd", "az:a", "AZ:B"]);
        let mut why = |json| why(&mut nodes, json, "");
        assert_eq!(
            why(r#"{"name":"T","num_replicas":2,"placement":{"tags":["ssd","nope","az:b"]}}"#),
            ", tags not matched ['nope', 'ssd']"
        );
        assert_eq!(
            why(r#"{"name":"T","num_replicas":2,"placement":{"tags":["!az:a"]}}"#),
            ", tags excluded ['az:a']"
        );
        assert_eq!(why(r#"{"name":"T","num_replicas":5}"#), "");
        assert_eq!(
            why(r#"{"name":"T","num_replicas":1,"placement":{"cluster":"D"}}"#),
            ""
        );
        let json = r#"{"name":"T","num_replicas":1,"placement":{"tags":["az:b"]}}"#;
        assert_eq!(place(&mut nodes, json, ""), Ok(vec![3]));
        let mut nodes = cluster(&["", "!jetstream", ""]);
        let json = r#"{"name":"T","num_replicas":3}"#;
        assert_eq!(place(&mut nodes, json, "").unwrap_err().len(), 48);
    }

    #[test]
    fn a_tag_can_have_to_differ() {
        let mut nodes = cluster(&["az:a", "az:a", "az:b", "ssd"]);
        let json = r#"{"name":"T","num_replicas":3}"#;
        assert_eq!(why(&mut nodes, json, "az"), ", server tag not unique");
        let placed = place(&mut nodes, r#"{"name":"T","num_replicas":2}"#, "az").unwrap();
        assert!(placed == [1, 3] || placed == [2, 3], "{placed:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut nodes = cluster(&["", "", ""]);
        let full = r#"{"name":"T","num_replicas":1,"max_bytes":1001}"#;
        assert_eq!(why(&mut nodes, full, ""), ", insufficient storage");
        let full = r#"{"name":"T","num_replicas":1,"max_bytes":101,"storage":"memory"}"#;
        assert_eq!(why(&mut nodes, full, ""), ", insufficient storage");
        if let Some(state) = nodes.near.get_mut(&2).and_then(|one| one.state.as_mut()) {
            state.room.file = 900;
        }
        let json = r#"{"name":"T","num_replicas":2,"max_bytes":500}"#;
        assert_eq!(place(&mut nodes, json, ""), Ok(vec![1, 3]));
    }

    #[test]
    fn a_node_that_is_away_for_a_moment_counts_if_the_majority_is_there() {
        let mut nodes = cluster(&["", "", ""]);
        nodes.near.remove(&3);
        nodes.seen.insert(3, 0);
        let json = r#"{"name":"T","num_replicas":3}"#;
        assert_eq!(place(&mut nodes, json, ""), Ok(vec![1, 2, 3]));
        let json = r#"{"name":"T","num_replicas":2}"#;
        assert_eq!(place(&mut nodes, json, ""), Ok(vec![1, 2]));
        nodes.seen.clear();
        let json = r#"{"name":"T","num_replicas":3}"#;
        assert_eq!(why(&mut nodes, json, ""), ", peer offline");
        nodes.near.remove(&2);
        nodes.seen.insert(2, 0);
        nodes.seen.insert(3, 0);
        assert_eq!(why(&mut nodes, json, ""), ", peer offline");
    }
}
