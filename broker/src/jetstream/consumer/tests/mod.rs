//! Behaviour of a consumer as its clients see it, with virtual time and a real message store.

mod acks;
mod inactive;
mod interplay;
mod pace;
mod policies;
mod priority;
mod pull;
mod push;
mod recovery;
mod redelivery;
mod rig;
