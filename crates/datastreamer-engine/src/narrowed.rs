//! A narrowing for a database that applies it by itself: the conditions of `narrow.rs`, which are
//! DataFusion's, in the terms of `datastreamer_rows::narrowed`.

use arrow::datatypes::{DataType, Schema};
use datafusion::{
    common::ScalarValue,
    logical_expr::{Between, BinaryExpr, Expr, Like, Operator, expr::InList},
};
use datastreamer_rows::narrowed::{Comparison, Condition, Constant, Narrowed, OrderBy};

use crate::{error::EngineError, narrow::Narrowing};

impl Narrowing {
    /// Names columns by their places in the schema by which the narrowing was parsed. Types that no
    /// database of `datastreamer-rows` gives are refused.
    ///
    /// # Errors
    /// A condition that has no other form.
    pub fn for_database(&self, schema: &Schema) -> Result<Narrowed, EngineError> {
        let Self {
            select,
            filters,
            order,
            limit,
            offset,
        } = self;
        let select = select
            .iter()
            .map(|(column, name)| Ok((place(column, schema)?, name.clone())));
        let order = order.iter().map(|sort| {
            Ok(OrderBy {
                column: column(&sort.expr, schema)?,
                is_ascending: sort.asc,
                nulls_first: sort.nulls_first,
            })
        });
        let filters = filters.iter().map(|filter| condition(filter, schema));
        let filters = filters.collect::<Result<Vec<_>, _>>()?;
        Ok(Narrowed {
            select: select.collect::<Result<_, EngineError>>()?,
            condition: filters.into_iter().reduce(and),
            order: order.collect::<Result<_, EngineError>>()?,
            limit: *limit,
            offset: *offset,
        })
    }
}

fn has_no_form() -> EngineError {
    EngineError::bad("a condition of this kind cannot be asked of a database")
}

fn and(left: Condition, right: Condition) -> Condition {
    Condition::And(Box::new(left), Box::new(right))
}

fn place(name: &str, schema: &Schema) -> Result<usize, EngineError> {
    schema.index_of(name).map_err(|_| has_no_form())
}

/// Returns the place of a column, perhaps with the conversion of what is shown as another type.
fn column(expression: &Expr, schema: &Schema) -> Result<usize, EngineError> {
    match expression {
        Expr::Column(column) => place(&column.name, schema),
        Expr::Cast(cast) => column(&cast.expr, schema),
        _ => Err(has_no_form()),
    }
}

fn condition(expression: &Expr, schema: &Schema) -> Result<Condition, EngineError> {
    let column = |of: &Expr| column(of, schema);
    let inner = |of: &Expr| condition(of, schema).map(Box::new);
    let not = |condition| Condition::Not(Box::new(condition));
    // DataFusion has the negation of some conditions in them.
    let negated_if = |negated, condition| if negated { not(condition) } else { condition };
    Ok(match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => Condition::And(inner(left)?, inner(right)?),
            Operator::Or => Condition::Or(inner(left)?, inner(right)?),
            op => match (nan_of(left, *op, right), comparison(*op)) {
                (Some(floats), _) => Condition::IsNan(column(floats)?),
                (None, Some(comparison)) => {
                    Condition::Compare(column(left)?, comparison, constant(right)?)
                }
                (None, None) => return Err(has_no_form()),
            },
        },
        Expr::Not(negated) => Condition::Not(inner(negated)?),
        Expr::IsNull(of) | Expr::IsUnknown(of) => Condition::IsNull(column(of)?),
        Expr::IsNotNull(of) => not(Condition::IsNull(column(of)?)),
        Expr::IsTrue(of) => Condition::IsTruth(column(of)?, true),
        Expr::IsFalse(of) => Condition::IsTruth(column(of)?, false),
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => {
            let column = column(expr)?;
            let low = Condition::Compare(column, Comparison::GreaterOrEqual, constant(low)?);
            let high = Condition::Compare(column, Comparison::LessOrEqual, constant(high)?);
            negated_if(*negated, and(low, high))
        }
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            let list = list.iter().map(constant).collect::<Result<_, _>>()?;
            negated_if(*negated, Condition::OneOf(column(expr)?, list))
        }
        Expr::Like(Like {
            negated,
            expr,
            pattern,
            escape_char: None,
            case_insensitive,
        }) => match constant(pattern)? {
            Constant::Text(pattern) => {
                let like = Condition::Like {
                    column: column(expr)?,
                    pattern,
                    ignores_case: *case_insensitive,
                };
                negated_if(*negated, like)
            }
            _ => return Err(has_no_form()),
        },
        Expr::Literal(ScalarValue::Boolean(Some(value)), _) => Condition::Constant(*value),
        _ => return Err(has_no_form()),
    })
}

/// Returns the floats of which NaN is asked, by their text.
fn nan_of<'a>(left: &'a Expr, operator: Operator, right: &Expr) -> Option<&'a Expr> {
    match (left, operator, right) {
        (Expr::Cast(cast), Operator::Eq, Expr::Literal(ScalarValue::Utf8(Some(text)), _))
            if text == "NaN" && *cast.field.data_type() == DataType::Utf8 =>
        {
            Some(&cast.expr)
        }
        _ => None,
    }
}

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn constant(expression: &Expr) -> Result<Constant, EngineError> {
    use ScalarValue as V;
    let Expr::Literal(value, _) = expression else {
        return Err(has_no_form());
    };
    Ok(match value {
        V::Boolean(Some(value)) => Constant::Bool(*value),
        V::Utf8(Some(text)) | V::LargeUtf8(Some(text)) | V::Utf8View(Some(text)) => {
            Constant::Text(text.clone())
        }
        V::Binary(Some(bytes)) | V::FixedSizeBinary(_, Some(bytes)) => {
            Constant::Bytes(bytes.clone())
        }
        V::Date32(Some(days)) => Constant::Days(*days),
        V::Time64Microsecond(Some(value)) => Constant::TimeOfDay(*value),
        V::TimestampMicrosecond(Some(value), _) => Constant::Time(*value),
        V::Int16(Some(value)) => Constant::Number(value.to_string()),
        V::Int32(Some(value)) => Constant::Number(value.to_string()),
        V::Int64(Some(value)) => Constant::Number(value.to_string()),
        V::UInt32(Some(value)) => Constant::Number(value.to_string()),
        V::Float32(Some(value)) => Constant::Number(value.to_string()),
        V::Float64(Some(value)) => Constant::Number(value.to_string()),
        V::Decimal128(Some(value), _, scale) => Constant::Number(format!("{value}e{}", -scale)),
        _ => return Err(has_no_form()),
    })
}
