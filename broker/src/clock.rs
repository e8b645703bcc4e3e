//! Where time comes from. The shells read a [`Clock`] and hand `now` to the cores; nobody else reads one.
//!
//! A shell module. [`Clock::manual`] is a clock that stands still until a test moves it.

// This is the one place where the machine's clock is read for the cores.
#![allow(clippy::disallowed_methods)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

/// Nanoseconds since 1970-01-01 UTC.
pub type Timestamp = i64;

/// A clock; clones show the same time.
#[derive(Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// The machine's time at the start plus what its monotonic clock has counted since: never goes back.
    System {
        start: Timestamp,
        since: Instant,
    },
    Manual(Arc<Manual>),
}

struct Manual {
    now: Mutex<Timestamp>,
    moved: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_manual() { "manual" } else { "system" };
        write!(f, "Clock({kind}, {})", self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        let start = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            source: Source::System {
                start: nanos(start),
                since: Instant::now(),
            },
        }
    }

    /// A clock that stands still at the machine's present time until [`Clock::advance`] moves it.
    pub fn manual() -> Self {
        let now = Mutex::new(Self::system().now());
        Self {
            source: Source::Manual(Arc::new(Manual {
                now,
                moved: Mutex::default(),
            })),
        }
    }

    /// Nanoseconds since 1970-01-01 UTC. Never goes back.
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System { start, since } => start.saturating_add(nanos(since.elapsed())),
            Source::Manual(manual) => *manual.now.lock(),
        }
    }

    /// Whether this is a manual clock.
    pub fn is_manual(&self) -> bool {
        matches!(self.source, Source::Manual(_))
    }

    /// Moves a manual clock forward and returns when the servers on it have done what is due by then. Does nothing
    /// to the system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(manual) = &self.source {
            *manual.now.lock() += nanos(by);
            manual.moved.lock().iter().for_each(|moved| moved());
        }
    }

    /// Calls `moved` after each move of a manual clock.
    pub(crate) fn on_move(&self, moved: impl Fn() + Send + Sync + 'static) {
        if let Source::Manual(manual) = &self.source {
            manual.moved.lock().push(Box::new(moved));
        }
    }

    /// How long to wait until `deadline`, by the machine's time; `None` if only a move of the clock can reach it.
    pub(crate) fn until(&self, deadline: Timestamp) -> Option<Duration> {
        let left = u64::try_from(deadline.saturating_sub(self.now())).unwrap_or(0);
        match self.source {
            Source::Manual(_) if left > 0 => None,
            _ => Some(Duration::from_nanos(left)),
        }
    }
}

fn nanos(duration: Duration) -> Timestamp {
    Timestamp::try_from(duration.as_nanos()).unwrap_or(Timestamp::MAX)
}
