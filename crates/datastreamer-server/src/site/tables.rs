//! The tables of a site: the engine, the databases, and the routes of rows over them.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use datastreamer_engine::{
    Engine, TableFiles,
    isolate::{self, IsolatedQueries},
};
use datastreamer_rows::parameters::Parameters;
use datastreamer_table::{Format, column_metadata::ColumnMetadata, fits::FitsHdu};
use tokio::sync::Semaphore;

use super::databases::Databases;
use crate::{
    config::{Config, Place, RowsConfig, RowsSource, TablesConfig},
    error::ConfigError,
    refusal::Refusal,
    site::routes::Route,
    site::{Report, RouteError},
    sources::{
        OnMore, Source,
        rows::{
            ClientSql, Hdus, Opened, Opening, Openings, PostgresQuery, RowRoute, RowSource,
            SqlQuery, Stars, TABLES_MAX, Table, block_on, formats_of,
        },
    },
};

/// How often a start says how far it is.
const REPORT: Duration = Duration::from_millis(200);
/// What a table gets even if others have taken the time that a start waits: small files are read in
/// milliseconds.
const WAIT_MIN: Duration = Duration::from_millis(250);
/// Four tables are read at once behind the start: more do not make a disk faster.
const READ_AT_ONCE: usize = 4;

/// What the sources of rows need for as long as they run: the threads that drive the connections.
pub(super) type Kept = Databases;

/// Opens tables and queries.
pub(super) struct Tables<'a> {
    config: &'a TablesConfig,
    /// Started with the first table.
    engine: Option<Engine>,
    databases: Databases,
    openings: Openings,
    /// Queries that could not be checked, as tables are not open yet.
    unchecked: Vec<(String, SqlQuery)>,
    /// Places to read tables in.
    places: Arc<Semaphore>,
    /// When the start waits no longer for tables; `None`: it waits for all.
    deadline: Option<Instant>,
    report: &'a Report<'a>,
}

impl<'a> Tables<'a> {
    /// Also returns the errors of databases.
    pub(super) fn new(config: &'a Config, report: &'a Report<'a>) -> (Self, Vec<ConfigError>) {
        let broken = &config.broken.databases;
        let config = &config.tables;
        let (databases, errors) = Databases::open(&config.databases, broken);
        let tables = Self {
            config,
            engine: None,
            databases,
            openings: Openings::default(),
            unchecked: Vec::new(),
            places: Arc::new(Semaphore::new(READ_AT_ONCE)),
            deadline: config.open_wait.map(|wait| Instant::now() + wait),
            report,
        };
        (tables, errors)
    }

    pub(super) fn keep(self) -> Kept {
        for (name, query) in self.unchecked {
            let openings = self.openings.clone();
            let check = move || check_later(&name, &query, &openings);
            if let Err(error) = thread::Builder::new().name("check".into()).spawn(check) {
                tracing::warn!(%error, "a query is not checked");
            }
        }
        self.databases
    }

    /// Opens a route's rows: reads the columns of a table, plans a query. `None`: they are of a database
    /// that has errors, and the route has none.
    pub(super) fn open(
        &mut self,
        name: &str,
        config: &RowsConfig,
    ) -> Result<Option<RowRoute>, RouteError> {
        let source = match &config.source {
            RowsSource::Table {
                path,
                hdu,
                metadata,
                text,
            } => {
                let mut files = TableFiles::find(path)
                    .and_then(|files| files.with_text_options(text.clone()))
                    .map_err(|error| error.to_string())?;
                if let Some(hdu) = hdu {
                    files = files.with_hdu(hdu).map_err(|error| error.to_string())?;
                }
                let bytes = match files.are_text() {
                    true => files.bytes().map_err(|error| error.to_string())?,
                    // They are open at once.
                    false => 0,
                };
                let opening = Opening::new(name, bytes);
                let files = files.counting(opening.counter());
                let (engine, metadata) = (self.engine()?, metadata.clone());
                let open = {
                    let (name, path) = (name.to_owned(), path.clone());
                    let (engine, files) = (engine.clone(), files.clone());
                    move || register(&engine, &name, &path, files, &metadata)
                };
                match files.are_text() {
                    true => self.open_text(name, &opening, open)?,
                    false => opening.end(Ok(open()?)),
                }
                let hdus = match hdu {
                    Some(hdu) => Hdus::Configured(hdu.clone()),
                    None => hdus(&engine, name, &files)?,
                };
                let table = Table::new(engine, name, opening, files);
                RowSource::Table(table.with_hdus(hdus))
            }
            RowsSource::Query {
                sql,
                parameters,
                metadata,
            } => RowSource::Query(self.query(name, sql, parameters, metadata)?),
            RowsSource::Postgres {
                database,
                sql,
                parameters,
                metadata,
            } => {
                let query = PostgresQuery::parse(sql, parameters);
                let Some(database) = self.databases.find(database.as_deref())? else {
                    query?;
                    return Ok(None);
                };
                let (parameters, metadata) = (parameters.clone(), metadata.clone());
                RowSource::Postgres(PostgresQuery::new(database, query?, parameters, metadata))
            }
            RowsSource::Stars => RowSource::Stars(Stars::new()),
        };
        Ok(Some(self.route(source, config.rows_max, config.on_more)))
    }

