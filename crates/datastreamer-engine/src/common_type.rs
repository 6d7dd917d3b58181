//! The type of a column whose files have several: one that holds every value of all unchanged. It
//! knows types only; `columns.rs` asks it when a table is opened, and when a file comes later.
//!
//! The scans cast each file's values to it: Parquet's by DataFusion, Arrow's in `arrow_opener.rs`.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef,
};

/// Returns whether a column of type `ours` can hold every value of another type, unchanged.
pub(crate) fn is_held(theirs: &DataType, ours: &DataType) -> bool {
    common_type(ours, theirs).is_some_and(|common| common.equals_datatype(ours))
}

/// Returns a type that can hold every value of two, unchanged; of nested types, by their parts.
/// `None` if there is none, or no cast that is known to be exact. Times of two zones get the zone
/// of the first: their instants are the same in each.
pub(crate) fn common_type(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    Some(match (one, other) {
        (T::List(one), T::List(other)) => T::List(common_part(one, other)?),
        (T::List(one) | T::LargeList(one), T::List(other) | T::LargeList(other)) => {
            T::LargeList(common_part(one, other)?)
        }
        (T::FixedSizeList(one, size), T::FixedSizeList(other, same)) if size == same => {
            T::FixedSizeList(common_part(one, other)?, *size)
        }
        (T::Struct(ones), T::Struct(others)) if ones.len() == others.len() => {
            let parts = ones.iter().zip(others).map(|(one, other)| {
                let same_name = one.name() == other.name();
                same_name.then(|| common_part(one, other)).flatten()
            });
            T::Struct(parts.collect::<Option<_>>()?)
        }
        (one, other) if one.equals_datatype(other) => one.clone(),
        (T::Null, any) | (any, T::Null) => any.clone(),
        // Its keys could be too many for the type of either's keys.
        (T::Dictionary(_, one), T::Dictionary(_, other)) => common_type(one, other)?,
        (T::Dictionary(_, values), other) => common_type(values, other)?,
        (one, T::Dictionary(_, values)) => common_type(one, values)?,
        (T::Timestamp(unit, None), T::Timestamp(other, None)) => {
            T::Timestamp(*unit.max(other), None)
        }
        (T::Timestamp(unit, Some(zone)), T::Timestamp(other, Some(_))) => {
            T::Timestamp(*unit.max(other), Some(Arc::clone(zone)))
        }
        (one, other) if is_decimal(one) && is_decimal(other) => common_decimal(one, other)?,
        (one, other) if is_wider(other, one) => one.clone(),
        (one, other) if is_wider(one, other) => other.clone(),
        (one, other) => CANDIDATES
            .into_iter()
            .find(|wide| is_wider(one, wide) && is_wider(other, wide))?,
    })
}

/// Gives a dictionary keys of 32 bits, if it has shorter ones: they number the values of one batch, and
/// those of several files, row groups or batches together may be more.
pub(crate) fn with_long_keys(field: &FieldRef) -> FieldRef {
    use DataType as T;
    match field.data_type() {
        T::Dictionary(keys, values) if keys.primitive_width().is_some_and(|bytes| bytes < 4) => {
            let long = T::Dictionary(Box::new(T::Int32), values.clone());
            Arc::new(Field::clone(field).with_data_type(long))
        }
        _ => Arc::clone(field),
    }
}

/// Types that hold two others where neither holds the other, the narrowest first.
const CANDIDATES: [DataType; 5] = [
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Float32,
    DataType::Float64,
];

fn common_part(one: &FieldRef, other: &FieldRef) -> Option<FieldRef> {
    let data_type = common_type(one.data_type(), other.data_type())?;
    let nullable = one.is_nullable() || other.is_nullable();
    let part = Field::clone(one).with_data_type(data_type);
    Some(Arc::new(part.with_nullable(nullable)))
}

