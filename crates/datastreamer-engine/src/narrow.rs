//! Narrows a table by a URL's parameters, in PostgREST's convention
//! (<https://docs.postgrest.org/en/v13/references/api/tables_views.html>):
//! `select=a,b:c`, `COLUMN=op.value`, `order=a.desc.nullslast`, `limit=`, `offset=`.
//!
//! Values are parsed by the column's type in `literal.rs`, and never become part of a query's text.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
};

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::{
    common::Column,
    dataframe::DataFrame,
    functions_window::expr_fn::row_number,
    logical_expr::{Expr, SortExpr, cast, lit, not},
};

use datastreamer_table::{column_metadata::column_names, type_name};

use crate::{error::EngineError, literal::Literal};

/// The operators of `COLUMN=op.value`; each may have `not.` before it.
pub const OPERATORS: [&str; 10] = [
    "eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is",
];
/// At most 100 conditions in a request: each is computed for every row, and no client needs more.
const FILTERS_MAX: usize = 100;
/// At most 100 columns to order by, for the same reason.
const ORDER_MAX: usize = 100;
/// At most 10,000 values in one `in`, for the same reason.
const IN_MAX: usize = 10_000;
/// At most twice the table's columns in a result: each once as it is, and once by another name. A
/// plan takes tens of kilobytes for each.
const SELECTED_TIMES: usize = 2;
/// At most 2,000 columns in a result all the same, but never fewer than the table has.
const SELECTED_MAX: usize = 2_000;
/// The two words that may follow a column of `order`: its direction, and where nulls are.
const ORDER_WORDS: usize = 2;
/// The dots of a column's name that a message about it looks at.
const DOTS_MAX: usize = 16;

/// The columns and rows of a table that a request selects, and their order.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    /// Column, and name in the result; empty: all.
    select: Vec<(String, String)>,
    filters: Vec<Expr>,
    order: Vec<SortExpr>,
    /// The largest number of rows; `None`: all.
    pub limit: Option<u64>,
    /// The number of rows to skip at the start.
    pub offset: u64,
}

impl Narrowing {
    /// Parses the decoded parameters of a request, names and values, by a table's columns.
    ///
    /// # Errors
    /// An unknown column or operator, a value that is not of the column's type, or too many of them;
    /// the text names the alternatives.
    pub fn parse(parameters: &[(String, String)], schema: &Schema) -> Result<Self, EngineError> {
        let columns = Columns::of(schema);
        let mut narrowing = Self::default();
        let mut seen = Vec::new();
        for (name, value) in parameters {
            let about = |error: EngineError| error.about(&format!("parameter `{name}`"));
            let once = matches!(name.as_str(), "select" | "order" | "limit" | "offset");
            if once && seen.contains(&name) {
                return Err(EngineError::bad(format!(
                    "parameter `{name}` is given twice"
                )));
            }
            seen.push(name);
            match name.as_str() {
                "select" => narrowing.select = parse_select(value, &columns).map_err(about)?,
                "order" => narrowing.order = parse_order(value, &columns).map_err(about)?,
                "limit" => narrowing.limit = Some(parse_count(value).map_err(about)?),
                "offset" => narrowing.offset = parse_count(value).map_err(about)?,
                _ if narrowing.filters.len() == FILTERS_MAX => {
                    let text = format!("more than {FILTERS_MAX} conditions");
                    return Err(EngineError::bad(text));
                }
                column => {
                    let column = columns.field(column)?;
                    let filter = parse_filter(column, value).map_err(about)?;
                    narrowing.filters.push(filter);
                }
            }
        }
        Ok(narrowing)
    }

    /// Returns whether this selects the complete table, unchanged.
    pub fn is_complete_table(&self) -> bool {
        self.select.is_empty()
            && self.filters.is_empty()
            && self.order.is_empty()
            && self.limit.is_none()
            && self.offset == 0
    }

