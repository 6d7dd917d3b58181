//! Typed access to the cells of a batch: what kinds of columns there are, and how one is read.
//!
//! Kinds that add nothing for a writer are cast away first, within nested columns as well:
//! dictionaries and runs become their values, half floats floats, views of lists lists, small
//! decimals larger ones, a column of nothing but nulls text.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
        FixedSizeListArray, GenericListArray, GenericStringArray, LargeBinaryArray, LargeListArray,
        LargeStringArray, ListArray, MapArray, OffsetSizeTrait, StringArray, StringViewArray,
        StructArray, UnionArray, new_empty_array,
    },
    buffer::NullBuffer,
    compute::cast,
    datatypes::{
        DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType,
        DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field, FieldRef,
        Fields, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
        IntervalDayTime, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType,
        IntervalUnit, IntervalYearMonthType, Schema, Time32MillisecondType, Time32SecondType,
        Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
        UInt16Type, UInt32Type, UInt64Type, UnionFields, i256,
    },
    error::ArrowError,
    record_batch::RecordBatch,
};

use super::{TableError, nested, text, type_name};

/// The type that a column's cells have once it is cast; `None`: as it is.
fn cast_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Dictionary(_, values) => Some(cell_type(values)),
        DataType::RunEndEncoded(_, values) => Some(cell_type(values.data_type())),
        DataType::Float16 => Some(DataType::Float32),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            Some(DataType::Decimal128(*precision, *scale))
        }
        DataType::Null => Some(DataType::Utf8),
        DataType::ListView(element) => Some(DataType::List(cell_field(element))),
        DataType::LargeListView(element) => Some(DataType::LargeList(cell_field(element))),
        DataType::List(element) => Some(DataType::List(cast_field(element)?)),
        DataType::LargeList(element) => Some(DataType::LargeList(cast_field(element)?)),
        DataType::FixedSizeList(element, length) => {
            Some(DataType::FixedSizeList(cast_field(element)?, *length))
        }
        DataType::Struct(fields) => Some(DataType::Struct(cast_fields(fields)?)),
        DataType::Map(entries, sorted) => Some(DataType::Map(cast_field(entries)?, *sorted)),
        DataType::Union(fields, mode) => {
            let is_cast = fields.iter().any(|(_, field)| is_cast(field));
            let cast = fields.iter().map(|(id, field)| (id, cell_field(field)));
            is_cast.then(|| DataType::Union(cast.collect::<UnionFields>(), *mode))
        }
        _ => None,
    }
}

fn is_cast(field: &Field) -> bool {
    cast_type(field.data_type()).is_some()
}

/// The fields of a struct once they are cast; `None`: as they are. Those that are cast may be null:
/// the nulls of dictionaries and runs need not be those of their field.
fn cast_fields(fields: &Fields) -> Option<Fields> {
    let cast = fields.iter().map(|field| match cast_field(field) {
        Some(cast) => Arc::new(Field::clone(&cast).with_nullable(true)),
        None => Arc::clone(field),
    });
    let is_cast = fields.iter().any(|field| is_cast(field));
    is_cast.then(|| cast.collect())
}

/// The elements of a list once they are cast; `None`: as they are.
fn cast_field(element: &Field) -> Option<FieldRef> {
    let data_type = cast_type(element.data_type())?;
    Some(Arc::new(element.clone().with_data_type(data_type)))
}

fn cell_field(element: &FieldRef) -> FieldRef {
    cast_field(element).unwrap_or_else(|| Arc::clone(element))
}

fn cell_type(data_type: &DataType) -> DataType {
    cast_type(data_type).unwrap_or_else(|| data_type.clone())
}

/// The types of a table's columns after the casts.
pub(super) fn cell_types(schema: &Schema) -> Vec<DataType> {
    let fields = schema.fields().iter();
    fields.map(|field| cell_type(field.data_type())).collect()
}

/// Refuses a table without columns: most formats have no place for its rows.
///
/// # Errors
/// There is none.
pub(super) fn check_any(schema: &Schema) -> Result<(), TableError> {
    match schema.fields().is_empty() {
        true => Err(TableError::Schema("the table has no columns".into())),
        false => Ok(()),
    }
}

