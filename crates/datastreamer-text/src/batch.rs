//! Values of one column, collected from texts.

use std::{io, sync::Arc};

use arrow::{
    array::{
        ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
        Int64Builder, NullArray, StringBuilder, UInt64Builder,
    },
    compute::cast,
    datatypes::{DataType, TimeUnit},
};
use datastreamer_table::type_name;

use crate::{options::DecimalMark, values};

/// 16 MiB of text in a batch: rows may be long, and an array of texts holds 2 GiB.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// The values of a column.
pub(crate) struct Values {
    typed: Typed,
    data_type: DataType,
    decimal: DecimalMark,
}

enum Typed {
    Null(usize),
    Boolean(BooleanBuilder),
    /// All integers but those of the next.
    Integer {
        least: i64,
        most: i64,
        values: Int64Builder,
    },
    UInt64(UInt64Builder),
    Decimal {
        precision: u8,
        scale: i8,
        values: Decimal128Builder,
    },
    Float32(Float32Builder),
    Float64(Float64Builder),
    Date(Date32Builder),
    Time {
        unit: TimeUnit,
        has_offset: bool,
        values: Int64Builder,
    },
    TimeOfDay {
        unit: TimeUnit,
        values: Int64Builder,
    },
    Text(StringBuilder),
}

impl Values {
    /// Makes an empty column.
    ///
    /// # Errors
    /// Neither inference nor an option gives such a type.
    pub(crate) fn new(data_type: &DataType, rows: usize, decimal: DecimalMark) -> io::Result<Self> {
        use DataType as T;
        let integer = |least, most| Typed::Integer {
            least,
            most,
            values: Int64Builder::with_capacity(rows),
        };
        let typed = match data_type {
            T::Null => Typed::Null(0),
            T::Boolean => Typed::Boolean(BooleanBuilder::with_capacity(rows)),
            T::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
            T::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
            T::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
            T::Int64 => integer(i64::MIN, i64::MAX),
            T::UInt8 => integer(0, u8::MAX.into()),
            T::UInt16 => integer(0, u16::MAX.into()),
            T::UInt32 => integer(0, u32::MAX.into()),
            T::UInt64 => Typed::UInt64(UInt64Builder::with_capacity(rows)),
            T::Decimal128(precision, scale) if *scale >= 0 => {
                let builder = Decimal128Builder::with_capacity(rows);
                Typed::Decimal {
                    precision: *precision,
                    scale: *scale,
                    values: builder.with_data_type(data_type.clone()),
                }
            }
            T::Float32 => Typed::Float32(Float32Builder::with_capacity(rows)),
            T::Float64 => Typed::Float64(Float64Builder::with_capacity(rows)),
            T::Date32 => Typed::Date(Date32Builder::with_capacity(rows)),
            T::Timestamp(unit, zone) => Typed::Time {
                unit: *unit,
                has_offset: zone.is_some(),
                values: Int64Builder::with_capacity(rows),
            },
            T::Time32(unit) | T::Time64(unit) => Typed::TimeOfDay {
                unit: *unit,
                values: Int64Builder::with_capacity(rows),
            },
            T::Utf8 => Typed::Text(StringBuilder::with_capacity(rows, 0)),
            other => {
                let text = format!("internal error: {other} in a text file");
                return Err(io::Error::other(text));
            }
        };
        Ok(Self {
            typed,
            data_type: data_type.clone(),
            decimal,
        })
    }

    /// Returns the name of the type, for messages.
    pub(crate) fn type_name(&self) -> String {
        type_name(&self.data_type)
    }

    pub(crate) fn are_texts(&self) -> bool {
        matches!(self.typed, Typed::Text(_))
    }

    pub(crate) fn append_null(&mut self) {
        match &mut self.typed {
            Typed::Null(count) => *count += 1,
            Typed::Boolean(values) => values.append_null(),
            Typed::Integer { values, .. }
            | Typed::Time { values, .. }
            | Typed::TimeOfDay { values, .. } => values.append_null(),
            Typed::UInt64(values) => values.append_null(),
            Typed::Decimal { values, .. } => values.append_null(),
            Typed::Float32(values) => values.append_null(),
            Typed::Float64(values) => values.append_null(),
            Typed::Date(values) => values.append_null(),
            Typed::Text(values) => values.append_null(),
        }
    }

    /// Appends the value that a text says.
    ///
    /// # Errors
    /// The text of why it is none of the type.
    pub(crate) fn append(&mut self, text: &str) -> Result<(), String> {
        let decimal = self.decimal;
        let appended = match &mut self.typed {
            Typed::Null(_) => None,
            Typed::Boolean(values) => {
                values::declared_boolean(text).map(|value| values.append_value(value))
            }
            Typed::Integer {
                least,
                most,
                values,
            } => values::whole(text)
                .and_then(|value| i64::try_from(value).ok())
                .filter(|value| (*least..=*most).contains(value))
                .map(|value| values.append_value(value)),
            Typed::UInt64(values) => values::whole(text)
                .and_then(|value| u64::try_from(value).ok())
                .map(|value| values.append_value(value)),
            Typed::Decimal {
                precision,
                scale,
                values,
            } => values::decimal(text, *precision, *scale, decimal)
                .map(|value| values.append_value(value)),
            Typed::Float32(values) => {
                values::float32(text, decimal).map(|value| values.append_value(value))
            }
            Typed::Float64(values) => {
                values::float64(text, decimal).map(|value| values.append_value(value))
            }
            Typed::Date(values) => values::date(text).map(|value| values.append_value(value)),
            Typed::Time {
                unit,
                has_offset,
                values,
            } => values::date_or_time(text)
                .filter(|time| time.has_offset == *has_offset)
                .and_then(|time| time.to(*unit))
                .map(|value| values.append_value(value)),
            Typed::TimeOfDay { unit, values } => values::time_of_day(text)
                .and_then(|time| time.to(*unit))
                .map(|value| values.append_value(value)),
            Typed::Text(values) => {
                values.append_value(text);
                Some(())
            }
        };
        appended
            .ok_or_else(|| format!("{text:?} is not of the column's type, {}", self.type_name()))
    }

    /// Returns the array of all values.
    pub(crate) fn finish(self) -> io::Result<ArrayRef> {
        let of_64_bits = |mut values: Int64Builder| {
            let values: ArrayRef = Arc::new(values.finish());
            match self.data_type {
                DataType::Int64 => Ok(values),
                // Its units fit into 32 bits, and arrow casts from these.
                DataType::Time32(_) => cast(&values, &DataType::Int32)
                    .and_then(|values| cast(&values, &self.data_type)),
                _ => cast(&values, &self.data_type),
            }
            .map_err(io::Error::other)
        };
        Ok(match self.typed {
            Typed::Null(count) => Arc::new(NullArray::new(count)),
            Typed::Boolean(mut values) => Arc::new(values.finish()),
            Typed::Integer { values, .. }
            | Typed::Time { values, .. }
            | Typed::TimeOfDay { values, .. } => of_64_bits(values)?,
            Typed::UInt64(mut values) => Arc::new(values.finish()),
            Typed::Decimal { mut values, .. } => Arc::new(values.finish()),
            Typed::Float32(mut values) => Arc::new(values.finish()),
            Typed::Float64(mut values) => Arc::new(values.finish()),
            Typed::Date(mut values) => Arc::new(values.finish()),
            Typed::Text(mut values) => Arc::new(values.finish()),
        })
    }
}
