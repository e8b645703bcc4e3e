//! Times as JetStream writes them: RFC 3339 with up to nine fraction digits, zone kept, Go's zero
//! included.

use std::fmt;

use serde::{Serialize, Serializer};

use super::json::{Decode, DecodeError, Kind, Rules, Value};
use crate::time::calendar::{DAY, civil, days, days_in_month};

/// Seconds from 0001-01-01 to 1970-01-01.
const ZERO_SECONDS: i64 = -62_135_596_800;
const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";

/// A point in time with the zone it was written in.
///
/// Two times are equal if they name the same moment in the same zone, as in Go's comparison of
/// configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds since 1970-01-01 UTC.
    seconds: i64,
    nanos: u32,
    /// Distance of the zone from UTC, in seconds.
    offset: i32,
}

impl Default for Time {
    fn default() -> Self {
        Time::ZERO
    }
}

impl Time {
    /// Go's zero time, `0001-01-01T00:00:00Z`.
    pub const ZERO: Time = Time {
        seconds: ZERO_SECONDS,
        nanos: 0,
        offset: 0,
    };

    /// A moment given in nanoseconds since 1970.
    pub fn from_nanos(nanos: i64) -> Self {
        Time {
            seconds: nanos.div_euclid(1_000_000_000),
            nanos: nanos.rem_euclid(1_000_000_000) as u32,
            offset: 0,
        }
    }

