//! Starts real server processes for the published async-nats test suite.
//!
//! The suite was written against a helper crate that is not published with it; this crate offers
//! the calls the tests make (`run_server`, `run_basic_server`, `run_server_with_port`,
//! `run_cluster`, `set_lame_duck_mode`) with the same process contract: the program is started with
//! `--store_dir`, `-p`, `-l` and `-P`, is ready when its log names the client listener, and is
//! killed without warning when the handle is dropped. The program is `JETWAKE_TEST_SERVER`, or
//! `nats-server` on `PATH`.
//!
//! Readiness is read from the log file only: a probing connection would disturb the tests that
//! count connections and would hang on TLS-first listeners.

mod cluster;
mod process;

pub use cluster::{Cluster, run_cluster};
pub use process::Server;

/// Starts a server with a configuration file (`""` for none) on a free port.
///
/// # Panics
/// When the server does not come up; the message holds its log.
#[must_use]
pub fn run_server(config: &str) -> Server {
    run_server_with_port(config, None)
}

/// Starts a server without a configuration file on a free port.
///
/// # Panics
/// When the server does not come up; the message holds its log.
#[must_use]
pub fn run_basic_server() -> Server {
    run_server("")
}

/// Starts a server on a given port, or on a free one.
///
/// # Panics
/// When the server does not come up; the message holds its log.
#[must_use]
pub fn run_server_with_port(config: &str, port: Option<&str>) -> Server {
    let mut args = vec!["-p".to_owned(), port.unwrap_or("-1").to_owned()];
    if !config.is_empty() {
        args.extend(["-c".to_owned(), config.to_owned()]);
    }
    let mut server = Server::spawn(args);
    server.wait_ready();
    server
}

/// Asks a server to enter lame duck mode, through the program's own `--signal` option.
///
/// # Panics
/// When the signalling program fails.
pub fn set_lame_duck_mode(server: &Server) {
    server.signal("ldm");
}
