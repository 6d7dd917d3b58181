//! FITS tables as tables of the engine: reads the columns that a plan needs, and no rows beyond its
//! limit. The format itself is read by `datastreamer_table::fits`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    datatypes::{FieldRef, Schema, SchemaRef},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};
use async_trait::async_trait;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result, Statistics, project_schema, stats::Precision},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        statistics::StatisticsArgs,
        stream::RecordBatchStreamAdapter,
    },
};
use datastreamer_table::{
    column_metadata::ColumnMetadata,
    fits::{FitsError, FitsFile, FitsHdu, FitsReader, TableChoice},
    meta,
};
use datastreamer_text::Compression;
use futures_util::stream;
use tokio::task::{self, JoinHandle};

use crate::{
    error::EngineError,
    file_cache::FileCache,
    file_kind::FileKind,
    files::TableFiles,
    fits_heads::{FileAndHead, FitsHead, FitsHeads},
    pinned::PinnedFile,
    table_copy::{Contents, TableCopy},
    unpacked::{Lease, Opened, Unpacker},
};

/// FITS files with the same columns, as one table.
#[derive(Debug)]
pub(crate) struct FitsTable {
    files: Arc<TableFiles>,
    /// Columns of the files, and partitions behind them.
    schema: SchemaRef,
    /// EXTNAME of the first file's table.
    name: Option<String>,
    heads: FileCache<Arc<FitsHead>>,
    /// The files and their heads as another process has read them.
    copied: Option<Vec<FileAndHead>>,
    opening: Opening,
}

/// How files are opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    /// Values that the standard does not allow are errors.
    pub(crate) strict: bool,
    pub(crate) unpacker: Arc<Unpacker>,
    /// Which table of a file; `None`: the first.
    pub(crate) hdu: Option<String>,
    pub(crate) compression: Compression,
}

fn read_head(path: &Path, files: &TableFiles, opening: &Opening) -> Result<FitsHead, EngineError> {
    let (file, _lease) = opening.open(path)?;
    warn_of_faults(path, &file);
    let schema = file.schema();
    Ok(FitsHead {
        rows: file.rows(),
        text_bytes_max: (0..schema.fields().len())
            .map(|column| file.text_bytes_max(column))
            .collect(),
        partitions: files.partition_values(path)?,
        schema,
    })
}

impl Opening {
    /// How these files are opened.
    pub(crate) fn new(files: &TableFiles, strict: bool, unpacker: Arc<Unpacker>) -> Self {
        Self {
            strict,
            unpacker,
            hdu: files.hdu().map(str::to_owned),
            compression: match files.kind() {
                FileKind::Fits(compression) => compression,
                FileKind::Parquet | FileKind::Text(..) | FileKind::Arrow => Compression::None,
            },
        }
    }

    fn open(&self, path: &Path) -> Result<(FitsFile, Lease), EngineError> {
        let Opened { file, lease } = self.unpacker.open(path, self.compression)?;
        let choice = self.hdu.as_deref();
        let choice = choice.map_or(TableChoice::First, TableChoice::parse);
        let file = FitsFile::of_file(file, choice).map_err(|error| refused(path, &error))?;
        match self.strict {
            true if !file.has_whole_blocks() => Err(EngineError::of_file(path, BLOCKS)),
            true => Ok((file.strict(), lease)),
            false => Ok((file, lease)),
        }
    }

    /// Says what is in the HDUs of a file. **Blocks.**
    ///
    /// # Errors
    /// The file cannot be read to its end.
    pub(crate) fn hdus(&self, path: &Path) -> Result<Vec<FitsHdu>, EngineError> {
        let opened = self.unpacker.open(path, self.compression)?;
        FitsFile::hdus(&opened.file).map_err(|error| refused(path, &error))
    }
}

fn refused(path: &Path, error: &FitsError) -> EngineError {
    match error {
        FitsError::Gzip => {
            let text = "is compressed by gzip, which its name does not say: call it .fits.gz";
            EngineError::of_file(path, text)
        }
        error => EngineError::of_file(path, error.to_string()),
    }
}

const BLOCKS: &str = "is no whole number of FITS blocks: bytes may be missing";

/// Keywords that a message names, at most.
const NAMED_MAX: usize = 10;

