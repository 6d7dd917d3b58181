//! Times of a query are in UTC, as they are shown: a rule for DataFusion's plans of SQL.
//!
//! DataFusion reads a time without a zone in the zone of the column that it is compared with, and
//! makes a column's date in that zone. All text formats show times in UTC, so that a time which was
//! copied from the output would not find its row.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Expr, ExprSchemable, cast,
        expr::{Cast, InList},
    },
};

use crate::{
    expression_rule::{ExpressionRule, is_comparison},
    literal::check_exact,
};

const UTC: &str = "UTC";

/// Makes each conversion between times with a zone and texts, dates and times without one a
/// conversion in UTC. It belongs behind the rule that adds the conversions of comparisons.
pub(crate) const CONVERT_IN_UTC: ExpressionRule = ExpressionRule {
    name: "convert_in_utc",
    change: |expression, schema| {
        check_comparison(&expression, schema)?;
        Ok(convert(expression, schema))
    },
};

/// Refuses to compare times and decimals with a constant that their type cannot hold. DataFusion would cut its
/// digits, and find other values.
fn check_comparison(expression: &Expr, schema: &DFSchema) -> Result<()> {
    let check = |values: &Expr, constant: &Expr| check_constant(values, constant, schema);
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            check(left, right)?;
            check(right, left)
        }
        Expr::InList(InList { expr, list, .. }) => {
            list.iter().try_for_each(|value| check(expr, value))
        }
        Expr::Between(Between {
            expr, low, high, ..
        }) => {
            check(expr, low)?;
            check(expr, high)
        }
        _ => Ok(()),
    }
}

fn check_constant(values: &Expr, constant: &Expr, schema: &DFSchema) -> Result<()> {
    let Some(constant) = literal(constant) else {
        return Ok(());
    };
    let mut values = values;
    while let Expr::Cast(Cast { expr, field }) = values
        && is_time(field.data_type())
    {
        values = expr;
    }
    match values.get_type(schema) {
        Ok(data_type) if is_time(&data_type) || data_type.is_decimal() => {
            Ok(check_exact(constant, &data_type)?)
        }
        _ => Ok(()),
    }
}

fn is_time(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Timestamp(_, _) | T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_)
    )
}

/// Returns the constant that an expression converts.
fn literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(value, _) => Some(value),
        Expr::Cast(Cast { expr, .. }) => literal(expr),
        _ => None,
    }
}

/// Inserts UTC into a conversion. Columns of an outer query know their type.
fn convert(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let through = match &expression {
        Expr::Cast(Cast { expr, field }) => expr
            .get_type(schema)
            .ok()
            .and_then(|from| through(&from, field.data_type())),
        _ => None,
    };
    match (expression, through) {
        (Expr::Cast(Cast { expr, field }), Some(utc)) => {
            let expr = Box::new(cast(*expr, utc));
            Transformed::yes(Expr::Cast(Cast { expr, field }))
        }
        (expression, _) => Transformed::no(expression),
    }
}

/// Returns the type in UTC by which a conversion is to go, if there is one.
fn through(from: &DataType, to: &DataType) -> Option<DataType> {
    let (zoned, other) = match (from, to) {
        (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_))) => return None,
        (zoned @ DataType::Timestamp(_, Some(_)), other)
        | (other, zoned @ DataType::Timestamp(_, Some(_))) => (zoned, other),
        _ => return None,
    };
    let DataType::Timestamp(unit, Some(zone)) = zoned else {
        return None;
    };
    let is_local = matches!(
        other,
        DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Timestamp(_, None)
            | DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
    );
    (is_local && zone.as_ref() != UTC).then(|| DataType::Timestamp(*unit, Some(UTC.into())))
}
