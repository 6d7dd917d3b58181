//! Window frames of RANGE with an offset: DataFusion converts the offset to the type of the column that
//! orders the rows. There 0.005 becomes 0.01, a 1 beside dates becomes a month, and what is beyond the
//! type takes in the rows that are null. Numbers become longer ones here, and an offset that is no
//! difference of two values is refused.

use arrow::datatypes::DataType;
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    logical_expr::{
        Expr, ExprSchemable, WindowFrame, WindowFrameBound, WindowFrameUnits, cast as to_type,
    },
};
use datastreamer_table::type_name;

use crate::{
    conversions::digits_behind, error::EngineError, expression_rule::ExpressionRule, intervals,
};

/// Digits of an integer of 64 bits and one more.
const DIGITS_OF_BOUNDS: u8 = 21;

/// Checks the offsets. It belongs before the rules that convert them.
pub(crate) const RANGE_FRAMES: ExpressionRule = ExpressionRule {
    name: "range_frames",
    change: in_frame,
};

fn in_frame(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut function) = expression else {
        return Ok(Transformed::no(expression));
    };
    let frame = &function.params.window_frame;
    let (is_range, offsets) = (frame.units == WindowFrameUnits::Range, offsets_of(frame));
    if let ([key], true, true) = (
        function.params.order_by.as_mut_slice(),
        is_range,
        offsets.is_empty(),
    ) && matches!(key.expr.get_type(schema)?, DataType::Interval(_))
    {
        // DataFusion has no frames over intervals, not even the usual one.
        key.expr = intervals::length(std::mem::take(&mut key.expr));
        return Ok(Transformed::yes(Expr::WindowFunction(function)));
    }
    let wider = match function.params.order_by.as_slice() {
        [key] if !offsets.is_empty() => wider(&key.expr.get_type(schema)?, &offsets)?,
        _ => None,
    };
    let is_changed = wider.is_some();
    if let (Some(wider), [key]) = (wider, function.params.order_by.as_mut_slice()) {
        key.expr = to_type(std::mem::take(&mut key.expr), wider);
    }
    let function = Expr::WindowFunction(function);
    Ok(Transformed::new_transformed(function, is_changed))
}

/// Returns the offsets as they are written.
fn offsets_of(frame: &WindowFrame) -> Vec<String> {
    if frame.units != WindowFrameUnits::Range {
        return Vec::new();
    }
    let bounds = [&frame.start_bound, &frame.end_bound].into_iter();
    let offsets = bounds.filter_map(|bound| match bound {
        WindowFrameBound::Preceding(offset) | WindowFrameBound::Following(offset) => {
            offset.try_as_str().flatten().map(str::to_owned)
        }
        WindowFrameBound::CurrentRow => None,
    });
    offsets.collect()
}

/// Returns the type in which the rows are ordered instead of this one, if it is too short.
///
/// # Errors
/// An offset that is no difference of two values of the type.
fn wider(key: &DataType, offsets: &[String]) -> Result<Option<DataType>> {
    use DataType as T;
    let check = |is_right: &dyn Fn(&str) -> bool, what: &str| -> Result<()> {
        match offsets.iter().find(|offset| !is_right(offset)) {
            None => Ok(()),
            Some(offset) => Err(EngineError::bad(format!(
                "RANGE {offset} over values of type {}: the offset must be {what}",
                type_name(key)
            ))
            .into()),
        }
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match key {
        integer if integer.is_integer() => {
            check(&|text| text.parse::<i64>().is_ok(), "a whole number")?;
            // The bounds of those of 64 bits may be beyond 64 bits.
            Ok(Some(match integer {
                T::Int64 | T::UInt64 => T::Decimal128(DIGITS_OF_BOUNDS, 0),
                _ => T::Int64,
            }))
        }
        float if float.is_floating() => {
            check(&|text| number(text).is_some(), "a number")?;
            Ok((*float != T::Float64).then_some(T::Float64))
        }
        exact if exact.is_decimal() => {
            let fits = |text: &str| {
                let digits = text.split_once('.').map_or("", |(_, digits)| digits);
                let digits = digits.trim_end_matches('0').len();
                number(text).is_some()
                    && !text.contains(['e', 'E'])
                    && i8::try_from(digits)
                        .is_ok_and(|digits| digits <= digits_behind(exact).max(0))
            };
            check(&fits, "a number with no more digits behind the point")?;
            Ok(None)
        }
        time if time.is_temporal() && !matches!(time, T::Interval(_)) => {
            check(&|text| number(text).is_none(), "an INTERVAL")?;
            Ok(None)
        }
        T::Null | T::Dictionary(_, _) | T::RunEndEncoded(_, _) => Ok(None),
        _ => {
            check(&|_| false, "left out: only numbers and times have one")?;
            Ok(None)
        }
    }
}
