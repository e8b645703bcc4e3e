//! Copying what outlives the journal into segments.
//!
//! The owner plans what is to be copied, a job copies it on any thread, and the owner puts the new
//! sections in their places. Nothing depends on the copies until a checkpoint names them. A journal
//! file that is mostly live is not copied but adopted: a segment with tables refers to it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Store;
use super::adopt::{Adopted, Candidate, choose, record_len};
use crate::crypt::Unlocked;
use crate::error::StoreError;
use crate::files::{Files, RecordFile, SEGMENT, file_name};
use crate::format::BodyRef;
use crate::journal::generation;
use crate::messages::{CopyItem, CopyPlan, FileMessages, Location, MovedGroup, ReadError, Sealed};
use crate::segment::{NewRow, SegmentBuilder, SegmentError, SegmentReader};

/// Groups with less than this share a segment.
const OWN_SEGMENT: u64 = 256 << 10;
/// A segment is closed at this length.
const SEGMENT_MAX: u64 = 64 << 20;
/// A compressed one at this length: all of it is written anew for a message that is erased.
const PACKED_MAX: u64 = 16 << 20;
/// Rewriting stops at about this much per pass.
const REWRITE_MAX: u64 = 32 << 20;
/// Distinguishes the generations of segments from those of other files.
const SEGMENT_FILES: u64 = 2;

/// Messages to be copied; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct CopyJob {
    files: Arc<Files>,
    seed: u64,
    next_segment: Arc<AtomicU32>,
    through: u32,
    /// How much of segments that are mostly dead may still be rewritten.
    rewrite: u64,
    /// Segments to be written anew, however much of them is alive.
    renew: BTreeSet<u32>,
    groups: Vec<(u64, CopyPlan)>,
    /// Groups with less than this to copy are not compressed.
    pack_least: u64,
    /// Journal files that may be adopted.
    candidates: Vec<Candidate>,
}

/// What a copy job did.
#[derive(Debug)]
pub struct Copied {
    /// Ascending by group.
    groups: Vec<MovedGroup>,
    segments: Vec<NewSegment>,
    renewed: BTreeSet<u32>,
    /// Messages that could not be read, by group and sequence, with the reason. Relocating removes
    /// them.
    pub lost: Vec<(u64, u64, ReadError)>,
}

/// The tables of adopted files, by the number of the file.
type Adopting = BTreeMap<u32, SegmentBuilder>;

#[derive(Debug)]
struct NewSegment {
    number: u32,
    generation: u64,
    key: Unlocked,
    packed: bool,
    groups: Vec<u64>,
    /// The journal file that it adopts.
    body: Option<u32>,
}

impl Copied {
    /// Puts a group's new sections in their places.
    pub fn relocate(&self, group: u64, messages: &mut FileMessages) {
        if let Ok(at) = self
            .groups
            .binary_search_by_key(&group, |moved| moved.group)
        {
            messages.relocate(&self.groups[at]);
        }
    }
}

impl Store {
    /// Begins a copy of what lies in journal files up to `through`.
    #[must_use]
    pub fn begin_copy(&self, through: u32) -> CopyJob {
        CopyJob {
            files: Arc::clone(&self.files),
            seed: self.seed,
            next_segment: Arc::clone(&self.next_segment),
            through,
            rewrite: REWRITE_MAX,
            renew: self
                .plain
                .segment()
                .into_iter()
                .chain(self.renewing.iter().copied())
                .collect(),
            groups: Vec::new(),
            pack_least: self.pack_least,
            candidates: self.candidates(through),
        }
    }

    /// Takes over the new segments. Every group's messages must be relocated before anything else
    /// happens.
    pub fn finish_copy(&mut self, copied: &Copied) {
        for number in &copied.renewed {
            self.plain.spend(*number);
            self.renewing.remove(number);
        }
        for segment in &copied.segments {
            let number = segment.number;
            match segment.body {
                Some(journal) => self.adopt(number, journal),
                None => {
                    let name = file_name(SEGMENT, number);
                    let key = segment.key.clone();
                    let file = RecordFile::new(name, segment.generation, key);
                    let file = file.packed(segment.packed);
                    self.files.add_segment(number, file);
                }
            }
            self.segments.insert(number, segment.groups.clone());
        }
    }

