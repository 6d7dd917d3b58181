//! What a text says as a value of a type. Inference and the readers of CSV, TSV and NDJSON call the
//! same functions, so that a type that was inferred holds every row.
//!
//! A function returns `None` where the value would not be what the text says: `01569` is no integer,
//! 1e400 is no float, a second of 60 is no time. Where a type is declared, leading zeros are digits.

use std::borrow::Cow;

use arrow::datatypes::TimeUnit;

use crate::options::DecimalMark;

/// 38 digits are the most that Decimal128 holds.
const DECIMAL_DIGITS_MAX: usize = 38;
/// All numbers with so many digits are below 2^63.
const SHORT_DIGITS: usize = 18;
/// Float64 holds every integer up to this one.
pub(crate) const FLOAT_INTEGER_MAX: u128 = 1 << 53;
const SECONDS_PER_DAY: i64 = 86_400;
/// Float32 holds every integer up to this one.
const FLOAT32_INTEGER_MAX: u128 = 1 << 24;

/// Reads an integer of up to 38 digits. One with leading zeros is an identifier, and -0 a float.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let number = trim(text);
    let (is_negative, digits) = sign(number);
    let has_leading_zero = digits.starts_with('0') && digits.len() > 1;
    let value = whole(number).filter(|_| !has_leading_zero)?;
    (value != 0 || !is_negative).then_some(value)
}

/// Reads an integer of up to 38 digits, behind zeros.
pub(crate) fn whole(text: &str) -> Option<i128> {
    let (is_negative, digits) = sign(trim(text));
    let digits = match digits.starts_with('0') && digits.len() > 1 {
        true => zeros_cut(digits),
        false => digits,
    };
    let digits = digits.as_bytes();
    let is_short = digits.len() <= SHORT_DIGITS;
    if digits.is_empty() || digits.len() > DECIMAL_DIGITS_MAX {
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
    Some(if is_negative { -value } else { value })
}

/// Reads a decimal number as a multiple of 10 to the power of `-scale`. One that has more digits than
/// `precision`, or finer ones, is refused.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8, mark: DecimalMark) -> Option<i128> {
    let number = with_point(trim(text), mark)?;
    let (is_negative, digits) = sign(&number);
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits == "." || digits.is_empty() || !are_digits(before) || !are_digits(behind) {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    let (before, behind) = (before.trim_start_matches('0'), behind.trim_end_matches('0'));
    if behind.len() > scale || before.len() + scale > usize::from(precision) {
        return None;
    }
    let zeros = scale - behind.len();
    let digits = before.bytes().chain(behind.bytes());
    let digits = digits.chain(std::iter::repeat_n(b'0', zeros));
    let value = digits.fold(0_i128, |value, byte| value * 10 + i128::from(byte - b'0'));
    Some(if is_negative { -value } else { value })
}

/// Splits the sign from a number; returns whether it is negative.
fn sign(number: &str) -> (bool, &str) {
    match number.as_bytes().first() {
        Some(b'-') => (true, &number[1..]),
        Some(b'+') => (false, &number[1..]),
        _ => (false, number),
    }
}

/// Cuts the zeros before other digits.
fn zeros_cut(digits: &str) -> &str {
    let cut = digits.trim_start_matches('0');
    if cut.is_empty() { "0" } else { cut }
}

/// Returns a number with a point before its decimals; `None` where another mark is set and the text
/// has a point, which would set thousands apart.
fn with_point(number: &str, mark: DecimalMark) -> Option<Cow<'_, str>> {
    match mark {
        DecimalMark::Point => Some(number.into()),
        DecimalMark::Comma if number.contains('.') => None,
        DecimalMark::Comma if number.contains(',') => Some(number.replace(',', ".").into()),
        DecimalMark::Comma => Some(number.into()),
    }
}

