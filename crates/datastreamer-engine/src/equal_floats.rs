//! All zeros of floats are equal in queries, and all NaNs are one value, greater than all numbers, as
//! in PostgreSQL. DataFusion compares bits where it sorts, groups and searches: it puts -0.0 before
//! 0.0 and a NaN with a sign before all numbers, and knows as many NaNs as there are payloads.
//!
//! Two rules make the floats one that are compared, and only these: what is selected keeps its bits.
//! In the same places intervals are compared by their lengths (`intervals.rs`).

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray, make_array},
    datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float16Type, Float32Type, Float64Type},
    error::ArrowError,
};
use datafusion::{
    common::{
        Column, DFSchema, Result, ScalarValue, config::ConfigOptions, tree_node::Transformed,
    },
    logical_expr::{
        Aggregate, Between, BinaryExpr, Case, Cast, ColumnarValue, Distinct, DistinctOn, Expr,
        ExprSchemable, GroupingSet, LogicalPlan, Operator, Projection, ReturnFieldArgs,
        ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Sort, Subquery, Volatility,
        expr::{InList, InSubquery, SetComparison},
        expr_rewriter::NamePreserver,
        lit, when,
    },
    optimizer::AnalyzerRule,
};
use datastreamer_table::nested::find_type;
use std::sync::Arc;

use crate::{
    error::EngineError,
    expression_rule::{ExpressionRule, is_comparison},
    intervals,
    overflow::each,
};

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// Aggregates that order the values of their argument.
const ORDERING: [&str; 8] = [
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "max",
    "median",
    "min",
    "percentile_cont",
    "quantile_cont",
];
/// Functions that order their arguments, or the values in them.
const SORTING: [&str; 5] = ["array_max", "array_min", "array_sort", "greatest", "least"];
/// Functions that find values which are equal.
const COMPARING: [&str; 16] = [
    "array_distinct",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_position",
    "array_positions",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_union",
    "map_extract",
];

/// Makes the floats equal in the keys of sorts, joins, groups and DISTINCT. All sorts of a plan are
/// made of these keys, so that a merge compares as the sorts below it.
#[derive(Debug)]
pub(crate) struct EqualFloatsInKeys;

/// Makes the floats equal that an expression compares.
pub(crate) const EQUAL_FLOATS: ExpressionRule = ExpressionRule {
    name: "equal_floats",
    change: equal_in,
};

impl AnalyzerRule for EqualFloatsInKeys {
    fn name(&self) -> &str {
        "equal_floats_in_keys"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(equal_in_keys)?.data)
    }
}

