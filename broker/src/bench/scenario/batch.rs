//! Atomic batches: all messages of a batch are stored, or none.

use std::io;
use std::ops::Range;

use serde_json::json;

use super::super::caller::{Caller, Commands, PubAcks};
use super::super::message::write_padded;
use super::super::phase::crew;
use super::super::ring::{Ident, SLOT, Spread, mark, subject};
use super::stored::Stored;
use super::{Crew, Evidence, Names, Params, Sample, Target, stream, warm_and_measure};

/// Digits of a batch's number in its id.
const ID: usize = 12;

/// The batches of one client, prepared once; their ids, subjects and payloads change in place.
struct Batches {
    bytes: Vec<u8>,
    batch_len: usize,
    slots: usize,
    messages: Vec<Places>,
    client: usize,
    spread: Spread,
}

/// Where the changing bytes of a message are, from the start of its batch.
struct Places {
    subject: Range<usize>,
    id: Range<usize>,
    payload: Range<usize>,
}

impl Batches {
    fn new(params: &Params, names: &Names, reply: &str, client: usize) -> Self {
        let mut batches = Batches {
            bytes: Vec::new(),
            batch_len: 0,
            slots: params.in_flight,
            messages: Vec::new(),
            client,
            spread: Spread::Streams {
                streams: params.streams,
                subjects: params.subjects,
                together: params.batch,
            },
        };
        for slot in 0..params.in_flight {
            for number in 1..=params.batch {
                let reply = format!("{reply}{slot:0SLOT$} ");
                let commit = number == params.batch;
                batches.add(params, names, number, if commit { &reply } else { "" });
            }
            if slot == 0 {
                batches.batch_len = batches.bytes.len();
            }
        }
        batches
    }

    /// Adds a message; the one with a reply subject commits its batch.
    fn add(&mut self, params: &Params, names: &Names, number: u64, reply: &str) {
        let id_head = format!("NATS/1.0\r\nNats-Batch-Id:b{}-", self.client);
        let mut id_tail = format!("\r\nNats-Batch-Sequence:{number}\r\n");
        if !reply.is_empty() {
            id_tail.push_str("Nats-Batch-Commit:1\r\n");
        }
        id_tail.push_str("\r\n");
        let header = id_head.len() + ID + id_tail.len();
        let subject = subject(&names.prefix(), 0, 0);
        let total = header + params.size;
        let line = format!("HPUB {subject} {reply}{header} {total}\r\n");
        let begin = self.bytes.len();
        let subject_at = begin + "HPUB ".len();
        let id_at = begin + line.len() + id_head.len();
        let payload_at = begin + line.len() + header;
        for part in [
            line.as_bytes(),
            id_head.as_bytes(),
            &[b'0'; ID],
            id_tail.as_bytes(),
        ] {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.resize(payload_at + params.size, b'x');
        self.bytes.extend_from_slice(b"\r\n");
        if self.batch_len == 0 {
            self.messages.push(Places {
                subject: subject_at..subject_at + subject.len(),
                id: id_at..id_at + ID,
                payload: payload_at..payload_at + params.size,
            });
        }
    }
}

impl Commands for Batches {
    fn slots(&self) -> usize {
        self.slots
    }

    fn messages(&self) -> u64 {
        self.messages.len() as u64
    }

    fn prepare(&mut self, slot: usize, index: u64, now: u64) {
        let begin = slot * self.batch_len;
        let batch = &mut self.bytes[begin..begin + self.batch_len];
        let first = index * self.messages.len() as u64;
        for (number, places) in (first..).zip(&self.messages) {
            self.spread
                .write(&mut batch[places.subject.clone()], number);
            write_padded(&mut batch[places.id.clone()], index);
            let ident = Ident::new(self.client, number);
            mark(&mut batch[places.payload.clone()], ident, now);
        }
    }

    fn bytes(&self, slots: Range<usize>) -> &[u8] {
        &self.bytes[slots.start * self.batch_len..slots.end * self.batch_len]
    }
}

/// Publishes batches.
pub(super) fn publish(
    params: &Params,
    target: &Target,
    names: &Names,
) -> io::Result<(Sample, Box<dyn Evidence>)> {
    let streams = stream::create(params, target, names, &json!({ "allow_atomic": true }))?;
    let connect = |number| {
        let reply = names.reply("p", number);
        let batches = Batches::new(params, names, &reply, number);
        let crew = Crew {
            number,
            size: params.clients,
        };
        Caller::connect(
            target,
            batches,
            &reply,
            crew,
            params.size,
            PubAcks::default(),
        )
    };
    let mut callers: Vec<Caller<PubAcks, Batches>> = (0..params.clients)
        .map(connect)
        .collect::<io::Result<_>>()?;
    let sample = warm_and_measure(params, target, &mut crew(&mut callers))?;
    let messages = |caller: Caller<PubAcks, Batches>| each_message(&caller.answers.0, params.batch);
    let evidence = Stored {
        streams,
        together: params.batch,
        acks: callers.into_iter().map(messages).collect(),
        newest: None,
        size: params.size,
    };
    Ok((sample, Box::new(evidence)))
}

/// The sequence of every message: the last of a batch has the acknowledged one.
fn each_message(commits: &[u64], batch: u64) -> Vec<u64> {
    let mut sequences = Vec::with_capacity(commits.len() * batch as usize);
    for last in commits {
        sequences.extend((0..batch).rev().map(|before| last.saturating_sub(before)));
    }
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_a_batch_end_with_the_acknowledged_one() {
        assert_eq!(each_message(&[3, 9], 3), [1, 2, 3, 7, 8, 9]);
    }
}
