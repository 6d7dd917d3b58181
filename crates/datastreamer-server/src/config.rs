//! The configuration: what a file, the environment and the command line say, checked once.
//!
//! It is plain data: it owns no engine, no connection and no open file. `raw.rs` is what was
//! written, `environment.rs` what the environment adds to it; `resolve.rs` refuses both or makes
//! the [`Config`]. `site.rs` builds from it what is served.

mod check;
mod cors;
mod environment;
pub(crate) mod markdown;
pub(crate) mod names;
mod network;
mod origin;
mod raw;
pub(crate) mod reference;
mod resolve;
#[cfg(feature = "tables")]
mod tables;

#[cfg(not(feature = "tables"))]
#[path = "config/no_tables.rs"]
mod tables;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use datastreamer::{PoolOptions, StreamOptions};
use datastreamer_http::HalfClose;
use datastreamer_spool::{READ_BYTES, SpoolOptions};

pub(crate) use self::cors::Cors;
pub(crate) use self::environment::{CONFIG_VARIABLE, LOG_FORMAT_VARIABLE};
pub(crate) use self::network::Network;
use self::origin::Origin;
pub(crate) use self::origin::Place;
pub(crate) use self::resolve::Checked;
#[cfg(feature = "tables")]
pub(crate) use self::tables::{DatabaseConfig, RowsSource, parse_compression};
pub(crate) use self::tables::{RowsConfig, TablesConfig, TextOptions};
use crate::{error::Fatal, sources::DirectoryOptions};

/// 512 KiB a chunk of a stream that is alone: a fourth of the switches between its threads that
/// the chunks of fast clients take, and a tenth of the CPU time of a binary table less.
const SOLE_CHUNK_BYTES: usize = 512 * 1024;
/// One that is filled, one that is written, and one in either direction between.
const SOLE_CHUNKS: usize = 4;
/// A reader hands over one read at a time; the least buffer has two chunks.
const READS: usize = 2;

/// What the server serves, where it listens, and its limits; checked, and plain data.
///
/// Made of TOML as `docs/configuration.md` describes it. [`Site::build`](crate::Site::build) opens
/// what it names.
///
/// ```
/// use datastreamer_server::Config;
///
/// let config = Config::parse("[routes.stars]\nkind = \"stars\"\n", "/etc/datastreamer".as_ref())?;
/// assert!(Config::parse("[server]\ncolour = 1\n", "".as_ref()).is_err());
/// # Ok::<(), datastreamer_server::Fatal>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one; the first that can be had is taken.
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) drain: Duration,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) half_close: HalfClose,
    /// For how long the receipt of a transfer can be read after its end; zero: there are none.
    pub(crate) receipts: Duration,
    pub(crate) cors: Cors,
    pub(crate) stream: StreamConfig,
    pub(crate) limits: Limits,
    pub(crate) spool: SpoolConfig,
    /// Those of the route for clients' own queries.
    pub(crate) sql_limits: RouteLimits,
    pub(crate) tables: TablesConfig,
    pub(crate) routes: Vec<RouteConfig>,
    pub(crate) broken: Broken,
}

/// What a file names and this configuration does not have, as it has errors. Others refer to it, and their
/// errors would follow from those. Empty but for `check`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub(crate) routes: BTreeSet<String>,
    pub(crate) databases: BTreeSet<String>,
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
    pub(crate) max_waiting: usize,
    pub(crate) max_active_per_client: usize,
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

/// Where productions are kept, and how much of them.
#[derive(Clone, Debug)]
pub(crate) struct SpoolConfig {
    /// `None`: one below the folder for temporary files, made when it is needed.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) options: SpoolOptions,
}

/// Which files of a route are kept in the spool, so that they can be shared and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Nothing,
    /// Those of clients that ask for ranges.
    Auto,
    /// All, while somebody receives them.
    WhileRunning,
    /// All, and for this time after their last use.
    For(Duration),
    /// None: who resumes gets the rest of another run, which begins with the same bytes.
    Rerun,
}

