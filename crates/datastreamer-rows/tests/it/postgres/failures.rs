//! A query that fails, early or late, says why.

use std::time::Duration;

use arrow::array::AsArray;
use datastreamer_rows::{parameters::TextPosition, postgres::PostgresErrorKind};

use super::{Fixture, failure};

#[test]
fn a_query_that_is_none_is_refused_with_the_place() {
    let fixture = Fixture::start();
    let cases = [
        (
            "SELECT 1\nFRM t",
            "42601",
            Some((2, 5)),
            "syntax error at or near \"t\"",
        ),
        (
            "SELECT n FROM nowhere",
            "42P01",
            Some((1, 15)),
            "\"nowhere\" does not exist",
        ),
        (
            "SELECT 'ü', nothing",
            "42703",
            Some((1, 13)),
            "\"nothing\" does not exist",
        ),
    ];
    for (sql, sqlstate, place, text) in cases {
        let error = fixture.query(sql).err().unwrap();
        assert_eq!(error.kind(), PostgresErrorKind::BadQuery, "{sql}");
        assert_eq!(error.sqlstate(), Some(sqlstate), "{sql}");
        let place = place.map(|(line, column)| TextPosition { line, column });
        assert_eq!(error.position(), place, "{sql}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn a_late_division_by_zero_ends_the_rows_with_the_servers_words() {
    let fixture = Fixture::start();
    let sql = "SELECT 1 / (n - 100000) AS x FROM (SELECT generate_series(1, 200000) AS n) t";
    let results: Vec<_> = fixture.query(sql).unwrap().collect();
    let (last, before) = results.split_last().unwrap();
    assert!(before.len() > 5 && before.iter().all(Result::is_ok));
    let rows: usize = before.iter().flatten().map(|batch| batch.num_rows()).sum();
    assert!(rows < 100_000);
    assert!(last.is_err());
    let error = failure(results.into_iter().next_back().unwrap());
    assert_eq!(error.kind(), PostgresErrorKind::Failed);
    assert_eq!(error.sqlstate(), Some("22012"));
    assert_eq!(
        error.to_string(),
        "PostgreSQL: division by zero (SQLSTATE 22012)"
    );
}

#[test]
fn nothing_comes_after_a_failure() {
    let fixture = Fixture::start();
    let mut rows = fixture.query("SELECT 1 / 0 AS x").unwrap();
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none());
}

#[test]
fn a_terminated_backend_is_no_end_of_the_rows() {
    let fixture = Fixture::start();
    // Once while it waits until its rows are taken, once while it works.
    for sql in [
        "SELECT pg_backend_pid()::text AS id, generate_series(1, 1000000000) AS n",
        "SELECT pg_backend_pid()::text AS id FROM (SELECT generate_series(1, 9000) AS n) t \
         WHERE n < 9000 OR pg_sleep(600) IS NOT NULL",
    ] {
        let mut rows = fixture.query(sql).unwrap();
        let batch = rows.next().unwrap().unwrap();
        let id = batch.column(0).as_string::<i32>().value(0);
        fixture
            .server
            .sql(&format!("SELECT pg_terminate_backend({id})"));
        let error = failure(rows.find(Result::is_err).unwrap());
        assert_eq!(error.kind(), PostgresErrorKind::Failed);
        let text = error.to_string();
        let is_told = text.contains("terminating connection due to administrator command")
            || text == "PostgreSQL: the connection was lost";
        assert!(is_told, "{text}");
        assert!(rows.next().is_none());
    }
}

#[test]
fn a_statement_that_runs_too_long_fails() {
    let fixture = Fixture::start_with(|o| o.statement_timeout = Some(Duration::from_millis(100)));
    let error = fixture.failure("SELECT 1 AS n FROM pg_sleep(600)");
    assert_eq!(error.kind(), PostgresErrorKind::Failed);
    assert_eq!(error.sqlstate(), Some("57014"));
    assert!(error.to_string().contains("statement timeout"), "{error}");
}

#[test]
fn a_query_that_waits_for_a_lock_to_be_prepared_is_given_up() {
    let fixture = Fixture::start_with(|o| o.prepare_timeout = Duration::from_millis(200));
    fixture.server.sql("CREATE TABLE t (n int4)");
    let mut lock = std::process::Command::new("psql")
        .args(["-X", "-d", &fixture.server.socket_url(), "-c"])
        .arg("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)")
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    datastreamer_testkit::eventually("the table is locked", || {
        fixture
            .server
            .sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'")
            != "0"
    });
    let error = fixture.query("SELECT n FROM t").err().unwrap();
    assert_eq!(error.kind(), PostgresErrorKind::Unavailable);
    assert_eq!(error.to_string(), "PostgreSQL: to prepare took too long");
    lock.kill().unwrap();
    lock.wait().unwrap();
}
