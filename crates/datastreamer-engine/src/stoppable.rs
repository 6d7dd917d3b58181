//! Plans that end when their rows are stopped, also in the midst of a join.
//!
//! A future is dropped only between two polls, and a nested loop over millions of pairs that gives
//! no row may take hours for one poll: so what goes into a join asks whether it is still wanted.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use datafusion::{
    common::{
        DataFusionError, Result,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PhysicalExpr, PlanProperties,
        execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
        joins::{CrossJoinExec, NestedLoopJoinExec},
        stream::RecordBatchStreamAdapter,
    },
};
use futures_util::StreamExt;

use crate::error::{EngineError, EngineErrorKind};

/// Whether anybody still wants the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(crate) fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if !self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        let error = EngineError::new(EngineErrorKind::Stopped, "the rows were stopped");
        Err(DataFusionError::External(Box::new(error)))
    }
}

/// Makes the joins of a plan ask before each batch that they take.
pub(crate) fn stoppable(
    plan: Arc<dyn ExecutionPlan>,
    wanted: &Wanted,
) -> Result<Arc<dyn ExecutionPlan>> {
    let ask = |plan: Arc<dyn ExecutionPlan>| {
        if !(plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>()) {
            return Ok(Transformed::no(plan));
        }
        let children = plan.children().into_iter().map(|input| {
            Arc::new(Asking {
                input: Arc::clone(input),
                wanted: wanted.clone(),
            }) as Arc<dyn ExecutionPlan>
        });
        let children = children.collect();
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Transformed::yes(
            plan.replace_children(children, recompute)?,
        ))
    };
    Ok(plan.transform_up(ask)?.data)
}

/// Hands batches on as long as they are wanted.
#[derive(Debug)]
struct Asking {
    input: Arc<dyn ExecutionPlan>,
    wanted: Wanted,
}

impl DisplayAs for Asking {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

impl ExecutionPlan for Asking {
    fn name(&self) -> &'static str {
        "Asking"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
        let input = children.into_iter().next().ok_or_else(|| {
            DataFusionError::Internal("a plan that has one input was given none".into())
        })?;
        Ok(Arc::new(Self {
            input,
            wanted: self.wanted.clone(),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let wanted = self.wanted.clone();
        let batches = input.map(move |batch| wanted.check().and(batch));
        let schema = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
