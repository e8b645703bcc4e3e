//! Reading checkpoints and the segments that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::{adopt, erase, state};
use crate::crypt::{FileKey, Unlocked, unlock};
use crate::error::StoreError;
use crate::files::{CHECKPOINT, Files, RecordFile, SEGMENT, file_name, file_number};
use crate::format::{
    CHECKPOINT_HEADER, CheckpointHeader, HeadError, KEY_BLOCK_AT, SectionHeader, SectionKind,
    key_block_behind, padded,
};
use crate::messages::{FileMessages, Location, MessagesState, SectionState};
use crate::position::Lsn;
use crate::segment::{SegmentError, SegmentReader};

/// The newest section of a group.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: u32,
    pub(super) covered: Lsn,
    pub(super) applied: Option<u64>,
    pub(super) dropped: bool,
    pub(super) state: MessagesState,
    pub(super) blob: Vec<u8>,
}

/// All that the checkpoint files say.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    pub(super) groups: BTreeMap<u64, Found>,
    /// Files that are not encrypted.
    pub(super) plain: BTreeSet<u32>,
    /// File numbers, with the groups whose newest section is in each.
    pub(super) files: BTreeMap<u32, Vec<u64>>,
    pub(super) retired: u32,
    pub(super) durable: Lsn,
    /// What the newest file says is to be overwritten.
    pub(super) erasures: Vec<Location>,
    /// Something could not be read, so that nothing may be taken for superfluous.
    pub(super) incomplete: bool,
    pub(super) set_aside: Vec<String>,
    pub(super) report: Vec<String>,
}

pub(super) fn read_file(files: &Files, name: &str) -> Result<Vec<u8>, StoreError> {
    let failed = |error| StoreError::io("read", name, error);
    let file = files.disk.open(&files.path(name)).map_err(failed)?;
    let size = file.size().map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_at(0, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The key of a checkpoint file, if it has one.
pub(super) fn key(files: &Files, number: u32, bytes: &[u8]) -> Result<Unlocked, StoreError> {
    let second = key_block_behind(bytes.len() as u64) as usize;
    let blocks = [KEY_BLOCK_AT, second].map(|at| bytes.get(at..).unwrap_or(&[]));
    Ok(unlock(files.encryption(), number, blocks)?)
}

/// Visits every section that proves itself, both copies.
pub(super) fn sections(
    bytes: &[u8],
    key: Option<&FileKey>,
    visit: &mut dyn FnMut(&SectionHeader, &[u8]),
) {
    let mut at = CHECKPOINT_HEADER;
    let mut opened = Vec::new();
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let Some((section, body)) = SectionHeader::decode(rest, at as u32) else {
            at += 8;
            continue;
        };
        let next = padded(at + CHECKPOINT_HEADER + body.len());
        let body = match key {
            None => Some(body),
            Some(key) => {
                opened.clear();
                opened.extend_from_slice(body);
                let plain = key.open(at as u32, &SectionHeader::bound(rest), &mut opened);
                plain.map(|plain| &*plain)
            }
        };
        if let Some(body) = body {
            visit(&section, body);
        }
        at = next;
    }
}

/// Reads all checkpoint files.
pub(super) fn read_checkpoints(files: &Files, names: &[String]) -> Result<Checkpoints, StoreError> {
    let mut all = Checkpoints::default();
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|n| file_number(CHECKPOINT, n))
        .collect();
    numbers.sort_unstable();
    for number in numbers {
        all.read(files, number)?;
    }
    for (group, found) in &all.groups {
        all.files.entry(found.file).or_default().push(*group);
    }
    Ok(all)
}

