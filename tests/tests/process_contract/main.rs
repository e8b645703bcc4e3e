//! The contract of the server's process that client test harnesses lean on: command line, exit codes, log lines,
//! files, signals, monitoring. Everything here also holds for nats-server (`JETWAKE_TEST_SERVER=nats-server`),
//! but for the tests whose names begin with `ours_`.

// Files and processes are what this is about; a test that cannot go on ends where it is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod cluster;
mod command_line;
mod configuration;
mod encryption;
mod files;
mod life;
mod log;
mod monitoring;
mod routes;

use jetwake_tests::process::Scratch;

/// Whether this machine knows IPv6; containers often do not.
fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

/// A directory for one test.
fn scratch(name: &str) -> Scratch {
    Scratch::new(&std::env::temp_dir(), &format!("process-{name}")).unwrap()
}
