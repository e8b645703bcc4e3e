//! Messages that lie in files: in the journal right after they were written, in sealed sections of
//! segments later.
//!
//! Messages up to `copied_through` are in sections, later ones in the journal. What a checkpoint says
//! about a section lets it be opened without a look at its rows, unless some of them are dead.

use std::sync::Arc;

use super::index::Entry;
use super::moving::Removals;
use super::sealed::{DeadRows, Sealed};
use super::store::{Bodies, Messages, Removal};
use super::{Insert, KeyId, Location, ReadError, Stored, StoredRef};
use crate::files::Files;
use crate::format::DirectoryEntry;
use crate::segment::SectionTables;

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
    pub(super) copied_through: u64,
    pub(super) removals: Removals,
    /// The journal file of the newest place that was given.
    newest: u32,
    /// Up to this sequence a message of the tail may lie in a later file than those behind it.
    pub(super) disordered: u64,
    /// Messages whose bytes are to be overwritten once a checkpoint says that they are gone.
    erasures: Vec<Location>,
    /// Segments in whose chunks are messages to be erased: what lives is to be copied out of them.
    pub(super) spoilt: Vec<u32>,
}

/// What a checkpoint says about a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SectionState {
    /// Number of the segment.
    pub(crate) number: u32,
    pub(crate) base: u64,
    pub(crate) last: u64,
    pub(crate) rows: u32,
    /// Live rows, and what they count for.
    pub(crate) live: u32,
    pub(crate) bytes: u64,
    /// What all rows count for.
    pub(crate) total: u64,
    /// Dead rows at or after the first sequence.
    pub(crate) dead: DeadRows,
}

/// The part of a checkpoint that is about messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessagesState {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) last_ts: i64,
    /// How many keys have messages.
    pub(crate) keys: u64,
    pub(crate) copied_through: u64,
    /// Ascending by sequence.
    pub(crate) sections: Vec<SectionState>,
    /// First sequence and length: the live messages in the journal.
    pub(crate) runs: Vec<(u64, u64)>,
}

impl SectionState {
    /// What the directory of the segment says about the section.
    pub(crate) fn expected(&self, group: u64) -> DirectoryEntry {
        DirectoryEntry {
            group,
            base: self.base,
            last: self.last,
            rows: self.rows,
            bytes: self.total,
            records: (0, u32::MAX),
            ..DirectoryEntry::default()
        }
    }

    /// The live sequences, if they can be told without the rows.
    pub(crate) fn live_seqs(&self, first_seq: u64) -> Option<Vec<u64>> {
        let span = self.last.checked_sub(self.base)?;
        let dense = u64::from(self.rows).checked_sub(1) == Some(span);
        let rows = (0..self.rows).filter(|row| !self.dead.contains(*row));
        let seqs = rows.map(|row| self.base.saturating_add(u64::from(row)));
        dense.then(|| seqs.filter(|seq| *seq >= first_seq).collect())
    }
}

