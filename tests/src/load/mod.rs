//! Load that remembers every promise, and the check that they were kept.
//!
//! A [`Site`] is a set of streams of different kinds (`plan`), each with its writers, and where it
//! fits a worker with double acks and a remover. Everything that the server acknowledged is
//! remembered; after each restart the streams are read and compared. The rigs decide what happens
//! between: a kill, a power cut. Nothing here knows how the server stores anything.

mod contents;
mod findings;
mod ledger;
mod plan;
mod read;
mod remover;
mod site;
mod worker;
mod writer;

pub use findings::{Findings, Kind};
pub use plan::{Plan, all_plans};
pub use read::{Found, Holding, stream as read_stream};
pub use site::{Site, wait_for_jetstream};
