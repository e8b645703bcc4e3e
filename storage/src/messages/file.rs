//! Messages that lie in files: in the journal right after they were written, in segments later.
//!
//! Messages up to `copied_through` are in segments, later ones in the journal. For each segment the
//! store remembers how many of its messages are alive and which single ones died: that is what a
//! checkpoint must say about a sealed file.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::{Bodies, Messages, Removal};
use super::{Insert, KeyId, Location, ReadError, Stored, StoredRef};
use crate::files::Files;
use crate::format::Row;
use crate::segment::Section;

/// Counted per message beyond its key, headers and payload.
const OVERHEAD: usize = 30;
/// Counted more when a message has headers.
const HEADERS_OVERHEAD: usize = 4;
/// Set in a place that is in a segment.
const IN_SEGMENT: u64 = 1 << 63;
/// A place that was never given.
const NOWHERE: u64 = u64::MAX;

/// A store whose messages lie in files.
pub type FileMessages = Messages<FileBodies>;

/// The bytes of a file store: a place is a packed [`Location`].
#[derive(Debug)]
pub struct FileBodies {
    files: Arc<Files>,
    /// Highest sequence that a copy pass has dealt with.
    copied_through: u64,
    segments: BTreeMap<u32, SegmentUse>,
    /// Messages whose bytes are to be overwritten once a checkpoint says that they are gone.
    erasures: Vec<(u64, Location)>,
}

/// What of this store is in one segment.
#[derive(Debug)]
struct SegmentUse {
    live: u64,
    /// Messages in it, dead or alive.
    rows: u64,
    first: u64,
    last: u64,
    /// Messages removed singly; those removed from the front are known by the first sequence.
    dead: Vec<u64>,
}

impl SegmentUse {
    fn new(first: u64) -> Self {
        Self {
            live: 0,
            rows: 0,
            first,
            last: first,
            dead: Vec::new(),
        }
    }

    /// Whether copying what is alive would free more than it costs.
    fn is_sparse(&self) -> bool {
        self.live > 0 && self.live * 2 < self.rows
    }
}

/// A message to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CopyItem {
    pub(crate) seq: u64,
    pub(crate) timestamp: i64,
    pub(crate) location: Location,
    pub(crate) size: u32,
}

/// What a segment holds of this store, as read back.
#[derive(Debug)]
pub(crate) struct LoadedSegment<'a> {
    pub(crate) number: u32,
    pub(crate) section: Section,
    /// Dead sequences, ascending.
    pub(crate) dead: &'a [u64],
}

impl LoadedSegment<'_> {
    fn first(&self) -> u64 {
        self.section.rows.first().map_or(0, |row| row.seq)
    }

    fn last(&self) -> u64 {
        self.section.rows.last().map_or(0, |row| row.seq)
    }
}

/// Where a copy pass put a group's messages.
#[derive(Debug)]
pub(crate) struct MovedGroup {
    pub(crate) group: u64,
    /// Everything up to this sequence was dealt with.
    pub(crate) through: u64,
    /// Sequence, segment, offset.
    pub(crate) moved: Vec<(u64, u32, u32)>,
}

/// The part of a checkpoint that is about messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessagesState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_ts: i64,
    pub(crate) copied_through: u64,
    /// Number and dead sequences, ascending.
    pub(crate) segments: Vec<(u32, Vec<u64>)>,
    /// First sequence and length: the live messages in the journal.
    pub(crate) runs: Vec<(u64, u64)>,
}

