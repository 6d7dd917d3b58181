//! The configuration: what a file, the environment and the command line say, resolved once.
//!
//! [`Raw`] is what was written; [`resolve`] either refuses with one clear line or makes the
//! [`Config`] that needs no check after.

mod tables;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use datastreamer::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FLUSH_AFTER,
    DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING, DEFAULT_QUEUE_TIMEOUT, DEFAULT_RESERVE_BYTES,
    DEFAULT_SOURCE_STALL, PoolOptions, StreamOptions,
};
use datastreamer_http::{DEFAULT_COMMIT_AFTER, DEFAULT_COMMIT_BYTES};
use serde::Deserialize;
use tokio::sync::Semaphore;
use toml::{Spanned, Table, Value, de::DeTable};

use self::tables::{
    Databases, RawDatabase, RawParameter, notes, resolve_databases, resolve_parameters,
};
pub(crate) use self::tables::{Tables, block_on};
use crate::{
    cli,
    error::Fatal,
    routes::{Route, RouteTable},
    sources::{
        Command, Directory, Noise, RowSource, Source,
        rows::{ClientSql, PostgresQuery, RowSettings, SqlQuery, Stars, Table as TableSource},
    },
    units::{ByteSize, Span},
};

/// This machine only: whoever wants to be seen by others says so.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Half of systemd's default for a stop (90 s), so that the visible aborts come before a SIGKILL.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// Eight times the active streams: index pages, waiting and finished clients need connections
/// too. At about 20 KiB each they are 80 MiB.
const DEFAULT_MAX_CONNECTIONS: usize = 4096;
/// What slow lines need for a head of a few kilobytes, several times over.
const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Three times the pings that keep an HTTP/2 connection alive: browsers come back to one within
/// seconds, and who has been quiet for a minute costs a place.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// 512 KiB a chunk of a stream that is alone: a fourth of the switches between its threads that
/// the chunks of fast clients take, and a tenth of the CPU time of a binary table less.
const SOLE_CHUNK_BYTES: usize = 512 * 1024;
/// One that is filled, one that is written, and one in either direction between.
const SOLE_CHUNKS: usize = 4;
/// 64 MiB a chunk: 512 times the size beyond which larger ones are no faster, and what any system
/// maps.
const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// 1 GiB a stream: seconds of the fastest network. More is a cache, and no buffer.
const BUFFER_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Variables begin with this; `DATASTREAMER_SERVER__LISTEN` is `server.listen`.
const ENV_PREFIX: &str = "DATASTREAMER_";
/// What the environment may set: all but the routes.
const SETTINGS: [(&str, &[&str]); 5] = [
    ("server", &["listen", "drain"]),
    (
        "stream",
        &[
            "chunk_bytes",
            "buffer_bytes",
            "fast_buffer_bytes",
            "flush_after",
            "commit_after",
            "commit_bytes",
        ],
    ),
    (
        "limits",
        &[
            "max_active",
            "max_waiting",
            "reserve_bytes",
            "max_connections",
            "queue_timeout",
            "header_timeout",
            "idle_timeout",
            "client_stall",
            "client_min_rate",
            "source_stall",
        ],
    ),
    (
        "tables",
        &[
            "memory_bytes",
            "spill_bytes",
            "spill_folder",
            "time_limit",
            "threads",
            "length_wait",
            "spool_bytes",
            "parquet_compression",
            "votable_version",
            "html_rows",
        ],
    ),
    ("sql", &["enabled", "max_rows"]),
];
/// Variables of others: the command line's (see `cli.rs`) and, behind them, the test suite's.
const NO_SETTINGS: [&str; 6] = [
    "DATASTREAMER_CONFIG",
    "DATASTREAMER_LOG_FORMAT",
    "DATASTREAMER_ABORT_REPORT",
    "DATASTREAMER_ABORT_ROUNDS",
    "DATASTREAMER_ABORT_SEED",
    "DATASTREAMER_TEST_BINARY",
];