/// Returns whether `wide` is another type than `narrow`, and holds each of its values. A float holds
/// the integers of fewer bits than its significand has: 11, 24 and 53.
///
/// Times of day in microseconds become no nanoseconds, and seconds no milliseconds: the cast would
/// not notice a value of many days, which is none but may be there.
fn is_wider(narrow: &DataType, wide: &DataType) -> bool {
    use DataType as T;
    matches!(
        (narrow, wide),
        (T::Int8, T::Int16 | T::Int32 | T::Int64)
            | (T::Int16, T::Int32 | T::Int64)
            | (T::Int32, T::Int64)
            | (T::UInt8, T::UInt16 | T::UInt32 | T::UInt64)
            | (T::UInt8, T::Int16 | T::Int32 | T::Int64)
            | (T::UInt16, T::UInt32 | T::UInt64 | T::Int32 | T::Int64)
            | (T::UInt32, T::UInt64 | T::Int64)
            | (T::Float16, T::Float32 | T::Float64)
            | (T::Float32, T::Float64)
            | (T::Int8 | T::UInt8, T::Float16 | T::Float32 | T::Float64)
            | (T::Int16 | T::UInt16, T::Float32 | T::Float64)
            | (T::Int32 | T::UInt32, T::Float64)
            | (T::Utf8, T::Utf8View | T::LargeUtf8)
            | (T::Utf8View, T::LargeUtf8)
            | (T::Binary, T::BinaryView | T::LargeBinary)
            | (T::BinaryView, T::LargeBinary)
            | (T::Date32, T::Date64)
            | (T::Time32(_), T::Time64(_))
    )
}

/// Returns whether a decimal type has the digits of every integer of a type.
pub(crate) fn is_integer_held(integer: &DataType, decimal_type: &DataType) -> bool {
    use DataType as T;
    let digits = match integer {
        T::Int8 | T::UInt8 => 3,
        T::Int16 | T::UInt16 => 5,
        T::Int32 | T::UInt32 => 10,
        T::Int64 => 19,
        T::UInt64 => 20,
        _ => return false,
    };
    decimal(decimal_type).is_some_and(|(precision, scale, _)| {
        scale >= 0 && i16::from(precision) - i16::from(scale) >= digits
    })
}

fn is_decimal(data_type: &DataType) -> bool {
    decimal(data_type).is_some()
}

/// Returns the precision and the scale of a decimal type, and the digits that its integers may have.
pub(crate) fn decimal(data_type: &DataType) -> Option<(u8, i8, u8)> {
    use DataType as T;
    match data_type {
        T::Decimal32(precision, scale) => Some((*precision, *scale, 9)),
        T::Decimal64(precision, scale) => Some((*precision, *scale, 18)),
        T::Decimal128(precision, scale) => Some((*precision, *scale, DECIMAL128_MAX_PRECISION)),
        T::Decimal256(precision, scale) => Some((*precision, *scale, DECIMAL256_MAX_PRECISION)),
        _ => None,
    }
}

/// Returns the decimal type with as many digits before and behind the point as the longer of each.
fn common_decimal(one: &DataType, other: &DataType) -> Option<DataType> {
    let ((precision, scale, digits), (other_precision, other_scale, other_digits)) =
        (decimal(one)?, decimal(other)?);
    let before = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
    let before = before(precision, scale).max(before(other_precision, other_scale));
    let scale = scale.max(other_scale);
    let precision = u8::try_from(before + i16::from(scale)).ok()?;
    let is_narrow = precision <= DECIMAL128_MAX_PRECISION;
    match precision.max(digits).max(other_digits) {
        9 => Some(DataType::Decimal32(precision, scale)),
        10..=18 => Some(DataType::Decimal64(precision, scale)),
        19..=DECIMAL128_MAX_PRECISION if is_narrow => Some(DataType::Decimal128(precision, scale)),
        _ if precision <= DECIMAL256_MAX_PRECISION => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}