    /// Returns whether the rows keep the table's order, which is the same each time.
    pub fn keeps_order(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the table's name of a column of the result, which may rename it.
    pub fn column_of<'a>(&'a self, index: usize, result: &'a Schema) -> &'a str {
        match self.select.get(index) {
            Some((column, _)) => column,
            None => result.field(index).name(),
        }
    }

    /// Selects the same rows with only some of the columns: those at these indices of the result,
    /// whose schema is given. Without indices it is the first column.
    pub fn some_columns(&self, indices: &[usize], result: &Schema) -> Self {
        let first = [0];
        let indices = if indices.is_empty() { &first } else { indices };
        let select = indices.iter().map(|index| match self.select.get(*index) {
            Some(selected) => selected.clone(),
            None => {
                let name = result.field(*index).name();
                (name.clone(), name.clone())
            }
        });
        Self {
            select: select.collect(),
            ..self.clone()
        }
    }

    /// Applies everything but the limit and the offset, which `Engine::scan` applies.
    pub(crate) fn apply(&self, mut table: DataFrame) -> Result<DataFrame, EngineError> {
        for filter in &self.filters {
            table = table.filter(filter.clone())?;
        }
        let mut select = self.select.clone();
        if !self.order.is_empty() {
            if select.is_empty() {
                let names = table.schema().fields().iter().map(|field| field.name());
                select = names.map(|name| (name.clone(), name.clone())).collect();
            }
            table = self.sort(table)?;
        }
        if !select.is_empty() {
            let columns = select.iter().map(|(column, name)| match column == name {
                true => column_of(column),
                false => column_of(column).alias(name),
            });
            table = table.select(columns.collect::<Vec<_>>())?;
        }
        Ok(table)
    }

    /// Sorts a table, which has one partition. Rows that are equal keep the order of the files, by a
    /// column with their position: DataFusion's sorts are not stable, so that pages would have some
    /// rows twice and others never.
    fn sort(&self, table: DataFrame) -> Result<DataFrame, EngineError> {
        let mut position = "position".to_owned();
        while table.schema().has_column_with_unqualified_name(&position) {
            position.push('_');
        }
        let table = table.window(vec![row_number().alias(&position)])?;
        let mut order = self.order.clone();
        order.push(column_of(&position).sort(true, false));
        Ok(table.sort(order)?)
    }
}

/// Returns a column by its exact name, which may contain dots and capitals.
fn column_of(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The columns of a table by their names, so that the time that a request takes is linear in its
/// length, however many columns there are.
struct Columns<'a> {
    schema: &'a Schema,
    /// Made for the first name: a bare request has none.
    by_name: OnceCell<HashMap<&'a str, &'a Field>>,
}

impl<'a> Columns<'a> {
    fn of(schema: &'a Schema) -> Self {
        Self {
            schema,
            by_name: OnceCell::new(),
        }
    }

    fn find(&self, name: &str) -> Option<&'a Field> {
        let by_name = self.by_name.get_or_init(|| {
            let fields = self.schema.fields().iter();
            // Of two columns of one name the first one is meant.
            let fields = fields.rev();
            fields
                .map(|field| (field.name().as_str(), field.as_ref()))
                .collect()
        });
        by_name.get(name).copied()
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn field(&self, name: &str) -> Result<&'a Field, EngineError> {
        self.find(name).ok_or_else(|| no_column(name, self.schema))
    }

    /// Returns how many columns a result may have.
    fn selected_max(&self) -> usize {
        let count = self.schema.fields().len();
        count.max(SELECTED_MAX.min(count.saturating_mul(SELECTED_TIMES)))
    }
}

fn no_column(column: &str, schema: &Schema) -> EngineError {
    let there = column_names(schema);
    EngineError::bad(format!(
        "there is no column `{column}`; there are {there} (and select, order, limit, offset)"
    ))
}

fn parse_count(text: &str) -> Result<u64, EngineError> {
    text.parse()
        .map_err(|_| EngineError::bad(format!("`{text}` is not a number of rows")))
}

fn parse_select(text: &str, table: &Columns<'_>) -> Result<Vec<(String, String)>, EngineError> {
    let most = table.selected_max();
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut names = HashSet::new();
    // Checked for each column, as each `*` selects all columns of a table.
    let mut push = |name: &str, column: &str| {
        if columns.len() == most {
            let text = format!("more than {most} columns are selected, the most of this table");
            return Err(EngineError::bad(text));
        }
        if !names.insert(name.to_owned()) {
            return Err(EngineError::bad(format!("`{name}` is selected twice")));
        }
        columns.push((column.to_owned(), name.to_owned()));
        Ok(())
    };
    for part in split(text)? {
        if part == "*" {
            for field in table.schema.fields() {
                push(field.name(), field.name())?;
            }
            continue;
        }
        // `name:column`, unless a column has this name.
        let (name, column) = match part.split_once(':') {
            Some((name, column)) if !table.has(&part) => (name, column),
            _ => (part.as_str(), part.as_str()),
        };
        table.field(column)?;
        if name.is_empty() && name != column {
            return Err(EngineError::bad(format!(
                "`{part}`: the name before the colon is empty"
            )));
        }
        push(name, column)?;
    }
    if columns.is_empty() {
        return Err(EngineError::bad("no column is selected"));
    }
    Ok(columns)
}

