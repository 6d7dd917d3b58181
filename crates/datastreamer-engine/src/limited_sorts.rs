//! Sorts of which only the first rows are wanted. DataFusion keeps these rows in memory, however
//! many and however wide they are, and fails where it cannot. Here a sort of many of them is one of
//! all rows, which spills.
//!
//! `engine.rs` has the rule, and `rows.rs` asks for the other plan where the memory does not suffice.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::{
        ExecutionPlan,
        execution_plan::reset_plan_states,
        limit::{GlobalLimitExec, LocalLimitExec},
        sorts::sort::SortExec,
    },
};

/// The most rows that a sort keeps in memory: some megabytes.
pub(crate) const KEPT_ROWS_MAX: usize = 10_000;

/// Makes sorts that keep many rows sorts of all rows, with a limit behind them.
#[derive(Debug)]
pub(crate) struct LimitedSorts;

impl PhysicalOptimizerRule for LimitedSorts {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // One row more shows the reader that there are more.
        Ok(without_kept(plan, KEPT_ROWS_MAX + 1)?.data)
    }

    fn name(&self) -> &'static str {
        "limited_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Returns the same plan with sorts that spill only, ready to run although this one has run; `None`
/// if it has no other sorts.
pub(crate) fn spilling(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let changed = without_kept(Arc::clone(plan), 0)?;
    match changed.transformed {
        true => Ok(Some(reset_plan_states(changed.data)?)),
        false => Ok(None),
    }
}

/// Replaces the sorts that keep more rows than `rows_max`.
fn without_kept(
    plan: Arc<dyn ExecutionPlan>,
    rows_max: usize,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    plan.transform_up(|plan| {
        let sort = plan.downcast_ref::<SortExec>();
        let kept = sort.and_then(|sort| Some((sort, sort.fetch()?)));
        let Some((sort, fetch)) = kept.filter(|(_, fetch)| *fetch > rows_max) else {
            return Ok(Transformed::no(plan));
        };
        let all: Arc<dyn ExecutionPlan> = Arc::new(sort.with_fetch(None));
        Ok(Transformed::yes(match sort.preserve_partitioning() {
            true => Arc::new(LocalLimitExec::new(all, fetch)) as _,
            false => Arc::new(GlobalLimitExec::new(all, 0, Some(fetch))) as _,
        }))
    })
}
