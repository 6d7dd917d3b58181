//! Subqueries that refer to the outer query, with what must see the rows of one outer row alone: an
//! aggregate, a window function, a limit. Each has the right rows, or is refused.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use datastreamer_engine::Engine;
use tempfile::TempDir;

use crate::{
    support::{answers, engine_of_columns},
    truth::{Truth, Value, and, is_in, not, or},
};

const X: [Value; 7] = [None, Some(1), Some(2), Some(0), Some(4), Some(2), Some(0)];
/// The rows of one g belong together. The g of the next row is that of nobody.
const G: [Value; 7] = [Some(1), Some(1), Some(2), Some(3), Some(3), Some(3), None];

fn table() -> (TempDir, Engine) {
    let column = |values: [Value; 7]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
    let ids = [0, 1, 2, 3, 4, 5, 6].map(Some);
    engine_of_columns(vec![
        ("id", column(ids)),
        ("x", column(X)),
        ("g", column(G)),
    ])
}

/// Returns the x of the rows whose g is that of the outer row.
fn group(row: usize) -> Vec<i64> {
    let same = (0..X.len()).filter(|other| G[row].is_some() && G[*other] == G[row]);
    same.filter_map(|other| X[other]).collect()
}

fn count(row: usize) -> Value {
    let same = (0..X.len()).filter(|other| G[row].is_some() && G[*other] == G[row]);
    Some(same.count() as i64)
}

fn max(row: usize) -> Value {
    group(row).into_iter().max()
}

const COUNT: &str = "(SELECT count(*) FROM stars AS t WHERE t.g = stars.g)";
const MAX: &str = "(SELECT max(t.x) FROM stars AS t WHERE t.g = stars.g)";

type Case = (String, fn(usize) -> Truth);

#[test]
fn an_aggregate_of_no_rows_is_a_row() {
    let (_folder, engine) = table();
    let cases: [Case; 12] = [
        (format!("x IN {COUNT}"), |row| is_in(X[row], &[count(row)])),
        (format!("x NOT IN {COUNT}"), |row| {
            not(is_in(X[row], &[count(row)]))
        }),
        (format!("x IN {COUNT} OR g = 1"), |row| {
            or(is_in(X[row], &[count(row)]), is_in(G[row], &[Some(1)]))
        }),
        (format!("x = ANY {COUNT}"), |row| {
            is_in(X[row], &[count(row)])
        }),
        (format!("x <> ALL {MAX}"), |row| {
            not(is_in(X[row], &[max(row)]))
        }),
        (format!("x NOT IN {MAX} OR x IN {COUNT}"), |row| {
            or(
                not(is_in(X[row], &[max(row)])),
                is_in(X[row], &[count(row)]),
            )
        }),
        (format!("NOT (x IN {MAX} AND g > 1)"), |row| {
            let is_above = G[row].map(|g| g > 1);
            not(and(is_in(X[row], &[max(row)]), is_above))
        }),
        (format!("x < ALL {COUNT}"), |row| {
            X[row].zip(count(row)).map(|(x, n)| x < n)
        }),
        (format!("x >= ANY {MAX}"), |row| {
            X[row].zip(max(row)).map(|(x, most)| x >= most)
        }),
        (format!("EXISTS {COUNT}"), |_| Some(true)),
        (format!("NOT EXISTS {MAX}"), |_| Some(false)),
        (format!("{COUNT} = 0 OR {MAX} IS NULL"), |row| {
            Some(count(row) == Some(0) || max(row).is_none())
        }),
    ];
    for (condition, truth) in cases {
        let sql = format!("SELECT id FROM stars WHERE {condition} ORDER BY id");
        let wanted = (0..X.len()).filter(|row| truth(*row) == Some(true));
        let wanted: Vec<String> = wanted.map(|row| row.to_string()).collect();
        assert_eq!(answers(&engine, &sql), Ok(wanted), "{sql}");
    }
}

