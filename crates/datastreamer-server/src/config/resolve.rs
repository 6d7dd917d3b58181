//! From what was written to the [`Config`]: every check that needs no file of the routes.

use std::{mem, num::NonZeroUsize, path::Path, time::Duration};

use datastreamer::{
    DEFAULT_BUFFER_BYTES, DEFAULT_CHUNK_BYTES, DEFAULT_CONSUMER_STALL, DEFAULT_FLUSH_AFTER,
    DEFAULT_MAX_ACTIVE, DEFAULT_MAX_WAITING, DEFAULT_QUEUE_TIMEOUT, DEFAULT_RESERVE_BYTES,
    DEFAULT_SOURCE_STALL,
};
use datastreamer_archive::directory::{Hidden, OnChange};
use datastreamer_http::{DEFAULT_COMMIT_AFTER, DEFAULT_COMMIT_BYTES, HalfClose};
use datastreamer_spool::{
    DEFAULT_CLIENT_BYTES_MAX, DEFAULT_KEEP, DEFAULT_PRODUCTION_BYTES_MAX, DEFAULT_TOTAL_BYTES_MAX,
    SpoolOptions,
};
use serde::Deserialize;
use toml::{Deserializer, Spanned, de::DeTable};

use super::{
    Broken, Config, Keep, Limits, RouteConfig, RouteLimits, SourceConfig, SpoolConfig,
    StreamConfig,
    check::check,
    cors::Cors,
    environment::Environment,
    network::Network,
    origin::Origin,
    parse_listen,
    raw::{
        KeepWord, Kind, Raw, RawHalfClose, RawKeep, RawLimits, RawOnChange, RawRoute, RawServer,
        RawSpool, RawStream, RawTexts,
    },
    tables,
};
use crate::{
    error::{ConfigError, Fatal},
    sources::DirectoryOptions,
    units::{ByteSize, Span},
};

/// This machine only: other machines reach the program only if the configuration says so.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// Half of systemd's default for a stop (90 s), so that the visible aborts come before a SIGKILL.
pub(super) const DEFAULT_DRAIN: Duration = Duration::from_secs(30);
/// An hour: programs read a receipt within seconds, people when they come back to a long download.
pub(super) const DEFAULT_RECEIPTS: Duration = Duration::from_secs(60 * 60);
/// Eight times the active streams: index pages, waiting and finished clients need connections
/// too. At about 20 KiB each they are 80 MiB.
pub(super) const DEFAULT_MAX_CONNECTIONS: usize = 4096;
/// Below the 30 to 60 s after which browsers and proxies give up on a head: what is not spooled
/// by then goes without a length.
pub(super) const DEFAULT_LENGTH_WAIT: Duration = Duration::from_secs(25);
/// What slow lines need for a head of a few kilobytes, several times over.
pub(super) const DEFAULT_HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Three times the pings that keep an HTTP/2 connection alive: browsers come back to one within
/// seconds, and a client that is silent for a minute takes a place from others.
pub(super) const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// 16 streams: what a download manager and a page of plots ask for at once. 32 such clients fill the
/// pool of 512.
pub(super) const DEFAULT_ACTIVE_PER_CLIENT: usize = 16;
/// Streams at once of a route that holds something scarce: a query all cores and its memory, a
/// program a process, PostgreSQL one of its connections, of which a database has eight by default.
pub(super) const SCARCE_ACTIVE: usize = 8;
/// 1 kB/s of such a route: a tenth of what a modem took. A client that takes less holds it for a
/// quarter of an hour with each MB.
pub(super) const SCARCE_MIN_RATE: u64 = 1000;
/// 64 MiB a chunk: 512 times the size beyond which larger ones are no faster, and what any system
/// maps.
pub(super) const CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;
/// 1 GiB a stream: seconds of the fastest network. More is a cache, and no buffer.
pub(super) const BUFFER_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// A configuration with errors, or without.
pub(crate) struct Checked {
    /// What is left without the parts that have errors; `None` if nothing can be said of it.
    pub(crate) config: Option<Config>,
    pub(crate) errors: Vec<ConfigError>,
}

/// Checks a configuration's text, with the settings of the environment laid over it.
pub(super) fn with_environment(text: &str, origin: Origin<'_>) -> Result<Config, Fatal> {
    match check_all(text, origin)? {
        Checked {
            config: Some(config),
            errors,
        } if errors.is_empty() => Ok(config),
        Checked { errors, .. } => Err(Fatal::Config(errors)),
    }
}

