//! Arithmetic of queries is right or fails: a rule for DataFusion's plans, and the functions that
//! it puts in the place of operators.
//!
//! DataFusion's operators wrap integers around, also where it computes with constants before a
//! query runs. The functions compute with Arrow's checked kernels.

use std::{any::Any, fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, Datum, PrimitiveArray, make_array},
    compute::{
        cast,
        kernels::{arity::try_binary, numeric},
    },
    datatypes::{
        DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Field,
        FieldRef, Float32Type, Float64Type, Int64Type,
    },
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Operator, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        binary::BinaryTypeCoercer, cast as to_type, expr::ScalarFunction,
    },
    physical_expr_common::datum::apply,
};

use crate::{
    error::EngineError, exact_numbers::nearest_floats, expression_rule::ExpressionRule,
    literal::has_second_60,
};

/// DataFusion's function that makes a time of seconds in floats, and takes the last time that there
/// is for all later ones. Those of other units begin like it.
const TO_TIMESTAMP: &str = "to_timestamp";
/// Seconds that are a time in nanoseconds of 64 bits: 2^63 / 10^9.
const SECONDS_MAX: f64 = 9_223_372_036.854_775;

/// Makes operators of integers and decimals functions that fail on overflow, and conversions to
/// floats and times too. It belongs behind the rule that gives the two sides of operators one type.
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
                _ => call_operator(op, *left, *right, schema),
            })
        }
        Expr::Cast(Cast { expr, field })
            if field.data_type().is_floating() && is_decimal(&expr, schema) =>
        {
            let float = call(Checked::Nearest(Float::of(field.data_type())), vec![*expr]);
            Transformed::yes(float)
        }
        Expr::Cast(Cast { expr, field }) if can_become_infinite(&expr, &field, schema) => {
            let value = expr.as_ref().clone();
            let float = Expr::Cast(Cast { expr, field });
            Transformed::yes(call(Checked::Finite, vec![float, value]))
        }
        Expr::Cast(Cast { expr, field }) if is_time_of_text(&expr, &field, schema) => {
            let expr = Box::new(call(Checked::NoSecond60, vec![*expr]));
            Transformed::yes(Expr::Cast(Cast { expr, field }))
        }
        Expr::ScalarFunction(mut function) if function.func.name().starts_with(TO_TIMESTAMP) => {
            let is_of_floats = function.func.name() == TO_TIMESTAMP;
            let Some(time) = function.args.first_mut() else {
                return Transformed::no(Expr::ScalarFunction(function));
            };
            if is_of_floats && has_type(time, schema, DataType::is_floating) {
                *time = call(Checked::Seconds, vec![std::mem::take(time)]);
            } else if has_type(time, schema, DataType::is_string) {
                *time = call(Checked::NoSecond60, vec![std::mem::take(time)]);
            }
            Transformed::yes(Expr::ScalarFunction(function))
        }
        Expr::ScalarFunction(function) if function.args.len() == 2 => {
            match Digits::of(function.func.name()) {
                Some(digits) => with_places(digits, function, schema),
                None => Transformed::no(Expr::ScalarFunction(function)),
            }
        }
        Expr::Negative(value) if is_integer(&value, schema) => {
            Transformed::yes(call(Checked::Negation, vec![*value]))
        }
        expression => Transformed::no(expression),
    }
}

/// Changes a function that rounds or cuts its first argument to the places of its second.
fn with_places(
    digits: Digits,
    mut function: ScalarFunction,
    schema: &DFSchema,
) -> Transformed<Expr> {
    let [value, places] = function.args.as_mut_slice() else {
        return Transformed::no(Expr::ScalarFunction(function));
    };
    let is_float = has_type(value, schema, DataType::is_floating);
    let is_integer = has_type(value, schema, |data_type| *data_type == DataType::Int64);
    let is_rounded = is_integer && digits == Digits::Rounded;
    if !(is_float || is_rounded) {
        return Transformed::no(Expr::ScalarFunction(function));
    }
    let arguments = |value| vec![value, to_type(places.clone(), DataType::Int64)];
    Transformed::yes(match is_float {
        true => call(Checked::Digits(digits), arguments(std::mem::take(value))),
        false => {
            *value = call(Checked::Roundable, arguments(std::mem::take(value)));
            Expr::ScalarFunction(function)
        }
    })
}

