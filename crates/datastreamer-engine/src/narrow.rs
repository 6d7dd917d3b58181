//! Narrows a table by a URL's parameters, in PostgREST's convention
//! (<https://docs.postgrest.org/en/v13/references/api/tables_views.html>):
//! `select=a,b:c`, `COLUMN=op.value`, `order=a.desc.nullslast`, `limit=`, `offset=`.
//!
//! Values are parsed by the column's type, and never become part of a query's text.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::{
    common::{Column, ScalarValue},
    dataframe::DataFrame,
    logical_expr::{Expr, SortExpr, cast, expr::InList, lit, not},
};

use datastreamer_table::column_metadata::column_names;

use crate::error::EngineError;

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
                "select" => narrowing.select = parse_select(value, schema).map_err(about)?,
                "order" => narrowing.order = parse_order(value, schema).map_err(about)?,
                "limit" => narrowing.limit = Some(parse_count(value).map_err(about)?),
                "offset" => narrowing.offset = parse_count(value).map_err(about)?,
                column => {
                    let data_type = type_of(column, schema)?;
                    let filter = parse_filter(column, data_type, value).map_err(about)?;
                    narrowing.filters.push(filter);
                }
            }
        }
        if narrowing.filters.len() > FILTERS_MAX {
            let text = format!("more than {FILTERS_MAX} conditions");
            return Err(EngineError::bad(text));
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
    pub(crate) fn column_of<'a>(&'a self, index: usize, result: &'a Schema) -> &'a str {
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
        if !self.order.is_empty() {
            table = table.sort(self.order.clone())?;
        }
        if !self.select.is_empty() {
            let columns = self
                .select
                .iter()
                .map(|(column, name)| match column == name {
                    true => column_of(column),
                    false => column_of(column).alias(name),
                });
            table = table.select(columns.collect::<Vec<_>>())?;
        }
        Ok(table)
    }
}

/// Returns a column by its exact name, which may contain dots and capitals.
fn column_of(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

fn type_of<'a>(column: &str, schema: &'a Schema) -> Result<&'a DataType, EngineError> {
    match schema.column_with_name(column) {
        Some((_, field)) => Ok(field.data_type()),
        None => {
            let there = column_names(schema);
            let text = format!(
                "there is no column `{column}`; there are {there} (and select, order, limit, offset)"
            );
            Err(EngineError::bad(text))
        }
    }
}

fn parse_count(text: &str) -> Result<u64, EngineError> {
    text.parse()
        .map_err(|_| EngineError::bad(format!("`{text}` is not a number of rows")))
}

