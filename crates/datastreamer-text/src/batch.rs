//! Values of one column, collected from texts.

use std::{io, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
        Int64Builder, NullArray, StringBuilder, UInt64Builder,
    },
    compute::cast,
    datatypes::{DataType, TimeUnit},
};

use crate::values;

/// 16 MiB of text in a batch: rows may be long, and an array of texts holds 2 GiB.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// The values of a column.
pub(crate) enum Values {
    Null(usize),
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    UInt64(UInt64Builder),
    Decimal(Decimal128Builder),
    Float64(Float64Builder),
    Date(Date32Builder),
    Time {
        unit: TimeUnit,
        has_offset: bool,
        values: Int64Builder,
        data_type: DataType,
    },
    Text(StringBuilder),
}

impl Values {
    /// Makes an empty column.
    ///
    /// # Errors
    /// Inference gives no such type.
    pub(crate) fn new(data_type: &DataType, rows: usize) -> io::Result<Self> {
        use DataType as T;
        Ok(match data_type {
            T::Null => Self::Null(0),
            T::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            T::Int64 => Self::Int64(Int64Builder::with_capacity(rows)),
            T::UInt64 => Self::UInt64(UInt64Builder::with_capacity(rows)),
            T::Decimal128(_, 0) => {
                let builder = Decimal128Builder::with_capacity(rows);
                Self::Decimal(builder.with_data_type(data_type.clone()))
            }
            T::Float64 => Self::Float64(Float64Builder::with_capacity(rows)),
            T::Date32 => Self::Date(Date32Builder::with_capacity(rows)),
            T::Timestamp(unit, zone) => Self::Time {
                unit: *unit,
                has_offset: zone.is_some(),
                values: Int64Builder::with_capacity(rows),
                data_type: data_type.clone(),
            },
            T::Utf8 => Self::Text(StringBuilder::with_capacity(rows, 0)),
            other => {
                let text = format!("internal error: {other} in a text file");
                return Err(io::Error::other(text));
            }
        })
    }

    pub(crate) fn are_texts(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    pub(crate) fn append_null(&mut self) {
        match self {
            Self::Null(count) => *count += 1,
            Self::Boolean(values) => values.append_null(),
            Self::Int64(values) => values.append_null(),
            Self::UInt64(values) => values.append_null(),
            Self::Decimal(values) => values.append_null(),
            Self::Float64(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::Time { values, .. } => values.append_null(),
            Self::Text(values) => values.append_null(),
        }
    }

    /// Appends the value that a text says.
    ///
    /// # Errors
    /// The text of why it is none of the type.
    pub(crate) fn append(&mut self, text: &str) -> Result<(), String> {
        let appended = match self {
            Self::Null(_) => None,
            Self::Boolean(values) => values::boolean(text).map(|value| values.append_value(value)),
            Self::Int64(values) => values::integer(text)
                .and_then(|value| i64::try_from(value).ok())
                .map(|value| values.append_value(value)),
            Self::UInt64(values) => values::integer(text)
                .and_then(|value| u64::try_from(value).ok())
                .map(|value| values.append_value(value)),
            Self::Decimal(values) => values::integer(text).map(|value| values.append_value(value)),
            Self::Float64(values) => values::float(text).map(|value| values.append_value(value)),
            Self::Date(values) => values::date(text).map(|value| values.append_value(value)),
            Self::Time {
                unit,
                has_offset,
                values,
                ..
            } => values::date_or_time(text)
                .filter(|time| time.has_offset == *has_offset)
                .and_then(|time| time.to(*unit))
                .map(|value| values.append_value(value)),
            Self::Text(values) => {
                values.append_value(text);
                Some(())
            }
        };
        appended.ok_or_else(|| format!("{text:?} is not of the column's type"))
    }

    /// Returns the array of all values.
    pub(crate) fn finish(self) -> io::Result<ArrayRef> {
        Ok(match self {
            Self::Null(count) => Arc::new(NullArray::new(count)),
            Self::Boolean(mut values) => Arc::new(values.finish()),
            Self::Int64(mut values) => Arc::new(values.finish()),
            Self::UInt64(mut values) => Arc::new(values.finish()),
            Self::Decimal(mut values) => Arc::new(values.finish()),
            Self::Float64(mut values) => Arc::new(values.finish()),
            Self::Date(mut values) => Arc::new(values.finish()),
            Self::Time {
                mut values,
                data_type,
                ..
            } => {
                let values: &dyn Array = &values.finish();
                cast(values, &data_type).map_err(io::Error::other)?
            }
            Self::Text(mut values) => Arc::new(values.finish()),
        })
    }
}
