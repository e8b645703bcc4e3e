//! The JetStream thread: takes the mailbox, runs the core over it, sends what the core has to say.
//!
//! One pass: take all mail; every message, durability report and watch becomes an event; then `BatchEnd` (the core
//! hands its journal batch to the disk thread and delivers); then one flush per touched connection. Between two passes
//! guests may use the core, see [`Desk`].

use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;

use jetwake_storage::{Disk, Encryption, FaultDisk, KeyError, Opened, Report, Store, StoreError};
use tokio::sync::oneshot;
use zeroize::Zeroize as _;

use super::desk::Desk;
use super::inbox::{Inbox, Mail};
use super::outbox::ShardOutbox;
use super::peers::Voice;
use super::{StartError, disk};
use crate::clock::Clock;
use crate::jetstream::io::{Event, NodeId, Timestamp};
use crate::jetstream::{JetStream, JetStreamStore, Settings};
use crate::log::Logger;
use crate::mesh::Peers;
use crate::options::JetStreamOptions;
use crate::server::RouterHandle;

/// What the thread is made of.
pub(super) struct Parts {
    pub(super) router: RouterHandle,
    pub(super) inbox: Arc<Inbox>,
    pub(super) clock: Clock,
    pub(super) settings: Settings,
    pub(super) options: JetStreamOptions,
    pub(super) journal_file_max: Option<u32>,
    pub(super) disk: Arc<dyn Disk>,
    /// Set when there is a mesh.
    pub(super) peers: Arc<OnceLock<Peers>>,
}

/// The running thread. Dropping it stops and joins it.
#[derive(Debug)]
pub(super) struct Shard {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Shard {
    /// Opens the store on the new thread and completes when the first request would be answered. Tells the node's number
    /// in its cluster as well.
    pub(super) async fn start(parts: Parts) -> Result<(Self, NodeId), StartError> {
        let inbox = Arc::clone(&parts.inbox);
        let runtime = tokio::runtime::Handle::current();
        let (ready, started) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("jetwake-shard".to_owned())
            .spawn(move || run(parts, runtime, ready))
            .map_err(StartError::Thread)?;
        let shard = Self {
            inbox,
            thread: Some(thread),
        };
        match started.await {
            Ok(Ok(node)) => Ok((shard, node)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::Died),
        }
    }

    /// Puts mail into the thread's mailbox.
    pub(super) fn post(&self, mail: Mail) {
        self.inbox.post(mail);
    }

    /// Others should lead what this node leads.
    pub(super) fn leave(&self) {
        self.inbox.post(Mail::LameDuck);
    }