/// DataFusion answered each of these otherwise: it takes the condition out of the subquery.
#[test]
fn what_would_see_the_rows_of_others_is_refused() {
    let (_folder, engine) = table();
    let of = "FROM stars AS t WHERE t.g = stars.g";
    for (query, what) in [
        (format!("SELECT id FROM stars WHERE 2 IN (SELECT row_number() OVER (ORDER BY t.id) {of})"), "a window function"),
        (format!("SELECT id FROM stars WHERE x IN (SELECT sum(t.x) OVER () {of})"), "a window function"),
        (
            format!("SELECT id, l.n FROM stars CROSS JOIN LATERAL (SELECT row_number() OVER () AS n {of}) AS l"),
            "a window function",
        ),
        (format!("SELECT id FROM stars WHERE EXISTS (SELECT 1 {of} OFFSET 1)"), "LIMIT or OFFSET"),
        (format!("SELECT id FROM stars WHERE EXISTS (SELECT 1 {of} LIMIT 0)"), "LIMIT or OFFSET"),
        (format!("SELECT id FROM stars WHERE x IN (SELECT t.x {of} ORDER BY t.x LIMIT 1)"), "LIMIT or OFFSET"),
        (
            format!("SELECT id FROM stars WHERE EXISTS (SELECT count(*) {of} HAVING count(*) < 2)"),
            "a condition on an aggregate without GROUP BY",
        ),
        (
            format!("SELECT id, (SELECT sum(t.x) {of} HAVING count(*) = 0) AS s FROM stars"),
            "a condition on an aggregate without GROUP BY",
        ),
        (
            format!("SELECT id, n FROM stars CROSS JOIN LATERAL (SELECT count(*) AS n {of} HAVING count(*) > 2) AS l"),
            "a condition on an aggregate without GROUP BY",
        ),
        (
            "SELECT id, l.x FROM stars CROSS JOIN LATERAL (SELECT DISTINCT t.x FROM stars AS t WHERE t.g > stars.g) AS l"
                .to_owned(),
            "DISTINCT, and not by `=` of columns,",
        ),
    ] {
        let text = format!("not supported: {what} in a subquery that refers to the outer query");
        assert_eq!(answers(&engine, &query), Err(text), "{query}");
    }
}

#[test]
fn what_sees_its_rows_alone_is_answered() {
    let (_folder, engine) = table();
    for (sql, wanted) in [
        (
            "SELECT id FROM stars WHERE EXISTS (SELECT 1 FROM stars AS t WHERE t.g = stars.g AND t.x = 2 LIMIT 1) ORDER BY id",
            vec!["2", "3", "4", "5"],
        ),
        (
            "SELECT id FROM stars WHERE x IN (SELECT count(*) FROM stars AS t WHERE t.g = stars.g GROUP BY t.x) ORDER BY id",
            vec!["1"],
        ),
        // What is not null on either side, and an outer column that is.
        (
            "SELECT id FROM stars WHERE 2 NOT IN (SELECT count(*) FROM stars AS t WHERE t.g = stars.g AND t.x > 0 GROUP BY t.x > 9) ORDER BY id",
            vec!["0", "1", "2", "6"],
        ),
        (
            "SELECT id FROM stars WHERE NOT (2 IN (SELECT count(*) FROM stars AS t WHERE t.g = stars.g AND t.x > 0 GROUP BY t.x > 9) OR x IN (1, g)) ORDER BY id",
            vec![],
        ),
        (
            "SELECT id FROM stars WHERE NOT (2 IN (SELECT count(*) FROM stars AS t WHERE t.g = stars.g AND t.x > 0 GROUP BY t.x > 9) OR id IN (1, g)) ORDER BY id",
            vec!["0"],
        ),
        (
            "SELECT id, l.n FROM stars CROSS JOIN LATERAL \
             (SELECT count(*) AS n FROM stars AS t WHERE t.g = stars.g) AS l ORDER BY id",
            vec!["0,2", "1,2", "2,1", "3,3", "4,3", "5,3", "6,0"],
        ),
        (
            "SELECT id, l.x FROM stars CROSS JOIN LATERAL \
             (SELECT DISTINCT t.x FROM stars AS t WHERE t.g = stars.g AND t.x > 0) AS l ORDER BY id, l.x",
            vec![
                "0,1", "1,1", "2,2", "3,2", "3,4", "4,2", "4,4", "5,2", "5,4",
            ],
        ),
    ] {
        let wanted = wanted.into_iter().map(str::to_owned).collect();
        assert_eq!(answers(&engine, sql), Ok(wanted), "{sql}");
    }
}