/// The whole file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    server: RawServer,
    stream: RawStream,
    limits: RawLimits,
    tables: RawTables,
    sql: RawSql,
    databases: BTreeMap<String, Spanned<RawDatabase>>,
    routes: BTreeMap<String, Spanned<RawRoute>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawServer {
    listen: Option<String>,
    drain: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStream {
    chunk_bytes: Option<ByteSize>,
    buffer_bytes: Option<ByteSize>,
    fast_buffer_bytes: Option<ByteSize>,
    flush_after: Option<Span>,
    commit_after: Option<Span>,
    commit_bytes: Option<ByteSize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    max_active: Option<NonZeroUsize>,
    max_waiting: Option<usize>,
    reserve_bytes: Option<ByteSize>,
    max_connections: Option<NonZeroUsize>,
    queue_timeout: Option<Span>,
    header_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    client_stall: Option<Span>,
    client_min_rate: Option<ByteSize>,
    source_stall: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTables {
    memory_bytes: Option<ByteSize>,
    spill_bytes: Option<ByteSize>,
    spill_folder: Option<PathBuf>,
    time_limit: Option<Span>,
    threads: Option<NonZeroUsize>,
    length_wait: Option<Span>,
    spool_bytes: Option<ByteSize>,
    parquet_compression: Option<String>,
    votable_version: Option<String>,
    html_rows: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSql {
    enabled: bool,
    max_rows: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    kind: Kind,
    suffix: Option<String>,
    media_type: Option<String>,
    description: Option<String>,
    compress: Option<bool>,
    path: Option<PathBuf>,
    argv: Option<Vec<String>>,
    sql: Option<String>,
    database: Option<String>,
    parameters: Option<Vec<RawParameter>>,
    columns: Option<BTreeMap<String, BTreeMap<String, String>>>,
    max_rows: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Noise,
    Directory,
    Command,
    Table,
    Query,
    Postgres,
    Stars,
}

/// What the program runs on.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// At least one; the first that can be had is taken.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) drain: Duration,
    pub(crate) stream: StreamConfig,
    pub(crate) limits: Limits,
    pub(crate) tables: Tables,
    pub(crate) routes: RouteTable,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamConfig {
    /// `None`, here and below: the library's, and with it its bound for fast clients.
    chunk_bytes: Option<usize>,
    buffer_bytes: Option<usize>,
    fast_buffer_bytes: Option<usize>,
    flush_after: Duration,
    pub(crate) commit_after: Duration,
    pub(crate) commit_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    max_active: usize,
    max_waiting: usize,
    reserve_bytes: usize,
    queue_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// `None`: never.
    pub(crate) client_stall: Option<Duration>,
    client_min_rate: u64,
    /// `None`: never.
    source_stall: Option<Duration>,
}

impl Config {
    /// The options of every stream.
    pub(crate) fn stream_options(&self) -> StreamOptions {
        let mut options = StreamOptions::new()
            .flush_after(self.stream.flush_after)
            .consumer_stall(self.limits.client_stall)
            .min_bytes_per_second(self.limits.client_min_rate)
            .source_stall(self.limits.source_stall);
        if let Some(bytes) = self.stream.chunk_bytes {
            options = options.chunk_bytes(bytes);
        }
        if let Some(bytes) = self.stream.buffer_bytes {
            options = options.buffer_bytes(bytes);
        }
        if let Some(bytes) = self.stream.fast_buffer_bytes {
            options = options.fast_buffer_bytes(bytes);
        }
        options
    }

    /// The options of the one stream of a process, which nobody shares the memory with. What the
    /// configuration says of buffers holds.
    pub(crate) fn sole_stream_options(&self) -> StreamOptions {
        let options = self.stream_options();
        match (self.stream.chunk_bytes, self.stream.buffer_bytes) {
            (None, None) => options
                .chunk_bytes(SOLE_CHUNK_BYTES)
                .buffer_bytes(SOLE_CHUNKS * SOLE_CHUNK_BYTES),
            _ => options,
        }
    }

    pub(crate) fn pool_options(&self) -> PoolOptions {
        PoolOptions {
            max_active: self.limits.max_active,
            max_waiting: self.limits.max_waiting,
            reserve_bytes: self.limits.reserve_bytes,
            queue_timeout: self.limits.queue_timeout,
            thread_name: "source".into(),
            ..PoolOptions::default()
        }
    }
}

/// Reads and resolves the configuration for `serve` and `cat`.
pub(crate) fn load(routes: &cli::Routes, listen: Option<&str>) -> Result<Config, Fatal> {
    let mut config = match &routes.config {
        Some(file) => load_file(file)?,
        None => resolve_with_environment("", Origin::default())?,
    };
    if let Some(listen) = listen {
        config.listen =
            parse_listen(listen).map_err(|text| Fatal::Config(format!("--listen: {text}")))?;
    }
    for path in &routes.paths {
        let refuse = |text: String| Fatal::Config(format!("{}: {text}", path.display()));
        let route = match path.is_dir() {
            true => directory_route(path).map_err(refuse)?,
            // What is wrong with a table's files names them.
            false => config.tables.route(path).map_err(Fatal::Config)?,
        };
        config.routes.add(route).map_err(refuse)?;
    }
    for path in &routes.tables {
        let refuse = |text: String| Fatal::Config(format!("--table: {text}"));
        let route = config.tables.route(path).map_err(refuse)?;
        config.routes.add(route).map_err(refuse)?;
    }
    if config.routes.is_empty() || routes.demo {
        for route in demo_routes(&config.tables) {
            config.routes.add_missing(route);
        }
    }
    Ok(config)
}

/// Reads and resolves a configuration file.
pub(crate) fn load_file(file: &Path) -> Result<Config, Fatal> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fatal::Config(format!("{}: {error}", file.display())))?;
    let origin = Origin {
        file: file.display().to_string(),
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        text: &text,
        variables: BTreeMap::new(),
    };
    resolve_with_environment(&text, origin)
}

fn resolve_with_environment(text: &str, mut origin: Origin<'_>) -> Result<Config, Fatal> {
    // Once for its errors, which name the line; the environment has no lines.
    let raw: Raw = toml::from_str(text).map_err(|error| origin.error(&error))?;
    let mut table: Table = toml::from_str(text).map_err(|error| origin.error(&error))?;
    for keeps_its_lines in ["routes", "databases"] {
        table.remove(keeps_its_lines);
    }
    for variable in read_environment()? {
        variable.lay_over(&mut table);
        let setting = (variable.section, variable.key);
        origin.variables.insert(setting, variable.name);
    }
    let mut overridden =
        Raw::deserialize(table).map_err(|error| Fatal::Config(error.message().to_owned()))?;
    overridden.routes = raw.routes;
    overridden.databases = raw.databases;
    resolve(overridden, &origin)
}

/// Where a configuration comes from, for messages and relative paths.
#[derive(Default)]
struct Origin<'a> {
    file: String,
    folder: PathBuf,
    text: &'a str,
    /// What the environment has set, by section and key.
    variables: BTreeMap<(&'static str, &'static str), String>,
}

