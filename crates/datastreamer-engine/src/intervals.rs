//! Intervals are compared by their lengths, as in PostgreSQL: a month has 30 days, and a day 24 hours.
//! DataFusion compares first the months, then the days: it takes 25 hours for less than a day.
//! `equal_floats.rs` does so in keys of sorts, windows and joins. Groups, whose keys are shown, would
//! show one of several equal intervals: they are refused.
//!
//! A date and an interval make a time, as in PostgreSQL. In DataFusion they make a date, without the
//! hours of the interval.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{
        DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, IntervalMonthDayNanoType, IntervalUnit,
        TimeUnit,
    },
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Between, BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs,
        ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast as to_type, expr::InList,
    },
};

use crate::{
    error::EngineError,
    expression_rule::{ExpressionRule, is_comparison},
    overflow::each,
};

const DAYS_PER_MONTH: i128 = 30;
const NANOSECONDS_PER_DAY: i128 = 24 * 60 * 60 * 1_000_000_000;
/// The nanoseconds of an interval need 29 digits.
const LENGTH: DataType = DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0);

/// The time of a date: microseconds hold all of those that are written with four digits of the year.
const TIME_OF_DATE: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// Makes times of the dates to which an interval is added. It belongs before the rule that gives the two
/// sides of operators one type.
pub(crate) const TIMES_OF_DATES: ExpressionRule = ExpressionRule {
    name: "times_of_dates",
    change: with_time,
};

fn with_time(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &mut expression else {
        return Ok(Transformed::no(expression));
    };
    let is_date = |data_type: &DataType| matches!(data_type, DataType::Date32 | DataType::Date64);
    let is_interval = |data_type: &DataType| matches!(data_type, DataType::Interval(_));
    let types = [left.get_type(schema), right.get_type(schema)];
    let date = match (op, types) {
        (Operator::Plus | Operator::Minus, [Ok(date), Ok(interval)])
            if is_date(&date) && is_interval(&interval) =>
        {
            left
        }
        (Operator::Plus, [Ok(interval), Ok(date)]) if is_date(&date) && is_interval(&interval) => {
            right
        }
        _ => return Ok(Transformed::no(expression)),
    };
    **date = to_type(std::mem::take(&mut **date), TIME_OF_DATE);
    Ok(Transformed::yes(expression))
}

/// Refuses what shows one of several equal intervals.
///
/// # Errors
/// An interval.
pub(crate) fn refuse<'a>(
    what: &str,
    values: impl IntoIterator<Item = &'a Expr>,
    schema: &DFSchema,
) -> Result<()> {
    for value in values {
        if matches!(value.get_type(schema)?, DataType::Interval(_)) {
            let text = format!(
                "{what} of intervals is not supported: use extract(epoch FROM ..), their length in \
                 seconds"
            );
            return Err(EngineError::bad(text).into());
        }
    }
    Ok(())
}

/// Makes comparisons of intervals those of their lengths.
pub(crate) const COMPARE_INTERVALS: ExpressionRule = ExpressionRule {
    name: "compare_intervals",
    change: by_length,
};

fn by_length(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let compared: Vec<&mut Expr> = match &mut expression {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            vec![&mut *binary.left, &mut *binary.right]
        }
        Expr::Between(Between {
            expr, low, high, ..
        }) => vec![&mut **expr, &mut **low, &mut **high],
        Expr::InList(InList { expr, list, .. }) => {
            std::iter::once(&mut **expr).chain(list).collect()
        }
        _ => return Ok(Transformed::no(expression)),
    };
    let mut is_changed = false;
    for interval in compared {
        if matches!(interval.get_type(schema)?, DataType::Interval(_)) {
            *interval = length(std::mem::take(interval));
            is_changed = true;
        }
    }
    Ok(Transformed::new_transformed(expression, is_changed))
}

/// Returns the length of an interval, by which it is compared.
pub(crate) fn length(interval: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(Length { signature }).call(vec![interval])
}

/// A function that returns the length of an interval in nanoseconds.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Length {
    signature: Signature,
}

impl ScalarUDFImpl for Length {
    fn name(&self) -> &str {
        "interval_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(LENGTH)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [value] => each(value, |intervals| Ok(lengths(intervals)?)),
            _ => Err(EngineError::data("a function without its argument").into()),
        }
    }
}

fn lengths(intervals: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let intervals = cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let lengths: PrimitiveArray<Decimal128Type> = intervals.unary(|interval| {
        let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
        days * NANOSECONDS_PER_DAY + i128::from(interval.nanoseconds)
    });
    Ok(Arc::new(lengths.with_data_type(LENGTH)))
}
