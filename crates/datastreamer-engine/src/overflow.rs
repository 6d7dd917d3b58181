//! Arithmetic of queries is right or fails: a rule for DataFusion's plans, and the functions that it
//! puts in the place of operators.
//!
//! DataFusion's operators wrap integers around, also where it computes with constants before a query
//! runs. The functions compute with Arrow's checked kernels.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, Datum, PrimitiveArray},
    compute::{cast, kernels::numeric},
    datatypes::{
        DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Field,
        FieldRef, Int64Type,
    },
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        binary::BinaryTypeCoercer,
    },
    physical_expr_common::datum::apply,
};

use crate::{error::EngineError, expression_rule::ExpressionRule};

/// Makes operators of integers and decimals functions that fail on overflow. It belongs behind the
/// rule that gives the two sides of operators one type.
pub(crate) const CHECK_ARITHMETIC: ExpressionRule = ExpressionRule {
    name: "check_arithmetic",
    change: |expression, schema| Ok(checked(expression, schema)),
};

fn checked(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if can_overflow(op, &left, schema) => {
            Transformed::yes(match op {
                Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight => {
                    let right = Box::new(call(Checked::ShiftCount, vec![*right]));
                    Expr::BinaryExpr(BinaryExpr { left, op, right })
                }
                _ => call(Checked::Operator(op), vec![*left, *right]),
            })
        }
        Expr::Negative(value) if is_integer(&value, schema) => {
            Transformed::yes(call(Checked::Negation, vec![*value]))
        }
        expression => Transformed::no(expression),
    }
}

/// Returns whether DataFusion's operator may have a wrong result. Those of times fail by themselves,
/// and so does the division of integers.
fn can_overflow(operator: Operator, left: &Expr, schema: &DFSchema) -> bool {
    use Operator as O;
    match operator {
        O::BitwiseShiftLeft | O::BitwiseShiftRight => true,
        O::Plus | O::Minus | O::Multiply => is_integer(left, schema) || is_decimal(left, schema),
        O::Divide | O::Modulo => is_decimal(left, schema),
        _ => false,
    }
}

fn is_integer(expression: &Expr, schema: &DFSchema) -> bool {
    let data_type = expression.get_type(schema);
    data_type.is_ok_and(|data_type| data_type.is_integer())
}

fn is_decimal(expression: &Expr, schema: &DFSchema) -> bool {
    let data_type = expression.get_type(schema);
    data_type.is_ok_and(|data_type| data_type.is_decimal())
}

