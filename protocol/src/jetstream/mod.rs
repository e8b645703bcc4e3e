//! The JetStream API as types: requests, responses, configurations, errors and events.
//!
//! Pure data and rules on data. Field order, omitted fields, numbers and texts are what clients see
//! and may not change. Nothing here knows a clock, a store or a connection; facts such as limits
//! are handed in.

pub mod account;
pub mod advisory;
pub mod consumer;
pub mod consumer_config;
pub mod error;
pub mod json;
pub mod puback;
pub mod pull;
pub mod requests;
pub mod responses;
pub mod stream;
pub mod stream_config;
pub mod time;

pub use error::ApiError;
pub use time::Time;

/// The version of the JetStream API that this server speaks.
pub const API_LEVEL: u32 = 5;

/// The server version that configurations are stamped with in responses.
pub const SERVER_VERSION: &str = "2.15.1";

pub(crate) fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
