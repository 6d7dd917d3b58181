//! SQL over the registered tables: written in the configuration, with parameters that are bound
//! as values; or a client's own, where that is allowed.

use datastreamer_engine::{
    Engine, EngineErrorKind, Query as EngineQuery,
    isolate::{Asked, IsolatedQueries, IsolatedRows},
};
use datastreamer_rows::parameters::{Bound, ParameterError, Parameters, check_names};
use datastreamer_table::column_metadata::ColumnMetadata;

use datastreamer::StreamWriter;
use http::StatusCode;

use super::{QUERY_PARAMETER, Run, StartRun, engine_refusal, opening::Openings, wait_for};
use crate::{refusal::Refusal, sources::Query};

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
    pub(crate) async fn check_text(&self) -> Result<(), Refusal> {
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
        match self.engine.query(&query, Some(0)).await {
            Err(error) if error.kind() != EngineErrorKind::Computation => {
                Err(engine_refusal(error))
            }
            _ => Ok(()),
        }
    }

    /// Checks the values of the parameters.
    pub(super) fn check(&self, query: &Query, rows_max: Option<u64>) -> Result<StartRun, Refusal> {
        let bound = bind(&self.parameters, query)?;
        let query = EngineQuery::new(&self.sql)
            .bind(&bound)
            .notes(self.notes.clone());
        let (engine, tables) = (self.engine.clone(), self.tables.clone());
        Ok(Box::new(move |place| {
            let not_ready = tables.not_ready();
            let planned = wait_for(place, engine.query(&query, rows_max));
            // What is wrong with it may be that the table is not there yet.
            Ok(planned
                .map_err(|refusal| not_ready.unwrap_or(refusal))?
                .into())
        }))
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

/// Reads a request's parameters as what the query declares.
pub(super) fn bind(parameters: &Parameters, query: &Query) -> Result<Bound, Refusal> {
    let given = query.pairs().iter();
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    let bound = parameters.bind(given);
    bound.map_err(|error| Refusal::bad_parameter(error.to_string()))
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
        query.allow(&[]).map_err(Refusal::bad_parameter)?;
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
            ..Self::new(rows)
        }
    }
}

impl std::fmt::Debug for ClientSql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSql")
    }
}
