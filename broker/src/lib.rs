//! Jetwake: a durable message broker that speaks NATS and JetStream.

pub mod log;
pub mod options;
pub mod routing;
