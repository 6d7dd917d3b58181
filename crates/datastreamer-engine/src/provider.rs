//! Tables of files that DataFusion's file formats read: Parquet, CSV, TSV, NDJSON, Arrow.
//!
//! Each scan lists the files as they are now, compares each with the table, and reads exactly the
//! files that were compared. DataFusion's own listing would not do. Its globs cross folders, so
//! that `dir/*.parquet` takes `dir/old/a.parquet` too; with a limit it takes the files whose
//! footers were read first, so that the pages of one table would overlap; it leaves out files
//! without bytes; and columns that the table has not are cast or dropped silently.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    datatypes::{Field, FieldRef, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DFSchema, Result, ScalarValue, Statistics, cast::as_boolean_array, project_schema},
    datasource::{
        file_format::FileFormat,
        listing::{PartitionedFile, helpers::expr_applicable_for_cols},
        physical_plan::{FileGroup, FileScanConfigBuilder},
        table_schema::TableSchema,
    },
    execution::{
        cache::{
            SchemaFingerprint, TableScopedPath,
            cache_manager::{CachedFileMetadata, FileStatisticsCache},
        },
        object_store::ObjectStoreUrl,
    },
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_expr::LexOrdering,
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{runtime::Handle, sync::Mutex};

use crate::{
    columns::{check_fit, columns_of_file, merge},
    error::EngineError,
    files::TableFiles,
    pinned::{FileState, PinnedFile},
};

/// Files of one kind, as one table.
#[derive(Debug)]
pub(crate) struct FileTable {
    files: TableFiles,
    format: Arc<dyn FileFormat>,
    /// Columns in the files, and those of partitions behind them.
    schema: TableSchema,
    /// Row counts, extremes and orders, by file: shared by all tables, and bounded.
    statistics: Option<Arc<FileStatisticsCache>>,
    /// Of the columns in the files: statistics of other columns are none of this table.
    fingerprint: Arc<SchemaFingerprint>,
    /// The files that were compared with the table. Held while files are compared, so that a file's
    /// columns are read once, however many scans wait for them
    /// (`the_columns_of_a_file_are_read_once_however_many_scans_wait_for_them`).
    compared: Mutex<HashMap<PathBuf, Compared>>,
    /// Where columns are read: the planner must not be kept.
    threads: Handle,
}

/// How a file in this state compared with the table.
#[derive(Debug)]
struct Compared {
    state: FileState,
    /// Or why it does not fit.
    fits: Result<(), String>,
}

impl FileTable {
    /// Reads the columns of all files.
    ///
    /// # Errors
    /// Files that cannot be read, or that do not make one table.
    pub(crate) async fn open(
        files: TableFiles,
        session: &dyn Session,
        threads: Handle,
    ) -> Result<Self, EngineError> {
        let mut table = Self {
            format: files.kind().format(),
            files,
            schema: Arc::new(Schema::empty()).into(),
            statistics: None,
            fingerprint: Arc::new(SchemaFingerprint::from_schema(&Schema::empty())),
            compared: Mutex::default(),
            threads,
        };
        let mut compared = HashMap::new();
        let mut merged: Option<Schema> = None;
        for path in table.files.list()? {
            let state = FileState::of_table(&path)?;
            let columns = table.columns_of(&path, &state, session).await?;
            let both = match merged {
                None => Ok(columns),
                Some(merged) => merge(merged, columns, table.files.kind()),
            };
            let about = |text: String| EngineError::data(format!("{}: {text}", path.display()));
            merged = Some(both.map_err(about)?);
            compared.insert(
                path,
                Compared {
                    state,
                    fits: Ok(()),
                },
            );
        }
        let merged = merged.unwrap_or_else(Schema::empty);
        table.files.check_columns(&merged)?;
        table.compared = Mutex::new(compared);
        Ok(table.with_columns(merged.into()))
    }

    /// Gives the columns of the files other metadata.
    pub(crate) fn with_columns(mut self, columns: SchemaRef) -> Self {
        let partitions = self.files.partitions().iter();
        let partitions = partitions
            .map(|(name, data_type)| Arc::new(Field::new(name, data_type.clone(), false)));
        let partitions: Vec<FieldRef> = partitions.collect();
        self.fingerprint = Arc::new(SchemaFingerprint::from_schema(&columns));
        self.schema = TableSchema::builder(columns)
            .with_table_partition_cols(partitions)
            .build();
        self
    }

    /// Keeps what footers say of the values in this cache.
    pub(crate) fn with_statistics(mut self, cache: Option<Arc<FileStatisticsCache>>) -> Self {
        self.statistics = cache;
        self
    }

    /// Returns the columns in the files, without those of partitions.
    pub(crate) fn columns(&self) -> SchemaRef {
        Arc::clone(self.schema.file_schema())
    }

    async fn columns_of(
        &self,
        path: &Path,
        state: &FileState,
        session: &dyn Session,
    ) -> Result<Schema, EngineError> {
        let (kind, format) = (self.files.kind(), self.format.as_ref());
        let object = state.object(path)?;
        columns_of_file(path, kind, format, object, session, &self.threads).await
    }

