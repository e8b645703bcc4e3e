//! Randomness for the cores, from the operating system.

use std::hash::{BuildHasher, Hasher, RandomState};

use ring::rand::{SecureRandom as _, SystemRandom};

/// A generator for one thread: splitmix64 over a seed from the operating system. Good enough for names, inboxes
/// and jitter; keys come from the operating system itself.
#[derive(Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// A generator with a fresh seed.
    pub(crate) fn new() -> Self {
        Self { state: number() }
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// One random number: the keys of std's hash maps come from the operating system.
pub(crate) fn number() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Bytes that nobody can guess, or `None` when the operating system has none to give.
pub(crate) fn secret() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}
