//! The rows of one query, in batches.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions, RecordBatchReader},
};
use deadpool::managed::Object;
use futures_util::Stream;
use tokio::{runtime::Handle, time::sleep};
use tokio_postgres::{
    Row, RowStream, Statement,
    types::{FromSql, Type},
};

use super::{
    PostgresCanceller, PostgresError, PostgresErrorKind, PostgresOptions,
    bind::Sent,
    decode::ColumnBuilder,
    schema::Columns,
    session::{Connection, give_back},
};
use crate::{narrowed::Ask, parameters::PositionalQuery};

/// A batch that has rows waits at most so long for more: a slow query's rows are seen as they
/// come, and a fast one fills a batch in less.
const BATCH_DELAY: Duration = Duration::from_millis(100);

/// The rows of a query, from [`PostgresPool::query`](super::PostgresPool::query).
///
/// `next()` blocks. It fails with a [`PostgresError`] within `ArrowError::ExternalError`, and
/// gives nothing after a failure. Dropping it in mid-stream cancels the statement in the server,
/// without waiting.
pub struct PostgresRows {
    schema: SchemaRef,
    described: Arc<Columns>,
    columns: Vec<ColumnBuilder>,
    batch_rows: usize,
    batch_bytes: usize,
    /// Rows in the batches that were given.
    rows_given: u64,
    query: PositionalQuery,
    handle: Handle,
    canceller: PostgresCanceller,
    state: State,
}

enum State {
    Prepared(Connection, Prepared),
    Running(Connection, Pin<Box<RowStream>>),
    /// All rows were given, or an error; the connection is in other hands.
    Done,
}

/// A statement and its values.
pub(super) struct Prepared {
    pub(super) statement: Statement,
    pub(super) values: Vec<Sent>,
    /// What the statement was made of.
    pub(super) query: PositionalQuery,
    /// The columns of its rows.
    pub(super) columns: Arc<Columns>,
    /// The columns of the query, before any were selected.
    pub(super) described: Arc<Columns>,
}

impl PostgresRows {
    pub(super) fn new(
        connection: Connection,
        prepared: Prepared,
        options: &PostgresOptions,
        handle: Handle,
    ) -> Self {
        let canceller = PostgresCanceller::new(&connection, &handle);
        let cells = prepared.columns.cells.iter();
        Self {
            schema: SchemaRef::clone(&prepared.columns.schema),
            columns: cells.map(ColumnBuilder::new).collect(),
            described: Arc::clone(&prepared.described),
            query: prepared.query.clone(),
            batch_rows: options.batch_rows,
            batch_bytes: options.batch_bytes,
            rows_given: 0,
            handle,
            canceller,
            state: State::Prepared(connection, prepared),
        }
    }

    /// Returns what cancels this query from another thread.
    pub fn canceller(&self) -> PostgresCanceller {
        self.canceller.clone()
    }

    /// Returns the columns of the query, of which a narrowing may have selected some.
    pub fn columns_of_query(&self) -> SchemaRef {
        SchemaRef::clone(&self.described.schema)
    }

