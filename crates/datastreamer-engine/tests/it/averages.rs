//! Averages, correlations and frames that need more digits than a float, or more bits than an integer.
//! The expected values are those of PostgreSQL 15, as floats.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray, UInt64Array};

use crate::support::{answers, engine, engine_of_columns};

#[track_caller]
fn check(sql: &str, wanted: &[&str]) {
    assert_eq!(answers(&engine(), sql).unwrap(), wanted, "{sql}");
}

#[test]
fn averages_of_integers_are_those_of_their_exact_sums() {
    let exact = 1_i64 << 53;
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "g",
            Arc::new(StringArray::from(vec!["a", "a", "a", "b", "b", "c"])),
        ),
        (
            "i",
            Arc::new(Int64Array::from(vec![
                Some(exact + 1),
                Some(exact + 1),
                Some(exact + 3),
                Some(i64::MAX),
                Some(-i64::MAX),
                None,
            ])),
        ),
        (
            "u",
            Arc::new(UInt64Array::from(vec![
                u64::MAX,
                u64::MAX,
                u64::MAX,
                1,
                2,
                3,
            ])),
        ),
        ("b", Arc::new(Int8Array::from(vec![1, 2, 4, -128, 127, 0]))),
    ];
    let (_folder, engine) = engine_of_columns(columns);
    let check = |sql: &str, wanted: &[&str]| {
        assert_eq!(answers(&engine, sql).unwrap(), wanted, "{sql}");
    };
    check(
        "SELECT g, avg(i), avg(u), avg(b) FROM stars GROUP BY g ORDER BY g",
        &[
            "a,9007199254740994.0,1.8446744073709552e19,2.3333333333333335",
            "b,0.0,1.5,-0.5",
            "c,null,3.0,0.0",
        ],
    );
    check(
        "SELECT g, avg(DISTINCT i), avg(DISTINCT u), avg(i) FILTER (WHERE b < 4) FROM stars GROUP BY g \
         ORDER BY g",
        &[
            "a,9007199254740994.0,1.8446744073709552e19,9007199254740992.0",
            "b,0.0,1.5,9.223372036854776e18",
            "c,null,3.0,null",
        ],
    );
    check(
        "SELECT avg(i), avg(DISTINCT i), mean(b) FROM stars",
        &["5404319552844596.0,4503599627370497.0,1.0"],
    );
    check("SELECT avg(i) FROM stars WHERE g = 'z'", &["null"]);
    check(
        "SELECT avg(i) OVER (ORDER BY b ROWS 1 PRECEDING) FROM stars WHERE g <> 'c' ORDER BY b",
        &[
            "9.223372036854776e18",
            "4.616189618054758e18",
            "9007199254740992.0",
            "9007199254740994.0",
            "-4.6071824188000174e18",
        ],
    );
    check(
        "SELECT avg(x) FROM (VALUES (9223372036854775807), (9223372036854775807), (-9223372036854775808)) \
         t(x)",
        &["3.0744573456182584e18"],
    );
}

#[test]
fn many_partitions_have_the_average_of_all() {
    // More rows than a batch, in several partitions and groups.
    check(
        "SELECT avg(9007199254740993 + 0 * value), avg(value), avg(DISTINCT value % 10) FROM range(100000)",
        &["9007199254740992.0,49999.5,4.5"],
    );
    check(
        "SELECT count(*), min(a), max(a) FROM (SELECT value % 30000 AS g, avg(value) AS a FROM range(90000) \
         GROUP BY value % 30000)",
        &["30000,30000.0,59999.0"],
    );
}

#[test]
fn correlations_of_what_is_no_number_are_none() {
    let rows = |values: &str| format!("(VALUES {values}) t(x, y)");
    let nan = "CAST('NaN' AS DOUBLE)";
    for (function, values, wanted) in [
        (
            "corr(x, y), regr_r2(y, x), regr_r2(x, y)",
            "(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)".to_owned(),
            "null,1.0,null",
        ),
        (
            "corr(x, y), corr(y, x), regr_r2(y, x)",
            format!("(1.0, 2.0), ({nan}, 3.0), (3.0, 7.0)"),
            "NaN,NaN,NaN",
        ),
        (
            "corr(x, y), regr_r2(y, x)",
            "(1.0, 2.0)".to_owned(),
            "null,null",
        ),
        (
            "regr_slope(y, x), regr_intercept(y, x), regr_r2(y, x)",
            format!("({nan}, 1.0)"),
            "NaN,NaN,1.0",
        ),
        (
            "regr_avgx(y, x), regr_avgy(x, y)",
            "(CAST('inf' AS DOUBLE), 1.0), (3.0, 2.0), (5.0, 4.0)".to_owned(),
            "inf,inf",
        ),
        ("corr(x, y)", format!("({nan}, 2.0)"), "null"),
        (
            "corr(x, y)",
            "(CAST('inf' AS DOUBLE), 2.0), (3.0, 4.0), (7.0, 9.0)".to_owned(),
            "NaN",
        ),
        (
            "round(corr(x, y), 12)",
            "(1.0, 2.0), (2.0, 4.0), (3.0, 6.5), (NULL, 7.0)".to_owned(),
            "0.997948715789",
        ),
    ] {
        let rows = rows(&values);
        check(&format!("SELECT {function} FROM {rows}"), &[wanted]);
        let groups = format!("SELECT {function} FROM {rows} GROUP BY x IS NOT NULL OR y > 0");
        check(&groups, &[wanted]);
        let windows = with_window(function);
        let sql = format!(
            "SELECT DISTINCT {windows} FROM {rows} WINDOW w AS (ROWS BETWEEN 9 PRECEDING AND 9 FOLLOWING)"
        );
        check(&sql, &[wanted]);
    }
}

#[test]
fn frames_end_beyond_the_integers_of_64_bits() {
    check(
        "SELECT count(*) OVER (ORDER BY x RANGE BETWEEN 10 PRECEDING AND 10 FOLLOWING), x \
         FROM (VALUES (9223372036854775807), (9223372036854775800), (NULL), (-9223372036854775808), (0)) \
         t(x) ORDER BY x",
        &[
            "1,-9223372036854775808",
            "1,0",
            "2,9223372036854775800",
            "2,9223372036854775807",
            "1,null",
        ],
    );
    let columns: Vec<(&str, ArrayRef)> = vec![(
        "u",
        Arc::new(UInt64Array::from(vec![
            Some(0),
            Some(1),
            Some(u64::MAX),
            None,
        ])),
    )];
    let (_folder, engine) = engine_of_columns(columns);
    let sql = "SELECT count(*) OVER (ORDER BY u RANGE BETWEEN 2 PRECEDING AND 2 FOLLOWING) FROM stars ORDER BY u";
    assert_eq!(answers(&engine, sql).unwrap(), ["2", "2", "1", "1"]);
}

#[test]
fn times_of_texts_before_1970_go_back() {
    check(
        "SELECT to_unixtime('1969-12-31T23:59:58.5'), to_timestamp_seconds('1969-12-31T23:59:58.5'), \
         to_timestamp_millis('1969-12-31T23:59:59.9995'), to_timestamp_seconds('9999-12-31T00:00:00.5'), \
         to_unixtime('2024-01-01')",
        &["-2,1969-12-31T23:59:58,1969-12-31T23:59:59.999,9999-12-31T00:00:00,1704067200"],
    );
}

/// Makes functions of a window of those of two columns.
fn with_window(functions: &str) -> String {
    let functions = functions.replace("(x, y)", "(x, y) OVER w");
    functions.replace("(y, x)", "(y, x) OVER w")
}
