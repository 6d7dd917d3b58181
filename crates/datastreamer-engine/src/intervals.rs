//! Intervals are compared by their lengths, as in PostgreSQL: a month has 30 days, and a day 24 hours.
//! DataFusion compares first the months, then the days: it takes 25 hours for less than a day.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{
        DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, IntervalMonthDayNanoType, IntervalUnit,
    },
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Between, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::InList,
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
            let signature = Signature::any(1, Volatility::Immutable);
            let length = ScalarUDF::from(Length { signature });
            *interval = length.call(vec![std::mem::take(interval)]);
            is_changed = true;
        }
    }
    Ok(Transformed::new_transformed(expression, is_changed))
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