/// Refuses columns of which there is no kind, and nested ones that are no JSON.
///
/// # Errors
/// The first such column, which `format` cannot hold.
pub(super) fn check_kinds(schema: &Schema, format: &str) -> Result<(), TableError> {
    for (field, data_type) in schema.fields().iter().zip(cell_types(schema)) {
        check_kind(&data_type, format).map_err(|problem| TableError::Column {
            column: field.name().clone(),
            problem,
        })?;
    }
    Ok(())
}

/// Refuses the type of a column, once it is cast.
///
/// # Errors
/// Why `format` cannot hold it.
pub(super) fn check_kind(data_type: &DataType, format: &str) -> Result<(), String> {
    nested::check(data_type)?;
    match Column::of(&new_empty_array(data_type)) {
        Some(_) => Ok(()),
        None => Err(cannot_hold(format, data_type)),
    }
}

/// What is told of a column whose type a format has no place for.
pub(super) fn cannot_hold(format: &str, data_type: &DataType) -> String {
    let runs = match data_type {
        DataType::RunEndEncoded(_, _) => "runs of ",
        _ => "",
    };
    format!(
        "{format} cannot hold {runs}the type {}",
        type_name(data_type)
    )
}

/// The columns of a batch, cast.
pub(super) fn cast_columns(batch: &RecordBatch) -> Result<Vec<ArrayRef>, TableError> {
    let schema = batch.schema_ref();
    let columns = batch.columns().iter().zip(schema.fields());
    columns
        .map(|(column, field)| match cast_type(column.data_type()) {
            Some(data_type) => cast_array(column, &data_type).map_err(|error| TableError::Column {
                column: field.name().clone(),
                problem: error.to_string(),
            }),
            None => Ok(ArrayRef::clone(column)),
        })
        .collect()
}

/// Casts an array to the type of its cells. Arrow casts what is not nested; of structs it would pair
/// the fields by their names, and it casts no unions.
fn cast_array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    if array.data_type() == to {
        return Ok(ArrayRef::clone(array));
    }
    let in_two_steps = |first: &DataType| cast_array(&cast(array, first)?, to);
    Ok(match (array.data_type(), to) {
        (T::List(_), T::List(element)) => cast_elements(array.as_list::<i32>(), element)?,
        (T::LargeList(_), T::LargeList(element)) => cast_elements(array.as_list::<i64>(), element)?,
        (T::FixedSizeList(_, length), T::FixedSizeList(element, _)) => {
            let list = array.as_fixed_size_list();
            let values = cast_array(list.values(), element.data_type())?;
            let (element, nulls) = (Arc::clone(element), list.nulls().cloned());
            let rows = list.len();
            let list =
                FixedSizeListArray::try_new_with_length(element, *length, values, nulls, rows)?;
            Arc::new(list)
        }
        (T::Struct(_), T::Struct(fields)) => Arc::new(cast_struct(array.as_struct(), fields)?),
        (T::Map(_, sorted), T::Map(entries, _)) => {
            let map = array.as_map();
            let T::Struct(fields) = entries.data_type() else {
                return cast(array, to);
            };
            let cast = cast_struct(map.entries(), fields)?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let entries = Arc::clone(entries);
            Arc::new(MapArray::try_new(entries, offsets, cast, nulls, *sorted)?)
        }
        (T::Union(_, _), T::Union(fields, _)) => {
            let union = array.as_union();
            let children = fields
                .iter()
                .map(|(id, field)| cast_array(union.child(id), field.data_type()));
            let children = children.collect::<Result<_, _>>()?;
            let (ids, offsets) = (union.type_ids().clone(), union.offsets().cloned());
            Arc::new(UnionArray::try_new(fields.clone(), ids, offsets, children)?)
        }
        (T::ListView(element), _) => in_two_steps(&T::List(Arc::clone(element)))?,
        (T::LargeListView(element), _) => in_two_steps(&T::LargeList(Arc::clone(element)))?,
        (T::Dictionary(_, values), _) if values.is_nested() => in_two_steps(values)?,
        (T::RunEndEncoded(_, values), _) if values.data_type().is_nested() => {
            in_two_steps(values.data_type())?
        }
        _ => cast(array, to)?,
    })
}

fn cast_elements<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    element: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let values = cast_array(list.values(), element.data_type())?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    let cast = GenericListArray::try_new(Arc::clone(element), offsets, values, nulls)?;
    Ok(Arc::new(cast))
}

