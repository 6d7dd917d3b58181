//! Where values of several expressions or queries get one type, decimals beside floats become floats
//! (`exact_numbers.rs`: the nearest ones), and constants with a point beside decimals become decimals,
//! as in PostgreSQL and DuckDB: in UNION, VALUES, CASE, coalesce, arrays and the like.
//!
//! DataFusion makes a DECIMAL(30,15) of the floats: 1e-20 is 0 then, and 1e20 is refused. `engine.rs`
//! has the rule before those that compare numbers, and `sql.rs` calls it for the text.

use std::{collections::HashSet, ops::ControlFlow, sync::Arc};

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::{
    common::{
        DFSchema, DFSchemaRef, Result, ScalarValue,
        config::ConfigOptions,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{
        Case, Cast, Expr, ExprSchemable, LogicalPlan, Projection, RecursiveQuery, Subquery, Union,
        Values, cast as to_type,
        expr::{InSubquery, ScalarFunction, SetComparison},
        expr_rewriter::coerce_plan_expr_for_schema,
        utils::merge_schema,
    },
    optimizer::AnalyzerRule,
    sql::sqlparser::ast::{self, SetExpr, Statement, VisitMut, VisitorMut},
};

use datastreamer_table::type_name;

use crate::{
    conversions::is_cut, error::EngineError, exact_numbers::short_decimal,
    expression_rule::ExpressionRule,
};

/// Functions that return one of their arguments or make a list of them.
const OF_VALUES: [&str; 6] = [
    "coalesce",
    "nvl",
    "nullif",
    "greatest",
    "least",
    "make_array",
];
/// A function that returns its second argument if its first one is no null, and its third one if it is.
const NVL2: &str = "nvl2";
/// Functions of two lists. Those of a list and an element refuse a decimal beside a float.
const OF_LISTS: [&str; 6] = [
    "array_concat",
    "array_except",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_union",
];

/// Gives numbers that get one type that of all. Each rule goes up the plan, and a query may have a
/// CASE in a UNION in a CASE, so this is one rule.
#[derive(Debug)]
pub(crate) struct MixedNumbers;

/// The part of the rule for expressions.
const IN_EXPRESSIONS: ExpressionRule = ExpressionRule {
    name: "mixed_numbers_in_expressions",
    change: in_expression,
};

impl AnalyzerRule for MixedNumbers {
    fn name(&self) -> &str {
        "mixed_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        changed(plan)
    }
}

fn changed(plan: LogicalPlan) -> Result<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|plan| {
        let plan = with_outer_types(plan)?;
        let plan = plan.transform_data(|plan| IN_EXPRESSIONS.change_node(plan))?;
        plan.transform_data(|plan| match plan {
            LogicalPlan::Union(union) => in_union(union),
            LogicalPlan::Values(values) => in_values(values),
            LogicalPlan::RecursiveQuery(query) => check_recursive(query),
            plan => Ok(Transformed::no(plan)),
        })
    })?;
    Ok(changed.data)
}

// ---- types ----

/// Returns a type with floats in the place of decimals where one of others has floats: of nested types
/// at the same place.
fn with_floats(data_type: &DataType, others: &[DataType]) -> DataType {
    let part = |ours: &FieldRef, theirs: &dyn Fn(&DataType) -> Option<FieldRef>| -> FieldRef {
        let theirs = others.iter().filter_map(theirs);
        let theirs: Vec<_> = theirs.map(|field| field.data_type().clone()).collect();
        let data_type = with_floats(ours.data_type(), &theirs);
        Arc::new(Field::clone(ours).with_data_type(data_type))
    };
    match data_type {
        DataType::List(ours) => DataType::List(part(ours, &element)),
        DataType::LargeList(ours) => DataType::LargeList(part(ours, &element)),
        DataType::FixedSizeList(ours, size) => DataType::FixedSizeList(part(ours, &element), *size),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|ours| {
                part(ours, &|theirs: &DataType| match theirs {
                    DataType::Struct(theirs) => {
                        theirs.find(ours.name()).map(|(_, field)| Arc::clone(field))
                    }
                    _ => None,
                })
            });
            DataType::Struct(fields.collect())
        }
        ours if ours.is_decimal() && others.iter().any(DataType::is_floating) => DataType::Float64,
        ours => ours.clone(),
    }
}

fn element(list: &DataType) -> Option<FieldRef> {
    match list {
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _) => Some(Arc::clone(element)),
        _ => None,
    }
}

