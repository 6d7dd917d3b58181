//! Decimals beside floats: where values get one type, both keep their digits. The types and values are
//! those of DuckDB.

use crate::support::{answers, engine};

/// `1.00`, as a decimal.
const ONE: &str = "CAST(1 AS DECIMAL(5, 2))";

/// Asserts what queries answer; `ONE` in them is [`ONE`].
fn check(queries: &[(&str, &[&str])]) {
    let engine = engine();
    for (sql, wanted) in queries {
        let sql = sql.replace("ONE", ONE);
        let found = answers(&engine, &sql).unwrap_or_else(|error| vec![error]);
        assert_eq!(found, *wanted, "{sql}");
    }
}

/// Returns an expression with its type.
macro_rules! typed {
    ($expression:literal) => {
        concat!(
            "SELECT arrow_typeof(x), x FROM (SELECT ",
            $expression,
            " AS x)"
        )
    };
}

#[test]
fn unions_keep_floats() {
    check(&[
        (
            "SELECT x FROM (SELECT 1e-20 AS x UNION ALL SELECT ONE) ORDER BY x",
            &["1e-20", "1.0"],
        ),
        (
            "SELECT x FROM (SELECT ONE AS x UNION ALL SELECT 1e300) ORDER BY x",
            &["1.0", "1e300"],
        ),
        (
            "SELECT x FROM (SELECT ONE AS x UNION SELECT 1e0 * 1 UNION SELECT 1) ORDER BY x",
            &["1.0"],
        ),
        // Types are known from the inner UNION up.
        (
            "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT ONE UNION ALL SELECT 1e-20) ORDER BY x",
            &["1e-20", "1.0", "1.0"],
        ),
        (
            "SELECT x FROM (SELECT 1 AS x UNION ALL SELECT 1e-20 UNION ALL SELECT ONE) ORDER BY x",
            &["1e-20", "1.0", "1.0"],
        ),
        (
            "SELECT x FROM (SELECT null AS x UNION ALL SELECT ONE UNION ALL SELECT 1e-20) ORDER BY x",
            &["1e-20", "1.0", "null"],
        ),
        (
            "SELECT 3 * x FROM (SELECT 1 / 3e0 AS x UNION ALL SELECT ONE) ORDER BY x",
            &["1.0", "3.0"],
        ),
        (
            "SELECT x, s FROM (SELECT ONE AS x, 'a' AS s UNION BY NAME SELECT 'b' AS s, 1e-20 AS x) \
             ORDER BY x",
            &["1e-20,b", "1.0,a"],
        ),
        ("SELECT 1e-20 INTERSECT SELECT 0 * ONE", &[]),
        ("SELECT 0 * ONE INTERSECT SELECT 1e-20", &[]),
        ("SELECT 1e-20 EXCEPT SELECT 0 * ONE", &["1e-20"]),
        ("SELECT 0 * ONE EXCEPT SELECT 1e-20", &["0.00"]),
        (
            "SELECT [x] FROM (SELECT ONE AS x) UNION ALL SELECT [1e-20] ORDER BY 1",
            &["[1e-20]", "[1.0]"],
        ),
        (
            "SELECT s['a'] FROM (SELECT {a: ONE} AS s UNION ALL SELECT {a: 1e-20}) ORDER BY 1",
            &["1e-20", "1.0"],
        ),
    ]);
}

#[test]
fn expressions_keep_floats() {
    check(&[
        (
            typed!("CASE WHEN 1 = 1 THEN 1.0 / 3 ELSE ONE END"),
            &["Float64,0.3333333333333333"],
        ),
        (
            typed!("CASE WHEN 1 = 0 THEN 1 WHEN 1 = 0 THEN ONE ELSE 1e-20 END"),
            &["Float64,1e-20"],
        ),
        (
            typed!("coalesce(CASE WHEN 1 = 1 THEN null WHEN 1 = 0 THEN 1 ELSE ONE END, 1e-20)"),
            &["Float64,1e-20"],
        ),
        (typed!("coalesce(ONE, 1 / 3e0)"), &["Float64,1.0"]),
        (typed!("nvl(1e-20, ONE)"), &["Float64,1e-20"]),
        (typed!("nvl2(ONE, 1e-20, 2)"), &["Float64,1e-20"]),
        (typed!("nvl2(1e0, ONE, ONE)"), &["Decimal128(5, 2),1.00"]),
        (typed!("nullif(1e-20, 0 * ONE)"), &["Float64,1e-20"]),
        (typed!("greatest(1e-20, 0 * ONE)"), &["Float64,1e-20"]),
        (typed!("least(1e300, ONE)"), &["Float64,1.0"]),
        (typed!("[1e-20, ONE][1]"), &["Float64,1e-20"]),
        (typed!("[[1e-20], [ONE]][2][1]"), &["Float64,1.0"]),
        (
            typed!("array_concat([ONE], [1e-20])[2]"),
            &["Float64,1e-20"],
        ),
        (
            typed!("array_union([1e-20], [0 * ONE])[1]"),
            &["Float64,1e-20"],
        ),
        (
            typed!("array_has_any([1e-20], [0 * ONE])"),
            &["Boolean,false"],
        ),
        (
            typed!("map(['a'], [nullif(1e-20, ONE)])['a']"),
            &["Float64,1e-20"],
        ),
        // A float of 32 bits has no room for the digits of decimals.
        (
            typed!("coalesce(CAST(1234567.89 AS DECIMAL(9, 2)), CAST(1 AS REAL))"),
            &["Float64,1234567.89"],
        ),
    ]);
}