impl Checkpoints {
    fn read(&mut self, files: &Files, number: u32) -> Result<(), StoreError> {
        let name = file_name(CHECKPOINT, number);
        let bytes = read_file(files, &name)?;
        let first = CheckpointHeader::decode(&bytes);
        let last = bytes.len().saturating_sub(CHECKPOINT_HEADER);
        let second = CheckpointHeader::decode(bytes.get(last..).unwrap_or(&[]));
        if first == Err(HeadError::Old) || second == Err(HeadError::Old) {
            return Err(StoreError::Old(name));
        }
        if first == Err(HeadError::Unknown) || second == Err(HeadError::Unknown) {
            self.report
                .push(format!("{name}: written by a later version; set aside"));
            self.set_aside.push(name);
            self.incomplete = true;
            return Ok(());
        }
        if first.is_err() || second.is_err() {
            self.report.push(format!("{name}: a header is damaged"));
        }
        let header = first.or(second).unwrap_or_default();
        let key = key(files, number, &bytes)?;
        if header.encrypted && key.is_none() {
            self.report
                .push(format!("{name}: its key is damaged; set aside"));
            self.set_aside.push(name);
            self.incomplete = true;
            return Ok(());
        }
        let mut seen: HashMap<(bool, u64), u32, FixedState> = HashMap::default();
        self.erasures.clear();
        sections(&bytes, key.as_deref(), &mut |section, body| {
            let erasures = section.kind == SectionKind::Erasures;
            let copies = seen.entry((erasures, section.group)).or_insert(0);
            *copies += 1;
            if *copies > 1 {
                return;
            }
            let decoded = match section.kind {
                SectionKind::Group => state::decode(body),
                SectionKind::Dropped => Some(Default::default()),
                SectionKind::Erasures => {
                    self.erasures = erase::decode(body).unwrap_or_default();
                    return;
                }
            };
            let Some((state, blob)) = decoded else { return };
            let found = Found {
                file: number,
                covered: section.covered,
                applied: section.applied,
                dropped: section.kind == SectionKind::Dropped,
                state,
                blob: blob.to_vec(),
            };
            self.groups.insert(section.group, found);
        });
        let single = seen.values().filter(|copies| **copies < 2).count();
        let known = first.is_ok() || second.is_ok();
        if single > 0 {
            self.report
                .push(format!("{name}: one copy of {single} sections is damaged"));
        }
        if !known || seen.len() < header.sections as usize {
            let found = seen.len();
            self.report.push(format!(
                "{name}: {found} of {} sections are there",
                header.sections
            ));
            self.incomplete = true;
            if found == 0 {
                self.set_aside.push(name);
                return Ok(());
            }
        }
        self.files.entry(number).or_default();
        if key.is_none() {
            self.plain.insert(number);
        }
        // A group that is missing here may be in an older file; then it needs what that one does
        // not cover, as far as it is still there.
        if seen.len() >= header.sections as usize {
            self.retired = self.retired.max(header.retired);
        }
        self.durable = self.durable.max(header.durable);
        Ok(())
    }

    /// The segments that are named, with the groups that name them.
    pub(super) fn segments(&self) -> HashMap<u32, Vec<u64>, FixedState> {
        let mut segments: HashMap<u32, Vec<u64>, FixedState> = HashMap::default();
        for (group, found) in &self.groups {
            for section in &found.state.sections {
                let groups = segments.entry(section.number).or_default();
                if groups.last() != Some(group) {
                    groups.push(*group);
                }
            }
        }
        segments
    }

    /// Segment files that nothing names; none when something could not be read.
    pub(super) fn orphans(&self, names: &[String]) -> Vec<String> {
        if self.incomplete {
            return Vec::new();
        }
        let named: HashSet<u32, FixedState> = self.segments().into_keys().collect();
        let orphan = |name: &&String| {
            file_number(SEGMENT, name).is_some_and(|number| !named.contains(&number))
        };
        names.iter().filter(orphan).cloned().collect()
    }
}

/// Open segments, so that one that many groups share is opened once.
#[derive(Debug, Default)]
pub(super) struct Segments {
    open: HashMap<u32, Option<SegmentReader>, FixedState>,
    /// Those that are not encrypted.
    pub(super) plain: Vec<u32>,
    pub(super) report: Vec<String>,
    /// Group and sequence of each message that is lost.
    pub(super) lost: Vec<(u64, u64)>,
    /// Segments whose records lie in journal files, and which.
    pub(super) bodies: HashMap<u32, u32, FixedState>,
    /// Segments with messages that are to be erased.
    erasing: BTreeSet<u32>,
    /// A segment is named and cannot be used: nobody knows whether it needs a journal file.
    pub(super) unknown: bool,
}

