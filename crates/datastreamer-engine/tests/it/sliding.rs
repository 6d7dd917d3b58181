//! Aggregates over window frames that slide: what leaves a frame is forgotten. The expected values are
//! written down, or computed of each frame alone, in two passes; DuckDB has the same.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array},
    compute::cast,
    datatypes::{DataType, Float64Type},
    record_batch::RecordBatch,
};
use datastreamer_engine::{Engine, Query};

use crate::support::{answers, block_on, collect, engine, engine_of, write_parquet};

fn check(sql: &str, wanted: &[&str]) {
    assert_eq!(answers(&engine(), sql).unwrap(), wanted, "{sql}");
}

#[test]
fn a_sum_forgets_what_has_left_its_frame() {
    check(
        "SELECT sum(CASE WHEN value = 0 THEN 1e20 ELSE value END) \
         OVER (ORDER BY value ROWS 1 PRECEDING) FROM range(4)",
        &["1e20", "1e20", "3.0", "5.0"],
    );
    check(
        "SELECT sum(CAST(x AS REAL)) OVER (ORDER BY k ROWS 1 PRECEDING) \
         FROM (VALUES (1, 16777216), (2, 1), (3, 2)) t(k, x)",
        &["16777216.0", "16777217.0", "3.0"],
    );
    // From its end, where DataFusion turns the frame around.
    check(
        "SELECT sum(x) OVER (ORDER BY k ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) \
         FROM (VALUES (1, 1e20), (2, 1), (3, 2)) t(k, x)",
        &["1e20", "3.0", "2.0"],
    );
    check(
        "SELECT sum(x) FILTER (WHERE k <> 2) OVER (ORDER BY k ROWS 1 PRECEDING) \
         FROM (VALUES (1, 1e20), (2, 1), (3, 2), (4, 3)) t(k, x)",
        &["1e20", "1e20", "2.0", "5.0"],
    );
    check(
        "SELECT sum(x) OVER (PARTITION BY p ORDER BY k ROWS 1 PRECEDING) \
         FROM (VALUES (1, 1, 1e20), (1, 2, 1), (2, 3, 2), (2, 4, 3)) t(p, k, x) ORDER BY k",
        &["1e20", "1e20", "2.0", "5.0"],
    );
}

#[test]
fn an_average_forgets_what_has_left_its_frame() {
    let sql = "SELECT avg(x) OVER w, mean(x) OVER w FROM (VALUES (1, 9007199254740993), (2, 1), (3, 2), \
         (4, 3)) t(k, x) WINDOW w AS (ORDER BY k ROWS 1 PRECEDING)";
    // 2^53 + 1 is no float, but half of the sum of it and 1 is.
    check(
        sql,
        &[
            "9007199254740992.0,9007199254740992.0",
            "4503599627370497.0,4503599627370497.0",
            "1.5,1.5",
            "2.5,2.5",
        ],
    );
}

#[test]
fn nan_and_infinity_leave_a_frame() {
    check(
        "SELECT sum(x) OVER w, avg(x) OVER w, var_pop(x) OVER w, stddev(x) OVER w, \
         covar_pop(x, k) OVER w, regr_avgy(x, k) OVER w \
         FROM (VALUES (1, 1.5), (2, CAST('NaN' AS DOUBLE)), (3, 2.5), (4, CAST('inf' AS DOUBLE)), \
         (5, 4.5), (6, null), (7, 5.5), (8, 6.5)) t(k, x) \
         WINDOW w AS (ORDER BY k ROWS 1 PRECEDING)",
        &[
            "1.5,1.5,0.0,null,0.0,1.5",
            "NaN,NaN,NaN,NaN,NaN,NaN",
            "NaN,NaN,NaN,NaN,NaN,NaN",
            "inf,inf,NaN,NaN,NaN,inf",
            "inf,inf,NaN,NaN,NaN,inf",
            "4.5,4.5,0.0,null,0.0,4.5",
            "5.5,5.5,0.0,null,0.0,5.5",
            "12.0,6.0,0.25,0.7071067811865476,0.25,6.0",
        ],
    );
}

/// Negative ones are those that x86 makes of 0 / 0.
#[test]
fn nan_is_the_greatest_of_a_frame() {
    for sign in ["", "-"] {
        let sql = format!(
            "SELECT min(x) OVER w, max(x) OVER w, min(x) OVER all, max(x) OVER all FROM \
             (SELECT value AS k, CASE WHEN value = 1 THEN {sign}(value - 1e0) / (value - 1e0) \
             WHEN value = 4 THEN null ELSE value + 0.5 END AS x FROM range(6)) \
             WINDOW w AS (ORDER BY k ROWS 1 PRECEDING), all AS (ORDER BY k)"
        );
        let sql = sql.replace(" all", " \"all\"");
        check(
            &sql,
            &[
                "0.5,0.5,0.5,0.5",
                "0.5,NaN,0.5,NaN",
                "2.5,NaN,0.5,NaN",
                "2.5,3.5,0.5,NaN",
                "3.5,3.5,0.5,NaN",
                "5.5,5.5,0.5,NaN",
            ],
        );
    }
}

