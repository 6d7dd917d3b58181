//! Files that DataFusion reads, as tables of the engine: at each scan those that there are.
//!
//! DataFusion's own listing is not enough. Its globs cross folders, so that `dir/*.parquet` takes
//! `dir/old/a.parquet` too; and with a limit it takes the files whose footers were read first, so
//! that the pages of one table would overlap.

use std::sync::Arc;

use arrow::datatypes::{Field, SchemaBuilder, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, project_schema},
    execution::cache::cache_manager::FileStatisticsCache,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};

use crate::{error::EngineError, files::TableFiles};

/// Files of one kind, as one table.
#[derive(Debug)]
pub(crate) struct ListedTable {
    files: TableFiles,
    /// The columns in the files.
    inside: SchemaRef,
    /// Those of the partitions behind them.
    schema: SchemaRef,
    statistics: Option<Arc<FileStatisticsCache>>,
}

impl ListedTable {
    /// Opens files with the columns `inside`.
    pub(crate) fn new(
        files: TableFiles,
        inside: SchemaRef,
        statistics: Option<Arc<FileStatisticsCache>>,
    ) -> Self {
        let mut schema = SchemaBuilder::from(inside.as_ref());
        for (name, data_type) in files.partitions() {
            schema.push(Field::new(name, data_type.clone(), false));
        }
        let schema = schema.finish().with_metadata(inside.metadata().clone());
        Self {
            files,
            inside,
            schema: Arc::new(schema),
            statistics,
        }
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
        let urls = self.files.urls().map_err(wrong)?;
        if urls.is_empty() {
            let schema = project_schema(&self.schema, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let table = self.files.listing_table(urls, Arc::clone(&self.inside))?;
        let table = table.with_cache(self.statistics.clone());
        // The plan above ends the scan at the limit: all files are in their order until then.
        table.scan(session, projection, filters, None).await
    }

    /// A filter spares files and row groups, and decides of no row.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}
