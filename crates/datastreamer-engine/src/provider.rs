//! Tables of files that DataFusion's file formats read: Parquet, CSV, TSV, NDJSON, Arrow.
//!
//! Each scan lists the files as they are now, compares each with the table, and reads exactly the
//! files that were compared. DataFusion's own listing would not do. Its globs cross folders, so
//! that `dir/*.parquet` matches `dir/old/a.parquet` too. With a limit it takes the files whose
//! footers were read first, so that the pages of one table would overlap. It skips empty files, and
//! it silently casts or drops columns that the table does not have.

use std::{path::PathBuf, sync::Arc};

use arrow::{
    datatypes::{DataType, Fields, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{
        ColumnStatistics, DFSchema, Result, ScalarValue, Statistics, cast::as_boolean_array,
        config::TableParquetOptions, project_schema, stats::Precision,
    },
    datasource::{
        file_format::{FileFormat, parquet::ParquetFormat},
        listing::{PartitionedFile, helpers::expr_applicable_for_cols},
        physical_plan::{FileGroup, FileScanConfigBuilder},
        table_schema::TableSchema,
    },
    execution::{
        cache::{SchemaFingerprint, TableScopedPath, cache_manager::CachedFileMetadata},
        object_store::ObjectStoreUrl,
    },
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};
use datastreamer_table::column_metadata::ColumnMetadata;
use datastreamer_text::without_notes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use crate::{
    columns::{
        FileColumns, FileRows, TextFound, check_any, check_declared, check_fit, columns_of_file,
        merge,
    },
    error::EngineError,
    file_cache::FileCache,
    file_kind::FileKind,
    files::TableFiles,
    guard::guarded,
    parquet::{self, column_metadata, scan::Footers},
    pinned::{FileState, PinnedFile},
    scan::Scanned,
    table_copy::{Contents, TableCopy},
};

/// 128 MiB of values in a batch: a batch of the usual 8192 rows has 16 KiB a row.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// Texts and lists of no length take the bytes of an offset.
const OFFSET_BYTES: usize = 4;

/// Files of one kind, as one table.
#[derive(Debug)]
pub(crate) struct FileTable {
    files: Arc<TableFiles>,
    format: Arc<dyn FileFormat>,
    /// Columns in the files, and those of partitions behind them.
    schema: TableSchema,
    /// Of the columns in the files: cached statistics of a file are valid for these columns only.
    fingerprint: Arc<SchemaFingerprint>,
    /// Of each file whether it fits the table, and what is known of its rows, or the text of why not.
    fits: FileCache<Result<FileRows, String>>,
    /// The files as another process has compared them.
    copied: Option<Vec<(PinnedFile, FileRows)>>,
    /// How many times its size a compressed file may become.
    expansion_max: u64,
    /// Whether the files are written as usual for their format.
    is_usual: bool,
    /// Threads that read columns: the planner's thread must stay free.
    threads: Handle,
}

impl FileTable {
    /// Reads the columns of all files, and overlays metadata: the first file's own, then `notes`.
    ///
    /// # Errors
    /// Files that cannot be read, or that do not make one table.
    pub(crate) async fn open(
        files: TableFiles,
        notes: &ColumnMetadata,
        threads: Handle,
        expansion_max: u64,
    ) -> Result<Self, EngineError> {
        let kind = files.kind();
        let opened = match read_columns(&files, &threads, expansion_max).await {
            Err((error, Some(usual))) => {
                let opened = read_columns(&usual, &threads, expansion_max).await;
                let Ok(mut opened) = opened else {
                    return Err(error);
                };
                opened.found.push(format!(
                    "is read as one column, as not all files have the columns of another delimiter \
                     ({error}): set delimiter if they have more"
                ));
                opened
            }
            opened => opened.map_err(|(error, _)| error)?,
        };
        let Opened {
            files,
            read,
            merged,
            is_usual,
            found,
        } = opened;
        if let Some((first, _)) = read.first() {
            for note in found {
                tracing::warn!(path = %first.path.display(), note);
            }
            check_any(&merged).map_err(|text| first.error(&text))?;
            let declared = check_declared(&merged, files.text());
            declared.map_err(|text| first.error(&text))?;
        }
        let columns = match (kind, read.first()) {
            (FileKind::Parquet, Some((file, _))) => {
                column_metadata::overlay(merged.into(), &file.path)
            }
            _ if !kind.is_binary() => without_notes(&merged).into(),
            _ => merged.into(),
        };
        let columns = notes.overlay(&columns);
        let partitions = files.partition_fields();
        Ok(Self {
            format: format_of(&files, expansion_max),
            expansion_max,
            is_usual,
            files: Arc::new(files),
            fingerprint: Arc::new(SchemaFingerprint::from_schema(&columns)),
            schema: TableSchema::builder(columns)
                .with_table_partition_cols(partitions)
                .build(),
            fits: FileCache::new(read.into_iter().map(|(file, rows)| (file, Ok(rows)))),
            copied: None,
            threads,
        })
    }

    /// Returns whether the files are written as usual for their format, by no option.
    pub(crate) fn is_usual(&self) -> bool {
        self.is_usual
    }

    /// Copies the table for another process, with its files as they are now.
    ///
    /// # Errors
    /// Those of a scan.
    pub(crate) async fn copy(&self, name: &str) -> Result<TableCopy, EngineError> {
        let contents = Contents::Files(self.compare().await?);
        Ok(TableCopy::new(name, &self.files, self.schema(), contents))
    }

    /// Makes the table of a copy with these files.
    ///
    /// # Errors
    /// The copy has no files.
    pub(crate) fn of_copy(
        copy: &TableCopy,
        compared: Vec<(PinnedFile, FileRows)>,
        threads: Handle,
        expansion_max: u64,
    ) -> Result<Self, EngineError> {
        let files = copy.files()?;
        let fields = copy.schema.fields();
        let (inside, partitions) = fields.split_at(fields.len() - files.partition_fields().len());
        let metadata = copy.schema.metadata().clone();
        let columns = Arc::new(Schema::new_with_metadata(inside.to_vec(), metadata));
        Ok(Self {
            format: format_of(&files, expansion_max),
            expansion_max,
            is_usual: false,
            fingerprint: Arc::new(SchemaFingerprint::from_schema(&columns)),
            schema: TableSchema::builder(columns)
                .with_table_partition_cols(partitions.to_vec())
                .build(),
            files,
            fits: FileCache::new([]),
            copied: Some(compared),
            threads,
        })
    }

    /// Lists the files as they are now, and returns each in the state in which it was compared with
    /// the table, and what is known of its rows. Compares only those that are new or changed.
    ///
    /// # Errors
    /// A file is gone, cannot be read, or has columns or types that the table cannot hold.
    async fn compare(&self) -> Result<Vec<(PinnedFile, FileRows)>, EngineError> {
        if let Some(copied) = &self.copied {
            return Ok(copied.clone());
        }
        let (kind, expansion_max) = (self.files.kind(), self.expansion_max);
        let read = |path| {
            let (files, threads) = (Arc::clone(&self.files), self.threads.clone());
            let table = Arc::clone(self.schema.file_schema());
            async move {
                let read = columns_of(path, &files, expansion_max, &threads).await?;
                let (columns, rows) = (read.columns, read.rows);
                let fits = files.check_columns(&columns);
                let may_lack = files.may_lack_columns();
                let fits = fits.and_then(|()| check_fit(&table, &columns, kind, may_lack));
                Ok(fits.map(|()| rows))
            }
        };
        let files = self.fits.get_all(self.files.list()?, read).await?;
        let checked = files.into_iter().map(|(file, fits)| match fits {
            Ok(rows) => Ok((file, rows)),
            Err(text) => Err(EngineError::data(format!(
                "{} no longer fits the table as it was opened: it {text}",
                file.path.display()
            ))),
        });
        checked.collect()
    }

    /// Returns a file for a plan, with its pin, the values of its partitions and the number of its rows.
    fn partitioned(
        &self,
        file: PinnedFile,
        rows: Option<u64>,
    ) -> Result<PartitionedFile, EngineError> {
        let values = self.files.partition_values(&file.path)?;
        let mut partitioned = PartitionedFile::from(file.object()?)
            .with_partition_values(values)
            .with_extension(file);
        if let Some(rows) = rows.and_then(|rows| usize::try_from(rows).ok()) {
            let mut statistics = Statistics::new_unknown(self.schema.file_schema());
            statistics.num_rows = Precision::Exact(rows);
            partitioned = partitioned.with_statistics(Arc::new(statistics));
            count_null_partitions(&mut partitioned);
        }
        Ok(partitioned)
    }

    /// Returns whether a filter needs the partition columns only.
    fn is_partition_filter(&self, filter: &Expr) -> bool {
        let partitions = self.schema.table_partition_cols().iter();
        let names: Vec<_> = partitions.map(|field| field.name().as_str()).collect();
        !names.is_empty() && expr_applicable_for_cols(&names, filter)
    }

    /// Removes the files whose partition values fail a partition filter. Ignores other filters.
    fn prune(
        &self,
        files: Vec<PartitionedFile>,
        filters: &[Expr],
        session: &dyn Session,
    ) -> Result<Vec<PartitionedFile>> {
        let filters = filters
            .iter()
            .filter(|filter| self.is_partition_filter(filter));
        let Some(filter) = conjunction(filters.cloned()) else {
            return Ok(files);
        };
        let partitions = self.schema.table_partition_cols();
        let partitions = Arc::new(Schema::new(partitions.clone()));
        let values = (0..partitions.fields().len()).map(|column| {
            let files = files.iter();
            ScalarValue::iter_to_array(files.map(|file| file.partition_values[column].clone()))
        });
        let values = RecordBatch::try_new(Arc::clone(&partitions), values.collect::<Result<_>>()?)?;
        let filter = session.create_physical_expr(filter, &DFSchema::try_from(partitions)?)?;
        let holds = filter.evaluate(&values)?.into_array(files.len())?;
        let holds = as_boolean_array(&holds)?.iter();
        let files = files.into_iter().zip(holds);
        let files = files.filter_map(|(file, holds)| (holds == Some(true)).then_some(file));
        Ok(files.collect())
    }

    /// Adds the statistics of a Parquet file, from the cache or from its footer. The order that a
    /// footer states is not taken: no writer has to check it, and a sort by it would be left out.
    async fn with_statistics(
        &self,
        file: PartitionedFile,
        session: &dyn Session,
    ) -> Result<PartitionedFile> {
        let object = &file.object_meta;
        let key = TableScopedPath {
            table: None,
            path: object.location.clone(),
        };
        let environment = session.runtime_env();
        let cache = environment.cache_manager.get_file_statistic_cache();
        let known = cache.as_ref().and_then(|cache| cache.get(&key));
        let known = known.filter(|known| known.is_valid_for(object, &self.fingerprint));
        let known = match known {
            Some(known) => known,
            None => {
                let pinned = file.extension::<PinnedFile>();
                let path = pinned.map(|file| file.path.clone()).unwrap_or_default();
                let footer = Footers::of(session).read(object, path).await?;
                let columns = self.schema.file_schema();
                let known = CachedFileMetadata::new(
                    object.clone(),
                    Arc::clone(&self.fingerprint),
                    Arc::new(parquet::scan::statistics(&footer, columns)?),
                    None,
                );
                if let Some(cache) = cache {
                    cache.put(&key, known.clone());
                }
                known
            }
        };
        let mut file = file.with_statistics(known.statistics);
        count_null_partitions(&mut file);
        Ok(file)
    }
}

/// The files of a table that is being opened, and their columns.
struct Opened {
    files: TableFiles,
    read: Vec<(PinnedFile, FileRows)>,
    merged: Schema,
    is_usual: bool,
    /// What was found in the first file and not set, for people.
    found: Vec<String>,
}

/// Reads the columns of all files. How the first file of text is written holds for the others.
///
/// # Errors
/// Files that cannot be read, or that do not make one table. If the first file was read with another
/// delimiter than the usual one, for which the others may not be, also the files to read with that.
async fn read_columns(
    files: &TableFiles,
    threads: &Handle,
    expansion_max: u64,
) -> Result<Opened, (EngineError, Option<TableFiles>)> {
    let kind = files.kind();
    let mut opened = Opened {
        files: files.clone(),
        read: Vec::new(),
        merged: Schema::empty(),
        is_usual: true,
        found: Vec::new(),
    };
    let mut usual = None;
    for path in files.list().map_err(|error| (error, None))? {
        let is_first = opened.read.is_empty();
        let added = opened.add(path, is_first, threads, expansion_max).await;
        let found = match added {
            Ok(found) => found,
            Err(error) => return Err((error, usual)),
        };
        let Some(found) = found.filter(|_| is_first) else {
            continue;
        };
        opened.found = found.notes;
        opened.is_usual = found.is_usual;
        if let FileKind::Text(format, _) = kind
            && files.text().delimiter.is_none()
        {
            let with_usual = format.with_usual_delimiter(files.text());
            let is_other = found.options.delimiter != with_usual.delimiter;
            usual = is_other.then(|| files.read_with(with_usual));
        }
        opened.files = opened.files.read_with(found.options);
    }
    Ok(opened)
}

impl Opened {
    async fn add(
        &mut self,
        path: PathBuf,
        is_first: bool,
        threads: &Handle,
        expansion_max: u64,
    ) -> Result<Option<TextFound>, EngineError> {
        let kind = self.files.kind();
        let state = FileState::read(&path)?;
        let file = PinnedFile { path, state };
        let FileColumns {
            columns,
            rows,
            text,
        } = columns_of(file.path.clone(), &self.files, expansion_max, threads).await?;
        if is_first {
            self.files.leave_columns(&columns);
        }
        let checked = self.files.check_columns(&columns);
        checked.map_err(|text| file.error(&text))?;
        self.merged = match is_first {
            true => columns,
            false => {
                let merged = merge(self.merged.clone(), columns, kind);
                merged.map_err(|text| file.error(&text))?
            }
        };
        self.read.push((file, rows));
        Ok(text)
    }
}

/// Returns the format that DataFusion reads such files with.
fn format_of(files: &TableFiles, expansion_max: u64) -> Arc<dyn FileFormat> {
    let kind = files.kind();
    match kind {
        // FITS has its own table provider, which does not ask for a format.
        FileKind::Parquet | FileKind::Fits(_) => Arc::new(parquet_format()),
        FileKind::Text(..) | FileKind::Arrow => Arc::new(Scanned {
            kind,
            text: Arc::new(files.text().clone()),
            expansion_max,
        }),
    }
}

/// What a row of a scan takes, in bytes. It is known to the scan's first file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BytesOfRow(pub(crate) usize);

/// Returns what a row of these columns takes. Values of a fixed size
/// take it for nulls too, and a column that a file lacks is all nulls. Texts and lists usually take
/// `row_bytes` of a row.
fn bytes_of_row(columns: &Schema, row_bytes: usize) -> usize {
    fixed_bytes_of(columns.fields()).saturating_add(row_bytes)
}

/// Returns how many rows a batch of these columns has: at most `rows_max`.
fn rows_of_batch(columns: &Schema, row_bytes: usize, rows_max: usize) -> Option<usize> {
    let rows = BATCH_BYTES_MAX.checked_div(bytes_of_row(columns, row_bytes))?;
    Some(rows.clamp(1, rows_max.max(1)))
}

fn fixed_bytes_of(fields: &Fields) -> usize {
    let bytes = fields.iter().map(|field| fixed_bytes(field.data_type()));
    bytes.fold(0, usize::saturating_add)
}

/// Returns the bytes that each value takes, those of nulls and empty ones too.
fn fixed_bytes(data_type: &DataType) -> usize {
    use DataType as T;
    let times =
        |count: i32, bytes: usize| usize::try_from(count).unwrap_or(0).saturating_mul(bytes);
    match data_type {
        T::FixedSizeBinary(bytes) => times(*bytes, 1),
        T::FixedSizeList(element, length) => {
            times(*length, fixed_bytes(element.data_type()).max(1))
        }
        T::Struct(members) => fixed_bytes_of(members),
        T::List(element) | T::LargeList(element) | T::Map(element, _) => {
            OFFSET_BYTES + fixed_bytes(element.data_type())
        }
        T::Dictionary(keys, _) => fixed_bytes(keys),
        other => other.primitive_width().unwrap_or(OFFSET_BYTES),
    }
}

/// DataFusion takes these options from the format, not from the session.
fn parquet_format() -> ParquetFormat {
    let mut options = TableParquetOptions::default();
    // DataFusion skips pages by an index of a Parquet file that nothing compares with the pages: one
    // that is wrong would lose rows.
    options.global.enable_page_index = false;
    // Columns keep the types of the file.
    options.global.schema_force_view_types = false;
    ParquetFormat::default().with_options(options)
}

/// Reads the columns of a file on a thread that may block.
///
/// # Errors
/// Those of [`columns_of_file`], or a panic in it.
async fn columns_of(
    path: PathBuf,
    files: &TableFiles,
    expansion_max: u64,
    threads: &Handle,
) -> Result<FileColumns, EngineError> {
    let (kind, options) = (files.kind(), files.text().clone());
    let counter = files.counter();
    let reading = threads.spawn_blocking(move || {
        guarded(|| columns_of_file(&path, kind, &options, expansion_max, counter.as_ref()))
            .unwrap_or_else(|error| Err(EngineError::of_file(&path, error.to_string())))
    });
    reading
        .await
        .unwrap_or_else(|error| Err(EngineError::data(error.to_string())))
}

/// Makes the statistics of files good for skipping them only. With an exact number of nulls,
/// DataFusion gives a column whose minimum is its maximum as that constant, without reading it: NaN
/// and the sign of a zero would be lost, and the bounds of a text may be cut.
fn for_skipping(group: FileGroup) -> FileGroup {
    let files = group.into_inner().into_iter().map(|mut file| {
        if let Some(statistics) = &mut file.statistics {
            for column in &mut Arc::make_mut(statistics).column_statistics {
                column.null_count = column.null_count.to_inexact();
            }
        }
        file
    });
    FileGroup::new(files.collect())
}

/// Corrects the statistics of partitions that are null: DataFusion says of each partition that it
/// is never null, and that null is its least value.
fn count_null_partitions(file: &mut PartitionedFile) {
    let values = &file.partition_values;
    let Some(statistics) = file.statistics.as_mut().filter(|_| !values.is_empty()) else {
        return;
    };
    let statistics = Arc::make_mut(statistics);
    let rows = statistics.num_rows;
    let partitions = statistics
        .column_statistics
        .len()
        .saturating_sub(values.len());
    let partitions = &mut statistics.column_statistics[partitions..];
    for (partition, _) in partitions
        .iter_mut()
        .zip(values)
        .filter(|(_, value)| value.is_null())
    {
        *partition = ColumnStatistics {
            null_count: rows,
            ..ColumnStatistics::new_unknown()
        };
    }
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Plans a scan of the files in the order of their names. The limit is left to the plan above,
    /// so that pages of one table are consistent.
    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let compared = self.compare().await?;
        let schema = self.schema();
        let read = project_schema(&schema, projection)?;
        let row_bytes = compared
            .iter()
            .map(|(_, rows)| rows.bytes.in_columns(&read));
        let row_bytes = row_bytes.max().unwrap_or_default();
        let files = compared
            .into_iter()
            .map(|(file, rows)| self.partitioned(file, rows.count));
        let files = self.prune(files.collect::<Result<_, EngineError>>()?, filters, session)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(read)));
        }
        let options = &session.config_options().execution;
        let is_parquet = self.files.kind() == FileKind::Parquet;
        let files: Vec<_> = match is_parquet {
            true => {
                stream::iter(files)
                    .map(|file| self.with_statistics(file, session))
                    .buffered(options.meta_fetch_concurrency.get())
                    .try_collect()
                    .await?
            }
            // Of others at most the number of rows is known.
            false => files,
        };
        let mut files = files;
        if let Some(first) = files.first_mut() {
            let bytes = BytesOfRow(bytes_of_row(&read, row_bytes));
            *first = first.clone().with_extension(bytes);
        }
        let batch_rows = session.config().batch_size();
        let groups = FileGroup::new(files).split_files(session.config().target_partitions());
        // Of a file without statistics nothing is known, and so of all of them together.
        let unknown = Statistics::new_unknown(&schema);
        let groups = groups.into_iter().map(|group| {
            let of_files = group.iter().map(|file| file.statistics.as_deref());
            let of_files = of_files.map(|known| known.unwrap_or(&unknown));
            let of_group = Statistics::try_merge_iter(of_files, &schema)?;
            Ok(group.with_statistics(Arc::new(of_group)))
        });
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let of_groups = groups
            .iter()
            .filter_map(|group| group.file_statistics(None));
        let statistics = Statistics::try_merge_iter(of_groups, &schema)?;
        let groups = groups.into_iter().map(for_skipping).collect();
        let source = self.format.file_source(self.schema.clone());
        let store = ObjectStoreUrl::local_filesystem();
        let scan = FileScanConfigBuilder::new(store, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_batch_size(rows_of_batch(&read, row_bytes, batch_rows))
            .build();
        match is_parquet {
            true => parquet::scan::plan(session, scan),
            false => self.format.create_physical_plan(session, scan).await,
        }
    }

    /// Partition filters are applied completely, by leaving out files. The file formats use other
    /// filters to skip files and row groups, and the plan above must still apply them.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let filters = filters.iter();
        Ok(filters
            .map(|filter| match self.is_partition_filter(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;
    use crate::scan::BATCH_ROWS;

    #[test]
    fn a_batch_of_many_columns_has_fewer_rows() {
        for (count, data_type, rows) in [
            (100, DataType::Float64, 8192),
            (20_000, DataType::Float64, 838),
            (20_000, DataType::Utf8, 1677),
            (40, DataType::FixedSizeBinary(1 << 20), 3),
            (1, DataType::Boolean, 8192),
        ] {
            let field = |place| Field::new(format!("c{place}"), data_type.clone(), true);
            let columns = Schema::new((0..count).map(field).collect::<Vec<_>>());
            assert_eq!(
                rows_of_batch(&columns, 0, BATCH_ROWS),
                Some(rows),
                "{count} {data_type}"
            );
        }
    }
}
