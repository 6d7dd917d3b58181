//! Scans of Parquet files whose readers check footers and pages. It decodes nothing.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::datatypes::{Field, SchemaRef};
use bytes::Bytes;
use datafusion::{
    catalog::Session,
    common::{DataFusionError, Result, Statistics, stats::Precision},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            FileScanConfig, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
            parquet::{DefaultParquetFileReaderFactory, metadata::DFParquetMetadata},
        },
        source::DataSourceExec,
    },
    execution::cache::cache_manager::{CachedFileMetadataEntry, FileMetadata, FileMetadataCache},
    object_store::ObjectMeta,
    parquet::{
        arrow::{
            arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader,
            parquet_to_arrow_schema,
        },
        errors::{ParquetError, Result as ParquetResult},
        file::metadata::{ColumnChunkMetaData, ParquetMetaData},
    },
    physical_plan::{ExecutionPlan, metrics::ExecutionPlanMetricsSet},
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::task;

use crate::{error::EngineError, expansion::expansion_max_of, guard::guarded, pinned::PinnedFile};

use super::{
    arrow_types::is_not_held,
    batch_bytes, footer,
    levels::Shapes,
    pages::{self, Chunk, Held, Limits},
    shared_pages::SharedPages,
    time_units::Casts,
};

/// Of columns that take less than 64 KiB of a batch, eight thousand are needed to take too much:
/// their values are not counted.
const COUNTED_BYTES_MIN: u64 = 64 << 10;

/// Plans a scan of Parquet files.
///
/// # Errors
/// The scan is not one of Parquet.
pub(crate) fn plan(session: &dyn Session, scan: FileScanConfig) -> Result<Arc<dyn ExecutionPlan>> {
    let environment = session.runtime_env();
    let limits = Limits {
        batch_rows: scan.batch_size.unwrap_or(session.config().batch_size()),
        expansion_max: expansion_max_of(session),
    };
    let readers = Readers {
        limits,
        of_files: DefaultParquetFileReaderFactory::new(
            environment.object_store(&scan.object_store_url)?,
        ),
        footers: Footers::of(session),
    };
    let source = scan.file_source().downcast_ref::<ParquetSource>();
    let source = source.ok_or_else(|| DataFusionError::Internal("no Parquet source".into()))?;
    let source = source
        .clone()
        .with_parquet_file_reader_factory(Arc::new(readers));
    let scan = FileScanConfigBuilder::from(scan)
        .with_source(Arc::new(source))
        .with_expr_adapter(Some(Arc::new(Casts)));
    Ok(DataSourceExec::from_data_source(scan.build()))
}

/// Returns the statistics of a file. The least and the greatest value of a column are known only if
/// each row group tells them: DataFusion takes those of the row groups that do. They are not known if
/// the file has another type than the table: DataFusion takes a decimal of another scale as it is.
///
/// # Errors
/// The columns are not those of the file.
pub(crate) fn statistics(footer: &ParquetMetaData, columns: &SchemaRef) -> Result<Statistics> {
    let mut statistics = DFParquetMetadata::statistics_from_parquet_metadata(footer, columns)?;
    let of_file = footer.file_metadata().schema_descr();
    let groups = footer.row_groups().iter();
    let unknown: HashSet<_> = groups
        .flat_map(|group| group.columns().iter().enumerate())
        .filter(|(_, column)| !tells_bounds(column))
        .map(|(leaf, _)| of_file.get_column_root(leaf).name())
        .collect();
    let entries = footer.file_metadata().key_value_metadata();
    let stored = parquet_to_arrow_schema(of_file, entries)?;
    let is_stored = |field: &Field| {
        let stored = stored.field_with_name(field.name());
        stored.is_ok_and(|stored| stored.data_type().equals_datatype(field.data_type()))
    };
    let fields = columns.fields().iter();
    for (field, of_column) in fields.zip(&mut statistics.column_statistics) {
        if unknown.contains(field.name().as_str()) || !is_stored(field) {
            of_column.min_value = Precision::Absent;
            of_column.max_value = Precision::Absent;
        }
    }
    Ok(statistics)
}

fn tells_bounds(column: &ColumnChunkMetaData) -> bool {
    column.statistics().is_some_and(|of| {
        let has_no_values = of.null_count_opt() == u64::try_from(column.num_values()).ok();
        has_no_values || of.min_bytes_opt().is_some() && of.max_bytes_opt().is_some()
    })
}

/// The longest value in the dictionary of each column, by row group and column: `None` without one.
type Longest = Mutex<HashMap<(usize, usize), Option<u64>>>;
/// 64 bytes of memory for one of them.
const LONGEST_BYTES: usize = 64;

/// A checked footer, what was learned of the file's pages, and those that are held. A file is often read
/// twice: FITS needs the widths of texts before the rows.
#[derive(Clone)]
struct KeptFooter {
    footer: Arc<ParquetMetaData>,
    longest: Arc<Longest>,
    pages: Arc<SharedPages>,
}