/// The same; a part with an error does not hide the others.
///
/// # Errors
/// It is no TOML.
pub(super) fn check_all(text: &str, mut origin: Origin<'_>) -> Result<Checked, Fatal> {
    let environment = Environment::read();
    environment.warn();
    let mut document = DeTable::parse(text).map_err(|error| origin.error(&error))?;
    for variable in &environment.variables {
        variable.lay_over(document.get_mut());
        let setting = (variable.section, variable.key);
        origin.variables.insert(setting, variable.name.clone());
    }
    let mut errors = Errors(environment.errors.clone());
    let written = Broken::all_of(document.get_ref());
    errors.0.extend(check(document.get_mut(), &origin));
    Ok(match Raw::deserialize(Deserializer::from(document)) {
        Ok(raw) => {
            let mut config = resolve(raw, &origin, &mut errors);
            if let Some(config) = &mut config {
                config.broken = written.without(config);
            }
            Checked {
                config,
                errors: errors.0,
            }
        }
        Err(error) => {
            errors.0.push(origin.error(&error));
            Checked {
                config: None,
                errors: errors.0,
            }
        }
    })
}

impl Broken {
    /// The names of all routes and databases of a file.
    fn all_of(document: &DeTable<'_>) -> Self {
        let names = |section: &str| {
            let tables = document.get(section).and_then(|it| it.get_ref().as_table());
            let names = tables.into_iter().flat_map(|tables| tables.keys());
            names.map(|name| name.get_ref().to_string()).collect()
        };
        Self {
            routes: names("routes"),
            databases: names("databases"),
        }
    }

    /// Leaves those that are not in a configuration.
    fn without(mut self, config: &Config) -> Self {
        for route in &config.routes {
            self.routes.remove(&route.name);
        }
        let is_broken = |name: &String| !config.tables.has_database(name);
        self.databases.retain(is_broken);
        self
    }
}

/// Notes all errors, and makes a configuration without the parts that have some.
fn resolve(mut raw: Raw, origin: &Origin<'_>, errors: &mut Errors) -> Option<Config> {
    let listen = raw.server.listen.as_ref().map(ToString::to_string);
    let listen = listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let listen = parse_listen(listen).map_err(|text| origin.refuse("server", "listen", &text));
    let listen = errors.collect(listen).unwrap_or_default();
    let stream = errors.collect(resolve_stream(&raw.stream, origin));
    let stream = stream.or_else(|| resolve_stream(&RawStream::default(), origin).ok())?;
    let limits = errors.collect(resolve_limits(&raw.limits, origin));
    let tables = errors.collect(tables::resolve(&raw, origin));
    let routes = raw.routes.iter();
    let routes = routes.map(|(name, route)| resolve_route(name, route, limits.as_ref(), origin));
    let routes = routes.filter_map(|route| errors.collect(route)).collect();
    let sql_limits = limits.as_ref().map(|limits| {
        let (max_active, min_rate) = (raw.sql.max_active, raw.sql.min_rate);
        route_limits(max_active, min_rate, Scarcity::Scarce, limits)
    });
    let refused = |text| origin.refuse("sql", "min_rate", text);
    let sql_limits = sql_limits.and_then(|limits| errors.collect(limits.map_err(refused)));
    let tables = tables.or_else(|| {
        let databases = mem::take(&mut raw.databases);
        let usual = Raw {
            databases,
            ..Raw::default()
        };
        tables::resolve(&usual, origin).ok()
    })?;
    Some(Config {
        listen,
        drain: duration(raw.server.drain, DEFAULT_DRAIN),
        trusted_proxies: trusted_proxies(&raw.server),
        half_close: match raw.server.half_close {
            Some(RawHalfClose::Allow) => HalfClose::Allow,
            Some(RawHalfClose::HangUp) | None => HalfClose::HangUp,
        },
        receipts: duration(raw.server.receipts, DEFAULT_RECEIPTS),
        cors: Cors::new(raw.server.cors.iter().flat_map(RawTexts::iter)),
        stream,
        limits: limits.or_else(|| resolve_limits(&RawLimits::default(), origin).ok())?,
        spool: spool(&raw.spool, origin),
        sql_limits: sql_limits.unwrap_or_default(),
        tables,
        routes,
        broken: Broken::default(),
    })
}