fn warn_of_faults(path: &Path, file: &FitsFile) {
    if !file.has_whole_blocks() {
        tracing::warn!(path = %path.display(), "the file {BLOCKS}");
    }
    let count = file.ignored().count();
    if count > 0 {
        let named: Vec<_> = file.ignored().take(NAMED_MAX).collect();
        tracing::warn!(
            path = %path.display(),
            count,
            keywords = named.join(", "),
            "keywords that contradict the FITS standard are ignored"
        );
    }
}

impl FitsTable {
    /// Reads the headers of all files, and overlays metadata: the first file's own, then `notes`.
    /// Blocks.
    ///
    /// # Errors
    /// Files that cannot be read, or that have different columns.
    pub(crate) async fn open(
        mut files: TableFiles,
        notes: &ColumnMetadata,
        strict: bool,
        unpacker: Arc<Unpacker>,
    ) -> Result<Self, EngineError> {
        let opening = Opening::new(&files, strict, unpacker);
        if let Some(first) = files.list()?.first() {
            files.leave_columns(&opening.open(first)?.0.schema());
        }
        let mut table = Self {
            files: Arc::new(files),
            schema: Arc::new(Schema::empty()),
            name: None,
            heads: FileCache::new([]),
            copied: None,
            opening,
        };
        let heads = table.heads().await?;
        if let Some((file, first)) = heads.first() {
            let mut fields: Vec<_> = first.schema.fields().iter().cloned().collect();
            for (_, head) in &heads {
                for (field, other) in fields.iter_mut().zip(head.schema.fields()) {
                    *field = of_both(field, other);
                }
            }
            let checked = table.files.check_columns(&first.schema);
            checked.map_err(|text| file.error(&text))?;
            fields.extend(table.files.partition_fields());
            let metadata = first.schema.metadata().clone();
            table.name = first.name().cloned();
            let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
            table.schema = notes.overlay(&schema);
        }
        Ok(table)
    }

    /// Copies the table for another process, with its files as they are now.
    ///
    /// # Errors
    /// Those of a scan.
    pub(crate) async fn copy(&self, name: &str) -> Result<TableCopy, EngineError> {
        let contents = Contents::Fits(FitsHeads::of(&self.heads().await?));
        let schema = Arc::clone(&self.schema);
        Ok(TableCopy::new(name, &self.files, schema, contents))
    }

    /// Makes the table of a copy with these heads.
    ///
    /// # Errors
    /// The copy has no files, or a path lacks its partitions.
    pub(crate) fn of_copy(
        copy: &TableCopy,
        heads: FitsHeads,
        strict: bool,
        unpacker: Arc<Unpacker>,
    ) -> Result<Self, EngineError> {
        let files = copy.files()?;
        let heads = heads.with_partitions(&files)?;
        let first = heads.first();
        Ok(Self {
            name: first.and_then(|(_, head)| head.name().cloned()),
            copied: Some(heads),
            opening: Opening::new(&files, strict, unpacker),
            files,
            schema: Arc::clone(&copy.schema),
            heads: FileCache::new([]),
        })
    }

    /// Lists the files as they are now, and reads the headers of those that changed since that was
    /// last done. Blocks.
    ///
    /// # Errors
    /// Files that cannot be read, or that have different columns.
    async fn heads(&self) -> Result<Vec<FileAndHead>, EngineError> {
        if let Some(copied) = &self.copied {
            return Ok(copied.clone());
        }
        let read = |path: PathBuf| {
            let (files, opening) = (Arc::clone(&self.files), self.opening.clone());
            async move { read_head(&path, &files, &opening).map(Arc::new) }
        };
        let heads = self.heads.get_all(self.files.list()?, read).await?;
        if let Some((first, wanted)) = heads.first() {
            let other = |(_, head): &&FileAndHead| {
                !same_columns(head.schema.fields(), wanted.schema.fields())
            };
            if let Some((file, _)) = heads.iter().find(other) {
                let first = first.path.display();
                return Err(file.error(&format_args!("has other columns than {first}")));
            }
        }
        Ok(heads)
    }
}