impl Origin<'_> {
    fn line_of(&self, offset: usize) -> usize {
        self.text
            .get(..offset)
            .map_or(1, |before| before.matches('\n').count() + 1)
    }

    fn error(&self, error: &toml::de::Error) -> Fatal {
        let line = error.span().map_or(1, |span| self.line_of(span.start));
        let text = error.message().replace('\n', " ");
        Fatal::Config(format!("{}:{line}: {text}", self.file))
    }

    fn error_at(&self, route: &Spanned<RawRoute>, text: &str) -> Fatal {
        let line = self.line_of(route.span().start);
        Fatal::Config(format!("{}:{line}: {text}", self.file))
    }

    /// Refuses a setting, and says where it was made.
    fn refuse(&self, section: &'static str, key: &'static str, text: &str) -> Fatal {
        Fatal::Config(match self.variables.get(&(section, key)) {
            Some(variable) => format!("{variable}: {section}.{key} {text}"),
            None => match self.line_of_setting(section, key) {
                Some(line) => format!("{}:{line}: {section}.{key} {text}", self.file),
                None => format!("{section}.{key} {text}"),
            },
        })
    }

    fn line_of_setting(&self, section: &str, key: &str) -> Option<usize> {
        let table = DeTable::parse(self.text).ok()?;
        let section = table.get_ref().get(section)?.get_ref().as_table()?;
        let (key, _) = section.get_key_value(key)?;
        Some(self.line_of(key.span().start))
    }
}

