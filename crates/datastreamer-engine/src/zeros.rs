//! One zero in orders and keys. DataFusion's sorts, ranks and joins put -0.0 before 0.0, while its
//! comparisons take them for equal: a sort with a limit, or a join of several keys, then loses rows.
//! Adding 0.0 makes both the same number (IEEE 754, section 6.3), and leaves all others.

use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, Sort, lit},
    optimizer::AnalyzerRule,
};

use crate::expression_rule::ExpressionRule;

/// Makes the zeros one in the keys of sorts and joins. All sorts of a plan are made of these keys, so
/// that a merge compares as the sorts below it.
#[derive(Debug)]
pub(crate) struct OneZeroInKeys;

/// Makes the zeros one in the orders and partitions of window functions, and where two columns are
/// compared: the optimizer makes keys of joins of that.
pub(crate) const ONE_ZERO_IN_EXPRESSIONS: ExpressionRule = ExpressionRule {
    name: "one_zero_in_expressions",
    change: |expression, schema| match expression {
        Expr::WindowFunction(mut window) => {
            let orders = window.params.order_by.iter_mut().map(|key| &mut key.expr);
            let keys = orders.chain(&mut window.params.partition_by);
            let is_changed = with_one_zero(keys, schema)?;
            let window = Expr::WindowFunction(window);
            Ok(Transformed::new_transformed(window, is_changed))
        }
        Expr::BinaryExpr(BinaryExpr {
            mut left,
            op: op @ (Operator::Eq | Operator::IsNotDistinctFrom),
            mut right,
        }) => {
            // A column and a constant are no key, and conditions on them skip row groups.
            let are_keys = left.any_column_refs() && right.any_column_refs();
            let is_changed =
                are_keys && with_one_zero([&mut *left, &mut *right].into_iter(), schema)?;
            let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
            Ok(Transformed::new_transformed(comparison, is_changed))
        }
        other => Ok(Transformed::no(other)),
    },
};

impl AnalyzerRule for OneZeroInKeys {
    fn name(&self) -> &str {
        "one_zero_in_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Sort(Sort {
                mut expr,
                input,
                fetch,
            }) => {
                let keys = expr.iter_mut().map(|key| &mut key.expr);
                let is_changed = with_one_zero(keys, input.schema())?;
                let sort = LogicalPlan::Sort(Sort { expr, input, fetch });
                Ok(Transformed::new_transformed(sort, is_changed))
            }
            LogicalPlan::Join(mut join) => {
                let (left, right) = (join.left.schema().clone(), join.right.schema().clone());
                let mut is_changed = false;
                for (ours, theirs) in &mut join.on {
                    is_changed |= with_one_zero([ours].into_iter(), &left)?;
                    is_changed |= with_one_zero([theirs].into_iter(), &right)?;
                }
                let join = LogicalPlan::Join(join);
                Ok(Transformed::new_transformed(join, is_changed))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

/// Changes the keys whose type has two zeros; returns whether there are any.
fn with_one_zero<'a>(keys: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> Result<bool> {
    let mut is_changed = false;
    for key in keys {
        let data_type = key.get_type(schema)?;
        if data_type.is_floating() {
            let zero = ScalarValue::new_zero(&data_type)?;
            *key = std::mem::take(key) + lit(zero);
            is_changed = true;
        }
    }
    Ok(is_changed)
}
