//! What a program costs besides its work: start, restart, memory.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use jetwake_tests::jetstream::api;
use jetwake_tests::wire::Client;

use crate::load::{self, Work};
use crate::side::{Programs, Running, Setting, Sync, Who};
use crate::usage;

/// Memory is looked at when the server had this long to come to rest.
const REST: Duration = Duration::from_millis(500);
const RESTART_LIMIT: Duration = Duration::from_secs(60);
const JETSTREAM: Setting = Setting::JetStream(Sync::Default);

/// Seconds from exec to the first INFO.
///
/// # Errors
/// When the server does not start.
pub fn start_time(programs: &Programs, who: Who, setting: Setting) -> io::Result<f64> {
    Ok(programs
        .start(who, setting)?
        .server
        .ready_after()
        .as_secs_f64())
}

/// Seconds from exec, after a kill with this many messages stored, to the first answer about the
/// stream.
///
/// # Errors
/// When the server does not come back.
pub fn restart_after_kill(programs: &Programs, who: Who, messages: u64) -> io::Result<f64> {
    let mut running = programs.start(who, JETSTREAM)?;
    load::run(
        Work::Store {
            window: 1000,
            memory: false,
        },
        &running,
        messages,
    )?;
    running.server.kill()?;
    let begin = Instant::now();
    running.server = running.launch.start()?;
    let mut client = Client::connect(running.server.address())?;
    while api(&mut client, "STREAM.INFO.BENCH", "").is_err() {
        if begin.elapsed() > RESTART_LIMIT {
            return Err(io::Error::other("the stream did not come back"));
        }
    }
    Ok(begin.elapsed().as_secs_f64())
}

/// Resident bytes of a server that has nothing to do.
///
/// # Errors
/// When the server does not start.
pub fn memory_at_rest(programs: &Programs, who: Who, setting: Setting) -> io::Result<f64> {
    let running = programs.start(who, setting)?;
    resident(&running)
}

/// Resident bytes of each idle connection.
///
/// # Errors
/// When the server does not serve that many.
pub fn memory_per_connection(programs: &Programs, who: Who, count: usize) -> io::Result<f64> {
    let running = programs.start(who, Setting::Core)?;
    let before = resident(&running)?;
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(Client::connect_idle(running.server.address())?);
    }
    Ok((resident(&running)? - before) / idle.len() as f64)
}

/// Resident bytes of each subject of a stream that holds one message a subject, above those of the
/// same number of messages on one subject.
///
/// # Errors
/// When the messages cannot be stored.
pub fn memory_per_subject(programs: &Programs, who: Who, count: u64) -> io::Result<f64> {
    let plain = programs.start(who, JETSTREAM)?;
    load::store_subjects(&plain, count, 1)?;
    let base = resident(&plain)?;
    drop(plain);
    let running = programs.start(who, JETSTREAM)?;
    load::store_subjects(&running, count, count)?;
    Ok((resident(&running)? - base) / count as f64)
}

/// Resident bytes of each durable pull consumer.
///
/// # Errors
/// When the consumers cannot be created.
pub fn memory_per_consumer(programs: &Programs, who: Who, count: u64) -> io::Result<f64> {
    let running = programs.start(who, JETSTREAM)?;
    load::store_subjects(&running, 1, 1)?;
    let before = resident(&running)?;
    load::create_consumers(&running, count)?;
    Ok((resident(&running)? - before) / count as f64)
}

fn resident(running: &Running) -> io::Result<f64> {
    thread::sleep(REST);
    Ok(usage::resident_bytes(running.server.pid())? as f64)
}
