//! Numbers of queries keep all of their digits where decimals are compared, and decimals that become
//! floats become the nearest ones.
//!
//! DataFusion makes a float of every number with a point and of integers beyond 64 bits, and then
//! compares floats: `amount = 1234567890123.45` finds nothing. Called by `sql.rs` for the text, and by
//! the engine for plans, before both sides of a comparison get one type.

use std::{ops::ControlFlow, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{
        DECIMAL256_MAX_PRECISION, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
        Decimal256Type, DecimalType, Float32Type, Float64Type, i256,
    },
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, Case, Expr, ExprSchemable, LogicalPlan, cast as to_type,
        expr::{InList, ScalarFunction},
    },
    optimizer::AnalyzerRule,
    sql::sqlparser::ast::{
        self, CastKind, ExactNumberInfo, Statement, UnaryOperator, Value, VisitMut, VisitorMut,
    },
};

use crate::{
    expression_rule::{ExpressionRule, is_comparison},
    literal::decimal_parts,
};

/// Digits that a float of 64 bits holds, whatever the number (IEEE 754: 15.95).
const FLOAT_DIGITS: usize = 15;
/// Integers up to this one are floats of 64 bits.
const FLOAT_INTEGERS_MAX: i128 = 1 << 53;
/// Powers of ten up to this one are floats of 64 bits.
const FLOAT_TENS_MAX: i8 = 22;
/// Digits behind the point up to which a constant is a decimal beside decimals: as many as the
/// DECIMAL(30,15) has that DataFusion makes of floats. So 0.5 is, and 1e-20 is a float.
const SHORT_SCALE: i8 = 15;
/// Digits of a decimal of 128 bits.
const DIGITS_128: i64 = 38;

// ---- the text of a query ----

/// Writes numbers that are compared, and have more digits than a float, as decimals.
pub(crate) fn write_as_decimals(statement: &mut Statement) {
    // It never breaks.
    let _ = statement.visit(&mut Writer);
}

struct Writer;

