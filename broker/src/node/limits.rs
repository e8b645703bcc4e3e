//! How much JetStream may use: what the options say, else three quarters of what the machine has.
//!
//! A shell module: it asks the operating system.

use std::path::Path;

use crate::options::JetStreamOptions;

/// nats-server never takes more than this by itself.
const MOST_STORAGE: u64 = 1 << 40;

/// Bytes that streams may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Memory streams.
    pub(super) max_memory: u64,
    /// File streams.
    pub(super) max_file: u64,
}

impl Limits {
    /// The limits in effect.
    pub(super) fn of(options: &JetStreamOptions) -> Self {
        Self {
            max_memory: options
                .max_memory
                .unwrap_or_else(|| three_quarters(memory())),
            max_file: options.max_file.unwrap_or_else(|| {
                three_quarters(free_space(&options.store_dir)).min(MOST_STORAGE)
            }),
        }
    }
}

fn three_quarters(bytes: u64) -> u64 {
    bytes / 4 * 3
}

fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

/// Free bytes on the disk of the nearest existing directory above.
fn free_space(dir: &Path) -> u64 {
    let stat = dir
        .ancestors()
        .find_map(|dir| rustix::fs::statvfs(dir).ok());
    stat.map_or(MOST_STORAGE, |stat| {
        stat.f_bavail.saturating_mul(stat.f_frsize)
    })
}
