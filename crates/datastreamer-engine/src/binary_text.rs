//! Binary values and texts are not compared: DataFusion would compare with the bytes of the text,
//! and not with the hexadecimal digits as which a binary value is shown and written in a filter.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Expr, ExprSchemable, Like,
        expr::{Case, InList},
    },
};

use crate::{error::EngineError, expression_rule::ExpressionRule};

/// Refuses operators of a binary value and a text. It belongs before the rule that gives the two
/// sides of operators one type.
pub(crate) const NO_BINARY_TEXT: ExpressionRule = ExpressionRule {
    name: "no_binary_text",
    change: |expression, schema| {
        match &expression {
            Expr::BinaryExpr(BinaryExpr { left, right, .. }) => check([&**left, &**right], schema),
            Expr::Like(Like { expr, pattern, .. }) => check([&**expr, &**pattern], schema),
            Expr::InList(InList { expr, list, .. }) => {
                check([&**expr].into_iter().chain(list), schema)
            }
            Expr::Between(Between {
                expr, low, high, ..
            }) => check([&**expr, &**low, &**high], schema),
            Expr::Case(Case {
                expr: Some(expr),
                when_then_expr,
                ..
            }) => {
                let whens = when_then_expr.iter().map(|(when, _)| &**when);
                check([&**expr].into_iter().chain(whens), schema)
            }
            _ => Ok(()),
        }?;
        Ok(Transformed::no(expression))
    },
};

fn check<'a>(values: impl IntoIterator<Item = &'a Expr>, schema: &DFSchema) -> Result<()> {
    let (mut is_text, mut is_binary) = (false, false);
    for value in values {
        // Columns of an outer query have types as well; what has none is refused elsewhere.
        let Ok(data_type) = value.get_type(schema) else {
            return Ok(());
        };
        is_text |= data_type.is_string();
        is_binary |= matches!(
            data_type,
            DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_)
        );
    }
    match is_text && is_binary {
        true => Err(EngineError::bad(
            "a binary value and a text: write x'00ff' for a binary value, or encode(COLUMN, 'hex') \
             for its digits",
        )
        .into()),
        false => Ok(()),
    }
}
