//! Lame duck mode: clients are told, given time, and then closed one by one so that they do not all
//! reconnect elsewhere in the same moment.

// Pauses between closings belong to this shell.
#![allow(clippy::disallowed_methods)]

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::info::Occasion;
use super::reason::CloseReason;
use super::shared::Shared;

/// Longest pause between two closings.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// From here on nobody is sent to this server.
pub(super) fn enter(shared: &Shared) {
    shared.lame_duck.store(true, Ordering::Relaxed);
    shared.neighbours.leave();
}

pub(super) async fn run(shared: &Shared) {
    enter(shared);
    if shared.connection_count() == 0 {
        return;
    }
    shared.tell(Occasion::LameDuck);
    let options = &shared.options;
    tokio::time::sleep(options.lame_duck_grace_period).await;
    let connections = shared.connections();
    if connections.is_empty() {
        return;
    }
    shared.logger.info(format_args!("Closing existing clients"));
    let time = options
        .lame_duck_duration
        .saturating_sub(options.lame_duck_grace_period);
    let step = (time / connections.len() as u32).min(PAUSE_MAX);
    for (at, connection) in connections.iter().enumerate() {
        connection.close_after_flush(CloseReason::ServerShutdown);
        if at + 1 < connections.len() {
            tokio::time::sleep(between_half_and_all(step, shared.random())).await;
        }
    }
}

fn between_half_and_all(step: Duration, random: u64) -> Duration {
    let half = step / 2;
    half + half * (random % 1000) as u32 / 1000
}
