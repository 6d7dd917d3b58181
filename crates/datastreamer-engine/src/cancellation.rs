//! Cancellation of running plans: by a stop, by a drop, or by a deadline.
//!
//! Dropping a plan's future is not enough. A future is dropped only between two polls, and one poll
//! may read a complete file of which a filter keeps no row, or compute a nested loop join for hours.
//! Therefore a check follows each leaf of a plan and precedes each join that compares all pairs.

use std::{
    collections::HashSet,
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

/// Whether the rows of a plan are still needed. Clones share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_cancelled: AtomicBool,
    /// When the reader that is waiting gives up; `None` while no reader is waiting.
    deadline: Mutex<Option<Instant>>,
}

impl Cancellation {
    /// Makes the plan fail at its next check. Never blocks.
    pub(crate) fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Sets the time after which the plan fails at its next check; `None` while no reader is
    /// waiting.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
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

    /// Checks that the rows are still needed.
    ///
    /// # Errors
    /// They were cancelled, or the deadline has passed.
    fn check(&self) -> Result<()> {
        let kind = if self.0.is_cancelled.load(Ordering::Relaxed) {
            EngineErrorKind::Stopped
        } else if self.is_late() {
            EngineErrorKind::TimedOut
        } else {
            return Ok(());
        };
        Err(EngineError::new(kind, "the query was cancelled").into())
    }
}

/// Adds a check after each batch of a plan's leaves, and before each that goes into a join of all
/// pairs.
///
/// # Errors
/// DataFusion cannot rebuild the plan.
pub(crate) fn with_checks(
    plan: Arc<dyn ExecutionPlan>,
    cancellation: &Cancellation,
) -> Result<Arc<dyn ExecutionPlan>> {
    let checked = |input: &Arc<dyn ExecutionPlan>, rows_max: usize, runs: Option<Runs>| {
        Arc::new(CancellationCheckExec {
            input: Arc::clone(input),
            cancellation: cancellation.clone(),
            rows_max,
            runs,
        }) as Arc<dyn ExecutionPlan>
    };
    let add_checks = |plan: Arc<dyn ExecutionPlan>| {
        let inputs = plan.children();
        if inputs.is_empty() {
            return Ok(Transformed::yes(checked(&plan, usize::MAX, None)));
        }
        if !(plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>()) {
            return Ok(Transformed::no(plan));
        }
        // The first input is collected in memory, where each slice would be counted with the size
        // of the complete batch.
        let bounds = [(usize::MAX, Some(Runs::default())), (JOINED_ROWS, None)];
        let inputs = inputs.into_iter().zip(bounds);
        let inputs = inputs
            .map(|(input, (rows_max, runs))| checked(input, rows_max, runs))
            .collect();
        let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        Ok(Transformed::yes(plan.replace_children(inputs, recompute)?))
    };
    Ok(plan.transform_up(add_checks)?.data)
}

/// 32 rows in a batch that goes into a join of all pairs: one poll may compare each of them with
/// millions of rows of the other side, between two checks.
const JOINED_ROWS: usize = 32;

/// Which partitions have run. A join of all pairs whose first input does not fit in memory runs that
/// input once more, in pieces. A join below it has given its rows then, and gives none: the pairs
/// would be lost. DataFusion 55 does not see to that, so the second run is an error.
#[derive(Debug, Default)]
struct Runs(Mutex<HashSet<usize>>);

impl Runs {
    fn begin(&self, partition: usize) -> Result<()> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.insert(partition) {
            return Ok(());
        }
        let text = "a join that compares all pairs needs more memory than there is for queries";
        Err(EngineError::new(EngineErrorKind::Exhausted, text).into())
    }
}

/// Passes batches through until the plan is cancelled.
#[derive(Debug)]
struct CancellationCheckExec {
    input: Arc<dyn ExecutionPlan>,
    cancellation: Cancellation,
    /// Larger batches are split.
    rows_max: usize,
    /// `None`: each partition may run more than once.
    runs: Option<Runs>,
}

impl DisplayAs for CancellationCheckExec {
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancellationCheckExec")
    }
}

impl ExecutionPlan for CancellationCheckExec {
    fn name(&self) -> &'static str {
        "CancellationCheckExec"
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
            DataFusionError::Internal(
                "a cancellation check has one input, and was given none".into(),
            )
        })?;
        Ok(Arc::new(Self {
            input,
            cancellation: self.cancellation.clone(),
            rows_max: self.rows_max,
            // Another plan, which runs anew.
            runs: self.runs.as_ref().map(|_| Runs::default()),
        }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if let Some(runs) = &self.runs {
            runs.begin(partition)?;
        }
        let input = self.input.execute(partition, context)?;
        let (cancellation, rows_max) = (self.cancellation.clone(), self.rows_max);
        let slices = input.map_ok(move |batch| stream::iter(slices(batch, rows_max)).map(Ok));
        let batches = slices.try_flatten();
        let batches = batches.map(move |batch| cancellation.check().and(batch));
        let schema = self.input.schema();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Splits a batch into slices of at most `rows_max` rows; an empty batch is one slice.
fn slices(batch: RecordBatch, rows_max: usize) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    let starts = (0..rows.max(1)).step_by(rows_max);
    starts.map(move |start| batch.slice(start, rows_max.min(rows - start)))
}