/// A setting in the environment: `DATASTREAMER_LIMITS__MAX_ACTIVE=8`.
struct Variable {
    name: String,
    section: &'static str,
    key: &'static str,
    value: Value,
}

impl Variable {
    fn lay_over(&self, table: &mut Table) {
        let section = table
            .entry(self.section)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(section) = section {
            section.insert(self.key.into(), self.value.clone());
        }
    }
}

fn read_environment() -> Result<Vec<Variable>, Fatal> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with(ENV_PREFIX) || NO_SETTINGS.contains(&name.as_str()) {
            continue;
        }
        let wrong = |text: &str| Fatal::Config(format!("{name}: {text}"));
        if name.starts_with(&format!("{ENV_PREFIX}ROUTES")) {
            return Err(wrong("routes are only read from a file"));
        }
        let Some((section, key)) = settings().find(|(section, key)| variable(section, key) == name)
        else {
            let nearest = nearest_variable(&name);
            return Err(wrong(&format!("no such setting; did you mean {nearest}?")));
        };
        let value = value
            .into_string()
            .map_err(|_| wrong("the value is no UTF-8"))?;
        let variable = Variable {
            section,
            key,
            value: environment_value(&value),
            name: name.clone(),
        };
        // Alone, for an error that is its own.
        let mut alone = Table::new();
        variable.lay_over(&mut alone);
        Raw::deserialize(alone).map_err(|error| wrong(error.message()))?;
        variables.push(variable);
    }
    Ok(variables)
}

fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS
        .into_iter()
        .flat_map(|(section, keys)| keys.iter().map(move |key| (section, *key)))
}

fn variable(section: &str, key: &str) -> String {
    format!("{ENV_PREFIX}{section}__{key}").to_uppercase()
}

fn nearest_variable(name: &str) -> String {
    settings()
        .map(|(section, key)| variable(section, key))
        .chain(NO_SETTINGS[..2].iter().map(ToString::to_string))
        .min_by_key(|known| strsim::osa_distance(known, name))
        .unwrap_or_default()
}

/// Numbers and booleans as such, all else as text.
fn environment_value(text: &str) -> Value {
    match (text.parse::<i64>(), text.parse::<bool>()) {
        (Ok(number), _) => Value::Integer(number),
        (_, Ok(truth)) => Value::Boolean(truth),
        _ => Value::String(text.to_owned()),
    }
}

fn resolve(raw: Raw, origin: &Origin<'_>) -> Result<Config, Fatal> {
    let mut routes = RouteTable::default();
    let tables = Tables::resolve(&raw.tables, origin)?;
    let databases = resolve_databases(&raw.databases, &tables, origin)?;
    // Tables first: queries are checked against them.
    let (queries, others): (Vec<_>, Vec<_>) = raw
        .routes
        .iter()
        .partition(|(_, route)| route.get_ref().kind == Kind::Query);
    for (name, route) in others.into_iter().chain(queries) {
        let resolved = resolve_route(name, route, &tables, &databases, origin)?;
        routes
            .add(resolved)
            .map_err(|text| origin.error_at(route, &format!("routes.{name}: {text}")))?;
    }
    if raw.sql.enabled {
        let route = tables.sql_route(raw.sql.max_rows);
        let added = route.and_then(|route| routes.add(route));
        added.map_err(|text| origin.refuse("sql", "enabled", &text))?;
    }
    let listen = raw.server.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    Ok(Config {
        listen: parse_listen(listen).map_err(|text| origin.refuse("server", "listen", &text))?,
        drain: duration(raw.server.drain, DEFAULT_DRAIN),
        stream: resolve_stream(&raw.stream, origin)?,
        limits: resolve_limits(&raw.limits, origin)?,
        tables,
        routes,
    })
}