/// Reads a float: the nearest to the number in the text. A finite number never becomes infinite, and
/// one that is not zero never becomes zero. Integers that Float64 may not hold are refused: all their
/// digits count. One with leading zeros is an identifier.
pub(crate) fn float(text: &str, mark: DecimalMark) -> Option<f64> {
    let value = float64(text, mark)?;
    let (_, digits) = sign(trim(text));
    let bytes = digits.as_bytes();
    let has_leading_zero = bytes[0] == b'0' && bytes.get(1).is_some_and(u8::is_ascii_digit);
    let is_fraction = bytes.iter().any(|byte| matches!(byte, b'.' | b','));
    (!has_leading_zero || is_fraction).then_some(value)
}

/// Reads a float of 64 bits, which may have leading zeros.
pub(crate) fn float64(text: &str, mark: DecimalMark) -> Option<f64> {
    let parse = |number: &str| number.parse::<f64>().ok();
    held_float(text, mark, FLOAT_INTEGER_MAX, parse)
}

/// Reads a float of 32 bits, which may have leading zeros.
pub(crate) fn float32(text: &str, mark: DecimalMark) -> Option<f32> {
    let parse = |number: &str| number.parse::<f32>().ok().map(f64::from);
    held_float(text, mark, FLOAT32_INTEGER_MAX, parse).map(|value| value as f32)
}