/// A column that is nullable in one file is nullable in the table, and lists of texts are as wide as the
/// widest.
fn of_both(field: &FieldRef, other: &FieldRef) -> FieldRef {
    let is_nullable = field.is_nullable() || other.is_nullable();
    let width = meta::width(field).max(meta::width(other));
    if is_nullable == field.is_nullable() && width == meta::width(field) {
        return Arc::clone(field);
    }
    let mut known = field.metadata().clone();
    known.extend(width.map(|width| (meta::WIDTH.to_owned(), width.to_string())));
    let field = field.as_ref().clone().with_nullable(is_nullable);
    Arc::new(field.with_metadata(known))
}

fn same_columns(ones: &[FieldRef], others: &[FieldRef]) -> bool {
    let same = |(one, other): (&FieldRef, &FieldRef)| {
        one.name() == other.name() && one.data_type() == other.data_type()
    };
    ones.len() == others.len() && ones.iter().zip(others).all(same)
}

#[async_trait]
impl TableProvider for FitsTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = project_schema(&self.schema, projection)?;
        let files = self.heads().await?;
        let columns = self.schema.fields();
        let inside = &columns[..columns.len() - self.files.partition_fields().len()];
        if let Some((file, head)) = files.first()
            && !same_columns(head.schema.fields(), inside)
        {
            let text = "has other columns now than when the table was opened";
            return Err(file.error(&text).into());
        }
        // A number may be that of another table once the file has been written anew.
        if let (Some((file, head)), Some(hdu)) = (files.first(), self.files.hdu())
            && self.files.sole_file().is_some()
            && head.name() != self.name.as_ref()
        {
            let show =
                |name: Option<&String>| name.map_or("no name".into(), |it| format!("{it:?}"));
            let (now, before) = (show(head.name()), show(self.name.as_ref()));
            let text = format!(
                "has another table now as HDU {hdu} than when the table was opened: its EXTNAME is \
                 {now}, and was {before}"
            );
            return Err(file.error(&text).into());
        }
        Ok(Arc::new(FitsScan {
            files,
            properties: Arc::new(PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            )),
            columns: match projection {
                Some(columns) => columns.clone(),
                None => (0..self.schema.fields().len()).collect(),
            },
            limit: limit.map(|rows| rows as u64),
            opening: self.opening.clone(),
        }))
    }
}

/// Reads the files one after the other.
pub(crate) struct FitsScan {
    files: Vec<FileAndHead>,
    /// The columns to read, as indices into the table's schema.
    columns: Vec<usize>,
    limit: Option<u64>,
    opening: Opening,
    properties: Arc<PlanProperties>,
}

impl FitsScan {
    pub(crate) fn pin(&self) -> impl Iterator<Item = PinnedFile> {
        self.files.iter().map(|(file, _)| file.clone())
    }

    /// Returns the name of each text column, and the largest number of bytes of a value in it.
    pub(crate) fn text_widths(&self) -> impl Iterator<Item = (String, usize)> {
        let fields = self
            .files
            .first()
            .map(|(_, head)| head.schema.fields().clone());
        let fields: Vec<_> = fields.iter().flatten().cloned().enumerate().collect();
        fields.into_iter().filter_map(|(column, field)| {
            let widths = self
                .files
                .iter()
                .map(|(_, head)| head.text_bytes_max[column]);
            let widest = widths.reduce(|one, other| Some(one?.max(other?)))??;
            Some((field.name().clone(), widest))
        })
    }

    fn rows(&self) -> u64 {
        let rows = self.files.iter().map(|(_, head)| head.rows).sum::<u64>();
        self.limit.map_or(rows, |limit| rows.min(limit))
    }
}

/// Reads files one after the other. Each is open only while its rows are read.
struct FitsBatches {
    files: std::vec::IntoIter<FileAndHead>,
    opening: Opening,
    /// The file whose rows are read.
    reader: Option<OpenFile>,
    /// The columns to read, as indices into the table's schema.
    columns: Vec<usize>,
    batch_rows: usize,
    /// Rows still to be read.
    left: u64,
    schema: SchemaRef,
}

