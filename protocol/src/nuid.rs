//! Unique names made of handed-in random numbers.
//!
//! A NUID is 22 characters of base 62: twelve random ones and a sequence of ten that grows by a
//! random step, so that names are cheap and no two generators meet.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX_LEN: usize = 12;
const SEQUENCE_LEN: usize = 10;
/// Length of a NUID.
pub const LEN: usize = PREFIX_LEN + SEQUENCE_LEN;
/// 62 to the power of the sequence's length.
const SEQUENCE_END: u64 = 839_299_365_868_340_224;
const MIN_STEP: u64 = 33;
const MAX_STEP: u64 = 333;

/// A generator of NUIDs.
#[derive(Debug, Clone)]
pub struct Nuid {
    prefix: [u8; PREFIX_LEN],
    sequence: u64,
    step: u64,
}

impl Nuid {
    /// A generator from random numbers.
    #[must_use]
    pub fn new(random: [u64; 3]) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        // Six characters need under 36 bits of each number.
        let (head, tail) = prefix.split_at_mut(PREFIX_LEN / 2);
        fill(head, random[0]);
        fill(tail, random[1]);
        Self {
            prefix,
            sequence: random[2] % SEQUENCE_END,
            step: MIN_STEP + (random[2] >> 32) % (MAX_STEP - MIN_STEP),
        }
    }

    /// The next name. Names of one generator repeat only after 2.5 * 10^15 calls.
    #[must_use]
    pub fn next_name(&mut self) -> [u8; LEN] {
        self.sequence = (self.sequence + self.step) % SEQUENCE_END;
        let mut name = [0; LEN];
        name[..PREFIX_LEN].copy_from_slice(&self.prefix);
        fill(&mut name[PREFIX_LEN..], self.sequence);
        name
    }
}

/// A short random name of `N` (at most ten) characters.
#[must_use]
pub fn short_name<const N: usize>(random: u64) -> [u8; N] {
    const { assert!(N <= SEQUENCE_LEN) };
    let mut name = [0; N];
    fill(&mut name, random);
    name
}

/// The lowest digits of `value` in base 62, most significant first.
fn fill(out: &mut [u8], mut value: u64) {
    for slot in out.iter_mut().rev() {
        *slot = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_share_a_prefix() {
        let mut nuid = Nuid::new([1, 2, u64::MAX]);
        let names: Vec<_> = (0..1000).map(|_| nuid.next_name()).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.iter().all(|name| name[..12] == names[0][..12]));
        assert!(names.iter().flatten().all(u8::is_ascii_alphanumeric));
    }

    #[test]
    fn the_sequence_ends_where_ten_digits_end() {
        assert_eq!(SEQUENCE_END, 62u64.pow(SEQUENCE_LEN as u32));
        assert_eq!(&short_name::<4>(62 * 62 + 61), b"010z");
    }
}
