//! A consumer that remembers which acknowledgements the server confirmed.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use jetwake_tests::jetstream::{api, number, stream_sequence};
use jetwake_tests::wire::Client;

const BATCH: usize = 100;
const INBOX: &str = "_INBOX.acker";
const CONSUMER: &str = "watcher";

/// One durable pull consumer, worked on with double acks; lives through all rounds.
#[derive(Debug)]
pub(crate) struct Acker {
    stream: String,
    /// Stream sequences whose ack the server confirmed.
    confirmed: HashSet<u64>,
}

impl Acker {
    pub(crate) fn new(stream: &str) -> Self {
        Acker {
            stream: stream.to_owned(),
            confirmed: HashSet::new(),
        }
    }

    /// Creates the consumer; a short ack wait brings forgotten acks to light soon.
    pub(crate) fn create(&self, client: &mut Client) -> io::Result<()> {
        let stream = &self.stream;
        let config = format!(
            "{{\"stream_name\":\"{stream}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",\
             \"ack_policy\":\"explicit\",\"deliver_policy\":\"all\",\"ack_wait\":1000000000,\
             \"max_ack_pending\":1000,\"filter_subject\":\"crash.*.*.sample\"}}}}"
        );
        api(
            client,
            &format!("CONSUMER.DURABLE.CREATE.{stream}.{CONSUMER}"),
            &config,
        )
        .map(drop)
    }

    pub(crate) fn confirmed(&self) -> usize {
        self.confirmed.len()
    }

    /// Pulls and acknowledges until the connection breaks; returns broken promises.
    pub(crate) fn run(&mut self, address: SocketAddr) -> Vec<String> {
        let mut violations = Vec::new();
        let Ok(mut client) = Client::connect(address) else {
            return violations;
        };
        client.subscribe(&format!("{INBOX}.>"), "");
        // Ends with the error of the killed server's socket.
        while self.batch(&mut client, &mut violations).is_ok() {}
        violations
    }

    /// Works until nothing is left to deliver or to acknowledge.
    pub(crate) fn finish(&mut self, address: SocketAddr) -> io::Result<Vec<String>> {
        let mut violations = Vec::new();
        let mut worker = Client::connect(address)?;
        let mut observer = Client::connect(address)?;
        worker.subscribe(&format!("{INBOX}.>"), "");
        loop {
            self.batch(&mut worker, &mut violations)?;
            let name = format!("CONSUMER.INFO.{}.{CONSUMER}", self.stream);
            let info = api(&mut observer, &name, "")?.into_bytes();
            let left = (
                number(&info, "num_pending"),
                number(&info, "num_ack_pending"),
            );
            if left == (Some(0), Some(0)) {
                return Ok(violations);
            }
        }
    }

    /// One pull request, its messages, and the confirmation of each ack.
    fn batch(&mut self, client: &mut Client, violations: &mut Vec<String>) -> io::Result<()> {
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{CONSUMER}", self.stream);
        let request = format!("{{\"batch\":{BATCH},\"expires\":1500000000}}");
        let delivery = format!("{INBOX}.next");
        client.publish(next.as_bytes(), delivery.as_bytes(), request.as_bytes());
        let mut delivered = 0;
        let mut waiting = 0;
        let mut pulling = true;
        while pulling || waiting > 0 {
            let message = client.next_message()?;
            if message.subject.starts_with(b"_INBOX.acker.ack.") {
                waiting -= 1;
                self.confirmed.extend(last_number(message.subject));
                continue;
            }
            if message.status().is_some() && message.payload.is_empty() {
                pulling = false;
                continue;
            }
            let reply = message.reply.to_vec();
            delivered += 1;
            pulling &= delivered < BATCH;
            let Some(sequence) = stream_sequence(&reply) else {
                violations.push(format!("a delivery with reply {reply:?}"));
                continue;
            };
            if self.confirmed.contains(&sequence) {
                violations.push(format!(
                    "message {sequence} delivered after its confirmed ack"
                ));
            }
            client.publish(
                &reply,
                format!("{INBOX}.ack.{sequence}").as_bytes(),
                b"+ACK",
            );
            waiting += 1;
        }
        Ok(())
    }
}

fn last_number(subject: &[u8]) -> Option<u64> {
    let token = subject.rsplit(|byte| *byte == b'.').next()?;
    std::str::from_utf8(token).ok()?.parse().ok()
}
