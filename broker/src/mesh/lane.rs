//! One connection to another node: what waits to be sent on it, its signs of life, its counters.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use jetwake_protocol::peer::{Link, frame};
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;

use super::events::{Frames, Sent};
use crate::server::outbound::{Accepted, Drained, Outbound};
use crate::server::{CloseReason, Shared, Traffic, Volume, counters, wall_clock};

/// Bytes that may wait on a bulk link before it refuses more.
const BULK_PENDING: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
    pub(super) link: Link,
    /// Its number among all connections of this server.
    pub(super) rid: u64,
    pub(super) remote: SocketAddr,
    /// Whether this side dialled.
    pub(super) solicited: bool,
    pub(super) started: SystemTime,
    pub(super) traffic: Traffic,
    outbound: Outbound,
    /// A sender was refused and waits for room.
    refused: AtomicBool,
    /// Nothing gets through in either direction, as if the network was gone.
    muted: AtomicBool,
    last_read: AtomicU64,
    last_activity: AtomicU64,
    rtt: AtomicU64,
    write_deadline: Duration,
    reason: OnceLock<CloseReason>,
}

/// What a lane begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) link: Link,
    pub(super) rid: u64,
    pub(super) remote: SocketAddr,
    pub(super) solicited: bool,
    pub(super) socket: OwnedWriteHalf,
}

impl Lane {
    pub(super) fn new(shared: &Arc<Shared>, start: Start) -> Self {
        let options = &shared.options;
        let most = match start.link {
            Link::Main => options.max_pending,
            Link::Bulk => BULK_PENDING,
        };
        let now = shared.uptime_nanos();
        Self {
            link: start.link,
            rid: start.rid,
            remote: start.remote,
            solicited: start.solicited,
            started: wall_clock(),
            traffic: Traffic::default(),
            // A single frame of any size is always taken.
            outbound: Outbound::new(start.socket, most + frame::HEADER + frame::MAX_BODY),
            refused: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            last_read: AtomicU64::new(now),
            last_activity: AtomicU64::new(now),
            rtt: AtomicU64::new(0),
            write_deadline: options
                .cluster
                .write_deadline
                .unwrap_or(options.write_deadline),
            reason: OnceLock::new(),
            shared: Arc::clone(shared),
        }
    }

    /// Takes frames and leaves an empty buffer.
    pub(super) fn send(&self, frames: &mut Frames) -> Sent {
        let count = std::mem::take(&mut frames.count);
        let bytes = frames.bytes.len();
        if bytes == 0 || self.is_muted() {
            frames.bytes.clear();
            return Sent::Yes;
        }
        if self.is_full(bytes) {
            frames.bytes.clear();
            return self.refuse(bytes);
        }
        let accepted = self.outbound.send(&mut frames.bytes);
        match accepted {
            Accepted::Yes | Accepted::NearlyFull => {
                let (msgs, bytes) = (count, bytes as u64);
                self.traffic.sent(Volume { msgs, bytes });
            }
            Accepted::Closed => return Sent::Down,
            Accepted::Overflow => return self.refuse(bytes),
            Accepted::Broken => {
                self.close(CloseReason::WriteError);
                return Sent::Down;
            }
        }
        if accepted == Accepted::NearlyFull || self.outbound.pending() > self.limit() / 4 * 3 {
            Sent::NearlyFull
        } else {
            Sent::Yes
        }
    }

    /// Sends what belongs to the mesh itself; it counts as no traffic.
    pub(super) fn say(&self, bytes: &mut Vec<u8>) {
        if self.is_muted() {
            return;
        }
        if self.outbound.send(bytes) == Accepted::Broken {
            self.close(CloseReason::WriteError);
        }
    }

    fn limit(&self) -> usize {
        match self.link {
            Link::Main => self.shared.options.max_pending,
            Link::Bulk => BULK_PENDING,
        }
    }

    /// Whether frames of this size have to wait. What comes to an empty queue never has to.
    fn is_full(&self, bytes: usize) -> bool {
        let pending = self.outbound.pending();
        pending > 0 && pending + bytes > self.limit()
    }

