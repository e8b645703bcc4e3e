//! Jetwake: a durable message broker that speaks NATS and JetStream.

pub mod jetstream;
pub mod log;
pub mod options;
pub mod routing;
pub mod server;
pub mod version;
