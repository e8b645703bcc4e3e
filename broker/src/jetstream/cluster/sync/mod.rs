//! State of a stream goes from one replica to another by question and answer.
//!
//! A replica that is too far behind, new or damaged (the [`Follower`]) asks another one, the leader first, for the
//! messages behind its last one, chunk by chunk. Committed messages never change, so that part may be begun again
//! anywhere. When little is left it asks for the state at one index: counters, which sequences are there, ids,
//! consumers. It fetches what its own store lacks of that, removes what is not in it, and goes on from there. The bytes
//! are in `docs/PEER.md`.
//!
//! Two records of its own make that safe against a crash: one when the exchange begins, one that installs the state.
//! Between the two the replica serves and applies nothing, but keeps its log and its votes.
//!
//! The same questions repair single messages of a replica whose own bytes went bad.

pub(crate) mod follower;
pub(crate) mod runs;
pub(crate) mod server;
#[cfg(test)]
mod tests;

use jetwake_protocol::peer::sync::{Answer, Ask, Exchange};

/// The first byte of a frame between cores that belongs here.
pub(crate) const SYNC: u8 = 16;
/// Bytes of one answer, unless a single message is larger.
pub(crate) const CHUNK: u32 = 1 << 20;
/// Messages that come with the state.
pub(crate) const INLINE: u64 = 4 << 20;
/// Bytes that a node has under way to all others.
pub(crate) const OUTGOING: u64 = 64 << 20;
const SECOND: i64 = 1_000_000_000;
/// How long the first answer of an exchange may take.
pub(crate) const START: i64 = 5 * SECOND;
/// How long any later one may take, and how long a node keeps what it holds for one that says nothing.
pub(crate) const INACTIVE: i64 = 30 * SECOND;
/// Until the next attempt, when nobody could give anything.
pub(crate) const PAUSE: i64 = SECOND / 4;

/// A node, by number.
pub(crate) type NodeId = u64;

/// A frame with a question.
pub(crate) fn ask(ask: &Ask, exchange: Exchange) -> Vec<u8> {
    let mut frame = vec![SYNC];
    ask.append(exchange, &mut frame);
    frame
}

/// A frame with an answer.
pub(crate) fn answer(answer: &Answer<'_>, exchange: Exchange) -> Vec<u8> {
    let mut frame = vec![SYNC];
    answer.append(exchange, &mut frame);
    frame
}
