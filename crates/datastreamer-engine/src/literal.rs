//! The values of filters: a text as a value of a column's type, in the form in which the text formats
//! show it. `narrow.rs` compares columns with them.
//!
//! A text that the type cannot hold exactly is refused, never rounded: it would match other values.
//! A floating-point number alone is the one nearest to its text.

use arrow::{
    array::timezone::Tz,
    compute::kernels::cast_utils::string_to_datetime,
    datatypes::{DataType, Field, TimeUnit, i256},
};
use datafusion::common::ScalarValue;
use datastreamer_table::{
    bytes_of_hex, type_name,
    uuid::{self, is_uuid},
};

use crate::error::EngineError;

const MILLISECONDS_PER_DAY: i64 = 86_400_000;
/// A decimal has at most 76 digits: zeros that an exponent appends beyond them are not written out.
const DECIMAL_DIGITS_MAX: i64 = 76;

/// The values that are shown as one text: from `low` to `high`, in nearly all types one value.
pub(crate) struct Literal {
    pub(crate) low: ScalarValue,
    /// `None`: `low` is the only value.
    pub(crate) high: Option<ScalarValue>,
}

impl Literal {
    /// Parses a text as a value of a column.
    ///
    /// # Errors
    /// The text is not a value of the column's type, or the type cannot be compared.
    pub(crate) fn parse(text: &str, column: &Field) -> Result<Self, EngineError> {
        let data_type = column.data_type();
        let wrong = || {
            let (name, example) = match is_uuid(column) {
                true => ("UUID".to_owned(), "123e4567-e89b-12d3-a456-426614174000"),
                false => (type_name(data_type), example(data_type)),
            };
            let hint = match text.eq_ignore_ascii_case("null") {
                true => "; rows without a value are found by is.null, others by is.not_null",
                false => "",
            };
            EngineError::bad(format!(
                "`{text}` is not a value of type {name}: write for example {example}{hint}"
            ))
        };
        if is_uuid(column) {
            let bytes = uuid::parse(text).ok_or_else(wrong)?;
            return Ok(ScalarValue::FixedSizeBinary(16, Some(bytes)).into());
        }
        parse(text, data_type)?.ok_or_else(wrong)
    }

    fn map(self, of: impl Fn(ScalarValue) -> ScalarValue) -> Self {
        Self {
            low: of(self.low),
            high: self.high.map(of),
        }
    }
}

impl From<ScalarValue> for Literal {
    fn from(low: ScalarValue) -> Self {
        Self { low, high: None }
    }
}

/// Checks that a constant of a query, a text or a timestamp, is a value of a type of times or decimals.
///
/// # Errors
/// The type has no such value.
pub(crate) fn check_exact(constant: &ScalarValue, data_type: &DataType) -> Result<(), EngineError> {
    if let Some(Some(text)) = constant.try_as_str() {
        return match parse(text, data_type)? {
            Some(_) => Ok(()),
            None => Err(EngineError::bad(format!(
                "`{text}` is not a value of type {}",
                type_name(data_type)
            ))),
        };
    }
    let (value, unit) = match constant {
        ScalarValue::TimestampMillisecond(Some(value), _) => (*value, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(Some(value), _) => (*value, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(Some(value), _) => (*value, TimeUnit::Nanosecond),
        _ => return Ok(()),
    };
    match data_type {
        DataType::Timestamp(coarser, _) if value % per_unit(*coarser, unit) != 0 => {
            Err(has_more_digits(&constant.to_string(), data_type))
        }
        DataType::Date32 | DataType::Date64
            if value % (per_second(unit) * (MILLISECONDS_PER_DAY / 1000)) != 0 =>
        {
            Err(has_more_digits(&constant.to_string(), data_type))
        }
        _ => Ok(()),
    }
}

/// Returns how many of a unit make one of a coarser unit; 1 if it is not coarser.
fn per_unit(coarser: TimeUnit, unit: TimeUnit) -> i64 {
    (per_second(unit) / per_second(coarser)).max(1)
}

/// Returns how a value of a type is written.
fn example(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Dictionary(_, values) => example(values),
        DataType::RunEndEncoded(_, values) => example(values.data_type()),
        DataType::Boolean => "true",
        DataType::Date32 | DataType::Date64 => "2016-01-31",
        DataType::Time32(_) | DataType::Time64(_) => "13:14:15",
        DataType::Timestamp(_, _) => "2016-01-31T13:14:15Z",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "00ff",
        _ if data_type.is_floating() || data_type.is_decimal() => "1.5",
        _ if data_type.is_integer() => "12",
        _ => "a text",
    }
}

/// Checks that the values of a type can be compared.
///
/// # Errors
/// They are nested, durations or intervals.
pub(crate) fn check_compared(data_type: &DataType) -> Result<(), EngineError> {
    use DataType as T;
    match data_type {
        T::Dictionary(_, values) => check_compared(values),
        T::RunEndEncoded(_, values) => check_compared(values.data_type()),
        T::Boolean | T::Timestamp(_, _) | T::Date32 | T::Date64 => Ok(()),
        T::Time32(_) | T::Time64(_) => Ok(()),
        _ if data_type.is_numeric() || data_type.is_string() || data_type.is_binary() => Ok(()),
        _ => {
            let name = type_name(data_type);
            let text = format!("a column of type {name} cannot be compared");
            Err(EngineError::bad(text))
        }
    }
}

/// Parses a text by a type; `None`: it is not a value of this type.
fn parse(text: &str, data_type: &DataType) -> Result<Option<Literal>, EngineError> {
    use DataType as T;
    check_compared(data_type)?;
    let value = match data_type {
        T::Dictionary(keys, values) => {
            let of_key = |value| ScalarValue::Dictionary(keys.clone(), Box::new(value));
            return Ok(parse(text, values)?.map(|literal| literal.map(of_key)));
        }
        T::RunEndEncoded(_, values) => return parse(text, values.data_type()),
        T::Timestamp(unit, zone) => timestamp(text, *unit)?.map(|value| {
            let (value, zone) = (Some(value), zone.clone());
            match unit {
                TimeUnit::Second => ScalarValue::TimestampSecond(value, zone),
                TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(value, zone),
                TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(value, zone),
                TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(value, zone),
            }
        }),
        T::Date32 => date(text).map(|days| ScalarValue::Date32(Some(days))),
        T::Date64 => return Ok(date(text).map(whole_day)),
        T::Time32(_) | T::Time64(_) => time_of_day(text, data_type)?,
        T::Decimal32(_, _) | T::Decimal64(_, _) | T::Decimal128(_, _) | T::Decimal256(_, _) => {
            decimal(text, data_type)?
        }
        T::Float16 | T::Float32 | T::Float64 => return Ok(float(text, data_type)),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            binary(text, data_type)
        }
        _ => arrow(text, data_type),
    };
    Ok(value.map(Literal::from))
}