impl FileMetadata for KeptFooter {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Counts what may be learned as well.
    fn memory_size(&self) -> usize {
        let groups = self.footer.row_groups().iter();
        let columns: usize = groups.map(|group| group.columns().len()).sum();
        self.footer.memory_size() + columns * LONGEST_BYTES
    }

    fn extra_info(&self) -> datafusion::common::HashMap<String, String> {
        datafusion::common::HashMap::new()
    }
}

/// Checked footers, some of which are kept in the session's cache.
#[derive(Clone, Debug)]
pub(crate) struct Footers {
    kept: Arc<FileMetadataCache>,
    expansion_max: u64,
}

impl Footers {
    pub(crate) fn of(session: &dyn Session) -> Self {
        let environment = session.runtime_env();
        Self {
            kept: environment.cache_manager.get_file_metadata_cache(),
            expansion_max: expansion_max_of(session),
        }
    }

    /// Returns the footer of a file in the state in which it is pinned.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) async fn read(
        &self,
        object: &ObjectMeta,
        path: PathBuf,
    ) -> Result<Arc<ParquetMetaData>, EngineError> {
        self.keep(object, path).await.map(|kept| kept.footer)
    }

    async fn keep(&self, object: &ObjectMeta, path: PathBuf) -> Result<KeptFooter, EngineError> {
        let kept = self.kept.get(&object.location);
        let kept = kept.filter(|kept| kept.is_valid_for(object));
        if let Some(kept) = &kept
            && let Some(kept) = kept.file_metadata.as_any().downcast_ref::<KeptFooter>()
        {
            return Ok(kept.clone());
        }
        let expansion_max = self.expansion_max;
        let reading = task::spawn_blocking(move || {
            let wrong = |text: String| EngineError::of_file(&path, text);
            let read = guarded(|| footer::read(&path, expansion_max))
                .map_err(|error| wrong(error.to_string()))?;
            read.map(Arc::new).map_err(wrong)
        });
        let read = reading.await;
        let footer = read.unwrap_or_else(|error| Err(EngineError::data(error.to_string())))?;
        let kept = KeptFooter {
            footer,
            longest: Arc::default(),
            pages: Arc::default(),
        };
        let entry = CachedFileMetadataEntry::new(object.clone(), Arc::new(kept.clone()));
        self.kept.put(&object.location, entry);
        Ok(kept)
    }
}

#[derive(Debug)]
struct Readers {
    limits: Limits,
    of_files: DefaultParquetFileReaderFactory,
    footers: Footers,
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let object = file.object_meta.clone();
        let path = file.extension::<PinnedFile>().map(|file| file.path.clone());
        let path = path.ok_or_else(|| DataFusionError::Internal("a file is not pinned".into()))?;
        let of_files = &self.of_files;
        Ok(Box::new(CheckedReader {
            reader: of_files.create_reader(partition_index, file, metadata_size_hint, metrics)?,
            object,
            path,
            footers: self.footers.clone(),
            limits: self.limits,
            chunks: None,
        }))
    }
}

/// Reads a file, and checks what it reads.
struct CheckedReader {
    reader: Box<dyn AsyncFileReader + Send>,
    object: ObjectMeta,
    path: PathBuf,
    footers: Footers,
    limits: Limits,
    chunks: Option<Chunks>,
}

/// Where the columns of each row group are.
struct Chunks {
    footer: Arc<ParquetMetaData>,
    /// First byte, row group and column, in this order.
    starts: Vec<(u64, usize, usize)>,
    longest: Arc<Longest>,
    pages: Arc<SharedPages>,
    limits: Limits,
}

/// A column in a row group, all of whose pages were read.
struct Complete<'a> {
    /// Row group and column.
    at: (usize, usize),
    chunk: Chunk<'a>,
    bytes: &'a Bytes,
}

