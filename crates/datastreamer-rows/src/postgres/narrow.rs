//! SQL around a query that narrows its rows. Names of columns are ours, and values are bound: nothing
//! of a request is in the text.
//!
//! Each condition is true of the rows of which it is true in a table with the same values. So texts are
//! compared by their bytes (collation "C"), with the blanks at the end of `char(n)`; and a column that
//! is sent as the text of another type is compared as this text, but has no order.

use tokio_postgres::types::Type;

use super::{
    PostgresError, PostgresErrorKind,
    bind::Sent,
    schema::{Cell, Columns},
};
use crate::{
    narrowed::{Comparison, Condition, Constant, Narrowed, OrderBy},
    parameters::PositionalQuery,
};

/// PostgreSQL counts parameters in 16 bits (PostgreSQL 17, 53.7); the query has some itself.
const VALUES_MAX: usize = 60_000;
/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's day 0.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// A query with what is around it, and the types and values of the parameters that it has more.
pub(super) struct Around {
    pub(super) query: PositionalQuery,
    pub(super) columns: Columns,
    pub(super) types: Vec<Type>,
    pub(super) values: Vec<Sent>,
}

/// Puts a narrowing around a query that has `parameters` itself.
///
/// # Errors
/// [`PostgresErrorKind::BadValue`] for what cannot be asked of a column, with what can be.
pub(super) fn around(
    query: &PositionalQuery,
    columns: Columns,
    narrowed: &Narrowed,
    parameters: usize,
) -> Result<Around, PostgresError> {
    let mut writer = Writer {
        columns: &columns,
        parameters,
        types: Vec::new(),
        values: Vec::new(),
    };
    let mut after = columns.after();
    if let Some(condition) = &narrowed.condition {
        after.push_str(" WHERE ");
        after.push_str(&writer.condition(condition)?);
    }
    if !narrowed.order.is_empty() {
        after.push_str(" ORDER BY ");
        after.push_str(&writer.order(&narrowed.order)?);
    }
    let count = |rows: u64| rows.min(i64::MAX as u64).to_string();
    // One row more shows that there are more.
    if let Some(limit) = narrowed.limit {
        let limit = writer.bind(Type::INT8, Sent::Text(count(limit.saturating_add(1))))?;
        after.push_str(&format!(" LIMIT {limit}"));
    }
    if narrowed.offset > 0 {
        let offset = writer.bind(Type::INT8, Sent::Text(count(narrowed.offset)))?;
        after.push_str(&format!(" OFFSET {offset}"));
    }
    let Writer { types, values, .. } = writer;
    let columns = match narrowed.select.is_empty() {
        true => columns,
        false => columns.select(&narrowed.select),
    };
    Ok(Around {
        query: query.within(&columns.before(), &after),
        columns,
        types,
        values,
    })
}

struct Writer<'a> {
    columns: &'a Columns,
    /// Of the query itself.
    parameters: usize,
    types: Vec<Type>,
    values: Vec<Sent>,
}