/// Parses a text as Arrow casts it.
fn arrow(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let value = ScalarValue::try_from_string(text.to_owned(), data_type).ok()?;
    (!value.is_null()).then_some(value)
}

fn has_more_digits(text: &str, data_type: &DataType) -> EngineError {
    let name = type_name(data_type);
    EngineError::bad(format!(
        "`{text}` has more digits than a value of type {name}"
    ))
}

/// Parses a time as the number of units since 1970. One without a zone is in UTC, as it is shown,
/// whatever the zone of the column is.
fn timestamp(text: &str, unit: TimeUnit) -> Result<Option<i64>, EngineError> {
    let utc: Tz = "+00:00"
        .parse()
        .map_err(|error| EngineError::data(format!("the zone UTC: {error}")))?;
    if has_second_60(text) {
        return Ok(None);
    }
    let Ok(time) = string_to_datetime(&utc, &with_plus(text)) else {
        return Ok(None);
    };
    let nanoseconds_each = per_unit(unit, TimeUnit::Nanosecond);
    let nanoseconds = i64::from(time.timestamp_subsec_nanos());
    if nanoseconds % nanoseconds_each != 0 || fraction_digits(text) > 9 {
        return Err(has_more_digits(text, &DataType::Timestamp(unit, None)));
    }
    // In 128 bits: the first second of 1677 in nanoseconds is beyond 64, its end is not.
    let value = i128::from(time.timestamp()) * i128::from(per_second(unit))
        + i128::from(nanoseconds / nanoseconds_each);
    Ok(i64::try_from(value).ok())
}

/// Returns how many of a unit are in a second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Puts the plus sign back that a URL's form makes a space: `00:00:00 02:00` was `00:00:00+02:00`.
fn with_plus(text: &str) -> String {
    let at = text.len().saturating_sub("+02:00".len());
    match (text.get(..at), text.get(at..)) {
        (Some(before), Some(offset)) if before.contains(':') && offset.starts_with(' ') => {
            format!("{before}+{}", &offset[1..])
        }
        _ => text.to_owned(),
    }
}

/// Returns whether the seconds are 60, which Arrow reads as another second.
pub(crate) fn has_second_60(text: &str) -> bool {
    let seconds = text.split(':').nth(2);
    seconds.is_some_and(|seconds| seconds.starts_with("60"))
}

/// Parses a date as the number of days since 1970. A time is no date: it would be cut.
fn date(text: &str) -> Option<i32> {
    const DATE_BYTES: usize = "2016-01-31".len();
    match arrow(text, &DataType::Date32)? {
        ScalarValue::Date32(days) if text.len() == DATE_BYTES => days,
        _ => None,
    }
}

/// Returns the milliseconds of a day, all of which are shown as the day.
fn whole_day(days: i32) -> Literal {
    let low = i64::from(days) * MILLISECONDS_PER_DAY;
    Literal {
        low: ScalarValue::Date64(Some(low)),
        high: Some(ScalarValue::Date64(Some(low + MILLISECONDS_PER_DAY - 1))),
    }
}

