//! The sequences of one key, ascending. Most keys have one message or a short history, a few have
//! millions, so the representation grows with the number.

use super::seqmap::SeqMap;

/// Most sequences kept in a plain vector.
const FEW: usize = 32;

#[derive(Debug)]
#[allow(clippy::box_collection)] // A bare vector would double the size of every key's record.
pub(super) enum Postings {
    None,
    One(u64),
    Few(Box<Vec<u64>>),
    Many(Box<SeqMap<()>>),
}

impl Postings {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    pub(super) fn push(&mut self, seq: u64) {
        match self {
            Self::None => *self = Self::One(seq),
            Self::One(first) => *self = Self::Few(Box::new(vec![*first, seq])),
            Self::Few(few) if few.len() < FEW => few.push(seq),
            Self::Few(few) => {
                let mut many = SeqMap::new();
                for old in few.iter() {
                    many.push(*old, (), 0);
                }
                many.push(seq, (), 0);
                *self = Self::Many(Box::new(many));
            }
            Self::Many(many) => many.push(seq, (), 0),
        }
    }

    /// Adds a sequence that may be below others.
    pub(super) fn insert(&mut self, seq: u64) {
        match self {
            Self::One(first) if seq < *first => *self = Self::Few(Box::new(vec![seq, *first])),
            Self::Few(few) if few.last().is_some_and(|last| seq < *last) => {
                let at = few.partition_point(|other| *other < seq);
                few.insert(at, seq);
            }
            Self::Many(many) => many.put_in(seq, (), 0),
            _ => self.push(seq),
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
        match self {
            Self::None => return,
            Self::One(only) => {
                if *only == seq {
                    *self = Self::None;
                }
                return;
            }
            Self::Few(few) => {
                if let Ok(at) = few.binary_search(&seq) {
                    few.remove(at);
                }
            }
            Self::Many(many) => {
                many.remove(seq);
            }
        }
        if self.len() == 1 {
            *self = self.first().map_or(Self::None, Self::One);
        }
    }

    /// Drops everything up to `through`.
    pub(super) fn drop_through(&mut self, through: u64) {
        match self {
            Self::None => return,
            Self::One(only) => {
                if *only <= through {
                    *self = Self::None;
                }
                return;
            }
            Self::Few(few) => {
                few.drain(..few.partition_point(|seq| *seq <= through));
            }
            Self::Many(many) => many.drop_through(through),
        }
        if self.len() <= 1 {
            *self = self.first().map_or(Self::None, Self::One);
        }
    }

    pub(super) fn first(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::One(only) => Some(*only),
            Self::Few(few) => few.first().copied(),
            Self::Many(many) => many.first().map(|(seq, ())| seq),
        }
    }

    /// The first sequence at or after `from`.
    pub(super) fn at_or_after(&self, from: u64) -> Option<u64> {
        match self {
            Self::None => None,
            Self::One(only) => (*only >= from).then_some(*only),
            Self::Few(few) => few.get(few.partition_point(|seq| *seq < from)).copied(),
            Self::Many(many) => many.at_or_after(from).map(|(seq, ())| seq),
        }
    }

    /// The last sequence at or before `upto`.
    pub(super) fn at_or_before(&self, upto: u64) -> Option<u64> {
        match self {
            Self::None => None,
            Self::One(only) => (*only <= upto).then_some(*only),
            Self::Few(few) => few
                .partition_point(|seq| *seq <= upto)
                .checked_sub(1)
                .map(|at| few[at]),
            Self::Many(many) => many.at_or_before(upto).map(|(seq, ())| seq),
        }
    }

    /// How many sequences are at or after `from`.
    pub(super) fn count_from(&self, from: u64) -> usize {
        match self {
            Self::None => 0,
            Self::One(only) => usize::from(*only >= from),
            Self::Few(few) => few.len() - few.partition_point(|seq| *seq < from),
            Self::Many(many) => many.count_from(from),
        }
    }
}
