//! The connections to one server, and how a query gets one.

use std::{
    future::{self, Future},
    pin::pin,
    sync::Arc,
    time::Instant,
};

use arrow::datatypes::Schema;
use deadpool::{
    Runtime,
    managed::{Object, Pool, PoolError, TimeoutType},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::{Row, Statement, error::SqlState, types::ToSql};

use super::{
    PostgresError, PostgresErrorKind, PostgresOptions, PostgresRows, bind, narrow,
    rows::{Prepared, Raw},
    schema,
    session::{Connection, Session, Sessions, give_back},
};
use crate::{
    narrowed::Narrowed,
    parameters::{Bound, ParameterKind, Parameters, PositionalQuery},
};

/// The connections to one server: at most so many, made when they are needed.
///
/// Clones share the connections.
#[derive(Clone)]
pub struct PostgresPool {
    connections: Pool<Sessions>,
    options: PostgresOptions,
    handle: Handle,
}

impl PostgresPool {
    /// Checks the options. Connects to nothing yet.
    ///
    /// `handle` is of a tokio runtime with I/O and time enabled, which runs by itself.
    ///
    /// # Errors
    /// [`PostgresErrorKind::BadOptions`]; also for a file of the options that cannot be read.
    pub fn new(options: PostgresOptions, handle: Handle) -> Result<Self, PostgresError> {
        let (config, tls) = options.resolve()?;
        let sessions = Sessions { config, tls };
        let connections = Pool::builder(sessions)
            .max_size(options.max_connections)
            .wait_timeout(Some(options.acquire_timeout))
            .create_timeout(Some(options.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| {
                PostgresError::new(PostgresErrorKind::BadOptions, error.to_string())
            })?;
        Ok(Self {
            connections,
            options,
            handle,
        })
    }

    /// Takes a connection, begins a snapshot in it, and prepares a query. Blocks for at most the
    /// timeouts of the options.
    ///
    /// `bound` are values of the parameters that `query` was made for.
    ///
    /// # Errors
    /// [`Busy`](PostgresErrorKind::Busy) if no connection became free,
    /// [`Unavailable`](PostgresErrorKind::Unavailable) if none can be made,
    /// [`BadQuery`](PostgresErrorKind::BadQuery) with the place if the server does not understand
    /// the query, or a column's type has no values.
    ///
    /// # Panics
    /// On a thread that drives tasks of a tokio runtime (`Handle::block_on`).
    pub fn query(
        &self,
        query: &PositionalQuery,
        bound: &Bound,
    ) -> Result<PostgresRows, PostgresError> {
        let all = |_: &Schema| Ok(None);
        self.query_narrowed(future::pending(), query, bound, all)
    }

    /// The same, unless somebody gives it up while it waits for a connection; and of the rows that
    /// `narrow` selects, once it sees the columns. `None` selects all, without another query around
    /// this one.
    ///
    /// # Errors
    /// As [`query`](Self::query); [`Cancelled`](PostgresErrorKind::Cancelled);
    /// [`BadValue`](PostgresErrorKind::BadValue) for what cannot be asked of a column, with what can
    /// be; what `narrow` refuses.
    ///
    /// # Panics
    /// As [`query`](Self::query).
    pub fn query_narrowed<E: From<PostgresError>>(
        &self,
        given_up: impl Future<Output = ()>,
        query: &PositionalQuery,
        bound: &Bound,
        narrow: impl FnOnce(&Schema) -> Result<Option<Narrowed>, E>,
    ) -> Result<PostgresRows, E> {
        let parameters = self.parameters(query, bound)?;
        let mut connection = self.handle.block_on(self.begun(given_up))?;
        let preparing = self.prepare_narrowed(&mut connection, query, parameters, narrow);
        match self.handle.block_on(self.in_time("to prepare", preparing)) {
            Ok(prepared) => Ok(PostgresRows::new(
                connection,
                prepared,
                &self.options,
                self.handle.clone(),
            )),
            Err(error) => {
                self.handle.block_on(give_back(connection));
                Err(error)
            }
        }
    }

    /// Connects, unless a connection is free, and begins a snapshot. Blocks for at most the timeouts of
    /// the options.
    ///
    /// # Errors
    /// As [`query`](Self::query), without those of a query.
    ///
    /// # Panics
    /// As [`query`](Self::query).
    pub fn connect(&self) -> Result<(), PostgresError> {
        let connection = self.handle.block_on(self.begun(future::pending()))?;
        self.handle.block_on(give_back(connection));
        Ok(())
    }

    /// Prepares a query and lets the server plan it, without running it: its names, its types and the
    /// rights to read what it names are as they have to be, and it only reads. `parameters` are those that
    /// it was made for.
    /// Blocks for at most the timeouts of the options.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    ///
    /// # Panics
    /// As [`query`](Self::query).
    pub fn check(
        &self,
        query: &PositionalQuery,
        parameters: &Parameters,
    ) -> Result<(), PostgresError> {
        let declared = parameters.declared();
        let kinds = query
            .order()
            .iter()
            .filter_map(|index| declared.get(*index));
        let kinds: Vec<_> = kinds.map(|parameter| parameter.kind).collect();
        let mut connection = self.handle.block_on(self.begun(future::pending()))?;
        let checking = async {
            let prepared = self.prepare(&mut connection, query, &kinds).await?;
            let columns = schema::columns(&connection, &prepared, query).await?;
            let query = columns.with_casts(query).unwrap_or_else(|| query.clone());
            let explained = query.within("EXPLAIN (FORMAT JSON) ", "");
            let null = None::<bind::Sent>;
            let values = prepared.params().iter();
            let values: Vec<_> = values
                .map(|kind| (&null as &(dyn ToSql + Sync), kind.clone()))
                .collect();
            let client = &connection.client;
            match client.query_typed(explained.sql(), &values).await {
                // What is no query, as SHOW, has rows but no plan.
                Err(error) if error.code() == Some(&SqlState::SYNTAX_ERROR) => Ok(()),
                Err(error) => Err(PostgresError::of_preparing(error, &explained)),
                // In a transaction that reads, the server refuses it before it has done anything.
                Ok(plan) if writes(&plan) => match client.query_typed(query.sql(), &values).await {
                    Err(error) => Err(PostgresError::of_running(error, &query)),
                    Ok(_) => Ok(()),
                },
                Ok(_) => Ok(()),
            }
        };
        let checked = self.handle.block_on(self.in_time("to prepare", checking));
        self.handle.block_on(give_back(connection));
        checked
    }

    /// Returns how many connections are open now, in use or not.
    pub fn open_connections(&self) -> usize {
        self.connections.status().size
    }

    /// The values in the order of the query's numbers.
    fn parameters(
        &self,
        query: &PositionalQuery,
        bound: &Bound,
    ) -> Result<Vec<(ParameterKind, bind::Sent)>, PostgresError> {
        let parameter = |index: &usize| {
            let (name, value) = bound.iter().nth(*index).ok_or_else(|| {
                PostgresError::new(
                    PostgresErrorKind::BadQuery,
                    "PostgreSQL: the values are of another query's parameters",
                )
            })?;
            Ok((value.kind(), bind::Sent::new(name, value)?))
        };
        query.order().iter().map(parameter).collect()
    }

    /// A connection with a fresh snapshot. One from the pool may have died unseen: then the next.
    async fn begun(&self, given_up: impl Future<Output = ()>) -> Result<Connection, PostgresError> {
        let mut given_up = pin!(given_up);
        let idle_timeout = self.options.idle_timeout;
        self.connections
            .retain(|_, metrics| metrics.last_used() < idle_timeout);
        let started = Instant::now();
        loop {
            let mut connection = tokio::select! {
                connection = self.connections.get() => connection.map_err(of_pool)?,
                () = given_up.as_mut() => return Err(PostgresError::cancelled()),
            };
            let is_new = Object::metrics(&connection).recycle_count == 0;
            let statement_timeout = self.options.statement_timeout;
            let beginning = timeout(
                self.options.connect_timeout,
                connection.begin(statement_timeout),
            );
            let failure = match beginning.await {
                Ok(Ok(())) => return Ok(connection),
                Ok(Err(error)) => PostgresError::of_connecting(error),
                Err(_) => PostgresError::too_slow("to begin a transaction"),
            };
            drop(Object::take(connection));
            if is_new || started.elapsed() > self.options.acquire_timeout {
                return Err(failure);
            }
        }
    }

    /// Prepares a query, or another one around it that selects what `narrow` says.
    async fn prepare_narrowed<E: From<PostgresError>>(
        &self,
        connection: &mut Connection,
        query: &PositionalQuery,
        parameters: Vec<(ParameterKind, bind::Sent)>,
        narrow: impl FnOnce(&Schema) -> Result<Option<Narrowed>, E>,
    ) -> Result<Prepared, E> {
        let (kinds, mut values): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let mut statement = self.prepare(connection, query, &kinds).await?;
        let mut columns = schema::columns(connection, &statement, query).await?;
        let narrowed = narrow(&columns.schema)?;
        if narrowed.is_some() && columns.has_enumerations() {
            // A connection keeps the labels of when it met the type; others may have come since.
            connection.client.clear_type_cache();
            statement = self.prepare(connection, query, &kinds).await?;
            columns = schema::columns(connection, &statement, query).await?;
        }
        let described = Arc::new(columns);
        let mut types = statement.params().to_vec();
        let (query, columns) = match (narrowed, described.with_casts(query)) {
            (Some(narrowed), _) => {
                let around = narrow::around(query, &described, &narrowed, types.len())?;
                narrow::check_values(connection, &around).await?;
                types.extend(around.types);
                values.extend(around.values);
                (around.query, Arc::new(around.columns))
            }
            (None, Some(query)) => (query, Arc::clone(&described)),
            (None, None) => {
                return Ok(Prepared {
                    statement,
                    values,
                    query: query.clone(),
                    columns: Arc::clone(&described),
                    described,
                });
            }
        };
        let prepared = connection.client.prepare_typed(query.sql(), &types).await;
        Ok(Prepared {
            statement: prepared.map_err(|error| PostgresError::of_preparing(error, &query))?,
            values,
            query,
            columns,
            described,
        })
    }

    /// Prepares a query with the types that the server infers for its parameters, and where those
    /// do not fit, with the types of their kinds.
    async fn prepare(
        &self,
        session: &mut Session,
        query: &PositionalQuery,
        kinds: &[ParameterKind],
    ) -> Result<Statement, PostgresError> {
        let refused = |error| PostgresError::of_preparing(error, query);
        let types = match session.client.prepare(query.sql()).await {
            Ok(statement) => match bind::types_to_ask(statement.params(), kinds) {
                None => return Ok(statement),
                Some(types) => types,
            },
            Err(error) if error.code().is_some_and(is_undecided) => {
                // An error has ended the transaction.
                session.end().await.map_err(refused)?;
                let statement_timeout = self.options.statement_timeout;
                session.begin(statement_timeout).await.map_err(refused)?;
                bind::own_types(kinds)
            }
            Err(error) => return Err(refused(error)),
        };
        let asked = session.client.prepare_typed(query.sql(), &types).await;
        asked.map_err(refused)
    }

    async fn in_time<T, E: From<PostgresError>>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        timeout(self.options.prepare_timeout, work)
            .await
            .unwrap_or_else(|_| Err(PostgresError::too_slow(what).into()))
    }
}

/// Returns whether a plan, as EXPLAIN has it in JSON, changes or locks rows. Texts of the query are escaped
/// in it.
fn writes(plan: &[Row]) -> bool {
    let nodes = ["ModifyTable", "LockRows"].map(|node| format!("\"Node Type\": \"{node}\""));
    let lines = plan
        .iter()
        .filter_map(|row| row.try_get::<_, Raw<'_>>(0).ok());
    let mut texts = lines.filter_map(|line| str::from_utf8(line.0).ok());
    texts.any(|text| nodes.iter().any(|node| text.contains(node)))
}

/// The server cannot infer a parameter's type from where it stands.
fn is_undecided(code: &SqlState) -> bool {
    [
        SqlState::INDETERMINATE_DATATYPE,
        SqlState::AMBIGUOUS_PARAMETER,
        SqlState::AMBIGUOUS_FUNCTION,
    ]
    .contains(code)
}

fn of_pool(error: PoolError<tokio_postgres::Error>) -> PostgresError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => PostgresError::new(
            PostgresErrorKind::Busy,
            "PostgreSQL: all connections are in use",
        ),
        PoolError::Backend(error) => PostgresError::of_connecting(error),
        _ => PostgresError::too_slow("to connect"),
    }
}