    /// What was found damaged since the store was opened or since the last call, one line each.
    #[must_use]
    pub fn take_damage(&self) -> Vec<String> {
        self.files.take_damage()
    }
}

impl CopyJob {
    /// Only what lies in the journal is copied: on a full disk that is hard enough.
    #[must_use]
    pub fn without_rewriting(mut self) -> Self {
        self.rewrite = 0;
        // Only a file that is copied can go.
        self.candidates.clear();
        self
    }

    /// Adds what a group has in the journal files concerned, and in segments that are mostly dead.
    /// Once a group.
    pub fn add(&mut self, group: u64, messages: &mut FileMessages) {
        let plan = messages.plan_copy(self.through, self.rewrite, &self.renew);
        self.push(group, plan);
    }

    /// As [`add`](Self::add), and compresses what is copied, unless it is very little.
    pub fn add_compressed(&mut self, group: u64, messages: &mut FileMessages) {
        let mut plan = messages.plan_copy(self.through, self.rewrite, &self.renew);
        plan.packed = plan.bytes_outside(|_| false) >= self.pack_least;
        self.push(group, plan);
    }

    fn push(&mut self, group: u64, plan: CopyPlan) {
        self.rewrite = self.rewrite.saturating_sub(plan.rewritten);
        self.groups.push((group, plan));
    }

    /// Copies; blocks on the disk.
    ///
    /// # Errors
    /// The disk refused. Nothing has changed then; the job may be planned again.
    pub fn run(mut self) -> Result<Copied, StoreError> {
        let mut plans = std::mem::take(&mut self.groups);
        // A segment's directory is in the order of groups.
        plans.sort_unstable_by_key(|(group, _)| *group);
        let first = self.next_segment.load(Ordering::Relaxed);
        let copied = self.copy_all(&plans);
        if copied.is_err() {
            // What was written is in the way: the disk may be full.
            for number in first..self.next_segment.load(Ordering::Relaxed) {
                let name = file_name(SEGMENT, number);
                for name in [format!("{name}.tmp"), name] {
                    let _ = self.files.disk.remove(&self.files.path(&name));
                }
            }
        }
        copied
    }

    fn copy_all(&self, plans: &[(u64, CopyPlan)]) -> Result<Copied, StoreError> {
        let mut copied = Copied {
            groups: plans
                .iter()
                .map(|(group, plan)| plan.begin(*group))
                .collect(),
            segments: Vec::new(),
            renewed: self.renew.clone(),
            lost: Vec::new(),
        };
        let adopted = choose(&self.candidates, plans);
        let mut adopting = Adopting::default();
        let mut shared = None;
        for (at, (_, plan)) in plans.iter().enumerate() {
            let outside = plan.bytes_outside(|file| adopted.contains_key(&file));
            if plan.packed || outside >= OWN_SEGMENT {
                let mut own = None;
                self.copy(at, plan, (&mut own, &adopted, &mut adopting), &mut copied)?;
                self.close(own, 1.0, &mut copied)?;
            } else {
                let into = (&mut shared, &adopted, &mut adopting);
                self.copy(at, plan, into, &mut copied)?;
            }
        }
        self.close(shared, 1.0, &mut copied)?;
        for (file, builder) in adopting {
            let share = adopted.get(&file).map_or(1.0, |(_, share)| *share);
            self.close(Some(builder), share, &mut copied)?;
        }
        if !copied.segments.is_empty() {
            let synced = self.files.sync_names();
            synced.map_err(|error| StoreError::io("sync", "the store directory", error))?;
        }
        Ok(copied)
    }

