//! The JetStream core: one deterministic state machine that owns all streams and consumers of this server.
//!
//! What comes in is an [`Event`](io::Event), what goes out goes through an [`Outbox`](io::Outbox); see [`io`].
//! Nothing here knows a socket, a thread, a clock or a source of randomness.

mod account;
mod advisory;
mod api;
mod arena;
mod checkpoint;
pub(crate) mod cluster;
mod commit;
pub mod consumer;
mod core;
mod entry;
mod env;
mod filter;
pub mod io;
mod job;
mod log;
mod maintenance;
mod recover;
mod replica;
mod report;
mod scrub;
mod settings;
mod shadow;
mod stream;
mod streams;
mod subjects;
pub mod tag;
#[cfg(test)]
mod tests;

use self::core::Core;
pub use self::core::{JetStream, JetStreamStore};
pub use self::report::{Depth, MetaCluster, Report};
pub use self::settings::{ClusterSettings, Settings};
