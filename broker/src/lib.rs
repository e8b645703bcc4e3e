//! Jetwake: a durable message broker that speaks NATS and JetStream.
//!
//! As a program, `jetwake -js` is nats-server to its clients. As a library it is a real JetStream inside a test:
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let server = jetwake::Server::builder().jetstream().start().await?;
//! let client = async_nats::connect(server.client_url()).await?;
//! client.publish("greetings", "hello".into()).await?;
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! The parts, from the inside out: [`routing`] and [`jetstream`] decide and know no sockets, threads or clocks;
//! [`server`] serves clients; [`mesh`] talks to other nodes; [`node`] puts a server together; [`process`] is the program around it.

#[cfg(feature = "bench")]
mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consensus;
pub mod jetstream;
pub mod log;
pub mod mesh;
mod monitor;
pub mod node;
pub mod options;
pub mod process;
pub mod routing;
pub mod server;
pub mod version;

pub use clock::Clock;
pub use node::{Builder, Cluster, Server, StartError};
pub use options::{Options, SyncPolicy};

/// The examples of the README and the user guide compile.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/GUIDE.md")]
    struct Guide;
}
