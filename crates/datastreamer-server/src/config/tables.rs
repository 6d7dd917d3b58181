//! What the configuration says of tables: their files, their queries, and what bounds them.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    mem::ManuallyDrop,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use datastreamer_engine::{Engine, EngineOptions, TableFiles};
use datastreamer_rows::{
    parameters::{Parameter, ParameterKind, Parameters, Value},
    postgres::{PostgresOptions, PostgresPool},
};
use datastreamer_table::column_metadata::ColumnMetadata;
use datastreamer_table::{WriterOptions, meta, parquet::ParquetCompression, votable::Version};
use serde::Deserialize;
use tokio::runtime::{Handle, Runtime};
use toml::Spanned;

use super::{
    ClientSql, Origin, PostgresQuery, RawRoute, RawTables, RowSettings, SqlQuery, TableSource,
    duration,
};
use crate::{
    cli::parse_compression,
    error::Fatal,
    routes::Route,
    sources::{RowRoute, RowSource, Source, rows::is_reserved},
    units::Span,
};

/// Below the 30 to 60 s after which browsers and proxies give up on a head: what is not spooled
/// by then goes without a length.
const DEFAULT_LENGTH_WAIT: Duration = Duration::from_secs(25);

/// Threads that read from databases: decoding some million rows a second needs one, and a second
/// one goes on when that is busy.
const DATABASE_THREADS: usize = 2;

/// A PostgreSQL server, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    url: String,
    password_file: Option<PathBuf>,
    tls_ca_file: Option<PathBuf>,
    max_connections: Option<NonZeroUsize>,
    acquire_timeout: Option<Span>,
    statement_timeout: Option<Span>,
}

/// The connections of each database, by its name.
pub(super) type Databases = BTreeMap<String, PostgresPool>;

/// Makes the pools; connects to nothing yet. `handle` drives the connections.
pub(super) fn resolve_databases(
    raw: &BTreeMap<String, Spanned<RawDatabase>>,
    tables: &Tables,
    origin: &Origin<'_>,
) -> Result<Databases, Fatal> {
    let mut databases = Databases::new();
    for (name, spanned) in raw {
        let raw = spanned.get_ref();
        let refuse = |text: String| {
            let line = origin.line_of(spanned.span().start);
            Fatal::Config(format!("{}:{line}: databases.{name}: {text}", origin.file))
        };
        let defaults = PostgresOptions::new(&raw.url);
        let beside = |file: &Option<PathBuf>| file.as_ref().map(|file| origin.folder.join(file));
        let options = PostgresOptions {
            password_file: beside(&raw.password_file),
            tls_ca_file: beside(&raw.tls_ca_file),
            max_connections: raw
                .max_connections
                .map_or(defaults.max_connections, Into::into),
            acquire_timeout: duration(raw.acquire_timeout, defaults.acquire_timeout),
            statement_timeout: raw.statement_timeout.map(|span| span.0),
            ..defaults
        };
        let handle = tables.io().map_err(refuse)?;
        let pool = PostgresPool::new(options, handle);
        databases.insert(
            name.clone(),
            pool.map_err(|error| refuse(error.to_string()))?,
        );
    }
    Ok(databases)
}

/// A parameter of a query, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawParameter {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    default: Option<RawValue>,
    min: Option<RawValue>,
    max: Option<RawValue>,
    max_length: Option<usize>,
    description: Option<String>,
}

/// A value as TOML has it: numbers and booleans bare, dates as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum RawValue {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for RawValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// The engine, which starts with the first table, and how rows become files.
#[derive(Clone)]
pub(crate) struct Tables {
    options: EngineOptions,
    engine: Arc<Mutex<Option<Engine>>>,
    /// Lives as long as the process: it must not be dropped where futures run.
    io: Arc<Mutex<Option<ManuallyDrop<Runtime>>>>,
    settings: Arc<RowSettings>,
}

