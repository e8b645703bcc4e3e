//! What monitoring shows of links.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use jetwake_protocol::peer::Link;

use super::lane::Lane;
use super::peer::Peer;
use super::registry::Peers;
use crate::server::Volume;

/// One connection to another node.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct LinkReport {
    pub rid: u64,
    /// The other server's key.
    pub remote_id: String,
    pub remote_name: String,
    /// Whether this side dials that node.
    pub solicited: bool,
    /// Whether the operator named the node in `routes`.
    pub configured: bool,
    pub address: SocketAddr,
    pub started: SystemTime,
    /// In nanoseconds since the server's start.
    pub last_activity: u64,
    /// Round trip time in nanoseconds, 0 if unknown.
    pub rtt: u64,
    /// Bytes that wait.
    pub pending: usize,
    /// Frames in.
    pub inbound: Volume,
    /// Frames out.
    pub outbound: Volume,
    /// Subscriptions there that are known here.
    pub subscriptions: usize,
}

impl Peers {
    /// All connections to nodes that are up, by their numbers.
    pub fn report(&self) -> Vec<LinkReport> {
        let mut all = Vec::new();
        for peer in self.all() {
            let known = self.consumers().iter();
            let subscriptions = known
                .map(|consumer| consumer.subscriptions(peer.node()))
                .sum();
            all.extend(
                peer.lanes()
                    .iter()
                    .map(|lane| report(&peer, lane, subscriptions)),
            );
        }
        all.sort_by_key(|report| report.rid);
        all
    }
}

fn report(peer: &Peer, lane: &Arc<Lane>, subscriptions: usize) -> LinkReport {
    let configured = peer.configured.load(Ordering::Relaxed);
    LinkReport {
        rid: lane.rid,
        remote_id: peer.info.server_id.clone(),
        remote_name: peer.info.server_name.clone(),
        solicited: lane.solicited || configured,
        configured,
        address: lane.remote,
        started: lane.started,
        last_activity: lane.last_activity(),
        rtt: lane.rtt(),
        pending: lane.pending(),
        inbound: lane.traffic.inbound(),
        outbound: lane.traffic.outbound(),
        subscriptions: match lane.link {
            Link::Main => subscriptions,
            Link::Bulk => 0,
        },
    }
}
