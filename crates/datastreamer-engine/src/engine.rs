//! The engine: its threads, its bounds, its tables, and the plans that it runs.
//!
//! Called by who serves; calls `files.rs` and `narrow.rs` for what is read, and gives
//! [`Rows`](crate::Rows).

use std::{
    collections::BTreeMap,
    future::Future,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::{
    catalog::TableProvider,
    common::TableReference,
    dataframe::DataFrame,
    execution::{
        context::SessionContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    prelude::SessionConfig,
};
use datastreamer_table::column_metadata::ColumnMetadata;

use crate::{
    error::EngineError,
    files::{FileKind, TableFiles},
    fits::FitsTable,
    known::Known,
    narrow::Narrowing,
    provider::FileTable,
    rows::Rows,
    sql::Query,
    threads::OwnThreads,
};

/// 512 MiB for sorts, joins and groups of all queries together: a small server's share. Scans
/// need none of it.
pub const DEFAULT_MEMORY_BYTES: usize = 512 * 1024 * 1024;
/// 20 GiB of temporary files: sorts of some hundred million rows.
pub const DEFAULT_SPILL_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// Ten minutes of waiting for rows in one query; what a slow client takes does not count.
pub const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(600);
/// Rows of a batch: DataFusion's own default. 8192 rows of 100 bytes fit a core's cache.
const BATCH_ROWS: usize = 8192;
/// A query is done in no more parts than have 32 MiB of the memory each: one that has less sorts in
/// pieces too small to merge.
const PART_BYTES: usize = 32 * 1024 * 1024;
/// With one part DataFusion joins by hashing, which does not spill: it does so in less memory than
/// two parts need.
const PARTS_MIN: usize = 2;
/// Of a part's memory so much, 10 MiB as DataFusion has it, is kept for merging what it spilled;
/// of a small memory a quarter.
const MERGE_BYTES_MAX: usize = 10 * 1024 * 1024;
const MERGE_SHARE: usize = 4;
/// Functions that make of a short query a value larger than all memory; nothing bounds them.
const ENDLESS_FUNCTIONS: [&str; 7] = [
    "range",
    "generate_series",
    "array_repeat",
    "array_resize",
    "repeat",
    "lpad",
    "rpad",
];
/// No table has more rows: what is beyond a larger offset is nothing.
const ROWS_MAX: u64 = 1 << 61;
/// Rows of a limit that DataFusion is told: the first ones of a sort are kept in memory, some
/// megabytes.
const LIMIT_PUSHED_MAX: u64 = 10_000;
/// 16 MiB of files' footers, so that the next request need not read them: enough for some hundred
/// files.
const FOOTERS_BYTES: usize = 16 * 1024 * 1024;

/// What bounds an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Memory of sorts, joins and groups, of all queries together, in bytes. Beyond it they spill.
    pub memory_bytes: usize,
    /// Temporary files of all queries together, in bytes; 0: none.
    pub spill_bytes: u64,
    /// Where they are; `None`: the system's folder for temporary files.
    pub spill_folder: Option<PathBuf>,
    /// How long one query may take, without the time that its reader takes.
    pub time_limit: Duration,
    /// Threads of the engine's own; `None`: one a core.
    pub threads: Option<usize>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            spill_bytes: DEFAULT_SPILL_BYTES,
            spill_folder: None,
            time_limit: DEFAULT_TIME_LIMIT,
            threads: None,
        }
    }
}

/// A query engine with registered tables.
///
/// Clones are the same engine. The last one to be dropped stops its threads, without waiting.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    /// For scans: one partition, so that rows come in the files' order, on the reader's thread.
    scans: SessionContext,
    /// For queries: as many partitions as there are threads, as far as the memory goes.
    queries: SessionContext,
    tables: RwLock<BTreeMap<String, TableInfo>>,
    time_limit: Duration,
    /// Where plans are made: those that compute may each be in the midst of a join for seconds.
    planner: Arc<OwnThreads>,
    /// Where plans run.
    threads: Arc<OwnThreads>,
}

/// What is known of a registered table.
#[derive(Clone, Debug)]
pub struct TableInfo {
    schema: SchemaRef,
    rows: Option<u64>,
    is_binary: bool,
}