fn spool(raw: &RawSpool, origin: &Origin<'_>) -> SpoolConfig {
    let size = |raw: Option<ByteSize>, default: u64| raw.map_or(default, |size| size.0);
    SpoolConfig {
        folder: raw.folder.as_ref().map(|folder| origin.folder.join(folder)),
        options: SpoolOptions::new()
            .total_bytes_max(size(raw.bytes, DEFAULT_TOTAL_BYTES_MAX))
            .production_bytes_max(size(raw.production_bytes, DEFAULT_PRODUCTION_BYTES_MAX))
            .client_bytes_max(size(raw.client_bytes, DEFAULT_CLIENT_BYTES_MAX))
            .keep(duration(raw.keep, DEFAULT_KEEP)),
    }
}

fn keep(raw: RawKeep) -> Keep {
    match raw {
        RawKeep::Word(KeepWord::None) => Keep::Nothing,
        RawKeep::Word(KeepWord::Auto) => Keep::Auto,
        RawKeep::Word(KeepWord::WhileRunning) => Keep::WhileRunning,
        RawKeep::For(Span(time)) if time.is_zero() => Keep::Nothing,
        RawKeep::For(Span(time)) => Keep::For(time),
    }
}

/// What is kept of a route's files, so that they can be resumed.
fn resolve_keep(raw: &RawRoute) -> Result<Option<Keep>, String> {
    if raw.resume.is_none() {
        return Ok(raw.keep.map(keep));
    }
    if raw.keep.map(keep).is_some_and(|keep| keep != Keep::Nothing) {
        return Err(
            "`resume = \"rerun\"` is for routes whose files are not kept: leave `keep` out".into(),
        );
    }
    let has_order = raw.sql.as_deref().is_none_or(has_order);
    match has_order {
        true => Ok(Some(Keep::Rerun)),
        false => Err(
            "`resume = \"rerun\"` needs the same rows in the same order each time: end `sql` with an \
             ORDER BY that leaves no two rows equal"
                .into(),
        ),
    }
}

/// Returns whether SQL orders its result: it has an ORDER BY outside of parentheses, texts and comments.
fn has_order(sql: &str) -> bool {
    let mut depth = 0_usize;
    let mut words: Vec<String> = vec![String::new()];
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '\'' | '"' => rest[1..].find(first).map(|end| end + 2),
            '-' if rest.starts_with("--") => rest.find('\n'),
            '/' if rest.starts_with("/*") => rest.find("*/").map(|end| end + 2),
            _ => Some(first.len_utf8()),
        };
        match first {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_word = depth == 0 && (first.is_alphanumeric() || first == '_');
        match words.last_mut() {
            Some(word) if is_word => word.push(first.to_ascii_lowercase()),
            Some(word) if !word.is_empty() => words.push(String::new()),
            _ => {}
        }
        rest = &rest[skipped.unwrap_or(rest.len())..];
    }
    words.windows(2).any(|pair| pair == ["order", "by"])
}

/// The errors of a configuration, all of them.
struct Errors(Vec<ConfigError>);

impl Errors {
    fn collect<T>(&mut self, result: Result<T, Fatal>) -> Option<T> {
        let errors = |fatal| match fatal {
            Fatal::Config(errors) => errors,
            other => vec![ConfigError::new(None, other.to_string())],
        };
        result.map_err(|fatal| self.0.extend(errors(fatal))).ok()
    }
}

fn resolve_stream(raw: &RawStream, origin: &Origin<'_>) -> Result<StreamConfig, Fatal> {
    let refuse = |key, text: String| Err(origin.refuse("stream", key, &text));
    let buffer_bytes = bytes(raw.buffer_bytes, DEFAULT_BUFFER_BYTES);
    // A small buffer makes small chunks.
    let small_bytes = DEFAULT_CHUNK_BYTES.min(buffer_bytes / 2).max(1);
    let chunk_bytes = bytes(raw.chunk_bytes, small_bytes);
    let fast_buffer_bytes = raw.fast_buffer_bytes.map(|size| bytes(Some(size), 0));
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
        max_active_per_client: raw
            .max_active_per_client
            .map_or(DEFAULT_ACTIVE_PER_CLIENT, NonZeroUsize::get),
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
    if limits.client_min_rate > 0 && limits.client_stall.is_none() {
        return refuse("client_min_rate", RATE_WITHOUT_STALL);
    }
    Ok(limits)
}

const RATE_WITHOUT_STALL: &str = "is measured over limits.client_stall, which must not be 0 then";

fn trusted_proxies(raw: &RawServer) -> Vec<Network> {
    // `check.rs` lets no other texts through.
    let texts = raw.trusted_proxies.iter().flat_map(RawTexts::iter);
    texts.filter_map(|text| Network::parse(text).ok()).collect()
}

