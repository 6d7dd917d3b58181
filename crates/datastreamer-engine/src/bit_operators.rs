//! Bits are those of integers: DataFusion would cut the fraction of a float or a decimal beside an integer,
//! so that `1 & 1.5` is 1.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator},
};

use crate::{error::EngineError, expression_rule::ExpressionRule};

/// Refuses operators on bits of other numbers. It belongs before the rule that gives the two sides of
/// operators one type.
pub(crate) const BITS_OF_INTEGERS: ExpressionRule = ExpressionRule {
    name: "bits_of_integers",
    change: |expression, schema| {
        if let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &expression
            && is_of_bits(*op)
        {
            check(left, schema)?;
            check(right, schema)?;
        }
        Ok(Transformed::no(expression))
    },
};

fn is_of_bits(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::BitwiseAnd
            | Operator::BitwiseOr
            | Operator::BitwiseXor
            | Operator::BitwiseShiftLeft
            | Operator::BitwiseShiftRight
    )
}

fn check(value: &Expr, schema: &DFSchema) -> Result<()> {
    // What has no type is refused elsewhere.
    match value.get_type(schema) {
        Ok(found) if is_inexact(&found) => Err(EngineError::bad(
            "the operators &, |, ^, << and >> are for integers: CAST(VALUE AS BIGINT) makes one",
        )
        .into()),
        _ => Ok(()),
    }
}

/// Also of a dictionary of such numbers.
fn is_inexact(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => is_inexact(values),
        other => other.is_floating() || other.is_decimal(),
    }
}
