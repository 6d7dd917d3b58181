//! IN and NOT IN of a subquery beside other conditions, as `a OR x NOT IN (SELECT y ..)`.
//!
//! DataFusion marks the rows for which there is a y that equals x. A row whose x is null, or which has
//! no such y but a y that is null, is not marked: its condition is null (ISO 9075-2, 8.4), and NOT would
//! make it true. So NOT IN is written out: there is no y that equals x, and none that is null, and x is
//! not null, or there is no y at all.
//!
//! `column NOT IN (..)` that WHERE joins by AND stays as it is, unless its subquery refers to the outer
//! query: DataFusion has a join for it. `= ANY` and `<> ALL` become IN and NOT IN, whose joins look their values up.

use std::{mem, sync::Arc};

use datafusion::{
    common::{
        Column, DFSchema, ExprSchema, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery,
        expr::{Exists, InSubquery, SetComparison, SetQuantifier},
        lit, not, when,
    },
    optimizer::AnalyzerRule,
};

use crate::{correlated::is_correlated, expression_rule::without_cast, set_comparison::named_rows};

/// Writes them out. It belongs behind the rule that gives the two sides of a comparison one type, and
/// before those that change what is compared.
#[derive(Debug)]
pub(crate) struct WriteOutNotIn;

impl AnalyzerRule for WriteOutNotIn {
    fn name(&self) -> &str {
        "write_out_not_in"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|node| {
            let changed = match node {
                LogicalPlan::Filter(mut filter) => {
                    let condition = mem::take(&mut filter.predicate);
                    filter.predicate = write_out(condition, filter.input.schema())?;
                    LogicalPlan::Filter(filter)
                }
                LogicalPlan::Join(mut join) => {
                    let of_both = join.left.schema().join(join.right.schema())?;
                    let condition = join.filter.take();
                    let condition = condition.map(|condition| write_out(condition, &of_both));
                    join.filter = condition.transpose()?;
                    LogicalPlan::Join(join)
                }
                other => return Ok(Transformed::no(other)),
            };
            Ok(Transformed::yes(changed))
        })?;
        Ok(changed.data)
    }
}

fn write_out(condition: Expr, schema: &DFSchema) -> Result<Expr> {
    let condition = condition.transform_down(|condition| Ok(as_in(condition)))?;
    written(condition.data, Place::And, schema)
}

/// Makes IN of what is another spelling of it.
fn as_in(condition: Expr) -> Transformed<Expr> {
    let Expr::SetComparison(comparison) = condition else {
        return Transformed::no(condition);
    };
    let negated = match (comparison.op, &comparison.quantifier) {
        (Operator::Eq, SetQuantifier::Any) => false,
        (Operator::NotEq, SetQuantifier::All) => true,
        _ => return Transformed::no(Expr::SetComparison(comparison)),
    };
    let SetComparison { expr, subquery, .. } = comparison;
    Transformed::yes(Expr::InSubquery(InSubquery::new(expr, subquery, negated)))
}

/// Where a condition stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// WHERE joins it by AND.
    And,
    /// A row is left out where it is null as where it is false.
    Condition,
    /// It is a value of three: true, false or null.
    Value,
}

fn written(condition: Expr, place: Place, schema: &DFSchema) -> Result<Expr> {
    let within =
        |place| move |condition: Box<Expr>| written(*condition, place, schema).map(Box::new);
    Ok(match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::And | Operator::Or) && place != Place::Value =>
        {
            let place = match op {
                Operator::And => place,
                _ => Place::Condition,
            };
            let (left, right) = (within(place)(left)?, within(place)(right)?);
            Expr::BinaryExpr(BinaryExpr { left, op, right })
        }
        Expr::Not(condition) => match (*condition, place) {
            (Expr::InSubquery(found), _) => {
                let negated = !found.negated;
                let opposite = Expr::InSubquery(InSubquery { negated, ..found });
                written(opposite, place, schema)?
            }
            (condition, _) => not(written(condition, Place::Value, schema)?),
        },
        Expr::InSubquery(found) => match place {
            Place::And if found.negated && has_join(&found) => Expr::InSubquery(found),
            Place::And | Place::Condition if found.negated => not_in(found, schema)?,
            Place::And | Place::Condition => Expr::InSubquery(found),
            Place::Value if !may_be_null(&found, schema)? => Expr::InSubquery(found),
            // DataFusion may negate what it has in CASE: EXISTS is never null.
            Place::Value => {
                let negated = found.negated;
                let rows = Rows::new(&found, schema)?;
                let mut value = when(rows.equal(false)?, lit(!negated))
                    .when(not_in(found, schema)?, lit(negated));
                value.otherwise(lit(ScalarValue::Boolean(None)))?
            }
        },
        other => {
            other
                .map_children(|child| written(child, Place::Value, schema).map(Transformed::yes))?
                .data
        }
    })
}

