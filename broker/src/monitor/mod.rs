//! The monitoring listener: `/varz`, `/connz`, `/subsz`, `/jsz`, `/healthz`, the lists of other servers
//! (`/routez`, `/leafz`, `/gatewayz`) and an index, as nats-server serves them.
//!
//! A shell module. What is shown comes from a [`Source`]; nothing here changes the server.

mod http;
mod query;
pub(crate) mod report;

use std::future::Future;
use std::pin::Pin;

pub(crate) use http::Monitor;
pub(crate) use query::{ConnzQuery, JszQuery, Page, State, Subs, SubszQuery};

use report::{Connz, Health, Jsz, Peers, Subsz, Varz};

/// An answer that needs the JetStream thread.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the numbers come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// General state, with the hits per path that the listener counted.
    fn varz(&self, requests: std::collections::BTreeMap<String, u64>) -> Answer<'_, Varz>;
    /// Connections.
    fn connz(&self, query: &ConnzQuery) -> Connz;
    /// Subscriptions.
    fn subsz(&self, query: &SubszQuery) -> Subsz;
    /// Connections to other servers.
    fn peers(&self) -> Peers;
    /// JetStream.
    fn jsz(&self, query: JszQuery) -> Answer<'_, Jsz>;
    /// Whether the server is well.
    fn healthz(&self) -> Answer<'_, Health>;
}
