//! A rule for logical plans that changes their expressions one by one. `utc.rs`, `time_zone.rs`,
//! `intervals.rs`, `patterns.rs`, `overflow.rs`, `conversions.rs`, `mixed_numbers.rs`,
//! `range_frames.rs`, `time_parts.rs`, `time_bins.rs`, `grown_values.rs`,
//! `correlated.rs`, `sort_keys.rs` and `equal_floats.rs` make such rules.

use datafusion::{
    common::{
        DFSchema, Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Expr, LogicalPlan, Operator, expr_rewriter::NamePreserver, utils::merge_schema,
    },
    optimizer::AnalyzerRule,
};

/// Changes each expression, from the leaves up, by the schema of its inputs. Names of columns stay.
#[derive(Debug)]
pub(crate) struct ExpressionRule {
    pub(crate) name: &'static str,
    pub(crate) change: fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
}

impl AnalyzerRule for ExpressionRule {
    fn name(&self) -> &str {
        self.name
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| self.change_node(plan))?;
        Ok(changed.data)
    }
}

impl ExpressionRule {
    /// Changes the expressions of one node.
    pub(crate) fn change_node(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let columns = scan.source.schema();
            let columns = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &columns)?;
            schema.merge(&columns);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let changed = expression.transform_up(|expression| (self.change)(expression, &schema));
            Ok(changed?.update_data(|expression| name.restore(expression)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    }
}

/// Returns whether an operator compares two values.
pub(crate) fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Returns what an expression converts.
pub(crate) fn without_cast(value: &Expr) -> &Expr {
    match value {
        Expr::Cast(cast) => without_cast(&cast.expr),
        other => other,
    }
}
