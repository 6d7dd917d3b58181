//! Why there are no rows, or no more: the kind is for code, the text for clients, the cause for
//! the operator's log.

use std::{error::Error, fmt};

use tokio_postgres::error::{DbError, ErrorPosition, SqlState};

use crate::parameters::{PositionalQuery, TextPosition};

/// Who has to act on a [`PostgresError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostgresErrorKind {
    /// The options contradict themselves: the operator.
    BadOptions,
    /// All connections are taken, here or in the server: try again soon.
    Busy,
    /// The server cannot be reached, or refuses the login: the operator.
    Unavailable,
    /// The query is none, or gives what is not supported: its author.
    BadQuery,
    /// A parameter's value does not fit the query: whoever gave it.
    BadValue,
    /// The query was cancelled through a [`PostgresCanceller`](super::PostgresCanceller).
    Cancelled,
    /// The query failed while it ran, or its rows cannot be had.
    Failed,
}

/// Why a query gave no rows, or stopped giving them.
///
/// `Display` is for the author of the query: PostgreSQL's message, never the connection's URL, host
/// or user. [`source`](Error::source) says more, for the operator; and
/// [`text_for_clients`](Self::text_for_clients) less: a message may name tables, or have values of
/// the database. It comes out of
/// [`PostgresRows`](super::PostgresRows) within `ArrowError::ExternalError`.
#[derive(Debug)]
pub struct PostgresError {
    kind: PostgresErrorKind,
    text: String,
    sqlstate: Option<String>,
    position: Option<TextPosition>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl PostgresError {
    /// Returns the kind of the error, from which follows which party has to act.
    pub fn kind(&self) -> PostgresErrorKind {
        self.kind
    }

    /// Returns PostgreSQL's code for the error (PostgreSQL, appendix A), where it has said one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// Returns the place in the query's text as its author wrote it, where one is known.
    pub fn position(&self) -> Option<TextPosition> {
        self.position
    }

    /// Returns the text for clients, without a message of the server.
    pub fn text_for_clients(&self) -> String {
        let Some(sqlstate) = &self.sqlstate else {
            return self.text.clone();
        };
        let what = match self.kind {
            PostgresErrorKind::BadQuery => "the query cannot be run",
            PostgresErrorKind::BadValue => "the query refuses these values",
            PostgresErrorKind::Failed => "the query failed",
            _ => return self.text.clone(),
        };
        format!("PostgreSQL: {what} (SQLSTATE {sqlstate})")
    }

    pub(super) fn new(kind: PostgresErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            sqlstate: None,
            position: None,
            cause: None,
        }
    }

    /// The options cannot be used as they are.
    pub(super) fn bad_options(problem: &str) -> Self {
        Self::new(
            PostgresErrorKind::BadOptions,
            format!("PostgreSQL: {problem}"),
        )
    }

    /// The server did not answer a step in time.
    pub(super) fn too_slow(what: &str) -> Self {
        Self::new(
            PostgresErrorKind::Unavailable,
            format!("PostgreSQL: {what} took too long"),
        )
    }

    /// Nobody wants the rows any more.
    pub(super) fn cancelled() -> Self {
        Self::new(
            PostgresErrorKind::Cancelled,
            "PostgreSQL: the query was cancelled",
        )
    }

    /// No connection could be made.
    pub(super) fn of_connecting(error: tokio_postgres::Error) -> Self {
        let (kind, text) = match error.code() {
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => (
                PostgresErrorKind::Busy,
                "PostgreSQL: the server has no free connection",
            ),
            Some(code) if is_class(code, "28") => (
                PostgresErrorKind::Unavailable,
                "PostgreSQL: the server refused the login",
            ),
            Some(_) => (
                PostgresErrorKind::Unavailable,
                "PostgreSQL: the server refused the connection",
            ),
            None if is_of_tls(&error) => (
                PostgresErrorKind::Unavailable,
                "PostgreSQL: no encrypted connection to the server",
            ),
            None => (
                PostgresErrorKind::Unavailable,
                "PostgreSQL: the server cannot be reached",
            ),
        };
        Self {
            sqlstate: error.code().map(|code| code.code().to_owned()),
            cause: Some(Box::new(error)),
            ..Self::new(kind, text)
        }
    }

    /// The server refused a query before it ran.
    pub(super) fn of_preparing(error: tokio_postgres::Error, query: &PositionalQuery) -> Self {
        let kind = match error.code() {
            Some(code) if is_of_author(code) => PostgresErrorKind::BadQuery,
            Some(_) => PostgresErrorKind::Failed,
            None => PostgresErrorKind::Unavailable,
        };
        Self::of_server(kind, error, query)
    }

    /// The server refused the values of a query, or a constant of it that it has computed before.
    pub(super) fn of_binding(error: tokio_postgres::Error, query: &PositionalQuery) -> Self {
        match error.code() {
            Some(code) if is_class(code, "22") && !query.order().is_empty() => {
                Self::of_server(PostgresErrorKind::BadValue, error, query)
            }
            _ => Self::of_preparing(error, query),
        }
    }

    /// The server stopped a query that ran.
    pub(super) fn of_running(error: tokio_postgres::Error, query: &PositionalQuery) -> Self {
        let kind = match error.code() {
            // Known only when it runs: what writes, in a read-only transaction.
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                PostgresErrorKind::BadQuery
            }
            // LIMIT and OFFSET of a parameter are computed when it runs.
            Some(code) if is_row_count(code) && !query.order().is_empty() => {
                PostgresErrorKind::BadValue
            }
            _ => PostgresErrorKind::Failed,
        };
        Self::of_server(kind, error, query)
    }

    fn of_server(
        kind: PostgresErrorKind,
        error: tokio_postgres::Error,
        query: &PositionalQuery,
    ) -> Self {
        let Some(server) = error.as_db_error() else {
            return Self {
                cause: Some(Box::new(error)),
                ..Self::new(kind, "PostgreSQL: the connection was lost")
            };
        };
        let position = position(server, query);
        Self {
            kind,
            text: text(server, kind, position),
            sqlstate: Some(server.code().code().to_owned()),
            position,
            cause: Some(Box::new(error)),
        }
    }
}

impl fmt::Display for PostgresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for PostgresError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn Error + 'static))
    }
}

/// PostgreSQL's message and code; to authors also its hint and the place.
fn text(server: &DbError, kind: PostgresErrorKind, position: Option<TextPosition>) -> String {
    let mut text = format!(
        "PostgreSQL: {} (SQLSTATE {})",
        server.message(),
        server.code().code()
    );
    if let Some(position) = position {
        text.push_str(&format!(" at {position}"));
    }
    if let (PostgresErrorKind::BadQuery, Some(hint)) = (kind, server.hint()) {
        text.push_str(&format!(". {hint}"));
    }
    text
}

fn position(server: &DbError, query: &PositionalQuery) -> Option<TextPosition> {
    match server.position()? {
        ErrorPosition::Original(character) => {
            Some(query.named_position(usize::try_from(*character).ok()?))
        }
        ErrorPosition::Internal { .. } => None,
    }
}

/// Syntax, missing or ambiguous names, missing rights; constants that are none; what is not
/// supported; what is not allowed in a read-only transaction.
fn is_of_author(code: &SqlState) -> bool {
    ["42", "22", "0A", "25"]
        .iter()
        .any(|class| is_class(code, class))
}

/// The driver tells it in words only.
fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS handshake")
}

fn is_row_count(code: &SqlState) -> bool {
    [
        SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE,
        SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE,
    ]
    .contains(code)
}

fn is_class(code: &SqlState, class: &str) -> bool {
    code.code().starts_with(class)
}
