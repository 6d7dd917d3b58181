//! The Arrow types of columns, where the stored types say too little: the times of INT96 and the
//! intervals are looked at, and the type that holds all of them exactly is chosen. It goes into the
//! footer as Arrow's own schema, which each reader follows.

use std::{collections::BTreeSet, fs::File, sync::Arc};

use arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DataType, Field, FieldRef, Fields,
    IntervalUnit, Schema, TimeUnit,
};
use datafusion::{
    datasource::physical_plan::parquet::Int96Coercer,
    parquet::{
        arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema},
        basic::{ConvertedType, Type},
        column::reader::{get_column_reader, get_typed_column_reader},
        data_type::{DataType as ParquetType, FixedLenByteArrayType, Int96, Int96Type},
        file::{
            metadata::{KeyValue, ParquetMetaData},
            serialized_reader::SerializedPageReader,
        },
        schema::types::SchemaDescriptor,
    },
};
use datastreamer_table::nested::{for_leaves, map_leaves};

use super::pages::{self, Chunk, Limits};
use crate::common_type::with_long_keys;

/// As many values are read at a time as DataFusion reads.
const VALUES: usize = 8192;
const DAY_NANOSECONDS: i128 = 86_400_000_000_000;
/// 1970-01-01 as a Julian day number, in which INT96 counts.
const EPOCH_DAY: i128 = 2_440_588;

/// The footer's entry, added after it was read, of the columns whose times no type holds.
const NOT_HELD_KEY: &str = "datastreamer.not_held";

/// How Arrow should read a file.
#[derive(Debug)]
pub(super) enum Choice {
    /// As the footer says.
    Stored,
    /// With these entries in the footer: a schema, and the columns that cannot be read.
    Entries(Vec<KeyValue>),
    /// With these columns as their stored bytes: no type holds intervals of months and days.
    Bytes(BTreeSet<usize>),
}

/// Chooses types that hold all values of a file. **Blocks** to read the columns of INT96 and
/// intervals.
///
/// # Errors
/// The text of which column is damaged.
pub(super) fn choose(
    file: &File,
    footer: &ParquetMetaData,
    expansion_max: u64,
) -> Result<Choice, String> {
    let limits = Limits {
        batch_rows: VALUES,
        expansion_max,
    };
    let of_file = footer.file_metadata();
    let columns = of_file.schema_descr();
    let stored = parquet_to_arrow_schema(columns, of_file.key_value_metadata());
    let stored = stored.map_err(|error| error.to_string())?;
    let plain = parquet_to_arrow_schema(columns, None).map_err(|error| error.to_string())?;
    let fields = as_stored(stored.fields(), plain.fields(), columns);
    let fields = fields.iter().map(without_odd_dictionaries);
    let mut chosen =
        Schema::new_with_metadata(fields.collect::<Fields>(), stored.metadata().clone());
    let mut times = Vec::new();
    let mut bytes = BTreeSet::new();
    for leaf in 0..columns.num_columns() {
        let column = columns.column(leaf);
        if column.physical_type() == Type::INT96 {
            let mut of_column = Times::default();
            for_values::<Int96Type>(file, footer, (leaf, limits), |value| of_column.add(value))?;
            times.push((leaf, of_column));
        }
        if column.converted_type() == ConvertedType::INTERVAL {
            let mut intervals = Intervals::default();
            for_values::<FixedLenByteArrayType>(file, footer, (leaf, limits), |value| {
                intervals.add(value.data());
            })?;
            let at = columns.get_column_root_idx(leaf);
            let is_nested = column.path().parts().len() > 1;
            match intervals {
                Intervals {
                    have_months: true,
                    have_others,
                } if have_others || is_nested => {
                    bytes.insert(leaf);
                }
                Intervals {
                    have_months: true, ..
                } => {
                    chosen = with_interval(&chosen, at, IntervalUnit::YearMonth);
                }
                Intervals {
                    have_others: true, ..
                } if !is_nested => {
                    chosen = with_interval(&chosen, at, IntervalUnit::DayTime);
                }
                Intervals { .. } => {}
            }
        }
    }
    let can_be = |(_, times): &&(usize, Times)| times.are_nanoseconds || times.are_microseconds;
    let are_nanoseconds = times
        .iter()
        .filter(can_be)
        .all(|(_, times)| times.are_nanoseconds);
    if !are_nanoseconds {
        let coerced = Int96Coercer::new(columns, &chosen, &TimeUnit::Microsecond).coerce();
        chosen = coerced.unwrap_or(chosen);
    }
    let not_held = times.iter().filter(|(_, times)| match are_nanoseconds {
        true => !times.are_nanoseconds,
        false => !times.are_microseconds,
    });
    let not_held: Vec<_> = not_held.map(|(leaf, _)| leaf.to_string()).collect();
    let mut entries = Vec::new();
    if chosen != stored {
        let schema = encode_arrow_schema(&chosen);
        entries.push(KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), schema));
    }
    if !not_held.is_empty() {
        entries.push(KeyValue::new(NOT_HELD_KEY.to_owned(), not_held.join(",")));
    }
    Ok(match entries.is_empty() {
        _ if !bytes.is_empty() => Choice::Bytes(bytes),
        true => Choice::Stored,
        false => Choice::Entries(entries),
    })
}

