//! Narrows a table by a URL's parameters, in PostgREST's convention
//! (<https://docs.postgrest.org/en/v13/references/api/tables_views.html>):
//! `select=a,b:c`, `COLUMN=op.value`, `or=(a.op.value,and(b.op.value,c.op.value))`,
//! `order=a.desc.nullslast`, `limit=`, `offset=`.
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
    logical_expr::{Expr, Operator, SortExpr, binary_expr, cast, lit, not},
};

use datastreamer_table::{
    column_metadata::{ColumnMetadata, column_names},
    type_name,
    uuid::is_uuid,
};

use crate::{
    error::EngineError,
    literal::{Literal, check_compared},
    messages::nearest,
};

/// The operators of `COLUMN=op.value`; each may have `not.` before it.
pub const OPERATORS: [&str; 10] = [
    "eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "in", "is",
];
/// At most 100 conditions in a request: each is computed for every row, and no client needs more.
const FILTERS_MAX: usize = 100;
/// The parameters that join conditions of several columns. Each may also be a column's name: a value
/// in parentheses has no operator, and is none of a column.
pub const JUNCTIONS: [&str; 4] = ["or", "and", "not.or", "not.and"];
/// At most 16 levels of `and(...)` and `or(...)` in each other: each takes stack while it is parsed and
/// planned.
const JUNCTION_DEPTH_MAX: usize = 16;
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
/// The dots of a column's name that a message about it, or a condition on it, looks at.
const DOTS_MAX: usize = 16;

