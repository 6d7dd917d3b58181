//! The configuration: what a file, the environment and the command line say, resolved once.
//!
//! [`Raw`] is what was written; [`resolve`] either refuses with one clear line or makes the
//! [`Config`] that needs no check after.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
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
use toml::{Spanned, Table, Value};

use crate::{
    cli,
    error::Fatal,
    routes::{Route, RouteTable},
    sources::{Command, Directory, Noise, Source},
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
/// Variables begin with this; `DATASTREAMER_SERVER__LISTEN` is `server.listen`.
const ENV_PREFIX: &str = "DATASTREAMER_";

/// The whole file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    server: RawServer,
    stream: RawStream,
    limits: RawLimits,
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
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Noise,
    Directory,
    Command,
}

/// What the program runs on.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) drain: Duration,
    pub(crate) stream: StreamConfig,
    pub(crate) limits: Limits,
    pub(crate) routes: RouteTable,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamConfig {
    chunk_bytes: usize,
    /// `None`: the library's, and with it its bound for fast clients.
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
    pub(crate) client_stall: Duration,
    client_min_rate: u64,
    source_stall: Duration,
}

impl Config {
    /// The options of every stream.
    pub(crate) fn stream_options(&self) -> StreamOptions {
        let mut options = StreamOptions::new()
            .chunk_bytes(self.stream.chunk_bytes)
            .flush_after(self.stream.flush_after)
            .consumer_stall(self.limits.client_stall)
            .min_bytes_per_second(self.limits.client_min_rate)
            .source_stall(self.limits.source_stall);
        if let Some(bytes) = self.stream.buffer_bytes {
            options = options.buffer_bytes(bytes);
        }
        if let Some(bytes) = self.stream.fast_buffer_bytes {
            options = options.fast_buffer_bytes(bytes);
        }
        options
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
        None => resolve(read_environment(Table::new())?, &Origin::nowhere())?,
    };
    if let Some(listen) = listen {
        config.listen = parse_listen(listen, "--listen")?;
    }
    for path in &routes.paths {
        config.routes.add(directory_route(path)?)?;
    }
    if config.routes.is_empty() || routes.demo {
        config.routes.add_missing(Route::demo());
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
    };
    // Once for its errors, which name the line; the environment has no lines.
    let raw: Raw = toml::from_str(&text).map_err(|error| origin.error(&error))?;
    let table: Table = toml::from_str(&text).map_err(|error| origin.error(&error))?;
    let mut with_environment = read_environment(table)?;
    with_environment.routes = raw.routes;
    resolve(with_environment, &origin)
}

/// Where a configuration comes from, for messages and relative paths.
struct Origin<'a> {
    file: String,
    folder: PathBuf,
    text: &'a str,
}

impl Origin<'_> {
    fn nowhere() -> Self {
        Self {
            file: "configuration".into(),
            folder: PathBuf::new(),
            text: "",
        }
    }

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
}

/// Lays the environment over the file: `DATASTREAMER_LIMITS__MAX_ACTIVE=8`.
fn read_environment(mut table: Table) -> Result<Raw, Fatal> {
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let Some((section, key)) = name
            .strip_prefix(ENV_PREFIX)
            .and_then(|path| path.split_once("__"))
        else {
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| Fatal::Config(format!("{name}: the value is no UTF-8")))?;
        let mut one = Table::new();
        one.insert(key.to_lowercase(), environment_value(&value));
        let section = section.to_lowercase();
        let mut whole = Table::new();
        whole.insert(section.clone(), Value::Table(one.clone()));
        if section == "routes" {
            return Err(Fatal::Config(format!(
                "{name}: routes are only read from a file"
            )));
        }
        Raw::deserialize(whole)
            .map_err(|error| Fatal::Config(format!("{name}: {}", error.message())))?;
        match table.entry(section).or_insert(Value::Table(Table::new())) {
            Value::Table(existing) => existing.extend(one),
            _ => return Err(Fatal::Config(format!("{name}: no such setting"))),
        }
    }
    table.remove("routes"); // They keep their lines: see load_file.
    Raw::deserialize(table).map_err(|error| Fatal::Config(error.message().to_owned()))
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
    for (name, route) in raw.routes {
        routes.add(resolve_route(&name, &route, origin)?)?;
    }
    Ok(Config {
        listen: parse_listen(
            raw.server.listen.as_deref().unwrap_or(DEFAULT_LISTEN),
            "server.listen",
        )?,
        drain: duration(raw.server.drain, DEFAULT_DRAIN),
        stream: resolve_stream(&raw.stream)?,
        limits: resolve_limits(&raw.limits),
        routes,
    })
}

