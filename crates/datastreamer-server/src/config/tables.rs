//! What the configuration says of tables: the bounds of their queries, how they become files, their
//! databases, columns and parameters.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(crate) use datastreamer_engine::text::TextOptions;
use datastreamer_engine::{
    EngineOptions, TableFiles,
    isolate::{DEFAULT_QUERY_BYTES, IsolationOptions},
    text::{self, TextEncoding},
};
use datastreamer_rows::{
    parameters::{Parameter, ParameterKind, Parameters, Value},
    postgres::PostgresOptions,
};
use datastreamer_table::{
    WriterOptions, column_metadata::ColumnMetadata, meta, parquet::ParquetCompression,
    votable::Version,
};
use toml::Spanned;

use super::{
    origin::{Origin, Place},
    raw::{Kind, Raw, RawDatabase, RawOnMore, RawParameter, RawRoute, RawTables, RawValue},
    resolve::{DEFAULT_LENGTH_WAIT, bytes, duration},
};
use crate::{
    error::Fatal,
    sources::{
        OnMore,
        rows::{RowSettings, is_reserved},
    },
    temporary_room::{TakeRoom, TemporaryFiles},
};

/// 10 s: what supervisors give a program to start, and some hundred MB of text are read in it.
pub(super) const DEFAULT_OPEN_WAIT: Duration = Duration::from_secs(10);
/// 100 years: whoever waits for `check` ends it.
const NO_TIME_LIMIT: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What holds for all tables.
#[derive(Clone, Debug)]
pub(crate) struct TablesConfig {
    /// What bounds the queries.
    pub(crate) engine: EngineOptions,
    /// How rows become files.
    pub(crate) rows: RowSettings,
    /// Whether clients may send queries of their own.
    pub(crate) sql: Option<SqlConfig>,
    pub(crate) databases: BTreeMap<String, DatabaseConfig>,
    /// How long a start waits for the types of columns to be inferred; `None`: until they are.
    pub(crate) open_wait: Option<Duration>,
    /// The same, of a server.
    server_open_wait: Duration,
}

/// The route for clients' own queries.
#[derive(Clone, Debug)]
pub(crate) struct SqlConfig {
    pub(crate) rows_max: Option<u64>,
    /// What one query may take.
    pub(crate) isolation: IsolationOptions,
    pub(crate) origin: Place,
}

/// A PostgreSQL server.
#[derive(Clone, Debug)]
pub(crate) struct DatabaseConfig {
    pub(crate) options: PostgresOptions,
    pub(crate) origin: Place,
}

/// Where a route's rows come from.
#[derive(Clone, Debug)]
pub(crate) struct RowsConfig {
    pub(crate) source: RowsSource,
    /// No client gets more rows than this.
    pub(crate) rows_max: Option<u64>,
    /// What becomes of a file that would have more.
    pub(crate) on_more: OnMore,
}

/// A source of rows.
#[derive(Clone, Debug)]
pub(crate) enum RowsSource {
    Table {
        path: PathBuf,
        /// Which table of a FITS file; `None`: the first, and the others for requests that ask for one.
        hdu: Option<String>,
        metadata: ColumnMetadata,
        /// How files of text are written, and the types of their columns.
        text: TextOptions,
    },
    Query {
        sql: String,
        parameters: Parameters,
        metadata: ColumnMetadata,
    },
    Postgres {
        /// `None`: the only one.
        database: Option<String>,
        sql: String,
        parameters: Parameters,
        metadata: ColumnMetadata,
    },
    Stars,
}

impl TablesConfig {
    pub(super) fn has_sql(&self) -> bool {
        self.sql.is_some()
    }

    pub(super) fn has_database(&self, name: &str) -> bool {
        self.databases.contains_key(name)
    }

    /// How long a head waits for a length that is known only once rows have been read.
    pub(crate) fn length_wait(&self) -> Duration {
        self.rows.length_wait
    }

    /// Lets a server start before the types of all columns are inferred.
    pub(crate) fn serve_while_opening(&mut self) {
        self.open_wait = Some(self.server_open_wait);
    }

    /// Lets temporary files count among the bytes of the spool.
    pub(crate) fn count_temporary_files(&self, take: TakeRoom) {
        self.rows.temporary_files.count_in(take);
    }

    /// Lets a table be read for as long as that takes.
    pub(crate) fn lift_time_limit(&mut self) {
        self.engine.time_limit = NO_TIME_LIMIT;
        self.engine.plan_timeout = NO_TIME_LIMIT;
    }

    /// Sets how Parquet files are compressed.
    pub(crate) fn set_parquet_compression(&mut self, compression: ParquetCompression) {
        self.rows.writer.parquet_compression = compression;
    }
}

impl RowsConfig {
    fn new(source: RowsSource) -> Self {
        Self {
            source,
            rows_max: None,
            on_more: OnMore::Cap,
        }
    }