#[test]
fn rows_of_values_keep_floats() {
    check(&[
        (
            "VALUES (1e-20), (ONE), (1), (null)",
            &["1e-20", "1.0", "1.0", "null"],
        ),
        ("VALUES (ONE), (1e300)", &["1.0", "1e300"]),
        (
            "VALUES (1), (ONE), (2e0 / 3)",
            &["1.0", "1.0", "0.6666666666666666"],
        ),
        ("VALUES (1, 1e-20), (ONE, ONE)", &["1.00,1e-20", "1.00,1.0"]),
        (
            "VALUES (CASE WHEN true THEN 1 ELSE 2.5 END), (1)",
            &["1.0", "1.0"],
        ),
        // As it is written.
        (
            "VALUES (CAST(1.5 AS DECIMAL(30, 15))), (ONE)",
            &["1.500000000000000", "1.000000000000000"],
        ),
        (
            "VALUES (((1e0 / 3)::DECIMAL(30, 15))), (ONE)",
            &["0.333333333333333", "1.000000000000000"],
        ),
    ]);
}

#[test]
fn constants_beside_decimals_are_decimals() {
    check(&[
        (
            "SELECT x FROM (SELECT ONE AS x UNION ALL SELECT 0.5) ORDER BY x",
            &["0.50", "1.00"],
        ),
        (typed!("coalesce(ONE, 0.0)"), &["Decimal128(5, 2),1.00"]),
        (
            typed!("coalesce(CAST('1234567890123456.78' AS DECIMAL(18, 2)), -0.5)"),
            &["Decimal128(18, 2),1234567890123456.78"],
        ),
        (
            typed!("CASE WHEN 1 = 0 THEN ONE ELSE 0.125 END"),
            &["Decimal128(6, 3),0.125"],
        ),
        (
            "SELECT x FROM (VALUES (CAST('1234567890123456.78' AS DECIMAL(18, 2))), (0.5)) t(x)",
            &["1234567890123456.780000000000000", "0.500000000000000"],
        ),
    ]);
}

#[test]
fn values_are_compared_with_rows_as_floats() {
    check(&[
        ("SELECT 1 WHERE 1e-20 IN (SELECT 0 * ONE)", &[]),
        ("SELECT 1 WHERE 0 * ONE IN (SELECT 1e-20)", &[]),
        ("SELECT 1 WHERE ONE IN (SELECT 1e0)", &["1"]),
        ("SELECT 1 WHERE 0 * ONE = ANY (SELECT 1e-20)", &[]),
        ("SELECT 1 WHERE 1e-20 > ALL (SELECT 0 * ONE)", &["1"]),
        // Within a subquery a column of the outer query has its type.
        (
            "SELECT x FROM (SELECT ONE AS x UNION ALL SELECT 1 / 3e0) t WHERE EXISTS \
             (SELECT 1 FROM (SELECT ONE / 4 AS y) s WHERE s.y < t.x AND t.x < 0 * s.y + ONE)",
            &["0.3333333333333333"],
        ),
    ]);
}

#[test]
fn integers_of_64_bits_keep_their_digits() {
    check(&[
        (
            "SELECT x FROM (SELECT 18446744073709551615 AS x UNION ALL SELECT -1) ORDER BY x",
            &["-1", "18446744073709551615"],
        ),
        (
            "VALUES (18446744073709551615), (-1)",
            &["18446744073709551615", "-1"],
        ),
        (
            "SELECT coalesce(18446744073709551615, -1), greatest(-1, 18446744073709551615), \
             CASE WHEN 1 = 1 THEN 18446744073709551615 ELSE -1 END, [-1, 18446744073709551615][2]",
            &[
                "18446744073709551615,18446744073709551615,18446744073709551615,18446744073709551615",
            ],
        ),
    ]);
}

