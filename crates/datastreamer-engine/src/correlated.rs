//! Subqueries that refer to the outer query. DataFusion makes joins of them, and takes the conditions on
//! the outer query out of them for that, beyond aggregates, window functions and limits that must not see
//! the rows of others. What would have another answer by that is refused here.
//!
//! An aggregate without GROUP BY has one row, also of nothing: `x IN (SELECT count(*) ..)` is a
//! comparison with that row, for which DataFusion has the right join.

use datafusion::{
    common::{
        Result,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        BinaryExpr, Distinct, Expr, FetchType, JoinType, LogicalPlan, Operator, Subquery,
        binary_expr,
        expr::{InSubquery, SetComparison},
        lit,
        utils::split_conjunction,
    },
    optimizer::AnalyzerRule,
};

use crate::{
    error::EngineError,
    expression_rule::{ExpressionRule, without_cast},
};

/// Refuses them. It belongs before the rules that write subqueries out.
#[derive(Debug)]
pub(crate) struct CheckCorrelated;

impl AnalyzerRule for CheckCorrelated {
    fn name(&self) -> &str {
        "check_correlated"
    }

    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = OF_ONE_ROW.analyze(plan, config)?;
        plan.apply_with_subqueries(|node| {
            // Others, which expressions have, are visited too, as plans without a parent.
            for input in node.inputs() {
                if let LogicalPlan::Subquery(subquery) = input {
                    check(subquery, Use::Rows)?;
                }
            }
            node.apply_expressions(|expression| {
                expression.apply(|expression| {
                    match expression {
                        Expr::Exists(exists) => check(&exists.subquery, Use::Exists)?,
                        Expr::InSubquery(found) => check(&found.subquery, Use::Values)?,
                        Expr::SetComparison(compared) => check(&compared.subquery, Use::Values)?,
                        Expr::ScalarSubquery(subquery) => check(subquery, Use::Value)?,
                        _ => {}
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        })?;
        Ok(plan)
    }
}

// ---- one row ----

/// Writes a condition on a subquery out that has one row for each row of the outer query.
const OF_ONE_ROW: ExpressionRule = ExpressionRule {
    name: "of_one_row",
    change: |expression, _schema| Ok(of_one_row(expression)),
};

fn of_one_row(expression: Expr) -> Transformed<Expr> {
    match expression {
        Expr::Exists(exists) if has_one_row(&exists.subquery) => {
            Transformed::yes(lit(!exists.negated))
        }
        Expr::InSubquery(found) if has_one_row(&found.subquery) => {
            let InSubquery {
                expr,
                subquery,
                negated,
            } = found;
            let operator = match negated {
                true => Operator::NotEq,
                false => Operator::Eq,
            };
            let row = Expr::ScalarSubquery(subquery);
            Transformed::yes(binary_expr(*expr, operator, row))
        }
        Expr::SetComparison(compared) if has_one_row(&compared.subquery) => {
            let SetComparison {
                expr, op, subquery, ..
            } = compared;
            Transformed::yes(binary_expr(*expr, op, Expr::ScalarSubquery(subquery)))
        }
        other => Transformed::no(other),
    }
}

fn has_one_row(subquery: &Subquery) -> bool {
    is_correlated(subquery) && is_one_row(&subquery.subquery)
}

fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && is_one_row(&sort.input),
        _ => false,
    }
}

// ---- check ----

/// What is taken of a subquery.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// Whether it has a row.
    Exists,
    /// Its values, however often each is there.
    Values,
    /// Its only value.
    Value,
    /// All of its rows, in a join.
    Rows,
}

/// Returns whether a subquery refers to the outer query.
pub(crate) fn is_correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

fn check(subquery: &Subquery, of: Use) -> Result<()> {
    match is_correlated(subquery) {
        true => check_plan(&subquery.subquery, of, false),
        false => Ok(()),
    }
}

/// Checks what is above the references to the outer query.
fn check_plan(plan: &LogicalPlan, of: Use, is_filtered: bool) -> Result<()> {
    let mut is_above = false;
    for input in plan.inputs() {
        is_above |= refers(input)?;
    }
    if !is_above {
        return Ok(());
    }
    match plan {
        LogicalPlan::Window(_) => return refuse("a window function"),
        LogicalPlan::Limit(limit) => {
            let is_there = limit.skip.is_none()
                && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1..)));
            if of != Use::Exists || !is_there {
                return refuse("LIMIT or OFFSET");
            }
        }
        LogicalPlan::Union(_) => return refuse("UNION"),
        LogicalPlan::Distinct(Distinct::On(_)) => return refuse("DISTINCT ON"),
        LogicalPlan::Distinct(_)
            if matches!(of, Use::Value | Use::Rows) && !is_by_columns(plan)? =>
        {
            return refuse("DISTINCT, and not by `=` of columns,");
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            if is_filtered {
                return refuse("a condition on an aggregate without GROUP BY");
            }
            if matches!(of, Use::Exists | Use::Values) {
                return refuse("an aggregate without GROUP BY at this place");
            }
        }
        LogicalPlan::Join(join) => {
            let (left, right) = (refers(&join.left)?, refers(&join.right)?);
            let is_kept = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left => !right,
                JoinType::Right => !left,
                _ => false,
            };
            if !is_kept {
                return refuse("a condition below an outer join, INTERSECT or EXCEPT");
            }
        }
        _ => {}
    }
    let is_filtered = is_filtered || matches!(plan, LogicalPlan::Filter(_));
    for input in plan.inputs() {
        check_plan(input, of, is_filtered)?;
    }
    Ok(())
}

fn refuse(what: &str) -> Result<()> {
    let text = format!("not supported: {what} in a subquery that refers to the outer query");
    Err(EngineError::bad(text).into())
}

/// Returns whether a plan refers to the outer query.
fn refers(plan: &LogicalPlan) -> Result<bool> {
    has_expression(plan, Expr::contains_outer)
}

/// Returns whether all conditions on the outer query are that a column equals one of it.
fn is_by_columns(plan: &LogicalPlan) -> Result<bool> {
    let is_other = |condition: &Expr| condition.contains_outer() && !is_by_column(condition);
    let has_other = has_expression(plan, |expression| {
        split_conjunction(expression).into_iter().any(is_other)
    })?;
    Ok(!has_other)
}

/// Returns whether a plan has such an expression.
fn has_expression(plan: &LogicalPlan, is_such: impl Fn(&Expr) -> bool) -> Result<bool> {
    plan.exists(|node| {
        let mut is_found = false;
        node.apply_expressions(|expression| {
            is_found |= is_such(expression);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(is_found)
    })
}

fn is_by_column(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return false;
    };
    matches!(
        (without_cast(left), without_cast(right)),
        (Expr::Column(_), Expr::OuterReferenceColumn(..))
            | (Expr::OuterReferenceColumn(..), Expr::Column(_))
    )
}