fn time_of_day(text: &str, data_type: &DataType) -> Result<Option<ScalarValue>, EngineError> {
    let digits = match data_type {
        DataType::Time32(TimeUnit::Second) => 0,
        DataType::Time32(_) => 3,
        DataType::Time64(TimeUnit::Microsecond) => 6,
        _ => 9,
    };
    match arrow(text, data_type) {
        Some(_) if fraction_digits(text) > digits => Err(has_more_digits(text, data_type)),
        value => Ok(value.filter(|_| !has_second_60(text))),
    }
}

/// Returns the number of digits after the point, without trailing zeros.
fn fraction_digits(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|digit: char| !digit.is_ascii_digit());
    fraction[..end.unwrap_or(fraction.len())]
        .trim_end_matches('0')
        .len()
}

/// Parses a number exactly, with or without an exponent.
fn decimal(text: &str, data_type: &DataType) -> Result<Option<ScalarValue>, EngineError> {
    let (precision, scale) = match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (*precision, *scale),
        _ => return Ok(None),
    };
    let Some((sign, mut digits, exponent)) = decimal_parts(text) else {
        return Ok(None);
    };
    let zeros = exponent + i64::from(scale);
    if digits.is_empty() {
        digits.push('0');
    } else if zeros >= 0 {
        let zeros = zeros.min(DECIMAL_DIGITS_MAX + 1) as usize;
        digits.extend(std::iter::repeat_n('0', zeros));
    } else {
        let kept = digits.len() as i64 + zeros;
        let kept = usize::try_from(kept).map_err(|_| has_more_digits(text, data_type))?;
        if digits[kept..].bytes().any(|digit| digit != b'0') {
            return Err(has_more_digits(text, data_type));
        }
        digits.truncate(kept);
    }
    if digits.len() > usize::from(precision) && digits != "0" {
        return Ok(None);
    }
    let number = i256::from_string(&format!("{sign}{digits}"));
    let Some(number) = number else {
        return Ok(None);
    };
    let narrow = number.to_i128();
    Ok(Some(match data_type {
        DataType::Decimal32(_, _) => {
            let value = narrow.and_then(|number| number.try_into().ok());
            ScalarValue::Decimal32(value, precision, scale)
        }
        DataType::Decimal64(_, _) => {
            let value = narrow.and_then(|number| number.try_into().ok());
            ScalarValue::Decimal64(value, precision, scale)
        }
        DataType::Decimal128(_, _) => ScalarValue::Decimal128(narrow, precision, scale),
        _ => ScalarValue::Decimal256(Some(number), precision, scale),
    }))
}

/// Returns a number's sign, its digits without leading zeros and without the point, and the power of
/// ten to multiply them with.
pub(crate) fn decimal_parts(text: &str) -> Option<(&'static str, String, i64)> {
    let text = text.trim();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, i64::from(exponent.parse::<i32>().ok()?)),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0').to_owned();
    Some((sign, digits, exponent - fraction.len() as i64))
}

/// Parses a number that is not NaN. Both zeros are equal. No other number is zero, and no other
/// integer is this one.
fn float(text: &str, data_type: &DataType) -> Option<Literal> {
    let text = text.trim();
    let parsed = |text: &str| match data_type {
        DataType::Float32 => Some(ScalarValue::from(text.parse::<f32>().ok()?)),
        DataType::Float64 => Some(ScalarValue::from(text.parse::<f64>().ok()?)),
        _ => arrow(text, data_type),
    };
    let value = parsed(text)?;
    let number = match value.cast_to(&DataType::Float64).ok()? {
        ScalarValue::Float64(number) => number?,
        _ => return None,
    };
    // `1e400` would become an infinity.
    let is_beyond = number.is_infinite() && text.bytes().any(|byte| byte.is_ascii_digit());
    if number.is_nan() || is_beyond || is_another(text, number, data_type) {
        return None;
    }
    Some(match number == 0.0 {
        true => Literal {
            low: parsed("-0.0")?,
            high: parsed("0.0"),
        },
        false => value.into(),
    })
}

/// Returns whether a text is another number than the nearest float: one that is not zero, for which
/// there is only zero, or an integer that is neither exactly the float nor how it is shown.
fn is_another(text: &str, nearest: f64, data_type: &DataType) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    if nearest == 0.0 {
        return mantissa.bytes().any(|digit| (b'1'..=b'9').contains(&digit));
    }
    let Ok(integer) = text.parse::<i128>() else {
        return false;
    };
    let shown = match data_type {
        DataType::Float64 => nearest.to_string(),
        _ => (nearest as f32).to_string(),
    };
    nearest as i128 != integer && shown != integer.to_string()
}

/// Parses bytes in hexadecimal digits.
fn binary(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    let bytes = bytes_of_hex(text)?;
    match data_type {
        DataType::FixedSizeBinary(length) if usize::try_from(*length).ok() == Some(bytes.len()) => {
            Some(ScalarValue::FixedSizeBinary(*length, Some(bytes)))
        }
        DataType::Binary => Some(ScalarValue::Binary(Some(bytes))),
        DataType::LargeBinary => Some(ScalarValue::LargeBinary(Some(bytes))),
        DataType::BinaryView => Some(ScalarValue::BinaryView(Some(bytes))),
        _ => None,
    }
}
