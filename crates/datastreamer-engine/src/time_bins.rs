//! `date_bin` and `date_trunc` of times, in all years, as in PostgreSQL. DataFusion computes in
//! nanoseconds of 64 bits: before 1677 and after 2262 bins are null, and `date_trunc` fails. It cuts
//! parts of a second before 1970 towards 1970.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray},
    datatypes::{
        ArrowTimestampType, DataType as T, Field, FieldRef, TimeUnit, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    },
    error::ArrowError,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use datafusion::{
    common::{DFSchema, Result, ScalarValue, tree_node::Transformed},
    logical_expr::{
        ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility, cast as to_type,
    },
};

use crate::{expression_rule::ExpressionRule, literal::per_second, overflow::each};

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 24 * 60 * 60 * SECOND;
/// Weeks begin on Mondays (ISO 8601): the first one of 1970 is January 5th.
const MONDAY: i128 = 4 * DAY;
const FIRST_YEAR: i64 = 1970;
const MONTHS_PER_YEAR: i64 = 12;

/// The time of a date: microseconds hold all of those that are written with four digits of the year.
const TIME_OF_DATE: T = T::Timestamp(TimeUnit::Microsecond, None);

/// Puts functions of ours in the place of `date_bin` and `date_trunc`. It belongs before the rules that
/// convert arguments: they make nanoseconds of all times with a zone.
pub(crate) const TIME_BINS: ExpressionRule = ExpressionRule {
    name: "time_bins",
    change: |expression, schema| Ok(with_bins(expression, schema)),
};

fn with_bins(mut expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let Expr::ScalarFunction(function) = &mut expression else {
        return Transformed::no(expression);
    };
    if let ("date_bin" | "date_trunc", [_, date, ..]) =
        (function.func.name(), function.args.as_mut_slice())
        && let Ok(T::Date32 | T::Date64) = date.get_type(schema)
    {
        *date = to_type(std::mem::take(date), TIME_OF_DATE);
    }
    let is = |value: &Expr, is_so: fn(&T) -> bool| {
        value
            .get_type(schema)
            .is_ok_and(|data_type| is_so(&data_type))
    };
    let is_time = |value: &Expr| is(value, |data_type| matches!(data_type, T::Timestamp(_, _)));
    let is_step = |value: &Expr| is(value, |data_type| matches!(data_type, T::Interval(_)));
    let steps = match (function.func.name(), function.args.as_slice()) {
        ("date_bin", [step, times]) if is_step(step) && is_time(times) => Some(Steps::Given),
        ("date_bin", [step, times, origin])
            if is_step(step) && is_time(times) && is_time(origin) =>
        {
            Some(Steps::Given)
        }
        ("date_trunc", [Expr::Literal(unit, _), times]) if is_time(times) => {
            let steps = unit.try_as_str().flatten().and_then(Step::named);
            // A day of a zone has its own beginning, and its own number of hours.
            let is_of_all_zones = |step: &Step| matches!(step, Step::Fixed { nanoseconds, .. } if *nanoseconds <= SECOND);
            let steps = steps.filter(|step| is_of_all_zones(step) || is(times, is_of_utc));
            steps.map(Steps::Of)
        }
        _ => None,
    };
    let Some(steps) = steps else {
        return Transformed::no(expression);
    };
    let inner = Arc::clone(&function.func);
    let signature = Signature::any(function.args.len(), Volatility::Immutable);
    function.func = Arc::new(ScalarUDF::from(TimeBins {
        inner,
        steps,
        signature,
    }));
    Transformed::yes(expression)
}

fn is_of_utc(times: &T) -> bool {
    match times {
        T::Timestamp(_, zone) => zone
            .as_deref()
            .is_none_or(|zone| ["UTC", "+00:00", "Z"].contains(&zone)),
        _ => false,
    }
}

/// The length of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The first bin begins at `origin`, in nanoseconds since 1970.
    Fixed { nanoseconds: i128, origin: i128 },
    /// Bins begin at midnight, and one of them in 1970.
    Months(i64),
}

/// Where the length of bins is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Steps {
    /// In the arguments.
    Given,
    Of(Step),
}

impl Step {
    /// Returns the unit that `date_trunc` names.
    fn named(unit: &str) -> Option<Self> {
        let fixed = |nanoseconds| Self::Fixed {
            nanoseconds,
            origin: 0,
        };
        Some(match unit.to_ascii_lowercase().as_str() {
            "microsecond" => fixed(SECOND / 1_000_000),
            "millisecond" => fixed(SECOND / 1_000),
            "second" => fixed(SECOND),
            "minute" => fixed(60 * SECOND),
            "hour" => fixed(3600 * SECOND),
            "day" => fixed(DAY),
            "week" => Self::Fixed {
                nanoseconds: 7 * DAY,
                origin: MONDAY,
            },
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(MONTHS_PER_YEAR),
            _ => return None,
        })
    }

    /// Returns the step of an interval that is positive. `None`: it has months and days, or months from
    /// another origin than 1970.
    fn given(step: &ColumnarValue, origin: i128) -> Option<Self> {
        let ColumnarValue::Scalar(step) = step else {
            return None;
        };
        let step = match step {
            ScalarValue::IntervalMonthDayNano(Some(step)) if step.months == 0 => Self::Fixed {
                nanoseconds: i128::from(step.days) * DAY + i128::from(step.nanoseconds),
                origin,
            },
            ScalarValue::IntervalDayTime(Some(step)) => Self::Fixed {
                nanoseconds: i128::from(step.days) * DAY
                    + i128::from(step.milliseconds) * (SECOND / 1000),
                origin,
            },
            ScalarValue::IntervalMonthDayNano(Some(step))
                if (step.days, step.nanoseconds, origin) == (0, 0, 0) =>
            {
                Self::Months(step.months.into())
            }
            _ => return None,
        };
        let is_positive = match step {
            Self::Fixed { nanoseconds, .. } => nanoseconds > 0,
            Self::Months(months) => months > 0,
        };
        is_positive.then_some(step)
    }