/// What a message counts for.
pub(crate) fn file_size(key: &[u8], headers: &[u8], payload: &[u8]) -> u32 {
    let mut bytes = OVERHEAD + key.len() + payload.len();
    if !headers.is_empty() {
        bytes += HEADERS_OVERHEAD + headers.len();
    }
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

pub(crate) fn pack(location: Location) -> u64 {
    let (mark, file, offset) = match location {
        Location::Journal { file, offset } => (0, file, offset),
        Location::Segment { file, offset } => (IN_SEGMENT, file, offset),
    };
    mark | u64::from(file & 0x7fff_ffff) << 32 | u64::from(offset)
}

pub(crate) fn unpack(place: u64) -> Location {
    let file = (place >> 32) as u32 & 0x7fff_ffff;
    let offset = place as u32;
    if place & IN_SEGMENT == 0 {
        Location::Journal { file, offset }
    } else {
        Location::Segment { file, offset }
    }
}

impl FileMessages {
    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self::with_bodies(FileBodies {
            files,
            copied_through: 0,
            segments: BTreeMap::new(),
            erasures: Vec::new(),
        })
    }

    /// The live messages in journal files up to `through` that no copy pass has seen, and the
    /// sequence up to which that is all of them.
    pub(crate) fn uncopied(&self, through: u32) -> (Vec<CopyItem>, u64) {
        let mut items = Vec::new();
        for (seq, entry) in self
            .index
            .entries_from(self.bodies.copied_through.saturating_add(1))
        {
            let location = unpack(entry.place);
            match location {
                Location::Journal { file, .. } if file <= through => items.push(CopyItem {
                    seq,
                    timestamp: entry.timestamp,
                    location,
                    size: entry.size,
                }),
                _ => return (items, seq - 1),
            }
        }
        // Later messages will get later sequences, and lie in later files.
        (items, self.index.state().last_seq)
    }

    /// The live messages of segments that are mostly dead, up to about `most` bytes.
    pub(crate) fn sparse(&self, most: u64) -> Vec<CopyItem> {
        let mut items = Vec::new();
        let mut bytes = 0;
        for (number, holder) in self
            .bodies
            .segments
            .iter()
            .filter(|(_, holder)| holder.is_sparse())
        {
            if bytes >= most {
                break;
            }
            let entries = self.index.entries_from(holder.first);
            for (seq, entry) in entries.take_while(|(seq, _)| *seq <= holder.last) {
                let location = unpack(entry.place);
                if matches!(location, Location::Segment { file, .. } if file == *number) {
                    bytes += u64::from(entry.size);
                    let (timestamp, size) = (entry.timestamp, entry.size);
                    items.push(CopyItem {
                        seq,
                        timestamp,
                        location,
                        size,
                    });
                }
            }
        }
        items
    }

    /// Whether a live message lies in a journal file up to `through`.
    pub(crate) fn needs_journal(&self, through: u32) -> bool {
        let first = self
            .index
            .entries_from(self.bodies.copied_through.saturating_add(1))
            .next();
        first.is_some_and(|(_, entry)| {
            matches!(unpack(entry.place), Location::Journal { file, .. } if file <= through)
        })
    }

    /// Takes over what a copy pass did.
    pub(crate) fn relocate(&mut self, group: &MovedGroup) {
        let first_seq = self.index.state().first_seq;
        let segments = &mut self.bodies.segments;
        for &(seq, segment, offset) in &group.moved {
            let to = pack(Location::Segment {
                file: segment,
                offset,
            });
            let from = self
                .index
                .entry_mut(seq)
                .map(|entry| std::mem::replace(&mut entry.place, to));
            if let Some(Location::Segment { file, .. }) = from.map(unpack)
                && let Some(old) = segments.get_mut(&file)
            {
                old.live = old.live.saturating_sub(1);
            }
            let holder = segments
                .entry(segment)
                .or_insert_with(|| SegmentUse::new(seq));
            holder.rows += 1;
            holder.last = seq;
            if from.is_some() {
                holder.live += 1;
            } else if seq > first_seq {
                holder.dead.push(seq);
            }
            // Erased while it was being copied: the copy goes the same way.
            if from.is_none()
                && self
                    .bodies
                    .erasures
                    .iter()
                    .any(|(erased, _)| *erased == seq)
            {
                let location = Location::Segment {
                    file: segment,
                    offset,
                };
                self.bodies.erasures.push((seq, location));
            }
        }
        self.bodies.copied_through = self.bodies.copied_through.max(group.through);
    }

    /// What a checkpoint says about the messages.
    pub(crate) fn checkpoint(&self) -> MessagesState {
        let state = self.index.state();
        let mut segments = Vec::new();
        for (number, holder) in self
            .bodies
            .segments
            .iter()
            .filter(|(_, holder)| holder.live > 0)
        {
            let after_first = |seq: &&u64| **seq > state.first_seq;
            let mut dead: Vec<u64> = holder.dead.iter().filter(after_first).copied().collect();
            dead.sort_unstable();
            segments.push((*number, dead));
        }
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (seq, _) in self
            .index
            .entries_from(self.bodies.copied_through.saturating_add(1))
        {
            match runs.last_mut() {
                Some((first, len)) if *first + *len == seq => *len += 1,
                _ => runs.push((seq, 1)),
            }
        }
        MessagesState {
            first_seq: state.first_seq,
            last_seq: state.last_seq,
            last_ts: state.last_ts,
            copied_through: self.bodies.copied_through,
            segments,
            runs,
        }
    }

    /// Forgets segments in which nothing is alive; checkpoints name them no more.
    pub(crate) fn forget_dead_segments(&mut self) {
        self.bodies.segments.retain(|_, holder| holder.live > 0);
    }

    /// Hands over what is to be overwritten.
    pub(crate) fn take_erasures(&mut self) -> Vec<(u64, Location)> {
        std::mem::take(&mut self.bodies.erasures)
    }

    /// Whether messages wait for a checkpoint to be overwritten.
    #[must_use]
    pub fn has_erasures(&self) -> bool {
        !self.bodies.erasures.is_empty()
    }

    /// Whether a segment holds only dead messages of this store, so that a checkpoint would free
    /// space.
    #[must_use]
    pub fn has_dead_segments(&self) -> bool {
        self.bodies.segments.values().any(|holder| holder.live == 0)
    }

    /// Takes in the live messages of all segments.
    pub(crate) fn load_segments(
        &mut self,
        state: &MessagesState,
        mut parts: Vec<LoadedSegment<'_>>,
    ) {
        parts.retain(|part| !part.section.rows.is_empty());
        parts.sort_by_key(|part| part.first());
        for part in &parts {
            let mut holder = SegmentUse::new(part.first());
            holder.last = part.last();
            holder.rows = part.section.rows.len() as u64;
            holder.dead = part.dead.to_vec();
            self.bodies.segments.insert(part.number, holder);
        }
        let apart = parts
            .windows(2)
            .all(|pair| pair[0].last() < pair[1].first());
        let mut ids: Vec<Vec<Option<KeyId>>> = parts
            .iter()
            .map(|part| vec![None; part.section.keys.len()])
            .collect();
        if apart {
            for (part, ids) in parts.iter().zip(&mut ids) {
                for row in &part.section.rows {
                    self.load_row(state, part, row, ids);
                }
            }
            return;
        }
        // Rewritten segments may lie across others.
        let rows = parts.iter().enumerate();
        let mut rows: Vec<(usize, &Row)> = rows
            .flat_map(|(at, part)| part.section.rows.iter().map(move |row| (at, row)))
            .collect();
        rows.sort_by_key(|(_, row)| row.seq);
        for (at, row) in rows {
            self.load_row(state, &parts[at], row, &mut ids[at]);
        }
    }

    fn load_row(
        &mut self,
        state: &MessagesState,
        part: &LoadedSegment<'_>,
        row: &Row,
        ids: &mut [Option<KeyId>],
    ) {
        if row.seq < state.first_seq || part.dead.binary_search(&row.seq).is_ok() {
            return;
        }
        let (Some(key), Some(known)) = (
            part.section.keys.get(row.key as usize),
            ids.get_mut(row.key as usize),
        ) else {
            return;
        };
        if self.index.check_next(row.seq).is_err() {
            return;
        }
        let place = pack(Location::Segment {
            file: part.number,
            offset: row.offset,
        });
        let meta = match *known {
            Some(id) => self
                .index
                .insert_known(row.seq, row.timestamp, id, row.size, place),
            None => self
                .index
                .insert(row.seq, row.timestamp, key, row.size, place),
        };
        *known = Some(meta.key);
        if let Some(holder) = self.bodies.segments.get_mut(&part.number) {
            holder.live += 1;
        }
    }

    /// Sets the ends as a checkpoint has them, after its messages were taken in.
    pub(crate) fn finish_load(&mut self, state: &MessagesState) {
        self.index
            .restore_ends(state.first_seq, state.last_seq, state.last_ts);
        self.bodies.copied_through = state.copied_through;
    }
}

