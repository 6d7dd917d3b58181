//! Files that DataFusion reads, as tables of the engine: at each scan those that there are.
//!
//! DataFusion's own listing is not enough. Its globs cross folders, so that `dir/*.parquet` takes
//! `dir/old/a.parquet` too; with a limit it takes the files whose footers were read first, so that
//! the pages of one table would overlap; it leaves out files without bytes; and what a file has
//! that the table has not is cast or dropped without a word.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    datatypes::{DataType, Field, Schema, SchemaBuilder, SchemaRef},
    ipc::reader::{FileReader, StreamReader},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result},
    execution::{
        cache::cache_manager::FileStatisticsCache, context::SessionState,
        object_store::ObjectStoreUrl,
    },
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    object_store::{ObjectStoreExt, path::Path as StorePath},
    physical_plan::ExecutionPlan,
};
use tokio::runtime::Handle;

use crate::{
    error::EngineError,
    files::{FileKind, TableFiles},
    footer,
    inferred::{infer, same_places, together},
    pinned::{Seen, changed},
    plan_files::{listed_files, nodes},
};

/// Files of one kind, as one table.
#[derive(Debug)]
pub(crate) struct ListedTable {
    files: TableFiles,
    /// The columns in the files.
    inside: SchemaRef,
    /// Those of the partitions behind them.
    schema: SchemaRef,
    statistics: Option<Arc<FileStatisticsCache>>,
    /// The files whose columns were compared with the table's.
    compared: Mutex<HashMap<PathBuf, Seen>>,
    /// Where files are looked at: the planner must not be kept.
    threads: Handle,
}

impl ListedTable {
    /// Finds the columns of files.
    ///
    /// # Errors
    /// Files that cannot be read, or do not fit together.
    pub(crate) async fn open(
        files: TableFiles,
        session: &SessionState,
        threads: Handle,
    ) -> Result<Self, EngineError> {
        let mut table = Self {
            files,
            inside: Arc::new(Schema::empty()),
            schema: Arc::new(Schema::empty()),
            statistics: None,
            compared: Mutex::default(),
            threads,
        };
        let mut compared = HashMap::new();
        let mut inside: Option<Schema> = None;
        for path in table.files.list()? {
            let seen = not_empty(&path)?;
            let columns = table.columns_of(&path, session).await?;
            let both = match inside {
                None => Ok(columns),
                Some(inside) => table.together(inside, columns),
            };
            let about = |text: String| EngineError::data(format!("{}: {text}", path.display()));
            inside = Some(both.map_err(about)?);
            compared.insert(path, seen);
        }
        let inside = inside.unwrap_or_else(Schema::empty);
        table.files.check_columns(&inside)?;
        table.compared = Mutex::new(compared);
        Ok(table.with_columns(inside.into()))
    }

    /// Gives the columns of the files other metadata.
    pub(crate) fn with_columns(mut self, inside: SchemaRef) -> Self {
        let mut schema = SchemaBuilder::from(inside.as_ref());
        for (name, data_type) in self.files.partitions() {
            schema.push(Field::new(name, data_type.clone(), false));
        }
        self.schema = Arc::new(schema.finish().with_metadata(inside.metadata().clone()));
        self.inside = inside;
        self
    }

    /// Keeps what footers say of the values.
    pub(crate) fn with_statistics(mut self, cache: Option<Arc<FileStatisticsCache>>) -> Self {
        self.statistics = cache;
        self
    }

    /// The columns in the files, without those of partitions.
    pub(crate) fn columns(&self) -> SchemaRef {
        Arc::clone(&self.inside)
    }

    /// The columns of one file.
    async fn columns_of(&self, path: &Path, session: &SessionState) -> Result<Schema, EngineError> {
        let kind = self.files.kind();
        let wrong = |error: String| EngineError::data(format!("{}: {error}", path.display()));
        let file = path.to_owned();
        let columns = self.threads.spawn_blocking(move || match kind.is_binary() {
            true => header_columns(&file, kind),
            false => infer(&file, kind),
        });
        let columns = columns.await.map_err(|error| wrong(error.to_string()))??;
        let mut names = HashSet::new();
        let twice = columns
            .fields()
            .iter()
            .find(|field| !names.insert(field.name()));
        if let Some(field) = twice {
            return Err(wrong(format!("has two columns called {:?}", field.name())));
        }
        if columns.fields().is_empty() {
            return Err(wrong("has no columns".into()));
        }
        if !kind.is_binary() {
            return Ok(columns);
        }
        let store = session.runtime_env();
        let store = store.object_store(ObjectStoreUrl::local_filesystem())?;
        let location = StorePath::from_absolute_path(path);
        let location = location.map_err(|error| wrong(error.to_string()))?;
        let file = store.head(&location).await;
        let file = file.map_err(|error| wrong(error.to_string()))?;
        let schema = kind.reader().infer_schema(session, &store, &[file]).await;
        let schema =
            schema.map_err(|error| EngineError::from(error).about(&path.to_string_lossy()))?;
        Ok(Schema::clone(&schema))
    }

    fn together(&self, one: Schema, other: Schema) -> Result<Schema, String> {
        match self.files.kind() {
            kind if !kind.is_binary() => together(one, &other, kind),
            kind => {
                if kind == FileKind::Arrow {
                    same_places(&one, &other)?;
                }
                Schema::try_merge([one, other]).map_err(|error| error.to_string())
            }
        }
    }