fn equal_in_keys(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(Sort {
            mut expr,
            input,
            fetch,
        }) => {
            let keys = expr.iter_mut().map(|key| &mut key.expr);
            let is_changed = make_equal(keys, input.schema())?;
            let sort = LogicalPlan::Sort(Sort { expr, input, fetch });
            Ok(Transformed::new_transformed(sort, is_changed))
        }
        LogicalPlan::Join(mut join) => {
            let (left, right) = (join.left.schema().clone(), join.right.schema().clone());
            let mut is_changed = false;
            for (ours, theirs) in &mut join.on {
                is_changed |= make_equal([ours], &left)?;
                is_changed |= make_equal([theirs], &right)?;
            }
            let join = LogicalPlan::Join(join);
            Ok(Transformed::new_transformed(join, is_changed))
        }
        LogicalPlan::Aggregate(mut aggregate) => {
            let mut is_changed = false;
            for key in &mut aggregate.group_expr {
                is_changed |= make_group_equal(key, aggregate.input.schema())?;
            }
            if !is_changed {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            let Aggregate {
                input,
                group_expr,
                aggr_expr,
                ..
            } = aggregate;
            let aggregate = Aggregate::try_new(input, group_expr, aggr_expr)?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
        }
        LogicalPlan::Distinct(Distinct::All(rows)) => {
            let columns = rows.schema().columns().into_iter().map(Expr::Column);
            intervals::refuse("DISTINCT", &columns.collect::<Vec<_>>(), rows.schema())?;
            let distinct = Distinct::All(with_equal_columns(rows)?);
            Ok(Transformed::yes(LogicalPlan::Distinct(distinct)))
        }
        LogicalPlan::Distinct(Distinct::On(DistinctOn {
            mut on_expr,
            select_expr,
            mut sort_expr,
            input,
            schema,
        })) => {
            let sorts = sort_expr.iter_mut().flatten().map(|key| &mut key.expr);
            let is_changed = make_equal(on_expr.iter_mut().chain(sorts), input.schema())?;
            let distinct = Distinct::On(DistinctOn {
                on_expr,
                select_expr,
                sort_expr,
                input,
                schema,
            });
            let distinct = LogicalPlan::Distinct(distinct);
            Ok(Transformed::new_transformed(distinct, is_changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Changes a key of groups, whose name stays.
fn make_group_equal(key: &mut Expr, schema: &DFSchema) -> Result<bool> {
    if let Expr::GroupingSet(sets) = key {
        let keys: Vec<&mut Expr> = match sets {
            GroupingSet::Rollup(keys) | GroupingSet::Cube(keys) => keys.iter_mut().collect(),
            GroupingSet::GroupingSets(sets) => sets.iter_mut().flatten().collect(),
        };
        let mut is_changed = false;
        for key in keys {
            is_changed |= make_group_equal(key, schema)?;
        }
        return Ok(is_changed);
    }
    intervals::refuse("GROUP BY", [&*key], schema)?;
    let name = NamePreserver::new_for_projection().save(key);
    let is_changed = make_equal([&mut *key], schema)?;
    if is_changed {
        *key = name.restore(std::mem::take(key));
    }
    Ok(is_changed)
}

/// Returns a plan of the same columns, in which equal floats are one value.
fn with_equal_columns(plan: Arc<LogicalPlan>) -> Result<Arc<LogicalPlan>> {
    let schema = Arc::clone(plan.schema());
    if !schema
        .fields()
        .iter()
        .any(|field| has_equals(field.data_type()))
    {
        return Ok(plan);
    }
    let columns = schema.iter().map(|(table, field)| {
        let column = Expr::Column(Column::new(table.cloned(), field.name()));
        match has_equals(field.data_type()) {
            true => equal(column, field.data_type()).alias_qualified(table.cloned(), field.name()),
            false => column,
        }
    });
    let projection = Projection::try_new(columns.collect(), plan)?;
    Ok(Arc::new(LogicalPlan::Projection(projection)))
}

fn equal_in(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            let arguments =
                make_arguments_equal(&mut params.args, params.distinct, window.fun.name(), schema)?;
            let orders = params.order_by.iter_mut().map(|key| &mut key.expr);
            let keys = make_equal(orders.chain(&mut params.partition_by), schema)?;
            let is_changed = arguments || keys;
            let window = Expr::WindowFunction(window);
            Ok(Transformed::new_transformed(window, is_changed))
        }
        Expr::AggregateFunction(mut function) => {
            let params = &mut function.params;
            let arguments = make_arguments_equal(
                &mut params.args,
                params.distinct,
                function.func.name(),
                schema,
            )?;
            let orders = params.order_by.iter_mut().map(|key| &mut key.expr);
            let is_changed = make_equal(orders, schema)? || arguments;
            let function = Expr::AggregateFunction(function);
            Ok(Transformed::new_transformed(function, is_changed))
        }
        Expr::BinaryExpr(comparison) if is_comparison(comparison.op) => compare(comparison, schema),
        Expr::InList(InList {
            mut expr,
            mut list,
            negated,
        }) => {
            let is_plain = |value: &Expr| number(value).is_some_and(|number| number != 0.0);
            let is_changed = !list.iter().all(is_plain)
                && make_equal(std::iter::once(&mut *expr).chain(&mut list), schema)?;
            let list = Expr::InList(InList::new(expr, list, negated));
            Ok(Transformed::new_transformed(list, is_changed))
        }
        Expr::Between(mut between) => {
            let Between {
                expr, low, high, ..
            } = &mut between;
            let is_plain = number(low).is_some() && number(high).is_some();
            let values = [&mut **expr, &mut **low, &mut **high];
            let is_changed = !is_plain && make_equal(values, schema)?;
            let between = Expr::Between(between);
            Ok(Transformed::new_transformed(between, is_changed))
        }
        Expr::Case(Case {
            expr: Some(mut value),
            mut when_then_expr,
            else_expr,
        }) => {
            let whens = when_then_expr.iter_mut().map(|(when, _)| &mut **when);
            let is_changed = make_equal(std::iter::once(&mut *value).chain(whens), schema)?;
            let case = Expr::Case(Case::new(Some(value), when_then_expr, else_expr));
            Ok(Transformed::new_transformed(case, is_changed))
        }
        Expr::InSubquery(InSubquery {
            mut expr,
            subquery,
            negated,
        }) => {
            let is_changed = make_equal([&mut *expr], schema)?;
            let subquery = equal_rows_if(is_changed, subquery)?;
            let found = Expr::InSubquery(InSubquery::new(expr, subquery, negated));
            Ok(Transformed::new_transformed(found, is_changed))
        }
        Expr::SetComparison(SetComparison {
            mut expr,
            subquery,
            op,
            quantifier,
        }) => {
            let is_changed = make_equal([&mut *expr], schema)?;
            let subquery = equal_rows_if(is_changed, subquery)?;
            let found = SetComparison::new(expr, subquery, op, quantifier);
            let found = Expr::SetComparison(found);
            Ok(Transformed::new_transformed(found, is_changed))
        }
        Expr::ScalarFunction(mut function) => {
            match (function.func.name(), function.args.as_slice()) {
                ("nullif", [value, null]) if has_equals(&value.get_type(schema)?) => {
                    let data_type = value.get_type(schema)?;
                    let is_null = equal(value.clone(), &data_type);
                    let is_null = is_null.eq(equal(null.clone(), &null.get_type(schema)?));
                    let none = ScalarValue::try_new_null(&data_type)?;
                    Ok(Transformed::yes(
                        when(is_null, lit(none)).otherwise(value.clone())?,
                    ))
                }
                (name @ ("greatest" | "least"), intervals) => {
                    intervals::refuse(name, intervals, schema)?;
                    let is_changed = make(Floats::OneNan, &mut function.args, schema)?;
                    let function = Expr::ScalarFunction(function);
                    Ok(Transformed::new_transformed(function, is_changed))
                }
                (name, _) if SORTING.contains(&name) => {
                    let is_changed = make(Floats::OneNan, &mut function.args, schema)?;
                    let function = Expr::ScalarFunction(function);
                    Ok(Transformed::new_transformed(function, is_changed))
                }
                (name, _) if COMPARING.contains(&name) => {
                    let is_changed = make_equal(&mut function.args, schema)?;
                    let function = Expr::ScalarFunction(function);
                    Ok(Transformed::new_transformed(function, is_changed))
                }
                _ => Ok(Transformed::no(Expr::ScalarFunction(function))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn equal_rows_if(is_changed: bool, subquery: Subquery) -> Result<Subquery> {
    if !is_changed {
        return Ok(subquery);
    }
    Ok(Subquery {
        subquery: with_equal_columns(subquery.subquery)?,
        ..subquery
    })
}

/// Makes both sides of a comparison equal. A column and a number stay as they are, as statistics
/// skip row groups by them: only a NaN with a sign, which sorts before all numbers, is put right.
fn compare(comparison: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    use Operator as O;
    let BinaryExpr {
        mut left,
        op,
        mut right,
    } = comparison;
    if !is_of_floats(&left, schema) {
        let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
        return Ok(Transformed::no(comparison));
    }
    let (column, operator) = match (number(&left), number(&right)) {
        (None, Some(_)) => (column_in(&left), Some(op)),
        (Some(_), None) => (column_in(&right), op.swap()),
        _ => (None, None),
    };
    let (Some(column), Some(operator)) = (column.cloned(), operator) else {
        make_equal([&mut *left, &mut *right], schema)?;
        let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
        return Ok(Transformed::yes(comparison));
    };
    let least = ScalarValue::Float64(Some(f64::NEG_INFINITY));
    let least = lit(least.cast_to(&column.get_type(schema)?)?);
    let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
    Ok(match operator {
        O::Lt | O::LtEq => Transformed::yes(comparison.and(column.gt_eq(least))),
        O::Gt | O::GtEq => Transformed::yes(comparison.or(column.lt(least))),
        _ => Transformed::no(comparison),
    })
}

/// Returns an expression that is a column, or one that is converted.
fn column_in(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Column(_) => Some(expression),
        Expr::Cast(Cast { expr, .. }) => column_in(expr).map(|_| expression),
        _ => None,
    }
}

/// Returns the number that a constant is; `None`: it is NaN, or none that is known.
fn number(expression: &Expr) -> Option<f64> {
    let number = match expression {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64).ok()? {
            ScalarValue::Float64(number) => number?,
            _ => return None,
        },
        Expr::Cast(Cast { expr, .. }) => number(expr)?,
        Expr::Negative(value) => -number(value)?,
        _ => return None,
    };
    (!number.is_nan()).then_some(number)
}

/// Makes the arguments of an aggregate equal that it compares. Zeros keep their sign where one of
/// them is the result.
fn make_arguments_equal(
    arguments: &mut [Expr],
    is_distinct: bool,
    function: &str,
    schema: &DFSchema,
) -> Result<bool> {
    match ORDERING.contains(&function) {
        // Counts show none of them.
        is_ordering if is_ordering || is_distinct && function != "count" => {
            intervals::refuse(&format!("{function} (or DISTINCT)"), &*arguments, schema)?;
        }
        _ => {}
    }
    match ORDERING.contains(&function) {
        _ if is_distinct => make_equal(arguments, schema),
        true => make(Floats::OneNan, arguments, schema),
        false => Ok(false),
    }
}

/// Makes the expressions equal whose type has floats; returns whether there are any.
fn make_equal<'a>(
    expressions: impl IntoIterator<Item = &'a mut Expr>,
    schema: &DFSchema,
) -> Result<bool> {
    make(Floats::OneNanOneZero, expressions, schema)
}

fn make<'a>(
    floats: Floats,
    expressions: impl IntoIterator<Item = &'a mut Expr>,
    schema: &DFSchema,
) -> Result<bool> {
    let mut is_changed = false;
    for expression in expressions {
        // The share of a percentile must be a constant.
        let is_number = number(expression).is_some_and(|number| number != 0.0);
        let data_type = expression.get_type(schema)?;
        if let DataType::Interval(_) = data_type {
            *expression = intervals::length(std::mem::take(expression));
            is_changed = true;
        } else if !is_number && has_floats(&data_type) {
            *expression = call(floats, std::mem::take(expression));
            is_changed = true;
        }
    }
    Ok(is_changed)
}

fn is_of_floats(expression: &Expr, schema: &DFSchema) -> bool {
    let data_type = expression.get_type(schema);
    data_type.is_ok_and(|data_type| has_floats(&data_type))
}

/// Returns whether a type is of floats, or one in it.
fn has_floats(data_type: &DataType) -> bool {
    find_type(data_type, &DataType::is_floating).is_some()
}

/// Returns whether values of a type may be equal that are not the same.
fn has_equals(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_)) || has_floats(data_type)
}

fn equal(expression: Expr, data_type: &DataType) -> Expr {
    match data_type {
        DataType::Interval(_) => intervals::length(expression),
        _ => call(Floats::OneNanOneZero, expression),
    }
}

fn call(floats: Floats, expression: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(EqualFloats { floats, signature }).call(vec![expression])
}

/// Which floats become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Floats {
    /// All NaNs. Zeros keep their sign, and their order.
    OneNan,
    /// All NaNs, and both zeros.
    OneNanOneZero,
}

/// A function that returns its argument, in which equal floats are one.
#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualFloats {
    floats: Floats,
    signature: Signature,
}

