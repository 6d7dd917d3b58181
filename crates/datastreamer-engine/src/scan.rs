//! Scans of text files and of Arrow files, as a format of DataFusion's. It reads nothing itself.
//!
//! `provider.rs` plans with it. `text_opener.rs` and `arrow_opener.rs` open the files.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{Result, Statistics, not_impl_err, tree_node::TreeNodeRecursion},
    datasource::{
        file_format::{FileFormat, file_compression_type::FileCompressionType},
        physical_plan::{
            FileGroup, FileGroupPartitioner, FileOpener, FileScanConfig, FileScanConfigBuilder,
            FileSource,
        },
        projection::{ProjectionOpener, SplitProjection},
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    object_store::{ObjectMeta, ObjectStore},
    physical_expr::{LexOrdering, projection::ProjectionExprs},
    physical_plan::{ExecutionPlan, PhysicalExpr, metrics::ExecutionPlanMetricsSet},
};
use datastreamer_text::{TextColumns, TextOptions};

use crate::{
    arrow_file, arrow_opener::ArrowOpener, file_kind::FileKind, pinned::PinnedFile,
    text_opener::TextOpener,
};

/// 8192 rows in a batch, DataFusion's default: at 100 bytes a row they fit the cache of a core.
pub(crate) const BATCH_ROWS: usize = 8192;

/// How DataFusion reads text files of one kind, or Arrow files.
#[derive(Clone, Debug)]
pub(crate) struct Scanned {
    pub(crate) kind: FileKind,
    /// How files of text are written.
    pub(crate) text: Arc<TextOptions>,
    /// How many times its size a compressed file may become.
    pub(crate) expansion_max: u64,
}

#[async_trait]
impl FileFormat for Scanned {
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
        not_impl_err!("a table knows its columns")
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
        Arc::new(ScannedSource {
            kind: self.kind,
            text: Arc::clone(&self.text),
            expansion_max: self.expansion_max,
            projection: SplitProjection::unprojected(&schema),
            schema,
            batch_rows: None,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }
}

/// A scan of such files.
#[derive(Clone)]
struct ScannedSource {
    kind: FileKind,
    text: Arc<TextOptions>,
    expansion_max: u64,
    schema: TableSchema,
    projection: SplitProjection,
    batch_rows: Option<usize>,
    metrics: ExecutionPlanMetricsSet,
}

impl FileSource for ScannedSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let columns = self.schema.file_schema();
        let places = self.projection.file_indices.clone();
        let schema = Arc::new(columns.project(&places)?);
        let opener: Arc<dyn FileOpener> = match self.kind {
            FileKind::Text(format, compression) => Arc::new(TextOpener {
                format,
                compression,
                options: Arc::clone(&self.text),
                expansion_max: self.expansion_max,
                columns: TextColumns {
                    schema,
                    places,
                    count: columns.fields().len(),
                },
                batch_rows: self.batch_rows.or(config.batch_size).unwrap_or(BATCH_ROWS),
            }),
            _ => Arc::new(ArrowOpener {
                store,
                schema,
                places,
            }),
        };
        ProjectionOpener::try_new(self.projection.clone(), opener, columns)
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
        match self.kind {
            FileKind::Arrow => "arrow",
            _ => "text",
        }
    }

    /// Splits files between partitions, if each has a footer that says where its batches are. Only
    /// from its beginning a text says whether a line break is within quotes.
    fn repartitioned(
        &self,
        target_partitions: usize,
        file_bytes_min: usize,
        order: Option<LexOrdering>,
        scan: &FileScanConfig,
    ) -> Result<Option<FileScanConfig>> {
        let files = scan.file_groups.iter().flat_map(FileGroup::iter);
        let have_footers = || {
            let mut pinned = files.map(|file| file.extension::<PinnedFile>());
            pinned.all(|file| file.is_some_and(|file| arrow_file::has_footer(&file.path)))
        };
        if self.kind != FileKind::Arrow || !have_footers() {
            return Ok(None);
        }
        let groups = FileGroupPartitioner::new()
            .with_target_partitions(target_partitions)
            .with_repartition_file_min_size(file_bytes_min)
            .with_preserve_order_within_groups(order.is_some())
            .repartition_file_groups(&scan.file_groups);
        let scan = FileScanConfigBuilder::from(scan.clone());
        Ok(groups.map(|groups| scan.with_file_groups(groups).build()))
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
