//! What one stream's writers know, and the comparison with what the stream holds.

use std::collections::HashMap;
use std::time::Instant;

use super::contents::{claim, contents};
use super::findings::{Findings, Kind};
use super::plan::{Keep, Plan};
use super::read::{Found, Holding};
use super::remover::Removed;

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    /// Where it is stored, as an acknowledgement or a read told; 0 while unknown.
    pub(super) sequence: u64,
    pub(super) acked: bool,
    /// Reported as lost; once is enough.
    written_off: bool,
}

impl Sent {
    pub(super) fn now() -> Self {
        // The load runs against the wall clock.
        #[allow(clippy::disallowed_methods)]
        let at = Instant::now();
        Sent {
            at,
            sequence: 0,
            acked: false,
            written_off: false,
        }
    }
}

/// A message by its writer's number and its own.
pub(super) type Claim = (usize, u64);

/// What has been true of a stream.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Which message had a sequence.
    history: HashMap<u64, Claim>,
    /// Writers by number, with what they sent.
    pub(super) sent: HashMap<usize, Vec<Sent>>,
}

/// How long after its time an expired message may still be there.
const LINGER_SECONDS: u64 = 10;

/// One comparison.
struct Comparison<'a> {
    plan: &'a Plan,
    holding: &'a Holding,
    removed: &'a Removed<'a>,
    findings: Findings,
    /// Newest messages of each subject, as positions in the holding.
    subjects: HashMap<&'a [u8], Vec<u64>>,
}

impl Ledger {
    /// Compares; what is learnt from the reading must hold from now on.
    pub(super) fn compare(
        &mut self,
        plan: &Plan,
        holding: &Holding,
        removed: &Removed<'_>,
    ) -> Findings {
        self.learn_acks();
        let mut comparison = Comparison {
            plan,
            holding,
            removed,
            findings: Findings::default(),
            subjects: HashMap::new(),
        };
        let highest = self.history.keys().max().copied().unwrap_or_default();
        if holding.last < highest {
            comparison.findings.note(Kind::Reused, || {
                format!(
                    "{}: last sequence {} after {highest}",
                    plan.name, holding.last
                )
            });
        }
        let present = comparison.take_found(self);
        comparison.find_missing(self, &present);
        comparison.state();
        comparison.findings
    }

    /// Everything is gone with its stream; returns how many messages that were.
    pub(super) fn write_off(&mut self) -> u64 {
        self.learn_acks();
        self.history.clear();
        let mut count = 0;
        for sent in self.sent.values_mut().flatten() {
            if sent.sequence > 0 && !sent.written_off {
                sent.written_off = true;
                count += 1;
            }
            sent.sequence = 0;
        }
        count
    }

    fn learn_acks(&mut self) {
        for (writer, all) in &self.sent {
            for (n, sent) in all.iter().enumerate() {
                if sent.acked && !sent.written_off {
                    self.history
                        .entry(sent.sequence)
                        .or_insert((*writer, n as u64));
                }
            }
        }
    }

    fn sent_mut(&mut self, (writer, n): Claim) -> Option<&mut Sent> {
        self.sent
            .get_mut(&writer)?
            .get_mut(usize::try_from(n).ok()?)
    }
}

impl<'a> Comparison<'a> {
    fn note(&mut self, kind: Kind, text: String) {
        let name = self.plan.name;
        self.findings.note(kind, || format!("{name}: {text}"));
    }

    /// Goes through what is there; returns which message is at which sequence.
    fn take_found(&mut self, ledger: &mut Ledger) -> HashMap<Claim, u64> {
        let mut present = HashMap::new();
        let mut newest: HashMap<usize, u64> = HashMap::new();
        let holding = self.holding;
        for found in &holding.messages {
            let sequence = found.sequence;
            let Some(claim) = self.genuine(found) else {
                continue;
            };
            let (writer, n) = claim;
            let Some(sent) = ledger.sent_mut(claim) else {
                self.note(
                    Kind::Altered,
                    format!("{sequence} claims {claim:?}, never sent"),
                );
                continue;
            };
            let known = sent.sequence;
            // A lost message may be published again by nobody; a written-off one may be found.
            sent.sequence = sequence;
            if let Some(first) = present.insert(claim, sequence) {
                self.note(
                    Kind::Doubled,
                    format!("{claim:?} at {first} and {sequence}"),
                );
            } else if known != 0 && known != sequence {
                self.note(
                    Kind::Doubled,
                    format!("{claim:?} was at {known}, is at {sequence}"),
                );
            }
            let before = newest.insert(writer, n);
            if let Some(before) = before.filter(|before| *before > n) {
                self.note(
                    Kind::Reordered,
                    format!("{sequence}: {n} of {writer} after {before}"),
                );
            }
            if let Some(before) = ledger
                .history
                .insert(sequence, claim)
                .filter(|c| *c != claim)
            {
                self.note(
                    Kind::Reused,
                    format!("{sequence} was {before:?}, is {claim:?}"),
                );
            }
            if let Some(kind) = self.removed.confirmed(sequence, claim) {
                self.note(kind, format!("{sequence} is back"));
            }
            self.subjects.entry(&found.subject).or_default().push(n);
        }
        present
    }

