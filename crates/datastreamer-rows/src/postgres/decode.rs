//! Values from PostgreSQL's binary form (each type's `send` function) into columns of Arrow.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, ArrowPrimitiveType, BinaryBuilder, BooleanBuilder, Decimal128Builder,
        FixedSizeBinaryBuilder, ListArray, NullBufferBuilder, PrimitiveBuilder, StringBuilder,
    },
    buffer::{OffsetBuffer, ScalarBuffer},
    datatypes::{
        Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
        Time64MicrosecondType, TimestampMicrosecondType, UInt32Type,
    },
    error::ArrowError,
};

use super::{
    numeric::{self, Number},
    schema::{Cell, UUID_BYTES, element_field},
};

/// Days and microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// A value that cannot be had as it is.
pub(super) type Problem = &'static str;

const MALFORMED: Problem = "the server sent no value of the column's type";
const NOT_UTF8: Problem = "the text is not UTF-8: the database's encoding does not say what it is";
const INFINITE: Problem =
    "an infinite time cannot be held: cast it to text in the query, or replace it, as with NULLIF";
const DISTANT: Problem =
    "the time is too far away for microseconds in 64 bits: cast it to text in the query";
const DEEP: Problem = "an array of several dimensions is no list: cast it to text in the query, or declare them in \
     the table, as int4[][]";

