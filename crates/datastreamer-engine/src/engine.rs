//! The engine: its limits, its threads, its tables, and the plans that it makes. It reads no file and
//! runs no plan itself.
//!
//! The server calls it. It calls `provider.rs` or `fits.rs` to open tables, `narrow.rs` or `sql.rs`
//! for a logical plan, and returns [`Rows`](crate::Rows), which run the physical plan.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatchReader,
};
use datafusion::{
    catalog::TableProvider,
    common::{TableReference, tree_node::TreeNodeRecursion},
    dataframe::DataFrame,
    execution::{
        context::SessionContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        object_store::ObjectStoreUrl,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
        session_state::{SessionState, SessionStateBuilder},
    },
    logical_expr::{AggregateUDF, LogicalPlan},
    optimizer::{Analyzer, AnalyzerRule},
    physical_optimizer::{
        PhysicalOptimizerRule, aggregate_statistics::AggregateStatistics,
        optimizer::PhysicalOptimizer,
    },
    physical_plan::ExecutionPlan,
    prelude::SessionConfig,
};
use datastreamer_table::{column_metadata::ColumnMetadata, fits::FitsHdu};
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    averages::CheckedAverage,
    binary_text::NO_BINARY_TEXT,
    bit_operators::BITS_OF_INTEGERS,
    conversions::{KEEP_CONVERSIONS, NAMED_CONVERSIONS},
    correlated::CheckCorrelated,
    equal_floats::{EQUAL_FLOATS, EqualFloatsInKeys},
    error::EngineError,
    exact_numbers::{COMPARE_DECIMALS, DecimalsInJoins},
    expansion::{DEFAULT_EXPANSION_MAX, with_expansion_max},
    extremes::{Greatest, Least},
    files::TableFiles,
    filtered_joins::PushProjections,
    fits::{FitsTable, Opening},
    from_statistics::{FloatPruning, RowCounts},
    grown_values, guard,
    in_lists::KeepLists,
    in_subqueries::WriteOutNotIn,
    intervals::{COMPARE_INTERVALS, TIMES_OF_DATES},
    known::Known,
    limited_sorts::{KEPT_ROWS_MAX, LimitedSorts},
    mixed_numbers::MixedNumbers,
    narrow::{Narrowing, Ties},
    overflow::CHECK_ARITHMETIC,
    patterns::COMPARE_DICTIONARIES,
    planning::{DEFAULT_PLAN_TIMEOUT, Planned, Planner},
    provider::FileTable,
    query_memory::{self, DEFAULT_MEMORY_TIMEOUT, QueryMemory},
    range_frames::RANGE_FRAMES,
    rows::Rows,
    scan::BATCH_ROWS,
    set_comparison::NAME_COMPARED_ROWS,
    sliding,
    sort_keys::SortOnce,
    spill::SpillFiles,
    sql::Query,
    store::Files,
    sums::CheckedSum,
    table_copy::{Contents, TableCopy},
    threads::EngineThreads,
    time_bins::TIME_BINS,
    time_parts::PARTS_OF_LENGTHS,
    time_zone::AT_TIME_ZONE,
    unpacked::{DEFAULT_UNPACK_BYTES, Unpacker},
    utc::CONVERT_IN_UTC,
};

/// 512 MiB for the sorts, joins and aggregations of all queries together, which a small server can
/// spare. Scans do not count.
pub const DEFAULT_MEMORY_BYTES: usize = 512 * 1024 * 1024;
/// 20 GiB of temporary files: sorts of some hundred million rows.
pub const DEFAULT_SPILL_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// Ten minutes of waiting for the rows of one query. The time that a slow client takes does not
/// count.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);
/// 32 MiB of a query's memory for each of its partitions: with less, a sort spills runs that are too small
/// to merge. The number of partitions is limited accordingly.
const PARTITION_BYTES_MIN: usize = 32 * 1024 * 1024;
/// With one partition DataFusion uses hash joins, which cannot spill. Two partitions are used
/// wherever the memory suffices for them.
const PARTITIONS_MIN: usize = 2;
/// 10 MiB of a partition's memory, DataFusion's default, are reserved for merging spilled runs, but
/// at most a quarter of it.
const MERGE_BYTES_MAX: usize = 10 * 1024 * 1024;
const MERGE_SHARE: usize = 4;
/// Functions that create values of any size from a short query. The memory limit does not apply to
/// them.
const UNBOUNDED_FUNCTIONS: [&str; 7] = [
    "range",
    "generate_series",
    "array_repeat",
    "array_resize",
    "repeat",
    "lpad",
    "rpad",
];
/// Functions that tell of the server: the paths of its files, and what it is made of.
const TELLING_FUNCTIONS: [&str; 2] = ["input_file_name", "version"];
/// No table has more rows: a larger offset skips all of them.
const ROWS_MAX: u64 = 1 << 61;
/// The largest limit that is part of a plan.
const LIMIT_IN_PLAN_MAX: u64 = KEPT_ROWS_MAX as u64;
/// 16 MiB of Parquet footers are kept, those of some hundred files, so that the next request need not
/// read them.
const FOOTERS_BYTES: usize = 16 * 1024 * 1024;

