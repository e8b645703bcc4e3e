//! Files of an encrypted store that are not encrypted yet, because the store once was not.
//!
//! They are written anew a little at a time: the journal by its usual way into segments, segments
//! as if they were mostly dead, checkpoints by new ones of their groups.

use std::collections::{BTreeMap, BTreeSet};

use super::Store;
use crate::error::StoreError;
use crate::files::{Files, SPARE, file_number};
use crate::format::{FILE_HEADER, FileHeader, HeadError};

/// Rounds that are spent on one segment: what is left of it after them cannot be read.
const ROUNDS: u8 = 16;

/// The files that are left.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Newest journal file.
    pub(super) journal: u32,
    pub(super) checkpoints: BTreeSet<u32>,
    /// Segments, with the rounds that may still be spent on each.
    segments: BTreeMap<u32, u8>,
}

impl Plain {
    pub(super) fn add_segment(&mut self, number: u32) {
        self.segments.insert(number, ROUNDS);
    }

    /// The segment whose turn it is.
    pub(super) fn segment(&self) -> Option<u32> {
        let mut left = self.segments.iter().filter(|(_, rounds)| **rounds > 0);
        left.next().map(|(number, _)| *number)
    }

    /// A round was spent on a segment.
    pub(super) fn spend(&mut self, number: u32) {
        if let Some(rounds) = self.segments.get_mut(&number) {
            *rounds = rounds.saturating_sub(1);
        }
    }

    pub(super) fn remove_segment(&mut self, number: u32) {
        self.segments.remove(&number);
    }
}

impl Store {
    /// The groups that have to be written anew in the next round.
    pub(super) fn plain_groups(&self) -> impl Iterator<Item = u64> + '_ {
        let segment = self.plain.segment();
        let in_segment = segment.and_then(|number| self.segments.get(&number));
        let checkpoints = self.plain.checkpoints.iter();
        let in_checkpoints = checkpoints.filter_map(|number| self.checkpoints.get(number));
        let groups = in_segment.into_iter().chain(in_checkpoints).flatten();
        groups
            .copied()
            .filter(|group| self.groups.contains_key(group) && !self.held.contains(group))
    }

    /// Whether a file may become a journal file again: what it holds may lie there for long.
    pub(super) fn may_recycle(files: &Files, encrypted: bool) -> bool {
        encrypted || files.encryption().is_none()
    }
}

/// Removes the spare files that may hold what is not encrypted, and returns the other names.
pub(super) fn without_plain_spares(
    files: &Files,
    mut names: Vec<String>,
) -> Result<Vec<String>, StoreError> {
    if files.encryption().is_none() {
        return Ok(names);
    }
    let spares = names
        .iter()
        .filter(|name| file_number(SPARE, name).is_some());
    let mut removed = Vec::new();
    for name in spares {
        let path = files.path(name);
        let mut head = [0; FILE_HEADER];
        let read = files
            .disk
            .open(&path)
            .map(|file| file.read_at(0, &mut head));
        read.map_err(|error| StoreError::io("open", name, error))?
            .ok();
        let clean = match FileHeader::decode(&head) {
            Ok(header) => header.encrypted,
            // Nothing but zeros was ever written to it.
            Err(error) => error == HeadError::Blank,
        };
        if !clean {
            let gone = files.disk.remove(&path);
            gone.map_err(|error| StoreError::io("remove", name, error))?;
            removed.push(name.clone());
        }
    }
    names.retain(|name| !removed.contains(name));
    Ok(names)
}