/// Returns columns with the units of times and the digits of decimals that Parquet states, where Arrow's
/// own schema in the footer states others: the decoder follows that one, and other readers do not. INT96
/// has no unit of its own.
fn as_stored(stored: &Fields, plain: &Fields, columns: &SchemaDescriptor) -> Fields {
    let mut types = Vec::new();
    for_leaves(plain, &mut |leaf| types.push(leaf.data_type().clone()));
    if types.len() != columns.num_columns() {
        return stored.clone();
    }
    let mut leaves = types.into_iter().enumerate();
    let mut change = |leaf: &FieldRef| {
        let data_type = match (leaves.next(), leaf.data_type()) {
            (Some((at, plain)), stated) if columns.column(at).physical_type() != Type::INT96 => {
                type_as_stored(stated, &plain)
            }
            // The decoder makes no dictionaries of INT96.
            (_, DataType::Dictionary(_, values)) => DataType::clone(values),
            (_, stated) => stated.clone(),
        };
        Arc::new(Field::clone(leaf).with_data_type(data_type))
    };
    let fields = stored.iter();
    fields.map(|field| map_leaves(field, &mut change)).collect()
}

fn type_as_stored(stated: &DataType, plain: &DataType) -> DataType {
    use DataType as T;
    match (stated, plain) {
        (T::Timestamp(_, zone), T::Timestamp(unit, _)) => T::Timestamp(*unit, zone.clone()),
        (T::Decimal32(_, _), T::Decimal128(digits @ ..=DECIMAL32_MAX_PRECISION, scale)) => {
            T::Decimal32(*digits, *scale)
        }
        (T::Decimal64(_, _), T::Decimal128(digits @ ..=DECIMAL64_MAX_PRECISION, scale)) => {
            T::Decimal64(*digits, *scale)
        }
        (T::Decimal256(_, _), T::Decimal128(digits, scale)) => T::Decimal256(*digits, *scale),
        (T::Decimal32(_, _) | T::Decimal64(_, _), plain) => plain.clone(),
        (T::Dictionary(keys, values), plain) => {
            T::Dictionary(keys.clone(), Box::new(type_as_stored(values, plain)))
        }
        (stated, _) => stated.clone(),
    }
}

/// Returns whether no type holds the times of a column: it fails if it is read, and the others do
/// not.
pub(super) fn is_not_held(footer: &ParquetMetaData, leaf: usize) -> bool {
    let entries = footer.file_metadata().key_value_metadata();
    let mut entries = entries.into_iter().flatten();
    let entry = entries.find(|entry| entry.key == NOT_HELD_KEY);
    let leaves = entry.and_then(|entry| entry.value.as_deref());
    leaves.is_some_and(|leaves| leaves.split(',').any(|other| other.parse() == Ok(leaf)))
}

