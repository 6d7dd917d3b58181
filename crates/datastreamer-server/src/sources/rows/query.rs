//! SQL over the registered tables: written in the configuration, with parameters that are bound
//! as values; or a client's own, where that is allowed.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datastreamer_engine::{
    Engine, EngineErrorKind, Narrowing, Query as EngineQuery,
    isolate::{Asked, IsolatedQueries, IsolatedRows},
};
use datastreamer_rows::parameters::{Bound, ParameterError, Parameters, check_names};
use datastreamer_table::column_metadata::ColumnMetadata;

use datastreamer::StreamWriter;
use http::StatusCode;

use super::{Author, QUERY_PARAMETER, Run, StartRun, engine_refusal, opening::Openings, wait_for};
use crate::{
    refusal::Refusal,
    sources::{FILE_NAME_PARAMETER, Query},
};

/// Why a query of the configuration cannot be planned.
pub(crate) struct Unplanned {
    pub(crate) refusal: Refusal,
    /// The table that is not there.
    pub(crate) missing_table: Option<String>,
}

impl From<Refusal> for Unplanned {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            missing_table: None,
        }
    }
}

/// A query with typed parameters.
#[derive(Clone)]
pub(crate) struct SqlQuery {
    engine: Engine,
    sql: String,
    parameters: Parameters,
    notes: ColumnMetadata,
    tables: Openings,
}

impl SqlQuery {
    pub(crate) fn new(
        engine: Engine,
        sql: String,
        parameters: Parameters,
        notes: ColumnMetadata,
        tables: Openings,
    ) -> Self {
        Self {
            engine,
            sql,
            parameters,
            notes,
            tables,
        }
    }

    /// Checks that the text and the declared parameters agree, then plans it with values of no
    /// meaning: an error is one of the text's, unless it is one of computing with them.
    pub(crate) async fn check_text(&self) -> Result<(), Unplanned> {
        check_names(&self.sql, &self.parameters).map_err(|error| match error {
            ParameterError::Query { at, problem } => Refusal {
                position: Some((at.line as u64, at.column as u64)),
                ..Refusal::bad_parameter(problem)
            },
            error => Refusal::bad_parameter(error.to_string()),
        })?;
        let query = EngineQuery::new(&self.sql)
            .bind(&self.parameters.probe())
            .notes(self.notes.clone());
        let planned = async {
            let planned = self.engine.plan_query(&query).await?;
            self.engine.rows_of(planned, &Narrowing::default()).await
        };
        match planned.await {
            Err(error) if error.kind() != EngineErrorKind::Computation => Err(Unplanned {
                missing_table: error.missing_table().map(str::to_owned),
                refusal: engine_refusal(error),
            }),
            _ => Ok(()),
        }
    }

