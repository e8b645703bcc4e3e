//! Runs of sequences: first and last of each, ascending.

/// What of `runs` is not in `others`.
pub(crate) fn minus(runs: &[(u64, u64)], others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = Vec::new();
    let mut others = others.iter().copied().peekable();
    for (first, last) in runs.iter().copied() {
        let mut from = Some(first);
        while let Some(start) = from.filter(|start| *start <= last) {
            while others.next_if(|(_, end)| *end < start).is_some() {}
            let Some((begin, end)) = others.peek().copied().filter(|(begin, _)| *begin <= last)
            else {
                left.push((start, last));
                break;
            };
            if start < begin {
                left.push((start, begin - 1));
            }
            from = end.checked_add(1);
        }
    }
    left
}

/// How many sequences there are.
pub(crate) fn total(runs: &[(u64, u64)]) -> u64 {
    let lengths = runs
        .iter()
        .map(|(first, last)| last.saturating_sub(*first).saturating_add(1));
    lengths.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn runs(set: &BTreeSet<u64>) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for seq in set {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *seq => *last = *seq,
                _ => runs.push((*seq, *seq)),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn the_difference_is_that_of_sets(
            one in prop::collection::btree_set(0..60_u64, 0..50),
            other in prop::collection::btree_set(0..60_u64, 0..50),
        ) {
            let left: BTreeSet<u64> = one.difference(&other).copied().collect();
            let found = minus(&runs(&one), &runs(&other));
            prop_assert_eq!(&found, &runs(&left));
            prop_assert_eq!(total(&found), left.len() as u64);
        }
    }

    #[test]
    fn the_greatest_sequence_is_no_trap() {
        let all = [(0, u64::MAX)];
        assert_eq!(minus(&all, &[(5, u64::MAX)]), [(0, 4)]);
        assert_eq!(minus(&all, &[]), all);
        assert_eq!(total(&all), u64::MAX);
    }
}
