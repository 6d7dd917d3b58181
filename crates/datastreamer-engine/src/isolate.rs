//! Queries of clients, each in a process of its own: the same program, started again.
//!
//! Whatever a query does to its process, the server has its own memory, threads and files. The
//! process has a bounded address space, a low priority, a folder for temporary files, and may open
//! the files of the query's tables and nothing else, where the kernel has Landlock. It is killed when
//! the client leaves or the time is up, and ends by itself when the server does. One process waits,
//! ready, for the next query.
//!
//! A program that embeds the engine calls [`run_if_child`] first in its `main`. Without that there
//! are no such queries: started again, the program would not know what it is for.
//!
//! `process.rs` starts and ends a process, `folder.rs` has the folder of their temporary files,
//! `protocol.rs` is what both sides say, `child.rs` what the process does, `confine.rs` what it gives
//! up before that.

mod child;
mod confine;
mod folder;
mod process;
mod protocol;

use std::{
    env, io,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use arrow::{
    buffer::Buffer,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::reader::StreamDecoder,
    record_batch::{RecordBatch, RecordBatchReader},
};

use self::{
    folder::QueryFolder,
    process::{ProcessEnd, QueryProcess},
    protocol::{Failure, Head, Limits, Question, Tag, Wanted, unpack},
};
use crate::{
    engine::{Engine, EngineOptions},
    error::{EngineError, EngineErrorKind},
    packed::{self, Bytes},
    rows::RowsFiles,
    table_copy::TableCopy,
};

/// The variable that tells a process what it was started for.
const ROLE_VARIABLE: &str = "DATASTREAMER_ROLE";
/// Its value.
const ROLE: &str = "query";
/// 1 GiB for one query of a client, beyond the program itself: eight at a time, which is the usual
/// share of `/sql`, take half of a machine of 16 GiB.
pub const DEFAULT_QUERY_BYTES: u64 = 1 << 30;
/// 256 MiB: with less, sorts of long tables have too little beside what they may keep.
pub const QUERY_BYTES_MIN: u64 = 256 << 20;
/// Half of the memory is for sorts, joins and aggregations before they spill; the rest is for what
/// scans and functions hold, which nothing else counts.
const POOL_SHARE: u64 = 2;
/// 20 seconds until the columns are known, or the time limit of queries if that is shorter, without
/// the time in which the server lists the files: a plan takes milliseconds, and browsers and proxies
/// give up after 30 seconds.
const PLAN_TIME_MAX: Duration = Duration::from_secs(20);
/// 3 seconds for the process that waits to take a query: it is ready, and takes one in milliseconds,
/// unless somebody has stopped it. Then another one is started.
const TAKING_TIME_MAX: Duration = Duration::from_secs(3);

static CAN_START_ITSELF: AtomicBool = AtomicBool::new(false);

/// Runs the process of a query, or the guardian of this program's processes, and ends it, if that is
/// what this process was started for; otherwise returns at once. To be called first in `main`, before
/// there are threads.
///
/// ```no_run
/// datastreamer_engine::isolate::run_if_child();
/// // The program itself.
/// ```
pub fn run_if_child() {
    datastreamer_process::run_if_guardian();
    if env::var_os(ROLE_VARIABLE).is_none_or(|role| role != ROLE) {
        CAN_START_ITSELF.store(true, Ordering::Relaxed);
        return;
    }
    let answered = child::run();
    // The server knows more than an exit code says.
    std::process::exit(i32::from(answered.is_err()));
}

/// Returns whether this program has called [`run_if_child`], so that it can be started again for a
/// query.
pub fn is_available() -> bool {
    CAN_START_ITSELF.load(Ordering::Relaxed)
}

/// What one query of a client may take.
#[derive(Clone, Debug)]
pub struct IsolationOptions {
    /// Memory in bytes, beyond that of the program itself; at least [`QUERY_BYTES_MIN`].
    pub memory_bytes: u64,
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_QUERY_BYTES,
        }
    }
}

/// Answers queries of clients over an engine's tables. Clones share the process that waits.
#[derive(Clone)]
pub struct IsolatedQueries {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    options: EngineOptions,
    isolation: IsolationOptions,
    /// `None`: there are no temporary files.
    folder: Mutex<Option<QueryFolder>>,
    spare: Mutex<Option<QueryProcess>>,
}

