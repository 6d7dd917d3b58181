//! Connections: how many, how long, and in what state they are used again.

use std::{fs, thread, time::Duration};

use arrow::datatypes::Int32Type;
use datastreamer_rows::{
    parameters::{Bound, Parameters, PositionalQuery},
    postgres::{PostgresErrorKind, PostgresOptions, PostgresPool},
};
use datastreamer_testkit::eventually;

use super::{Fixture, count, failure, refused, runtime};

const BACKEND: &str = "SELECT pg_backend_pid() AS id";
const ENDLESS: &str = "SELECT generate_series(1, 1000000000) AS n";

impl Fixture {
    fn backend(&self) -> i32 {
        self.values::<Int32Type>(BACKEND)[0].unwrap()
    }
}

fn few(connections: usize) -> Fixture {
    Fixture::start_with(|options| {
        options.max_connections = connections;
        options.acquire_timeout = Duration::from_millis(200);
    })
}

#[test]
fn a_connection_is_used_again() {
    let fixture = few(2);
    let first = fixture.backend();
    assert_eq!(fixture.backend(), first);
    assert_eq!(fixture.pool.open_connections(), 1);
    // Also by who has only looked at the schema, once that is known in the background.
    drop(fixture.query(ENDLESS).unwrap());
    eventually("the same connection", || fixture.backend() == first);
}

#[test]
fn a_connection_is_free_when_the_last_row_was_read() {
    let fixture = few(1);
    let mut rows = fixture.query(BACKEND).unwrap();
    let batch = rows.next().unwrap().unwrap();
    // The batch and its reader are still there, as with a client that is slow.
    assert_eq!(count(fixture.query(BACKEND).unwrap()), 1);
    assert!(rows.next().is_none());
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(fixture.pool.open_connections(), 1);
}

#[test]
fn who_finds_all_connections_taken_is_told_so() {
    let fixture = few(2);
    let running: Vec<_> = (0..2)
        .map(|_| {
            let mut rows = fixture.query(ENDLESS).unwrap();
            rows.next().unwrap().unwrap();
            rows
        })
        .collect();
    let text = refused(fixture.query(BACKEND), PostgresErrorKind::Busy);
    assert_eq!(text, "PostgreSQL: all connections are in use");
    drop(running);
    assert_eq!(count(fixture.query(BACKEND).unwrap()), 1);
}

#[test]
fn who_waits_gets_the_next_free_connection() {
    let fixture = Fixture::start_with(|options| options.max_connections = 1);
    let rows = fixture.query("SELECT 1 AS n FROM pg_sleep(0.3)").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| count(rows));
        assert_eq!(count(fixture.query(BACKEND).unwrap()), 1);
    });
}

#[test]
fn a_cancelled_or_failed_connection_is_not_used_again() {
    let fixture = few(1);
    let first = fixture.backend();
    let mut rows = fixture.query(ENDLESS).unwrap();
    rows.next().unwrap().unwrap();
    rows.canceller().cancel();
    drop(rows);
    let second = fixture.backend();
    assert_ne!(first, second);
    fixture.failure("SELECT 1 / (n - 1000) AS x FROM generate_series(1, 2000) n");
    assert_ne!(fixture.backend(), second);
    assert_eq!(fixture.pool.open_connections(), 1);
}

#[test]
fn a_connection_that_died_in_the_pool_is_replaced_unseen() {
    let fixture = few(2);
    fixture.backend();
    for _ in 0..3 {
        fixture.server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = 'datastreamer'",
        );
        assert_eq!(count(fixture.query(BACKEND).unwrap()), 1);
    }
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let fixture = Fixture::start_with(|options| options.idle_timeout = Duration::from_millis(50));
    let first = fixture.backend();
    thread::sleep(Duration::from_millis(100));
    assert_ne!(fixture.backend(), first);
    assert_eq!(fixture.pool.open_connections(), 1);
}

#[test]
fn rows_are_of_one_snapshot() {
    let fixture = Fixture::start_with(|options| options.batch_rows = 10);
    fixture.server.sql(
        "CREATE TABLE t AS SELECT n, repeat('x', 1000) AS filler FROM generate_series(1, 20000) n",
    );
    // Prepared, and so begun, before the change.
    let unread = fixture.query("SELECT n FROM t").unwrap();
    let mut read = fixture.query("SELECT n, filler FROM t").unwrap();
    let first = read.next().unwrap().unwrap().num_rows();
    fixture
        .server
        .sql("INSERT INTO t SELECT n, '' FROM generate_series(1, 5) n");
    assert_eq!(first + count(read), 20_000);
    assert_eq!(count(unread), 20_000);
    assert_eq!(count(fixture.query("SELECT n FROM t").unwrap()), 20_005);
}

