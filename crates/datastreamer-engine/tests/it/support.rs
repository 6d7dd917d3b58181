//! Tables to query.

use std::{
    collections::HashMap,
    fmt::Debug,
    fs::File,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use arrow::{
    array::{Array, ArrayRef, Float64Array, Int64Array, StringArray, cast::AsArray},
    compute::{cast, concat_batches},
    datatypes::{DataType, Field, Schema},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchReader},
    util::display::{ArrayFormatter, FormatOptions},
};
use datastreamer_engine::{Engine, EngineError, EngineOptions, Narrowing, Query, Rows, TableFiles};
use datastreamer_table::column_metadata::ColumnMetadata;
use datastreamer_table::fits::FitsSpool;
use parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use tempfile::TempDir;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field as LogField, Visit},
    span,
};

/// `id` counts up from `first`, `RA` is id / 8, `name` is `star ID`, null for every tenth.
pub(crate) fn stars(first: i64, rows: i64) -> RecordBatch {
    let ids = || first..first + rows;
    let name = |id: i64| (id % 10 != 0).then(|| format!("star {id}"));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(ids().collect::<Int64Array>())),
        (
            "RA",
            Arc::new(
                ids()
                    .map(|id| Some(id as f64 / 8.0))
                    .collect::<Float64Array>(),
            ),
        ),
        ("name", Arc::new(ids().map(name).collect::<StringArray>())),
    ];
    let fields = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), *name == "name"));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, values)| values).collect(),
    )
    .unwrap()
}

/// Writes a Parquet file with row groups of 1000 rows.
pub(crate) fn write_parquet(path: &Path, batch: &RecordBatch) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000));
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap();
    // The writer calls itself for each row group of a batch.
    for from in (0..batch.num_rows()).step_by(100_000) {
        let rows = 100_000.min(batch.num_rows() - from);
        writer.write(&batch.slice(from, rows)).unwrap();
    }
    writer.close().unwrap();
}

/// Writes a FITS file.
pub(crate) fn write_fits(path: &Path, batch: &RecordBatch) {
    let folder = path.parent().unwrap();
    let mut spool = FitsSpool::new(batch.schema(), folder, 1 << 20).unwrap();
    spool.write(batch).unwrap();
    let table = spool.finish().unwrap();
    table.write_to(&mut File::create(path).unwrap()).unwrap();
}

/// The tests' runtime: what a server's event loop would be.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions::default()).unwrap()
}

/// An engine with one table, `stars`.
pub(crate) fn engine_of(path: &Path) -> Engine {
    let engine = engine();
    let files = TableFiles::find(path).unwrap();
    block_on(engine.register("stars", files, &ColumnMetadata::default())).unwrap();
    engine
}

/// Returns an engine whose table has these columns, and the folder of its file.
pub(crate) fn engine_of_columns(columns: Vec<(&str, ArrayRef)>) -> (TempDir, Engine) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.parquet");
    write_parquet(&file, &RecordBatch::try_from_iter(columns).unwrap());
    let engine = engine_of(&file);
    (folder, engine)
}

pub(crate) fn scan(engine: &Engine, parameters: &[(&str, &str)]) -> Result<Rows, EngineError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let parameters: Vec<_> = parameters.iter().map(owned).collect();
    let table = engine.table("stars").unwrap();
    let narrowing = Narrowing::parse(&parameters, table.schema())?;
    block_on(engine.scan("stars", &narrowing))
}

/// All rows, texts as plain strings.
pub(crate) fn collect(rows: Rows) -> RecordBatch {
    let schema = rows.schema();
    let batches: Vec<_> = rows.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

pub(crate) fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch
        .column_by_name("id")
        .unwrap()
        .as_primitive::<arrow::datatypes::Int64Type>()
        .values()
        .to_vec()
}

pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = cast(batch.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
    column
        .as_string::<i32>()
        .iter()
        .map(|text| text.map(Into::into))
        .collect()
}

/// How often the columns of each file were read, by the engine's log.
#[derive(Clone, Default)]
pub(crate) struct ColumnReads(Arc<Mutex<HashMap<String, usize>>>);

impl ColumnReads {
    /// Counts from the first call in the process on.
    pub(crate) fn count() -> Self {
        static READS: OnceLock<ColumnReads> = OnceLock::new();
        let reads = READS.get_or_init(|| {
            let reads = Self::default();
            tracing::subscriber::set_global_default(reads.clone()).unwrap();
            reads
        });
        reads.clone()
    }

    pub(crate) fn of(&self, path: &Path) -> usize {
        let reads = self.0.lock().unwrap();
        reads.get(path.to_str().unwrap()).copied().unwrap_or(0)
    }
}

impl Subscriber for ColumnReads {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "datastreamer_engine::columns"
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut PathOfRead(self));
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}
    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}
    fn enter(&self, _span: &span::Id) {}
    fn exit(&self, _span: &span::Id) {}
}

struct PathOfRead<'a>(&'a ColumnReads);

impl Visit for PathOfRead<'_> {
    fn record_debug(&mut self, field: &LogField, value: &dyn Debug) {
        if field.name() == "path" {
            let mut reads = self.0.0.lock().unwrap();
            *reads.entry(format!("{value:?}")).or_default() += 1;
        }
    }
}

/// The most that this process has had in memory.
pub(crate) fn memory_bytes_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    kilobytes.unwrap().parse::<u64>().unwrap() * 1024
}

/// Returns the rows of a query, or its error. The values of a row are joined by commas.
pub(crate) fn answers(engine: &Engine, sql: &str) -> Result<Vec<String>, String> {
    let rows = block_on(engine.query(&Query::new(sql), None));
    let rows = rows.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for batch in rows {
        let batch = batch.map_err(|error| match error {
            ArrowError::ExternalError(error) => error.to_string(),
            error => error.to_string(),
        })?;
        let options = FormatOptions::new().with_null("null");
        let columns = batch.columns().iter();
        let columns = columns.map(|column| ArrayFormatter::try_new(column, &options).unwrap());
        let columns: Vec<_> = columns.collect();
        all.extend((0..batch.num_rows()).map(|row| {
            let values = columns.iter().map(|column| column.value(row).to_string());
            values.collect::<Vec<_>>().join(",")
        }));
    }
    Ok(all)
}