fn parse_select(text: &str, schema: &Schema) -> Result<Vec<(String, String)>, EngineError> {
    let mut columns: Vec<(String, String)> = Vec::new();
    let mut names = HashSet::new();
    // Checked for each column, as each `*` selects all columns of a table.
    let mut push = |name: &str, column: &str| {
        if !names.insert(name.to_owned()) {
            return Err(EngineError::bad(format!("`{name}` is selected twice")));
        }
        columns.push((column.to_owned(), name.to_owned()));
        Ok(())
    };
    for part in split(text)? {
        if part == "*" {
            for field in schema.fields() {
                push(field.name(), field.name())?;
            }
            continue;
        }
        // `name:column`, unless a column has this name.
        let (name, column) = match part.split_once(':') {
            Some((name, column)) if schema.column_with_name(&part).is_none() => (name, column),
            _ => (part.as_str(), part.as_str()),
        };
        type_of(column, schema)?;
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

fn parse_order(text: &str, schema: &Schema) -> Result<Vec<SortExpr>, EngineError> {
    let parts = split(text)?;
    if parts.len() > ORDER_MAX {
        return Err(EngineError::bad(format!("more than {ORDER_MAX} columns")));
    }
    parts
        .iter()
        .map(|part| {
            let mut column = part.as_str();
            let (mut ascending, mut nulls_first) = (true, None);
            // From the right: a column's name may contain dots.
            while schema.column_with_name(column).is_none()
                && let Some((before, word)) = column.rsplit_once('.')
            {
                match word {
                    "asc" => ascending = true,
                    "desc" => ascending = false,
                    "nullsfirst" => nulls_first = Some(true),
                    "nullslast" => nulls_first = Some(false),
                    _ => break,
                }
                column = before;
            }
            type_of(column, schema)?;
            // PostgreSQL's default: nulls are larger than everything.
            let nulls_first = nulls_first.unwrap_or(!ascending);
            Ok(column_of(column).sort(ascending, nulls_first))
        })
        .collect()
}

fn parse_filter(column: &str, data_type: &DataType, text: &str) -> Result<Expr, EngineError> {
    let (negated, condition) = match text.strip_prefix("not.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (operator, value) = condition.split_once('.').unwrap_or((condition, ""));
    let may_be_nan = matches!(
        data_type,
        DataType::Float16 | DataType::Float32 | DataType::Float64
    );
    let filter = match operator {
        "is" => parse_is(column, data_type, value)?,
        "in" => parse_in(column, data_type, value)?,
        "like" | "ilike" => parse_like(column, data_type, operator, value)?,
        _ if may_be_nan && value.eq_ignore_ascii_case("nan") => {
            let is_nan = is_nan(column);
            match operator {
                "eq" => return Ok(if negated { not(is_nan) } else { is_nan }),
                "neq" => return Ok(if negated { is_nan } else { not(is_nan) }),
                _ => {
                    return Err(EngineError::bad("NaN has no order: use eq.NaN or neq.NaN"));
                }
            }
        }
        _ => parse_comparison(column, data_type, operator, value)?,
    };
    let filter = if negated { not(filter) } else { filter };
    Ok(match may_be_nan && operator != "is" {
        true => filter.and(is_not_nan(column)),
        false => filter,
    })
}

/// Excludes NaN, which only `eq.NaN` finds: the result of another comparison would depend on the
/// file's statistics, which do not count NaN.
fn is_not_nan(column: &str) -> Expr {
    column_of(column)
        .gt_eq(lit(f64::NEG_INFINITY))
        .and(column_of(column).lt_eq(lit(f64::INFINITY)))
}

/// Compares the text of the value, to which no statistics apply.
fn is_nan(column: &str) -> Expr {
    cast(column_of(column), DataType::Utf8).eq(lit("NaN"))
}

fn parse_comparison(
    column: &str,
    data_type: &DataType,
    operator: &str,
    value: &str,
) -> Result<Expr, EngineError> {
    let column = column_of(column);
    let compare = match operator {
        "eq" => Expr::eq,
        "neq" => Expr::not_eq,
        "gt" => Expr::gt,
        "gte" => Expr::gt_eq,
        "lt" => Expr::lt,
        "lte" => Expr::lt_eq,
        _ => {
            let there = OPERATORS.join(", ");
            let text = format!(
                "there is no operator `{operator}`; there are {there}, each also with `not.` before \
                 it: write for example gte.10"
            );
            return Err(EngineError::bad(text));
        }
    };
    Ok(compare(column, lit(parse_value(value, data_type)?)))
}

fn parse_is(column: &str, data_type: &DataType, value: &str) -> Result<Expr, EngineError> {
    let column = column_of(column);
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

fn parse_in(column: &str, data_type: &DataType, value: &str) -> Result<Expr, EngineError> {
    let inner = value
        .strip_prefix('(')
        .and_then(|value| value.strip_suffix(')'))
        .ok_or_else(|| EngineError::bad("`in` takes a list: write for example in.(1,2,3)"))?;
    let values = split(inner)?;
    if values.len() > IN_MAX {
        return Err(EngineError::bad(format!("more than {IN_MAX} values")));
    }
    let values: Result<Vec<_>, _> = values
        .iter()
        .map(|value| parse_value(value, data_type).map(lit))
        .collect();
    Ok(Expr::InList(InList {
        expr: Box::new(column_of(column)),
        list: values?,
        negated: false,
    }))
}

/// `*` stands for `%`, which a URL would have to encode.
fn parse_like(
    column: &str,
    data_type: &DataType,
    operator: &str,
    value: &str,
) -> Result<Expr, EngineError> {
    if !is_text(data_type) {
        let text = format!("`{operator}` is for texts, and this column has {data_type}");
        return Err(EngineError::bad(text));
    }
    let pattern = lit(value.replace('*', "%"));
    Ok(match operator {
        "ilike" => column_of(column).ilike(pattern),
        _ => column_of(column).like(pattern),
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

fn parse_value(text: &str, data_type: &DataType) -> Result<ScalarValue, EngineError> {
    if data_type.is_nested() {
        let text = format!("a column of {data_type} cannot be compared");
        return Err(EngineError::bad(text));
    }
    let wrong = || EngineError::bad(format!("`{text}` is not a value of type {data_type}"));
    let is_date = matches!(data_type, DataType::Date32 | DataType::Date64);
    if is_date && text.contains(':') {
        return Err(wrong());
    }
    let value = ScalarValue::try_from_string(text.to_owned(), data_type).map_err(|_| wrong())?;
    if value.is_null() {
        return Err(wrong());
    }
    if fraction_digits(text) > fraction_digits_max(data_type) {
        let text = format!("`{text}` has more digits than a value of type {data_type}");
        return Err(EngineError::bad(text));
    }
    Ok(value)
}

/// Returns how many digits of a fraction a type stores. A text with more would be rounded, and would
/// match other values. A floating-point number is the one nearest to any text.
fn fraction_digits_max(data_type: &DataType) -> usize {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => usize::try_from(*scale).unwrap_or_default(),
        DataType::Timestamp(unit, _) | DataType::Time32(unit) | DataType::Time64(unit) => {
            match unit {
                TimeUnit::Second => 0,
                TimeUnit::Millisecond => 3,
                TimeUnit::Microsecond => 6,
                TimeUnit::Nanosecond => 9,
            }
        }
        _ => usize::MAX,
    }
}

/// Returns the number of digits after the point of a number or a time, without trailing zeros.
fn fraction_digits(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|digit: char| !digit.is_ascii_digit());
    fraction[..end.unwrap_or(fraction.len())]
        .trim_end_matches('0')
        .len()
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
