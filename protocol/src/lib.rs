//! The NATS client protocol and the JetStream API: bytes to meaning and back.
//!
//! Pure functions and small state machines over byte slices: no I/O, no async, no clock and no
//! randomness (where a random number is needed, it is handed in).

pub mod ack;
pub mod conf;
pub mod header;
pub mod jetstream;
pub mod nuid;
pub mod peer;
pub mod subject;
pub mod time;
pub mod wire;
