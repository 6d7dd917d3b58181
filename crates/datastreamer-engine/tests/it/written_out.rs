//! Windows that are built on named ones, and conditions behind `IS DISTINCT FROM`. The expected values
//! are those of PostgreSQL 15.

use crate::support::{answers, engine};

#[track_caller]
fn check(sql: &str, wanted: &[&str]) {
    assert_eq!(answers(&engine(), sql).unwrap(), wanted, "{sql}");
}

const ROWS: &str = "(VALUES (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)) t(p, x)";

#[test]
fn a_window_that_is_built_on_a_named_one_has_its_parts() {
    check(
        &format!(
            "SELECT x, sum(x) OVER v, rank() OVER u, \
             count(*) OVER (w), sum(x) OVER (v ROWS 1 PRECEDING) FROM {ROWS} \
             WINDOW w AS (PARTITION BY p), v AS (w ORDER BY x), u AS (w ORDER BY x DESC) ORDER BY x"
        ),
        &[
            "1,1,2,2,1",
            "2,3,1,2,3",
            "3,3,3,3,3",
            "4,7,2,3,7",
            "5,12,1,3,9",
        ],
    );
    // Another name, the order of the query, and a subquery with a window of the same name.
    check(
        &format!(
            "SELECT x, (SELECT max(s) FROM (SELECT sum(x) OVER (w ORDER BY x) AS s FROM {ROWS} \
             WINDOW w AS (ORDER BY p))) FROM {ROWS} WINDOW w AS (PARTITION BY p), v AS w \
             ORDER BY sum(x) OVER (v ORDER BY x DESC), x LIMIT 2"
        )
        .replace("(w ORDER BY x)", "(w)"),
        &["2,15", "1,15"],
    );
}

#[test]
fn the_expressions_of_a_named_window_are_read_as_others_are() {
    let rows = "(VALUES (1, true, true, true), (2, true, true, false), (4, true, false, true)) v(i, r, p, q)";
    for window in ["(w ORDER BY i)", "v"] {
        let sql = format!(
            "SELECT i, sum(i) OVER {window} AS s FROM {rows} \
             WINDOW w AS (PARTITION BY r IS DISTINCT FROM p OR q), v AS (w ORDER BY i) ORDER BY i"
        );
        check(&sql, &["1,1", "2,2", "4,5"]);
    }
    check(
        "SELECT sum(i) OVER (w ORDER BY i) AS s \
         FROM (VALUES (1, TIMESTAMP '1500-01-01'), (2, TIMESTAMP '1500-01-02')) v(i, t) \
         WINDOW w AS (PARTITION BY t < TIMESTAMP '1500-01-02') ORDER BY i",
        &["1", "2"],
    );
}

#[test]
fn a_window_that_cannot_be_built_is_refused() {
    for windows in [
        "WINDOW w AS (ORDER BY x), v AS (w ORDER BY p)",
        "WINDOW w AS (PARTITION BY p), v AS (w PARTITION BY x)",
        "WINDOW w AS (ORDER BY x ROWS 1 PRECEDING), v AS (w)",
        "WINDOW v AS (w), w AS (ORDER BY x)",
    ] {
        let sql = format!("SELECT sum(x) OVER v FROM {ROWS} {windows}");
        let error = answers(&engine(), &sql).unwrap_err();
        assert!(error.contains("built on a named one"), "{sql}: {error}");
    }
}

#[test]
fn conditions_behind_is_distinct_from_are_conditions() {
    let rows = "(VALUES (1, 1, 2), (2, NULL, 2), (3, 3, 1), (4, NULL, 3)) t(k, x, y)";
    for (condition, wanted) in [
        (
            "x IS DISTINCT FROM 1 AND y = 2",
            ["false", "true", "false", "false"],
        ),
        (
            "NOT x IS DISTINCT FROM 1 AND y = 2",
            ["true", "false", "false", "false"],
        ),
        (
            "y = 1 AND x IS DISTINCT FROM 1 OR y = 2",
            ["true", "true", "true", "false"],
        ),
        (
            "x IS NOT DISTINCT FROM NULL OR y = 3 AND x IS NULL",
            ["false", "true", "false", "true"],
        ),
        (
            "x IS DISTINCT FROM y + 1 AND x IS NOT DISTINCT FROM 1 OR y = 5",
            ["true", "false", "false", "false"],
        ),
        (
            "true = NOT x IS DISTINCT FROM 1 AND y = 2",
            ["true", "false", "false", "false"],
        ),
        (
            "NOT true = NOT x IS DISTINCT FROM 1 OR y = 3",
            ["false", "true", "true", "true"],
        ),
        (
            "true BETWEEN false AND NOT x IS DISTINCT FROM 1 AND y = 2",
            ["true", "false", "false", "false"],
        ),
        (
            "x IS DISTINCT FROM (y = 1 OR y = 2)::int",
            ["false", "true", "true", "true"],
        ),
    ] {
        check(
            &format!("SELECT {condition} FROM {rows} ORDER BY k"),
            &wanted,
        );
        let found = wanted.iter().filter(|is_so| **is_so == "true").count();
        check(
            &format!("SELECT count(*) FROM {rows} WHERE {condition}"),
            &[&found.to_string()],
        );
    }
    for sql in [
        "SELECT 1 IS DISTINCT FROM 2 IS NULL",
        "SELECT true IS DISTINCT FROM true IS TRUE",
        "SELECT 1 IS DISTINCT FROM 2 IS DISTINCT FROM true",
    ] {
        let error = answers(&engine(), sql).unwrap_err();
        assert!(error.contains("before another IS"), "{sql}: {error}");
    }
}

#[test]
fn hundreds_of_conditions_are_those_that_were_written() {
    let row = "(SELECT 1 AS a, NULL AS b, 'x' AS c)";
    for (operator, last, wanted) in [
        ("OR", "a = 1", "true"),
        ("OR", "a = 2", "false"),
        ("OR", "b = 2", "null"),
        ("AND", "a = 1", "false"),
    ] {
        let conditions: Vec<_> = (10..500).map(|n| format!("a = {n}")).collect();
        let condition = conditions.join(&format!(" {operator} "));
        let sql = format!("SELECT {condition} {operator} {last} AS found FROM {row}");
        check(&sql, &[wanted]);
    }
    // In their order, between others: a condition may keep the next one from failing.
    let guards: Vec<_> = (0..200).map(|n| format!("a <> {}", n + 5)).collect();
    check(
        &format!(
            "SELECT c = 'x' AND ({} AND c IS NOT NULL) OR c = 'y' FROM {row}",
            guards.join(" AND ")
        ),
        &["true"],
    );
    let numbers = vec!["1"; 300].join(" + ");
    check(&format!("SELECT {numbers} AS sum"), &["300"]);
}
