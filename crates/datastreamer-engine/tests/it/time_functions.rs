//! Parts of differences of times and of intervals, `date_bin`, and orders of intervals. The expected
//! values are those of PostgreSQL 15.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DurationMicrosecondArray, DurationSecondArray, TimestampMillisecondArray,
    TimestampSecondArray,
};

use crate::support::{answers, engine, engine_of_columns};

/// Returns the values of an expression over a constant, for each part.
fn parts(of: &str, parts: &[&str]) -> String {
    let parts = parts.iter().map(|part| format!("extract({part} FROM x)"));
    let parts: Vec<_> = parts.collect();
    let sql = format!("SELECT {} FROM (SELECT {of} AS x)", parts.join(", "));
    answers(&engine(), &sql).unwrap().join(" ")
}

#[track_caller]
fn check(sql: &str, wanted: &[&str]) {
    assert_eq!(answers(&engine(), sql).unwrap(), wanted, "{sql}");
}

#[test]
fn differences_of_times_have_days_and_what_is_left_of_them() {
    let later = "TIMESTAMP '2024-03-01 05:06:07.25' - TIMESTAMP '2024-01-01'";
    let names = [
        "epoch",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "milliseconds",
        "microseconds",
    ];
    assert_eq!(parts(later, &names), "5202367.25,0,0,60,5,6,7,7250,7250000");
    let earlier = "TIMESTAMP '2024-01-01' - TIMESTAMP '2024-03-01 05:06:07.25'";
    assert_eq!(
        parts(earlier, &names),
        "-5202367.25,0,0,-60,-5,-6,-7,-7250,-7250000"
    );
    // Longer than 68 years: more seconds than 32 bits hold.
    assert_eq!(
        parts(
            "TIMESTAMP '2024-03-01 00:00:00.25' - TIMESTAMP '1900-01-01'",
            &["epoch", "day"]
        ),
        "3918240000.25,45350"
    );
    check(
        "SELECT date_part('hour', a - b), datepart('epoch', a - b) \
         FROM (SELECT TIMESTAMP '2024-01-03 02:00:00' AS a, TIMESTAMP '2024-01-01' AS b)",
        &["2,180000.0"],
    );
}

#[test]
fn durations_of_all_units_have_their_parts() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "us",
            Arc::new(DurationMicrosecondArray::from(vec![
                Some(90_061_000_001),
                Some(-1),
                None,
                Some(i64::MAX),
            ])),
        ),
        (
            "s",
            Arc::new(DurationSecondArray::from(vec![
                Some(90_061),
                Some(-86_401),
                None,
                Some(i64::MAX),
            ])),
        ),
    ];
    let (_folder, engine) = engine_of_columns(columns);
    for (of, wanted) in [
        (
            "epoch FROM us",
            ["90061.000001", "-0.000001", "null", "9223372036854.775"],
        ),
        ("day FROM us", ["1", "0", "null", "106751991"]),
        ("microsecond FROM us", ["1000001", "-1", "null", "54775807"]),
        (
            "nanosecond FROM us",
            ["1000001000", "-1000", "null", "54775807000"],
        ),
        (
            "epoch FROM s",
            ["90061.0", "-86401.0", "null", "9.223372036854776e18"],
        ),
        ("day FROM s", ["1", "-1", "null", "106751991167300"]),
        ("hour FROM s", ["1", "0", "null", "15"]),
        ("second FROM s", ["1", "-1", "null", "7"]),
    ] {
        let sql = format!("SELECT extract({of}) FROM stars");
        let found: Vec<_> = answers(&engine, &sql).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|value| value.replace("-1e-6", "-0.000001"))
            .collect();
        assert_eq!(found, wanted, "{sql}");
    }
    // Rows are found by what is shown.
    let found = answers(
        &engine,
        "SELECT s FROM stars WHERE extract(day FROM s) = -1",
    );
    assert_eq!(found.unwrap().len(), 1);
}

