//! Time as one number: nanoseconds since the program's first look at the clock, cheap to store in a
//! message and to subtract.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the first call.
#[inline]
pub(super) fn nanos() -> u64 {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let origin = *ORIGIN.get_or_init(Instant::now);
    as_nanos(origin.elapsed())
}

/// A duration as the number of its nanoseconds.
pub(super) fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