    /// Nanoseconds since 1970, at the nearest end of the range for years that do not fit.
    pub fn to_nanos(self) -> i64 {
        let wide = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        wide.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(self) -> bool {
        self.seconds == ZERO_SECONDS && self.nanos == 0
    }

    /// Reads a time as RFC 3339. The error is Go's complaint.
    pub fn parse(text: &str) -> Result<Self, String> {
        Reader { text, at: 0 }.time()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds.saturating_add(i64::from(self.offset));
        let (year, month, day) = civil(local.div_euclid(DAY));
        let clock = local.rem_euclid(DAY);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        write!(
            formatter,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(formatter, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return formatter.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs() / 60;
        write!(formatter, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Time {
    fn decode(&mut self, value: &Value<'_>, go_type: &str, _: Rules) -> Result<(), DecodeError> {
        match &value.kind {
            Kind::Null => {}
            Kind::String(text) => *self = Time::parse(text).map_err(DecodeError::Text)?,
            _ => return Err(DecodeError::mismatch(value, go_type)),
        }
        Ok(())
    }
}

/// Reads one time from front to back, complaining like Go's parser.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn time(mut self) -> Result<Time, String> {
        let year = self.number(4, "2006")?;
        self.mark("-")?;
        let month = self.number(2, "01")?;
        self.within((1..=12).contains(&month), "month")?;
        self.mark("-")?;
        let day = self.number(2, "02")?;
        self.mark("T")?;
        let hour = self.number(2, "15")?;
        self.within(hour < 24, "hour")?;
        self.mark(":")?;
        let minute = self.number(2, "04")?;
        self.within(minute < 60, "minute")?;
        self.mark(":")?;
        let second = self.number(2, "05")?;
        self.within(second < 60, "second")?;
        let nanos = self.fraction();
        let offset = self.zone()?;
        self.within((1..=days_in_month(year, month)).contains(&day), "day")?;
        if self.at < self.text.len() {
            let extra = &self.text[self.at..];
            return Err(format!(
                "parsing time \"{}\": extra text: \"{extra}\"",
                self.text
            ));
        }
        let clock = hour * 3600 + minute * 60 + second;
        let seconds = days(year, month, day) * DAY + clock - i64::from(offset);
        Ok(Time {
            seconds,
            nanos,
            offset,
        })
    }

    fn bytes(&self) -> &[u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn cannot<T>(&self, element: &str) -> Result<T, String> {
        let text = self.text;
        let rest = text.get(self.at..).unwrap_or_default();
        Err(format!(
            "parsing time \"{text}\" as \"{LAYOUT}\": cannot parse \"{rest}\" as \"{element}\""
        ))
    }

    fn within(&self, holds: bool, what: &str) -> Result<(), String> {
        if holds {
            return Ok(());
        }
        Err(format!(
            "parsing time \"{}\": {what} out of range",
            self.text
        ))
    }

    fn number(&mut self, width: usize, element: &str) -> Result<i64, String> {
        let Some(digits) = self.bytes().get(..width) else {
            return self.cannot(element);
        };
        let mut number = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return self.cannot(element);
            }
            number = number * 10 + i64::from(digit - b'0');
        }
        self.at += width;
        Ok(number)
    }

    fn mark(&mut self, mark: &str) -> Result<(), String> {
        if !self.bytes().starts_with(mark.as_bytes()) {
            return self.cannot(mark);
        }
        self.at += mark.len();
        Ok(())
    }

    /// The fraction of a second, cut to nanoseconds. A comma is as good as a point.
    fn fraction(&mut self) -> u32 {
        let bytes = self.bytes();
        if !matches!(bytes.first(), Some(b'.' | b',')) {
            return 0;
        }
        let digits = bytes[1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return 0;
        }
        let mut nanos = 0;
        for place in 0..9 {
            let digit = if place < digits {
                u32::from(bytes[1 + place] - b'0')
            } else {
                0
            };
            nanos = nanos * 10 + digit;
        }
        self.at += 1 + digits;
        nanos
    }

    fn zone(&mut self) -> Result<i32, String> {
        const ELEMENT: &str = "Z07:00";
        let sign = match self.bytes().first() {
            Some(b'Z') => {
                self.at += 1;
                return Ok(0);
            }
            Some(b'+') => 1,
            Some(b'-') => -1,
            _ => return self.cannot(ELEMENT),
        };
        let zone = self.bytes();
        let digit = |at: usize| zone.get(at).filter(|byte| byte.is_ascii_digit());
        let (Some(h1), Some(h2), Some(b':'), Some(m1), Some(m2)) =
            (digit(1), digit(2), zone.get(3), digit(4), digit(5))
        else {
            return self.cannot(ELEMENT);
        };
        let pair = |high: &u8, low: &u8| i32::from(high - b'0') * 10 + i32::from(low - b'0');
        let (hours, minutes) = (pair(h1, h2), pair(m1, m2));
        self.within(hours <= 24, "time zone offset hour")?;
        self.within(minutes < 60, "time zone offset minute")?;
        self.at += 6;
        Ok(sign * (hours * 60 + minutes) * 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Time::parse(text).unwrap().to_string(), expected);
    }

    #[test]
    fn times_are_echoed_in_their_zone() {
        check("2024-02-29T23:59:59.120Z", "2024-02-29T23:59:59.12Z");
        check("2024-01-01T00:00:00+02:30", "2024-01-01T00:00:00+02:30");
        check("2024-01-01T00:00:00-00:00", "2024-01-01T00:00:00Z");
        check("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z");
        check(
            "9999-12-31T23:59:59.9999999999Z",
            "9999-12-31T23:59:59.999999999Z",
        );
        check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.5Z");
    }

    #[test]
    fn nanoseconds_round_trip() {
        let time = Time::from_nanos(1_795_339_013_585_256_936);
        assert_eq!(time.to_string(), "2026-11-22T09:16:53.585256936Z");
        assert_eq!(time.to_nanos(), 1_795_339_013_585_256_936);
        assert_eq!(Time::from_nanos(-1).to_nanos(), -1);
        assert_eq!(Time::ZERO.to_nanos(), i64::MIN);
        assert!(Time::default().is_zero());
        let zoned = Time::parse("1970-01-01T01:00:00+01:00").unwrap();
        assert_eq!(zoned.to_nanos(), 0);
    }

    #[test]
    fn complaints_are_those_of_go() {
        let complaint = |text| Time::parse(text).unwrap_err();
        assert_eq!(
            complaint("foo"),
            r#"parsing time "foo" as "2006-01-02T15:04:05Z07:00": cannot parse "foo" as "2006""#
        );
        assert_eq!(
            complaint("2024-01-01"),
            r#"parsing time "2024-01-01" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T""#
        );
        assert_eq!(
            complaint("2024-13-01T00:00:00Z"),
            r#"parsing time "2024-13-01T00:00:00Z": month out of range"#
        );
        assert_eq!(
            complaint("2023-02-29T00:00:00Z"),
            r#"parsing time "2023-02-29T00:00:00Z": day out of range"#
        );
        assert_eq!(
            complaint("2023-02-28T00:00:00Zx"),
            r#"parsing time "2023-02-28T00:00:00Zx": extra text: "x""#
        );
    }
}
