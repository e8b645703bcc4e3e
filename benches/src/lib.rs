//! The side-by-side comparison with nats-server.
//!
//! [`side`] starts one of the two programs in a given setting, [`load`] holds the workloads, which
//! know nothing of the two, [`footprint`] measures start and memory, [`usage`] asks the system
//! what a process used, and [`report`] turns
//! samples into the table. The clients are blocking sockets with prepared buffers, so that the
//! server is what is measured; they share the machine with it, on both sides alike.

// A measuring program: it runs processes, threads and files against the wall clock.
#![allow(clippy::disallowed_methods)]

pub mod footprint;
pub mod load;
pub mod report;
pub mod side;
pub mod usage;
