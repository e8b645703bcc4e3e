//! What an embedded broker costs: time to start one, and what two hundred at a time take.
//!
//! `cargo run --release -p jetwake-benches --bin embedded`

// A measurement reads the clock and prints its result.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::time::Instant;

use jetwake::Server;

/// Servers that are started one after the other.
const STARTS: usize = 200;

#[tokio::main]
async fn main() -> Result<(), jetwake::StartError> {
    for jetstream in [false, true] {
        let mut times = Vec::with_capacity(STARTS);
        let mut servers = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let builder = Server::builder();
            let builder = if jetstream {
                builder.jetstream()
            } else {
                builder
            };
            let began = Instant::now();
            servers.push(builder.start().await?);
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let at = |share: usize| times[(STARTS - 1) * share / 100];
        let kind = if jetstream {
            "core + JetStream"
        } else {
            "core"
        };
        println!(
            "{kind}: start to ready p50 {:?}, p99 {:?}; {STARTS} at a time: {} KiB resident each",
            at(50),
            at(99),
            resident_kib() / STARTS
        );
        let began = Instant::now();
        for server in servers {
            server.shutdown().await;
        }
        println!(
            "{kind}: shutdown {:?} each",
            began.elapsed() / STARTS as u32
        );
    }
    Ok(())
}

fn resident_kib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<usize>().ok());
    pages.unwrap_or(0) * 4
}