#[test]
fn a_query_cannot_write() {
    let fixture = few(1);
    fixture.server.sql("CREATE TABLE t (n int4)");
    let error = fixture.failure("INSERT INTO t VALUES (1) RETURNING n");
    assert_eq!(error.kind(), PostgresErrorKind::BadQuery);
    assert_eq!(error.sqlstate(), Some("25006"));
    let nothing = fixture.query("DELETE FROM t");
    refused(nothing, PostgresErrorKind::BadQuery);
    // Not by leaving the transaction either.
    refused(fixture.query("COMMIT"), PostgresErrorKind::BadQuery);
    refused(
        fixture.query("SELECT 1; DROP TABLE t"),
        PostgresErrorKind::BadQuery,
    );
}

/// EXPLAIN finds nothing wrong with a function that writes: the transaction does.
#[test]
fn a_function_that_writes_fails_where_it_is_run() {
    let fixture = few(1);
    fixture.server.sql(
        "CREATE TABLE t (n int4); CREATE SEQUENCE s; \
         CREATE FUNCTION put(n int4) RETURNS int4 LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO t VALUES (n); RETURN n; END'",
    );
    for sql in [
        "SELECT nextval('s') AS n",
        "SELECT n FROM generate_series(1, 3) n WHERE nextval('s') > 0",
        "SELECT setval('s', 5) AS n",
        "SELECT put(1) AS n",
        "SELECT set_config('transaction_read_only', 'off', true), put(1)",
    ] {
        let query = PositionalQuery::new(sql, &Parameters::default()).unwrap();
        fixture.pool.check(&query, &Parameters::default()).unwrap();
        let error = fixture.failure(sql);
        let code = error.sqlstate().unwrap();
        // The transaction only reads; and cannot be made one that writes.
        assert!(["25006", "25001"].contains(&code), "{sql}: {error}");
    }
    let found = fixture
        .server
        .sql("SELECT last_value, is_called, (SELECT count(*) FROM t) FROM s");
    assert_eq!(found.trim(), "1|f|0");
    // Those that write nothing do not.
    let rows = fixture.batches("SELECT random() < 2 AS n, clock_timestamp() > now() AS m");
    assert_eq!(rows[0].num_rows(), 1);
}

#[test]
fn a_password_comes_from_a_file_and_is_never_shown() {
    let fixture = few(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let connect = |url: String, file: bool| {
        let mut options = PostgresOptions::new(url);
        options.password_file = file.then(|| path.clone());
        assert!(!format!("{options:?}").contains("hush"));
        let pool = PostgresPool::new(options, fixture.runtime.handle().clone())?;
        let query = PositionalQuery::new(BACKEND, &Parameters::default()).unwrap();
        pool.query(&query, &Bound::default()).map(count)
    };
    fs::write(&path, format!("{}\n", fixture.server.password())).unwrap();
    assert_eq!(connect(fixture.server.url(), false).unwrap(), 1);
    assert_eq!(
        connect(fixture.server.url_without_password(), true).unwrap(),
        1
    );

    let error = connect(fixture.server.url(), true).unwrap_err();
    assert_eq!(error.kind(), PostgresErrorKind::BadOptions);
    fs::write(&path, "wrong").unwrap();
    let error = connect(fixture.server.url_without_password(), true).unwrap_err();
    assert_eq!(error.kind(), PostgresErrorKind::Unavailable);
    assert_eq!(error.sqlstate(), Some("28P01"));
    assert_eq!(
        error.to_string(),
        "PostgreSQL: the server refused the login"
    );
    for url in [
        "postgresql://u:hush@h:port/x",
        "host=h password=a hush=1",
        "hush",
    ] {
        let error = connect(url.to_owned(), false).unwrap_err();
        assert_eq!(error.kind(), PostgresErrorKind::BadOptions);
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}

#[test]
fn a_server_that_is_full_or_down_is_told_apart() {
    let mut fixture = few(1);
    // A superuser has no limit, and PostgreSQL 16 does not take that from the first one.
    let server = &fixture.server;
    server.sql("CREATE ROLE reader LOGIN CONNECTION LIMIT 1");
    let as_reader = server.socket_url().replace("user=postgres", "user=reader");
    let runtime = runtime();
    let pool = || {
        let options = PostgresOptions::new(as_reader.clone());
        PostgresPool::new(options, runtime.handle().clone()).unwrap()
    };
    let (first, pool) = (pool(), pool());
    let endless = PositionalQuery::new(ENDLESS, &Parameters::default()).unwrap();
    let mut rows = first.query(&endless, &Bound::default()).unwrap();
    rows.next().unwrap().unwrap();
    let query = PositionalQuery::new(BACKEND, &Parameters::default()).unwrap();
    let text = refused(
        pool.query(&query, &Bound::default()),
        PostgresErrorKind::Busy,
    );
    assert_eq!(text, "PostgreSQL: the server has no free connection");

    fixture.server.stop();
    let text = refused(
        pool.query(&query, &Bound::default()),
        PostgresErrorKind::Unavailable,
    );
    assert_eq!(text, "PostgreSQL: the server cannot be reached");
    let last = rows.find(Result::is_err).unwrap();
    assert_eq!(failure(last).kind(), PostgresErrorKind::Failed);
}