#[test]
fn intervals_have_months_days_and_a_time() {
    let names = [
        "year",
        "month",
        "quarter",
        "day",
        "hour",
        "minute",
        "second",
        "millisecond",
        "microsecond",
        "decade",
        "century",
    ];
    assert_eq!(
        parts(
            "INTERVAL '125 years 7 months 40 days 30 hours 45 minutes 59.5 seconds'",
            &names
        ),
        "125,7,3,40,30,45,59,59500,59500000,12,1"
    );
    assert_eq!(
        parts(
            "INTERVAL '-25 months -3 days -4 hours -5 minutes -6.7 seconds'",
            &names
        ),
        "-2,-1,1,-3,-4,-5,-6,-6700,-6700000,0,0"
    );
    check(
        "SELECT extract(epoch FROM INTERVAL '1 year'), extract(epoch FROM INTERVAL '14 months'), \
         extract(epoch FROM INTERVAL '1 day 25 hours 0.5 seconds'), \
         extract(epoch FROM INTERVAL '-13 months')",
        &["31557600.0,36741600.0,176400.5,-34149600.0"],
    );
    for part in ["week", "dow", "doy", "isodow"] {
        let sql = format!("SELECT extract({part} FROM INTERVAL '1 day')");
        let error = answers(&engine(), &sql).unwrap_err();
        assert!(error.contains("a length of time has no"), "{error}");
    }
}

#[test]
fn bins_are_there_in_all_years() {
    check(
        "SELECT date_bin(INTERVAL '1 day', arrow_cast('9999-12-31 23:00:00', 'Timestamp(Microsecond, None)')), \
         date_bin(INTERVAL '7 days', arrow_cast('1500-02-07 23:00:00', 'Timestamp(Microsecond, None)')), \
         date_bin(INTERVAL '15 minutes', TIMESTAMP '2024-02-03 04:05:06', TIMESTAMP '2024-01-01 00:01:00'), \
         date_bin(INTERVAL '1 month', TIMESTAMP '2024-02-03 04:05:06'), \
         date_bin(NULL, TIMESTAMP '2024-02-03 04:05:06'), \
         date_bin(INTERVAL '15 minutes', TIME '00:20:00')",
        &[
            "9999-12-31T00:00:00,1500-02-01T00:00:00,2024-02-03T04:01:00,2024-02-01T00:00:00,null,00:15:00",
        ],
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "s",
            Arc::new(
                TimestampSecondArray::from(vec![Some(253_402_300_799), None, Some(-1)])
                    .with_timezone("UTC"),
            ),
        ),
        (
            "ms",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-62_135_596_800_001),
                None,
                Some(-1),
            ])),
        ),
    ];
    let (_folder, engine) = engine_of_columns(columns);
    let found = answers(
        &engine,
        "SELECT date_bin(INTERVAL '1 hour', s), date_bin(INTERVAL '1 day', ms) FROM stars",
    );
    let wanted = [
        "9999-12-31T23:00:00Z,0000-12-31T00:00:00",
        "null,null",
        "1969-12-31T23:00:00Z,1969-12-31T00:00:00",
    ];
    assert_eq!(found.unwrap(), wanted);
    let found = answers(
        &engine,
        "SELECT date_bin(INTERVAL '1 month', s), date_bin(INTERVAL '5 years', ms) FROM stars",
    );
    let wanted = [
        "9999-12-01T00:00:00Z,0000-01-01T00:00:00",
        "null,null",
        "1969-12-01T00:00:00Z,1965-01-01T00:00:00",
    ];
    assert_eq!(found.unwrap(), wanted);
    // DataFusion bins months of another origin, in nanoseconds.
    let months = "SELECT date_bin(INTERVAL '1 month', ms, TIMESTAMP '2024-01-15') FROM stars";
    let error = answers(&engine, months).unwrap_err();
    assert!(error.contains("out of range"), "{error}");
    let months =
        "SELECT date_bin(INTERVAL '1 month', TIMESTAMP '2024-02-03', TIMESTAMP '2024-01-15')";
    assert_eq!(answers(&engine, months).unwrap(), ["2024-01-15T00:00:00"]);
}

