//! Several lists of IN over one column, some of whose values are columns or null: each row has the value
//! that three-valued logic gives it (ISO 9075-2, 6.39 and 8.4).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datastreamer_engine::Engine;
use tempfile::TempDir;

use crate::{
    support::{answers, engine_of_columns},
    truth::{Truth, Value, and, is_in, not, or, text},
};

type Condition = (&'static str, fn(Value, Value) -> Truth);

/// All pairs of x and y.
const VALUES: [Value; 5] = [None, Some(1), Some(2), Some(3), Some(5)];

const CONDITIONS: [Condition; 14] = [
    ("y IN (1, 2) AND y IN (1, x)", |x, y| {
        and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(1), x]))
    }),
    ("y IN (1, 2) AND y IN (3, 5)", |_, y| {
        and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(3), Some(5)]))
    }),
    ("(y = 1 OR y = 2) AND (y = 3 OR y = 5)", |_, y| {
        and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(3), Some(5)]))
    }),
    ("(y = 1 OR y = 2) AND y IN (3, 5)", |_, y| {
        and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(3), Some(5)]))
    }),
    ("y NOT IN (1, 2, 6, 7) OR y NOT IN (3, 5, 8, 9)", |_, y| {
        or(
            not(is_in(y, &[Some(1), Some(2)])),
            not(is_in(y, &[Some(3), Some(5)])),
        )
    }),
    ("y IN (1, 2) AND y NOT IN (1, NULL)", |_, y| {
        and(
            is_in(y, &[Some(1), Some(2)]),
            not(is_in(y, &[Some(1), None])),
        )
    }),
    ("y IN (1, 2, 3, 5) AND y NOT IN (1, 2, 3, 5, 6)", |_, y| {
        let list = [Some(1), Some(2), Some(3), Some(5)];
        and(is_in(y, &list), not(is_in(y, &list)))
    }),
    ("y IN (1, NULL) AND y NOT IN (1, 2)", |_, y| {
        and(
            is_in(y, &[Some(1), None]),
            not(is_in(y, &[Some(1), Some(2)])),
        )
    }),
    ("y NOT IN (1, x) AND y NOT IN (2, x)", |x, y| {
        and(not(is_in(y, &[Some(1), x])), not(is_in(y, &[Some(2), x])))
    }),
    ("y NOT IN (1, x) OR y NOT IN (1, NULL)", |x, y| {
        or(
            not(is_in(y, &[Some(1), x])),
            not(is_in(y, &[Some(1), None])),
        )
    }),
    ("y IN (x) AND y IN (1, 2)", |x, y| {
        and(is_in(y, &[x]), is_in(y, &[Some(1), Some(2)]))
    }),
    ("y IN (x + 0) OR NOT y IN (1, 2, x)", |x, y| {
        or(is_in(y, &[x]), not(is_in(y, &[Some(1), Some(2), x])))
    }),
    ("y + 1 IN (2, 3) AND y + 1 IN (4, 6)", |_, y| {
        and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(3), Some(5)]))
    }),
    (
        "NOT (NOT (y IN (1, 2) AND y IN (2, 3)) OR y IN (x, x))",
        |x, y| {
            let both = and(is_in(y, &[Some(1), Some(2)]), is_in(y, &[Some(2), Some(3)]));
            not(or(not(both), is_in(y, &[x, x])))
        },
    ),
];

fn pairs() -> impl Iterator<Item = (Value, Value)> {
    VALUES
        .into_iter()
        .flat_map(|x| VALUES.into_iter().map(move |y| (x, y)))
}

fn table() -> (TempDir, Engine) {
    let column = |values: Vec<Value>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let ids = (0..).take(pairs().count()).map(Some).collect();
    engine_of_columns(vec![
        ("id", column(ids)),
        ("x", column(pairs().map(|(x, _)| x).collect())),
        ("y", column(pairs().map(|(_, y)| y).collect())),
    ])
}

/// Returns the rows whose truth is the wanted one.
fn rows(condition: fn(Value, Value) -> Truth, wanted: Truth) -> Vec<String> {
    let found = pairs().enumerate();
    let found = found.filter(|(_, (x, y))| condition(*x, *y) == wanted);
    found.map(|(id, _)| id.to_string()).collect()
}

#[test]
fn each_row_has_the_truth_of_three_valued_logic() {
    let (_folder, engine) = table();
    for (condition, truth) in CONDITIONS {
        let all: Vec<String> = pairs().map(|(x, y)| text(truth(x, y))).collect();
        for sql in [
            format!("SELECT {condition} AS v FROM stars ORDER BY id"),
            format!("SELECT NOT NOT ({condition}) AS v FROM stars ORDER BY id"),
            format!("SELECT v FROM (SELECT id, {condition} AS v FROM stars) ORDER BY id"),
            format!(
                "SELECT CASE WHEN v IS NULL THEN NULL ELSE v END FROM (SELECT id, {condition} AS v FROM stars) ORDER BY id"
            ),
        ] {
            assert_eq!(answers(&engine, &sql).as_ref(), Ok(&all), "{sql}");
        }
        for (filter, wanted) in [
            (condition.to_owned(), Some(true)),
            (format!("NOT ({condition})"), Some(false)),
            (format!("({condition}) IS NULL"), None),
            (
                format!("({condition}) IS NOT TRUE AND ({condition}) IS NOT FALSE"),
                None,
            ),
        ] {
            let wanted = rows(truth, wanted);
            let sql = format!("SELECT id FROM stars WHERE {filter} ORDER BY id");
            assert_eq!(answers(&engine, &sql).as_ref(), Ok(&wanted), "{sql}");
        }
    }
}

/// Optimizers put the conditions of several places into one.
#[test]
fn lists_of_several_queries_are_kept_apart() {
    let (_folder, engine) = table();
    for (sql, truth, wanted) in [
        (
            "SELECT id FROM (SELECT * FROM stars WHERE y IN (1, x)) WHERE y IN (1, 2) ORDER BY id",
            CONDITIONS[0].1,
            Some(true),
        ),
        (
            "SELECT id FROM (SELECT id, y IN (1, 2) AS a, y IN (3, 5) AS b FROM stars) \
             WHERE NOT (a AND b) ORDER BY id",
            CONDITIONS[1].1,
            Some(false),
        ),
        (
            "WITH s AS (SELECT id, y AS z, y IN (1, 2) AS a FROM stars) \
             SELECT id FROM (SELECT id, a AND z IN (3, 5) AS v FROM s) WHERE v IS NULL ORDER BY id",
            CONDITIONS[1].1,
            None,
        ),
        (
            "SELECT id FROM (SELECT id, y, y NOT IN (1, 2, 6, 7) AS a FROM stars) \
             WHERE a OR y NOT IN (3, 5, 8, 9) ORDER BY id",
            CONDITIONS[4].1,
            Some(true),
        ),
    ] {
        let wanted = rows(truth, wanted);
        assert_eq!(answers(&engine, sql).as_ref(), Ok(&wanted), "{sql}");
    }
}