fn resolve_stream(raw: &RawStream, origin: &Origin<'_>) -> Result<StreamConfig, Fatal> {
    let refuse = |key, text: String| Err(origin.refuse("stream", key, &text));
    let buffer_bytes = bytes(raw.buffer_bytes, DEFAULT_BUFFER_BYTES);
    // A small buffer makes small chunks.
    let small_bytes = DEFAULT_CHUNK_BYTES.min(buffer_bytes / 2).max(1);
    let chunk_bytes = bytes(raw.chunk_bytes, small_bytes);
    let fast_buffer_bytes = raw.fast_buffer_bytes.map(|size| bytes(Some(size), 0));
    if !(1..=CHUNK_BYTES_MAX).contains(&chunk_bytes) {
        let text = format!("must be from 1 to {CHUNK_BYTES_MAX}");
        return refuse("chunk_bytes", text);
    }
    for (key, size) in [
        ("buffer_bytes", Some(buffer_bytes)),
        ("fast_buffer_bytes", fast_buffer_bytes),
    ] {
        if size.is_some_and(|size| size > BUFFER_BYTES_MAX) {
            return refuse(key, format!("must be at most {BUFFER_BYTES_MAX}"));
        }
    }
    if buffer_bytes < chunk_bytes * 2 {
        // Whichever was written.
        return match raw.buffer_bytes {
            Some(_) => refuse(
                "buffer_bytes",
                format!(
                    "({buffer_bytes}) must hold two chunks of stream.chunk_bytes ({chunk_bytes})"
                ),
            ),
            None => refuse(
                "chunk_bytes",
                format!("({chunk_bytes}) must fit twice into stream.buffer_bytes ({buffer_bytes})"),
            ),
        };
    }
    if fast_buffer_bytes.is_some_and(|fast| fast < buffer_bytes) {
        let text = format!("must be at least stream.buffer_bytes ({buffer_bytes})");
        return refuse("fast_buffer_bytes", text);
    }
    // What is held back is in the buffer, beside the chunk being filled.
    let commit_bytes_max = buffer_bytes - chunk_bytes;
    let commit_bytes = bytes(raw.commit_bytes, DEFAULT_COMMIT_BYTES.min(commit_bytes_max));
    if commit_bytes > commit_bytes_max {
        let text = format!(
            "({commit_bytes}) must fit into stream.buffer_bytes beside one chunk: at most \
             {commit_bytes_max}"
        );
        return refuse("commit_bytes", text);
    }
    Ok(StreamConfig {
        chunk_bytes: raw.chunk_bytes.map(|_| chunk_bytes),
        buffer_bytes: raw.buffer_bytes.map(|_| buffer_bytes),
        fast_buffer_bytes,
        flush_after: duration(raw.flush_after, DEFAULT_FLUSH_AFTER),
        commit_after: duration(raw.commit_after, DEFAULT_COMMIT_AFTER),
        commit_bytes,
    })
}