/// Returns the type that decides which numbers these become: a float, else a decimal.
fn deciding(types: &[DataType]) -> Option<&DataType> {
    let of = |is_it: fn(&DataType) -> bool| types.iter().find(|data_type| is_it(data_type));
    of(|data_type| *data_type == DataType::Float64)
        .or_else(|| of(DataType::is_floating))
        .or_else(|| of(DataType::is_decimal))
}

// ---- expressions ----

fn in_expression(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut expression = without_nvl2(expression);
    let is_nvl2 = expression.transformed;
    let is_changed = match &mut expression.data {
        Expr::Case(Case {
            when_then_expr,
            else_expr,
            ..
        }) => {
            let thens = when_then_expr.iter_mut().map(|(_, then)| then.as_mut());
            let mut values: Vec<_> = thens.chain(else_expr.as_deref_mut()).collect();
            unify(&mut values, schema) | begin_with_type(&mut values, schema)
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) if is_of_one_type(func.name()) => {
            unify(&mut args.iter_mut().collect::<Vec<_>>(), schema)
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. })
        | Expr::SetComparison(SetComparison { expr, subquery, .. }) => {
            beside_subquery(expr, subquery, schema)?
        }
        Expr::WindowFunction(function) if is_shift(function.fun.name()) => {
            beside_default(&mut function.params.args, schema)?
        }
        _ => false,
    };
    expression.transformed = is_nvl2 || is_changed;
    Ok(expression)
}

/// Gives the values of `lag` and `lead` and their default one type. DataFusion converts the default to
/// that of the values.
///
/// # Errors
/// The default loses something.
fn beside_default(arguments: &mut [Expr], schema: &DFSchema) -> Result<bool> {
    let [value, _, default] = arguments else {
        return Ok(false);
    };
    let is_changed = unify(&mut [value, default], schema);
    let (Ok(ours), Ok(theirs)) = (value.get_type(schema), default.get_type(schema)) else {
        return Ok(is_changed);
    };
    if is_cut(&theirs, &ours) && !is_same_as(default, &ours) {
        let (ours, theirs) = (type_name(&ours), type_name(&theirs));
        return Err(EngineError::bad(format!(
            "the default of lag or lead is of type {theirs}, and its values are of type {ours}, which \
             cannot hold it: convert them with CAST"
        ))
        .into());
    }
    Ok(is_changed)
}

/// Returns whether a constant is the same in another type.
fn is_same_as(constant: &Expr, data_type: &DataType) -> bool {
    let Expr::Literal(constant, _) = constant else {
        return false;
    };
    let converted = constant.cast_to(data_type);
    let back = converted.and_then(|converted| converted.cast_to(&constant.data_type()));
    back.is_ok_and(|back| back == *constant)
}

fn is_shift(function: &str) -> bool {
    ["lag", "lead"].contains(&function)
}

fn is_of_one_type(function: &str) -> bool {
    OF_VALUES.contains(&function) || OF_LISTS.contains(&function)
}

/// Makes a CASE of `nvl2`. DataFusion does so too, but only after it has given all three arguments one
/// type.
fn without_nvl2(expression: Expr) -> Transformed<Expr> {
    let Expr::ScalarFunction(function) = expression else {
        return Transformed::no(expression);
    };
    match function.args.as_slice() {
        [tested, value, other] if function.func.name() == NVL2 => {
            let (is_there, value) = (tested.clone().is_not_null(), value.clone());
            Transformed::yes(Expr::Case(Case {
                expr: None,
                when_then_expr: vec![(Box::new(is_there), Box::new(value))],
                else_expr: Some(Box::new(other.clone())),
            }))
        }
        _ => Transformed::no(Expr::ScalarFunction(function)),
    }
}

fn types_of(all: &[&mut Expr], schema: &DFSchema) -> Option<Vec<DataType>> {
    let types = all.iter().map(|one| one.get_type(schema).ok());
    types.collect()
}

/// Makes decimals of the floats among expressions if all of them are short constants, and floats of the
/// decimals if not. Returns whether something has changed.
fn unify(all: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let Some(types) = types_of(all, schema) else {
        return false;
    };
    if types.iter().any(DataType::is_decimal)
        && let Some(constants) = constants_of(all, &types)
    {
        let is_changed = !constants.is_empty();
        for (at, constant) in constants {
            *all[at] = Expr::Literal(constant, None);
        }
        return is_changed;
    }
    // There may be thousands of expressions, and never as many types.
    let different: HashSet<_> = types.iter().cloned().collect();
    let different: Vec<_> = different.into_iter().collect();
    let mut is_changed = false;
    for (one, data_type) in all.iter_mut().zip(&types) {
        let wanted = with_floats(data_type, &different);
        if wanted != *data_type {
            **one = to_type(std::mem::take(*one), wanted);
            is_changed = true;
        }
    }
    is_changed
}

