//! The buffer that a connection is read into.
//!
//! It grows while the client fills it and shrinks when it no longer does, so that a busy connection
//! is read in few system calls and an idle one costs little. A message that is larger than the
//! buffer gets the room that it needs, for as long as it needs it: it is read into its place and
//! never moved.

const MIN: usize = 4 << 10;
const MAX: usize = 64 << 10;
/// Reads in a row that fill less than a quarter, after which the buffer shrinks.
const PATIENCE: u32 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pub(super) bytes: Vec<u8>,
    /// What was in front of the last read.
    before: usize,
    full: bool,
    short_reads: u32,
}

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(MIN),
            before: 0,
            full: false,
            short_reads: 0,
        }
    }

    /// Learns from a read.
    pub(super) fn note_read(&mut self) {
        self.full = self.bytes.len() == self.bytes.capacity();
        let read = self.bytes.len() - self.before;
        if read < self.bytes.capacity() / 4 {
            self.short_reads += 1;
        } else {
            self.short_reads = 0;
        }
    }

    /// Makes room for the next read; `needed` bytes must fit altogether.
    pub(super) fn prepare(&mut self, needed: usize) {
        let length = self.bytes.len();
        let capacity = self.bytes.capacity();
        let wanted = if self.full {
            capacity * 2
        } else if self.short_reads > PATIENCE {
            self.short_reads = 0;
            capacity / 2
        } else {
            capacity
        };
        let room = wanted.clamp(MIN, MAX).max(needed).max(length + 1);
        if room > capacity {
            self.bytes.reserve_exact(room - length);
        } else if room < capacity {
            self.bytes.shrink_to(room);
        }
        self.before = length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(buffer: &mut ReadBuffer, count: usize, left: usize) {
        let length = buffer.bytes.len();
        assert!(length < buffer.bytes.capacity());
        let count = count.min(buffer.bytes.capacity() - length);
        buffer.bytes.resize(length + count, 0);
        buffer.note_read();
        buffer.bytes.truncate(left);
    }

    #[test]
    fn a_busy_connection_gets_a_large_buffer_and_an_idle_one_gives_it_back() {
        let mut buffer = ReadBuffer::new();
        for _ in 0..10 {
            read(&mut buffer, usize::MAX, 10);
            buffer.prepare(100);
        }
        assert_eq!(buffer.bytes.capacity(), MAX);
        for _ in 0..1000 {
            read(&mut buffer, 100, 0);
            buffer.prepare(1);
        }
        assert_eq!(buffer.bytes.capacity(), MIN);
    }

    #[test]
    fn a_large_message_gets_its_room_at_once_and_only_as_long_as_needed() {
        let mut buffer = ReadBuffer::new();
        read(&mut buffer, 30, 30);
        buffer.prepare(1 << 20);
        assert_eq!(buffer.bytes.capacity(), 1 << 20);
        read(&mut buffer, (1 << 20) - 30, 0);
        buffer.prepare(1);
        assert!(
            buffer.bytes.capacity() <= MAX,
            "{}",
            buffer.bytes.capacity()
        );
    }

    #[test]
    fn there_is_always_room_to_read() {
        let mut buffer = ReadBuffer::new();
        for step in 1..2000 {
            let left = (step * 37) % 5000;
            read(&mut buffer, step * 7, left);
            buffer.prepare(left + 1);
        }
    }
}
