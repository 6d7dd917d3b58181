//! The subquery of ANY and ALL has a name of its own. DataFusion makes a condition of the column
//! before it and that of the subquery, and takes them for one where both are of the same table.

use std::sync::Arc;

use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{Expr, LogicalPlan, Subquery, SubqueryAlias, expr::SetComparison},
};

use crate::{correlated::is_correlated, expression_rule::ExpressionRule};

/// The name. Those that clients see are of tables and their own.
const NAME: &str = "compared rows";

/// Names the subqueries. It belongs behind all rules that change their columns.
pub(crate) const NAME_COMPARED_ROWS: ExpressionRule = ExpressionRule {
    name: "name_compared_rows",
    change: named,
};

fn named(expression: Expr, _schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::SetComparison(comparison) = expression else {
        return Ok(Transformed::no(expression));
    };
    let subquery = Subquery {
        subquery: named_rows(&comparison.subquery)?,
        ..comparison.subquery
    };
    Ok(Transformed::yes(Expr::SetComparison(SetComparison {
        subquery,
        ..comparison
    })))
}

/// Names the rows of a subquery with which something is compared; but not where it refers to the outer
/// query: DataFusion takes such a condition out of nothing that has a name, and the names differ there.
pub(crate) fn named_rows(subquery: &Subquery) -> Result<Arc<LogicalPlan>> {
    let rows = Arc::clone(&subquery.subquery);
    if is_correlated(subquery) {
        return Ok(rows);
    }
    let named = SubqueryAlias::try_new(rows, NAME)?;
    Ok(Arc::new(LogicalPlan::SubqueryAlias(named)))
}
