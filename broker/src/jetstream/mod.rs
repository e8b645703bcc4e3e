//! The JetStream core.

pub mod tag;