/// Returns whether a text is converted to a time.
fn is_time_of_text(value: &Expr, to: &Field, schema: &DFSchema) -> bool {
    let is_time = matches!(
        to.data_type(),
        DataType::Timestamp(_, _) | DataType::Time32(_) | DataType::Time64(_)
    );
    is_time && has_type(value, schema, DataType::is_string)
}

/// Returns whether DataFusion's operator may have a wrong result. Those of times fail by
/// themselves, and so does the division of integers.
fn can_overflow(operator: Operator, left: &Expr, schema: &DFSchema) -> bool {
    use Operator as O;
    match operator {
        O::BitwiseShiftLeft | O::BitwiseShiftRight => true,
        O::Plus | O::Minus | O::Multiply => is_integer(left, schema) || is_decimal(left, schema),
        O::Divide | O::Modulo => is_decimal(left, schema),
        _ => false,
    }
}

/// Returns whether a conversion may make infinity of a number: the type is narrower, or a text has
/// a number that is too large.
fn can_become_infinite(value: &Expr, to: &Field, schema: &DFSchema) -> bool {
    match to.data_type() {
        DataType::Float64 => has_type(value, schema, DataType::is_string),
        DataType::Float32 | DataType::Float16 => has_type(value, schema, |from| {
            from.is_string()
                || from.is_floating() && from.primitive_width() > to.data_type().primitive_width()
        }),
        _ => false,
    }
}

fn is_integer(expression: &Expr, schema: &DFSchema) -> bool {
    has_type(expression, schema, DataType::is_integer)
}

fn is_decimal(expression: &Expr, schema: &DFSchema) -> bool {
    has_type(expression, schema, DataType::is_decimal)
}

fn has_type(expression: &Expr, schema: &DFSchema, is_it: impl Fn(&DataType) -> bool) -> bool {
    type_of(expression, schema).is_some_and(|data_type| is_it(&data_type))
}

/// Returns the type of an expression. That of an operator is kept: DataFusion finds it by all that is
/// below it, and of hundreds of operators on each other all would be asked for all.
fn type_of(expression: &Expr, schema: &DFSchema) -> Option<DataType> {
    if let Expr::ScalarFunction(function) = expression
        && let function = function.func.inner().as_ref() as &dyn Any
        && let Some(CheckedFunction { returned, .. }) = function.downcast_ref()
        && returned.is_some()
    {
        return returned.clone();
    }
    expression.get_type(schema).ok()
}

fn call_operator(operator: Operator, left: Expr, right: Expr, schema: &DFSchema) -> Expr {
    let types = type_of(&left, schema).zip(type_of(&right, schema));
    let returned = types.and_then(|(left, right)| {
        let coercer = BinaryTypeCoercer::new(&left, &operator, &right);
        coercer.get_result_type().ok()
    });
    let signature = Signature::any(2, Volatility::Immutable);
    let function = CheckedFunction {
        checked: Checked::Operator(operator),
        returned,
        signature,
    };
    ScalarUDF::from(function).call(vec![left, right])
}

fn call(checked: Checked, arguments: Vec<Expr>) -> Expr {
    let signature = Signature::any(arguments.len(), Volatility::Immutable);
    let function = CheckedFunction {
        checked,
        returned: None,
        signature,
    };
    ScalarUDF::from(function).call(arguments)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Checked {
    /// Of two integers or two decimals.
    Operator(Operator),
    /// The minus before an integer.
    Negation,
    /// Returns the number of bits by which an integer of this type is shifted.
    ShiftCount,
    /// Returns a float, which was made of the second argument.
    Finite,
    /// Returns the float that is nearest to a decimal.
    Nearest(Float),
    /// Returns a float that is a time in seconds.
    Seconds,
    /// Returns a float with this many places behind its point.
    Digits(Digits),
    /// Returns an integer that can be rounded to this many places.
    Roundable,
    /// Returns a text that is a time, and has no second of 60.
    NoSecond60,
}

/// The width of a float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Float {
    F16,
    F32,
    F64,
}

impl Float {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Float16 => Self::F16,
            DataType::Float32 => Self::F32,
            _ => Self::F64,
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::F16 => DataType::Float16,
            Self::F32 => DataType::Float32,
            Self::F64 => DataType::Float64,
        }
    }
}

/// What becomes of the digits of a float that it is not to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Digits {
    Rounded,
    Cut,
}

