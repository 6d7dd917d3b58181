//! Joins with conditions beside their keys, whose columns are selected or not: the rows of a nested loop.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datastreamer_engine::Engine;
use tempfile::TempDir;

use crate::{
    support::{answers, engine_of_columns},
    truth::{Truth, Value, and, not},
};

/// id, a key, two values.
type Row = [Value; 4];
type Condition = (&'static str, fn(Row, Row) -> Truth);

/// Several batches of rows in a file; nulls, and keys that many rows share.
const ROWS: i64 = 400;
const MANY_ROWS: i64 = 20_000;

fn rows(count: i64, keys: i64) -> Vec<Row> {
    let value = |id: i64, of: i64, step: i64| (id % 11 != 3).then_some((id * step) % of);
    let row = |id| {
        [
            Some(id),
            value(id, keys, 7),
            value(id + 1, 5, 3),
            value(id + 5, 7, 5),
        ]
    };
    (0..count).map(row).collect()
}

fn table(rows: &[Row]) -> (TempDir, Engine) {
    let column =
        |at: usize| Arc::new(rows.iter().map(|row| row[at]).collect::<Int64Array>()) as ArrayRef;
    let names = ["id", "k", "v", "w"];
    engine_of_columns(names.into_iter().zip((0..4).map(column)).collect())
}

fn equal(left: Value, right: Value) -> Truth {
    left.zip(right).map(|(left, right)| left == right)
}

fn less(left: Value, right: Value) -> Truth {
    left.zip(right).map(|(left, right)| left < right)
}

const CONDITIONS: [Condition; 9] = [
    ("a.v < 3", |a, _| less(a[2], Some(3))),
    ("b.v < 3", |_, b| less(b[2], Some(3))),
    ("a.v < b.w", |a, b| less(a[2], b[3])),
    ("b.w < a.v", |a, b| less(b[3], a[2])),
    ("(a.w > 2 OR b.v = 1)", |a, b| {
        not(and(not(less(Some(2), a[3])), not(equal(b[2], Some(1)))))
    }),
    ("a.v IS NOT DISTINCT FROM b.w", |a, b| Some(a[2] == b[3])),
    ("b.v IN (1, 2, 3)", |_, b| {
        b[2].map(|v| [1, 2, 3].contains(&v))
    }),
    ("a.id + b.id > 100", |a, b| {
        less(Some(100), a[0].zip(b[0]).map(|(a, b)| a + b))
    }),
    ("a.w = b.v", |a, b| equal(a[3], b[2])),
];

/// Returns the ids of a join's rows, in order, and a null where one side has none.
fn joined(
    left: &[Row],
    right: &[Row],
    kind: &str,
    is_pair: impl Fn(Row, Row) -> Truth,
) -> Vec<String> {
    let mut pairs: Vec<(Value, Value)> = Vec::new();
    let mut is_found = vec![false; right.len()];
    for a in left {
        let before = pairs.len();
        for (b, is_found) in right.iter().zip(&mut is_found) {
            if is_pair(*a, *b) == Some(true) {
                *is_found = true;
                pairs.push((a[0], b[0]));
            }
        }
        if pairs.len() == before && ["LEFT", "FULL"].contains(&kind) {
            pairs.push((a[0], None));
        }
    }
    if ["RIGHT", "FULL"].contains(&kind) {
        let alone = right.iter().zip(is_found).filter(|(_, is_found)| !is_found);
        pairs.extend(alone.map(|(b, _)| (None, b[0])));
    }
    pairs.sort_by_key(|(a, b)| (a.is_none(), *a, b.is_none(), *b));
    let text = |id: Value| id.map_or("null".to_owned(), |id| id.to_string());
    pairs
        .into_iter()
        .map(|(a, b)| format!("{},{}", text(a), text(b)))
        .collect()
}

#[test]
fn conditions_read_their_columns_whatever_is_selected() {
    let rows = rows(ROWS, 60);
    let (_folder, engine) = table(&rows);
    for kind in ["INNER", "LEFT", "RIGHT", "FULL"] {
        for (condition, truth) in CONDITIONS {
            let sql = format!(
                "SELECT a.id, b.id AS other FROM stars AS a {kind} JOIN stars AS b \
                 ON a.k = b.k AND {condition} ORDER BY a.id, other"
            );
            let wanted = joined(&rows, &rows, kind, |a, b| {
                and(equal(a[1], b[1]), truth(a, b))
            });
            let found = answers(&engine, &sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(found == wanted, "{sql}");
            // The same with a filter behind the join, which DataFusion moves.
            let sql = sql.replace("ORDER", "WHERE b.id > 50 ORDER");
            let behind = wanted.into_iter().filter(|pair| {
                let other = pair
                    .rsplit(',')
                    .next()
                    .and_then(|id| id.parse::<i64>().ok());
                other.is_some_and(|id| id > 50)
            });
            let found = answers(&engine, &sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert!(found == behind.collect::<Vec<_>>(), "{sql}");
        }
    }
}

#[test]
fn semi_and_anti_joins_read_their_columns() {
    let rows = rows(ROWS, 60);
    let (_folder, engine) = table(&rows);
    for (condition, truth) in CONDITIONS {
        for (exists, is_wanted) in [("EXISTS", true), ("NOT EXISTS", false)] {
            let sql = format!(
                "SELECT a.id FROM stars AS a WHERE {exists} \
                 (SELECT 1 FROM stars AS b WHERE a.k = b.k AND {condition}) ORDER BY a.id"
            );
            let is_pair = |a: Row, b: &Row| and(equal(a[1], b[1]), truth(a, *b)) == Some(true);
            let wanted = rows
                .iter()
                .filter(|a| rows.iter().any(|b| is_pair(**a, b)) == is_wanted);
            let wanted: Vec<String> = wanted.map(|a| a[0].unwrap().to_string()).collect();
            assert_eq!(answers(&engine, &sql), Ok(wanted), "{sql}");
        }
    }
}

#[test]
fn outer_joins_of_many_batches_have_all_rows() {
    let rows = rows(MANY_ROWS, MANY_ROWS / 4);
    let (_folder, engine) = table(&rows);
    for (kind, condition) in [
        ("LEFT", "a.v < b.w"),
        ("RIGHT", "a.v < 3"),
        ("FULL", "b.v IN (1, 2)"),
    ] {
        let sql = format!(
            "SELECT count(*), count(a.id), count(b.id), sum(a.id), sum(b.id) FROM stars AS a \
             {kind} JOIN stars AS b ON a.k = b.k AND {condition}"
        );
        // Rows of one key: a nested loop of all would take minutes.
        let mut of_key = std::collections::HashMap::<Value, Vec<Row>>::new();
        for row in &rows {
            of_key.entry(row[1]).or_default().push(*row);
        }
        let truth = |a: Row, b: Row| {
            let beside = match kind {
                "LEFT" => less(a[2], b[3]),
                "RIGHT" => less(a[2], Some(3)),
                _ => b[2].map(|v| v == 1 || v == 2),
            };
            and(equal(a[1], b[1]), beside)
        };
        let mut sums = [0, 0, 0, 0, 0];
        for rows in of_key.values() {
            for pair in joined(rows, rows, kind, truth) {
                let (a, b) = pair.split_once(',').unwrap();
                let [a, b] = [a, b].map(|id| id.parse::<i64>().ok());
                sums[0] += 1;
                sums[1] += i64::from(a.is_some());
                sums[2] += i64::from(b.is_some());
                sums[3] += a.unwrap_or_default();
                sums[4] += b.unwrap_or_default();
            }
        }
        let wanted = sums.map(|sum| sum.to_string()).join(",");
        assert_eq!(answers(&engine, &sql), Ok(vec![wanted]), "{sql}");
    }
}
