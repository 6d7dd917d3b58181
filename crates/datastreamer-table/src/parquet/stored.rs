//! Columns as Parquet has them: times in seconds have no type there, and would be read as integers;
//! nor have decimals that end before the point. A null where the schema has none is refused.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray},
    compute::{CastOptions, cast_with_options},
    datatypes::{
        DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Date64Type, Schema,
        SchemaRef, TimeUnit, TimestampSecondType,
    },
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};

use crate::{TableError, invalid_values::check_values};

const MILLISECONDS_PER_DAY: i64 = 86_400_000;

/// The columns of a table as they are stored.
pub(super) struct Stored {
    schema: SchemaRef,
}

impl Stored {
    pub(super) fn new(schema: &Schema) -> Self {
        let fields = schema
            .fields()
            .iter()
            .map(|field| match stored_type(field.data_type()) {
                Some(data_type) => Arc::new(field.as_ref().clone().with_data_type(data_type)),
                None => Arc::clone(field),
            });
        let fields: Vec<_> = fields.collect();
        let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
        Self {
            schema: Arc::new(schema),
        }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A batch as it is stored, whose first row is the table's `first_row`.
    ///
    /// # Errors
    /// A value that Parquet cannot hold, or a batch of another schema.
    pub(super) fn batch(
        &self,
        batch: &RecordBatch,
        first_row: u64,
    ) -> Result<RecordBatch, TableError> {
        let source = batch.schema_ref();
        let columns = batch.columns().iter().zip(source.fields());
        let columns = columns.map(|(array, field)| {
            // The writer sees no null in a run-end encoded column, and would write a zero.
            if !field.is_nullable()
                && let Some(row) = first_null(array)
            {
                return Err(TableError::Value {
                    row: first_row + row as u64,
                    column: field.name().clone(),
                    problem: "it is null, and the column says that no value is".into(),
                });
            }
            check_values(array, field, first_row)?;
            let Some(data_type) = stored_type(array.data_type()) else {
                return Ok(ArrayRef::clone(array));
            };
            match beyond(array) {
                Some(row) => Err(TableError::Value {
                    row: first_row + row as u64,
                    column: field.name().clone(),
                    problem: "Parquet cannot hold a time so far away".into(),
                }),
                None => whole_days(array)
                    .and_then(|array| cast_with_options(&array, &data_type, &STRICT))
                    .map_err(|error| TableError::Schema(error.to_string())),
            }
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &rows)
            .map_err(|error| TableError::Schema(error.to_string()))
    }
}

/// The first row that is null, by the values: some types keep no nulls of their own.
fn first_null(array: &ArrayRef) -> Option<usize> {
    let nulls = array.logical_nulls()?;
    (0..nulls.len()).find(|row| nulls.is_null(*row))
}

const STRICT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: arrow::util::display::FormatOptions::new(),
};

/// What a column is stored as; `None`: as it is.
pub(super) fn stored_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => Some(DataType::Timestamp(
            TimeUnit::Millisecond,
            zone.as_ref().map(Arc::clone),
        )),
        DataType::Time32(TimeUnit::Second) => Some(DataType::Time32(TimeUnit::Millisecond)),
        DataType::Date64 => Some(DataType::Date32),
        // The writer makes dictionaries of its own. Those of numbers and times lose their units and
        // zones.
        DataType::Dictionary(_, values) if has_own_dictionary(values) => None,
        DataType::Dictionary(_, values) => {
            Some(stored_type(values).unwrap_or_else(|| DataType::clone(values)))
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale < 0 =>
        {
            whole(*precision, *scale)
        }
        _ => None,
    }
}

/// Returns whether the writer reads dictionaries of such values.
fn has_own_dictionary(values: &DataType) -> bool {
    use DataType as T;
    matches!(values, T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary)
}

/// Returns whether a type that is stored as another cannot be stored within a list or the like, where
/// nothing is changed: the writer writes it as a bare integer, or misreads it.
pub(super) fn is_refused_within(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => {
            stored_type(values).is_some()
                || matches!(
                    **values,
                    DataType::Utf8View
                        | DataType::BinaryView
                        | DataType::FixedSizeBinary(_)
                        | DataType::Duration(_)
                )
        }
        other => stored_type(other).is_some(),
    }
}

/// What holds a decimal with all digits before the point; `None` where nothing does.
fn whole(precision: u8, scale: i8) -> Option<DataType> {
    match precision.checked_add(scale.unsigned_abs())? {
        digits @ ..=DECIMAL128_MAX_PRECISION => Some(DataType::Decimal128(digits, 0)),
        digits @ ..=DECIMAL256_MAX_PRECISION => Some(DataType::Decimal256(digits, 0)),
        _ => None,
    }
}

/// Cuts dates with a time to their days, as they are shown: the cast would cut those before 1970 to the
/// next one.
fn whole_days(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let array = match array.data_type() {
        DataType::Dictionary(_, values) if **values == DataType::Date64 => {
            &cast_with_options(array, values, &STRICT)?
        }
        _ => array,
    };
    match array.as_primitive_opt::<Date64Type>() {
        Some(dates) => {
            let day = |time: i64| time.div_euclid(MILLISECONDS_PER_DAY) * MILLISECONDS_PER_DAY;
            Ok(Arc::new(dates.unary::<_, Date64Type>(day)))
        }
        None => Ok(ArrayRef::clone(array)),
    }
}

/// The first row whose time is beyond what it is stored as.
fn beyond(array: &ArrayRef) -> Option<usize> {
    let is_beyond: fn(i64) -> bool = match array.data_type() {
        DataType::Timestamp(_, _) => |seconds| seconds.checked_mul(1000).is_none(),
        DataType::Date64 => |time| i32::try_from(time.div_euclid(MILLISECONDS_PER_DAY)).is_err(),
        _ => return None,
    };
    let values = match array.data_type() {
        DataType::Date64 => array.as_primitive::<Date64Type>().values(),
        _ => array.as_primitive::<TimestampSecondType>().values(),
    };
    (0..array.len()).find(|row| array.is_valid(*row) && is_beyond(values[*row]))
}
