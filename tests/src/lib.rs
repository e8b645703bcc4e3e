//! Black-box rigs: protocol scripts, conformance with official clients, crash loops.
//!
//! The library holds what the rigs share: starting server processes ([`process`]), looking at them
//! as harnesses do ([`daemon`]), a small
//! blocking client ([`wire`], with [`jetstream`] on top) and the player of protocol scripts
//! ([`script`]). It knows servers only from outside, by their command line and their socket, so that
//! every rig can run against the reference server too.

pub mod choices;
pub mod daemon;
pub mod jetstream;
#[cfg(target_os = "linux")]
pub mod layer;
pub mod load;
pub mod process;
pub mod script;
pub mod wire;
