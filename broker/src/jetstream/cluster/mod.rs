//! The layer of the whole cluster: which nodes there are, which stream is where, and who answers what.
//!
//! [`meta`] is the state that all nodes agree on; [`boot`] founds a cluster, [`tend`] lets nodes and replicas come and
//! go; [`route`] brings each request to the node that answers it, and the answer back; [`gather`] asks all.

pub(crate) mod adopt;
pub(crate) mod asked;
pub(crate) mod assign;
pub(crate) mod boot;
pub(crate) mod gather;
pub(crate) mod info;
pub(crate) mod leave;
pub(crate) mod meta;
pub(crate) mod operate;
pub(crate) mod placement;
pub(crate) mod route;
pub(crate) mod streams;
pub(crate) mod sync;
pub(crate) mod tend;
pub(crate) mod wire;

use std::collections::BTreeMap;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use jetwake_protocol::subject;

use crate::jetstream::io::{NodeId, Peer, Timestamp};
use crate::jetstream::log::GroupId;

use asked::Asked;
use boot::Boot;
use gather::Gathers;
use meta::Meta;
use route::Waiting;

/// Nanoseconds between two looks at what has to be done.
pub(crate) const LOOK: i64 = 100_000_000;

/// Another node that can be reached.
#[derive(Clone, Debug)]
pub(crate) struct Near {
    /// What the mesh says of it.
    pub(crate) peer: Peer,
    /// What it said of itself.
    pub(crate) state: Option<wire::NodeState>,
}

/// A stream that was proposed.
#[derive(Clone, Debug)]
pub(crate) struct Proposed {
    /// Its number.
    pub(crate) group: GroupId,
    /// What it is going to own.
    pub(crate) subjects: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// The nodes that can be reached.
    pub(crate) near: BTreeMap<NodeId, Near>,
    /// When a node was seen last that cannot be reached now.
    pub(crate) seen: BTreeMap<NodeId, Timestamp>,
    /// What all agree on.
    pub(crate) meta: Meta,
    /// Founding a cluster.
    pub(crate) boot: Boot,
    /// Who leads the groups of streams, as they say, with the term.
    pub(crate) leaders: HashMap<GroupId, (NodeId, u64), FixedState>,
    /// Who asked for streams that this node has a part in and that have not been led yet.
    pub(crate) creating: HashMap<GroupId, Asked, FixedState>,
    /// Streams that were proposed and are not applied yet.
    pub(crate) proposed: BTreeMap<(u32, String), Proposed>,
    /// Requests that wait for a leader.
    pub(crate) waiting: Waiting,
    /// Questions to all nodes.
    pub(crate) gathers: Gathers,
    /// When to look again.
    pub(crate) look: Option<Timestamp>,
    /// Who offered the state of the group of all nodes, until it is there.
    pub(crate) wants: Option<NodeId>,
    /// The node is about to go: ticks that it still waits for others to take over.
    pub(crate) leaving: Option<u32>,
    /// When this node began.
    pub(crate) since: Timestamp,
    /// When this node offers its own streams again that the cluster does not know.
    pub(crate) next_offer: Timestamp,
    /// The room that other nodes were told of, and when.
    pub(crate) told: (wire::Room, Timestamp),
}

impl Cluster {
    /// Whether a node can be reached, this one included.
    pub(crate) fn reaches(&self, me: NodeId, node: NodeId) -> bool {
        node == me || self.near.contains_key(&node)
    }

    /// Whether a stream of the account other than `except` is going to own what `filter` matches.
    pub(crate) fn is_promised(&self, account: u32, filter: &str, except: &str) -> bool {
        let others = self.proposed.iter();
        let mut others =
            others.filter(|((owner, name), _)| *owner == account && name.as_str() != except);
        others.any(|(_, one)| {
            one.subjects
                .iter()
                .any(|subject| subject::overlap(subject.as_bytes(), filter.as_bytes()))
        })
    }

    /// A leader of a stream's group, if it can be reached.
    pub(crate) fn leader_of(&self, me: NodeId, group: GroupId) -> Option<NodeId> {
        let (leader, _) = self.leaders.get(&group)?;
        self.reaches(me, *leader).then_some(*leader)
    }
}
