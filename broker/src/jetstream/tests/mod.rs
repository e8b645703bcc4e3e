//! The core driven by hand: a recording outbox, a journal on a faulty disk, and time as a number.

mod accounting;
mod api;
mod batch;
mod cluster;
mod clustering;
mod consumers;
mod counter;
mod damage;
mod fetching;
mod full_disk;
mod publish;
mod recovery;
mod replication;
mod rewrite;
mod rig;
mod sim;
mod space;
mod ttl;
mod watchers;