#[test]
fn equal_values_have_no_spread() {
    check(
        "SELECT DISTINCT var(x) OVER w, regr_slope(k, x) OVER w, corr(x, k) OVER w, \
         regr_sxx(k, x) OVER w FROM (SELECT value AS k, 0.1 AS x FROM range(100)) \
         WINDOW w AS (ORDER BY k ROWS BETWEEN 6 PRECEDING AND 1 FOLLOWING)",
        &["0.0,null,null,0.0"],
    );
}

#[test]
fn frames_without_values_have_no_aggregates() {
    check(
        "SELECT sum(x) OVER w, avg(x) OVER w, var(x) OVER w, covar_pop(x, x) OVER w, \
         regr_count(x, x) OVER w, regr_sxx(x, x) OVER w \
         FROM (VALUES (1, 1.5), (2, null), (3, 2.5), (20, 4.5), (21, 5.5)) t(k, x) \
         WINDOW w AS (ORDER BY k RANGE BETWEEN 2 PRECEDING AND 1 PRECEDING)",
        &[
            "null,null,null,null,0,null",
            "1.5,1.5,null,0.0,1,0.0",
            "1.5,1.5,null,0.0,1,0.0",
            "null,null,null,null,0,null",
            "4.5,4.5,null,0.0,1,0.0",
        ],
    );
}

/// What is wanted of a frame's pairs (y, x); `None` is null.
type Wanted = fn(&[(f64, f64)]) -> Option<f64>;

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

/// The sum of products of differences from the means.
fn products(pairs: &[(f64, f64)]) -> f64 {
    let (y, x) = (
        mean(pairs.iter().map(|pair| pair.0)),
        mean(pairs.iter().map(|pair| pair.1)),
    );
    pairs.iter().map(|pair| (pair.0 - y) * (pair.1 - x)).sum()
}

fn of_y(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    pairs.iter().map(|pair| (pair.0, pair.0)).collect()
}

fn of_x(pairs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    pairs.iter().map(|pair| (pair.1, pair.1)).collect()
}

fn slope(pairs: &[(f64, f64)]) -> Option<f64> {
    (pairs.len() > 1).then(|| products(pairs) / products(&of_x(pairs)))
}

fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    let squares = products(&of_y(pairs)) * products(&of_x(pairs));
    (pairs.len() > 1).then(|| products(pairs) / squares.sqrt())
}

const STATISTICS: [(&str, Wanted); 17] = [
    ("sum(y)", |pairs| {
        (!pairs.is_empty()).then(|| pairs.iter().map(|pair| pair.0).sum())
    }),
    ("avg(y)", |pairs| {
        (!pairs.is_empty()).then(|| mean(pairs.iter().map(|pair| pair.0)))
    }),
    ("var(y)", |pairs| {
        (pairs.len() > 1).then(|| products(&of_y(pairs)) / (pairs.len() - 1) as f64)
    }),
    ("var_pop(y)", |pairs| {
        (!pairs.is_empty()).then(|| products(&of_y(pairs)) / pairs.len() as f64)
    }),
    ("stddev(y)", |pairs| {
        (pairs.len() > 1).then(|| (products(&of_y(pairs)) / (pairs.len() - 1) as f64).sqrt())
    }),
    ("stddev_pop(y)", |pairs| {
        (!pairs.is_empty()).then(|| (products(&of_y(pairs)) / pairs.len() as f64).sqrt())
    }),
    ("covar_samp(y, x)", |pairs| {
        (pairs.len() > 1).then(|| products(pairs) / (pairs.len() - 1) as f64)
    }),
    ("covar_pop(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| products(pairs) / pairs.len() as f64)
    }),
    ("corr(y, x)", correlation),
    ("regr_slope(y, x)", slope),
    ("regr_intercept(y, x)", |pairs| {
        let (y, x) = (
            pairs.iter().map(|pair| pair.0),
            pairs.iter().map(|pair| pair.1),
        );
        Some(mean(y) - slope(pairs)? * mean(x))
    }),
    ("regr_r2(y, x)", |pairs| {
        Some(correlation(pairs)? * correlation(pairs)?)
    }),
    ("regr_avgx(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| mean(pairs.iter().map(|pair| pair.1)))
    }),
    ("regr_avgy(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| mean(pairs.iter().map(|pair| pair.0)))
    }),
    ("regr_sxx(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| products(&of_x(pairs)))
    }),
    ("regr_syy(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| products(&of_y(pairs)))
    }),
    ("regr_sxy(y, x)", |pairs| {
        (!pairs.is_empty()).then(|| products(pairs))
    }),
];

/// More than a batch, and the key has gaps.
const ROWS: usize = 9000;

/// Of the rows some are checked, of all kinds: the direct way takes a pass over each frame.
const CHECKED_EACH: usize = 5;