    /// Makes the route of clients' own queries, if there is to be one. Also returns where it is configured.
    pub(super) fn sql(&mut self) -> Option<(&'a Place, Result<Route, String>)> {
        let config = self.config.sql.as_ref()?;
        if !isolate::is_available() {
            tracing::warn!(
                "there is no /sql: this program does not call run_if_child() first in its main, so \
                 that it cannot start the processes of queries"
            );
            return None;
        }
        let route = self.engine().and_then(|engine| {
            let options = self.config.engine.clone();
            let queries = IsolatedQueries::start(engine, options, config.isolation.clone());
            let queries = queries.map_err(|error| error.to_string())?;
            let sql = RowSource::Sql(ClientSql::new(queries, self.openings.clone()));
            let source = Source::Rows(Box::new(self.route(sql, config.rows_max, OnMore::Cap)));
            let mut route = Route::new("sql", source)?;
            route.description = Some("one SELECT over the tables here".into());
            Ok(route)
        });
        Some((&config.origin, route))
    }

    fn route(&self, source: RowSource, rows_max: Option<u64>, on_more: OnMore) -> RowRoute {
        RowRoute {
            source,
            rows_max,
            on_more,
            settings: self.config.rows.clone(),
        }
    }

    /// Opens a table of text on a thread of its own, and waits for it until the deadline.
    ///
    /// # Errors
    /// It cannot be opened, and that is known by then.
    fn open_text(
        &self,
        name: &str,
        opening: &Opening,
        open: impl FnOnce() -> Result<Opened, String> + Send + 'static,
    ) -> Result<(), String> {
        self.openings.add(opening);
        let (ended, end) = mpsc::channel();
        let (places, of_thread) = (Arc::clone(&self.places), opening.clone());
        let shown = name.to_owned();
        let run = move || {
            let opened = block_on(places.acquire_owned())
                .and_then(|place| place.map_err(|error| error.to_string()))
                .and_then(|_place| open());
            of_thread.end(opened);
            if ended.send(()).is_ok() {
                return;
            }
            match of_thread.error() {
                None => tracing::info!(table = shown, "ready"),
                Some(error) => tracing::error!(table = shown, error, "cannot be opened"),
            }
        };
        let spawned = thread::Builder::new().name("open".into()).spawn(run);
        spawned.map_err(|error| error.to_string())?;
        let wait_min = self.config.open_wait.map(|wait| wait.min(WAIT_MIN));
        let deadline = wait_min
            .map(|least| Instant::now() + least)
            .max(self.deadline);
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let wait = left.map_or(REPORT, |left| left.min(REPORT));
            match end.recv_timeout(wait) {
                Err(RecvTimeoutError::Timeout) if left.is_none_or(|left| !left.is_zero()) => {
                    (self.report)(&format!("{name}: {}", opening.show()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    tracing::info!(table = name, "not ready yet: {}", opening.show());
                    return Ok(());
                }
                Ok(()) => return opening.error().map_or(Ok(()), |text| Err(text.to_owned())),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("internal error: the thread that opens it has ended".into());
                }
            }
        }
    }

