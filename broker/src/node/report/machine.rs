//! What the operating system knows about this process: memory and processor time.
//!
//! A shell module: it asks the operating system.

// The process's own numbers come from the operating system's files, and wall time from its clock.
#![allow(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

/// Bytes of memory in use.
pub(super) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Processor time of this process since the last question.
#[derive(Debug)]
pub(super) struct CpuMeter {
    last: parking_lot::Mutex<(Instant, Duration)>,
}

impl CpuMeter {
    pub(super) fn start() -> Self {
        Self {
            last: parking_lot::Mutex::new((Instant::now(), cpu_time())),
        }
    }

    /// Percent of one processor.
    pub(super) fn percent(&self) -> f64 {
        let (now, used) = (Instant::now(), cpu_time());
        let (then, before) = std::mem::replace(&mut *self.last.lock(), (now, used));
        let wall = now.duration_since(then).as_secs_f64();
        if wall <= 0.0 {
            return 0.0;
        }
        (used.saturating_sub(before).as_secs_f64() / wall * 1000.0).round() / 10.0
    }
}

fn cpu_time() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(at.tv_sec).unwrap_or(0),
        u32::try_from(at.tv_nsec).unwrap_or(0),
    )
}