    /// Ends the thread: waiting pull requests are answered, what was accepted becomes durable.
    pub(super) fn stop(&mut self) {
        self.inbox.post(Mail::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread.
fn run(
    parts: Parts,
    runtime: tokio::runtime::Handle,
    ready: oneshot::Sender<Result<NodeId, StartError>>,
) {
    let Parts {
        router,
        inbox,
        clock,
        settings,
        options,
        journal_file_max,
        disk,
        peers,
    } = parts;
    let logger = &router.shared().logger;
    let (opened, locked) = match open(disk, &options, journal_file_max, logger) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    let (mut opened, writer) = JetStreamStore::split(opened);
    let disk_thread = match disk::spawn(writer, options.sync, Arc::clone(&inbox)) {
        Ok(thread) => thread,
        Err(error) => {
            opened.store.stop();
            let _ = ready.send(Err(StartError::Thread(error)));
            return;
        }
    };
    let (running, jobs) = mpsc::channel();
    let mut out = ShardOutbox::new(
        router,
        Arc::clone(&inbox),
        runtime,
        running,
        Voice::new(peers),
    );
    let mut jetstream = JetStream::new(settings, opened, clock.now(), &mut out);
    if let Some(error) = locked {
        let reason = format!("{error}; its files are left as they are");
        jetstream.handle(clock.now(), Event::StoreFailed(&reason), &mut out);
    }
    out.flush();
    let moved = Arc::clone(&inbox);
    clock.on_move(move || moved.settle());
    // If nobody waits for the start any more, the mailbox holds a stop already.
    let _ = ready.send(Ok(jetstream.node()));
    {
        // However the service ends: mail to a thread that is gone must not pile up.
        let _closing = Closing(&inbox);
        serve(Box::new(Desk::new(jetstream, out, clock)), &inbox);
    }
    // It ends once everything handed over is written.
    let _ = disk_thread.join();
    // Nothing is ever sent: this returns when no job touches the directory any more.
    let _ = jobs.recv();
}

/// Opens the store. One whose key is missing or wrong is left alone, and JetStream does without it
/// as after a failure; the second value says so.
fn open(
    disk: Arc<dyn Disk>,
    options: &JetStreamOptions,
    journal_file_max: Option<u32>,
    logger: &Logger,
) -> Result<(Opened, Option<KeyError>), StartError> {
    let mut store = jetwake_storage::Options::new(super::random::number());
    if let Some(max) = journal_file_max {
        store.journal_max = max;
    }
    if let Some(encryption) = &options.encryption {
        let mut entropy = super::random::secret().ok_or(StartError::Randomness)?;
        let previous = encryption.previous.as_ref().map(String::as_bytes);
        let key = encryption.key.as_bytes();
        store.encryption = Some(Encryption::new(encryption.cipher, key, previous, &entropy));
        entropy.zeroize();
    }
    let dir = options.data_dir();
    match Store::open(disk, &dir, store) {
        Ok(opened) => {
            tell(&opened.report, logger);
            Ok((opened, None))
        }
        Err(StoreError::Key(error)) => {
            logger.warn(format_args!(
                "  Error decrypting our stream metafile: {error}"
            ));
            let nothing = Arc::new(FaultDisk::new());
            let store = jetwake_storage::Options::new(0);
            let opened = Store::open(nothing, &dir, store).map_err(StartError::Store)?;
            Ok((opened, Some(error)))
        }
        Err(error) => Err(StartError::Store(error)),
    }
}

/// Closes the mailbox at its end.
struct Closing<'a>(&'a Inbox);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Logs what opening found wrong, by file and place; the core says which messages of which stream that cost.
fn tell(report: &Report, logger: &Logger) {
    for line in &report.lines {
        logger.warn(format_args!("JetStream storage: {line}"));
    }
}

/// Passes over the mailbox until the end.
fn serve(mut desk: Box<Desk>, inbox: &Inbox) {
    let mut mail = Vec::new();
    let mut waiting = Vec::new();
    let mut stopping = false;
    while !(stopping && desk.jetstream.is_settled()) {
        // Those who wait are told by a pass; guests make none.
        let lent = !stopping && waiting.is_empty();
        let Some(back) = inbox.take(desk, lent, &mut mail) else {
            return;
        };
        desk = back;
        let now = desk.clock.now();
        for letter in mail.drain(..) {
            match letter {
                Mail::Settle(sender) => waiting.push(sender),
                // Busy publishers would keep the journal from ever settling; nothing was promised to them.
                Mail::Batch(_) if stopping => {}
                Mail::Stop => {
                    stopping = true;
                    desk.jetstream.handle(now, Event::Shutdown, &mut desk.out);
                }
                Mail::Batch(batch) => {
                    desk.read_batch(&batch, now);
                    inbox.recycle(batch);
                }
                other => read(other, now, &mut desk.jetstream, &mut desk.out),
            }
        }
        if desk.is_due(now) {
            desk.jetstream.handle(now, Event::Tick, &mut desk.out);
        }
        desk.end_pass(now);
        if !waiting.is_empty() && desk.jetstream.is_settled() && !desk.is_due(desk.clock.now()) {
            // A sender whose receiver is gone does not wait any more.
            waiting
                .drain(..)
                .for_each(|sender| sender.send(()).unwrap_or_default());
        }
    }
    desk.jetstream.stop();
}

/// One letter to the core.
fn read(letter: Mail, now: Timestamp, jetstream: &mut JetStream, out: &mut ShardOutbox) {
    match letter {
        Mail::Durable(lsn) => jetstream.handle(now, Event::Durable(lsn), out),
        Mail::Watch { account, tag } => {
            if let Some(present) = out.watched(account, tag) {
                jetstream.handle(now, Event::Interest { tag, present }, out);
            }
        }
        Mail::PeerUp(peer) => jetstream.handle(now, Event::PeerUp(&peer), out),
        Mail::PeerDown(node) => jetstream.handle(now, Event::PeerDown(node), out),
        Mail::Frames { from, frames } => {
            for frame in &frames {
                jetstream.handle(now, Event::Peer { from, frame }, out);
            }
        }
        Mail::LameDuck => jetstream.handle(now, Event::LameDuck, out),
        Mail::Job(done) => jetstream.handle(now, Event::Job(done), out),
        Mail::StoreFailed(reason) => jetstream.handle(now, Event::StoreFailed(&reason), out),
        Mail::Look(look) => look(jetstream, now, out),
        Mail::Batch(_) | Mail::Settle(_) | Mail::Stop => {}
    }
}
