//! What a process used, from `/proc`, and what the disk can do at best.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use jetwake_tests::process::Scratch;

/// `/proc` counts processor time in hundredths of a second on every Linux in use.
const TICK: Duration = Duration::from_millis(10);
/// Positions after the closing parenthesis of the program name in `/proc/<pid>/stat`.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// Processor time of a process since it started, user and system.
///
/// # Errors
/// When the process is gone.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u32>().ok())
    };
    match (ticks(USER_TIME), ticks(SYSTEM_TIME)) {
        (Some(user), Some(system)) => Ok(TICK * (user + system)),
        _ => Err(io::Error::other(format!(
            "unexpected /proc/{pid}/stat: {text}"
        ))),
    }
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("no VmRSS in /proc/{pid}/status")))
}

/// The median time of a 4 KiB write and `fdatasync` into a file that is already written, which is
/// the least that one durable message at a time can take.
///
/// # Errors
/// When the directory cannot be written.
pub fn sync_latency(directory: &Path) -> io::Result<Duration> {
    const BLOCK: usize = 4096;
    const WRITES: usize = 500;
    let scratch = Scratch::new(directory, "sync")?;
    let file = File::create(scratch.path().join("file"))?;
    file.write_all_at(&vec![0; BLOCK * WRITES], 0)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(WRITES);
    for index in 0..WRITES {
        let begin = Instant::now();
        file.write_all_at(&[1; BLOCK], (index * BLOCK) as u64)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times[WRITES / 2])
}
