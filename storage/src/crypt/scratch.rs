//! A buffer for each thread, for what is decrypted only to be looked at.

use std::cell::Cell;

/// A longer buffer is not kept.
const KEPT: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The thread's buffer, or an empty one while that is in use.
pub(crate) fn take() -> Vec<u8> {
    BUFFER.take()
}

/// Gives the buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
}
