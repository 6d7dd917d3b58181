//! Values that their type does not have, as damaged files hold them: a decimal of more digits, a time
//! of day beyond the day. Arrow and Parquet hand the bytes on, and each reader makes something else of
//! them: Parquet's writer keeps as many bytes of a decimal as its type needs, and readers take a time of
//! day modulo the day. Texts show such a decimal as it is, and refuse such a time.

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt64Array, make_array},
    compute::take,
    datatypes::{
        ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
        DecimalType, Field, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
        Time64NanosecondType, TimeUnit,
    },
    error::ArrowError,
};

use crate::{TableError, nested::find_type};

const SECONDS_PER_DAY: i64 = 86_400;

/// Checks the values of a column whose first row is the table's `first_row`.
///
/// # Errors
/// The first value that its type does not have.
pub(crate) fn check_values(
    array: &ArrayRef,
    field: &Field,
    first_row: u64,
) -> Result<(), TableError> {
    match first_invalid(array)? {
        None => Ok(()),
        Some((row, problem)) => Err(TableError::Value {
            row: first_row + row as u64,
            column: field.name().clone(),
            problem: problem.into(),
        }),
    }
}

/// The first row with such a value, and what it is.
fn first_invalid(array: &ArrayRef) -> Result<Option<(usize, &'static str)>, TableError> {
    use DataType as T;
    let may_be = |of: &DataType| of.is_decimal() || matches!(of, T::Time32(_) | T::Time64(_));
    if find_type(array.data_type(), &may_be).is_none() {
        return Ok(None);
    }
    let problem =
        |array: &ArrayRef| problem_of(array).map_err(|error| TableError::Schema(error.to_string()));
    if problem(array)?.is_none() {
        return Ok(None);
    }
    for row in 0..array.len() {
        if let Some(problem) = problem(&array.slice(row, 1))? {
            return Ok(Some((row, problem)));
        }
    }
    Ok(None)
}

fn problem_of(array: &ArrayRef) -> Result<Option<&'static str>, ArrowError> {
    use DataType as T;
    let is_wrong = match array.data_type() {
        T::Decimal32(digits, _) => is_any_longer::<Decimal32Type>(array, *digits),
        T::Decimal64(digits, _) => is_any_longer::<Decimal64Type>(array, *digits),
        T::Decimal128(digits, _) => is_any_longer::<Decimal128Type>(array, *digits),
        T::Decimal256(digits, _) => is_any_longer::<Decimal256Type>(array, *digits),
        T::Time32(TimeUnit::Second) => is_any_of_another_day::<Time32SecondType>(array, 1),
        T::Time32(_) => is_any_of_another_day::<Time32MillisecondType>(array, 1000),
        T::Time64(TimeUnit::Microsecond) => {
            is_any_of_another_day::<Time64MicrosecondType>(array, 1_000_000)
        }
        T::Time64(_) => is_any_of_another_day::<Time64NanosecondType>(array, 1_000_000_000),
        _ => {
            // What lies under a null, and between the rows of a list, is no value.
            let rows = (0..array.len()).filter(|row| array.is_valid(*row));
            let rows = UInt64Array::from_iter_values(rows.map(|row| row as u64));
            let values = take(array, &rows, None)?;
            for child in values.to_data().child_data() {
                if let Some(problem) = problem_of(&make_array(child.clone()))? {
                    return Ok(Some(problem));
                }
            }
            false
        }
    };
    let problem = match array.data_type().is_decimal() {
        true => "a decimal has more digits than its type",
        false => "a time of day is not within a day",
    };
    Ok(is_wrong.then_some(problem))
}

fn is_any_longer<T: DecimalType>(array: &ArrayRef, digits: u8) -> bool {
    let mut values = array.as_primitive::<T>().iter().flatten();
    values.any(|value| !T::is_valid_decimal_precision(value, digits))
}

fn is_any_of_another_day<T: ArrowPrimitiveType>(array: &ArrayRef, per_second: i64) -> bool
where
    T::Native: Into<i64>,
{
    let mut values = array.as_primitive::<T>().iter().flatten();
    let day = 0..SECONDS_PER_DAY * per_second;
    values.any(|value| !day.contains(&value.into()))
}