/// Returns decimals for the floats among expressions. `None`: one of these is no short constant.
fn constants_of(all: &[&mut Expr], types: &[DataType]) -> Option<Vec<(usize, ScalarValue)>> {
    let is_float = |at: &usize| types[*at].is_floating();
    let floats = (0..types.len()).filter(is_float);
    floats
        .map(|at| Some((at, short_decimal(all[at])?)))
        .collect()
}

/// Converts the first value of a CASE to the kind of numbers that all become. DataFusion takes its type
/// for that of the CASE until it gives all of them one.
fn begin_with_type(values: &mut [&mut Expr], schema: &DFSchema) -> bool {
    let Some(types) = types_of(values, schema) else {
        return false;
    };
    let first = types.iter().position(|data_type| !data_type.is_null());
    match (first, deciding(&types)) {
        (Some(first), Some(deciding)) if types[first].is_integer() => {
            let wanted = match deciding.is_decimal() {
                true => decimal_of_integers(&types[first]),
                false => deciding.clone(),
            };
            *values[first] = to_type(std::mem::take(values[first]), wanted);
            true
        }
        _ => false,
    }
}

/// Returns the decimal type that holds integers, as DataFusion has it.
fn decimal_of_integers(integers: &DataType) -> DataType {
    let digits = match integers.primitive_width() {
        Some(1) => 3,
        Some(2) => 5,
        Some(4) => 10,
        _ => 20,
    };
    DataType::Decimal128(digits, 0)
}

