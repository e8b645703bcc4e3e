//! The life of a link that was agreed on: reading, writing, signs of life, and its end.

// A link's timers follow the machine's clock, as its peer's do.
#![allow(clippy::disallowed_methods)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use jetwake_protocol::peer::{Gossip, Kind, Link, Pulse, Update, frame};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Interval, MissedTickBehavior};

use super::Mesh;
use super::events::Receiver;
use super::lane::Lane;
use super::peer::Peer;
use crate::options::{ClusterOptions, Options};
use crate::server::{CloseReason, Volume, counters};

/// How often a node from which nothing came is asked for a sign of life. An operator may want it more often.
const PING: Duration = Duration::from_millis(500);
/// A node from which nothing came for this long is down. An operator may want it sooner.
const SILENCE: Duration = Duration::from_secs(3);
/// Room for one read.
const READ: usize = 64 << 10;
/// A buffer with less room than this gets more.
const READ_MIN: usize = 4 << 10;

/// The receiving end of a link.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) reader: OwnedReadHalf,
    /// What was read beyond the handshake.
    pub(super) buffer: BytesMut,
}

/// Serves the main link of a peer until it ends. `before` is the link that this one replaces.
pub(super) async fn run(mesh: Arc<Mesh>, peer: Arc<Peer>, inlet: Inlet, before: Option<Arc<Peer>>) {
    if let Some(before) = before {
        before.main.close(CloseReason::DuplicateRoute);
        before.ended().await;
    }
    if mesh.peers.is_cut_off(peer.node()) {
        peer.main.close(CloseReason::RouteRemoved);
        mesh.peers.remove(&peer);
        return peer.end();
    }
    begin(&mesh, &peer);
    let lane = Arc::clone(&peer.main);
    let session = Session::new(&mesh, &peer, &lane);
    tokio::join!(session.read(inlet), lane.write(|| {}));
    finish(&mesh, &peer);
}

/// Serves the bulk link of a peer until it ends.
pub(super) async fn run_bulk(mesh: Arc<Mesh>, peer: Arc<Peer>, lane: Arc<Lane>, inlet: Inlet) {
    let session = Session::new(&mesh, &peer, &lane);
    let room = || {
        for consumer in mesh.consumers() {
            consumer.bulk_room(peer.node());
        }
    };
    tokio::join!(session.read(inlet), lane.write(room));
    let mut bulk = peer.bulk.lock();
    if bulk
        .as_ref()
        .is_some_and(|current| Arc::ptr_eq(current, &lane))
    {
        *bulk = None;
    }
    drop(bulk);
    mesh.log_closed(&lane, Some(&peer.info.server_name));
}

/// The peer is up: whoever wants to know hears it, and the mesh tells it whom to dial.
fn begin(mesh: &Mesh, peer: &Arc<Peer>) {
    mesh.note_urls(peer, &peer.info.client_urls);
    peer.up.store(true, Ordering::Release);
    for consumer in mesh.consumers() {
        consumer.peer_up(peer);
    }
    mesh.introduce(peer);
}

fn finish(mesh: &Mesh, peer: &Arc<Peer>) {
    peer.up.store(false, Ordering::Release);
    if let Some(bulk) = peer.bulk() {
        bulk.close(peer.main.reason());
    }
    mesh.peers.remove(peer);
    for consumer in mesh.consumers() {
        consumer.peer_down(peer);
    }
    mesh.note_urls(peer, &[]);
    mesh.log_closed(&peer.main, Some(&peer.info.server_name));
    peer.end();
}

/// How long a node may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    ping: Duration,
    silence: Duration,
}

impl Patience {
    /// The operator's pings, where they are sooner than ours.
    fn of(cluster: &ClusterOptions, server: &Options) -> Self {
        let most = Self {
            ping: PING,
            silence: SILENCE,
        };
        let Some(interval) = cluster.ping_interval.filter(|interval| !interval.is_zero()) else {
            return most;
        };
        let pings = cluster.ping_max.unwrap_or(server.ping_max);
        Self {
            ping: interval.min(most.ping),
            silence: interval
                .saturating_mul(pings.saturating_add(1))
                .min(most.silence),
        }
    }
}

/// The reading side of one connection.
struct Session<'s> {
    mesh: &'s Arc<Mesh>,
    peer: &'s Arc<Peer>,
    lane: &'s Arc<Lane>,
    patience: Patience,
    /// Who gets frames, in the order of the consumers.
    receivers: Vec<Box<dyn Receiver>>,
}

impl<'s> Session<'s> {
    fn new(mesh: &'s Arc<Mesh>, peer: &'s Arc<Peer>, lane: &'s Arc<Lane>) -> Self {
        let receiver = |consumer: &Arc<dyn super::MeshEvents>| consumer.receiver(peer, lane.link);
        let receivers = mesh.consumers().iter().map(receiver).collect();
        Self {
            mesh,
            peer,
            lane,
            patience: Patience::of(mesh.options(), &mesh.shared.options),
            receivers,
        }
    }

