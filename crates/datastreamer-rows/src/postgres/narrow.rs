//! SQL around a query that narrows its rows. Names of columns are ours, and values are bound: nothing
//! of a request is in the text.
//!
//! Each condition is true of the rows of which it is true in a table with the same values. So texts are
//! compared by their bytes (collation "C"), with the blanks at the end of `char(n)`; and a column that
//! is sent as the text of another type is compared as this text, but has no order. Numbers that are sent
//! as texts are compared as numbers.
//!
//! A value that no row of the column can have is refused: the server reads it as one of the column's
//! type, and must write it as the request does.

use std::collections::BTreeMap;

use tokio_postgres::{
    error::SqlState,
    types::{Kind, ToSql, Type},
};

use super::{
    PostgresError, PostgresErrorKind,
    bind::{Sent, is_built_in},
    schema::{Cell, Columns},
    session::Session,
};
use crate::{
    narrowed::{Ask, Comparison, Condition, Constant, Narrowed, OrderBy},
    parameters::PositionalQuery,
};

/// PostgreSQL counts parameters in 16 bits (PostgreSQL 17, 53.7); the query has some itself.
const VALUES_MAX: usize = 60_000;
/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's day 0.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * 86_400_000_000;

/// The number that is none, which is ours: in no request's text.
const NUMERIC_NAN: &str = "'NaN'::pg_catalog.numeric";
/// Labels of an enumeration that a message names.
const LABELS_MAX: usize = 20;

/// A query with what is around it, and the types and values of the parameters that it has more.
pub(super) struct Around {
    pub(super) query: PositionalQuery,
    pub(super) columns: Columns,
    pub(super) types: Vec<Type>,
    pub(super) values: Vec<Sent>,
    /// What the server has to read before.
    readings: Vec<Reading>,
}

/// Values of a column that are to be read as ones of its type.
struct Reading {
    name: String,
    kind: Type,
    texts: Vec<Sent>,
    /// Whether the server must write them as they are.
    is_as_written: bool,
}

