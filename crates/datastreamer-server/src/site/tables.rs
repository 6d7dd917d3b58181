//! The tables of a site: the engine, the databases, and the routes of rows over them.

use std::path::Path;

use datastreamer_engine::{
    Engine, TableFiles,
    isolate::{self, IsolatedQueries},
};
use datastreamer_rows::parameters::Parameters;
use datastreamer_table::{Format, column_metadata::ColumnMetadata, fits::FitsHdu};

use super::databases::{DatabaseThreads, Databases};
use crate::{
    config::{RowsConfig, RowsSource, TablesConfig},
    error::Fatal,
    site::routes::Route,
    sources::{
        OnMore, Source,
        rows::{
            ClientSql, Hdus, PostgresQuery, RowRoute, RowSource, SqlQuery, Stars, TABLES_MAX,
            Table, block_on,
        },
    },
};

/// What the sources of rows need for as long as they run: the threads that drive the connections.
pub(super) type Kept = Option<DatabaseThreads>;

/// Opens tables and queries.
pub(super) struct Tables<'a> {
    config: &'a TablesConfig,
    /// Started with the first table.
    engine: Option<Engine>,
    databases: Databases,
}

impl<'a> Tables<'a> {
    pub(super) fn new(config: &'a TablesConfig) -> Result<Self, Fatal> {
        Ok(Self {
            config,
            engine: None,
            databases: Databases::open(&config.databases)?,
        })
    }

    pub(super) fn keep(self) -> Kept {
        self.databases.threads
    }

    /// Opens a route's rows: reads the columns of a table, plans a query.
    pub(super) fn open(&mut self, name: &str, config: &RowsConfig) -> Result<RowRoute, String> {
        let source = match &config.source {
            RowsSource::Table {
                path,
                hdu,
                metadata,
            } => {
                let mut files = TableFiles::find(path).map_err(|error| error.to_string())?;
                if let Some(hdu) = hdu {
                    files = files.with_hdu(hdu).map_err(|error| error.to_string())?;
                }
                let own_file = files.single_file().filter(|_| metadata.is_empty());
                let own_file = own_file.and_then(|(path, suffix)| {
                    Some((path.to_owned(), Format::from_suffix(suffix)?))
                });
                let engine = self.engine()?;
                let info = block_on(engine.register(name, files.clone(), metadata))?;
                let info = info.map_err(|error| about(path, error.to_string()))?;
                let hdus = match hdu {
                    Some(hdu) => Hdus::Configured(hdu.clone()),
                    None => hdus(&engine, name, &files)?,
                };
                let table = Table::new(engine, name, info, files, own_file);
                RowSource::Table(table.with_hdus(hdus))
            }
            RowsSource::Query {
                sql,
                parameters,
                metadata,
            } => RowSource::Query(self.query(sql, parameters, metadata)?),
            RowsSource::Postgres {
                database,
                sql,
                parameters,
                metadata,
            } => {
                let pool = self.databases.find(database.as_deref())?.clone();
                let (parameters, metadata) = (parameters.clone(), metadata.clone());
                RowSource::Postgres(PostgresQuery::new(pool, sql, parameters, metadata)?)
            }
            RowsSource::Stars => RowSource::Stars(Stars::new()),
        };
        Ok(self.route(source, config.rows_max, config.on_more))
    }

    /// Makes the route of clients' own queries, if there is to be one. Also returns what its errors
    /// begin with.
    pub(super) fn sql(&mut self) -> Option<(&'a str, Result<Route, String>)> {
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
            let sql = RowSource::Sql(ClientSql::new(queries));
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

    /// Plans a query once, so that its errors show at the start.
    fn query(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        metadata: &ColumnMetadata,
    ) -> Result<SqlQuery, String> {
        let engine = self.engine()?;
        let query = SqlQuery::new(engine, sql.into(), parameters.clone(), metadata.clone());
        block_on(query.check_text())?.map_err(|refusal| match refusal.position {
            Some((line, column)) => {
                format!("sql, line {line}, column {column}: {}", refusal.text)
            }
            None => format!("sql: {}", refusal.text),
        })?;
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

/// Names the table's path, unless the text does: it may be about one file of many.
fn about(path: &Path, text: String) -> String {
    let path = path.display().to_string();
    match text.contains(&path) {
        true => text,
        false => format!("{path}: {text}"),
    }
}