impl Bodies for FileBodies {
    fn size(message: &Insert<'_>) -> u32 {
        file_size(message.key, message.headers, message.payload)
    }

    fn put(&mut self, message: &Insert<'_>) -> u64 {
        message.location.map_or(NOWHERE, pack)
    }

    fn drop_place(&mut self, seq: u64, place: u64, removal: Removal) {
        if removal == Removal::Erase && place != NOWHERE {
            self.erasures.push((seq, unpack(place)));
        }
        if let Location::Segment { file, .. } = unpack(place)
            && let Some(holder) = self.segments.get_mut(&file)
        {
            holder.live = holder.live.saturating_sub(1);
            if removal != Removal::Front {
                holder.dead.push(seq);
            }
        }
    }

    fn get(&self, seq: u64, _timestamp: i64, place: u64) -> Result<Stored, ReadError> {
        self.files.get(seq, unpack(place))
    }

    fn read(
        &self,
        seq: u64,
        _timestamp: i64,
        place: u64,
        use_it: &mut dyn FnMut(StoredRef<'_>),
    ) -> Result<(), ReadError> {
        self.files.lend(seq, unpack(place), use_it)
    }

    fn file(store: &FileMessages) -> Option<&FileMessages> {
        Some(store)
    }

    fn file_mut(store: &mut FileMessages) -> Option<&mut FileMessages> {
        Some(store)
    }
}