impl VisitorMut for Writer {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        use ast::{BinaryOperator as O, Expr as E};
        match expression {
            E::BinaryOp { left, op, right } => {
                let compares = matches!(
                    op,
                    O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::Spaceship
                );
                if compares {
                    write_as_decimal(left);
                    write_as_decimal(right);
                }
            }
            E::IsDistinctFrom(left, right) | E::IsNotDistinctFrom(left, right) => {
                write_as_decimal(left);
                write_as_decimal(right);
            }
            E::Between {
                expr, low, high, ..
            } => [expr, low, high]
                .into_iter()
                .for_each(|one| write_as_decimal(one)),
            E::InList { expr, list, .. } => {
                write_as_decimal(expr);
                list.iter_mut().for_each(write_as_decimal);
            }
            E::Case {
                operand: Some(operand),
                conditions,
                ..
            } => {
                write_as_decimal(operand);
                let compared = conditions.iter_mut().map(|when| &mut when.condition);
                compared.for_each(write_as_decimal);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

fn write_as_decimal(expression: &mut ast::Expr) {
    let Some((sign, number)) = number_of(expression) else {
        return;
    };
    if let Some(decimal) = decimal_of(sign, &number) {
        *expression = decimal;
    }
}

/// Returns a number's sign and text.
fn number_of(expression: &ast::Expr) -> Option<(&'static str, String)> {
    match expression {
        ast::Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(("", text.replace('_', ""))),
            _ => None,
        },
        ast::Expr::UnaryOp { op, expr } => match (op, number_of(expr)?) {
            (UnaryOperator::Minus, ("", text)) => Some(("-", text)),
            (UnaryOperator::Plus, number) => Some(number),
            _ => None,
        },
        ast::Expr::Nested(inner) => number_of(inner),
        _ => None,
    }
}

/// Returns a number as a decimal with all of its digits. `None`: an integer or a float holds it, or no
/// decimal does.
fn decimal_of(sign: &str, number: &str) -> Option<ast::Expr> {
    let is_integer = format!("{sign}{number}").parse::<i64>().is_ok();
    if is_integer || (sign.is_empty() && number.parse::<u64>().is_ok()) {
        return None;
    }
    let Decimal {
        digits,
        precision,
        scale,
    } = Decimal::parse(number)?;
    if digits.trim_end_matches('0').len() <= FLOAT_DIGITS {
        return None;
    }
    // Padded, so that there is a digit before the point.
    let digits = format!("{digits:0>width$}", width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let text = format!("{sign}{whole}.{fraction}");
    let info = ExactNumberInfo::PrecisionAndScale(precision.into(), scale.into());
    Some(ast::Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(ast::Expr::value(Value::SingleQuotedString(text))),
        data_type: ast::DataType::Decimal(info),
        array: false,
        format: None,
    })
}

/// A number without its sign, as a decimal.
struct Decimal {
    /// All digits; the last `scale` of them are behind the point.
    digits: String,
    precision: u8,
    scale: u8,
}

impl Decimal {
    /// `None`: no decimal has so many digits.
    fn parse(number: &str) -> Option<Self> {
        let (_, mut digits, exponent) = decimal_parts(number)?;
        let zeros = exponent.clamp(0, i64::from(DECIMAL256_MAX_PRECISION) + 1);
        digits.extend(std::iter::repeat_n('0', zeros as usize));
        let scale = u8::try_from(-exponent.min(0)).ok()?;
        let precision = digits.len().max(usize::from(scale)).max(1);
        let precision = u8::try_from(precision).ok()?;
        (precision <= DECIMAL256_MAX_PRECISION).then_some(Self {
            digits,
            precision,
            scale,
        })
    }
}

// ---- plans ----

/// Compares decimals and large integers with numbers as decimals. It belongs before the rule that
/// gives the two sides of operators one type.
pub(crate) const COMPARE_DECIMALS: ExpressionRule = ExpressionRule {
    name: "compare_decimals",
    change: |expression, schema| Ok(compared(expression, schema)),
};

fn compared(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_changed = match &mut expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            make_exact(&mut [left, right], schema)
        }
        Expr::Between(Between {
            expr, low, high, ..
        }) => make_exact(&mut [expr, low, high], schema),
        Expr::InList(InList { expr, list, .. }) => {
            let mut all: Vec<&mut Expr> = vec![expr];
            all.extend(list);
            make_exact(&mut all, schema)
        }
        Expr::Case(Case {
            expr: Some(operand),
            when_then_expr,
            ..
        }) => {
            let mut all: Vec<&mut Expr> = vec![operand];
            all.extend(when_then_expr.iter_mut().map(|(when, _)| when.as_mut()));
            make_exact(&mut all, schema)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if func.name() == "nullif" => {
            make_exact(&mut args.iter_mut().collect::<Vec<_>>(), schema)
        }
        _ => false,
    };
    Transformed::new_transformed(expression, is_changed)
}

/// Makes decimals of the constant floats among expressions that are compared, if others are decimals,
/// or integers and the float is beyond those that floats can tell apart; and gives all a type in which
/// the comparison is right, if DataFusion would not. Returns whether something has changed.
fn make_exact(all: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let types_of = |all: &[&mut Expr]| {
        let types = all.iter().map(|one| one.get_type(schema));
        types.collect::<Result<Vec<_>>>()
    };
    let Ok(mut types) = types_of(all) else {
        return false;
    };
    let has_decimal = types.iter().any(DataType::is_decimal);
    if !has_decimal && !types.iter().any(DataType::is_integer) {
        return false;
    }
    let mut is_changed = false;
    for (one, data_type) in all.iter_mut().zip(&mut types) {
        if let Some(exact) = exact_constant(one, has_decimal) {
            *data_type = exact.data_type();
            **one = Expr::Literal(exact, None);
            is_changed = true;
        }
    }
    is_changed | compare_as_floats(all, &types) | widen(all, &types)
}

/// Makes floats of the decimals among expressions that are compared with floats, as PostgreSQL does.
/// DataFusion makes decimals of the floats, which lose digits, or have too many.
fn compare_as_floats(all: &mut [&mut Expr], types: &[DataType]) -> bool {
    if !types.iter().any(DataType::is_floating) {
        return false;
    }
    let mut is_changed = false;
    for (one, data_type) in all.iter_mut().zip(types) {
        if data_type.is_decimal() {
            **one = to_type(std::mem::take(*one), DataType::Float64);
            is_changed = true;
        }
    }
    is_changed
}

/// Returns a constant float as an exact number: the one with the fewest digits that is this float.
fn exact_constant(expression: &Expr, beside_decimals: bool) -> Option<ScalarValue> {
    let number = match expression {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) => *number,
        _ => return None,
    };
    if !number.is_finite() || !(beside_decimals || number.abs() > FLOAT_INTEGERS_MAX as f64) {
        return None;
    }
    let text = format!("{number}");
    if let Ok(integer) = text.parse::<i64>() {
        return Some(integer.into());
    }
    decimal_scalar(&text)
}