impl TableInfo {
    /// Returns the columns with their metadata.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Returns the number of rows, where the files said it when the table was registered.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Says whether some columns are read without the others, and nothing is parsed: Parquet,
    /// Arrow, FITS. To read them twice costs less than to keep the rows.
    pub fn is_binary(&self) -> bool {
        self.is_binary
    }
}

impl Engine {
    /// Starts an engine without tables.
    ///
    /// # Errors
    /// The threads cannot be started, or the folder for temporary files is none.
    pub fn new(options: EngineOptions) -> Result<Self, EngineError> {
        let threads = options
            .threads
            .or_else(|| thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1);
        let environment = environment(&options)?;
        let session = |parts: usize| {
            let config = config(parts, options.memory_bytes);
            let context = SessionContext::new_with_config_rt(config, Arc::clone(&environment));
            for name in ENDLESS_FUNCTIONS {
                context.deregister_udf(name);
            }
            context
        };
        let parts_max = (options.memory_bytes / PART_BYTES).max(1);
        Ok(Self {
            shared: Arc::new(Shared {
                scans: session(1),
                queries: session(threads.max(PARTS_MIN).min(parts_max)),
                tables: RwLock::default(),
                time_limit: options.time_limit,
                planner: Arc::new(OwnThreads::start("planner", 1)?),
                threads: Arc::new(OwnThreads::start("engine", threads)?),
            }),
        })
    }

    /// Registers files as a table, in the place of one that was called so. Their schemas are read,
    /// and the number of their rows where they say it; of CSV, TSV and NDJSON all rows, for their
    /// types.
    ///
    /// # Errors
    /// Files that cannot be read or have different columns; notes on a column that is not there.
    pub async fn register(
        &self,
        name: &str,
        files: TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<TableInfo, EngineError> {
        let (engine, name, notes) = (self.clone(), name.to_owned(), notes.clone());
        self.on_planner(async move { engine.shared.register(&name, &files, &notes).await })
            .await
    }

    /// Returns what is known of a table.
    pub fn table(&self, name: &str) -> Option<TableInfo> {
        let tables = self.shared.tables.read();
        let tables = tables.unwrap_or_else(PoisonError::into_inner);
        tables.get(name).cloned()
    }

    /// Plans the rows of a table, narrowed. With a limit the rows are at most one more than it:
    /// whoever reads them can tell a table that was cut from one that fits.
    ///
    /// # Errors
    /// There is no such table; the plan cannot be made.
    pub async fn scan(&self, table: &str, narrowing: &Narrowing) -> Result<Rows, EngineError> {
        let (engine, table, narrowing) = (self.clone(), table.to_owned(), narrowing.clone());
        self.on_planner(async move {
            let shared = &engine.shared;
            let info = engine
                .table(&table)
                .ok_or_else(|| EngineError::bad(format!("there is no table {table:?}")))?;
            let name = TableReference::bare(table.as_str());
            let provider = shared.scans.table_provider(name).await?;
            let frame = narrowing.apply(shared.scans.read_table(provider)?)?;
            let frame = limit(frame, narrowing.offset, narrowing.limit)?;
            shared.run(frame, Some((&info.schema, &narrowing))).await
        })
        .await
    }

    /// Plans the rows of a query: one SELECT over the registered tables. With a limit, as
    /// [`scan`](Self::scan) does.
    ///
    /// # Errors
    /// It is no SELECT, or cannot be planned: the error has its position where it is known.
    pub async fn query(&self, query: &Query, rows_max: Option<u64>) -> Result<Rows, EngineError> {
        let (engine, query) = (self.clone(), query.clone());
        self.on_planner(async move {
            let shared = &engine.shared;
            let state = shared.queries.state();
            let plan = query.plan(&state).await?;
            let frame = limit(DataFrame::new(state, plan), 0, rows_max)?;
            let mut rows = shared.run(frame, None).await?;
            rows.apply(query.column_metadata())?;
            Ok(rows)
        })
        .await
    }

    /// Runs a future on the planner's thread: planning computes, and must not block the caller's.
    async fn on_planner<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let task = self.shared.planner.handle.spawn(future);
        task.await
            .unwrap_or_else(|error| Err(EngineError::data(format!("the engine failed: {error}"))))
    }
}

