//! What a text says as a value of a type. Inference and the readers of CSV, TSV and NDJSON call the
//! same functions, so that a type that was inferred holds every row.
//!
//! A function returns `None` where the value would not be what the text says: `01569` is no integer,
//! 1e400 is no float, a second of 60 is no time.

use arrow::datatypes::TimeUnit;

/// 38 digits are the most that Decimal128 holds.
const DECIMAL_DIGITS_MAX: usize = 38;
/// All numbers with so many digits are below 2^63.
const SHORT_DIGITS: usize = 18;
/// Float64 holds every integer up to this one.
pub(crate) const FLOAT_INTEGER_MAX: u128 = 1 << 53;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads an integer of up to 38 digits. One with leading zeros is an identifier, and -0 a float.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let number = trim(text).as_bytes();
    let (is_negative, digits) = match number.first()? {
        b'-' => (true, &number[1..]),
        b'+' => (false, &number[1..]),
        _ => (false, number),
    };
    let has_leading_zero = digits.first() == Some(&b'0') && digits.len() > 1;
    let is_short = digits.len() <= SHORT_DIGITS;
    if digits.is_empty() || digits.len() > DECIMAL_DIGITS_MAX || has_leading_zero {
        return None;
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: &u8| byte - b'0';
    let value = match is_short {
        true => {
            let value = digits.iter();
            i128::from(value.fold(0_i64, |value, byte| value * 10 + i64::from(digit(byte))))
        }
        false => {
            let value = digits.iter();
            value.fold(0_i128, |value, byte| value * 10 + i128::from(digit(byte)))
        }
    };
    match is_negative {
        true if value == 0 => None,
        true => Some(-value),
        false => Some(value),
    }
}

/// Reads a float: the nearest to the number in the text. A finite number never becomes infinite, and
/// one that is not zero never becomes zero. Integers that Float64 may not hold are refused: all their
/// digits count.
pub(crate) fn float(text: &str) -> Option<f64> {
    let number = trim(text);
    let value: f64 = number.parse().ok()?;
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let bytes = digits.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Some(value);
    }
    let has_leading_zero = bytes[0] == b'0' && bytes.get(1).is_some_and(u8::is_ascii_digit);
    if !value.is_finite() || (has_leading_zero && !bytes.contains(&b'.')) {
        return None;
    }
    if value.abs() >= FLOAT_INTEGER_MAX as f64 && bytes.iter().all(u8::is_ascii_digit) {
        let is_held = |value: i128| value.unsigned_abs() <= FLOAT_INTEGER_MAX;
        return integer(number).is_some_and(is_held).then_some(value);
    }
    let is_zero = || {
        let mut mantissa = bytes.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
        mantissa.all(|byte| matches!(byte, b'0' | b'.'))
    };
    (value != 0.0 || is_zero()).then_some(value)
}

/// Reads `true` or `false`, in any case.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.len() {
        4 if text.eq_ignore_ascii_case("true") => Some(true),
        5 if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Reads a date `2024-02-29` of the years 1 to 9999, as days since 1970.
pub(crate) fn date(text: &str) -> Option<i32> {
    match text.len() {
        10 => days(text.as_bytes()),
        _ => None,
    }
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    /// Since 1970; in UTC if there is an offset.
    seconds: i64,
    nanoseconds: u32,
    /// How many digits the fraction of the second has.
    pub(crate) digits: u8,
    pub(crate) has_offset: bool,
}

