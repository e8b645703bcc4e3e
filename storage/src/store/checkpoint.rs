//! Checkpoints: states of groups that make old journal files superfluous.
//!
//! A job writes one file with the sections of all groups handed in and makes it durable; only then
//! the owner lets go of the files that nothing needs any more, and a second job removes them.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::erase::{self, Erasure};
use super::{FileUse, Store, state};
use crate::crypt::{FileKey, TAG};
use crate::error::StoreError;
use crate::files::{CHECKPOINT, Files, JOURNAL, RecordFile, SEGMENT, SPARE, file_name};
use crate::format::{CHECKPOINT_HEADER, CheckpointHeader, SectionHeader, SectionKind, padded};
use crate::journal::{Spare, generation};
use crate::messages::{FileMessages, Location, MessagesState};
use crate::position::Lsn;

/// More checkpoint files than this, and the oldest one's sections are carried over into the next.
const FILES_MAX: usize = 4;
/// Distinguishes the generations of checkpoints from those of other files.
const CHECKPOINT_FILES: u64 = 3;

/// A section on its way into a file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) group: u64,
    pub(super) covered: Lsn,
    /// Last index of the group's log that is part of the state, if it keeps one.
    pub(super) applied: Option<u64>,
    pub(super) kind: SectionKind,
    pub(super) body: Vec<u8>,
}

impl Section {
    /// Appends header and body, as they will lie in a file of this generation.
    fn encode(&self, generation: u64, key: Option<&FileKey>, out: &mut Vec<u8>) {
        let tag = key.map_or(0, |_| TAG);
        let mut head = SectionHeader {
            group: self.group,
            length: (self.body.len() + tag) as u32,
            body_sum: 0,
            kind: self.kind,
            covered: self.covered,
            applied: self.applied,
        };
        let at = out.len();
        let body = at + CHECKPOINT_HEADER;
        out.extend_from_slice(&head.encode(generation, at as u32));
        out.extend_from_slice(&self.body);
        if let Some(key) = key {
            let bound = SectionHeader::bound(&out[at..body]);
            key.seal(at as u32, &bound, out, body);
        }
        head.body_sum = crc32c::crc32c(&out[body..]);
        out[at..body].copy_from_slice(&head.encode(generation, at as u32));
        out.resize(padded(out.len()), 0);
    }
}

/// What may go once a checkpoint is durable.
#[derive(Debug, Default)]
struct Frees {
    /// Journal files up to this one.
    retired: u32,
    segments: Vec<u32>,
    checkpoints: Vec<u32>,
}

/// A checkpoint being put together by the owner.
#[derive(Debug)]
pub struct Checkpoint {
    sections: Vec<Section>,
    /// By group: the segments it still needs.
    segments: HashMap<u64, Vec<u32>, FixedState>,
    /// Newest journal file that is to be retired.
    retires: u32,
    /// A message still lies in one of them.
    pins_journal: bool,
    erasures: Vec<Location>,
}

/// A checkpoint to be written; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct CheckpointJob {
    files: Arc<Files>,
    header: CheckpointHeader,
    sections: Vec<Section>,
    erasures: Option<Section>,
    /// An old file whose sections of these groups move into this one.
    carry: Option<(u32, HashSet<u64, FixedState>)>,
    frees: Frees,
    segments: HashMap<u64, Vec<u32>, FixedState>,
}

/// A durable checkpoint.
#[derive(Debug)]
pub struct CheckpointDone {
    number: u32,
    /// Length of the file.
    bytes: u64,
    /// Its groups, and whether each is dropped.
    groups: Vec<(u64, bool)>,
    frees: Frees,
    segments: HashMap<u64, Vec<u32>, FixedState>,
}

/// Files that nothing needs any more; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct Cleanup {
    files: Arc<Files>,
    journal: Vec<(u32, Arc<RecordFile>)>,
    remove: Vec<String>,
    /// Damaged ones, which keep their bytes.
    aside: Vec<String>,
    erasures: Vec<Erasure>,
    /// A spare file that is wanted: number and least size.
    spare: Option<(u32, u32)>,
}