/// The limits of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory in bytes for the sorts, joins and aggregations of all queries together. Beyond it they
    /// spill to temporary files.
    pub memory_bytes: usize,
    /// Temporary files of all queries together, in bytes; 0: no temporary files.
    pub spill_bytes: u64,
    /// The folder of the temporary files; `None`: the system's.
    pub spill_folder: Option<PathBuf>,
    /// How long the reader of one query may wait for rows, in total.
    pub time_limit: Duration,
    /// How long a plan may take to be there, with the time that it waits for others of its table.
    pub plan_timeout: Duration,
    /// How long a query waits for the memory of another one.
    pub memory_timeout: Duration,
    /// Threads that run plans; `None`: one per core. Others make the plans, as many as are needed.
    pub threads: Option<usize>,
    /// Whether values of FITS files that the standard does not allow are errors, rather than read as
    /// other programs do.
    pub fits_strict: bool,
    /// How many times its size a compressed text file, batch of Arrow or page of Parquet may become,
    /// where it becomes large.
    pub expansion_max: u64,
    /// Temporary files of FITS files that are compressed as a whole, in bytes; in `spill_folder`.
    pub unpack_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            spill_bytes: DEFAULT_SPILL_BYTES,
            spill_folder: None,
            time_limit: DEFAULT_TIME_LIMIT,
            plan_timeout: DEFAULT_PLAN_TIMEOUT,
            memory_timeout: DEFAULT_MEMORY_TIMEOUT,
            threads: None,
            fits_strict: false,
            expansion_max: DEFAULT_EXPANSION_MAX,
            unpack_bytes: DEFAULT_UNPACK_BYTES,
        }
    }
}

/// A query engine with registered tables.
///
/// Clones share one engine. Dropping the last one stops the threads, without waiting for them.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    tables: RwLock<BTreeMap<String, TableInfo>>,
    time_limit: Duration,
    fits_strict: bool,
    expansion_max: u64,
    unpacker: Arc<Unpacker>,
    /// Makes plans. The threads that run them cannot: each may compute one join for seconds.
    planner: Planner,
    memory: Arc<QueryMemory>,
    /// Runs plans.
    threads: Arc<EngineThreads>,
}

/// What plans are made with. It has no threads.
pub(crate) struct Sessions {
    /// For scans: one partition, so that rows keep the order of the files, and are computed on the
    /// reader's thread.
    scans: SessionContext,
    /// For queries: as many partitions as threads, if the memory suffices.
    queries: SessionContext,
    memory: Arc<QueryMemory>,
    process: Process,
}

/// Whose process an engine runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// That of many queries, which must not hurt one another: functions that create values of any
    /// size from a short query are missing, or bounded.
    OfMany,
    /// That of one query, whose memory the system bounds: it may do with it what it likes.
    OfOne,
}

impl Process {
    /// How many threads of each kind may wait for files.
    pub(crate) fn file_threads(self) -> usize {
        match self {
            // Tokio's own number.
            Self::OfMany => 512,
            // More would wait for the same disks.
            Self::OfOne => 16,
        }
    }
}

/// A table that has no name in queries.
#[derive(Clone, Debug)]
pub struct OpenTable {
    /// That of the registered table that it belongs to.
    name: String,
    info: TableInfo,
    provider: Arc<dyn TableProvider>,
}

