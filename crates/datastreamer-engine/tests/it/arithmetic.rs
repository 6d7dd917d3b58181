//! Arithmetic in SQL: right values, or errors that say what is out of range.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, Decimal128Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
        Int64Array, UInt8Array, UInt64Array, cast::AsArray,
    },
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
    record_batch::RecordBatchReader,
};
use datastreamer_engine::{Engine, EngineError, EngineErrorKind, Query};
use tempfile::TempDir;

use crate::support::{block_on, engine_of_columns};

/// A table of two rows: the greatest and the least number of each type.
fn extremes() -> (TempDir, Engine) {
    let decimals = |digits: &str, scale| {
        let greatest: i128 = digits.parse().unwrap();
        let decimals = Decimal128Array::from(vec![greatest, -greatest]);
        decimals.with_precision_and_scale(38, scale).unwrap()
    };
    engine_of_columns(vec![
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
fn columns_without_a_name_are_called_as_they_are_written() {
    let (_folder, engine) = extremes();
    let sql = "SELECT k + 1, -k, k << 1, sum(k * 2), k + 1 AS x, (k), 'a', stars.k::double, \
               CASE k WHEN 1 THEN 'a' END, count(*), map(['a'], [1]) FROM stars GROUP BY k";
    let rows = block_on(engine.query(&Query::new(sql), None)).unwrap();
    let schema = rows.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    let wanted = [
        "k + 1",
        "-k",
        "k << 1",
        "sum(k * 2)",
        "x",
        "k",
        "'a'",
        "stars.k::DOUBLE",
        "CASE k WHEN 1 THEN 'a' END",
        "count(*)",
        "map(['a'], [1])",
    ];
    assert_eq!(names, wanted);
    check(&[
        ("SELECT DISTINCT k + 1 FROM stars ORDER BY k + 1", Ok("2 3")),
        (
            "SELECT sum(k) FROM stars GROUP BY u8 ORDER BY sum(k)",
            Ok("1 2"),
        ),
        ("SELECT \"sum(k)\" FROM (SELECT sum(k) FROM stars)", Ok("3")),
        (
            "SELECT k + 1 FROM stars UNION SELECT k FROM stars ORDER BY 1",
            Ok("1 2 3"),
        ),
    ]);
}

#[test]
fn floats_are_rounded_or_cut_to_any_number_of_places() {
    let floats = Float64Array::from(vec![1e300, 2.567, -25.0, f64::INFINITY]);
    let floats: ArrayRef = Arc::new(floats);
    let singles = Float32Array::from(vec![1e38, 2.567, -25.0, f32::INFINITY]);
    let places = Int64Array::from(vec![10, 1, -1, 2]);
    let (_folder, engine) = engine_of_columns(vec![
        ("f", floats),
        ("f32", Arc::new(singles)),
        ("places", Arc::new(places)),
    ]);
    for (expression, wanted) in [
        ("round(f, 10)", "1e300 2.567 -25.0 inf"),
        ("round(f, 400)", "1e300 2.567 -25.0 inf"),
        ("round(f, 2)", "1e300 2.57 -25.0 inf"),
        ("round(f, -1)", "1e300 0.0 -30.0 inf"),
        ("round(f, -400)", "0.0 0.0 0.0 inf"),
        ("round(f, places)", "1e300 2.6 -30.0 inf"),
        ("trunc(f, 10)", "1e300 2.567 -25.0 inf"),
        ("trunc(f, 400)", "1e300 2.567 -25.0 inf"),
        ("trunc(f, 2)", "1e300 2.56 -25.0 inf"),
        ("trunc(f, -1)", "1e300 0.0 -20.0 inf"),
        ("trunc(f, places)", "1e300 2.5 -20.0 inf"),
        ("round(f32, 40)", "1e38 2.567 -25.0 inf"),
        ("round(f32, 38)", "1e38 2.567 -25.0 inf"),
        ("trunc(f32, 40)", "1e38 2.567 -25.0 inf"),
        ("round(f, NULL)", "null null null null"),
    ] {
        let found = answer(&engine, &format!("SELECT {expression} FROM stars"));
        assert_eq!(found.as_deref(), Ok(wanted), "{expression}");
    }
    for (expression, wanted) in [
        ("round(1e300, 10)", Ok("1e300")),
        ("trunc(1e300, 10)", Ok("1e300")),
        ("round(0.7, 20)", Ok("0.7")),
        ("round(arrow_cast('NaN', 'Float64'), 2)", Ok("NaN")),
        ("round(1.7e308, -308)", out_of_range!("1.7e308, rounded")),
        (
            "round(9223372036854775807, -19)",
            out_of_range!("9223372036854775807, rounded"),
        ),
        ("round(4999999999999999999, -19)", Ok("0")),
        ("round(9223372036854775807, -20)", Ok("0")),
    ] {
        let found = answer(&engine, &format!("SELECT {expression}"));
        let found = found.as_deref().map_err(String::as_str);
        assert_eq!(found, wanted, "{expression}");
    }
}

#[test]
fn a_text_with_a_second_of_60_is_no_time() {
    for expression in [
        "CAST('2016-12-31T23:59:60' AS TIMESTAMP)",
        "to_timestamp('2016-12-31T23:59:60')",
        "to_timestamp_millis('2016-12-31T23:59:60')",
    ] {
        let error = "`2016-12-31T23:59:60` is no time: it has a second of 60";
        check(&[(&format!("SELECT {expression}"), Err(error))]);
    }
    let error = Err("`23:59:60` is no time: it has a second of 60");
    check(&[("SELECT CAST('23:59:60' AS TIME)", error)]);
}

#[test]
fn at_time_zone_is_a_local_time_or_makes_one() {
    check(&[
        (
            "SELECT TIMESTAMP '2020-07-01 12:00:00' AT TIME ZONE 'Europe/Berlin' \
             = arrow_cast('2020-07-01T10:00:00Z', 'Timestamp(Nanosecond, Some(\"UTC\"))')",
            Ok("true"),
        ),
        (
            "SELECT TIMESTAMP '2020-07-01 12:00:00' AT TIME ZONE 'Europe/Berlin' \
             AT TIME ZONE 'America/New_York'",
            Ok("2020-07-01T06:00:00"),
        ),
        (
            "SELECT DATE '2020-07-01' AT TIME ZONE '+02:00' AT TIME ZONE 'UTC'",
            Ok("2020-06-30T22:00:00"),
        ),
        (
            "SELECT TIMESTAMP '2020-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin'",
            Err("a time that the clocks of the zone never show, or twice"),
        ),
    ]);
}

#[test]
fn sums_that_leave_their_type_are_errors() {
    let error = out_of_range!("a sum");
    // Twice each row.
    let twice = "FROM stars a, stars b";
    // Values whose sum is one too great, the second the least.
    let one_too_many =
        "(SELECT k, i64 AS x FROM stars WHERE k = 1 UNION ALL SELECT 2 AS k, 1 AS x)";
    for sql in [
        format!("SELECT sum(a.i64) {twice} WHERE a.k = 1"),
        format!("SELECT sum(a.u64) {twice}"),
        format!("SELECT sum(a.d) {twice} WHERE a.k = 2"),
        format!("SELECT sum(a.i64) {twice} GROUP BY a.k"),
        format!("SELECT sum(a.d) {twice} GROUP BY a.k"),
        format!("SELECT sum(a.i64) FILTER (WHERE a.k = 1) {twice}"),
        format!("SELECT sum(x) FROM {one_too_many}"),
        format!("SELECT sum(DISTINCT x) FROM {one_too_many}"),
        format!("SELECT sum(DISTINCT x), count(DISTINCT k) FROM {one_too_many}"),
        format!("SELECT sum(x) OVER () FROM {one_too_many}"),
        format!("SELECT sum(x) OVER (ORDER BY k) FROM {one_too_many}"),
        format!(
            "SELECT sum(x) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
             FROM {one_too_many}"
        ),
        format!(
            "SELECT sum(DISTINCT x) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) \
             FROM {one_too_many}"
        ),
        format!(
            "SELECT sum(i) FROM (SELECT arrow_cast(x, 'Duration(s)') AS i FROM {one_too_many})"
        ),
        "SELECT sum(i) FROM (SELECT INTERVAL '2147483647 months' AS i UNION ALL \
         SELECT INTERVAL '1 month')"
            .to_owned(),
    ] {
        check(&[(&sql, error)]);
    }
}

#[test]
fn sums_are_right_also_where_the_sum_of_some_rows_leaves_the_type() {
    check(&[
        ("SELECT sum(i64) FROM stars", Ok("-1")),
        ("SELECT sum(a.i64) FROM stars a, stars b", Ok("-2")),
        ("SELECT sum(a.d) FROM stars a, stars b", Ok("0")),
        (
            "SELECT sum(a.i64) FROM stars a, stars b GROUP BY b.k",
            Ok("-1 -1"),
        ),
        ("SELECT sum(i64) FROM stars WHERE k = 3", Ok("null")),
        ("SELECT sum(i64) FROM stars WHERE k = 3 GROUP BY k", Ok("")),
        ("SELECT sum(i8) FROM stars", Ok("-1")),
        (
            "SELECT sum(a.u8) FROM stars a, stars b, stars c",
            Ok("1020"),
        ),
        ("SELECT sum(DISTINCT a.i64) FROM stars a, stars b", Ok("-1")),
        (
            "SELECT sum(DISTINCT a.i64) + count(DISTINCT a.k) FROM stars a, stars b",
            Ok("1"),
        ),
        (
            "SELECT sum(i64) OVER (ORDER BY k) FROM stars",
            Ok("9223372036854775807 -1"),
        ),
        (
            "SELECT sum(x) OVER (ORDER BY x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM \
             (VALUES (1), (NULL), (2), (4)) AS t (x)",
            Ok("1 3 6 4"),
        ),
        (
            "SELECT sum(DISTINCT x) OVER (ORDER BY k ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) \
             FROM (VALUES (1, 5), (2, 5), (3, 7), (4, NULL), (5, 7)) AS t (k, x)",
            Ok("5 5 12 12 7"),
        ),
        (
            "SELECT sum(x) FROM (VALUES (1.5), (2.25)) AS t (x)",
            Ok("3.75"),
        ),
        (
            "SELECT sum(CAST(x AS DECIMAL(20, 2))) FROM (VALUES (1.5), (2.25)) AS t (x)",
            Ok("3.75"),
        ),
        (
            "SELECT sum(i) FROM (SELECT INTERVAL '1 month' AS i UNION ALL \
             SELECT INTERVAL '2 days')",
            Ok("1 mons 2 days"),
        ),
    ]);
}

#[test]
fn sums_of_many_groups_are_right() {
    let rows = 250_000;
    let values = (0..rows).map(|row| (row % 7 != 0).then_some(row - 1000));
    let (_folder, engine) = engine_of_columns(vec![
        ("k", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("x", Arc::new(values.collect::<Int64Array>())),
    ]);
    let values = (0..rows).filter(|row| row % 7 != 0);
    let all: i64 = values.clone().map(|row| row - 1000).sum();
    let thirds = values.filter(|row| row % 3 == 0);
    let thirds: i64 = thirds.map(|row| row - 1000).sum();
    // As many groups as rows, which are not grouped before they are exchanged; some; few.
    for groups in [rows, 1000, 3] {
        let sum = |of: &str| {
            let groups = format!("SELECT {of} AS s FROM stars GROUP BY k % {groups}");
            answer(&engine, &format!("SELECT sum(s) FROM ({groups})")).unwrap()
        };
        assert_eq!(sum("sum(x)"), all.to_string());
        assert_eq!(sum("sum(x) FILTER (WHERE k % 3 = 0)"), thirds.to_string());
        assert_eq!(sum("sum(DISTINCT x)"), all.to_string());
        let decimals = sum("sum(CAST(x AS DECIMAL(38, 0)))");
        assert_eq!(decimals, all.to_string());
        let nulls = format!("SELECT sum(x) AS s FROM stars GROUP BY k % {groups}");
        let nulls = answer(
            &engine,
            &format!("SELECT count(*) - count(s) FROM ({nulls})"),
        );
        let wanted = if groups == rows { (rows + 6) / 7 } else { 0 };
        assert_eq!(nulls.unwrap(), wanted.to_string());
    }
}

#[test]
fn conversions_and_functions_out_of_range_are_errors() {
    let float = out_of_range!("1e300 as a float");
    check(&[
        ("SELECT CAST(1e300 AS REAL)", float),
        ("SELECT CAST(k * 1e300 AS REAL) FROM stars", float),
        ("SELECT CAST('1e300' AS REAL)", float),
        ("SELECT CAST(1e30 AS REAL)", Ok("1e30")),
        (
            "SELECT CAST('1e400' AS DOUBLE)",
            out_of_range!("1e400 as a float"),
        ),
        (
            "SELECT CAST(arrow_cast(d, 'Decimal256(76, 0)') * 10 AS REAL) FROM stars",
            out_of_range!("999999999999999999999999999999999999990 as a float"),
        ),
        ("SELECT CAST('Infinity' AS DOUBLE)", Ok("inf")),
        ("SELECT CAST(CAST('-inf' AS DOUBLE) AS REAL)", Ok("-inf")),
        ("SELECT CAST(CAST('nan' AS DOUBLE) AS REAL)", Ok("NaN")),
        ("SELECT CAST(CAST(NULL AS DOUBLE) AS REAL)", Ok("null")),
        (
            "SELECT CAST(1e300 AS BIGINT)",
            Err("Can't cast value 1e300 to type 64-bit integer"),
        ),
        (
            "SELECT to_timestamp(1e300)",
            out_of_range!("to_timestamp(1e300)"),
        ),
        (
            "SELECT to_timestamp(k * -1e10) FROM stars",
            out_of_range!("to_timestamp(-10000000000.0)"),
        ),
        (
            "SELECT to_timestamp(CAST('NaN' AS DOUBLE))",
            out_of_range!("to_timestamp(NaN)"),
        ),
        ("SELECT to_timestamp(1.5)", Ok("1970-01-01T00:00:01.500")),
        ("SELECT abs(i8) FROM stars", out_of_range!("abs(-128)")),
        (
            "SELECT abs(-9223372036854775808)",
            out_of_range!("abs(-9223372036854775808)"),
        ),
        (
            "SELECT factorial(21)",
            Err("the result is out of range: FACTORIAL(21)"),
        ),
        (
            "SELECT lcm(i64, 2) FROM stars",
            Err("the result is out of range: LCM(9223372036854775807, 2)"),
        ),
        (
            "SELECT DATE '2024-01-01' + INTERVAL '1000000 years'",
            out_of_range!("a time and an interval"),
        ),
        (
            "SELECT TIMESTAMP '2024-01-01' - INTERVAL '1000 years'",
            out_of_range!("a time and an interval"),
        ),
        (
            "SELECT TIMESTAMP '2262-01-01' - TIMESTAMP '1677-09-22'",
            out_of_range!("9214646400000000000 - -9223286400000000000"),
        ),
        (
            "SELECT INTERVAL '2147483647 months' + INTERVAL '1 month'",
            out_of_range!("2147483647 + 1"),
        ),
        (
            "SELECT avg(d) FROM stars WHERE k = 1",
            out_of_range!("an average"),
        ),
    ]);
}

#[test]
fn averages_of_durations_are_right() {
    let longest = "(SELECT k, arrow_cast(i64, 'Duration(ns)') AS i FROM stars WHERE k = 1 \
                   UNION ALL SELECT 2 AS k, arrow_cast(9223372036854775805, 'Duration(ns)') AS i)";
    for (average, wanted) in [
        ("avg(i)", "9223372036854775806"),
        (
            "avg(i) OVER (ORDER BY k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
            "9223372036854775807 9223372036854775806",
        ),
        ("avg(i) FILTER (WHERE k = 3)", "null"),
    ] {
        let sql = format!("SELECT CAST({average} AS BIGINT) FROM {longest}");
        check(&[(&sql, Ok(wanted))]);
    }
    let grouped = format!("SELECT CAST(avg(i) AS BIGINT) FROM {longest} GROUP BY k ORDER BY k");
    check(&[(&grouped, Ok("9223372036854775807 9223372036854775805"))]);
}

#[test]
fn a_number_that_no_float_holds_is_refused() {
    let (_folder, engine) = extremes();
    for sql in ["SELECT 1e400", "SELECT k FROM stars WHERE k < -1e309"] {
        let error = block_on(engine.query(&Query::new(sql), None))
            .err()
            .unwrap();
        assert_eq!(error.kind(), EngineErrorKind::BadQuery);
        assert_eq!(
            error.to_string(),
            "a number beyond the range of 64-bit floats is not supported"
        );
    }
}

#[test]
fn intervals_are_compared_by_their_lengths() {
    check(&[
        ("SELECT interval '25 hours' > interval '1 day'", Ok("true")),
        ("SELECT interval '24 hours' = interval '1 day'", Ok("true")),
        (
            "SELECT interval '100 days' > interval '1 month'",
            Ok("true"),
        ),
        ("SELECT interval '1 month' = interval '30 days'", Ok("true")),
        (
            "SELECT timestamp '2020-01-10' - timestamp '2020-01-01' > interval '1 day'",
            Ok("true"),
        ),
        (
            "SELECT timestamp '2020-01-10' - timestamp '2020-01-01' \
             BETWEEN interval '1 week' AND interval '1 month'",
            Ok("true"),
        ),
        (
            "SELECT interval '36 hours' IN (interval '1 day 12 hours')",
            Ok("true"),
        ),
        ("SELECT interval '1 day' < NULL", Ok("null")),
    ]);
}

#[test]
fn times_before_1970_are_cut_to_the_second_before() {
    let time = "timestamp '1960-01-01 00:00:00.4'";
    for to in ["CAST({} AS TIMESTAMP(0))", "to_timestamp_seconds({})"] {
        let sql = format!("SELECT {}", to.replace("{}", time));
        check(&[(&sql, Ok("1960-01-01T00:00:00"))]);
    }
}