/// What a cleanup left for reuse.
#[derive(Debug)]
pub struct Cleaned {
    spares: Vec<Spare>,
    /// Erasures that have to wait.
    erasures: Vec<Location>,
}

/// Journal files that could go, and the groups that must be copied and checkpointed for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Number of the newest of them.
    pub through: u32,
    /// The groups with records in them.
    pub groups: Vec<u64>,
}

impl Store {
    /// The oldest journal files, when more than `keep` bytes of complete files are in use: as many
    /// as leave half of that, and the newest complete file if that is not more than `keep`.
    /// What is written and removed again within those is never copied. Everything below `applied`
    /// must have been applied and inserted.
    #[must_use]
    pub fn plan_retire(&self, applied: Lsn, keep: u64) -> Option<Retire> {
        let complete: Vec<&FileUse> = self
            .uses
            .iter()
            .filter(|file| file.number < applied.file())
            .collect();
        let mut bytes: u64 = complete.iter().map(|file| u64::from(file.size)).sum();
        let newest = complete.last().map_or(0, |file| u64::from(file.size));
        let leave = if bytes > keep {
            newest.min(keep).max(keep / 2)
        } else {
            keep
        };
        let mut through = 0;
        let mut groups: HashSet<u64, FixedState> = HashSet::default();
        for file in complete {
            if file.groups.iter().any(|group| self.held.contains(group)) {
                break;
            }
            if bytes <= leave && file.number > self.plain.journal {
                break;
            }
            bytes = bytes.saturating_sub(u64::from(file.size));
            through = file.number;
            groups.extend(
                file.groups
                    .iter()
                    .filter(|group| self.groups.contains_key(*group)),
            );
        }
        groups.extend(self.plain_groups());
        let mut groups: Vec<u64> = groups.into_iter().collect();
        groups.sort_unstable();
        (!groups.is_empty() || through > 0).then_some(Retire { through, groups })
    }

    /// Begins a checkpoint. With `retire`, all its groups have to be added, after they were copied;
    /// then the journal files are freed. One checkpoint at a time.
    #[must_use]
    pub fn begin_checkpoint(&self, retire: Option<&Retire>) -> Checkpoint {
        Checkpoint {
            sections: Vec::new(),
            segments: HashMap::default(),
            retires: retire.map_or(0, |retire| retire.through),
            pins_journal: false,
            erasures: Vec::new(),
        }
    }

    /// Completes the plan of a checkpoint.
    #[must_use]
    pub fn seal_checkpoint(&mut self, mut checkpoint: Checkpoint) -> CheckpointJob {
        self.erasures.append(&mut checkpoint.erasures);
        for &group in &self.dropped {
            let (covered, body) = (Lsn(u64::MAX), Vec::new());
            checkpoint.sections.push(Section {
                group,
                covered,
                applied: None,
                kind: SectionKind::Dropped,
                body,
            });
        }
        let added: HashSet<u64, FixedState> = checkpoint
            .sections
            .iter()
            .map(|section| section.group)
            .collect();
        let retired = if self.may_retire(&checkpoint, &added) {
            checkpoint.retires
        } else {
            0
        };
        let oldest = self
            .checkpoints
            .iter()
            .next()
            .filter(|_| self.checkpoints.len() >= FILES_MAX);
        let carry = oldest.map(|(number, groups)| {
            let kept = |group: &&u64| !added.contains(*group) && self.groups.contains_key(*group);
            (*number, groups.iter().filter(kept).copied().collect())
        });
        let carried = carry.as_ref().map(|(number, _)| *number);
        let idle = |(number, groups): (&u32, &Vec<u64>)| {
            let done = Some(*number) == carried || groups.iter().all(|group| added.contains(group));
            done.then_some(*number)
        };
        let unused = |(number, groups): (&u32, &Vec<u64>)| {
            let used = |group: &u64| match checkpoint.segments.get(group) {
                Some(segments) => segments.contains(number),
                None => self.groups.contains_key(group),
            };
            (!groups.iter().any(used)).then_some(*number)
        };
        let frees = Frees {
            retired,
            segments: self.segments.iter().filter_map(unused).collect(),
            checkpoints: self.checkpoints.iter().filter_map(idle).collect(),
        };
        self.last_checkpoint += 1;
        let header = CheckpointHeader {
            number: self.last_checkpoint,
            generation: generation(self.seed, CHECKPOINT_FILES, self.last_checkpoint),
            sections: 0,
            retired: retired.max(self.retired),
            durable: self.durable_at_least(&checkpoint),
            encrypted: self.files.encryption().is_some(),
        };
        CheckpointJob {
            files: Arc::clone(&self.files),
            header,
            sections: checkpoint.sections,
            erasures: self.erasures_section(),
            carry,
            frees,
            segments: checkpoint.segments,
        }
    }