impl OpenTable {
    /// Returns the columns and the size.
    pub fn info(&self) -> &TableInfo {
        &self.info
    }
}

/// The columns and the size of a registered table.
#[derive(Clone, Debug)]
pub struct TableInfo {
    schema: SchemaRef,
    rows: Option<u64>,
    is_binary: bool,
    is_usual: bool,
    is_checked: bool,
}

impl TableInfo {
    /// Returns the columns with their metadata.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the number of rows when the table was registered, if the files state it: Parquet and
    /// FITS.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Returns whether the files are binary: Parquet, Arrow or FITS. Single columns of them are read
    /// without parsing the others, so that reading rows twice costs less than storing them.
    pub fn is_binary(&self) -> bool {
        self.is_binary
    }

    /// Returns whether the files are written as is usual for their format: by no option, and with no
    /// other delimiter or encoding.
    pub fn is_usual(&self) -> bool {
        self.is_usual
    }

    /// Returns whether every row was read when the table was registered: to infer types from all values.
    pub fn is_checked(&self) -> bool {
        self.is_checked
    }
}

/// A query whose columns are known: nothing of it has run.
pub struct PlannedQuery {
    state: SessionState,
    plan: LogicalPlan,
    notes: ColumnMetadata,
    schema: SchemaRef,
}

impl PlannedQuery {
    /// Returns the columns of the result.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }
}