fn parse_order(text: &str, table: &Columns<'_>) -> Result<Vec<SortExpr>, EngineError> {
    let parts = split(text)?;
    if parts.len() > ORDER_MAX {
        return Err(EngineError::bad(format!("more than {ORDER_MAX} columns")));
    }
    let parts = parts.iter();
    parts.map(|part| parse_order_of(part, table)).collect()
}

fn parse_order_of(part: &str, table: &Columns<'_>) -> Result<SortExpr, EngineError> {
    let mut column = part;
    let (mut ascending, mut nulls_first) = (true, None);
    // From the right: a column's name may contain dots.
    for _ in 0..ORDER_WORDS {
        if table.has(column) {
            break;
        }
        let Some((before, word)) = column.rsplit_once('.') else {
            break;
        };
        match word {
            "asc" => ascending = true,
            "desc" => ascending = false,
            "nullsfirst" => nulls_first = Some(true),
            "nullslast" => nulls_first = Some(false),
            _ => break,
        }
        column = before;
    }
    if !table.has(column) {
        return Err(no_order(column, table));
    }
    // PostgreSQL's default: nulls are larger than everything.
    let nulls_first = nulls_first.unwrap_or(!ascending);
    Ok(column_of(column).sort(ascending, nulls_first))
}

/// The error of a column that is not there, perhaps as there is something else behind its name.
fn no_order(column: &str, table: &Columns<'_>) -> EngineError {
    let ends = column.match_indices('.').map(|(end, _)| &column[..end]);
    match ends.take(DOTS_MAX).find(|before| table.has(before)) {
        Some(before) => EngineError::bad(format!(
            "`{column}`: behind the column `{before}` may be .asc, .desc, .nullsfirst, .nullslast"
        )),
        None => no_column(column, table.schema),
    }
}

fn parse_filter(column: &Field, text: &str) -> Result<Expr, EngineError> {
    let (negated, condition) = match text.strip_prefix("not.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (operator, value) = condition.split_once('.').unwrap_or((condition, ""));
    let filter = match operator {
        "is" => parse_is(column, value)?,
        "in" => parse_in(column, value)?,
        "like" | "ilike" => parse_like(column, operator, value)?,
        _ if names_nan(column, value) => parse_nan(column, operator)?,
        _ => parse_comparison(column, operator, value)?,
    };
    Ok(negate_if(negated, filter))
}

fn negate_if(negated: bool, filter: Expr) -> Expr {
    if negated { not(filter) } else { filter }
}

/// Returns the type as which a column is shown: that of the values of a dictionary or of runs.
fn shown_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => shown_type(values),
        DataType::RunEndEncoded(_, values) => shown_type(values.data_type()),
        data_type => data_type,
    }
}

/// Returns the values of a column for a comparison, which runs do not have.
fn values_of(column: &Field) -> Expr {
    let values = column_of(column.name());
    match column.data_type() {
        DataType::RunEndEncoded(_, _) => cast(values, shown_type(column.data_type()).clone()),
        _ => values,
    }
}

/// Returns whether a value names NaN, in a column that may have it.
fn names_nan(column: &Field, value: &str) -> bool {
    shown_type(column.data_type()).is_floating() && value.eq_ignore_ascii_case("nan")
}

fn parse_nan(column: &Field, operator: &str) -> Result<Expr, EngineError> {
    match operator {
        "eq" => Ok(is_nan(column)),
        "neq" => Ok(not(is_nan(column))),
        _ => Err(EngineError::bad("NaN has no order: use eq.NaN or neq.NaN")),
    }
}

/// Compares the text of the value, to which no statistics apply.
fn is_nan(column: &Field) -> Expr {
    cast(values_of(column), DataType::Utf8).eq(lit("NaN"))
}

/// Excludes NaN, which is neither less than a number, nor equal, nor greater (IEEE 754, section
/// 5.11). DataFusion would take it for the greatest number, or the least, by its sign.
fn without_nan(column: &Field, filter: Expr) -> Expr {
    match shown_type(column.data_type()).is_floating() {
        true => filter
            .and(values_of(column).gt_eq(lit(f64::NEG_INFINITY)))
            .and(values_of(column).lt_eq(lit(f64::INFINITY))),
        false => filter,
    }
}

fn parse_comparison(column: &Field, operator: &str, value: &str) -> Result<Expr, EngineError> {
    if !OPERATORS.contains(&operator) {
        let there = OPERATORS.join(", ");
        let text = format!(
            "there is no operator `{operator}`; there are {there}, each also with `not.` before \
             it: write for example gte.10"
        );
        return Err(EngineError::bad(text));
    }
    let literal = Literal::parse(value, column)?;
    let high = literal.high.clone().unwrap_or_else(|| literal.low.clone());
    let values = values_of(column);
    let filter = match operator {
        "gt" => values.gt(lit(high)),
        "gte" => values.gt_eq(lit(literal.low)),
        "lt" => values.lt(lit(literal.low)),
        "lte" => values.lt_eq(lit(high)),
        _ => is_one_of(column, vec![literal]),
    };
    Ok(negate_if(operator == "neq", without_nan(column, filter)))
}