/// What all clients together may have of one route, and what one client must take of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteLimits {
    /// `None`: as many as the pool has.
    pub(crate) max_active: Option<usize>,
    /// In bytes per second; `None`: that of all streams.
    pub(crate) min_rate: Option<u64>,
    /// The same, of a table that is sorted for its client.
    pub(crate) sorted_min_rate: Option<u64>,
}

/// A route: what is served under a name.
#[derive(Clone, Debug)]
pub(crate) struct RouteConfig {
    pub(crate) name: String,
    pub(crate) source: SourceConfig,
    /// `None`, here and below: what is usual for the source.
    pub(crate) suffix: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) compress: bool,
    /// `None`: what is usual for the source.
    pub(crate) keep: Option<Keep>,
    pub(crate) limits: RouteLimits,
    pub(crate) origin: Place,
    pub(crate) precedence: Precedence,
    /// The path of the command line, if the route is left out where it cannot be served.
    pub(crate) optional: Option<PathBuf>,
}

/// Which of two routes of one name is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Precedence {
    /// Two of these are an error.
    Only,
    /// This one, if there is no other.
    IfMissing,
    /// This one, in the place of the others.
    Replaces,
}

/// Where a route's bytes come from.
#[derive(Clone, Debug)]
pub(crate) enum SourceConfig {
    Noise,
    Directory(DirectoryOptions),
    File(PathBuf),
    Command {
        argv: Vec<String>,
        folder: PathBuf,
    },
    /// Rows, which any format of tables can be made of.
    Rows(RowsConfig),
}

/// What the command line says of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct CommandLine<'a> {
    /// The file.
    pub(crate) config: Option<&'a Path>,
    pub(crate) listen: Option<&'a str>,
    /// Tables and directories.
    pub(crate) paths: &'a [PathBuf],
    pub(crate) bad_paths: BadPaths,
    /// Directories and globs that are one table each.
    pub(crate) tables: &'a [PathBuf],
    /// How their files of text are written, and the types of their columns.
    pub(crate) text: TextOptions,
    pub(crate) demo: Demo,
}

/// What happens if a path of the command line cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPaths {
    Refuse,
    /// It is left out, with a warning, unless it is the only one.
    LeaveOut,
}

/// Whether the built-in demo is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demo {
    Always,
    /// If there is no route.
    IfNothingElse,
    /// A name that is meant as a file's must not find it.
    Never,
}

impl RouteConfig {
    pub(crate) fn new(name: impl Into<String>, source: SourceConfig) -> Self {
        Self {
            name: name.into(),
            source,
            suffix: None,
            media_type: None,
            description: None,
            compress: false,
            keep: None,
            limits: RouteLimits::default(),
            origin: Place::default(),
            precedence: Precedence::Only,
            optional: None,
        }
    }

    /// A table named on the command line, as `PATH` or `NAME=PATH`.
    pub(crate) fn of_table(argument: &Path, text: &TextOptions) -> Result<Self, Fatal> {
        let (name, path) = names::split(argument)?;
        let source = SourceConfig::Rows(RowsConfig::of_table(path, text)?);
        let name = name.map_or_else(|| names::of_table(path), str::to_owned);
        Ok(Self::new(name, source))
    }

    /// Chooses a table of a FITS file.
    pub(crate) fn choose_hdu(&mut self, hdu: &str) {
        if let SourceConfig::Rows(rows) = &mut self.source {
            rows.choose_hdu(hdu.to_owned());
        }
    }

    pub(crate) fn is_query(&self) -> bool {
        matches!(&self.source, SourceConfig::Rows(rows) if rows.is_query())
    }
}

