//! Conversions of a query that may lose something, and times that are cut: functions that DataFusion
//! does not look into.
//!
//! DataFusion moves the conversion of a column onto the constant that it is compared with:
//! `CAST(d AS INTEGER) = 1` becomes `d = 1.0`, and the 1.5 that the query shows as 1 is not found. It
//! prunes and estimates by such conversions too. Arrow and DataFusion cut times before 1970 towards
//! 1970; here they go back.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    compute::CastOptions,
    datatypes::{
        ArrowTimestampType, DataType, Date64Type, Field, FieldRef, TimeUnit,
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
        TimestampSecondType,
    },
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, TryCast, Volatility, cast as to_type, expr::ScalarFunction,
    },
};

use crate::{
    common_type::{decimal, is_held, is_integer_held},
    error::EngineError,
    expression_rule::ExpressionRule,
    literal::per_second,
    overflow::each,
};

/// A day in milliseconds, in which dates of 64 bits are counted.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// The time of a text.
const TIME_OF_TEXT: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Makes conversions of the functions that are another spelling of them.
pub(crate) const NAMED_CONVERSIONS: ExpressionRule = ExpressionRule {
    name: "named_conversions",
    change: |expression, schema| Ok(named_conversion(expression, schema)),
};

fn named_conversion(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::ScalarFunction(function) = &expression else {
        return Transformed::no(expression);
    };
    let failure = match function.func.name() {
        "arrow_cast" => Failure::Fails,
        "arrow_try_cast" => Failure::Null,
        _ => return Transformed::no(expression),
    };
    let (Ok((_, field)), Some(value)) = (expression.to_field(schema), function.args.first()) else {
        return Transformed::no(expression);
    };
    let expr = Box::new(value.clone());
    Transformed::yes(match failure {
        Failure::Fails => Expr::Cast(Cast { expr, field }),
        Failure::Null => Expr::TryCast(TryCast { expr, field }),
    })
}

/// Makes functions of the conversions that may lose something. It belongs behind the rules that add
/// and change conversions.
pub(crate) const KEEP_CONVERSIONS: ExpressionRule = ExpressionRule {
    name: "keep_conversions",
    change: |expression, schema| Ok(keep(expression, schema)),
};

fn keep(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::Cast(Cast { expr, field }) if may_lose(&expr, &field, schema) => {
            Transformed::yes(converted(*expr, &field, Failure::Fails))
        }
        Expr::TryCast(TryCast { expr, field }) if may_lose(&expr, &field, schema) => {
            Transformed::yes(converted(*expr, &field, Failure::Null))
        }
        Expr::ScalarFunction(function) => keep_function(function, schema),
        expression => Transformed::no(expression),
    }
}

/// Cuts the times of functions that would cut them towards 1970.
fn keep_function(mut function: ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_time = |value: &Expr| {
        let data_type = value.get_type(schema);
        data_type.is_ok_and(|data_type| matches!(data_type, DataType::Timestamp(_, _)))
    };
    let is_text = |value: &Expr| {
        let data_type = value.get_type(schema);
        data_type.is_ok_and(|data_type| data_type.is_string())
    };
    // The types of arguments take time: only of these functions.
    let Some(unit) = unit_of(function.func.name()) else {
        return Transformed::no(Expr::ScalarFunction(function));
    };
    match function.args.as_mut_slice() {
        // Texts in the usual form: microseconds hold all of their years.
        [text] if is_text(text) => {
            let time = to_type(std::mem::take(text), TIME_OF_TEXT);
            *text = cut(time, unit);
        }
        [time, ..] if is_time(time) => *time = cut(std::mem::take(time), unit),
        _ => return Transformed::no(Expr::ScalarFunction(function)),
    }
    Transformed::yes(Expr::ScalarFunction(function))
}

/// Returns the unit of a function that makes a time, or a number, of another time.
fn unit_of(function: &str) -> Option<TimeUnit> {
    match function {
        "to_unixtime" | "to_timestamp_seconds" => Some(TimeUnit::Second),
        "to_timestamp_millis" => Some(TimeUnit::Millisecond),
        "to_timestamp_micros" => Some(TimeUnit::Microsecond),
        _ => None,
    }
}

/// Returns whether a conversion of numbers or times may fail, or give the same for different values.
/// Those of floats to shorter ones are left to DataFusion, which moves none of them.
fn may_lose(value: &Expr, to: &Field, schema: &DFSchema) -> bool {
    let Ok(from) = value.get_type(schema) else {
        return false;
    };
    let to = to.data_type();
    let may_fail =
        is_exact(&from) && is_exact(to) && !(is_held(&from, to) || is_integer_held(&from, to));
    may_fail || is_cut(&from, to) && !(from.is_floating() && to.is_floating())
}

fn is_exact(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_decimal()
}