fn cast_struct(array: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let columns = array.columns().iter().zip(fields);
    let columns = columns.map(|(column, field)| cast_array(column, field.data_type()));
    let columns = columns.collect::<Result<_, _>>()?;
    let (nulls, rows) = (array.nulls().cloned(), array.len());
    StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)
}

/// The columns of a batch, which must have the types of the table.
///
/// # Errors
/// A batch of another schema.
pub(super) fn typed_columns<'a, 't>(
    arrays: &'a [ArrayRef],
    types: impl IntoIterator<Item = &'t DataType, IntoIter: ExactSizeIterator>,
) -> Result<Vec<Column<'a>>, TableError> {
    let types = types.into_iter();
    let other = || TableError::Schema("a batch has another schema than its table".into());
    if arrays.len() != types.len() {
        return Err(other());
    }
    let columns = arrays.iter().zip(types).map(|(array, data_type)| {
        let same = array.data_type().equals_datatype(data_type);
        same.then(|| Column::of(array)).flatten()
    });
    columns.collect::<Option<_>>().ok_or_else(other)
}

/// What formats that can name a zone write behind each value of a column: `Z` behind timestamps of a
/// column with a zone, whichever it is, as all are written in UTC; nothing behind other values.
pub(super) fn zone_mark(data_type: &DataType) -> &'static [u8] {
    match data_type {
        DataType::Timestamp(_, Some(_)) => b"Z",
        _ => b"",
    }
}

/// A column of a batch.
pub(super) struct Column<'a> {
    pub(super) cells: Cells<'a>,
    /// Behind each cell in formats that can name a zone.
    pub(super) zone_mark: &'static [u8],
    nulls: Option<NullBuffer>,
}

