//! A consumer that remembers which acknowledgements the server confirmed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

use crate::jetstream::{api, number, stream_sequence};
use crate::wire::Client;

use super::contents::claim;
use super::findings::{Findings, Kind};
use super::ledger::Claim;

const BATCH: usize = 100;
const CONSUMER: &str = "worker";

/// What became of an ack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ack {
    Sent,
    Confirmed,
}

/// One durable pull consumer, worked on with double acks; lives through all rounds.
#[derive(Debug)]
pub(super) struct Worker {
    stream: &'static str,
    filter: &'static str,
    acks: HashMap<u64, (Option<Claim>, Ack)>,
    /// Where a message was when its ack was confirmed.
    done: HashMap<Claim, u64>,
}

impl Worker {
    pub(super) fn new(stream: &'static str, filter: &'static str) -> Self {
        Worker {
            stream,
            filter,
            acks: HashMap::new(),
            done: HashMap::new(),
        }
    }

    /// Creates the consumer; a short ack wait brings forgotten acks to light soon.
    pub(super) fn create(&self, client: &mut Client) -> io::Result<()> {
        let Worker { stream, filter, .. } = self;
        let config = format!(
            "{{\"stream_name\":\"{stream}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",\
             \"ack_policy\":\"explicit\",\"deliver_policy\":\"all\",\"ack_wait\":1000000000,\
             \"max_ack_pending\":1000,\"filter_subject\":\"{filter}\"}}}}"
        );
        let name = format!("CONSUMER.DURABLE.CREATE.{stream}.{CONSUMER}");
        api(client, &name, &config).map(drop)
    }

    /// Whether the consumer is there.
    pub(super) fn exists(&self, client: &mut Client) -> bool {
        api(
            client,
            &format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream),
            "",
        )
        .is_ok()
    }

    pub(super) fn confirmed(&self) -> usize {
        let acks = self.acks.values();
        acks.filter(|(_, ack)| *ack == Ack::Confirmed).count()
    }

    /// Whether the ack of what is at a sequence was sent.
    pub(super) fn sent(&self, sequence: u64) -> bool {
        self.acks.contains_key(&sequence)
    }

    /// Whether the ack of this very message was confirmed.
    pub(super) fn is_confirmed(&self, sequence: u64, claim: Claim) -> bool {
        self.acks.get(&sequence) == Some(&(Some(claim), Ack::Confirmed))
    }

    /// Pulls and acknowledges until the connection breaks.
    pub(super) fn run(&mut self, address: SocketAddr) -> Findings {
        let mut findings = Findings::default();
        if let Ok(mut client) = self.connect(address) {
            while self.batch(&mut client, &mut findings).is_ok() {}
        }
        findings
    }

    /// Works until nothing is left to deliver or to acknowledge.
    pub(super) fn finish(&mut self, address: SocketAddr) -> io::Result<Findings> {
        let mut findings = Findings::default();
        let mut client = self.connect(address)?;
        let mut observer = Client::connect(address)?;
        loop {
            self.batch(&mut client, &mut findings)?;
            let name = format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream);
            let info = api(&mut observer, &name, "")?.into_bytes();
            let left = ["num_pending", "num_ack_pending"].map(|field| number(&info, field));
            if left == [Some(0); 2] {
                return Ok(findings);
            }
        }
    }

    fn inbox(&self) -> String {
        format!("_INBOX.worker{}", self.stream)
    }

    fn connect(&self, address: SocketAddr) -> io::Result<Client> {
        let mut client = Client::connect(address)?;
        client.subscribe(&format!("{}.>", self.inbox()), "");
        Ok(client)
    }

    /// One pull request, its messages, and the confirmation of each ack.
    fn batch(&mut self, client: &mut Client, findings: &mut Findings) -> io::Result<()> {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.stream);
        let request = format!("{{\"batch\":{BATCH},\"expires\":1500000000}}");
        let inbox = self.inbox();
        let delivery = format!("{inbox}.next");
        let acks = format!("{inbox}.ack.").into_bytes();
        client.publish(next.as_bytes(), delivery.as_bytes(), request.as_bytes());
        let (mut delivered, mut waiting, mut pulling) = (0, 0, true);
        while pulling || waiting > 0 {
            let message = client.next_message()?;
            if let Some(sequence) = message.subject.strip_prefix(acks.as_slice()) {
                waiting -= 1;
                self.confirm(sequence);
                continue;
            }
            if message.status().is_some() && message.payload.is_empty() {
                pulling = false;
                continue;
            }
            delivered += 1;
            pulling &= delivered < BATCH;
            let reply = message.reply.to_vec();
            let claimed = claim(message.payload);
            let Some(sequence) = stream_sequence(&reply) else {
                findings.note(Kind::Altered, || format!("a delivery with reply {reply:?}"));
                continue;
            };
            self.delivered(sequence, claimed, findings);
            let answer = format!("{inbox}.ack.{sequence}");
            client.publish(&reply, answer.as_bytes(), b"+ACK");
            waiting += 1;
        }
        Ok(())
    }

    fn delivered(&mut self, sequence: u64, claimed: Option<Claim>, findings: &mut Findings) {
        let name = self.stream;
        if self.acks.get(&sequence) == Some(&(claimed, Ack::Confirmed)) {
            findings.note(Kind::AckForgotten, || {
                format!("{name}: {sequence} delivered after its confirmed ack")
            });
            return;
        }
        if let Some((claim, before)) = claimed.and_then(|c| Some((c, *self.done.get(&c)?)))
            && before != sequence
        {
            findings.note(Kind::Doubled, || {
                format!("{name}: {claim:?} was done at {before}, delivered at {sequence}")
            });
        }
        self.acks.insert(sequence, (claimed, Ack::Sent));
    }

    fn confirm(&mut self, sequence: &[u8]) {
        let sequence = std::str::from_utf8(sequence)
            .ok()
            .and_then(|text| text.parse().ok());
        let Some(sequence) = sequence else { return };
        if let Some((claim, ack)) = self.acks.get_mut(&sequence) {
            *ack = Ack::Confirmed;
            self.done.extend(claim.map(|claim| (claim, sequence)));
        }
    }
}
