//! What a stream lost to damage, as this life of the server knows it: found when the store was opened, by a reader, or
//! by the background. A lost message is delivered to nobody; everything else goes on.

use std::collections::{BTreeMap, BTreeSet};

use jetwake_protocol::jetstream::stream::LostData;
use jetwake_storage::ReadError;

use crate::jetstream::env::Env;
use crate::jetstream::io::Level;
use crate::jetstream::stream::Stream;

/// Ranges of sequences that a log line names; there may be many more.
const NAMED: usize = 16;
/// Messages that could not be read lately and are remembered, so that each is logged once.
const REFUSED: usize = 1024;

/// The lost messages of one stream.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Sequence and size; 0 where not even that is known.
    lost: BTreeMap<u64, u64>,
    refused: BTreeSet<u64>,
}

impl Damage {
    /// As STREAM.INFO shows it.
    pub(crate) fn data(&self) -> Option<LostData> {
        let msgs: Vec<u64> = self.lost.keys().copied().collect();
        let bytes = self.lost.values().sum();
        (!msgs.is_empty()).then_some(LostData {
            msgs: Some(msgs),
            bytes,
        })
    }
}

impl Damage {
    /// Whether nobody can read a message any more.
    pub(crate) fn is_lost(&self, seq: u64) -> bool {
        self.lost.contains_key(&seq)
    }
}

impl Stream {
    /// Counts messages that were lost before anybody read them.
    pub(crate) fn note_lost(&mut self, seqs: &[u64], env: &mut Env<'_>) {
        if seqs.is_empty() {
            return;
        }
        for seq in seqs {
            let size = self.messages.meta(*seq).map_or(0, |meta| meta.size);
            self.damage.lost.insert(*seq, size.into());
        }
        let text = format!(
            "JetStream stream '{}' lost messages {} to damage",
            self.config.name,
            ranges(seqs)
        );
        env.out.log(Level::Error, &text);
    }

    /// Takes up what readers could not read. A damaged message is lost; one that the disk refused may be read another
    /// time.
    pub(crate) fn note_unreadable(&mut self, env: &mut Env<'_>) {
        for (seq, error) in std::mem::take(&mut env.agenda.unreadable) {
            let elsewhere = self.group.filter(|_| env.log.has_peers());
            let news = match (&error, elsewhere) {
                (ReadError::Damaged { .. }, Some(group)) if !self.damage.is_lost(seq) => {
                    // Another replica has it.
                    env.agenda.damaged.push((group, seq));
                    self.damage.refused.insert(seq)
                }
                (ReadError::Damaged { .. }, _) => {
                    let size = self.messages.meta(seq).map_or(0, |meta| meta.size);
                    self.damage.lost.insert(seq, size.into()).is_none()
                }
                (ReadError::Io { .. }, _) => {
                    if self.damage.refused.len() >= REFUSED {
                        self.damage.refused.clear();
                    }
                    self.damage.refused.insert(seq)
                }
            };
            if news {
                let name = &self.config.name;
                let text = format!("JetStream stream '{name}': message {seq}: {error}");
                env.out.log(Level::Error, &text);
            }
        }
    }
}

/// The sequences as a text.
fn ranges(seqs: &[u64]) -> String {
    let mut sorted = seqs.to_vec();
    sorted.sort_unstable();
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seq in sorted {
        match ranges.last_mut() {
            Some((_, last)) if seq <= last.saturating_add(1) => *last = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    let named = ranges.iter().take(NAMED).map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if ranges.len() > NAMED {
        text.push_str(", ...");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_ranges() {
        assert_eq!(super::ranges(&[7, 3, 4, 5, 9]), "3-5, 7, 9");
        let many: Vec<u64> = (0..40).map(|at| at * 2).collect();
        assert!(super::ranges(&many).ends_with("30, ..."));
    }
}
