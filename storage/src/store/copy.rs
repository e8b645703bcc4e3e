//! Copying what outlives the journal into segments.
//!
//! The owner collects what is alive in the oldest journal files, a job copies it on any thread, and
//! the owner swaps the locations. Nothing depends on the copies until a checkpoint names them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Store;
use crate::error::StoreError;
use crate::files::{Files, RecordFile, SEGMENT, file_name};
use crate::journal::generation;
use crate::messages::{CopyItem, FileMessages, MovedGroup, ReadError};
use crate::segment::SegmentBuilder;

/// Groups with less than this share a segment.
const OWN_SEGMENT: u64 = 256 << 10;
/// A segment is closed at this length.
const SEGMENT_MAX: u64 = 64 << 20;
/// Rewriting stops at about this much per group and pass.
const REWRITE_MAX: u64 = 16 << 20;
/// Distinguishes the generations of segments from those of other files.
const SEGMENT_FILES: u64 = 2;

#[derive(Debug)]
struct GroupItems {
    group: u64,
    items: Vec<CopyItem>,
    through: u64,
    bytes: u64,
}

/// Messages to be copied; `run` it where blocking is allowed.
#[derive(Debug)]
pub struct CopyJob {
    files: Arc<Files>,
    seed: u64,
    next_segment: Arc<AtomicU32>,
    through: u32,
    /// Segments that are mostly dead are rewritten as well.
    rewrites: bool,
    groups: Vec<GroupItems>,
}

/// What a copy job did.
#[derive(Debug)]
pub struct Copied {
    /// Ascending by group.
    groups: Vec<MovedGroup>,
    /// Number, generation, groups.
    segments: Vec<(u32, u64, Vec<u64>)>,
    /// Messages that could not be read, by group and sequence, with the reason.
    pub lost: Vec<(u64, u64, ReadError)>,
}

impl Copied {
    /// Swaps the locations of a group's messages.
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
            rewrites: true,
            groups: Vec::new(),
        }
    }

    /// Takes over the new segments. Every group's messages must be relocated before anything else
    /// happens.
    pub fn finish_copy(&mut self, copied: &Copied) {
        for (number, generation, groups) in &copied.segments {
            let name = file_name(SEGMENT, *number);
            self.files
                .add_segment(*number, RecordFile::new(name, *generation));
            self.segments.insert(*number, groups.clone());
        }
    }
}

impl CopyJob {
    /// Only what lies in the journal is copied: on a full disk that is hard enough.
    #[must_use]
    pub fn without_rewriting(mut self) -> Self {
        self.rewrites = false;
        self
    }

    /// Adds what a group has in the journal files concerned, and in segments that are mostly dead.
    /// Once a group.
    pub fn add(&mut self, group: u64, messages: &FileMessages) {
        let (tail, through) = messages.uncopied(self.through);
        let most = if self.rewrites { REWRITE_MAX } else { 0 };
        let mut items = messages.sparse(most);
        // Segments that lie across each other come one after the other.
        items.sort_unstable_by_key(|item| item.seq);
        items.extend(tail);
        let bytes = items.iter().map(|item| u64::from(item.size)).sum();
        self.groups.push(GroupItems {
            group,
            items,
            through,
            bytes,
        });
    }

    /// Copies; blocks on the disk.
    ///
    /// # Errors
    /// The disk refused. Nothing has changed then; the job may be planned again.
    pub fn run(mut self) -> Result<Copied, StoreError> {
        let mut copied = Copied {
            groups: Vec::new(),
            segments: Vec::new(),
            lost: Vec::new(),
        };
        let groups = std::mem::take(&mut self.groups);
        let mut shared = None;
        for group in &groups {
            if group.bytes >= OWN_SEGMENT {
                let mut own = None;
                self.copy(group, &mut own, &mut copied)?;
                self.close(own, &mut copied)?;
            } else {
                self.copy(group, &mut shared, &mut copied)?;
            }
        }
        self.close(shared, &mut copied)?;
        copied.groups.sort_unstable_by_key(|moved| moved.group);
        if !copied.segments.is_empty() {
            let synced = self.files.sync_names();
            synced.map_err(|error| StoreError::io("sync", "the store directory", error))?;
        }
        Ok(copied)
    }

    fn create(&self) -> Result<SegmentBuilder, StoreError> {
        let number = self.next_segment.fetch_add(1, Ordering::Relaxed);
        SegmentBuilder::create(
            &self.files,
            number,
            generation(self.seed, SEGMENT_FILES, number),
        )
    }

    fn close(
        &self,
        builder: Option<SegmentBuilder>,
        copied: &mut Copied,
    ) -> Result<(), StoreError> {
        let Some(builder) = builder else {
            return Ok(());
        };
        copied
            .segments
            .push((builder.number(), builder.generation(), builder.groups()));
        builder.seal(&self.files)
    }

    fn copy(
        &self,
        group: &GroupItems,
        builder: &mut Option<SegmentBuilder>,
        copied: &mut Copied,
    ) -> Result<(), StoreError> {
        let mut moved = Vec::with_capacity(group.items.len());
        let mut begun = false;
        for item in &group.items {
            let full = |builder: &SegmentBuilder| {
                builder.len() >= SEGMENT_MAX || (begun && !builder.accepts(item.seq))
            };
            if builder.as_ref().is_some_and(full) {
                self.close(builder.take(), copied)?;
                begun = false;
            }
            let into = match builder {
                Some(into) => into,
                None => builder.insert(self.create()?),
            };
            if !begun {
                into.begin(group.group);
                begun = true;
            }
            let number = into.number();
            let added = self
                .files
                .lend_record(item.seq, item.location, |record, key| {
                    into.add(item.seq, item.timestamp, item.size, record, key)
                });
            match added {
                Ok(offset) => moved.push((item.seq, number, offset?)),
                Err(reason) => copied.lost.push((group.group, item.seq, reason)),
            }
        }
        let (group, through) = (group.group, group.through);
        copied.groups.push(MovedGroup {
            group,
            through,
            moved,
        });
        Ok(())
    }
}
