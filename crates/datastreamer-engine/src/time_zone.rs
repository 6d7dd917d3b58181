//! `AT TIME ZONE` as in PostgreSQL: a time without a zone is one of that zone, and a time with a zone
//! becomes what the clocks there show. DataFusion keeps the instant, and accepts zones that are none.
//!
//! `TIMESTAMP WITH TIME ZONE` is a time in UTC. For DataFusion it is one without a zone.

use std::{ops::ControlFlow, sync::Arc};

use arrow::{
    array::{ArrayRef, timezone::Tz},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, TimeUnit},
};
use datafusion::{
    common::{DFSchema, Result, tree_node::Transformed},
    functions::datetime::expr_fn::to_local_time,
    logical_expr::{
        Cast, ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, cast,
    },
    sql::sqlparser::ast::{
        self, Statement, TimezoneInfo, TypedString, Value, VisitMut, VisitorMut,
    },
};
use datastreamer_table::type_name;

use crate::{error::EngineError, expression_rule::ExpressionRule, overflow::each};

/// Writes conversions to a time with a zone as those to one without, which is one of UTC.
pub(crate) fn write_in_utc(statement: &mut Statement) {
    // It never breaks.
    let _ = statement.visit(&mut Writer);
}

struct Writer;

impl VisitorMut for Writer {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        if let ast::Expr::Cast { data_type, .. }
        | ast::Expr::TypedString(TypedString { data_type, .. }) = expression
            && let ast::DataType::Timestamp(_, zone) = data_type
            && matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
        {
            *zone = TimezoneInfo::None;
            let utc = ast::Expr::value(Value::SingleQuotedString("UTC".to_owned()));
            let local = std::mem::replace(expression, ast::Expr::value(Value::Null));
            *expression = ast::Expr::AtTimeZone {
                timestamp: Box::new(local),
                time_zone: Box::new(utc),
            };
        }
        ControlFlow::Continue(())
    }
}

/// Makes a function of each `AT TIME ZONE`. It belongs before the rule that gives the two sides of
/// operators one type: until then all conversions to a time with a zone are these.
pub(crate) const AT_TIME_ZONE: ExpressionRule = ExpressionRule {
    name: "at_time_zone",
    change: in_zone,
};

fn in_zone(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::Cast(Cast { expr, field }) = expression else {
        return Ok(Transformed::no(expression));
    };
    let DataType::Timestamp(_, Some(zone)) = field.data_type() else {
        return Ok(Transformed::no(Expr::Cast(Cast { expr, field })));
    };
    if zone.parse::<Tz>().is_err() {
        let text = format!("there is no time zone `{zone}`; there is for example `Europe/Berlin`");
        return Err(EngineError::bad(text).into());
    }
    if let DataType::Timestamp(unit, Some(_)) = expr.get_type(schema)? {
        let time = cast(*expr, DataType::Timestamp(unit, Some(Arc::clone(zone))));
        return Ok(Transformed::yes(to_local_time(vec![time])));
    }
    let function = AtTimeZone {
        zone: Arc::clone(zone),
        signature: Signature::any(1, Volatility::Immutable),
    };
    Ok(Transformed::yes(
        ScalarUDF::from(function).call(vec![*expr]),
    ))
}

/// A function that takes times without a zone for those of a zone.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AtTimeZone {
    zone: Arc<str>,
    signature: Signature,
}

impl AtTimeZone {
    /// Returns the types by which a value becomes the result.
    fn steps(&self, from: &DataType) -> Result<Vec<DataType>> {
        let through = |unit| {
            let local = DataType::Timestamp(unit, None);
            vec![
                local,
                DataType::Timestamp(unit, Some(Arc::clone(&self.zone))),
            ]
        };
        match from {
            DataType::Timestamp(unit, None) => Ok(through(*unit)),
            DataType::Date32 | DataType::Date64 => Ok(through(TimeUnit::Microsecond)),
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Ok(through(TimeUnit::Nanosecond))
            }
            other => {
                let name = type_name(other);
                let text = format!("AT TIME ZONE is for timestamps, and this has the type {name}");
                Err(EngineError::bad(text).into())
            }
        }
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        "at_time_zone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let steps = self.steps(types.first().unwrap_or(&DataType::Null))?;
        Ok(steps.last().cloned().unwrap_or(DataType::Null))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value] = arguments.args.as_slice() else {
            return Err(EngineError::data("a function without its argument").into());
        };
        let steps = self.steps(&value.data_type())?;
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        each(value, |values| {
            let mut steps = steps.iter();
            Ok(
                steps.try_fold(Arc::clone(values), |values: ArrayRef, step| {
                    cast_with_options(&values, step, &options)
                })?,
            )
        })
    }
}
