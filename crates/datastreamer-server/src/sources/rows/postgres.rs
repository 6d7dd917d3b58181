//! A query against a PostgreSQL server, with parameters that are bound as values.

use std::{error::Error as StdError, fmt, sync::Arc};

use arrow::record_batch::RecordBatchReader;
use datastreamer_engine::Narrowing;
use datastreamer_rows::{
    parameters::{ParameterError, Parameters, PositionalQuery},
    postgres::{PostgresError, PostgresErrorKind, PostgresPool},
};
use datastreamer_table::column_metadata::{ColumnMetadata, WithMetadata};
use http::StatusCode;

use super::{Author, Run, StartRun, engine_refusal, query::Given};
use crate::{
    error::with_causes,
    refusal::{Refusal, SOURCE_FAILED},
};

/// A query with typed parameters, and the pool of its connections.
#[derive(Clone)]
pub(crate) struct PostgresQuery {
    /// The name of the database.
    database: String,
    pool: PostgresPool,
    query: Arc<PositionalQuery>,
    parameters: Parameters,
    notes: ColumnMetadata,
}

impl PostgresQuery {
    /// Finds the parameters in the text of a query.
    ///
    /// # Errors
    /// A text and parameters that do not agree, with the position in the text.
    pub(crate) fn parse(sql: &str, parameters: &Parameters) -> Result<PositionalQuery, String> {
        PositionalQuery::new(sql, parameters).map_err(|error| match error {
            ParameterError::Query { .. } => format!("sql, {error}"),
            error => format!("sql: {error}"),
        })
    }

    pub(crate) fn new(
        (database, pool): (&str, &PostgresPool),
        query: PositionalQuery,
        parameters: Parameters,
        notes: ColumnMetadata,
    ) -> Self {
        Self {
            database: database.to_owned(),
            pool: pool.clone(),
            query: Arc::new(query),
            parameters,
            notes,
        }
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The name of its database.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Lets the database prepare and plan it, without running it. **Blocks** for at most the time limits of
    /// the database.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub(crate) fn check(&self) -> Result<(), String> {
        let checked = self.pool.check(&self.query, &self.parameters);
        checked.map_err(|error| for_operator(&error))
    }

    /// Makes the run of checked parameters. It takes a connection, and gives it back as soon as the last row
    /// is read.
    pub(super) fn start(&self, given: Given, rows_max: Option<u64>) -> StartRun {
        let author = given.author();
        let Given {
            bound, narrowing, ..
        } = given;
        let (pool, query, notes) = (self.pool.clone(), self.query.clone(), self.notes.clone());
        Box::new(move |place| {
            let stop = place.stop_token();
            let given_up = async move { drop(stop.stopped().await) };
            let mut narrowed_by = Narrowing::default();
            let rows = pool.query_narrowed(given_up, &query, &bound, |columns| {
                narrowed_by = narrowing.parse(columns)?;
                if narrowed_by.is_complete_table() {
                    return Ok(None);
                }
                narrowed_by.limit = rows_max;
                let narrowed = narrowed_by.for_database(columns);
                narrowed.map(Some).map_err(engine_refusal)
            })?;
            let (canceller, asks) = (rows.canceller(), rows.asks());
            let offered = Some(rows.columns_of_query());
            let notes = match narrowed_by.is_complete_table() {
                true => notes,
                false => narrowed_by.metadata(&notes, &rows.schema()),
            };
            let rows = WithMetadata::new(rows, &notes).map_err(|error| {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Refusal::new(status, SOURCE_FAILED).caused_by(error)
            })?;
            Ok(Run {
                stop: Some(Box::new(move || canceller.cancel())),
                offered,
                asks: Some(asks),
                author: match narrowed_by.is_complete_table() {
                    true => author,
                    false => Author::Both,
                },
                ..Run::new(rows)
            })
        })
    }
}

/// An error as the client sees it; its cause is in the log.
impl From<PostgresError> for Refusal {
    fn from(error: PostgresError) -> Self {
        if let Some(cause) = error.source() {
            tracing::warn!(%error, cause, "PostgreSQL");
        }
        Self::new(status_of(&error), error.text_for_clients()).caused_by(error)
    }
}

/// Says why there is no connection, or what is wrong with a query, to the operator.
pub(crate) fn for_operator(error: &PostgresError) -> String {
    match error.kind() {
        // It has the server's message.
        PostgresErrorKind::BadQuery => error.to_string(),
        _ => with_causes(error),
    }
}

/// Returns the status by whose mistake it is: the query is the operator's, its values are the
/// client's.
pub(super) fn status_of(error: &PostgresError) -> StatusCode {
    match error.kind() {
        PostgresErrorKind::BadValue => StatusCode::BAD_REQUEST,
        PostgresErrorKind::Busy => StatusCode::SERVICE_UNAVAILABLE,
        PostgresErrorKind::Unavailable => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl fmt::Debug for PostgresQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresQuery")
            .field("sql", &self.query.sql())
            .finish_non_exhaustive()
    }
}