impl Engine {
    /// Starts an engine without tables.
    ///
    /// # Errors
    /// The threads cannot be started, or the folder for temporary files cannot be used.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let sessions = Sessions::new(&options, Process::OfMany)?;
        Self::of_sessions(sessions, &options)
    }

    /// Starts the threads of an engine with these sessions.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub(crate) fn of_sessions(
        sessions: Sessions,
        options: &EngineOptions,
    ) -> Result<Self, EngineError> {
        guard::quiet_hook();
        let file_threads = sessions.process.file_threads();
        Ok(Self {
            shared: Arc::new(Shared {
                tables: RwLock::default(),
                time_limit: options.time_limit,
                fits_strict: options.fits_strict,
                expansion_max: options.expansion_max,
                unpacker: Arc::new(Unpacker::new(
                    options.spill_folder.as_deref(),
                    options.unpack_bytes,
                    options.expansion_max,
                )),
                planner: Planner::start(options.plan_timeout, file_threads)?,
                memory: Arc::clone(&sessions.memory),
                threads: Arc::new(EngineThreads::start(
                    "engine",
                    threads_of(options),
                    file_threads,
                )?),
                sessions,
            }),
        })
    }
    /// Registers files as a table, and replaces the table of that name. Reads the columns of each
    /// file and the number of rows, if the file states it; of CSV, TSV and NDJSON it reads all rows,
    /// to infer the types. Does not block the caller's thread.
    ///
    /// # Errors
    /// Files that cannot be read, or that have different columns; notes on a column that is not
    /// there.
    pub async fn register(
        &self,
        name: &str,
        files: TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<TableInfo, EngineError> {
        let (engine, name, notes) = (self.clone(), name.to_owned(), notes.clone());
        let opened = async move { engine.shared.register(&name, &files, &notes).await };
        self.shared.planner.open(opened).await
    }

    /// Returns the table of this name. Never blocks for long.
    pub fn table(&self, name: &str) -> Option<TableInfo> {
        let tables = self.shared.tables.read();
        let tables = tables.unwrap_or_else(PoisonError::into_inner);
        tables.get(name).cloned()
    }

    /// Plans the rows of a table, narrowed, in the order of the files unless `narrowing` has another.
    /// A limit of up to 10,000 rows gives at most one row more than the limit, so that the reader can
    /// see that there are more; a larger limit is left to the reader. Does not block the caller's
    /// thread, and runs nothing before the first `next`.
    ///
    /// # Errors
    /// There is no such table; a file is gone, or no longer fits the table; the plan cannot be made,
    /// or not now ([`EngineErrorKind::Busy`](crate::EngineErrorKind::Busy)).
    pub async fn scan(&self, table: &str, narrowing: &Narrowing) -> Result<Rows, EngineError> {
        let (engine, name) = (self.clone(), table.to_owned());
        let found = async move {
            let info = engine
                .table(&name)
                .ok_or_else(|| EngineError::bad(format!("there is no table {name:?}")))?;
            let bare = TableReference::bare(name.as_str());
            let provider = engine.shared.sessions.scans.table_provider(bare).await?;
            Ok(OpenTable {
                name,
                info,
                provider,
            })
        };
        self.scan_found(table, found.boxed(), narrowing).await
    }

    /// Opens a table without a name: neither queries nor other callers find it. `of` is the registered
    /// table that it belongs to, with which it shares the places for plans. Otherwise as
    /// [`register`](Self::register).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub async fn open(
        &self,
        of: &str,
        files: TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<OpenTable, EngineError> {
        let (engine, of, notes) = (self.clone(), of.to_owned(), notes.clone());
        let opened = async move { engine.shared.open(&of, &files, &notes).await };
        self.shared.planner.open(opened).await
    }

    /// Plans the rows of a table that was [opened](Self::open), as [`scan`](Self::scan) does.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub async fn scan_open(
        &self,
        table: &OpenTable,
        narrowing: &Narrowing,
    ) -> Result<Rows, EngineError> {
        let found = table.clone();
        let found = async move { Ok(found) };
        self.scan_found(&table.name, found.boxed(), narrowing).await
    }

    /// Says what is in the HDUs of a table that is one FITS file; nothing of other tables. Does not
    /// block the caller's thread.
    ///
    /// # Errors
    /// The file cannot be read to its end.
    pub async fn hdus(&self, files: &TableFiles) -> Result<Vec<FitsHdu>, EngineError> {
        let path = match files.sole_file() {
            Some(path) if files.is_fits() => path.to_owned(),
            _ => return Ok(Vec::new()),
        };
        let shared = &self.shared;
        let opening = Opening::new(files, shared.fits_strict, Arc::clone(&shared.unpacker));
        let listed = async move { opening.hdus(&path) };
        shared.planner.open(listed).await
    }

    async fn scan_found(
        &self,
        name: &str,
        found: BoxFuture<'static, Result<OpenTable, EngineError>>,
        narrowing: &Narrowing,
    ) -> Result<Rows, EngineError> {
        let planned = Planned::Tables(BTreeSet::from([name.to_owned()]));
        let (engine, narrowing) = (self.clone(), narrowing.clone());
        let plan = async move {
            let shared = &engine.shared;
            let OpenTable { info, provider, .. } = found.await?;
            let scans = &shared.sessions.scans;
            let frame = narrowing.apply(scans.read_table(provider)?, Ties::OfFiles)?;
            shared
                .rows(frame, &narrowing, Of::Table(&info.schema))
                .await
        };
        self.plan(planned, plan.boxed()).await
    }

    /// Plans the rows of a query: one SELECT over the registered tables. The limit works as in
    /// [`scan`](Self::scan). Does not block the caller's thread, and runs nothing before the first
    /// `next`.
    ///
    /// # Errors
    /// The text is not one SELECT, or cannot be planned: the error has the position, if it is known.
    /// The plan cannot be made now ([`EngineErrorKind::Busy`](crate::EngineErrorKind::Busy)).
    pub async fn query(&self, query: &Query, rows_max: Option<u64>) -> Result<Rows, EngineError> {
        let planned = self.plan_text(query).await?;
        let narrowing = Narrowing {
            limit: rows_max,
            ..Narrowing::default()
        };
        self.rows_of(planned, &narrowing).await
    }

    /// Plans a query as far as its columns are known. Otherwise as [`query`](Self::query).
    ///
    /// # Errors
    /// As [`query`](Self::query); metadata of a column that the result does not have.
    pub async fn plan_query(&self, query: &Query) -> Result<PlannedQuery, EngineError> {
        let planned = self.plan_text(query).await;
        planned.map_err(|error| error.with_tables(&self.names()))
    }

    async fn plan_text(&self, query: &Query) -> Result<PlannedQuery, EngineError> {
        let engine = self.clone();
        let of_text = query.clone();
        let (state, plan) = self
            .shared
            .planner
            .plan(Planned::Text, async move {
                let state = engine.shared.sessions.of_queries();
                let plan = of_text.plan(&state).await?;
                Ok((state, plan))
            })
            .await?;
        let notes = query.column_metadata().clone();
        let schema = Arc::new(plan.schema().as_arrow().clone());
        Ok(PlannedQuery {
            schema: notes.apply(&schema)?,
            state,
            plan,
            notes,
        })
    }

    /// Plans the rows of a query, narrowed. Rows that are equal in an order of `narrowing` are ordered
    /// by the other columns; without one, the order is that of the query. The limit works as in
    /// [`scan`](Self::scan).
    ///
    /// # Errors
    /// The plan cannot be made, or not now ([`EngineErrorKind::Busy`](crate::EngineErrorKind::Busy)).
    pub async fn rows_of(
        &self,
        planned: PlannedQuery,
        narrowing: &Narrowing,
    ) -> Result<Rows, EngineError> {
        let PlannedQuery {
            state, plan, notes, ..
        } = planned;
        let (engine, narrowing) = (self.clone(), narrowing.clone());
        let tables = Planned::Tables(tables_of(&plan)?);
        let of = match has_limit(&plan)? {
            true => Of::LimitedQuery,
            false => Of::Query,
        };
        let plan = async move {
            let frame = narrowing.apply(DataFrame::new(state, plan), Ties::OtherColumns)?;
            let mut rows = engine.shared.rows(frame, &narrowing, of).await?;
            let notes = narrowing.metadata(&notes, &rows.schema());
            rows.apply(&notes)?;
            Ok(rows)
        };
        self.plan(tables, plan.boxed()).await
    }

    /// Copies registered tables for another process, each with its files as they are now: those of
    /// these names, or all. Names of no table are left out. Does not block the caller's thread.
    ///
    /// # Errors
    /// A file is gone, or no longer fits its table.
    pub(crate) async fn copies(
        &self,
        names: Option<Vec<String>>,
    ) -> Result<Vec<TableCopy>, EngineError> {
        let names = names.unwrap_or_else(|| self.names());
        let tables = Planned::Tables(names.iter().cloned().collect());
        let engine = self.clone();
        let copy = async move {
            let mut copies = Vec::with_capacity(names.len());
            for name in names {
                copies.extend(engine.shared.copy(&name).await?);
            }
            Ok(copies)
        };
        self.shared.planner.plan(tables, copy).await
    }

    /// Registers the table of a copy.
    ///
    /// # Errors
    /// The copy has no files.
    pub(crate) fn register_copy(&self, copy: TableCopy) -> Result<(), EngineError> {
        let name = copy.name.clone();
        let table = self.shared.provider_of_copy(copy)?;
        self.shared.sessions.register(&name, &table)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let tables = self.shared.tables.read();
        let tables = tables.unwrap_or_else(PoisonError::into_inner);
        tables.keys().cloned().collect()
    }

    /// Blocks until a future of the engine is ready. Not to be called from a future.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.shared.threads.handle.block_on(future)
    }

    /// Makes a plan, and then waits for the memory that it needs: nobody waits behind it for a plan
    /// meanwhile.
    async fn plan(
        &self,
        of: Planned,
        plan: BoxFuture<'static, Result<Rows, EngineError>>,
    ) -> Result<Rows, EngineError> {
        let Shared {
            planner, memory, ..
        } = self.shared.as_ref();
        let mut rows = planner.plan(of, plan).await?;
        if rows.needs_memory() {
            let memory = Arc::clone(memory);
            rows.hold(planner.coordinate(memory.wait()).await?);
        }
        Ok(rows)
    }
}

