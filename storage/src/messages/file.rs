//! Messages that lie in files: in the journal right after they were written, in segments later.

use std::sync::Arc;

use super::store::{Bodies, Messages, Removal};
use super::{Insert, Location, ReadError, Stored, StoredRef};
use crate::files::Files;

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
        Self::with_bodies(FileBodies { files })
    }
}

impl Bodies for FileBodies {
    fn size(message: &Insert<'_>) -> u32 {
        let mut bytes = OVERHEAD + message.key.len() + message.payload.len();
        if !message.headers.is_empty() {
            bytes += HEADERS_OVERHEAD + message.headers.len();
        }
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn put(&mut self, message: &Insert<'_>) -> u64 {
        message.location.map_or(NOWHERE, pack)
    }

    fn drop_place(&mut self, _seq: u64, _place: u64, _removal: Removal) {}

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
