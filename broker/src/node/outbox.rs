//! The JetStream core's way out: routes what it sends, keeps its listeners in the routing tables, runs its jobs.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use serde_json::json;

use super::inbox::{Inbox, Mail};
use super::peers::Voice;
use super::random::Random;
use crate::jetstream::io::{AccountId, Job, Lane, Level, NodeId, Outbox, Outgoing, Tag};
use crate::log::Logger;
use crate::server::{Deliverer, RouterHandle};

/// See the module. Belongs to the JetStream thread.
#[derive(Debug)]
pub(super) struct ShardOutbox {
    router: RouterHandle,
    deliverer: Deliverer,
    inbox: Arc<Inbox>,
    /// Background jobs run on its blocking threads.
    runtime: tokio::runtime::Handle,
    /// Every job holds one while it runs: who has the other end sees the last of them end.
    running: Sender<()>,
    random: Random,
    logger: Logger,
    voice: Voice,
}

impl ShardOutbox {
    pub(super) fn new(
        router: RouterHandle,
        inbox: Arc<Inbox>,
        runtime: tokio::runtime::Handle,
        running: Sender<()>,
        voice: Voice,
    ) -> Self {
        let logger = router.shared().logger.clone();
        let deliverer = router.deliverer();
        Self {
            router,
            deliverer,
            inbox,
            runtime,
            running,
            random: Random::new(),
            logger,
            voice,
        }
    }

    /// Sends everything that was gathered.
    pub(super) fn flush(&mut self) {
        // The answer to a request may travel among the core's own frames: what it says can be asked for is there by then.
        self.deliverer.tell();
        self.voice.flush();
        self.deliverer.flush();
    }

    /// How a watch stands, `None` if it has ended.
    pub(super) fn watched(&self, account: AccountId, tag: Tag) -> Option<bool> {
        self.router.watched(account, tag)
    }
}

impl Outbox for ShardOutbox {
    fn publish(&mut self, message: Outgoing<'_>) -> bool {
        let Outgoing {
            account,
            route,
            subject,
            reply,
            headers,
            payload,
        } = message;
        self.deliverer
            .publish(account, route, (subject, reply), (headers, payload))
    }

    fn has_interest(&mut self, account: AccountId, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.router.has_interest(account, subject, queue)
    }

    fn has_any_interest(&mut self, account: AccountId, subject: &[u8]) -> bool {
        self.router.has_any_interest(account, subject)
    }

    fn listen(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.deliverer.listen(account, pattern, tag);
    }

    fn unlisten(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.deliverer.unlisten(account, pattern, tag);
    }

    fn watch(
        &mut self,
        account: AccountId,
        subject: &[u8],
        queue: Option<&[u8]>,
        tag: Tag,
    ) -> bool {
        self.router.watch(account, subject, queue, tag)
    }

    fn unwatch(&mut self, account: AccountId, tag: Tag) {
        self.router.unwatch(account, tag);
    }

    fn run(&mut self, job: Job) {
        let inbox = Arc::clone(&self.inbox);
        let running = self.running.clone();
        self.runtime.spawn_blocking(move || {
            // A job that dies leaves files in a state that nobody knows.
            let done = std::panic::catch_unwind(AssertUnwindSafe(|| job.run()));
            inbox.post(match done {
                Ok(done) => Mail::Job(done),
                Err(_) => Mail::StoreFailed("a background job died".to_owned()),
            });
            drop(running);
        });
    }

    fn client_info(&mut self, client: u64) -> Option<String> {
        let shared = self.router.shared();
        let connection = shared.connection(client)?;
        let details = connection.client();
        let mut info = json!({
            "start": super::report::rfc3339(connection.started),
            "host": connection.address.ip().to_string(),
            "id": client,
            "acc": details.account,
            "lang": details.lang,
            "ver": details.version,
            "rtt": connection.rtt(),
            "server": shared.identity.name,
            "kind": "Client",
            "client_type": "nats",
        });
        if let Some(fields) = info.as_object_mut() {
            for (key, value) in [("name", &details.name), ("user", &details.user)] {
                if !value.is_empty() {
                    fields.insert(key.to_owned(), json!(value));
                }
            }
        }
        Some(info.to_string())
    }

    fn account_name(&mut self, account: AccountId) -> Option<String> {
        let account = self.router.shared().accounts.get(account)?;
        Some(account.name.to_string())
    }

    fn random(&mut self) -> u64 {
        self.random.next()
    }

    fn send(&mut self, to: NodeId, lane: Lane, frame: &[u8]) {
        self.voice.say(to, lane, frame);
    }

    fn log(&mut self, level: Level, text: &str) {
        match level {
            Level::Debug => self.logger.debug(format_args!("{text}")),
            Level::Info => self.logger.info(format_args!("{text}")),
            Level::Warn => self.logger.warn(format_args!("{text}")),
            Level::Error => self.logger.error(format_args!("{text}")),
        }
    }
}
