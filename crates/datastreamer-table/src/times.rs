//! Times as text: ISO 8601 in UTC without a zone (DALI 1.2, 3.3.3), with as many digits as their unit
//! has, so that all texts of a column have the same length. Formats that can name a zone write
//! [`zone_mark`](super::column::zone_mark) behind it.

use arrow::datatypes::{DataType, TimeUnit};

use super::column::Cells;

/// A time without a text: what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BeyondYears;

impl BeyondYears {
    pub(super) const PROBLEM: &'static str =
        "the time is not within the years 0 to 9999, or within the day";
}

/// Where a time's text goes.
pub(super) trait Room {
    /// Room for a text of this length; `None` if there is none.
    fn room<const N: usize>(&mut self) -> Option<&mut [u8; N]>;
}

/// The text is appended.
impl Room for Vec<u8> {
    #[inline]
    fn room<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.extend_from_slice(&[0; N]);
        self.last_chunk_mut()
    }
}

/// The text is put where it belongs.
impl Room for &mut [u8] {
    #[inline]
    fn room<const N: usize>(&mut self) -> Option<&mut [u8; N]> {
        self.first_chunk_mut()
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// `2016`
const YEAR_BYTES: usize = 4;
/// `2016-01-31`
const DATE_BYTES: usize = 10;
/// `2016-01-31T12:30:00`, which a fraction may follow.
const TIMESTAMP_BYTES: usize = 19;
/// `12:30:00`, which a fraction may follow.
const TIME_BYTES: usize = 8;

/// The longest: a timestamp in nanoseconds.
pub(super) const TIME_BYTES_MAX: usize = TIMESTAMP_BYTES + ".123456789".len();

/// How long the texts of a column of times are; `None` for other types.
pub(super) fn time_bytes(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Date32 | DataType::Date64 => Some(DATE_BYTES),
        DataType::Timestamp(unit, _) => Some(TIMESTAMP_BYTES + fraction_bytes(*unit)),
        DataType::Time32(unit) | DataType::Time64(unit) => Some(TIME_BYTES + fraction_bytes(*unit)),
        _ => None,
    }
}

/// The same for cells.
pub(super) fn cell_bytes(cells: &Cells<'_>) -> Option<usize> {
    match cells {
        Cells::Date32(_) | Cells::Date64(_) => Some(DATE_BYTES),
        Cells::Timestamp(_, unit) => Some(TIMESTAMP_BYTES + fraction_bytes(*unit)),
        Cells::Time32(_, unit) | Cells::Time64(_, unit) => Some(TIME_BYTES + fraction_bytes(*unit)),
        _ => None,
    }
}

fn fraction_bytes(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => ".123".len(),
        TimeUnit::Microsecond => ".123456".len(),
        TimeUnit::Nanosecond => ".123456789".len(),
    }
}

/// What the texts of a column of timestamps or dates are (DALI 1.2, 3.3.3); `None` for other
/// types.
pub(super) fn xtype(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Date32 | DataType::Date64 => Some("timestamp"),
        DataType::Dictionary(_, values) => xtype(values),
        _ => None,
    }
}

/// Writes a cell of any kind of time; nothing for other kinds.
#[inline]
pub(super) fn time(to: &mut impl Room, cells: &Cells<'_>, row: usize) -> Result<(), BeyondYears> {
    match cells {
        Cells::Date32(values) => date(to, values[row].into()),
        Cells::Date64(values) => date(to, values[row].div_euclid(1000 * SECONDS_PER_DAY)),
        Cells::Timestamp(values, unit) => timestamp(to, values[row], *unit),
        Cells::Time32(values, unit) => time_of_day(to, values[row].into(), *unit),
        Cells::Time64(values, unit) => time_of_day(to, values[row], *unit),
        _ => Ok(()),
    }
}

/// Says whether [`time`] has a text for a cell.
#[inline]
pub(super) fn check_time(cells: &Cells<'_>, row: usize) -> Result<(), BeyondYears> {
    let is_day = |days: i64| (FIRST_DAY..DAY_AFTER_LAST).contains(&days);
    let is_of_day = |value: i64, unit: &TimeUnit| {
        (0..SECONDS_PER_DAY * units_per_second(unit)).contains(&value)
    };
    let has_text = match cells {
        Cells::Date32(values) => is_day(values[row].into()),
        Cells::Date64(values) => is_day(values[row].div_euclid(1000 * SECONDS_PER_DAY)),
        Cells::Timestamp(values, unit) => {
            is_day(values[row].div_euclid(SECONDS_PER_DAY * units_per_second(unit)))
        }
        Cells::Time32(values, unit) => is_of_day(values[row].into(), unit),
        Cells::Time64(values, unit) => is_of_day(values[row], unit),
        _ => true,
    };
    has_text.then_some(()).ok_or(BeyondYears)
}