#[test]
fn times_are_truncated_in_all_years() {
    let units = [
        "microsecond",
        "millisecond",
        "second",
        "minute",
        "hour",
        "day",
        "week",
        "month",
        "quarter",
        "year",
    ];
    let truncated = |time: &str| {
        let cuts = units.map(|unit| format!("date_trunc('{unit}', x)"));
        let sql = format!("SELECT {} FROM (SELECT {time} AS x)", cuts.join(", "));
        answers(&engine(), &sql).unwrap().join(" ")
    };
    assert_eq!(
        truncated("TIMESTAMP '1500-08-09 05:06:07.123456'"),
        "1500-08-09T05:06:07.123456,1500-08-09T05:06:07.123,1500-08-09T05:06:07,1500-08-09T05:06:00,\
         1500-08-09T05:00:00,1500-08-09T00:00:00,1500-08-06T00:00:00,1500-08-01T00:00:00,\
         1500-07-01T00:00:00,1500-01-01T00:00:00"
    );
    assert_eq!(
        truncated("TIMESTAMP '9999-12-31 23:59:59.999999'"),
        "9999-12-31T23:59:59.999999,9999-12-31T23:59:59.999,9999-12-31T23:59:59,9999-12-31T23:59:00,\
         9999-12-31T23:00:00,9999-12-31T00:00:00,9999-12-27T00:00:00,9999-12-01T00:00:00,\
         9999-10-01T00:00:00,9999-01-01T00:00:00"
    );
    assert_eq!(
        truncated("TIMESTAMP '1969-12-31 23:59:59.9999995'"),
        "1969-12-31T23:59:59.999999,1969-12-31T23:59:59.999,1969-12-31T23:59:59,1969-12-31T23:59:00,\
         1969-12-31T23:00:00,1969-12-31T00:00:00,1969-12-29T00:00:00,1969-12-01T00:00:00,\
         1969-10-01T00:00:00,1969-01-01T00:00:00"
    );
    // Of a zone a day has its own beginning, and a second none.
    let columns: Vec<(&str, ArrayRef)> = vec![(
        "z",
        Arc::new(
            TimestampMillisecondArray::from(vec![Some(1_720_000_000_123), Some(-1), None])
                .with_timezone("Asia/Kathmandu"),
        ),
    )];
    let (_folder, engine) = engine_of_columns(columns);
    let sql = "SELECT date_trunc('day', z), date_trunc('second', z) FROM stars";
    assert_eq!(
        answers(&engine, sql).unwrap(),
        [
            "2024-07-03T00:00:00+05:45,2024-07-03T15:31:40+05:45",
            "1970-01-01T00:00:00+05:30,1970-01-01T05:29:59+05:30",
            "null,null",
        ]
    );
}

#[test]
fn bins_of_dates_and_of_old_origins_are_there_and_none_is_cut() {
    check(
        "SELECT date_trunc('month', DATE '1600-05-05'), date_bin(INTERVAL '1 day', DATE '2600-05-05'), \
         date_bin(INTERVAL '1 day', TIMESTAMP '1500-01-01 05:00:00', TIMESTAMP '1500-01-01 03:00:00'), \
         date_bin(INTERVAL '0.5 seconds', arrow_cast(1, 'Timestamp(Second, None)'))",
        &["1600-05-01T00:00:00,2600-05-05T00:00:00,1500-01-01T03:00:00,1970-01-01T00:00:01"],
    );
    let cut = "SELECT date_bin(INTERVAL '0.6 seconds', arrow_cast(1, 'Timestamp(Second, None)'))";
    let error = answers(&engine(), cut).unwrap_err();
    assert!(error.contains("more digits"), "{error}");
}