#[test]
fn recursive_queries_of_mixed_numbers_are_refused() {
    let sql = format!(
        "WITH RECURSIVE t AS (SELECT x FROM (SELECT {ONE} AS x UNION ALL SELECT 1 / 3e0) \
         UNION ALL SELECT x / 3 FROM t WHERE x > 0.1) SELECT x FROM t"
    );
    let error = answers(&engine(), &sql).unwrap_err();
    assert!(error.contains("values of several types"), "{error}");
}

#[test]
fn later_rows_of_a_recursive_query_that_would_be_cut_are_refused() {
    let ask = |first: &str, later: &str| {
        let sql = format!(
            "WITH RECURSIVE t(n, i) AS (SELECT {first} AS n, 1 AS i UNION ALL \
             SELECT {later}, i + 1 FROM t WHERE i < 3) SELECT n FROM t"
        );
        answers(&engine(), &sql)
    };
    let refused = [
        ("1", "n + 0.5"),
        ("1", "n * 1.5e0"),
        ("1", "n / CAST(3 AS DECIMAL(5, 2))"),
        (
            "CAST(1 AS DECIMAL(9, 1))",
            "n * CAST(1.55 AS DECIMAL(9, 2))",
        ),
        ("CAST(1 AS REAL)", "n + 1e-10"),
        ("true", "2"),
        ("DATE '2020-01-01'", "n + INTERVAL '1 hour'"),
        (
            "arrow_cast('2020-01-01T00:00:00', 'Timestamp(Second, None)')",
            "TIMESTAMP '2020-01-01T00:00:00.5'",
        ),
    ];
    for (first, later) in refused {
        let error = ask(first, later).unwrap_err();
        assert!(
            error.contains("of a recursive query") && error.contains("CAST"),
            "{first}, {later}: {error}"
        );
    }
    let answered = [
        ("1", "CAST(n + 0.5 AS BIGINT)", ["1", "1", "1"]),
        ("1", "(n + 1.5)::BIGINT", ["1", "2", "3"]),
        ("1.0", "n + 0.5", ["1.0", "1.5", "2.0"]),
        ("1.5", "CAST(n AS BIGINT)", ["1.5", "1.0", "1.0"]),
        ("1", "n + 1", ["1", "2", "3"]),
        ("'a'", "n || 'b'", ["a", "ab", "abb"]),
        ("CAST(1 AS INT)", "n + 1", ["1", "2", "3"]),
    ];
    for (first, later, wanted) in answered {
        assert_eq!(ask(first, later).unwrap(), wanted, "{first}, {later}");
    }
}

#[test]
fn a_default_that_the_values_cannot_hold_is_refused() {
    let ask = |values: &str, default: &str| {
        let sql = format!(
            "SELECT lag(v, 1, {default}) OVER (ORDER BY i), lead(v, 1, {default}) OVER (ORDER BY i) \
             FROM (SELECT 1 AS i, {values} AS v) ORDER BY i"
        );
        answers(&engine(), &sql)
    };
    for (values, default) in [
        ("7", "1.5"),
        ("7", "CAST(1.5 AS DECIMAL(3, 1))"),
        ("CAST(7 AS REAL)", "0.1e0"),
        ("CAST(7 AS DECIMAL(5, 2))", "1.555"),
        ("true", "2"),
    ] {
        let error = ask(values, default).unwrap_err();
        assert!(
            error.contains("cannot hold it"),
            "{values}, {default}: {error}"
        );
    }
    for (values, default, wanted) in [
        ("7", "1.0", "1,1"),
        ("7", "-3", "-3,-3"),
        ("7.5", "2", "2.0,2.0"),
        ("CAST(7 AS DECIMAL(5, 2))", "1.5", "1.50,1.50"),
        ("1.5e0", "CAST(0.1 AS DECIMAL(3, 1))", "0.1,0.1"),
        (
            "arrow_cast('2020-01-01', 'Date64')",
            "arrow_cast('2021-01-01', 'Date64')",
            "2021-01-01T00:00:00,2021-01-01T00:00:00",
        ),
        ("7", "NULL", "null,null"),
        ("'a'", "'b'", "b,b"),
    ] {
        assert_eq!(
            ask(values, default).unwrap(),
            [wanted],
            "{values}, {default}"
        );
    }
}