    /// A table named on the command line.
    ///
    /// # Errors
    /// The options contradict each other.
    pub(super) fn of_table(path: &Path, text: &TextOptions) -> Result<Self, Fatal> {
        text.check_together().map_err(Fatal::config)?;
        Ok(Self::new(RowsSource::Table {
            path: path.to_owned(),
            hdu: None,
            metadata: ColumnMetadata::default(),
            text: text.clone(),
        }))
    }

    /// Chooses a table of a FITS file. Does nothing to what is no table of files.
    pub(super) fn choose_hdu(&mut self, chosen: String) {
        if let RowsSource::Table { hdu, .. } = &mut self.source {
            *hdu = Some(chosen);
        }
    }

    /// Returns whether a file of this name is read as a table.
    pub(super) fn is_table(path: &Path) -> bool {
        TableFiles::has_reader_of(path)
    }

    /// Returns whether there is a file, a directory, or a match of a glob.
    ///
    /// # Errors
    /// A directory that the glob crosses cannot be read.
    pub(super) fn is_there(path: &Path) -> Result<bool, Fatal> {
        match path.exists() {
            true => Ok(true),
            false => TableFiles::matches(path).map_err(|error| Fatal::config(error.to_string())),
        }
    }

    /// The table of the demo.
    pub(super) fn demo() -> Option<Self> {
        Some(Self::new(RowsSource::Stars))
    }

    pub(super) fn is_query(&self) -> bool {
        matches!(self.source, RowsSource::Query { .. })
    }
}

/// Checks what holds for all tables.
pub(super) fn resolve(raw: &Raw, origin: &Origin<'_>) -> Result<TablesConfig, Fatal> {
    let databases = raw.databases.iter();
    let databases = databases.map(|(name, raw)| (name.clone(), database(name, raw, origin)));
    Ok(TablesConfig {
        engine: engine(&raw.tables, origin)?,
        rows: settings(&raw.tables, origin),
        sql: raw.sql.enabled.then(|| SqlConfig {
            rows_max: raw.sql.max_rows,
            isolation: IsolationOptions {
                memory_bytes: raw
                    .sql
                    .memory_bytes
                    .map_or(DEFAULT_QUERY_BYTES, |size| size.0),
            },
            origin: origin.setting("sql", "enabled"),
        }),
        databases: databases.collect(),
        open_wait: None,
        server_open_wait: duration(raw.tables.open_wait, DEFAULT_OPEN_WAIT),
    })
}

/// Checks what a route says of its rows.
pub(super) fn rows(raw: &RawRoute, path: PathBuf) -> Result<RowsConfig, String> {
    let sql = raw.sql.clone().unwrap_or_default();
    let mut metadata = column_metadata(raw);
    let source = match raw.kind {
        Kind::Table => RowsSource::Table {
            path,
            hdu: raw.hdu.as_ref().map(ToString::to_string),
            text: text_options(raw, &mut metadata)?,
            metadata,
        },
        Kind::Query => RowsSource::Query {
            sql,
            parameters: parameters(raw)?,
            metadata,
        },
        Kind::Postgres => RowsSource::Postgres {
            database: raw.database.clone(),
            sql,
            parameters: parameters(raw)?,
            metadata,
        },
        _ => RowsSource::Stars,
    };
    Ok(RowsConfig {
        source,
        rows_max: raw.max_rows,
        on_more: match (raw.on_more, raw.max_rows) {
            (None | Some(RawOnMore::Cap), _) => OnMore::Cap,
            (Some(RawOnMore::Refuse), Some(_)) => OnMore::Refuse,
            (Some(RawOnMore::Refuse), None) => {
                return Err("`on_more` is for routes with `max_rows`".into());
            }
        },
    })
}

/// What bounds the queries.
fn engine(raw: &RawTables, origin: &Origin<'_>) -> Result<EngineOptions, Fatal> {
    let defaults = EngineOptions::default();
    let time_limit = duration(raw.time_limit, defaults.time_limit);
    Ok(EngineOptions {
        memory_bytes: bytes(raw.memory_bytes, defaults.memory_bytes),
        spill_bytes: raw.spill_bytes.map_or(defaults.spill_bytes, |size| size.0),
        spill_folder: spill_folder(raw, origin)?,
        time_limit,
        plan_timeout: duration(raw.plan_timeout, defaults.plan_timeout),
        memory_timeout: defaults.memory_timeout,
        threads: raw.threads.map(Into::into),
        fits_strict: raw.fits_strict.unwrap_or(defaults.fits_strict),
        expansion_max: raw.expansion_max.map_or(defaults.expansion_max, Into::into),
        unpack_bytes: raw
            .unpack_bytes
            .map_or(defaults.unpack_bytes, |size| size.0),
    })
}

