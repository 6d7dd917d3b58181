//! FITS tables as tables of the engine: what `datastreamer_rows` reads, with the columns that a
//! plan wants and no rows beyond its limit.

use std::{fmt, path::PathBuf, sync::Arc};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, Statistics, project_schema, stats::Precision},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableType},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        statistics::StatisticsArgs,
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use datastreamer_rows::fits::FitsFile;

use crate::{error::EngineError, files::TableFiles, pinned::PinnedFile};

/// Batches that are read ahead: one is decoded while the one before is written.
const BATCHES_AHEAD: usize = 2;

/// FITS files with the same columns, as one table.
#[derive(Debug)]
pub(crate) struct FitsTable {
    files: TableFiles,
    schema: SchemaRef,
}

impl FitsTable {
    /// Reads the headers; blocks.
    pub(crate) fn open(files: TableFiles) -> Result<Self, EngineError> {
        let opened = open_all(&files)?;
        let schema = opened
            .first()
            .map_or_else(|| Arc::new(Schema::empty()), |(_, file)| file.schema());
        Ok(Self { files, schema })
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Lays other metadata over the columns.
    pub(crate) fn with_schema(mut self, schema: SchemaRef) -> Self {
        self.schema = schema;
        self
    }
}

/// Opens the files as they are now; those of a table must have the same columns.
fn open_all(files: &TableFiles) -> Result<Vec<(PathBuf, FitsFile)>, EngineError> {
    let mut opened: Vec<(PathBuf, FitsFile)> = Vec::new();
    for path in files.list()? {
        let wrong = |text: String| EngineError::data(format!("{}: {text}", path.display()));
        let file = FitsFile::open(&path).map_err(|error| wrong(error.to_string()))?;
        if let Some((first, other)) = opened.first()
            && !same_columns(&file.schema(), &other.schema())
        {
            return Err(wrong(format!("has other columns than {}", first.display())));
        }
        opened.push((path, file));
    }
    Ok(opened)
}

fn same_columns(one: &Schema, other: &Schema) -> bool {
    let columns = |schema: &Schema| {
        let fields = schema.fields().iter();
        fields
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect::<Vec<_>>()
    };
    columns(one) == columns(other)
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
        let wrong = |error: EngineError| DataFusionError::External(Box::new(error));
        let schema = project_schema(&self.schema, projection)?;
        Ok(Arc::new(FitsScan {
            files: open_all(&self.files).map_err(wrong)?,
            properties: Arc::new(PlanProperties::new(
                EquivalenceProperties::new(Arc::clone(&schema)),
                Partitioning::UnknownPartitioning(1),
                EmissionType::Incremental,
                Boundedness::Bounded,
            )),
            projection: projection.cloned(),
            limit: limit.map(|rows| rows as u64),
        }))
    }
}

/// Reads the files one after the other.
pub(crate) struct FitsScan {
    files: Vec<(PathBuf, FitsFile)>,
    projection: Option<Vec<usize>>,
    limit: Option<u64>,
    properties: Arc<PlanProperties>,
}

impl FitsScan {
    pub(crate) fn pin(&self) -> Result<Vec<PinnedFile>, EngineError> {
        let paths = self.files.iter().map(|(path, _)| path.clone());
        paths.map(PinnedFile::pin).collect()
    }

    /// The columns of texts, and the most bytes that any has.
    pub(crate) fn text_widths(&self) -> impl Iterator<Item = (String, usize)> {
        let fields = self.files.first().map(|(_, file)| file.schema());
        let fields = fields
            .iter()
            .flat_map(|schema| schema.fields().iter().cloned());
        let fields: Vec<_> = fields.enumerate().collect();
        fields.into_iter().filter_map(|(column, field)| {
            let widths = self
                .files
                .iter()
                .map(|(_, file)| file.text_bytes_max(column));
            let widest = widths.reduce(|one, other| Some(one?.max(other?)))??;
            Some((field.name().clone(), widest))
        })
    }

    fn rows(&self) -> u64 {
        let rows = self.files.iter().map(|(_, file)| file.rows()).sum::<u64>();
        self.limit.map_or(rows, |limit| rows.min(limit))
    }
}

impl fmt::Debug for FitsScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FitsScan")
            .field("files", &self.files.len())
            .field("projection", &self.projection)
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
        let schema = self.schema();
        let mut batches = RecordBatchReceiverStreamBuilder::new(schema.clone(), BATCHES_AHEAD);
        let (files, projection) = (self.files.clone(), self.projection.clone());
        let batch_rows = context.session_config().batch_size();
        let (sender, mut left) = (batches.tx(), self.rows());
        batches.spawn_blocking(move || {
            for (path, file) in files {
                let wrong = |text: String| {
                    let error = EngineError::data(format!("{}: {text}", path.display()));
                    DataFusionError::External(Box::new(error))
                };
                let rows = 0..file.rows().min(left);
                left -= rows.end;
                let reader = file.reader(projection.as_deref(), rows, batch_rows);
                for batch in reader.map_err(|error| wrong(error.to_string()))? {
                    let batch = batch.map_err(|error| wrong(error.to_string()))?;
                    let batch = batch.with_schema(Arc::clone(&schema))?;
                    if sender.blocking_send(Ok(batch)).is_err() {
                        return Ok(()); // Nobody wants them any more.
                    }
                }
            }
            Ok(())
        });
        Ok(batches.build())
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