    /// The main link must stay in order and complete: it is cut. The bulk link may be asked again.
    fn refuse(&self, bytes: usize) -> Sent {
        if self.link == Link::Bulk {
            self.refused.store(true, Ordering::Release);
            return Sent::Full;
        }
        counters::count(&self.shared.incidents.slow_consumers);
        self.shared.logger.info(format_args!(
            "{} - Slow Consumer Detected: MaxPending of {} Exceeded",
            self.label(),
            self.limit()
        ));
        debug_assert!(bytes > 0, "nothing is never too much");
        self.close(CloseReason::SlowConsumerPendingBytes);
        Sent::Down
    }

    /// Writes what producers could not write themselves, until the lane is closed. `room` is called
    /// when a sender that was refused may try again.
    pub(super) async fn write(&self, room: impl Fn()) {
        loop {
            self.outbound.wake.notified().await;
            match self.outbound.drain(self.write_deadline).await {
                Drained::All => {}
                Drained::Broken => self.close(CloseReason::WriteError),
                Drained::Late { count, total } => {
                    counters::count(&self.shared.incidents.slow_consumers);
                    self.shared.logger.info(format_args!(
                        "{} - Slow Consumer Detected: WriteDeadline of {:?} exceeded with {count} \
                         chunks of {total} total bytes.",
                        self.label(),
                        self.write_deadline,
                    ));
                    self.close(CloseReason::SlowConsumerWriteDeadline);
                }
            }
            if self.outbound.is_finished() {
                // Sent all that was to be sent before the end, or closed already.
                return self.close(CloseReason::ClientClosed);
            }
            if self.refused.swap(false, Ordering::AcqRel) {
                room();
            }
        }
    }

    /// Sends what waits and closes then.
    pub(super) fn close_after_flush(&self, reason: CloseReason) {
        // The first reason is the true one.
        let _ = self.reason.set(reason);
        if self.outbound.finish() {
            self.close(reason);
        }
    }

    /// Closes at once; the reading side sees the end.
    pub(super) fn close(&self, reason: CloseReason) {
        // The first reason is the true one.
        let _ = self.reason.set(reason);
        if let Some(socket) = self.outbound.close() {
            // Fails only if the peer has closed already.
            let _ = SockRef::from(AsRef::<tokio::net::TcpStream>::as_ref(&*socket))
                .shutdown(std::net::Shutdown::Both);
        }
    }

    pub(super) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Relaxed)
    }

    pub(super) fn reason(&self) -> CloseReason {
        self.reason
            .get()
            .copied()
            .unwrap_or(CloseReason::ClientClosed)
    }

    /// Whether it was closed, from whatever side it was noticed first.
    pub(super) fn is_closed(&self) -> bool {
        self.reason.get().is_some()
    }

    pub(super) fn pending(&self) -> usize {
        self.outbound.pending()
    }

    /// Bytes came in.
    pub(super) fn note_read(&self) {
        let now = self.shared.uptime_nanos();
        self.last_read.store(now, Ordering::Relaxed);
    }

    /// Something else than a sign of life came in.
    pub(super) fn note_activity(&self) {
        let now = self.shared.uptime_nanos();
        self.last_activity.store(now, Ordering::Relaxed);
    }

    /// Since bytes came in.
    pub(super) fn silence(&self) -> Duration {
        let last = self.last_read.load(Ordering::Relaxed);
        Duration::from_nanos(self.shared.uptime_nanos().saturating_sub(last))
    }

    /// In nanoseconds since the server's start.
    pub(super) fn last_activity(&self) -> u64 {
        self.last_activity.load(Ordering::Relaxed)
    }

    /// The answer to a ping that was sent at `sent` came.
    pub(super) fn note_pong(&self, sent: u64) {
        let rtt = self.shared.uptime_nanos().saturating_sub(sent).max(1);
        self.rtt.store(rtt, Ordering::Relaxed);
    }

    /// Round trip time in nanoseconds, 0 if unknown.
    pub(super) fn rtt(&self) -> u64 {
        self.rtt.load(Ordering::Relaxed)
    }

    /// The front of a log line.
    pub(super) fn label(&self) -> String {
        label(self.remote, self.rid)
    }
}

/// The front of a log line about a connection on the cluster port.
pub(super) fn label(remote: SocketAddr, rid: u64) -> String {
    format!("{remote} - rid:{rid}")
}
