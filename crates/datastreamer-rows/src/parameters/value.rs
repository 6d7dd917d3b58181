//! Values, what kinds of them there are, and how they are read and written as text.

use std::fmt;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike};

/// So many characters of what was given are repeated in an error.
const QUOTED_CHARACTERS: usize = 40;
/// Days from 0001-01-01, which `chrono` calls day 1, to 1970-01-01.
const EPOCH_DAY: i32 = 719_163;
const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
/// The most digits of a fraction of a second: the resolution is a microsecond.
const FRACTION_DIGITS: usize = 6;

/// The largest offset from UTC, in hours, as PostgreSQL has it.
const OFFSET_HOURS_MAX: i64 = 15;

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// `true` or `false`.
    Bool,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number of double precision.
    Float,
    /// Text.
    Text,
    /// A day.
    Date,
    /// A time to the microsecond. One with an offset is converted to UTC; one without is taken as it is.
    Timestamp,
}

impl ParameterKind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Bool,
        Self::Integer,
        Self::Float,
        Self::Text,
        Self::Date,
        Self::Timestamp,
    ];

    /// Returns what the kind is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Integer => "integer",
            Self::Float => "number",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        }
    }

    pub(super) fn some_value(self) -> Value {
        match self {
            Self::Bool => Value::Bool(false),
            Self::Integer => Value::Integer(0),
            Self::Float => Value::Float(0.0),
            Self::Text => Value::Text(String::new()),
            Self::Date => Value::Date(0),
            Self::Timestamp => Value::Timestamp(0),
        }
    }

    /// Returns what is expected of a value's text, for people.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Integer => "a whole number of 64 bits",
            Self::Float => "a finite number",
            Self::Text => "text",
            Self::Date => "a date like 2026-11-25",
            Self::Timestamp => {
                "a timestamp like 2026-11-25T13:14:15.123, 2026-11-25T13:14:15Z or \
                 2026-11-25T13:14:15+01:00"
            }
        }
    }

    /// Reads a value, or says what was expected and what was there.
    pub(super) fn parse(self, given: &str) -> Result<Value, String> {
        let value = match self {
            Self::Bool => boolean(given).map(Value::Bool),
            Self::Integer => given.parse().ok().map(Value::Integer),
            Self::Float => float(given).map(Value::Float),
            Self::Text => Some(Value::Text(given.to_owned())),
            Self::Date => date(given).map(Value::Date),
            Self::Timestamp => timestamp(given).map(Value::Timestamp),
        };
        value.ok_or_else(|| {
            let hint = match self == Self::Timestamp && has_blank_for_plus(given) {
                true => ": write + as %2B in a URL",
                false => "",
            };
            format!(
                "{} is expected, not {}{hint}",
                self.expected(),
                quoted(given)
            )
        })
    }
}

/// A value of a parameter.
///
/// Values are ordered within their kind. Written as text (`Display`) a bound value is read back as
/// the same.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number; a bound one is finite.
    Float(f64),
    /// Text.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00.
    Timestamp(i64),
}

impl Value {
    /// Returns the kind of the value.
    pub fn kind(&self) -> ParameterKind {
        match self {
            Self::Bool(_) => ParameterKind::Bool,
            Self::Integer(_) => ParameterKind::Integer,
            Self::Float(_) => ParameterKind::Float,
            Self::Text(_) => ParameterKind::Text,
            Self::Date(_) => ParameterKind::Date,
            Self::Timestamp(_) => ParameterKind::Timestamp,
        }
    }

    /// Reads a value of some kind from text, as [`Parameters::bind`](super::Parameters::bind)
    /// does: for defaults and ranges that are written as text.
    ///
    /// # Errors
    /// What was expected and what was there, for people.
    pub fn parse(kind: ParameterKind, text: &str) -> Result<Self, String> {
        kind.parse(text)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value}"),
            Self::Date(days) => write_date(f, *days),
            Self::Timestamp(microseconds) => match DateTime::from_timestamp_micros(*microseconds) {
                Some(time) => write!(f, "{}", time.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f")),
                None => write!(f, "{microseconds} microseconds since 1970"),
            },
        }
    }
}

