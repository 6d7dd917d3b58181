//! Conversions that lose something, in conditions and elsewhere: a row is found by what is shown of it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date64Array, Decimal128Array, Int8Array, Int64Array, TimestampMicrosecondArray,
};
use datastreamer_engine::Engine;
use tempfile::TempDir;

use crate::support::{answers, engine, engine_of_columns};

/// Times in microseconds: the last one before 1970, the end of a millisecond before it, and later ones.
const TIMES: [i64; 5] = [-1, -500, 0, 1_500_000, 1_720_000_000_123_456];

fn table() -> (TempDir, Engine) {
    let decimals = vec![10, 100, 150, -150, 250];
    let decimals = Decimal128Array::from(decimals);
    let decimals = decimals.with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("d", Arc::new(decimals)),
        ("i8", Arc::new(Int8Array::from(vec![0, 1, -1, 5, 100]))),
        (
            "i64",
            Arc::new(Int64Array::from(vec![0, 300, -300, 1 << 40, 7])),
        ),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from(TIMES.to_vec())),
        ),
        (
            "d64",
            Arc::new(Date64Array::from(vec![-1, 0, -86_400_001, 86_399_999, 5])),
        ),
    ];
    engine_of_columns(columns)
}

/// Returns the rows of a query, one behind the other, or its error.
fn answer(engine: &Engine, sql: &str) -> Result<String, String> {
    answers(engine, sql).map(|rows| rows.join(" "))
}

#[track_caller]
fn check(engine: &Engine, cases: &[(&str, &str)]) {
    for (sql, wanted) in cases {
        assert_eq!(answer(engine, sql).as_deref(), Ok(*wanted), "{sql}");
    }
}

#[test]
fn rows_are_found_by_the_converted_values_that_are_shown() {
    let (_folder, engine) = table();
    for (conversion, shown) in [
        ("CAST(d AS INTEGER)", "0 1 1 -1 2"),
        ("TRY_CAST(d AS BIGINT)", "0 1 1 -1 2"),
        ("CAST(d AS DECIMAL(10,0))", "0 1 2 -2 3"),
        ("arrow_cast(d, 'Int8')", "0 1 1 -1 2"),
        ("TRY_CAST(i64 AS TINYINT)", "0 null null null 7"),
        ("TRY_CAST(i64 AS INTEGER)", "0 300 -300 null 7"),
        ("CAST(i8 AS BOOLEAN)", "false true true true true"),
        (
            "CAST(ts AS DATE)",
            "1969-12-31 1969-12-31 1970-01-01 1970-01-01 2024-07-03",
        ),
        (
            "CAST(d64 AS DATE)",
            "1969-12-31 1970-01-01 1969-12-30 1970-01-01 1970-01-01",
        ),
    ] {
        let sql = format!("SELECT {conversion} FROM stars");
        assert_eq!(answer(&engine, &sql).as_deref(), Ok(shown), "{sql}");
        let values: Vec<&str> = shown.split(' ').collect();
        for value in &values {
            let constant = match *value {
                "null" => continue,
                text if text.contains(':') || text.len() == 10 => format!("DATE '{text}'"),
                text => text.to_owned(),
            };
            let is_equal = |other: &&&str| *other == value;
            let equal = values.iter().filter(is_equal).count();
            let others = values.iter().filter(|other| **other != "null").count() - equal;
            for (condition, rows) in [
                (format!("{conversion} = {constant}"), equal),
                (format!("{conversion} <> {constant}"), others),
                (format!("{conversion} IN ({constant})"), equal),
                (format!("{conversion} NOT IN ({constant})"), others),
                (
                    format!("{conversion} BETWEEN {constant} AND {constant}"),
                    equal,
                ),
            ] {
                let sql = format!("SELECT count(*) FROM (SELECT * FROM stars WHERE {condition})");
                let found = answer(&engine, &sql);
                assert_eq!(found.as_deref(), Ok(&*rows.to_string()), "{sql}");
            }
        }
    }
    check(
        &engine,
        &[
            (
                "SELECT d FROM stars WHERE CAST(d AS INTEGER) > 0",
                "1.00 1.50 2.50",
            ),
            (
                "SELECT x, count(*) FROM (SELECT TRY_CAST(i64 AS TINYINT) AS x FROM stars) \
                 WHERE x <> 5 GROUP BY x ORDER BY x",
                "0,1 7,1",
            ),
            ("SELECT i8 FROM stars WHERE CAST(i8 AS BOOLEAN) < true", "0"),
            // Bounds beside the least and the greatest value.
            (
                "SELECT count(*) FROM stars WHERE CAST(ts AS DATE) > DATE '1969-12-31'",
                "3",
            ),
            (
                "SELECT count(*) FROM stars WHERE DATE '2024-07-03' > CAST(ts AS DATE)",
                "4",
            ),
        ],
    );
    let sql = "SELECT i64 FROM stars WHERE CAST(i64 AS TINYINT) > 1";
    assert!(answer(&engine, sql).is_err(), "300 is no TINYINT");
}