    /// Covered positions were applied, and only durable records are applied.
    fn durable_at_least(&self, checkpoint: &Checkpoint) -> Lsn {
        let live = checkpoint
            .sections
            .iter()
            .filter(|section| section.kind == SectionKind::Group);
        live.map(|section| section.covered)
            .max()
            .unwrap_or_default()
    }

    fn may_retire(&self, checkpoint: &Checkpoint, added: &HashSet<u64, FixedState>) -> bool {
        let concerned = self
            .uses
            .iter()
            .filter(|file| file.number <= checkpoint.retires);
        let mut groups = concerned.flat_map(|file| &file.groups);
        let end = Lsn::new(checkpoint.retires + 1, 0);
        let early = |section: &Section| section.covered < end;
        !checkpoint.pins_journal
            // What was written again to let a file go has to be durable.
            && self.durable_at_least(checkpoint) >= self.again
            && groups.all(|group| added.contains(group) || !self.groups.contains_key(group))
            && !checkpoint.sections.iter().any(early)
    }

    /// Takes over a durable checkpoint; the returned job removes what it made superfluous.
    #[must_use]
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Cleanup {
        self.space.checkpoint = done.bytes;
        let newer: HashMap<u64, bool, FixedState> = done
            .groups
            .iter()
            .map(|(group, dropped)| (*group, *dropped))
            .collect();
        for groups in self.checkpoints.values_mut() {
            groups.retain(|group| !newer.contains_key(group));
        }
        self.checkpoints
            .insert(done.number, newer.keys().copied().collect());
        self.dropped.retain(|group| newer.get(group) != Some(&true));
        for (number, groups) in &mut self.segments {
            let names = |group: &u64| match done.segments.get(group) {
                Some(segments) => segments.contains(number),
                None => true,
            };
            groups.retain(names);
        }
        // The files are looked up while they are still known.
        let erasures = erase::find(&self.files, &self.erasures);
        self.erasing = self.erasures.len();
        let (mut remove, mut aside) = (Vec::new(), Vec::new());
        for number in done.frees.checkpoints {
            self.checkpoints.remove(&number);
            self.plain.checkpoints.remove(&number);
            remove.push(file_name(CHECKPOINT, number));
        }
        let mut journal = Vec::new();
        self.retired = self.retired.max(done.frees.retired);
        for number in done.frees.segments {
            self.segments.remove(&number);
            self.plain.remove_segment(number);
            let body = self.bodies.remove(&number);
            let file = match body {
                // The journal still needs it.
                Some(body) if self.in_use(body) => {
                    self.files.release(number);
                    None
                }
                _ => self.files.take_segment(number),
            };
            let damaged = file.as_ref().is_some_and(|file| file.is_damaged());
            let names = if damaged { &mut aside } else { &mut remove };
            names.push(file_name(SEGMENT, number));
            // An adopted file goes with the segment.
            journal.extend(body.zip(file));
        }
        let mut forget = false;
        while let Some(file) = self.uses.front().filter(|file| file.number <= self.retired) {
            let number = file.number;
            self.uses.pop_front();
            forget = true;
            if self.is_body(number) {
                continue;
            }
            journal.extend(self.files.take_journal(number).map(|file| (number, file)));
        }
        if forget {
            self.logs = std::mem::take(&mut self.logs).without(self.retired);
        }
        let files = Arc::clone(&self.files);
        // On a full disk any file will do.
        let least = |size| if self.space.full { 0 } else { size };
        let spare = self.journal.wants_spare().map(|size| {
            self.last_spare += 1;
            (self.last_spare, least(size))
        });
        Cleanup {
            files,
            journal,
            remove,
            aside,
            erasures,
            spare,
        }
    }

