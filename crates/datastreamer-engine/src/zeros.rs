//! One zero in orders. DataFusion's sorts and ranks put -0.0 before 0.0, but a sort with a limit leaves
//! out rows by a comparison for which both are equal, and loses rows of the other zero. Adding 0.0
//! makes both the same number (IEEE 754, section 6.3), and leaves all others.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{Expr, ExprSchemable, LogicalPlan, Sort, SortExpr, lit},
    optimizer::AnalyzerRule,
};

use crate::expression_rule::ExpressionRule;

/// Makes the zeros one in the keys of sorts. All sorts of a plan are made of these keys, so that a
/// merge compares as the sorts below it.
#[derive(Debug)]
pub(crate) struct OneZeroInSorts;

/// Makes the zeros one in the orders of window functions.
pub(crate) const ONE_ZERO_IN_WINDOWS: ExpressionRule = ExpressionRule {
    name: "one_zero_in_windows",
    change: |expression, schema| match expression {
        Expr::WindowFunction(mut window) => {
            let keys = &mut window.params.order_by;
            let is_changed = with_one_zero(keys, schema)?;
            let window = Expr::WindowFunction(window);
            Ok(Transformed::new_transformed(window, is_changed))
        }
        other => Ok(Transformed::no(other)),
    },
};

impl AnalyzerRule for OneZeroInSorts {
    fn name(&self) -> &str {
        "one_zero_in_sorts"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| match plan {
            LogicalPlan::Sort(Sort {
                mut expr,
                input,
                fetch,
            }) => {
                let is_changed = with_one_zero(&mut expr, input.schema())?;
                let sort = LogicalPlan::Sort(Sort { expr, input, fetch });
                Ok(Transformed::new_transformed(sort, is_changed))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(changed.data)
    }
}

/// Changes the keys whose type has two zeros; returns whether there are any.
fn with_one_zero(keys: &mut [SortExpr], schema: &DFSchema) -> Result<bool> {
    let mut is_changed = false;
    for key in keys {
        if let Some(zero) = zero(&key.expr.get_type(schema)?) {
            key.expr = std::mem::take(&mut key.expr) + lit(zero);
            is_changed = true;
        }
    }
    Ok(is_changed)
}

fn zero(data_type: &DataType) -> Option<ScalarValue> {
    let is_float = data_type.is_floating();
    is_float
        .then(|| ScalarValue::new_zero(data_type).ok())
        .flatten()
}
