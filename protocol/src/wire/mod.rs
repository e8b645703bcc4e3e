//! The client protocol's text: what a client sends ([`parser`]) and what a server sends ([`encode`]).
//!
//! Every byte string that clients match on (operation names, `-ERR` texts, INFO fields) lives here.
//! Nothing in this module decides: it never authenticates, routes or counts.

mod blank;
pub mod connect;
pub mod encode;
pub mod errors;
pub mod info;
pub mod parser;

pub use connect::{ConnectError, ConnectOptions};
pub use encode::Sink;
pub use errors::WireError;
pub use info::ServerInfo;
pub use parser::{ClientOp, ClientParser, Limits, ParseError, Parsed, Publish};