/// Reads a time such as `2024-02-29T12:34:56.789+02:00`: with `T` or a blank, up to nine digits of a
/// second, and an offset or none.
pub(crate) fn time(text: &str) -> Option<Time> {
    let (date, time) = text.as_bytes().split_first_chunk::<10>()?;
    let days = days(date)?;
    let (clock, rest) = time.split_first_chunk::<9>()?;
    let [b'T' | b' ', h, hh, b':', m, mm, b':', s, ss] = clock else {
        return None;
    };
    let (hours, minutes, seconds) = (pair(*h, *hh)?, pair(*m, *mm)?, pair(*s, *ss)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let (nanoseconds, digits, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, 0, rest),
    };
    let offset = offset(rest)?;
    let of_day = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    Some(Time {
        seconds: i64::from(days) * SECONDS_PER_DAY + of_day - offset.unwrap_or(0),
        nanoseconds,
        digits,
        has_offset: offset.is_some(),
    })
}

/// Reads a time, or a date as its midnight.
pub(crate) fn date_or_time(text: &str) -> Option<Time> {
    time(text).or_else(|| date(text).map(Time::midnight))
}

impl Time {
    /// Returns midnight of a day.
    pub(crate) fn midnight(days: i32) -> Self {
        Self {
            seconds: i64::from(days) * SECONDS_PER_DAY,
            nanoseconds: 0,
            digits: 0,
            has_offset: false,
        }
    }

    /// Returns the time in a unit; `None` if it has a finer fraction, or does not fit into 64 bits.
    pub(crate) fn to(self, unit: TimeUnit) -> Option<i64> {
        let (per_second, nanoseconds_each) = match unit {
            TimeUnit::Second => (1, 1_000_000_000),
            TimeUnit::Millisecond => (1_000, 1_000_000),
            TimeUnit::Microsecond => (1_000_000, 1_000),
            TimeUnit::Nanosecond => (1_000_000_000, 1),
        };
        if !self.nanoseconds.is_multiple_of(nanoseconds_each) {
            return None;
        }
        // Before 1970 the product alone may not fit while the sum does.
        let whole = i128::from(self.seconds) * per_second;
        i64::try_from(whole + i128::from(self.nanoseconds / nanoseconds_each)).ok()
    }
}

/// Blanks around a number are not part of it.
fn trim(text: &str) -> &str {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = text.as_bytes();
    match is_blank(bytes.first()) || is_blank(bytes.last()) {
        true => text.trim_matches([' ', '\t']),
        false => text,
    }
}

