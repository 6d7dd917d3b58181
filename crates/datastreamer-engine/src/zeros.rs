//! One zero in orders. DataFusion's sorts put -0.0 before 0.0, but a sort with a limit leaves out rows
//! by a comparison for which both are equal, and loses rows of the other zero. Adding 0.0 makes both
//! the same number (IEEE 754, section 6.3), and leaves all others.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{Expr, Operator, lit},
    physical_expr::{
        LexOrdering, PhysicalExpr, PhysicalSortExpr,
        expressions::{BinaryExpr, Literal},
    },
    physical_plan::{ExecutionPlan, sorts::sort::SortExec},
};

use crate::node_rule::NodeRule;

/// Returns the key by which a column of a type is sorted.
pub(crate) fn sort_key(column: Expr, data_type: &DataType) -> Expr {
    match zero(data_type) {
        Some(zero) => column + lit(zero),
        None => column,
    }
}

fn zero(data_type: &DataType) -> Option<ScalarValue> {
    let is_float = data_type.is_floating();
    is_float
        .then(|| ScalarValue::new_zero(data_type).ok())
        .flatten()
}

/// Makes the zeros one in sorts with a limit, those of SQL included.
pub(crate) const ONE_ZERO: NodeRule = NodeRule {
    name: "one_zero",
    change: with_one_zero,
};

/// Returns a sort with other keys; `None` if the plan is none, or its keys may stay.
fn with_one_zero(plan: &dyn ExecutionPlan) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = plan.downcast_ref::<SortExec>() else {
        return Ok(None);
    };
    if sort.fetch().is_none() {
        return Ok(None);
    }
    let columns = sort.input().schema();
    let mut is_changed = false;
    let mut keys = Vec::new();
    for key in sort.expr() {
        let changed = physical_key(&key.expr, &columns)?;
        is_changed |= changed.is_some();
        let expr = changed.unwrap_or_else(|| Arc::clone(&key.expr));
        keys.push(PhysicalSortExpr::new(expr, key.options));
    }
    let Some(keys) = LexOrdering::new(keys).filter(|_| is_changed) else {
        return Ok(None);
    };
    let changed = SortExec::new(keys, Arc::clone(sort.input()));
    let changed = changed.with_preserve_partitioning(sort.preserve_partitioning());
    Ok(Some(Arc::new(changed.with_fetch(sort.fetch()))))
}

fn physical_key(
    key: &Arc<dyn PhysicalExpr>,
    columns: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let zero = zero(&key.data_type(columns)?);
    Ok(zero.map(|zero| {
        let zero = Arc::new(Literal::new(zero));
        Arc::new(BinaryExpr::new(Arc::clone(key), Operator::Plus, zero)) as _
    }))
}
