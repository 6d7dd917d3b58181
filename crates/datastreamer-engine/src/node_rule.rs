//! A rule for physical plans that changes their nodes one by one. `from_statistics.rs` makes one.

use std::sync::Arc;

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    physical_optimizer::PhysicalOptimizerRule,
    physical_plan::ExecutionPlan,
};

/// The other node; `None` if the node stays.
type Changed = Option<Arc<dyn ExecutionPlan>>;

/// Replaces the nodes for which `change` returns another one, from the leaves up.
#[derive(Debug)]
pub(crate) struct NodeRule {
    pub(crate) name: &'static str,
    pub(crate) change: fn(&dyn ExecutionPlan) -> Result<Changed>,
}

impl PhysicalOptimizerRule for NodeRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let change = |plan: Arc<dyn ExecutionPlan>| {
            Ok(match (self.change)(plan.as_ref())? {
                Some(changed) => Transformed::yes(changed),
                None => Transformed::no(plan),
            })
        };
        Ok(plan.transform_up(change)?.data)
    }

    fn name(&self) -> &str {
        self.name
    }

    fn schema_check(&self) -> bool {
        true
    }
}