/// Returns the rows that are shown as one of these values.
fn is_one_of(column: &Field, literals: Vec<Literal>) -> Expr {
    let (mut any, mut single) = (Vec::new(), Vec::new());
    for Literal { low, high } in literals {
        match high {
            Some(high) => any.push(values_of(column).between(lit(low), lit(high))),
            None => single.push(lit(low)),
        }
    }
    match single.len() {
        0 => {}
        1 => any.extend(single.pop().map(|single| values_of(column).eq(single))),
        _ => any.push(values_of(column).in_list(single, false)),
    }
    any_of(any)
}

/// Joins conditions by OR as a tree of little depth: each level takes stack while planning.
fn any_of(mut conditions: Vec<Expr>) -> Expr {
    match conditions.len() {
        0 => lit(false),
        1 => conditions.remove(0),
        count => {
            let half = conditions.split_off(count / 2);
            any_of(conditions).or(any_of(half))
        }
    }
}

fn parse_is(column: &Field, value: &str) -> Result<Expr, EngineError> {
    let data_type = column.data_type();
    let column = column_of(column.name());
    let truth = |filter: Expr| match data_type {
        DataType::Boolean => Ok(filter),
        _ => Err(EngineError::bad(format!("`is.{value}` is for booleans"))),
    };
    match value {
        "null" => Ok(column.is_null()),
        "not_null" => Ok(column.is_not_null()),
        "true" => truth(column.is_true()),
        "false" => truth(column.is_false()),
        "unknown" => truth(column.is_unknown()),
        _ => Err(EngineError::bad(format!(
            "there is no `is.{value}`; there are null, not_null, true, false, unknown"
        ))),
    }
}

fn parse_in(column: &Field, value: &str) -> Result<Expr, EngineError> {
    let inner = value
        .strip_prefix('(')
        .and_then(|value| value.strip_suffix(')'))
        .ok_or_else(|| EngineError::bad("`in` takes a list: write for example in.(1,2,3)"))?;
    // An empty text in the list has quotes: in.("").
    let values = match inner.is_empty() {
        true => Vec::new(),
        false => split(inner)?,
    };
    if values.len() > IN_MAX {
        return Err(EngineError::bad(format!("more than {IN_MAX} values")));
    }
    let (nan, values): (Vec<_>, Vec<_>) = values
        .into_iter()
        .partition(|value| names_nan(column, value));
    let literals = values.iter().map(|value| Literal::parse(value, column));
    let literals = literals.collect::<Result<Vec<_>, _>>()?;
    let is_one = without_nan(column, is_one_of(column, literals));
    Ok(match nan.is_empty() {
        true => is_one,
        false => is_one.or(is_nan(column)),
    })
}

fn parse_like(column: &Field, operator: &str, value: &str) -> Result<Expr, EngineError> {
    let data_type = shown_type(column.data_type());
    if !data_type.is_string() {
        let name = type_name(data_type);
        let text = format!("`{operator}` is for texts, and this column has the type {name}");
        return Err(EngineError::bad(text));
    }
    let pattern = lit(like_pattern(value)?);
    Ok(match operator {
        "ilike" => values_of(column).ilike(pattern),
        _ => values_of(column).like(pattern),
    })
}

/// Makes a pattern of SQL. `*` stands for `%`, which a URL would have to encode; a character behind
/// a backslash is itself.
fn like_pattern(text: &str) -> Result<String, EngineError> {
    let mut pattern = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '*' => pattern.push('%'),
            '\\' => match characters.next() {
                Some('*') => pattern.push('*'),
                Some(escaped) => pattern.extend(['\\', escaped]),
                None => {
                    let text = format!("`{text}` ends with a lone backslash: write `\\\\` for one");
                    return Err(EngineError::bad(text));
                }
            },
            character => pattern.push(character),
        }
    }
    Ok(pattern)
}

/// Splits a text at commas. A part in double quotes may contain commas, `\"` and `\\`.
fn split(text: &str) -> Result<Vec<String>, EngineError> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut characters = text.chars();
    let mut quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted || part.is_empty() => quoted = !quoted,
            '\\' if quoted => part.extend(characters.next()),
            ',' if !quoted => parts.push(std::mem::take(&mut part)),
            character => part.push(character),
        }
    }
    if quoted {
        return Err(EngineError::bad("a quote is not closed"));
    }
    parts.push(part);
    Ok(parts)
}
