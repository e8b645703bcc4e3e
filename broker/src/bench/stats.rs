//! What several runs say together.

use serde::Serialize;

/// The middle and the ends of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Range {
    /// Of an even count, the middle between the two in the middle.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

impl Range {
    /// `None` without a value.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let upper = values.get(values.len() / 2)?;
        let lower = values.get((values.len() - 1) / 2)?;
        Some(Range {
            median: f64::midpoint(*lower, *upper),
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// How two sides compare, run by run; above one when the first is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Ratio {
    /// The ratios of the pairs of runs.
    #[serde(flatten)]
    pub range: Range,
    /// Each side was better at least once: nothing is shown to be better.
    pub no_difference: bool,
}

impl Ratio {
    /// Compares the runs of the same round.
    pub(super) fn of(first: &[f64], second: &[f64], higher_is_better: bool) -> Option<Self> {
        let pairs = first.iter().zip(second);
        let ratios = pairs.map(|(a, b)| if higher_is_better { a / b } else { b / a });
        let range = Range::of(ratios.filter(|ratio| ratio.is_finite()))?;
        let no_difference = range.min <= 1.0 && range.max >= 1.0;
        Some(Ratio {
            range,
            no_difference,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let median = |values: &[f64]| Range::of(values.iter().copied()).map(|range| range.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[3.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
        let range = Range::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((range.min, range.max), (1.0, 3.0));
    }

    #[test]
    fn ratios_are_above_one_for_the_better_side() {
        let rate = Ratio::of(&[20.0, 30.0, 22.0], &[10.0, 10.0, 10.0], true).unwrap();
        assert_eq!((rate.range.median, rate.range.min), (2.2, 2.0));
        assert!(!rate.no_difference);
        let time = Ratio::of(&[20.0], &[10.0], false).unwrap();
        assert_eq!(time.range.median, 0.5);
    }

    #[test]
    fn sides_that_win_in_turn_do_not_differ() {
        let ratio = |first: &[f64]| Ratio::of(first, &[10.0, 10.0, 10.0], true).unwrap();
        assert!(ratio(&[9.0, 11.0, 11.0]).no_difference);
        assert!(ratio(&[10.0, 11.0, 11.0]).no_difference);
        assert!(!ratio(&[10.5, 11.0, 11.0]).no_difference);
    }

    #[test]
    fn nothing_is_compared_with_nothing() {
        assert_eq!(Ratio::of(&[], &[1.0], true), None);
        assert_eq!(Ratio::of(&[1.0], &[0.0], true), None);
    }
}