impl ScalarUDFImpl for EqualFloats {
    fn name(&self) -> &str {
        match self.floats {
            Floats::OneNan => "one_nan",
            Floats::OneNanOneZero => "equal_floats",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::clone(&arguments.arg_fields[0]))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [value] => each(value, |values| Ok(equal_values(self.floats, values)?)),
            _ => Err(EngineError::data("a function without its argument").into()),
        }
    }
}

fn equal_values(floats: Floats, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    // Adding 0.0 makes both zeros 0.0 (IEEE 754, section 6.3), and -0.0 changes nothing.
    let zero = match floats {
        Floats::OneNan => -0.0_f32,
        Floats::OneNanOneZero => 0.0,
    };
    match values.data_type() {
        DataType::Float16 => Ok(unary::<Float16Type>(values, |value| match value.is_nan() {
            true => F16::NAN,
            false => value + F16::from_f32(zero),
        })),
        DataType::Float32 => Ok(unary::<Float32Type>(values, |value| match value.is_nan() {
            true => f32::NAN,
            false => value + zero,
        })),
        DataType::Float64 => Ok(unary::<Float64Type>(values, |value| match value.is_nan() {
            true => f64::NAN,
            false => value + f64::from(zero),
        })),
        data_type if has_floats(data_type) => {
            let data = values.to_data();
            let children = data.child_data().iter();
            let children = children.map(|child| {
                let child = equal_values(floats, &make_array(child.clone()))?;
                Ok::<_, ArrowError>(child.to_data())
            });
            let children = children.collect::<Result<_, _>>()?;
            Ok(make_array(
                data.into_builder().child_data(children).build()?,
            ))
        }
        _ => Ok(Arc::clone(values)),
    }
}

fn unary<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    function: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    let changed: PrimitiveArray<T> = values.as_primitive::<T>().unary(function);
    Arc::new(changed)
}
