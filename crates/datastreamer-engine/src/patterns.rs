//! A pattern without wildcards is a comparison with a text: a rule for DataFusion's plans.
//!
//! DataFusion does the same, but later, and compares a dictionary with a plain text. Beside another
//! comparison of this column, with a text of the dictionary's type, it takes the two texts for
//! different ones, so that `LIKE 'a' AND v = 'a'` finds no rows.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, ScalarValue, tree_node::Transformed},
    logical_expr::{Expr, ExprSchemable, Like, lit},
};

use crate::expression_rule::ExpressionRule;

/// Makes patterns without wildcards comparisons, of dictionaries. It belongs behind the rule that
/// gives the two sides of comparisons one type.
pub(crate) const COMPARE_DICTIONARIES: ExpressionRule = ExpressionRule {
    name: "compare_dictionaries",
    change: |expression, schema| match compared(&expression, schema) {
        Some(comparison) => Ok(Transformed::yes(comparison)),
        None => Ok(Transformed::no(expression)),
    },
};

/// Returns the comparison that a pattern is, if it is one.
fn compared(expression: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::Like(Like {
        negated,
        expr,
        pattern,
        escape_char,
        case_insensitive: false,
    }) = expression
    else {
        return None;
    };
    let Expr::Literal(text, _) = pattern.as_ref() else {
        return None;
    };
    let data_type @ DataType::Dictionary(_, _) = expr.get_type(schema).ok()? else {
        return None;
    };
    let special = ['%', '_', escape_char.unwrap_or('\\')];
    let text = text.try_as_str()??;
    if text.contains(special) {
        return None;
    }
    let text = lit(ScalarValue::from(text).cast_to(&data_type).ok()?);
    let values = expr.as_ref().clone();
    Some(match negated {
        true => values.not_eq(text),
        false => values.eq(text),
    })
}
