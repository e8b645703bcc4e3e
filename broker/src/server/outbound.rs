//! What a connection still has to be sent.
//!
//! Producers hand over whole batches. Whoever finds the connection idle writes to the socket
//! itself, without waiting; if the socket is full, the rest stays here and the connection's writer
//! task takes over. The lock is held to move batches, never during a system call. One party at a
//! time owns the write side ([`Phase`]), so batches keep their order.
//!
//! Bound: `max_pending` bytes; a batch beyond it is refused and the connection is cut
//! ([`Accepted::Overflow`]).

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// Batches from this size on are queued as they are, smaller ones are appended to the one before.
const OWN_CHUNK: usize = 16 << 10;
/// Rounds in which a producer writes what others queued meanwhile, before it leaves the rest to the
/// writer.
const ROUNDS: usize = 4;
/// Slices of one `writev`.
const SLICES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbound {
    max_pending: usize,
    state: Mutex<State>,
    /// Wakes the writer task.
    pub(crate) wake: Notify,
    /// Wakes stalled producers.
    pub(crate) relieved: Notify,
}

#[derive(Debug)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes accepted and not yet written, including those in the hands of the write side's owner.
    pending: usize,
    phase: Phase,
    /// Nothing more is accepted; what is queued is still written.
    closing: bool,
    /// `None` once the connection is closed.
    socket: Option<Arc<OwnedWriteHalf>>,
}

/// Who owns the write side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// A producer is writing.
    Producer,
    /// The writer task writes, or is about to.
    Writer,
}

/// How far [`Outbound::drain`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nothing waits any more.
    All,
    /// The socket is broken.
    Broken,
    /// The peer did not take this in time.
    Late {
        /// Chunks.
        count: usize,
        /// Their bytes.
        total: usize,
    },
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Written or queued.
    Yes,
    /// Queued, and the connection is more than three quarters full.
    NearlyFull,
    /// Refused: the connection is closed.
    Closed,
    /// Refused: more than `max_pending` bytes. The connection has to be cut.
    Overflow,
    /// The socket is broken.
    Broken,
}

impl Outbound {
    pub(crate) fn new(socket: OwnedWriteHalf, max_pending: usize) -> Self {
        let state = State {
            chunks: VecDeque::new(),
            pending: 0,
            phase: Phase::Idle,
            closing: false,
            socket: Some(Arc::new(socket)),
        };
        Self {
            max_pending,
            state: Mutex::new(state),
            wake: Notify::new(),
            relieved: Notify::new(),
        }
    }

