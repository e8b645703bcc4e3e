//! Seeded decisions.

/// A small generator (xorshift with a mixed seed): the same seed decides the same.
#[derive(Clone, Debug)]
pub struct Choices(u64);

impl Choices {
    /// Decisions that follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Choices((mixed ^ (mixed >> 31)) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    /// A number below `limit`; 0 when that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.number().checked_rem(limit as u64).unwrap_or_default() as usize
    }

    /// A number in a range.
    pub fn between(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * (self.below(1 << 20) as f64 / f64::from(1 << 20))
    }

    /// Yes or no.
    pub fn coin(&mut self) -> bool {
        self.number().is_multiple_of(2)
    }
}
