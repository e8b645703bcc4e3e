//! The side-by-side comparison with nats-server.