/// Returns the most bytes that a column takes in a batch, if it can be told.
type Most = fn(&Chunks, &Complete<'_>) -> Option<u64>;

impl Chunks {
    fn of(kept: KeptFooter, limits: Limits) -> Self {
        let KeptFooter {
            footer,
            longest,
            pages,
        } = kept;
        let groups = footer.row_groups().iter().enumerate();
        let starts = groups.flat_map(|(group, of)| {
            let columns = of.columns().iter().enumerate();
            columns.map(move |(column, of)| (of.byte_range().0, group, column))
        });
        let mut starts: Vec<_> = starts.collect();
        starts.sort_unstable();
        Self {
            footer,
            starts,
            longest,
            pages,
            limits,
        }
    }

    /// Checks the pages in ranges of the file, which are read together.
    fn check_all(&self, ranges: &[Range<u64>], read: &[Bytes]) -> Result<(), String> {
        let mut groups: BTreeMap<usize, (u64, BTreeMap<usize, Held>)> = BTreeMap::new();
        let mut complete = BTreeMap::new();
        let mut shapes: HashMap<usize, Shapes> = HashMap::new();
        let footer = self.footer.file_metadata();
        for (range, bytes) in ranges.iter().zip(read) {
            let (group, column, held) = self.check(range, bytes)?;
            let (stored_bytes, columns) = groups.entry(group).or_default();
            *stored_bytes += bytes.len() as u64;
            let of_column = columns.entry(column).or_default();
            *of_column = of_column.and(held);
            let chunk = self.chunk(group, column);
            if self.is_complete(range, &chunk) {
                batch_bytes::check_prefixes(bytes, &chunk)
                    .and_then(|()| {
                        shapes
                            .entry(group)
                            .or_default()
                            .check(bytes, &chunk, footer)
                    })
                    .map_err(|text| damaged(group, &chunk, &text))?;
                let at = (group, column);
                complete.insert(at, Complete { at, chunk, bytes });
            }
        }
        for (group, (stored_bytes, mut columns)) in groups {
            let mut checked = pages::check_held(columns.values(), stored_bytes);
            // A dictionary is decompressed in a fraction of the time that all pages take.
            for most in [Self::most_by_longest as Most, Self::most_by_pages] {
                if checked.is_ok() {
                    break;
                }
                for (column, held) in &mut columns {
                    self.lower(held, complete.get(&(group, *column)), most);
                }
                checked = pages::check_held(columns.values(), stored_bytes);
            }
            checked.map_err(|text| format!("is not read: row group {group}: {text}"))?;
        }
        Ok(())
    }

    /// Lowers the bound of a column's batches, which is by the headers of its pages.
    fn lower(&self, held: &mut Held, complete: Option<&Complete<'_>>, most: Most) {
        if held.batch_bytes > COUNTED_BYTES_MIN
            && let Some(complete) = complete
            && let Some(most) = most(self, complete)
        {
            held.batch_bytes = held.batch_bytes.min(most);
        }
    }

    fn most_by_longest(&self, of: &Complete<'_>) -> Option<u64> {
        let known = self.longest().get(&of.at).copied();
        let longest = known.unwrap_or_else(|| {
            let longest = batch_bytes::longest_in_dictionary(of.bytes, &of.chunk);
            self.longest().insert(of.at, longest);
            longest
        });
        pages::bound_by_longest(of.bytes, &of.chunk, self.limits.batch_rows, longest?)
    }

    fn longest(&self) -> MutexGuard<'_, HashMap<(usize, usize), Option<u64>>> {
        self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most_by_pages(&self, of: &Complete<'_>) -> Option<u64> {
        batch_bytes::most_bytes(of.bytes, &of.chunk, self.limits.batch_rows)
    }

    fn chunk(&self, group: usize, column: usize) -> Chunk<'_> {
        let of_group = self.footer.row_group(group);
        Chunk {
            column: of_group.column(column),
            rows: of_group.num_rows(),
        }
    }

    fn is_complete(&self, range: &Range<u64>, chunk: &Chunk<'_>) -> bool {
        let (start, length) = chunk.column.byte_range();
        *range == (start..start + length)
    }

    /// Checks the pages in a range of the file. Returns the row group, the column, and what a decoder
    /// holds of them.
    fn check(&self, range: &Range<u64>, bytes: &Bytes) -> Result<(usize, usize, Held), String> {
        let behind = self
            .starts
            .partition_point(|(start, ..)| *start <= range.start);
        let Some((_, group, column)) = behind.checked_sub(1).map(|at| self.starts[at]) else {
            return Err(format!("byte {} is not in a column", range.start));
        };
        let chunk = self.chunk(group, column);
        if is_not_held(&self.footer, column) {
            let column = chunk.column.column_path().string();
            return Err(format!(
                "column {column:?}: its INT96 times fit neither 64-bit nanoseconds nor microseconds"
            ));
        }
        let is_complete = self.is_complete(range, &chunk);
        let held = pages::check(bytes, &chunk, is_complete, self.limits)
            .map_err(|text| damaged(group, &chunk, &text))?;
        Ok((group, column, held))
    }
}

fn damaged(group: usize, chunk: &Chunk<'_>, text: &str) -> String {
    let column = chunk.column.column_path().string();
    format!("is damaged Parquet: row group {group}: column {column:?}: {text}")
}

impl AsyncFileReader for CheckedReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.reader.get_bytes(range)
    }

    /// Reads pages: of a column in a row group, all or some.
    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            let chunks = match &mut self.chunks {
                Some(chunks) => chunks,
                none => {
                    let kept = self.footers.keep(&self.object, self.path.clone()).await;
                    none.insert(Chunks::of(kept.map_err(external)?, self.limits))
                }
            };
            let reader = &mut self.reader;
            let pages = &chunks.pages;
            let read = pages.read(&ranges, |missing| reader.get_byte_ranges(missing));
            let read = read.await?;
            let checked = chunks.check_all(&ranges, &read);
            checked.map_err(|text| external(EngineError::of_file(&self.path, text)))?;
            Ok(read)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let read = self.footers.read(&self.object, self.path.clone());
        read.map(|footer| footer.map_err(external)).boxed()
    }
}

fn external(error: EngineError) -> ParquetError {
    ParquetError::External(Box::new(error))
}