    /// Returns what tells whether something can be asked of a column, by its place in
    /// [`columns_of_query`](Self::columns_of_query). It is
    /// what [`query_narrowed`](super::PostgresPool::query_narrowed) refuses by.
    pub fn asks(&self) -> Box<dyn Fn(usize, Ask) -> bool + Send> {
        let described = Arc::clone(&self.described);
        Box::new(move |column, ask| described.check(column, ask).is_ok())
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, PostgresError> {
        if let State::Prepared(..) = self.state {
            self.run()?;
        }
        let State::Running(_, stream) = &mut self.state else {
            return Ok(None);
        };
        let mut batch = Batch {
            columns: &mut self.columns,
            names: &self.schema,
            rows_before: self.rows_given,
            max_rows: self.batch_rows,
            max_bytes: self.batch_bytes,
            rows: 0,
            bytes: 0,
        };
        let filled = self.handle.block_on(batch.fill(stream.as_mut()));
        let rows = batch.rows;
        let end = filled.map_err(|error| self.explain(error))?;
        if end == End::OfRows {
            self.release();
        }
        if rows == 0 {
            return Ok(None);
        }
        self.rows_given += rows as u64;
        self.take_batch(rows).map(Some)
    }

    /// Binds the values and runs the query.
    fn run(&mut self) -> Result<(), PostgresError> {
        let State::Prepared(connection, prepared) = std::mem::replace(&mut self.state, State::Done)
        else {
            return Ok(());
        };
        let running = connection
            .client
            .query_raw(&prepared.statement, &prepared.values);
        match self.handle.block_on(running) {
            Ok(stream) => {
                self.state = State::Running(connection, Box::pin(stream));
                Ok(())
            }
            Err(error) => {
                self.put_back(connection);
                Err(self.explain(Failure::Binding(error)))
            }
        }
    }

    /// Gives the connection to the next query: there are no more rows, or none can be had.
    fn release(&mut self) {
        if let State::Running(connection, stream) = std::mem::replace(&mut self.state, State::Done)
        {
            drop(stream);
            self.put_back(connection);
        }
    }

    fn put_back(&self, connection: Connection) {
        if self.canceller.retire() {
            self.handle.block_on(give_back(connection));
        } else {
            drop(Object::take(connection));
        }
    }

    fn explain(&self, failure: Failure) -> PostgresError {
        if self.canceller.is_cancelled() {
            return PostgresError::cancelled();
        }
        match failure {
            Failure::Binding(error) => PostgresError::of_binding(error, &self.query),
            Failure::Running(error) => PostgresError::of_running(error, &self.query),
            Failure::Value(text) => PostgresError::new(PostgresErrorKind::Failed, text),
        }
    }

    fn take_batch(&mut self, rows: usize) -> Result<RecordBatch, PostgresError> {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish);
        columns
            .collect::<Result<Vec<_>, _>>()
            .and_then(|columns| {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            })
            .map_err(|error| PostgresError::new(PostgresErrorKind::Failed, error.to_string()))
    }
}

impl Iterator for PostgresRows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.give_up();
                Some(Err(ArrowError::ExternalError(Box::new(error))))
            }
        }
    }
}

impl RecordBatchReader for PostgresRows {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}

impl PostgresRows {
    /// Leaves the connection, in whatever state it is.
    fn give_up(&mut self) {
        match std::mem::replace(&mut self.state, State::Done) {
            // Nothing runs: the connection is good.
            State::Prepared(connection, _) => {
                if self.canceller.retire() {
                    self.handle.spawn(give_back(connection));
                } else {
                    drop(Object::take(connection));
                }
            }
            State::Running(connection, _) => {
                self.canceller.abandon();
                drop(Object::take(connection));
            }
            State::Done => {}
        }
    }
}

impl Drop for PostgresRows {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What went wrong while rows were read.
enum Failure {
    Binding(tokio_postgres::Error),
    Running(tokio_postgres::Error),
    Value(String),
}

#[derive(PartialEq)]
enum End {
    OfBatch,
    OfRows,
}

/// The batch that is being filled.
struct Batch<'a> {
    columns: &'a mut [ColumnBuilder],
    names: &'a SchemaRef,
    rows_before: u64,
    max_rows: usize,
    max_bytes: usize,
    rows: usize,
    bytes: usize,
}

impl Batch<'_> {
    /// Reads rows until the batch is full, or has waited long enough, or there are no more.
    async fn fill(&mut self, mut stream: Pin<&mut RowStream>) -> Result<End, Failure> {
        let mut delay = pin!(sleep(BATCH_DELAY));
        poll_fn(|context| {
            while self.rows < self.max_rows && self.bytes < self.max_bytes {
                match stream.as_mut().poll_next(context) {
                    Poll::Ready(Some(Ok(row))) => self.append(&row)?,
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(Failure::Running(error)));
                    }
                    Poll::Ready(None) => return Poll::Ready(Ok(End::OfRows)),
                    Poll::Pending if self.rows > 0 && delay.as_mut().poll(context).is_ready() => {
                        break;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(Ok(End::OfBatch))
        })
        .await
    }

    fn append(&mut self, row: &Row) -> Result<(), Failure> {
        for (index, column) in self.columns.iter_mut().enumerate() {
            let value: Option<Raw<'_>> = row.try_get(index).map_err(Failure::Running)?;
            let Some(Raw(value)) = value else {
                column.append_null();
                continue;
            };
            column.append(value).map_err(|problem| {
                let (row, name) = (
                    self.rows_before + self.rows as u64 + 1,
                    self.names.field(index).name(),
                );
                Failure::Value(format!("row {row}, column {name:?}: {problem}"))
            })?;
        }
        self.rows += 1;
        self.bytes += row.raw_size_bytes();
        Ok(())
    }
}

/// A value in its binary form.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
