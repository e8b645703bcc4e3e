//! RFC 3339 with nanoseconds in UTC, as Go marshals it: zeros at the end of the fraction are dropped.

use super::calendar::{DAY, civil, days, days_in_month};
use crate::wire::Sink;

const NANOS: i64 = 1_000_000_000;

/// Appends a point in time.
pub fn write_time<S: Sink + ?Sized>(out: &mut S, nanos: i64) {
    let seconds = nanos.div_euclid(NANOS);
    let fraction = nanos.rem_euclid(NANOS) as u32;
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let in_day = seconds.rem_euclid(DAY) as u32;
    let mut text = *b"0000-00-00T00:00:00.000000000";
    put_digits(&mut text[0..4], year as u32);
    put_digits(&mut text[5..7], month as u32);
    put_digits(&mut text[8..10], day as u32);
    put_digits(&mut text[11..13], in_day / 3600);
    put_digits(&mut text[14..16], in_day / 60 % 60);
    put_digits(&mut text[17..19], in_day % 60);
    let mut len = 19;
    if fraction > 0 {
        put_digits(&mut text[20..29], fraction);
        len = 29;
        while text[len - 1] == b'0' {
            len -= 1;
        }
    }
    out.put(&text[..len]);
    out.put(b"Z");
}

fn put_digits(out: &mut [u8], mut value: u32) {
    for slot in out.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A point in time as text.
#[must_use]
pub fn format_time(nanos: i64) -> String {
    let mut out = Vec::with_capacity(30);
    write_time(&mut out, nanos);
    out.into_iter().map(char::from).collect()
}

/// Reads a point in time with any zone offset; `None` if malformed or outside of what an `i64` holds
/// (years 1678 to 2262), as Go's zero time is.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at_checked(19)?;
    let shape = (head[4], head[7], head[10], head[13], head[16]);
    if shape != (b'-', b'-', b'T', b':', b':') && shape != (b'-', b'-', b't', b':', b':') {
        return None;
    }
    let (year, month, day) = (
        digits(&head[..4])?,
        digits(&head[5..7])?,
        digits(&head[8..10])?,
    );
    let (hour, minute, second) = (
        digits(&head[11..13])?,
        digits(&head[14..16])?,
        digits(&head[17..19])?,
    );
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let (fraction, zone) = read_fraction(rest)?;
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    let seconds = i128::from(seconds - read_zone(zone)?);
    i64::try_from(seconds * i128::from(NANOS) + i128::from(fraction)).ok()
}

/// Nanoseconds after the dot, if there is one, and what follows. Digits past the ninth are dropped.
fn read_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else {
        return Some((0, rest));
    };
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (fraction, zone) = rest.split_at(len);
    if len == 0 {
        return None;
    }
    let kept = digits(&fraction[..len.min(9)])?;
    Some((kept * 10i64.pow(9 - len.min(9) as u32), zone))
}

/// Offset from UTC in seconds.
fn read_zone(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let offset = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |sum: i64, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(format_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_time(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(format_time(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(
            format_time(1_709_210_096_789_000_120),
            "2024-02-29T12:34:56.78900012Z"
        );
        assert_eq!(format_time(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(format_time(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    }

    #[test]
    fn zones_and_refusals() {
        assert_eq!(
            parse_time("1970-01-01T02:00:00.25+02:00"),
            Some(250_000_000)
        );
        assert_eq!(parse_time("1969-12-31T23:00:00-01:00"), Some(0));
        for bad in [
            "",
            "0001-01-01T00:00:00Z",
            "2024-02-30T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00+0100",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in any::<i64>()) {
            prop_assert_eq!(parse_time(&format_time(nanos)), Some(nanos));
        }

        #[test]
        fn any_text_is_survived(text in ".{0,40}") {
            let _ = parse_time(&text);
        }
    }
}
