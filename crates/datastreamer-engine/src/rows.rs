//! The rows of one query, for a blocking reader: runs the plan, within a time limit, until it is
//! stopped. It makes no plan.

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
    cancellation::{Cancellation, with_checks},
    error::{EngineError, EngineErrorKind},
    guard::guarded,
    known::Known,
    limited_sorts,
    pinned::{self, PinnedFile},
    plan_files::pin_files,
    query_memory::{self, QueryPlace},
    threads::EngineThreads,
};
use arrow::{
    datatypes::SchemaRef,
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
};
use datafusion::{
    common::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{ExecutionPlan, execute_stream},
};
use datastreamer_table::ColumnStatistics;
use datastreamer_table::column_metadata::{self, ColumnMetadata};
use futures_util::{StreamExt, task::AtomicWaker};

/// The rows of one query or scan.
///
/// `next` **blocks**: the caller's thread computes what the plan does not run on the engine's own
/// threads. It must not be called from a future. Dropping the rows stops the query.
///
/// The time limit counts the time that the reader spends in `next`, not the time between two calls,
/// in which a slow client takes the rows.
///
/// After an error, or after the last batch, `next` returns `None`. A change of a file that is read
/// is an error, at the latest in place of the end.
pub struct Rows {
    schema: SchemaRef,
    known: Known,
    run: Run,
    /// The plan that spills what the first one keeps in memory, until there are rows.
    spilling: Option<Run>,
    needs_memory: bool,
    /// Kept for as long as the plan runs.
    place: Option<QueryPlace>,
    pinned: Arc<[PinnedFile]>,
    cancellation: Cancellation,
    /// The engine's threads, kept until the last row.
    threads: Arc<EngineThreads>,
    stopper: RowsStopper,
    time_left: Duration,
    time_limit: Duration,
}

/// A plan's run. It starts with the first call of `next`: the caller may have to wait for a place
/// after planning, or may need no rows.
enum Run {
    Planned(Arc<dyn ExecutionPlan>, Arc<TaskContext>),
    Started(SendableRecordBatchStream),
    Ended,
}

/// Stops rows from any thread: a call of `next` that blocks returns at once, with an error of kind
/// [`EngineErrorKind::Stopped`].
#[derive(Clone, Debug, Default)]
pub struct RowsStopper(Arc<Stop>);

#[derive(Debug, Default)]
struct Stop {
    is_set: AtomicBool,
    /// The reader that is waiting.
    reader: AtomicWaker,
    /// For the plan, which may be in the middle of a poll.
    cancellation: Cancellation,
}

impl RowsStopper {
    /// Stops the rows. Never blocks; further calls do nothing.
    pub fn stop(&self) {
        self.0.is_set.store(true, Ordering::Release);
        self.0.cancellation.cancel();
        self.0.reader.wake();
    }

    fn is_set(&self) -> bool {
        self.0.is_set.load(Ordering::Acquire)
    }
}

impl Rows {
    /// Prepares a plan to run. Blocks for a `stat` per file.
    ///
    /// # Errors
    /// A file changed since the plan was made.
    pub(crate) fn new(
        schema: SchemaRef,
        known: Known,
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        threads: Arc<EngineThreads>,
        time_limit: Duration,
    ) -> Result<Self, EngineError> {
        let pinned = pin_files(plan.as_ref())?;
        let cancellation = Cancellation::default();
        let needs_memory = query_memory::is_needed(plan.as_ref());
        let spilling = limited_sorts::spilling(&plan)?;
        let spilling = spilling.map(|plan| with_checks(plan, &cancellation));
        let spilling = spilling.transpose()?;
        Ok(Self {
            spilling: spilling.map(|plan| Run::Planned(plan, Arc::clone(&task))),
            needs_memory,
            place: None,
            schema,
            known,
            pinned: pinned.into(),
            run: Run::Planned(with_checks(plan, &cancellation)?, task),
            stopper: RowsStopper(Arc::new(Stop {
                cancellation: cancellation.clone(),
                ..Stop::default()
            })),
            cancellation,
            threads,
            time_left: time_limit,
            time_limit,
        })
    }

    /// Returns whether the plan sorts, joins or groups rows.
    pub(crate) fn needs_memory(&self) -> bool {
        self.needs_memory
    }

    /// Keeps a place until the rows have ended.
    pub(crate) fn hold(&mut self, place: QueryPlace) {
        self.place = Some(place);
    }

    /// Returns the number of rows that there are without the limit, behind the offset, if the files state
    /// it and nothing filters them.
    pub fn known_rows(&self) -> Option<u64> {
        self.known.rows
    }

    /// Returns statistics of each column, where the rows are those of a table;
    /// nothing for a query.
    pub fn column_statistics(&self) -> &[ColumnStatistics] {
        &self.known.columns
    }

    /// Returns a number that differs between two states of the files that are read, within this
    /// process: facts about the rows stay true as long as it is the same. `None` if no file is read.
    pub fn version(&self) -> Option<u64> {
        pinned::version(&self.pinned)
    }

    /// Returns the files that are read. `next` checks them at the end of the rows: whoever takes no more
    /// before that does so with [`RowsFiles::check`].
    pub fn files(&self) -> RowsFiles {
        RowsFiles(Arc::clone(&self.pinned))
    }

    /// Returns a handle that stops these rows.
    pub fn stopper(&self) -> RowsStopper {
        self.stopper.clone()
    }