impl Digits {
    /// Returns what a function of DataFusion does, which multiplies with a power of ten that may be
    /// infinite.
    fn of(function: &str) -> Option<Self> {
        match function {
            "round" => Some(Self::Rounded),
            "trunc" => Some(Self::Cut),
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedFunction {
    checked: Checked,
    /// The type of an operator's result, if it is known.
    returned: Option<DataType>,
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
            Checked::Finite => "checked_float",
            Checked::Nearest(Float::F16) => "nearest_float16",
            Checked::Nearest(Float::F32) => "nearest_float32",
            Checked::Nearest(Float::F64) => "nearest_float64",
            Checked::Seconds => "checked_seconds",
            Checked::Digits(Digits::Rounded) => "checked_round",
            Checked::Digits(Digits::Cut) => "checked_trunc",
            Checked::Roundable => "checked_roundable",
            Checked::NoSecond60 => "checked_time",
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
            (Checked::Nearest(float), _) => Ok(float.data_type()),
            _ => Ok(types.first().cloned().unwrap_or(DataType::Null)),
        }
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match (self.checked, arguments.arg_fields) {
            (Checked::Operator(_), fields) => {
                let types = fields.iter().map(|field| field.data_type().clone());
                let data_type = self.return_type(&types.collect::<Vec<_>>())?;
                let is_nullable = fields.iter().any(|field| field.is_nullable());
                Ok(Arc::new(Field::new(self.name(), data_type, is_nullable)))
            }
            (Checked::Digits(_) | Checked::Roundable, [value, places]) => {
                let is_nullable = value.is_nullable() || places.is_nullable();
                let data_type = value.data_type().clone();
                Ok(Arc::new(Field::new(self.name(), data_type, is_nullable)))
            }
            (Checked::Nearest(float), fields) => {
                let is_nullable = fields.iter().any(|field| field.is_nullable());
                let data_type = float.data_type();
                Ok(Arc::new(Field::new(self.name(), data_type, is_nullable)))
            }
            // What is known of a column is known of its negation, as in DataFusion.
            (_, fields) => Ok(Arc::clone(&fields[0])),
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
            (Checked::ShiftCount, [value]) => each(value, |counts| {
                check_shift(counts)?;
                Ok(Arc::clone(counts))
            }),
            (Checked::Nearest(float), [value]) => each(value, |decimals| {
                let floats = nearest_floats(decimals, &float.data_type())?;
                check_finite(&floats, decimals)?;
                Ok(floats)
            }),
            (Checked::Seconds, [value]) => each(value, |seconds| {
                check_seconds(seconds)?;
                Ok(Arc::clone(seconds))
            }),
            (Checked::Finite, [float, value]) => apply(float, value, |float, value| {
                check_finite(float.get().0, value.get().0)?;
                Ok(make_array(float.get().0.to_data()))
            }),
            (Checked::Digits(digits), [value, places]) => apply(value, places, |value, places| {
                change_digits(digits, value, places)
            }),
            (Checked::Roundable, [value, places]) => apply(value, places, |value, places| {
                by_places::<Int64Type, _>(value, places, check_roundable)
            }),
            (Checked::NoSecond60, [text]) => each(text, |texts| {
                check_seconds_of_texts(texts)?;
                Ok(Arc::clone(texts))
            }),
            _ => Err(EngineError::data("a function without its arguments").into()),
        }
    }
}

/// Applies a function of arrays.
pub(crate) fn each(
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

/// Defines a function that rounds or cuts floats of a type to a number of places.
macro_rules! change_digits {
    ($name:ident, $float:ident) => {
        fn $name(digits: Digits, places: i64) -> impl Fn($float) -> Result<$float, ArrowError> {
            // With more places than these any power of ten is infinite.
            let zeros = i32::try_from(places.unsigned_abs()).unwrap_or(i32::MAX);
            let (power, is_fraction) = ($float::powi(10.0, zeros), places >= 0);
            let whole = move |value: $float| match digits {
                Digits::Rounded => value.round(),
                Digits::Cut => value.trunc(),
            };
            move |value| {
                let scaled = if is_fraction {
                    value * power
                } else {
                    value / power
                };
                // So large a float has no digits behind the places.
                let is_whole = scaled.abs() >= $float::EPSILON.recip();
                match is_fraction {
                    true if is_whole || power.is_infinite() => Ok(value),
                    true => Ok(whole(scaled) / power),
                    false if !value.is_finite() => Ok(value),
                    // Zero times an infinite power is NaN.
                    false if whole(scaled) == 0.0 => Ok(0.0),
                    false => match whole(scaled) * power {
                        rounded if rounded.is_finite() => Ok(rounded),
                        _ => Err(out_of_range(format_args!("{value:?}, rounded"))),
                    },
                }
            }
        }
    };
}

change_digits!(digits_of_f32, f32);
change_digits!(digits_of_f64, f64);

fn change_digits(
    digits: Digits,
    values: &dyn Datum,
    places: &dyn Datum,
) -> Result<ArrayRef, ArrowError> {
    match values.get().0.data_type() {
        DataType::Float32 => {
            by_places::<Float32Type, _>(values, places, |places| digits_of_f32(digits, places))
        }
        _ => by_places::<Float64Type, _>(values, places, |places| digits_of_f64(digits, places)),
    }
}

/// Applies a function that a number of places makes.
fn by_places<T, F>(
    values: &dyn Datum,
    places: &dyn Datum,
    function: impl Fn(i64) -> F,
) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType,
    F: Fn(T::Native) -> Result<T::Native, ArrowError>,
{
    let ((values, is_one_value), (places, is_one_number)) = (values.get(), places.get());
    let (values, places) = (
        values.as_primitive::<T>(),
        places.as_primitive::<Int64Type>(),
    );
    let changed: PrimitiveArray<T> = match (is_one_value, is_one_number) {
        (_, true) if places.is_null(0) => PrimitiveArray::new_null(values.len()),
        (_, true) => values.try_unary(function(places.value(0)))?,
        (true, _) if values.is_null(0) => PrimitiveArray::new_null(places.len()),
        (true, _) => places.try_unary(|places| function(places)(values.value(0)))?,
        _ => try_binary(values, places, |value, places| function(places)(value))?,
    };
    Ok(Arc::new(changed))
}

/// Checks that integers can be rounded. DataFusion makes 0 of those that are nearer to 10^19, which
/// is beyond 64 bits. With more zeros 0 is right.
fn check_roundable(places: i64) -> impl Fn(i64) -> Result<i64, ArrowError> {
    const ZEROS: i64 = -19;
    const HALF: u64 = 5_000_000_000_000_000_000;
    move |value| match places == ZEROS && value.unsigned_abs() >= HALF {
        true => Err(out_of_range(format_args!("{value:?}, rounded"))),
        false => Ok(value),
    }
}

fn out_of_range(what: fmt::Arguments) -> ArrowError {
    ArrowError::ComputeError(format!("the result is out of range: {what}"))
}

/// Checks texts that become times. A second of 60 would be the next second.
fn check_seconds_of_texts(texts: &ArrayRef) -> Result<(), ArrowError> {
    let texts = cast(texts, &DataType::Utf8View)?;
    let mut texts = texts.as_string_view().iter().flatten();
    match texts.find(|text| has_second_60(text)) {
        Some(text) => Err(ArrowError::ComputeError(format!(
            "`{text}` is no time: it has a second of 60"
        ))),
        None => Ok(()),
    }
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

fn check_seconds(seconds: &ArrayRef) -> Result<(), ArrowError> {
    let numbers = cast(seconds, &DataType::Float64)?;
    let mut numbers = numbers.as_primitive::<Float64Type>().iter().flatten();
    match numbers.find(|seconds| seconds.is_nan() || seconds.abs() >= SECONDS_MAX) {
        None => Ok(()),
        Some(seconds) => Err(ArrowError::ComputeError(format!(
            "the result is out of range: to_timestamp({seconds:?})"
        ))),
    }
}

/// Checks that infinite floats were made of infinite numbers.
fn check_finite(floats: &dyn Array, values: &dyn Array) -> Result<(), ArrowError> {
    let floats = cast(floats, &DataType::Float64)?;
    let floats = floats.as_primitive::<Float64Type>();
    let is_infinite = |row: &usize| floats.is_valid(*row) && floats.value(*row).is_infinite();
    for row in (0..floats.len()).filter(is_infinite) {
        let value = values.slice(if values.len() == 1 { 0 } else { row }, 1);
        let text = cast(&value, &DataType::Utf8)?;
        let text = text.as_string::<i32>().value(0);
        // `inf` and `Infinity` are the only numbers with an i.
        if !text.contains(['i', 'I']) {
            let text = format!("the result is out of range: {text} as a float");
            return Err(ArrowError::ComputeError(text));
        }
    }
    Ok(())
}
