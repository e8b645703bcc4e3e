//! The evidence of publishing: every acknowledged message is in its stream, at its sequence.

use std::io;
use std::time::Duration;

use super::super::clock;
use super::super::ring::Ident;
use super::push::{Delivered, Reader, Start};
use super::{Evidence, Target, api};

/// Nanoseconds that a reader waits for the next message before it calls the rest missing.
pub(super) const SILENCE: u64 = 10_000_000_000;
/// Sequences that an error names.
const NAMED: usize = 5;

/// What was acknowledged.
#[derive(Debug)]
pub(super) struct Stored {
    /// The streams, which were written in turn.
    pub streams: Vec<String>,
    /// So many messages in sequence went to the same stream.
    pub together: u64,
    /// Of each client: the sequences of its messages; none is 0.
    pub acks: Vec<Vec<u64>>,
    /// Only a client's newest messages are left: of each of its so many subjects the last.
    pub newest: Option<u64>,
    /// Bytes of each payload.
    pub size: usize,
}

impl Stored {
    /// What one stream must hold: by sequence, from 0, the message or nothing. A sequence that was
    /// given to two messages is an error.
    pub(super) fn expected(&self, stream: usize) -> io::Result<Vec<Option<Ident>>> {
        let mut expected = Vec::new();
        let streams = self.streams.len() as u64;
        for (client, acks) in self.acks.iter().enumerate() {
            let oldest = self
                .newest
                .map_or(0, |newest| (acks.len() as u64).saturating_sub(newest));
            for (index, sequence) in (0..).zip(acks) {
                if index / self.together % streams != stream as u64 || index < oldest {
                    continue;
                }
                let place = *sequence as usize;
                if place >= expected.len() {
                    expected.resize(place + 1, None);
                }
                if place == 0 || expected[place].is_some() {
                    let name = &self.streams[stream];
                    return Err(io::Error::other(format!(
                        "{name}: sequence {sequence} was acknowledged to two messages"
                    )));
                }
                expected[place] = Some(Ident::new(client, index));
            }
        }
        Ok(expected)
    }

    fn acknowledged(&self) -> u64 {
        self.acks.iter().map(|acks| acks.len() as u64).sum()
    }

    fn check_stream(&self, target: &Target, stream: usize) -> io::Result<u64> {
        let name = &self.streams[stream];
        let expected = self.expected(stream)?;
        let messages = expected.iter().flatten().count() as u64;
        let last = (expected.len() as u64).saturating_sub(1);
        let found = api::stream_state(&mut target.connect()?, name)?;
        let missing = self.read_back(target, name, &expected, found.0)?;
        if !missing.is_empty() {
            return Err(io::Error::other(format!(
                "{name}: {} of {messages} acknowledged messages are missing: sequence {}",
                missing.len(),
                list(&missing)
            )));
        }
        if found != (messages, last) {
            return Err(io::Error::other(format!(
                "{name}: {messages} messages up to sequence {last} were acknowledged and can be \
                 read, its info says {} up to {}",
                found.0, found.1
            )));
        }
        Ok(messages)
    }

    /// Reads the stream, of which its info says that so many messages are there, and returns the
    /// sequences that are not.
    fn read_back(
        &self,
        target: &Target,
        name: &str,
        expected: &[Option<Ident>],
        mut left: u64,
    ) -> io::Result<Vec<u64>> {
        let mut missing: Vec<bool> = expected.iter().map(Option::is_some).collect();
        let mut reader = Reader::open(target, name, Start::All, false)?;
        let mut heard = clock::nanos();
        while left > 0 && clock::nanos() - heard < SILENCE {
            let read = reader.poll(Duration::from_secs(1), |delivered| {
                self.check_message(&delivered, expected)?;
                let place = delivered.sequence as usize;
                if std::mem::take(&mut missing[place]) {
                    left = left.saturating_sub(1);
                    return Ok(());
                }
                Err(format!("sequence {place} was delivered twice"))
            });
            let read = read.map_err(|error| io::Error::other(format!("{name}: {error}")))?;
            if read > 0 {
                heard = clock::nanos();
            }
        }
        let places = (0..).zip(missing).filter(|(_, is_missing)| *is_missing);
        Ok(places.map(|(place, _)| place).collect())
    }

    /// That a delivered message is the one that was acknowledged with its sequence.
    pub(super) fn check_message(
        &self,
        delivered: &Delivered<'_>,
        expected: &[Option<Ident>],
    ) -> Result<(), String> {
        let sequence = delivered.sequence;
        let Some(Some(ident)) = expected.get(sequence as usize) else {
            return Err(format!(
                "sequence {sequence} was delivered, but never acknowledged"
            ));
        };
        let found = Ident::of(delivered.payload);
        if delivered.payload.len() != self.size || found.is_some_and(|found| found != *ident) {
            return Err(format!(
                "sequence {sequence} holds another message: {found:?}"
            ));
        }
        Ok(())
    }
}

impl Evidence for Stored {
    fn check(&self, target: &Target) -> io::Result<String> {
        let mut read = 0;
        for stream in 0..self.streams.len() {
            read += self.check_stream(target, stream)?;
        }
        let acknowledged = self.acknowledged();
        Ok(match self.newest {
            None => format!("{acknowledged} acknowledged, all read back"),
            Some(_) => {
                format!("{acknowledged} acknowledged, the last of each key read back: {read}")
            }
        })
    }

    fn streams(&self) -> &[String] {
        &self.streams
    }
}

/// The first few of some sequences.
pub(super) fn list(sequences: &[u64]) -> String {
    let named: Vec<String> = sequences.iter().take(NAMED).map(u64::to_string).collect();
    let rest = if sequences.len() > NAMED { ", ..." } else { "" };
    named.join(", ") + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(acks: Vec<Vec<u64>>, newest: Option<u64>) -> Stored {
        Stored {
            streams: vec!["A".to_owned(), "B".to_owned()],
            together: 1,
            acks,
            newest,
            size: 128,
        }
    }

    #[test]
    fn messages_go_to_the_streams_in_turn() {
        let stored = stored(vec![vec![1, 1, 3, 2], vec![2, 3]], None);
        let first = stored.expected(0).unwrap();
        assert_eq!(
            first,
            [
                None,
                Some(Ident::new(0, 0)),
                Some(Ident::new(1, 0)),
                Some(Ident::new(0, 2))
            ]
        );
        assert_eq!(stored.expected(1).unwrap().len(), 4);
    }

    #[test]
    fn a_sequence_belongs_to_one_message() {
        let error = stored(vec![vec![1], vec![1]], None)
            .expected(0)
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("sequence 1 was acknowledged to two")
        );
    }

    #[test]
    fn overwritten_keys_are_not_expected() {
        let mut stored = stored(vec![vec![1, 2, 3, 4, 5]], Some(2));
        stored.streams.truncate(1);
        let expected = stored.expected(0).unwrap();
        assert_eq!(expected.iter().flatten().count(), 2);
        assert_eq!(expected[5], Some(Ident::new(0, 4)));
    }
}
