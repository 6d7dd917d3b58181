//! What is served: routes, their sources, the engine and the databases behind them.
//!
//! Built from a [`Config`], checked, and immutable from then on. The server holds the current one
//! behind one swap point; a request keeps its own until its stream has ended.

mod databases;

use std::{fmt, future::Future};

use datastreamer_engine::{Engine, TableFiles};
use datastreamer_rows::parameters::Parameters;
use datastreamer_table::column_metadata::ColumnMetadata;

use self::databases::{DatabaseThreads, Databases};
use crate::{
    config::{Config, Precedence, RouteConfig, SourceConfig, SqlConfig},
    error::Fatal,
    routes::{Route, RouteTable},
    sources::{
        Command, Directory, Noise, RowRoute, RowSource, Source,
        rows::{ClientSql, PostgresQuery, SqlQuery, Stars, Table},
    },
};

/// The complete set of what is served.
///
/// Dropping it ends the engine and the connections to databases, without waiting. So whoever runs
/// a stream of a site keeps the site until the stream has ended.
pub struct Site {
    pub(crate) config: Config,
    pub(crate) routes: RouteTable,
    /// Drive the connections of the routes.
    _database_threads: Option<DatabaseThreads>,
}

impl Site {
    /// Opens everything that a configuration names: finds files and programs, reads the columns of
    /// tables, plans queries. Connects to no database. Blocks, for minutes if a table of text is
    /// large: column types are inferred from all rows.
    ///
    /// # Errors
    /// [`Fatal::Config`], with a line for each route that cannot be served.
    pub fn build(config: &Config) -> Result<Self, Fatal> {
        let mut builder = Builder::new(config)?;
        builder.add_routes();
        if !builder.errors.is_empty() {
            return Err(Fatal::Config(builder.errors));
        }
        Ok(Self {
            config: config.clone(),
            routes: builder.routes,
            _database_threads: builder.databases.threads,
        })
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site")
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

struct Builder<'a> {
    config: &'a Config,
    routes: RouteTable,
    /// Started with the first table.
    engine: Option<Engine>,
    databases: Databases,
    errors: Vec<String>,
}

impl<'a> Builder<'a> {
    fn new(config: &'a Config) -> Result<Self, Fatal> {
        Ok(Self {
            config,
            routes: RouteTable::default(),
            engine: None,
            databases: Databases::open(&config.databases)?,
            errors: Vec::new(),
        })
    }

    /// Tables first: queries are checked against them. What gives way, or takes the place of
    /// others, comes last.
    fn add_routes(&mut self) {
        let mut routes: Vec<_> = self.config.routes.iter().collect();
        routes.sort_by_key(|route| (route.precedence, route.is_query()));
        let is_own = |route: &&RouteConfig| route.precedence == Precedence::Only;
        let (own, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(is_own);
        own.into_iter().for_each(|route| self.add(route));
        if let Some(sql) = &self.config.sql {
            self.add_sql(sql);
        }
        others.into_iter().for_each(|route| self.add(route));
    }

    fn add(&mut self, config: &RouteConfig) {
        let added = self.route(config).and_then(|route| {
            match config.precedence {
                Precedence::Only => return self.routes.add(route),
                Precedence::IfMissing => self.routes.add_missing(route),
                Precedence::Replaces => self.routes.put(route),
            }
            Ok(())
        });
        if let Err(text) = added {
            self.errors.push(format!("{}{text}", config.origin));
        }
    }

    fn add_sql(&mut self, config: &SqlConfig) {
        let route = self.engine().and_then(|engine| {
            let sql = RowSource::Sql(ClientSql::new(engine));
            let mut route = Route::new("sql", self.rows(sql, config.rows_max))?;
            route.description = Some("one SELECT over the tables here".into());
            Ok(route)
        });
        if let Err(text) = route.and_then(|route| self.routes.add(route)) {
            self.errors.push(format!("{}{text}", config.origin));
        }
    }

    fn route(&mut self, config: &RouteConfig) -> Result<Route, String> {
        let source = self.source(config)?;
        let mut route = Route::new(&config.name, source)?;
        if let Some(suffix) = &config.suffix {
            route.set_suffix(suffix)?;
        }
        if let Some(media_type) = &config.media_type {
            route.set_media_type(media_type)?;
        }
        route.description.clone_from(&config.description);
        route.compress = config.compress;
        Ok(route)
    }

    fn source(&mut self, config: &RouteConfig) -> Result<Source, String> {
        let rows = match &config.source {
            SourceConfig::Noise => return Ok(Source::Noise(Noise)),
            SourceConfig::Directory(path) => {
                return Directory::open(path, &config.name).map(Source::Directory);
            }
            SourceConfig::Command { argv, folder } => {
                return Command::new(argv.clone(), folder).map(Source::Command);
            }
            SourceConfig::Table { path, metadata } => {
                let files = TableFiles::find(path).map_err(|error| error.to_string())?;
                let engine = self.engine()?;
                let info = block_on(engine.register(&config.name, files, metadata))?;
                let info = info.map_err(|error| format!("{}: {error}", path.display()))?;
                RowSource::Table(Table::new(engine, &config.name, info))
            }
            SourceConfig::Query {
                sql,
                parameters,
                metadata,
            } => RowSource::Query(self.query(sql, parameters, metadata)?),
            SourceConfig::Postgres {
                database,
                sql,
                parameters,
                metadata,
            } => {
                let pool = self.databases.find(database.as_deref())?;
                let (parameters, metadata) = (parameters.clone(), metadata.clone());
                RowSource::Postgres(PostgresQuery::new(pool.clone(), sql, parameters, metadata)?)
            }
            SourceConfig::Stars => RowSource::Stars(Stars::new()),
        };
        Ok(self.rows(rows, config.rows_max))
    }

    fn rows(&self, source: RowSource, rows_max: Option<u64>) -> Source {
        Source::Rows(Box::new(RowRoute {
            source,
            rows_max,
            settings: self.config.rows.clone(),
        }))
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

/// Waits for the engine, on a thread that may block.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    Ok(runtime.block_on(future))
}