/// Returns whether DataFusion has a join for NOT IN. It takes a value for one that is never null by the
/// columns in it.
fn has_join(found: &InSubquery) -> bool {
    let is_column = matches!(without_cast(&found.expr), Expr::Column(_));
    is_column && !is_correlated(&found.subquery)
}

/// Returns whether DataFusion may take its condition for null: where it may be, and where the subquery
/// refers to a column of the outer query, which may be null.
fn may_be_null(found: &InSubquery, schema: &DFSchema) -> Result<bool> {
    let values = found.subquery.subquery.schema();
    let is_null = values.fields().iter().any(|field| field.is_nullable());
    Ok(is_null || is_correlated(&found.subquery) || found.expr.nullable(schema)?)
}

/// Returns a condition that is true where a value is not in the subquery, and false where it is, or where
/// that is not known.
fn not_in(found: InSubquery, schema: &DFSchema) -> Result<Expr> {
    if !may_be_null(&found, schema)? {
        return Ok(Expr::InSubquery(InSubquery {
            negated: true,
            ..found
        }));
    }
    let rows = Rows::new(&found, schema)?;
    let mut none = rows.equal(true)?;
    if rows.value.nullable(rows.plan.schema())? {
        none = none.and(rows.none(Some(rows.value.clone().is_null()))?);
    }
    if found.expr.nullable(schema)? {
        let is_known = found.expr.as_ref().clone().is_not_null();
        none = none.and(is_known.or(rows.none(None)?));
    }
    Ok(none)
}

/// The rows of a subquery, in which a value is looked for.
struct Rows<'a> {
    plan: Arc<LogicalPlan>,
    /// Its column.
    value: Expr,
    /// The value, as one of the outer query.
    looked_for: Expr,
    subquery: &'a Subquery,
}

impl<'a> Rows<'a> {
    fn new(found: &'a InSubquery, schema: &DFSchema) -> Result<Self> {
        let plan = named_rows(&found.subquery)?;
        Ok(Self {
            value: Expr::Column(Column::from(plan.schema().qualified_field(0))),
            plan,
            looked_for: outside(found.expr.as_ref().clone(), schema)?,
            subquery: &found.subquery,
        })
    }

    /// Returns whether there is a row, or none, that has the value.
    fn equal(&self, negated: bool) -> Result<Expr> {
        let is_equal = self.looked_for.clone().eq(self.value.clone());
        let rows = LogicalPlanBuilder::from(self.plan.as_ref().clone());
        Ok(self.exists(rows.filter(is_equal)?.build()?, negated))
    }

    /// Returns whether there is no row, or none of a condition that is not on the outer query.
    fn none(&self, condition: Option<Expr>) -> Result<Expr> {
        let mut rows = LogicalPlanBuilder::from(self.plan.as_ref().clone());
        if let Some(condition) = condition {
            rows = rows.filter(condition)?;
        }
        // One is enough: a row of the outer query is compared with each of them.
        if !is_correlated(self.subquery) {
            rows = rows.limit(0, Some(1))?;
        }
        Ok(self.exists(rows.build()?, true))
    }

    fn exists(&self, rows: LogicalPlan, negated: bool) -> Expr {
        let subquery = Subquery {
            outer_ref_columns: rows.all_out_ref_exprs(),
            subquery: Arc::new(rows),
            spans: self.subquery.spans.clone(),
        };
        Expr::Exists(Exists::new(subquery, negated))
    }
}

/// Makes the columns of an expression those of the outer query.
fn outside(value: Expr, schema: &DFSchema) -> Result<Expr> {
    let changed = value.transform_up(|value| match value {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            let column = Expr::OuterReferenceColumn(field, column);
            Ok(Transformed::yes(column))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(changed.data)
}
