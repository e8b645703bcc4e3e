//! Deletes and purges, remembered as asked for or confirmed.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::choices::Choices;
use crate::jetstream::{api, number};
use crate::wire::Client;

use super::findings::Kind;
use super::ledger::Claim;
use super::read::Holding;
use super::worker::Worker;

const PAUSE: Duration = Duration::from_millis(2);

/// What was removed on purpose from a stream.
#[derive(Debug, Default)]
pub(super) struct Removed<'a> {
    pub(super) worker: Option<&'a Worker>,
    pub(super) remover: Option<&'a Remover>,
}

impl Removed<'_> {
    /// Whether somebody asked to remove what is at a sequence.
    pub(super) fn perhaps(&self, sequence: u64) -> bool {
        self.worker.is_some_and(|worker| worker.sent(sequence))
            || self.remover.is_some_and(|remover| {
                sequence < remover.purge_asked || remover.deleted.contains_key(&sequence)
            })
    }

    /// The broken promise when this message is there, if it is one.
    pub(super) fn confirmed(&self, sequence: u64, claim: Claim) -> Option<Kind> {
        if self
            .worker
            .is_some_and(|worker| worker.is_confirmed(sequence, claim))
        {
            return Some(Kind::AckForgotten);
        }
        let gone = self.remover.is_some_and(|remover| {
            sequence < remover.purged || remover.deleted.get(&sequence) == Some(&true)
        });
        gone.then_some(Kind::RemovalForgotten)
    }
}

/// Somebody who deletes and purges; lives through all rounds.
#[derive(Debug)]
pub(super) struct Remover {
    stream: &'static str,
    choices: Choices,
    /// Whether the delete of a sequence was confirmed.
    deleted: HashMap<u64, bool>,
    purge_asked: u64,
    /// Confirmed: nothing below this is left.
    purged: u64,
}

impl Remover {
    pub(super) fn new(stream: &'static str, seed: u64) -> Self {
        Remover {
            stream,
            choices: Choices::new(seed),
            deleted: HashMap::new(),
            purge_asked: 0,
            purged: 0,
        }
    }

    /// Removes until the connection breaks.
    pub(super) fn run(&mut self, address: SocketAddr) {
        if let Ok(mut client) = Client::connect(address) {
            while self.step(&mut client).is_ok() {
                // The load runs against the wall clock.
                #[allow(clippy::disallowed_methods)]
                thread::sleep(PAUSE);
            }
        }
    }

    /// After a purge of everything that was not confirmed, the stream itself says what it took.
    pub(super) fn learn(&mut self, holding: &Holding) {
        if self.purge_asked == u64::MAX {
            self.purge_asked = holding.first;
        }
    }

    fn step(&mut self, client: &mut Client) -> io::Result<()> {
        let name = self.stream;
        let info = api(client, &format!("STREAM.INFO.{name}"), "")?;
        let state = info
            .split_once("\"state\":")
            .map_or("", |(_, state)| state)
            .as_bytes();
        let first = number(state, "first_seq").unwrap_or_default();
        let last = number(state, "last_seq").unwrap_or_default();
        let chosen = first
            + self
                .choices
                .below((last + 1).saturating_sub(first) as usize) as u64;
        match self.choices.below(40) {
            0 => self.purge_everything(client),
            1..=4 => {
                // A purge below 0 is a purge of everything.
                let below = (first + (chosen - first) / 2).max(1);
                self.purge_asked = self.purge_asked.max(below);
                let body = format!("{{\"seq\":{below}}}");
                api(client, &format!("STREAM.PURGE.{name}"), &body)?;
                self.purged = self.purged.max(below);
                Ok(())
            }
            choice => {
                if self.deleted.contains_key(&chosen) || chosen == 0 {
                    return Ok(());
                }
                self.deleted.insert(chosen, false);
                let keep_bytes = choice % 2 == 0;
                let body = format!("{{\"seq\":{chosen},\"no_erase\":{keep_bytes}}}");
                match api(client, &format!("STREAM.MSG.DELETE.{name}"), &body) {
                    Ok(_) => self.deleted.insert(chosen, true),
                    // There was nothing at that sequence.
                    Err(error) if error.to_string().contains("\"error\"") => None,
                    Err(error) => return Err(error),
                };
                Ok(())
            }
        }
    }

    fn purge_everything(&mut self, client: &mut Client) -> io::Result<()> {
        let name = self.stream;
        self.purge_asked = u64::MAX;
        api(client, &format!("STREAM.PURGE.{name}"), "")?;
        let info = api(client, &format!("STREAM.INFO.{name}"), "")?;
        let first = number(info.as_bytes(), "first_seq").unwrap_or_default();
        self.purge_asked = first;
        self.purged = self.purged.max(first);
        Ok(())
    }
}