    /// Compares files with the table that are not the same as when it was last done: one that has
    /// columns, or values in them, for which the table has no place must not be read.
    async fn compare(&self, files: &[PathBuf], session: &SessionState) -> Result<(), EngineError> {
        for path in files {
            let seen = not_empty(path)?;
            if self.was_compared(path, &seen) {
                continue;
            }
            let columns = self.columns_of(path, session).await?;
            self.holds(columns).map_err(|text| {
                EngineError::data(format!(
                    "{} is no longer of this table, until that is opened anew: it {text}",
                    path.display()
                ))
            })?;
            let mut compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
            compared.insert(path.clone(), seen);
            // Those that are gone are forgotten.
            if compared.len() > 2 * files.len() {
                compared.retain(|path, _| files.contains(path));
            }
        }
        Ok(())
    }

    fn was_compared(&self, path: &Path, seen: &Seen) -> bool {
        let compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
        compared.get(path) == Some(seen)
    }

    /// Says whether the table has a place for all values of columns.
    fn holds(&self, columns: Schema) -> Result<(), String> {
        let is_binary = self.files.kind().is_binary();
        let both = match is_binary {
            true => Schema::clone(&self.inside),
            false => together(Schema::clone(&self.inside), &columns, self.files.kind())?,
        };
        if self.files.kind() == FileKind::Arrow {
            same_places(&self.inside, &columns)?;
        }
        // In one of several files a column may be missing: it is null there.
        let missing = |field: &&Arc<Field>| columns.field_with_name(field.name()).is_err();
        let is_alone = self.files.is_one();
        let missing = self.inside.fields().iter().find(missing);
        if let Some(field) = missing.filter(|field| is_alone || !field.is_nullable()) {
            return Err(format!("has no column {:?}", field.name()));
        }
        for field in columns.fields() {
            let name = field.name();
            let Ok(ours) = self.inside.field_with_name(name) else {
                return Err(format!("has a column {name:?}"));
            };
            let theirs = match is_binary {
                true => field.data_type(),
                false => both.field_with_name(name).unwrap_or(ours).data_type(),
            };
            let may_be_null = field.is_nullable() && !ours.is_nullable();
            if may_be_null || !is_held(theirs, ours.data_type()) {
                let (theirs, ours) = (field.data_type(), ours.data_type());
                let nulls = if may_be_null { " with nulls" } else { "" };
                return Err(format!(
                    "has {theirs}{nulls} in column {name:?}, the table {ours}"
                ));
            }
        }
        Ok(())
    }
}

/// The columns as a file itself has them: DataFusion merges those of the same name. Blocks.
fn header_columns(path: &Path, kind: FileKind) -> Result<Schema, EngineError> {
    let wrong = |error: String| EngineError::data(format!("{}: {error}", path.display()));
    if kind == FileKind::Parquet {
        let read = footer::read(path).map_err(|error| wrong(error.to_string()))?;
        return Ok(Schema::clone(read.schema()));
    }
    let open = || File::open(path).map_err(|error| wrong(error.to_string()));
    let of_file = FileReader::try_new(BufReader::new(open()?), None).map(|file| file.schema());
    let schema = match of_file {
        Ok(schema) => Ok(schema),
        Err(_) => StreamReader::try_new(BufReader::new(open()?), None).map(|file| file.schema()),
    };
    let schema = schema.map_err(|error| wrong(error.to_string()))?;
    Ok(Schema::clone(&schema))
}

/// Says whether every value of a type has a place in another, as it is.
fn is_held(theirs: &DataType, ours: &DataType) -> bool {
    use DataType as T;
    let is_wider = matches!(
        (theirs, ours),
        (T::Int8, T::Int16 | T::Int32 | T::Int64)
            | (T::Int16, T::Int32 | T::Int64)
            | (T::Int32, T::Int64)
            | (T::UInt8, T::UInt16 | T::UInt32 | T::UInt64)
            | (T::UInt16, T::UInt32 | T::UInt64)
            | (T::UInt32, T::UInt64)
            | (T::Float32, T::Float64)
            | (T::Null, _)
    );
    is_wider || theirs.equals_datatype(ours)
}

/// Looks at a file, which must have bytes: DataFusion leaves out one that has none, and whoever
/// writes a file anew empties it first.
fn not_empty(path: &Path) -> Result<Seen, EngineError> {
    let seen = Seen::look(path)?;
    match seen.is_empty() {
        true => Err(EngineError::data(format!("{}: is empty", path.display()))),
        false => Ok(seen),
    }
}

#[async_trait]
impl TableProvider for ListedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wrong = |error: EngineError| DataFusionError::External(Box::new(error));
        let state = session.as_any().downcast_ref::<SessionState>();
        let state = state.ok_or_else(|| DataFusionError::Internal("no session".into()))?;
        let files = self.files.list().map_err(wrong)?;
        self.compare(&files, state).await.map_err(wrong)?;
        let urls = self.files.urls(&files).map_err(wrong)?;
        let table = self.files.listing_table(urls, Arc::clone(&self.inside))?;
        let table = table.with_cache(self.statistics.clone());
        // The plan above ends the scan at the limit: all files are in their order until then.
        let plan = table.scan(session, projection, filters, None).await?;
        // What is read is what was compared.
        for (path, planned) in nodes(plan.as_ref()).flat_map(listed_files) {
            let compared = self.compared.lock().unwrap_or_else(PoisonError::into_inner);
            if !compared.get(&path).is_some_and(|seen| seen.is(planned)) {
                return Err(wrong(changed(&path)));
            }
        }
        Ok(plan)
    }

    /// A filter spares files and row groups, and decides of no row.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