/// Puts a narrowing around a query that has `parameters` itself.
///
/// # Errors
/// [`PostgresErrorKind::BadValue`] for what cannot be asked of a column, with what can be.
pub(super) fn around(
    query: &PositionalQuery,
    columns: &Columns,
    narrowed: &Narrowed,
    parameters: usize,
) -> Result<Around, PostgresError> {
    let mut writer = Writer {
        columns,
        parameters,
        types: Vec::new(),
        values: Vec::new(),
        readings: BTreeMap::new(),
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
    let Writer {
        types,
        values,
        readings,
        ..
    } = writer;
    let columns = match narrowed.select.is_empty() {
        true => columns.clone(),
        false => columns.select(&narrowed.select),
    };
    Ok(Around {
        query: query.within(&columns.before(), &after),
        columns,
        types,
        values,
        readings: readings.into_values().collect(),
    })
}

/// Lets the server read the values of a request as ones of their columns' types.
///
/// # Errors
/// [`PostgresErrorKind::BadValue`] for one that is none, or is written in another way; those of the
/// connection.
pub(super) async fn check_values(session: &Session, around: &Around) -> Result<(), PostgresError> {
    for reading in &around.readings {
        reading.check(session, &around.query).await?;
    }
    Ok(())
}

impl Reading {
    async fn check(&self, session: &Session, query: &PositionalQuery) -> Result<(), PostgresError> {
        let numbers = (1..=self.texts.len()).map(|number| format!("${number}::pg_catalog.text"));
        let numbers = numbers.collect::<Vec<_>>().join(", ");
        let values = self.texts.iter();
        let values: Vec<_> = values
            .map(|text| (text as &(dyn ToSql + Sync), self.kind.clone()))
            .collect();
        let sql = format!("SELECT pg_catalog.unnest(ARRAY[{numbers}])");
        let written = match session.client.query_typed(&sql, &values).await {
            Ok(written) => written,
            Err(error) if error.code().is_some_and(is_of_value) => return Err(self.refused()),
            Err(error) => return Err(PostgresError::of_preparing(error, query)),
        };
        if !self.is_as_written {
            return Ok(());
        }
        for (text, row) in self.texts.iter().zip(&written) {
            let written: Option<&str> = row
                .try_get(0)
                .map_err(|error| PostgresError::of_preparing(error, query))?;
            let (Sent::Text(text), Some(written)) = (text, written) else {
                return Err(self.refused());
            };
            if text != written {
                return Err(bad_value(
                    &self.name,
                    &format!("`{text}` is written `{written}` in its rows: ask for that"),
                ));
            }
        }
        Ok(())
    }

    fn refused(&self) -> PostgresError {
        let name = self.kind.name();
        let kind = match self.kind.kind() {
            Kind::Array(element) => format!("{}[]", element.name()),
            _ => name.to_owned(),
        };
        let value = match self.texts.as_slice() {
            [Sent::Text(text)] => format!("`{text}` is not a value"),
            _ => "one of the values is none".to_owned(),
        };
        let example = match example(name) {
            Some(example) => format!("write for example {example}"),
            None => "write it as its rows have it".to_owned(),
        };
        bad_value(&self.name, &format!("{value} of type {kind}: {example}"))
    }
}

/// Returns whether an error is one of reading a value: not of the connection, the server's resources or
/// an end that somebody wanted (PostgreSQL, appendix A). Extensions have codes as they like.
fn is_of_value(code: &SqlState) -> bool {
    let others = ["08", "25", "40", "53", "55", "57", "58"];
    others.iter().all(|class| !code.code().starts_with(class))
}

/// Returns how a value of a type is written, by its name in the catalogue.
fn example(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "numeric" => "1.5",
        "inet" => "192.0.2.1/32",
        "cidr" => "192.0.2.0/24",
        "macaddr" => "08:00:2b:01:02:03",
        "macaddr8" => "08:00:2b:01:02:03:04:05",
        "interval" => "1 day 02:03:04",
        "timetz" => "13:14:15+00",
        "bit" | "varbit" => "101",
        "json" | "jsonb" => "{\"a\": 1}",
        "xml" => "<a/>",
        "int4range" | "int8range" | "numrange" => "[1,5)",
        "daterange" => "[2016-01-31,2016-02-01)",
        "point" => "(1.5,2)",
        "pg_lsn" => "16/B374D848",
        "char" => "x",
        _ => return None,
    })
}

impl Columns {
    /// Returns whether a column is of an enumeration.
    pub(super) fn has_enumerations(&self) -> bool {
        let mut types = self.types.iter();
        types.any(|kind| matches!(kind.kind(), Kind::Enum(_)))
    }

    /// Returns whether a column has values of another type that are sent as texts, and compared so.
    fn is_of_texts(&self, column: usize) -> bool {
        self.as_text[column]
            || self.types[column] == Type::JSON
            || self.cells[column] == Cell::Jsonb
    }

    /// Checks that something can be asked of a column.
    ///
    /// # Errors
    /// [`PostgresErrorKind::BadValue`], with what can be asked.
    pub(super) fn check(&self, column: usize, ask: Ask) -> Result<(), PostgresError> {
        let (cell, kind) = (&self.cells[column], &self.types[column]);
        let why = match (ask, cell) {
            (Ask::LikeIgnoringCase, _) => {
                "ilike is not given here, as the letters of a database differ from those of files; \
                 like works, and eq, neq, gt, gte, lt, lte, in, is"
            }
            (Ask::Equal, Cell::Array(_)) => "lists cannot be compared; is works",
            (Ask::Order, Cell::Array(_)) => "lists have no order; is works",
            (Ask::Equal | Ask::Order, _) if self.as_text[column] && !has_input(kind) => {
                "values of its type are known to the server alone; like and is work"
            }
            (Ask::Order, _) if self.is_of_texts(column) => {
                "values of its type are sent as texts, which are not ordered by their values; eq, \
                 neq, in, like and is work"
            }
            _ => return Ok(()),
        };
        Err(bad_value(self.schema.field(column).name(), why))
    }
}