/// Whether a stream holds something of which there is little, beside its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scarcity {
    Plenty,
    Scarce,
}

impl Scarcity {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Command | Kind::Query | Kind::Postgres => Self::Scarce,
            Kind::Noise | Kind::Directory | Kind::File | Kind::Table | Kind::Stars => Self::Plenty,
        }
    }
}

fn route_limits(
    max_active: Option<NonZeroUsize>,
    min_rate: Option<ByteSize>,
    scarcity: Scarcity,
    limits: &Limits,
) -> Result<RouteLimits, &'static str> {
    let min_rate = min_rate.map(|rate| rate.0);
    if min_rate.is_some_and(|rate| rate > 0) && limits.client_stall.is_none() {
        return Err(RATE_WITHOUT_STALL);
    }
    let of_plenty = limits.client_min_rate;
    let of_scarce = match limits.client_stall {
        Some(_) => of_plenty.max(SCARCE_MIN_RATE),
        None => of_plenty,
    };
    let usual = match scarcity {
        Scarcity::Scarce => of_scarce,
        Scarcity::Plenty => of_plenty,
    };
    let usual_active = match scarcity {
        Scarcity::Scarce => Some(SCARCE_ACTIVE),
        Scarcity::Plenty => None,
    };
    Ok(RouteLimits {
        max_active: max_active.map(NonZeroUsize::get).or(usual_active),
        min_rate: Some(min_rate.unwrap_or(usual)),
        sorted_min_rate: Some(min_rate.unwrap_or(of_scarce)),
    })
}

fn resolve_route(
    name: &str,
    spanned: &Spanned<RawRoute>,
    limits: Option<&Limits>,
    origin: &Origin<'_>,
) -> Result<RouteConfig, Fatal> {
    let raw = spanned.get_ref();
    let at = origin.part(spanned.span().start, &format!("routes.{name}"));
    let refuse = |text: String| Fatal::from(at.error(text));
    let path = origin
        .folder
        .join(raw.path.as_deref().unwrap_or(Path::new("")));
    let is_stable = raw.stable.unwrap_or(false);
    if is_stable && raw.on_change == Some(RawOnChange::Freeze) {
        let text = "`stable = true` and `on_change = \"freeze\"` exclude each other: a file that grows \
                    makes another archive";
        return Err(refuse(text.into()));
    }
    let source = match raw.kind {
        Kind::Noise => SourceConfig::Noise,
        Kind::Directory => SourceConfig::Directory(DirectoryOptions {
            path,
            on_change: match raw.on_change {
                Some(RawOnChange::Freeze) => OnChange::Freeze,
                Some(RawOnChange::Abort) | None => OnChange::Abort,
            },
            hidden: match raw.hidden {
                Some(true) => Hidden::Archive,
                Some(false) | None => Hidden::LeaveOut,
            },
            is_stable,
        }),
        Kind::File => SourceConfig::File(path),
        Kind::Command => SourceConfig::Command {
            argv: raw.argv.clone().unwrap_or_default(),
            folder: origin.folder.clone(),
        },
        Kind::Table | Kind::Query | Kind::Postgres | Kind::Stars => {
            SourceConfig::Rows(tables::rows(raw, path).map_err(refuse)?)
        }
    };
    let keep = resolve_keep(raw).map_err(refuse);
    // Without limits the configuration is refused anyway.
    let limits = limits.map_or(Ok(RouteLimits::default()), |limits| {
        let scarcity = Scarcity::of(raw.kind);
        let limits = route_limits(raw.max_active, raw.min_rate, scarcity, limits);
        limits.map_err(|text| refuse(format!("min_rate {text}")))
    })?;
    Ok(RouteConfig {
        limits,
        suffix: raw.suffix.clone(),
        media_type: raw.media_type.clone(),
        description: raw.description.clone(),
        compress: raw.compress.unwrap_or(false),
        keep: keep?,
        origin: at,
        ..RouteConfig::new(name, source)
    })
}

pub(super) fn bytes(raw: Option<ByteSize>, default: usize) -> usize {
    raw.map_or(default, |size| {
        usize::try_from(size.0).unwrap_or(usize::MAX)
    })
}

pub(super) fn duration(raw: Option<Span>, default: Duration) -> Duration {
    raw.map_or(default, |span| span.0)
}

/// 0 is never.
pub(super) fn duration_or_never(raw: Option<Span>, default: Duration) -> Option<Duration> {
    Some(duration(raw, default)).filter(|time| !time.is_zero())
}
