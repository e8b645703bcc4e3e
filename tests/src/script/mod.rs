//! Protocol scripts: text files that hold the bytes a client sends and the bytes it must get back.
//!
//! `scripts/README.md` documents the format. `parse` turns a file into statements, `run` plays them
//! against a server, `pattern` compares what came back, `connection` owns the sockets, `server` the
//! processes. Nothing here knows which server it talks to, and the only timer is the read deadline.

mod connection;
mod parse;
mod pattern;
mod run;
mod server;
mod suite;
mod text;

pub use parse::{Line, ParseError, Script, Setup, Statement, Verb};
pub use run::{Failure, Mode, run};
pub use server::{Pool, ScriptServer};
pub use suite::{directory, run_area};
