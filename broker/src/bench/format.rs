//! Numbers as people read them.

/// With commas.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time with the unit that suits it.
pub(super) fn seconds(value: f64) -> String {
    if value < 1e-3 {
        format!("{:.1} us", value * 1e6)
    } else if value < 1.0 {
        format!("{:.2} ms", value * 1e3)
    } else {
        format!("{value:.2} s")
    }
}

/// A size with the unit that suits it.
pub(super) fn bytes(value: f64) -> String {
    const KIB: f64 = 1024.0;
    if value < KIB {
        format!("{:.0} B", value.max(0.0))
    } else if value < KIB * KIB {
        format!("{:.1} KiB", value / KIB)
    } else {
        format!("{:.1} MiB", value / KIB / KIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(
            [12.34e-6, 12.34e-3, 12.345].map(seconds),
            ["12.3 us", "12.34 ms", "12.35 s"]
        );
        assert_eq!(
            [54.0, 10_240.0, 5.8 * 1024.0 * 1024.0].map(bytes),
            ["54 B", "10.0 KiB", "5.8 MiB"]
        );
    }
}
