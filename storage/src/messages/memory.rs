//! Messages kept in memory: one allocation a message, holding key, headers and payload in a row.

use bytes::Bytes;

use super::store::{Bodies, Messages, Removal};
use super::{FileMessages, Insert, ReadError, Stored, StoredRef};

/// Counted per message beyond its key, headers and payload.
const OVERHEAD: usize = 16;
/// After this many bytes of messages the allocator is made to take more from the system at once.
const STEP: usize = 64 << 10;

#[derive(Debug, Default)]
struct Body {
    data: Bytes,
    key_len: u32,
    headers_len: u32,
}

/// The bytes of a memory store: a place is a slot number.
#[derive(Debug, Default)]
pub struct Heap {
    slots: Vec<Body>,
    free: Vec<u32>,
    /// Bytes put since the last [`STEP`].
    put: usize,
}

/// A store that holds its messages in memory.
pub type MemoryMessages = Messages<Heap>;

impl MemoryMessages {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::with_bodies(Heap::default())
    }
}

impl Default for MemoryMessages {
    fn default() -> Self {
        Self::new()
    }
}

impl Bodies for Heap {
    fn size(message: &Insert<'_>) -> u32 {
        let bytes = message.key.len() + message.headers.len() + message.payload.len();
        u32::try_from(OVERHEAD + bytes).unwrap_or(u32::MAX)
    }

    fn put(&mut self, message: &Insert<'_>) -> u64 {
        self.prepare(message);
        let parts = [message.key, message.headers, message.payload];
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            data.extend_from_slice(part);
        }
        let body = Body {
            data: Bytes::from(data),
            key_len: message.key.len() as u32,
            headers_len: message.headers.len() as u32,
        };
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = body;
            return u64::from(slot);
        }
        self.slots.push(body);
        self.slots.len() as u64 - 1
    }

    fn drop_place(&mut self, _seq: u64, place: u64, _removal: Removal) {
        if let Some(body) = self.slots.get_mut(place as usize) {
            *body = Body::default();
            self.free.push(place as u32);
        }
        if self.free.len() == self.slots.len() {
            // Nothing is left: give the memory back.
            *self = Self::default();
        }
    }

    fn moved(&mut self, _last: u64) {}

    fn get(&self, seq: u64, timestamp: i64, place: u64) -> Result<Stored, ReadError> {
        let body = &self.slots[place as usize];
        let (key_end, headers_end) = body.ends();
        Ok(Stored {
            seq,
            timestamp,
            key: body.data.slice(..key_end),
            headers: body.data.slice(key_end..headers_end),
            payload: body.data.slice(headers_end..),
        })
    }

    fn read(
        &self,
        seq: u64,
        timestamp: i64,
        place: u64,
        use_it: &mut dyn FnMut(StoredRef<'_>),
    ) -> Result<(), ReadError> {
        let body = &self.slots[place as usize];
        let (key_end, headers_end) = body.ends();
        use_it(StoredRef {
            seq,
            timestamp,
            key: &body.data[..key_end],
            headers: &body.data[key_end..headers_end],
            payload: &body.data[headers_end..],
        });
        Ok(())
    }

    fn file(_: &MemoryMessages) -> Option<&FileMessages> {
        None
    }

    fn file_mut(_: &mut MemoryMessages) -> Option<&mut FileMessages> {
        None
    }
}

impl Heap {
    /// In all threads but the first, glibc's allocator grows by as many pages as the next object needs, with a system
    /// call each time: one in twenty small messages. An object of many pages that comes and goes leaves its room.
    fn prepare(&mut self, message: &Insert<'_>) {
        self.put += message.key.len() + message.headers.len() + message.payload.len();
        if self.put >= STEP {
            self.put = 0;
            drop(std::hint::black_box(Vec::<u8>::with_capacity(
                STEP + STEP / 2,
            )));
        }
    }
}

impl Body {
    fn ends(&self) -> (usize, usize) {
        let key_end = self.key_len as usize;
        (key_end, key_end + self.headers_len as usize)
    }
}