fn spill_folder(raw: &RawTables, origin: &Origin<'_>) -> Result<Option<PathBuf>, Fatal> {
    let Some(folder) = &raw.spill_folder else {
        return Ok(None);
    };
    let folder = origin.folder.join(folder);
    if !folder.is_dir() {
        let text = format!("({}) is no directory", folder.display());
        return Err(origin.refuse("tables", "spill_folder", &text));
    }
    Ok(Some(folder))
}

/// How rows become files.
fn settings(raw: &RawTables, origin: &Origin<'_>) -> RowSettings {
    let mut writer = WriterOptions::default();
    // `check.rs` lets no other names through, here and below.
    let compression = raw.parquet_compression.as_deref();
    if let Some(Ok(compression)) = compression.map(parse_compression) {
        writer.parquet_compression = compression;
    }
    writer.votable_version = match raw.votable_version.as_deref() {
        Some("1.5") => Version::V1_5,
        _ => Version::V1_4,
    };
    if let Some(rows) = raw.html_rows {
        writer.html_rows_max = rows;
    }
    if let Some(size) = raw.spool_bytes {
        writer.spool_bytes_max = size.0;
    }
    if let Some(folder) = &raw.spill_folder {
        writer.spool_directory = origin.folder.join(folder);
    }
    let temporary_files = Arc::new(TemporaryFiles::default());
    writer.temporary_room = Some(Arc::clone(&temporary_files) as Arc<_>);
    RowSettings {
        writer,
        temporary_files,
        length_wait: duration(raw.length_wait, DEFAULT_LENGTH_WAIT),
    }
}

/// The connections to a PostgreSQL server.
fn database(name: &str, spanned: &Spanned<RawDatabase>, origin: &Origin<'_>) -> DatabaseConfig {
    let raw = spanned.get_ref();
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
    DatabaseConfig {
        options,
        origin: origin.part(spanned.span().start, &format!("databases.{name}")),
    }
}

/// What a route says of its table and columns.
fn column_metadata(raw: &RawRoute) -> ColumnMetadata {
    let description = raw.description.clone();
    let description = description.map(|text| (meta::DESCRIPTION.to_owned(), text));
    ColumnMetadata {
        table: BTreeMap::from_iter(description),
        columns: raw.columns.clone().unwrap_or_default(),
    }
}

/// What a route says of its files of text. Takes the types of columns from their metadata.
fn text_options(raw: &RawRoute, metadata: &mut ColumnMetadata) -> Result<TextOptions, String> {
    let mut types = BTreeMap::new();
    for (column, written) in &mut metadata.columns {
        if let Some(name) = written.remove(TYPE) {
            // `check.rs` lets no other names through.
            let data_type = text::parse_type(&name);
            types.insert(column.clone(), data_type?);
        }
    }
    metadata.columns.retain(|_, written| !written.is_empty());
    fn parsed<T>(
        written: Option<&String>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        written.map(|text| parse(text)).transpose()
    }
    let options = TextOptions {
        delimiter: parsed(raw.delimiter.as_ref(), text::parse_delimiter)?,
        quote: parsed(raw.quote.as_ref(), text::parse_quote)?,
        header: raw.header,
        names: raw.names.clone(),
        nulls: raw.null.clone().unwrap_or_default(),
        comment: parsed(raw.comment.as_ref(), text::parse_comment)?,
        encoding: parsed(raw.encoding.as_ref(), TextEncoding::parse)?,
        decimal: parsed(raw.decimal.as_ref(), text::parse_decimal)?,
        types,
        ..TextOptions::default()
    };
    options.check_together()?;
    Ok(options)
}

/// The key of a column's type, beside those of its metadata.
pub(super) const TYPE: &str = "type";

/// Checks the name of a column's type.
///
/// # Errors
/// The text of which ones there are.
pub(super) fn check_type(name: &str) -> Result<(), String> {
    text::parse_type(name).map(drop)
}

fn parameters(raw: &RawRoute) -> Result<Parameters, String> {
    let declared = raw.parameters.iter().flatten();
    let (declared, errors): (Vec<_>, Vec<_>) = declared.map(parameter).partition(Result::is_ok);
    if !errors.is_empty() {
        let errors: Vec<_> = errors.into_iter().filter_map(Result::err).collect();
        return Err(errors.join("; "));
    }
    let declared = declared.into_iter().flatten().collect();
    Parameters::new(declared).map_err(|error| error.to_string())
}

fn parameter(raw: &RawParameter) -> Result<Parameter, String> {
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

/// Finds a compression of Parquet by its name, on the command line and in the configuration.
pub(crate) fn parse_compression(text: &str) -> Result<ParquetCompression, String> {
    match text {
        "zstd" => Ok(ParquetCompression::Zstd),
        "snappy" => Ok(ParquetCompression::Snappy),
        "none" => Ok(ParquetCompression::None),
        _ => Err("there are zstd, snappy, none".into()),
    }
}