/// The cells of a column, by what they are.
pub(super) enum Cells<'a> {
    Bool(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Decimal(Decimals<'a>),
    Date32(&'a [i32]),
    /// Milliseconds since 1970, at midnight.
    Date64(&'a [i64]),
    Timestamp(&'a [i64], TimeUnit),
    Time32(&'a [i32], TimeUnit),
    Time64(&'a [i64], TimeUnit),
    Text(Texts<'a>),
    Bytes(ByteTexts<'a>),
    Duration(&'a [i64], TimeUnit),
    Interval(Intervals<'a>),
    List(Lists<'a>, Box<Column<'a>>),
    /// Names and columns of the fields.
    Struct(Vec<(&'a str, Column<'a>)>),
    /// Where each row's entries are, their keys and their values.
    Map(&'a MapArray, Box<[Column<'a>; 2]>),
    /// The columns that values are in, by the ids of their types.
    Union(&'a UnionArray, Vec<(i8, Column<'a>)>),
}

impl Cells<'_> {
    /// Whether they are integers or floats.
    #[inline]
    pub(super) fn are_numbers(&self) -> bool {
        matches!(
            self,
            Self::I8(_)
                | Self::I16(_)
                | Self::I32(_)
                | Self::I64(_)
                | Self::U8(_)
                | Self::U16(_)
                | Self::U32(_)
                | Self::U64(_)
                | Self::F32(_)
                | Self::F64(_)
        )
    }

    /// Whether they are made of others.
    #[inline]
    pub(super) fn are_nested(&self) -> bool {
        matches!(
            self,
            Self::List(..) | Self::Struct(_) | Self::Map(..) | Self::Union(..)
        )
    }
}

/// Intervals, whose parts are none of each other's: a month has no certain number of days.
pub(super) enum Intervals<'a> {
    YearMonth(&'a [i32]),
    DayTime(&'a [IntervalDayTime]),
    MonthDayNano(&'a [IntervalMonthDayNano]),
}

/// Decimals, and how many of their digits stand behind the point.
pub(super) enum Decimals<'a> {
    Of128(&'a [i128], i8),
    Of256(&'a [i256], i8),
}

/// Texts, however they are stored.
pub(super) enum Texts<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

/// Byte strings, however they are stored.
pub(super) enum ByteTexts<'a> {
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

/// Where each row's elements are.
pub(super) enum Lists<'a> {
    List(&'a ListArray),
    Large(&'a LargeListArray),
    Fixed(&'a FixedSizeListArray),
}

impl Decimals<'_> {
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>, row: usize) {
        match self {
            Self::Of128(values, scale) => text::decimal(out, values[row], *scale),
            Self::Of256(values, scale) => text::large_decimal(out, values[row], *scale),
        }
    }
}

impl Texts<'_> {
    #[inline]
    pub(super) fn get(&self, row: usize) -> &str {
        match self {
            Self::Utf8(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
        }
    }

    /// Says whether bytes of a kind are all that some rows' texts have, by one pass over those that
    /// lie together, nulls included; `false`: each is to be looked at.
    pub(super) fn are_all(&self, rows: std::ops::Range<usize>, is: impl Fn(&[u8]) -> bool) -> bool {
        let together = match self {
            Self::Utf8(array) => bytes_of(array, rows),
            Self::Large(array) => bytes_of(array, rows),
            Self::View(_) => None,
        };
        together.is_some_and(is)
    }
}

/// The bytes of some rows' texts, which lie together.
fn bytes_of<O: OffsetSizeTrait>(
    array: &GenericStringArray<O>,
    rows: std::ops::Range<usize>,
) -> Option<&[u8]> {
    let offsets = array.value_offsets();
    let bytes = offsets[rows.start].as_usize()..offsets[rows.end].as_usize();
    array.value_data().get(bytes)
}

impl ByteTexts<'_> {
    #[inline]
    pub(super) fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Binary(array) => array.value(row),
            Self::Large(array) => array.value(row),
            Self::View(array) => array.value(row),
            Self::Fixed(array) => array.value(row),
        }
    }
}

impl Lists<'_> {
    /// The elements of a row, as rows of the inner column.
    #[inline]
    pub(super) fn range(&self, row: usize) -> std::ops::Range<usize> {
        match self {
            Self::List(array) => {
                let offsets = array.value_offsets();
                offsets[row] as usize..offsets[row + 1] as usize
            }
            Self::Large(array) => {
                let offsets = array.value_offsets();
                offsets[row] as usize..offsets[row + 1] as usize
            }
            Self::Fixed(array) => {
                let length = array.value_length() as usize;
                row * length..(row + 1) * length
            }
        }
    }
}

impl<'a> Column<'a> {
    /// Reads an array; `None` if there is no such kind of column. Which kinds a format holds was
    /// decided when its writer was made.
    pub(super) fn of(array: &'a dyn Array) -> Option<Self> {
        macro_rules! cells {
            ($kind:ident, $primitive:ty $(, $more:expr)*) => {
                Cells::$kind(array.as_primitive::<$primitive>().values() $(, $more)*)
            };
        }
        let cells = match array.data_type() {
            DataType::Boolean => Cells::Bool(array.as_boolean()),
            DataType::Int8 => cells!(I8, Int8Type),
            DataType::Int16 => cells!(I16, Int16Type),
            DataType::Int32 => cells!(I32, Int32Type),
            DataType::Int64 => cells!(I64, Int64Type),
            DataType::UInt8 => cells!(U8, UInt8Type),
            DataType::UInt16 => cells!(U16, UInt16Type),
            DataType::UInt32 => cells!(U32, UInt32Type),
            DataType::UInt64 => cells!(U64, UInt64Type),
            DataType::Float32 => cells!(F32, Float32Type),
            DataType::Float64 => cells!(F64, Float64Type),
            DataType::Decimal128(_, scale) => {
                let values = array.as_primitive::<Decimal128Type>().values();
                Cells::Decimal(Decimals::Of128(values, *scale))
            }
            DataType::Decimal256(_, scale) => {
                let values = array.as_primitive::<Decimal256Type>().values();
                Cells::Decimal(Decimals::Of256(values, *scale))
            }
            DataType::Date32 => cells!(Date32, Date32Type),
            DataType::Date64 => cells!(Date64, Date64Type),
            DataType::Timestamp(unit, _) => {
                let unit_too = *unit;
                match unit {
                    TimeUnit::Second => cells!(Timestamp, TimestampSecondType, unit_too),
                    TimeUnit::Millisecond => cells!(Timestamp, TimestampMillisecondType, unit_too),
                    TimeUnit::Microsecond => cells!(Timestamp, TimestampMicrosecondType, unit_too),
                    TimeUnit::Nanosecond => cells!(Timestamp, TimestampNanosecondType, unit_too),
                }
            }
            DataType::Time32(TimeUnit::Second) => {
                cells!(Time32, Time32SecondType, TimeUnit::Second)
            }
            DataType::Time32(unit) => cells!(Time32, Time32MillisecondType, *unit),
            DataType::Time64(TimeUnit::Microsecond) => {
                cells!(Time64, Time64MicrosecondType, TimeUnit::Microsecond)
            }
            DataType::Time64(unit) => cells!(Time64, Time64NanosecondType, *unit),
            DataType::Utf8 => Cells::Text(Texts::Utf8(array.as_string())),
            DataType::LargeUtf8 => Cells::Text(Texts::Large(array.as_string())),
            DataType::Utf8View => Cells::Text(Texts::View(array.as_string_view())),
            DataType::Binary => Cells::Bytes(ByteTexts::Binary(array.as_binary())),
            DataType::LargeBinary => Cells::Bytes(ByteTexts::Large(array.as_binary())),
            DataType::BinaryView => Cells::Bytes(ByteTexts::View(array.as_binary_view())),
            DataType::FixedSizeBinary(_) => {
                Cells::Bytes(ByteTexts::Fixed(array.as_fixed_size_binary()))
            }
            DataType::List(_) => {
                let list = array.as_list();
                Cells::List(Lists::List(list), Box::new(Self::of(list.values())?))
            }
            DataType::LargeList(_) => {
                let list = array.as_list();
                Cells::List(Lists::Large(list), Box::new(Self::of(list.values())?))
            }
            DataType::FixedSizeList(_, _) => {
                let list = array.as_fixed_size_list();
                Cells::List(Lists::Fixed(list), Box::new(Self::of(list.values())?))
            }
            DataType::Duration(unit) => {
                let unit_too = *unit;
                match unit {
                    TimeUnit::Second => cells!(Duration, DurationSecondType, unit_too),
                    TimeUnit::Millisecond => cells!(Duration, DurationMillisecondType, unit_too),
                    TimeUnit::Microsecond => cells!(Duration, DurationMicrosecondType, unit_too),
                    TimeUnit::Nanosecond => cells!(Duration, DurationNanosecondType, unit_too),
                }
            }
            DataType::Interval(unit) => Cells::Interval(match unit {
                IntervalUnit::YearMonth => {
                    Intervals::YearMonth(array.as_primitive::<IntervalYearMonthType>().values())
                }
                IntervalUnit::DayTime => {
                    Intervals::DayTime(array.as_primitive::<IntervalDayTimeType>().values())
                }
                IntervalUnit::MonthDayNano => {
                    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
                    Intervals::MonthDayNano(intervals.values())
                }
            }),
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let columns =
                    columns.map(|(field, column)| Some((field.name().as_str(), Self::of(column)?)));
                Cells::Struct(columns.collect::<Option<_>>()?)
            }
            DataType::Map(_, _) => {
                let map = array.as_map();
                let entries = [Self::of(map.keys())?, Self::of(map.values())?];
                Cells::Map(map, Box::new(entries))
            }
            DataType::Union(fields, _) => {
                let union = array.as_union();
                let columns = fields
                    .iter()
                    .map(|(id, _)| Some((id, Self::of(union.child(id))?)));
                Cells::Union(union, columns.collect::<Option<_>>()?)
            }
            _ => return None,
        };
        Some(Self {
            cells,
            zone_mark: zone_mark(array.data_type()),
            // A union has its nulls in its children.
            nulls: array.logical_nulls().filter(|nulls| nulls.null_count() > 0),
        })
    }

    pub(super) fn has_nulls(&self) -> bool {
        self.nulls.is_some()
    }

    /// Calls `of` for each of these rows that is null, counted from their first.
    #[inline]
    pub(super) fn for_each_null(&self, rows: std::ops::Range<usize>, mut of: impl FnMut(usize)) {
        let Some(nulls) = &self.nulls else {
            return;
        };
        let valid = nulls.inner().slice(rows.start, rows.len());
        for (chunk, valid) in valid.bit_chunks().iter_padded().enumerate() {
            let mut nulls = !valid;
            while nulls != 0 {
                let row = 64 * chunk + nulls.trailing_zeros() as usize;
                if row >= rows.len() {
                    return;
                }
                of(row);
                nulls &= nulls - 1;
            }
        }
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}
