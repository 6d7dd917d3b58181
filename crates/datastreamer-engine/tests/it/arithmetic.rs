//! Arithmetic in SQL: right values, or errors that say what is out of range.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array, UInt8Array,
        UInt64Array, cast::AsArray,
    },
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_engine::{Engine, EngineError, EngineErrorKind, Query};
use tempfile::TempDir;

use crate::support::{block_on, engine_of, write_parquet};

/// A table of two rows: the greatest and the least number of each type.
fn extremes() -> (TempDir, Engine) {
    let decimals = |digits: &str, scale| {
        let greatest: i128 = digits.parse().unwrap();
        let decimals = Decimal128Array::from(vec![greatest, -greatest]);
        decimals.with_precision_and_scale(38, scale).unwrap()
    };
    table(vec![
        ("i8", Arc::new(Int8Array::from(vec![i8::MAX, i8::MIN]))),
        ("i16", Arc::new(Int16Array::from(vec![i16::MAX, i16::MIN]))),
        ("i32", Arc::new(Int32Array::from(vec![i32::MAX, i32::MIN]))),
        ("i64", Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN]))),
        ("u8", Arc::new(UInt8Array::from(vec![u8::MAX, 0]))),
        ("u64", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("d", Arc::new(decimals(&"9".repeat(38), 0))),
        ("k", Arc::new(Int64Array::from(vec![1, 2]))),
    ])
}

fn table(columns: Vec<(&str, ArrayRef)>) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    (folder, engine)
}

/// Returns the values of the first column as text, or the error, which is one of computing.
fn answer(engine: &Engine, sql: &str) -> Result<String, String> {
    let computing = |error: &EngineError| {
        assert_eq!(error.kind(), EngineErrorKind::Computation, "{sql}: {error}");
        error.to_string()
    };
    let rows = block_on(engine.query(&Query::new(sql), None));
    let rows = rows.map_err(|error| computing(&error))?;
    let mut values = Vec::new();
    for batch in rows {
        let batch = batch.map_err(|error| match error {
            ArrowError::ExternalError(error) => computing(error.downcast_ref().unwrap()),
            error => panic!("{sql}: {error}"),
        })?;
        let column = cast(batch.column(0), &DataType::Utf8).unwrap();
        let column = column.as_string::<i32>().iter();
        values.extend(column.map(|value| value.unwrap_or("null").to_owned()));
    }
    Ok(values.join(" "))
}

/// Asserts what queries of the table of extremes answer.
fn check(answers: &[(&str, Result<&str, &str>)]) {
    let (_folder, engine) = extremes();
    for (sql, wanted) in answers {
        let found = answer(&engine, sql);
        let found = found.as_deref().map_err(String::as_str);
        assert_eq!(found, *wanted, "{sql}");
    }
}

/// The error of a result that is out of range, with these numbers.
macro_rules! out_of_range {
    ($numbers:literal) => {
        Err(concat!("the result is out of range: ", $numbers))
    };
}

#[test]
fn integers_that_leave_their_type_are_errors() {
    check(&[
        (
            "SELECT 9223372036854775807 + 1",
            out_of_range!("9223372036854775807 + 1"),
        ),
        (
            "SELECT -9223372036854775808 - 1",
            out_of_range!("-9223372036854775808 - 1"),
        ),
        (
            "SELECT 9223372036854775807 * 2",
            out_of_range!("9223372036854775807 * 2"),
        ),
        (
            "SELECT -(-9223372036854775808)",
            out_of_range!("- -9223372036854775808"),
        ),
        (
            "SELECT -9223372036854775808 / -1",
            out_of_range!("-9223372036854775808 / -1"),
        ),
        (
            "SELECT i64 + 1 FROM stars",
            out_of_range!("9223372036854775807 + 1"),
        ),
        (
            "SELECT k FROM stars WHERE i64 + 1 > 5",
            out_of_range!("9223372036854775807 + 1"),
        ),
        (
            "SELECT a.k FROM stars a JOIN stars b ON a.i64 + 1 = b.k",
            out_of_range!("9223372036854775807 + 1"),
        ),
        (
            "SELECT k FROM stars WHERE k = (SELECT max(i64) + 1 FROM stars)",
            out_of_range!("9223372036854775807 + 1"),
        ),
        ("SELECT i8 + i8 FROM stars", out_of_range!("127 + 127")),
        ("SELECT i8 * i8 FROM stars", out_of_range!("127 * 127")),
        ("SELECT -i8 FROM stars", out_of_range!("- -128")),
        (
            "SELECT i16 + i16 FROM stars",
            out_of_range!("32767 + 32767"),
        ),
        (
            "SELECT i32 * i32 FROM stars",
            out_of_range!("2147483647 * 2147483647"),
        ),
        (
            "SELECT u64 + u64 FROM stars",
            out_of_range!("18446744073709551615 + 18446744073709551615"),
        ),
        (
            "SELECT a.u8 - b.u8 FROM stars a, stars b WHERE a.k = 2 AND b.k = 1",
            out_of_range!("0 - 255"),
        ),
        (
            "SELECT 1 << 64",
            out_of_range!("an integer of 64 bits is shifted by less than 0 or by 64 and more"),
        ),
        (
            "SELECT k >> (k - 2) FROM stars",
            out_of_range!("an integer of 64 bits is shifted by less than 0 or by 64 and more"),
        ),
    ]);
}