fn call(checked: Checked, arguments: Vec<Expr>) -> Expr {
    let signature = Signature::any(arguments.len(), Volatility::Immutable);
    ScalarUDF::from(CheckedFunction { checked, signature }).call(arguments)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Checked {
    /// Of two integers or two decimals.
    Operator(Operator),
    /// The minus before an integer.
    Negation,
    /// Returns the number of bits by which an integer of this type is shifted.
    ShiftCount,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction {
    checked: Checked,
    signature: Signature,
}

impl ScalarUDFImpl for CheckedFunction {
    fn name(&self) -> &str {
        match self.checked {
            Checked::Operator(Operator::Plus) => "checked_add",
            Checked::Operator(Operator::Minus) => "checked_subtract",
            Checked::Operator(Operator::Multiply) => "checked_multiply",
            Checked::Operator(Operator::Divide) => "checked_divide",
            Checked::Operator(_) => "checked_modulo",
            Checked::Negation => "checked_negate",
            Checked::ShiftCount => "checked_shift_count",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.checked, types) {
            (Checked::Operator(operator), [left, right]) => {
                BinaryTypeCoercer::new(left, &operator, right).get_result_type()
            }
            _ => Ok(types.first().cloned().unwrap_or(DataType::Null)),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match (self.checked, arguments.arg_fields) {
            // What is known of a column is known of its negation, as in DataFusion.
            (Checked::Negation | Checked::ShiftCount, [field]) => Ok(Arc::clone(field)),
            (_, fields) => {
                let types = fields.iter().map(|field| field.data_type().clone());
                let data_type = self.return_type(&types.collect::<Vec<_>>())?;
                let is_nullable = fields.iter().any(|field| field.is_nullable());
                Ok(Arc::new(Field::new(self.name(), data_type, is_nullable)))
            }
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.checked, arguments.args.as_slice()) {
            (Checked::Operator(operator), [left, right]) => {
                apply(left, right, |left, right| compute(operator, left, right))
            }
            (Checked::Negation, [value]) => each(value, |values| Ok(numeric::neg(values)?)),
            (_, [value]) => each(value, |counts| {
                check_shift(counts)?;
                Ok(Arc::clone(counts))
            }),
            _ => Err(EngineError::data("a function without its arguments").into()),
        }
    }
}

/// Applies a function of arrays.
fn each(
    value: &ColumnarValue,
    function: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match value {
        ColumnarValue::Array(array) => Ok(ColumnarValue::Array(function(array)?)),
        ColumnarValue::Scalar(scalar) => {
            let array = function(&scalar.to_array()?)?;
            let scalar = ScalarValue::try_from_array(&array, 0)?;
            Ok(ColumnarValue::Scalar(scalar))
        }
    }
}

fn compute(
    operator: Operator,
    left: &dyn Datum,
    right: &dyn Datum,
) -> Result<ArrayRef, ArrowError> {
    let computed = match operator {
        Operator::Plus => numeric::add(left, right),
        Operator::Minus => numeric::sub(left, right),
        Operator::Multiply => numeric::mul(left, right),
        Operator::Divide => numeric::div(left, right),
        _ => numeric::rem(left, right),
    };
    match computed {
        // Arrow shows decimals without their point.
        Err(ArrowError::ArithmeticOverflow(_)) if left.get().0.data_type().is_decimal() => {
            Err(too_many_digits())
        }
        Ok(values) => {
            check_digits(&values)?;
            Ok(values)
        }
        failed => failed,
    }
}

/// Checks that decimals have at most the digits of their type. The type of a result has as many as
/// any result needs, up to those of the widest type.
pub(crate) fn check_digits(values: &ArrayRef) -> Result<(), ArrowError> {
    match values.data_type() {
        DataType::Decimal32(digits, _) => check_digits_of::<Decimal32Type>(values, *digits),
        DataType::Decimal64(digits, _) => check_digits_of::<Decimal64Type>(values, *digits),
        DataType::Decimal128(digits, _) => check_digits_of::<Decimal128Type>(values, *digits),
        DataType::Decimal256(digits, _) => check_digits_of::<Decimal256Type>(values, *digits),
        _ => Ok(()),
    }
}

fn check_digits_of<T: DecimalType>(values: &ArrayRef, digits: u8) -> Result<(), ArrowError> {
    if digits < T::MAX_PRECISION {
        return Ok(());
    }
    let values: &PrimitiveArray<T> = values.as_primitive();
    match values
        .iter()
        .flatten()
        .all(|value| T::is_valid_decimal_precision(value, digits))
    {
        true => Ok(()),
        false => Err(too_many_digits()),
    }
}

fn too_many_digits() -> ArrowError {
    ArrowError::ComputeError("the result is out of range: a decimal with too many digits".into())
}

/// Checks that an integer has as many bits as it is shifted by.
fn check_shift(counts: &ArrayRef) -> Result<(), ArrowError> {
    let bits = counts.data_type().primitive_width().unwrap_or(0) * 8;
    // What is beyond 64 bits is a null then.
    let numbers = cast(counts, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    let is_inside = |count: i64| usize::try_from(count).is_ok_and(|count| count < bits);
    match numbers.null_count() == counts.null_count() && numbers.iter().flatten().all(is_inside) {
        true => Ok(()),
        false => Err(ArrowError::ComputeError(format!(
            "the result is out of range: an integer of {bits} bits is shifted by less than 0 or by \
             {bits} and more"
        ))),
    }
}
