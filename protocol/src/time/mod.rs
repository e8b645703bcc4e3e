//! Text forms of points in time and of durations. No clock: numbers are handed in.
//!
//! A point in time is an `i64` of nanoseconds since 1970; a duration an `i64` of nanoseconds.

pub(crate) mod calendar;
pub mod duration;
pub mod rfc3339;

pub use duration::{format_duration, parse_duration};
pub use rfc3339::{format_time, parse_time};