#[test]
fn decimals_with_too_many_digits_are_errors() {
    let error = out_of_range!("a decimal with too many digits");
    check(&[
        ("SELECT d + 1 FROM stars", error),
        ("SELECT d + d FROM stars", error),
        ("SELECT d - 1 FROM stars WHERE k = 2", error),
        ("SELECT d * 2 FROM stars", error),
        ("SELECT d * d FROM stars", error),
        ("SELECT d / 3 FROM stars", error),
        ("SELECT d % 7 FROM stars", Ok("1 -1")),
        (
            "SELECT d - 1 FROM stars WHERE k = 1",
            Ok("99999999999999999999999999999999999998"),
        ),
    ]);
}

#[test]
fn integers_that_stay_in_their_type_are_right() {
    check(&[
        ("SELECT -9223372036854775808", Ok("-9223372036854775808")),
        ("SELECT 9223372036854775806 + 1", Ok("9223372036854775807")),
        ("SELECT i8 + 1 FROM stars", Ok("128 -127")),
        ("SELECT i8 - i8 FROM stars", Ok("0 0")),
        ("SELECT u8 - 300 FROM stars", Ok("-45 -300")),
        ("SELECT u64 + 1 FROM stars", Ok("18446744073709551616 1")),
        (
            "SELECT u64 + i64 FROM stars",
            Ok("27670116110564327422 -9223372036854775808"),
        ),
        ("SELECT NULL + 1", Ok("null")),
        ("SELECT coalesce(k, i64 + 1) FROM stars", Ok("1 2")),
        (
            "SELECT CASE WHEN k = 1 THEN 0 ELSE i64 + 1 END FROM stars",
            Ok("0 -9223372036854775807"),
        ),
        ("SELECT k FROM stars WHERE k + 1 = 2", Ok("1")),
        (
            "SELECT k + 1 FROM stars GROUP BY k + 1 ORDER BY k + 1",
            Ok("2 3"),
        ),
        (
            "SELECT a.k FROM stars a JOIN stars b ON a.k = b.k + 1",
            Ok("2"),
        ),
        (
            "SELECT k FROM stars a WHERE EXISTS (SELECT 1 FROM stars b WHERE b.k = a.k + 1)",
            Ok("1"),
        ),
        ("SELECT k FROM stars ORDER BY k LIMIT 2 - 1", Ok("1")),
        ("SELECT 1 << 63", Ok("-9223372036854775808")),
        ("SELECT k << k FROM stars", Ok("2 8")),
    ]);
}

#[test]
fn the_names_of_computed_columns_stay() {
    let (_folder, engine) = extremes();
    let sql = "SELECT k + 1, -k, k << 1, sum(k * 2), k + 1 AS x FROM stars GROUP BY k";
    let rows = block_on(engine.query(&Query::new(sql), None)).unwrap();
    let schema = rows.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    let wanted = [
        "stars.k + Int64(1)",
        "(- stars.k)",
        "stars.k << Int64(1)",
        "sum(stars.k * Int64(2))",
        "x",
    ];
    assert_eq!(names, wanted);
}