/// Returns a constant float as the decimal with the fewest digits that is this float. `None`: it has
/// more than [`SHORT_SCALE`] digits behind the point.
pub(crate) fn short_decimal(expression: &Expr) -> Option<ScalarValue> {
    let number = match expression {
        Expr::Literal(ScalarValue::Float64(Some(number)), _) if number.is_finite() => *number,
        _ => return None,
    };
    let decimal = decimal_scalar(&format!("{number}"))?;
    match decimal {
        ScalarValue::Decimal128(_, _, scale) if scale <= SHORT_SCALE => Some(decimal),
        _ => None,
    }
}

/// Returns a finite number, as Rust shows floats, as a decimal.
fn decimal_scalar(text: &str) -> Option<ScalarValue> {
    let Decimal {
        digits,
        precision,
        scale,
    } = Decimal::parse(text)?;
    let sign = if text.starts_with('-') { "-" } else { "" };
    // Of zero there are no digits.
    let value = i256::from_string(&format!("{sign}0{digits}"))?;
    let scale = i8::try_from(scale).ok()?;
    let narrow = value.to_i128();
    Some(
        match narrow.filter(|_| i64::from(precision) <= DIGITS_128) {
            Some(value) => ScalarValue::Decimal128(Some(value), precision, scale),
            None => ScalarValue::Decimal256(Some(value), precision, scale),
        },
    )
}

/// Gives numbers that are compared a decimal type of 256 bits if one of 128 bits does not hold the
/// digits of all.
fn widen(all: &mut [&mut Expr], types: &[DataType]) -> bool {
    let (mut whole, mut scale) = (0, 0);
    for data_type in types {
        let (its_precision, its_scale) = match data_type {
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => (i64::from(*precision), i64::from(*scale)),
            DataType::Null => (0, 0),
            _ if data_type.is_integer() => (20, 0),
            _ => return false,
        };
        whole = whole.max(its_precision - its_scale);
        scale = scale.max(its_scale);
    }
    let digits = whole + scale;
    let has_decimal = types.iter().any(DataType::is_decimal);
    if !has_decimal || digits <= DIGITS_128 || digits > i64::from(DECIMAL256_MAX_PRECISION) {
        return false;
    }
    let (Ok(precision), Ok(scale)) = (u8::try_from(digits), i8::try_from(scale)) else {
        return false;
    };
    for one in all.iter_mut() {
        let narrow = std::mem::take(*one);
        **one = to_type(narrow, DataType::Decimal256(precision, scale));
    }
    true
}

