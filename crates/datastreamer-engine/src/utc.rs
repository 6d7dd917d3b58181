//! Times of a query are in UTC, as they are shown: a rule for DataFusion's plans of SQL.
//!
//! DataFusion reads a time without a zone in the zone of the column that it is compared with, and
//! makes a column's date in that zone. All text formats show times in UTC, so that a time which was
//! copied from the output would not find its row.

use arrow::datatypes::DataType;
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Between, BinaryExpr, Expr, ExprSchemable, cast,
        expr::{Cast, InList},
    },
};

use crate::{
    conversions::{is_cut, kept},
    expression_rule::{ExpressionRule, is_comparison},
    literal::check_exact,
};

const UTC: &str = "UTC";
/// Functions of the present time.
const PRESENT: [&str; 3] = ["current_date", "current_time", "now"];

/// Makes each conversion between times with a zone and texts, dates and times without one a
/// conversion in UTC. It belongs behind the rule that adds the conversions of comparisons.
pub(crate) const CONVERT_IN_UTC: ExpressionRule = ExpressionRule {
    name: "convert_in_utc",
    change: |mut expression, schema| {
        let is_changed = compare_exactly(&mut expression, schema)?;
        let mut converted = convert(expression, schema);
        converted.transformed |= is_changed;
        Ok(converted)
    },
};

/// Keeps the digits of the constants that times and decimals are compared with. DataFusion makes them
/// values of a column's type, and finds other rows.
fn compare_exactly(expression: &mut Expr, schema: &DFSchema) -> Result<bool> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            Ok(beside(left, &[right], schema)? || beside(right, &[left], schema)?)
        }
        Expr::InList(InList { expr, list, .. }) => {
            beside(expr, &list.iter().collect::<Vec<_>>(), schema)
        }
        Expr::Between(Between {
            expr, low, high, ..
        }) => beside(expr, &[low, high], schema),
        _ => Ok(false),
    }
}

/// Makes a function of the conversion of values that are compared with constants which their own type
/// does not hold. Returns whether it has.
///
/// # Errors
/// The type in which they are compared does not hold them either.
fn beside(values: &mut Expr, constants: &[&Expr], schema: &DFSchema) -> Result<bool> {
    let Ok(compared) = values.get_type(schema) else {
        return Ok(false);
    };
    let mut own = compared.clone();
    let mut inner = &*values;
    while let Expr::Cast(Cast { expr, field }) = inner
        && is_time(field.data_type())
        && let Ok(from) = expr.get_type(schema)
        && !is_cut(&from, field.data_type())
    {
        own = from;
        inner = expr;
    }
    if !is_time(&own) && !own.is_decimal() {
        return Ok(false);
    }
    let all_are = |data_type: &DataType| {
        let mut literals = constants.iter().filter_map(|constant| literal(constant));
        literals.try_for_each(|literal| check_exact(literal, data_type))
    };
    let is_converted = own != compared;
    let is_computed = is_converted && constants.iter().any(|constant| is_computed(constant));
    let inexact = match all_are(&own) {
        Ok(()) if !is_computed => return Ok(false),
        held => held.err(),
    };
    match (std::mem::take(values), inexact) {
        (Expr::Cast(Cast { expr, field }), _) if is_converted && all_are(&compared).is_ok() => {
            *values = kept(*expr, &field);
            Ok(true)
        }
        (_, Some(inexact)) => Err(inexact.into()),
        (unchanged, None) => {
            *values = unchanged;
            Ok(false)
        }
    }
}

/// Returns whether an expression is a constant whose digits are known only when it is computed. The
/// present time has as many as the clock.
fn is_computed(expression: &Expr) -> bool {
    let is_known = match expression {
        Expr::Literal(value, _) => {
            value.is_null() || value.data_type().is_string() || is_time(&value.data_type())
        }
        Expr::Cast(Cast { expr, .. }) => return is_computed(expr),
        _ => false,
    };
    let is_now = |part: &Expr| {
        Ok(match part {
            Expr::ScalarFunction(function) => PRESENT.contains(&function.func.name()),
            _ => false,
        })
    };
    !is_known
        && expression.column_refs().is_empty()
        && !expression.contains_outer()
        && !expression.exists(is_now).unwrap_or(true)
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
