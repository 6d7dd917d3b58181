//! Lengths of time as text: ISO 8601 durations, of durations and of intervals.
//!
//! A duration has days of 24 hours, as `P1DT2H3.5S`, and its sign before all, as xs:dayTimeDuration
//! (XML Schema 1.1 part 2, 3.4.27). An interval has years of twelve months, days, and a time that is
//! never made days. Where its parts have several signs, each has its own (`P1M-2D`), as in
//! PostgreSQL and ISO 8601-2. Nothing is rounded, and zeros behind a point are left out.

use arrow::datatypes::TimeUnit;

use super::{
    column::{Cells, Intervals},
    text,
    times::units_per_second,
};

const MONTHS_PER_YEAR: u64 = 12;
const SECONDS_PER_DAY: u64 = 86_400;
const SECONDS_PER_HOUR: u64 = 3_600;
const SECONDS_PER_MINUTE: u64 = 60;

/// Appends a duration or an interval; nothing for other kinds.
pub(super) fn append(out: &mut Vec<u8>, cells: &Cells<'_>, row: usize) {
    match cells {
        Cells::Duration(values, unit) => duration(out, values[row], *unit),
        Cells::Interval(Intervals::YearMonth(months)) => {
            interval(out, [months[row].into(), 0, 0], TimeUnit::Second);
        }
        Cells::Interval(Intervals::DayTime(values)) => {
            let value = values[row];
            let parts = [0, value.days.into(), value.milliseconds.into()];
            interval(out, parts, TimeUnit::Millisecond);
        }
        Cells::Interval(Intervals::MonthDayNano(values)) => {
            let value = values[row];
            let parts = [value.months.into(), value.days.into(), value.nanoseconds];
            interval(out, parts, TimeUnit::Nanosecond);
        }
        _ => {}
    }
}

fn duration(out: &mut Vec<u8>, value: i64, unit: TimeUnit) {
    let per_day = SECONDS_PER_DAY * units(unit);
    let value_abs = value.unsigned_abs();
    let parts = [0, value_abs / per_day, value_abs % per_day];
    if value < 0 {
        out.push(b'-');
    }
    append_parts(out, parts.map(|part| (false, part)), unit);
}

/// Months, days, and a time in units.
fn interval(out: &mut Vec<u8>, parts: [i64; 3], unit: TimeUnit) {
    let is_negative = parts.iter().all(|part| *part <= 0) && parts != [0; 3];
    if is_negative {
        out.push(b'-');
    }
    let signed = |part: i64| (part < 0 && !is_negative, part.unsigned_abs());
    append_parts(out, parts.map(signed), unit);
}

/// Months, days, and a time in units, each with whether it has a sign.
fn append_parts(out: &mut Vec<u8>, parts: [(bool, u64); 3], unit: TimeUnit) {
    let [(months_sign, months), (days_sign, days), (time_sign, time)] = parts;
    out.push(b'P');
    append_part(out, months_sign, months / MONTHS_PER_YEAR, b'Y');
    append_part(out, months_sign, months % MONTHS_PER_YEAR, b'M');
    append_part(out, days_sign, days, b'D');
    if time > 0 || months == 0 && days == 0 {
        out.push(b'T');
        append_time(out, time_sign, time, unit);
    }
}

fn append_part(out: &mut Vec<u8>, has_sign: bool, number: u64, letter: u8) {
    if number > 0 {
        append_number(out, has_sign, number);
        out.push(letter);
    }
}

fn append_number(out: &mut Vec<u8>, has_sign: bool, number: u64) {
    if has_sign {
        out.push(b'-');
    }
    text::integer(out, number);
}

fn append_time(out: &mut Vec<u8>, has_sign: bool, time: u64, unit: TimeUnit) {
    let per_second = units(unit);
    let (seconds, fraction) = (time / per_second, time % per_second);
    append_part(out, has_sign, seconds / SECONDS_PER_HOUR, b'H');
    let minutes = seconds / SECONDS_PER_MINUTE % SECONDS_PER_MINUTE;
    append_part(out, has_sign, minutes, b'M');
    let seconds = seconds % SECONDS_PER_MINUTE;
    if seconds == 0 && fraction == 0 && time > 0 {
        return;
    }
    append_number(out, has_sign, seconds);
    append_fraction(out, fraction, per_second);
    out.push(b'S');
}

/// The digits behind the point, and the point, if there are any.
fn append_fraction(out: &mut Vec<u8>, mut fraction: u64, mut per_second: u64) {
    if fraction > 0 {
        out.push(b'.');
    }
    while fraction > 0 {
        per_second /= 10;
        out.push(b'0' + (fraction / per_second) as u8);
        fraction %= per_second;
    }
}

/// In a second.
fn units(unit: TimeUnit) -> u64 {
    units_per_second(&unit).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_to_their_unit_and_have_their_sign_first() {
        use TimeUnit as U;
        for (value, unit, expected) in [
            (0, U::Second, "PT0S"),
            (93_603_500, U::Millisecond, "P1DT2H3.5S"),
            (-93_603_500, U::Millisecond, "-P1DT2H3.5S"),
            (86_400, U::Second, "P1D"),
            (3_600_000_000, U::Microsecond, "PT1H"),
            (60, U::Second, "PT1M"),
            (-1, U::Nanosecond, "-PT0.000000001S"),
            (1_000_000_000, U::Nanosecond, "PT1S"),
            (1_020_000_000, U::Nanosecond, "PT1.02S"),
            (i64::MAX, U::Nanosecond, "P106751DT23H47M16.854775807S"),
            (i64::MIN, U::Nanosecond, "-P106751DT23H47M16.854775808S"),
            (i64::MIN, U::Second, "-P106751991167300DT15H30M8S"),
        ] {
            let mut out = Vec::new();
            duration(&mut out, value, unit);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn parts_of_intervals_keep_their_signs_and_become_no_others() {
        for (parts, unit, expected) in [
            ([0, 0, 0], TimeUnit::Nanosecond, "PT0S"),
            ([14, 0, 0], TimeUnit::Second, "P1Y2M"),
            ([-14, 0, 0], TimeUnit::Second, "-P1Y2M"),
            ([12, -2, 0], TimeUnit::Millisecond, "P1Y-2D"),
            (
                [0, 40, 108_000_001],
                TimeUnit::Millisecond,
                "P40DT30H0.001S",
            ),
            ([-1, 0, 1_500_000_000], TimeUnit::Nanosecond, "P-1MT1.5S"),
            ([0, 1, -61_000_000_000], TimeUnit::Nanosecond, "P1DT-1M-1S"),
            ([-1, -1, -1], TimeUnit::Nanosecond, "-P1M1DT0.000000001S"),
            (
                [i32::MIN.into(), 1, i64::MIN],
                TimeUnit::Nanosecond,
                "P-178956970Y-8M1DT-2562047H-47M-16.854775808S",
            ),
        ] {
            let mut out = Vec::new();
            interval(&mut out, parts, unit);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