/// Returns whether a conversion gives the same for different values, and does not say so: digits behind
/// the point, the time of a day, parts of a second.
pub(crate) fn is_cut(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    match (from, to) {
        (from, to) if from == to => false,
        (from, T::Boolean) => from.is_numeric(),
        // The units are ordered, the coarsest one first.
        (T::Timestamp(from, _), T::Timestamp(to, _)) => from > to,
        (T::Time32(from) | T::Time64(from), T::Time32(to) | T::Time64(to)) => from > to,
        (T::Timestamp(_, _) | T::Date64, T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_)) => {
            true
        }
        (from, to) if is_exact(from) && is_exact(to) => digits_behind(from) > digits_behind(to),
        (from, to) if from.is_floating() && to.is_floating() => {
            from.primitive_width() > to.primitive_width()
        }
        (from, to) => from.is_floating() && is_exact(to),
    }
}

/// Returns the digits behind the point; fewer than none where the last ones before it are zeros.
pub(crate) fn digits_behind(exact: &DataType) -> i8 {
    decimal(exact).map_or(0, |(_, scale, _)| scale)
}

/// Returns a conversion as a function, so that its constant keeps its digits.
pub(crate) fn kept(value: Expr, to: &FieldRef) -> Expr {
    converted(value, to, Failure::Fails)
}

fn converted(value: Expr, to: &FieldRef, failure: Failure) -> Expr {
    let to = to.data_type().clone();
    call(Kept::Conversion(to, failure), value)
}

/// Cuts a time to the last one of a unit before it.
fn cut(time: Expr, unit: TimeUnit) -> Expr {
    call(Kept::Cut(unit), time)
}

fn call(kept: Kept, value: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(KeptFunction { kept, signature }).call(vec![value])
}

/// What becomes of a value that the other type does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Failure {
    Fails,
    Null,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Conversion(DataType, Failure),
    /// Of a time to this unit; its type stays.
    Cut(TimeUnit),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct KeptFunction {
    kept: Kept,
    signature: Signature,
}

impl ScalarUDFImpl for KeptFunction {
    fn name(&self) -> &str {
        match self.kept {
            Kept::Conversion(_, Failure::Fails) => "converted",
            Kept::Conversion(_, Failure::Null) => "try_converted",
            Kept::Cut(_) => "cut_time",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match &self.kept {
            Kept::Conversion(to, _) => to.clone(),
            Kept::Cut(_) => types.first().cloned().unwrap_or(DataType::Null),
        })
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let value = &arguments.arg_fields[0];
        Ok(match &self.kept {
            Kept::Conversion(to, failure) => {
                let is_nullable = value.is_nullable() || *failure == Failure::Null;
                Arc::new(Field::new(self.name(), to.clone(), is_nullable))
            }
            Kept::Cut(_) => Arc::clone(value),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else {
            return Err(EngineError::data("a function without its argument").into());
        };
        match &self.kept {
            Kept::Cut(unit) => each(value, |times| Ok(cut_times(times, *unit)?)),
            Kept::Conversion(to, failure) => {
                let options = CastOptions {
                    safe: *failure == Failure::Null,
                    ..CastOptions::default()
                };
                let value = match (value.data_type(), to) {
                    (DataType::Timestamp(from, _), DataType::Timestamp(to, _)) if from > *to => {
                        &each(value, |times| Ok(cut_times(times, *to)?))?
                    }
                    (DataType::Timestamp(_, _), DataType::Date64) => {
                        &each(value, |times| Ok(cut_times(times, TimeUnit::Millisecond)?))?
                    }
                    (DataType::Date64, DataType::Date32) => {
                        &each(value, |times| Ok(cut_steps::<Date64Type>(times, DAY)?))?
                    }
                    _ => value,
                };
                value.cast_to(to, Some(&options))
            }
        }
    }
}

fn cut_times(times: &ArrayRef, to: TimeUnit) -> Result<ArrayRef, ArrowError> {
    match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => cut_times_of::<TimestampSecondType>(times, to),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            cut_times_of::<TimestampMillisecondType>(times, to)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            cut_times_of::<TimestampMicrosecondType>(times, to)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            cut_times_of::<TimestampNanosecondType>(times, to)
        }
        _ => Ok(Arc::clone(times)),
    }
}

fn cut_times_of<T>(times: &ArrayRef, to: TimeUnit) -> Result<ArrayRef, ArrowError>
where
    T: ArrowTimestampType + ArrowPrimitiveType<Native = i64>,
{
    cut_steps::<T>(times, per_second(T::UNIT) / per_second(to))
}

/// Cuts each time to the last one before it that is a multiple of a step.
fn cut_steps<T>(times: &ArrayRef, step: i64) -> Result<ArrayRef, ArrowError>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    if step <= 1 {
        return Ok(Arc::clone(times));
    }
    let times: &PrimitiveArray<T> = times.as_primitive();
    let cut = times.try_unary::<_, T, _>(|time| {
        time.checked_sub(time.rem_euclid(step))
            .ok_or_else(|| ArrowError::ComputeError("the result is out of range: a time".into()))
    })?;
    Ok(Arc::new(cut.with_data_type(times.data_type().clone())))
}
