//! Parts of lengths of time, which are differences of two times and intervals: `extract` and
//! `date_part` give those of PostgreSQL, and its total of seconds.
//!
//! DataFusion gives totals of a difference (the minutes of 60 days), wraps its microseconds around, and
//! cuts the seconds of its epoch.

use std::{str::FromStr, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array},
    compute::{cast, kernels::cast_utils::IntervalUnit as Unit},
    datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit},
    error::ArrowError,
};
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility,
    },
};

use crate::{
    error::EngineError, expression_rule::ExpressionRule, literal::per_second, overflow::each,
};

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;
const HOUR: i128 = 60 * MINUTE;
const DAY: i128 = 24 * HOUR;
/// A month and a year of an epoch, as in PostgreSQL.
const MONTH: i128 = 30 * DAY;
const YEAR: i128 = 365 * DAY + DAY / 4;
/// Integers up to this one are floats of 64 bits.
const FLOAT_INTEGERS_MAX: u128 = 1 << 53;

/// Takes the parts of lengths of time. It belongs behind the rules that convert arguments.
pub(crate) const PARTS_OF_LENGTHS: ExpressionRule = ExpressionRule {
    name: "parts_of_lengths",
    change: of_length,
};

fn of_length(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(function) = &mut expression else {
        return Ok(Transformed::no(expression));
    };
    let (unit, length) = match (function.func.name(), function.args.as_mut_slice()) {
        ("date_part", [Expr::Literal(unit, _), length]) => (unit.try_as_str().flatten(), length),
        _ => return Ok(Transformed::no(expression)),
    };
    let is_length = matches!(
        length.get_type(schema)?,
        DataType::Duration(_) | DataType::Interval(_)
    );
    let Some(unit) = unit.filter(|_| is_length) else {
        return Ok(Transformed::no(expression));
    };
    let Some(part) = Part::named(unit) else {
        let text = format!("a length of time has no {}", unit.to_ascii_lowercase());
        return Err(EngineError::bad(text).into());
    };
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(PartOfLength { part, signature });
    Ok(Transformed::yes(
        function.call(vec![std::mem::take(length)]),
    ))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// The total, in seconds.
    Epoch,
    /// Of this many months, up to the next part (0: there is none).
    Months {
        each: i64,
        up_to: i64,
    },
    Quarter,
    Days,
    /// Of this many nanoseconds, up to the next part (0: there is none).
    Time {
        each: i128,
        up_to: i128,
    },
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        let months = |each, up_to| Self::Months { each, up_to };
        let time = |each, up_to| Self::Time { each, up_to };
        let name = name.trim_matches(['\'', '"']);
        match name.to_ascii_lowercase().as_str() {
            "epoch" => return Some(Self::Epoch),
            "quarter" | "qtr" => return Some(Self::Quarter),
            _ => {}
        }
        Some(match Unit::from_str(name).ok()? {
            Unit::Century => months(1200, 0),
            Unit::Decade => months(120, 0),
            Unit::Year => months(12, 0),
            Unit::Month => months(1, 12),
            Unit::Week => return None,
            Unit::Day => Self::Days,
            Unit::Hour => time(HOUR, 0),
            Unit::Minute => time(MINUTE, HOUR),
            Unit::Second => time(SECOND, MINUTE),
            Unit::Millisecond => time(SECOND / 1000, MINUTE),
            Unit::Microsecond => time(SECOND / 1_000_000, MINUTE),
            Unit::Nanosecond => time(1, MINUTE),
        })
    }

    /// Returns the part of a length; not its epoch.
    fn of(self, length: Length) -> i64 {
        let below = |value: i128, up_to: i128| match up_to {
            0 => value,
            up_to => value % up_to,
        };
        let part = match self {
            Self::Months { each, up_to } => {
                below(length.months.into(), up_to.into()) / i128::from(each)
            }
            Self::Quarter => i128::from(length.months % 12 / 3 + 1),
            Self::Days => length.days,
            Self::Time { each, up_to } => below(length.nanoseconds, up_to) / each,
            Self::Epoch => 0,
        };
        // 2^63 seconds are 2^47 days; the parts of a time are below an hour, or of 64 bits.
        i64::try_from(part).unwrap_or_default()
    }
}

/// A length of time: a month has no number of days, nor a day one of nanoseconds.
#[derive(Clone, Copy)]
struct Length {
    months: i64,
    days: i128,
    nanoseconds: i128,
}

impl Length {
    fn seconds(self) -> f64 {
        let (years, months) = (self.months / 12, self.months % 12);
        let months = i128::from(years) * YEAR + i128::from(months) * MONTH;
        let all = months + self.days * DAY + self.nanoseconds;
        match all.unsigned_abs() <= FLOAT_INTEGERS_MAX {
            true => all as f64 / SECOND as f64,
            false => (all / SECOND) as f64 + (all % SECOND) as f64 / SECOND as f64,
        }
    }
}

fn lengths(values: &ArrayRef) -> Result<Vec<Option<Length>>, ArrowError> {
    if let DataType::Duration(unit) = values.data_type() {
        let each = SECOND / i128::from(per_second(*unit));
        let durations = cast(values, &DataType::Int64)?;
        let durations = durations.as_primitive::<Int64Type>().iter();
        let lengths = durations.map(|duration| {
            let all = i128::from(duration?) * each;
            Some(Length {
                months: 0,
                days: all / DAY,
                nanoseconds: all % DAY,
            })
        });
        return Ok(lengths.collect());
    }
    let intervals = cast(values, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
    let lengths = intervals.map(|interval| {
        interval.map(|interval| Length {
            months: interval.months.into(),
            days: interval.days.into(),
            nanoseconds: interval.nanoseconds.into(),
        })
    });
    Ok(lengths.collect())
}

/// A function that returns a part of a length of time.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PartOfLength {
    part: Part,
    signature: Signature,
}

impl ScalarUDFImpl for PartOfLength {
    fn name(&self) -> &str {
        "part_of_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Epoch => DataType::Float64,
            _ => DataType::Int64,
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else {
            return Err(EngineError::data("a function without its argument").into());
        };
        each(value, |values| {
            let lengths = lengths(values)?.into_iter();
            let parts: ArrayRef = match self.part {
                Part::Epoch => {
                    let seconds = lengths.map(|length| length.map(Length::seconds));
                    Arc::new(seconds.collect::<Float64Array>())
                }
                part => {
                    let parts = lengths.map(|length| length.map(|length| part.of(length)));
                    Arc::new(parts.collect::<Int64Array>())
                }
            };
            Ok(parts)
        })
    }
}