fn resolve_limits(raw: &RawLimits, origin: &Origin<'_>) -> Result<Limits, Fatal> {
    let refuse = |key, text: &str| Err(origin.refuse("limits", key, text));
    let limits = Limits {
        max_active: raw.max_active.map_or(DEFAULT_MAX_ACTIVE, NonZeroUsize::get),
        max_waiting: raw.max_waiting.unwrap_or(DEFAULT_MAX_WAITING),
        reserve_bytes: bytes(raw.reserve_bytes, DEFAULT_RESERVE_BYTES),
        queue_timeout: duration(raw.queue_timeout, DEFAULT_QUEUE_TIMEOUT),
        max_connections: raw
            .max_connections
            .map_or(DEFAULT_MAX_CONNECTIONS, NonZeroUsize::get),
        header_timeout: duration(raw.header_timeout, DEFAULT_HEADER_TIMEOUT),
        idle_timeout: duration(raw.idle_timeout, DEFAULT_IDLE_TIMEOUT),
        client_stall: duration_or_never(raw.client_stall, DEFAULT_CONSUMER_STALL),
        client_min_rate: raw.client_min_rate.map_or(0, |rate| rate.0),
        source_stall: duration_or_never(raw.source_stall, DEFAULT_SOURCE_STALL),
    };
    for (key, time) in [
        ("header_timeout", limits.header_timeout),
        ("idle_timeout", limits.idle_timeout),
    ] {
        if time.is_zero() {
            return refuse(key, "must not be 0: nobody could ask for anything");
        }
    }
    if limits.queue_timeout.is_zero() {
        let text = "must not be 0: with max_waiting = 0 nobody waits";
        return refuse("queue_timeout", text);
    }
    if limits.client_min_rate > 0 && limits.client_stall.is_none() {
        let text = "is measured over limits.client_stall, which must not be 0 then";
        return refuse("client_min_rate", text);
    }
    if limits.max_connections > Semaphore::MAX_PERMITS {
        let text = format!("must be at most {}", Semaphore::MAX_PERMITS);
        return refuse("max_connections", &text);
    }
    Ok(limits)
}

fn resolve_route(
    name: &str,
    spanned: &Spanned<RawRoute>,
    tables: &Tables,
    databases: &Databases,
    origin: &Origin<'_>,
) -> Result<Route, Fatal> {
    let raw = spanned.get_ref();
    let refuse = |text: String| origin.error_at(spanned, &format!("routes.{name}: {text}"));
    check_keys(raw).map_err(refuse)?;
    let path = origin
        .folder
        .join(raw.path.as_deref().unwrap_or(Path::new("")));
    let source = match raw.kind {
        Kind::Noise => Source::Noise(Noise),
        Kind::Directory => Source::Directory(Directory::open(&path, name).map_err(refuse)?),
        Kind::Command => {
            let argv = raw.argv.clone().unwrap_or_default();
            Source::Command(Command::new(argv, &origin.folder).map_err(refuse)?)
        }
        Kind::Table => {
            let notes = notes(raw);
            let table = tables.register(name, &path, &notes).map_err(refuse)?;
            tables.source(RowSource::Table(table), raw.max_rows)
        }
        Kind::Query => {
            let sql = raw.sql.clone().unwrap_or_default();
            let parameters = resolve_parameters(raw).map_err(refuse)?;
            let query = tables.query(sql, parameters, notes(raw)).map_err(refuse)?;
            tables.source(RowSource::Query(query), raw.max_rows)
        }
        Kind::Postgres => {
            let sql = raw.sql.as_deref().unwrap_or_default();
            let parameters = resolve_parameters(raw).map_err(refuse)?;
            let database = raw.database.as_deref();
            let query = Tables::postgres(databases, database, sql, parameters, notes(raw));
            tables.source(RowSource::Postgres(query.map_err(refuse)?), raw.max_rows)
        }
        Kind::Stars => tables.source(RowSource::Stars(Stars::new()), raw.max_rows),
    };
    let mut route = Route::new(name, source).map_err(refuse)?;
    if let Some(suffix) = &raw.suffix {
        route.set_suffix(suffix).map_err(refuse)?;
    }
    if let Some(media_type) = &raw.media_type {
        route.set_media_type(media_type).map_err(refuse)?;
    }
    route.description.clone_from(&raw.description);
    route.compress = raw.compress.unwrap_or(false);
    Ok(route)
}