/// Pairs of which some are null, and some larger than all others by 15 digits.
fn pair(row: usize) -> Option<(f64, f64)> {
    let mixed = (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let (y, x) = ((mixed % 1000) as f64 / 8.0, (mixed / 1000 % 1000) as f64);
    match row % 97 {
        5 | 6 => None,
        50 => Some((y + 1e15, x)),
        51 => Some((y, x - 1e15)),
        _ => Some((y, x)),
    }
}

fn key(row: usize) -> i64 {
    (row + row / 10 * 7) as i64
}

#[test]
fn each_aggregate_is_that_of_its_frame_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    let column = |of: fn((f64, f64)) -> f64| -> ArrayRef {
        let values = (0..ROWS).map(|row| pair(row).map(of));
        Arc::new(values.collect::<Float64Array>())
    };
    let keys = Int64Array::from_iter_values((0..ROWS).map(key));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("k", Arc::new(keys)),
        ("y", column(|pair| pair.0)),
        ("x", column(|pair| pair.1)),
    ];
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    let rows = |before: usize, after: usize| {
        move |row: usize| row.saturating_sub(before)..(row + after + 1).min(ROWS)
    };
    check_frames(&engine, "ROWS 2 PRECEDING", rows(2, 0));
    check_frames(
        &engine,
        "ROWS BETWEEN 40 PRECEDING AND 7 FOLLOWING",
        rows(40, 7),
    );
    check_frames(&engine, "ROWS BETWEEN 5 FOLLOWING AND 8 FOLLOWING", |row| {
        (row + 5).min(ROWS)..(row + 9).min(ROWS)
    });
    // Behind a gap there is nothing.
    check_frames(
        &engine,
        "RANGE BETWEEN 6 PRECEDING AND 4 PRECEDING",
        |row| {
            let (first, last) = (key(row) - 6, key(row) - 4);
            let near = row.saturating_sub(6)..row;
            let is_inside = |other: &usize| (first..=last).contains(&key(*other));
            let inside: Vec<_> = near.filter(is_inside).collect();
            inside
                .first()
                .map_or(0..0, |first| *first..*first + inside.len())
        },
    );
}

fn check_frames(engine: &Engine, frame: &str, rows_of: impl Fn(usize) -> Range<usize>) {
    let aggregates = STATISTICS.map(|(aggregate, _)| format!("{aggregate} OVER w"));
    let sql = format!(
        "SELECT {} FROM stars WINDOW w AS (ORDER BY k {frame}) ORDER BY k",
        aggregates.join(", ")
    );
    let found = collect(block_on(engine.query(&Query::new(sql), None)).unwrap());
    assert_eq!(found.num_rows(), ROWS);
    for ((aggregate, wanted), column) in STATISTICS.into_iter().zip(found.columns()) {
        let found = cast(column, &DataType::Float64).unwrap();
        let found = found.as_primitive::<Float64Type>();
        for row in (0..ROWS).step_by(CHECKED_EACH) {
            let pairs: Vec<_> = rows_of(row).filter_map(pair).collect();
            // The direct way loses as much where both are in the frame.
            let is_hard = pairs.iter().any(|pair| pair.0 > 1e9 || pair.1 < -1e9);
            let found = found.is_valid(row).then(|| found.value(row));
            match (found, wanted(&pairs)) {
                (Some(_), Some(_)) if is_hard => {}
                (Some(found), Some(wanted)) => {
                    let error = (found - wanted).abs() / wanted.abs().max(1.0);
                    assert!(error < 1e-9, "{aggregate} {frame} {row}: {found}, {wanted}");
                }
                (found, wanted) => {
                    assert_eq!(
                        found,
                        wanted.filter(|wanted| !wanted.is_nan()),
                        "{aggregate} {frame} {row}"
                    );
                }
            }
        }
    }
}

/// If each row cost a pass over its frame, these were 6 * 10^10 steps: many minutes.
#[test]
fn large_frames_take_seconds() {
    let begun = Instant::now();
    // 199,999 + ... + 299,999.
    check(
        "SELECT max(sum) FROM (SELECT sum(value * 1e0) OVER (ORDER BY value ROWS 100000 PRECEDING) \
         AS sum FROM range(300000))",
        &["25000149999.0"],
    );
    // Of n numbers in a row, n * (n + 1) / 12.
    check(
        "SELECT max(var) FROM (SELECT var(value) OVER (ORDER BY value ROWS 100000 PRECEDING) AS var \
         FROM range(300000))",
        &["833358333.5"],
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_correlation_of_groups_keeps_its_digits() {
    check(
        "SELECT g, round(corr(x, y), 9) FROM (SELECT 1e9 + value AS x, 1e9 + value * value AS y, \
         1 AS g FROM range(10)) GROUP BY g",
        // 0.9626907371412557 of the numbers without the 1e9.
        &["1,0.962690737"],
    );
}

#[test]
fn aggregates_of_distinct_pairs_are_refused() {
    for function in ["covar_pop", "covar_samp", "corr", "regr_sxx"] {
        let sql = format!("SELECT {function}(DISTINCT value, value) FROM range(3)");
        let wanted = format!("{function} of DISTINCT pairs is not supported");
        assert_eq!(answers(&engine(), &sql), Err(wanted));
    }
}