impl Tables {
    pub(super) fn resolve(raw: &RawTables, origin: &Origin<'_>) -> Result<Self, Fatal> {
        let defaults = EngineOptions::default();
        let spill_folder = raw
            .spill_folder
            .as_ref()
            .map(|folder| origin.folder.join(folder));
        if let Some(folder) = spill_folder.as_ref().filter(|folder| !folder.is_dir()) {
            let text = format!("({}) is no directory", folder.display());
            return Err(origin.refuse("tables", "spill_folder", &text));
        }
        let mut writer = WriterOptions::default();
        if let Some(text) = &raw.parquet_compression {
            let compression = parse_compression(text);
            let refuse = |text: String| origin.refuse("tables", "parquet_compression", &text);
            writer.parquet_compression = compression.map_err(refuse)?;
        }
        writer.votable_version = match raw.votable_version.as_deref() {
            None | Some("1.4") => Version::V1_4,
            Some("1.5") => Version::V1_5,
            Some(_) => {
                let text = "must be \"1.4\" or \"1.5\"";
                return Err(origin.refuse("tables", "votable_version", text));
            }
        };
        if let Some(rows) = raw.html_rows {
            writer.html_rows_max = rows;
        }
        if let Some(size) = raw.spool_bytes {
            writer.spool_bytes_max = size.0;
        }
        if let Some(folder) = &spill_folder {
            writer.spool_directory.clone_from(folder);
        }
        let bytes = |size: crate::units::ByteSize| usize::try_from(size.0).unwrap_or(usize::MAX);
        let time_limit = duration(raw.time_limit, defaults.time_limit);
        if time_limit.is_zero() {
            return Err(origin.refuse("tables", "time_limit", "must not be 0"));
        }
        Ok(Self {
            options: EngineOptions {
                memory_bytes: raw.memory_bytes.map_or(defaults.memory_bytes, bytes),
                spill_bytes: raw.spill_bytes.map_or(defaults.spill_bytes, |size| size.0),
                spill_folder,
                time_limit,
                threads: raw.threads.map(Into::into),
            },
            engine: Arc::default(),
            io: Arc::default(),
            settings: Arc::new(RowSettings {
                writer,
                length_wait: duration(raw.length_wait, DEFAULT_LENGTH_WAIT),
            }),
        })
    }

    /// Sets how Parquet files are compressed from here on.
    pub(crate) fn set_parquet_compression(&mut self, compression: ParquetCompression) {
        let mut settings = RowSettings::clone(&self.settings);
        settings.writer.parquet_compression = compression;
        self.settings = Arc::new(settings);
    }

    /// Makes a source of rows a route's source.
    pub(super) fn source(&self, source: RowSource, rows_max: Option<u64>) -> Source {
        Source::Rows(Box::new(RowRoute {
            source,
            rows_max,
            settings: Arc::clone(&self.settings),
        }))
    }

    /// A table named on the command line, called as its file without the suffix.
    pub(crate) fn route(&self, path: &Path) -> Result<Route, String> {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let name = real
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("table");
        let name = match path.is_dir() {
            true => name,
            false => name.split(['.', '*', '?']).next().unwrap_or_default(),
        };
        let name = if name.is_empty() { "table" } else { name };
        let table = self.register(name, path, &ColumnMetadata::default())?;
        Route::new(name, self.source(RowSource::Table(table), None))
    }

    /// Registers files as a table; blocks.
    pub(super) fn register(
        &self,
        name: &str,
        path: &Path,
        notes: &ColumnMetadata,
    ) -> Result<TableSource, String> {
        let files = TableFiles::find(path).map_err(|error| error.to_string())?;
        let engine = self.engine()?;
        let info = block_on(engine.register(name, files, notes));
        let info = info?.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(TableSource::new(engine, name, info))
    }