impl Segments {
    pub(super) fn erasing(erasures: &[Location]) -> Self {
        let segment = |location: &Location| match location {
            Location::Segment { file, .. } => Some(*file),
            Location::Journal { .. } => None,
        };
        Self {
            erasing: erasures.iter().filter_map(segment).collect(),
            ..Self::default()
        }
    }

    fn get(
        &mut self,
        files: &Arc<Files>,
        number: u32,
    ) -> Result<Option<&mut SegmentReader>, StoreError> {
        if !self.open.contains_key(&number) {
            let opened = SegmentReader::open(files, number).and_then(|reader| {
                if let Some(body) = reader.body {
                    adopt::known_again(files, number, body)?;
                    self.bodies.insert(number, body.file);
                }
                Ok(reader)
            });
            let reader = match opened {
                Ok(reader) if reader.body.is_some() => {
                    self.plain.push(number);
                    Some(reader)
                }
                Ok(reader) => {
                    let file = RecordFile::new(
                        file_name(SEGMENT, number),
                        reader.generation,
                        reader.key.clone(),
                    )
                    .packed(reader.packed);
                    if reader.key.is_none() {
                        self.plain.push(number);
                    }
                    files.add_segment(number, file);
                    Some(reader)
                }
                Err(SegmentError::Unusable(why)) => {
                    self.report.push(why);
                    self.unknown = true;
                    let file = RecordFile::new(file_name(SEGMENT, number), 0, None);
                    file.mark_damaged();
                    files.add_segment(number, file);
                    None
                }
                Err(SegmentError::Store(error)) => return Err(error),
            };
            self.open.insert(number, reader);
        }
        Ok(self.open.get_mut(&number).and_then(Option::as_mut))
    }

    /// The messages of a group that are in segments.
    pub(super) fn load(
        &mut self,
        files: &Arc<Files>,
        group: u64,
        state: &MessagesState,
    ) -> Result<FileMessages, StoreError> {
        let mut messages = FileMessages::new(Arc::clone(files));
        let mut found = Vec::new();
        for section in &state.sections {
            match self.get(files, section.number)? {
                Some(reader) => {
                    let (tables, lost) = reader.section(&section.expected(group));
                    found.push((section, tables, lost));
                }
                None => self.note_lost(group, state.first_seq, section),
            }
        }
        let held = found.iter().map(|(_, tables, _)| u64::from(tables.keys()));
        messages.begin_load(state, held.sum());
        for (section, tables, lost) in found {
            let lost = messages.load_section(state.first_seq, section, Arc::new(tables), &lost);
            self.lost.extend(lost.into_iter().map(|seq| (group, seq)));
            if self.erasing.contains(&section.number) {
                messages.spoil(section.number);
            }
        }
        Ok(messages)
    }

    /// A whole section is lost.
    fn note_lost(&mut self, group: u64, first_seq: u64, section: &SectionState) {
        let name = file_name(SEGMENT, section.number);
        let (live, bytes) = (section.live, section.bytes);
        let (base, last) = (section.base, section.last);
        self.report.push(format!(
            "{name}: {live} messages ({bytes} bytes) of group {group} between {base} and {last} \
             are lost"
        ));
        let seqs = section.live_seqs(first_seq).unwrap_or_default();
        self.lost.extend(seqs.into_iter().map(|seq| (group, seq)));
    }

    /// Everything that was found wrong. Damaged files are marked, so that they are set aside and
    /// not removed once nothing needs them any more.
    pub(super) fn into_report(self, files: &Files) -> Vec<String> {
        let mut report = self.report;
        for (number, reader) in self.open {
            let Some(reader) = reader.filter(|reader| !reader.report.is_empty()) else {
                continue;
            };
            let location = Location::Segment {
                file: number,
                offset: 0,
            };
            if let Some((file, _)) = files.find(location) {
                file.mark_damaged();
            }
            report.extend(reader.report);
        }
        report
    }
}
