//! Core NATS over real sockets: the client port of a running server, seen by raw connections and by
//! async-nats.

// A test is a shell, and what it unwraps is its assertion.
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

mod border;
mod clients;
mod connecting;
mod limits;
mod order;
mod publishing;
mod support;
mod timers;
