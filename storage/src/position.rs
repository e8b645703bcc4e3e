//! Positions in the journal.

/// A position in the journal: file number, then offset. Positions ascend with time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position at `offset` of journal file `file`.
    #[must_use]
    pub const fn new(file: u32, offset: u32) -> Self {
        Self((file as u64) << 32 | offset as u64)
    }

    /// Number of the journal file.
    #[must_use]
    pub const fn file(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Offset in the file.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.0 as u32
    }
}