/// Refuses keys that belong to another kind of route, and finds those that lack.
fn check_keys(raw: &RawRoute) -> Result<(), String> {
    use Kind as K;
    /// A key, whether it is there, whose it is, and whether that cannot do without it.
    type Key<'a> = (&'a str, bool, &'a [Kind], bool);
    let files: &[Kind] = &[K::Noise, K::Directory, K::Command];
    let queries: &[Kind] = &[K::Query, K::Postgres];
    let described: &[Kind] = &[K::Table, K::Query, K::Postgres];
    let rows: &[Kind] = &[K::Table, K::Query, K::Postgres, K::Stars];
    let keys: [Key<'_>; 9] = [
        ("path", raw.path.is_some(), &[K::Directory, K::Table], true),
        ("argv", raw.argv.is_some(), &[K::Command], true),
        ("sql", raw.sql.is_some(), queries, true),
        ("database", raw.database.is_some(), &[K::Postgres], false),
        ("parameters", raw.parameters.is_some(), queries, false),
        ("columns", raw.columns.is_some(), described, false),
        ("max_rows", raw.max_rows.is_some(), rows, false),
        ("suffix", raw.suffix.is_some(), files, false),
        ("media_type", raw.media_type.is_some(), files, false),
    ];
    for (key, is_there, owners, is_needed) in keys {
        let is_owner = owners.contains(&raw.kind);
        if is_there && !is_owner {
            let owners: Vec<_> = owners
                .iter()
                .map(|kind| format!("\"{}\"", kind.name()))
                .collect();
            return Err(format!("`{key}` belongs to kind {}", owners.join(", ")));
        }
        if is_needed && is_owner && !is_there {
            return Err(format!("`{key}` is missing"));
        }
    }
    Ok(())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Directory => "directory",
            Self::Command => "command",
            Self::Table => "table",
            Self::Query => "query",
            Self::Postgres => "postgres",
            Self::Stars => "stars",
        }
    }
}

/// What the built-in demo serves.
fn demo_routes(tables: &Tables) -> impl Iterator<Item = Route> {
    let stars = tables.source(RowSource::Stars(Stars::new()), None);
    let routes = [
        (
            "noise",
            Source::Noise(Noise),
            "test bytes, as many as you ask for",
        ),
        (
            "stars",
            stars,
            "an invented catalogue, as many rows as you ask for",
        ),
    ];
    routes
        .into_iter()
        .filter_map(|(name, source, description)| {
            let mut route = Route::new(name, source).ok()?;
            route.description = Some(description.into());
            Some(route)
        })
}

/// A directory named on the command line.
fn directory_route(path: &Path) -> Result<Route, String> {
    // `.` and `..` have no name of their own.
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    let name = real
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("files");
    Route::new(name, Source::Directory(Directory::open(path, name)?))
}

/// Finds all addresses of a name: it may have one that this machine does not. A port alone is that
/// port on this machine only, as [`DEFAULT_LISTEN`] is.
fn parse_listen(text: &str) -> Result<Vec<SocketAddr>, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
    }
    let wrong = |why: String| {
        format!("`{text}` is no address to listen on: {why} (write for example 127.0.0.1:8080)")
    };
    let addresses = text.to_socket_addrs();
    let addresses: Vec<_> = addresses
        .map_err(|error| wrong(error.to_string()))?
        .collect();
    match addresses.is_empty() {
        true => Err(wrong("no address found".into())),
        false => Ok(addresses),
    }
}

/// Addresses for people.
pub(crate) fn show(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

fn bytes(raw: Option<ByteSize>, default: usize) -> usize {
    raw.map_or(default, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    })
}

fn duration(raw: Option<Span>, default: Duration) -> Duration {
    raw.map_or(default, |span| span.0)
}

/// 0 is never.
fn duration_or_never(raw: Option<Span>, default: Duration) -> Option<Duration> {
    Some(duration(raw, default)).filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_that_port_on_this_machine() {
        let local = |port| Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]);
        assert_eq!(parse_listen("8080"), local(8080));
        assert_eq!(parse_listen("127.0.0.1:0"), local(0));
        for wrong in ["", "65536", "-1", "localhost", "80 80"] {
            assert!(parse_listen(wrong).is_err(), "{wrong}");
        }
    }
}