    /// Plans a query once, so that its errors show at the start.
    fn query(
        &mut self,
        name: &str,
        sql: &str,
        parameters: &Parameters,
        metadata: &ColumnMetadata,
    ) -> Result<SqlQuery, RouteError> {
        let engine = self.engine()?;
        let (parameters, metadata) = (parameters.clone(), metadata.clone());
        let tables = self.openings.clone();
        let query = SqlQuery::new(engine, sql.into(), parameters, metadata, tables);
        let not_ready = self.openings.not_ready();
        match check(&query) {
            Err(_) if not_ready.is_some() => self.unchecked.push((name.to_owned(), query.clone())),
            checked => checked?,
        }
        Ok(query)
    }

    fn engine(&mut self) -> Result<Engine, String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.clone());
        }
        let started = Engine::new(self.config.engine.clone());
        let started = started.map_err(|error| error.to_string())?;
        Ok(self.engine.insert(started).clone())
    }
}

/// Opens the tables of a FITS file among which requests may choose. One that cannot be read is refused
/// when it is asked for; so are all but the first if the file cannot be read to its end.
fn hdus(engine: &Engine, name: &str, files: &TableFiles) -> Result<Hdus, String> {
    if !files.is_fits() {
        return Ok(Hdus::None);
    }
    if files.sole_file().is_none() {
        return Ok(Hdus::First);
    }
    let hdus = match block_on(engine.hdus(files))? {
        Ok(hdus) => hdus,
        Err(error) => {
            tracing::warn!(table = name, %error, "only the first table of the file is served");
            return Ok(Hdus::Unread(error.text_for_clients()));
        }
    };
    let notes = ColumnMetadata::default();
    let is_table = |hdu: &&FitsHdu| hdu.kind.is_readable();
    let mut tables = Vec::new();
    for hdu in hdus.iter().filter(is_table).take(TABLES_MAX) {
        let files = files.clone().with_hdu(&hdu.number.to_string());
        let files = files.map_err(|error| error.to_string())?;
        let table = match block_on(engine.open(name, files.clone(), &notes))? {
            Ok(opened) => Ok(Table::of_open(engine.clone(), name, opened, files)),
            Err(error) => Err(error.text_for_clients()),
        };
        tables.push((hdu.number, table));
    }
    Ok(Hdus::All { hdus, tables })
}

/// Reads the columns of a table's files, for minutes if they are large files of text.
fn register(
    engine: &Engine,
    name: &str,
    path: &Path,
    files: TableFiles,
    metadata: &ColumnMetadata,
) -> Result<Opened, String> {
    let own_file = files.single_file().filter(|_| metadata.is_empty());
    let own_file =
        own_file.and_then(|(path, suffix)| Some((path.to_owned(), Format::from_suffix(suffix)?)));
    let info = block_on(engine.register(name, files, metadata))?;
    let info = info.map_err(|error| about(path, error.to_string()))?;
    Ok(Opened {
        own_file: own_file.filter(|_| info.is_usual()),
        formats: formats_of(info.schema()),
        info,
    })
}

fn check(query: &SqlQuery) -> Result<(), RouteError> {
    let checked = block_on(query.check_text())?;
    checked.map_err(|unplanned| {
        let Refusal { position, text, .. } = unplanned.refusal;
        let text = match position {
            Some((line, column)) => format!("sql, line {line}, column {column}: {text}"),
            None => format!("sql: {text}"),
        };
        RouteError {
            text,
            missing_table: unplanned.missing_table,
        }
    })
}

/// Checks a query once all tables are open.
fn check_later(name: &str, query: &SqlQuery, openings: &Openings) {
    while openings.not_ready().is_some() {
        thread::sleep(REPORT);
    }
    if let Err(error) = check(query) {
        tracing::error!(
            route = name,
            error = error.text,
            "the query cannot be planned"
        );
    }
}

/// Names the table's path, unless the text does: it may be about one file of many.
fn about(path: &Path, text: String) -> String {
    let path = path.display().to_string();
    match text.contains(&path) {
        true => text,
        false => format!("{path}: {text}"),
    }
}