    fn create(&self, body: BodyRef, packed: bool) -> Result<SegmentBuilder, StoreError> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        SegmentBuilder::create(
            &self.files,
            number,
            generation(self.seed, SEGMENT_FILES, number),
            body,
            packed,
        )
    }

    /// Completes a segment and opens its sections.
    fn close(
        &self,
        builder: Option<SegmentBuilder>,
        share: f64,
        copied: &mut Copied,
    ) -> Result<(), StoreError> {
        let Some(builder) = builder else {
            return Ok(());
        };
        let (number, generation) = (builder.number(), builder.generation());
        let body = Some(builder.body().file).filter(|file| *file > 0);
        let built = builder.seal(&self.files, share)?;
        let unusable = |why: &str| {
            let error = std::io::Error::new(std::io::ErrorKind::InvalidData, why);
            StoreError::io("read back", file_name(SEGMENT, number), error)
        };
        let reader = SegmentReader::open(&self.files, number).map_err(|error| match error {
            SegmentError::Unusable(why) => unusable(&why),
            SegmentError::Store(error) => error,
        })?;
        let mut groups: Vec<u64> = built.iter().map(|section| section.group).collect();
        groups.dedup();
        for section in built {
            let (group, base) = (section.group, section.base);
            let tables = reader
                .built(group, base)
                .ok_or_else(|| unusable("damaged tables"))?;
            tables.check();
            let found = copied
                .groups
                .binary_search_by_key(&group, |moved| moved.group);
            let Ok(at) = found else { continue };
            let mut parts = copied.groups[at].parts.iter_mut();
            let holds = |(first, last): (u64, u64)| (first..=last).contains(&base);
            if let Some(part) = parts.find(|part| holds(part.range)) {
                part.sections
                    .push(Sealed::new(Arc::new(tables), section.ids));
            }
        }
        copied.segments.push(NewSegment {
            number,
            generation,
            key: reader.key.clone(),
            packed: reader.packed,
            groups,
            body,
        });
        Ok(())
    }

    fn copy(
        &self,
        at: usize,
        plan: &CopyPlan,
        (builder, adopted, adopting): (&mut Option<SegmentBuilder>, &Adopted, &mut Adopting),
        copied: &mut Copied,
    ) -> Result<(), StoreError> {
        let group = copied.groups[at].group;
        for part in &plan.parts {
            // Where the last message went: a section goes on as long as that is the same.
            let mut last: Option<Option<u32>> = None;
            for item in part.items() {
                let body = match item.location {
                    Location::Journal { file, .. } => adopted.get(&file).filter(|_| !plan.packed),
                    Location::Segment { .. } => None,
                };
                let target = body.map(|(body, _)| body.file);
                let begun = last == Some(target);
                last = Some(target);
                let added = match body {
                    Some((body, _)) => {
                        let builder = match adopting.entry(body.file) {
                            Entry::Occupied(builder) => builder.into_mut(),
                            Entry::Vacant(place) => place.insert(self.create(*body, false)?),
                        };
                        self.refer(builder, group, begun, &item)
                    }
                    None => self.copy_one((group, plan.packed), begun, &item, builder, copied)?,
                };
                if let Err(reason) = added {
                    copied.groups[at].lost.push(item.seq);
                    copied.lost.push((group, item.seq, reason));
                }
            }
        }
        Ok(())
    }

    /// Copies a message into the segment at hand, or a new one.
    fn copy_one(
        &self,
        (group, packed): (u64, bool),
        mut begun: bool,
        item: &CopyItem,
        builder: &mut Option<SegmentBuilder>,
        copied: &mut Copied,
    ) -> Result<Result<(), ReadError>, StoreError> {
        let most = if packed { PACKED_MAX } else { SEGMENT_MAX };
        let full = |builder: &SegmentBuilder| builder.len() >= most;
        if builder.as_ref().is_some_and(full) {
            self.close(builder.take(), 1.0, copied)?;
        }
        let into = match builder {
            Some(into) => into,
            None => {
                begun = false;
                builder.insert(self.create(BodyRef::default(), packed)?)
            }
        };
        if !begun || !into.accepts(item.seq) {
            into.begin(group);
        }
        let add = |record: &[u8], name: &[u8]| into.add(&row(item, name), record);
        match self.files.lend_record(item.seq, item.location, add) {
            Ok(added) => added.map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Adds a message to the tables of the file that it lies in.
    fn refer(
        &self,
        builder: &mut SegmentBuilder,
        group: u64,
        begun: bool,
        item: &CopyItem,
    ) -> Result<(), ReadError> {
        if !begun || !builder.accepts(item.seq) {
            builder.begin(group);
        }
        let offset = item.location.offset();
        let place = (offset, offset.saturating_add(record_len(item)));
        let name = || {
            let name = |_: &[u8], name: &[u8]| name.into();
            self.files.lend_record(item.seq, item.location, name)
        };
        builder.refer(&row(item, &[]), place, name)
    }
}

fn row<'a>(item: &CopyItem, name: &'a [u8]) -> NewRow<'a> {
    NewRow {
        seq: item.seq,
        timestamp: item.timestamp,
        size: item.size,
        key: item.key,
        name,
    }
}
