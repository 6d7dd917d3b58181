//! Keys of sorts that say nothing new, as the second g of `ORDER BY g, g DESC`. DataFusion leaves them out
//! of some orders and not of others, and its aggregates fail where the two differ.

use datafusion::{
    common::{Result, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{Distinct, Expr, LogicalPlan, SortExpr},
    optimizer::AnalyzerRule,
};

use crate::expression_rule::ExpressionRule;

/// Leaves them out of aggregates, and of DISTINCT ON, which becomes one.
#[derive(Debug)]
pub(crate) struct SortOnce;

impl AnalyzerRule for SortOnce {
    fn name(&self) -> &str {
        OF_AGGREGATES.name
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|mut node| {
            if let LogicalPlan::Distinct(Distinct::On(distinct)) = &mut node
                && let Some(keys) = &mut distinct.sort_expr
            {
                leave_out(keys);
            }
            OF_AGGREGATES.change_node(node)
        })?;
        Ok(plan.data)
    }
}

const OF_AGGREGATES: ExpressionRule = ExpressionRule {
    name: "sort_once",
    change: |mut expression, _schema| {
        let is_changed = match &mut expression {
            Expr::AggregateFunction(function) => leave_out(&mut function.params.order_by),
            _ => false,
        };
        Ok(Transformed::new_transformed(expression, is_changed))
    },
};

/// Returns whether there were any.
fn leave_out(keys: &mut Vec<SortExpr>) -> bool {
    let count = keys.len();
    let mut at = 0;
    while let Some(key) = keys.get(at) {
        let is_known = keys.iter().take(at).any(|before| before.expr == key.expr);
        match is_known {
            true => drop(keys.remove(at)),
            false => at += 1,
        }
    }
    keys.len() < count
}