pub(super) fn units_per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[inline]
fn date(to: &mut impl Room, days: i64) -> Result<(), BeyondYears> {
    let Some(text) = to.room::<DATE_BYTES>() else {
        return Ok(());
    };
    let (year, month_day) = date_parts(days)?;
    text[..YEAR_BYTES].copy_from_slice(&year);
    text[YEAR_BYTES..].copy_from_slice(&month_day[..DATE_BYTES - YEAR_BYTES]);
    Ok(())
}

/// The time since 1970 in units. Each unit has code of its own: it divides by constants.
#[inline]
fn timestamp(to: &mut impl Room, value: i64, unit: TimeUnit) -> Result<(), BeyondYears> {
    match unit {
        TimeUnit::Second => timestamp_in::<1, 19>(to, value),
        TimeUnit::Millisecond => timestamp_in::<1_000, 23>(to, value),
        TimeUnit::Microsecond => timestamp_in::<1_000_000, 26>(to, value),
        TimeUnit::Nanosecond => timestamp_in::<1_000_000_000, 29>(to, value),
    }
}

#[inline]
fn timestamp_in<const PER_SECOND: i64, const BYTES: usize>(
    to: &mut impl Room,
    value: i64,
) -> Result<(), BeyondYears> {
    let per_day = const { PER_SECOND * SECONDS_PER_DAY };
    let Some(text) = to.room::<BYTES>() else {
        return Ok(());
    };
    let (year, month_day) = date_parts(value.div_euclid(per_day))?;
    text[..YEAR_BYTES].copy_from_slice(&year);
    text[YEAR_BYTES..][..8].copy_from_slice(month_day);
    put_time::<PER_SECOND>(
        &mut text[DATE_BYTES + 1..],
        value.rem_euclid(per_day) as u64,
    );
    Ok(())
}

/// The time since midnight in units.
#[inline]
fn time_of_day(to: &mut impl Room, value: i64, unit: TimeUnit) -> Result<(), BeyondYears> {
    match unit {
        TimeUnit::Second => time_of_day_in::<1, 8>(to, value),
        TimeUnit::Millisecond => time_of_day_in::<1_000, 12>(to, value),
        TimeUnit::Microsecond => time_of_day_in::<1_000_000, 15>(to, value),
        TimeUnit::Nanosecond => time_of_day_in::<1_000_000_000, 18>(to, value),
    }
}

#[inline]
fn time_of_day_in<const PER_SECOND: i64, const BYTES: usize>(
    to: &mut impl Room,
    value: i64,
) -> Result<(), BeyondYears> {
    let per_day = const { PER_SECOND * SECONDS_PER_DAY };
    if !(0..per_day).contains(&value) {
        return Err(BeyondYears);
    }
    if let Some(text) = to.room::<BYTES>() {
        put_time::<PER_SECOND>(text, value as u64);
    }
    Ok(())
}

/// Puts `12:30:00`, and in what room is behind it a point and the digits of the fraction. Inlined,
/// so that the length of the room is known.
#[inline(always)]
fn put_time<const PER_SECOND: i64>(text: &mut [u8], of_day: u64) {
    let per_minute = const { 60 * PER_SECOND as u64 };
    let (minutes, rest) = (of_day / per_minute, of_day % per_minute);
    let (second, fraction) = if per_minute <= u32::MAX.into() {
        let (rest, per_second) = (rest as u32, PER_SECOND as u32);
        (rest / per_second, rest % per_second)
    } else {
        let per_second = PER_SECOND as u64;
        ((rest / per_second) as u32, (rest % per_second) as u32)
    };
    // Two more bytes than are meant; what belongs there comes then.
    text[..TIME_BYTES].copy_from_slice(&HOURS_AND_MINUTES[minutes as usize]);
    text[6..TIME_BYTES].copy_from_slice(pair(second));
    let Some((point, digits)) = text[TIME_BYTES..].split_first_mut() else {
        return;
    };
    *point = b'.';
    let mut rest = fraction;
    let mut scale = PER_SECOND as u32;
    for two in digits.chunks_mut(2) {
        if two.len() == 2 {
            scale /= 100;
            two.copy_from_slice(pair(rest / scale));
            rest %= scale;
        } else {
            two[0] = b'0' + rest as u8;
        }
    }
}

/// The two digits of a number below 100.
#[inline]
fn pair(number: u32) -> &'static [u8; 2] {
    &PAIRS[number as usize]
}

/// `00` to `99`. Tables, because texts of times are made by the billion: with them they take a
/// third of the instructions.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = two_digits(number);
        number += 1;
    }
    pairs
};

/// `12:30:` of every minute of a day.
static HOURS_AND_MINUTES: [[u8; 8]; 24 * 60] = {
    let mut texts = [*b"00:00:00"; 24 * 60];
    let mut minutes = 0;
    while minutes < texts.len() {
        [texts[minutes][0], texts[minutes][1]] = two_digits(minutes / 60);
        [texts[minutes][3], texts[minutes][4]] = two_digits(minutes % 60);
        minutes += 1;
    }
    texts
};