/// Makes floats of the decimals where a value is compared with the rows of a subquery.
fn beside_subquery(value: &mut Expr, subquery: &mut Subquery, schema: &DFSchema) -> Result<bool> {
    let Ok(data_type) = value.get_type(schema) else {
        return Ok(false);
    };
    let rows = subquery.subquery.schema();
    let of_rows = rows.field(0).data_type();
    match (data_type.is_decimal(), of_rows.is_decimal()) {
        (true, false) if of_rows.is_floating() => {
            *value = to_type(std::mem::take(value), DataType::Float64);
        }
        (false, true) if data_type.is_floating() => {
            let rows = LogicalPlan::clone(&subquery.subquery);
            subquery.subquery = Arc::new(with_types(rows, &[DataType::Float64])?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

// ---- queries ----

/// Tells the subqueries of a node the types that its columns have got.
fn with_outer_types(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let outer = merge_schema(&plan.inputs());
    plan.map_subqueries(|plan| {
        let LogicalPlan::Subquery(mut subquery) = plan else {
            return Ok(Transformed::no(plan));
        };
        let columns = subquery.outer_ref_columns.iter_mut();
        if columns.filter_map(|column| retype(column, &outer)).count() == 0 {
            return Ok(Transformed::no(LogicalPlan::Subquery(subquery)));
        }
        let rows = Arc::unwrap_or_clone(subquery.subquery).transform_up(|plan| {
            let plan = plan.map_expressions(|expression| {
                expression.transform_up(|mut expression| {
                    let is_changed = retype(&mut expression, &outer).is_some();
                    Ok(Transformed::new_transformed(expression, is_changed))
                })
            })?;
            plan.map_data(LogicalPlan::recompute_schema)
        })?;
        subquery.subquery = Arc::new(changed(rows.data)?);
        Ok(Transformed::yes(LogicalPlan::Subquery(subquery)))
    })
}

/// Gives a column of an outer query its type. `None`: it has it, or is none.
fn retype(column: &mut Expr, outer: &DFSchema) -> Option<()> {
    let Expr::OuterReferenceColumn(field, column) = column else {
        return None;
    };
    let (_, of_outer) = outer.qualified_field_from_column(column).ok()?;
    let data_type = of_outer.data_type();
    if field.data_type() == data_type {
        return None;
    }
    *field = Arc::new(Field::clone(field).with_data_type(data_type.clone()));
    Some(())
}

/// Converts the first columns of rows.
fn with_types(rows: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    let schema = schema_with(rows.schema(), types)?;
    coerce_plan_expr_for_schema(rows, &schema)
}

fn schema_with(schema: &DFSchemaRef, types: &[DataType]) -> Result<DFSchemaRef> {
    let fields = schema.iter().enumerate().map(|(at, (qualifier, field))| {
        let data_type = types.get(at).unwrap_or_else(|| field.data_type()).clone();
        let field = Field::clone(field).with_data_type(data_type);
        (qualifier.cloned(), Arc::new(field))
    });
    let fields = fields.collect();
    let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
    Ok(Arc::new(schema))
}

/// Makes floats of the decimals in columns of a UNION that has floats there, or decimals of constants.
/// Its own schema, which is older than those of its inputs, gets the kind of numbers that all become:
/// it may be in another UNION.
fn in_union(mut union: Union) -> Result<Transformed<LogicalPlan>> {
    let fields = union.schema.fields().iter();
    let mut types: Vec<_> = fields.map(|field| field.data_type().clone()).collect();
    let mut is_changed = false;
    for (column, data_type) in types.iter_mut().enumerate() {
        let of_inputs = types_of_column(&union.inputs, column);
        let is_mixed = of_inputs.iter().any(DataType::is_decimal)
            && of_inputs.iter().any(DataType::is_floating);
        if is_mixed && let Some(inputs) = with_constants(&union.inputs, column)? {
            union.inputs = inputs;
            is_changed = true;
        }
        let of_inputs = types_of_column(&union.inputs, column);
        let wanted = match deciding(&of_inputs) {
            Some(deciding) if data_type.is_numeric() || data_type.is_null() => deciding.clone(),
            _ => with_floats(data_type, &of_inputs),
        };
        is_changed |= wanted != *data_type;
        *data_type = wanted;
    }
    for input in &mut union.inputs {
        let fields = input.schema().fields().iter();
        let of_input: Vec<_> = fields.map(|field| field.data_type().clone()).collect();
        let wanted = of_input.iter().zip(&types);
        let wanted: Vec<_> = wanted
            .map(|(data_type, of_all)| with_floats(data_type, std::slice::from_ref(of_all)))
            .collect();
        if wanted != of_input {
            *input = Arc::new(with_types(LogicalPlan::clone(input), &wanted)?);
            is_changed = true;
        }
    }
    if is_changed {
        union.schema = schema_with(&union.schema, &types)?;
    }
    Ok(Transformed::new_transformed(
        LogicalPlan::Union(union),
        is_changed,
    ))
}

fn types_of_column(inputs: &[Arc<LogicalPlan>], column: usize) -> Vec<DataType> {
    let fields = inputs
        .iter()
        .filter_map(|input| input.schema().fields().get(column));
    fields.map(|field| field.data_type().clone()).collect()
}

/// Returns the inputs of a UNION with decimals in the place of a column's floats. `None`: these are not
/// all short constants.
fn with_constants(
    inputs: &[Arc<LogicalPlan>],
    column: usize,
) -> Result<Option<Vec<Arc<LogicalPlan>>>> {
    let mut changed = Vec::with_capacity(inputs.len());
    for input in inputs {
        let field = input.schema().fields().get(column);
        if !field.is_some_and(|field| field.data_type().is_floating()) {
            changed.push(Arc::clone(input));
            continue;
        }
        let LogicalPlan::Projection(projection) = input.as_ref() else {
            return Ok(None);
        };
        let (qualifier, field) = projection.schema.qualified_field(column);
        let mut expressions = projection.expr.clone();
        let constant = expressions.get(column).cloned();
        let Some(decimal) = constant.and_then(|one| short_decimal(&one.unalias_nested().data))
        else {
            return Ok(None);
        };
        let named = Expr::Literal(decimal, None).alias_qualified(qualifier.cloned(), field.name());
        expressions[column] = named;
        let projection = Projection::try_new(expressions, Arc::clone(&projection.input))?;
        changed.push(Arc::new(LogicalPlan::Projection(projection)));
    }
    Ok(Some(changed))
}

/// Makes floats of the columns of VALUES that have floats and decimals, which DataFusion's planner has
/// made decimals.
fn in_values(mut values: Values) -> Result<Transformed<LogicalPlan>> {
    let nothing = DFSchema::empty();
    let fields = values.schema.fields().iter();
    let mut types: Vec<_> = fields.map(|field| field.data_type().clone()).collect();
    let mut is_changed = false;
    for (column, data_type) in types.iter_mut().enumerate() {
        let mut rows: Vec<_> = values
            .values
            .iter_mut()
            .map(|row| &mut row[column])
            .collect();
        // Most are, and there may be many.
        if rows.iter().all(|value| is_constant(value, data_type)) {
            continue;
        }
        let written = rows.iter().map(|value| as_written(value, data_type));
        let mut written: Vec<Expr> = written.cloned().collect();
        let mut exact: Vec<&mut Expr> = written.iter_mut().collect();
        let is_unified = unify(&mut exact, &nothing);
        let of_written = written.iter().map(|value| value.get_type(&nothing));
        let of_written = of_written.collect::<Result<Vec<_>>>()?;
        let wanted = match deciding(&of_written) {
            Some(deciding) if deciding.is_floating() && data_type.is_numeric() => deciding.clone(),
            _ => with_floats(data_type, &of_written),
        };
        if !is_unified && wanted == *data_type {
            continue;
        }
        is_changed = true;
        *data_type = wanted;
        for (value, written) in rows.iter_mut().zip(written) {
            **value = written.cast_to(data_type, &nothing)?;
        }
    }
    if is_changed {
        values.schema = schema_with(&values.schema, &types)?;
    }
    Ok(Transformed::new_transformed(
        LogicalPlan::Values(values),
        is_changed,
    ))
}

fn is_constant(value: &Expr, of: &DataType) -> bool {
    matches!(value, Expr::Literal(constant, _) if constant.data_type() == *of)
}

/// Returns a value of a column without the conversion that DataFusion's planner has put around it.
fn as_written<'v>(value: &'v Expr, column: &DataType) -> &'v Expr {
    match value {
        Expr::Cast(Cast { expr, field }) if field.data_type() == column => expr,
        value => value,
    }
}

/// Refuses a recursive query whose first rows have got other types than the query has read of itself.
fn check_recursive(query: RecursiveQuery) -> Result<Transformed<LogicalPlan>> {
    let types = |rows: &LogicalPlan| -> Vec<DataType> {
        let fields = rows.schema().fields().iter();
        fields.map(|field| field.data_type().clone()).collect()
    };
    check_later_rows(&query.static_term, &query.recursive_term)?;
    match types(&query.static_term) == types(&query.recursive_term) {
        true => Ok(Transformed::no(LogicalPlan::RecursiveQuery(query))),
        false => Err(EngineError::bad(
            "the rows of a recursive query have values of several types: convert them to one with \
             CAST",
        )
        .into()),
    }
}

/// Refuses later rows of a recursive query whose values DataFusion's planner cuts, to give them the types
/// of the first ones.
fn check_later_rows(first: &LogicalPlan, later: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Projection(Projection { expr, input, .. }) = later else {
        return Ok(());
    };
    for (value, column) in expr.iter().zip(first.schema().fields()) {
        let ours = column.data_type();
        let value = value.clone().unalias_nested().data;
        // A conversion of the query's own is written twice: its type is the one of the column.
        let theirs = as_written(&value, ours).get_type(input.schema())?;
        if is_cut(&theirs, ours) {
            let (name, ours, theirs) = (column.name(), type_name(ours), type_name(&theirs));
            return Err(EngineError::bad(format!(
                "column {name:?} of a recursive query is of type {ours} in its first rows, which cannot \
                 hold the {theirs} of later ones: convert one of them with CAST"
            ))
            .into());
        }
    }
    Ok(())
}

// ---- the text of a query ----

/// Writes conversions in VALUES, and in the later rows of recursive queries, twice, so that
/// [`MixedNumbers`] can tell them from those that DataFusion's planner puts around values.
pub(crate) fn mark_conversions(statement: &mut Statement) {
    // It never breaks.
    let _ = statement.visit(&mut Marker);
}

struct Marker;

impl VisitorMut for Marker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<()> {
        mark_in(&mut query.body);
        let with = query.with.iter_mut().filter(|with| with.recursive);
        for table in with.flat_map(|with| &mut with.cte_tables) {
            if let SetExpr::SetOperation { right, .. } = &mut *table.query.body {
                mark_selected(right);
            }
        }
        ControlFlow::Continue(())
    }
}

fn mark_selected(body: &mut SetExpr) {
    let SetExpr::Select(select) = body else {
        return;
    };
    for item in &mut select.projection {
        if let ast::SelectItem::UnnamedExpr(value)
        | ast::SelectItem::ExprWithAlias { expr: value, .. } = item
        {
            mark(value);
        }
    }
}

fn mark_in(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            mark_in(left);
            mark_in(right);
        }
        SetExpr::Values(values) => values
            .rows
            .iter_mut()
            .flat_map(|row| &mut row.content)
            .for_each(mark),
        _ => {}
    }
}

fn mark(value: &mut ast::Expr) {
    match value {
        ast::Expr::Nested(inner) => mark(inner),
        ast::Expr::Cast {
            kind,
            data_type,
            array,
            ..
        } => {
            let (kind, data_type, array) = (kind.clone(), data_type.clone(), *array);
            *value = ast::Expr::Cast {
                kind,
                expr: Box::new(value.clone()),
                data_type,
                array,
                format: None,
            };
        }
        _ => {}
    }
}