/// Returns whether a value of a type can be read from a text without looking up a name in the server,
/// which would tell clients what is there.
fn has_input(kind: &Type) -> bool {
    let name = kind.name().trim_start_matches('_');
    !matches!(kind.kind(), Kind::Pseudo)
        && *kind != Type::RECORD_ARRAY
        && !(is_built_in(kind) && (name.starts_with("reg") || name == "aclitem"))
}

fn bad_value(column: &str, why: &str) -> PostgresError {
    PostgresError::new(
        PostgresErrorKind::BadValue,
        format!("column `{column}`: {why}"),
    )
}

struct Writer<'a> {
    columns: &'a Columns,
    /// Of the query itself.
    parameters: usize,
    types: Vec<Type>,
    values: Vec<Sent>,
    /// By the places of the columns.
    readings: BTreeMap<usize, Reading>,
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
                let nan = Constant::Number("NaN".to_owned());
                let nan = self.bind_to(*column, Ask::Equal, &nan)?;
                format!("(of_query.c{column} = {nan})")
            }
            Condition::Compare(column, comparison, constant) => {
                let ask = ask_of(*comparison);
                self.columns.check(*column, ask)?;
                let value = self.bind_to(*column, ask, constant)?;
                let (operand, operator) = (self.operand(*column), operator(*comparison));
                match self.columns.cells[*column] {
                    // The server has NaN above all numbers.
                    Cell::Numeric if *comparison != Comparison::Equal => {
                        self.check_ordered(*column, constant)?;
                        format!("({operand} {operator} {value} AND {operand} < {NUMERIC_NAN})")
                    }
                    _ => format!("({operand} {operator} {value})"),
                }
            }
            Condition::OneOf(column, constants) => {
                self.columns.check(*column, Ask::Equal)?;
                let values = constants.iter();
                let values = values.map(|one| self.bind_to(*column, Ask::Equal, one));
                let values = values.collect::<Result<Vec<_>, _>>()?.join(", ");
                format!("({} IN ({values}))", self.operand(*column))
            }
            Condition::Like {
                column,
                pattern,
                ignores_case,
            } => {
                let ask = match ignores_case {
                    true => Ask::LikeIgnoringCase,
                    false => Ask::Like,
                };
                self.columns.check(*column, ask)?;
                let pattern = Sent::text(&self.about(*column), pattern.clone())?;
                let value = self.bind(Type::TEXT, pattern)?;
                format!("({} LIKE {value})", self.text(*column))
            }
        })
    }

    /// Orders by these columns, and behind them by all others that have an order.
    fn order(&self, order: &[OrderBy]) -> Result<String, PostgresError> {
        let mut terms = Vec::new();
        for term in order {
            self.columns.check(term.column, Ask::Order)?;
            let direction = if term.is_ascending { "ASC" } else { "DESC" };
            let nulls = if term.nulls_first { "FIRST" } else { "LAST" };
            let operand = self.operand(term.column);
            terms.push(format!("{operand} {direction} NULLS {nulls}"));
        }
        let is_told_apart = |column: &usize| match self.columns.cells[*column] {
            Cell::Array(_) => false,
            // `1.5` and `1.50` are equal.
            Cell::Numeric => true,
            _ => order.iter().all(|term| term.column != *column),
        };
        let others = (0..self.columns.cells.len()).filter(is_told_apart);
        terms.extend(others.map(|other| match self.columns.cells[other] {
            Cell::Numeric => self.text(other),
            _ => self.operand(other),
        }));
        Ok(terms.join(", "))
    }

    /// Refuses to compare numbers with NaN, which has no order.
    fn check_ordered(&self, column: usize, constant: &Constant) -> Result<(), PostgresError> {
        match constant {
            Constant::Text(text) if text.trim().eq_ignore_ascii_case("nan") => {
                Err(self.refused(column, "NaN has no order: use eq.NaN or neq.NaN"))
            }
            _ => Ok(()),
        }
    }

    /// Writes a column as it is compared.
    fn operand(&self, column: usize) -> String {
        match &self.columns.cells[column] {
            Cell::Text | Cell::Jsonb => self.text(column),
            _ => format!("of_query.c{column}"),
        }
    }

    /// Writes a column as its text.
    fn text(&self, column: usize) -> String {
        let name = format!("of_query.c{column}");
        let text = match self.columns.types[column] {
            Type::BPCHAR => format!("pg_catalog.textin(pg_catalog.bpcharout({name}))"),
            _ => format!("{name}::pg_catalog.text"),
        };
        format!("({text} COLLATE pg_catalog.\"C\")")
    }

    fn about(&self, column: usize) -> String {
        format!("column `{}`", self.columns.schema.field(column).name())
    }

    fn refused(&self, column: usize, why: &str) -> PostgresError {
        bad_value(self.columns.schema.field(column).name(), why)
    }

    /// Binds a value as one of a column's type; returns its number.
    fn bind_to(
        &mut self,
        column: usize,
        ask: Ask,
        constant: &Constant,
    ) -> Result<String, PostgresError> {
        let data_type = match &self.columns.cells[column] {
            Cell::Bool => Type::BOOL,
            Cell::Int2 => Type::INT2,
            Cell::Int4 => Type::INT4,
            Cell::Int8 => Type::INT8,
            Cell::Oid => Type::OID,
            Cell::Float4 => Type::FLOAT4,
            Cell::Float8 => Type::FLOAT8,
            Cell::Decimal { .. } | Cell::Numeric => Type::NUMERIC,
            Cell::Text | Cell::Jsonb => Type::TEXT,
            Cell::Uuid => Type::UUID,
            Cell::Bytea => Type::BYTEA,
            Cell::Date => Type::DATE,
            Cell::Time => Type::TIME,
            Cell::Timestamp => Type::TIMESTAMP,
            Cell::Timestamptz => Type::TIMESTAMPTZ,
            Cell::Array(_) => {
                return Err(self.refused(column, "lists cannot be compared; is works"));
            }
        };
        if let Constant::Text(text) = constant {
            self.check_text(column, ask, text)?;
        }
        let value = value(&self.about(column), constant)?;
        self.bind(data_type, value)
    }

    /// Refuses a text that no value of the column is, as far as that is known here; notes what only the
    /// server knows. Less and greater than a text are texts of other lengths, too.
    fn check_text(&mut self, column: usize, ask: Ask, text: &str) -> Result<(), PostgresError> {
        let kind = &self.columns.types[column];
        let is_equal = ask == Ask::Equal;
        if let Kind::Enum(labels) = kind.kind()
            && is_equal
        {
            return match labels.iter().any(|label| label == text) {
                true => Ok(()),
                false => {
                    let few: Vec<_> = labels.iter().take(LABELS_MAX).map(String::as_str).collect();
                    let (few, name) = (few.join(", "), kind.name());
                    let why = format!("`{text}` is not a value of type {name}; there are {few}");
                    Err(self.refused(column, &why))
                }
            };
        }
        if let Some(length) = self.columns.lengths[column]
            && is_equal
        {
            return match text.chars().count() == length {
                true => Ok(()),
                false => {
                    let why = format!(
                        "`{text}` is not a value of type char({length}): they all have {length} \
                         characters, with blanks at the end"
                    );
                    Err(self.refused(column, &why))
                }
            };
        }
        let is_numeric = self.columns.cells[column] == Cell::Numeric;
        if is_numeric || self.columns.is_of_texts(column) {
            let sent = Sent::text(&self.about(column), text.to_owned())?;
            let reading = self.readings.entry(column).or_insert_with(|| Reading {
                name: self.columns.schema.field(column).name().clone(),
                kind: kind.clone(),
                texts: Vec::new(),
                is_as_written: !is_numeric,
            });
            reading.texts.push(sent);
        }
        Ok(())
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

fn ask_of(comparison: Comparison) -> Ask {
    match comparison {
        Comparison::Equal => Ask::Equal,
        _ => Ask::Order,
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
fn value(about: &str, constant: &Constant) -> Result<Sent, PostgresError> {
    let is_beyond = || {
        let text = format!("{about}: PostgreSQL has no such time");
        PostgresError::new(PostgresErrorKind::BadValue, text)
    };
    Ok(match constant {
        Constant::Bool(value) => Sent::Text(value.to_string()),
        Constant::Number(digits) => Sent::Text(digits.clone()),
        Constant::Text(text) => Sent::text(about, text.clone())?,
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
