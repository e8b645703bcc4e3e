//! A publisher that remembers exactly what the server promised.
//!
//! Contents follow from the writer's number and the message's, so nothing has to be kept to
//! recognise or repeat a message. After a crash a writer with message ids repeats what was not
//! acknowledged, in order: a stream that keeps its promises then holds every message once.

use std::io;
use std::net::SocketAddr;

use crate::jetstream::number;
use crate::wire::Client;

use super::contents::contents;
use super::findings::{Findings, Kind};
use super::ledger::Sent;
use super::plan::Plan;

/// One publisher; lives through all rounds.
#[derive(Debug)]
pub(super) struct Writer {
    plan: Plan,
    id: usize,
    /// What was sent, by message number.
    pub(super) sent: Vec<Sent>,
    /// All messages below this number are acknowledged or given up.
    settled: usize,
    next: usize,
    in_flight: usize,
}

impl Writer {
    pub(super) fn new(plan: Plan, id: usize) -> Self {
        Writer {
            plan,
            id,
            sent: Vec::new(),
            settled: 0,
            next: 0,
            in_flight: 0,
        }
    }

    pub(super) fn id(&self) -> usize {
        self.id
    }

    /// How many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.sent.iter().filter(|sent| sent.acked).count()
    }

    /// Publishes until the connection breaks, which is how every round ends.
    pub(super) fn run(&mut self, address: SocketAddr) -> Findings {
        let mut findings = Findings::default();
        if let Ok(mut client) = self.connect(address) {
            while self.step(&mut client, &mut findings).is_ok() {}
        }
        findings
    }

    /// Repeats what is unacknowledged until everything sent is acknowledged.
    pub(super) fn settle(&mut self, address: SocketAddr) -> io::Result<Findings> {
        let mut findings = Findings::default();
        let mut client = self.connect(address)?;
        while self.settled < self.sent.len() {
            self.send(&mut client, self.settled);
            let wanted = self.settled;
            while self.settled == wanted {
                if !self.take_ack(&mut client, true, &mut findings)? {
                    return Ok(findings);
                }
            }
        }
        Ok(findings)
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.subscribe(&format!("{}.*", self.inbox()), "");
        if !self.plan.ids {
            // Without ids nothing can be repeated.
            self.settled = self.sent.len();
        }
        self.next = self.settled;
        self.in_flight = 0;
        Ok(client)
    }

    fn step(&mut self, client: &mut Client, findings: &mut Findings) -> io::Result<()> {
        while self.in_flight < self.plan.window {
            self.send(client, self.next);
            self.next += 1;
            self.in_flight += 1;
        }
        self.take_ack(client, true, findings)?;
        self.in_flight -= 1;
        while self.take_ack(client, false, findings)? {
            self.in_flight -= 1;
        }
        Ok(())
    }

    fn send(&mut self, client: &mut Client, number: usize) {
        if self.sent.len() == number {
            self.sent.push(Sent::now());
        }
        let n = number as u64;
        let subject = self.plan.subject(self.id, n);
        let reply = format!("{}.{n}", self.inbox());
        let headers = self.plan.headers(self.id, n);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let body = contents(self.id, n);
        if headers.is_empty() {
            client.publish(subject.as_bytes(), reply.as_bytes(), &body);
        } else {
            client.publish_with_headers(&subject, &reply, &headers, &body);
        }
    }

    fn take_ack(
        &mut self,
        client: &mut Client,
        wait: bool,
        findings: &mut Findings,
    ) -> io::Result<bool> {
        let message = if wait {
            Some(client.next_message()?)
        } else {
            client.buffered_message()?
        };
        let Some(message) = message else {
            return Ok(false);
        };
        let id = self.id;
        let token = message.subject.rsplit(|byte| *byte == b'.').next();
        let n = token.and_then(|token| std::str::from_utf8(token).ok()?.parse::<usize>().ok());
        let sequence = number(message.payload, "seq").filter(|sequence| *sequence > 0);
        let (Some(n), Some(sequence)) = (n.filter(|n| *n < self.sent.len()), sequence) else {
            let headers = String::from_utf8_lossy(message.headers);
            let answer = String::from_utf8_lossy(message.payload);
            let text = format!("{} of writer {id}: {headers:?} {answer}", self.plan.name);
            findings.note(Kind::Refused, || text);
            return Ok(true);
        };
        let sent = &mut self.sent[n];
        if sent.sequence != 0 && sent.sequence != sequence {
            let text = format!(
                "{}: ({id}, {n}) was at {}, is acknowledged at {sequence}",
                self.plan.name, sent.sequence
            );
            findings.note(Kind::Doubled, || text);
        }
        sent.sequence = sequence;
        sent.acked = true;
        while self.sent.get(self.settled).is_some_and(|sent| sent.acked) {
            self.settled += 1;
        }
        Ok(true)
    }

    fn inbox(&self) -> String {
        format!("_INBOX.writer{}", self.id)
    }
}
