//! IN and NOT IN of a subquery beside other conditions: each row has the truth of three-valued logic.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array};
use datastreamer_engine::Engine;
use tempfile::TempDir;

use crate::{
    support::{answers, engine_of_columns},
    truth::{Truth, Value, and, is_in, not, or},
};

const X: [Value; 6] = [None, Some(1), Some(2), Some(3), Some(4), None];
/// No null.
const G: [Value; 6] = [Some(1), Some(1), Some(2), Some(2), Some(3), Some(3)];

fn table() -> (TempDir, Engine) {
    let column = |values: [Value; 6]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let floats = Float64Array::from(vec![
        Some(f64::NAN),
        Some(-0.0),
        Some(1.0),
        None,
        Some(0.0),
        Some(-f64::NAN),
    ]);
    engine_of_columns(vec![
        (
            "id",
            column([Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)]),
        ),
        ("x", column(X)),
        ("g", column(G)),
        ("f", Arc::new(floats)),
    ])
}

/// A subquery, and the values that it has for a row of the outer query.
type Rows = (&'static str, fn(usize) -> Vec<Value>);

const SUBQUERIES: [Rows; 6] = [
    ("(SELECT x FROM stars)", |_| X.to_vec()),
    (
        "(SELECT x FROM stars WHERE x IS NOT NULL AND x < 4)",
        |_| vec![Some(1), Some(2), Some(3)],
    ),
    ("(SELECT x FROM stars WHERE id > 9)", |_| vec![]),
    ("(SELECT g FROM stars WHERE id < 2)", |_| {
        vec![Some(1), Some(1)]
    }),
    ("(SELECT t.x FROM stars AS t WHERE t.g = stars.g)", |row| {
        let same = (0..X.len()).filter(|other| G[*other] == G[row]);
        same.map(|other| X[other]).collect()
    }),
    (
        "(SELECT t.x FROM stars AS t WHERE t.id > stars.id AND t.x IS NOT NULL)",
        |row| {
            X[row + 1..]
                .iter()
                .copied()
                .filter(Option::is_some)
                .collect()
        },
    ),
];

/// Ways to write IN, and whether they are negated.
const SPELLINGS: [(&str, bool); 4] = [
    ("IN", false),
    ("NOT IN", true),
    ("= ANY", false),
    ("<> ALL", true),
];

/// Conditions around one on a subquery, here as `{}`.
type Around = (&'static str, fn(Truth, usize) -> Truth);

const AROUND: [Around; 12] = [
    ("{}", |found, _| found),
    ("NOT ({})", |found, _| not(found)),
    ("{} OR g = 2", |found, row| {
        or(found, is_in(G[row], &[Some(2)]))
    }),
    ("NOT ({} AND g = 2)", |found, row| {
        not(and(found, is_in(G[row], &[Some(2)])))
    }),
    ("NOT ({} OR x = 3)", |found, row| {
        not(or(found, is_in(X[row], &[Some(3)])))
    }),
    ("({}) AND g <> 2", |found, row| {
        and(found, not(is_in(G[row], &[Some(2)])))
    }),
    ("({}) IS NULL", |found, _| Some(found.is_none())),
    ("({}) IS NOT TRUE", |found, _| Some(found != Some(true))),
    ("({}) IS FALSE OR g = 1", |found, row| {
        Some(found == Some(false) || G[row] == Some(1))
    }),
    ("coalesce({}, g = 3)", |found, row| {
        found.or(is_in(G[row], &[Some(3)]))
    }),
    ("CASE WHEN {} THEN g = 1 ELSE g = 3 END", |found, row| {
        is_in(G[row], &[Some(if found == Some(true) { 1 } else { 3 })])
    }),
    ("({}) = (g < 3)", |found, row| {
        found.map(|found| found == (G[row] < Some(3)))
    }),
];

#[test]
fn each_row_has_the_truth_of_three_valued_logic() {
    let (_folder, engine) = table();
    let columns = [
        ("x", X),
        ("g", G),
        ("nullif(g, 2)", G.map(|g| g.filter(|g| *g != 2))),
    ];
    for (at, (subquery, values)) in SUBQUERIES.into_iter().enumerate() {
        for (looked_for, column) in columns {
            // A column without nulls is another case only where the subquery has none either.
            if looked_for == "g" && ![0, 3].contains(&at) {
                continue;
            }
            let spellings = if at == 0 && looked_for == "x" {
                &SPELLINGS[..]
            } else {
                &SPELLINGS[..2]
            };
            for ((spelling, is_negated), (around, truth)) in spellings
                .iter()
                .flat_map(|one| AROUND.map(|around| (*one, around)))
            {
                let condition = format!("{looked_for} {spelling} {subquery}");
                let condition = around.replace("{}", &condition);
                let sql = format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
                let is_true = |row: &usize| {
                    let found = is_in(column[*row], &values(*row));
                    let found = if is_negated { not(found) } else { found };
                    truth(found, *row) == Some(true)
                };
                let wanted = (0..X.len()).filter(is_true);
                let wanted: Vec<String> = wanted.map(|row| row.to_string()).collect();
                assert_eq!(answers(&engine, &sql), Ok(wanted), "{sql}");
            }
        }
    }
}

/// -0.0 and 0.0 are equal, and all NaNs.
#[test]
fn floats_are_found_by_their_values() {
    let (_folder, engine) = table();
    for (condition, wanted) in [
        (
            "f IN (SELECT f FROM stars WHERE id = 4) OR id > 9",
            vec!["1", "4"],
        ),
        (
            "f NOT IN (SELECT f FROM stars WHERE id = 4) OR id > 9",
            vec!["0", "2", "5"],
        ),
        (
            "f NOT IN (SELECT f FROM stars WHERE id = 5) OR id > 9",
            vec!["1", "2", "4"],
        ),
        (
            "f <> ALL (SELECT -f FROM stars WHERE id IN (0, 1)) OR id = 9",
            vec!["2"],
        ),
        (
            "x NOT IN (SELECT f FROM stars WHERE id = 2) OR id = 9",
            vec!["2", "3", "4"],
        ),
    ] {
        let sql = format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
        let wanted = wanted.into_iter().map(str::to_owned).collect();
        assert_eq!(answers(&engine, &sql), Ok(wanted), "{sql}");
    }
}
