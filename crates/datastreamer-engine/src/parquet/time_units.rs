//! Casts of times to a finer unit, which the pruning of row groups does not look into: DataFusion
//! compares such a column in its own unit, with the other time cut to it, so that
//! `t < 00:00:00.0015` would leave out 1 ms in a file of milliseconds
//! (`a_time_between_those_of_a_coarser_file_is_compared_exactly`).

use std::{fmt, sync::Arc};

use arrow::{
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use datafusion::{
    common::{
        Result,
        tree_node::{Transformed, TransformedResult, TreeNode},
    },
    logical_expr::ColumnarValue,
    physical_expr::expressions::CastExpr,
    physical_expr_adapter::{
        DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
    },
    physical_plan::PhysicalExpr,
};

/// Casts the columns of a file to those of the table as DataFusion does, but for times.
#[derive(Debug)]
pub(super) struct Casts;

impl PhysicalExprAdapterFactory for Casts {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let casts = DefaultPhysicalExprAdapterFactory.create(table, Arc::clone(&file))?;
        Ok(Arc::new(TimeCasts { casts, file }))
    }
}

#[derive(Debug)]
struct TimeCasts {
    casts: Arc<dyn PhysicalExprAdapter>,
    file: SchemaRef,
}

impl PhysicalExprAdapter for TimeCasts {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let rewritten = self.casts.rewrite(expression)?;
        let hide = |expression: Arc<dyn PhysicalExpr>| match TimeCast::of(&expression, &self.file) {
            Some(cast) => Ok(Transformed::yes(Arc::new(cast) as _)),
            None => Ok(Transformed::no(expression)),
        };
        rewritten.transform_up(hide).data()
    }
}

/// A cast that is computed, and not looked into.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeCast(CastExpr);

impl TimeCast {
    /// Returns a cast that changes the unit of a time.
    fn of(expression: &Arc<dyn PhysicalExpr>, file: &Schema) -> Option<Self> {
        let cast = expression.downcast_ref::<CastExpr>()?;
        let from = cast.expr().data_type(file).ok()?;
        match (&from, cast.cast_type()) {
            (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) if from != to => {
                Some(Self(cast.clone()))
            }
            _ => None,
        }
    }
}

impl PhysicalExpr for TimeCast {
    fn return_field(&self, file: &Schema) -> Result<FieldRef> {
        self.0.return_field(file)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.0.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.0.children()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let cast = Arc::new(self.0.clone()).with_new_children(children)?;
        Ok(match cast.downcast_ref::<CastExpr>() {
            Some(cast) => Arc::new(Self(cast.clone())),
            None => cast,
        })
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

impl fmt::Display for TimeCast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
