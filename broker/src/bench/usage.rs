//! What a process used: from `/proc` for a process on this machine, from `/varz` for a server that is
//! elsewhere; and what the disk can do at best.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::scratch::Scratch;

/// `/proc` counts processor time in hundredths of a second on every Linux in use.
const TICK: Duration = Duration::from_millis(10);
/// Positions behind the closing parenthesis of the program's name in `/proc/<pid>/stat`.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
/// `f_type` of a memory file system.
const TMPFS: i128 = 0x0102_1994;

/// Processor time of a process since it started, user and system.
pub(super) fn cpu_time(pid: u32) -> io::Result<Duration> {
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

/// Processor time of the calling thread.
pub(super) fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// Resident bytes of a process.
pub(super) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|value| value.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("no VmRSS in /proc/{pid}/status")))
}

/// Whether files of this directory live in memory, where a sync means nothing.
pub(super) fn is_memory_file_system(directory: &Path) -> bool {
    // What the system does not answer for is taken for a disk.
    rustix::fs::statfs(directory).is_ok_and(|info| i128::from(info.f_type) == TMPFS)
}

/// The median time of a 4 KiB write and `fdatasync` into a file that is already written: the least
/// that one durable message at a time can take.
pub(super) fn sync_latency(directory: &Path) -> io::Result<Duration> {
    const BLOCK: usize = 4096;
    const WRITES: usize = 500;
    let scratch = Scratch::new(directory)?;
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

/// The machine's processor and number of cores.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |line| line.trim_start_matches(['\t', ' ', ':']));
    let unknown = std::env::consts::ARCH;
    let model = if model.is_empty() { unknown } else { model };
    format!("{cores} cores ({model})")
}

/// A server's monitoring address, `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Monitor(pub String);

/// What `/varz` says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Varz {
    /// Percent of one processor that the server uses at the moment.
    pub cpu_percent: f64,
    /// Resident bytes.
    pub memory: u64,
    /// Whether JetStream syncs before it acknowledges; unknown without JetStream.
    pub sync_always: Option<bool>,
}

impl Monitor {
    /// Asks the server.
    pub(super) fn varz(&self) -> io::Result<Varz> {
        let mut stream = TcpStream::connect(&self.0)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(
            stream,
            "GET /varz HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.0
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        parse_varz(body).ok_or_else(|| {
            io::Error::other(format!("http://{}/varz: not what a server says", self.0))
        })
    }
}

fn parse_varz(body: &str) -> Option<Varz> {
    let json: Value = serde_json::from_str(body).ok()?;
    let config = &json["jetstream"]["config"];
    Some(Varz {
        cpu_percent: json["cpu"].as_f64()?,
        memory: json["mem"].as_u64()?,
        sync_always: config["store_dir"]
            .is_string()
            .then(|| config["sync_always"].as_bool().unwrap_or(false)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        assert!(resident_bytes(std::process::id()).unwrap() > 1 << 20);
        cpu_time(std::process::id()).unwrap();
        assert!(thread_cpu_time() > Duration::ZERO);
    }

    #[test]
    fn monitoring_says_whether_acks_wait_for_the_disk() {
        let varz = |config: &str| {
            parse_varz(&format!(
                "{{\"cpu\":12.5,\"mem\":5,\"jetstream\":{{\"config\":{config}}}}}"
            ))
            .unwrap()
        };
        assert_eq!(varz("{}").sync_always, None);
        assert_eq!(varz("{\"store_dir\":\"x\"}").sync_always, Some(false));
        let always = varz("{\"store_dir\":\"x\",\"sync_always\":true}");
        assert_eq!((always.sync_always, always.cpu_percent), (Some(true), 12.5));
        assert_eq!(parse_varz("<html>"), None);
    }
}