/// The columns and rows of a table that a request selects, and their order.
#[derive(Clone, Debug, Default)]
pub struct Narrowing {
    /// Column, and name in the result; empty: all.
    pub(crate) select: Vec<(String, String)>,
    pub(crate) filters: Vec<Expr>,
    pub(crate) order: Vec<SortExpr>,
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
        Self::parse_beside(&[], parameters, schema)
    }

    /// The same, where a request may have other parameters too, which a message about an unknown name
    /// lists.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_beside(
        others: &[&str],
        parameters: &[(String, String)],
        schema: &Schema,
    ) -> Result<Self, EngineError> {
        let columns = Columns::of(schema, others);
        let mut narrowing = Self::default();
        let mut seen = HashSet::new();
        let mut left = Left::new();
        for (name, value) in parameters {
            let about = |error: EngineError| error.about(&format!("parameter `{name}`"));
            let once = matches!(name.as_str(), "select" | "order" | "limit" | "offset");
            if once && !seen.insert(name) {
                return Err(EngineError::bad(format!(
                    "parameter `{name}` is given twice"
                )));
            }
            match name.as_str() {
                "select" => narrowing.select = parse_select(value, &columns).map_err(about)?,
                "order" => narrowing.order = parse_order(value, &columns).map_err(about)?,
                "limit" => narrowing.limit = Some(parse_count(value).map_err(about)?),
                "offset" => narrowing.offset = parse_count(value).map_err(about)?,
                junction if JUNCTIONS.contains(&junction) && value.starts_with('(') => {
                    let text = format!("{junction}{value}");
                    let filter = Junctions::new(&text, &columns, &mut left).parse();
                    narrowing.filters.push(filter.map_err(about)?);
                }
                column => {
                    let column = columns.field(column)?;
                    left.take()?;
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

    /// Returns metadata of columns as that of the same columns in the result, which may rename them.
    pub fn metadata(&self, of_columns: &ColumnMetadata, result: &Schema) -> ColumnMetadata {
        let fields = result.fields().iter().enumerate();
        let columns = fields.filter_map(|(index, field)| {
            let metadata = of_columns.columns.get(self.column_of(index, result))?;
            Some((field.name().clone(), metadata.clone()))
        });
        ColumnMetadata {
            table: of_columns.table.clone(),
            columns: columns.collect(),
        }
    }

    /// Applies everything but the limit and the offset, which the engine applies.
    pub(crate) fn apply(&self, mut table: DataFrame, ties: Ties) -> Result<DataFrame, EngineError> {
        for filter in &self.filters {
            table = table.filter(filter.clone())?;
        }
        let mut select = self.select.clone();
        if !self.order.is_empty() {
            if select.is_empty() {
                let names = table.schema().fields().iter().map(|field| field.name());
                select = names.map(|name| (name.clone(), name.clone())).collect();
            }
            table = match ties {
                Ties::OfFiles => self.sort(table)?,
                Ties::OtherColumns => self.sort_completely(table)?,
            };
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

    /// Sorts the rows of a query, which have no place in files, by all columns that can be compared.
    fn sort_completely(&self, rows: DataFrame) -> Result<DataFrame, EngineError> {
        let mut order = self.order.clone();
        let fields = rows.schema().fields().iter();
        let fields = fields.filter(|field| !shown_type(field.data_type()).is_nested());
        let others = fields.map(|field| column_of(field.name()));
        let others = others.filter(|other| self.order.iter().all(|sorted| sorted.expr != *other));
        order.extend(others.map(|other| other.sort(true, false)));
        Ok(rows.sort(order)?)
    }
}

/// Returns whether there are conditions with an operator on a column, whatever their values.
pub fn takes(column: &Field, operator: &str) -> bool {
    let checked = match operator {
        "is" => Ok(()),
        "like" | "ilike" => check_text(column, operator),
        _ => check_operator(operator).and_then(|()| check_compared(column.data_type())),
    };
    checked.is_ok()
}

/// The order of rows that are equal in the order of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ties {
    /// That of the files of a table.
    OfFiles,
    /// By the other columns, so that only rows that are the same have no order.
    OtherColumns,
}

/// Returns a column by its exact name, which may contain dots and capitals.
fn column_of(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The columns of a table by their names, so that the time that a request takes is linear in its
/// length, however many columns there are.
struct Columns<'a> {
    schema: &'a Schema,
    /// Names of parameters that are no columns.
    others: &'a [&'a str],
    /// Made for the first name: a bare request has none.
    by_name: OnceCell<HashMap<&'a str, &'a Field>>,
}

impl<'a> Columns<'a> {
    fn of(schema: &'a Schema, others: &'a [&'a str]) -> Self {
        Self {
            schema,
            others,
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
        self.find(name).ok_or_else(|| self.no_column(name))
    }

    fn no_column(&self, name: &str) -> EngineError {
        let there = column_names(self.schema);
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        let meant = nearest(name, columns.chain(self.others.iter().copied()));
        let meant = match JUNCTIONS.contains(&name) {
            true => Some(format!(
                "; conditions of {name} stand in parentheses: {name}=(...)"
            )),
            false => meant.map(|meant| format!("; did you mean `{meant}`?")),
        };
        let others = match self.others {
            [] => String::new(),
            others => format!(", the parameters {}", others.join(", ")),
        };
        EngineError::bad(format!(
            "there is no column `{name}`; there are {there}{others} (and select, order, limit, offset, \
             or, and){}",
            meant.unwrap_or_default()
        ))
    }

    /// Returns how many columns a result may have.
    fn selected_max(&self) -> usize {
        let count = self.schema.fields().len();
        count.max(SELECTED_MAX.min(count.saturating_mul(SELECTED_TIMES)))
    }
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
    let (mut ascending, mut nulls_first) = (None, None);
    // From the right: a column's name may contain dots.
    for _ in 0..ORDER_WORDS {
        if table.has(column) {
            break;
        }
        let Some((before, word)) = column.rsplit_once('.') else {
            break;
        };
        let earlier = match word {
            "asc" | "desc" => ascending.replace(word == "asc"),
            "nullsfirst" | "nullslast" => nulls_first.replace(word == "nullsfirst"),
            _ => break,
        };
        if earlier.is_some() {
            let text = "a column has one of .asc and .desc, and one of .nullsfirst and .nullslast";
            return Err(EngineError::bad(format!("`{part}`: {text}")));
        }
        column = before;
    }
    if !table.has(column) {
        return Err(no_order(column, table));
    }
    let ascending = ascending.unwrap_or(true);
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
        None => table.no_column(column),
    }
}

fn parse_filter(column: &Field, text: &str) -> Result<Expr, EngineError> {
    let (negated, condition) = without_not(text);
    let (operator, value) = condition.split_once('.').unwrap_or((condition, ""));
    Ok(negate_if(
        negated,
        parse_condition(column, operator, value)?,
    ))
}

/// Takes `not.` from the beginning of a text.
fn without_not(text: &str) -> (bool, &str) {
    match text.strip_prefix("not.") {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn parse_condition(column: &Field, operator: &str, value: &str) -> Result<Expr, EngineError> {
    match operator {
        "is" => parse_is(column, value),
        "in" => parse_in(column, value),
        "like" | "ilike" => parse_like(column, operator, value),
        _ if names_nan(column, value) => parse_nan(column, operator),
        _ => parse_comparison(column, operator, value),
    }
}

/// How many conditions a request may still have.
struct Left(usize);

impl Left {
    fn new() -> Self {
        Self(FILTERS_MAX)
    }

    fn take(&mut self) -> Result<(), EngineError> {
        self.0 = self
            .0
            .checked_sub(1)
            .ok_or_else(|| EngineError::bad(format!("more than {FILTERS_MAX} conditions")))?;
        Ok(())
    }
}

/// Conditions that are joined: `or(a.lt.1,not.and(b.gt.2,c.in.(1,2)))`.
struct Junctions<'t, 'c> {
    rest: &'t str,
    columns: &'t Columns<'c>,
    left: &'t mut Left,
}

impl<'t, 'c> Junctions<'t, 'c> {
    fn new(text: &'t str, columns: &'t Columns<'c>, left: &'t mut Left) -> Self {
        Self {
            rest: text,
            columns,
            left,
        }
    }

    fn parse(mut self) -> Result<Expr, EngineError> {
        let filter = self.one(0)?;
        match self.rest.is_empty() {
            true => Ok(filter),
            false => Err(self.is_not("the end")),
        }
    }

    /// Parses a junction, or the condition of a column.
    fn one(&mut self, depth: usize) -> Result<Expr, EngineError> {
        let (negated, rest) = without_not(self.rest);
        let junction = [("or(", Operator::Or), ("and(", Operator::And)];
        let junction = junction
            .into_iter()
            .find_map(|(word, operator)| Some((rest.strip_prefix(word)?, operator)));
        let Some((inner, operator)) = junction else {
            return self.condition();
        };
        if depth == JUNCTION_DEPTH_MAX {
            let text = format!("more than {JUNCTION_DEPTH_MAX} levels of and(...) and or(...)");
            return Err(EngineError::bad(text));
        }
        self.rest = inner;
        let mut conditions = vec![self.one(depth + 1)?];
        while self.skip(',') {
            conditions.push(self.one(depth + 1)?);
        }
        match self.skip(')') {
            true => Ok(negate_if(negated, joined(conditions, operator))),
            false => Err(self.is_not("a comma or a closing parenthesis")),
        }
    }

    fn condition(&mut self) -> Result<Expr, EngineError> {
        self.left.take()?;
        let column = self.column()?;
        let (negated, rest) = without_not(self.rest);
        self.rest = rest;
        let end = self.rest.find(['.', ',', ')']);
        let operator = self.take(end.unwrap_or(self.rest.len()));
        if !self.skip('.') {
            check_operator(operator).map_err(|error| error.about(column.name()))?;
            return Err(self.is_not("a dot and a value"));
        }
        let value = self.value(operator)?;
        let filter = parse_condition(column, operator, &value);
        let filter = filter.map_err(|error| error.about(&format!("`{}`", column.name())))?;
        Ok(negate_if(negated, filter))
    }

    /// Takes the name of a column and the dot behind it. A name without quotes may have dots too.
    fn column(&mut self) -> Result<&'c Field, EngineError> {
        if self.rest.starts_with('"') {
            let name = self.quoted()?;
            let column = self.columns.field(&name)?;
            return match self.skip('.') {
                true => Ok(column),
                false => Err(self.is_not("a dot and an operator")),
            };
        }
        let end = self.rest.find([',', '(', ')']).unwrap_or(self.rest.len());
        let text = &self.rest[..end];
        let dots = text.match_indices('.').take(DOTS_MAX).map(|(dot, _)| dot);
        for dot in dots.clone() {
            let (_, behind) = without_not(&text[dot + 1..]);
            let operator = behind.split('.').next().unwrap_or(behind);
            if let Some(column) = self.columns.find(&text[..dot])
                && OPERATORS.contains(&operator)
            {
                self.take(dot + 1);
                return Ok(column);
            }
        }
        let Some(dot) = dots.clone().next() else {
            return Err(self.is_not("a condition, for example COLUMN.gt.1,"));
        };
        // The column is there, and its operator is not; or neither.
        let column = dots.clone().find_map(|dot| {
            let column = self.columns.find(&text[..dot])?;
            Some((column, dot))
        });
        let Some((column, dot)) = column else {
            return Err(self.columns.no_column(&text[..dot]));
        };
        self.take(dot + 1);
        Ok(column)
    }

    /// Takes a value, which ends at a comma or a closing parenthesis unless it has quotes.
    fn value(&mut self, operator: &str) -> Result<String, EngineError> {
        if operator == "in" && self.rest.starts_with('(') {
            let end = end_of_list(self.rest)?;
            return Ok(self.take(end).to_owned());
        }
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find([',', ')']).unwrap_or(self.rest.len());
        Ok(self.take(end).to_owned())
    }

    /// Takes a text in double quotes.
    fn quoted(&mut self) -> Result<String, EngineError> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
                character => text.push(character),
            }
        }
        Err(EngineError::bad("a quote is not closed"))
    }

    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, character: char) -> bool {
        let rest = self.rest.strip_prefix(character);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn is_not(&self, expected: &str) -> EngineError {
        let there = match self.rest {
            "" => "at the end".to_owned(),
            rest => format!("before `{rest}`"),
        };
        EngineError::bad(format!(
            "{expected} is missing {there}: write for example (a.lt.1,and(b.gt.2,c.is.null)), and \
             put values with commas or parentheses in double quotes"
        ))
    }
}

/// Returns where a list in parentheses ends, whose parts may have quotes.
fn end_of_list(text: &str) -> Result<usize, EngineError> {
    let (mut is_quoted, mut begins) = (false, false);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' if is_quoted || begins => is_quoted = !is_quoted,
            '\\' if is_quoted => drop(characters.next()),
            ')' if !is_quoted => return Ok(at + 1),
            _ => {}
        }
        begins = !is_quoted && matches!(character, '(' | ',');
    }
    Err(EngineError::bad("a list has no closing parenthesis"))
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
    check_operator(operator)?;
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

fn check_operator(operator: &str) -> Result<(), EngineError> {
    if OPERATORS.contains(&operator) {
        return Ok(());
    }
    let there = OPERATORS.join(", ");
    Err(EngineError::bad(format!(
        "there is no operator `{operator}`; there are {there}, each also with `not.` before it: write \
         for example gte.10"
    )))
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
    joined(any, Operator::Or)
}

/// Joins conditions by an operator, as a tree of little depth: each level takes stack while planning.
fn joined(mut conditions: Vec<Expr>, operator: Operator) -> Expr {
    match conditions.len() {
        0 => lit(operator == Operator::And),
        1 => conditions.remove(0),
        count => {
            let half = conditions.split_off(count / 2);
            binary_expr(
                joined(conditions, operator),
                operator,
                joined(half, operator),
            )
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

fn check_text(column: &Field, operator: &str) -> Result<(), EngineError> {
    let data_type = shown_type(column.data_type());
    if data_type.is_string() {
        return Ok(());
    }
    let name = match is_uuid(column) {
        true => "UUID".to_owned(),
        false => type_name(data_type),
    };
    let text = format!("`{operator}` is for texts, and this column has the type {name}");
    Err(EngineError::bad(text))
}

fn parse_like(column: &Field, operator: &str, value: &str) -> Result<Expr, EngineError> {
    check_text(column, operator)?;
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
