//! The disk thread: writes and syncs what the JetStream thread sealed, and tells it how far the journal is durable.
//!
//! There is no timer on the way of an acknowledgement. While one sync runs the next batch gathers, so an idle
//! broker syncs at once and a busy one batches by itself.

use std::sync::Arc;
use std::time::Duration;

use jetwake_storage::{JournalWriter, Lsn, StoreError};

use super::inbox::{Inbox, Mail};
use crate::clock::Clock;
use crate::options::SyncPolicy;

/// How long the journal must be quiet to count as idle.
const QUIET: Duration = Duration::from_millis(20);

/// Tells the JetStream thread when this one dies: nothing it hands over would ever become durable.
struct Obituary<'a>(&'a Inbox);

impl Drop for Obituary<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .post(Mail::StoreFailed("the disk thread died".to_owned()));
        }
    }
}

/// Runs until the store is stopped or fails.
fn run(mut writer: JournalWriter, policy: SyncPolicy, inbox: &Inbox) {
    let _obituary = Obituary(inbox);
    let ended = match policy {
        SyncPolicy::Always => always(&mut writer, inbox),
        SyncPolicy::Lazy(every) => lazy(&mut writer, every, inbox),
    };
    if let Err(error) = ended {
        inbox.post(Mail::StoreFailed(error.to_string()));
    }
}

/// Says how far the journal is durable. Nobody waits for the disk meanwhile, or the JetStream thread does the rest.
fn report(durable: Lsn, writer: &JournalWriter, inbox: &Inbox) {
    if writer.pending() {
        inbox.post(Mail::Durable(durable));
    } else {
        inbox.durable(durable);
    }
}

/// Everything is synced before it is reported.
fn always(writer: &mut JournalWriter, inbox: &Inbox) -> Result<(), StoreError> {
    while writer.wait() {
        while writer.write()?.is_some() {
            let durable = writer.sync()?;
            report(durable, writer, inbox);
            // The note of how far the journal is durable is one more block for the next sync to write: it can wait
            // until nobody does.
            if writer.wait_for(QUIET) == Some(false) {
                writer.idle()?;
            }
        }
    }
    writer.idle()
}

/// Everything is reported when written, and synced now and then.
fn lazy(writer: &mut JournalWriter, every: Duration, inbox: &Inbox) -> Result<(), StoreError> {
    let clock = Clock::system();
    let every = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX);
    let mut dirty_until = None;
    loop {
        let waited = match dirty_until {
            None => Some(writer.wait()).filter(|waits| *waits),
            Some(deadline) => writer.wait_for(clock.until(deadline).unwrap_or_default()),
        };
        let Some(waits) = waited else { break };
        if waits && let Some(written) = writer.write()? {
            report(written.end, writer, inbox);
            dirty_until.get_or_insert(clock.now().saturating_add(every));
        }
        if dirty_until.is_some_and(|deadline| deadline <= clock.now()) {
            writer.sync()?;
            dirty_until = None;
        }
    }
    writer.sync()?;
    writer.idle()
}

/// Starts the thread.
pub(super) fn spawn(
    writer: JournalWriter,
    policy: SyncPolicy,
    inbox: Arc<Inbox>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("jetwake-disk".to_owned())
        .spawn(move || run(writer, policy, &inbox))
}
