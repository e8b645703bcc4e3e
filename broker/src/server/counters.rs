//! Counters of messages and bytes, for the server and for each connection. Approximate while
//! traffic flows, exact when it stands still: a reader adds up a whole read buffer before it
//! touches them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Traffic in both directions, seen from the server.
#[derive(Debug, Default)]
pub struct Traffic {
    in_msgs: AtomicU64,
    in_bytes: AtomicU64,
    out_msgs: AtomicU64,
    out_bytes: AtomicU64,
}

/// Messages and their bytes (headers and payload).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Messages.
    pub msgs: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Volume {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.msgs += 1;
        self.bytes += bytes as u64;
    }
}

impl Traffic {
    pub(crate) fn received(&self, volume: Volume) {
        self.in_msgs.fetch_add(volume.msgs, Ordering::Relaxed);
        self.in_bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, volume: Volume) {
        self.out_msgs.fetch_add(volume.msgs, Ordering::Relaxed);
        self.out_bytes.fetch_add(volume.bytes, Ordering::Relaxed);
    }

    /// What came in.
    pub fn inbound(&self) -> Volume {
        let msgs = self.in_msgs.load(Ordering::Relaxed);
        Volume {
            msgs,
            bytes: self.in_bytes.load(Ordering::Relaxed),
        }
    }

    /// What went out.
    pub fn outbound(&self) -> Volume {
        let msgs = self.out_msgs.load(Ordering::Relaxed);
        Volume {
            msgs,
            bytes: self.out_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Events that operators count.
#[derive(Debug, Default)]
pub struct Incidents {
    /// Connections cut because they read too slowly.
    pub slow_consumers: AtomicU64,
    /// Connections cut because they did not answer pings.
    pub stale_connections: AtomicU64,
    /// Producers held back because a consumer was nearly full.
    pub stalled_clients: AtomicU64,
    /// Connections ever accepted.
    pub total_connections: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