fn pair(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

fn days(text: &[u8]) -> Option<i32> {
    let [c, cc, y, yy, b'-', m, mm, b'-', d, dd] = text else {
        return None;
    };
    let year = pair(*c, *cc)? * 100 + pair(*y, *yy)?;
    let (month, day) = (pair(*m, *mm)?, pair(*d, *dd)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    // The year begins in March, so that the leap day is its last.
    let (year, month) = match month {
        1 | 2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let since_year_0 = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    const DAYS_FROM_YEAR_0_TO_1970: i32 = 719_468;
    i32::try_from(since_year_0)
        .ok()
        .map(|days| days - DAYS_FROM_YEAR_0_TO_1970)
}

/// Reads one to nine digits; returns nanoseconds, the number of digits, and the rest.
fn fraction(text: &[u8]) -> Option<(u32, u8, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = u8::try_from(count)
        .ok()
        .filter(|digits| (1..=9).contains(digits))?;
    let value = text[..count].iter();
    let value = value.fold(0, |value, byte| value * 10 + u32::from(byte - b'0'));
    let nanoseconds = value * 10_u32.pow(9 - u32::from(digits));
    Some((nanoseconds, digits, &text[count..]))
}

/// Reads `Z`, `+02`, `+0200` or `+02:00`, after a blank or not, as seconds; nothing is no offset.
fn offset(text: &[u8]) -> Option<Option<i64>> {
    let text = match text {
        [] => return Some(None),
        [b' ', rest @ ..] => rest,
        text => text,
    };
    let (sign, hours, minutes) = match text {
        b"Z" => return Some(Some(0)),
        [sign, h, hh] => (sign, pair(*h, *hh)?, 0),
        [sign, h, hh, m, mm] | [sign, h, hh, b':', m, mm] => (sign, pair(*h, *hh)?, pair(*m, *mm)?),
        _ => return None,
    };
    let seconds = i64::from(hours) * 3600 + i64::from(minutes) * 60;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(Some(seconds)),
        b'-' => Some(Some(-seconds)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_what_its_digits_say() {
        for (text, value) in [
            ("0", Some(0)),
            ("-17", Some(-17)),
            ("+5", Some(5)),
            (" 42 ", Some(42)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808)),
            (
                "-99999999999999999999999999999999999999",
                Some(1 - 10_i128.pow(38)),
            ),
            ("100000000000000000000000000000000000000", None),
            ("01569", None),
            ("-01", None),
            ("-0", None),
            ("", None),
            ("-", None),
            ("1_000", None),
            ("0x10", None),
            ("١", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn a_float_is_never_infinite_or_zero_for_another_number() {
        for (text, value) in [
            ("1.5", Some(1.5)),
            ("+41.2", Some(41.2)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+05.25", Some(5.25)),
            ("1e5", Some(1e5)),
            ("0e9", Some(0.0)),
            ("0.000", Some(0.0)),
            ("5e-324", Some(5e-324)),
            ("0.1234567890123456789", Some(0.123_456_789_012_345_68)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("+Inf", Some(f64::INFINITY)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("-9007199254740993", None),
            ("1e17", Some(1e17)),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("007", None),
            ("01e5", None),
            ("1_000.5", None),
            ("1,5", None),
            ("1e", None),
            (".", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(float(text), value, "{text}");
        }
        for text in ["NaN", "nan", "NAN", "-nan"] {
            assert!(float(text).is_some_and(f64::is_nan), "{text}");
        }
        assert_eq!(float("-0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }

    #[test]
    fn only_days_that_there_are_are_dates() {
        for (text, value) in [
            ("1970-01-01", Some(0)),
            ("2024-02-29", Some(19_782)),
            ("0001-01-01", Some(-719_162)),
            ("9999-12-31", Some(2_932_896)),
            ("1969-12-31", Some(-1)),
            ("2024-02-30", None),
            ("2023-02-29", None),
            ("1900-02-29", None),
            ("2024-13-01", None),
            ("2024-00-01", None),
            ("0000-01-01", None),
            ("2024-1-01", None),
            ("20240101", None),
        ] {
            assert_eq!(date(text), value, "{text}");
        }
    }

    #[test]
    fn a_time_keeps_its_instant_and_its_fraction() {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
        for (text, unit, value) in [
            ("1970-01-01T00:00:01", Second, Some(1)),
            ("1970-01-01 02:00:01+02:00", Second, Some(1)),
            ("1970-01-01T02:00:01 +0200", Second, Some(1)),
            ("1969-12-31T22:30:01.5-01:30", Millisecond, Some(1500)),
            ("1969-12-31T23:59:59.25Z", Millisecond, Some(-750)),
            ("1970-01-01T00:00:00.123456", Microsecond, Some(123_456)),
            ("1970-01-01T00:00:00.123456", Millisecond, None),
            ("1677-09-21T00:12:43.145224192", Nanosecond, Some(i64::MIN)),
            ("9999-12-31T23:59:59.5", Nanosecond, None),
            (
                "9999-12-31T23:59:59.5",
                Millisecond,
                Some(253_402_300_799_500),
            ),
        ] {
            let read = time(text).and_then(|time| time.to(unit));
            assert_eq!(read, value, "{text} {unit:?}");
        }
        for text in [
            "2016-12-31 23:59:60",
            "2024-06-30 24:00:00",
            "2024-06-30 23:60:00",
            "2024-02-30 00:00:00",
            "2024-01-01 00:00:00.1234567891",
            "2024-01-01 00:00:00.",
            "2024-01-01 00:00:00 (estimated)",
            "2024-01-01 00:00:00+24:00",
            "2024-01-01 00:00:00 UTC",
            "2024-01-01T00:00",
            "2024-01-01_00:00:00",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