impl IsolatedQueries {
    /// Starts the process that waits for the first query. `options` are those of the engine.
    ///
    /// # Errors
    /// [`run_if_child`] has not been called; the system refuses a process or a folder.
    pub fn start(
        engine: Engine,
        options: EngineOptions,
        isolation: IsolationOptions,
    ) -> Result<Self, EngineError> {
        if !is_available() {
            let text = "this program cannot start itself: isolate::run_if_child was not called";
            return Err(EngineError::data(text));
        }
        let shared = Shared {
            folder: Mutex::new(folder_of(&options)?),
            engine,
            options,
            isolation,
            spare: Mutex::default(),
        };
        let first = shared.process()?;
        shared.keep(first);
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Hands a query, one SELECT over the registered tables, to a process. **Blocks** until a process
    /// has been started, which takes milliseconds.
    ///
    /// # Errors
    /// The system refuses a process.
    pub fn ask(&self, sql: &str, rows_max: Option<u64>) -> Result<Asked, EngineError> {
        let question = Question {
            sql: sql.to_owned(),
            rows_max,
        };
        let spare = self.spare().take();
        // Somebody may have killed or stopped the one that waited.
        let taken = spare.map(|spare| hand(spare, &question, TAKING_TIME_MAX));
        let process = match taken {
            Some(Ok(process)) => process,
            _ => hand(self.shared.process()?, &question, PLAN_TIME_MAX)?,
        };
        self.replace_spare();
        Ok(Asked {
            process,
            queries: self.clone(),
        })
    }

    /// Starts the next process that waits, without waiting for it.
    fn replace_spare(&self) {
        let shared = Arc::clone(&self.shared);
        let start = move || match shared.process() {
            Ok(process) => shared.keep(process),
            Err(error) => tracing::warn!(%error, "no process waits for the next query"),
        };
        // Without it, the next query starts its own.
        let _ = thread::Builder::new().name("spare".into()).spawn(start);
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Option<QueryProcess>> {
        self.shared
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the folder of temporary files, if there are any.
fn folder_of(options: &EngineOptions) -> Result<Option<QueryFolder>, EngineError> {
    if options.spill_bytes == 0 {
        return Ok(None);
    }
    let parent = options.spill_folder.clone().unwrap_or_else(env::temp_dir);
    let folder = QueryFolder::new(&parent);
    folder.map(Some).map_err(|error| {
        let parent = parent.display();
        EngineError::data(format!(
            "{parent} takes no folder for temporary files: {error}"
        ))
    })
}

/// Hands a query to a process, and waits until it is ready and has taken it. **Blocks**, for so long
/// at most.
fn hand(
    mut process: QueryProcess,
    question: &Question,
    most: Duration,
) -> Result<QueryProcess, EngineError> {
    process.tell(question)?;
    match process.listen(Some(Instant::now() + most))? {
        (Tag::Taken, _) => Ok(process),
        (tag, body) => Err(unexpected(tag, &body)),
    }
}

impl Shared {
    fn process(&self) -> Result<QueryProcess, EngineError> {
        let limits = self.limits(self.folder()?);
        QueryProcess::start(&limits).map_err(|error| refused("process", &error))
    }

    /// Returns the folder of temporary files: a new one, if somebody has removed it.
    fn folder(&self) -> Result<Option<Bytes>, EngineError> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if folder
            .as_ref()
            .is_some_and(|folder| !folder.path().exists())
        {
            tracing::warn!(
                "the folder for temporary files of queries was removed: here is another"
            );
            *folder = folder_of(&self.options)?;
        }
        Ok(folder.as_ref().map(|folder| Bytes::of(folder.path())))
    }

    fn limits(&self, spill_folder: Option<Bytes>) -> Limits {
        let memory_bytes = self.isolation.memory_bytes.max(QUERY_BYTES_MIN);
        let pool = usize::try_from(memory_bytes / POOL_SHARE).unwrap_or(usize::MAX);
        let cores = thread::available_parallelism().map_or(1, Into::into);
        Limits {
            memory_bytes,
            pool_bytes: self.options.memory_bytes.min(pool),
            spill_bytes: self.options.spill_bytes,
            spill_folder,
            // One core is the server's.
            threads: cores.saturating_sub(1).max(1),
            time_limit: self.options.time_limit,
            fits_strict: self.options.fits_strict,
            expansion_max: self.options.expansion_max,
            unpack_bytes: self.options.unpack_bytes,
        }
    }

    fn keep(&self, process: QueryProcess) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let before = spare.replace(process);
        drop(spare);
        drop(before);
    }
}

/// A query that a process has been asked.
pub struct Asked {
    process: QueryProcess,
    queries: IsolatedQueries,
}

impl Asked {
    /// Returns a handle that stops the query.
    pub fn stopper(&self) -> IsolatedStopper {
        IsolatedStopper(Arc::clone(self.process.end()))
    }

    /// Waits for the columns. **Blocks**, for 20 seconds at most, and while the files are listed.
    ///
    /// # Errors
    /// The query cannot be planned, within the time and the memory; a file is gone, or no longer fits
    /// its table; the query was stopped.
    pub fn rows(mut self) -> Result<IsolatedRows, EngineError> {
        let planned = self.plan();
        // The process has the tables of the query only.
        let (head, files) = planned.map_err(|error| {
            let names = self.queries.shared.engine.names();
            in_time(error.with_tables(&names), self.plan_time())
        })?;
        warn_if_free(head.is_confined);
        let schema = packed::schema_of(&head.columns.0).map_err(|error| {
            tracing::info!(%error, "the columns of a query cannot be read");
            let text = "the types of the result are nested too deeply";
            EngineError::new(EngineErrorKind::Computation, text)
        })?;
        // It has no batch.
        let mut decoder = StreamDecoder::new();
        let decoded = decoder.decode(&mut Buffer::from_vec(head.columns.0));
        decoded.map_err(of_message)?;
        Ok(IsolatedRows {
            schema,
            known_rows: head.rows_known,
            files,
            time_limit: self.queries.shared.options.time_limit,
            time_left: self.queries.shared.options.time_limit,
            received: Some(receiving(self.process, decoder)?),
        })
    }

    fn plan_time(&self) -> Duration {
        self.queries.shared.options.time_limit.min(PLAN_TIME_MAX)
    }

    /// Returns what the rows will be, and the files of the query's tables.
    fn plan(&mut self) -> Result<(Head, RowsFiles), EngineError> {
        let mut deadline = Instant::now() + self.plan_time();
        let wanted = match self.process.listen(Some(deadline))? {
            (Tag::Wanted, body) => unpack::<Wanted>(&body).map_err(of_message)?,
            (tag, body) => return Err(unexpected(tag, &body)),
        };
        let engine = &self.queries.shared.engine;
        let listing = Instant::now();
        let copies = engine.block_on(engine.copies(wanted.0))?;
        deadline += listing.elapsed();
        self.process.tell(&copies)?;
        let files = RowsFiles::new(copies.iter().flat_map(TableCopy::pinned).cloned());
        drop(copies);
        match self.process.listen(Some(deadline))? {
            (Tag::Head, body) => Ok((unpack(&body).map_err(of_message)?, files)),
            (tag, body) => Err(unexpected(tag, &body)),
        }
    }
}

/// Stops a query from any thread: its process is killed. Further calls do nothing.
#[derive(Clone, Debug)]
pub struct IsolatedStopper(Arc<ProcessEnd>);

impl IsolatedStopper {
    /// Stops the query. Never blocks for long.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// The rows of a query that a process runs.
///
/// `next` **blocks** until there is a batch, the time is up, or the query is stopped. The time limit
/// counts the time that the reader spends in `next`. Dropping the rows ends the process. After an
/// error, or after the last batch, `next` returns `None`.
pub struct IsolatedRows {
    schema: SchemaRef,
    known_rows: Option<u64>,
    files: RowsFiles,
    time_limit: Duration,
    time_left: Duration,
    /// `None` once there are no more rows.
    received: Option<Received>,
}

impl IsolatedRows {
    /// Returns the number of rows that there are without the limit, if the files state it and nothing
    /// filters them.
    pub fn known_rows(&self) -> Option<u64> {
        self.known_rows
    }

    /// Returns the files of the query's tables. The process checks those that it has read at the end of
    /// the rows: whoever takes no more before that does so with [`RowsFiles::check`].
    pub fn files(&self) -> &RowsFiles {
        &self.files
    }
}

/// What a thread receives while the batch before is written. Dropping it ends the process.
struct Received {
    /// A batch, or the end of all. A thread that says neither has failed.
    batches: mpsc::Receiver<Result<Option<RecordBatch>, EngineError>>,
    end: Arc<ProcessEnd>,
}

impl Received {
    /// Returns the next batch. **Blocks**, for so long at most.
    fn next(&self, most: Duration) -> Result<Option<RecordBatch>, EngineError> {
        match self.batches.recv_timeout(most) {
            Ok(batch) => batch,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(EngineError::new(
                EngineErrorKind::TimedOut,
                "the query took too long",
            )),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(of_message("nothing is received")),
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.end.stop();
    }
}

/// One batch waits for the writer, and one is being received: a message has 8 MiB at most.
const BATCHES_AHEAD: usize = 1;

/// Starts the thread that receives.
fn receiving(process: QueryProcess, decoder: StreamDecoder) -> Result<Received, EngineError> {
    let (sender, batches) = mpsc::sync_channel(BATCHES_AHEAD);
    let end = Arc::clone(process.end());
    let mut receiver = Receiver {
        process,
        decoder,
        undecoded: Buffer::from_vec(Vec::<u8>::new()),
    };
    let receive = move || {
        loop {
            let next = receiver.next();
            let goes_on = matches!(next, Ok(Some(_)));
            if sender.send(next).is_err() || !goes_on {
                return;
            }
        }
    };
    let started = thread::Builder::new()
        .name("receiver".into())
        .spawn(receive);
    started.map_err(|error| refused("thread", &error))?;
    Ok(Received { batches, end })
}

/// The error of something that the system does not start: it has too little of it now, or forbids it.
fn refused(what: &str, error: &io::Error) -> EngineError {
    let text = format!("the system starts no {what} for the query: {error}");
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            EngineError::new(EngineErrorKind::Busy, text)
        }
        _ => EngineError::data(text),
    }
}

struct Receiver {
    process: QueryProcess,
    decoder: StreamDecoder,
    undecoded: Buffer,
}

impl Receiver {
    /// Receives the next batch. **Blocks** until it is there, or the process ends: whoever waits for
    /// this thread ends it in time.
    fn next(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            while !self.undecoded.is_empty() {
                let decoded = self.decoder.decode(&mut self.undecoded);
                if let Some(batch) = decoded.map_err(of_message)? {
                    return Ok(Some(batch));
                }
            }
            match self.process.listen(None)? {
                (Tag::Rows, body) => self.undecoded = Buffer::from_vec(body),
                (Tag::End, _) => {
                    // A part of a batch is no batch.
                    self.decoder.finish().map_err(of_message)?;
                    return Ok(None);
                }
                (tag, body) => return Err(unexpected(tag, &body)),
            }
        }
    }
}

impl Iterator for IsolatedRows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let received = self.received.as_ref()?;
        let started = Instant::now();
        let next = received.next(self.time_left);
        self.time_left = self.time_left.saturating_sub(started.elapsed());
        let next = next.map_err(|error| in_time(error, self.time_limit));
        if !matches!(next, Ok(Some(_))) {
            self.received = None;
        }
        let next = next.transpose()?;
        Some(next.map_err(|error| ArrowError::ExternalError(Box::new(error))))
    }
}

impl RecordBatchReader for IsolatedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Says which time is up.
fn in_time(error: EngineError, limit: Duration) -> EngineError {
    match error.kind() {
        kind @ EngineErrorKind::TimedOut => {
            EngineError::new(kind, format!("the query took longer than {limit:?}"))
        }
        _ => error,
    }
}

/// The error of a message that is not the expected one: a failure, as a rule.
fn unexpected(tag: Tag, body: &[u8]) -> EngineError {
    match tag {
        Tag::Failure => unpack::<Failure>(body).map_or_else(of_message, EngineError::from),
        _ => of_message("a message at a place where none is expected"),
    }
}

fn of_message(error: impl std::fmt::Display) -> EngineError {
    tracing::error!(%error, "the process of a query cannot be understood");
    EngineError::data("the process of the query has failed")
}

/// Says once that the kernel does not keep the processes from other files.
fn warn_if_free(is_confined: bool) {
    static SAID: Once = Once::new();
    if !is_confined {
        SAID.call_once(|| {
            tracing::warn!(
                "this kernel has no Landlock: a fault in the query engine could open any file that \
                 the server may open"
            );
        });
    }
}