/// Calls `on` with each value of a column.
fn for_values<T: ParquetType>(
    file: &File,
    footer: &ParquetMetaData,
    (leaf, limits): (usize, Limits),
    mut on: impl FnMut(&T::T),
) -> Result<(), String> {
    for (index, group) in footer.row_groups().iter().enumerate() {
        // It has no pages of values, and Arrow's C++ writer states no place for them.
        if group.num_rows() == 0 {
            continue;
        }
        let column = group.column(leaf);
        let wrong = |text: String| {
            let column = column.column_path().string();
            format!("is damaged Parquet: row group {index}: column {column:?}: {text}")
        };
        let (start, bytes) = column.byte_range();
        let mut pages = vec![0; usize::try_from(bytes).unwrap_or_default()];
        super::footer::read_at(file, start, &mut pages)
            .map_err(|error| wrong(error.to_string()))?;
        let chunk = Chunk {
            column,
            rows: group.num_rows(),
        };
        pages::check(&pages, &chunk, true, limits).map_err(wrong)?;
        drop(pages);
        read_values::<T>(file, &chunk, &mut on).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(())
}

fn read_values<T: ParquetType>(
    file: &File,
    chunk: &Chunk<'_>,
    on: &mut impl FnMut(&T::T),
) -> datafusion::parquet::errors::Result<()> {
    let file = Arc::new(file.try_clone()?);
    let rows = usize::try_from(chunk.rows).unwrap_or_default();
    let pages = SerializedPageReader::new(file, chunk.column, rows, None)?;
    let reader = get_column_reader(chunk.column.column_descr_ptr(), Box::new(pages));
    let mut reader = get_typed_column_reader::<T>(reader);
    loop {
        let (mut defined, mut repeated, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let read =
            reader.read_records(VALUES, Some(&mut defined), Some(&mut repeated), &mut values);
        let (records, ..) = read?;
        values.iter().for_each(&mut *on);
        if records == 0 {
            return Ok(());
        }
    }
}

/// What the times of all INT96 columns are.
#[derive(Debug)]
struct Times {
    are_nanoseconds: bool,
    are_microseconds: bool,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            are_nanoseconds: true,
            are_microseconds: true,
        }
    }
}

impl Times {
    fn add(&mut self, time: &Int96) {
        let &[low, high, day] = time.data() else {
            return;
        };
        let of_day = (i64::from(high as i32) << 32) | i64::from(low);
        let nanoseconds =
            (i128::from(day as i32) - EPOCH_DAY) * DAY_NANOSECONDS + i128::from(of_day);
        self.are_nanoseconds &= i64::try_from(nanoseconds).is_ok();
        self.are_microseconds &=
            nanoseconds % 1000 == 0 && i64::try_from(nanoseconds / 1000).is_ok();
    }
}

/// Which parts the intervals of a column have.
#[derive(Debug, Default)]
struct Intervals {
    have_months: bool,
    /// Days or milliseconds.
    have_others: bool,
}

impl Intervals {
    fn add(&mut self, interval: &[u8]) {
        let (months, others) = interval.split_at(interval.len().min(4));
        self.have_months |= months.iter().any(|byte| *byte != 0);
        self.have_others |= others.iter().any(|byte| *byte != 0);
    }
}

fn with_interval(schema: &Schema, at: usize, unit: IntervalUnit) -> Schema {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(index, field)| match index == at {
        true => Arc::new(Field::clone(field).with_data_type(DataType::Interval(unit))),
        false => Arc::clone(field),
    });
    Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())
}

/// Replaces dictionaries that the decoder does not make by their values. The others get long keys.
fn without_odd_dictionaries(field: &FieldRef) -> FieldRef {
    map_leaves(field, &mut |leaf| match leaf.data_type() {
        DataType::Dictionary(_, values) if !is_made(values) => {
            Arc::new(Field::clone(leaf).with_data_type(DataType::clone(values)))
        }
        _ => with_long_keys(leaf),
    })
}

fn is_made(values: &DataType) -> bool {
    use DataType as T;
    let is_text = matches!(values, T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary);
    let is_time = matches!(
        values,
        T::Timestamp(..) | T::Time32(_) | T::Time64(_) | T::Date32
    );
    let is_float = matches!(values, T::Float32 | T::Float64);
    is_text || is_time || is_float || values.is_integer()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: &[(u32, u64)]) -> (bool, bool) {
        let mut times = Times::default();
        for (day, of_day) in values {
            let mut time = Int96::new();
            time.set_data(*of_day as u32, (of_day >> 32) as u32, *day);
            times.add(&time);
        }
        (times.are_nanoseconds, times.are_microseconds)
    }

    #[test]
    fn a_unit_holds_all_times_exactly() {
        let (today, far) = (2_460_000, 5_373_484);
        assert_eq!(times(&[(today, 1000)]), (true, true));
        assert_eq!(times(&[(today, 1)]), (true, false));
        assert_eq!(
            times(&[(today, 1000), (far, 86_399_999_999_000)]),
            (false, true)
        );
        assert_eq!(times(&[(today, 1), (far, 0)]), (false, false));
        assert_eq!(times(&[(u32::MAX >> 1, 0)]), (false, false));
    }
}
