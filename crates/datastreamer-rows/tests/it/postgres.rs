//! Rows from a real PostgreSQL, which each test starts for itself.

mod cancelling;
mod connections;
mod encryption;
mod failures;
mod memory;
mod parameters;
mod types;

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray},
    datatypes::ArrowPrimitiveType,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datastreamer_rows::{
    parameters::{Bound, Parameters, PositionalQuery},
    postgres::{PostgresError, PostgresErrorKind, PostgresOptions, PostgresPool, PostgresRows},
};
use datastreamer_testkit::Postgres;
use tokio::runtime::Runtime;

/// A server, a runtime for the network, and a pool of connections.
struct Fixture {
    server: Postgres,
    pool: PostgresPool,
    // Behind the pool: its connections are served by it to the end.
    runtime: Runtime,
}

impl Fixture {
    fn start() -> Self {
        Self::start_with(|_| ())
    }

    fn start_with(change: impl FnOnce(&mut PostgresOptions)) -> Self {
        Self::of(Postgres::start(), |_, options| change(options))
    }

    /// Connections with TLS.
    fn encrypted() -> Self {
        Self::of(Postgres::start_with_tls(), |server, options| {
            options.url = encrypted_url(server);
            options.tls_ca_file = Some(server.ca_file());
        })
    }

    fn of(server: Postgres, change: impl FnOnce(&Postgres, &mut PostgresOptions)) -> Self {
        let runtime = runtime();
        let mut options = PostgresOptions::new(server.socket_url());
        change(&server, &mut options);
        let pool = PostgresPool::new(options, runtime.handle().clone()).unwrap();
        Self {
            server,
            pool,
            runtime,
        }
    }

    /// A query without parameters.
    fn query(&self, sql: &str) -> Result<PostgresRows, PostgresError> {
        let query = PositionalQuery::new(sql, &Parameters::default()).unwrap();
        self.pool.query(&query, &Bound::default())
    }

    /// All rows of a query.
    fn batches(&self, sql: &str) -> Vec<RecordBatch> {
        let rows = self.query(sql).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// The one column of a query, of few rows.
    fn column(&self, sql: &str) -> ArrayRef {
        let batches = self.batches(sql);
        assert_eq!(batches.len(), 1, "{sql}");
        Arc::clone(batches[0].column(0))
    }

    fn values<T: ArrowPrimitiveType>(&self, sql: &str) -> Vec<Option<T::Native>> {
        self.column(sql).as_primitive::<T>().iter().collect()
    }

    fn texts(&self, sql: &str) -> Vec<Option<String>> {
        texts(&self.column(sql))
    }

    /// The error with which a query's rows end.
    fn failure(&self, sql: &str) -> PostgresError {
        let results: Vec<_> = self.query(sql).unwrap().collect();
        failure(results.into_iter().next_back().unwrap())
    }
}

fn encrypted_url(server: &Postgres) -> String {
    format!("{}?sslmode=require", server.url())
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
}

fn texts(column: &ArrayRef) -> Vec<Option<String>> {
    let texts = column.as_string::<i32>().iter();
    texts.map(|text| text.map(str::to_owned)).collect()
}

fn failure(result: Result<RecordBatch, ArrowError>) -> PostgresError {
    match result {
        Err(ArrowError::ExternalError(error)) => *error.downcast().unwrap(),
        other => panic!("no failure: {other:?}"),
    }
}

#[track_caller]
fn refused(result: Result<PostgresRows, PostgresError>, kind: PostgresErrorKind) -> String {
    let error = result.err().unwrap();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

fn count(rows: PostgresRows) -> usize {
    let batches = rows.map(|batch| batch.unwrap().num_rows());
    batches.sum()
}

#[test]
fn a_query_gives_its_schema_before_its_rows() {
    let fixture = Fixture::start();
    for rows in [0, 1, 3] {
        let sql =
            format!("SELECT n AS number, 'x'::text AS text FROM generate_series(1, {rows}) n");
        let reader = fixture.query(&sql).unwrap();
        let schema = reader.schema();
        let names: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, ["number", "text"]);
        assert_eq!(count(reader), rows);
    }
}