    /// Makes the run of checked parameters.
    pub(super) fn start(&self, given: Given, rows_max: Option<u64>) -> StartRun {
        let author = given.author();
        let Given {
            bound, narrowing, ..
        } = given;
        let query = EngineQuery::new(&self.sql)
            .bind(&bound)
            .notes(self.notes.clone());
        let (engine, tables) = (self.engine.clone(), self.tables.clone());
        Box::new(move |place| {
            let not_ready = tables.not_ready();
            let planned = wait_for(place, engine.plan_query(&query));
            // What is wrong with it may be that the table is not there yet.
            let planned =
                planned.map_err(|refusal| not_ready.unwrap_or(concealed(refusal, author)))?;
            let mut narrowing = narrowing.parse(planned.schema())?;
            narrowing.limit = rows_max;
            let offered = Some(Arc::new(planned.schema().clone()));
            let rows = wait_for(place, engine.rows_of(planned, &narrowing));
            let of_rows = match narrowing.is_complete_table() {
                true => author,
                false => Author::Both,
            };
            let rows = rows.map_err(|refusal| concealed(refusal, of_rows));
            let run = Run::from(rows?);
            Ok(Run {
                author,
                offered,
                ..run
            })
        })
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// Keeps the operator's SQL, and what is said of it, from clients.
fn concealed(refusal: Refusal, author: Author) -> Refusal {
    let fault = author.fault(refusal.status);
    let refusal = match author.conceals(refusal.status) {
        Some(text) => Refusal::new(refusal.status, text).caused_by(refusal.into_text()),
        None => refusal,
    };
    Refusal { fault, ..refusal }
}

/// A request's parameters: those that a query declares, and those that narrow its rows.
pub(super) struct Given {
    pub(super) bound: Bound,
    pub(super) narrowing: UnparsedNarrowing,
    /// Whether there are values of the client's among the former.
    has_values: bool,
}

/// Parameters that narrow rows whose columns are not known yet.
pub(super) struct UnparsedNarrowing {
    parameters: Vec<(String, String)>,
    /// The names that the query declares.
    declared: Vec<String>,
    /// Whether a parameter was taken for the name of the file.
    is_named: bool,
}

impl Given {
    /// Reads what the query declares.
    pub(super) fn of(
        parameters: &Parameters,
        query: &Query,
        is_named: bool,
    ) -> Result<Self, Refusal> {
        let is_declared = |name: &str| parameters.index(name).is_some();
        let pairs = query.pairs().iter().cloned();
        let (own, narrowing): (Vec<_>, Vec<_>) = pairs.partition(|(name, _)| is_declared(name));
        let given = own
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let (has_values, bound) = (!own.is_empty(), parameters.bind(given));
        let declared = parameters.declared().iter();
        Ok(Self {
            bound: bound.map_err(|error| Refusal::bad_parameter(error.to_string()))?,
            has_values,
            narrowing: UnparsedNarrowing {
                parameters: narrowing,
                declared: declared.map(|parameter| parameter.name.clone()).collect(),
                is_named,
            },
        })
    }
}

impl Given {
    /// Who has written what is computed for the request.
    pub(super) fn author(&self) -> Author {
        match self.has_values {
            true => Author::Both,
            false => Author::Operator,
        }
    }
}

impl UnparsedNarrowing {
    /// Parses them by the columns of the result.
    pub(super) fn parse(&self, columns: &Schema) -> Result<Narrowing, Refusal> {
        // A condition that is taken for a name would be lost without a word.
        if self.is_named && columns.index_of(FILE_NAME_PARAMETER).is_ok() {
            return Err(Refusal::bad_parameter(format!(
                "`{FILE_NAME_PARAMETER}` is the name of the saved file, and here a column too: ask for \
                 and=({FILE_NAME_PARAMETER}.eq.VALUE)"
            )));
        }
        let declared: Vec<_> = self.declared.iter().map(String::as_str).collect();
        let narrowing = Narrowing::parse_beside(&declared, &self.parameters, columns);
        narrowing.map_err(engine_refusal)
    }
}

/// A query string with each parameter: its default, or what it should be.
pub(super) fn example_query(parameters: &Parameters) -> String {
    let mut query = String::new();
    for parameter in parameters.declared() {
        let value = match &parameter.default {
            Some(value) => value.to_string(),
            None => parameter.kind.name().to_uppercase(),
        };
        let separator = if query.is_empty() { '?' } else { '&' };
        query.push(separator);
        query.push_str(&parameter.name);
        query.push('=');
        query.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    query
}

impl std::fmt::Debug for SqlQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlQuery")
            .field("sql", &self.sql)
            .finish_non_exhaustive()
    }
}

/// 64 KiB in the text of a client's query: some thousand identifiers. To parse and plan it takes
/// seconds at most.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A client's own query: one SELECT over the registered tables, as the parameter `query`. It runs
/// in a process of its own.
#[derive(Clone)]
pub(crate) struct ClientSql {
    queries: IsolatedQueries,
    tables: Openings,
}

impl ClientSql {
    pub(crate) fn new(queries: IsolatedQueries, tables: Openings) -> Self {
        Self { queries, tables }
    }

    /// Checks that there is a text; whether it is SQL shows once it is planned.
    pub(super) fn check(&self, query: &Query, rows_max: Option<u64>) -> Result<StartRun, Refusal> {
        let mut query = query.clone();
        let sql = query
            .take(&[QUERY_PARAMETER])
            .map_err(Refusal::bad_parameter)?;
        let sql = sql.ok_or_else(|| {
            Refusal::bad_parameter("parameter `query` is missing: a SELECT over the tables here")
        })?;
        query.allow(&[]).map_err(|error| {
            Refusal::bad_parameter(format!(
                "{error} but query, limit, format and nested; SQL says itself which columns and rows \
                 it wants: SELECT, WHERE, ORDER BY, OFFSET"
            ))
        })?;
        if sql.len() > TEXT_BYTES_MAX {
            let text = format!(
                "a query has at most {TEXT_BYTES_MAX} bytes, and this one {}",
                sql.len()
            );
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        let (queries, tables) = (self.queries.clone(), self.tables.clone());
        Ok(Box::new(move |place| {
            let not_ready = tables.not_ready();
            let asked = queries.ask(&sql, rows_max).map_err(engine_refusal);
            let planned = asked.and_then(|asked| run(asked, place));
            planned.map_err(|refusal| not_ready.unwrap_or(refusal))
        }))
    }
}

/// Waits until a process has planned a query.
fn run(asked: Asked, place: &StreamWriter) -> Result<Run, Refusal> {
    let stopper = asked.stopper();
    place.on_stop(move |_| stopper.stop()).keep();
    asked.rows().map(Run::from).map_err(engine_refusal)
}

impl From<IsolatedRows> for Run {
    fn from(rows: IsolatedRows) -> Self {
        Self {
            rows_known: rows.known_rows(),
            files: Some(rows.files().clone()),
            ..Self::new(rows)
        }
    }
}

impl std::fmt::Debug for ClientSql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSql")
    }
}