    /// Returns the beginning of the bin of a time, in units of which a second has so many.
    fn bin(self, time: i64, per_second: i64) -> Option<i64> {
        let unit = SECOND / i128::from(per_second);
        match self {
            Self::Fixed {
                nanoseconds,
                origin,
            } => {
                let time = i128::from(time) * unit;
                let bin = time - (time - origin).rem_euclid(nanoseconds);
                // Bins that begin between two units of the times would become one.
                (bin % unit == 0).then(|| i64::try_from(bin / unit).ok())?
            }
            Self::Months(months) => {
                let day = DateTime::from_timestamp(time.div_euclid(per_second), 0)?.date_naive();
                let month = i64::from(day.month0());
                let all = (i64::from(day.year()) - FIRST_YEAR) * MONTHS_PER_YEAR + month;
                let first = all - all.rem_euclid(months);
                let year = FIRST_YEAR + first.div_euclid(MONTHS_PER_YEAR);
                let month = first.rem_euclid(MONTHS_PER_YEAR) + 1;
                let day = NaiveDate::from_ymd_opt(
                    i32::try_from(year).ok()?,
                    u32::try_from(month).ok()?,
                    1,
                )?;
                let midnight = day.and_time(NaiveTime::MIN).and_utc().timestamp();
                midnight.checked_mul(per_second)
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBins {
    inner: Arc<ScalarUDF>,
    steps: Steps,
    signature: Signature,
}

impl ScalarUDFImpl for TimeBins {
    fn name(&self) -> &str {
        "time_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[T]) -> Result<T> {
        Ok(types.get(1).cloned().unwrap_or(T::Null))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = arguments.arg_fields[1].data_type().clone();
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let step = match (self.steps, arguments.args.as_slice()) {
            (Steps::Of(step), _) => Some(step),
            (Steps::Given, [step, _]) => Step::given(step, 0),
            (Steps::Given, [step, _, origin]) => {
                origin_of(origin).and_then(|origin| Step::given(step, origin))
            }
            _ => None,
        };
        let times = arguments.args[1].clone();
        if let Some(step) = step {
            return each(&times, |times| Ok(binned(times, step)?));
        }
        if let Some(origin) = arguments.args.get_mut(2) {
            *origin = origin.cast_to(&T::Timestamp(TimeUnit::Nanosecond, None), None)?;
        }
        let rows = arguments.number_rows;
        let has_null = arguments.args.iter().any(|argument| match argument {
            ColumnarValue::Scalar(constant) => constant.is_null(),
            ColumnarValue::Array(_) => false,
        });
        let bins = self.inner.invoke_with_args(arguments)?.into_array(rows)?;
        let times = times.into_array(rows)?;
        // A time is null only where an argument is.
        match !has_null && bins.null_count() > times.null_count() {
            true => Err(out_of_range().into()),
            false => Ok(ColumnarValue::Array(bins)),
        }
    }
}

/// Returns a constant origin, in nanoseconds since 1970.
fn origin_of(origin: &ColumnarValue) -> Option<i128> {
    let ColumnarValue::Scalar(origin) = origin else {
        return None;
    };
    let (value, unit) = match origin {
        ScalarValue::TimestampSecond(value, _) => (*value, TimeUnit::Second),
        ScalarValue::TimestampMillisecond(value, _) => (*value, TimeUnit::Millisecond),
        ScalarValue::TimestampMicrosecond(value, _) => (*value, TimeUnit::Microsecond),
        ScalarValue::TimestampNanosecond(value, _) => (*value, TimeUnit::Nanosecond),
        _ => return None,
    };
    Some(i128::from(value?) * (SECOND / i128::from(per_second(unit))))
}

fn out_of_range() -> ArrowError {
    ArrowError::ComputeError(
        "the result is out of range: a time of date_bin or date_trunc, or one with more digits than the \
         others have"
            .into(),
    )
}

fn binned(times: &ArrayRef, step: Step) -> Result<ArrayRef, ArrowError> {
    match times.data_type() {
        T::Timestamp(TimeUnit::Second, _) => binned_of::<TimestampSecondType>(times, step),
        T::Timestamp(TimeUnit::Millisecond, _) => {
            binned_of::<TimestampMillisecondType>(times, step)
        }
        T::Timestamp(TimeUnit::Microsecond, _) => {
            binned_of::<TimestampMicrosecondType>(times, step)
        }
        _ => binned_of::<TimestampNanosecondType>(times, step),
    }
}

fn binned_of<T>(times: &ArrayRef, step: Step) -> Result<ArrayRef, ArrowError>
where
    T: ArrowTimestampType + ArrowPrimitiveType<Native = i64>,
{
    let per_second = per_second(T::UNIT);
    let binned: PrimitiveArray<T> = times
        .as_primitive::<T>()
        .try_unary(|time| step.bin(time, per_second).ok_or_else(out_of_range))?;
    Ok(Arc::new(binned.with_data_type(times.data_type().clone())))
}
