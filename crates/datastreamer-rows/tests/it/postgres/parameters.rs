//! Values are bound, never spliced, and arrive as what they are.

use arrow::{array::AsArray, datatypes::Int32Type, record_batch::RecordBatchReader};
use datastreamer_rows::{
    parameters::{Parameter, ParameterKind, Parameters, PositionalQuery},
    postgres::{PostgresError, PostgresErrorKind, PostgresRows},
};
use proptest::{prelude::*, strategy::ValueTree};

use super::{Fixture, failure, refused};

impl Fixture {
    /// A query of one parameter `p`.
    fn with(
        &self,
        sql: &str,
        kind: ParameterKind,
        value: &str,
    ) -> Result<PostgresRows, PostgresError> {
        let parameters = Parameters::new(vec![Parameter::new("p", kind)]).unwrap();
        let query = PositionalQuery::new(sql, &parameters).unwrap();
        self.pool
            .query(&query, &parameters.bind([("p", value)]).unwrap())
    }

    /// The one value of such a query, as text.
    fn text_with(&self, sql: &str, kind: ParameterKind, value: &str) -> String {
        let sql = format!("SELECT v::text FROM ({sql}) AS t(v)");
        let batch = self.with(&sql, kind, value).unwrap().next().unwrap();
        batch
            .unwrap()
            .column(0)
            .as_string::<i32>()
            .value(0)
            .to_owned()
    }
}

#[test]
fn values_are_of_the_type_that_their_place_asks_for() {
    use ParameterKind::{Bool, Date, Float, Integer, Text, Timestamp};
    let fixture = Fixture::start();
    fixture
        .server
        .sql("CREATE TYPE mood AS ENUM ('glum', 'gay'); CREATE EXTENSION citext");
    let good = [
        ("SELECT $p", Integer, "7", "7"),
        ("SELECT pg_typeof($p)", Integer, "7", "bigint"),
        ("SELECT pg_typeof($p)", Float, "7", "double precision"),
        ("SELECT pg_typeof($p)", Text, "7", "text"),
        ("SELECT pg_typeof($p)", Date, "2026-01-01", "date"),
        ("SELECT $p IS NULL", Integer, "7", "false"),
        ("SELECT $p::int4 + 1", Integer, "-7", "-6"),
        ("SELECT substr('abc', $p)", Integer, "2", "bc"),
        ("SELECT 1 LIMIT $p", Integer, "5", "1"),
        (
            "SELECT count(*) FROM generate_series(1, $p)",
            Integer,
            "9",
            "9",
        ),
        ("SELECT 0.1::float4 = $p", Float, "0.1", "false"),
        ("SELECT 0.1::float8 = $p", Float, "0.1", "true"),
        ("SELECT 1::numeric < $p", Float, "1.5", "true"),
        (
            "SELECT 16777217 > $p::float4::float8",
            Integer,
            "16777217",
            "true",
        ),
        ("SELECT NOT $p", Bool, "true", "false"),
        ("SELECT 'gay'::mood = $p", Text, "gay", "true"),
        (
            "SELECT 'a' || $p",
            Text,
            "'; DROP TABLE t; --",
            "a'; DROP TABLE t; --",
        ),
        (
            "SELECT date '2026-01-01' + 1 = $p",
            Date,
            "2026-01-02",
            "true",
        ),
        (
            "SELECT timestamptz '2026-01-01Z' = $p",
            Timestamp,
            "2026-01-01T00:00:00",
            "true",
        ),
        (
            "SELECT timestamptz '2026-01-01 01:30+01:30' = $p",
            Timestamp,
            "2025-12-31T19:00:00-05:00",
            "true",
        ),
        ("SELECT 'ABC'::citext = $p", Text, "abc", "true"),
        ("SELECT interval '1 day' = $p", Text, "24:00", "true"),
        ("SELECT int4range(1, 5) = $p", Text, "[1,4]", "true"),
        (
            "SELECT timestamp '2026-01-01 12:00' > $p",
            Date,
            "2026-01-01",
            "true",
        ),
    ];
    for (sql, kind, value, expected) in good {
        assert_eq!(fixture.text_with(sql, kind, value), expected, "{sql}");
    }
}

#[test]
fn a_value_that_its_place_cannot_take_is_the_givers_fault() {
    let fixture = Fixture::start();
    let sql = "SELECT 1::int4 = $p";
    let mut rows = fixture
        .with(sql, ParameterKind::Integer, "3000000000")
        .unwrap();
    let error = failure(rows.next().unwrap());
    assert_eq!(error.kind(), PostgresErrorKind::BadValue);
    assert_eq!(error.sqlstate(), Some("22003"));
    assert!(rows.next().is_none());

    let uuid = "SELECT gen_random_uuid() = $p";
    let mut rows = fixture.with(uuid, ParameterKind::Text, "x").unwrap();
    let error = failure(rows.next().unwrap());
    assert_eq!(error.kind(), PostgresErrorKind::BadValue);

    for (clause, code) in [("LIMIT", "2201W"), ("OFFSET", "2201X")] {
        let sql = format!("SELECT n FROM generate_series(1, 3) n {clause} $p");
        let mut rows = fixture.with(&sql, ParameterKind::Integer, "-1").unwrap();
        let error = failure(rows.next().unwrap());
        assert_eq!(error.kind(), PostgresErrorKind::BadValue, "{clause}");
        assert_eq!(error.sqlstate(), Some(code));
    }

    let zero = fixture.with("SELECT $p::text", ParameterKind::Text, "a\0b");
    let text = refused(zero, PostgresErrorKind::BadValue);
    assert_eq!(text, "parameter p: PostgreSQL's texts have no zero byte");
}

#[test]
fn a_kind_that_its_place_cannot_take_is_the_authors_fault() {
    let fixture = Fixture::start();
    let text = refused(
        fixture.with("SELECT 1 = $p", ParameterKind::Text, "1"),
        PostgresErrorKind::BadQuery,
    );
    assert!(
        text.contains("operator does not exist: integer = text"),
        "{text}"
    );
    assert!(text.contains("at line 1, column 10"), "{text}");
}

#[test]
fn hostile_texts_stay_texts() {
    let fixture = Fixture::start();
    let mut texts = vec![
        "'".to_owned(),
        "\\".into(),
        "$1".into(),
        "\u{feff}\u{202e}".into(),
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..100 {
        let tree = "[^\0]{0,50}".new_tree(&mut runner).unwrap();
        texts.push(tree.current());
    }
    for text in texts {
        let back = fixture.text_with("SELECT $p", ParameterKind::Text, &text);
        assert_eq!(back, text);
    }
}

#[test]
fn several_parameters_find_their_places() {
    let fixture = Fixture::start();
    let kinds = [("a", ParameterKind::Integer), ("b", ParameterKind::Text)];
    let declared = kinds.map(|(name, kind)| Parameter::new(name, kind));
    let parameters = Parameters::new(declared.to_vec()).unwrap();
    let sql =
        "SELECT n::int4, $b || n AS t FROM generate_series(1, $a) n WHERE $b <> '' AND n < $a";
    let query = PositionalQuery::new(sql, &parameters).unwrap();
    let bound = parameters.bind([("b", "x"), ("a", "3")]).unwrap();
    let mut rows = fixture.pool.query(&query, &bound).unwrap();
    assert_eq!(rows.schema().fields().len(), 2);
    let batch = rows.next().unwrap().unwrap();
    assert_eq!(
        batch.column(0).as_primitive::<Int32Type>().values(),
        &[1, 2]
    );
    assert_eq!(batch.column(1).as_string::<i32>().value(1), "x2");
}