    /// Reads the next batch, and begins anew with the plan that spills if the memory does not suffice
    /// for the first one. **Blocks** as [`read`](Self::read) does.
    fn read_or_spill(&mut self) -> Option<Result<RecordBatch, EngineError>> {
        let next = self.read();
        let spilling = self.spilling.take();
        match (&next, spilling) {
            (Some(Err(error)), Some(spilling)) if error.kind() == EngineErrorKind::Exhausted => {
                tracing::debug!(%error, "a sort spills what it cannot keep");
                self.run = spilling;
                self.read()
            }
            _ => next,
        }
    }

    /// Reads the next batch. **Blocks** until there is one, the deadline, or a stop.
    fn read(&mut self) -> Option<Result<RecordBatch, EngineError>> {
        let started = Instant::now();
        let deadline = started + self.time_left;
        self.cancellation.set_deadline(Some(deadline));
        // Tasks and timers of the plan belong to the engine's runtime.
        let entered = self.threads.handle.enter();
        if let Run::Planned(plan, task) = &self.run {
            match execute_stream(Arc::clone(plan), Arc::clone(task)) {
                Ok(stream) => self.run = Run::Started(stream),
                Err(error) => return Some(Err(error.into())),
            }
        }
        let Run::Started(stream) = &mut self.run else {
            return None;
        };
        let next = guarded(|| wait_for(stream.next(), deadline, &self.stopper));
        drop(entered);
        self.cancellation.set_deadline(None);
        self.time_left = self.time_left.saturating_sub(started.elapsed());
        let next = match next {
            Ok(next) => next,
            Err(panic) => {
                return Some(Err(self
                    .changed_file()
                    .unwrap_or_else(|| self.of_file(panic))));
            }
        };
        match next {
            Waited::Ready(Some(Ok(batch))) => Some(self.with_metadata(&batch)),
            // A file that was replaced looks corrupt: the replacement is the better reason.
            Waited::Ready(Some(Err(error))) => {
                let error = self.changed_file().unwrap_or_else(|| self.of_reader(error));
                Some(Err(self.explained(error)))
            }
            Waited::Ready(None) => self.changed_file().map(Err),
            Waited::Stopped => Some(Err(
                self.explained(EngineError::new(EngineErrorKind::Stopped, ""))
            )),
            Waited::TimedOut => Some(Err(
                self.explained(EngineError::new(EngineErrorKind::TimedOut, ""))
            )),
        }
    }

    /// Gives a stop or a timeout the same text, whether the reader noticed it or the plan.
    fn explained(&self, error: EngineError) -> EngineError {
        match error.kind() {
            kind @ EngineErrorKind::Stopped => EngineError::new(kind, "the rows were stopped"),
            kind @ EngineErrorKind::TimedOut => {
                let text = format!("the query took longer than {:?}", self.time_limit);
                EngineError::new(kind, text)
            }
            _ => error,
        }
    }

    /// Overlays metadata on the columns.
    ///
    /// # Errors
    /// The metadata names a column that is not there.
    pub(crate) fn apply(&mut self, notes: &ColumnMetadata) -> Result<(), EngineError> {
        self.schema = notes.apply(&self.schema)?;
        Ok(())
    }

    /// Names the file of a reader's error that does not.
    fn of_reader(&self, error: DataFusionError) -> EngineError {
        let error = EngineError::from(error);
        match error.is_of_parquet() && !error.names_file() {
            true => self.of_file(error),
            false => error,
        }
    }

    /// Names the file, if there is one only.
    fn of_file(&self, error: EngineError) -> EngineError {
        match &*self.pinned {
            [file] => file.error(&error),
            _ => error,
        }
    }

    /// Adds the metadata of the table's columns, which the plan's batches lack.
    fn with_metadata(&self, batch: &RecordBatch) -> Result<RecordBatch, EngineError> {
        column_metadata::with_schema(batch, &self.schema)
            .map_err(|error| EngineError::data(error.to_string()))
    }

    /// Returns an error if a file is no longer as it was planned. Blocks for a `stat` per file.
    fn changed_file(&self) -> Option<EngineError> {
        self.files().check().err()
    }
}

/// The files that some rows are read from, as they were when these were planned.
#[derive(Clone, Debug)]
pub struct RowsFiles(Arc<[PinnedFile]>);

impl RowsFiles {
    pub(crate) fn new(files: impl IntoIterator<Item = PinnedFile>) -> Self {
        Self(files.into_iter().collect())
    }

    /// Checks that the files are as they were. **Blocks** for a `stat` per file.
    ///
    /// # Errors
    /// A file has changed, or is gone: the rows may be those of another one.
    pub fn check(&self) -> Result<(), EngineError> {
        self.0.iter().try_for_each(PinnedFile::check)
    }
}

enum Waited<T> {
    Ready(T),
    Stopped,
    TimedOut,
}

/// Polls a future on this thread until it is ready, stopped, or late. **Blocks.** Neither the stop
/// nor the deadline needs a timer of the runtime, whose threads may all be computing.
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
            return Waited::TimedOut;
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
        let next = self.read_or_spill();
        if !matches!(next, Some(Ok(_))) {
            // Frees the memory of the plan now.
            self.cancellation.cancel();
            self.run = Run::Ended;
            self.place = None;
        }
        next.map(|batch| batch.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        self.cancellation.cancel();
    }
}

impl RecordBatchReader for Rows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