/// Reads a float that says what the text says, but for the last digits of a fraction.
fn held_float(
    text: &str,
    mark: DecimalMark,
    integer_max: u128,
    parse: impl FnOnce(&str) -> Option<f64>,
) -> Option<f64> {
    let number = with_point(trim(text), mark)?;
    let value = parse(&number)?;
    let (_, digits) = sign(&number);
    let bytes = digits.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Some(value);
    }
    if !value.is_finite() {
        return None;
    }
    if value.abs() >= integer_max as f64 && bytes.iter().all(u8::is_ascii_digit) {
        let is_held = |value: i128| value.unsigned_abs() <= integer_max;
        return whole(&number).is_some_and(is_held).then_some(value);
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

/// Reads `true` or `false`, `t` or `f`, `1` or `0`, as a type that is declared.
pub(crate) fn declared_boolean(text: &str) -> Option<bool> {
    match text {
        "t" | "T" | "1" => Some(true),
        "f" | "F" | "0" => Some(false),
        text => boolean(text),
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
    let clock = time
        .strip_prefix(b"T")
        .or_else(|| time.strip_prefix(b" "))?;
    let (of_day, (nanoseconds, digits, rest)) = clock_of(clock)?;
    let offset = offset(rest)?;
    Some(Time {
        seconds: i64::from(days) * SECONDS_PER_DAY + of_day - offset.unwrap_or(0),
        nanoseconds,
        digits,
        has_offset: offset.is_some(),
    })
}

/// Reads a time of day such as `12:34:56.789`, as the time since its midnight.
pub(crate) fn time_of_day(text: &str) -> Option<Time> {
    let (seconds, (nanoseconds, digits, rest)) = clock_of(text.as_bytes())?;
    rest.is_empty().then_some(Time {
        seconds,
        nanoseconds,
        digits,
        has_offset: false,
    })
}

/// Reads the seconds of a day, and what is behind them.
fn clock_of(text: &[u8]) -> Option<(i64, Fraction<'_>)> {
    let (clock, rest) = text.split_first_chunk::<8>()?;
    let [h, hh, b':', m, mm, b':', s, ss] = clock else {
        return None;
    };
    let (hours, minutes, seconds) = (pair(*h, *hh)?, pair(*m, *mm)?, pair(*s, *ss)?);
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let of_day = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
    Some((
        of_day,
        match rest.strip_prefix(b".") {
            Some(rest) => fraction(rest)?,
            None => (0, 0, rest),
        },
    ))
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

/// Nanoseconds, the number of their digits, and the rest of a text.
type Fraction<'a> = (u32, u8, &'a [u8]);

/// Reads one to nine digits.
fn fraction(text: &[u8]) -> Option<Fraction<'_>> {
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
            assert_eq!(float(text, DecimalMark::Point), value, "{text}");
        }
        for text in ["NaN", "nan", "NAN", "-nan"] {
            let value = float(text, DecimalMark::Point);
            assert!(value.is_some_and(f64::is_nan), "{text}");
        }
        let zero = float("-0", DecimalMark::Point);
        assert_eq!(zero.map(f64::to_bits), Some((-0.0_f64).to_bits()));
    }

    #[test]
    fn a_decimal_comma_sets_no_thousands_apart() {
        for (text, value) in [
            ("1,5", Some(1.5)),
            ("-,5", Some(-0.5)),
            ("5,", Some(5.0)),
            ("1,5e3", Some(1500.0)),
            ("17", Some(17.0)),
            ("0,000", Some(0.0)),
            ("NaN", None),
            ("1.5", None),
            ("1.500", None),
            ("1.500,5", None),
            ("1,500,5", None),
            ("00,5", Some(0.5)),
            ("007", None),
        ] {
            let read = float(text, DecimalMark::Comma).filter(|value| !value.is_nan());
            assert_eq!(read, value, "{text}");
        }
    }

    #[test]
    fn a_number_of_a_declared_type_is_what_its_text_says_or_none() {
        for (text, value) in [
            ("007", Some(7)),
            ("-0", Some(0)),
            ("+00", Some(0)),
            (" 12 ", Some(12)),
            (&format!("{}5", "0".repeat(50)), Some(5)),
            ("", None),
            ("-", None),
            ("1.0", None),
            ("1e3", None),
        ] {
            assert_eq!(whole(text), value, "{text}");
        }
        for (text, value) in [
            ("0.1", Some(0.1_f32)),
            ("16777216", Some(16_777_216.0)),
            ("16777217", None),
            ("1e39", None),
            ("1e-60", None),
            ("0e-60", Some(0.0)),
            ("007", Some(7.0)),
        ] {
            assert_eq!(float32(text, DecimalMark::Point), value, "{text}");
        }
        assert_eq!(float64("9007199254740993", DecimalMark::Point), None);
        for (text, mark, value) in [
            ("12.5", DecimalMark::Point, Some(1250)),
            ("-012,50", DecimalMark::Comma, Some(-1250)),
            ("12.500", DecimalMark::Point, Some(1250)),
            ("12.505", DecimalMark::Point, None),
            ("999.99", DecimalMark::Point, Some(99_999)),
            ("1000", DecimalMark::Point, None),
            (".5", DecimalMark::Point, Some(50)),
            ("5.", DecimalMark::Point, Some(500)),
            (".", DecimalMark::Point, None),
            ("-", DecimalMark::Point, None),
            ("", DecimalMark::Point, None),
            ("1e1", DecimalMark::Point, None),
            ("1.5", DecimalMark::Comma, None),
            ("1,5", DecimalMark::Point, None),
        ] {
            assert_eq!(decimal(text, 5, 2, mark), value, "{text}");
        }
        let most = "-99999999999999999999999999999999999999";
        let value = decimal(most, 38, 0, DecimalMark::Point);
        assert_eq!(value, Some(1 - 10_i128.pow(38)));
    }

    #[test]
    fn a_time_of_day_has_no_date_and_no_zone() {
        use TimeUnit::{Microsecond, Second};
        for (text, unit, value) in [
            ("23:59:59", Second, Some(86_399)),
            ("00:00:00.5", Microsecond, Some(500_000)),
            ("00:00:00.5", Second, None),
            ("24:00:00", Second, None),
            ("12:00", Second, None),
            ("12:00:00Z", Second, None),
            ("2024-01-01T12:00:00", Second, None),
        ] {
            let read = time_of_day(text).and_then(|time| time.to(unit));
            assert_eq!(read, value, "{text}");
        }
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