    /// Reads until the connection ends.
    async fn read(mut self, mut inlet: Inlet) {
        let mut ticks = tokio::time::interval(self.patience.ping);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reason = loop {
            let needed = match self.take(&mut inlet.buffer) {
                Ok(needed) => needed,
                Err(reason) => break reason,
            };
            self.flush();
            self.wait_for_room().await;
            make_room(&mut inlet.buffer, needed);
            if let Some(reason) = self.fill(&mut inlet, &mut ticks).await {
                break reason;
            }
        };
        // What came before a damaged frame counts.
        self.flush();
        self.lane.close(reason);
    }

    fn flush(&mut self) {
        for receiver in &mut self.receivers {
            receiver.flush();
        }
    }

    /// Waits for bytes, or for a reason to end.
    async fn fill(&mut self, inlet: &mut Inlet, ticks: &mut Interval) -> Option<CloseReason> {
        loop {
            // What has arrived is read before anybody is given up.
            tokio::select! {
                biased;
                read = inlet.reader.read_buf(&mut inlet.buffer) => match read {
                    Ok(0) => return Some(CloseReason::ClientClosed),
                    Ok(_) if self.lane.is_muted() => inlet.buffer.clear(),
                    Ok(_) => {
                        self.lane.note_read();
                        return None;
                    }
                    Err(_) => return Some(CloseReason::ReadError),
                },
                _ = ticks.tick() => if let Some(reason) = self.tick() { return Some(reason) },
            }
        }
    }

    /// Asks for a sign of life where there was none, and gives up where there was none for long. The
    /// bulk link lives and dies with the main link.
    fn tick(&self) -> Option<CloseReason> {
        if self.lane.link == Link::Bulk {
            return None;
        }
        let silence = self.lane.silence();
        if silence >= self.patience.silence {
            counters::count(&self.mesh.shared.incidents.stale_connections);
            return Some(CloseReason::StaleConnection);
        }
        if silence >= self.patience.ping / 2 || self.lane.rtt() == 0 {
            let mut ping = Vec::new();
            Pulse(self.mesh.shared.uptime_nanos()).append(&mut ping, Kind::PING);
            self.lane.say(&mut ping);
        }
        None
    }

    /// Hands over every complete frame; the bytes that are missing of the next one.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<usize, CloseReason> {
        let mut received = Volume::default();
        let result = loop {
            let header = match frame::Header::read(buffer, frame::MAX_BODY) {
                Ok(Some(header)) => header,
                Ok(None) => break Ok(0),
                Err(error) => break Err(self.broken(&error)),
            };
            if buffer.len() < header.frame() {
                break Ok(header.frame() - buffer.len());
            }
            let mut body = buffer.split_to(header.frame()).freeze();
            body.advance(frame::HEADER);
            if let Err(error) = header.check(&body) {
                break Err(self.broken(&error));
            }
            match self.receiver(header.kind) {
                Some(receiver) => {
                    received.add(header.frame());
                    receiver.frame(header.kind, body);
                }
                None => {
                    if let Err(reason) = self.own(header.kind, &body) {
                        break Err(reason);
                    }
                }
            }
        };
        if received.msgs > 0 {
            self.lane.traffic.received(received);
            self.lane.note_activity();
        }
        result
    }

    fn receiver(&mut self, kind: Kind) -> Option<&mut Box<dyn Receiver>> {
        let at = self
            .mesh
            .consumers()
            .iter()
            .position(|consumer| consumer.takes(kind))?;
        self.receivers.get_mut(at)
    }

    /// A frame of the mesh itself. What nobody knows is skipped: the other side may be newer.
    fn own(&self, kind: Kind, body: &[u8]) -> Result<(), CloseReason> {
        let read = match kind {
            Kind::PING => Pulse::read(body).map(|pulse| {
                let mut pong = Vec::new();
                pulse.append(&mut pong, Kind::PONG);
                self.lane.say(&mut pong);
            }),
            Kind::PONG => Pulse::read(body).map(|pulse| self.lane.note_pong(pulse.0)),
            Kind::PEERS => Gossip::read(body).map(|gossip| self.mesh.heard(gossip)),
            Kind::UPDATE => Update::read(body).map(|update| self.mesh.updated(self.peer, &update)),
            _ => Ok(()),
        };
        read.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> CloseReason {
        let label = self.lane.label();
        let logger = &self.mesh.shared.logger;
        logger.error(format_args!("{label} - Route parse error: {error}"));
        CloseReason::ParseError
    }

    /// Reads nothing while a receiver has too much. The other side's silence is not its fault then.
    async fn wait_for_room(&mut self) {
        for receiver in &mut self.receivers {
            if let Some(room) = receiver.room() {
                room.await;
                self.lane.note_read();
            }
        }
    }
}

fn make_room(buffer: &mut BytesMut, needed: usize) {
    let free = buffer.capacity() - buffer.len();
    if needed > free || free < READ_MIN {
        buffer.reserve(needed.max(READ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_can_only_be_less_patient() {
        let patience = |seconds: u64, pings| {
            let cluster = ClusterOptions {
                ping_interval: Some(Duration::from_secs(seconds)),
                ping_max: pings,
                ..ClusterOptions::default()
            };
            Patience::of(&cluster, &Options::default())
        };
        let most = Patience {
            ping: PING,
            silence: SILENCE,
        };
        assert_eq!(patience(0, None), most);
        assert_eq!(patience(30, None), most);
        assert_eq!(patience(1, None), most);
        assert_eq!(patience(1, Some(0)).silence, Duration::from_secs(1));
    }
}
