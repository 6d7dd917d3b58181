//! CSV, TSV and NDJSON files: their columns, and a format of DataFusion's that reads them.
//!
//! `input.rs` decompresses a file, `fields.rs` splits CSV and TSV into rows and fields, `json.rs` reads
//! a line of NDJSON, `values.rs` says what a
//! text is as a value, `seen.rs` which type holds a whole column. Inference and reading share them,
//! so that a table that opens can be read to its last row. Arrow's readers do not do this: they infer
//! by patterns that their parsers do not follow, drop blank lines, and cannot tell an empty text from
//! a null.

mod batch;
mod csv;
mod fields;
mod input;
mod json;
mod ndjson;
mod seen;
mod values;

use std::{
    fs::File,
    io::{self, Read},
    iter,
    path::Path,
    sync::Arc,
};

use arrow::{
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{Result, Statistics, not_impl_err, tree_node::TreeNodeRecursion},
    datasource::{
        file_format::{FileFormat, file_compression_type::FileCompressionType},
        listing::PartitionedFile,
        physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource},
        projection::{ProjectionOpener, SplitProjection},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    object_store::{ObjectMeta, ObjectStore},
    physical_expr::projection::ProjectionExprs,
    physical_plan::{ExecutionPlan, PhysicalExpr, metrics::ExecutionPlanMetricsSet},
};
use futures_util::{StreamExt, stream};

pub(crate) use self::seen::{LARGE_INTEGER, Notes};
use self::{
    csv::CsvReader,
    fields::Delimiter,
    input::{Gzip, Input},
    ndjson::NdjsonReader,
};
use crate::{
    error::EngineError,
    file_kind::{Compression, FileKind},
    pinned::PinnedFile,
};

/// Infers the columns of a file from all its rows. **Blocks** for as long as it takes to read them.
///
/// # Errors
/// The file cannot be read or split into rows.
pub(crate) fn infer(path: &Path, kind: FileKind) -> io::Result<Schema> {
    let input = input(path, kind)?;
    match delimiter(kind) {
        Some(delimiter) => csv::infer(input, delimiter),
        None => ndjson::infer(input),
    }
}

fn input(path: &Path, kind: FileKind) -> io::Result<Input> {
    Input::new(decompressed(File::open(path)?, kind)?)
}

fn delimiter(kind: FileKind) -> Option<Delimiter> {
    match kind {
        FileKind::Csv(_) => Some(Delimiter::Comma),
        FileKind::Tsv(_) => Some(Delimiter::Tab),
        _ => None,
    }
}

fn decompressed(file: File, kind: FileKind) -> io::Result<Box<dyn Read + Send>> {
    match kind {
        FileKind::Csv(compression) | FileKind::Tsv(compression) | FileKind::Ndjson(compression) => {
            match compression {
                Compression::None => Ok(Box::new(file)),
                Compression::Gzip => Ok(Box::new(Gzip::new(file))),
                Compression::Zstd => FileCompressionType::ZSTD
                    .convert_read(file)
                    .map_err(io::Error::other),
            }
        }
        _ => Ok(Box::new(file)),
    }
}

/// How DataFusion reads text files of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TextFormat(pub(crate) FileKind);

#[async_trait]
impl FileFormat for TextFormat {
    fn get_ext(&self) -> String {
        "txt".to_owned()
    }

    fn get_ext_with_compression(&self, _compression: &FileCompressionType) -> Result<String> {
        Ok(self.get_ext())
    }

    /// The source decompresses.
    fn compression_type(&self) -> Option<FileCompressionType> {
        None
    }

    async fn infer_schema(
        &self,
        _session: &dyn Session,
        _store: &Arc<dyn ObjectStore>,
        _objects: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        not_impl_err!("a table of text files knows its columns")
    }

    async fn infer_stats(
        &self,
        _session: &dyn Session,
        _store: &Arc<dyn ObjectStore>,
        columns: SchemaRef,
        _object: &ObjectMeta,
    ) -> Result<Statistics> {
        Ok(Statistics::new_unknown(&columns))
    }

    async fn create_physical_plan(
        &self,
        _session: &dyn Session,
        scan: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(DataSourceExec::from_data_source(scan))
    }

    fn file_source(&self, schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(TextSource {
            format: *self,
            projection: SplitProjection::unprojected(&schema),
            schema,
            batch_rows: None,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// A scan of text files.
#[derive(Clone)]
struct TextSource {
    format: TextFormat,
    schema: TableSchema,
    projection: SplitProjection,
    batch_rows: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

impl FileSource for TextSource {
    fn create_file_opener(
        &self,
        _store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let columns = self.schema.file_schema();
        let places = self.projection.file_indices.clone();
        let opener = TextOpener {
            format: self.format,
            schema: Arc::new(columns.project(&places)?),
            places,
            batch_rows: self.batch_rows.or(config.batch_size).unwrap_or(BATCH_ROWS),
        };
        ProjectionOpener::try_new(self.projection.clone(), Arc::new(opener), columns)
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, batch_rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_rows: Some(batch_rows),
            ..self.clone()
        })
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        Ok(Some(Arc::new(Self {
            projection: SplitProjection::new(self.schema.file_schema(), &merged),
            ..self.clone()
        })))
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &str {
        "text"
    }

    /// Only from its beginning a file says whether a line break is within quotes.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let mut expressions = self.projection.source.iter();
        expressions.try_fold(
            TreeNodeRecursion::Continue,
            |recursion, expression| match recursion {
                TreeNodeRecursion::Stop => Ok(TreeNodeRecursion::Stop),
                _ => apply(&expression.expr),
            },
        )
    }
}

/// DataFusion's default; it sets one itself.
const BATCH_ROWS: usize = 8192;

struct TextOpener {
    format: TextFormat,
    /// The columns to read, and their places in the file.
    schema: SchemaRef,
    places: Vec<usize>,
    batch_rows: usize,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let file = file.extension::<PinnedFile>().cloned().ok_or_else(|| {
            EngineError::data("internal error: a plan reads a file that was not compared")
        })?;
        let TextFormat(kind) = self.format;
        let columns = (Arc::clone(&self.schema), self.places.clone());
        let batch_rows = self.batch_rows;
        Ok(Box::pin(async move {
            let reader = Reader::new(&file.path, kind, columns, batch_rows);
            let mut reader = Some(reader.map_err(|error| file.error(&error))?);
            let batches = iter::from_fn(move || {
                let read = reader.as_mut()?.read();
                if read.is_err() {
                    reader = None;
                }
                let read = read.transpose()?;
                Some(read.map_err(|error| file.error(&error).into()))
            });
            Ok(stream::iter(batches).boxed())
        }))
    }
}

/// Reads the rows of a file.
enum Reader {
    Csv(CsvReader),
    Ndjson(NdjsonReader),
}

impl Reader {
    fn new(
        path: &Path,
        kind: FileKind,
        columns: (SchemaRef, Vec<usize>),
        batch_rows: usize,
    ) -> io::Result<Self> {
        let input = input(path, kind)?;
        Ok(match delimiter(kind) {
            Some(delimiter) => Self::Csv(CsvReader::new(input, delimiter, columns, batch_rows)?),
            None => Self::Ndjson(NdjsonReader::new(input, columns.0, batch_rows)),
        })
    }

    fn read(&mut self) -> io::Result<Option<RecordBatch>> {
        match self {
            Self::Csv(reader) => reader.read(),
            Self::Ndjson(reader) => reader.read(),
        }
    }
}