fn resolve_stream(raw: &RawStream) -> Result<StreamConfig, Fatal> {
    let chunk_bytes = bytes(raw.chunk_bytes, DEFAULT_CHUNK_BYTES);
    let buffer_bytes = bytes(raw.buffer_bytes, DEFAULT_BUFFER_BYTES);
    let fast_buffer_bytes = raw.fast_buffer_bytes.map(|size| bytes(Some(size), 0));
    if chunk_bytes == 0 {
        return Err(Fatal::Config("stream.chunk_bytes must not be 0".into()));
    }
    if buffer_bytes < chunk_bytes.saturating_mul(2) {
        return Err(Fatal::Config(format!(
            "stream.buffer_bytes ({buffer_bytes}) must hold two chunks of stream.chunk_bytes ({chunk_bytes})"
        )));
    }
    if fast_buffer_bytes.is_some_and(|fast| fast < buffer_bytes) {
        return Err(Fatal::Config(format!(
            "stream.fast_buffer_bytes must be at least stream.buffer_bytes ({buffer_bytes})"
        )));
    }
    Ok(StreamConfig {
        chunk_bytes,
        buffer_bytes: raw.buffer_bytes.map(|_| buffer_bytes),
        fast_buffer_bytes,
        flush_after: duration(raw.flush_after, DEFAULT_FLUSH_AFTER),
        commit_after: duration(raw.commit_after, DEFAULT_COMMIT_AFTER),
        commit_bytes: bytes(raw.commit_bytes, DEFAULT_COMMIT_BYTES),
    })
}

fn resolve_limits(raw: &RawLimits) -> Limits {
    Limits {
        max_active: raw.max_active.map_or(DEFAULT_MAX_ACTIVE, NonZeroUsize::get),
        max_waiting: raw.max_waiting.unwrap_or(DEFAULT_MAX_WAITING),
        reserve_bytes: bytes(raw.reserve_bytes, DEFAULT_RESERVE_BYTES),
        queue_timeout: duration(raw.queue_timeout, DEFAULT_QUEUE_TIMEOUT),
        max_connections: raw
            .max_connections
            .map_or(DEFAULT_MAX_CONNECTIONS, NonZeroUsize::get),
        header_timeout: duration(raw.header_timeout, DEFAULT_HEADER_TIMEOUT),
        idle_timeout: duration(raw.idle_timeout, DEFAULT_IDLE_TIMEOUT),
        client_stall: duration(raw.client_stall, DEFAULT_CONSUMER_STALL),
        client_min_rate: raw.client_min_rate.map_or(0, |rate| rate.0),
        source_stall: duration(raw.source_stall, DEFAULT_SOURCE_STALL),
    }
}

fn resolve_route(
    name: &str,
    spanned: &Spanned<RawRoute>,
    origin: &Origin<'_>,
) -> Result<Route, Fatal> {
    let raw = spanned.get_ref();
    let refuse = |text: String| origin.error_at(spanned, &format!("routes.{name}: {text}"));
    for (key, is_there, kind) in [
        ("path", raw.path.is_some(), Kind::Directory),
        ("argv", raw.argv.is_some(), Kind::Command),
    ] {
        if is_there && raw.kind != kind {
            return Err(refuse(format!(
                "`{key}` belongs to kind \"{}\"",
                kind.name()
            )));
        }
        if !is_there && raw.kind == kind {
            return Err(refuse(format!("`{key}` is missing")));
        }
    }
    let source = match raw.kind {
        Kind::Noise => Source::Noise(Noise),
        Kind::Directory => {
            let path = origin
                .folder
                .join(raw.path.as_deref().unwrap_or(Path::new("")));
            Source::Directory(Directory::open(&path, name).map_err(refuse)?)
        }
        Kind::Command => {
            let argv = raw.argv.clone().unwrap_or_default();
            Source::Command(Command::new(argv, &origin.folder).map_err(refuse)?)
        }
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

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Noise => "noise",
            Self::Directory => "directory",
            Self::Command => "command",
        }
    }
}

/// A directory named on the command line.
fn directory_route(path: &Path) -> Result<Route, Fatal> {
    let refuse = |text: String| Fatal::Config(format!("{}: {text}", path.display()));
    // `.` and `..` have no name of their own.
    let real = path
        .canonicalize()
        .map_err(|error| refuse(error.to_string()))?;
    let name = real
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("files");
    let directory = Directory::open(path, name).map_err(refuse)?;
    Route::new(name, Source::Directory(directory)).map_err(refuse)
}

fn parse_listen(text: &str, what: &str) -> Result<SocketAddr, Fatal> {
    let wrong = |why: String| {
        Fatal::Config(format!(
            "{what}: `{text}` is no address to listen on: {why} (write for example 127.0.0.1:8080)"
        ))
    };
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| wrong(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| wrong("no address found".into()))
}

fn bytes(raw: Option<ByteSize>, default: usize) -> usize {
    raw.map_or(default, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    })
}

fn duration(raw: Option<Span>, default: Duration) -> Duration {
    raw.map_or(default, |span| span.0)
}
