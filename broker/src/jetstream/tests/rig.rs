//! What the tests drive the core with.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jetwake_protocol::subject;
use jetwake_storage::{FaultDisk, JournalWriter, Options, Store};

use crate::jetstream::io::{
    AccountId, Event, Inbound, Job, Lane, Level, NodeId, Outbox, Outgoing, Tag, Timestamp,
};
use crate::jetstream::{JetStream, JetStreamStore, Settings};

/// 2026-01-01.
pub(super) const START: Timestamp = 1_767_225_600_000_000_000;
pub(super) const SECOND: i64 = 1_000_000_000;

/// One message that left the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) route: String,
    pub(super) reply: String,
    pub(super) subject: String,
    pub(super) headers: String,
    pub(super) payload: String,
}

/// An outbox that remembers.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) sent: Vec<Sent>,
    pub(super) listeners: BTreeSet<(Vec<u8>, Tag)>,
    pub(super) subscriptions: Vec<Vec<u8>>,
    pub(super) watches: Vec<(Vec<u8>, Tag)>,
    pub(super) jobs: Vec<Job>,
    pub(super) lines: Vec<String>,
    /// What is to go to other nodes.
    pub(super) frames: Vec<(NodeId, Vec<u8>)>,
    pub(super) random: u64,
}

impl Outbox for Recorder {
    fn publish(&mut self, message: Outgoing<'_>) -> bool {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.sent.push(Sent {
            route: text(message.route),
            reply: text(message.reply),
            subject: text(message.subject),
            headers: text(message.headers),
            payload: text(message.payload),
        });
        true
    }

    fn has_interest(&mut self, _: AccountId, literal: &[u8], _: Option<&[u8]>) -> bool {
        literal.starts_with(b"_INBOX")
            || self
                .subscriptions
                .iter()
                .any(|pattern| subject::matches(pattern, literal))
    }

    fn has_any_interest(&mut self, account: AccountId, literal: &[u8]) -> bool {
        self.has_interest(account, literal, None)
    }

    fn listen(&mut self, _: AccountId, pattern: &[u8], tag: Tag) {
        assert!(
            self.listeners.insert((pattern.to_vec(), tag)),
            "listens twice"
        );
    }

    fn unlisten(&mut self, _: AccountId, pattern: &[u8], tag: Tag) {
        assert!(
            self.listeners.remove(&(pattern.to_vec(), tag)),
            "did not listen"
        );
    }

    fn watch(&mut self, _: AccountId, subject: &[u8], _: Option<&[u8]>, tag: Tag) -> bool {
        self.watches.push((subject.to_vec(), tag));
        false
    }

    fn unwatch(&mut self, _: AccountId, tag: Tag) {
        self.watches.retain(|(_, other)| *other != tag);
    }

    fn run(&mut self, job: Job) {
        self.jobs.push(job);
    }

    fn client_info(&mut self, client: u64) -> Option<String> {
        Some(format!(r#"{{"acc":"$G","id":{client}}}"#))
    }

    fn account_name(&mut self, _: AccountId) -> Option<String> {
        Some("$G".into())
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.random
    }

    fn send(&mut self, to: NodeId, _: Lane, frame: &[u8]) {
        self.frames.push((to, frame.to_vec()));
    }

    fn log(&mut self, _: Level, text: &str) {
        self.lines.push(text.to_owned());
    }
}

/// A core with everything around it.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) core: JetStream,
    pub(super) out: Recorder,
    pub(super) now: Timestamp,
    pub(super) disk: FaultDisk,
    pub(super) writer: JournalWriter,
    pub(super) settings: Settings,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Settings {
            server_name: "srv".to_owned(),
            ..Settings::default()
        })
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::open(FaultDisk::new(), settings, START)
    }

    pub(super) fn open(disk: FaultDisk, settings: Settings, now: Timestamp) -> Self {
        Self::open_with(disk, settings, now, 0)
    }

    /// The same, with randomness of its own.
    pub(super) fn open_with(
        disk: FaultDisk,
        settings: Settings,
        now: Timestamp,
        random: u64,
    ) -> Self {
        let mut options = Options::new(7);
        // Small files, so that a test comes to the end of several.
        (options.journal_first, options.journal_max) = (16 << 10, 32 << 10);
        options.pack_least = 0;
        let opened = Store::open(Arc::new(disk.clone()), Path::new("/js"), options);
        let (opened, writer) = JetStreamStore::split(opened.unwrap());
        let mut out = Recorder {
            random,
            ..Recorder::default()
        };
        let core = JetStream::new(settings.clone(), opened, now, &mut out);
        Self {
            core,
            out,
            now,
            disk,
            writer,
            settings,
        }
    }

    /// Power is lost; what comes back is what the disk kept.
    pub(super) fn crash(self, seed: u64) -> Self {
        let (disk, settings, now) = (self.disk.crash(seed), self.settings.clone(), self.now);
        drop(self);
        Self::open(disk, settings, now)
    }

    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.core.handle(self.now, event, &mut self.out);
    }

    /// Publishes to every listener that matches; whether there was one.
    pub(super) fn send(&mut self, to: &str, reply: &str, headers: &str, payload: &str) -> bool {
        let matching = |(pattern, _): &&(Vec<u8>, Tag)| subject::matches(pattern, to.as_bytes());
        let tags: Vec<Tag> = self
            .out
            .listeners
            .iter()
            .filter(matching)
            .map(|(_, tag)| *tag)
            .collect();
        for tag in &tags {
            self.handle(Event::Message(Inbound {
                tag: *tag,
                account: 0,
                subject: to.as_bytes(),
                reply: reply.as_bytes(),
                headers: headers.as_bytes(),
                payload: payload.as_bytes(),
                client: 9,
            }));
        }
        !tags.is_empty()
    }

    /// Ends the batch and makes everything durable.
    pub(super) fn settle(&mut self) {
        for _ in 0..3 {
            self.handle(Event::BatchEnd);
            if self.writer.write().unwrap().is_some() {
                let durable = self.writer.sync().unwrap();
                self.handle(Event::Durable(durable));
            }
            for job in std::mem::take(&mut self.out.jobs) {
                self.handle(Event::Job(job.run()));
            }
        }
    }

    /// Ends the batch and makes it durable; what that leads to is not written any more.
    pub(super) fn commit(&mut self) {
        self.handle(Event::BatchEnd);
        if self.writer.write().unwrap().is_some() {
            let durable = self.writer.sync().unwrap();
            self.handle(Event::Durable(durable));
        }
    }

    /// Writes what was handed over, without making it durable.
    pub(super) fn write(&mut self) {
        self.writer.write().unwrap();
    }

    /// Passes time and lets deadlines fire.
    pub(super) fn pass(&mut self, time: i64) {
        let end = self.now + time;
        while let Some(deadline) = self.core.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.handle(Event::Tick);
            self.settle();
        }
        self.now = end;
    }

    /// What was sent since the last time.
    pub(super) fn take(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.out.sent)
    }

    /// A request's only answer.
    pub(super) fn ask(&mut self, subject: &str, headers: &str, payload: &str) -> Sent {
        self.out.sent.clear();
        assert!(
            self.send(subject, "_INBOX.1", headers, payload),
            "nobody listens to {subject}"
        );
        self.settle();
        let answers: Vec<Sent> = self
            .take()
            .into_iter()
            .filter(|sent| sent.route == "_INBOX.1")
            .collect();
        assert_eq!(answers.len(), 1, "{subject}: {answers:?}");
        answers.into_iter().next().unwrap()
    }

    /// An API request's answer.
    pub(super) fn api(&mut self, path: &str, body: &str) -> String {
        self.ask(&format!("$JS.API.{path}"), "", body).payload
    }

    /// A publish's acknowledgement.
    pub(super) fn publish(
        &mut self,
        subject: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> String {
        self.ask(subject, &block(headers), payload).payload
    }

    /// Creates a stream that works.
    pub(super) fn stream(&mut self, config: &str) {
        let start = config.find("\"name\":\"").unwrap() + 8;
        let name = config[start..].split('"').next().unwrap();
        let answer = self.api(&format!("STREAM.CREATE.{name}"), config);
        assert!(answer.contains("\"did_create\":true"), "{answer}");
    }

    /// (messages, first, last) of a stream.
    pub(super) fn state(&mut self, name: &str) -> (u64, u64, u64) {
        let answer = self.api(&format!("STREAM.INFO.{name}"), "");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let number = |key: &str| answer["state"][key].as_u64().unwrap();
        (number("messages"), number("first_seq"), number("last_seq"))
    }
}

/// A header block.
pub(super) fn block(headers: &[(&str, &str)]) -> String {
    if headers.is_empty() {
        return String::new();
    }
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("NATS/1.0\r\n{lines}\r\n")
}

/// The text of an error PubAck.
pub(super) fn nak(code: u16, err_code: u16, text: &str, stream: &str) -> String {
    let text = text.replace('"', "\\\"");
    format!(
        r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"{text}"}},"stream":"{stream}","seq":0}}"#
    )
}
