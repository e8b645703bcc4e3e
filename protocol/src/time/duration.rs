//! Go's text form of durations: `1h2m0.5s`, `100ms`, `1.5µs`.

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A duration as Go prints it.
#[must_use]
pub fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            let minutes = total / 60_000_000_000;
            let seconds = fraction(total % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn fraction(total: u64, unit: u64) -> String {
    let (whole, rest) = (total / unit, total % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Reads Go's text form: a sign, then numbers with units, or a plain `0`. `None` if malformed or
/// beyond an `i64`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let (nanos, after) = read_term(rest)?;
        total += nanos;
        if total > i128::from(i64::MAX) + 1 {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One number with its unit, in nanoseconds.
fn read_term(text: &str) -> Option<(i128, &str)> {
    let is_digit = |byte: u8| byte.is_ascii_digit();
    let whole_len = text.bytes().take_while(|&byte| is_digit(byte)).count();
    let (whole, mut rest) = text.split_at(whole_len);
    let mut decimals = "";
    if let Some(after) = rest.strip_prefix('.') {
        let len = after.bytes().take_while(|&byte| is_digit(byte)).count();
        (decimals, rest) = after.split_at(len);
    }
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let unit_len = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at(unit_len);
    let unit = UNITS.iter().find(|(unit, _)| *unit == name)?.1;
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    // Decimals past the fifteenth are below a nanosecond for every unit.
    let decimals = &decimals[..decimals.len().min(15)];
    let mut nanos = i128::from(whole) * i128::from(unit);
    if !decimals.is_empty() {
        let value: i64 = decimals.parse().ok()?;
        nanos += i128::from(value) * i128::from(unit) / 10i128.pow(decimals.len() as u32);
    }
    Some((nanos, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_forms() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_445_000_000_001, "-1h30m45.000000001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(format_duration(nanos), text);
            assert_eq!(parse_duration(text), Some(nanos));
        }
    }

    #[test]
    fn other_spellings_and_refusals() {
        assert_eq!(parse_duration("1h30m"), Some(5_400_000_000_000));
        assert_eq!(parse_duration("+.5s"), Some(500_000_000));
        assert_eq!(parse_duration("1.s"), Some(1_000_000_000));
        assert_eq!(parse_duration("2us3μs"), Some(5_000));
        assert_eq!(parse_duration("-0"), Some(0));
        for bad in [
            "",
            "-",
            "1",
            ".s",
            "1x",
            "s",
            "1s ",
            " 1s",
            "9999999999h",
            "1.5",
            "--1s",
            "1sé",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in any::<i64>()) {
            prop_assert_eq!(parse_duration(&format_duration(nanos)), Some(nanos));
        }

        #[test]
        fn any_text_is_survived(text in "[-+0-9.hmsuµn é]{0,30}") {
            let _ = parse_duration(&text);
        }
    }
}