    /// Puts files that can be used again at the writer's disposal.
    pub fn finish_cleanup(&mut self, cleaned: Cleaned) {
        for spare in cleaned.spares {
            self.journal.offer_spare(spare);
        }
        self.look_for_space();
        self.erasures.drain(..self.erasing);
        self.erasing = 0;
        self.erasures.extend(cleaned.erasures);
    }
}

impl Checkpoint {
    /// Adds a group: all its records below `covered` are part of `blob` and of its messages, which
    /// are inserted as far as that and no further.
    pub fn add(
        &mut self,
        group: u64,
        covered: Lsn,
        blob: &[u8],
        messages: Option<&mut FileMessages>,
    ) {
        self.add_parts(group, covered, &[blob], messages);
    }

    /// As [`add`](Self::add), with a blob in parts: large ones are not put together twice.
    pub fn add_parts(
        &mut self,
        group: u64,
        covered: Lsn,
        blob: &[&[u8]],
        messages: Option<&mut FileMessages>,
    ) {
        self.add_to(group, (covered, None), blob, messages);
    }

    /// Adds a group that keeps a log, of which everything up to index `applied` is part of `blob`
    /// and of the messages, wherever its records lie. Records without an index are part of them as
    /// far as `covered`. Later entries come back after a restart: those in a file that is to be
    /// retired have to be written again, in a later one, and to be durable before this checkpoint
    /// begins.
    pub fn add_applied(
        &mut self,
        group: u64,
        (covered, applied): (Lsn, u64),
        blob: &[&[u8]],
        messages: Option<&mut FileMessages>,
    ) {
        self.add_to(group, (covered, Some(applied)), blob, messages);
    }

    fn add_to(
        &mut self,
        group: u64,
        (covered, applied): (Lsn, Option<u64>),
        blob: &[&[u8]],
        messages: Option<&mut FileMessages>,
    ) {
        let mut state = MessagesState::default();
        if let Some(messages) = messages {
            let erasures = messages.take_erasures();
            self.erasures.extend(erasures);
            messages.forget_dead_segments();
            state = messages.checkpoint();
            self.pins_journal |= messages.needs_journal(self.retires);
        }
        let body = state::encode(&state, blob);
        let sections = state.sections.iter();
        let segments = sections.map(|section| section.number).collect();
        self.segments.insert(group, segments);
        self.sections.push(Section {
            group,
            covered,
            applied,
            kind: SectionKind::Group,
            body,
        });
    }
}

impl CheckpointJob {
    /// Writes the file and makes it durable; blocks on the disk.
    ///
    /// # Errors
    /// The disk refused. The older checkpoints still count; a new one may be planned.
    pub fn run(mut self) -> Result<CheckpointDone, StoreError> {
        if let Some((number, groups)) = &self.carry {
            let bytes = super::load::read_file(&self.files, &file_name(CHECKPOINT, *number))?;
            let mut carried: BTreeMap<u64, Section> = BTreeMap::new();
            let key = super::load::key(&self.files, *number, &bytes)?;
            super::load::sections(&bytes, key.as_deref(), &mut |section, body| {
                if section.kind == SectionKind::Group && groups.contains(&section.group) {
                    carried.entry(section.group).or_insert_with(|| Section {
                        group: section.group,
                        covered: section.covered,
                        applied: section.applied,
                        kind: section.kind,
                        body: body.to_vec(),
                    });
                }
            });
            if carried.len() == groups.len() {
                self.sections.extend(carried.into_values());
            } else {
                // Not all of it can be read: the old file stays.
                self.frees.checkpoints.retain(|old| old != number);
            }
        }
        let bytes = self.write()?;
        let groups = self.sections.iter();
        Ok(CheckpointDone {
            number: self.header.number,
            bytes,
            groups: groups
                .map(|section| (section.group, section.kind == SectionKind::Dropped))
                .collect(),
            frees: self.frees,
            segments: self.segments,
        })
    }

