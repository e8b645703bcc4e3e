//! Samples become a table.

use crate::load::Sample;

/// How the values of a row are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Messages a second.
    Rate,
    /// The latency that half of the messages did not exceed.
    LatencyP50,
    /// The latency that 99 of 100 messages did not exceed.
    LatencyP99,
}

impl Value {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Value::Rate => sample.rate(),
            Value::LatencyP50 => sample.latency_micros(0.5),
            Value::LatencyP99 => sample.latency_micros(0.99),
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Value::Rate => format!("{} msgs/s", thousands(value)),
            Value::LatencyP50 | Value::LatencyP99 => micros(value),
        }
    }

    /// Above one when `ours` is the better value.
    fn ratio(self, ours: f64, theirs: f64) -> f64 {
        if self == Value::Rate {
            ours / theirs
        } else {
            theirs / ours
        }
    }
}

/// The samples of one side of a row, or why there are none.
pub type Cell = Result<Vec<Sample>, String>;

/// One line of the main table.
#[must_use]
pub fn row(name: &str, value: Value, sides: [(&Cell, &str); 2]) -> String {
    let [ours, theirs] = sides.map(|(cell, _)| middle(cell, |sample| value.of(sample)));
    let [our_cpu, their_cpu] = sides.map(|(cell, _)| middle(cell, Sample::cpu_micros));
    let show = |cell: &Cell, value: Option<f64>, text: &dyn Fn(f64) -> String| match (cell, value) {
        (_, Some(value)) => text(value),
        (Err(problem), None) => format!("failed: {problem}"),
        (Ok(_), None) => "not run".to_owned(),
    };
    let (our_cell, their_cell) = (sides[0].0, sides[1].0);
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} |",
        show(our_cell, ours, &|v| value.text(v)),
        show(their_cell, theirs, &|v| value.text(v)),
        ratio_text(
            ours.zip(theirs)
                .map(|(ours, theirs)| value.ratio(ours, theirs))
        ),
        our_cpu.map_or(String::new(), |v| format!("{v:.2}")),
        their_cpu.map_or(String::new(), |v| format!("{v:.2}")),
        sides[0].1,
        sides[1].1,
    )
}

/// One line of the table of plain numbers, where less is better.
#[must_use]
pub fn plain_row(
    name: &str,
    ours: Option<f64>,
    theirs: Option<f64>,
    text: fn(f64) -> String,
) -> String {
    let show = |value: Option<f64>| value.map_or("failed".to_owned(), text);
    let ratio = ratio_text(ours.zip(theirs).map(|(ours, theirs)| theirs / ours));
    format!("| {name} | {} | {} | {ratio} |", show(ours), show(theirs))
}

/// The median of some numbers: of an even count, the middle between the two in the middle.
#[must_use]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// Milliseconds.
#[must_use]
pub fn millis(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

/// Mebibytes.
#[must_use]
pub fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

/// Bytes.
#[must_use]
pub fn bytes(bytes: f64) -> String {
    format!("{} B", thousands(bytes.max(0.0)))
}

fn middle(cell: &Cell, value: impl Fn(&Sample) -> f64) -> Option<f64> {
    let samples = cell.as_ref().ok()?;
    median(samples.iter().map(value).collect())
}

fn ratio_text(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("**{ratio:.2}x**"))
}

fn micros(value: f64) -> String {
    if value < 1000.0 {
        format!("{value:.1} us")
    } else {
        format!("{:.2} ms", value / 1000.0)
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_above_one_for_the_better_side() {
        assert!(Value::Rate.ratio(2.0, 1.0) > 1.0);
        assert!(Value::LatencyP99.ratio(2.0, 1.0) < 1.0);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(
            (micros(12.34), micros(12_340.0)),
            ("12.3 us".into(), "12.34 ms".into())
        );
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![3.0, 1.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
