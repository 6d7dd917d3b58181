//! Plans that end when their rows are stopped or have taken too long, also in the midst of a poll.
//!
//! A future is dropped only between two polls, and one poll may read a whole file that a filter
//! leaves nothing of, or go through the pairs of a nested loop for hours: so whatever comes from a
//! leaf of a plan, or goes into such a join, asks whether it is still wanted.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arrow::record_batch::RecordBatch;
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
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{EngineError, EngineErrorKind};

/// Whether anybody still wants the rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_ended: AtomicBool,
    /// When the reader that waits gives up; nobody waits for ever, but perhaps nobody waits.
    deadline: Mutex<Option<Instant>>,
}

impl Wanted {
    pub(crate) fn end(&self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }

    /// Sets until when the rows are waited for; `None` while nobody waits.
    pub(crate) fn until(&self, deadline: Option<Instant>) {
        *self
            .0
            .deadline
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn is_late(&self) -> bool {
        let deadline = *self
            .0
            .deadline
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| Instant::now() > deadline)
    }

    fn check(&self) -> Result<()> {
        let kind = if self.0.has_ended.load(Ordering::Relaxed) {
            EngineErrorKind::Stopped
        } else if self.is_late() {
            EngineErrorKind::TimedOut
        } else {
            return Ok(());
        };
        Err(EngineError::new(kind, "the rows are not waited for any more").into())
    }
}

/// Makes a plan ask after each batch of its leaves, and before each that goes into a join.
pub(crate) fn stoppable(
    plan: Arc<dyn ExecutionPlan>,
    wanted: &Wanted,
) -> Result<Arc<dyn ExecutionPlan>> {
    let asking = |input: &Arc<dyn ExecutionPlan>, rows_max: usize| {
        Arc::new(Asking {
            input: Arc::clone(input),
            wanted: wanted.clone(),
            rows_max,
        }) as Arc<dyn ExecutionPlan>
    };
    let ask = |plan: Arc<dyn ExecutionPlan>| {
        let inputs = plan.children();
        if inputs.is_empty() {
            return Ok(Transformed::yes(asking(&plan, usize::MAX)));
        }
        if !(plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>()) {
            return Ok(Transformed::no(plan));
        }
        // The first input is gathered, and would count each piece as large as its whole batch.
        let rows_max = [usize::MAX, JOINED_ROWS];
        let inputs = inputs.into_iter().zip(rows_max);
        let inputs = inputs
            .map(|(input, rows_max)| asking(input, rows_max))
            .collect();
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Transformed::yes(plan.replace_children(inputs, recompute)?))
    };
    Ok(plan.transform_up(ask)?.data)
}

/// Rows of a batch that goes into a join of all pairs: one poll may pair each of them with all
/// rows of the other side, which are millions.
const JOINED_ROWS: usize = 32;

/// Hands batches on as long as they are wanted.
#[derive(Debug)]
struct Asking {
    input: Arc<dyn ExecutionPlan>,
    wanted: Wanted,
    /// Larger batches are cut.
    rows_max: usize,
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
            rows_max: self.rows_max,
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (wanted, rows_max) = (self.wanted.clone(), self.rows_max);
        let pieces = input.map_ok(move |batch| stream::iter(pieces(batch, rows_max)).map(Ok));
        let batches = pieces.try_flatten();
        let batches = batches.map(move |batch| wanted.check().and(batch));
        let schema = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

fn pieces(batch: RecordBatch, rows_max: usize) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let starts = (0..rows.max(1)).step_by(rows_max);
    starts.map(move |start| batch.slice(start, rows_max.min(rows - start)))
}