impl Config {
    /// Checks a configuration's text and the environment's settings; relative paths are those of
    /// `folder`. Reads no file but the folder for temporary files; may ask for the addresses of a
    /// name to listen on, which blocks.
    ///
    /// # Errors
    /// [`Fatal::Config`], with a line for each error.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, Fatal> {
        let origin = Origin {
            file: "configuration".into(),
            folder: folder.to_owned(),
            text,
            variables: BTreeMap::new(),
        };
        resolve::with_environment(text, origin)
    }

    /// Reads and checks a configuration file and the environment's settings; blocks.
    ///
    /// # Errors
    /// [`Fatal::Config`], with a line for each error; each names the file and its line.
    pub fn read(file: &Path) -> Result<Self, Fatal> {
        let text = text_of(file)?;
        resolve::with_environment(&text, origin_of(file, &text))
    }

    /// The same for `check`: also returns what is left without the parts that have errors.
    ///
    /// # Errors
    /// The file cannot be read, or is no TOML.
    pub(crate) fn check_all(file: &Path) -> Result<Checked, Fatal> {
        let text = text_of(file)?;
        resolve::check_all(&text, origin_of(file, &text))
    }

    /// Reads and checks the configuration for `serve` and `cat`; blocks.
    pub(crate) fn of_command_line(command_line: &CommandLine<'_>) -> Result<Self, Fatal> {
        let mut config = match command_line.config {
            Some(file) => Self::read(file)?,
            None => resolve::with_environment("", Origin::default())?,
        };
        if let Some(listen) = command_line.listen {
            let parsed = parse_listen(listen);
            config.listen = parsed.map_err(|text| Fatal::config(format!("--listen: {text}")))?;
        }
        config.routes.extend(names::routes(command_line)?);
        let has_demo = match command_line.demo {
            Demo::Always => true,
            Demo::IfNothingElse => config.routes.is_empty() && !config.tables.has_sql(),
            Demo::Never => false,
        };
        if has_demo {
            config.routes.extend(demo_routes());
        }
        Ok(config)
    }

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

    /// The options of the one stream of a process, which shares its memory with no other. What the
    /// configuration says of buffers holds.
    pub(crate) fn sole_stream_options(&self) -> StreamOptions {
        self.with_chunks(SOLE_CHUNK_BYTES, SOLE_CHUNKS)
    }

    /// The options of the streams that read productions: whole reads go to fast clients. What the
    /// configuration says of buffers holds.
    pub(crate) fn reader_options(&self) -> StreamOptions {
        self.with_chunks(READ_BYTES, READS)
    }

    /// The options of a stream with chunks of this size, and a buffer of so many.
    fn with_chunks(&self, chunk_bytes: usize, chunks: usize) -> StreamOptions {
        let options = self.stream_options();
        match (self.stream.chunk_bytes, self.stream.buffer_bytes) {
            (None, None) => options
                .chunk_bytes(chunk_bytes)
                .buffer_bytes(chunks * chunk_bytes),
            _ => options,
        }
    }

    /// Of the readers of productions: as many as there are connections.
    pub(crate) fn reader_pool_options(&self) -> PoolOptions {
        self.pool_options().max_active(self.limits.max_connections)
    }

    pub(crate) fn pool_options(&self) -> PoolOptions {
        PoolOptions::new()
            .max_active(self.limits.max_active)
            .max_waiting(self.limits.max_waiting)
            .reserve_bytes(self.limits.reserve_bytes)
            .queue_timeout(self.limits.queue_timeout)
            .thread_name("source")
            // `Transfers` logs them, with what it knows of the client.
            .log_ends(false)
    }
}

fn text_of(file: &Path) -> Result<String, Fatal> {
    let text = std::fs::read_to_string(file);
    text.map_err(|error| Fatal::config(format!("{}: {error}", file.display())))
}

fn origin_of<'a>(file: &Path, text: &'a str) -> Origin<'a> {
    Origin {
        file: file.display().to_string(),
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        text,
        variables: BTreeMap::new(),
    }
}

/// What the built-in demo serves.
fn demo_routes() -> Vec<RouteConfig> {
    let demo = |name: &str, source, description: &str| RouteConfig {
        description: Some(description.into()),
        precedence: Precedence::IfMissing,
        ..RouteConfig::new(name, source)
    };
    let noise = demo(
        "noise",
        SourceConfig::Noise,
        "test bytes, as many as you ask for",
    );
    let stars = RowsConfig::demo().map(|stars| {
        demo(
            "stars",
            SourceConfig::Rows(stars),
            "an invented catalogue, as many rows as you ask for",
        )
    });
    [noise].into_iter().chain(stars).collect()
}

/// Finds all addresses of a name: it may have one that this machine does not. A port alone is that
/// port on this machine only, as the default is.
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