impl Sessions {
    /// Makes the sessions of an engine. No thread is started.
    ///
    /// # Errors
    /// The folder for temporary files cannot be used.
    pub(crate) fn new(options: &EngineOptions, process: Process) -> Result<Self, EngineError> {
        let memory = match process {
            Process::OfMany => QueryMemory::new(options.memory_bytes, options.memory_timeout),
            Process::OfOne => QueryMemory::of_one(options.memory_bytes),
        };
        let environment = environment(options)?;
        let session = |partitions: usize| {
            let state = SessionStateBuilder::new_with_default_features()
                .with_config(with_expansion_max(
                    config(partitions, memory.bytes_of_each()),
                    options.expansion_max,
                ))
                .with_runtime_env(Arc::clone(&environment))
                .with_analyzer_rules(analyzer_rules())
                .with_physical_optimizer_rules(physical_rules())
                .build();
            let context = SessionContext::new_with_state(state);
            context.add_analyzer_rule(Arc::new(SortOnce));
            context.add_analyzer_rule(Arc::new(CheckCorrelated));
            context.add_analyzer_rule(Arc::new(WriteOutNotIn));
            context.add_analyzer_rule(Arc::new(NAMED_CONVERSIONS));
            context.add_analyzer_rule(Arc::new(CONVERT_IN_UTC));
            context.add_analyzer_rule(Arc::new(COMPARE_DICTIONARIES));
            context.add_analyzer_rule(Arc::new(COMPARE_INTERVALS));
            context.add_analyzer_rule(Arc::new(EqualFloatsInKeys));
            context.add_analyzer_rule(Arc::new(EQUAL_FLOATS));
            context.add_analyzer_rule(Arc::new(NAME_COMPARED_ROWS));
            context.add_analyzer_rule(Arc::new(KeepLists));
            context.register_udaf(AggregateUDF::from(CheckedSum::default()));
            context.register_udaf(AggregateUDF::from(CheckedAverage::default()));
            context.register_udaf(AggregateUDF::from(Least::default()));
            context.register_udaf(AggregateUDF::from(Greatest::default()));
            for function in sliding::functions() {
                context.register_udaf(function);
            }
            for name in TELLING_FUNCTIONS {
                context.deregister_udf(name);
            }
            if process == Process::OfMany {
                for name in UNBOUNDED_FUNCTIONS {
                    context.deregister_udf(name);
                }
                grown_values::register(&context);
            }
            context
        };
        let partitions_max = (memory.bytes_of_each() / PARTITION_BYTES_MIN).max(1);
        let threads = threads_of(options);
        let queries = session(threads.max(PARTITIONS_MIN).min(partitions_max));
        // Filters of scans do no arithmetic.
        queries.add_analyzer_rule(Arc::new(CHECK_ARITHMETIC));
        queries.add_analyzer_rule(Arc::new(KEEP_CONVERSIONS));
        queries.add_analyzer_rule(Arc::new(PARTS_OF_LENGTHS));
        queries.add_analyzer_rule(Arc::new(grown_values::NO_NEGATIVE_LENGTH));
        Ok(Self {
            scans: session(1),
            queries,
            memory: Arc::new(memory),
            process,
        })
    }

