//! What monitoring shows of JetStream.

use jetwake_protocol::jetstream::time::Time;
use serde::Serialize;
use serde_json::Value;

use crate::jetstream::core::{Core, JetStream};
use crate::jetstream::env::Env;
use crate::jetstream::io::{Outbox, Timestamp};
use crate::jetstream::stream::Stream;

/// How much a report tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Depth {
    /// Each stream.
    pub streams: bool,
    /// Each consumer of each stream.
    pub consumers: bool,
}

/// Numbers of the whole server, and its streams if asked for.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes of memory streams.
    pub memory: u64,
    /// Bytes of file streams.
    pub storage: u64,
    /// Sum of `max_bytes` of memory streams.
    pub reserved_memory: u64,
    /// Sum of `max_bytes` of file streams.
    pub reserved_storage: u64,
    /// Accounts that have JetStream.
    pub accounts: usize,
    /// API calls.
    pub api_total: u64,
    /// API calls that were answered with an error.
    pub api_errors: u64,
    /// Number of streams.
    pub streams: usize,
    /// Number of consumers.
    pub consumers: usize,
    /// Stored messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the store has failed: nothing can be written any more.
    pub failed: bool,
    /// Each stream.
    pub details: Vec<StreamReport>,
}

/// One stream.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Value,
    /// Its configuration.
    pub config: Value,
    /// Its state.
    pub state: Value,
    /// The consumers' infos.
    pub consumers: Vec<Value>,
}

impl JetStream {
    /// What monitoring shows.
    pub fn report(&mut self, depth: Depth, now: Timestamp, out: &mut dyn Outbox) -> Report {
        self.core_mut().report(depth, now, out)
    }
}

impl Core {
    fn report(&mut self, depth: Depth, now: Timestamp, out: &mut dyn Outbox) -> Report {
        let mut report = Report {
            failed: self.log.failed,
            ..Report::default()
        };
        for account in self.accounts() {
            report.accounts += 1;
            report.memory += account.memory;
            report.storage += account.storage;
            report.reserved_memory += account.reserved_memory;
            report.reserved_storage += account.reserved_storage;
            report.api_total += account.api_total;
            report.api_errors += account.api_errors;
        }
        for id in self.streams.ids() {
            self.with_stream(id, now, out, |stream, env| {
                add(stream, depth, env, &mut report)
            });
        }
        report.details.sort_by(|a, b| a.name.cmp(&b.name));
        report
    }
}

fn add(stream: &mut Stream, depth: Depth, env: &mut Env<'_>, report: &mut Report) {
    let state = stream.state();
    report.streams += 1;
    report.consumers += stream.consumers.visible();
    report.messages += state.messages;
    report.bytes += state.bytes;
    if !depth.streams {
        return;
    }
    let mut consumers = Vec::new();
    if depth.consumers {
        for id in stream.consumers.ids() {
            consumers.extend(stream.consumer_info(id, env).map(|info| json(&info)));
        }
    }
    report.details.push(StreamReport {
        name: stream.config.name.clone(),
        created: json(&Time::from_nanos(stream.created)),
        config: json(&stream.config),
        state: json(&state),
        consumers,
    });
}

fn json(value: &impl Serialize) -> Value {
    // Types of the API always have a JSON form.
    serde_json::to_value(value).unwrap_or_default()
}
