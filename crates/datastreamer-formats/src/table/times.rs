//! Times as text: ISO 8601 without a zone (DALI 1.2, 3.3.3), with as many digits as their unit has,
//! so that all texts of a column have the same length.

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

fn units_per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

#[inline]
fn date(to: &mut impl Room, days: i64) -> Result<(), BeyondYears> {
    match to.room::<DATE_BYTES>() {
        Some(text) => put_date(text, days),
        None => Ok(()),
    }
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
    if let Some(date) = text.first_chunk_mut() {
        put_date(date, value.div_euclid(per_day))?;
    }
    text[DATE_BYTES] = b'T';
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

#[inline]
fn put_date(text: &mut [u8; DATE_BYTES], days: i64) -> Result<(), BeyondYears> {
    let (year, month, day) = civil(days).ok_or(BeyondYears)?;
    let digits = digits_of([year / 100, year % 100, month.into(), day.into()]);
    text[0..4].copy_from_slice(&digits[0..4]);
    text[4] = b'-';
    text[5..7].copy_from_slice(&digits[4..6]);
    text[7] = b'-';
    text[8..10].copy_from_slice(&digits[6..8]);
    Ok(())
}

/// Puts `12:30:00`, and in what room is behind it a point and the digits of the fraction. Inlined,
/// so that the length of the room is known.
#[inline(always)]
fn put_time<const PER_SECOND: i64>(text: &mut [u8], of_day: u64) {
    // The fraction has ten digits in all units; those that a unit has not are 0, and not put.
    let scale = const { 10_000_000_000 / PER_SECOND as u64 };
    let fraction = of_day % PER_SECOND as u64 * scale;
    let (first, others) = (fraction / 100_000_000, (fraction % 100_000_000) as u32);
    let seconds = (of_day / PER_SECOND as u64) as u32;
    let (minutes, second) = (seconds / 60, seconds % 60);
    let digits = digits_of([minutes / 60, minutes % 60, second, first as u32]);
    text[0..2].copy_from_slice(&digits[0..2]);
    text[2] = b':';
    text[3..5].copy_from_slice(&digits[2..4]);
    text[5] = b':';
    text[6..8].copy_from_slice(&digits[4..6]);
    if let [_, _, _, _, _, _, _, _, point, room @ ..] = text {
        let (high, low) = (others / 10_000, others % 10_000);
        let others = digits_of([high / 100, high % 100, low / 100, low % 100]);
        *point = b'.';
        let (two, room) = room.split_at_mut(2);
        two.copy_from_slice(&digits[6..8]);
        room.copy_from_slice(&others[..room.len()]);
    }
}

/// The digits of four numbers below 100. All are made at once, each in 16 bits of a word: the
/// products do not reach the next, and 103/1024 of a number is its tens.
#[inline]
fn digits_of(numbers: [u32; 4]) -> [u8; 8] {
    let [first, second, third, fourth] = numbers.map(u64::from);
    let numbers = first | second << 16 | third << 32 | fourth << 48;
    let tens = (numbers * 103) >> 10 & 0x000f_000f_000f_000f;
    let ones = numbers - 10 * tens;
    (tens | ones << 8 | u64::from_ne_bytes([b'0'; 8])).to_le_bytes()
}

/// The first day of year 0 and of year 10,000, in days since 1970.
const FIRST_DAY: i64 = -719_528;
const DAY_AFTER_LAST: i64 = 2_932_897;

/// Days from the 1st of March of the year -400, which makes all days of ours positive, to 1970.
const DAYS_TO_1970: i64 = 719_468 + 146_097;

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar, for the
/// years 0 to 9999.
///
/// Years begin in March, so that the leap day is the last; divisions become products (Neri and
/// Schneider 2023, "Euclidean affine functions and their application to calendar algorithms",
/// doi:10.1002/spe.3172).
#[inline]
fn civil(days: i64) -> Option<(u32, u8, u8)> {
    if !(FIRST_DAY..DAY_AFTER_LAST).contains(&days) {
        return None;
    }
    let quarter_days = 4 * (days + DAYS_TO_1970) as u32 + 3;
    let century = quarter_days / 146_097;
    let of_century = (quarter_days % 146_097) | 3;
    // A fraction of 32 bits: year of the century before the point, its day behind it.
    let years = 2_939_745 * u64::from(of_century);
    let year_from_march = 100 * century + (years >> 32) as u32;
    let day_of_year = years as u32 / 2_939_745 / 4;
    // The same with 16 bits: months from March, and days.
    let months = 2_141 * day_of_year + 197_913;
    let (month, day) = ((months >> 16) as u8, ((months & 0xffff) / 2_141) as u8 + 1);
    Some(match month {
        3..=12 => (year_from_march - 400, month, day),
        _ => (year_from_march - 399, month - 12, day),
    })
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
    fn the_digits_of_four_numbers_are_made_at_once() {
        for number in 0..100 {
            let others = [99 - number, number * 7 % 100, 99];
            let expected = format!(
                "{number:02}{:02}{:02}{:02}",
                others[0], others[1], others[2]
            );
            let digits = digits_of([number, others[0], others[1], others[2]]);
            assert_eq!(digits, expected.as_bytes());
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