    /// Returns the state that queries are planned with.
    pub(crate) fn of_queries(&self) -> SessionState {
        self.queries.state()
    }

    /// Registers a table, and replaces the one of that name.
    fn register(&self, name: &str, table: &Arc<dyn TableProvider>) -> Result<(), EngineError> {
        // The name is used as it is: `a.b` is no table `b` of a schema `a`.
        let bare = TableReference::bare(name);
        for context in [&self.scans, &self.queries] {
            context.deregister_table(bare.clone())?;
            context.register_table(bare.clone(), Arc::clone(table))?;
        }
        Ok(())
    }
}

impl Shared {
    async fn register(
        &self,
        name: &str,
        files: &TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<TableInfo, EngineError> {
        let OpenTable { info, provider, .. } = self.open(name, files, notes).await?;
        self.sessions.register(name, &provider)?;
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert(name.to_owned(), info.clone());
        Ok(info)
    }

    async fn open(
        &self,
        name: &str,
        files: &TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<OpenTable, EngineError> {
        let provider = self.provider(files, notes).await?;
        let is_binary = files.kind().is_binary();
        let is_usual = {
            let of_files: &dyn Any = provider.as_ref();
            of_files.downcast_ref().is_none_or(FileTable::is_usual)
        };
        let info = TableInfo {
            schema: notes.apply(&provider.schema())?,
            rows: known_rows(&self.sessions.scans, &provider).await,
            is_binary,
            is_usual,
            is_checked: !is_binary && files.text().types.is_empty(),
        };
        Ok(OpenTable {
            name: name.to_owned(),
            info,
            provider,
        })
    }

    /// Opens a table's files, which scans and queries share.
    async fn provider(
        &self,
        files: &TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<Arc<dyn TableProvider>, EngineError> {
        if files.is_fits() {
            let unpacker = Arc::clone(&self.unpacker);
            let table = FitsTable::open(files.clone(), notes, self.fits_strict, unpacker).await?;
            return Ok(Arc::new(table));
        }
        let threads = self.threads.handle.clone();
        let table = FileTable::open(files.clone(), notes, threads, self.expansion_max).await?;
        Ok(Arc::new(table))
    }

    /// Opens the table of a copy.
    fn provider_of_copy(&self, copy: TableCopy) -> Result<Arc<dyn TableProvider>, EngineError> {
        let contents = copy.contents.clone();
        Ok(match contents {
            Contents::Fits(heads) => {
                let unpacker = Arc::clone(&self.unpacker);
                let table = FitsTable::of_copy(&copy, heads, self.fits_strict, unpacker)?;
                Arc::new(table)
            }
            Contents::Files(files) => {
                let threads = self.threads.handle.clone();
                let table = FileTable::of_copy(&copy, files, threads, self.expansion_max)?;
                Arc::new(table)
            }
        })
    }

    /// Copies a registered table; `None` if there is none of this name.
    async fn copy(&self, name: &str) -> Result<Option<TableCopy>, EngineError> {
        let bare = TableReference::bare(name);
        let Ok(provider) = self.sessions.scans.table_provider(bare).await else {
            return Ok(None);
        };
        let provider: &dyn Any = provider.as_ref();
        match (provider.downcast_ref(), provider.downcast_ref()) {
            (Some(table), _) => FileTable::copy(table, name).await.map(Some),
            (_, Some(table)) => FitsTable::copy(table, name).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Makes the physical plan of a query, or of a table, with the limit and the offset of `narrowing`,
    /// whose other parts are in `all`.
    async fn rows(
        &self,
        all: DataFrame,
        narrowing: &Narrowing,
        of: Of<'_>,
    ) -> Result<Rows, EngineError> {
        let frame = limit(all.clone(), narrowing.offset, narrowing.limit)?;
        let mut task = frame.task_ctx();
        let mut plan = frame.clone().create_physical_plan().await?;
        if let Some(rows) = self.memory.batch_rows(plan.as_ref()) {
            let (mut state, logical) = frame.into_parts();
            let mut config = state.config().clone().with_batch_size(rows);
            if !query_memory::has_joins(plan.as_ref()) {
                config = config.with_target_partitions(1);
            }
            *state.config_mut() = config;
            let frame = DataFrame::new(state, logical);
            task = frame.task_ctx();
            plan = frame.create_physical_plan().await?;
        }
        let environment = self.memory.environment(&task.runtime_env());
        let task = Arc::new(task.with_runtime(environment));
        let mut known = of.known(&plan, narrowing);
        if let Some(most) = narrowing.limit
            && known.rows == Some(most.saturating_add(1))
        {
            // Where the plan ends one row behind the limit, this says of the others nothing.
            let all = limit(all, narrowing.offset, None)?;
            let all = all.create_physical_plan().await?;
            known.rows = of.known(&all, narrowing).rows;
        }
        let mut schema = plan.schema();
        match of {
            Of::Table(table) => {
                let fields = schema.fields().clone();
                schema = Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()));
            }
            Of::Query | Of::LimitedQuery => known.columns.clear(),
        }
        let threads = Arc::clone(&self.threads);
        Rows::new(schema, known, plan, task, threads, self.time_limit)
    }
}

/// What the rows of a plan are.
enum Of<'a> {
    /// Those of a table with this schema, narrowed. The only limit is that of the request.
    Table(&'a Schema),
    /// Those of a query without a limit: the same.
    Query,
    /// Those of a query that has a limit, and perhaps that of the request.
    LimitedQuery,
}

impl Of<'_> {
    fn known(&self, plan: &Arc<dyn ExecutionPlan>, narrowing: &Narrowing) -> Known {
        match self {
            Self::Table(_) => Known::of_scan(plan.as_ref(), narrowing),
            Self::Query => Known::of(plan.as_ref()),
            Self::LimitedQuery => Known::of_limited(Arc::clone(plan)),
        }
    }
}

/// Returns whether a query, or a query within it, has a limit.
fn has_limit(plan: &LogicalPlan) -> Result<bool, EngineError> {
    let mut has_limit = false;
    plan.apply_with_subqueries(|plan| {
        has_limit |= matches!(plan, LogicalPlan::Limit(_));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(has_limit)
}

/// Limits a plan to one row more than `rows_max`, so that the reader can see that there are more. A
/// large limit is left to the reader.
fn limit(frame: DataFrame, offset: u64, rows_max: Option<u64>) -> Result<DataFrame, EngineError> {
    // DataFusion counts in `i64`, offset and limit together.
    let count = |rows: u64| usize::try_from(rows.min(ROWS_MAX)).unwrap_or(usize::MAX);
    let fetch = rows_max.filter(|rows| *rows <= LIMIT_IN_PLAN_MAX);
    let fetch = fetch.map(|rows| count(rows + 1));
    if offset == 0 && fetch.is_none() {
        return Ok(frame);
    }
    Ok(frame.limit(count(offset), fetch)?)
}

fn threads_of(options: &EngineOptions) -> usize {
    let of_machine = || thread::available_parallelism().ok().map(Into::into);
    options.threads.or_else(of_machine).unwrap_or(1)
}

/// Returns the names of the tables that a plan reads.
fn tables_of(plan: &LogicalPlan) -> Result<BTreeSet<String>, EngineError> {
    let mut tables = BTreeSet::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan {
            tables.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}

async fn known_rows(context: &SessionContext, table: &Arc<dyn TableProvider>) -> Option<u64> {
    let plan = table.scan(&context.state(), None, &[], None).await.ok()?;
    Known::of(plan.as_ref()).rows
}

/// Returns DataFusion's rules behind ours on what is as the query has it.
fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let ours: [Arc<dyn AnalyzerRule + Send + Sync>; 9] = [
        Arc::new(AT_TIME_ZONE),
        Arc::new(TIME_BINS),
        Arc::new(TIMES_OF_DATES),
        Arc::new(BITS_OF_INTEGERS),
        Arc::new(NO_BINARY_TEXT),
        Arc::new(MixedNumbers),
        Arc::new(RANGE_FRAMES),
        Arc::new(COMPARE_DECIMALS),
        Arc::new(DecimalsInJoins),
    ];
    ours.into_iter().chain(Analyzer::new().rules).collect()
}

/// Returns DataFusion's rules and ours: that which answers aggregates from statistics, and those which
/// push projections below others, have one of ours in their place.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let from_statistics = AggregateStatistics::new();
    let push_projections = Arc::new(PushProjections::default());
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let rules = rules.map(|rule| match rule.name() {
        name if name == from_statistics.name() => Arc::new(RowCounts::default()) as _,
        name if name == push_projections.name() => Arc::clone(&push_projections) as _,
        _ => rule,
    });
    let ours: [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 2] =
        [Arc::new(FloatPruning), Arc::new(LimitedSorts)];
    rules.chain(ours).collect()
}

fn config(partitions: usize, memory_bytes: usize) -> SessionConfig {
    let merge_bytes = memory_bytes / partitions / MERGE_SHARE;
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_sort_spill_reservation_bytes(merge_bytes.min(MERGE_BYTES_MAX))
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true);
    let options = config.options_mut();
    // Names are case-sensitive: `RA` and `ra` are two columns.
    options.sql_parser.enable_ident_normalization = false;
    // It keeps its groups in memory that nobody counts; others spill.
    options.optimizer.enable_topk_aggregation = false;
    // Sort-merge joins spill when their memory is used up; hash joins would fail.
    options.optimizer.prefer_hash_join = false;
    // What a sort with a limit, an aggregate or a join has seen would skip row groups by statistics
    // that say nothing of NaN, and do not tell 0.0 and -0.0 apart as sorts do.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    // Errors need positions in the text.
    options.sql_parser.collect_spans = true;
    config
}

fn environment(options: &EngineOptions) -> Result<Arc<RuntimeEnv>, EngineError> {
    let mode = match options.spill_bytes {
        0 => DiskManagerMode::Disabled,
        bytes => {
            let files = SpillFiles::new(options.spill_folder.as_deref(), bytes)?;
            DiskManagerMode::Custom(Arc::new(files))
        }
    };
    let spill = DiskManagerBuilder::default().with_mode(mode);
    let environment = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(spill)
        .with_metadata_cache_limit(FOOTERS_BYTES)
        .build_arc()?;
    let files = ObjectStoreUrl::local_filesystem();
    environment.register_object_store(files.as_ref(), Arc::new(Files::default()));
    Ok(environment)
}
