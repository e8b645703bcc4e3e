//! Deliveries that may not leave yet: a message of a replicated consumer goes out when the entry that records the
//! delivery is committed, or a new leader would give it out again as if it never had been.

use crate::jetstream::io::{AccountId, Job, Level, Outbox, Outgoing, Tag};

/// A message that waits, with bytes of its own.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    /// The account to route in.
    pub(crate) account: AccountId,
    bytes: Vec<u8>,
    /// Ends of route, subject, reply and headers in `bytes`.
    ends: [usize; 4],
}

impl Parcel {
    fn new(message: &Outgoing<'_>) -> Self {
        let parts = [
            message.route,
            message.subject,
            message.reply,
            message.headers,
        ];
        let mut bytes = Vec::new();
        let ends = parts.map(|part| {
            bytes.extend_from_slice(part);
            bytes.len()
        });
        bytes.extend_from_slice(message.payload);
        Self {
            account: message.account,
            bytes,
            ends,
        }
    }

    /// The message.
    pub(crate) fn message(&self) -> Outgoing<'_> {
        let [route, subject, reply, headers] = self.ends;
        Outgoing {
            account: self.account,
            route: &self.bytes[..route],
            subject: &self.bytes[route..subject],
            reply: &self.bytes[subject..reply],
            headers: &self.bytes[reply..headers],
            payload: &self.bytes[headers..],
        }
    }
}

/// Keeps what a consumer sends; everything else goes through.
#[derive(Debug)]
pub(crate) struct Holding<'a> {
    /// The way out.
    pub(crate) out: &'a mut dyn Outbox,
    /// What was sent.
    pub(crate) held: Vec<Parcel>,
}

impl Outbox for Holding<'_> {
    fn publish(&mut self, message: Outgoing<'_>) -> bool {
        let taken = self.out.has_any_interest(message.account, message.route);
        if taken {
            self.held.push(Parcel::new(&message));
        }
        taken
    }

    fn has_interest(&mut self, account: AccountId, subject: &[u8], queue: Option<&[u8]>) -> bool {
        self.out.has_interest(account, subject, queue)
    }

    fn has_any_interest(&mut self, account: AccountId, subject: &[u8]) -> bool {
        self.out.has_any_interest(account, subject)
    }

    fn listen(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.out.listen(account, pattern, tag);
    }

    fn unlisten(&mut self, account: AccountId, pattern: &[u8], tag: Tag) {
        self.out.unlisten(account, pattern, tag);
    }

    fn watch(
        &mut self,
        account: AccountId,
        subject: &[u8],
        queue: Option<&[u8]>,
        tag: Tag,
    ) -> bool {
        self.out.watch(account, subject, queue, tag)
    }

    fn unwatch(&mut self, account: AccountId, tag: Tag) {
        self.out.unwatch(account, tag);
    }

    fn run(&mut self, job: Job) {
        self.out.run(job);
    }

    fn client_info(&mut self, client: u64) -> Option<String> {
        self.out.client_info(client)
    }

    fn account_name(&mut self, account: AccountId) -> Option<String> {
        self.out.account_name(account)
    }

    fn random(&mut self) -> u64 {
        self.out.random()
    }

    fn log(&mut self, level: Level, text: &str) {
        self.out.log(level, text);
    }

    fn send(&mut self, to: u64, lane: crate::jetstream::io::Lane, frame: &[u8]) {
        self.out.send(to, lane, frame);
    }
}
