//! Numbers and times as text, appended to a buffer.
//!
//! Floats are the shortest text that reads back as the same number. Times are ISO 8601 without a
//! zone (DALI 1.2, 3.3.3), with as many digits as their unit has.

use arrow::datatypes::TimeUnit;

use super::column::Cells;

const SECONDS_PER_DAY: i64 = 86_400;

pub(super) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// How a format writes what is no number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Specials {
    pub(super) nan: &'static str,
    pub(super) infinity: &'static str,
    pub(super) minus_infinity: &'static str,
}

impl Specials {
    fn of(self, is_nan: bool, is_positive: bool) -> &'static str {
        match (is_nan, is_positive) {
            (true, _) => self.nan,
            (false, true) => self.infinity,
            (false, false) => self.minus_infinity,
        }
    }
}

pub(super) fn float(out: &mut Vec<u8>, value: impl Float, specials: Specials) {
    value.append_to(out, specials);
}

pub(super) trait Float {
    fn append_to(self, out: &mut Vec<u8>, specials: Specials);
}

macro_rules! float {
    ($($float:ty),*) => {$(
        impl Float for $float {
            fn append_to(self, out: &mut Vec<u8>, specials: Specials) {
                if self.is_finite() {
                    out.extend_from_slice(zmij::Buffer::new().format_finite(self).as_bytes());
                } else {
                    let text = specials.of(self.is_nan(), self > 0.0);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    )*};
}
float!(f32, f64);

/// Appends a decimal: `value` times 10 to the minus `scale`.
pub(super) fn decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value.unsigned_abs()).as_bytes();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(places) = usize::try_from(scale) else {
        out.extend_from_slice(digits);
        if value != 0 {
            out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
        }
        return;
    };
    let whole = digits.len().saturating_sub(places);
    match whole {
        0 => out.push(b'0'),
        _ => out.extend_from_slice(&digits[..whole]),
    }
    if places > 0 {
        out.push(b'.');
        out.resize(out.len() + places.saturating_sub(digits.len()), b'0');
        out.extend_from_slice(&digits[whole..]);
    }
}

/// Appends a cell of any kind of time; nothing for other kinds.
pub(super) fn time(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) -> Result<(), BeyondYears> {
    match cells {
        Cells::Date32(values) => date(out, values[row].into())?,
        Cells::Date64(values) => date(out, values[row].div_euclid(1000 * SECONDS_PER_DAY))?,
        Cells::Timestamp(values, unit) => timestamp(out, values[row], *unit)?,
        Cells::Time32(values, unit) => time_of_day(out, values[row].into(), *unit),
        Cells::Time64(values, unit) => time_of_day(out, values[row], *unit),
        _ => {}
    }
    Ok(())
}

pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

pub(super) fn hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

/// A time that has no four-digit year: what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BeyondYears;

impl BeyondYears {
    pub(super) const PROBLEM: &'static str = "the time is not within the years 0 to 9999";
}

/// Appends `2016-01-31`.
pub(super) fn date(out: &mut Vec<u8>, days: i64) -> Result<(), BeyondYears> {
    let (year, month, day) = civil(days).ok_or(BeyondYears)?;
    let text = [
        b'0' + (year / 1000) as u8,
        b'0' + (year / 100 % 10) as u8,
        b'0' + (year / 10 % 10) as u8,
        b'0' + (year % 10) as u8,
        b'-',
        b'0' + month / 10,
        b'0' + month % 10,
        b'-',
        b'0' + day / 10,
        b'0' + day % 10,
    ];
    out.extend_from_slice(&text);
    Ok(())
}

/// Appends `2016-01-31T12:30:00.000001`: the time since 1970 in units.
pub(super) fn timestamp(out: &mut Vec<u8>, value: i64, unit: TimeUnit) -> Result<(), BeyondYears> {
    let per_second = units_per_second(unit);
    let seconds = value.div_euclid(per_second);
    date(out, seconds.div_euclid(SECONDS_PER_DAY))?;
    out.push(b'T');
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    time_of_day(
        out,
        of_day * per_second + value.rem_euclid(per_second),
        unit,
    );
    Ok(())
}

/// Appends `12:30:00.000001`: the time since midnight in units.
pub(super) fn time_of_day(out: &mut Vec<u8>, value: i64, unit: TimeUnit) {
    let per_second = units_per_second(unit);
    let seconds = (value / per_second) as u32;
    let two = |number: u32| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let ([h0, h1], [m0, m1], [s0, s1]) = (
        two(seconds / 3600),
        two(seconds / 60 % 60),
        two(seconds % 60),
    );
    out.extend_from_slice(&[h0, h1, b':', m0, m1, b':', s0, s1]);
    let digits = fraction_digits(unit);
    if digits > 0 {
        let mut fraction = (value % per_second) as u32;
        let mut text = [b'.'; 10];
        for digit in text[1..=digits].iter_mut().rev() {
            *digit = b'0' + (fraction % 10) as u8;
            fraction /= 10;
        }
        out.extend_from_slice(&text[..=digits]);
    }
}

fn units_per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn fraction_digits(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The first day of year 0 and of year 10,000, in days since 1970.
const FIRST_DAY: i64 = -719_528;
const DAY_AFTER_LAST: i64 = 2_932_897;

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar, for the
/// years 0 to 9999. Eras of 400 years that begin in March, so that the leap day is the last.
fn civil(days: i64) -> Option<(u32, u8, u8)> {
    if !(FIRST_DAY..DAY_AFTER_LAST).contains(&days) {
        return None;
    }
    // From the 1st of March of the year -400, which makes all below positive.
    let day = (days + 719_468 + 146_097) as u32;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * month_from_march + 2) / 5 + 1) as u8;
    let (month, next_year) = match month_from_march {
        0..=9 => (month_from_march as u8 + 3, 0),
        _ => (month_from_march as u8 - 9, 1),
    };
    Some((era * 400 + year_of_era + next_year - 400, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_day_of_ten_thousand_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (0, 1, 1);
        for days in FIRST_DAY..DAY_AFTER_LAST {
            assert_eq!(civil(days), Some((year, month, day)));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + u8::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (day < length, month < 12) {
                (true, _) => (year, month, day + 1),
                (false, true) => (year, month + 1, 1),
                (false, false) => (year + 1, 1, 1),
            };
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
        assert_eq!(civil(0), Some((1970, 1, 1)));
        assert_eq!((civil(FIRST_DAY - 1), civil(DAY_AFTER_LAST)), (None, None));
    }

    #[test]
    fn times_have_the_digits_of_their_unit() {
        for (value, unit, expected) in [
            (0, TimeUnit::Second, "1970-01-01T00:00:00"),
            (-1, TimeUnit::Second, "1969-12-31T23:59:59"),
            (
                1_454_243_400_001,
                TimeUnit::Millisecond,
                "2016-01-31T12:30:00.001",
            ),
            (-1, TimeUnit::Microsecond, "1969-12-31T23:59:59.999999"),
            (
                i64::MIN,
                TimeUnit::Nanosecond,
                "1677-09-21T00:12:43.145224192",
            ),
            (
                i64::MAX,
                TimeUnit::Nanosecond,
                "2262-04-11T23:47:16.854775807",
            ),
        ] {
            assert_eq!(text(|out| timestamp(out, value, unit).unwrap()), expected);
        }
        let mut out = Vec::new();
        assert_eq!(
            timestamp(&mut out, i64::MAX, TimeUnit::Second),
            Err(BeyondYears)
        );
        assert_eq!(
            timestamp(&mut out, i64::MIN, TimeUnit::Microsecond),
            Err(BeyondYears)
        );
    }

    #[test]
    fn decimals_are_exact() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 3, "0.005"),
            (-5, 1, "-0.5"),
            (12_345, 2, "123.45"),
            (-12_345, 5, "-0.12345"),
            (12, -2, "1200"),
            (0, -2, "0"),
            (i128::MIN, 38, "-1.70141183460469231731687303715884105728"),
        ] {
            assert_eq!(text(|out| decimal(out, value, scale)), expected);
        }
    }

    #[test]
    fn floats_are_the_shortest_that_read_back() {
        let specials = Specials {
            nan: "NaN",
            infinity: "+Inf",
            minus_infinity: "-Inf",
        };
        for value in [
            0.1,
            -0.0,
            1e300,
            f64::MIN_POSITIVE,
            f64::MAX,
            5e-324,
            123_456.0,
        ] {
            let text = text(|out| float(out, value, specials));
            assert_eq!(
                text.parse::<f64>().unwrap().to_bits(),
                value.to_bits(),
                "{text}"
            );
        }
        assert_eq!(text(|out| float(out, 0.1_f32, specials)), "0.1");
        assert_eq!(text(|out| float(out, f64::NAN, specials)), "NaN");
        assert_eq!(text(|out| float(out, f32::INFINITY, specials)), "+Inf");
        assert_eq!(text(|out| float(out, f64::NEG_INFINITY, specials)), "-Inf");
    }
}
