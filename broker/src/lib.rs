//! Jetwake: a durable message broker that speaks NATS and JetStream.

pub mod cli;
pub mod clock;
pub mod config;
pub mod jetstream;
pub mod log;
mod monitor;
pub mod node;
pub mod options;
pub mod process;
pub mod routing;
pub mod server;
pub mod version;

pub use clock::Clock;
pub use node::{Builder, Server, StartError};
pub use options::{Options, SyncPolicy};
