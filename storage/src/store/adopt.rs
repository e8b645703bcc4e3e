//! Adopting journal files: a file in which most records are live messages is not copied. A segment
//! that has only tables refers to it, and it stays under its name until that segment goes.

use std::io::ErrorKind;

use hashbrown::HashMap;

use super::Store;
use crate::error::StoreError;
use crate::files::{Files, JOURNAL, RecordFile, SEGMENT, file_name};
use crate::format::{BodyRef, padded, record_size};
use crate::messages::{CopyItem, CopyPlan, Location};
use crate::segment::SegmentError;

/// A file is adopted when at least this share of it is live messages.
const SHARE: f64 = 0.6;

/// A journal file that might be adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) body: BodyRef,
    pub(super) size: u32,
}

/// The share of live messages of each file that is adopted.
pub(super) type Adopted = HashMap<u32, (BodyRef, f64), foldhash::fast::FixedState>;

/// What the record of a message takes up, from what the message counts for: both are the lengths of
/// its parts and something constant, which differs a little when there are headers.
pub(super) fn record_len(item: &CopyItem) -> u32 {
    let parts = item.size.saturating_sub(crate::messages::size_of(0, 0, 0));
    padded(record_size(0, 0, parts as usize)) as u32
}

/// The files that are adopted.
pub(super) fn choose(candidates: &[Candidate], plans: &[(u64, CopyPlan)]) -> Adopted {
    let mut live: HashMap<u32, u64, foldhash::fast::FixedState> = HashMap::default();
    if !candidates.is_empty() {
        // What is compressed is copied in any case.
        let plans = plans.iter().filter(|(_, plan)| !plan.packed);
        for item in plans.flat_map(|(_, plan)| plan.items()) {
            if let Location::Journal { file, .. } = item.location {
                *live.entry(file).or_default() += u64::from(record_len(&item));
            }
        }
    }
    let share = |candidate: &Candidate| {
        let live = live.get(&candidate.body.file).copied().unwrap_or(0);
        // What is measured is a little too long, not more than all of it.
        (live as f64 / f64::from(candidate.size)).min(1.0)
    };
    let chosen = candidates.iter().filter(|one| share(one) >= SHARE);
    chosen
        .map(|one| (one.body.file, (one.body, share(one))))
        .collect()
}

impl Store {
    /// The journal files up to `through` that may be adopted.
    pub(super) fn candidates(&self, through: u32) -> Vec<Candidate> {
        // What is encrypted, or is to be, gets a key of its own with every copy.
        if self.files.encryption().is_some() {
            return Vec::new();
        }
        let files = self.uses.iter().filter(|file| {
            file.number <= through
                && file.size >= self.adopt_least
                && !self.is_body(file.number)
                // The lists of an adopted file tell its messages by their sequences.
                && !self.logs.is_ambiguous(file.number)
        });
        let candidate = |file: &super::FileUse| {
            let location = Location::Journal {
                file: file.number,
                offset: 0,
            };
            let (record, _) = self.files.find(location)?;
            (!record.is_damaged() && !record.is_encrypted()).then_some(Candidate {
                body: BodyRef {
                    file: file.number,
                    generation: record.generation,
                },
                size: file.size,
            })
        };
        files.filter_map(candidate).collect()
    }

    /// Whether the records of a segment lie in this journal file.
    pub(super) fn is_body(&self, journal: u32) -> bool {
        self.bodies.values().any(|body| *body == journal)
    }

    /// Whether the journal needs one of its files.
    pub(super) fn in_use(&self, journal: u32) -> bool {
        journal > self.retired && self.uses.iter().any(|file| file.number == journal)
    }

    /// Notes that the records of a segment lie in a journal file.
    pub(super) fn adopt(&mut self, segment: u32, journal: u32) {
        self.files.adopt(segment, journal);
        self.bodies.insert(segment, journal);
    }
}

/// Makes an adopted file known that no scan has read.
pub(super) fn known_again(files: &Files, segment: u32, body: BodyRef) -> Result<(), SegmentError> {
    let name = file_name(JOURNAL, body.file);
    let location = Location::Journal {
        file: body.file,
        offset: 0,
    };
    if files.find(location).is_none() {
        match files.disk.open(&files.path(&name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let segment = file_name(SEGMENT, segment);
                let why = format!("{name}, which holds the records of {segment}, is missing");
                return Err(SegmentError::Unusable(why));
            }
            Err(error) => return Err(SegmentError::Store(StoreError::io("open", name, error))),
            Ok(_) => files.add_journal(body.file, RecordFile::new(name, body.generation, None)),
        }
    }
    files.adopt(segment, body.file);
    Ok(())
}