    /// Lists the files as they are now, and compares those with the table that changed since that
    /// was last done: a file that has columns, or values in them, for which the table has no place
    /// must not be read. Returns each in the state in which it was compared.
    async fn compare(&self, session: &dyn Session) -> Result<Vec<PinnedFile>, EngineError> {
        let kind = self.files.kind();
        let paths = self.files.list()?;
        let mut compared = self.compared.lock().await;
        let mut pinned = Vec::with_capacity(paths.len());
        for path in paths {
            let state = FileState::of_table(&path)?;
            if compared.get(&path).is_none_or(|file| file.state != state) {
                let columns = self.columns_of(&path, &state, session).await?;
                let fits = check_fit(
                    self.schema.file_schema(),
                    &columns,
                    kind,
                    !self.files.is_one(),
                );
                let state = state.clone();
                compared.insert(path.clone(), Compared { state, fits });
            }
            if let Some(Err(text)) = compared.get(&path).map(|file| &file.fits) {
                return Err(EngineError::data(format!(
                    "{} is no longer of this table, until that is opened anew: it {text}",
                    path.display()
                )));
            }
            pinned.push(PinnedFile::new(path, state));
        }
        // Those that are gone are forgotten.
        if compared.len() > 2 * pinned.len() {
            compared.retain(|path, _| pinned.iter().any(|file| file.path() == path));
        }
        Ok(pinned)
    }

    /// Makes a file one of a plan: it carries its pin, and the values of its partitions.
    fn planned(&self, file: PinnedFile) -> Result<PartitionedFile, EngineError> {
        let values = self.files.partition_values(file.path())?;
        Ok(PartitionedFile::from(file.object()?)
            .with_partition_values(values)
            .with_extension(file))
    }

    fn is_of_partitions(&self, filter: &Expr) -> bool {
        let partitions = self.files.partitions().iter();
        let names: Vec<_> = partitions.map(|(name, _)| name.as_str()).collect();
        !names.is_empty() && expr_applicable_for_cols(&names, filter)
    }

    /// Leaves out the files for whose partitions the filters on partitions alone do not hold.
    fn prune(
        &self,
        files: Vec<PartitionedFile>,
        filters: &[Expr],
        session: &dyn Session,
    ) -> Result<Vec<PartitionedFile>> {
        let filters = filters
            .iter()
            .filter(|filter| self.is_of_partitions(filter));
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

    /// Adds what a file says of its rows.
    async fn described(
        &self,
        file: PartitionedFile,
        session: &dyn Session,
    ) -> Result<PartitionedFile> {
        let object = &file.object_meta;
        let key = TableScopedPath {
            table: None,
            path: object.location.clone(),
        };
        let known = self.statistics.as_ref().and_then(|cache| cache.get(&key));
        let known = known.filter(|known| known.is_valid_for(object, &self.fingerprint));
        let known = match known {
            Some(known) => known,
            None => {
                let store = session.runtime_env();
                let store = store.object_store(ObjectStoreUrl::local_filesystem())?;
                let read = self
                    .format
                    .infer_stats_and_ordering(session, &store, self.columns(), object)
                    .await?;
                let known = CachedFileMetadata::new(
                    object.clone(),
                    Arc::clone(&self.fingerprint),
                    Arc::new(read.statistics),
                    read.ordering,
                );
                if let Some(cache) = &self.statistics {
                    cache.put(&key, known.clone());
                }
                known
            }
        };
        Ok(file
            .with_statistics(known.statistics)
            .with_ordering(known.ordering))
    }
}

/// Returns the order that the rows of each of the files have.
fn common_order(files: &[PartitionedFile]) -> Option<LexOrdering> {
    let mut common: Vec<_> = files.first()?.ordering.as_ref()?.to_vec();
    for file in files {
        let order = file.ordering.as_ref()?.iter();
        let same = common
            .iter()
            .zip(order)
            .take_while(|(one, other)| one == other);
        common.truncate(same.count());
    }
    LexOrdering::new(common)
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Plans a scan of all files, in their order. The limit is left to the plan above.
    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.compare(session).await?.into_iter();
        let files = files.map(|file| self.planned(file));
        let files = self.prune(files.collect::<Result<_, EngineError>>()?, filters, session)?;
        let schema = self.schema();
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(
                &schema, projection,
            )?)));
        }
        let options = &session.config_options().execution;
        let files: Vec<_> = stream::iter(files)
            .map(|file| self.described(file, session))
            .buffered(options.meta_fetch_concurrency.get())
            .try_collect()
            .await?;
        let order = common_order(&files);
        let groups = FileGroup::new(files).split_files(session.config().target_partitions());
        let groups = groups.into_iter().map(|group| {
            let of_files = group.iter().filter_map(|file| file.statistics.as_deref());
            let of_group = Statistics::try_merge_iter(of_files, &schema)?;
            Ok(group.with_statistics(Arc::new(of_group)))
        });
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let of_groups = groups
            .iter()
            .filter_map(|group| group.file_statistics(None));
        let statistics = Statistics::try_merge_iter(of_groups, &schema)?;
        let source = self.format.file_source(self.schema.clone());
        let store = ObjectStoreUrl::local_filesystem();
        let scan = FileScanConfigBuilder::new(store, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_output_ordering(order.into_iter().collect())
            .build();
        self.format.create_physical_plan(session, scan).await
    }

    /// A filter on partitions alone decides which files are read. Any other spares files and row
    /// groups, and decides of no row.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let filters = filters.iter();
        Ok(filters
            .map(|filter| match self.is_of_partitions(filter) {
                true => TableProviderFilterPushDown::Exact,
                false => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }
}