/// Compares the keys of joins in a type in which the comparison is right. It belongs where
/// [`COMPARE_DECIMALS`] does.
#[derive(Debug)]
pub(crate) struct DecimalsInJoins;

impl AnalyzerRule for DecimalsInJoins {
    fn name(&self) -> &str {
        "decimals_in_joins"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let changed = plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Join(mut join) = plan else {
                return Ok(Transformed::no(plan));
            };
            let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
            let mut is_changed = false;
            for (left, right) in &mut join.on {
                let types = [left.get_type(left_schema)?, right.get_type(right_schema)?];
                is_changed |= compare_as_floats(&mut [left, right], &types);
            }
            Ok(Transformed::new_transformed(
                LogicalPlan::Join(join),
                is_changed,
            ))
        })?;
        Ok(changed.data)
    }
}

// ---- conversions ----

/// Converts decimals to the floats that are nearest to them. Arrow's own conversion rounds twice: the
/// digits without the point, and then their quotient.
pub(crate) fn nearest_floats(decimals: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if *to == DataType::Float16 {
        return Ok(cast(&nearest_floats(decimals, &DataType::Float64)?, to)?);
    }
    match decimals.data_type() {
        DataType::Decimal32(_, scale) => nearest::<Decimal32Type>(decimals, *scale, to),
        DataType::Decimal64(_, scale) => nearest::<Decimal64Type>(decimals, *scale, to),
        DataType::Decimal128(_, scale) => nearest::<Decimal128Type>(decimals, *scale, to),
        DataType::Decimal256(_, scale) => nearest::<Decimal256Type>(decimals, *scale, to),
        _ => Ok(cast(decimals, to)?),
    }
}

fn nearest<D: DecimalType>(decimals: &ArrayRef, scale: i8, to: &DataType) -> Result<ArrayRef>
where
    D::Native: ToText,
{
    let decimals = decimals.as_primitive::<D>();
    let is_short = (0..=FLOAT_TENS_MAX).contains(&scale);
    let tens = 10_f64.powi(i32::from(scale));
    Ok(match to {
        DataType::Float32 => floats::<D, Float32Type>(decimals, |value| parsed(value, scale)),
        _ => floats::<D, Float64Type>(decimals, |value| {
            // Both are floats without an error, so the quotient is the nearest one (IEEE 754).
            let exact = value.small().filter(|_| is_short);
            exact.map_or_else(|| parsed(value, scale), |value| value as f64 / tens)
        }),
    })
}

fn floats<D: DecimalType, F: ArrowPrimitiveType>(
    decimals: &PrimitiveArray<D>,
    float: impl Fn(D::Native) -> F::Native,
) -> ArrayRef {
    Arc::new(decimals.unary::<_, F>(float))
}

/// The float nearest to a decimal; infinite if it is beyond all floats.
fn parsed<F: std::str::FromStr + Default>(value: impl ToText, scale: i8) -> F {
    let text = format!("{}e{}", value.text(), -i32::from(scale));
    text.parse().unwrap_or_default()
}

/// What a decimal of any width can say of its digits.
trait ToText: Copy {
    fn text(self) -> String;
    /// The digits as an integer, if a float holds it.
    fn small(self) -> Option<i64>;
}

macro_rules! to_text {
    ($type:ty, $to_i128:expr) => {
        impl ToText for $type {
            fn text(self) -> String {
                self.to_string()
            }

            fn small(self) -> Option<i64> {
                let value: Option<i128> = $to_i128(self);
                let value = value.filter(|value| value.abs() <= FLOAT_INTEGERS_MAX)?;
                i64::try_from(value).ok()
            }
        }
    };
}

to_text!(i32, |value| Some(i128::from(value)));
to_text!(i64, |value| Some(i128::from(value)));
to_text!(i128, |value: i128| (value != i128::MIN).then_some(value));
to_text!(i256, |value: i256| value
    .to_i128()
    .filter(|value| *value != i128::MIN));