/// A file whose rows are read. When it is dropped, the log counts the values that are not as the
/// standard says.
struct OpenFile {
    file: PinnedFile,
    head: Arc<FitsHead>,
    reader: FitsReader,
    /// Dropped after the reader.
    _lease: Lease,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        for (column, repaired) in self.reader.repaired() {
            tracing::warn!(
                path = %self.file.path.display(),
                column,
                logicals_of_1 = repaired.logicals_of_1,
                logicals_unknown = repaired.logicals_unknown,
                texts_utf8 = repaired.texts_utf8,
                texts_latin1 = repaired.texts_latin1,
                "values that the FITS standard does not allow: a logical value of 1 was read as true, \
                 an unknown one as null, a text that is not ASCII as UTF-8 or else Latin-1"
            );
        }
    }
}

impl FitsBatches {
    /// Reads the next batch. **Blocks.**
    fn next(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            if let Some(OpenFile {
                file, head, reader, ..
            }) = &mut self.reader
                && let Some(batch) = reader.next()
            {
                let batch =
                    batch.and_then(|batch| complete(&batch, &self.columns, head, &self.schema));
                return batch.map(Some).map_err(|error| match error {
                    // The reader's own, which Arrow would call external.
                    ArrowError::ExternalError(error) => file.error(&error),
                    error => file.error(&error),
                });
            }
            self.reader = None;
            let Some((file, head)) = self.files.next().filter(|_| self.left > 0) else {
                return Ok(None);
            };
            let rows = 0..head.rows.min(self.left);
            self.left -= rows.end;
            let inside = head.schema.fields().len();
            let columns = self.columns.iter().copied();
            let columns: Vec<_> = columns.filter(|column| *column < inside).collect();
            let (opened, lease) = self.opening.open(&file.path)?;
            let reader = opened.reader(Some(&columns), rows, self.batch_rows);
            let reader = reader.map_err(|error| file.error(&error))?;
            self.reader = Some(OpenFile {
                file,
                head,
                reader,
                _lease: lease,
            });
        }
    }
}

/// Adds the partitions to a batch, and replaces the metadata of its columns by the table's: the
/// files may describe the same columns differently.
fn complete(
    batch: &RecordBatch,
    columns: &[usize],
    head: &FitsHead,
    schema: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let inside = head.schema.fields().len();
    let rows = batch.num_rows();
    let mut of_file = batch.columns().iter();
    let columns = columns
        .iter()
        .filter_map(|column| match column.checked_sub(inside) {
            None => of_file.next().cloned().map(Ok),
            Some(partition) => Some(head.partitions.get(partition)?.to_array_of_size(rows)),
        });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

/// A batch that a thread is reading, and the reader of the batches after it.
type Reading = JoinHandle<Result<Option<(RecordBatch, Box<FitsBatches>)>, EngineError>>;

/// Batches, one of which is read ahead.
enum ReadAhead {
    NotStarted(Box<FitsBatches>),
    Started(Reading),
}

impl ReadAhead {
    /// Starts to read on a thread that may block, without waiting for it: the next batch is read
    /// while this one is written.
    fn read(mut batches: Box<FitsBatches>) -> Reading {
        task::spawn_blocking(move || Ok(batches.next()?.map(|batch| (batch, batches))))
    }

    async fn next(self) -> Result<Option<(RecordBatch, Self)>> {
        let reading = match self {
            Self::NotStarted(batches) => Self::read(batches),
            Self::Started(reading) => reading,
        };
        let read = reading.await;
        let read = read.unwrap_or_else(|error| Err(EngineError::data(error.to_string())));
        match read {
            Ok(next) => {
                Ok(next.map(|(batch, batches)| (batch, Self::Started(Self::read(batches)))))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for FitsScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FitsScan")
            .field("files", &self.files.len())
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for FitsScan {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FitsScan: {} files", self.files.len())
    }
}

impl ExecutionPlan for FitsScan {
    fn name(&self) -> &'static str {
        "FitsScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let batches = Box::new(FitsBatches {
            files: self.files.clone().into_iter(),
            opening: self.opening.clone(),
            reader: None,
            columns: self.columns.clone(),
            batch_rows: context.session_config().batch_size(),
            left: self.rows(),
            schema: self.schema(),
        });
        let batches = stream::try_unfold(ReadAhead::NotStarted(batches), ReadAhead::next);
        let schema = self.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = usize::try_from(self.rows()).unwrap_or(usize::MAX);
        statistics.num_rows = Precision::Exact(rows);
        Ok(Arc::new(statistics))
    }
}