/// What a message counts for, from the lengths of key, headers and payload.
pub(crate) fn size_of(key: usize, headers: usize, payload: usize) -> u32 {
    let mut bytes = OVERHEAD + key + payload;
    if headers > 0 {
        bytes += HEADERS_OVERHEAD + headers;
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

/// Whether a message lies in a journal file up to `through`.
pub(super) fn is_early(entry: &Entry, through: u32) -> bool {
    matches!(unpack(entry.place), Location::Journal { file, .. } if file <= through)
}

impl FileBodies {
    /// Notes a place whose bytes are to be overwritten.
    pub(super) fn erase(&mut self, place: u64) {
        if place != NOWHERE {
            let location = unpack(place);
            self.erasures.push(location);
            if let Location::Segment { file, .. } = location {
                self.spoil(file);
            }
        }
    }
}

impl FileBodies {
    /// Notes that a message in a segment is to be erased.
    fn spoil(&mut self, segment: u32) {
        let location = Location::Segment {
            file: segment,
            offset: 0,
        };
        if !self.spoilt.contains(&segment) && self.files.is_packed(location) {
            self.spoilt.push(segment);
        }
    }
}

impl FileMessages {
    /// Notes that a message in a segment is still to be erased.
    pub(crate) fn spoil(&mut self, segment: u32) {
        self.bodies.spoil(segment);
    }

    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self::with_bodies(FileBodies {
            files,
            copied_through: 0,
            removals: Removals::default(),
            newest: 0,
            disordered: 0,
            erasures: Vec::new(),
            spoilt: Vec::new(),
        })
    }

    /// Where a message lies.
    pub(crate) fn location(&self, seq: u64) -> Option<Location> {
        let place = self.index.entry(seq)?.place;
        (place != NOWHERE).then(|| unpack(place))
    }

    /// Whether a live message lies in a journal file up to `through`.
    pub(crate) fn needs_journal(&self, through: u32) -> bool {
        let early = |(_, entry): (u64, Entry)| is_early(&entry, through);
        let disordered = self.bodies.disordered;
        let tail = &self.index.tail;
        let ordered = disordered
            .checked_add(1)
            .and_then(|from| tail.at_or_after(from));
        let mut before = tail.iter_from(0).take_while(|(seq, _)| *seq <= disordered);
        let mut sections = self.index.sections.list.iter();
        ordered.is_some_and(early)
            || before.any(early)
            || sections.any(|section| section.repaired().any(early))
    }

    /// What a checkpoint says about the messages.
    pub(crate) fn checkpoint(&self) -> MessagesState {
        let state = self.index.state();
        let section = |section: &Sealed| {
            let (dead, front) = section.dead();
            let mut known = dead.from(front);
            // Below the first sequence everything is dead.
            known.fill(section.tables.lower_bound(state.first_seq), front);
            SectionState {
                number: section.number(),
                base: section.base(),
                last: section.last(),
                rows: section.tables.len(),
                live: section.live(),
                bytes: section.bytes(),
                total: section.tables.entry.bytes,
                dead: known,
            }
        };
        let mut runs: Vec<(u64, u64)> = Vec::new();
        // What was repaired is in the journal as well as in its section.
        let repaired = self.index.sections.list.iter().flat_map(Sealed::repaired);
        for (seq, _) in repaired.chain(self.index.tail.iter_from(0)) {
            match runs.last_mut() {
                Some((first, len)) if *first + *len == seq => *len += 1,
                _ => runs.push((seq, 1)),
            }
        }
        MessagesState {
            first_seq: state.first_seq,
            last_seq: state.last_seq,
            last_ts: state.last_ts,
            keys: state.keys,
            copied_through: self.bodies.copied_through,
            sections: self.index.sections.list.iter().map(section).collect(),
            runs,
        }
    }

    /// Forgets that sections died; checkpoints name them no more.
    pub(crate) fn forget_dead_segments(&mut self) {
        self.index.sections.emptied = false;
    }

    /// Hands over what is to be overwritten.
    pub(crate) fn take_erasures(&mut self) -> Vec<Location> {
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
        self.index.sections.emptied
    }

    /// Whether a round of copying and checkpointing would free space or erase something, even if no
    /// journal file goes.
    #[must_use]
    pub fn is_wasteful(&self) -> bool {
        let sections = &self.index.sections;
        let spoilt = |section: &Sealed| self.bodies.spoilt.contains(&section.number());
        let worth = |section| Sealed::is_worn(section) || spoilt(section);
        sections.emptied || self.has_erasures() || sections.list.iter().any(worth)
    }

    /// Of each section: the number of its segment, about how many bytes of records are alive in it,
    /// rather more than less, and how many the segment has, all groups together.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (u32, u64, u64)> + '_ {
        let sections = self.index.sections.list.iter();
        sections.map(|section| {
            let share = (section.records_len(), section.tables.entry.keys_at);
            (section.number(), share.0, share.1)
        })
    }

    /// Makes room for the keys that a checkpoint counted, as far as its sections hold that many.
    pub(crate) fn begin_load(&mut self, state: &MessagesState, held: u64) {
        let keys = usize::try_from(state.keys.min(held)).unwrap_or(0);
        self.index.keys.reserve(keys);
    }

    /// Takes in a section, of which `lost` rows cannot be read; sections come in ascending order.
    /// Returns the sequences that are lost.
    pub(crate) fn load_section(
        &mut self,
        first_seq: u64,
        state: &SectionState,
        tables: Arc<SectionTables>,
        lost: &[u32],
    ) -> Vec<u64> {
        let after_others = self.index.check_next(tables.entry.base).is_ok();
        if tables.len() == 0 || !after_others {
            return Vec::new();
        }
        let mut section = Sealed::new(tables, Box::default());
        for row in 0..section.tables.lower_bound(first_seq) {
            section.kill(row);
        }
        for row in state.dead.iter(0) {
            if row < section.tables.len() && section.is_alive(row) {
                section.kill(row);
            }
        }
        let mut lost_seqs = Vec::new();
        for row in lost {
            if section.is_alive(*row) {
                lost_seqs.push(section.kill(*row).0);
            }
        }
        let ids = (0..section.tables.keys()).map(|key| {
            let count = u64::from(section.key_count(key));
            if count == 0 {
                return KeyId(u32::MAX);
            }
            let id = self.index.keys.id_of(section.tables.name(key));
            let (first, last) = section.tables.span(key);
            self.index.keys.add_sealed(id, count, first, last);
            id
        });
        let ids = ids.collect();
        section.set_ids(ids);
        self.index.bytes += section.bytes();
        self.index.last_seq = section.last();
        self.index.sections.insert(section);
        lost_seqs
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
        size_of(
            message.key.len(),
            message.headers.len(),
            message.payload.len(),
        )
    }

    fn put(&mut self, message: &Insert<'_>) -> u64 {
        if let Some(Location::Journal { file, .. }) = message.location {
            if file < self.newest {
                self.disordered = self.disordered.max(message.seq);
            }
            self.newest = self.newest.max(file);
        }
        message.location.map_or(NOWHERE, pack)
    }

    fn moved(&mut self, last: u64) {
        self.disordered = self.disordered.max(last);
        // A copy that is being made does not know of it.
        self.removals.close();
    }

    fn drop_place(&mut self, seq: u64, place: u64, removal: Removal) {
        let erase = removal == Removal::Erase;
        if erase {
            self.erase(place);
        }
        if removal != Removal::Front {
            self.removals.note(seq, erase);
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
