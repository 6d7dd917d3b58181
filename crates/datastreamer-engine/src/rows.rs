//! Rows on their way from the engine to a blocking reader.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    error::{EngineError, EngineErrorKind},
    known::Known,
    pinned::{self, PinnedFile},
    plan_files::pin_files,
    stoppable::{Wanted, stoppable},
    threads::OwnThreads,
};
use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datafusion::{
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{ExecutionPlan, execute_stream},
};
use datastreamer_table::ColumnStatistics;
use datastreamer_table::column_metadata::{self, ColumnMetadata};
use futures_util::{StreamExt, task::AtomicWaker};

/// The rows of one query or scan.
///
/// `next` **blocks** its thread, which computes what the plan does not give to the engine's own
/// threads; it must not be called from a future. Dropping the rows stops the query.
///
/// The time limit counts what the reader has waited for rows, and never what a slow client takes.
pub struct Rows {
    schema: SchemaRef,
    known: Known,
    run: Run,
    pinned: Vec<PinnedFile>,
    wanted: Wanted,
    /// The engine's threads, which live as long as there are rows to come.
    threads: Arc<OwnThreads>,
    stopper: RowsStopper,
    time_left: Duration,
    time_limit: Duration,
}

/// A plan's run: nothing of it begins before the first row is asked for, as who planned it may have
/// to wait for a place, or want none.
enum Run {
    Planned(Arc<dyn ExecutionPlan>, Arc<TaskContext>),
    Begun(SendableRecordBatchStream),
    Ended,
}

/// Stops rows from any thread: a `next` that blocks returns at once, with an error.
#[derive(Clone, Debug, Default)]
pub struct RowsStopper(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    is_set: AtomicBool,
    /// The reader that waits.
    reader: AtomicWaker,
    /// For the plan, which may be in the midst of a poll.
    wanted: Wanted,
}

impl RowsStopper {
    /// Stops the rows; never blocks.
    pub fn stop(&self) {
        self.0.is_set.store(true, Ordering::Release);
        self.0.wanted.end();
        self.0.reader.wake();
    }

    fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Acquire)
    }
}

impl Rows {
    pub(crate) fn new(
        schema: SchemaRef,
        known: Known,
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        threads: Arc<OwnThreads>,
        time_limit: Duration,
    ) -> Result<Self, EngineError> {
        let pinned = pin_files(plan.as_ref())?;
        let wanted = Wanted::default();
        Ok(Self {
            schema,
            known,
            pinned,
            run: Run::Planned(stoppable(plan, &wanted)?, task),
            stopper: RowsStopper(Arc::new(Stop {
                wanted: wanted.clone(),
                ..Stop::default()
            })),
            wanted,
            threads,
            time_left: time_limit,
            time_limit,
        })
    }

    /// Returns how many rows there will be, where the files say so.
    pub fn known_rows(&self) -> Option<u64> {
        self.known.rows
    }

    /// Returns statistics of each column, where the rows are those of a table;
    /// nothing for a query.
    pub fn column_statistics(&self) -> &[ColumnStatistics] {
        &self.known.columns
    }

    /// Tells one state of the files that are read from another, within this process: what was
    /// learnt of their rows holds as long as it is the same. `None` where no file is read.
    pub fn version(&self) -> Option<u64> {
        pinned::version(&self.pinned)
    }

    /// Gives a handle that stops these rows.
    pub fn stopper(&self) -> RowsStopper {
        self.stopper.clone()
    }

    fn read(&mut self) -> Option<Result<RecordBatch, EngineError>> {
        let began = Instant::now();
        let deadline = began + self.time_left;
        self.wanted.until(Some(deadline));
        // What the plan spawns or sleeps for is the engine's.
        let entered = self.threads.handle.enter();
        if let Run::Planned(plan, task) = &self.run {
            match execute_stream(Arc::clone(plan), Arc::clone(task)) {
                Ok(stream) => self.run = Run::Begun(stream),
                Err(error) => return Some(Err(error.into())),
            }
        }
        let Run::Begun(stream) = &mut self.run else {
            return None;
        };
        let next = wait_for(stream.next(), deadline, &self.stopper);
        drop(entered);
        self.wanted.until(None);
        self.time_left = self.time_left.saturating_sub(began.elapsed());
        match next {
            Waited::Ready(Some(Ok(batch))) => Some(self.dressed(&batch)),
            // A file that was replaced looks corrupt: that it was tells more.
            Waited::Ready(Some(Err(error))) => {
                let error = self.changed_file().unwrap_or_else(|| error.into());
                Some(Err(self.told(error)))
            }
            Waited::Ready(None) => self.changed_file().map(Err),
            Waited::Stopped => Some(Err(
                self.told(EngineError::new(EngineErrorKind::Stopped, ""))
            )),
            Waited::TooLong => Some(Err(
                self.told(EngineError::new(EngineErrorKind::TimedOut, ""))
            )),
        }
    }

    /// Says what happened, whether the reader has noticed it or the plan.
    fn told(&self, error: EngineError) -> EngineError {
        match error.kind() {
            kind @ EngineErrorKind::Stopped => EngineError::new(kind, "the rows were stopped"),
            kind @ EngineErrorKind::TimedOut => {
                let text = format!("the query took longer than {:?}", self.time_limit);
                EngineError::new(kind, text)
            }
            _ => error,
        }
    }

    /// Lays metadata over the columns.
    pub(crate) fn apply(&mut self, notes: &ColumnMetadata) -> Result<(), EngineError> {
        self.schema = notes.apply(&self.schema)?;
        Ok(())
    }

    /// Batches come without the metadata that the table's columns have.
    fn dressed(&self, batch: &RecordBatch) -> Result<RecordBatch, EngineError> {
        column_metadata::with_schema(batch, &self.schema)
            .map_err(|error| EngineError::data(error.to_string()))
    }

    fn changed_file(&self) -> Option<EngineError> {
        self.pinned.iter().find_map(|file| file.check().err())
    }
}

enum Waited<T> {
    Ready(T),
    Stopped,
    TooLong,
}

/// Drives a future on this thread. Neither the stop nor the deadline needs a timer of the
/// runtime's, whose threads may all be computing.
fn wait_for<F: Future>(future: F, deadline: Instant, stopper: &RowsStopper) -> Waited<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    stopper.0.reader.register(&waker);
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if stopper.is_set() {
            return Waited::Stopped;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Waited::TooLong;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Waited::Ready(output);
        }
        thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read();
        if !matches!(next, Some(Ok(_))) {
            // The plan's memory is free at once.
            self.wanted.end();
            self.run = Run::Ended;
        }
        next.map(|batch| batch.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.wanted.end();
    }
}

impl RecordBatchReader for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