impl Shared {
    async fn register(
        &self,
        name: &str,
        files: &TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<TableInfo, EngineError> {
        let table = self.provider(files, notes).await?;
        let schema = notes.apply(&table.schema())?;
        let rows = known_rows(&self.scans, &table).await;
        // A name is one as it stands, and not `schema.table` or in other letters.
        let bare = TableReference::bare(name);
        for context in [&self.scans, &self.queries] {
            context.deregister_table(bare.clone())?;
            context.register_table(bare.clone(), Arc::clone(&table))?;
        }
        let is_binary = files.kind().is_binary();
        let info = TableInfo {
            schema,
            rows,
            is_binary,
        };
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert(name.to_owned(), info.clone());
        Ok(info)
    }

    /// Reads the files' schemas: what scans and queries share does not depend on either.
    async fn provider(
        &self,
        files: &TableFiles,
        notes: &ColumnMetadata,
    ) -> Result<Arc<dyn TableProvider>, EngineError> {
        if files.kind() == FileKind::Fits {
            let table = FitsTable::open(files.clone()).await?;
            let schema = notes.overlay(&table.schema());
            return Ok(Arc::new(table.with_schema(schema)));
        }
        let threads = self.threads.handle.clone();
        let table = FileTable::open(files.clone(), notes, threads).await?;
        Ok(Arc::new(table))
    }

    /// Plans the rows of a query, or of a table with this schema, narrowed.
    async fn run(
        &self,
        frame: DataFrame,
        of_table: Option<(&Schema, &Narrowing)>,
    ) -> Result<Rows, EngineError> {
        let task = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let known = match of_table {
            Some((_, narrowing)) => Known::of_scan(plan.as_ref(), narrowing),
            None => Known {
                columns: Vec::new(),
                ..Known::of(plan.as_ref())
            },
        };
        let mut schema = plan.schema();
        if let Some((table, _)) = of_table {
            let fields = schema.fields().clone();
            schema = Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()));
        }
        let threads = Arc::clone(&self.threads);
        Rows::new(schema, known, plan, task, threads, self.time_limit)
    }
}

/// One row more than the limit, so that a cut shows. A large limit is left to who reads the rows:
/// DataFusion keeps as many in memory when it sorts, while a sort of all rows spills.
fn limit(frame: DataFrame, offset: u64, rows_max: Option<u64>) -> Result<DataFrame, EngineError> {
    // DataFusion counts in `i64`, offset and limit together.
    let count = |rows: u64| usize::try_from(rows.min(ROWS_MAX)).unwrap_or(usize::MAX);
    let fetch = rows_max.filter(|rows| *rows <= LIMIT_PUSHED_MAX);
    let fetch = fetch.map(|rows| count(rows + 1));
    if offset == 0 && fetch.is_none() {
        return Ok(frame);
    }
    Ok(frame.limit(count(offset), fetch)?)
}

async fn known_rows(context: &SessionContext, table: &Arc<dyn TableProvider>) -> Option<u64> {
    let plan = table.scan(&context.state(), None, &[], None).await.ok()?;
    Known::of(plan.as_ref()).rows
}

fn config(parts: usize, memory_bytes: usize) -> SessionConfig {
    let merge_bytes = memory_bytes / parts / MERGE_SHARE;
    let mut config = SessionConfig::new()
        .with_target_partitions(parts)
        .with_sort_spill_reservation_bytes(merge_bytes.min(MERGE_BYTES_MAX))
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(true);
    let options = config.options_mut();
    // Columns are called as in the file, `RA` and `ra` being two.
    options.sql_parser.enable_ident_normalization = false;
    // Joins by sorting spill beyond their memory; those by hashing would fail.
    options.optimizer.prefer_hash_join = false;
    // Errors have positions.
    options.sql_parser.collect_spans = true;
    config
}

fn environment(options: &EngineOptions) -> Result<Arc<RuntimeEnv>, EngineError> {
    let mode = match (&options.spill_folder, options.spill_bytes) {
        (_, 0) => DiskManagerMode::Disabled,
        (Some(folder), _) => DiskManagerMode::Directories(vec![folder.clone()]),
        (None, _) => DiskManagerMode::OsTmpDirectory,
    };
    let spill = DiskManagerBuilder::default()
        .with_mode(mode)
        .with_max_temp_directory_size(options.spill_bytes);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
        .with_disk_manager_builder(spill)
        .with_metadata_cache_limit(FOOTERS_BYTES)
        .build_arc()?;
    Ok(environment)
}