impl Writer<'_> {
    fn condition(&mut self, condition: &Condition) -> Result<String, PostgresError> {
        Ok(match condition {
            Condition::And(left, right) => {
                format!("({} AND {})", self.condition(left)?, self.condition(right)?)
            }
            Condition::Or(left, right) => {
                format!("({} OR {})", self.condition(left)?, self.condition(right)?)
            }
            Condition::Not(inner) => format!("(NOT {})", self.condition(inner)?),
            Condition::Constant(true) => "TRUE".to_owned(),
            Condition::Constant(false) => "FALSE".to_owned(),
            // Rows are null too if all their columns are (`IS NULL` of a composite): not so here.
            Condition::IsNull(column) => {
                format!("(of_query.c{column} IS NOT DISTINCT FROM NULL)")
            }
            Condition::IsTruth(column, true) => format!("(of_query.c{column} IS TRUE)"),
            Condition::IsTruth(column, false) => format!("(of_query.c{column} IS FALSE)"),
            Condition::IsNan(column) => {
                let nan = self.bind_to(*column, &Constant::Number("NaN".to_owned()))?;
                format!("(of_query.c{column} = {nan})")
            }
            Condition::Compare(column, comparison, constant) => {
                if *comparison != Comparison::Equal {
                    self.check_order(*column)?;
                }
                let value = self.bind_to(*column, constant)?;
                let operand = self.operand(*column);
                format!("({operand} {} {value})", operator(*comparison))
            }
            Condition::OneOf(column, constants) => {
                let values = constants.iter().map(|one| self.bind_to(*column, one));
                let values = values.collect::<Result<Vec<_>, _>>()?.join(", ");
                format!("({} IN ({values}))", self.operand(*column))
            }
            Condition::Like {
                column,
                ignores_case: true,
                ..
            } => return Err(self.refused(
                *column,
                "ilike is not given here, as the letters of a database differ from those of files; \
                 like works, and eq, neq, gt, gte, lt, lte, in, is",
            )),
            Condition::Like {
                column, pattern, ..
            } => {
                let value = self.bind_to(*column, &Constant::Text(pattern.clone()))?;
                format!("({} LIKE {value})", self.operand(*column))
            }
        })
    }

    /// Orders by these columns, and behind them by all others that have an order.
    fn order(&self, order: &[OrderBy]) -> Result<String, PostgresError> {
        let mut terms = Vec::new();
        for term in order {
            self.check_order(term.column)?;
            let direction = if term.is_ascending { "ASC" } else { "DESC" };
            let nulls = if term.nulls_first { "FIRST" } else { "LAST" };
            let operand = self.operand(term.column);
            terms.push(format!("{operand} {direction} NULLS {nulls}"));
        }
        let others = (0..self.columns.cells.len())
            .filter(|other| order.iter().all(|term| term.column != *other))
            .filter(|other| !matches!(self.columns.cells[*other], Cell::Array(_)));
        terms.extend(others.map(|other| self.operand(other)));
        Ok(terms.join(", "))
    }

    /// Writes a column as it is compared.
    fn operand(&self, column: usize) -> String {
        let name = format!("of_query.c{column}");
        match &self.columns.cells[column] {
            _ if self.columns.types[column] == Type::BPCHAR => {
                format!(
                    "(pg_catalog.textin(pg_catalog.bpcharout({name})) COLLATE pg_catalog.\"C\")"
                )
            }
            Cell::Text | Cell::Jsonb | Cell::Uuid | Cell::Numeric => {
                format!("({name}::pg_catalog.text COLLATE pg_catalog.\"C\")")
            }
            _ => name,
        }
    }

    /// Refuses to order what is sent as text, but is none: the order of the texts is another one.
    fn check_order(&self, column: usize) -> Result<(), PostgresError> {
        match &self.columns.cells[column] {
            Cell::Numeric => Err(self.refused(
                column,
                "numbers without a precision are sent as texts, which are not ordered by their \
                 values; eq, neq, in, like and is work",
            )),
            Cell::Array(_) => Err(self.refused(column, "lists have no order; is works")),
            _ if self.columns.as_text[column] => Err(self.refused(
                column,
                "values of its type are sent as texts, which are not ordered by their values; eq, \
                 neq, in, like and is work",
            )),
            _ => Ok(()),
        }
    }

    fn refused(&self, column: usize, why: &str) -> PostgresError {
        let name = self.columns.schema.field(column).name();
        PostgresError::new(
            PostgresErrorKind::BadValue,
            format!("column `{name}`: {why}"),
        )
    }

    /// Binds a value as one of a column's type; returns its number.
    fn bind_to(&mut self, column: usize, constant: &Constant) -> Result<String, PostgresError> {
        let data_type = match &self.columns.cells[column] {
            Cell::Bool => Type::BOOL,
            Cell::Int2 => Type::INT2,
            Cell::Int4 => Type::INT4,
            Cell::Int8 => Type::INT8,
            Cell::Oid => Type::OID,
            Cell::Float4 => Type::FLOAT4,
            Cell::Float8 => Type::FLOAT8,
            Cell::Decimal { .. } => Type::NUMERIC,
            Cell::Numeric | Cell::Text | Cell::Jsonb | Cell::Uuid => Type::TEXT,
            Cell::Bytea => Type::BYTEA,
            Cell::Date => Type::DATE,
            Cell::Time => Type::TIME,
            Cell::Timestamp => Type::TIMESTAMP,
            Cell::Timestamptz => Type::TIMESTAMPTZ,
            Cell::Array(_) => {
                return Err(self.refused(column, "lists cannot be compared; is works"));
            }
        };
        let name = self.columns.schema.field(column).name();
        let value = value(name, constant)?;
        self.bind(data_type, value)
    }

    fn bind(&mut self, data_type: Type, value: Sent) -> Result<String, PostgresError> {
        if self.values.len() == VALUES_MAX {
            let text = format!("more than {VALUES_MAX} values in all conditions");
            return Err(PostgresError::new(PostgresErrorKind::BadValue, text));
        }
        self.types.push(data_type);
        self.values.push(value);
        Ok(format!("${}", self.parameters + self.values.len()))
    }
}

fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

/// Makes a value as PostgreSQL receives it. Times are binary: as texts they would need its names of
/// years before the first one.
fn value(column: &str, constant: &Constant) -> Result<Sent, PostgresError> {
    let is_beyond = || {
        let text = format!("column `{column}`: PostgreSQL has no such time");
        PostgresError::new(PostgresErrorKind::BadValue, text)
    };
    Ok(match constant {
        Constant::Bool(value) => Sent::Text(value.to_string()),
        Constant::Number(digits) => Sent::Text(digits.clone()),
        Constant::Text(text) => Sent::text(&format!("column `{column}`"), text.clone())?,
        Constant::Bytes(bytes) => Sent::Binary(bytes.clone()),
        Constant::Days(days) => {
            let days = days.checked_sub(EPOCH_DAYS).ok_or_else(is_beyond)?;
            Sent::Binary(days.to_be_bytes().to_vec())
        }
        Constant::TimeOfDay(microseconds) => Sent::Binary(microseconds.to_be_bytes().to_vec()),
        Constant::Time(microseconds) => {
            let since = microseconds.checked_sub(EPOCH_MICROSECONDS);
            Sent::Binary(since.ok_or_else(is_beyond)?.to_be_bytes().to_vec())
        }
    })
}
