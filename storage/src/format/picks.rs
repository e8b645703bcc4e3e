//! Which messages of a group an adopted journal file counts for: the others in it were dead already
//! when it was adopted. Needed only when the tables that say the same are damaged.

use super::{Fields, Seed, padded, put, put_varint, take_varint};

const MAGIC: [u8; 4] = *b"JWPK";
/// Size of the head of a list.
const HEAD: usize = 32;

/// The sequences of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picks {
    pub(crate) group: u64,
    /// First and last sequence of each run, ascending.
    runs: Vec<(u64, u64)>,
}

/// Appends the list of a section, which will lie at `offset`. Sequences ascend.
pub(crate) fn encode_picks(
    out: &mut Vec<u8>,
    seed: Seed,
    offset: u32,
    group: u64,
    seqs: impl Iterator<Item = u64>,
) {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => runs.push((seq, seq)),
        }
    }
    let start = out.len();
    out.resize(start + HEAD, 0);
    let mut end = 0;
    for (first, last) in &runs {
        put_varint(out, first - end);
        put_varint(out, last - first);
        end = last + 1;
    }
    let len = (out.len() - start - HEAD) as u32;
    out.resize(start + padded(out.len() - start), 0);
    let list = &mut out[start..];
    put(list, 0, MAGIC);
    put(list, 8, group.to_le_bytes());
    put(list, 16, (runs.len() as u32).to_le_bytes());
    put(list, 20, len.to_le_bytes());
    let sum = seed.sum(offset, &list[8..]);
    put(list, 4, sum.to_le_bytes());
}

impl Picks {
    /// The list at the start of `bytes`, which lie at `offset`, and its length there.
    pub(crate) fn decode(bytes: &[u8], seed: Seed, offset: u32) -> Option<(Self, usize)> {
        let head = bytes.get(..HEAD)?;
        if head[..4] != MAGIC {
            return None;
        }
        let fields = Fields(head);
        let len = fields.u32(20) as usize;
        let all = bytes.get(..HEAD.checked_add(padded(len))?)?;
        if fields.u32(4) != seed.sum(offset, &all[8..]) {
            return None;
        }
        let mut rest = &all[HEAD..HEAD + len];
        let mut end = 0_u64;
        let mut runs = Vec::new();
        for _ in 0..fields.u32(16) {
            let first = end.checked_add(take_varint(&mut rest)?)?;
            let last = first.checked_add(take_varint(&mut rest)?)?;
            end = last.checked_add(1)?;
            runs.push((first, last));
        }
        let picks = Self {
            group: fields.u64(8),
            runs,
        };
        Some((picks, all.len()))
    }

    /// Whether a sequence belongs to the section.
    pub(crate) fn contains(&self, seq: u64) -> bool {
        let at = self.runs.partition_point(|(_, last)| *last < seq);
        self.runs.get(at).is_some_and(|(first, _)| *first <= seq)
    }

    /// First and last sequence.
    pub(crate) fn range(&self) -> (u64, u64) {
        let ends = self.runs.first().zip(self.runs.last());
        ends.map_or((0, 0), |((first, _), (_, last))| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_back_and_one_flipped_bit_is_noticed() {
        let seqs = [3, 4, 5, 9, 200, 201, u64::MAX - 1];
        let seed = Seed::new(8);
        let mut bytes = vec![0; 64];
        encode_picks(&mut bytes, seed, 64, 7, seqs.iter().copied());
        let (picks, len) = Picks::decode(&bytes[64..], seed, 64).unwrap();
        assert_eq!((picks.group, len), (7, bytes.len() - 64));
        assert_eq!(picks.range(), (3, u64::MAX - 1));
        for seq in (0..300).chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(picks.contains(seq), seqs.contains(&seq), "{seq}");
        }
        for at in 64..bytes.len() {
            let mut hurt = bytes.clone();
            hurt[at] ^= 4;
            assert_eq!(Picks::decode(&hurt[64..], seed, 64), None, "byte {at}");
        }
        assert_eq!(Picks::decode(&bytes[64..bytes.len() - 1], seed, 64), None);
        assert_eq!(Picks::decode(&bytes[64..], seed, 72), None);
    }
}