#[test]
fn times_of_a_query_may_be_of_any_year() {
    check(
        "SELECT TIMESTAMP '9999-12-31', CAST('0001-01-01 00:00:00.5' AS TIMESTAMP), '1500-02-03'::timestamp, \
         TIMESTAMP '2024-01-01 00:00:00.123456789', TIMESTAMP WITH TIME ZONE '9999-12-31 00:00:00Z'",
        &[
            "9999-12-31T00:00:00,0001-01-01T00:00:00.500,1500-02-03T00:00:00,\
           2024-01-01T00:00:00.123456789,9999-12-31T00:00:00Z",
        ],
    );
    let columns: Vec<(&str, ArrayRef)> = vec![(
        "until",
        Arc::new(TimestampMillisecondArray::from(vec![
            253_402_214_400_000,
            1_720_000_000_000,
        ])),
    )];
    let (_folder, engine) = engine_of_columns(columns);
    for condition in [
        "until < TIMESTAMP '9999-12-31'",
        "until > TIMESTAMP '1600-01-01' AND until <> TIMESTAMP '9999-12-31'",
    ] {
        let sql = format!("SELECT until FROM stars WHERE {condition}");
        assert_eq!(
            answers(&engine, &sql).unwrap(),
            ["2024-07-03T09:46:40"],
            "{sql}"
        );
    }
}

#[test]
fn intervals_are_ordered_by_their_lengths() {
    let values = "(VALUES (1, INTERVAL '35 days'), (2, INTERVAL '1 month'), \
                  (3, INTERVAL '1 month 1 hour'), (4, INTERVAL '25 hours'), (5, INTERVAL '1 day'), \
                  (6, INTERVAL '-1 month'), (7, INTERVAL '30 days'), (8, NULL)) t(k, x)";
    let keys = ["6", "5", "4", "2", "7", "3", "1", "8"];
    check(&format!("SELECT k FROM {values} ORDER BY x, k"), &keys);
    check(
        &format!("SELECT k FROM {values} ORDER BY x DESC NULLS LAST, k LIMIT 3"),
        &["1", "3", "2"],
    );
    check(
        &format!(
            "SELECT k, rank() OVER (ORDER BY x), count(*) OVER (PARTITION BY x) FROM {values} \
             WHERE k IN (2, 3, 7) ORDER BY k"
        ),
        &["2,1,2", "3,3,1", "7,1,2"],
    );
    check(
        "SELECT nullif(INTERVAL '1 month', INTERVAL '30 days') IS NULL, \
         CASE INTERVAL '24 hours' WHEN INTERVAL '1 day' THEN 1 ELSE 0 END",
        &["true,1"],
    );
    check(
        "SELECT count(*) FROM (SELECT INTERVAL '1 month' AS x) a JOIN (SELECT INTERVAL '30 days' AS x) b \
         ON a.x = b.x",
        &["1"],
    );
    check(
        "SELECT k FROM (VALUES (1, INTERVAL '30 days'), (2, INTERVAL '31 days')) t(k, x) \
         WHERE x IN (SELECT INTERVAL '1 month')",
        &["1"],
    );
    // Any of the equal ones would stand for all.
    for sql in [
        "SELECT x FROM (SELECT INTERVAL '1 month' AS x) GROUP BY x",
        "SELECT DISTINCT x FROM (SELECT INTERVAL '1 month' AS x)",
        "SELECT INTERVAL '1 month' AS x UNION SELECT INTERVAL '30 days'",
        "SELECT max(x) FROM (SELECT INTERVAL '1 month' AS x)",
        "SELECT greatest(INTERVAL '1 month', INTERVAL '31 days')",
    ] {
        let error = answers(&engine(), sql).unwrap_err();
        assert!(
            error.contains("of intervals is not supported"),
            "{sql}: {error}"
        );
    }
}