/// A column of the batch that is being filled.
pub(super) enum ColumnBuilder {
    Bool(BooleanBuilder),
    Int2(PrimitiveBuilder<Int16Type>),
    Int4(PrimitiveBuilder<Int32Type>),
    Int8(PrimitiveBuilder<Int64Type>),
    Oid(PrimitiveBuilder<UInt32Type>),
    Float4(PrimitiveBuilder<Float32Type>),
    Float8(PrimitiveBuilder<Float64Type>),
    Decimal(Decimal128Builder, u8, i8),
    Numeric(StringBuilder, String),
    Text(StringBuilder),
    Jsonb(StringBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Bytea(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    Array(Box<ArrayBuilder>),
}

/// A column of one-dimensional arrays.
pub(super) struct ArrayBuilder {
    field: Arc<Field>,
    elements: ColumnBuilder,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl ColumnBuilder {
    /// An empty column.
    pub(super) fn new(cell: &Cell) -> Self {
        match cell {
            Cell::Bool => Self::Bool(BooleanBuilder::new()),
            Cell::Int2 => Self::Int2(PrimitiveBuilder::new()),
            Cell::Int4 => Self::Int4(PrimitiveBuilder::new()),
            Cell::Int8 => Self::Int8(PrimitiveBuilder::new()),
            Cell::Oid => Self::Oid(PrimitiveBuilder::new()),
            Cell::Float4 => Self::Float4(PrimitiveBuilder::new()),
            Cell::Float8 => Self::Float8(PrimitiveBuilder::new()),
            Cell::Decimal { precision, scale } => {
                let builder = Decimal128Builder::new();
                Self::Decimal(builder, *precision, *scale)
            }
            Cell::Numeric => Self::Numeric(StringBuilder::new(), String::new()),
            Cell::Text => Self::Text(StringBuilder::new()),
            Cell::Jsonb => Self::Jsonb(StringBuilder::new()),
            Cell::Uuid => Self::Uuid(FixedSizeBinaryBuilder::new(UUID_BYTES)),
            Cell::Bytea => Self::Bytea(BinaryBuilder::new()),
            Cell::Date => Self::Date(PrimitiveBuilder::new()),
            Cell::Time => Self::Time(PrimitiveBuilder::new()),
            Cell::Timestamp => Self::Timestamp(PrimitiveBuilder::new()),
            Cell::Timestamptz => Self::Timestamp(PrimitiveBuilder::new().with_timezone("UTC")),
            Cell::Array(element) => Self::Array(Box::new(ArrayBuilder {
                field: element_field(element),
                elements: Self::new(element),
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
        }
    }

    /// Appends a value.
    pub(super) fn append(&mut self, raw: &[u8]) -> Result<(), Problem> {
        match self {
            Self::Bool(column) => column.append_value(fixed::<1>(raw)? != [0]),
            Self::Int2(column) => column.append_value(i16::from_be_bytes(fixed(raw)?)),
            Self::Int4(column) => column.append_value(i32::from_be_bytes(fixed(raw)?)),
            Self::Int8(column) => column.append_value(i64::from_be_bytes(fixed(raw)?)),
            Self::Oid(column) => column.append_value(u32::from_be_bytes(fixed(raw)?)),
            Self::Float4(column) => column.append_value(f32::from_be_bytes(fixed(raw)?)),
            Self::Float8(column) => column.append_value(f64::from_be_bytes(fixed(raw)?)),
            Self::Decimal(column, _, scale) => column.append_value(decimal(raw, *scale)?),
            Self::Numeric(column, text) => {
                text.clear();
                match numeric::read(raw).ok_or(MALFORMED)? {
                    Number::Finite(number) => number.write(text),
                    Number::Special(name) => text.push_str(name),
                }
                column.append_value(text);
            }
            Self::Text(column) => column.append_value(utf8(raw)?),
            Self::Jsonb(column) => match raw.split_first() {
                Some((1, text)) => column.append_value(utf8(text)?),
                _ => return Err(MALFORMED),
            },
            Self::Uuid(column) => column.append_value(raw).map_err(|_| MALFORMED)?,
            Self::Bytea(column) => column.append_value(raw),
            Self::Date(column) => column.append_value(date(raw)?),
            Self::Time(column) => column.append_value(time(raw)?),
            Self::Timestamp(column) => column.append_value(timestamp(raw)?),
            Self::Array(column) => column.append(raw)?,
        }
        Ok(())
    }

    /// Appends a null.
    pub(super) fn append_null(&mut self) {
        match self {
            Self::Bool(column) => column.append_null(),
            Self::Int2(column) => column.append_null(),
            Self::Int4(column) => column.append_null(),
            Self::Int8(column) => column.append_null(),
            Self::Oid(column) => column.append_null(),
            Self::Float4(column) => column.append_null(),
            Self::Float8(column) => column.append_null(),
            Self::Decimal(column, ..) => column.append_null(),
            Self::Numeric(column, _) | Self::Text(column) | Self::Jsonb(column) => {
                column.append_null();
            }
            Self::Uuid(column) => column.append_null(),
            Self::Bytea(column) => column.append_null(),
            Self::Date(column) => column.append_null(),
            Self::Time(column) => column.append_null(),
            Self::Timestamp(column) => column.append_null(),
            Self::Array(column) => column.append_null(),
        }
    }

    /// Takes what was appended; the column is empty again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Bool(column) => Arc::new(column.finish()),
            Self::Int2(column) => primitive(column),
            Self::Int4(column) => primitive(column),
            Self::Int8(column) => primitive(column),
            Self::Oid(column) => primitive(column),
            Self::Float4(column) => primitive(column),
            Self::Float8(column) => primitive(column),
            Self::Decimal(column, precision, scale) => {
                let array = column.finish();
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Self::Numeric(column, _) | Self::Text(column) | Self::Jsonb(column) => {
                Arc::new(column.finish())
            }
            Self::Uuid(column) => Arc::new(column.finish()),
            Self::Bytea(column) => Arc::new(column.finish()),
            Self::Date(column) => primitive(column),
            Self::Time(column) => primitive(column),
            Self::Timestamp(column) => primitive(column),
            Self::Array(column) => Arc::new(column.finish()?),
        })
    }
}

fn primitive<T: ArrowPrimitiveType>(column: &mut PrimitiveBuilder<T>) -> ArrayRef {
    Arc::new(column.finish())
}

/// The dimensions that an array may have.
const EMPTY: i32 = 0;
const ONE_DIMENSION: i32 = 1;
/// The length of an element that is null.
const NULL_LENGTH: i32 = -1;

impl ArrayBuilder {
    /// Appends an array. Where its subscripts begin is lost: Arrow's always begin at 0.
    fn append(&mut self, mut raw: &[u8]) -> Result<(), Problem> {
        // Dimensions, whether there are nulls, the elements' type; length and first subscript.
        let dimensions = integer(&mut raw)?;
        integer(&mut raw)?;
        integer(&mut raw)?;
        let length = match dimensions {
            EMPTY => 0,
            ONE_DIMENSION => {
                let length = integer(&mut raw)?;
                integer(&mut raw)?;
                length
            }
            _ => return Err(DEEP),
        };
        for _ in 0..length {
            match integer(&mut raw)? {
                NULL_LENGTH => self.elements.append_null(),
                bytes => {
                    let bytes = usize::try_from(bytes).map_err(|_| MALFORMED)?;
                    let (element, rest) = raw.split_at_checked(bytes).ok_or(MALFORMED)?;
                    self.elements.append(element)?;
                    raw = rest;
                }
            }
        }
        let end = self.end().checked_add(length);
        self.offsets.push(end.ok_or("too many elements")?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.offsets.push(self.end());
        self.nulls.append_null();
    }

    fn end(&self) -> i32 {
        self.offsets.last().copied().unwrap_or(0)
    }

    fn finish(&mut self) -> Result<ListArray, ArrowError> {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        ListArray::try_new(
            Arc::clone(&self.field),
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            self.elements.finish()?,
            self.nulls.finish(),
        )
    }
}

fn integer(raw: &mut &[u8]) -> Result<i32, Problem> {
    let (bytes, rest) = raw.split_first_chunk().ok_or(MALFORMED)?;
    *raw = rest;
    Ok(i32::from_be_bytes(*bytes))
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], Problem> {
    raw.try_into().map_err(|_| MALFORMED)
}

fn utf8(raw: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(raw).map_err(|_| NOT_UTF8)
}

fn decimal(raw: &[u8], scale: i8) -> Result<i128, Problem> {
    match numeric::read(raw).ok_or(MALFORMED)? {
        Number::Finite(number) => number.scaled(scale).ok_or(MALFORMED),
        Number::Special(_) => {
            Err("a decimal can be neither NaN nor infinite: cast it, as to text or float8")
        }
    }
}

fn date(raw: &[u8]) -> Result<i32, Problem> {
    match i32::from_be_bytes(fixed(raw)?) {
        i32::MIN | i32::MAX => Err(INFINITE),
        days => days.checked_add(EPOCH_DAYS).ok_or(DISTANT),
    }
}

fn time(raw: &[u8]) -> Result<i64, Problem> {
    match i64::from_be_bytes(fixed(raw)?) {
        microseconds @ 0..MICROSECONDS_PER_DAY => Ok(microseconds),
        MICROSECONDS_PER_DAY => {
            Err("the time 24:00:00 cannot be held: cast it to text in the query")
        }
        _ => Err(MALFORMED),
    }
}

fn timestamp(raw: &[u8]) -> Result<i64, Problem> {
    match i64::from_be_bytes(fixed(raw)?) {
        i64::MIN | i64::MAX => Err(INFINITE),
        microseconds => microseconds.checked_add(EPOCH_MICROSECONDS).ok_or(DISTANT),
    }
}