    /// Bytes that wait.
    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending
    }

    /// Whether producers should slow down.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.state.lock().pending > self.high_water()
    }

    fn high_water(&self) -> usize {
        self.max_pending / 4 * 3
    }

    /// Takes a batch and leaves an empty buffer in its place. Writes it at once if nobody else is
    /// writing.
    pub(crate) fn send(&self, batch: &mut Vec<u8>) -> Accepted {
        let mut state = self.state.lock();
        let Some(socket) = state
            .socket
            .as_ref()
            .filter(|_| !state.closing)
            .map(Arc::clone)
        else {
            batch.clear();
            return Accepted::Closed;
        };
        if state.pending + batch.len() > self.max_pending {
            batch.clear();
            return Accepted::Overflow;
        }
        state.pending += batch.len();
        if state.phase != Phase::Idle {
            state.push(batch);
            return self.fill_level(&state);
        }
        state.phase = Phase::Producer;
        drop(state);
        self.write_through(&socket, batch)
    }

    /// The producer's side: owns [`Phase::Producer`] on entry and gives it up on return.
    fn write_through(&self, socket: &OwnedWriteHalf, batch: &mut Vec<u8>) -> Accepted {
        for _ in 0..ROUNDS {
            let (written, result) = write_now(socket, batch);
            let mut state = self.state.lock();
            state.pending = state.pending.saturating_sub(written);
            if written < batch.len() {
                batch.drain(..written);
                state.chunks.push_front(std::mem::take(batch));
                return self.hand_over(state, result);
            }
            batch.clear();
            match state.chunks.pop_front() {
                Some(next) => {
                    drop(state);
                    *batch = next;
                }
                None => {
                    state.phase = Phase::Idle;
                    let closing = state.closing;
                    drop(state);
                    if closing {
                        self.wake.notify_one();
                    }
                    return Accepted::Yes;
                }
            }
        }
        let mut state = self.state.lock();
        state.chunks.push_front(std::mem::take(batch));
        self.hand_over(state, Ok(()))
    }

    fn hand_over(
        &self,
        mut state: parking_lot::MutexGuard<'_, State>,
        result: io::Result<()>,
    ) -> Accepted {
        state.phase = Phase::Writer;
        let level = self.fill_level(&state);
        drop(state);
        self.wake.notify_one();
        if result.is_err() {
            Accepted::Broken
        } else {
            level
        }
    }

    fn fill_level(&self, state: &State) -> Accepted {
        if state.pending > self.high_water() {
            Accepted::NearlyFull
        } else {
            Accepted::Yes
        }
    }

    /// Takes all that waits, for the writer task; `None` if there is nothing to do.
    fn take(&self) -> Option<(Arc<OwnedWriteHalf>, VecDeque<Vec<u8>>)> {
        let mut state = self.state.lock();
        if state.phase != Phase::Writer {
            return None;
        }
        let socket = state.socket.clone()?;
        if state.chunks.is_empty() {
            state.phase = Phase::Idle;
            return None;
        }
        Some((socket, std::mem::take(&mut state.chunks)))
    }

    /// The writer task wrote this many bytes.
    fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        let before = state.pending;
        state.pending = before.saturating_sub(bytes);
        let relieved = before > self.high_water() && state.pending <= self.high_water();
        drop(state);
        if relieved {
            self.relieved.notify_waiters();
        }
    }

    /// Sends all that waits, for the writer task. Each round takes what has gathered and has `limit` for it.
    pub(crate) async fn drain(&self, limit: Duration) -> Drained {
        while let Some((socket, chunks)) = self.take() {
            let count = chunks.len();
            let total: usize = chunks.iter().map(Vec::len).sum();
            match tokio::time::timeout(limit, self.write(&socket, chunks)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Drained::Broken,
                Err(_) => return Drained::Late { count, total },
            }
        }
        Drained::All
    }

    async fn write(
        &self,
        socket: &OwnedWriteHalf,
        mut chunks: VecDeque<Vec<u8>>,
    ) -> io::Result<()> {
        let mut offset = 0;
        while !chunks.is_empty() {
            match write_chunks(socket, &mut chunks, &mut offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Accepts nothing more; what waits is still written. True if nothing waits.
    pub(crate) fn finish(&self) -> bool {
        let mut state = self.state.lock();
        state.closing = true;
        state.phase == Phase::Idle
    }

    /// Whether everything was written after [`Outbound::finish`].
    pub(crate) fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.socket.is_none() || (state.closing && state.phase == Phase::Idle)
    }

    /// Closes at once: drops what waits and returns the socket, once.
    pub(crate) fn close(&self) -> Option<Arc<OwnedWriteHalf>> {
        let mut state = self.state.lock();
        state.closing = true;
        state.pending = 0;
        state.chunks = VecDeque::new();
        let socket = state.socket.take();
        drop(state);
        self.wake.notify_one();
        self.relieved.notify_waiters();
        socket
    }
}

impl State {
    /// Queues a batch, and leaves an empty buffer in its place.
    fn push(&mut self, batch: &mut Vec<u8>) {
        match self.chunks.back_mut() {
            Some(last) if batch.len() < OWN_CHUNK && last.len() < OWN_CHUNK => {
                last.extend_from_slice(batch);
                batch.clear();
            }
            _ => self.chunks.push_back(std::mem::take(batch)),
        }
    }
}

/// Writes as much as the socket takes without waiting.
fn write_now(socket: &OwnedWriteHalf, batch: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < batch.len() {
        match socket.try_write(&batch[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (written, Ok(())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Writes chunks as far as the socket takes them without waiting and drops what was written.
/// Returns the bytes.
fn write_chunks(
    socket: &OwnedWriteHalf,
    chunks: &mut VecDeque<Vec<u8>>,
    offset: &mut usize,
) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, chunk) in slices.iter_mut().zip(chunks.iter()) {
        let from = if count == 0 { *offset } else { 0 };
        *slice = IoSlice::new(&chunk[from..]);
        count += 1;
    }
    let written = socket.try_write_vectored(&slices[..count])?;
    let mut left = written + *offset;
    while let Some(chunk) = chunks.front() {
        if left < chunk.len() {
            break;
        }
        left -= chunk.len();
        chunks.pop_front();
    }
    *offset = left;
    Ok(written)
}
