//! Sort-merge joins with a condition beside their keys, as `ON a.id = b.id AND a.x < 4`. DataFusion 55
//! pushes a projection below such a join and leaves the condition as it is, which then reads other
//! columns, or columns that are not there: wrong rows, or a panic. It also computes the condition for rows
//! without a partner, and fails where their columns may not be null.

use std::{fmt, sync::Arc};

use arrow::datatypes::{Fields, Schema};
use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_optimizer::{PhysicalOptimizerRule, projection_pushdown::ProjectionPushdown},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
        joins::{SortMergeJoinExec, utils::JoinFilter},
    },
};

use crate::error::EngineError;

/// DataFusion's rule, which pushes no projection below these joins, and lets their conditions see nulls.
#[derive(Debug, Default)]
pub(crate) struct PushProjections(ProjectionPushdown);

impl PhysicalOptimizerRule for PushProjections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let hidden = plan.transform_up(|plan| {
            let join = plan.downcast_ref::<SortMergeJoinExec>();
            Ok(match join.is_some_and(|join| join.filter().is_some()) {
                true => Transformed::yes(Arc::new(HiddenJoin(plan)) as _),
                false => Transformed::no(plan),
            })
        })?;
        let pushed = self.0.optimize(hidden.data, config)?;
        let shown = pushed.transform_up(|plan| {
            Ok(match plan.downcast_ref::<HiddenJoin>() {
                Some(HiddenJoin(join)) => Transformed::yes(with_nulls(join)?),
                None => Transformed::no(plan),
            })
        })?;
        Ok(shown.data)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

/// Lets the columns of a join's condition be null.
fn with_nulls(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let join = plan.downcast_ref::<SortMergeJoinExec>();
    let Some((join, filter)) = join.and_then(|join| Some((join, join.filter().as_ref()?))) else {
        return Ok(Arc::clone(plan));
    };
    let fields = filter.schema().fields().iter();
    let fields: Fields = fields
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let filter = JoinFilter::new(
        Arc::clone(filter.expression()),
        filter.column_indices().to_vec(),
        Arc::new(Schema::new(fields)),
    );
    Ok(Arc::new(SortMergeJoinExec::try_new(
        Arc::clone(join.left()),
        Arc::clone(join.right()),
        join.on().to_vec(),
        Some(filter),
        join.join_type(),
        join.sort_options().to_vec(),
        join.null_equality(),
    )?))
}

/// A join, as a plan through which no projection goes.
#[derive(Debug)]
struct HiddenJoin(Arc<dyn ExecutionPlan>);

impl DisplayAs for HiddenJoin {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HiddenJoin")
    }
}

impl ExecutionPlan for HiddenJoin {
    fn name(&self) -> &'static str {
        "HiddenJoin"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.0.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.0]
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let join = children.into_iter().next();
        let join = join.ok_or_else(|| EngineError::data("a join is gone from its plan"))?;
        Ok(Arc::new(Self(join)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.0.execute(partition, context)
    }
}