#[test]
fn times_before_1970_are_cut_to_the_time_before_them() {
    let (_folder, engine) = table();
    let time = "TIMESTAMP '1969-12-31 23:59:59.9995'";
    for (expression, wanted) in [
        (
            format!("date_trunc('millisecond', {time})"),
            "1969-12-31T23:59:59.999",
        ),
        (
            "date_trunc('MICROSECOND', TIMESTAMP '1969-12-31 23:59:59.9999995')".to_owned(),
            "1969-12-31T23:59:59.999999",
        ),
        (
            format!("date_trunc('second', {time})"),
            "1969-12-31T23:59:59",
        ),
        (
            format!("CAST({time} AS TIMESTAMP(3))"),
            "1969-12-31T23:59:59.999",
        ),
        (
            format!("CAST({time} AS TIMESTAMP(0))"),
            "1969-12-31T23:59:59",
        ),
        (
            format!("to_timestamp_millis({time})"),
            "1969-12-31T23:59:59.999",
        ),
        (
            format!("to_timestamp_seconds({time})"),
            "1969-12-31T23:59:59",
        ),
        (format!("to_unixtime({time})"), "-1"),
        (
            format!("arrow_cast({time}, 'Timestamp(Second, None)')"),
            "1969-12-31T23:59:59",
        ),
    ] {
        let sql = format!("SELECT {expression}");
        assert_eq!(answer(&engine, &sql).as_deref(), Ok(wanted), "{sql}");
    }
    check(
        &engine,
        &[
            (
                "SELECT date_trunc('millisecond', ts) FROM stars WHERE ts < TIMESTAMP '1970-01-01'",
                "1969-12-31T23:59:59.999 1969-12-31T23:59:59.999",
            ),
            (
                "SELECT to_unixtime(ts) FROM stars ORDER BY ts LIMIT 3",
                "-1 -1 0",
            ),
            (
                "SELECT arrow_cast(ts, 'Timestamp(Second, None)') FROM stars ORDER BY ts LIMIT 1",
                "1969-12-31T23:59:59",
            ),
        ],
    );
}

#[test]
fn a_date_and_an_interval_are_a_time() {
    let (_folder, engine) = table();
    check(
        &engine,
        &[
            (
                "SELECT DATE '2024-01-01' - INTERVAL '1 hour'",
                "2023-12-31T23:00:00",
            ),
            (
                "SELECT DATE '2024-01-01' + INTERVAL '36 hours'",
                "2024-01-02T12:00:00",
            ),
            (
                "SELECT INTERVAL '1 day' + DATE '2024-02-28'",
                "2024-02-29T00:00:00",
            ),
            (
                "SELECT DATE '2024-01-31' + INTERVAL '1 month'",
                "2024-02-29T00:00:00",
            ),
            (
                "SELECT DATE '2024-01-01' + INTERVAL '1 hour' > DATE '2024-01-01'",
                "true",
            ),
            (
                "SELECT count(*) FROM stars WHERE CAST(ts AS DATE) + INTERVAL '1 hour' \
                 > TIMESTAMP '1970-01-01 00:30:00'",
                "3",
            ),
            ("SELECT DATE '2024-01-03' - DATE '2024-01-01'", "2"),
        ],
    );
}

#[test]
fn a_timestamp_with_time_zone_is_one_of_utc() {
    let (_folder, engine) = table();
    check(
        &engine,
        &[
            (
                "SELECT TIMESTAMPTZ '2024-07-01 12:00:00+00:00' AT TIME ZONE 'America/New_York'",
                "2024-07-01T08:00:00",
            ),
            (
                "SELECT CAST('2024-07-01 12:00:00+02:00' AS TIMESTAMP WITH TIME ZONE) \
                 AT TIME ZONE 'UTC'",
                "2024-07-01T10:00:00",
            ),
            (
                "SELECT CAST(ts AS TIMESTAMPTZ) AT TIME ZONE '+01:00' FROM stars WHERE ts = \
                 TIMESTAMP '1970-01-01'",
                "1970-01-01T01:00:00",
            ),
            (
                "SELECT arrow_typeof(TIMESTAMPTZ '2024-07-01 12:00:00')",
                "Timestamp(ns, \"UTC\")",
            ),
        ],
    );
}

/// PostgreSQL and DuckDB have the same.
#[test]
fn what_stands_beside_refused_parts_is_answered() {
    for (sql, wanted) in [
        ("SELECT (true IS DISTINCT FROM true) OR true", "true"),
        ("SELECT false AND (1 IS NOT DISTINCT FROM 1)", "false"),
        ("SELECT 1 IS DISTINCT FROM 2", "true"),
        ("SELECT (4 | 1) << 1", "10"),
        ("SELECT 4 | 1 | 2", "7"),
        ("SELECT 4 | 1 + 1", "6"),
        (
            "SELECT regexp_replace('cost: X', '(X)', '<\\1>')",
            "cost: <X>",
        ),
        (
            "SELECT arrow_cast(TIMESTAMP '1969-12-31T23:59:59.9999', 'Date64')",
            "1969-12-31",
        ),
    ] {
        let rows = answers(&engine(), sql).unwrap();
        assert!(rows[0].starts_with(wanted), "{sql}: {rows:?}");
    }
}