    /// Where connections to databases are driven: not on the event loop of the server, which
    /// starts later.
    fn io(&self) -> Result<Handle, String> {
        let mut io = self.io.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = io.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(DATABASE_THREADS)
            .thread_name("database")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| format!("no threads: {error}"))?;
        Ok(io.insert(ManuallyDrop::new(runtime)).handle().clone())
    }

    /// Plans a query once, so that what is wrong with it shows at the start.
    pub(super) fn query(
        &self,
        sql: String,
        parameters: Parameters,
        notes: ColumnMetadata,
    ) -> Result<SqlQuery, String> {
        let engine = self.engine()?;
        let query = SqlQuery::new(engine, sql, parameters, notes);
        block_on(query.check())?.map_err(|refusal| match refusal.position {
            Some((line, column)) => {
                format!("sql, line {line}, column {column}: {}", refusal.text)
            }
            None => format!("sql: {}", refusal.text),
        })?;
        Ok(query)
    }

    pub(super) fn postgres(
        databases: &Databases,
        name: Option<&str>,
        sql: &str,
        parameters: Parameters,
        notes: ColumnMetadata,
    ) -> Result<PostgresQuery, String> {
        let names: Vec<_> = databases.keys().map(String::as_str).collect();
        let pool = match (name, databases.first_key_value()) {
            (Some(name), _) => databases.get(name),
            // The only one need not be named.
            (None, Some((_, only))) if databases.len() == 1 => Some(only),
            (None, _) => None,
        };
        let pool = pool.ok_or_else(|| {
            let there = names.join(", ");
            format!("`database` must be one of [databases]; there are: {there}")
        })?;
        PostgresQuery::new(pool.clone(), sql, parameters, notes)
    }

    pub(super) fn sql_route(&self, rows_max: Option<u64>) -> Result<Route, String> {
        let sql = RowSource::Sql(ClientSql::new(self.engine()?));
        let mut route = Route::new("sql", self.source(sql, rows_max))?;
        route.description = Some("one SELECT over the tables here".into());
        Ok(route)
    }

    fn engine(&self) -> Result<Engine, String> {
        let mut engine = self.engine.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engine.as_ref() {
            return Ok(engine.clone());
        }
        let started = Engine::new(self.options.clone()).map_err(|error| error.to_string())?;
        Ok(engine.insert(started).clone())
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a route says of its table and columns.
pub(super) fn notes(raw: &RawRoute) -> ColumnMetadata {
    let description = raw.description.clone();
    let description = description.map(|text| (meta::DESCRIPTION.to_owned(), text));
    ColumnMetadata {
        table: BTreeMap::from_iter(description),
        columns: raw.columns.clone().unwrap_or_default(),
    }
}

pub(super) fn resolve_parameters(raw: &RawRoute) -> Result<Parameters, String> {
    let raw = raw.parameters.iter().flatten();
    let resolved: Result<Vec<_>, String> = raw.map(resolve_parameter).collect();
    Parameters::new(resolved?).map_err(|error| error.to_string())
}

fn resolve_parameter(raw: &RawParameter) -> Result<Parameter, String> {
    let about = |text: String| format!("parameter {}: {text}", raw.name);
    if is_reserved(&raw.name) {
        return Err(about("is what every route takes: call it otherwise".into()));
    }
    let kind = ParameterKind::ALL
        .iter()
        .find(|kind| kind.name() == raw.kind);
    let kind = *kind.ok_or_else(|| {
        let names: Vec<_> = ParameterKind::ALL.iter().map(|kind| kind.name()).collect();
        about(format!(
            "there is no type `{}`; there are {}",
            raw.kind,
            names.join(", ")
        ))
    })?;
    let value = |raw: &Option<RawValue>| -> Result<Option<Value>, String> {
        let value = raw.as_ref().map(|raw| Value::parse(kind, &raw.to_string()));
        value.transpose().map_err(about)
    };
    let mut parameter = Parameter::new(&raw.name, kind);
    parameter.default = value(&raw.default)?;
    parameter.minimum = value(&raw.min)?;
    parameter.maximum = value(&raw.max)?;
    parameter.max_characters = raw.max_length;
    parameter.description = raw.description.clone().unwrap_or_default();
    Ok(parameter)
}

/// Waits for the engine: before the server runs there is no event loop that this could block.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    Ok(runtime.block_on(future))
}