    fn write(&mut self) -> Result<u64, StoreError> {
        let sections = || self.sections.iter().chain(&self.erasures);
        self.header.sections = sections().count() as u32;
        let header = self.header.encode();
        let (number, generation) = (self.header.number, self.header.generation);
        let created = self
            .files
            .encryption()
            .map(|encryption| encryption.create(number, generation));
        let (key, block) = created.unzip();
        let block = block.map_or_else(Vec::new, |block| block.encode().to_vec());
        let mut out = header.to_vec();
        out.extend_from_slice(&block);
        for _copy in 0..2 {
            for section in sections() {
                section.encode(generation, key.as_ref(), &mut out);
            }
        }
        out.extend_from_slice(&block);
        out.extend_from_slice(&header);
        let name = file_name(CHECKPOINT, self.header.number);
        let temporary = format!("{name}.tmp");
        let (disk, files) = (&self.files.disk, &self.files);
        let failed = |what| {
            let name = temporary.clone();
            move |error| StoreError::io(what, name, error)
        };
        let path = files.path(&temporary);
        let file = disk.create(&path).map_err(failed("create"))?;
        let wrote = file.write_at(0, &mut [IoSlice::new(&out)]);
        let wrote = wrote.map_err(failed("write"));
        if let Err(error) = wrote.and_then(|()| file.sync_data().map_err(failed("sync"))) {
            // What was written is in the way: the disk may be full.
            let _ = disk.remove(&path);
            return Err(error);
        }
        let renamed = disk.rename(&path, &files.path(&name));
        renamed.map_err(failed("rename"))?;
        let synced = files.sync_names();
        synced.map_err(|error| StoreError::io("sync", "the store directory", error))?;
        Ok(out.len() as u64)
    }
}

impl Cleanup {
    /// Removes or renames; blocks on the disk. What cannot be removed now is found at the next
    /// opening.
    #[must_use]
    pub fn run(self) -> Cleaned {
        let disk = &self.files.disk;
        let erasures = erase::run(&self.files, self.erasures);
        for name in &self.remove {
            let _ = disk.remove(&self.files.path(name));
        }
        let set_aside = |name: &str| {
            let aside = self.files.path(&format!("{name}.damaged"));
            let _ = disk.rename(&self.files.path(name), &aside);
        };
        for name in &self.aside {
            set_aside(name);
        }
        let mut spares: Vec<Spare> = Vec::new();
        for (number, file) in self.journal {
            let name = file_name(JOURNAL, number);
            let from = self.files.path(&name);
            if file.is_damaged() {
                set_aside(&name);
                continue;
            }
            let size = disk.open(&from).and_then(|file| file.size()).unwrap_or(0);
            let size = u32::try_from(size).unwrap_or(0);
            // Bytes that are still lent must not be overwritten: such a file only loses its name.
            let lent = file.is_lent() || Arc::strong_count(&file) > 1;
            let reusable = !lent && Store::may_recycle(&self.files, file.is_encrypted());
            let wanted = self.spare.filter(|(_, least)| size >= *least && reusable);
            let Some((spare, _)) = wanted.filter(|_| spares.is_empty()) else {
                let _ = disk.remove(&from);
                continue;
            };
            let name = file_name(SPARE, spare);
            if disk.rename(&from, &self.files.path(&name)).is_ok() {
                spares.push(Spare { name, size });
            }
        }
        Cleaned { spares, erasures }
    }
}