    fn genuine(&mut self, found: &Found) -> Option<Claim> {
        let claimed = claim(&found.body);
        let genuine = claimed.filter(|(writer, n)| {
            found.body == contents(*writer, *n)
                && found.subject == self.plan.subject(*writer, *n).as_bytes()
        });
        if genuine.is_none() {
            let text = format!("{} claims {claimed:?}", found.sequence);
            self.note(Kind::Altered, text);
        }
        genuine
    }

    /// Looks for what should be there and is not.
    fn find_missing(&mut self, ledger: &mut Ledger, present: &HashMap<Claim, u64>) {
        let writers: Vec<usize> = ledger.sent.keys().copied().collect();
        for writer in writers {
            let all = ledger.sent.get_mut(&writer).map_or(&mut [][..], |all| all);
            for (n, sent) in all.iter_mut().enumerate() {
                let claim = (writer, n as u64);
                if let Some(place) = present.get(&claim) {
                    self.overdue(claim, sent, *place);
                    continue;
                }
                if sent.sequence == 0 || sent.written_off || self.excused(claim, sent) {
                    continue;
                }
                sent.written_off = true;
                let what = if sent.acked { "acknowledged" } else { "seen" };
                self.note(
                    Kind::Lost,
                    format!("{claim:?}, {what} as {}", sent.sequence),
                );
                sent.sequence = 0;
            }
        }
    }

    /// Whether a message may be absent.
    fn excused(&self, (writer, n): Claim, sent: &Sent) -> bool {
        if self.removed.perhaps(sent.sequence) {
            return true;
        }
        match self.plan.keep {
            Keep::All | Keep::UntilAcked => false,
            Keep::Newest(count) => sent.sequence + count <= self.holding.last,
            Keep::NewestOfSubject(count) => {
                let subject = self.plan.subject(writer, n);
                let found = self.subjects.get(subject.as_bytes());
                let later = found.map_or(&[][..], Vec::as_slice);
                let later = later.iter().filter(|later| **later > n);
                let (mut number, mut rolled) = (0, false);
                for later in later {
                    number += 1;
                    rolled |= self.plan.rolls_up(*later);
                }
                number >= count || rolled
            }
            Keep::Younger(age) => sent.at + age <= self.holding.read_until,
            Keep::TimeToLive => self
                .plan
                .time_to_live(n)
                .is_some_and(|ttl| sent.at + ttl <= self.holding.read_until),
        }
    }

    /// Whether a message should have expired long ago.
    fn overdue(&mut self, claim: Claim, sent: &Sent, place: u64) {
        let life = match self.plan.keep {
            Keep::Younger(age) => Some(age),
            Keep::TimeToLive => self.plan.time_to_live(claim.1),
            _ => None,
        };
        // Only an acknowledged message is surely older than what was read.
        let Some(life) = life.filter(|_| sent.acked) else {
            return;
        };
        let linger = std::time::Duration::from_secs(LINGER_SECONDS);
        if sent.at + life + linger < self.holding.read_from {
            self.note(Kind::RemovalForgotten, format!("{place} outlived {life:?}"));
        }
    }

    fn state(&mut self) {
        let count = self.holding.messages.len() as u64;
        let timed = matches!(self.plan.keep, Keep::Younger(_) | Keep::TimeToLive);
        if !timed && count != self.holding.count {
            let stated = self.holding.count;
            self.note(
                Kind::Excess,
                format!("{count} messages, {stated} in the state"),
            );
        }
        if let Keep::Newest(most) = self.plan.keep
            && count > most
        {
            self.note(Kind::Excess, format!("{count} messages of at most {most}"));
        }
    }
}