/// `-03-01T` to `-02-29T`, of every day of a year that begins in March.
static MONTHS_AND_DAYS: [[u8; 8]; 366] = {
    let mut texts = [*b"-00-00T0"; 366];
    let (mut day_of_year, mut month, mut day) = (0, 3, 1);
    while day_of_year < texts.len() {
        [texts[day_of_year][1], texts[day_of_year][2]] = two_digits(month);
        [texts[day_of_year][4], texts[day_of_year][5]] = two_digits(day);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (month, day) = match (day < days, month) {
            (true, _) => (month, day + 1),
            (false, 12) => (1, 1),
            (false, _) => (month + 1, 1),
        };
        day_of_year += 1;
    }
    texts
};

const fn two_digits(number: usize) -> [u8; 2] {
    [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]
}

/// The first day of year 0 and of year 10,000, in days since 1970.
const FIRST_DAY: i64 = -719_528;
const DAY_AFTER_LAST: i64 = 2_932_897;

/// Days from the 1st of March of the year -400, which makes all days of ours positive, to 1970.
const DAYS_TO_1970: i64 = 719_468 + 146_097;

/// Of a year that begins in March these belong to the year in which it does.
const DAYS_TO_JANUARY: u32 = 306;

/// The year, and month and day, of a day since 1970-01-01, in the proleptic Gregorian calendar,
/// for the years 0 to 9999.
///
/// Years begin in March, so that the leap day is the last; divisions become products (Neri and
/// Schneider 2023, "Euclidean affine functions and their application to calendar algorithms",
/// doi:10.1002/spe.3172).
#[inline]
fn date_parts(days: i64) -> Result<([u8; YEAR_BYTES], &'static [u8; 8]), BeyondYears> {
    if !(FIRST_DAY..DAY_AFTER_LAST).contains(&days) {
        return Err(BeyondYears);
    }
    let quarter_days = 4 * (days + DAYS_TO_1970) as u32 + 3;
    let century = quarter_days / 146_097;
    let of_century = (quarter_days % 146_097) | 3;
    // A fraction of 32 bits: year of the century before the point, its day behind it.
    let years = 2_939_745 * u64::from(of_century);
    let day_of_year = years as u32 / 2_939_745 / 4;
    let is_next = u32::from(day_of_year >= DAYS_TO_JANUARY);
    let year = 100 * century + (years >> 32) as u32 + is_next - 400;
    let (high, low) = (pair(year / 100), pair(year % 100));
    let year = [high[0], high[1], low[0], low[1]];
    Ok((year, &MONTHS_AND_DAYS[day_of_year as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp_text(value: i64, unit: TimeUnit) -> Result<String, BeyondYears> {
        let mut out = Vec::new();
        timestamp(&mut out, value, unit)?;
        assert_eq!(
            time_bytes(&DataType::Timestamp(unit, None)),
            Some(out.len())
        );
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_day_of_ten_thousand_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (0usize, 1usize, 1usize);
        let mut text = Vec::new();
        for days in FIRST_DAY..DAY_AFTER_LAST {
            text.clear();
            assert_eq!(date(&mut text, days), Ok(()));
            let number = |digits: &[u8]| {
                let digits = digits.iter().map(|digit| usize::from(digit - b'0'));
                digits.fold(0, |number, digit| 10 * number + digit)
            };
            assert_eq!((number(&text[..4]), text[4]), (year, b'-'));
            assert_eq!((number(&text[5..7]), text[7]), (month, b'-'));
            assert_eq!((number(&text[8..]), text.len()), (day, DATE_BYTES));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 => 28 + usize::from(leap),
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
        assert_eq!(date(&mut text, FIRST_DAY - 1), Err(BeyondYears));
        assert_eq!(date(&mut text, DAY_AFTER_LAST), Err(BeyondYears));
        text.clear();
        assert_eq!(date(&mut text, 0), Ok(()));
        assert_eq!(text, b"1970-01-01");
    }

    #[test]
    fn every_second_of_a_day_has_its_text() {
        for second in 0..SECONDS_PER_DAY {
            let mut text = Vec::new();
            assert_eq!(time_of_day(&mut text, second, TimeUnit::Second), Ok(()));
            let (hours, minutes) = (second / 3600, second / 60 % 60);
            let expected = format!("{hours:02}:{minutes:02}:{:02}", second % 60);
            assert_eq!(text, expected.as_bytes());
        }
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
            assert_eq!(timestamp_text(value, unit).unwrap(), expected);
        }
        for (value, unit) in [
            (i64::MAX, TimeUnit::Second),
            (i64::MIN, TimeUnit::Microsecond),
        ] {
            assert_eq!(timestamp_text(value, unit), Err(BeyondYears));
        }
    }

    #[test]
    fn a_time_of_day_beyond_the_day_has_no_text() {
        let text = |value| {
            let mut out = Vec::new();
            time_of_day(&mut out, value, TimeUnit::Millisecond).map(|()| out)
        };
        assert_eq!(text(86_399_999).unwrap(), b"23:59:59.999");
        for beyond in [-1, 86_400_000, i64::MIN, i64::MAX] {
            assert_eq!(text(beyond), Err(BeyondYears));
        }
    }
}