fn write_date(f: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    let date = days
        .checked_add(EPOCH_DAY)
        .and_then(NaiveDate::from_num_days_from_ce_opt);
    match date {
        Some(date) => write!(f, "{date}"),
        None => write!(f, "{days} days since 1970"),
    }
}

/// Quotes what somebody gave, shortened and without control characters.
pub(super) fn quoted(given: &str) -> String {
    match given.char_indices().nth(QUOTED_CHARACTERS) {
        Some((end, _)) => format!("{:?}...", &given[..end]),
        None => format!("{given:?}"),
    }
}

fn boolean(given: &str) -> Option<bool> {
    match given {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn float(given: &str) -> Option<f64> {
    given.parse().ok().filter(|number: &f64| number.is_finite())
}

fn date(given: &str) -> Option<i32> {
    Some(day(given)?.num_days_from_ce() - EPOCH_DAY)
}

/// Reads `2026-11-25`.
fn day(given: &str) -> Option<NaiveDate> {
    let [year, month, month_day] = numbers(given, '-', [4, 2, 2])?;
    let year = i32::try_from(year).ok().filter(|year| *year > 0)?;
    NaiveDate::from_ymd_opt(year, month, month_day)
}

/// Reads `2026-11-25T13:14:15.123+01:00`, of which all but the date may be absent. With an offset it
/// becomes a time in UTC, whose year must be one of 1 to 9999 as well.
fn timestamp(given: &str) -> Option<i64> {
    let (date_text, microseconds) = match given.split_once('T') {
        Some((date_text, time)) => {
            let (time, offset_seconds) = split_offset(time)?;
            let offset = offset_seconds * MICROSECONDS_PER_SECOND;
            (date_text, time_of_day(time)? - offset)
        }
        None => (given, 0),
    };
    let timestamp = i64::from(date(date_text)?) * MICROSECONDS_PER_DAY + microseconds;
    let year = DateTime::from_timestamp_micros(timestamp)?.year();
    (1..=9999).contains(&year).then_some(timestamp)
}

/// Splits `Z`, `+01:00`, `+0100` or `+01` from a time: its offset from UTC in seconds.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(time) = time.strip_suffix('Z') {
        return Some((time, 0));
    }
    let Some(at) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (time, offset) = time.split_at(at);
    let (sign, digits) = match offset.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, &offset[1..]),
    };
    let (hours, minutes) = match digits.len() {
        5 => digits.split_once(':')?,
        4 if digits.is_ascii() => digits.split_at(2),
        2 => (digits, "00"),
        _ => return None,
    };
    let number = |text: &str, most: i64| {
        let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok())??;
        (0..=most).contains(&number).then_some(number)
    };
    let seconds = number(hours, OFFSET_HOURS_MAX)? * 3600 + number(minutes, 59)? * 60;
    Some((time, sign * seconds))
}

/// Returns whether a time has a blank where an offset would begin.
fn has_blank_for_plus(given: &str) -> bool {
    let plus = given.replacen(' ', "+", 1);
    plus != given && timestamp(&plus).is_some()
}

/// Reads `13:14:15` with a fraction of up to six digits, in microseconds.
fn time_of_day(given: &str) -> Option<i64> {
    let (whole, fraction) = given.split_once('.').unwrap_or((given, "0"));
    let [hour, minute, second] = numbers(whole, ':', [2, 2, 2])?;
    let is_fraction = (1..=FRACTION_DIGITS).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_fraction {
        return None;
    }
    let microseconds: i64 = format!("{fraction:0<FRACTION_DIGITS$}").parse().ok()?;
    let time = NaiveTime::from_hms_opt(hour, minute, second)?;
    Some(i64::from(time.num_seconds_from_midnight()) * MICROSECONDS_PER_SECOND + microseconds)
}

/// Reads three numbers of exactly so many digits.
fn numbers(given: &str, separator: char, digits: [usize; 3]) -> Option<[u32; 3]> {
    let mut parts = given.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = is_number.then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}
